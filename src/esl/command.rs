//! Commands: values that were checked when they were built and render themselves.
//!
//! A command is one write of lines that end with LF alone; a stray CR would glue lines together, and FreeSWITCH would
//! answer `+OK` and do nothing. So no part of a command can hold a line break or NUL.

use std::fmt;

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use super::api::ApiCall;
use super::cause::Cause;
use super::kind::EventKind;
use super::text::{Argument, ChannelId, Line, TextError, names_module, word};

/// From this many bytes on an argument travels in the body: FreeSWITCH reads a head one byte a system call
/// (4 kB take 5.6 ms, as a body 0.2 ms).
const LONG_ARGUMENT: usize = 128;

/// A command of the Event Socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Takes over the call of an outbound connection; answered with the channel. FreeSWITCH waits 25 s for it.
    Connect,
    /// The events of the call's own leg: 23 types, without HOLD, PLAYBACK_*, BACKGROUND_JOB, CUSTOM.
    MyEvents,
    /// Adds events to those that are sent.
    Events(EventSet),
    /// Takes events away from those that are sent.
    NixEvents(EventSet),
    /// Sends no events any more.
    NoEvents,
    /// Sends only events that pass one of the connection's filters.
    Filter(Filter),
    /// Takes a filter away.
    FilterDelete(Filter),
    /// Keeps the connection open this many seconds after the hang-up, for the last events.
    Linger(u16),
    /// Takes [`Command::Linger`] back.
    NoLinger,
    /// Sends (or no longer sends) the events that are queued on the channel itself, such as DTMF in an application.
    DivertEvents(bool),
    /// Executes an application. `+OK` means queued, not done: the end is a CHANNEL_EXECUTE_COMPLETE.
    Execute(Execute),
    /// Hangs a channel up.
    Hangup {
        /// The channel; the connection's own when absent.
        channel: Option<ChannelId>,
        /// The cause.
        cause: Cause,
    },
    /// Sends a channel's sound to another place than its far end.
    Unicast(Unicast),
    /// Runs an API command in the connection's own thread: no events and no other command until it ends.
    Api(ApiCall),
    /// Runs an API command in a thread of its own; its end is a BACKGROUND_JOB event.
    BgApi {
        /// The Job-UUID by which the end is known.
        job: Uuid,
        /// The command.
        call: ApiCall,
    },
    /// Fires an event in FreeSWITCH.
    SendEvent(SendEvent),
    /// Logs in to an inbound connection.
    Auth(Secret),
    /// Logs in to an inbound connection as a user of the directory (`user@domain`).
    UserAuth {
        /// The user, `name@domain`.
        user: Line,
        /// The password.
        secret: Secret,
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
            Self::Events(set) => set.render("event plain", out),
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
            Self::Auth(secret) => line(out, &["auth ", secret.0.as_str()]),
            Self::UserAuth { user, secret } => line(out, &["userauth ", user.as_str(), ":", secret.0.as_str()]),
            Self::Exit => line(out, &["exit"]),
        }
        // An application's argument may have ended the head and gone into a body.
        if !matches!(self, Self::Execute(execute) if execute.body().is_some()) {
            out.put_u8(b'\n');
        }
    }

    /// Whether it is answered with `api/response`.
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

/// An application to execute on a channel.
///
/// FreeSWITCH expands `${...}` in an argument, API calls included: `${system(...)}` is a shell command. Text from
/// outside may be part of one as [`SafeText`](super::text::SafeText) only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execute {
    channel: Option<ChannelId>,
    app: Line,
    argument: Option<Argument>,
    event: Option<Uuid>,
    locked: bool,
    loops: Option<u32>,
    in_body: bool,
}

impl Execute {
    /// An application without an argument.
    ///
    /// # Errors
    /// [`TextError`] when the name is not a word.
    pub fn new(app: &str) -> Result<Self, TextError> {
        let app = Line::of_checked(word(app, 64, "_-")?.to_owned());
        Ok(Self { channel: None, app, argument: None, event: None, locked: false, loops: None, in_body: false })
    }

    /// An application and its argument.
    ///
    /// # Errors
    /// [`TextError`] when the name is not a word, or the argument holds a line break or NUL.
    pub fn with(app: &str, argument: &str) -> Result<Self, TextError> {
        let argument = Some(Argument::new(argument.to_owned())?).filter(|text| !text.as_str().is_empty());
        Ok(Self { argument, ..Self::new(app)? })
    }

    /// On another channel than the connection's own.
    #[must_use]
    pub fn on(self, channel: ChannelId) -> Self {
        Self { channel: Some(channel), ..self }
    }

    /// With an id that comes back as `Application-UUID` of CHANNEL_EXECUTE_COMPLETE.
    #[must_use]
    pub fn event_uuid(self, id: Uuid) -> Self {
        Self { event: Some(id), ..self }
    }

    /// To its end before the next queued command runs. Without it FreeSWITCH runs the application at once, nested
    /// inside whatever is playing.
    #[must_use]
    pub fn locked(self) -> Self {
        Self { locked: true, ..self }
    }

