//! Reads every capture of a real FreeSWITCH whole, byte by byte and cut at random places.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use freeswitch_queue::esl::frame::{Decoder, Frame, FrameKind, FrameLimits};
use freeswitch_queue::esl::kind::EventKind;
use freeswitch_queue::esl::reply::Reply;
use proptest::prelude::*;

fn captures() -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "esl"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect();
    found.sort();
    assert!(found.len() >= 18, "only {} captures", found.len());
    found
}

fn replay<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Frame> {
    let mut decoder = Decoder::new(FrameLimits::default());
    let mut frames = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        while let Some(frame) = decoder.decode().unwrap() {
            frames.push(frame);
        }
    }
    assert!(!decoder.is_inside_frame(), "bytes are left over");
    frames
}

fn capture(name: &str) -> Vec<Frame> {
    let (_, bytes) = captures().into_iter().find(|(found, _)| found == name).unwrap();
    replay(std::iter::once(&bytes[..]))
}

/// The frames FreeSWITCH sent, according to the capture's log, which another program wrote.
fn logged(name: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/captures/{name}.log"));
    let log = std::fs::read_to_string(path).unwrap();
    log.lines().filter_map(|line| line.split_once(" <- ")).map(|(_, frame)| frame.to_owned()).collect()
}

#[test]
fn every_frame_agrees_with_the_log() {
    for (name, bytes) in captures() {
        let frames: Vec<_> = replay(std::iter::once(&bytes[..]))
            .into_iter()
            .filter(|frame| frame.kind() != FrameKind::AuthRequest)
            .collect();
        let logged = logged(&name);
        assert_eq!(frames.len(), logged.len(), "{name}");
        for (frame, line) in frames.iter().zip(logged) {
            match frame.kind() {
                FrameKind::CommandReply if frame.is_channel() => {
                    assert_eq!(line, format!("command/reply with the channel: {} headers", frame.headers().len()));
                }
                FrameKind::CommandReply => {
                    assert_eq!(line, format!("command/reply {}", frame.headers().get("Reply-Text").unwrap()));
                }
                FrameKind::ApiResponse => {
                    let shown = line.strip_prefix("api/response '").unwrap().trim_end_matches('\'');
                    assert!(frame.body_text().starts_with(shown), "{name}: {line}");
                }
                FrameKind::EventPlain => {
                    let event = frame.event().unwrap();
                    assert!(line.starts_with(&format!("event {} [", event.name())), "{name}: {line}");
                    assert_ne!(event.kind(), EventKind::Other, "{name}: {line}");
                    if let Some(cause) = event.hangup_cause() {
                        assert!(line.contains(cause.as_str()), "{name}: {line}");
                    }
                }
                FrameKind::DisconnectNotice => assert!(line.starts_with("text/disconnect-notice"), "{name}: {line}"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn frames_do_not_depend_on_where_the_bytes_are_cut() {
    for (name, bytes) in captures() {
        let whole = replay(std::iter::once(&bytes[..]));
        assert_eq!(whole, replay(bytes.chunks(1)), "{name}, byte by byte");
        for size in [2, 7, 128, 1448, 4096] {
            assert_eq!(whole, replay(bytes.chunks(size)), "{name}, in pieces of {size}");
        }
        let joined: Vec<u8> = whole.iter().flat_map(|frame| frame.bytes().to_vec()).collect();
        assert!(joined == bytes, "{name}: a byte was lost or added");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn frames_do_not_depend_on_random_cuts(which in 0..18_usize, cuts in prop::collection::vec(0..300_000_usize, 0..40)) {
        let (name, bytes) = captures().swap_remove(which);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut % bytes.len()).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert!(replay(std::iter::once(&bytes[..])) == replay(pieces), "{}", name);
    }
}

#[test]
fn the_reply_to_connect_is_the_channel() {
    let frames = capture("agent-declines");
    let reply = Reply::of_frame(frames[0].clone()).unwrap();
    assert_eq!(reply.text(), "");
    assert_eq!(reply.header("Reply-Text").unwrap(), "+OK\n");
    assert_eq!(reply.header("Unique-ID").unwrap(), "7c2a4d50-e05e-41a0-a85f-ef4a2edd6ddc");
    assert_eq!(reply.header("Channel-Caller-ID-Name").unwrap(), "Hans Muster");
    assert_eq!(reply.header("Event-Name").unwrap(), "CHANNEL_DATA");
    assert_eq!(reply.variable("sip_auth_username"), None);
    assert!(reply.variable("switch_r_sdp").unwrap().starts_with("v=0\r\n"));
    // A registered phone and the account it authenticated with.
    let reply = Reply::of_frame(capture("feature-code-from-a-registered-phone")[0].clone()).unwrap();
    assert_eq!(reply.header("Channel-Username").unwrap(), "1001");
    assert_eq!(reply.variable("sip_auth_username").unwrap(), "1001");
    assert_eq!(reply.header("Event-Name").unwrap(), "CHANNEL_DATA");
    assert_eq!(reply.variable("Event-Name").unwrap(), "REQUEST_PARAMS");
}

#[test]
fn a_background_job_reports_its_cause() {
    let jobs: BTreeMap<_, _> = ["agent-busy", "agent-declines", "agent-no-answer", "caller-hangs-up-while-agent-rings"]
        .into_iter()
        .map(|name| {
            let event = capture(name).iter().filter_map(Frame::event).find(|e| e.kind() == EventKind::BackgroundJob);
            let result = freeswitch_queue::esl::JobResult::of_event(&event.unwrap()).unwrap();
            (name, result.outcome.failure().unwrap().as_str())
        })
        .collect();
    let expected = [
        ("agent-busy", "USER_BUSY"),
        ("agent-declines", "CALL_REJECTED"),
        ("agent-no-answer", "NO_ANSWER"),
        ("caller-hangs-up-while-agent-rings", "ORIGINATOR_CANCEL"),
    ];
    assert_eq!(jobs, BTreeMap::from(expected));
}
