//! The queues.

use std::time::Duration;

use super::*;
use crate::acd::ids::QueueNumber;
use crate::acd::settings::{Music, Strategy, TimeoutAction};

#[test]
fn q2_numbers_and_names_are_checked() {
    let fix = "write 1 to 32 digits, such as \"99900\"";
    for (number, why) in [
        ("", "it is empty"),
        ("99 900", "it may not contain ' '"),
        ("*41", "it may not contain '*'"),
        ("٣", "it may not contain '٣'"),
    ] {
        wrong(
            &GOOD.replace("99900", number),
            &[&format!("4:13: queues[0].number: \"{number}\" is not a queue number: {why}; {fix}")],
        );
    }
    wrong(&GOOD.replace("Support", "\"\""), &["5:11: queues[0].name: it is empty; write a value"]);
    wrong(
        &GOOD.replace("Support", "\"a\\rb\""),
        &["5:11: queues[0].name: it contains a line break; write it on one line"],
    );
    assert_eq!(&*read(&GOOD.replace("Support", "\"100 % $ {x}\"")).unwrap().queues[0].name, "100 % $ {x}");
    let second = "  - { number: \"99900\", name: Other, participants: [] }\n";
    wrong(
        &format!("{GOOD}{second}"),
        &["7:15: queues[1].number: \"99900\" is already used by queues[0].number on line 4; each must be different"],
    );
}

#[test]
fn q2_participants_must_be_agents_and_listed_once() {
    wrong(
        &GOOD.replace("[\"1001\"]", "[\"1001\", \"1003\", \"1001\"]"),
        &[
            "6:28: queues[0].participants[1]: \"1003\" is not an agent; add { id: \"1003\" } under agents, or remove it here",
            "6:36: queues[0].participants[2]: \"1001\" is listed twice; keep only one of the two",
        ],
    );
    assert!(read(&GOOD.replace("[\"1001\"]", "[]")).unwrap().queues[0].participants.is_empty());
}

#[test]
fn q2_strategies_are_checked() {
    for (word, strategy) in [
        ("as-listed", Strategy::AsListed),
        ("simultaneous", Strategy::Simultaneous),
        ("longest-idle", Strategy::LongestIdle),
        ("round-robin", Strategy::RoundRobin),
        ("fewest-calls", Strategy::FewestCalls),
        ("least-talk-time", Strategy::LeastTalkTime),
        ("random", Strategy::Random),
    ] {
        assert_eq!(with_queue(&format!("strategy: {word}")).queues[0].strategy, strategy);
    }
    wrong_queue(
        "strategy: longest_idle",
        &["7:15: queues[0].strategy: \"longest_idle\" is not a strategy; did you mean longest-idle?"],
    );
    wrong_queue(
        "strategy: best",
        &[
            "7:15: queues[0].strategy: \"best\" is not a strategy; write one of as-listed, simultaneous, longest-idle, round-robin, fewest-calls, least-talk-time, random",
        ],
    );
}

/// Q37: the limit is a whole number, and means something only where several agents ring.
#[test]
fn q37_the_limit_of_phones_belongs_to_simultaneous() {
    assert_eq!(with_queue("strategy: simultaneous").queues[0].ring_at_most, 1000);
    assert_eq!(with_queue("strategy: simultaneous\nring_at_most: 3").queues[0].ring_at_most, 3);
    for (text, what) in [
        ("0", "between 1 and 1000"),
        ("1001", "between 1 and 1000"),
        ("2.5", "a whole number"),
        ("-1", "between 1 and 1000"),
    ] {
        wrong_queue(
            &format!("ring_at_most: {text}\nstrategy: simultaneous"),
            &[&format!("7:19: queues[0].ring_at_most: {text} is not {what}; write a whole number from 1 to 1000")],
        );
    }
    for other in ["", "\nstrategy: random"] {
        wrong_queue(
            &format!("ring_at_most: 3{other}"),
            &[
                "7:19: queues[0].ring_at_most: only simultaneous rings several agents at a time; write strategy: simultaneous, or remove this key",
            ],
        );
    }
}

