//! Q38, Q44: callers who are not let into a queue.

use std::sync::Arc;
use std::time::Duration;

use freeswitch_queue::acd::fact::Fact;
use simswitch::{Behaviour, Caller, Length, Sound};

use crate::house::{House, answers, pass, play};
use crate::setting::{Queue, configuration, queue};

/// A message of 3.2 s.
const FULL: &str = "message: \"${sounds_dir}/full.wav\"";

fn lengths() -> simswitch::Config {
    let lengths = |name: &str| name.contains("full").then_some(Length::For(Duration::from_millis(3_200)));
    simswitch::Config { lengths: Some(Arc::new(lengths)), ..simswitch::Config::default() }
}

fn open(queues: &[Queue]) -> House {
    House::with(lengths(), configuration(queues, ""), 1)
}

fn takes(most: u32, full: &str) -> Queue {
    queue("99900", &["1001", "1002"]).with(&format!("max_callers: {most}")).with(&format!("full: {{ {full} }}"))
}

fn sounds(caller: &Caller) -> Vec<String> {
    caller.history().iter().map(|s| format!("{:?}", s.sound)).collect()
}

/// Q38: the caller who is one too many hears the message before any music, then gets the action; Q44: the record is a
/// refusal, and nothing else.
#[test]
fn q38_the_next_caller_of_a_full_queue_is_not_let_in() {
    for (action, last) in [
        ("hangup", "0793 is hung up"),
        ("{ transfer: \"1005\" }", "0793 is transferred to 1005"),
        ("{ queue: \"99901\" }", "0793 enters 99901"),
    ] {
        play(async move {
            let house = open(&[takes(2, &format!("{FULL}, action: {action}")), queue("99901", &["1003"])]);
            let first = ["0791", "0792"].map(|n| house.caller(n, "99900"));
            pass(1_000).await;
            let third = house.caller("0793", "99900");
            third.wait_hears("full").await;
            let heard = sounds(&third);
            assert!(heard.iter().all(|s| !s.contains("tone_stream")), "music before the message: {heard:?}");
            pass(4_000).await;
            assert_eq!(house.line("99900"), ["0791", "0792"]);
            third.hang_up();
            first.iter().for_each(Caller::hang_up);
            let story = house.end().await.story_of(&["0793"]);
            assert_eq!(story[0], "0793 is refused by 99900: full");
            assert!(story.contains(&last.to_owned()), "{story:?}");
            assert!(story.iter().all(|l| !l.contains("99900") || l.contains("refused")), "{story:?}");
        });
    }
}

/// Q38: callers who talk do not count, and a place that becomes free is given to the next caller.
#[test]
fn q38_only_callers_who_wait_count() {
    play(async {
        let house = open(&[takes(1, FULL).of(&["1001"])]);
        let talks = house.caller("0791", "99900");
        house.take("1001").await;
        pass(500).await;
        let waits = house.caller("0792", "99900");
        pass(500).await;
        let refused = house.caller("0793", "99900");
        refused.wait_ended().await;
        waits.hang_up();
        pass(500).await;
        let next = house.caller("0794", "99900");
        pass(500).await;
        assert_eq!(house.line("99900"), ["0794"]);
        [talks, next].iter().for_each(Caller::hang_up);
        let book = house.end().await;
        assert_eq!(book.story_of(&["refused"]), ["0793 is refused by 99900: full"]);
        assert_eq!(book.story_of(&["abandons"]).len(), 2, "nor is a refusal an abandonment");
    });
}

/// Q44: a caller who hangs up during the message has been refused, and has abandoned nothing.
#[test]
fn q44_hanging_up_during_the_message_abandons_nothing() {
    play(async {
        let house = open(&[takes(0, FULL)]);
        house.log_out("1002", "99900");
        house.when_rung("1001", Behaviour::Ignore);
        let first = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        let second = house.caller("0792", "99900");
        second.wait_hears("full").await;
        pass(1_000).await;
        second.hang_up();
        pass(1_000).await;
        first.hang_up();
        let story = house.end().await.story_of(&["0792"]);
        assert_eq!(story, ["0792 is refused by 99900: full"]);
    });
}

