//! The behaviour measured on a real switch, checked on the simulated one: ringing, answering, bridging, ending.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use simswitch::{Behaviour, CallSpec, Registration};
use std::time::Duration;
use support::ms;
use support::scene::{config, intercept, offer, switch, waiting};

#[tokio::test(start_paused = true)]
async fn a_conversation_survives_its_controller_only_with_resume_off() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001").on_ring(Behaviour::Answer { after: ms(500) });
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-1", "1001")).await;
    assert_eq!(caller.wait_talking().await, "1001");
    assert_eq!(phone.wait_talking().await, "0791234567");
    drop(wire);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(caller.view().talks_to(), Some("1001"));
    phone.hang_up();
    caller.wait_ended().await;

    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    let resumed = offer(&caller, "leg-2", "1001").replace("socket_resume false", "socket_resume true");
    wire.ask(&resumed).await;
    caller.wait_talking().await;
    drop(wire);
    caller.wait_ended().await;
    phone.wait_idle().await;
    assert_eq!(switch.stats().cut_by_reset, 1);
}

#[tokio::test(start_paused = true)]
async fn one_of_two_phones_gets_the_caller_and_no_phone_shows_a_missed_call() {
    let (switch, mut incoming) = switch(config());
    let phones = [switch.phone("1001"), switch.phone("1002"), switch.phone("1003")];
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    for (i, phone) in phones.iter().enumerate() {
        wire.ask(&intercept(&caller, &format!("leg-{i}"), phone.number())).await;
        phone.wait_ringing().await;
    }
    phones[0].answer();
    wire.read_for(ms(5)).await;
    phones[1].answer();
    assert_eq!(caller.wait_talking().await, "1002");
    wire.ask("api uuid_kill leg-2 LOSE_RACE\n\n").await;
    phones[0].wait_idle().await;
    phones[2].wait_idle().await;
    assert!(phones.iter().all(|p| p.view().missed.is_empty()));
    assert_eq!(switch.violations(), []);
    wire.ask(&intercept(&caller, "late", "1001")).await;
    phones[0].wait_ringing().await;
    phones[0].answer();
    phones[0].wait_idle().await;
    assert_eq!(caller.view().talks_to(), Some("1002"), "intercept_unbridged_only");
}

#[tokio::test(start_paused = true)]
async fn a_phone_called_off_shows_a_missed_call_unless_another_took_it() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001");
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    for (n, cause) in ["LOSE_RACE", "ORIGINATOR_CANCEL", "NORMAL_CLEARING"].iter().enumerate() {
        wire.ask(&offer(&caller, &format!("leg-{n}"), "1001")).await;
        let ring = phone.wait_ringing().await;
        assert_eq!((ring.number.as_str(), ring.caller.as_deref()), ("079", Some(caller.uuid())));
        wire.ask(&format!("api uuid_kill leg-{n} {cause}\n\n")).await;
        phone.wait_idle().await;
    }
    let missed: Vec<_> = phone.view().missed.into_iter().map(|m| m.cause).collect();
    assert_eq!(missed, ["ORIGINATOR_CANCEL", "NORMAL_CLEARING"]);
    wire.ask(&offer(&caller, "leg-9", "1001")).await;
    phone.wait_ringing().await;
    phone.decline();
    phone.wait_idle().await;
    assert_eq!(phone.view().missed.len(), 2, "a phone that declines shows no missed call");
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_does_not_answer_sip_is_given_up() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001").on_ring(Behaviour::Crash);
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask("filter Job-UUID leg-1\n\n").await;
    wire.ask(&offer(&caller, "leg-1", "1001").replace("originate_timeout=20", "originate_timeout=60")).await;
    let job = wire.event("BACKGROUND_JOB", 1).await;
    assert!(job.body.ends_with("-ERR RECOVERY_ON_TIMER_EXPIRE\n"), "{}", job.body);
    assert!(phone.rings().is_empty(), "it never rang");
}

