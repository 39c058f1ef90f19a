//! Events: what FreeSWITCH sends without being asked each time.

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memchr;
use memchr::memmem::Finder;
use uuid::Uuid;

use super::cause::Cause;
use super::headers::{Headers, Writing};
use super::json::JsonEvent;
use super::kind::EventKind;

/// An event. Headers are decoded only when they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    kind: EventKind,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Plain { headers: Headers, body: Bytes },
    Json(JsonEvent),
}

/// The last header of an event that has a body.
const CONTENT_LENGTH: &[u8] = b"\nContent-Length: ";
/// Finds it; built once, because every event is searched for it.
static FIND_CONTENT_LENGTH: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(CONTENT_LENGTH));

/// The length and the start of the body, if the header found at `at` is the last of its block.
fn announced_body(block: &[u8], at: usize) -> Option<(usize, usize)> {
    let value_at = at + CONTENT_LENGTH.len();
    let value = block.get(value_at..)?;
    let end = memchr(b'\n', value)?;
    if value.get(end + 1) != Some(&b'\n') {
        return None;
    }
    let length = std::str::from_utf8(value.get(..end)?).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    Some((length, value_at + end + 2))
}

impl Event {
    /// Reads the body of a `text/event-plain` frame: a header block, a blank line and, if the last header is
    /// `Content-Length`, that many bytes. If fewer bytes follow, they are the body.
    pub fn plain(mut block: Bytes) -> Self {
        let mut body = Bytes::new();
        if let Some((length, at)) = FIND_CONTENT_LENGTH.find_iter(&block).find_map(|at| announced_body(&block, at)) {
            body = block.slice(at..at.saturating_add(length).min(block.len()));
            block.truncate(at);
        }
        let headers = Headers::new(block, Writing::Encoded);
        let kind = headers.raw("Event-Name").map_or(EventKind::Other, EventKind::from_name);
        Self { kind, form: Form::Plain { headers, body } }
    }

    /// Reads the body of a `text/event-json` frame; `None` when it is not a JSON object.
    ///
    /// Prefer plain events: FreeSWITCH copies invalid UTF-8 into JSON, and JSON takes several times as long to read.
    pub fn json(text: &[u8], most_headers: usize) -> Option<Self> {
        let event = JsonEvent::parse(text, most_headers)?;
        let kind = event.get("", "Event-Name").map_or(EventKind::Other, |name| EventKind::from_name(name.as_bytes()));
        Some(Self { kind, form: Form::Json(event) })
    }

    /// Its kind.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Its `Event-Name`, also when the kind is [`EventKind::Other`].
    pub fn name(&self) -> Cow<'_, str> {
        self.header("Event-Name").unwrap_or_default()
    }

    /// The decoded value of a header. An empty value (`_undef_`) reads as absent; see [`Headers`].
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        match &self.form {
            Form::Plain { headers, .. } => headers.get(name),
            Form::Json(event) => event.get("", name).map(Cow::Borrowed),
        }
    }

    /// The decoded value of a channel variable (header `variable_NAME`).
    pub fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        match &self.form {
            Form::Plain { headers, .. } => headers.variable(name),
            Form::Json(event) => event.get("variable_", name).map(Cow::Borrowed),
        }
    }

    /// Every header, decoded, in the order sent.
    pub fn headers(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        match &self.form {
            Form::Plain { headers, .. } => headers.iter().collect(),
            Form::Json(event) => event.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }

    /// The body, which is not encoded; empty when there is none.
    pub fn body(&self) -> &[u8] {
        match &self.form {
            Form::Plain { body, .. } => body,
            Form::Json(event) => event.body().as_bytes(),
        }
    }

    /// The body as text, invalid UTF-8 replaced.
    pub fn body_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.body())
    }

    /// How many received bytes it keeps in memory.
    pub(crate) fn size(&self) -> usize {
        match &self.form {
            Form::Plain { headers, body } => headers.size() + body.len(),
            Form::Json(event) => {
                event.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + self.body().len()
            }
        }
    }

    /// The channel it is about: `Unique-ID`.
    pub fn channel(&self) -> Option<Cow<'_, str>> {
        self.header("Unique-ID")
    }

    /// Why a channel was hung up: `Hangup-Cause`.
    pub fn hangup_cause(&self) -> Option<Cause> {
        self.header("Hangup-Cause").map(|name| Cause::from_name(name.as_bytes()))
    }

    /// The application a CHANNEL_EXECUTE or CHANNEL_EXECUTE_COMPLETE is about.
    pub fn application(&self) -> Option<Cow<'_, str>> {
        self.header("Application")
    }

    /// The `Event-UUID` sent with the command that executed the application.
    pub fn application_uuid(&self) -> Option<Uuid> {
        self.header("Application-UUID").and_then(|text| Uuid::try_parse(&text).ok())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn plain(text: &'static str) -> Event {
        Event::plain(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn content_length_bounds_the_body() {
        let job = plain("Event-Name: BACKGROUND_JOB\nContent-Length: 5\n\n-ERR xyz");
        assert_eq!((job.kind(), job.body_text()), (EventKind::BackgroundJob, "-ERR ".into()));
        assert_eq!(plain("Event-Name: CUSTOM\nContent-Length: 500\n\nshort").body_text(), "short");
        assert_eq!(plain("Event-Name: CUSTOM\nContent-Length: x\n\nshort").body_text(), "");
        assert_eq!(plain("Event-Name: CUSTOM\n\nrest").body_text(), "");
        assert_eq!(plain("Content-Length: 9\nEvent-Name: CUSTOM\n\nrest").body_text(), "");
    }

    #[test]
    fn an_event_without_a_blank_line_is_read() {
        let event = plain("Event-Name: DTMF\nDTMF-Digit: 5\nDTMF-Dur");
        assert_eq!(event.kind(), EventKind::Dtmf);
        assert_eq!(event.header("DTMF-Digit").unwrap(), "5");
        assert_eq!(event.headers().len(), 2);
    }

    #[test]
    fn an_empty_or_unknown_event_is_of_kind_other() {
        assert_eq!(plain("").kind(), EventKind::Other);
        assert_eq!(plain("\n\n").name(), "");
        assert_eq!(plain("Event-Name: CHANNEL_SOMETHING\n\n").name(), "CHANNEL_SOMETHING");
    }

    #[test]
    fn json_and_plain_events_read_the_same() {
        let json = br#"{"Event-Name":"CHANNEL_HANGUP","Unique-ID":"u1","Hangup-Cause":"USER_BUSY",
            "variable_a":"x y","variable_list":["1","2"],"empty":"","n":7,"_body":"text","odd":{"deep":[1]}}"#;
        let json = Event::json(json, 1000).unwrap();
        let plain = plain(
            "Event-Name: CHANNEL_HANGUP\nUnique-ID: u1\nHangup-Cause: USER_BUSY\nvariable_a: x%20y\n\
             variable_list: ARRAY%3A%3A1|%3A2\nempty: _undef_\nn: 7\nContent-Length: 4\n\ntext",
        );
        for name in ["Event-Name", "Unique-ID", "variable_list", "empty", "n", "absent"] {
            assert_eq!(json.header(name), plain.header(name), "{name}");
        }
        assert_eq!(json.variable("a"), plain.variable("a"));
        assert_eq!((json.kind(), json.hangup_cause()), (plain.kind(), plain.hangup_cause()));
        assert_eq!(json.body(), plain.body());
        assert_eq!(Event::json(b"[1]", 1000), None);
        assert_eq!(Event::json(b"{\"Event-Name\":\"\xff\"}", 1000).unwrap().name(), "\u{fffd}");
    }
}