/// Q38: with 0 a caller is let in if a phone can be rung at once: as many callers as phones, also when all come at the
/// same instant.
#[test]
fn q38_nobody_waits_where_nobody_may_wait() {
    for (strategy, rung) in [("as-listed", 2), ("longest-idle", 2), ("random", 2), ("simultaneous", 1)] {
        play(async move {
            let house = open(&[takes(0, FULL).with(&format!("strategy: {strategy}"))]);
            let callers: Vec<Caller> = (0..5).map(|n| house.caller(&format!("079{n}"), "99900")).collect();
            pass(1_000).await;
            assert_eq!(house.line("99900").len(), rung, "{strategy}");
            callers.iter().for_each(Caller::hang_up);
            pass(5_000).await;
            house.log_out("1002", "99900");
            house.when_rung("1001", answers(500));
            let talks = house.caller("0796", "99900");
            pass(1_000).await;
            assert_eq!(talks.view().talks_to(), Some("1001"));
            let late = house.caller("0797", "99900");
            late.wait_ended().await;
            talks.hang_up();
            let book = house.end().await;
            assert_eq!(book.story_of(&["refused"]).len(), 5 - rung + 1, "{strategy}: {:#?}", book.story());
        });
    }
}

/// Q38: with 0 the same agents count as the dispatcher would ring: `ring_at_most` leaves one for the next caller, and those
/// who have just missed the first caller are held for that caller.
#[test]
fn q38_a_phone_can_be_rung_at_once_if_the_dispatcher_would_ring_it() {
    play(async {
        let house = open(&[takes(0, FULL).with("strategy: simultaneous").with("ring_at_most: 1")]);
        let callers: Vec<Caller> = (0..3).map(|n| house.caller(&format!("079{n}"), "99900")).collect();
        pass(1_000).await;
        assert_eq!(house.line("99900"), ["0790", "0791"]);
        callers.iter().for_each(Caller::hang_up);
        pass(5_000).await;
        house.when_rung("1001", Behaviour::Busy);
        house.when_rung("1002", Behaviour::Busy);
        let first = house.caller("0794", "99900");
        pass(1_000).await;
        let second = house.caller("0795", "99900");
        pass(500).await;
        assert_eq!(house.line("99900"), ["0794"], "both phones are held for the first caller");
        second.wait_ended().await;
        first.hang_up();
        assert_eq!(house.end().await.story_of(&["refused"]).len(), 2);
    });
}

/// Q38, Q13: where nobody is logged in, that decides and not the line's length.
#[test]
fn q38_a_queue_without_agents_is_not_full() {
    play(async {
        let house =
            open(&[takes(0, FULL).with("timeout: { action: { queue: \"99901\" } }"), queue("99901", &["1003"])]);
        house.log_out("1001", "99900");
        house.log_out("1002", "99900");
        let caller = house.caller("0791", "99900");
        assert_eq!(house.take("1003").await, "0791");
        caller.hang_up();
        assert_eq!(house.end().await.story_of(&["refused"]), Vec::<String>::new());
    });
}

/// Q44: refused and entered callers are all who came.
#[test]
fn q44_refused_and_entered_are_all_who_came() {
    play(async {
        let house = open(&[takes(3, FULL)]);
        for agent in ["1001", "1002"] {
            house.when_rung(agent, Behaviour::Converse { after: Duration::from_secs(2), talk: Duration::from_secs(9) });
        }
        let mut callers = Vec::new();
        for n in 0..60_u64 {
            callers.push(house.caller(&format!("079{n:02}"), "99900"));
            pass(200 + 137 * (n % 9)).await;
            assert!(house.line("99900").len() <= 3);
        }
        pass(120_000).await;
        let book = house.end().await;
        let count = |which: fn(&Fact) -> bool| book.records.iter().filter(|r| which(&r.fact)).count();
        let refused = count(|f| matches!(f, Fact::CallRefused { .. }));
        let entered = count(|f| matches!(f, Fact::CallEntered { .. }));
        assert_eq!(refused + entered, callers.len());
        assert!(refused > 5 && entered > 5, "{refused} {entered}");
    });
}

/// Q3: a lowered limit throws nobody out, and a raised one lets the next caller in.
#[test]
fn q3_max_callers_changes_while_it_runs() {
    play(async {
        let house = open(&[takes(2, FULL)]);
        let first = ["0791", "0792"].map(|n| house.caller(n, "99900"));
        pass(500).await;
        house.reconfigure(&[takes(1, FULL)]);
        pass(500).await;
        assert_eq!(house.line("99900"), ["0791", "0792"]);
        let refused = house.caller("0793", "99900");
        refused.wait_ended().await;
        house.reconfigure(&[takes(3, FULL)]);
        let next = house.caller("0794", "99900");
        pass(500).await;
        assert_eq!(house.line("99900"), ["0791", "0792", "0794"]);
        assert_eq!(house.view().queues[0].max_callers, Some(3));
        first.iter().chain([&next]).for_each(Caller::hang_up);
        house.end().await;
    });
}

