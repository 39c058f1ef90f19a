//! How offers and conversations end (Q8, Q9).

use std::time::Duration;

use freeswitch_queue::acd::fact::{CancelCause, EndedBy, Fact};

use crate::lab::{From, Lab, NINE_THOUSAND, SOON};

crate::cases!("ends":
    a_caller_who_gives_up_stops_the_ringing,
    the_caller_hangs_up,
    the_agent_hangs_up_and_is_left_alone_for_the_wrap_up,
    a_blind_transfer_ends_the_agents_part_and_the_wrap_up_begins_then,
    a_phone_that_dies_in_the_call_is_free_when_its_leg_is_gone,
);

const ONE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n";

/// Waits for the end of a conversation; returns who ended it.
fn ended(lab: &Lab) -> (std::time::Instant, EndedBy) {
    lab.daemon().fact("the end of the conversation", SOON, |fact| match fact {
        Fact::ConversationEnded { by, .. } => Some(*by),
        _ => None,
    })
}

/// Q8.
fn a_caller_who_gives_up_stops_the_ringing(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    caller.hang_up();
    let told = std::time::Instant::now();
    let off = ring.cancelled(SOON);
    let late = off.at.saturating_duration_since(told);
    assert!(late < Duration::from_millis(200), "rang on for {late:?}");
    lab.daemon().fact("abandoned", SOON, |fact| matches!(fact, Fact::CallAbandoned { .. }).then_some(()));
    lab.daemon().fact("called off", SOON, |fact| {
        matches!(fact, Fact::OfferCancelled { cause: CancelCause::CallerGone, .. }).then_some(())
    });
    caller.over(SOON);
    lab.switch.channels().all_gone(SOON).unwrap();
    lab.phone("1001").stays_quiet(Duration::from_millis(300));
}

/// Q8.
fn the_caller_hangs_up(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    let answered = ring.answer();
    let heard = caller.sound.hears(lab.phone("1001").tone, answered, SOON) - answered;
    let spoke = lab.phone("1001").sound.hears(caller.tone, answered, SOON) - answered;
    assert!(heard.max(spoke) < Duration::from_millis(250), "connected after {heard:?} and {spoke:?}");
    caller.hang_up();
    ring.byed(SOON);
    assert_eq!(ended(lab).1, EndedBy::Caller);
    caller.over(SOON);
}

/// Q9.
fn the_agent_hangs_up_and_is_left_alone_for_the_wrap_up(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"], wrap_up_seconds: 1.5 }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    ring.answer();
    caller.sound.hears(lab.phone("1001").tone, caller.since, SOON);
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    ring.hang_up();
    caller.byed(SOON);
    let (at, by) = ended(lab);
    assert_eq!(by, EndedBy::Agent);
    let agent = lab.daemon().status()["agents"][0].clone();
    assert_eq!(agent["activity"], "wrap-up", "visible with its deadline: {agent}");
    let next = lab.phone("1001").rings(SOON);
    let pause = next.invite.at.saturating_duration_since(at);
    assert!((Duration::from_millis(1450)..Duration::from_millis(1700)).contains(&pause), "left alone for {pause:?}");
    second.hang_up();
    next.cancelled(SOON);
    second.over(SOON);
    caller.over(SOON);
}

/// Q9.
fn a_blind_transfer_ends_the_agents_part_and_the_wrap_up_begins_then(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"], wrap_up_seconds: 1 }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    let answered = ring.answer();
    caller.sound.hears(lab.phone("1001").tone, answered, SOON);
    ring.transfer("9000");
    ring.byed(SOON);
    caller.sound.hears(NINE_THOUSAND, answered, SOON);
    let (at, by) = ended(lab);
    assert_eq!(by, EndedBy::Transfer);
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    let next = lab.phone("1001").rings(SOON);
    let pause = next.invite.at.saturating_duration_since(at);
    assert!((Duration::from_millis(950)..Duration::from_millis(1200)).contains(&pause), "left alone for {pause:?}");
    assert!(!caller.is_over(), "the transferred call goes on");
    second.hang_up();
    next.cancelled(SOON);
    second.over(SOON);
    caller.hang_up();
    caller.over(SOON);
}

/// Q8: the phone is free again when FreeSWITCH has no leg of it any more.
fn a_phone_that_dies_in_the_call_is_free_when_its_leg_is_gone(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    ring.answer();
    caller.sound.hears(lab.phone("1001").tone, caller.since, SOON);
    ring.crash();
    lab.phone("1001").stays_quiet(Duration::from_millis(300));
    assert!(!caller.is_over(), "nobody can know yet");
    caller.hang_up();
    caller.over(SOON);
    assert_eq!(ended(lab).1, EndedBy::Caller);
    lab.switch.channels().all_gone(SOON).unwrap();
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    let again = lab.phone("1001").rings(SOON);
    again.answer();
    second.sound.hears(lab.phone("1001").tone, second.since, SOON);
    again.hang_up();
    second.over(SOON);
}
