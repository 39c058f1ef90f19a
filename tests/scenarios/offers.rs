//! Q7: a caller whose offer is not accepted is offered to the next agent.

use std::time::Duration;

use simswitch::{Behaviour, Registration};

use crate::house::{House, answers, pass, play};
use crate::setting::{configuration, queue};

fn declines(ms: u64) -> Behaviour {
    Behaviour::Decline { after: Duration::from_millis(ms) }
}

/// Q7: when the agent does not answer within the ring time, the next is rung; FreeSWITCH counts ring time in calendar
/// seconds.
#[test]
fn q7_no_answer_moves_on() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"]).with("ring_seconds: 8")]);
        house.when_rung("1001", Behaviour::Ignore);
        house.when_rung("1002", answers(1_000));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, "1002");
        hans.hang_up();
        let book = house.end().await;
        assert_eq!(
            book.story(),
            [
                "0791 enters 99900",
                "1001 is offered 0791",
                "1001 misses 0791: no answer",
                "1002 is offered 0791",
                "1002 answers 0791",
                "1002 and 0791 end: caller"
            ]
        );
        let rang = book.when("1001 misses 0791: no answer") - book.when("1001 is offered 0791");
        assert!((7_000..=8_050).contains(&rang), "it rang for {rang} ms");
        let gap = book.when("1002 is offered 0791") - book.when("1001 misses 0791: no answer");
        assert_eq!(gap, 0, "the next agent is rung at once");
    });
}

/// Q7: after busy, declined, not registered, unknown and dead phones the next agent is rung, and only the dead phone
/// costs time.
#[test]
fn q7_every_failure_moves_on() {
    play(async {
        let agents = ["1001", "1002", "1003", "1004", "1005", "1006"];
        let house = House::open(&[queue("99900", &agents).with("ring_seconds: 5")]);
        house.when_rung("1001", Behaviour::Busy);
        house.when_rung("1002", declines(300));
        house.phone("1003").set_registration(Registration::Unregistered);
        house.phone("1004").set_registration(Registration::Unknown);
        house.when_rung("1005", Behaviour::Crash);
        house.when_rung("1006", answers(500));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, "1006");
        hans.hang_up();
        let book = house.end().await;
        assert_eq!(
            book.story_of(&["misses"]),
            [
                "1001 misses 0791: busy",
                "1002 misses 0791: declined",
                "1003 misses 0791: not registered",
                "1004 misses 0791: unknown",
                "1005 misses 0791: silent",
            ]
        );
        let lost = book.when("1004 misses 0791: unknown") - book.when("1003 is offered 0791");
        assert!(lost <= 50, "an unregistered and an unknown phone cost the caller {lost} ms");
    });
}

/// Q7: a phone that cannot be reached is skipped for all callers, and is rung again after a while.
#[test]
fn q7_an_unreachable_phone_is_skipped_for_a_while() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"])]);
        house.phone("1001").set_registration(Registration::Unregistered);
        house.when_rung("1002", answers(300));
        for number in ["0791", "0792"] {
            let caller = house.caller(number, "99900");
            assert_eq!(caller.wait_talking().await, "1002");
            caller.hang_up();
            house.phone("1002").wait_idle().await;
        }
        house.phone("1001").set_registration(Registration::Registered);
        pass(5_000).await;
        let third = house.caller("0793", "99900");
        assert_eq!(house.take("1001").await, "0793");
        third.hang_up();
        let offers: Vec<_> = house.end().await.offers().into_iter().map(|(a, c)| format!("{a} {c}")).collect();
        assert_eq!(offers, ["1001 0791", "1002 0791", "1002 0792", "1001 0793"]);
    });
}

