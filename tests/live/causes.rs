//! The final answers of phones and gateways that do not take a call, and agents who are no candidates (Q5, Q7).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{Fact, MissCause};

use crate::caller::From;
use crate::lab::{Lab, SOON};
use crate::refuser::Refuser;

crate::cases!("causes":
    every_final_answer_is_a_miss_with_its_own_cause,
    a_refusal_after_ringing_is_recorded_with_its_own_cause,
    a_forward_is_followed_only_where_the_admin_says_so,
    a_forward_never_leads_into_a_queue,
    a_gateway_that_is_down_is_tried_less_and_less_often,
    an_agent_is_never_offered_their_own_call,
);

/// The misses so far: agent and cause.
fn misses(lab: &Lab) -> Vec<(String, MissCause)> {
    let missed = |fact: &Fact| match fact {
        Fact::OfferMissed { agent, cause, .. } => Some((agent.to_string(), *cause)),
        _ => None,
    };
    lab.daemon().facts().iter().filter_map(|record| missed(&record.fact)).collect()
}

/// Waits until an agent is rung as the `nth` agent or later.
#[track_caller]
fn missed(lab: &Lab, cause: MissCause) {
    lab.daemon().fact("a miss", SOON, |fact| match fact {
        Fact::OfferMissed { cause: found, .. } => (*found == cause).then_some(()),
        _ => None,
    });
}

/// Q7.
fn every_final_answer_is_a_miss_with_its_own_cause(lab: &Lab) {
    let refuser = Refuser::open();
    let refused = |sip_status| MissCause::Refused { sip_status };
    let causes = [
        ("1001", "480", MissCause::Unavailable),
        ("1002", "408", MissCause::Timeout),
        ("1003", "487", MissCause::Cancelled),
        ("1004", "302-0791110000_at_127.0.0.1_port_9", MissCause::Forwarded),
        ("1005", "486", MissCause::Busy),
        ("1006", "603", MissCause::Declined),
        ("1007", "503", refused(503)),
        ("1008", "404", refused(404)),
        ("1009", "500", refused(500)),
    ];
    let dials: Vec<(&str, String)> = causes.iter().map(|(agent, user, _)| (*agent, refuser.dial(user))).collect();
    let dials: Vec<(&str, &str)> = dials.iter().map(|(agent, dial)| (*agent, dial.as_str())).collect();
    let agents: Vec<&str> = causes.iter().map(|(agent, ..)| *agent).chain(["1010"]).collect();
    lab.serve_with(&dials, &format!("  - {{ number: \"99900\", name: Sales, participants: {agents:?} }}\n"));
    lab.log_in("99900", &agents);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1010").rings(SOON);
    let answered = ring.answer();
    caller.sound.hears(lab.phone("1010").tone, answered, SOON);
    let told: Vec<(String, MissCause)> = causes.iter().map(|(agent, _, cause)| ((*agent).to_owned(), *cause)).collect();
    assert_eq!(misses(lab), told);
    caller.hang_up();
    ring.over(SOON);
    caller.over(SOON);
}

