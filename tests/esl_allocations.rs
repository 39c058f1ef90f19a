//! How often reading an event allocates memory.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use allocation_counter::measure;
use freeswitch_queue::esl::frame::{Decoder, FrameKind, FrameLimits};

/// Six headers of every channel event; the caller's name and the channel's name are percent-encoded.
const READ: [&str; 6] = [
    "Unique-ID",
    "Channel-Call-State",
    "Event-Date-Timestamp",
    "Answer-State",
    "Caller-Caller-ID-Name",
    "Channel-Name",
];

struct Read {
    allocations: u64,
    events: u64,
    values: u64,
}

/// Feeds a capture as a socket would, and reads every event; `kept` keeps them all, as a queue would.
fn read_events(mut bytes: &[u8], kept: bool) -> Read {
    let (mut events, mut values) = (0, 0);
    let mut queue = Vec::with_capacity(100);
    let mut decoder = Decoder::new(FrameLimits::default());
    // The bytes before the first event, mainly the channel, do not count.
    let first = memchr::memmem::find(bytes, b"Content-Length:").unwrap();
    let (before, rest) = bytes.split_at(first);
    bytes = rest;
    decoder.feed(before);
    while decoder.decode().unwrap().is_some() {}
    let info = measure(|| {
        while !bytes.is_empty() {
            let buffer = decoder.buffer();
            let (piece, rest) = bytes.split_at(bytes.len().min(buffer.capacity() - buffer.len()));
            buffer.extend_from_slice(piece);
            bytes = rest;
            while let Some(frame) = decoder.decode().unwrap() {
                if frame.kind() != FrameKind::EventPlain {
                    continue;
                }
                let event = frame.event().unwrap();
                events += 1;
                for name in READ {
                    values += u64::from(event.header(name).is_some());
                }
                if kept {
                    queue.push(event);
                }
            }
        }
    });
    Read { allocations: info.count_total, events, values }
}

#[test]
fn an_event_with_six_headers_read_takes_at_most_four_allocations() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ext| ext != "esl") {
            continue;
        }
        for kept in [false, true] {
            let Read { allocations, events, values } = read_events(&std::fs::read(&path).unwrap(), kept);
            println!("{}: {allocations} allocations, {events} events, kept: {kept}", path.display());
            // BACKGROUND_JOB and CUSTOM events have no channel.
            assert!(values >= 4 * events, "only {values} values in {events} events");
            assert!(allocations <= 4 * events, "{}: {allocations} for {events} events", path.display());
        }
    }
}

#[test]
fn a_long_body_in_small_pieces_is_not_copied_repeatedly() {
    const LONG: usize = 8 << 20;
    let mut decoder = Decoder::new(FrameLimits::default());
    let piece = [b'x'; 1024];
    let info = measure(|| {
        decoder.feed(format!("Content-Type: api/response\nContent-Length: {LONG}\n\n").as_bytes());
        for _ in 0..LONG / piece.len() {
            assert_eq!(decoder.decode(), Ok(None));
            decoder.buffer().extend_from_slice(&piece);
        }
        assert_eq!(decoder.decode().unwrap().unwrap().body().len(), LONG);
    });
    // The buffer doubles: from 8 kB to 16 MB takes eleven steps.
    assert!(info.count_total < 24, "{} allocations", info.count_total);
    assert!(info.bytes_total < 5 * LONG as u64, "{} bytes", info.bytes_total);
}
