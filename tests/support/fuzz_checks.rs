//! Checks that the fuzz targets run on any bytes, and ordinary tests on the corpus.
// Part of a test program, and the library of the fuzz targets.
#![allow(unreachable_pub, dead_code)]

#[path = "dial_model.rs"]
pub mod dial_model;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use freeswitch_queue::esl::event::Event;
use freeswitch_queue::esl::frame::{Decoder, Frame, FrameError, FrameLimits};
use freeswitch_queue::esl::reply::Reply;
use freeswitch_queue::esl::{JobResult, SafeText};

/// Small enough for the fuzzer to reach.
const LIMITS: FrameLimits = FrameLimits { head: 14_000, headers: 256, line: 2048, body: 12_000 };

fn replay<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Result<(), FrameError>) {
    let mut decoder = Decoder::new(LIMITS);
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        loop {
            match decoder.decode() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.decode(), Err(error.clone()), "an error is returned again");
                    return (frames, Err(error));
                }
            }
        }
    }
    (frames, Ok(()))
}

/// Any stream yields the same frames however it is cut into pieces, and no byte of a frame is lost. The first byte is
/// the size of the pieces.
pub fn frames(data: &[u8]) {
    let Some((&size, stream)) = data.split_first() else {
        return;
    };
    let (whole, end) = replay(std::iter::once(stream));
    let (cut, cut_end) = replay(stream.chunks(usize::from(size).max(1)));
    assert_eq!(whole, cut, "frames depend on where the bytes are cut");
    assert_eq!(end.is_err(), cut_end.is_err(), "{end:?} {cut_end:?}");
    let mut at = 0;
    for frame in &whole {
        // Blank lines between frames have no meaning.
        at += stream[at..].iter().take_while(|&&byte| byte == b'\n').count();
        assert!(stream[at..].starts_with(frame.bytes()), "a byte was lost or added");
        at += frame.bytes().len();
        assert!(frame.headers().len() <= LIMITS.headers && frame.body().len() <= LIMITS.body);
        assert!(frame.bytes().ends_with(&frame.body()));
        frame.headers().iter().for_each(|(name, _)| drop(frame.headers().get(&name)));
        if let Some(event) = frame.event() {
            read_all(&event);
        }
        if let Some(reply) = Reply::of_frame(frame.clone()) {
            let _ = (reply.text(), reply.job(), reply.variable("x"));
        }
    }
}

/// The simplest way to decode `%XX`.
fn decoded(raw: &[u8]) -> String {
    let mut out = Vec::new();
    let mut at = 0;
    while at < raw.len() {
        let digits = raw.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        let escape = digits.filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match escape.filter(|_| raw[at] == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(raw[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Any block is an event, and its headers agree with the simplest parser.
pub fn events(data: &[u8]) {
    let event = Event::plain(Bytes::copy_from_slice(data));
    let mut expected = BTreeMap::new();
    let (mut at, mut body) = (0, &data[..0]);
    while let Some(end) = data[at..].iter().position(|&byte| byte == b'\n') {
        let line = &data[at..at + end];
        let first = at == 0;
        at += end + 1;
        let Some(colon) = line.iter().rposition(|&byte| byte == b':') else { continue };
        let value = &line[colon + 1..];
        let value = value.strip_prefix(b" ").unwrap_or(value);
        expected.entry(&line[..colon]).or_insert(value);
        // The last header announces the body.
        if line.starts_with(b"Content-Length: ") && data[at..].starts_with(b"\n") && !first {
            let length = std::str::from_utf8(&line[16..]).ok().and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
            body = &data[at + 1..];
            body = &body[..length.min(body.len())];
            break;
        }
    }
    assert_eq!(event.body(), body);
    for (name, raw) in expected {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let value = Some(decoded(raw)).filter(|_| !raw.is_empty() && raw != b"_undef_");
        assert_eq!(event.header(name), value.clone().map(Cow::Owned), "{name:?}");
        if let Some(variable) = name.strip_prefix("variable_") {
            assert_eq!(event.variable(variable), value.map(Cow::Owned), "{name:?}");
        }
    }
    read_all(&event);
}

/// Any text is a JSON event or is rejected, and its text values agree with a JSON parser.
pub fn json_events(data: &[u8]) {
    let event = Event::json(data, usize::MAX);
    let few = Event::json(data, 3);
    assert_eq!(event.is_some(), few.is_some());
    assert!(few.is_none_or(|few| few.headers().len() <= 3));
    let text = String::from_utf8_lossy(data);
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(&text) else {
        // The parsers may differ here: a number out of range is left out by one and an error to the other.
        return;
    };
    let event = event.expect("a JSON object is an event");
    // Of two members with the same name, the event takes the first and the JSON parser the last.
    let times = |name: &str| event.headers().iter().filter(|(found, _)| found == name).count();
    for (name, value) in members {
        let Some(text) = value.as_str().filter(|_| name != "_body" && times(&name) == 1) else {
            continue;
        };
        assert_eq!(event.header(&name).as_deref(), Some(text).filter(|t| !t.is_empty() && *t != "_undef_"));
    }
    read_all(&event);
}

fn read_all(event: &Event) {
    let _ = (event.kind(), event.name(), event.channel(), event.hangup_cause(), event.application_uuid());
    let _ = (event.body_text(), JobResult::of_event(event));
    event.headers().iter().for_each(|(name, _)| drop(event.header(name)));
}

/// Any bytes as a caller's name and number leave the rest of the dial string unchanged.
pub fn names(data: &[u8]) {
    let middle = data.len() / 2;
    let (name, number) = (String::from_utf8_lossy(&data[..middle]), String::from_utf8_lossy(&data[middle..]));
    dial_model::assert_harmless(&name, &number);
    let safe = SafeText::from_bytes(data);
    assert!(safe.as_str().len() <= SafeText::LONGEST);
    assert_eq!(SafeText::new(safe.as_str()), safe, "safe text stays unchanged");
}
