//! Hostile names, numbers and bytes (Q17, Q21).

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::Fact;
use unicode_normalization::char::is_combining_mark;

use crate::caller::From;
use crate::lab::{Lab, SOON};

crate::cases!("hostile":
    the_phone_shows_the_callers_number_and_the_name_behind_the_queues,
    hostile_names_connect_and_are_not_executed,
    the_leg_has_the_same_variables_with_every_name,
    hostile_numbers_connect_and_are_not_executed,
    garbage_on_the_port_affects_no_call,
);

const ONE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n";

/// The display name and the number in a From header.
fn shown(from: &str) -> (String, String) {
    let name = from.split('"').nth(1).unwrap_or_default();
    let number = from.split("sip:").nth(1).and_then(|rest| rest.split('@').next()).unwrap_or_default();
    (name.to_owned(), number.to_owned())
}

/// Calls, looks at the display, talks, and hangs up.
#[track_caller]
fn talk(lab: &Lab, from: &From) -> (String, String) {
    let caller = lab.call(from, "99900");
    let ring = lab.phone("1001").rings(SOON);
    let from = ring.invite.header("From").to_owned();
    let answered = ring.connects(&caller);
    lab.phone("1001").sound.hears(caller.tone, answered, SOON);
    ring.hang_up();
    caller.over(SOON);
    shown(&from)
}

/// Q17.
fn the_phone_shows_the_callers_number_and_the_name_behind_the_queues(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Empfang Zürich, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let hans = ("Empfang Zürich - Hans Müller".to_owned(), "0791234567".to_owned());
    assert_eq!(talk(lab, &From::outside("0791234567", "\"Hans Müller\"")), hans);
    let house = talk(lab, &From::phone("1004"));
    assert_eq!(house, ("Empfang Zürich - 1004".to_owned(), "1004".to_owned()), "a caller without a name");
}

/// Q21.
fn hostile_names_connect_and_are_not_executed(lab: &Lab) {
    let trace = lab.file("trace", b"");
    std::fs::remove_file(&trace).unwrap();
    let touch = format!("touch {}", trace.display());
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let long = "Long ".repeat(1900);
    let names = [
        format!("}}],'${{system({touch})}}"),
        format!("${{system({touch})}}"),
        format!("x' ${{bgapi(system {touch})}}"),
        "Müller, 'A: B'".to_owned(),
        "%0d%0aSubject: injected%0d%0a".to_owned(),
        "^^:a:b".to_owned(),
        "api_on_answer=hupall,x=y".to_owned(),
        long,
    ];
    for name in names {
        let (display, number) = talk(lab, &From::outside("0791234567", &format!("\"{name}\"")));
        assert_eq!(number, "0791234567", "with the name {name:.60}");
        let rest = display.strip_prefix("Sales - ");
        let rest = rest.unwrap_or_else(|| panic!("{name:.60} is shown as {display:.60}"));
        let plain = |c: char| c.is_alphanumeric() || " -_.+()#".contains(c);
        assert!(rest.chars().all(plain), "{name:.60} is shown as {display:.60}");
        assert!(!rest.trim().is_empty() && display.len() <= 200, "{name:.60} is shown as {display:.200}");
    }
    assert!(!trace.exists(), "a caller's name was executed");
}

