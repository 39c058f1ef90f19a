//! Q8: one agent takes one caller, with each interfering event at every millisecond.

use std::future::Future;

use simswitch::{Caller, Phone};

use crate::house::{House, pass, play};
use crate::setting::{Queue, queue};

/// The offsets at which each race is tried, in milliseconds around the other event.
const WINDOW: std::ops::RangeInclusive<i64> = -45..=45;

/// Runs two events, the second `offset` ms after the first (before it, when negative).
async fn both(offset: i64, first: impl Future<Output = ()>, second: impl Future<Output = ()>) {
    let (one, two) = if offset < 0 { (offset.unsigned_abs(), 0) } else { (0, offset.unsigned_abs()) };
    tokio::join!(
        async {
            pass(one).await;
            first.await;
        },
        async {
            pass(two).await;
            second.await;
        }
    );
}

/// A caller for whom Anna's phone already rings.
async fn ringing(queues: &[Queue]) -> (House, Caller, Phone) {
    let house = House::open(queues);
    let hans = house.caller("0791", "99900");
    let anna = house.phone("1001");
    anna.wait_ringing().await;
    pass(700).await;
    (house, hans, anna)
}

/// After a race: the remaining callers hang up, and the rules hold.
async fn settle(house: House, callers: &[Caller], phones: &[&str]) -> crate::book::Book {
    pass(6_000).await;
    for phone in phones {
        let view = house.phone(phone).view();
        assert!(view.ringing.is_empty() || callers.iter().any(|c| c.ended().is_none()), "{phone} rings for nobody");
    }
    callers.iter().for_each(Caller::hang_up);
    for phone in phones {
        house.phone(phone).wait_idle().await;
    }
    house.end().await
}

/// Q8: when the caller gives up, the phone stops at once.
#[test]
fn q8_a_caller_who_gives_up_stops_the_phone() {
    play(async {
        let (house, hans, anna) = ringing(&[queue("99900", &["1001"])]).await;
        let before = house.switch.now();
        hans.hang_up();
        anna.wait_idle().await;
        let took = house.switch.now() - before;
        assert!(took.as_millis() <= 25, "the phone rang on for {took:?}");
        let book = house.end().await;
        assert_eq!(
            book.story(),
            [
                "0791 enters 99900",
                "1001 is offered 0791",
                "0791 abandons 99900",
                "1001 is called off 0791: caller gone"
            ]
        );
    });
}

/// Q8: the caller gives up before FreeSWITCH makes the phone ring: the agent does not stay reserved for a leg that
/// never exists.
#[test]
fn q8_giving_up_before_the_phone_rings_leaves_the_agent_free() {
    for offset in 0..=60 {
        play(async move {
            let agents = ["1001", "1002", "1003", "1004", "1005", "1006"];
            let house = House::open(&[queue("99900", &agents)]);
            house.settled().await;
            // So many offers at once that each `originate` goes by its caller's channel.
            let all: Vec<Caller> = (0..6).map(|n| house.caller(&format!("079{n}"), "99900")).collect();
            pass(offset).await;
            all.iter().for_each(Caller::hang_up);
            pass(400).await;
            for agent in agents {
                assert_eq!(house.activity(agent), "idle", "hung up {offset} ms after the call");
            }
            let vreni = house.caller("0799", "99900");
            assert_eq!(house.take("1001").await, "0799");
            vreni.hang_up();
            house.end().await;
        });
    }
}

/// Q8: the caller gives up around the moment the phone answers.
#[test]
fn q8_giving_up_races_with_the_answer() {
    for offset in WINDOW {
        play(async move {
            let (house, hans, anna) = ringing(&[queue("99900", &["1001"])]).await;
            both(offset, async { hans.hang_up() }, async { _ = anna.answer() }).await;
            settle(house, &[hans], &["1001"]).await;
        });
    }
}

/// Q8: two phones answer within 10 ms of each other: one takes the caller, the other is idle without a missed call.
#[test]
fn q8_two_answer_at_once() {
    for offset in -10..=10 {
        play(async move {
            let (house, hans, anna) =
                ringing(&[queue("99900", &["1001", "1002"]).with("strategy: simultaneous")]).await;
            let bruno = house.phone("1002");
            both(offset, async { _ = anna.answer() }, async { _ = bruno.answer() }).await;
            let who = hans.wait_talking().await;
            let (winner, loser) = if who == "1001" { (&anna, &bruno) } else { (&bruno, &anna) };
            loser.wait_idle().await;
            pass(5_000).await;
            assert_eq!(hans.view().talks_to(), Some(who.as_str()), "no other agent takes the caller");
            assert_eq!(winner.view().talks_to(), Some("0791"));
            let loser_activity = house.activity(loser.number());
            assert_eq!(loser_activity, "idle", "at {offset} ms");
            let book = settle(house, &[hans], &["1001", "1002"]).await;
            assert_eq!(book.answered().len(), 1);
            assert!(book.story_of(&["misses"]).is_empty(), "at {offset} ms: {:?}", book.story());
        });
    }
}