/// Q7, Q23: a phone that is off all day does not cause a thousand missed offers, and rings as soon as it registers.
#[test]
fn q7_a_phone_that_is_off_is_tried_less_and_less_often() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        house.phone("1001").set_registration(Registration::Unknown);
        let hans = house.caller("0791", "99900");
        pass(3_600_000).await;
        assert!(house.book().await.offers().len() < 70, "{}", house.book().await.offers().len());
        let reason = house.why("1001", "99900").unwrap();
        assert!(
            [3599, 3600].iter().any(|s| reason == format!("phone not reachable for {s} s: unknown to FreeSWITCH")),
            "Q24: {reason}"
        );
        let at = house.switch.now();
        house.phone("1001").set_registration(Registration::Registered);
        house.phone("1001").wait_ringing().await;
        assert!(house.switch.now() - at < Duration::from_millis(100));
        hans.hang_up();
        house.end().await;
    });
}

/// Q7: after the last agent the first is tried again, and no agent is rung twice for the same caller within 5 s.
#[test]
fn q7_starts_over_after_a_pause() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"])]);
        house.when_rung("1001", declines(200));
        house.when_rung("1002", Behaviour::Busy);
        let hans = house.caller("0791", "99900");
        pass(20_000).await;
        hans.hang_up();
        let book = house.end().await;
        let order: Vec<String> = book.offers().into_iter().map(|(agent, _)| agent).collect();
        assert_eq!(order, ["1001", "1002", "1001", "1002", "1001", "1002", "1001", "1002"]);
        let mut missed = std::collections::HashMap::new();
        for (at, line) in book.timed() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [agent, "misses", ..] => {
                    missed.insert(agent.to_owned(), at);
                }
                [agent, "is", "offered", ..] => {
                    if let Some(before) = missed.get(agent) {
                        // At most the ringing of the other agent adds to the pause.
                        assert!(
                            (5_000..=5_250).contains(&(at - before)),
                            "{agent} is rung again after {}",
                            at - before
                        );
                    }
                }
                _ => {}
            }
        }
    });
}

/// Q7: while the first caller's only agent is paused after a miss, the agent is not offered the next caller.
#[test]
fn q7_the_pause_overtakes_nobody() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        house.when_rung("1001", declines(200));
        let first = house.caller("0791", "99900");
        let second = house.caller("0792", "99900");
        pass(4_000).await;
        house.when_rung("1001", answers(300));
        assert_eq!(first.wait_talking().await, "1001");
        first.hang_up();
        assert_eq!(second.wait_talking().await, "1001");
        second.hang_up();
        house.end().await;
    });
}

/// Q7: with `simultaneous`, one phone's failure does not affect the others; phones ring for the caller until an agent
/// answers.
#[test]
fn q7_simultaneous_failures_are_independent() {
    play(async {
        let all = queue("99900", &["1001", "1002", "1003"]).with("strategy: simultaneous").with("ring_seconds: 6");
        let house = House::open(&[all]);
        house.when_rung("1001", Behaviour::Busy);
        house.when_rung("1002", Behaviour::Ignore);
        house.phone("1003").set_registration(Registration::Unregistered);
        let hans = house.caller("0791", "99900");
        pass(9_000).await;
        house.when_rung("1001", answers(400));
        assert_eq!(hans.wait_talking().await, "1001");
        hans.hang_up();
        let book = house.end().await;
        let again = book.timed().into_iter().filter(|(_, line)| line == "1001 is offered 0791").map(|(at, _)| at);
        let again: Vec<i64> = again.collect();
        assert!(again.windows(2).all(|w| w[1] - w[0] >= 5_000), "{again:?}");
    });
}

/// The daemon rings an agent outside the directory by the configured dial string.
#[test]
fn an_agents_own_dial_string_is_rung() {
    play(async {
        let mobile = "sofia/gateway/mobile/0791234567";
        let mut config = configuration(&[queue("99900", &["1001"])], "");
        config.agents[0].dial = Some(mobile.into());
        let house = House::with(simswitch::Config::default(), config, 1);
        let phone = house.when_rung(mobile, answers(500));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, mobile);
        phone.hang_up();
        hans.wait_ended().await;
        house.end().await;
    });
}