/// Q21: a name with every character that is special to FreeSWITCH, or with bytes that are no text: the same phone
/// rings, on a leg with the same variables and no others.
fn the_leg_has_the_same_variables_with_every_name(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    // SIPp's scenario has it several times, encoded, and is not longer than 64 kB.
    let long = b"x,y='z'}|\\\"".repeat(600);
    let controls: Vec<u8> = (1..=31).chain([127]).chain(*b"Hans").collect();
    let zalgo = format!("e{}\u{5d0}\u{5d1}", "\u{301}\u{30e}\u{323}".repeat(20));
    // Each name with the part that must remain of it, which proves that the name came this far.
    let names: [(&[u8], &str); 22] = [
        (b",injected=yes", "injected yes"),
        (b"a}user/1002@live.test", "a user 1002 live.test"),
        (b"]user/1002@live.test", "user 1002 live.test"),
        (b"',injected=yes,x='", "injected yes x"),
        (b"\",injected=yes,x=\"", "injected yes x"),
        (b"\\,injected=yes\\", "injected yes"),
        (b"$ ${ $${domain} ${injected", "domain injected"),
        (b"^^:injected=yes:a=b", "injected yes a b"),
        (b"Support: Hans", "Support Hans"),
        (b"a|user/1002@live.test", "a user 1002 live.test"),
        (b"x &hangup() &", "x hangup()"),
        (b"a;injected=yes;fs_path=sip:x", "a injected yes fs_path sip x"),
        (b"Hans\r\nX-Evil: yes\r\n\r\nhello", "Hans X-Evil yes hello"),
        (b"Hans\n\napi hupall\n\n", "Hans api hupall"),
        (b"Hans\0hidden", "Hans"),
        (&controls, "Hans"),
        (b"\xff\xfe\xc3(\xed\xa0\x80\xf5Hans", "Hans"),
        (&long, "x y z x y z"),
        (
            "\u{202e}snaH\u{202c}\u{2066} \u{5d3}\u{5d5}\u{5d3} \u{639}\u{631}\u{628}\u{64a}".as_bytes(),
            "snaH \u{5d3}\u{5d5}\u{5d3} \u{639}\u{631}\u{628}\u{64a}",
        ),
        (zalgo.as_bytes(), "\u{5d0}\u{5d1}"),
        (b"reload mod_event_socket", "reload mod event_socket"),
        (b"<sip:evil@example.net>;tag=1", "sip evil example.net tag 1"),
    ];
    for (nth, (name, left)) in names.iter().enumerate() {
        let of = String::from_utf8_lossy(name);
        let caller = lab.call(&From::outside_named("0791234567", name), "99900");
        let ring = lab.phone("1001").rings(SOON);
        let (display, number) = shown(ring.invite.header("From"));
        assert_eq!(number, "0791234567", "with the name {of:.60}");
        let plain = |c: char| c.is_alphanumeric() || is_combining_mark(c) || " -_.+()".contains(c);
        let rest = display.strip_prefix("Sales - ").unwrap_or_else(|| panic!("{of:.60} is shown as {display:.60}"));
        assert!(rest.chars().all(plain) && rest.contains(left), "{of:.60} is shown as {display:.60}");
        let offered = |fact: &Fact| match fact {
            Fact::OfferMade { offer, call, .. } => Some((offer.to_string(), call.to_string())),
            _ => None,
        };
        let (_, (leg, call)) = lab.daemon().nth_fact("an offer", nth, SOON, offered);
        let variable = |name: &str| lab.switch.api(&format!("uuid_getvar {leg} {name}"));
        for (variable_name, value) in [
            ("fsq_agent", "1001"),
            ("fsq_queue", "99900"),
            ("fsq_call", call.as_str()),
            ("fsq_ringing", "yes"),
            ("group_confirm_timeout", "3"),
            ("ignore_early_media", "true"),
            ("hangup_after_bridge", "true"),
            ("origination_caller_id_number", "0791234567"),
            ("injected", "_undef_"),
            ("x", "_undef_"),
            ("fs_path", "_undef_"),
        ] {
            assert_eq!(variable(variable_name).trim(), value, "{variable_name} with the name {of:.60}");
        }
        ring.serves(caller);
    }
}

/// Q21.
fn hostile_numbers_connect_and_are_not_executed(lab: &Lab) {
    let trace = lab.file("trace", b"");
    std::fs::remove_file(&trace).unwrap();
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    // The characters that the user part of a SIP URI may contain (RFC 3261), plain and escaped.
    for number in ["a'b,c=d", "%24%7Bsystem(touch%20x)%7D", "%0d%0aX", "*41", "anonymous"] {
        let (display, shown) = talk(lab, &From::outside(number, ""));
        assert!(display.starts_with("Sales"), "{number} is shown as {display}");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+*#()/".contains(c);
        assert!(shown.chars().all(plain), "{number} is shown as {shown}");
    }
    assert!(!trace.exists(), "a caller's number was executed");
}

/// Q21: idle, incomplete, endless and meaningless connections, with a call among them.
fn garbage_on_the_port_affects_no_call(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let door = ("127.0.0.1", lab.switch.controller);
    let says = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(door).unwrap();
        // A refused connection shows as an error of a later write.
        let _ = stream.write_all(bytes);
        stream
    };
    let mut open: Vec<TcpStream> = (0..200).map(|_| says(b"")).collect();
    open.push(says(b"Content-Type: command/reply\nUnique-ID: half"));
    open.push(says(&b"a: b\n".repeat(100_000)));
    open.push(says(&[0xff; 100_000]));
    open.push(says(b"Content-Length: 99999999999\n\n"));
    open.push(says(b"Event-Name: CHANNEL_DATA\nUnique-ID: %0a%0aapi hupall\nContent-Type: command/reply\n\n"));
    let since = Instant::now();
    let (display, _) = talk(lab, &From::outside("0791234567", "Hans"));
    assert_eq!(display, "Sales - Hans");
    assert!(since.elapsed() < Duration::from_secs(3), "it took {:?}", since.elapsed());
}
