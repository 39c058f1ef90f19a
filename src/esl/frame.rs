//! Frames: a head of header lines, a blank line and, with `Content-Length`, a body.
//!
//! A [`Decoder`] takes bytes as they arrive, cut anywhere, and returns whole frames. It scans a head once for its end
//! and never scans a body, so the work is linear however the bytes are cut.

use std::borrow::Cow;
use std::fmt;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, space0, u64 as number};
use nom::combinator::{all_consuming, rest, value};
use nom::sequence::{separated_pair, terminated};
use nom::{IResult, Parser};

use super::event::Event;
use super::headers::{Headers, Writing};

/// Limits of a frame. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// The longest head, including the blank line.
    pub head: usize,
    /// The most header lines in a head, and the most headers kept of a JSON event.
    pub headers: usize,
    /// The longest header line.
    pub line: usize,
    /// The longest body.
    pub body: usize,
}

impl Default for FrameLimits {
    /// Many times what FreeSWITCH was seen to send (a head of 190 lines and 12 kB, bodies of 11 kB), and enough for
    /// `show channels as json` (1 kB per channel) on a switch with thousands of channels.
    fn default() -> Self {
        Self { head: 256 << 10, headers: 4096, line: 64 << 10, body: 16 << 20 }
    }
}

/// A limit of [`FrameLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameLimit {
    /// [`FrameLimits::head`].
    Head,
    /// [`FrameLimits::headers`].
    Headers,
    /// [`FrameLimits::line`].
    Line,
    /// [`FrameLimits::body`].
    Body,
}

impl fmt::Display for FrameLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "bytes in a head",
            Self::Headers => "header lines in a head",
            Self::Line => "bytes in a header line",
            Self::Body => "bytes in a body",
        })
    }
}

/// Why the bytes of a connection cannot be cut into frames. The connection is unusable from then on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A frame exceeds a limit.
    #[error("the peer sent {found} {limit}, {most} are allowed")]
    TooLarge {
        /// Which limit.
        limit: FrameLimit,
        /// Its value.
        most: usize,
        /// How much had arrived when it was noticed.
        found: usize,
    },
    /// The length of a body is not a number.
    #[error("the peer sent a Content-Length that is not a number: {0:?}")]
    Length(String),
}

/// The kind of a frame, by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// `command/reply`: the reply to every command but `api`.
    CommandReply,
    /// `api/response`: the reply to `api`.
    ApiResponse,
    /// `text/event-plain`: an event in the robust format.
    EventPlain,
    /// `text/event-json`: an event as JSON.
    EventJson,
    /// `text/disconnect-notice`: the connection lingers or is about to end.
    DisconnectNotice,
    /// `auth/request`: the first frame of an inbound connection.
    AuthRequest,
    /// `text/rude-rejection`: FreeSWITCH's access list rejected an inbound connection.
    RudeRejection,
    /// `log/data`: a line of FreeSWITCH's log.
    LogLine,
    /// Anything else, and frames without a `Content-Type`.
    Other,
}

/// How the reply to `connect` begins (every capture of an outbound connection).
const CHANNEL: &[u8] = b"Event-Name:";

/// One frame: a slice of the receive buffer. Only its length and kind have been parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    kind: FrameKind,
    bytes: Bytes,
    headers: Headers,
    body_at: usize,
    most_headers: usize,
}

impl Frame {
    fn new(kind: FrameKind, bytes: Bytes, body_at: usize, most_headers: usize) -> Self {
        let writing = if bytes.starts_with(CHANNEL) { Writing::Encoded } else { Writing::Plain };
        let headers = Headers::new(bytes.slice(..body_at.saturating_sub(1)), writing);
        Self { kind, bytes, headers, body_at, most_headers }
    }

    /// Its kind.
    pub fn kind(&self) -> FrameKind {
        self.kind
    }

    /// The headers of its head.
    ///
    /// The reply to `connect` carries the channel in its head, percent-encoded like an event. No other head is encoded.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Whether the head is a channel, that is, the reply to `connect`.
    pub fn is_channel(&self) -> bool {
        self.bytes.starts_with(CHANNEL)
    }

