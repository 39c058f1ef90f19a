//! Transferred calls on the simulated switch: the behaviour measured on a real one with the same phones, and read in
//! its source.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use simswitch::{Behaviour, CallSpec, Caller, Config, Dialplan, QueueRoute, SimSwitch, Sound, step};
use std::time::Duration;
use support::scene::{config, offer, switch, waiting};
use support::{Incoming, Wire, ms};

/// The events of all channels, in order: name, channel, and the cause of the end.
async fn events(wire: &mut Wire) -> Vec<String> {
    wire.read_for(ms(300)).await;
    let line = |f: &support::Frame| {
        let name = f.get("Event-Name")?;
        let leg = f.get("Channel-Name").unwrap_or_default();
        let leg = leg.trim_start_matches("sofia/").to_owned();
        let leg = leg.trim_start_matches("internal/").split(['@', ':']).next().unwrap_or_default().to_owned();
        let cause = f.get("Hangup-Cause").filter(|_| name == "CHANNEL_HANGUP").unwrap_or_default();
        Some(format!("{} {leg} {cause}", name.trim_start_matches("CHANNEL_")).trim_end().to_owned())
    };
    let all = wire.frames.iter().filter_map(line).collect();
    wire.frames.clear();
    all
}

async fn link(switch: &SimSwitch) -> Wire {
    let mut wire = Wire::inbound(switch);
    wire.ask("auth ClueCon\n\n").await;
    wire.ask("event plain CHANNEL_BRIDGE CHANNEL_UNBRIDGE CHANNEL_HANGUP CHANNEL_HANGUP_COMPLETE\n\n").await;
    wire.frames.clear();
    wire
}

/// A caller from outside who talks to 1001.
async fn talking(switch: &SimSwitch, incoming: &mut Incoming) -> (Caller, Wire) {
    let phone = switch.phone("1001");
    let (caller, mut wire) = waiting(switch, incoming).await;
    wire.ask(
        &offer(&caller, "leg-1", "1001").replace("originate_timeout", "hangup_after_bridge=true,originate_timeout"),
    )
    .await;
    phone.wait_ringing().await;
    phone.answer();
    phone.wait_talking().await;
    (caller, wire)
}

/// Measured: both calls of the phone end, and their other ends are bridged to each other.
#[tokio::test(start_paused = true)]
async fn an_attended_transfer_of_two_conversations_joins_the_others() {
    let (switch, mut incoming) = switch(config());
    let (caller, _wire) = talking(&switch, &mut incoming).await;
    let colleague = switch.phone("1003").on_ring(Behaviour::Answer { after: ms(200) });
    let question = switch.call(&CallSpec::phone("1001", "1003"));
    assert_eq!(question.wait_talking().await, "1003");
    let mut link = link(&switch).await;
    assert!(switch.phone("1001").attended_transfer(&question));
    colleague.wait_for(|view| view.talks_to() == Some("0791234567")).await;
    assert_eq!(caller.hears(), Sound::Party("1003".into()));
    switch.phone("1001").wait_idle().await;
    let seen = events(&mut link).await;
    let about = |name: &str| seen.iter().filter(|line| line.starts_with(name)).cloned().collect::<Vec<_>>();
    assert_eq!(about("HANGUP ").len(), 2, "{seen:?}");
    assert!(about("HANGUP ").iter().all(|line| line == "HANGUP 1001 NORMAL_CLEARING"), "{seen:?}");
    assert_eq!(about("UNBRIDGE").len(), 2, "of the call and of the consultation: {seen:?}");
    assert_eq!(seen.last().unwrap(), "BRIDGE trunk/0791234567", "{seen:?}");
    caller.hang_up();
    colleague.wait_idle().await;
    assert_eq!(switch.violations(), []);
}

/// Measured: the transfer drops the party that waits with the consulting leg, and dials the number again for the
/// transferred party.
#[tokio::test(start_paused = true)]
async fn an_attended_transfer_to_music_dials_the_number_anew() {
    let (switch, mut incoming) = switch(config());
    let (caller, _wire) = talking(&switch, &mut incoming).await;
    let question = switch.call(&CallSpec::phone("1001", "99901"));
    let mut theirs = incoming.next().await;
    theirs.ask("connect\n\n").await;
    question.wait_for(|view| view.answered).await;
    let mut link = link(&switch).await;
    assert!(switch.phone("1001").attended_transfer(&question));
    assert_eq!(question.wait_ended().await, "ATTENDED_TRANSFER");
    let mut anew = incoming.next().await;
    let channel = anew.ask("connect\n\n").await;
    assert_eq!(channel.get("Unique-ID").as_deref(), Some(caller.uuid()));
    assert_eq!(channel.get("Caller-Destination-Number").as_deref(), Some("99901"));
    switch.phone("1001").wait_idle().await;
    let seen = events(&mut link).await;
    let causes: Vec<_> = seen.iter().filter(|line| line.starts_with("HANGUP ")).collect();
    assert_eq!(causes, ["HANGUP 1001 ATTENDED_TRANSFER", "HANGUP 1001 NORMAL_CLEARING"], "{seen:?}");
}

