//! Calls that are transferred again and again, by any party (Q102, Q103, Q104, Q13).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{EndedBy, Fact, Onward, TimeoutCause};

use crate::caller::{Caller, From};
use crate::lab::{Lab, SOON};

crate::cases!("moved":
    a_caller_who_is_moved_while_no_daemon_runs_goes_to_the_end_of_the_line,
    every_transfer_leads_to_the_queue_that_is_dialled,
    after_a_restart_the_first_transfer_leads_to_the_queue_that_is_dialled,
    no_chain_of_timeouts_is_an_endless_loop,
    no_variable_of_the_daemon_stays_on_a_channel_it_has_let_go,
    the_third_party_of_an_attended_transfer_and_the_agent_keep_talking,
    an_agent_whose_leg_is_transferred_keeps_talking,
    an_agent_who_is_transferred_to_a_phone_is_connected_to_it,
    a_consultation_completed_while_it_waits_keeps_the_place,
    a_caller_hung_up_by_the_switch_has_not_given_up,
);

const THREE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n  \
     - { number: \"99901\", name: Service, participants: [\"1002\"] }\n  \
     - { number: \"99902\", name: Office, participants: [\"1003\"] }\n";

/// The queue of the entry after `nth` others.
#[track_caller]
fn entered(lab: &Lab, nth: usize) -> String {
    let (_, queue) = lab.daemon().nth_fact("entered", nth, SOON, |fact| match fact {
        Fact::CallEntered { queue, .. } => Some(queue.as_str().to_owned()),
        _ => None,
    });
    queue
}

/// The agents of the three queues transfer the caller from one queue to the next.
fn round(lab: &Lab, caller: &Caller, entries: usize) {
    let mut at = Instant::now();
    for (agent, next, nth) in [("1001", "99901", 0), ("1002", "99902", 1), ("1003", "99900", 2)] {
        let ring = lab.phone(agent).rings(SOON);
        let answered = ring.answer();
        caller.sound.hears(lab.phone(agent).tone, answered, SOON);
        assert!(answered.duration_since(at) < Duration::from_secs(2), "rung at once");
        at = Instant::now();
        ring.transfer(next);
        assert_eq!(entered(lab, entries + nth), next);
        ring.over(SOON);
    }
}

/// Q102.
fn every_transfer_leads_to_the_queue_that_is_dialled(lab: &Lab) {
    lab.serve(THREE);
    for (queue, agent) in [("99900", "1001"), ("99901", "1002"), ("99902", "1003")] {
        lab.log_in(queue, &[agent]);
    }
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    assert_eq!(entered(lab, 0), "99900");
    round(lab, &caller, 1);
    let last = lab.phone("1001").rings(SOON);
    caller.hang_up();
    last.cancelled(SOON);
    caller.over(SOON);
}

/// Q102: also for a caller whom the dialplan holds.
fn after_a_restart_the_first_transfer_leads_to_the_queue_that_is_dialled(lab: &Lab) {
    lab.serve(THREE);
    for (queue, agent) in [("99900", "1001"), ("99901", "1002"), ("99902", "1003")] {
        lab.log_in(queue, &[agent]);
    }
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    lab.phone("1001").rings(SOON);
    lab.daemon_mut().terminate(Duration::from_secs(12));
    lab.serve_again();
    assert_eq!(entered(lab, 0), "99900");
    round(lab, &caller, 1);
    let last = lab.phone("1001").rings(SOON);
    caller.hang_up();
    last.cancelled(SOON);
    caller.over(SOON);
}

/// Q13: an internal number that leads back to the queue makes no loop either.
fn no_chain_of_timeouts_is_an_endless_loop(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, participants: [\"1001\"], timeout: { action: { transfer: \"8900\" } } }\n",
    );
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    caller.byed(SOON);
    let timed_out = |fact: &Fact| match fact {
        Fact::CallTimedOut { cause, .. } => Some(*cause),
        _ => None,
    };
    assert_eq!(lab.daemon().nth_fact("timed out", 1, SOON, timed_out).1, TimeoutCause::SecondTime);
    let onward = |fact: &Fact| match fact {
        Fact::CallWentOn { onward, .. } => Some(onward.clone()),
        _ => None,
    };
    assert_eq!(lab.daemon().nth_fact("went on", 1, SOON, onward).1, Onward::HungUp);
    caller.over(SOON);
}

/// Q102: neither after the transfer of a timeout nor after an agent's.
fn no_variable_of_the_daemon_stays_on_a_channel_it_has_let_go(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, participants: [\"1001\"], timeout: { action: { transfer: \"9000\" } } }\n",
    );
    for by_agent in [false, true] {
        if by_agent {
            lab.log_in("99900", &["1001"]);
        }
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        if by_agent {
            let ring = lab.phone("1001").rings(SOON);
            let answered = ring.answer();
            caller.sound.hears(lab.phone("1001").tone, answered, SOON);
            ring.transfer("9000");
            ring.over(SOON);
        }
        caller.sound.hears(crate::switch::NINE_THOUSAND, Instant::now(), SOON);
        let (_, call) = lab.daemon().nth_fact("entered", usize::from(by_agent), SOON, |fact| match fact {
            Fact::CallEntered { call, .. } => Some(call.as_str().to_owned()),
            _ => None,
        });
        let value = |name: &str| lab.switch.api(&format!("uuid_getvar {call} {name}"));
        let ours = ["socket_resume", "playback_terminators", "execute_on_blind_transfer", "fsq_dialled"]
            .into_iter()
            .chain(["fsq_place", "fsq_away", "fsq_held", "fsq_hold", "fsq_came", "fsq_order"]);
        for name in ours {
            assert_eq!(value(name), "_undef_", "{name}, by the agent: {by_agent}");
        }
        assert_eq!(value("hangup_after_bridge"), "_undef_", "by the agent: {by_agent}");
        caller.hang_up();
        caller.over(SOON);
    }
}

/// Longer than the controller ever waits for the end of a leg.
const LONG: Duration = Duration::from_secs(7);

/// The leg of the first conversation.
#[track_caller]
pub fn leg(lab: &Lab) -> String {
    let (_, offer) = lab.daemon().fact("answered", SOON, |fact| match fact {
        Fact::CallAnswered { offer, .. } => Some(offer.to_string()),
        _ => None,
    });
    offer
}

/// The party the agent talks to, according to the records.
#[track_caller]
fn party(lab: &Lab) -> String {
    let (_, party) = lab.daemon().fact("with somebody else", LONG, |fact| match fact {
        Fact::PartyChanged { party, .. } => Some(party.to_string()),
        _ => None,
    });
    party
}

/// An agent's part of `status`.
fn doing(lab: &Lab, agent: &str) -> (String, String) {
    let status = lab.daemon().status();
    let agents = status["agents"].as_array().expect("agents");
    let of = agents.iter().find(|a| a["id"] == agent).expect("the agent");
    let word = |key: &str| of[key].as_str().unwrap_or_default().to_owned();
    (word("activity"), word("party"))
}

#[track_caller]
fn ended(lab: &Lab) -> EndedBy {
    let (_, by) = lab.daemon().fact("the end of the conversation", SOON, |fact| match fact {
        Fact::ConversationEnded { by, .. } => Some(*by),
        _ => None,
    });
    lab.daemon().fact("wrap-up", SOON, |fact| matches!(fact, Fact::WrapUpStarted { .. }).then_some(()));
    by
}

const ONE: &str = "  - { number: \"99901\", name: Service, participants: [\"1002\"], wrap_up_seconds: 1 }\n";

/// Q103, Q8: reception calls the queue, and transfers the customer to the agent.
fn the_third_party_of_an_attended_transfer_and_the_agent_keep_talking(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99901", &["1002"]);
    let customer = lab.dial(&From::outside("0791234567", "Hans"), "1004");
    let reception = lab.phone("1004").rings(SOON);
    customer.sound.hears(lab.phone("1004").tone, reception.answer(), SOON);
    let question = lab.call(&From::phone("1004"), "99901");
    let agent = lab.phone("1002").rings(SOON);
    question.sound.hears(lab.phone("1002").tone, agent.answer(), SOON);
    reception.transfer_to(&question);
    let put_through = Instant::now();
    customer.sound.hears(lab.phone("1002").tone, put_through, SOON);
    lab.phone("1002").sound.hears(customer.tone, put_through, SOON);
    reception.over(SOON);
    question.over(SOON);
    assert_eq!(party(lab), "0791234567");
    // A new caller is not offered to an agent who talks.
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99901");
    lab.phone("1002").stays_quiet(LONG.saturating_sub(put_through.elapsed()));
    assert!(!customer.is_over() && !agent.is_over(), "the conversation continues");
    assert_eq!(doing(lab, "1002"), ("talking".to_owned(), "0791234567".to_owned()));
    let now = Instant::now();
    customer.sound.hears(lab.phone("1002").tone, now, SOON);
    agent.hang_up();
    customer.over(SOON);
    assert_eq!(ended(lab), EndedBy::Agent);
    is_free_for(lab, second);
}

/// The agent is free: the phone rings for the next caller, who then gives up.
fn is_free_for(lab: &Lab, next: Caller) {
    let ring = lab.phone("1002").rings(SOON);
    next.hang_up();
    ring.cancelled(SOON);
    next.over(SOON);
}

/// Q8: also where an operator transfers the leg to an extension that connects it to no other party.
fn an_agent_whose_leg_is_transferred_keeps_talking(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99901", &["1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99901");
    let agent = lab.phone("1002").rings(SOON);
    caller.sound.hears(lab.phone("1002").tone, agent.answer(), SOON);
    let moved = lab.switch.api(&format!("uuid_transfer {} 9000 XML default", leg(lab)));
    assert!(moved.starts_with("+OK"), "{moved}");
    caller.over(SOON);
    lab.phone("1002").sound.hears(crate::switch::NINE_THOUSAND, Instant::now(), SOON);
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99901");
    lab.phone("1002").stays_quiet(LONG);
    assert!(!agent.is_over(), "nobody ends it");
    assert_eq!(doing(lab, "1002").0, "talking");
    agent.hang_up();
    assert_eq!(ended(lab), EndedBy::Agent);
    is_free_for(lab, second);
}

/// Q103, Q8: the variables of the `originate` that rang the agent's phone do not affect the next connection.
fn an_agent_who_is_transferred_to_a_phone_is_connected_to_it(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99901", &["1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99901");
    let agent = lab.phone("1002").rings(SOON);
    caller.sound.hears(lab.phone("1002").tone, agent.answer(), SOON);
    let moved = lab.switch.api(&format!("uuid_transfer {} 1005 XML default", leg(lab)));
    assert!(moved.starts_with("+OK"), "{moved}");
    caller.over(SOON);
    let other = lab.phone("1005").rings(SOON);
    let answered = other.answer();
    lab.phone("1002").sound.hears(lab.phone("1005").tone, answered, SOON);
    lab.phone("1005").sound.hears(lab.phone("1002").tone, answered, SOON);
    assert_eq!(party(lab), "1005");
    lab.phone("1002").stays_quiet(LONG);
    assert!(!agent.is_over() && !other.is_over(), "the conversation continues");
    other.hang_up();
    agent.over(SOON);
    assert_eq!(ended(lab), EndedBy::Caller, "the other side");
}

/// Q103: the third party takes the place of the consulting agent.
fn a_consultation_completed_while_it_waits_keeps_the_place(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99901", &["1002"]);
    let customer = lab.dial(&From::outside("0791234567", "Hans"), "1004");
    let reception = lab.phone("1004").rings(SOON);
    customer.sound.hears(lab.phone("1004").tone, reception.answer(), SOON);
    let question = lab.call(&From::phone("1004"), "99901");
    let asked = lab.phone("1002").rings(SOON);
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99901");
    reception.transfer_to(&question);
    asked.cancelled(SOON);
    let ring = lab.phone("1002").rings(SOON);
    let shown = ring.invite.header("From").to_owned();
    assert!(shown.contains("0791234567"), "the third party is next: {shown}");
    let answered = ring.answer();
    customer.sound.hears(lab.phone("1002").tone, answered, SOON);
    lab.daemon().fact("moved", SOON, |fact| matches!(fact, Fact::CallTaken { .. }).then_some(()));
    let first = |fact: &Fact| match fact {
        Fact::CallEntered { first_entered, .. } => Some(*first_entered),
        _ => None,
    };
    let asked_at = lab.daemon().nth_fact("entered", 0, SOON, first).1;
    assert_eq!(
        lab.daemon().nth_fact("entered", 2, SOON, first).1,
        asked_at,
        "the wait counts from the consulting agent's entry"
    );
    let given_up = lab.daemon().facts().iter().any(|record| matches!(record.fact, Fact::CallAbandoned { .. }));
    assert!(!given_up, "the records show an abandoned call");
    reception.over(SOON);
    question.over(SOON);
    ring.hang_up();
    customer.over(SOON);
    is_free_for(lab, second);
}

/// Q106: a hang-up by an operator, and an orderly shutdown of FreeSWITCH.
fn a_caller_hung_up_by_the_switch_has_not_given_up(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99901", &["1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99901");
    lab.phone("1002").rings(SOON);
    let killed = lab.switch.api("hupall");
    assert!(killed.starts_with("+OK"), "{killed}");
    lab.daemon().fact("lost", SOON, |fact| matches!(fact, Fact::CallLost { .. }).then_some(()));
    caller.over(SOON);
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99901");
    let rung = lab.phone("1002").rings(SOON);
    second.hang_up();
    lab.daemon().fact("abandoned", SOON, |fact| matches!(fact, Fact::CallAbandoned { .. }).then_some(()));
    rung.cancelled(SOON);
    second.over(SOON);
    let third = lab.call(&From::outside("0793333333", "Urs"), "99901");
    let agent = lab.phone("1002").rings(SOON);
    third.sound.hears(lab.phone("1002").tone, agent.answer(), SOON);
    lab.switch.api("hupall");
    third.over(SOON);
    assert_eq!(ended(lab), EndedBy::Switch);
}

/// Q102: to the number of the very queue in which the caller waits, while the dialplan holds the call in its own context
/// and in that of the house.
fn a_caller_who_is_moved_while_no_daemon_runs_goes_to_the_end_of_the_line(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"], ring_seconds: 60 }\n");
    lab.log_in("99900", &["1001"]);
    let numbers = ["0790000000", "0791111111", "0792222222"];
    let mut callers = Vec::new();
    for (nth, number) in numbers.iter().enumerate() {
        callers.push(lab.call(&From::outside(number, ""), "99900"));
        let entered = |fact: &Fact| matches!(fact, Fact::CallEntered { .. }).then_some(());
        lab.daemon().nth_fact("another caller", nth, SOON, entered);
    }
    for (context, first) in [("default", "0792222222"), ("freeswitch-queue", "0791111111")] {
        let status = lab.daemon().status();
        let waiting = status["queues"][0]["waiting"].as_array().expect("a list");
        let moved = if first == numbers[2] { numbers[1] } else { numbers[2] };
        let row = waiting.iter().find(|caller| caller["number"] == moved).expect("the caller");
        let moved_id = row["call"].as_str().expect("an ID").to_owned();
        lab.daemon_mut().kill();
        std::thread::sleep(Duration::from_millis(300));
        lab.switch.api(&format!("uuid_transfer {moved_id} 99900 XML {context}"));
        std::thread::sleep(Duration::from_millis(300));
        lab.serve_again();
        lab.daemon().nth_fact("all are here", 2, Duration::from_secs(8), |fact| {
            matches!(fact, Fact::CallEntered { .. }).then_some(())
        });
        let status = lab.daemon().status();
        let waiting = status["queues"][0]["waiting"].as_array().expect("a list");
        let line: Vec<&str> = waiting.iter().filter_map(|caller| caller["number"].as_str()).collect();
        assert_eq!(line, [numbers[0], first, moved], "in the context {context}");
    }
    for caller in callers {
        caller.hang_up();
        caller.over(SOON);
    }
}
