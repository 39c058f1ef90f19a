//! What a newcomer runs first: `freeswitch-queue demo`, from any folder, with nothing prepared.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

fn demo(seconds: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freeswitch-queue"));
    command.args(["demo", "--seconds", seconds]);
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).env_remove("RUST_LOG").env("FSQ_LISTEN", "somebody else's");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// It plays for as long as it is told to, tells what happens line by line where there is no terminal, sums up, and
/// ends well.
#[test]
fn it_plays_and_sums_up() {
    let output = demo("4").output().unwrap();
    let (told, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{told}");
    assert!(!told.contains('\x1b'), "no terminal, no colours: {told}");
    for expected in ["Hans Muster enters ", "'s phone rings for ", " answers ", "Dario logs in to Service client"] {
        assert!(told.contains(expected), "{expected:?} is missing:\n{told}");
    }
    let entered = told.lines().filter(|l| l.contains(" enters ")).count();
    let answered = told.lines().filter(|l| l.contains(" answers ")).count();
    let summary = told.lines().find(|l| l.starts_with("In 4.")).expect("a summary");
    assert!(summary.contains(&format!(" s {entered} calls: {answered} answered, ")), "{summary}\n{told}");
}

/// Without an end of its own it goes on until it is told to stop, and then ends as well.
#[test]
fn it_ends_when_it_is_told_to() {
    let mut child = demo("0").spawn().unwrap();
    let mut told = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    told.read_line(&mut first).unwrap();
    assert!(first.contains("Hans Muster enters "), "{first}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains(" answered, "), "{rest}");
}

/// What is to be logged is never guessed.
#[test]
fn a_filter_that_cannot_be_read_is_refused() {
    let output = demo("1").env("RUST_LOG", "freeswitch_queue=loud").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("freeswitch-queue: RUST_LOG=freeswitch_queue=loud: "), "{said}");
    assert!(said.contains("; write a level, such as info"), "{said}");
}
