//! Q13: a wait that ends without an agent.

use std::sync::Arc;
use std::time::Duration;

use simswitch::{Behaviour, Length, Sound};

use crate::book::Book;
use crate::house::{House, pass, play};
use crate::setting::{Queue, configuration, queue};

/// A message of 3.2 s.
const MESSAGE: &str = "message: \"${sounds_dir}/sorry.wav\"";

fn open(queues: &[Queue]) -> House {
    let lengths = |name: &str| name.contains("sorry").then_some(Length::For(Duration::from_millis(3_200)));
    let switch = simswitch::Config { lengths: Some(Arc::new(lengths)), ..simswitch::Config::default() };
    House::with(switch, configuration(queues, ""), 1)
}

fn waits_for(minutes: &str, then: &str) -> Queue {
    queue("99900", &["1001"]).with(&format!("max_wait_minutes: {minutes}")).with(then)
}

/// The names of the sounds the caller heard.
fn heard(caller: &simswitch::Caller) -> Vec<String> {
    let name = |sound: &Sound| match sound {
        Sound::Playing(file) => file.rsplit('/').next().unwrap_or_default().to_owned(),
        other => format!("{other:?}"),
    };
    caller.history().iter().map(|s| name(&s.sound)).collect()
}

fn assert_waited(book: &Book, ms: i64) {
    // Counted from FreeSWITCH's time of the call, slightly before the record of the entry.
    let entered = book.first_entries("0791")[0];
    assert_eq!(book.when("0791 times out of 99900: max wait") - entered, ms);
}

/// Q13: after exactly the longest wait, the offer is called off, the message plays to its end, and the call is hung up.
#[test]
fn q13_max_wait_then_hang_up() {
    play(async {
        let house = open(&[waits_for("0.25", &format!("timeout: {{ {MESSAGE} }}"))]);
        house.when_rung("1001", Behaviour::Ignore);
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_ended().await, "NORMAL_CLEARING");
        let message = hans.history().into_iter().find(|s| matches!(&s.sound, Sound::Playing(f) if f.contains("sorry")));
        let began = message.expect("the message is played").at.as_millis();
        assert!((15_000..=15_025).contains(&began), "at the next media frame: {began}");
        let (ended, _) = hans.ended().unwrap();
        assert!((3_200..3_260).contains(&(ended.as_millis() - began)), "to its end");
        assert_eq!(house.phone("1001").rings()[0].ended.as_ref().map(|(at, _)| at.as_millis() / 25), Some(600));
        let book = house.end().await;
        assert_eq!(
            book.story(),
            [
                "0791 enters 99900",
                "1001 is offered 0791",
                "1001 is called off 0791: call timed out",
                "0791 times out of 99900: max wait",
                "0791 is hung up",
            ]
        );
        assert!((0..=25).contains(&(book.when("1001 is called off 0791: call timed out") - 15_000)));
    });
}

/// Q13: a message that exceeds the longest allowed length is stopped, so that the timeout action still follows.
#[test]
fn q13_an_endless_message_is_stopped() {
    play(async {
        let lengths = |name: &str| name.contains("sorry").then_some(Length::For(Duration::from_secs(1_000)));
        let switch = simswitch::Config { lengths: Some(Arc::new(lengths)), ..simswitch::Config::default() };
        let then = format!("timeout: {{ {MESSAGE} }}");
        let house = House::with(switch, configuration(&[waits_for("0.25", &then)], ""), 1);
        house.when_rung("1001", Behaviour::Ignore);
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_ended().await, "NORMAL_CLEARING");
        let (ended, _) = hans.ended().unwrap();
        assert!((315_000..315_200).contains(&ended.as_millis()), "{ended:?}");
        house.end().await;
    });
}

