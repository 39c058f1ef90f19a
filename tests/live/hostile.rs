//! Names, numbers and bytes nobody asked for (Q17, Q21).

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::lab::{From, Lab, SOON};

crate::cases!("hostile":
    the_phone_shows_the_callers_number_and_the_name_behind_the_queues,
    hostile_names_connect_and_are_not_executed,
    hostile_numbers_connect_and_are_not_executed,
    garbage_on_the_port_disturbs_nobody,
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
    let answered = ring.answer();
    caller.sound.hears(lab.phone("1001").tone, answered, SOON);
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
        assert!(!rest.trim().is_empty() && rest.chars().count() <= 80, "{name:.60} is shown as {display:.200}");
    }
    assert!(!trace.exists(), "a caller's name was executed");
}

/// Q21.
fn hostile_numbers_connect_and_are_not_executed(lab: &Lab) {
    let trace = lab.file("trace", b"");
    std::fs::remove_file(&trace).unwrap();
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    // What may stand in the user part of a SIP URI (RFC 3261), as it is and escaped.
    for number in ["a'b,c=d", "%24%7Bsystem(touch%20x)%7D", "%0d%0aX", "*41", "anonymous"] {
        let (display, shown) = talk(lab, &From::outside(number, ""));
        assert!(display.starts_with("Sales"), "{number} is shown as {display}");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+*#()/".contains(c);
        assert!(shown.chars().all(plain), "{number} is shown as {shown}");
    }
    assert!(!trace.exists(), "a caller's number was executed");
}

/// Q21: idle, half said, endless and meaningless connections, and a call among them.
fn garbage_on_the_port_disturbs_nobody(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let door = ("127.0.0.1", lab.switch.controller);
    let says = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(door).unwrap();
        // A refusal shows as an error of a later write.
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
