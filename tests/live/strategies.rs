//! The choice of the agent (Q4 to Q8).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{CancelCause, Fact, MissCause};

use crate::caller::From;
use crate::lab::{Lab, SOON};

crate::cases!("strategies":
    as_listed_rings_in_list_order_and_moves_on,
    simultaneous_rings_all_free_agents_and_the_first_to_answer_gets_the_caller,
    simultaneous_also_rings_an_agent_who_becomes_free_meanwhile,
    simultaneous_rings_as_many_as_the_file_says,
    two_phones_answered_at_once_make_one_conversation,
    longest_idle_rings_the_agent_whose_last_conversation_is_oldest,
    round_robin_goes_around_over_a_restart,
    fewest_calls_counts_conversations,
    least_talk_time_counts_their_length,
    random_rings_in_a_fresh_order_for_every_caller,
    busy_declined_and_unregistered_phones_cost_no_time,
    no_phone_rings_again_for_the_same_caller_within_five_seconds,
    a_phone_that_answers_nothing_is_given_up_after_the_ring_time,
    a_phone_that_gives_no_sign_of_ringing_is_given_up_after_four_seconds,
    callers_are_served_in_order_and_one_at_a_time,
    an_agent_of_two_queues_gets_the_caller_who_waited_longest,
    an_agent_in_a_private_call_does_not_ring,
    a_phone_that_answers_by_itself_gets_the_caller,
);

/// The caller's part of the display.
fn shows(invite: &str, number: &str) -> bool {
    invite.contains(&format!("<sip:{number}@"))
}

