//! Waits that time out (Q13).

use std::time::Duration;

use freeswitch_queue::acd::fact::{CancelCause, Fact, Onward, TimeoutCause};

use crate::caller::From;
use crate::lab::{Lab, SOON};
use crate::sound::{samples, wav};
use crate::switch::NINE_THOUSAND;

crate::cases!("timeouts":
    after_the_longest_wait_the_ringing_ends_the_message_plays_and_the_call_is_hung_up,
    a_queue_with_nobody_logged_in_transfers_at_once,
    the_logout_of_the_last_agent_ends_the_wait,
    the_next_queue_takes_the_caller,
    a_loop_of_queues_ends_with_a_message,
);

const MESSAGE: u32 = 2800;

/// The message of a timeout, and its name in the file.
fn message(lab: &Lab) -> String {
    lab.file("message.wav", &wav(&samples(MESSAGE, 1.0))).display().to_string()
}

#[track_caller]
fn timed_out(lab: &Lab, expected: TimeoutCause) -> Duration {
    let (_, (cause, waited)) = lab.daemon().fact("timed out", SOON, |fact| match fact {
        Fact::CallTimedOut { cause, waited, .. } => Some((*cause, *waited)),
        _ => None,
    });
    assert_eq!(cause, expected);
    waited
}

fn after_the_longest_wait_the_ringing_ends_the_message_plays_and_the_call_is_hung_up(lab: &Lab) {
    let message = message(lab);
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"1001\"], max_wait_minutes: 0.02, \
         timeout: {{ message: \"{message}\" }} }}\n"
    ));
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    ring.cancelled(SOON);
    let waited = timed_out(lab, TimeoutCause::MaxWait);
    assert!((Duration::from_millis(1200)..Duration::from_millis(1250)).contains(&waited), "waited {waited:?}");
    lab.daemon().fact("called off", SOON, |fact| {
        matches!(fact, Fact::OfferCancelled { cause: CancelCause::CallTimedOut, .. }).then_some(())
    });
    let begun = caller.sound.hears(MESSAGE, caller.since, SOON);
    let bye = caller.byed(SOON);
    let played = bye.at - begun;
    assert!((Duration::from_millis(950)..Duration::from_millis(1300)).contains(&played), "played for {played:?}");
    lab.phone("1001").stays_quiet(Duration::ZERO);
    caller.over(SOON);
}

fn a_queue_with_nobody_logged_in_transfers_at_once(lab: &Lab) {
    let message = message(lab);
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"1001\"], \
         timeout: {{ message: \"{message}\", action: {{ transfer: \"1005\" }} }} }}\n"
    ));
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let begun = caller.sound.hears(MESSAGE, caller.since, SOON);
    let waited = timed_out(lab, TimeoutCause::NobodyLoggedIn);
    assert!(waited < Duration::from_millis(100), "waited {waited:?}");
    let ring = lab.phone("1005").rings(SOON);
    let played = ring.invite.at - begun;
    assert!((Duration::from_millis(950)..Duration::from_millis(1300)).contains(&played), "played for {played:?}");
    let answered = ring.connects(&caller);
    lab.phone("1005").sound.hears(caller.tone, answered, SOON);
    lab.daemon().fact("transferred", SOON, |fact| match fact {
        Fact::CallWentOn { onward: Onward::Transferred(to), .. } => (&**to == "1005").then_some(()),
        _ => None,
    });
    ring.hang_up();
    caller.over(SOON);
}

fn the_logout_of_the_last_agent_ends_the_wait(lab: &Lab) {
    let message = message(lab);
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"], \
         timeout: {{ message: \"{message}\", action: {{ transfer: \"9000\" }} }} }}\n"
    ));
    lab.log_in("99900", &["1001", "1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let first = lab.phone("1001").rings(SOON);
    let out = lab.call(&From::phone("1001"), "*4299900");
    first.cancelled(SOON);
    let second = lab.phone("1002").rings(SOON);
    assert!(!caller.is_over(), "the wait ended while an agent was logged in");
    let last = lab.call(&From::phone("1002"), "*4299900");
    second.cancelled(SOON);
    caller.sound.hears(MESSAGE, caller.since, SOON);
    caller.sound.hears(NINE_THOUSAND, caller.since, SOON);
    timed_out(lab, TimeoutCause::LastAgentLoggedOut);
    caller.hang_up();
    for call in [out, last, caller] {
        call.over(SOON);
    }
}

fn the_next_queue_takes_the_caller(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, participants: [\"1001\"], timeout: { action: { queue: \"99901\" } } }\n  \
           - { number: \"99901\", name: Overflow, participants: [\"1002\"], max_wait_minutes: 0.05 }\n",
    );
    lab.log_in("99901", &["1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1002").rings(SOON);
    let shown = ring.invite.header("From").to_owned();
    assert!(shown.contains("Overflow - Hans"), "the name of the queue that rings: {shown}");
    ring.connects(&caller);
    let (_, (first, entered)) = lab.daemon().nth_fact("entered", 1, SOON, |fact| match fact {
        Fact::CallEntered { first_entered, queue, .. } => Some((*first_entered, queue.as_str().to_owned())),
        _ => None,
    });
    assert_eq!(entered, "99901");
    let (_, before) = lab.daemon().fact("entered", SOON, |fact| match fact {
        Fact::CallEntered { first_entered, .. } => Some(*first_entered),
        _ => None,
    });
    assert_eq!(first, before, "the first entry time is kept for reports");
    ring.hang_up();
    caller.over(SOON);
}

fn a_loop_of_queues_ends_with_a_message(lab: &Lab) {
    let message = message(lab);
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"1001\"], timeout: {{ action: {{ queue: \"99901\" }} }} }}\n  \
           - {{ number: \"99901\", name: Overflow, participants: [\"1001\"], \
             timeout: {{ message: \"{message}\", action: {{ queue: \"99900\" }} }} }}\n"
    ));
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let begun = caller.sound.hears(MESSAGE, caller.since, SOON);
    let bye = caller.byed(SOON);
    let played = bye.at - begun;
    assert!((Duration::from_millis(950)..Duration::from_millis(1300)).contains(&played), "played for {played:?}");
    let onward = |fact: &Fact| match fact {
        Fact::CallWentOn { onward, .. } => Some(onward.clone()),
        _ => None,
    };
    let (_, last) = lab.daemon().nth_fact("went on", 1, SOON, onward);
    assert_eq!(last, Onward::HungUp);
    caller.over(SOON);
}
