//! The stream to read: the events of every capture, repeated.

use std::path::{Path, PathBuf};

use freeswitch_queue::esl::frame::{Decoder, Frame, FrameKind, FrameLimits};

/// The headers read and decoded of every event: they tell a session what happened and who is calling.
pub const READ: [&str; 6] =
    ["Event-Name", "Unique-ID", "Answer-State", "Caller-Caller-ID-Name", "Caller-Destination-Number", "Channel-Name"];

/// The folder of the captures.
pub fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures")
}

/// Every frame of every capture.
pub fn frames() -> Vec<Frame> {
    let mut paths: Vec<_> = std::fs::read_dir(captures())
        .expect("the captures are in tests/captures")
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == "esl"))
        .collect();
    paths.sort();
    let mut frames = Vec::new();
    for path in paths {
        let mut decoder = Decoder::new(FrameLimits::default());
        decoder.feed(&std::fs::read(path).expect("a capture can be read"));
        while let Some(frame) = decoder.decode().expect("a capture is made of frames") {
            frames.push(frame);
        }
    }
    frames
}

/// The plain events of all captures, in order and as sent.
pub fn events() -> Vec<Frame> {
    frames().into_iter().filter(|frame| frame.kind() == FrameKind::EventPlain).collect()
}

/// `events` in sequence, `times` over.
pub fn plain(events: &[Frame], times: usize) -> Vec<u8> {
    events.iter().flat_map(|frame| frame.bytes().to_vec()).collect::<Vec<_>>().repeat(times)
}

/// The largest reply to `connect` in the captures, enlarged to 24 kB as in calls with many variables.
pub fn large_head() -> Vec<u8> {
    let channel = frames().into_iter().filter(Frame::is_channel).max_by_key(|frame| frame.bytes().len());
    let head = channel.expect("a capture of a call").bytes().to_vec();
    let mut large = head.strip_suffix(b"\n").unwrap_or(&head).to_vec();
    for number in 0.. {
        if large.len() >= 24 << 10 {
            break;
        }
        large.extend_from_slice(
            format!("variable_sip_h_X-Number-{number}: a%20value%20of%20some%20length\n").as_bytes(),
        );
    }
    large.push(b'\n');
    large
}
