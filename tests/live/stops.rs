//! Callers whose calls FreeSWITCH ends by itself: an orderly stop, and a restart of a profile (Q20, Q106).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{Fact, LossCause};

use crate::caller::{Caller, From};
use crate::lab::{Lab, SOON};

crate::cases!("stops":
    a_caller_ended_by_the_restart_of_a_profile_has_not_given_up,
    an_elegant_stop_of_freeswitch_serves_the_callers_who_wait,
    a_caller_ended_by_a_stop_of_freeswitch_has_not_given_up,
);

const ONE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1001\"], ring_seconds: 30 }\n";

/// How long FreeSWITCH may take to stop.
const STOPS: Duration = Duration::from_secs(60);

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
    // A profile that has run for less than ten seconds is not restarted.
    let end = Instant::now() + Duration::from_secs(15);
    while lab.switch.api("sofia profile trunk restart").contains("must be up") {
        assert!(Instant::now() < end, "the profile does not restart");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(lost(lab, 0, Duration::from_secs(10)), LossCause::SwitchEnded);
    nobody_gave_up(lab);
    ring.over(SOON);
    caller.vanish();
    lab.switch.wait_until_ready();
    let next = waits(lab, 1);
    lab.phone("1001").rings(Duration::from_secs(8)).serves(next);
}

/// Q20: with `fsctl shutdown elegant` FreeSWITCH takes no more callers, and ends when the last call is over.
fn an_elegant_stop_of_freeswitch_serves_the_callers_who_wait(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let callers = [0, 1].map(|nth| waits(lab, nth));
    let ring = lab.phone("1001").rings(SOON);
    lab.switch.order_stop("elegant");
    let [first, second] = callers;
    ring.serves(first);
    assert!(!second.is_over(), "the caller was hung up");
    lab.phone("1001").rings(SOON).serves(second);
    lab.switch.stopped(STOPS).unwrap();
    let lost = |fact: &Fact| matches!(fact, Fact::CallLost { .. } | Fact::CallAbandoned { .. });
    assert!(!lab.daemon().facts().iter().any(|r| lost(&r.fact)), "{}", lab.daemon().log());
    lab.switch.launch();
    lab.register_all();
}

/// Q20, Q106: `fsctl shutdown` hangs up all calls; with `now`, FreeSWITCH ends at once.
fn a_caller_ended_by_a_stop_of_freeswitch_has_not_given_up(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    for (nth, how) in ["", "now"].into_iter().enumerate() {
        let caller = waits(lab, nth);
        lab.phone("1001").rings(Duration::from_secs(8));
        lab.switch.order_stop(how);
        lab.switch.stopped(STOPS).unwrap();
        caller.vanish();
        lab.switch.launch();
        lab.register_all();
        lab.daemon().says_again("the link to FreeSWITCH is up", nth + 2, Duration::from_secs(30));
        println!("  {how:5}: {:?}", lost(lab, nth, Duration::from_secs(40)));
        nobody_gave_up(lab);
    }
}
