//! Callers who are not let into a queue (Q38, Q44).

use std::time::Duration;

use freeswitch_queue::acd::fact::{Fact, Onward, RefusalCause};

use crate::caller::From;
use crate::lab::{Lab, SOON};
use crate::sound::{samples, wav};
use crate::switch::NINE_THOUSAND;

crate::cases!("gates":
    a_full_queue_plays_its_message_without_music_and_transfers,
    a_refusal_outlives_the_daemon,
    a_queue_where_nobody_may_wait_takes_as_many_callers_as_phones,
    a_transferred_caller_finds_a_full_queue,
    a_caller_over_the_limit_of_conversations_waits_although_an_agent_is_free,
);

const MESSAGE: u32 = 2800;

fn message(lab: &Lab) -> String {
    lab.file("full.wav", &wav(&samples(MESSAGE, 1.0))).display().to_string()
}

fn entered(fact: &Fact) -> Option<()> {
    matches!(fact, Fact::CallEntered { .. }).then_some(())
}

#[track_caller]
fn refused(lab: &Lab, nth: usize) -> bool {
    let (_, (cause, returned)) = lab.daemon().nth_fact("refused", nth, Duration::from_secs(8), |fact| match fact {
        Fact::CallRefused { cause, returned, .. } => Some((*cause, *returned)),
        _ => None,
    });
    assert_eq!(cause, RefusalCause::Full);
    returned
}

fn a_full_queue_plays_its_message_without_music_and_transfers(lab: &Lab) {
    let message = message(lab);
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"1001\"], max_callers: 1, \
         full: {{ message: \"{message}\", action: {{ transfer: \"9000\" }} }} }}\n"
    ));
    lab.log_in("99900", &["1001"]);
    let first = lab.call(&From::outside("0791111111", "Anna"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    let second = lab.call(&From::outside("0792222222", "Hans"), "99900");
    assert!(!refused(lab, 0));
    let begun = second.sound.hears(MESSAGE, second.since, SOON);
    let moved = second.sound.hears(NINE_THOUSAND, second.since, SOON);
    let played = moved - begun;
    assert!((Duration::from_millis(950)..Duration::from_millis(1400)).contains(&played), "played for {played:?}");
    lab.daemon().fact("transferred", SOON, |fact| match fact {
        Fact::CallWentOn { onward: Onward::Transferred(to), .. } => (&**to == "9000").then_some(()),
        _ => None,
    });
    second.hang_up();
    second.over(SOON);
    // A caller who talks does not count.
    ring.connects(&first);
    let third = lab.call(&From::outside("0793333333", ""), "99900");
    lab.daemon().nth_fact("entered", 1, SOON, entered);
    for call in [first, third] {
        call.hang_up();
        call.over(SOON);
    }
    let abandoned =
        |record: &&_| matches!(record, freeswitch_queue::acd::fact::Record { fact: Fact::CallAbandoned { .. }, .. });
    assert!(lab.daemon().facts().iter().filter(abandoned).count() <= 1, "Q44: a refusal is no abandonment");
}

fn a_refusal_outlives_the_daemon(lab: &Lab) {
    let long = lab.file("long.wav", &wav(&samples(MESSAGE, 4.0))).display().to_string();
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"1001\"], max_callers: 1, \
         full: {{ message: \"{long}\", action: {{ transfer: \"9000\" }} }} }}\n"
    ));
    lab.log_in("99900", &["1001"]);
    let first = lab.call(&From::outside("0791111111", "Anna"), "99900");
    lab.phone("1001").rings(SOON);
    let second = lab.call(&From::outside("0792222222", "Hans"), "99900");
    assert!(!refused(lab, 0));
    second.sound.hears(MESSAGE, second.since, SOON);
    lab.daemon_mut().kill();
    first.hang_up();
    first.over(SOON);
    lab.serve_again();
    assert!(refused(lab, 0), "the refusal stands, although the queue has room");
    second.sound.hears(NINE_THOUSAND, second.since, Duration::from_secs(8));
    second.hang_up();
    second.over(SOON);
}

fn a_queue_where_nobody_may_wait_takes_as_many_callers_as_phones(lab: &Lab) {
    let message = message(lab);
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"], max_callers: 0, \
         full: {{ message: \"{message}\" }} }}\n"
    ));
    lab.log_in("99900", &["1001", "1002"]);
    let callers = ["0791111111", "0792222222", "0793333333"].map(|n| lab.call(&From::outside(n, ""), "99900"));
    for user in ["1001", "1002"] {
        lab.phone(user).rings(SOON);
    }
    refused(lab, 0);
    lab.daemon().nth_fact("entered", 1, SOON, entered);
    for call in callers {
        if !call.is_over() {
            call.hang_up();
        }
        call.over(SOON);
    }
}

/// Q38, Q102: the connection of the conversation is still open when the caller comes to the next queue.
fn a_transferred_caller_finds_a_full_queue(lab: &Lab) {
    lab.serve(
        "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n  \
         - { number: \"99901\", name: Support, participants: [\"1002\"], max_callers: 1 }\n",
    );
    lab.log_in("99900", &["1001"]);
    lab.log_in("99901", &["1002"]);
    let waits = lab.call(&From::outside("0791111111", "Anna"), "99901");
    let rung = lab.phone("1002").rings(SOON);
    let caller = lab.call(&From::outside("0792222222", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    ring.connects(&caller);
    ring.transfer("99901");
    assert!(!refused(lab, 0));
    caller.over(SOON);
    ring.over(SOON);
    assert!(!waits.is_over(), "the caller who was there waits on");
    waits.hang_up();
    rung.cancelled(SOON);
    waits.over(SOON);
}

fn a_caller_over_the_limit_of_conversations_waits_although_an_agent_is_free(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"], max_conversations: 1 }\n");
    lab.log_in("99900", &["1001", "1002"]);
    let first = lab.call(&From::outside("0791111111", "Anna"), "99900");
    let talk = lab.phone("1001").rings(SOON);
    talk.connects(&first);
    let second = lab.call(&From::outside("0792222222", "Hans"), "99900");
    lab.daemon().nth_fact("entered", 1, SOON, entered);
    lab.phone("1002").stays_quiet(Duration::from_secs(3));
    assert!(!second.is_over(), "the caller waits");
    // The conversation counts over the daemon's death.
    lab.daemon_mut().kill();
    lab.serve_again();
    lab.daemon().fact("back", Duration::from_secs(8), entered);
    lab.phone("1002").stays_quiet(Duration::from_secs(2));
    talk.hang_up();
    first.over(SOON);
    let ring = lab.phone("1001").rings(SOON);
    ring.connects(&second);
    ring.hang_up();
    second.over(SOON);
}
