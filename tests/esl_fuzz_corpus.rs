//! Runs the fuzz targets' checks on their corpus and on the captures, without a fuzzer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/fuzz_checks.rs"]
mod checks;

use std::path::{Path, PathBuf};

use freeswitch_queue::esl::frame::{Decoder, FrameLimits};

fn files(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let files: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

fn check(folders: &[&str], check: fn(&[u8])) {
    for (path, bytes) in folders.iter().flat_map(|folder| files(folder)) {
        println!("{}", path.display());
        check(&bytes);
    }
}

#[test]
fn frames() {
    check(&["fuzz/corpus/frames", "captures"], checks::frames);
}

#[test]
fn events() {
    check(&["fuzz/corpus/events"], checks::events);
    for (path, bytes) in files("captures") {
        println!("{}", path.display());
        let mut decoder = Decoder::new(FrameLimits::default());
        decoder.feed(&bytes);
        while let Ok(Some(frame)) = decoder.decode() {
            checks::events(&frame.body());
        }
    }
}

#[test]
fn json_events() {
    check(&["fuzz/corpus/json_events"], checks::json_events);
}

#[test]
fn names() {
    check(&["fuzz/corpus/names"], checks::names);
}