    /// This many times.
    #[must_use]
    pub fn loops(self, times: u32) -> Self {
        Self { loops: Some(times), ..self }
    }

    /// With the argument in the body however short it is: for arguments with text from outside. Long ones, and those
    /// that name FreeSWITCH's own module, go there anyhow.
    #[must_use]
    pub fn in_body(self) -> Self {
        Self { in_body: true, ..self }
    }

    fn body(&self) -> Option<&str> {
        let text = self.argument.as_ref()?.as_str();
        (self.in_body || text.len() > LONG_ARGUMENT || names_module(text)).then_some(text)
    }

    fn render(&self, out: &mut BytesMut) {
        sendmsg(self.channel.as_ref(), "execute", out);
        header(out, "execute-app-name", self.app.as_str());
        if let Some(times) = self.loops {
            header(out, "loops", &times.to_string());
        }
        if self.locked {
            header(out, "event-lock", "true");
        }
        if let Some(id) = self.event {
            header(out, "Event-UUID", &id.to_string());
        }
        match (self.body(), &self.argument) {
            (Some(text), _) => {
                header(out, "content-type", "text/plain");
                body(out, text);
            }
            (None, Some(argument)) => header(out, "execute-app-arg", argument.as_str()),
            (None, None) => {}
        }
    }
}

/// Events to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSet {
    kinds: Vec<EventKind>,
    subclasses: Vec<Line>,
}

impl EventSet {
    /// Events by their kinds. [`EventKind::Other`] has no name and is left out.
    pub fn of(kinds: &[EventKind]) -> Self {
        let kinds = kinds.iter().copied().filter(|kind| !matches!(kind, EventKind::Other | EventKind::Custom));
        Self { kinds: kinds.collect(), subclasses: Vec::new() }
    }

    /// And the CUSTOM events of a subclass such as `sofia::register`.
    ///
    /// # Errors
    /// [`TextError`] when the subclass is not a word.
    pub fn custom(mut self, subclass: &str) -> Result<Self, TextError> {
        self.subclasses.push(Line::of_checked(word(subclass, 128, "_-:.")?.to_owned()));
        Ok(self)
    }

    fn render(&self, verb: &str, out: &mut BytesMut) {
        out.put_slice(verb.as_bytes());
        // Every word behind CUSTOM is a subclass, so it comes last.
        let custom = (!self.subclasses.is_empty()).then_some(EventKind::Custom.as_str());
        let kinds = self.kinds.iter().map(|kind| kind.as_str()).chain(custom);
        for name in kinds.chain(self.subclasses.iter().map(Line::as_str)) {
            out.put_u8(b' ');
            out.put_slice(name.as_bytes());
        }
        out.put_u8(b'\n');
    }
}

/// A filter: of the events asked for, those with this value in this header pass. Filters are an OR; an event with none
/// of the named headers does not pass, so a BACKGROUND_JOB needs [`Filter::job`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    header: Line,
    value: Line,
}

impl Filter {
    /// Events with `value` in `header`.
    ///
    /// # Errors
    /// [`TextError`] when the header's name is not a word, or the value is not one line.
    pub fn new(header: &str, value: &str) -> Result<Self, TextError> {
        Ok(Self { header: Line::of_checked(word(header, 128, "_-")?.to_owned()), value: Line::new(value.to_owned())? })
    }

    /// The events of a channel.
    pub fn channel(channel: &ChannelId) -> Self {
        Self { header: Line::of_checked("Unique-ID"), value: Line::of_checked(channel.to_string()) }
    }

    /// The end of a background job.
    pub fn job(job: Uuid) -> Self {
        Self { header: Line::of_checked("Job-UUID"), value: Line::of_checked(job.to_string()) }
    }

    fn render(&self, verb: &str, out: &mut BytesMut) {
        line(out, &[verb, self.header.as_str(), " ", self.value.as_str()]);
    }
}

/// Where a channel's sound is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unicast {
    /// The channel; the connection's own when absent.
    pub channel: Option<ChannelId>,
    /// FreeSWITCH's end.
    pub local: std::net::SocketAddr,
    /// The other end.
    pub remote: std::net::SocketAddr,
    /// Over TCP in place of UDP.
    pub tcp: bool,
    /// As FreeSWITCH has it internally, not in the codec of the call.
    pub native: bool,
}

impl Unicast {
    fn render(&self, out: &mut BytesMut) {
        sendmsg(self.channel.as_ref(), "unicast", out);
        header(out, "local-ip", &self.local.ip().to_string());
        header(out, "local-port", &self.local.port().to_string());
        header(out, "remote-ip", &self.remote.ip().to_string());
        header(out, "remote-port", &self.remote.port().to_string());
        header(out, "transport", if self.tcp { "tcp" } else { "udp" });
        if self.native {
            header(out, "flags", "native");
        }
    }
}

