//! Events: named lists of headers, rendered once for all receivers.

use crate::wire;
use std::borrow::Cow;
use std::sync::OnceLock;

pub(crate) type Header = (Cow<'static, str>, String);

/// The formats a connection can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    #[default]
    Plain,
    Json,
}

#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) name: Cow<'static, str>,
    pub(crate) subclass: Option<String>,
    pub(crate) headers: Vec<Header>,
    pub(crate) body: Option<String>,
    plain: OnceLock<String>,
    json: OnceLock<String>,
}

impl Event {
    pub(crate) fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub(crate) fn push(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.headers.push((name.into(), value.into()));
    }

    /// The first header of that name, in any case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The whole frame.
    pub(crate) fn frame(&self, format: Format) -> &str {
        match format {
            Format::Plain => self.plain.get_or_init(|| frame("plain", &self.plain_body())),
            Format::Json => self.json.get_or_init(|| frame("json", &self.json_body())),
        }
    }

    fn plain_body(&self) -> String {
        let mut out = String::with_capacity(self.headers.len() * 40);
        wire::header_lines(self.headers.iter().map(|(n, v)| (n.as_ref(), v.as_str())), &mut out);
        if let Some(body) = &self.body {
            out.push_str(&format!("Content-Length: {}\n\n{body}", body.len()));
        } else {
            out.push('\n');
        }
        out
    }

    /// The headers as one JSON object, as in `uuid_dump ... json` and JSON events.
    pub(crate) fn json_body(&self) -> String {
        let length = self.body.as_ref().map(|b| b.len().to_string());
        let extra = length.iter().map(|l| ("Content-Length", l.as_str()));
        let body = self.body.iter().map(|b| ("_body", b.as_str()));
        wire::json_object(self.headers.iter().map(|(n, v)| (n.as_ref(), v.as_str())).chain(extra).chain(body))
    }
}

fn frame(kind: &str, body: &str) -> String {
    format!("Content-Length: {}\nContent-Type: text/event-{kind}\n\n{body}", body.len())
}

/// Every event type a connection may name. A name outside this list is ignored by `event`, as FreeSWITCH does.
pub(crate) const NAMES: &[&str] = &[
    "CUSTOM",
    "CHANNEL_CREATE",
    "CHANNEL_DESTROY",
    "CHANNEL_STATE",
    "CHANNEL_CALLSTATE",
    "CHANNEL_ANSWER",
    "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE",
    "CHANNEL_EXECUTE",
    "CHANNEL_EXECUTE_COMPLETE",
    "CHANNEL_HOLD",
    "CHANNEL_UNHOLD",
    "CHANNEL_BRIDGE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_PROGRESS",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_OUTGOING",
    "CHANNEL_PARK",
    "CHANNEL_UNPARK",
    "CHANNEL_APPLICATION",
    "CHANNEL_ORIGINATE",
    "CHANNEL_UUID",
    "CHANNEL_DATA",
    "API",
    "LOG",
    "HEARTBEAT",
    "SHUTDOWN",
    "MODULE_LOAD",
    "MODULE_UNLOAD",
    "RELOADXML",
    "NOTIFY",
    "PRESENCE_IN",
    "PRESENCE_OUT",
    "PRESENCE_PROBE",
    "MESSAGE",
    "TALK",
    "NOTALK",
    "DTMF",
    "DETECTED_SPEECH",
    "BACKGROUND_JOB",
    "CALL_UPDATE",
    "PLAYBACK_START",
    "PLAYBACK_STOP",
    "RECORD_START",
    "RECORD_STOP",
    "MEDIA_BUG_START",
    "MEDIA_BUG_STOP",
    "SESSION_HEARTBEAT",
    "RE_SCHEDULE",
    "STARTUP",
    "CODEC",
    "TRAP",
    "GENERAL",
    "COMMAND",
    "ALL",
];

/// The 23 types of `myevents`.
pub(crate) const MYEVENTS: &[&str] = &[
    "CHANNEL_ANSWER",
    "CHANNEL_APPLICATION",
    "CHANNEL_BRIDGE",
    "CHANNEL_CREATE",
    "CHANNEL_DATA",
    "CHANNEL_DESTROY",
    "CHANNEL_EXECUTE",
    "CHANNEL_EXECUTE_COMPLETE",
    "CHANNEL_HANGUP",
    "CHANNEL_HANGUP_COMPLETE",
    "CHANNEL_ORIGINATE",
    "CHANNEL_UUID",
    "CHANNEL_OUTGOING",
    "CHANNEL_PARK",
    "CHANNEL_PROGRESS",
    "CHANNEL_PROGRESS_MEDIA",
    "CHANNEL_STATE",
    "CHANNEL_UNBRIDGE",
    "CHANNEL_UNPARK",
    "DETECTED_SPEECH",
    "DTMF",
    "NOTALK",
    "TALK",
];
