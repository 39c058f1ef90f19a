//! Callers whose calls FreeSWITCH ends by itself: an orderly stop, and a restart of a profile (Q20, Q106).

use std::time::Duration;

use freeswitch_queue::acd::fact::{Fact, LossCause};

use crate::caller::{Caller, From};
use crate::lab::{Lab, SOON};

crate::cases!("stops":
    a_caller_ended_by_the_restart_of_a_profile_has_not_given_up,
    a_caller_ended_by_a_stop_of_freeswitch_has_not_given_up,
);

const ONE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1001\"], ring_seconds: 30 }\n";

/// A caller waits, and the agent's phone rings.
fn waits(lab: &Lab, nth: usize) -> Caller {
    let caller = lab.call(&From::outside(&format!("079000000{nth}"), ""), "99900");
    let entered = |fact: &Fact| matches!(fact, Fact::CallEntered { .. }).then_some(());
    lab.daemon().nth_fact("another caller", nth, SOON, entered);
    caller
}

/// Why the caller after `nth` others was lost.
#[track_caller]
fn lost(lab: &Lab, nth: usize, within: Duration) -> LossCause {
    let (_, cause) = lab.daemon().nth_fact("lost", nth, within, |fact| match fact {
        Fact::CallLost { cause, .. } => Some(*cause),
        _ => None,
    });
    cause
}

/// No caller is in the records as one who gave up.
#[track_caller]
fn nobody_gave_up(lab: &Lab) {
    let given_up = lab.daemon().facts().iter().any(|r| matches!(r.fact, Fact::CallAbandoned { .. }));
    assert!(!given_up, "{}", lab.daemon().log());
}

/// Q106.
fn a_caller_ended_by_the_restart_of_a_profile_has_not_given_up(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = waits(lab, 0);
    let ring = lab.phone("1001").rings(SOON);
    lab.switch.api("sofia profile trunk restart");
    assert_eq!(lost(lab, 0, Duration::from_secs(10)), LossCause::SwitchEnded);
    nobody_gave_up(lab);
    ring.over(SOON);
    caller.vanish();
    lab.switch.wait_until_ready();
    let next = waits(lab, 1);
    lab.phone("1001").rings(Duration::from_secs(8)).serves(next);
}

/// Q20, Q106: `fsctl shutdown` hangs up all calls, with `now` FreeSWITCH ends at once. (`elegant` and `asap` wait until
/// there are no calls.)
fn a_caller_ended_by_a_stop_of_freeswitch_has_not_given_up(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    for (nth, how) in ["", "now"].into_iter().enumerate() {
        let caller = waits(lab, nth);
        lab.phone("1001").rings(Duration::from_secs(8));
        lab.switch.stop(how, Duration::from_secs(20)).unwrap();
        caller.vanish();
        lab.switch.launch();
        lab.register_all();
        lab.daemon().says_again("the link to FreeSWITCH is up", nth + 2, Duration::from_secs(30));
        println!("  {how:5}: {:?}", lost(lab, nth, Duration::from_secs(40)));
        nobody_gave_up(lab);
    }
}