/// An event to fire in FreeSWITCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendEvent {
    name: Line,
    headers: Vec<(Line, Line)>,
    body: Option<String>,
}

impl SendEvent {
    /// An event by its name, such as `PRESENCE_IN`.
    ///
    /// # Errors
    /// [`TextError`] when the name is not a word.
    pub fn new(name: &str) -> Result<Self, TextError> {
        Ok(Self { name: Line::of_checked(word(name, 128, "_-:.")?.to_owned()), headers: Vec::new(), body: None })
    }

    /// With a header.
    ///
    /// # Errors
    /// [`TextError`] when the name is not a word or is `content-length`, or the value is not one line.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, TextError> {
        let name = word(name, 256, "_-.")?;
        if name.eq_ignore_ascii_case("content-length") {
            return Err(TextError::Character('-'));
        }
        self.headers.push((Line::of_checked(name.to_owned()), Line::new(value.to_owned())?));
        Ok(self)
    }

    /// With a body, which may have several lines.
    ///
    /// # Errors
    /// [`TextError::LineBreak`] when it holds NUL, where FreeSWITCH would cut it off.
    pub fn body(mut self, text: &str) -> Result<Self, TextError> {
        if text.contains('\0') {
            return Err(TextError::LineBreak('\0'));
        }
        self.body = Some(text.to_owned()).filter(|text| !text.is_empty());
        Ok(self)
    }

    fn render(&self, out: &mut BytesMut) {
        line(out, &["sendevent ", self.name.as_str()]);
        for (name, value) in &self.headers {
            header(out, name.as_str(), value.as_str());
        }
        match &self.body {
            Some(text) => body(out, text),
            None => out.put_u8(b'\n'),
        }
    }
}

/// A password. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Line);

impl Secret {
    /// Checks and takes a password.
    ///
    /// # Errors
    /// [`TextError`] when it holds a line break or NUL.
    pub fn new(text: &str) -> Result<Self, TextError> {
        Line::new(text.to_owned()).map(Self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
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
    fn simple_commands() {
        let kinds = EventSet::of(&[EventKind::Dtmf, EventKind::Custom, EventKind::ChannelPark, EventKind::Other]);
        let custom = kinds.clone().custom("sofia::register").unwrap().custom("sofia::expire").unwrap();
        for (command, text) in [
            (Command::Connect, "connect\n\n"),
            (Command::MyEvents, "myevents plain\n\n"),
            (Command::Events(custom), "event plain DTMF CHANNEL_PARK CUSTOM sofia::register sofia::expire\n\n"),
            (Command::NixEvents(kinds), "nixevent DTMF CHANNEL_PARK\n\n"),
            (Command::NoEvents, "noevents\n\n"),
            (Command::Filter(Filter::channel(&channel())), "filter Unique-ID 7c2a4d50\n\n"),
            (Command::FilterDelete(Filter::channel(&channel())), "filter delete Unique-ID 7c2a4d50\n\n"),
            (Command::Linger(2), "linger 2\n\n"),
            (Command::NoLinger, "nolinger\n\n"),
            (Command::DivertEvents(true), "divert_events on\n\n"),
            (Command::Api(ApiCall::show_channels()), "api show channels as json\n\n"),
            (Command::Auth(Secret::new("ClueCon").unwrap()), "auth ClueCon\n\n"),
            (Command::Exit, "exit\n\n"),
        ] {
            assert_eq!(rendered(command), text);
        }
        let job = Command::BgApi { job: JOB, call: ApiCall::uuid_exists(&channel()) };
        assert_eq!(rendered(job), format!("bgapi uuid_exists 7c2a4d50\nJob-UUID: {JOB_TEXT}\n\n"));
        let user = Command::UserAuth { user: Line::new("a@b").unwrap(), secret: Secret::new("x").unwrap() };
        assert!(!format!("{user:?}").contains("\"x\""));
        assert_eq!(rendered(user), "userauth a@b:x\n\n");
    }

    #[test]
    fn an_application_and_its_options() {
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
    fn long_outside_and_trapped_arguments_travel_in_the_body() {
        let head = "sendmsg\ncall-command: execute\nexecute-app-name: log\ncontent-type: text/plain\ncontent-length: ";
        let long = "x".repeat(LONG_ARGUMENT + 1);
        assert_eq!(rendered(Execute::with("log", &long).unwrap()), format!("{head}129\n\n{long}"));
        let trap = "RELOAD mod_EVENT_socket";
        assert_eq!(rendered(Execute::with("log", trap).unwrap()), format!("{head}23\n\n{trap}"));
        assert_eq!(rendered(Execute::with("log", "\u{fc}").unwrap().in_body()), format!("{head}2\n\n\u{fc}"));
    }

    #[test]
    fn messages_to_a_channel() {
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
    fn an_event_to_fire() {
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
            assert!(Secret::new(bad).is_err());
            assert!(SendEvent::new(bad).is_err());
            assert!(EventSet::of(&[]).custom(bad).is_err());
        }
    }
}
