//! The ends of offers and conversations (Q8, Q9).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{CancelCause, EndedBy, Fact};

use crate::caller::From;
use crate::lab::{Lab, SOON};
use crate::sound::RING_TONE;
use crate::switch::NINE_THOUSAND;

crate::cases!("ends":
    a_caller_who_gives_up_stops_the_ringing,
    the_caller_hangs_up,
    an_answer_is_connected_whichever_side_sees_it_first,
    the_agent_hangs_up_and_gets_no_offer_during_the_wrap_up,
    a_blind_transfer_ends_the_agents_part_and_the_wrap_up_begins_then,
    a_caller_who_is_transferred_away_stops_the_ringing,
    a_caller_who_is_transferred_to_another_queue_outlives_the_daemon_there,
    a_caller_who_is_transferred_as_the_daemon_dies_is_not_lost,
    a_hangup_by_an_admin_is_noticed,
    a_phone_that_dies_in_the_call_is_free_when_its_leg_is_gone,
);

const ONE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n";

/// Waits for the end of a conversation; returns the party that ended it.
fn ended(lab: &Lab) -> (Instant, EndedBy) {
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
    let told = Instant::now();
    let off = ring.cancelled(SOON);
    let late = off.at.saturating_duration_since(told);
    assert!(late < Duration::from_millis(200), "the phone kept ringing for {late:?}");
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

/// Q8: `originate` sees the answer before the two channels are connected, and takes the leg for itself during the
/// connection. Both are slowed down until this must happen; on a busy machine it happens to one answer in some hundred.
fn an_answer_is_connected_whichever_side_sees_it_first(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    for (answer, originate) in [(40, 45), (30, 30), (40, 35)] {
        let slow = |answer: &str, originate: &str| {
            for (what, how) in [("slow_answer", answer), ("slow_originate", originate)] {
                assert_eq!(lab.switch.api(&format!("global_setvar {what}={how}")), "+OK");
            }
        };
        slow(&format!("msleep {answer}"), &format!("msleep {originate}"));
        let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
        let ring = lab.phone("1001").rings(SOON);
        slow("", "");
        let answered = ring.connects(&caller);
        let heard = lab.phone("1001").sound.hears(caller.tone, answered, SOON);
        // The time that `originate` takes to catch up.
        let later = heard + Duration::from_millis(300);
        caller.sound.hears(lab.phone("1001").tone, later, SOON);
        lab.phone("1001").sound.hears(caller.tone, later, SOON);
        ring.hang_up();
        caller.byed(SOON);
        caller.over(SOON);
    }
}

/// Q9.
fn the_agent_hangs_up_and_gets_no_offer_during_the_wrap_up(lab: &Lab) {
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
    assert!((Duration::from_millis(1450)..Duration::from_millis(1700)).contains(&pause), "wrap-up lasted {pause:?}");
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
    let answered = ring.connects(&caller);
    ring.transfer("9000");
    ring.byed(SOON);
    caller.sound.hears(NINE_THOUSAND, answered, SOON);
    let (at, by) = ended(lab);
    assert_eq!(by, EndedBy::Transfer);
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    let next = lab.phone("1001").rings(SOON);
    let pause = next.invite.at.saturating_duration_since(at);
    assert!((Duration::from_millis(950)..Duration::from_millis(1200)).contains(&pause), "wrap-up lasted {pause:?}");
    assert!(!caller.is_over(), "the transferred call continues");
    second.hang_up();
    next.cancelled(SOON);
    second.over(SOON);
    caller.hang_up();
    caller.over(SOON);
}

/// Q8: an admin transfers a waiting caller.
fn a_caller_who_is_transferred_away_stops_the_ringing(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    caller.sound.hears(RING_TONE, caller.since, SOON);
    let (_, channel) = lab.daemon().fact("entered", SOON, |fact| match fact {
        Fact::CallEntered { call, .. } => Some(call.to_string()),
        _ => None,
    });
    lab.switch.api(&format!("uuid_transfer {channel} 9000 XML default"));
    ring.cancelled(SOON);
    caller.sound.hears(NINE_THOUSAND, caller.since, SOON);
    lab.daemon().fact("taken", SOON, |fact| matches!(fact, Fact::CallTaken { .. }).then_some(()));
    // The daemon's end does not affect a call that was transferred away.
    lab.daemon_mut().terminate(SOON);
    let later = Instant::now();
    caller.sound.hears(NINE_THOUSAND, later, SOON);
    assert!(!caller.is_over(), "the call was lost");
    lab.serve_again();
    caller.hang_up();
    caller.over(SOON);
}

/// The dialplan retries the controller at intervals of less than two seconds.
const BACK: Duration = Duration::from_secs(4);

const BOTH: &str = concat!(
    "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n",
    "  - { number: \"99901\", name: Help, participants: [\"1002\"] }\n"
);

/// Waits until the caller of this number enters a queue, in this run of the daemon; returns the time and the channel.
#[track_caller]
fn entered(lab: &Lab, number: &str, wanted: &str) -> (Instant, String) {
    lab.daemon().fact(&format!("{number} in {wanted}"), BACK, |fact| match fact {
        Fact::CallEntered { call, queue, caller, .. } => {
            (queue.as_str() == wanted && **caller == *number).then(|| call.to_string())
        }
        _ => None,
    })
}

/// Q19: the last events of the first queue's connection do not affect the second queue: the caller waits there,
/// transferred by an admin while waiting or by the agent, and still does when the daemon dies.
fn a_caller_who_is_transferred_to_another_queue_outlives_the_daemon_there(lab: &Lab) {
    lab.serve(BOTH);
    lab.log_in("99900", &["1001"]);
    lab.log_in("99901", &["1002"]);
    for n in 0..6 {
        let number = format!("079000000{n}");
        let caller = lab.call(&From::outside(&number, "Hans"), "99900");
        let (_, channel) = entered(lab, &number, "99900");
        let ring = lab.phone("1001").rings(SOON);
        let passed_on = if n % 2 == 0 {
            ring.connects(&caller);
            ring.transfer("99901");
            Instant::now()
        } else {
            lab.switch.api(&format!("uuid_transfer {channel} 99901 XML default"));
            Instant::now()
        };
        ring.over(SOON);
        let (at, _) = entered(lab, &number, "99901");
        assert!(at - passed_on < Duration::from_millis(900), "it took {:?}", at - passed_on);
        let second = lab.phone("1002").rings(SOON);
        caller.sound.hears(RING_TONE, at, Duration::from_secs(6));
        lab.daemon_mut().kill();
        lab.serve_again();
        second.over(BACK);
        entered(lab, &number, "99901");
        let again = lab.phone("1002").rings(SOON);
        again.serves(caller);
    }
}

/// Q19: no daemon is left to set how the call outlives its connections, the last of which ends while a phone rings.
fn a_caller_who_is_transferred_as_the_daemon_dies_is_not_lost(lab: &Lab) {
    lab.serve(BOTH);
    lab.log_in("99900", &["1001"]);
    lab.log_in("99901", &["1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let (_, channel) = entered(lab, "0791234567", "99900");
    let ring = lab.phone("1001").rings(SOON);
    caller.sound.hears(RING_TONE, caller.since, SOON);
    lab.switch.api(&format!("uuid_transfer {channel} 99901 XML default"));
    lab.daemon_mut().kill();
    lab.serve_again();
    ring.over(SOON);
    // Two looks at FreeSWITCH, three seconds apart.
    let second = lab.phone("1002").rings(Duration::from_secs(12));
    second.connects(&caller);
    eprintln!("  repairs: {}", lab.daemon().status()["repairs"]);
    second.hang_up();
    caller.over(SOON);
}

/// Q8: an admin ends a leg that rings, and then a conversation.
fn a_hangup_by_an_admin_is_noticed(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"] }\n");
    lab.log_in("99900", &["1001", "1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let first = lab.phone("1001").rings(SOON);
    let offers = |fact: &Fact| match fact {
        Fact::OfferMade { offer, .. } => Some(offer.to_string()),
        _ => None,
    };
    let (_, leg) = lab.daemon().fact("an offer", SOON, offers);
    lab.switch.api(&format!("uuid_kill {leg}"));
    first.cancelled(SOON);
    let second = lab.phone("1002").rings(SOON);
    second.connects(&caller);
    let (_, leg) = lab.daemon().nth_fact("an offer", 1, SOON, offers);
    lab.switch.api(&format!("uuid_kill {leg}"));
    second.byed(SOON);
    ended(lab);
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
    assert!(!caller.is_over(), "FreeSWITCH cannot know yet");
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
