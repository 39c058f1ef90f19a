//! Pickup of a colleague's ringing phone (Q105).

use std::time::Duration;

use freeswitch_queue::acd::fact::{CancelCause, Fact};

use crate::caller::{Caller, From};
use crate::lab::{Lab, SOON};
use crate::phone::Ringing;
use crate::sound::{samples, wav};

const LONG_MESSAGE: u32 = 2900;

crate::cases!("pickup":
    an_invite_with_replaces_takes_the_caller,
    an_intercept_with_bleg_of_a_ringing_leg_takes_the_caller,
    an_intercept_of_the_callers_channel_takes_the_caller,
    a_pickup_during_the_message_of_a_timeout_takes_the_caller,
);

/// A caller for whom 1001 rings, and the leg.
fn ringing(lab: &Lab) -> (Caller, Ringing<'_>, String) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"], wrap_up_seconds: 1 }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    let (_, leg) = lab.daemon().fact("an offer", SOON, |fact| match fact {
        Fact::OfferMade { offer, .. } => Some(offer.to_string()),
        _ => None,
    });
    (caller, ring, leg)
}

/// Checks that the picker has the caller, for as long as the two like, and no other phone keeps ringing.
fn has_the_caller(lab: &Lab, caller: Caller, ring: Ringing<'_>, picker: Caller) {
    picker.answered();
    caller.sound.hears(picker.tone, picker.since, SOON);
    picker.sound.hears(caller.tone, picker.since, SOON);
    ring.cancelled(SOON);
    let (_, by) = lab.daemon().fact("taken", SOON, |fact| match fact {
        Fact::CallTaken { by, .. } => Some(by.clone()),
        _ => None,
    });
    assert_eq!(by.as_deref(), Some("1002"));
    lab.daemon().fact("called off", SOON, |fact| {
        matches!(fact, Fact::OfferCancelled { cause: CancelCause::CallTaken, .. }).then_some(())
    });
    std::thread::sleep(Duration::from_secs(6));
    assert!(!caller.is_over() && !picker.is_over(), "the queue does not affect the conversation");
    picker.hang_up();
    picker.over(SOON);
    caller.over(SOON);
}

/// Q105: pickup by a lamp key.
fn an_invite_with_replaces_takes_the_caller(lab: &Lab) {
    let (caller, ring, _) = ringing(lab);
    let picker = lab.dial(&From::picking_up("1002", &ring.invite), "1001");
    has_the_caller(lab, caller, ring, picker);
}

/// Q105: `intercept -bleg` of the leg.
fn an_intercept_with_bleg_of_a_ringing_leg_takes_the_caller(lab: &Lab) {
    let (caller, ring, leg) = ringing(lab);
    let picker = lab.dial(&From::phone("1002"), &format!("*8b-{leg}"));
    has_the_caller(lab, caller, ring, picker);
}

/// Q105: `intercept` of the caller's channel.
fn an_intercept_of_the_callers_channel_takes_the_caller(lab: &Lab) {
    let (caller, ring, _) = ringing(lab);
    let channel = lab.daemon().fact("entered", SOON, |fact| match fact {
        Fact::CallEntered { call, .. } => Some(call.to_string()),
        _ => None,
    });
    let picker = lab.dial(&From::phone("1002"), &format!("*8-{}", channel.1));
    has_the_caller(lab, caller, ring, picker);
}

/// Q8, Q105: the message of a timeout plays, and the call goes on to its next destination unless somebody takes it.
fn a_pickup_during_the_message_of_a_timeout_takes_the_caller(lab: &Lab) {
    let message = lab.file("long.wav", &wav(&samples(LONG_MESSAGE, 8.0))).display().to_string();
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"1001\"], max_wait_minutes: 0.02, \
         timeout: {{ message: \"{message}\" }} }}\n"
    ));
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    lab.phone("1001").rings(SOON).cancelled(SOON);
    caller.sound.hears(LONG_MESSAGE, caller.since, SOON);
    let channel = lab.daemon().fact("entered", SOON, |fact| match fact {
        Fact::CallEntered { call, .. } => Some(call.to_string()),
        _ => None,
    });
    let picker = lab.dial(&From::phone("1002"), &format!("*8-{}", channel.1));
    picker.answered();
    caller.sound.hears(picker.tone, picker.since, SOON);
    std::thread::sleep(Duration::from_secs(3));
    assert!(!caller.is_over() && !picker.is_over(), "the queue does not affect the conversation");
    picker.hang_up();
    picker.over(SOON);
    caller.over(SOON);
}