/// switch_ivr_originate.c, the holding of a channel: the transferred party waits for the answer.
#[tokio::test(start_paused = true)]
async fn an_attended_transfer_to_a_ringing_phone_waits_for_its_answer() {
    for answers in [true, false] {
        let (switch, mut incoming) = switch(config());
        let (caller, _wire) = talking(&switch, &mut incoming).await;
        let colleague = switch.phone("1003");
        let question = switch.call(&CallSpec::phone("1001", "1003"));
        colleague.wait_ringing().await;
        assert!(switch.phone("1001").attended_transfer(&question));
        tokio::time::sleep(ms(500)).await;
        assert_eq!(caller.hears(), Sound::Silence);
        assert_eq!(colleague.view().ringing.len(), 1, "rings on");
        if answers {
            colleague.answer();
            colleague.wait_for(|view| view.talks_to() == Some("0791234567")).await;
            assert_eq!(question.wait_ended().await, "ATTENDED_TRANSFER");
            colleague.hang_up();
        } else {
            caller.hang_up();
            assert_eq!(question.wait_ended().await, "NORMAL_CLEARING");
        }
        caller.wait_ended().await;
        colleague.wait_idle().await;
    }
}

fn with_loopback() -> Config {
    let dialplan = Dialplan::new()
        .number("8100", vec![step("bridge", "loopback/99900/default")])
        .queue(QueueRoute::new("127.0.0.1:8084 async full"))
        .internal();
    Config { dialplan, ..config() }
}

/// Measured: the channel that was the caller for the controller ends 2 s after it was bridged; the two go on.
#[tokio::test(start_paused = true)]
async fn a_loopback_takes_itself_out_once_both_ends_are_bridged() {
    let (switch, mut incoming) = switch(with_loopback());
    let phone = switch.phone("1001").on_ring(Behaviour::Answer { after: ms(500) });
    let caller = switch.call(&CallSpec::trunk("0791234567", "8100"));
    let mut wire = incoming.next().await;
    let channel = wire.ask("connect\n\n").await;
    let uuid = channel.get("Unique-ID").unwrap();
    assert_ne!(uuid, caller.uuid(), "the controller has the far end of the loopback");
    assert_eq!(channel.get("Channel-Name").as_deref(), Some("loopback/99900-b"));
    for command in ["linger 5\n\n".to_owned(), "event plain ALL\n\n".into(), format!("filter Unique-ID {uuid}\n\n")] {
        wire.ask(&command).await;
    }
    wire.ask(&support::scene::execute("playback", "local_stream://moh", false)).await;
    caller.wait_hears("moh").await;
    wire.ask(&offer(&caller, "leg-1", "1001").replace(caller.uuid(), &uuid)).await;
    assert_eq!(caller.wait_talking().await, "1001");
    assert_eq!(phone.wait_talking().await, "0791234567");
    let connected = switch.now();
    let gone = wire.event("CHANNEL_HANGUP", 1).await;
    assert!((ms(1900)..ms(2400)).contains(&(switch.now() - connected)), "{:?}", switch.now() - connected);
    assert_eq!(gone.get("Hangup-Cause").as_deref(), Some("NORMAL_CLEARING"));
    assert_eq!(gone.get("variable_loopback_hangup_cause").as_deref(), Some("bridge"));
    tokio::time::sleep(ms(200)).await;
    assert_eq!((caller.view().talks_to(), phone.view().talks_to()), (Some("1001"), Some("0791234567")));
    let names: Vec<_> = switch.legs().into_iter().map(|leg| leg.who).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    phone.hang_up();
    caller.wait_ended().await;
    assert_eq!(switch.violations(), []);
}

/// mod_loopback.c: the variables of `originate` are set on the far end too, whose own bridge then waits for
/// confirmation; the near end is answered and hears nothing.
#[tokio::test(start_paused = true)]
async fn a_loopback_that_is_rung_is_answered_with_its_far_end_and_dies_with_it() {
    let (switch, mut incoming) = switch(with_loopback());
    let phone = switch.phone("1002").on_ring(Behaviour::Answer { after: ms(500) });
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-1", "1002").replace("user/1002@lab", "loopback/1002/default")).await;
    assert_eq!(caller.wait_talking().await, "1002");
    assert_eq!(phone.wait_talking().await, "0791234567");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((caller.view().talks_to(), phone.view().talks_to()), (Some("1002"), Some("0791234567")));
    assert_eq!(switch.legs().len(), 2);
    phone.hang_up();
    caller.wait_ended().await;
    assert_eq!(switch.violations(), []);
}

/// switch_ivr_originate.c: `group_confirm_*` of a leg apply to the next bridge that the leg makes as well.
#[tokio::test(start_paused = true)]
async fn a_leg_that_must_be_confirmed_makes_its_next_bridge_wait() {
    let (switch, mut incoming) = switch(config());
    let (phone, other) = (switch.phone("1001"), switch.phone("1005").on_ring(Behaviour::Answer { after: ms(100) }));
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(
        &offer(&caller, "leg-1", "1001")
            .replace("originate_timeout", "group_confirm_key=exec,group_confirm_timeout=3,originate_timeout"),
    )
    .await;
    phone.wait_ringing().await;
    phone.answer();
    phone.wait_talking().await;
    wire.ask("api uuid_transfer leg-1 1005\n\n").await;
    other.wait_for(|view| view.calls == [Sound::Silence]).await;
    let answered = switch.now();
    assert_eq!(phone.view().calls.len(), 1);
    other.wait_idle().await;
    phone.wait_idle().await;
    let took = switch.now() - answered;
    assert!((ms(3000)..=ms(4200)).contains(&took), "the two parties heard nothing for {took:?}");
}
