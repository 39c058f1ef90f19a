//! The texts that admins read: the exact message and place of every mistake (rule Q2), and the log of changes (rule
//! Q3).

mod difference;
mod file;
mod keys;
mod layers;
mod queues;
mod settings;

use std::ffi::OsString;
use std::path::Path;

use super::{Config, LogNumbers, Problems, Withheld, parse};
use crate::acd::settings::{Music, Strategy, Timeout, TimeoutAction};

/// A valid file of six lines.
const GOOD: &str = "\
agents:
  - { id: \"1001\" }
queues:
  - number: \"99900\"
    name: Support
    participants: [\"1001\"]
";

fn read_with(bytes: &[u8], variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    parse(Path::new("queues.yaml"), bytes, variables)
}

fn read(text: &str) -> Result<Config, Problems> {
    read_with(text.as_bytes(), &[])
}

/// The configuration of the valid file with `lines` above it, starting at line 1.
fn with_settings(lines: &str) -> Config {
    read(&format!("{lines}\n{GOOD}")).unwrap()
}

/// The configuration of the valid file with `lines` added to its queue, starting at line 7.
fn with_queue(lines: &str) -> Config {
    read(&queue(lines)).unwrap()
}

fn queue(lines: &str) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("    {line}")).collect();
    format!("{GOOD}{}\n", lines.join("\n"))
}

/// Asserts that the file has exactly these problems, in this order, as an admin reads them, without the file's name in
/// front.
#[track_caller]
fn wrong(text: &str, expected: &[&str]) {
    wrong_bytes(text.as_bytes(), expected);
}

#[track_caller]
fn wrong_bytes(bytes: &[u8], expected: &[&str]) {
    let problems = read_with(bytes, &[]).expect_err("the file was accepted").to_string();
    let shown = problems.lines().map(|line| match line.strip_prefix("queues.yaml:") {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => line,
    });
    let shown: Vec<&str> = shown.collect();
    assert_eq!(shown, expected);
}

/// Like [`wrong`], for lines above the valid file.
#[track_caller]
fn wrong_setting(lines: &str, expected: &[&str]) {
    wrong(&format!("{lines}\n{GOOD}"), expected);
}

/// Like [`wrong`], for lines added to the queue of the valid file: they start at 7:5.
#[track_caller]
fn wrong_queue(lines: &str, expected: &[&str]) {
    wrong(&queue(lines), expected);
}

#[test]
fn q2_a_queue_with_number_name_and_participants_works() {
    let config = read(GOOD).unwrap();
    let queue = &config.queues[0];
    assert_eq!((queue.number.as_str(), &*queue.name, queue.participants.len()), ("99900", "Support", 1));
    assert_eq!((queue.max_wait, queue.wrap_up.as_secs(), queue.ring_time.as_secs()), (None, 0, 20));
    assert_eq!((&*queue.language.0, queue.announce_every), ("en", None));
    assert_eq!((queue.strategy, &queue.music), (Strategy::AsListed, &Music::Ringtone));
    assert_eq!(queue.timeout, Timeout { message: None, action: TimeoutAction::Hangup });
    assert_eq!(&*config.agents[0].name, "1001");
}

#[test]
fn q2_all_problems_are_reported_at_once_in_the_order_of_the_file() {
    wrong(
        "listen: localhost\nlanguages: [de, no]\nagents:\n  - { id: 1001, name: Anna }\nqueues:\n  - number: 0077\n    name: Support\n    participants: [\"1001\", \"1002\"]\n    wrap_up: 5\n",
        &[
            "1:9: listen: \"localhost\" is not an IP address and a port; write them as 127.0.0.1:8084 or [::1]:8084",
            "2:17: languages[1]: no is a YAML boolean (yes or no); write it in quotes: \"no\"",
            "4:11: agents[0].id: 1001 is a YAML number; write it in quotes: \"1001\"",
            "6:13: queues[0].number: 0077 is a YAML number; write it in quotes: \"0077\"",
            "8:28: queues[0].participants[1]: \"1002\" is not an agent; add { id: \"1002\" } under agents, or remove it here",
            "9:5: queues[0].wrap_up: there is no such key; did you mean wrap_up_seconds?",
        ],
    );
}

#[test]
fn q2_the_number_of_reported_problems_is_bounded() {
    let mut text = GOOD.to_owned();
    text.extend((0..5000).map(|i| format!("unknown{i}: x\n")));
    let problems = read(&text).unwrap_err();
    assert_eq!(problems.iter().count(), 1000);
    assert_eq!(problems.to_string().lines().last(), Some("and 4000 more problems; fix these first"));
}