#[test]
fn q2_times_have_units_and_bounds() {
    let queue = &with_queue("max_wait_minutes: 0.5\nwrap_up_seconds: 1.5\nring_seconds: 300\nhead_start_seconds: 3600")
        .queues[0];
    assert_eq!(queue.max_wait, Some(Duration::from_secs(30)));
    assert_eq!(queue.wrap_up, Duration::from_millis(1500));
    assert_eq!(queue.ring_time, Duration::from_secs(300));
    assert_eq!(queue.head_start, Duration::from_secs(3600));
    for (text, shown) in [("0", "0"), ("-1", "-1"), ("1441", "1441"), ("99999999999999999999", "100000000000000000000")]
    {
        wrong_queue(
            &format!("max_wait_minutes: {text}"),
            &[&format!(
                "7:23: queues[0].max_wait_minutes: {shown} minutes is out of range; write 0.01 to 1440 minutes"
            )],
        );
    }
    wrong_queue(
        "wrap_up_seconds: 3601",
        &["7:22: queues[0].wrap_up_seconds: 3601 seconds is out of range; write 0 to 3600 seconds"],
    );
    wrong_queue(
        "ring_seconds: 0",
        &["7:19: queues[0].ring_seconds: 0 seconds is out of range; write 1 to 300 seconds"],
    );
    wrong_queue(
        "head_start_seconds: 3601",
        &["7:25: queues[0].head_start_seconds: 3601 seconds is out of range; write 0 to 3600 seconds"],
    );
    wrong_queue(
        "position_announcement: { every_seconds: 1 }",
        &["7:45: queues[0].position_announcement.every_seconds: 1 seconds is out of range; write 5 to 3600 seconds"],
    );
    for number in [".nan", ".inf", "0x10", "1e3"] {
        wrong_queue(
            &format!("wrap_up_seconds: {number}"),
            &[&format!(
                "7:22: queues[0].wrap_up_seconds: {number} is not a plain decimal number; use only digits and a decimal point"
            )],
        );
    }
    wrong_queue(
        "max_wait_minutes: 1,5",
        &["7:23: queues[0].max_wait_minutes: 1,5 has a comma; use a decimal point: 1.5"],
    );
    wrong_queue(
        "wrap_up_seconds: 30s",
        &[
            "7:22: queues[0].wrap_up_seconds: 30s is not a number; write a plain number without a unit, such as 30 or 0.5",
        ],
    );
    wrong_queue(
        "wrap_up_seconds: 030",
        &[
            "7:22: queues[0].wrap_up_seconds: 030 begins with 0, which some YAML readers take as octal; write it without leading zeros",
        ],
    );
    let huge = "9".repeat(400);
    let problems = read(&super::queue(&format!("wrap_up_seconds: {huge}"))).unwrap_err().to_string();
    assert_eq!(
        problems,
        "queues.yaml:7:22: queues[0].wrap_up_seconds: inf seconds is out of range; write 0 to 3600 seconds"
    );
}

#[test]
fn q2_music_is_checked() {
    let music = |text: &str| with_queue(&format!("music: \"{text}\"")).queues[0].music.clone();
    assert_eq!(music("ringtone"), Music::Ringtone);
    for stream in ["local_stream://moh", "tone_stream://%(1000,4000,425);loops=-1"] {
        assert_eq!(music(stream), Music::Stream(stream.into()));
    }
    assert_eq!(music("${sounds_dir}/music.wav"), Music::File("${sounds_dir}/music.wav".into()));
    wrong_queue("music: ringtones", &["7:12: queues[0].music: \"ringtones\" is not music; did you mean ringtone?"]);
    wrong_queue(
        "music: moh.wav",
        &[
            "7:12: queues[0].music: \"moh.wav\" is not a path that FreeSWITCH can find; write ringtone, an absolute path, or a stream such as local_stream://moh",
        ],
    );
    wrong_queue(
        "music: \"local_stream://${system(x)}\"",
        &[
            "7:12: queues[0].music: \"local_stream://${system(x)}\" contains a ${...} that is not just a variable's name; write the value out",
        ],
    );
    wrong_queue(
        "music: \"local_stream://a\\nb\"",
        &["7:12: queues[0].music: it contains a line break; write it on one line"],
    );
}