/// Q6, Q7.
fn as_listed_rings_in_list_order_and_moves_on(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, participants: [\"1002\", \"1001\", \"1003\"], ring_seconds: 1 }\n",
    );
    lab.log_in("99900", &["1001", "1002", "1003"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let first = lab.phone("1002").rings(SOON);
    let rang = first.invite.at;
    let off = first.cancelled(SOON);
    let rung = off.at - rang;
    // A busy machine delivers either end late. FreeSWITCH's own limit ends the ringing after 3 s at the latest.
    assert!((Duration::from_millis(800)..Duration::from_millis(1900)).contains(&rung), "rang for {rung:?}");
    let second = lab.phone("1001").rings(SOON);
    let moved = second.invite.at.saturating_duration_since(off.at);
    assert!(moved < Duration::from_secs(1), "moved on after {moved:?}");
    second.answer();
    lab.phone("1001").sound.hears(caller.tone, second.invite.at, SOON);
    caller.sound.hears(lab.phone("1001").tone, second.invite.at, SOON);
    lab.phone("1003").stays_quiet(Duration::ZERO);
    second.hang_up();
    caller.over(SOON);
}

/// Q6.
fn simultaneous_rings_all_free_agents_and_the_first_to_answer_gets_the_caller(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, strategy: simultaneous, participants: [\"1001\", \"1002\", \"1003\"] }\n",
    );
    lab.log_in("99900", &["1001", "1002", "1003"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let rings = ["1001", "1002", "1003"].map(|user| lab.phone(user).rings(SOON));
    let answered = rings[1].connects(&caller);
    lab.phone("1002").sound.hears(caller.tone, answered, SOON);
    for loser in [&rings[0], &rings[2]] {
        let reason = loser.cancelled(SOON);
        assert_eq!(reason.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"", "no missed call");
        let late = reason.at.saturating_duration_since(answered);
        assert!(late < Duration::from_millis(300), "still rang for {late:?}");
    }
    let daemon = lab.daemon();
    daemon.fact("1002 answered", SOON, |fact| match fact {
        Fact::CallAnswered { agent, .. } => (agent.as_str() == "1002").then_some(()),
        _ => None,
    });
    for loser in ["1001", "1003"] {
        daemon.fact("called off", SOON, |fact| match fact {
            Fact::OfferCancelled { agent, cause: CancelCause::AnsweredElsewhere, .. } => {
                (agent.as_str() == loser).then_some(())
            }
            _ => None,
        });
    }
    caller.hang_up();
    rings[1].byed(SOON);
    caller.over(SOON);
}

/// Q6.
fn simultaneous_also_rings_an_agent_who_becomes_free_meanwhile(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, strategy: simultaneous, participants: [\"1001\", \"1002\"] }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let first = lab.phone("1001").rings(SOON);
    let code = lab.call(&From::phone("1002"), "*4199900");
    code.hang_up();
    let second = lab.phone("1002").rings(SOON);
    assert!(!first.is_over(), "the other phone stopped ringing");
    second.connects(&caller);
    first.cancelled(SOON);
    second.hang_up();
    caller.over(SOON);
    code.over(SOON);
}

/// Q34.
fn round_robin_goes_around_over_a_restart(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, strategy: round-robin, participants: [\"1001\", \"1002\", \"1003\"] }\n",
    );
    lab.log_in("99900", &["1001", "1002", "1003"]);
    for (turn, user) in ["1001", "1002", "1003", "1001", "1002"].into_iter().enumerate() {
        if turn == 4 {
            lab.daemon_mut().kill();
            lab.serve_again();
        }
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        lab.phone(user).rings(SOON).serves(caller);
        // The records of the last moments may be lost with a daemon that is killed.
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Q35.
fn fewest_calls_counts_conversations(lab: &Lab) {
    share_work_out(lab, "fewest-calls", "1001");
}

/// Q35.
fn least_talk_time_counts_their_length(lab: &Lab) {
    share_work_out(lab, "least-talk-time", "1002");
}

/// Each agent has one conversation, 1001 the longer one, and is idle for longer after it.
fn share_work_out(lab: &Lab, strategy: &str, next: &str) {
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, strategy: {strategy}, participants: [\"1001\", \"1002\"] }}\n"
    ));
    lab.log_in("99900", &["1001", "1002"]);
    for (user, talks) in [("1001", 2000), ("1002", 0), (next, 0)] {
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let rung = lab.phone(user).rings(SOON);
        rung.connects(&caller);
        std::thread::sleep(Duration::from_millis(talks));
        rung.hang_up();
        caller.over(SOON);
    }
}

/// Q37.
fn simultaneous_rings_as_many_as_the_file_says(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, strategy: simultaneous, ring_at_most: 2, participants: [\"1001\", \"1002\", \"1003\"] }\n",
    );
    lab.log_in("99900", &["1001", "1002", "1003"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let rings = ["1001", "1002"].map(|user| lab.phone(user).rings(SOON));
    lab.phone("1003").stays_quiet(Duration::from_secs(1));
    rings[0].decline();
    let third = lab.phone("1003").rings(SOON);
    assert!(!rings[1].is_over(), "the other phone stopped ringing");
    third.connects(&caller);
    rings[1].cancelled(SOON);
    third.hang_up();
    caller.over(SOON);
}

/// Q6, Q8: with offsets of a few milliseconds.
fn two_phones_answered_at_once_make_one_conversation(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, strategy: simultaneous, participants: [\"1001\", \"1002\"] }\n");
    lab.log_in("99900", &["1001", "1002"]);
    for round in 0..8_u64 {
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let rings = ["1001", "1002"].map(|user| lab.phone(user).rings(SOON));
        let begun = Instant::now();
        let (first, second) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        rings[first].lift();
        // The offset is the subject of the test.
        std::thread::sleep(Duration::from_micros(700 * (round / 2)));
        rings[second].lift();
        let (_, winner) = lab.daemon().nth_fact("answered", usize::try_from(round).unwrap(), SOON, |fact| match fact {
            Fact::CallAnswered { agent, .. } => Some(agent.as_str().to_owned()),
            _ => None,
        });
        let (won, lost) = if winner == "1001" { (0, 1) } else { (1, 0) };
        caller.sound.hears(lab.phone(&winner).tone, begun, SOON);
        lab.phone(&winner).sound.hears(caller.tone, begun, SOON);
        rings[lost].over(SOON);
        assert!(!rings[won].is_over() && !caller.is_over(), "round {round}: the conversation did not last");
        rings[won].hang_up();
        caller.over(SOON);
        lab.switch.channels().all_gone(SOON).unwrap();
    }
}

/// Q6: agents without any conversation come first; ties by list order.
fn longest_idle_rings_the_agent_whose_last_conversation_is_oldest(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, strategy: longest-idle, participants: [\"1003\", \"1001\", \"1002\"] }\n",
    );
    lab.log_in("99900", &["1001", "1002", "1003"]);
    for expected in ["1003", "1001", "1002", "1003", "1001"] {
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let ring = lab.phone(expected).rings(SOON);
        ring.answer();
        caller.sound.hears(lab.phone(expected).tone, caller.since, SOON);
        ring.hang_up();
        caller.over(SOON);
        lab.switch.channels().all_gone(SOON).unwrap();
    }
}

/// Q6: six callers, three agents who decline at once; the chance that all orders are the same is one in 7776.
fn random_rings_in_a_fresh_order_for_every_caller(lab: &Lab) {
    let agents = ["1001", "1002", "1003"];
    lab.serve(
        "  - { number: \"99900\", name: Sales, strategy: random, participants: [\"1001\", \"1002\", \"1003\"] }\n",
    );
    lab.log_in("99900", &agents);
    let mut orders = Vec::new();
    for round in 0..6 {
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let mut rung: Vec<(Instant, &str)> = Vec::new();
        // The daemon's own record names the next agent to ring.
        for nth in 0..3 {
            let (_, agent) = lab.daemon().nth_fact("an offer", round * 3 + nth, SOON, |fact| match fact {
                Fact::OfferMade { agent, .. } => Some(agent.as_str().to_owned()),
                _ => None,
            });
            let agent = agents.into_iter().find(|a| *a == agent).unwrap();
            let ring = lab.phone(agent).rings(SOON);
            rung.push((ring.invite.at, agent));
            ring.decline();
        }
        lab.daemon().nth_fact("declined", round * 3 + 2, SOON, |fact| match fact {
            Fact::OfferMissed { cause: MissCause::Declined, .. } => Some(()),
            _ => None,
        });
        let order: Vec<&str> = rung.iter().map(|(_, agent)| *agent).collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, agents, "each of them once");
        orders.push(order);
        caller.hang_up();
        caller.over(SOON);
    }
    assert!(orders.iter().any(|order| *order != orders[0]), "the order is always the same: {:?}", orders[0]);
}

/// Q7.
fn busy_declined_and_unregistered_phones_cost_no_time(lab: &Lab) {
    lab.phone("1003").unregister(lab);
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1003\", \"1002\", \"1004\"] }\n");
    lab.log_in("99900", &["1001", "1002", "1003", "1004"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let first = lab.phone("1001").rings(SOON);
    first.busy();
    let second = lab.phone("1002").rings(SOON);
    second.decline();
    let third = lab.phone("1004").rings(SOON);
    let took = third.invite.at - first.invite.at;
    assert!(took < Duration::from_millis(400), "the third phone rang {took:?} after the first");
    third.answer();
    caller.sound.hears(lab.phone("1004").tone, third.invite.at, SOON);
    for (who, why) in [("1001", MissCause::Busy), ("1002", MissCause::Declined)] {
        lab.daemon().fact(&format!("{who} missed it: {why:?}"), SOON, |fact| match fact {
            Fact::OfferMissed { agent, cause, .. } => (agent.as_str() == who && *cause == why).then_some(()),
            _ => None,
        });
    }
    third.hang_up();
    caller.over(SOON);
    lab.phone("1003").register(lab);
}

/// Q7.
fn no_phone_rings_again_for_the_same_caller_within_five_seconds(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let first = lab.phone("1001").rings(SOON);
    first.decline();
    let (missed, ()) = lab.daemon().fact("declined", SOON, |fact| match fact {
        Fact::OfferMissed { cause: MissCause::Declined, .. } => Some(()),
        _ => None,
    });
    let again = lab.phone("1001").rings(Duration::from_secs(8));
    let pause = again.invite.at - missed;
    assert!((Duration::from_millis(4950)..Duration::from_millis(5300)).contains(&pause), "again after {pause:?}");
    caller.hang_up();
    again.cancelled(SOON);
    caller.over(SOON);
}

/// Q7.
fn a_phone_that_answers_nothing_is_given_up_after_the_ring_time(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"], ring_seconds: 1 }\n");
    lab.log_in("99900", &["1001", "1002"]);
    lab.phone("1001").cut_off();
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let (offered, ()) =
        lab.daemon().fact("an offer", SOON, |fact| matches!(fact, Fact::OfferMade { .. }).then_some(()));
    let second = lab.phone("1002").rings(SOON);
    let after = second.invite.at - offered;
    assert!((Duration::from_millis(950)..Duration::from_millis(1250)).contains(&after), "moved on after {after:?}");
    second.answer();
    caller.sound.hears(lab.phone("1002").tone, second.invite.at, SOON);
    second.hang_up();
    caller.over(SOON);
    lab.phone("1001").replace(lab);
}

/// Q7: a phone that is registered and dead.
fn a_phone_that_gives_no_sign_of_ringing_is_given_up_after_four_seconds(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"] }\n");
    lab.log_in("99900", &["1001", "1002"]);
    lab.phone("1001").cut_off();
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let (offered, ()) =
        lab.daemon().fact("an offer", SOON, |fact| matches!(fact, Fact::OfferMade { .. }).then_some(()));
    let second = lab.phone("1002").rings(SOON + SOON);
    let after = second.invite.at - offered;
    assert!((Duration::from_millis(3950)..Duration::from_millis(4400)).contains(&after), "moved on after {after:?}");
    lab.daemon()
        .fact("silent", SOON, |fact| matches!(fact, Fact::OfferMissed { cause: MissCause::Silent, .. }).then_some(()));
    second.answer();
    caller.sound.hears(lab.phone("1002").tone, second.invite.at, SOON);
    second.hang_up();
    caller.over(SOON);
    lab.phone("1001").replace(lab);
}

/// Q4, Q8: one agent, three callers.
fn callers_are_served_in_order_and_one_at_a_time(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let numbers = ["0791111111", "0792222222", "0793333333"];
    let callers = numbers.map(|number| lab.call(&From::outside(number, ""), "99900"));
    let phone = lab.phone("1001");
    for (caller, number) in callers.into_iter().zip(numbers) {
        let ring = phone.rings(SOON);
        assert!(shows(ring.invite.header("From"), number), "expected {number}: {}", ring.invite.header("From"));
        phone.stays_quiet(Duration::from_millis(200));
        ring.answer();
        caller.sound.hears(phone.tone, ring.invite.at, SOON);
        phone.stays_quiet(Duration::from_millis(200));
        ring.hang_up();
        caller.over(SOON);
    }
}

/// Q4.
fn an_agent_of_two_queues_gets_the_caller_who_waited_longest(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n  \
           - { number: \"99901\", name: Help, participants: [\"1001\"] }\n",
    );
    lab.log_in("99900", &["1001"]);
    lab.log_in("99901", &["1001"]);
    let phone = lab.phone("1001");
    let busy = lab.call(&From::outside("0790000000", ""), "99900");
    let talk = phone.rings(SOON);
    talk.answer();
    busy.sound.hears(phone.tone, busy.since, SOON);
    let order = [("0791111111", "99901"), ("0792222222", "99900"), ("0793333333", "99901")];
    let callers = order.map(|(number, queue)| lab.call(&From::outside(number, ""), queue));
    talk.hang_up();
    for (caller, (number, _)) in callers.into_iter().zip(order) {
        let ring = phone.rings(SOON);
        assert!(shows(ring.invite.header("From"), number), "expected {number}: {}", ring.invite.header("From"));
        ring.answer();
        caller.sound.hears(phone.tone, ring.invite.at, SOON);
        ring.hang_up();
        caller.over(SOON);
    }
    busy.over(SOON);
}

/// Q5.
fn an_agent_in_a_private_call_does_not_ring(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"] }\n");
    lab.log_in("99900", &["1001"]);
    let private = lab.dial(&From::phone("1001"), "1005");
    let friend = lab.phone("1005").rings(SOON);
    friend.answer();
    private.sound.hears(lab.phone("1005").tone, private.since, SOON);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    lab.phone("1001").stays_quiet(Duration::from_millis(500));
    let why = lab.daemon().status()["queues"][0]["candidates"][0]["reason"].to_string();
    assert!(why.contains("on another call"), "Q24: {why}");
    private.hang_up();
    let ring = lab.phone("1001").rings(SOON);
    ring.answer();
    caller.sound.hears(lab.phone("1001").tone, ring.invite.at, SOON);
    ring.hang_up();
    caller.over(SOON);
    friend.over(SOON);
    private.over(SOON);
}

/// Q8: the phone answers before the caller's channel is answered. Several rounds, because it depends on milliseconds.
fn a_phone_that_answers_by_itself_gets_the_caller(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    for round in 0..4 {
        let caller = lab.dial(&From::outside("0791234567", "Hans"), "99900");
        let ring = lab.phone("1001").rings(SOON);
        let answered = ring.connects(&caller);
        lab.phone("1001").sound.hears(caller.tone, answered, SOON);
        assert!(!ring.is_over() && !caller.is_over(), "round {round}: the conversation did not last");
        if round == 3 {
            // Q19 applies to this conversation as to any other.
            lab.daemon_mut().kill();
            let dead = Instant::now() + Duration::from_millis(300);
            caller.sound.hears(lab.phone("1001").tone, dead, SOON);
            lab.phone("1001").sound.hears(caller.tone, dead, SOON);
            lab.serve_again();
        }
        ring.hang_up();
        caller.over(SOON);
        lab.switch.channels().all_gone(SOON).unwrap();
    }
}
