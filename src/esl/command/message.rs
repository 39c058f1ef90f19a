//! Messages to a channel (`sendmsg`).

use bytes::BytesMut;
use uuid::Uuid;

use super::super::api::ApiCall;
use super::super::dial::VariableName;
use super::super::text::{Argument, ChannelId, Line, TextError, is_balanced, names_module, word};
use super::{body, header, sendmsg};

/// Longer arguments travel in the body: FreeSWITCH reads a head one byte a system call and gives way to every other
/// thread behind each (4 kB take 5.6 ms, as a body 0.2 ms; a hundred milliseconds when it has much to do). What a body
/// adds to the head is as long as this and the name of the header it spares.
pub(super) const LONG_ARGUMENT: usize = 28;

/// An application to execute on a channel.
///
/// FreeSWITCH expands `${...}` in an argument, API calls included: `${system(...)}` is a shell command. Text from
/// outside may be part of one as [`SafeText`](crate::esl::text::SafeText) only.
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

    /// What [`Command::BgApi`](super::Command::BgApi) does, by way of the channel: for long commands, since this one is
    /// read at once, in the body. The job's end is told as ever. That the order itself was carried out is told by the end
    /// of a `set` whose `Application-Data` is `variable=+OK Job-UUID: job`; where it stands otherwise, FreeSWITCH is set
    /// not to (`api-expansion` in switch.conf.xml). A channel that plays something [locked](Self::locked), or waits for a
    /// stream to open, carries it out behind that.
    ///
    /// # Errors
    /// [`TextError`] when FreeSWITCH, which looks for `${` and counts brackets (`switch_channel_expand_variables_check`
    /// in switch_channel.c), would not see the command as it is.
    pub fn background(variable: &VariableName, job: Uuid, call: &ApiCall) -> Result<Self, TextError> {
        let text = call.as_str();
        if let Some(c) = text.chars().find(|c| matches!(c, '$' | '\\')) {
            return Err(TextError::Character(c));
        }
        if !is_balanced(text) {
            return Err(TextError::Unbalanced);
        }
        Self::with("set", &format!("{variable}=${{bgapi(uuid:{} {text})}}", job.as_hyphenated()))
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

    /// This many times. An application that ends at once is executed once all the same (measured on 1.11.3 with `set`).
    #[must_use]
    pub fn loops(self, times: u32) -> Self {
        Self { loops: Some(times), ..self }
    }

    /// With the argument in the body however short it is: for arguments with text from outside. Long ones, those that
    /// begin with a blank, and those that name FreeSWITCH's own module, go there anyhow.
    #[must_use]
    pub fn in_body(self) -> Self {
        Self { in_body: true, ..self }
    }

    pub(super) fn body(&self) -> Option<&str> {
        let text = self.argument.as_ref()?.as_str();
        // In a head FreeSWITCH skips the blanks before a value.
        let blanks = text.starts_with([' ', '\t']);
        (self.in_body || blanks || text.len() > LONG_ARGUMENT || names_module(text)).then_some(text)
    }

    pub(super) fn render(&self, out: &mut BytesMut) {
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
    pub(super) fn render(&self, out: &mut BytesMut) {
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
