//! The difference between two configurations (rule Q3).

use super::super::{Callers, FeatureCodes, LogSettings, diff, pending};
use super::*;
use crate::acd::settings::{AgentSettings, QueueSettings, Timeout};

const BASE: &str = "\
listen: 127.0.0.1:8084
token: one
freeswitch: [{ address: \"10.0.0.1:8021\", password: old }]
agents:
  - { id: \"1001\", name: Anna }
  - { id: \"1002\", name: Bruno }
  - { id: \"1003\", name: Chiara }
queues:
  - number: \"99900\"
    name: Support
    participants: [\"1001\", \"1002\", \"1003\"]
    max_wait_minutes: 10
  - number: \"99901\"
    name: Overflow
    participants: [\"1003\"]
";

fn config(text: &str) -> Config {
    read(text).unwrap()
}

/// The log lines for the change from the base to the base with these `edits`, as far as it applies while the daemon runs.
fn lines(edits: &[(&str, &str)]) -> Vec<String> {
    diff(&config(BASE), &edited(edits)).iter().map(ToString::to_string).collect()
}

/// The differences that wait for a restart.
fn waiting(edits: &[(&str, &str)]) -> Vec<String> {
    pending(&config(BASE), &edited(edits)).iter().map(ToString::to_string).collect()
}

fn edited(edits: &[(&str, &str)]) -> Config {
    let mut text = BASE.to_owned();
    for (from, to) in edits {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    config(&text)
}

#[test]
fn q3_equal_configurations_have_no_difference() {
    assert!(lines(&[]).is_empty());
    assert!(lines(&[("  - number: \"99900\"", "  # a comment\n  - number: '99900'")]).is_empty());
}

#[test]
fn q3_queues_are_compared_key_by_key() {
    let edits = [
        ("name: Support", "name: Sales"),
        (
            "max_wait_minutes: 10",
            "max_wait_minutes: 0.5\n    strategy: random\n    wrap_up_seconds: 30\n    ring_seconds: 15\n    head_start_seconds: 90\n    music: local_stream://moh\n    language: fr\n    position_announcement: { every_seconds: 45 }\n    timeout: { message: /x.wav, action: { queue: \"99901\" } }\n    max_callers: 0\n    full: { message: /f.wav, action: { transfer: \"1005\" } }\n    max_conversations: 3",
        ),
    ];
    assert_eq!(
        lines(&edits),
        [
            "queue 99900: name: Support → Sales",
            "queue 99900: strategy: as-listed → random",
            "queue 99900: max_wait_minutes: 10 → 0.5",
            "queue 99900: wrap_up_seconds: 0 → 30",
            "queue 99900: ring_seconds: 20 → 15",
            "queue 99900: head_start_seconds: 0 → 90",
            "queue 99900: music: ringtone → local_stream://moh",
            "queue 99900: language: en → fr",
            "queue 99900: position_announcement.every_seconds: off → 45",
            "queue 99900: timeout.message: none → /x.wav",
            "queue 99900: timeout.action: hangup → queue 99901",
            "queue 99900: max_callers: none → 0",
            "queue 99900: full.message: none → /f.wav",
            "queue 99900: full.action: hangup → transfer to 1005",
            "queue 99900: max_conversations: none → 3",
        ]
    );
}

#[test]
fn q3_queues_and_agents_are_added_and_removed() {
    let edits = [
        ("  - { id: \"1002\", name: Bruno }\n", "  - { id: \"1000\" }\n"),
        ("Anna }", "Anna, dial: sofia/gateway/mobile/079 }"),
        ("\"99901\"", "\"99902\""),
        (", \"1002\", \"1003\"]", "]"),
    ];
    assert_eq!(
        lines(&edits),
        [
            "agent 1000: added",
            "agent 1001: dial: user/1001 → sofia/gateway/mobile/079",
            "agent 1002: removed",
            "queue 99900: participants removed: 1002, 1003",
            "queue 99901: removed",
            "queue 99902: added",
        ]
    );
}

#[test]
fn q3_participants_are_added_removed_and_reordered() {
    let to = |list: &str| lines(&[("[\"1001\", \"1002\", \"1003\"]", list)]);
    assert_eq!(to("[\"1003\", \"1001\", \"1002\"]"), ["queue 99900: participants reordered: 1003, 1001, 1002"]);
    assert_eq!(to("[\"1001\", \"1003\"]"), ["queue 99900: participants removed: 1002"]);
    assert_eq!(
        to("[\"1003\", \"1001\"]"),
        ["queue 99900: participants removed: 1002", "queue 99900: participants reordered: 1003, 1001"]
    );
    let back = config(&BASE.replace("[\"1001\", \"1002\", \"1003\"]", "[\"1002\"]"));
    let lines: Vec<String> = diff(&back, &config(BASE)).iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["queue 99900: participants added: 1001, 1003"]);
}

#[test]
fn q3_settings_that_need_a_restart_say_so_and_secrets_stay_secret() {
    let edits = [
        (
            "listen: 127.0.0.1:8084\ntoken: one",
            "listen: 127.0.0.1:8085\nallow: [10.0.0.0/8]\ntoken: two\nstate: s.db\nkeep_days: 30\ncontrol: c.sock\ndomain: x.ch\nprompts: /p\nlanguages: [de]\nfeature_codes: { login: \"*51\", logout: \"*52\", toggle: true }",
        ),
        ("password: old", "password: new"),
    ];
    assert_eq!(
        lines(&edits),
        [
            "allow: 127.0.0.0/8, ::1/128 → 10.0.0.0/8",
            "token: (set) → (changed)",
            "keep_days: 400 → 30",
            "domain: ${domain} → x.ch",
            "prompts: ${conf_dir}/fsq/prompts → /p",
            "languages: de, fr, it, en → de",
            "language: en → de",
            "feature_codes.login: *41 → *51",
            "feature_codes.logout: *42 → *52",
            "feature_codes.toggle: false → true",
            "queue 99900: language: en → de",
            "queue 99901: language: en → de",
        ]
    );
    assert_eq!(lines(&[("token: one\n", "")]), ["token: (set) → none"]);
    assert_eq!(
        waiting(&edits),
        [
            "listen: 127.0.0.1:8084 → 127.0.0.1:8085 (needs a restart)",
            "freeswitch: 10.0.0.1:8021 → 10.0.0.1:8021 with another password (needs a restart)",
            "state: state.db → s.db (needs a restart)",
            "control: freeswitch-queue.sock → c.sock (needs a restart)",
        ]
    );
    assert_eq!(
        waiting(&[("\"10.0.0.1:8021\", password: old", "\"10.0.0.2:8021\", password: old")]),
        ["freeswitch: 10.0.0.1:8021 → 10.0.0.2:8021 (needs a restart)"]
    );
    assert_eq!(
        waiting(&[("[{ address: \"10.0.0.1:8021\", password: old }]", "[]")]),
        ["freeswitch: 10.0.0.1:8021 → none (needs a restart)"]
    );
    let edits = [("8084", "8085"), ("Anna", "Zoe")];
    assert_eq!((waiting(&edits).len(), lines(&edits).len()), (1, 1));
}

/// A new key of the configuration breaks this function's patterns: add it here and to the comparisons above.
#[test]
fn q3_no_key_is_forgotten() {
    let Config {
        listen: _,
        allow: _,
        token: _,
        freeswitch: _,
        state: _,
        keep: _,
        control: _,
        domain: _,
        prompts: _,
        languages: _,
        language: _,
        feature_codes: FeatureCodes { login: _, logout: _, toggle: _ },
        callers: Callers { withheld: _ },
        log: LogSettings { numbers: _ },
        agents,
        queues,
    } = config(BASE);
    let AgentSettings { id: _, name: _, dial: _, follow_forwards: _ } = agents[0].clone();
    let QueueSettings {
        number: _,
        name: _,
        strategy: _,
        participants: _,
        max_wait: _,
        wrap_up: _,
        ring_time: _,
        ring_at_most: _,
        head_start: _,
        music: _,
        language: _,
        announce_every: _,
        timeout: Timeout { message: _, action: _ },
        max_callers: _,
        full: _,
        max_conversations: _,
    } = queues[0].clone();
}
