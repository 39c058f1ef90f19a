//! Commands as FreeSWITCH reads them: an independent parser checks that every command arrives as it was built.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::BytesMut;
use freeswitch_queue::esl::command::{Command, EventSet, Filter, Password, SendEvent};
use freeswitch_queue::esl::text::Line;
use freeswitch_queue::esl::{ApiCall, Cause, ChannelId, EventKind, Execute};
use proptest::prelude::*;
use uuid::Uuid;

/// A command as it arrives: first line, headers with names in lower case, body.
#[derive(Debug, PartialEq)]
struct Arrived {
    command: String,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl Arrived {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Reads commands as `mod_event_socket` does: it skips line breaks before a command, ends a head at two line feeds,
/// takes the first line as the command, skips blanks between a colon and the value, and reads as many bytes of body as
/// `content-length` says. A head must not contain CR, which would also end a line, or the name of the module.
fn arrive(mut stream: &str) -> Vec<Arrived> {
    let mut commands = Vec::new();
    loop {
        stream = stream.trim_start_matches(['\r', '\n']);
        if stream.is_empty() {
            return commands;
        }
        let (head, rest) = stream.split_once("\n\n").expect("a head that does not end");
        assert!(!head.contains(['\r', '\0']), "{head:?}");
        assert!(!head.to_ascii_lowercase().contains("mod_event_socket"), "{head:?}");
        let mut lines = head.split('\n');
        let command = lines.next().unwrap().to_owned();
        let headers: Vec<_> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no header")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim_start_matches([' ', '\t']).to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length").map(|(_, text)| text.parse().unwrap());
        let body = length.map(|length: usize| rest[..length].to_owned());
        stream = &rest[length.unwrap_or(0)..];
        commands.push(Arrived { command, headers, body });
    }
}

fn rendered(commands: &[Command]) -> String {
    let mut out = BytesMut::new();
    commands.iter().for_each(|command| command.render(&mut out));
    String::from_utf8(out.to_vec()).unwrap()
}

/// Any text, often a hostile one.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,300}",
        "[a-z:\r\n\0 ]{0,12}",
        Just("reload mod_event_socket".to_owned()),
        Just("x\n\nexit\n\n".to_owned()),
        "\\PC{100,2000}",
    ]
}

fn argument_of(arrived: &Arrived) -> Option<&str> {
    match arrived.header("content-type") {
        Some("text/plain") => arrived.body.as_deref(),
        _ => arrived.header("execute-app-arg"),
    }
}

proptest! {
    #[test]
    fn an_application_arrives_with_its_argument(
        argument in text(), locked: bool, in_body: bool, loops in prop::option::of(0..9_u32), id: u128, other: bool,
    ) {
        let Ok(mut execute) = Execute::with("playback", &argument) else {
            prop_assert!(argument.contains(['\r', '\n', '\0']));
            return Ok(());
        };
        execute = execute.event_uuid(Uuid::from_u128(id));
        if locked { execute = execute.locked(); }
        if in_body { execute = execute.in_body(); }
        if let Some(times) = loops { execute = execute.loops(times); }
        if other { execute = execute.on(ChannelId::new("7c2a").unwrap()); }
        let all = arrive(&rendered(&[Command::Connect, execute.into(), Command::Exit]));
        prop_assert_eq!(all.len(), 3);
        let arrived = &all[1];
        prop_assert_eq!(&arrived.command, if other { "sendmsg 7c2a" } else { "sendmsg" });
        prop_assert_eq!(arrived.header("call-command"), Some("execute"));
        prop_assert_eq!(arrived.header("execute-app-name"), Some("playback"));
        prop_assert_eq!(arrived.header("event-lock"), locked.then_some("true"));
        prop_assert_eq!(arrived.header("loops").map(str::to_owned), loops.map(|times| times.to_string()));
        prop_assert_eq!(arrived.header("event-uuid").unwrap(), Uuid::from_u128(id).to_string());
        prop_assert_eq!(argument_of(arrived).unwrap_or_default(), argument);
    }

    #[test]
    fn an_api_command_arrives_as_one_line(call in text(), id: u128) {
        let job = Uuid::from_u128(id);
        let Ok(call) = ApiCall::new(call) else { return Ok(()) };
        let all = arrive(&rendered(&[Command::Api(call.clone()), Command::BgApi { job, call: call.clone() }]));
        prop_assert_eq!(all.len(), 2);
        prop_assert_eq!(&all[0].command, &format!("api {call}"));
        prop_assert_eq!(&all[1].command, &format!("bgapi {call}"));
        prop_assert_eq!(all[1].header("job-uuid").unwrap(), job.to_string());
    }

    #[test]
    fn an_event_arrives_with_its_headers(
        headers in prop::collection::vec(("[a-zA-Z][a-zA-Z0-9_-]{0,20}", text()), 0..8), body in prop::option::of(text()),
    ) {
        let mut event = SendEvent::new("PRESENCE_IN").unwrap();
        let mut kept = Vec::new();
        for (name, value) in headers {
            if let Ok(with) = event.clone().header(&name, &value) {
                event = with;
                // FreeSWITCH skips blanks before a value.
                kept.push((name.to_ascii_lowercase(), value.trim_start_matches([' ', '\t']).to_owned()));
            }
        }
        let mut body = body.filter(|text| !text.is_empty());
        if let Some(text) = &body {
            match event.clone().body(text) {
                Ok(with) => event = with,
                Err(_) => body = None,
            }
        }
        let all = arrive(&rendered(&[Command::SendEvent(event), Command::NoEvents]));
        prop_assert_eq!(all.len(), 2);
        prop_assert_eq!(&all[0].command, "sendevent PRESENCE_IN");
        if let Some(text) = &body {
            kept.push(("content-length".to_owned(), text.len().to_string()));
        }
        prop_assert_eq!(&all[0].headers, &kept);
        prop_assert_eq!(&all[0].body, &body);
    }

    #[test]
    fn short_commands_arrive_as_one_line(a in text(), b in text()) {
        let mut expected = Vec::new();
        let mut commands = Vec::new();
        if let Ok(filter) = Filter::new("Unique-ID", &a) {
            commands.extend([Command::Filter(filter.clone()), Command::FilterDelete(filter)]);
            expected.extend([format!("filter Unique-ID {a}"), format!("filter delete Unique-ID {a}")]);
        }
        if let Ok(password) = Password::new(&b) {
            commands.push(Command::Auth(password.clone()));
            expected.push(format!("auth {b}"));
            if let Ok(user) = Line::new(a.clone()) {
                commands.push(Command::UserAuth { user, password });
                expected.push(format!("userauth {a}:{b}"));
            }
        }
        if let Ok(set) = EventSet::of(&[EventKind::Heartbeat]).custom(&a) {
            commands.push(Command::Events(set));
            expected.push(format!("event plain HEARTBEAT CUSTOM {a}"));
        }
        if let Ok(channel) = ChannelId::new(&b) {
            commands.push(Command::Hangup { channel: Some(channel), cause: Cause::UserBusy });
            expected.push(format!("sendmsg {b}"));
        }
        let arrived: Vec<_> = arrive(&rendered(&commands)).into_iter().map(|arrived| arrived.command).collect();
        prop_assert_eq!(arrived, expected);
    }
}
