//! Q105: a phone that does not belong to the call takes the waiting caller.

use std::sync::Arc;
use std::time::Duration;

use simswitch::{Behaviour, CallSpec, Dialplan, Length, step};

use crate::house::{House, play};
use crate::setting::{Queue, configuration, queue};

/// A house where `*8-UUID` picks up the channel with this UUID.
fn open(queues: &[Queue]) -> House {
    let lengths = |name: &str| name.contains("sorry").then_some(Length::For(Duration::from_secs(8)));
    let dialplan = Dialplan::standard("127.0.0.1:8084 async full").route(|request| {
        let channel = request.destination.strip_prefix("*8-")?;
        Some(vec![step("answer", ""), step("intercept", channel)])
    });
    let switch = simswitch::Config { dialplan, lengths: Some(Arc::new(lengths)), ..simswitch::Config::default() };
    House::with(switch, configuration(queues, ""), 1)
}

/// Q105: the record names the user whose phone has the caller.
#[test]
fn q105_a_colleague_takes_a_waiting_caller() {
    play(async {
        let house = open(&[queue("99900", &["1001"])]);
        house.when_rung("1001", Behaviour::Ignore);
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        let picker = house.switch.call(&CallSpec::phone("1002", &format!("*8-{}", hans.uuid())));
        assert_eq!(picker.wait_talking().await, "0791");
        house.phone("1001").wait_idle().await;
        // Longer than the call takes to find out who has the caller.
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(hans.view().talks_to(), Some("1002"), "the queue does not affect the conversation");
        picker.hang_up();
        hans.wait_ended().await;
        let book = house.end().await;
        assert_eq!(
            book.story(),
            [
                "0791 enters 99900",
                "1001 is offered 0791",
                "1001 is called off 0791: call taken",
                "0791 is taken out of 99900 by 1002",
            ]
        );
    });
}

/// Q8, Q13: the message of a timeout is cut off by the pickup, and the call does not go on.
#[test]
fn q105_a_pickup_during_the_message_of_a_timeout_takes_the_caller() {
    play(async {
        let limited = queue("99900", &["1001"]).with("max_wait_minutes: 0.25");
        let house = open(&[limited.with("timeout: { message: \"${sounds_dir}/sorry.wav\" }")]);
        house.when_rung("1001", Behaviour::Ignore);
        let hans = house.caller("0791", "99900");
        hans.wait_hears("sorry").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let picker = house.switch.call(&CallSpec::phone("1002", &format!("*8-{}", hans.uuid())));
        assert_eq!(picker.wait_talking().await, "0791");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(hans.view().talks_to(), Some("1002"), "the queue does not affect the conversation");
        picker.hang_up();
        hans.wait_ended().await;
        house.end().await;
    });
}
