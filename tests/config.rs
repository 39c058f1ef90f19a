//! The configuration as a whole: the sample file, the file of the contract, and random files.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use freeswitch_queue::acd::ids::{AgentId, QueueNumber};
use freeswitch_queue::acd::settings::{self, AgentSettings, Language, Music, QueueSettings, Timeout, TimeoutAction};
use freeswitch_queue::config::{Config, Place, Problems, diff, parse};
use proptest::prelude::*;

const SAMPLE: &str = include_str!("../queues.yaml");

fn read(text: &str) -> Result<Config, Problems> {
    parse(Path::new("queues.yaml"), text.as_bytes(), [])
}

fn agent(id: &str, name: &str) -> AgentSettings {
    AgentSettings::new(AgentId::new(id).unwrap(), name.into())
}

#[test]
fn q2_the_sample_file_is_read_as_written() {
    let config = read(SAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:8084");
    assert_eq!(config.freeswitch[0].address, "127.0.0.1:8021");
    assert_eq!(config.freeswitch[0].password.expose(), "ClueCon");
    assert_eq!(config.agents, [agent("1001", "Anna"), agent("1002", "Bruno"), agent("1003", "Chiara")]);
    let ids = |ids: &[&str]| ids.iter().map(|id| AgentId::new(id).unwrap()).collect::<Vec<_>>();
    let overflow = QueueNumber::new("99901").unwrap();
    let expected = [
        QueueSettings {
            number: QueueNumber::new("99900").unwrap(),
            name: "Service client".into(),
            strategy: settings::Strategy::LongestIdle,
            participants: ids(&["1001", "1002", "1003"]),
            max_wait: Some(Duration::from_secs(600)),
            wrap_up: Duration::from_secs(30),
            ring_time: Duration::from_secs(20),
            ring_at_most: 1000,
            head_start: Duration::ZERO,
            music: Music::Ringtone,
            language: Language("fr".into()),
            announce_every: Some(Duration::from_secs(30)),
            timeout: Timeout { message: None, action: TimeoutAction::Queue(overflow.clone()) },
            max_callers: Some(50),
            full: Timeout { message: None, action: TimeoutAction::Transfer("1005".into()) },
            max_conversations: Some(20),
        },
        QueueSettings::new(overflow, "Overflow".into(), ids(&["1003", "1001"]), Language("en".into())),
    ];
    assert_eq!(config.queues, expected);
}

/// The defaults that the sample shows in comments are the real ones.
#[test]
fn q2_the_defaults_in_the_sample_are_the_real_ones() {
    let keys = ["state: ", "control: ", "prompts: ", "languages: ", "language: ", "feature_codes: "];
    let mut shown = 0;
    let uncommented = SAMPLE.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if keys.iter().any(|key| rest.starts_with(key)) => {
            shown += 1;
            rest
        }
        _ => line,
    });
    let text = uncommented.collect::<Vec<_>>().join("\n");
    assert_eq!(shown, keys.len());
    assert_eq!(read(&text).unwrap(), read(SAMPLE).unwrap());
}

const CONTRACT: &str = r#"
listen: 127.0.0.1:8084            # where FreeSWITCH's `socket` application connects
allow: [127.0.0.0/8]              # who may connect there; all others are refused and logged
token: s3cret                     # optional: must equal the /TOKEN of `socket HOST:PORT/TOKEN`
freeswitch:
  - { address: "127.0.0.1:8021", password: ClueCon }
state: state.db                   # embedded store
domain: pbx.example.ch
agents:
  - { id: "1001", name: Anna }                       # rings user/1001@domain
  - { id: "1002", name: Bruno, dial: "sofia/gateway/mobile/0791234567" }
queues:
  - number: "99900"
    name: Service client
    strategy: longest-idle        # as-listed (default) | simultaneous | longest-idle | random
    participants: ["1001", "1002"]   # this order is the list order
    max_wait_minutes: 10          # fractions allowed; absent = no limit
    wrap_up_seconds: 30           # default 0
    ring_seconds: 20              # how long one offer rings
    music: ringtone               # ringtone (default) | a file path | any FreeSWITCH stream URL (local_stream://moh)
    position_announcement: { language: fr, every_seconds: 30 }   # absent = off; languages de fr it en
    timeout:
      message: /var/lib/queue/sorry.wav   # optional
      action: hangup              # hangup (default) | { transfer: "1005" } | { queue: "99901" }
"#;

