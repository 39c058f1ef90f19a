//! Agents who consult another party before a transfer, and agents whose `dial` leads elsewhere (Q2, Q5, Q9).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{EndedBy, Fact, MissCause};

use crate::caller::From;
use crate::lab::{Lab, SOON};
use crate::switch::NINE_THOUSAND;

crate::cases!("elsewhere":
    an_attended_transfer_ends_the_agents_part_and_the_wrap_up_begins_then,
    an_attended_transfer_to_a_colleague_connects_caller_and_colleague,
    an_agent_with_a_dial_string_is_rung_there,
);

/// Q9: the agent first consults 9000 on a second call, and then connects the two.
fn an_attended_transfer_ends_the_agents_part_and_the_wrap_up_begins_then(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"], wrap_up_seconds: 1 }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    ring.connects(&caller);
    let question = lab.call(&From::phone("1001"), "9000");
    question.sound.hears(NINE_THOUSAND, question.since, SOON);
    ring.transfer_to(&question);
    caller.sound.hears(NINE_THOUSAND, Instant::now(), SOON);
    let (at, by) = lab.daemon().fact("the end of the conversation", SOON, |fact| match fact {
        Fact::ConversationEnded { by, .. } => Some(*by),
        _ => None,
    });
    assert_eq!(by, EndedBy::Transfer);
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    let next = lab.phone("1001").rings(SOON);
    let pause = next.invite.at.saturating_duration_since(at);
    assert!((Duration::from_millis(950)..Duration::from_millis(1300)).contains(&pause), "wrap-up lasted {pause:?}");
    assert!(!caller.is_over(), "the transferred call continues");
    second.hang_up();
    next.cancelled(SOON);
    second.over(SOON);
    caller.hang_up();
    caller.over(SOON);
    question.over(SOON);
    ring.over(SOON);
}

/// Q9: the colleague, also an agent of the queue, is on a private call from then on (Q5).
fn an_attended_transfer_to_a_colleague_connects_caller_and_colleague(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1002\", \"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    ring.connects(&caller);
    lab.log_in("99900", &["1002"]);
    let question = lab.dial(&From::phone("1001"), "1002");
    let colleague = lab.phone("1002").rings(SOON);
    colleague.connects(&question);
    ring.transfer_to(&question);
    let put_through = Instant::now();
    caller.sound.hears(lab.phone("1002").tone, put_through, SOON);
    lab.phone("1002").sound.hears(caller.tone, put_through, SOON);
    ring.over(SOON);
    question.over(SOON);
    // The next caller goes to the free agent, although the colleague comes first in the list.
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    let next = lab.phone("1001").rings(SOON);
    lab.phone("1002").stays_quiet(Duration::from_millis(300));
    second.hang_up();
    next.cancelled(SOON);
    second.over(SOON);
    assert!(!caller.is_over(), "the transferred call continues");
    colleague.hang_up();
    caller.over(SOON);
}

/// Q2 `dial`: any endpoint works.
fn an_agent_with_a_dial_string_is_rung_there(lab: &Lab) {
    let elsewhere = lab.phone("1003");
    let dial = format!("sofia/trunk/0791110000@127.0.0.1:{}", elsewhere.port());
    let queue = "  - { number: \"99900\", name: Sales, participants: [\"1002\"], wrap_up_seconds: 1 }\n";
    lab.serve_with(&[("1002", &dial)], queue);
    lab.log_in("99900", &["1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = elsewhere.rings(SOON);
    assert!(ring.invite.text.starts_with("INVITE sip:0791110000@"), "{}", ring.invite.text);
    let answered = ring.connects(&caller);
    elsewhere.sound.hears(caller.tone, answered, SOON);
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    ring.hang_up();
    caller.over(SOON);
    let next = elsewhere.rings(SOON);
    next.decline();
    lab.daemon().fact("declined", SOON, |fact| {
        matches!(fact, Fact::OfferMissed { cause: MissCause::Declined, .. }).then_some(())
    });
    lab.phone("1002").stays_quiet(Duration::from_millis(300));
    second.hang_up();
    second.over(SOON);
}
