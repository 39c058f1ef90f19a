//! Messages to a channel (`sendmsg`).

use bytes::BytesMut;
use uuid::Uuid;

use super::super::api::ApiCall;
use super::super::dial::VariableName;
use super::super::text::{Argument, ChannelId, Line, TextError, is_balanced, names_module, word};
use super::{body, header, sendmsg};

/// Longer arguments are sent in the body. FreeSWITCH reads a head one byte per system call and yields to other threads
/// after each (4 kB take 5.6 ms, or a hundred milliseconds on a busy switch; as a body 0.2 ms). A body makes the head
/// longer by as much as an argument of this length does, with the name of its header.
pub(super) const LONG_ARGUMENT: usize = 28;

/// An application to execute on a channel.
///
/// FreeSWITCH expands `${...}` in an argument, API calls included: `${system(...)}` runs a shell command. Embed text
/// from outside only as [`SafeText`](crate::esl::text::SafeText).
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
    /// [`TextError`] when the name is not a word, or the argument contains a line break or NUL.
    pub fn with(app: &str, argument: &str) -> Result<Self, TextError> {
        let argument = Some(Argument::new(argument.to_owned())?).filter(|text| !text.as_str().is_empty());
        Ok(Self { argument, ..Self::new(app)? })
    }

    /// Does what [`Command::BgApi`](super::Command::BgApi) does, but executed by the channel. Use it for long commands:
    /// FreeSWITCH reads this one at once, since it is in the body. The job's result comes as usual. The `set` that
    /// starts the job ends with `Application-Data: variable=+OK Job-UUID: job`; if it ends with anything else,
    /// FreeSWITCH is configured not to expand API calls (`api-expansion` in switch.conf.xml). A channel executes it
    /// only after a [locked](Self::locked) playback has ended or a stream has opened.
    ///
    /// # Errors
    /// [`TextError`] when FreeSWITCH, which looks for `${` and counts brackets (`switch_channel_expand_variables_check`
    /// in switch_channel.c), would misread the command.
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

    /// Executes it on `channel` instead of the connection's own.
    #[must_use]
    pub fn on(self, channel: ChannelId) -> Self {
        Self { channel: Some(channel), ..self }
    }

    /// Sets an id, which comes back as `Application-UUID` in CHANNEL_EXECUTE_COMPLETE.
    #[must_use]
    pub fn event_uuid(self, id: Uuid) -> Self {
        Self { event: Some(id), ..self }
    }

    /// Lets the application finish before the next queued command runs. Without this, FreeSWITCH runs the next one at
    /// once, nested inside the one that is playing.
    #[must_use]
    pub fn locked(self) -> Self {
        Self { locked: true, ..self }
    }

    /// Repeats it this many times. FreeSWITCH executes an application that ends at once only once (measured on 1.11.3
    /// with `set`).
    #[must_use]
    pub fn loops(self, times: u32) -> Self {
        Self { loops: Some(times), ..self }
    }

    /// Sends the argument in the body even if it is short: for arguments with text from outside. Arguments that are
    /// long, begin with a blank, or name FreeSWITCH's own module always go there.
    #[must_use]
    pub fn in_body(self) -> Self {
        Self { in_body: true, ..self }
    }

    pub(super) fn body(&self) -> Option<&str> {
        let text = self.argument.as_ref()?.as_str();
        // FreeSWITCH skips blanks before a header's value.
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

/// Where to send a channel's audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unicast {
    /// The channel; the connection's own when absent.
    pub channel: Option<ChannelId>,
    /// FreeSWITCH's end.
    pub local: std::net::SocketAddr,
    /// The other end.
    pub remote: std::net::SocketAddr,
    /// Uses TCP in place of UDP.
    pub tcp: bool,
    /// Sends it in FreeSWITCH's internal format, not in the codec of the call.
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