#[test]
fn q2_the_file_of_the_contract_is_accepted() {
    let elsewhere = CONTRACT.replace("127.0.0.1:8021", "10.0.0.1:8021");
    let config = read(&elsewhere).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.agents[1].dial.as_deref(), Some("sofia/gateway/mobile/0791234567"));
    assert_eq!(config.queues[0].timeout.message.as_deref(), Some("/var/lib/queue/sorry.wav"));
    assert_eq!(&*config.queues[0].language.0, "fr");
}

/// The sample file with one bad edit each, and the line of the problem.
fn bad_edits() -> Vec<(String, usize)> {
    let edits = [
        ("number: \"99900\"", "number: 99900"),
        ("number: \"99900\"", "number: 0077"),
        ("number: \"99901\"", "number: *41"),
        ("number: \"99901\"", "number: \"99900\""),
        ("number: \"99901\"", "number: \"99 01\""),
        ("number: \"99901\"", "nummer: \"99901\""),
        ("id: \"1002\"", "id: 1002"),
        ("id: \"1002\"", "id: \"1001\""),
        ("id: \"1002\"", "id: \"10 02\""),
        ("name: Anna", "name: no"),
        ("name: Anna", "name: \"\""),
        ("name: Anna", "dial: \"a/b,c/d\""),
        ("name: Bruno", "name: Bruno, name: Bruno"),
        ("strategy: longest-idle", "strategy: fastest"),
        ("[\"1001\", \"1002\", \"1003\"]", "[\"1001\", \"1002\", \"1001\"]"),
        ("[\"1001\", \"1002\", \"1003\"]", "[\"1001\", \"1004\"]"),
        ("[\"1001\", \"1002\", \"1003\"]", "1001"),
        ("max_wait_minutes: 10", "max_wait_minutes: -10"),
        ("max_wait_minutes: 10", "max_wait_minutes: .nan"),
        ("wrap_up_seconds: 30", "wrap_up_seconds: 1e9"),
        ("ring_seconds: 20", "ring_seconds: \"20\""),
        ("ring_seconds: 20", "\tring_seconds: 20"),
        ("music: ringtone", "music: /no/such/file.wav"),
        ("music: ringtone", "music: \"${system(x)}\""),
        ("language: fr ", "language: no "),
        ("language: fr ", "language: rm "),
        ("{ every_seconds: 30 }", ""),
        ("max_callers: 50", "max_callers: 0.5"),
        ("max_conversations: 20", "max_conversations: 0"),
        ("full: {", "full: { action: full } #"),
        ("{ queue: \"99901\" }", "{ queue: \"99902\" }"),
        ("{ queue: \"99901\" }", "{ queue: \"99900\" }"),
        ("{ queue: \"99901\" }", "call-back"),
        ("listen: 127.0.0.1:8084", "listen: 8084"),
        ("127.0.0.0/8", "127.0.0.0/99"),
        ("\"127.0.0.1:8021\"", "127.0.0.1"),
        ("password: ClueCon", "pasword: ClueCon"),
    ];
    edits
        .iter()
        .map(|(from, to)| {
            // The last occurrence, since earlier ones may be in the sample's comments.
            let lines: Vec<&str> = SAMPLE.lines().collect();
            let at = lines.iter().rposition(|l| l.contains(from) && !l.trim_start().starts_with('#')).expect(from);
            let line = lines[at].replacen(from, to, 1);
            let edited = [&lines[..at], &[line.as_str()], &lines[at + 1..]].concat();
            (edited.join("\n"), at + 1)
        })
        .collect()
}

#[test]
fn q2_one_bad_edit_is_reported_with_its_line_and_nothing_is_read() {
    for (text, line) in bad_edits() {
        let problems = read(&text).expect_err(&text);
        let lines = problems.iter().map(|problem| match &problem.place {
            Place::At(_, mark) => mark.line,
            other => panic!("{other}"),
        });
        assert!(lines.clone().any(|reported| reported == line), "line {line}:\n{problems}");
        for problem in &problems {
            assert!(!problem.what.is_empty() && !problem.fix.is_empty(), "{problem:?}");
        }
    }
}

/// A valid configuration, as a file and as the values it must be read as.
#[derive(Clone, Debug)]
struct Good {
    agents: Vec<(String, String)>,
    queues: Vec<(String, String, Vec<usize>, u32)>,
}

impl Good {
    fn text(&self) -> String {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = String::from("agents:\n");
        for (id, name) in &self.agents {
            text.push_str(&format!("  - {{ id: '{id}', name: {} }}\n", quote(name)));
        }
        text.push_str("queues:\n");
        for (number, name, participants, ring) in &self.queues {
            let ids: Vec<String> = participants.iter().map(|i| format!("\"{}\"", self.agents[*i].0)).collect();
            text.push_str(&format!(
                "- number: \"{number}\"\n  name: {}\n  participants: [{}]\n  ring_seconds: {ring}\n",
                quote(name),
                ids.join(", ")
            ));
        }
        text
    }
}