/// Q13: the longest wait is exact to the millisecond, also for fractions of minutes and without an offer.
#[test]
fn q13_exact_to_the_millisecond() {
    for (minutes, ms) in [("0.05", 3_000), ("0.0123", 738), ("1", 60_000), ("2.5", 150_000)] {
        play(async move {
            let house = open(&[waits_for(minutes, "timeout: { action: hangup }")]);
            house.phone("1001").set_registration(simswitch::Registration::Unregistered);
            pass(777).await;
            let hans = house.caller("0791", "99900");
            hans.wait_ended().await;
            assert_waited(&house.end().await, ms);
        });
    }
}

/// Q13: transfer to an internal number, with and without a message.
#[test]
fn q13_max_wait_then_transfer() {
    for message in [format!("{MESSAGE}, "), String::new()] {
        play(async move {
            let house = open(&[waits_for("0.1", &format!("timeout: {{ {message}action: {{ transfer: \"1005\" }} }}"))]);
            house.when_rung("1001", Behaviour::Ignore);
            let reception = house.phone("1005");
            let hans = house.caller("0791", "99900");
            assert_eq!(house.take("1005").await, "0791");
            assert_eq!(hans.view().talks_to(), Some("1005"));
            pass(20_000).await;
            reception.hang_up();
            hans.wait_ended().await;
            assert_eq!(heard(&hans).iter().any(|s| s == "sorry.wav"), !message.is_empty());
            let book = house.end().await;
            assert_eq!(book.story().last().unwrap(), "0791 is transferred to 1005");
        });
    }
}

/// Q13: the caller moves to another queue: the wait starts anew there, and the first entry time is kept.
#[test]
fn q13_max_wait_then_another_queue() {
    play(async {
        let first = waits_for("0.1", &format!("timeout: {{ {MESSAGE}, action: {{ queue: \"99901\" }} }}"));
        let second = queue("99901", &["1002"]).with("max_wait_minutes: 0.5");
        let house = open(&[first, second]);
        house.when_rung("1001", Behaviour::Ignore);
        house.when_rung("1002", Behaviour::Ignore);
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_ended().await, "NORMAL_CLEARING");
        let book = house.end().await;
        // Anna's phone is called off first, which takes one frame of the switch.
        let waited = book.when("0791 times out of 99900: max wait") - book.when("0791 enters 99900");
        assert!((6_000..=6_025).contains(&waited));
        let entered = book.when("0791 enters 99901");
        assert!(entered >= 6_000 + 3_200, "behind the message");
        let timed_out = book.when("0791 times out of 99901: max wait");
        assert!((30_000..=30_025).contains(&(timed_out - entered)), "the wait starts anew");
        book.keeps_the_first_entry("0791", "99900");
    });
}

/// Q13: no agent is logged in when the caller comes: each of the three actions, at once.
#[test]
fn q13_nobody_logged_in_on_entry() {
    for (action, last) in [
        ("hangup", "0791 is hung up"),
        ("{ transfer: \"1005\" }", "0791 is transferred to 1005"),
        ("{ queue: \"99901\" }", "0791 enters 99901"),
    ] {
        play(async move {
            let empty = queue("99900", &["1001"]).with(&format!("timeout: {{ {MESSAGE}, action: {action} }}"));
            let house = open(&[empty, queue("99901", &["1002"])]);
            house.log_out("1001", "99900");
            let hans = house.caller("0791", "99900");
            hans.wait_hears("sorry").await;
            pass(4_000).await;
            assert!(!house.phone("1001").is_ringing());
            hans.hang_up();
            let book = house.end().await;
            assert_eq!(book.when("0791 enters 99900"), book.when("0791 times out of 99900: nobody logged in"));
            assert!(book.story().iter().any(|l| l == last), "{:?}", book.story());
        });
    }
}

