//! Q9: the wrap-up after a conversation.

use freeswitch_queue::floor::{Doing, Reason};
use simswitch::{Behaviour, CallSpec};

use crate::house::{House, answers, pass, play};
use crate::setting::queue;

/// Q9: wrap-up begins when the agent's part ends, is shown with its deadline, and the next caller is offered in the
/// millisecond in which it ends.
#[test]
fn q9_wrap_up_ends_to_the_millisecond() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"]).with("wrap_up_seconds: 7.5")]);
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        let eva = house.caller("0792", "99900");
        house.phone("1001").hang_up();
        hans.wait_ended().await;
        pass(100).await;
        let daemon = house.daemon();
        let view = daemon.floor().view(daemon.clock().now());
        let Doing::WrapUp { until } = view.agents[0].doing else { panic!("{:?}", view.agents) };
        assert_eq!(view.queues[0].candidates[0].held_back, Some(Reason::WrapUp { until }), "Q24");
        assert_eq!(house.why("1001", "99900").as_deref(), Some("wrap-up for another 8 s"), "Q24");
        assert_eq!(house.take("1001").await, "0792");
        eva.hang_up();
        let book = house.end().await;
        let ended = book.when("1001 and 0791 end: agent");
        assert_eq!(book.when("1001 wraps up"), ended);
        assert_eq!(book.when("1001 is ready"), ended + 7_500);
        assert_eq!(book.when("1001 is offered 0792"), ended + 7_500);
        assert_eq!(book.moment(until), ended + 7_500, "the wrap-up ends at the deadline shown");
    });
}

/// Q9: wrap-up keeps all queues from offering to the agent; the queue of the conversation sets its length.
#[test]
fn q9_wrap_up_keeps_every_queue_from_offering() {
    play(async {
        let long = queue("99900", &["1001"]).with("wrap_up_seconds: 20");
        let house = House::open(&[long, queue("99901", &["1001"])]);
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        hans.hang_up();
        let eva = house.caller("0792", "99901");
        assert_eq!(house.take("1001").await, "0792");
        eva.hang_up();
        let third = house.caller("0793", "99901");
        house.phone("1001").wait_idle().await;
        assert_eq!(house.take("1001").await, "0793", "no wrap-up after a conversation of the other queue");
        third.hang_up();
        let book = house.end().await;
        let ended = book.when("1001 and 0791 end: caller");
        assert_eq!(book.when("1001 is offered 0792"), ended + 20_000);
    });
}

/// Q9: when the agent transfers the caller away, wrap-up starts at the transfer, not when the caller hangs up.
#[test]
fn q9_wrap_up_starts_with_the_transfer() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"]).with("wrap_up_seconds: 5")]);
        house.when_rung("1005", answers(500));
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        pass(2_000).await;
        assert!(house.phone("1001").blind_transfer("1005"));
        hans.wait_for(|v| v.talks_to() == Some("1005")).await;
        assert_eq!(house.activity("1001"), "wrap-up");
        pass(6_000).await;
        assert_eq!(house.activity("1001"), "idle");
        assert_eq!(hans.view().talks_to(), Some("1005"), "the caller talks to the target of the transfer");
        hans.hang_up();
        let story = house.end().await.story();
        assert!(story.contains(&"1001 and 0791 end: transfer".to_owned()), "{story:?}");
    });
}

/// Q9: an offer without a conversation starts no wrap-up.
#[test]
fn q9_no_wrap_up_without_a_conversation() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"]).with("wrap_up_seconds: 30")]);
        house.when_rung("1001", Behaviour::Busy);
        let hans = house.caller("0791", "99900");
        pass(3_000).await;
        hans.hang_up();
        pass(100).await;
        assert_eq!(house.activity("1001"), "idle");
        house.when_rung("1001", Behaviour::Manual);
        let eva = house.caller("0792", "99900");
        house.phone("1001").wait_ringing().await;
        eva.hang_up();
        assert!(house.end().await.story_of(&["wraps up"]).is_empty());
    });
}

/// Q9: wrap-up does not affect private calls.
#[test]
fn q9_wrap_up_does_not_affect_private_calls() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"]).with("wrap_up_seconds: 30")]);
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        hans.hang_up();
        house.phone("1001").wait_idle().await;
        let colleague = house.switch.call(&CallSpec::phone("1002", "1001"));
        assert_eq!(house.take("1001").await, "1002");
        colleague.hang_up();
        house.end().await;
    });
}

/// Q9: hold and retrieve belong to one conversation.
#[test]
fn q9_hold_is_part_of_the_conversation() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"]).with("wrap_up_seconds: 5")]);
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        pass(1_000).await;
        house.phone("1001").hold();
        pass(30_000).await;
        assert_eq!(house.activity("1001"), "talking");
        house.phone("1001").unhold();
        pass(1_000).await;
        assert_eq!(hans.view().talks_to(), Some("1001"));
        hans.hang_up();
        pass(1_000).await;
        assert_eq!(house.activity("1001"), "wrap-up");
        house.end().await;
    });
}
