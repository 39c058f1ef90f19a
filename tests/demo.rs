//! `freeswitch-queue demo`, which a newcomer runs first: from any folder, without preparation.

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

/// It runs for the given time, prints each event as a line if there is no terminal, prints a summary, and exits with 0.
#[test]
fn it_plays_and_prints_a_summary() {
    let output = demo("4").output().unwrap();
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{text}");
    assert!(!text.contains('\x1b'), "no terminal, no colours: {text}");
    for expected in ["Hans Muster enters ", "'s phone rings for ", " answers ", "Dario logs in to Service client"] {
        assert!(text.contains(expected), "{expected:?} is missing:\n{text}");
    }
    let entered = text.lines().filter(|l| l.contains(" enters ")).count();
    let answered = text.lines().filter(|l| l.contains(" answers ")).count();
    let summary = text.lines().find_map(|l| l.strip_prefix("In ")).expect("a summary");
    // A busy machine takes longer than asked for.
    let seconds: f64 = summary.split(' ').next().and_then(|text| text.parse().ok()).expect("seconds");
    assert!(seconds >= 4.0, "{summary}");
    assert!(summary.contains(&format!(" s {entered} calls: {answered} answered, ")), "{summary}\n{text}");
}

/// Without a time limit it runs until SIGINT, and then exits with 0 as well.
#[test]
fn without_a_limit_it_runs_until_interrupted() {
    let mut child = demo("0").spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    output.read_line(&mut first).unwrap();
    assert!(first.contains("Hans Muster enters "), "{first}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains(" answered, "), "{rest}");
}

/// An invalid log filter is refused, not guessed.
#[test]
fn an_invalid_log_filter_is_refused() {
    let output = demo("1").env("RUST_LOG", "freeswitch_queue=loud").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.starts_with("freeswitch-queue: RUST_LOG=freeswitch_queue=loud: "), "{error}");
    assert!(error.contains("; write a level, such as info"), "{error}");
}