/// Q19, Q44: the daemon dies while a refused caller hears the message. The refusal stands over the death, although the
/// queue has room by then, and counts once.
#[test]
fn q44_a_refusal_outlives_the_daemon() {
    play(async {
        let full = format!("{FULL}, action: {{ transfer: \"1005\" }}");
        let house = House::durable("q44-refused", &[takes(1, &full)]);
        for agent in ["1001", "1002"] {
            house.when_rung(agent, Behaviour::Busy);
        }
        let first = house.caller("0791", "99900");
        pass(1_000).await;
        let second = house.caller("0792", "99900");
        second.wait_hears("full").await;
        pass(500).await;
        house.kill().await;
        first.hang_up();
        pass(6_000).await;
        house.start_again();
        assert_eq!(house.take("1005").await, "0792");
        second.hang_up();
        pass(30_000).await;
        let book = house.end().await;
        let refused = ["0792 is refused by 99900: full", "0792 is refused by 99900 again: full"];
        assert_eq!(book.story_of(&["refused"]), refused);
        assert_eq!(book.story_of(&["0792"]).last().unwrap(), "0792 is transferred to 1005");
        let again = |r: &&freeswitch_queue::acd::fact::Record| {
            matches!(r.fact, Fact::CallRefused { returned: false, .. } | Fact::CallEntered { returned: false, .. })
        };
        assert_eq!(book.records.iter().filter(again).count(), 2, "each caller counts once");
        let message = |s: &simswitch::Segment| matches!(&s.sound, Sound::Playing(file) if file.contains("full"));
        assert_eq!(second.history().iter().filter(|s| message(s)).count(), 2, "the message begins again");
    });
}

/// Q38: no more callers talk at once than may; the next one waits although an agent is free, and is served when one of
/// the conversations is over.
#[test]
fn q38_no_more_callers_talk_than_may() {
    for strategy in ["as-listed", "simultaneous", "longest-idle", "random"] {
        play(async move {
            let agents = ["1001", "1002", "1003", "1004"];
            let service = queue("99900", &agents).with("max_conversations: 2").with(&format!("strategy: {strategy}"));
            let house = open(&[service, queue("99901", &["1004"])]);
            for agent in agents {
                house.when_rung(agent, answers(700));
            }
            let callers: Vec<Caller> = (0..4).map(|n| house.caller(&format!("079{n}"), "99900")).collect();
            pass(10_000).await;
            assert_eq!(house.line("99900"), ["0792", "0793"], "{strategy}");
            assert!(agents.iter().all(|agent| !house.phone(agent).is_ringing()), "{strategy}");
            let free = agents.iter().find(|agent| house.activity(agent) == "idle").expect("two agents are free");
            let why = house.why(free, "99900");
            let limit = "2 callers of the queue may talk at once, and talk or are being rung for";
            assert_eq!(why.as_deref(), Some(limit), "{strategy}");
            callers[0].hang_up();
            pass(5_000).await;
            assert_eq!(house.line("99900"), ["0793"], "{strategy}");
            callers[1..].iter().for_each(Caller::hang_up);
            let book = house.end().await;
            assert_eq!(book.answered().len(), 3, "{strategy}");
        });
    }
}

/// Q38, Q3: the agents who are free meanwhile serve their other queues, and a raised limit lets the next caller through.
#[test]
fn q38_agents_at_the_limit_serve_other_queues() {
    play(async {
        let limited = |most: u32| queue("99900", &["1001", "1002"]).with(&format!("max_conversations: {most}"));
        let other = || queue("99901", &["1002"]);
        let house = open(&[limited(1), other()]);
        let first = house.caller("0791", "99900");
        house.take("1001").await;
        pass(500).await;
        let second = house.caller("0792", "99900");
        pass(3_000).await;
        assert!(!house.phone("1002").is_ringing());
        let third = house.caller("0793", "99901");
        assert_eq!(house.take("1002").await, "0793", "although 0792 has waited longer");
        third.hang_up();
        pass(500).await;
        house.reconfigure(&[limited(2), other()]);
        assert_eq!(house.take("1002").await, "0792");
        [first, second].iter().for_each(Caller::hang_up);
        house.end().await;
    });
}

/// Q19, Q38: conversations that go on over the daemon's death count at the next daemon.
#[test]
fn q38_conversations_count_over_the_death_of_the_daemon() {
    play(async {
        let house = House::durable("q38-talks", &[queue("99900", &["1001", "1002"]).with("max_conversations: 1")]);
        let first = house.caller("0791", "99900");
        house.take("1001").await;
        pass(1_000).await;
        house.kill().await;
        pass(3_000).await;
        house.start_again();
        pass(1_000).await;
        let second = house.caller("0792", "99900");
        pass(5_000).await;
        assert!(!house.phone("1002").is_ringing());
        assert_eq!(house.view().queues[0].talking, 1);
        first.hang_up();
        house.phone("1001").wait_idle().await;
        assert!(matches!(house.phone("1001").wait_ringing().await.number.as_str(), "0792"));
        second.hang_up();
        house.end().await;
    });
}