/// Q8, Q13: the longest wait ends around the moment the phone answers: the caller talks or times out, never both.
#[test]
fn q8_the_timeout_races_with_the_answer() {
    for offset in WINDOW {
        play(async move {
            let house = House::open(&[queue("99900", &["1001"]).with("max_wait_minutes: 0.05")]);
            let hans = house.caller("0791", "99900");
            let anna = house.phone("1001");
            anna.wait_ringing().await;
            let left = 3_000 + offset - i64::try_from(house.switch.now().as_millis()).unwrap();
            pass(left.unsigned_abs()).await;
            anna.answer();
            pass(500).await;
            let talks = hans.view().talks_to().is_some();
            assert!(talks || hans.ended().is_some(), "at {offset} ms the caller neither talks nor has ended");
            let book = settle(house, &[hans], &["1001"]).await;
            assert_eq!(book.answered().len(), usize::from(talks), "at {offset} ms: {:?}", book.story());
        });
    }
}

/// Q8, Q15: the agent logs out around the moment the phone answers: Anna takes the caller, or the next agent is rung.
#[test]
fn q8_a_logout_races_with_the_answer() {
    for offset in WINDOW {
        play(async move {
            let (house, hans, anna) = ringing(&[queue("99900", &["1001", "1002"])]).await;
            both(offset, async { house.log_out("1001", "99900") }, async { _ = anna.answer() }).await;
            pass(500).await;
            let talks = hans.view().talks_to().map(str::to_owned);
            let next = house.phone("1002").is_ringing();
            assert!(talks.is_some() != next, "at {offset} ms: talks to {talks:?}, the next rings: {next}");
            settle(house, &[hans], &["1001", "1002"]).await;
        });
    }
}

/// Q8, Q7: the ring time ends around the moment the phone answers.
#[test]
fn q8_the_ring_time_races_with_the_answer() {
    for offset in WINDOW {
        play(async move {
            let house = House::open(&[queue("99900", &["1001", "1002"]).with("ring_seconds: 5")]);
            let hans = house.caller("0791", "99900");
            let anna = house.phone("1001");
            anna.wait_ringing().await;
            let left = 5_000 + offset - i64::try_from(house.switch.now().as_millis()).unwrap();
            pass(left.unsigned_abs()).await;
            anna.answer();
            pass(500).await;
            let talks = hans.view().talks_to().is_some();
            assert!(talks != house.phone("1002").is_ringing(), "at {offset} ms");
            settle(house, &[hans], &["1001", "1002"]).await;
        });
    }
}

/// Q8: with `simultaneous`, the caller gives up while two phones answer.
#[test]
fn q8_giving_up_races_with_two_answers() {
    for offset in WINDOW.step_by(3) {
        play(async move {
            let (house, hans, anna) =
                ringing(&[queue("99900", &["1001", "1002", "1003"]).with("strategy: simultaneous")]).await;
            let two = async {
                anna.answer();
                pass(4).await;
                house.phone("1002").answer();
            };
            both(offset, async { hans.hang_up() }, two).await;
            settle(house, &[hans], &["1001", "1002", "1003"]).await;
        });
    }
}

/// Q8: the phone that just answered hangs up before or while it is connected: the caller keeps waiting and is offered
/// to an agent.
#[test]
fn q8_a_phone_that_answers_and_hangs_up_at_once_keeps_no_caller() {
    for after in 0..=60 {
        play(async move {
            let (house, hans, anna) = ringing(&[queue("99900", &["1001", "1002"])]).await;
            anna.answer();
            pass(after).await;
            anna.hang_up();
            pass(1_000).await;
            let moved_on = house.phone("1002").is_ringing();
            assert!(
                moved_on || hans.ended().is_some(),
                "{after} ms after the answer the caller has neither an agent nor an end"
            );
            settle(house, &[hans], &["1001", "1002"]).await;
        });
    }
}
