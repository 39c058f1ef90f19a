//! Q21: hostile input affects no other call, and no part of it is executed.

use simswitch::{CallSpec, Registration, step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::house::{House, answers, pass, play};
use crate::setting::{configuration, queue};

/// Names and numbers with a special meaning to a component on the way.
const NAMES: &[&str] = &[
    "${system(touch /tmp/x)}",
    "$${domain}",
    "a,api_on_answer='system touch /tmp/x'",
    "a}user/1002@lab",
    "{b=c}",
    "[d=e]",
    "'",
    "\"",
    "it's",
    "a\\,b",
    "a\r\nb: c\r\n\r\n",
    "a\n\nsendmsg\ncall-command: hangup\n\n",
    "%0a%0aexit%0a%0a",
    "^^:a:b",
    "reload mod_event_socket",
    "Support: Hans",
    "100% A%41",
    "a@b;c=d",
    "<sip:x@y>",
    "|&!~`",
    "\u{202e}evil\u{0}",
    "日本語 عربى 👍",
    "____________________________________________________________________________________________________________________________________________________________________",
];

/// Q21, Q17: hostile names and numbers reach the phone reduced to harmless characters, and their callers are served
/// like any other.
#[test]
fn q21_hostile_names() {
    for strategy in ["as-listed", "simultaneous"] {
        play(async move {
            let service = queue("99900", &["1001"]).with(&format!("strategy: {strategy}"));
            let house = House::open(&[service.with("position_announcement: { language: fr, every_seconds: 10 }")]);
            house.when_rung("1001", answers(12_000));
            for name in NAMES {
                let caller = house.switch.call(&CallSpec::trunk(name, "99900").name(name));
                let ring = house.phone("1001").wait_ringing().await;
                let plain = |c: char| c.is_alphanumeric() || " -_.+*@()/".contains(c) || !c.is_ascii();
                assert!(ring.name.starts_with("Service - ") || ring.name == "Service -", "{:?}", ring.name);
                assert!(ring.name.chars().all(plain) && ring.number.chars().all(plain), "{ring:?}");
                assert_eq!(caller.wait_talking().await, "1001", "{name:?}");
                pass(500).await;
                caller.hang_up();
                house.phone("1001").wait_idle().await;
            }
            assert!(!house.phone("1002").is_ringing());
            house.end().await;
        });
    }
}

/// Q21: calls with hostile destinations and headers change nothing and end.
#[test]
fn q21_hostile_destinations_and_headers() {
    play(async {
        let odd = |number: &str| number.starts_with("odd");
        let socket = vec![step("set", "socket_resume=true"), step("socket", "127.0.0.1:8084 async full")];
        let dialplan = simswitch::Dialplan::standard("127.0.0.1:8084 async full")
            .route(move |request| odd(request.destination).then(|| socket.clone()));
        let switch = simswitch::Config { dialplan, ..simswitch::Config::default() };
        let house = House::with(switch, configuration(&[queue("99900", &["1001"])], ""), 1);
        house.phone("1001").set_registration(Registration::Unregistered);
        let waiting = house.caller("0790", "99900");
        for name in NAMES {
            let call = CallSpec::trunk("0791", "odd").variable("fsq_dialled", name).variable("sip_h_X-Evil", name);
            assert_eq!(house.switch.call(&call).wait_ended().await, "UNALLOCATED_NUMBER");
            // A malformed place in the line: the caller enters like a new one.
            let call = CallSpec::trunk("0792", "99900").variable("fsq_place", name).variable("fsq_context", name);
            let caller = house.switch.call(&call);
            pass(200).await;
            assert_eq!(house.line("99900"), ["0790", "0792"]);
            caller.hang_up();
            pass(100).await;
        }
        waiting.hang_up();
        house.end().await;
    });
}

/// Q2: a call without the daemon's token returns to the dialplan and is not served; calls with the token are.
#[test]
fn q2_the_token() {
    play(async {
        let with = |socket: &str| simswitch::Dialplan::standard(socket);
        for (socket, served) in [
            ("127.0.0.1:8084/s3cret async full", true),
            ("127.0.0.1:8084/other async full", false),
            ("127.0.0.1:8084 async full", false),
        ] {
            let switch = simswitch::Config { dialplan: with(socket), ..simswitch::Config::default() };
            let config = configuration(&[queue("99900", &["1001"])], "token: s3cret\n");
            let house = House::with(switch, config, 1);
            house.when_rung("1001", answers(300));
            let hans = house.caller("0791", "99900");
            pass(3_000).await;
            assert_eq!(hans.view().talks_to().is_some(), served);
            assert!(!hans.view().stranded);
            hans.hang_up();
            assert_eq!(house.end().await.records.is_empty(), !served);
        }
    });
}

/// Q21: garbage, half frames, endless headers, silence and hundreds of idle connections do not affect a call, and the
/// daemon closes every one of them in the end.
#[test]
fn q21_garbage_connections() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        let mut ends = Vec::new();
        for n in 0..300_usize {
            let mut stranger = house.connect();
            let bytes: Vec<u8> = match n % 6 {
                0 => Vec::new(),
                1 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
                2 => (0..4_096).map(|b| (b * n % 251) as u8).collect(),
                3 => b"Content-Type: command/reply\nContent-Length: 99999999999\n\n".to_vec(),
                4 => b"Content-Type: command/reply\nReply-Text: +OK\n\nContent-Type: text/event-plain\nContent-Length: 5\n\nhel".to_vec(),
                _ => b"Header: value\n".repeat(2_000),
            };
            ends.push(tokio::spawn(async move {
                // The daemon may close the connection before everything is written.
                let _ = stranger.write_all(&bytes).await;
                let mut rest = Vec::new();
                let _ = stranger.read_to_end(&mut rest).await;
            }));
        }
        pass(1_000).await;
        house.phone("1001").answer();
        assert_eq!(hans.wait_talking().await, "1001");
        pass(200_000).await;
        assert_eq!(hans.view().talks_to(), Some("1001"));
        for end in ends {
            end.await.unwrap();
        }
        hans.hang_up();
        house.end().await;
    });
}