#[test]
fn q2_sound_files_must_exist_if_freeswitch_is_on_this_machine() {
    let fix = "put it there, or, if only FreeSWITCH can see it, write a path such as ${sounds_dir}/sorry.wav";
    wrong_queue(
        "music: /no/such/moh.wav\ntimeout: { message: /no/such/sorry.wav }",
        &[
            &format!("7:12: queues[0].music: the file /no/such/moh.wav does not exist; {fix}"),
            &format!("8:25: queues[0].timeout.message: the file /no/such/sorry.wav does not exist; {fix}"),
        ],
    );
    wrong_queue(
        "timeout: { message: / }",
        &["7:25: queues[0].timeout.message: / is a folder; name a sound file in it"],
    );
    wrong_queue(
        "timeout: { message: sorry.wav }",
        &[
            "7:25: queues[0].timeout.message: \"sorry.wav\" is not a path that FreeSWITCH can find; write an absolute path, such as /var/lib/queue/sorry.wav, or ${sounds_dir}/sorry.wav",
        ],
    );
    wrong_queue(
        "timeout: { message: /a!b.wav }",
        &[
            "7:25: queues[0].timeout.message: \"/a!b.wav\" contains '!', which separates files in FreeSWITCH; rename the file",
        ],
    );
    let with_switch = |address: &str| {
        let queue = super::queue("timeout: { message: /no/such/sorry.wav }");
        read(&format!("freeswitch: [{{ address: \"{address}\", password: x }}]\n{queue}"))
    };
    for here in ["127.0.0.1:8021", "[::1]:8021", "localhost:8021"] {
        assert!(with_switch(here).is_err(), "{here}");
    }
    for elsewhere in ["10.0.0.1:8021", "pbx.example.ch:8021"] {
        assert!(with_switch(elsewhere).is_ok(), "{elsewhere}");
    }
    let there = std::env::current_exe().unwrap();
    let config = with_queue(&format!("timeout: {{ message: \"{}\" }}", there.display()));
    assert_eq!(config.queues[0].timeout.message.as_deref(), there.to_str());
}

#[test]
fn q2_languages_of_queues_are_checked() {
    let language = |lines: &str| with_queue(lines).queues[0].clone();
    assert_eq!(&*language("language: fr").language.0, "fr");
    let announced = language("position_announcement: { language: it }");
    assert_eq!((&*announced.language.0, announced.announce_every), ("it", Some(Duration::from_secs(30))));
    let both = language("language: fr\nposition_announcement: { language: fr, every_seconds: 45 }");
    assert_eq!((&*both.language.0, both.announce_every), ("fr", Some(Duration::from_secs(45))));
    assert_eq!(language("position_announcement: {}").announce_every, Some(Duration::from_secs(30)));
    wrong_queue(
        "language: rm\nposition_announcement: { language: es }",
        &[
            "7:15: queues[0].language: \"rm\" is not one of the languages (de, fr, it, en); choose one of them, or add its prompts and list it under languages",
            "8:40: queues[0].position_announcement.language: \"es\" is not one of the languages (de, fr, it, en); choose one of them, or add its prompts and list it under languages",
        ],
    );
    wrong_queue(
        "language: fr\nposition_announcement: { language: de }",
        &[
            "8:40: queues[0].position_announcement.language: the queue uses fr, its announcement de; set one language in one of the two places",
        ],
    );
}

