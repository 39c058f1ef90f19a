//! Commands: values that are validated when they are built and that render themselves.
//!
//! A command's lines end with LF alone. A stray CR would join lines, and FreeSWITCH would answer `+OK` and do nothing.
//! So no part of a command can contain a line break or NUL.

mod events;
mod message;

use std::fmt;

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use super::api::ApiCall;
use super::cause::Cause;
use super::log::LogLevel;
use super::text::{ChannelId, Line, TextError};

pub use events::{EventSet, Filter, SendEvent};
pub use message::{Execute, Unicast};

/// A command of the Event Socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Takes over the call of an outbound connection; the reply carries the channel. FreeSWITCH waits 25 s for it.
    Connect,
    /// Subscribes to the events of the call's own leg: 23 types, without HOLD, PLAYBACK_*, BACKGROUND_JOB, CUSTOM.
    MyEvents,
    /// Subscribes to more events.
    Events(EventSet),
    /// Unsubscribes from these events.
    NixEvents(EventSet),
    /// Unsubscribes from all events.
    NoEvents,
    /// Adds a filter: from then on only events that pass one of the connection's filters are sent.
    Filter(Filter),
    /// Removes a filter.
    FilterDelete(Filter),
    /// Keeps the connection open this many seconds after the hang-up, for the last events.
    Linger(u16),
    /// Cancels [`Command::Linger`].
    NoLinger,
    /// Starts or stops sending the events that are queued on the channel itself, such as DTMF in an application.
    DivertEvents(bool),
    /// Executes an application. `+OK` means queued, not done: it ends with CHANNEL_EXECUTE_COMPLETE.
    Execute(Execute),
    /// Hangs up a channel.
    Hangup {
        /// The channel; the connection's own when absent.
        channel: Option<ChannelId>,
        /// The cause.
        cause: Cause,
    },
    /// Sends a channel's audio somewhere else than to its far end.
    Unicast(Unicast),
    /// Runs an API command in the connection's own thread: no events and no other command until it ends.
    Api(ApiCall),
    /// Runs an API command in a thread of its own; a BACKGROUND_JOB event brings the result.
    BgApi {
        /// The Job-UUID that identifies the result.
        job: Uuid,
        /// The command.
        call: ApiCall,
    },
    /// Fires an event in FreeSWITCH.
    SendEvent(SendEvent),
    /// Subscribes to the lines of FreeSWITCH's log up to this level.
    Log(LogLevel),
    /// Unsubscribes from the log.
    NoLog,
    /// Logs in on an inbound connection.
    Auth(Password),
    /// Logs in on an inbound connection as a user of the directory (`user@domain`).
    UserAuth {
        /// The user, `name@domain`.
        user: Line,
        /// The password.
        password: Password,
    },
    /// Ends the connection.
    Exit,
}

impl Command {
    /// Appends the command as FreeSWITCH reads it.
    pub fn render(&self, out: &mut BytesMut) {
        match self {
            Self::Connect => line(out, &["connect"]),
            Self::MyEvents => line(out, &["myevents plain"]),
            Self::Events(set) => set.render(set.verb(), out),
            Self::NixEvents(set) => set.render("nixevent", out),
            Self::NoEvents => line(out, &["noevents"]),
            Self::Filter(filter) => filter.render("filter ", out),
            Self::FilterDelete(filter) => filter.render("filter delete ", out),
            Self::Linger(seconds) => line(out, &["linger ", &seconds.to_string()]),
            Self::NoLinger => line(out, &["nolinger"]),
            Self::DivertEvents(on) => line(out, &["divert_events ", if *on { "on" } else { "off" }]),
            Self::Execute(execute) => execute.render(out),
            Self::Hangup { channel, cause } => {
                sendmsg(channel.as_ref(), "hangup", out);
                header(out, "hangup-cause", cause.as_str());
            }
            Self::Unicast(unicast) => unicast.render(out),
            Self::Api(call) => line(out, &["api ", call.as_str()]),
            Self::BgApi { job, call } => {
                line(out, &["bgapi ", call.as_str()]);
                header(out, "Job-UUID", &job.to_string());
            }
            Self::SendEvent(event) => return event.render(out),
            Self::Log(level) => line(out, &["log ", &level.number().to_string()]),
            Self::NoLog => line(out, &["nolog"]),
            Self::Auth(password) => line(out, &["auth ", password.0.as_str()]),
            Self::UserAuth { user, password } => line(out, &["userauth ", user.as_str(), ":", password.0.as_str()]),
            Self::Exit => line(out, &["exit"]),
        }
        // An argument sent as the body has ended the head already.
        if !matches!(self, Self::Execute(execute) if execute.body().is_some()) {
            out.put_u8(b'\n');
        }
    }