    /// Its body; empty when it has none.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(self.body_at..)
    }

    /// Its body as text, invalid UTF-8 replaced.
    pub fn body_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.bytes.get(self.body_at..).unwrap_or_default())
    }

    /// The whole frame as it was received.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The event in its body; `None` when the frame is not an event, or is a JSON event whose body is not JSON.
    pub fn event(&self) -> Option<Event> {
        match self.kind {
            FrameKind::EventPlain => Some(Event::plain(self.body())),
            FrameKind::EventJson => Event::json(&self.body(), self.most_headers),
            _ => None,
        }
    }
}

/// How much memory is allocated at once: enough for two to three events of a call.
const BLOCK: usize = 16 << 10;
/// Reading less than this is not worth a system call.
const LEAST_ROOM: usize = 1 << 10;

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct Decoder {
    limits: FrameLimits,
    buffer: BytesMut,
    at: Position,
    failed: Option<FrameError>,
}

/// How far the frame at the start of the buffer has been parsed.
#[derive(Debug)]
enum Position {
    /// In its head.
    Head(Head),
    /// In its body.
    Body { kind: FrameKind, body_at: usize, end: usize },
}

/// The state of an incomplete head.
#[derive(Debug, Default)]
struct Head {
    /// Where the incomplete line begins.
    line_at: usize,
    /// Up to where it has been scanned for its end.
    scanned: usize,
    /// How many lines are complete.
    lines: usize,
    /// The first `Content-Type`.
    kind: Option<FrameKind>,
    /// The first `Content-Length`.
    length: Option<u64>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, buffer: BytesMut::new(), at: Position::Head(Head::default()), failed: None }
    }

    /// The buffer to append received bytes to, so that a socket can read straight into it. It has room for 1 to 16 kB
    /// more. A frame that is kept in memory keeps its whole block, up to 16 kB with the frames beside it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < LEAST_ROOM {
            self.buffer.reserve(BLOCK);
        }
        &mut self.buffer
    }

    /// Frees the buffer if it holds no part of a frame.
    pub fn rest(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// How many bytes of memory the buffer occupies.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Appends received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether part of a frame has arrived and the rest is missing.
    pub fn is_inside_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next whole frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`] when a limit is exceeded or the length of a body cannot be read. Every later call returns it
    /// again, because the start of the next frame cannot be found.
    pub fn decode(&mut self) -> Result<Option<Frame>, FrameError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.advance().inspect_err(|error| self.failed = Some(error.clone())),
        }
    }

    fn advance(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            match &mut self.at {
                Position::Head(head) => {
                    let Some(body_at) = head.find_end(&self.buffer, &self.limits)? else { return Ok(None) };
                    if head.lines == 0 {
                        // Blank lines between frames have no meaning.
                        let _ = self.buffer.split_to(body_at);
                        self.at = Position::Head(Head::default());
                        continue;
                    }
                    let length = usize::try_from(head.length.unwrap_or(0)).unwrap_or(usize::MAX);
                    within(FrameLimit::Body, self.limits.body, length)?;
                    let kind = head.kind.unwrap_or(FrameKind::Other);
                    self.at = Position::Body { kind, body_at, end: body_at.saturating_add(length) };
                }
                Position::Body { kind, body_at, end } => {
                    if self.buffer.len() < *end {
                        return Ok(None);
                    }
                    let bytes = self.buffer.split_to(*end).freeze();
                    let frame = Frame::new(*kind, bytes, *body_at, self.limits.headers);
                    self.at = Position::Head(Head::default());
                    return Ok(Some(frame));
                }
            }
        }
    }
}

impl Head {
    /// Continues to the blank line; returns where the body begins.
    fn find_end(&mut self, buffer: &[u8], limits: &FrameLimits) -> Result<Option<usize>, FrameError> {
        while let Some(found) = memchr(b'\n', buffer.get(self.scanned..).unwrap_or_default()) {
            let newline = self.scanned + found;
            let line = buffer.get(self.line_at..newline).unwrap_or_default();
            self.scanned = newline + 1;
            self.line_at = newline + 1;
            // FreeSWITCH writes its own headers at the end of a channel's head. A blank line before them is part of a
            // variable's name: names are not encoded and may contain line feeds.
            let inside_channel = self.kind.is_none() && self.lines > 0 && buffer.starts_with(CHANNEL);
            if line.is_empty() && !inside_channel {
                return Ok(Some(newline + 1));
            }
            self.lines += 1;
            within(FrameLimit::Line, limits.line, line.len())?;
            within(FrameLimit::Headers, limits.headers, self.lines)?;
            within(FrameLimit::Head, limits.head, newline + 1)?;
            self.read_line(line)?;
        }
        self.scanned = buffer.len();
        within(FrameLimit::Line, limits.line, buffer.len() - self.line_at)?;
        within(FrameLimit::Head, limits.head, buffer.len())?;
        Ok(None)
    }

    /// Keeps the two headers that delimit the frame. Of several with the same name the first counts, as for every
    /// header.
    fn read_line(&mut self, line: &[u8]) -> Result<(), FrameError> {
        // The first byte rules out all other headers.
        if !line.first().is_some_and(|first| first.eq_ignore_ascii_case(&b'c')) {
            return Ok(());
        }
        let Ok((_, (name, value))) = header(line) else { return Ok(()) };
        if name.eq_ignore_ascii_case(b"content-length") {
            let wrong = |_| FrameError::Length(String::from_utf8_lossy(value).into_owned());
            let (_, length) = length(value).map_err(wrong)?;
            self.length.get_or_insert(length);
        } else if name.eq_ignore_ascii_case(b"content-type") {
            self.kind = self.kind.or_else(|| kind(value).ok().map(|(_, kind)| kind));
        }
        Ok(())
    }
}

fn within(limit: FrameLimit, most: usize, found: usize) -> Result<(), FrameError> {
    if found > most { Err(FrameError::TooLarge { limit, most, found }) } else { Ok(()) }
}

/// `NAME: VALUE`.
fn header(line: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    separated_pair(take_while1(|byte| byte != b':'), (char(':'), space0), rest).parse_complete(line)
}

fn length(value: &[u8]) -> IResult<&[u8], u64> {
    all_consuming(terminated(number, space0)).parse_complete(value)
}

fn kind(text: &[u8]) -> IResult<&[u8], FrameKind> {
    let known = |name: &'static str, kind| value(kind, terminated(tag(name), space0));
    alt((
        all_consuming(known("command/reply", FrameKind::CommandReply)),
        all_consuming(known("text/event-plain", FrameKind::EventPlain)),
        all_consuming(known("api/response", FrameKind::ApiResponse)),
        all_consuming(known("text/event-json", FrameKind::EventJson)),
        all_consuming(known("text/disconnect-notice", FrameKind::DisconnectNotice)),
        all_consuming(known("auth/request", FrameKind::AuthRequest)),
        all_consuming(known("text/rude-rejection", FrameKind::RudeRejection)),
        all_consuming(known("log/data", FrameKind::LogLine)),
        value(FrameKind::Other, rest),
    ))
    .parse_complete(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn frames(limits: FrameLimits, bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
        let mut decoder = Decoder::new(limits);
        decoder.feed(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.decode()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    fn error(limits: FrameLimits, bytes: &[u8]) -> String {
        frames(limits, bytes).unwrap_err().to_string()
    }

    const SMALL: FrameLimits = FrameLimits { head: 64, headers: 3, line: 40, body: 10 };

    #[test]
    fn a_stream_is_cut_into_frames() {
        let stream = b"Content-Type: auth/request\n\n\nContent-Length: 3\nContent-Type: api/response\n\n+OK\
            Content-Type: command/reply\nReply-Text: +OK accepted\n\nX: y";
        let frames = frames(FrameLimits::default(), stream).unwrap();
        let kinds: Vec<_> = frames.iter().map(Frame::kind).collect();
        assert_eq!(kinds, [FrameKind::AuthRequest, FrameKind::ApiResponse, FrameKind::CommandReply]);
        assert_eq!(frames[1].body_text(), "+OK");
        assert_eq!(frames[2].headers().get("Reply-Text").unwrap(), "+OK accepted");
        assert!(frames[2].body().is_empty());
    }

    #[test]
    fn odd_heads_are_still_frames() {
        let stream =
            b"content-TYPE: text/event-plain\nno colon here\n: no name\n\xff\xfe: \xff\ncontent-length:2 \n\nhi\
            Content-Type: text/unheard-of\nContent-Length-Of-Something: x\n\nContent-Typewriter: 1\n\n";
        let frames = frames(FrameLimits::default(), stream).unwrap();
        let kinds: Vec<_> = frames.iter().map(Frame::kind).collect();
        assert_eq!(kinds, [FrameKind::EventPlain, FrameKind::Other, FrameKind::Other]);
        assert_eq!(frames[0].body_text(), "hi");
    }

    #[test]
    fn a_line_feed_in_a_variable_name_does_not_end_the_channel() {
        let stream = b"Event-Name: CHANNEL_DATA\nUnique-ID: u\nvariable_a\n\n\nb: 1\nvariable_c: 2\n\
            Content-Type: command/reply\nReply-Text: %2BOK%0A\n\nContent-Type: auth/request\n\n";
        let frames = frames(FrameLimits::default(), stream).unwrap();
        let kinds: Vec<_> = frames.iter().map(Frame::kind).collect();
        assert_eq!(kinds, [FrameKind::CommandReply, FrameKind::AuthRequest]);
        assert_eq!(frames[0].headers().get("Unique-ID").unwrap(), "u");
        assert_eq!(frames[0].headers().variable("c").unwrap(), "2");
        let endless = [b"Event-Name: x\n".as_slice(), &[b'\n'; 100]].concat();
        assert_eq!(error(SMALL, &endless), "the peer sent 4 header lines in a head, 3 are allowed");
    }

    #[test]
    fn an_error_names_the_limit_and_its_value() {
        assert_eq!(error(SMALL, &[b'x'; 41]), "the peer sent 41 bytes in a header line, 40 are allowed");
        assert_eq!(
            error(SMALL, b"a: 0123456789012345678901234567\nb: 0123456789012345678901234567\nc: 0"),
            "the peer sent 68 bytes in a head, 64 are allowed"
        );
        assert_eq!(error(SMALL, b"a: 1\nb: 1\nc: 1\nd: 1\n"), "the peer sent 4 header lines in a head, 3 are allowed");
        assert_eq!(error(SMALL, b"Content-Length: 11\n\n"), "the peer sent 11 bytes in a body, 10 are allowed");
        assert_eq!(
            error(SMALL, b"Content-Length: 10x\n\n"),
            "the peer sent a Content-Length that is not a number: \"10x\""
        );
        let huge = "Content-Length: 99999999999999999999\n\n";
        assert!(error(SMALL, huge.as_bytes()).contains("99999999999999999999"));
    }

    #[test]
    fn an_error_is_returned_again() {
        let mut decoder = Decoder::new(SMALL);
        decoder.feed(b"Content-Length: -1\n\n");
        let first = decoder.decode().unwrap_err();
        decoder.feed(b"Content-Type: auth/request\n\n");
        assert_eq!(decoder.decode().unwrap_err(), first);
    }

    #[test]
    fn announcing_a_long_body_allocates_nothing() {
        let mut decoder = Decoder::new(FrameLimits::default());
        decoder.feed(b"Content-Length: 16777216\n\n");
        assert_eq!(decoder.decode(), Ok(None));
        assert!(decoder.buffer().capacity() <= BLOCK + LEAST_ROOM);
        assert!(decoder.is_inside_frame());
    }
}