fn good() -> impl Strategy<Value = Good> {
    let name = "[ -~äöüéèç€]{1,20}".prop_filter("not blank", |name| !name.trim().is_empty());
    let agents = prop::collection::btree_map("[A-Za-z0-9._+-]{1,8}", name.clone(), 1..6);
    agents.prop_flat_map(move |agents| {
        let agents: Vec<_> = agents.into_iter().collect();
        let all: Vec<usize> = (0..agents.len()).collect();
        let list = prop::sample::subsequence(all.clone(), 0..=all.len()).prop_shuffle();
        let queue = (name.clone(), list, 1..300u32);
        prop::collection::btree_map("[0-9]{1,8}", queue, 1..5).prop_map(move |queues| Good {
            agents: agents.clone(),
            queues: queues.into_iter().map(|(number, (name, list, ring))| (number, name, list, ring)).collect(),
        })
    })
}

/// Text that looks like YAML more often than random characters do.
fn yamlish() -> impl Strategy<Value = String> {
    let words = [
        "queues",
        "agents",
        "number",
        "name",
        "participants",
        "timeout",
        "action",
        "allow",
        "listen",
        ": ",
        ":",
        "- ",
        "\n",
        "\n  ",
        "\n    ",
        "\r\n",
        "\t",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "*41",
        "&a",
        "*a",
        "|\n ",
        ">",
        "!!str ",
        "!x",
        "<<",
        "0077",
        "99900",
        "no",
        "~",
        "# ",
        "---\n",
        "...\n",
        "%",
        "\u{feff}",
        "\u{0}",
        "\u{85}",
        "é",
        "?",
        "\\",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn q2_any_bytes_are_handled(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(Path::new("queues.yaml"), &bytes, []);
    }

    #[test]
    fn q2_anything_like_yaml_is_handled(text in yamlish()) {
        if let Err(problems) = read(&text) {
            prop_assert!(problems.iter().count() > 0);
        }
    }

    /// The sample with some of its text overwritten.
    #[test]
    fn q2_a_damaged_file_is_handled(at in 0..SAMPLE.len(), length in 0..40usize, with in yamlish()) {
        let kept = SAMPLE.char_indices().filter(|(i, _)| !(at..at + length).contains(i));
        let (before, after): (Vec<_>, Vec<_>) = kept.partition(|(i, _)| *i < at);
        let text = |part: Vec<(usize, char)>| part.into_iter().map(|(_, c)| c).collect::<String>();
        let text = format!("{}{with}{}", text(before), text(after));
        if let Err(problems) = read(&text) {
            prop_assert!(problems.iter().count() > 0);
        }
    }

    #[test]
    fn q2_a_valid_file_is_read_as_written(good in good()) {
        let config = read(&good.text()).unwrap_or_else(|problems| panic!("{}\n{problems}", good.text()));
        prop_assert_eq!(config.agents.len(), good.agents.len());
        for (read, (id, name)) in config.agents.iter().zip(&good.agents) {
            prop_assert_eq!((read.id.as_str(), &*read.name), (id.as_str(), name.trim()));
        }
        prop_assert_eq!(config.queues.len(), good.queues.len());
        for (read, (number, name, list, ring)) in config.queues.iter().zip(&good.queues) {
            prop_assert_eq!((read.number.as_str(), &*read.name), (number.as_str(), name.trim()));
            let ids: Vec<&str> = list.iter().map(|i| good.agents[*i].0.as_str()).collect();
            prop_assert_eq!(read.participants.iter().map(AgentId::as_str).collect::<Vec<_>>(), ids);
            prop_assert_eq!(read.ring_time, Duration::from_secs(u64::from(*ring)));
        }
    }

    /// The difference is empty exactly when only the order in the file differs, and it names the same places in both
    /// directions.
    #[test]
    fn q3_differences_are_complete_and_symmetric(a in good(), b in good()) {
        let (a, b) = (read(&a.text()).unwrap(), read(&b.text()).unwrap());
        prop_assert!(diff(&a, &a).is_empty());
        prop_assert_eq!(diff(&a, &b).is_empty(), a == b);
        let keys = |from: &Config, to: &Config| {
            let mut keys: Vec<String> = diff(from, to)
                .iter()
                .map(|change| change.to_string().split(": ").next().unwrap().to_owned())
                .collect();
            keys.dedup();
            keys
        };
        prop_assert_eq!(keys(&a, &b), keys(&b, &a));
    }
}