#[tokio::test(start_paused = true)]
async fn uuid_bridge_needs_media_and_living_legs() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001");
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-1", "1001")).await;
    phone.wait_ringing().await;
    let reply = wire.ask(&format!("api uuid_bridge {} leg-1\n\n", caller.uuid())).await;
    assert_eq!(reply.body, "-ERR Invalid uuid\n");
    let reply = wire.ask(&format!("api uuid_bridge {} nobody\n\n", caller.uuid())).await;
    assert_eq!(reply.body, "-ERR Invalid uuid\n");
}

#[tokio::test(start_paused = true)]
async fn a_private_call_rings_bridges_and_ends() {
    let (switch, _incoming) = switch(config());
    let (anna, bruno) = (switch.phone("1001"), switch.phone("1002").on_ring(Behaviour::Answer { after: ms(900) }));
    let call = switch.call(&CallSpec::phone("1001", "1002"));
    assert_eq!(call.wait_talking().await, "1002");
    assert_eq!((anna.view().talks_to(), bruno.view().talks_to()), (Some("1002"), Some("1001")));
    anna.hang_up();
    assert_eq!(call.wait_ended().await, "NORMAL_CLEARING");
    bruno.wait_idle().await;
    switch.phone("1003").set_registration(Registration::Unregistered);
    let call = switch.call(&CallSpec::phone("1001", "1003"));
    assert_eq!(call.wait_ended().await, "USER_NOT_REGISTERED");
}

#[tokio::test(start_paused = true)]
async fn a_bridged_caller_is_transferred_and_reaches_the_next_number() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001").on_ring(Behaviour::Answer { after: ms(100) });
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-1", "1001")).await;
    phone.wait_talking().await;
    assert!(phone.blind_transfer("1005"));
    phone.wait_idle().await;
    caller.wait_hears("tone_stream://%(1000,0,1633)").await;
    wire.read_for(ms(100)).await;
    assert_eq!(wire.events("CHANNEL_UNBRIDGE").len(), 1);
    assert_eq!(caller.view().talked_to.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_conversation_the_dialplan_continues_unless_a_variable_ends_it() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001").on_ring(Behaviour::Converse { after: ms(100), talk: ms(1000) });
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&format!("api uuid_setvar {} hangup_after_bridge false\n\n", caller.uuid())).await;
    wire.ask(&offer(&caller, "leg-1", "1001")).await;
    phone.wait_talking().await;
    phone.wait_idle().await;
    caller.wait_hears("tone_stream").await;
    assert_eq!(caller.ended(), None);
}

#[tokio::test(start_paused = true)]
async fn intercept_on_answer_connects_as_well() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001").on_ring(Behaviour::Converse { after: ms(100), talk: ms(1000) });
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    let uuid = caller.uuid();
    wire.ask(&format!("bgapi originate {{execute_on_answer='intercept {uuid}'}}user/1001@lab &park()\n\n")).await;
    assert_eq!(caller.wait_talking().await, "1001");
    phone.wait_idle().await;
    caller.wait_ended().await;
    assert_eq!(switch.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn a_parked_leg_leaves_when_its_time_is_up() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001").on_ring(Behaviour::Answer { after: ms(100) });
    let (_caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask("bgapi originate {origination_uuid=p,park_timeout=5:NO_ANSWER}user/1001@lab &park()\n\n").await;
    phone.wait_for(|view| !view.calls.is_empty()).await;
    let answered = switch.now();
    phone.wait_idle().await;
    assert_eq!((switch.now() - answered).as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_phone_without_power_is_only_noticed_by_its_silence() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001");
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-1", "1001")).await;
    phone.wait_ringing().await;
    phone.answer();
    phone.wait_talking().await;
    phone.vanish();
    let gone = switch.now();
    assert_eq!(caller.wait_ended().await, "MEDIA_TIMEOUT");
    assert_eq!((switch.now() - gone).as_secs(), 30);
}