/// Q13: the last agent logs out: every waiting caller gets the action at once, and the ringing phone stops.
#[test]
fn q13_the_last_logout_ends_every_wait() {
    for (action, last) in [
        ("hangup", "is hung up"),
        ("{ transfer: \"1005\" }", "is transferred to 1005"),
        ("{ queue: \"99901\" }", "goes on to 99901"),
    ] {
        play(async move {
            let busy = queue("99900", &["1001", "1002"]).with(&format!("timeout: {{ {MESSAGE}, action: {action} }}"));
            let house = open(&[busy, queue("99901", &["1003"])]);
            house.log_out("1002", "99900");
            let callers = ["0791", "0792", "0793"].map(|n| house.caller(n, "99900"));
            house.phone("1001").wait_ringing().await;
            pass(10_000).await;
            house.log_out("1001", "99900");
            let before = house.switch.now();
            house.phone("1001").wait_idle().await;
            assert!(house.switch.now() - before <= Duration::from_millis(25));
            assert_eq!(house.phone("1001").view().missed, [], "an agent who logs out has no missed call");
            for caller in &callers {
                caller.wait_hears("sorry").await;
            }
            pass(4_000).await;
            callers.iter().for_each(simswitch::Caller::hang_up);
            let book = house.end().await;
            assert_eq!(book.story_of(&["times out of 99900: last agent logged out"]).len(), 3);
            assert_eq!(book.story_of(&[last]).len(), 3, "{:?}", book.story());
        });
    }
}

/// Q13: queues that lead to each other, as queues or as numbers to transfer to, form no endless loop: a caller who
/// would enter a queue twice is hung up instead.
#[test]
fn q13_no_endless_loops() {
    let rings = [vec!["99900", "99901"], vec!["99900", "99901", "99902"], vec!["99900", "99901", "99902", "99901"]];
    for (ring, action) in rings.into_iter().flat_map(|r| [(r.clone(), "queue"), (r, "transfer")]) {
        play(async move {
            let numbers: Vec<&str> = ring.iter().copied().take(3).collect();
            let queues =
                ring.windows(2).map(|w| (w[0], w[1])).chain([(ring[ring.len() - 1], ring[0])]).take(numbers.len());
            let queues = queues.map(|(from, to)| {
                let timeout = format!("timeout: {{ {MESSAGE}, action: {{ {action}: {to:?} }} }}");
                queue(from, &["1001"]).with("max_wait_minutes: 0.1").with(&timeout)
            });
            let house = open(&queues.collect::<Vec<_>>());
            house.phone("1001").set_registration(simswitch::Registration::Unregistered);
            house.log_out("1001", "99901");
            let hans = house.caller("0791", "99900");
            assert_eq!(hans.wait_ended().await, "NORMAL_CLEARING");
            let messages = heard(&hans).iter().filter(|s| *s == "sorry.wav").count();
            let story = house.end().await.story();
            assert_eq!(story.last().unwrap(), "0791 is hung up");
            let entries = story.iter().filter(|l| l.contains("enters")).count();
            assert_eq!((entries, messages), (numbers.len(), numbers.len()), "{story:?}");
        });
    }
}

/// Q13: the caller hangs up during the message: the wait has already timed out, and nothing else happens.
#[test]
fn q13_hanging_up_during_the_message() {
    play(async {
        let house = open(&[
            waits_for("0.1", &format!("timeout: {{ {MESSAGE}, action: {{ queue: \"99901\" }} }}")),
            queue("99901", &["1002"]),
        ]);
        let hans = house.caller("0791", "99900");
        hans.wait_hears("sorry").await;
        pass(1_000).await;
        hans.hang_up();
        let story = house.end().await.story();
        assert_eq!(story.last().unwrap(), "0791 times out of 99900: max wait");
    });
}

/// Q13: a message that FreeSWITCH cannot find is skipped at once.
#[test]
fn q13_a_missing_message_is_skipped() {
    play(async {
        let lengths = |name: &str| name.contains("sorry").then_some(Length::Missing);
        let switch = simswitch::Config { lengths: Some(Arc::new(lengths)), ..simswitch::Config::default() };
        let waits = waits_for("0.1", &format!("timeout: {{ {MESSAGE}, action: {{ transfer: \"1005\" }} }}"));
        let house = House::with(switch, configuration(&[waits], ""), 1);
        let hans = house.caller("0791", "99900");
        house.phone("1005").wait_ringing().await;
        assert!(house.switch.now().as_millis() < 6_200);
        hans.hang_up();
        house.end().await;
    });
}
