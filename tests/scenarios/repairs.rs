//! Q5 and Q22 through the link to the switch: private calls, phones that register and unregister, and differences that
//! the daemon repairs.

use std::time::Duration;

use simswitch::{Behaviour, CallSpec, Caller};

use crate::house::{House, SETTLING, answers, pass, play};
use crate::log::Log;
use crate::setting::{configuration, queue};

/// Q5: a private call, made or received, keeps all queues from offering to the agent until it ends; private calls do
/// not count as conversations.
#[test]
fn q5_a_private_call_keeps_the_queues_from_offering() {
    for made in [true, false] {
        play(async move {
            let house = House::open(&[queue("99900", &["1001"]).with("wrap_up_seconds: 30")]);
            pass(1_000).await;
            let private = if made {
                house.when_rung("1009", answers(500));
                house.switch.call(&CallSpec::phone("1001", "1009"))
            } else {
                house.when_rung("1001", answers(500));
                house.switch.call(&CallSpec::phone("1009", "1001"))
            };
            private.wait_talking().await;
            house.when_rung("1001", Behaviour::Manual);
            pass(100).await;
            assert_eq!(house.activity("1001"), "on another call");
            let hans = house.caller("0791", "99900");
            pass(20_000).await;
            assert!(!house.phone("1001").is_ringing());
            private.hang_up();
            let free = house.switch.now();
            assert_eq!(house.take("1001").await, "0791");
            let rang = house.phone("1001").rings().last().unwrap().at;
            assert!(rang - free <= Duration::from_millis(100), "no wrap-up after a private call: {:?}", rang - free);
            hans.hang_up();
            house.end().await;
        });
    }
}

/// Q22: FreeSWITCH accepts an `originate` and sends no event for it: the caller is offered to the next agent.
#[test]
fn q22_an_originate_without_any_event_moves_on() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"]).with("ring_seconds: 5")]);
        house.switch.faults(|f| f.swallow_originates = 1);
        let hans = house.caller("0791", "99900");
        assert_eq!(house.take("1002").await, "0791");
        hans.hang_up();
        pass(20_000).await;
        assert_eq!(house.activity("1001"), "idle");
        let book = house.end().await;
        assert_eq!(book.story_of(&["misses"]), ["1001 misses 0791: failed"]);
    });
}

/// Q22: events that are lost: the conversation is known all the same, or the agent is free again within seconds.
#[test]
fn q22_lost_events() {
    for lost in [
        "CHANNEL_CREATE",
        "CHANNEL_ANSWER",
        "CHANNEL_HANGUP",
        "CHANNEL_HANGUP_COMPLETE",
        "CHANNEL_UNPARK",
        "CHANNEL_EXECUTE_COMPLETE",
    ] {
        play(async move {
            let house = House::open(&[queue("99900", &["1001"])]);
            let hans = house.caller("0791", "99900");
            house.phone("1001").wait_ringing().await;
            house.switch.faults(|f| f.lose_events = vec![lost.to_owned()]);
            pass(500).await;
            house.phone("1001").answer();
            hans.wait_talking().await;
            pass(2_000).await;
            house.phone("1001").hang_up();
            hans.wait_ended().await;
            house.phone("1001").wait_idle().await;
            pass(20_000).await;
            assert_eq!(house.activity("1001"), "idle", "{lost}");
            let eva = house.caller("0792", "99900");
            assert_eq!(house.take("1001").await, "0792", "{lost}");
            eva.hang_up();
            let book = house.end().await;
            assert_eq!(book.answered().len(), 2, "{lost} {:?}", book.story());
        });
    }
}

/// Late replies and events of a slow switch change times, not outcomes.
#[test]
fn a_slow_switch() {
    for ms in [50, 200, 400, 700] {
        play(async move {
            // A phone stops ringing only when the slow switch runs the command.
            let bounds = simswitch::Bounds { stray_ring: Duration::from_secs(10), ..simswitch::Bounds::default() };
            let all = queue("99900", &["1001", "1002"]).with("strategy: simultaneous");
            let switch = simswitch::Config { bounds, ..simswitch::Config::default() };
            let house = House::with(switch, configuration(&[all], ""), 1);
            house.switch.faults(|f| {
                f.reply_delay = Some(Duration::from_millis(ms));
                f.event_delay = Some(Duration::from_millis(ms));
            });
            let hans = house.caller("0791", "99900");
            let eva = house.caller("0792", "99900");
            house.phone("1001").wait_ringing().await;
            pass(2_000).await;
            house.phone("1001").answer();
            hans.wait_talking().await;
            house.phone("1002").wait_for(|v| v.ringing.iter().any(|r| r.number == "0792")).await;
            pass(1_000).await;
            house.phone("1002").answer();
            eva.wait_talking().await;
            pass(5_000).await;
            hans.hang_up();
            eva.hang_up();
            pass(10_000).await;
            house.switch.faults(|f| (f.reply_delay, f.event_delay) = (None, None));
            let book = house.end().await;
            assert_eq!(book.answered().len(), 2);
        });
    }
}

/// Q8: a phone that answers by itself, before the caller's own channel is answered, is still connected.
#[test]
fn q8_a_phone_that_answers_by_itself() {
    for strategy in ["as-listed", "simultaneous"] {
        for ms in 0..40 {
            play(async move {
                let house = House::open(&[queue("99900", &["1001"]).with(&format!("strategy: {strategy}"))]);
                house.settled().await;
                house.when_rung("1001", answers(ms));
                let hans = house.caller("0791", "99900");
                assert_eq!(hans.wait_talking().await, "1001");
                let (at, _) = hans.view().talked_to[0].clone();
                assert!(at <= SETTLING + Duration::from_millis(ms + 150), "after {at:?}");
                pass(7_000).await;
                assert_eq!(hans.view().talks_to(), Some("1001"));
                hans.hang_up();
                let book = house.end().await;
                assert_eq!(book.story_of(&["misses", "called off"]), Vec::<String>::new());
            });
        }
    }
}

/// Q4: on a FreeSWITCH whose channels may not use the API, the daemon sends `originate` another way and tells the admin
/// which setting to change.
#[test]
fn q4_phones_ring_where_channels_may_not_use_the_api() {
    let (log, _listening) = Log::begin();
    play(async {
        let agents = ["1001", "1002", "1003", "1004", "1005", "1006"];
        let house = House::open(&[queue("99900", &agents)]);
        house.switch.faults(|f| f.no_api_expansion = true);
        house.settled().await;
        for agent in agents {
            house.when_rung(agent, answers(500));
        }
        // So many offers at once that each `originate` goes by its caller's channel.
        let all: Vec<Caller> = (0..6).map(|n| house.caller(&format!("079{n}"), "99900")).collect();
        for caller in &all {
            caller.wait_talking().await;
            caller.hang_up();
        }
        let book = house.end().await;
        assert_eq!(book.story_of(&["misses"]), [""; 0]);
    });
    let told = log.text().matches("set api-expansion to true in switch.conf.xml").count();
    assert_eq!(told, 1, "{}", log.text());
}