/// Q7: "no answer" is reserved for a phone that rings for the whole ring time, and a 487 does not count as "answered
/// elsewhere".
fn a_refusal_after_ringing_is_recorded_with_its_own_cause(lab: &Lab) {
    let refuser = Refuser::open();
    let (first, second) = (refuser.dial("late-480"), refuser.dial("late-487"));
    lab.serve_with(
        &[("1001", &first), ("1002", &second)],
        "  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\", \"1003\"] }\n",
    );
    lab.log_in("99900", &["1001", "1002", "1003"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1003").rings(SOON);
    missed(lab, MissCause::Cancelled);
    let told = [("1001".to_owned(), MissCause::Unavailable), ("1002".to_owned(), MissCause::Cancelled)];
    assert_eq!(misses(lab), told);
    caller.hang_up();
    ring.cancelled(SOON);
    caller.over(SOON);
}

/// Q7 `follow_forwards`.
fn a_forward_is_followed_only_where_the_admin_says_so(lab: &Lab) {
    let refuser = Refuser::open();
    let elsewhere = lab.phone("1003");
    let dial = refuser.dial(&format!("302-0791110000_at_127.0.0.1_port_{}", elsewhere.port()));
    lab.serve_with(&[("1001", &dial)], "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    missed(lab, MissCause::Forwarded);
    elsewhere.stays_quiet(Duration::from_millis(500));
    caller.hang_up();
    caller.over(SOON);
    lab.daemon_mut().terminate(SOON);
    lab.daemon().rewrite("{ id: \"1001\",", "{ id: \"1001\", follow_forwards: true,");
    lab.serve_again();
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = elsewhere.rings(SOON);
    let answered = ring.answer();
    caller.sound.hears(elsewhere.tone, answered, SOON);
    ring.hang_up();
    caller.over(SOON);
}

/// Q7: if an agent forwards the phone to the queue, following the forward would make the caller wait there once more.
fn a_forward_never_leads_into_a_queue(lab: &Lab) {
    let refuser = Refuser::open();
    let dial = refuser.dial(&format!("302-99900_at_127.0.0.1_port_{}", lab.switch.trunk));
    lab.serve_with(&[("1001", &dial)], "  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"] }\n");
    lab.daemon_mut().terminate(SOON);
    lab.daemon().rewrite("{ id: \"1001\",", "{ id: \"1001\", follow_forwards: true,");
    lab.serve_again();
    lab.log_in("99900", &["1001", "1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1002").rings(SOON);
    missed(lab, MissCause::Refused { sip_status: 482 });
    assert_eq!(misses(lab), [("1001".to_owned(), MissCause::Refused { sip_status: 482 })]);
    let entered = lab.daemon().facts().iter().filter(|r| matches!(r.fact, Fact::CallEntered { .. })).count();
    assert_eq!(entered, 1);
    caller.hang_up();
    ring.cancelled(SOON);
    caller.over(SOON);
}

/// Q7: one line in the log per agent, and growing pauses between offers.
fn a_gateway_that_is_down_is_tried_less_and_less_often(lab: &Lab) {
    let refuser = Refuser::open();
    let down = refuser.dial("503");
    lab.serve_with(
        &[("1001", &down), ("1002", "sofia/gateway/nowhere/0791110000")],
        "  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"] }\n",
    );
    lab.log_in("99900", &["1001", "1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    // Each agent at once, after 5 s, and 10 s after that.
    let offer = |fact: &Fact| matches!(fact, Fact::OfferMade { .. }).then_some(());
    lab.daemon().nth_fact("the sixth offer", 5, Duration::from_secs(20), offer);
    let waited = caller.since.elapsed();
    assert!(waited > Duration::from_secs(14), "six offers after {waited:?}");
    let refused = MissCause::Refused { sip_status: 503 };
    let told = misses(lab);
    let causes: Vec<MissCause> = told.iter().take(2).map(|(_, cause)| *cause).collect();
    assert_eq!(causes, [refused, MissCause::Unknown]);
    let lines = lab.daemon().log().matches("phone cannot be rung").count();
    assert_eq!(lines, 2, "once for each agent");
    caller.hang_up();
    caller.over(SOON);
}

/// Q5: ten times, because it is a matter of luck whether the event of the agent's own call has arrived by then.
fn an_agent_is_never_offered_their_own_call(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"] }\n");
    lab.log_in("99900", &["1001", "1002"]);
    for _ in 0..10 {
        let caller = lab.call(&From::phone("1001"), "99900");
        let ring = lab.phone("1002").rings(SOON);
        let since = Instant::now();
        caller.hang_up();
        ring.cancelled(SOON);
        caller.over(SOON);
        ring.over(SOON);
        assert!(since.elapsed() < SOON);
    }
    let own = |fact: &Fact| matches!(fact, Fact::OfferMade { agent, .. } if agent.as_str() == "1001");
    assert!(!lab.daemon().facts().iter().any(|record| own(&record.fact)), "{}", lab.daemon().log());
}