#[test]
fn q2_timeout_actions_are_checked() {
    let action = |text: &str| with_queue(&format!("timeout: {{ action: {text} }}")).queues[0].timeout.action.clone();
    assert_eq!(action("hangup"), TimeoutAction::Hangup);
    assert_eq!(action("{ transfer: \"1005\" }"), TimeoutAction::Transfer("1005".into()));
    let two = "agents: []\nqueues:\n  - { number: \"1\", name: A, participants: [], timeout: { action: { transfer: \"2\" } } }\n  \
               - { number: \"2\", name: B, participants: [] }\n";
    let moved = read(two).unwrap().queues[0].timeout.action.clone();
    assert_eq!(moved, TimeoutAction::Queue(QueueNumber::new("2").unwrap()), "a queue's number means that queue");
    assert_eq!(with_queue("timeout: {}").queues[0].timeout.action, TimeoutAction::Hangup);
    let fix = "write hangup, { transfer: \"1005\" } or { queue: \"99901\" }";
    wrong_queue(
        "timeout: { action: hang-up }",
        &[&format!("7:24: queues[0].timeout.action: \"hang-up\" is not an action; {fix}")],
    );
    wrong_queue("timeout: { action: {} }", &[&format!("7:24: queues[0].timeout.action: the action is empty; {fix}")]);
    wrong_queue(
        "timeout: { action: { transfer: \"1\", queue: \"2\" } }",
        &[&format!("7:24: queues[0].timeout.action: an action has only one target; {fix}")],
    );
    wrong_queue(
        "timeout: { action: { queue: \"99901\" } }",
        &["7:33: queues[0].timeout.action.queue: there is no queue \"99901\"; use the number of a queue in this file"],
    );
    wrong_queue(
        "timeout: { action: { queue: \"99900\" } }",
        &[
            "7:33: queues[0].timeout.action.queue: the queue would send its callers to itself; choose another queue, or write action: hangup",
        ],
    );
    wrong_queue(
        "timeout: { action: { transfer: \"99900\" } }",
        &[
            "7:36: queues[0].timeout.action.transfer: the queue would send its callers to itself; send callers somewhere else, or write action: hangup",
        ],
    );
    wrong_queue(
        "timeout: { action: { transfer: \"1005 XML x\" } }",
        &[
            "7:36: queues[0].timeout.action.transfer: \"1005 XML x\" may not contain ' '; write one internal number, such as \"1005\"",
        ],
    );
}

/// Q38: a limit is a whole number, and a treatment of those who are one too many needs it.
#[test]
fn q38_limits_on_callers_are_checked() {
    assert_eq!((with_queue("").queues[0].max_callers, &with_queue("").queues[0].full), (None, &Timeout::default()));
    for most in [0, 1, 10_000] {
        assert_eq!(with_queue(&format!("max_callers: {most}")).queues[0].max_callers, Some(most));
    }
    let fix = "write a whole number from 0 to 10000";
    for (value, why) in [
        ("0.5", "0.5 is not a whole number"),
        ("-1", "-1 is not between 0 and 10000"),
        ("10001", "10001 is not between 0 and 10000"),
    ] {
        wrong_queue(&format!("max_callers: {value}"), &[&format!("7:18: queues[0].max_callers: {why}; {fix}")]);
    }
    let full =
        with_queue("max_callers: 1\nfull: { message: \"${sounds_dir}/full.wav\", action: { transfer: \"1005\" } }");
    let message = Some("${sounds_dir}/full.wav".into());
    assert_eq!(full.queues[0].full, Timeout { message, action: TimeoutAction::Transfer("1005".into()) });
    wrong_queue(
        "full: { action: hangup }",
        &[
            "7:11: queues[0].full: it has no effect without max_callers; add max_callers: 50 to the queue, or remove this key",
        ],
    );
    wrong_queue(
        "max_callers: 1\nfull: { message: /no/such/file.wav, action: { queue: \"99900\" } }",
        &[
            "8:22: queues[0].full.message: the file /no/such/file.wav does not exist; put it there, or, if only FreeSWITCH can see it, write a path such as ${sounds_dir}/sorry.wav",
            "8:58: queues[0].full.action.queue: the queue would send its callers to itself; choose another queue, or write action: hangup",
        ],
    );
    assert_eq!(with_queue("max_conversations: 1").queues[0].max_conversations, Some(1));
    wrong_queue(
        "max_conversations: 0",
        &["7:24: queues[0].max_conversations: 0 is not between 1 and 10000; write a whole number from 1 to 10000"],
    );
}
