//! Subscribing to events, filtering them, and firing them.

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use super::super::kind::EventKind;
use super::super::text::{ChannelId, Line, TextError, word};
use super::{body, header, line};

/// Events to subscribe to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSet {
    all: bool,
    json: bool,
    kinds: Vec<EventKind>,
    subclasses: Vec<Line>,
}

impl EventSet {
    /// Events by kind. [`EventKind::Other`], which has no name, is left out, and so is [`EventKind::Custom`]: subscribe
    /// to its subclasses with [`EventSet::custom`].
    pub fn of(kinds: &[EventKind]) -> Self {
        let kinds = kinds.iter().copied().filter(|kind| !matches!(kind, EventKind::Other | EventKind::Custom));
        Self { all: false, json: false, kinds: kinds.collect(), subclasses: Vec::new() }
    }

    /// Every event. On the connections of calls the cost grows with the square of the number of calls.
    pub fn all() -> Self {
        Self { all: true, ..Self::of(&[]) }
    }

    /// Asks for JSON in place of the plain format, which applies to every event of the connection. Plain is the robust
    /// format and several times faster to read.
    #[must_use]
    pub fn json(self) -> Self {
        Self { json: true, ..self }
    }

    /// Adds the CUSTOM events of a subclass such as `sofia::register`.
    ///
    /// # Errors
    /// [`TextError`] when the subclass is not a word.
    pub fn custom(mut self, subclass: &str) -> Result<Self, TextError> {
        self.subclasses.push(Line::of_checked(word(subclass, 128, "_-:.")?.to_owned()));
        Ok(self)
    }

    pub(super) fn verb(&self) -> &'static str {
        if self.json { "event json" } else { "event plain" }
    }

    pub(super) fn render(&self, verb: &str, out: &mut BytesMut) {
        out.put_slice(verb.as_bytes());
        let all = self.all.then_some("ALL");
        // FreeSWITCH takes every word after CUSTOM for a subclass, so it comes last.
        let custom = (!self.subclasses.is_empty()).then_some(EventKind::Custom.as_str());
        let kinds = all.into_iter().chain(self.kinds.iter().map(|kind| kind.as_str())).chain(custom);
        for name in kinds.chain(self.subclasses.iter().map(Line::as_str)) {
            out.put_u8(b' ');
            out.put_slice(name.as_bytes());
        }
        out.put_u8(b'\n');
    }
}

/// A filter: of the subscribed events, it passes those with this value in this header. FreeSWITCH combines filters with
/// OR. An event with none of the named headers does not pass, so a BACKGROUND_JOB needs [`Filter::job`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    header: Line,
    value: Line,
}

impl Filter {
    /// Events with `value` in `header`.
    ///
    /// # Errors
    /// [`TextError`] when the header's name is not a word or the value is not one line.
    pub fn new(header: &str, value: &str) -> Result<Self, TextError> {
        Ok(Self { header: Line::of_checked(word(header, 128, "_-")?.to_owned()), value: Line::new(value.to_owned())? })
    }

    /// The events of a channel.
    pub fn channel(channel: &ChannelId) -> Self {
        Self { header: Line::of_checked("Unique-ID"), value: Line::of_checked(channel.to_string()) }
    }

    /// The result of a background job.
    pub fn job(job: Uuid) -> Self {
        Self { header: Line::of_checked("Job-UUID"), value: Line::of_checked(job.to_string()) }
    }

    pub(super) fn render(&self, verb: &str, out: &mut BytesMut) {
        line(out, &[verb, self.header.as_str(), " ", self.value.as_str()]);
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
    /// An event by name, such as `PRESENCE_IN`.
    ///
    /// # Errors
    /// [`TextError`] when the name is not a word.
    pub fn new(name: &str) -> Result<Self, TextError> {
        Ok(Self { name: Line::of_checked(word(name, 128, "_-:.")?.to_owned()), headers: Vec::new(), body: None })
    }

    /// Adds a header.
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

    /// Sets the body, which may have several lines.
    ///
    /// # Errors
    /// [`TextError::LineBreak`] when it contains NUL, where FreeSWITCH would cut it off.
    pub fn body(mut self, text: &str) -> Result<Self, TextError> {
        if text.contains('\0') {
            return Err(TextError::LineBreak('\0'));
        }
        self.body = Some(text.to_owned()).filter(|text| !text.is_empty());
        Ok(self)
    }

    pub(super) fn render(&self, out: &mut BytesMut) {
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
