//! Q7: a phone that is registered and dead. Q6: a ring-all queue leaves FreeSWITCH room for callers.

use std::time::Duration;

use simswitch::Behaviour;

use crate::house::{House, answers, pass, play};
use crate::setting::{configuration, queue};

/// Q7: a dead phone costs the first caller 4 s, and the next callers nothing for a while.
#[test]
fn q7_a_phone_that_gives_no_sign_of_ringing_costs_four_seconds() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"])]);
        house.when_rung("1001", Behaviour::Crash);
        house.when_rung("1002", answers(300));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, "1002");
        hans.hang_up();
        house.phone("1002").wait_idle().await;
        let vera = house.caller("0792", "99900");
        assert_eq!(vera.wait_talking().await, "1002");
        vera.hang_up();
        let book = house.end().await;
        assert_eq!(book.story_of(&["misses"]), ["1001 misses 0791: silent"]);
        let waited = book.when("1002 answers 0791") - book.when("0791 enters 99900");
        assert!((4_000..5_000).contains(&waited), "{waited} ms");
    });
}

/// Q7: an agent counts as silent only if none of the agent's phones rings.
#[test]
fn q7_an_agent_is_silent_when_no_phone_rings() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"]).with("ring_seconds: 8")]);
        let soft = house.phone("1001#soft");
        house.when_rung("1001", Behaviour::Crash);
        let hans = house.caller("0791", "99900");
        soft.wait_ringing().await;
        pass(5_000).await;
        assert!(soft.is_ringing());
        assert!(soft.answer());
        hans.wait_talking().await;
        hans.hang_up();
        soft.wait_idle().await;
        pass(200).await;
        house.when_rung("1001#soft", Behaviour::Crash);
        house.when_rung("1002", answers(300));
        let vera = house.caller("0792", "99900");
        assert_eq!(vera.wait_talking().await, "1002");
        vera.hang_up();
        assert_eq!(house.end().await.story_of(&["misses"]), ["1001 misses 0792: silent"]);
    });
}

/// Q7: a `dial` may lead to a mobile network, which takes longer than a phone to signal ringing, so the whole ring time
/// applies.
#[test]
fn q7_a_dial_has_its_whole_ring_time() {
    play(async {
        let mut file = configuration(&[queue("99900", &["1002"])], "");
        for agent in &mut file.agents {
            agent.dial = Some("sofia/gateway/mobile/0791234567".into());
        }
        let house = House::with(simswitch::Config::default(), file, 1);
        let mobile = house.phone("sofia/gateway/mobile/0791234567");
        let mobile = mobile.on_ring(Behaviour::Crash);
        let hans = house.caller("0791", "99900");
        pass(10_000).await;
        assert_eq!(house.activity("1002"), "ringing");
        hans.hang_up();
        drop(mobile);
        house.end().await;
    });
}

/// Q6: ring-all uses at most half of the new sessions that FreeSWITCH accepts in a second, so that FreeSWITCH refuses
/// no caller.
#[test]
fn q6_ring_all_leaves_room_for_callers() {
    play(async {
        let agents: Vec<String> = (0..40).map(|n| (2000 + n).to_string()).collect();
        let names: Vec<&str> = agents.iter().map(String::as_str).collect();
        let all = queue("99900", &names).with("strategy: simultaneous");
        let switch = simswitch::Config { sessions_per_second: 30, ..simswitch::Config::default() };
        let house = House::with(switch, configuration(&[all], ""), 1);
        pass(1_000).await;
        let hans = house.caller("0791", "99900");
        house.phone("2000").wait_ringing().await;
        let ringing = |house: &House| names.iter().filter(|name| house.phone(name).is_ringing()).count();
        let mut seen = Vec::new();
        for _ in 0..3 {
            pass(900).await;
            seen.push(ringing(&house));
            pass(100).await;
        }
        assert_eq!(seen, [15, 30, 40]);
        let mut began: Vec<Duration> = names.iter().flat_map(|n| house.phone(n).rings()).map(|ring| ring.at).collect();
        began.sort();
        let rushed = began.windows(16).find(|w| w[15] - w[0] < Duration::from_millis(900));
        assert_eq!(rushed, None, "more than 15 in a second");
        hans.hang_up();
        house.phone("2039").wait_idle().await;
        house.end().await;
    });
}