    /// Whether FreeSWITCH replies with `api/response`.
    pub(crate) fn is_api(&self) -> bool {
        matches!(self, Self::Api(_))
    }
}

impl From<Execute> for Command {
    fn from(execute: Execute) -> Self {
        Self::Execute(execute)
    }
}

fn line(out: &mut BytesMut, parts: &[&str]) {
    for part in parts {
        out.put_slice(part.as_bytes());
    }
    out.put_u8(b'\n');
}

fn header(out: &mut BytesMut, name: &str, value: &str) {
    line(out, &[name, ": ", value]);
}

fn body(out: &mut BytesMut, text: &str) {
    header(out, "content-length", &text.len().to_string());
    out.put_u8(b'\n');
    out.put_slice(text.as_bytes());
}

fn sendmsg(channel: Option<&ChannelId>, what: &str, out: &mut BytesMut) {
    match channel {
        Some(channel) => line(out, &["sendmsg ", channel.as_str()]),
        None => line(out, &["sendmsg"]),
    }
    header(out, "call-command", what);
}

/// A password. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Line);

impl Password {
    /// Validates a password.
    ///
    /// # Errors
    /// [`TextError`] when it contains a line break or NUL, or names `mod_event_socket`.
    pub fn new(text: &str) -> Result<Self, TextError> {
        Line::new(text.to_owned()).map(Self)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::dial::VariableName;
    use super::super::kind::EventKind;
    use super::message::LONG_ARGUMENT;
    use super::*;

    fn rendered(command: impl Into<Command>) -> String {
        let mut out = BytesMut::new();
        command.into().render(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn channel() -> ChannelId {
        ChannelId::new("7c2a4d50").unwrap()
    }

    const JOB: Uuid = Uuid::from_u128(7);
    const JOB_TEXT: &str = "00000000-0000-0000-0000-000000000007";

    #[test]
    fn simple_commands_are_one_line() {
        let kinds = EventSet::of(&[EventKind::Dtmf, EventKind::Custom, EventKind::ChannelPark, EventKind::Other]);
        let custom = kinds.clone().custom("sofia::register").unwrap().custom("sofia::expire").unwrap();
        for (command, text) in [
            (Command::Connect, "connect\n\n"),
            (Command::MyEvents, "myevents plain\n\n"),
            (Command::Events(custom.clone()), "event plain DTMF CHANNEL_PARK CUSTOM sofia::register sofia::expire\n\n"),
            (Command::Events(EventSet::of(&[EventKind::Dtmf]).json()), "event json DTMF\n\n"),
            (Command::NixEvents(custom.json()), "nixevent DTMF CHANNEL_PARK CUSTOM sofia::register sofia::expire\n\n"),
            (Command::Events(EventSet::all()), "event plain ALL\n\n"),
            (Command::NixEvents(kinds), "nixevent DTMF CHANNEL_PARK\n\n"),
            (Command::NoEvents, "noevents\n\n"),
            (Command::Filter(Filter::channel(&channel())), "filter Unique-ID 7c2a4d50\n\n"),
            (Command::FilterDelete(Filter::channel(&channel())), "filter delete Unique-ID 7c2a4d50\n\n"),
            (Command::Linger(2), "linger 2\n\n"),
            (Command::NoLinger, "nolinger\n\n"),
            (Command::DivertEvents(true), "divert_events on\n\n"),
            (Command::Api(ApiCall::show_channels()), "api show channels as json\n\n"),
            (Command::Log(LogLevel::Debug), "log 7\n\n"),
            (Command::NoLog, "nolog\n\n"),
            (Command::Auth(Password::new("ClueCon").unwrap()), "auth ClueCon\n\n"),
            (Command::Exit, "exit\n\n"),
        ] {
            assert_eq!(rendered(command), text);
        }
        let job = Command::BgApi { job: JOB, call: ApiCall::uuid_exists(&channel()) };
        assert_eq!(rendered(job), format!("bgapi uuid_exists 7c2a4d50\nJob-UUID: {JOB_TEXT}\n\n"));
        let user = Command::UserAuth { user: Line::new("a@b").unwrap(), password: Password::new("x").unwrap() };
        assert!(!format!("{user:?}").contains("\"x\""));
        assert_eq!(rendered(user), "userauth a@b:x\n\n");
    }

    #[test]
    fn a_long_job_is_sent_in_the_body_of_a_set_on_the_channel() {
        let name = VariableName::new("order").unwrap();
        let call = ApiCall::new("originate {a='b (c)'}user/1 &park()").unwrap();
        let command: Command = Execute::background(&name, JOB, &call).unwrap().into();
        let mut out = BytesMut::new();
        command.render(&mut out);
        let body = format!("order=${{bgapi(uuid:{JOB} originate {{a='b (c)'}}user/1 &park())}}");
        assert_eq!(
            String::from_utf8(out.to_vec()).unwrap(),
            format!(
                "sendmsg\ncall-command: execute\nexecute-app-name: set\ncontent-type: text/plain\ncontent-length: {}\n\n{body}",
                body.len()
            )
        );
    }

    /// Q21: a command that FreeSWITCH would expand to something else is refused.
    #[test]
    fn a_job_that_a_channel_would_misread_is_refused() {
        let name = VariableName::new("order").unwrap();
        for bad in ["a ${b}", "a \\", "a)", "a (", "a )(", "a }{", "a {b"] {
            assert!(Execute::background(&name, JOB, &ApiCall::new(bad).unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_application_is_sent_with_its_options() {
        let execute = Execute::with("playback", "/a b.wav").unwrap().locked().loops(2).event_uuid(JOB).on(channel());
        let text = format!(
            "sendmsg 7c2a4d50\ncall-command: execute\nexecute-app-name: playback\nloops: 2\nevent-lock: true\n\
             Event-UUID: {JOB_TEXT}\nexecute-app-arg: /a b.wav\n\n"
        );
        assert_eq!(rendered(execute), text);
        let answer = Execute::new("answer").unwrap();
        assert_eq!(rendered(answer), "sendmsg\ncall-command: execute\nexecute-app-name: answer\n\n");
        assert_eq!(Execute::with("answer", "").unwrap(), Execute::new("answer").unwrap());
    }

    #[test]
    fn long_outside_and_trapping_arguments_are_sent_in_the_body() {
        let head = "sendmsg\ncall-command: execute\nexecute-app-name: log\ncontent-type: text/plain\ncontent-length: ";
        let long = "x".repeat(LONG_ARGUMENT + 1);
        assert_eq!(rendered(Execute::with("log", &long).unwrap()), format!("{head}{}\n\n{long}", LONG_ARGUMENT + 1));
        let trap = "RELOAD mod_EVENT_socket";
        assert_eq!(rendered(Execute::with("log", trap).unwrap()), format!("{head}23\n\n{trap}"));
        assert_eq!(rendered(Execute::with("log", "\u{fc}").unwrap().in_body()), format!("{head}2\n\n\u{fc}"));
    }

    #[test]
    fn hangup_and_unicast_are_messages_to_a_channel() {
        let hangup = Command::Hangup { channel: Some(channel()), cause: Cause::UserBusy };
        assert_eq!(rendered(hangup), "sendmsg 7c2a4d50\ncall-command: hangup\nhangup-cause: USER_BUSY\n\n");
        let unicast = Command::Unicast(Unicast {
            channel: None,
            local: "127.0.0.1:8025".parse().unwrap(),
            remote: "127.0.0.1:8026".parse().unwrap(),
            tcp: false,
            native: true,
        });
        let text = "sendmsg\ncall-command: unicast\nlocal-ip: 127.0.0.1\nlocal-port: 8025\nremote-ip: 127.0.0.1\n\
            remote-port: 8026\ntransport: udp\nflags: native\n\n";
        assert_eq!(rendered(unicast), text);
    }

    #[test]
    fn an_event_is_fired_with_headers_and_body() {
        let event = SendEvent::new("PRESENCE_IN").unwrap().header("proto", "sip").unwrap();
        assert_eq!(rendered(Command::SendEvent(event.clone())), "sendevent PRESENCE_IN\nproto: sip\n\n");
        let with_body = event.clone().body("a\nb").unwrap();
        let text = "sendevent PRESENCE_IN\nproto: sip\ncontent-length: 3\n\na\nb";
        assert_eq!(rendered(Command::SendEvent(with_body)), text);
        assert!(event.clone().header("a:b", "c").is_err());
        assert!(event.clone().header("Content-Length", "1").is_err());
        assert!(event.clone().header("a", "b\n\nexit").is_err());
        assert!(event.body("\0").is_err());
    }

    #[test]
    fn nothing_from_outside_ends_a_line() {
        for bad in ["a\nb", "a\rb", "a\0b"] {
            assert!(Execute::with("log", bad).is_err());
            assert!(Execute::new(bad).is_err());
            assert!(ApiCall::new(bad).is_err());
            assert!(Filter::new("Unique-ID", bad).is_err());
            assert!(Filter::new(bad, "x").is_err());
            assert!(ChannelId::new(bad).is_err());
            assert!(Password::new(bad).is_err());
            assert!(SendEvent::new(bad).is_err());
            assert!(EventSet::of(&[]).custom(bad).is_err());
        }
    }
}
