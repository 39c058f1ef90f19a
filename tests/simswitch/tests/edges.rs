//! FreeSWITCH's behaviour at the edges, read in its source, checked on the simulated one: refusals, redirections,
//! limits, identity.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../../support/answers.rs"]
mod answers;
mod support;

use answers::ANSWERS;
use simswitch::{Behaviour, CallSpec, Config, Dialplan, SimSwitch, step};
use std::time::Duration;
use support::scene::{config, execute, offer, switch, waiting};
use support::{Incoming, Wire, ms};

/// Rings 1001 for a caller; returns the result of `originate`, and how long it took.
async fn rung(switch: &SimSwitch, incoming: &mut Incoming, more: &str) -> (String, Duration) {
    let (caller, mut wire) = waiting(switch, incoming).await;
    wire.ask("filter Job-UUID leg-1\n\n").await;
    let began = switch.now();
    wire.ask(&offer(&caller, "leg-1", "1001").replace("originate_timeout=20", &format!("originate_timeout=60{more}")))
        .await;
    let job = wire.event("BACKGROUND_JOB", 1).await;
    let took = switch.now() - began;
    caller.hang_up();
    caller.wait_ended().await;
    (job.body.lines().last().unwrap_or_default().trim_start_matches("-ERR ").to_owned(), took)
}

/// sofia_glue.c, `sofia_glue_sip_cause_to_freeswitch`.
#[tokio::test(start_paused = true)]
async fn a_final_answer_ends_a_leg_with_the_cause_of_its_status() {
    for (status, cause) in ANSWERS {
        let (switch, mut incoming) = switch(config());
        let phone = switch.phone("1001").on_ring(Behaviour::Refuse { after: Duration::ZERO, status });
        let (told, took) = rung(&switch, &mut incoming, "").await;
        assert_eq!(told, cause, "{status}");
        assert!(took < ms(100), "{status}: {took:?}");
        assert!(phone.rings().is_empty(), "{status}: it never rang");
        let _phone = phone.on_ring(Behaviour::Refuse { after: ms(1500), status });
        let (told, took) = rung(&switch, &mut incoming, "").await;
        assert_eq!((told.as_str(), took.as_secs()), (cause, 1), "{status}, after it rang");
    }
}

/// sofia.c: `outbound_redirect_fatal` keeps FreeSWITCH from following.
#[tokio::test(start_paused = true)]
async fn a_302_is_followed_on_the_same_leg_unless_that_is_fatal() {
    let (switch, mut incoming) = switch(config());
    let phones = [switch.phone("1001").on_ring(Behaviour::Forward { to: "1002" }), switch.phone("1002")];
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-1", "1001")).await;
    let ring = phones[1].wait_ringing().await;
    assert_eq!((ring.leg.as_str(), phones[0].rings().len()), ("leg-1", 0));
    phones[1].answer();
    assert_eq!(caller.wait_talking().await, "1002");
    caller.hang_up();
    caller.wait_ended().await;

    // Even to the queue itself: a waiting caller hears the music of a second call, as if it were a conversation.
    let phone = switch.phone("1001").on_ring(Behaviour::Forward { to: "99901" });
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-2", "1001")).await;
    let mut looped = incoming.next().await;
    let channel = looped.ask("connect\n\n").await;
    assert_eq!(channel.get("Caller-Destination-Number").as_deref(), Some("99901"));
    assert_eq!(channel.get("Caller-Caller-ID-Number").as_deref(), Some("079"), "the number the phone was shown");
    looped.ask(&execute("playback", "two.wav", false)).await;
    caller.wait_hears("two.wav").await;
    caller.hang_up();
    looped.read_to_end().await;
    phone.wait_idle().await;
    assert_eq!(switch.legs(), []);

    let _phone = switch.phone("1001").on_ring(Behaviour::Forward { to: "1002" });
    let (told, _) = rung(&switch, &mut incoming, ",outbound_redirect_fatal=true").await;
    assert_eq!(told, "REQUESTED_CHAN_UNAVAIL");
    assert_eq!(phones[1].rings().len(), 1, "nobody else rings");
}

/// mod_event_socket.c, `socket_function`: commands queued behind a locked prompt run when the connection ends.
#[tokio::test(start_paused = true)]
async fn queued_commands_outlive_their_connection() {
    for transfers in [false, true] {
        let (switch, mut incoming) = switch(config());
        let (caller, mut wire) = waiting(&switch, &mut incoming).await;
        wire.ask(&execute("playback", "one.wav", true)).await;
        caller.wait_hears("one.wav").await;
        if transfers {
            wire.ask(&execute("transfer", "9000 XML default", false)).await;
        } else {
            wire.ask("sendmsg\ncall-command: hangup\nhangup-cause: USER_BUSY\n\n").await;
        }
        let began = switch.now();
        drop(wire);
        if transfers {
            caller.wait_hears("1633").await;
        } else {
            assert_eq!(caller.wait_ended().await, "USER_BUSY");
        }
        assert!(switch.now() - began < ms(100));
    }
}

/// Still in the registration table, but gone: no 18x and no answer ever comes.
#[tokio::test(start_paused = true)]
async fn a_dead_phone_gives_no_sign_until_a_limit_ends_it() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001").on_ring(Behaviour::Crash);
    let (told, took) = rung(&switch, &mut incoming, "").await;
    assert_eq!((told.as_str(), took.as_secs()), ("RECOVERY_ON_TIMER_EXPIRE", 32), "SIP's own timer");
    let (told, took) = rung(&switch, &mut incoming, ",leg_progress_timeout=3").await;
    assert_eq!(told, "PROGRESS_TIMEOUT");
    assert!((ms(3000)..=ms(4000)).contains(&took), "{took:?}");
    let phone = phone.on_ring(Behaviour::Ignore);
    phone.set_leg_timeout(5);
    let (told, took) = rung(&switch, &mut incoming, ",leg_progress_timeout=3").await;
    assert_eq!(told, "ALLOTTED_TIMEOUT", "the phone rings, and the directory sets its own limit");
    assert!((ms(5000)..=ms(6000)).contains(&took), "{took:?}");
}

/// sofia.c: `presence_id` is that of the From header, authenticated or not, where the profile manages presence.
#[tokio::test(start_paused = true)]
async fn presence_is_what_the_from_header_claims() {
    let (switch, _incoming) = switch(config());
    let _ = switch.phone("1009");
    let mut wire = Wire::inbound(&switch);
    wire.ask("auth ClueCon\n\n").await;
    for (spec, presence) in [
        (CallSpec::phone("1009", "9000").claims("1001"), Some("1001@lab")),
        (CallSpec::guest("1002", "9000"), Some("1002@lab")),
        (CallSpec::trunk("0791234567", "9000"), None),
    ] {
        let call = switch.call(&spec);
        wire.read_for(ms(300)).await;
        let shown = wire.ask("api show channels as json\n\n").await.body;
        let wanted = format!("\"presence_id\":\"{}\"", presence.unwrap_or_default());
        assert!(shown.contains(&wanted), "{shown}");
        let dump = wire.ask(&format!("api uuid_dump {}\n\n", call.uuid())).await.body;
        assert_eq!(dump.contains("Channel-Presence-ID"), presence.is_some(), "{dump}");
        let authenticated = dump.contains("variable_sip_auth_username: 1009");
        assert_eq!(authenticated, presence == Some("1001@lab"), "only the phone is authenticated: {dump}");
        call.hang_up();
        call.wait_ended().await;
        wire.read_for(ms(300)).await;
        wire.frames.clear();
    }
}

/// mod_commands.c, `show_function`.
#[tokio::test(start_paused = true)]
async fn without_its_database_the_switch_shows_nothing() {
    let (switch, _incoming) = switch(config());
    switch.faults(|f| f.no_sql = true);
    let mut wire = Wire::inbound(&switch);
    wire.ask("auth ClueCon\n\n").await;
    for what in ["channels", "channels as json", "calls count", "registrations as json"] {
        wire.frames.clear();
        let told = wire.ask(&format!("api show {what}\n\n")).await.body;
        assert_eq!(told, "-ERR SQL disabled, no data available!\n", "{what}");
    }
    wire.frames.clear();
    assert!(wire.ask("api status\n\n").await.body.contains("is ready"), "other commands still work");
}

/// switch_ivr.c, `switch_ivr_session_transfer`.
#[tokio::test(start_paused = true)]
async fn transfers_are_counted_down_and_the_last_one_ends_the_call() {
    // A trunk's call has been transferred once already: its `max_forwards` start at 69.
    for (first, allowed) in [("max_session_transfers=5", 4), ("a=b", 68)] {
        let dialplan = Dialplan::new()
            .number("1", vec![step("set", first), step("transfer", "2 XML default")])
            .number("2", vec![step("sleep", "100"), step("transfer", "2 XML default")]);
        let switch = SimSwitch::new(Config { dialplan, ..Config::default() });
        let mut wire = Wire::inbound(&switch);
        wire.ask("auth ClueCon\n\n").await;
        wire.ask("event plain CHANNEL_EXECUTE\n\n").await;
        let call = switch.call(&CallSpec::trunk("079", "1"));
        assert_eq!(call.wait_ended().await, "EXCHANGE_ROUTING_ERROR");
        wire.read_for(ms(2000)).await;
        let told =
            wire.events("CHANNEL_EXECUTE").iter().filter(|e| e.get("Application").unwrap() == "transfer").count();
        assert_eq!(told, allowed + 1, "{first}: the last is not carried out");
    }
}

/// mod_event_socket runs commands after a locked one, whatever they are; `uuid_break` ends the current prompt first.
#[tokio::test(start_paused = true)]
async fn a_locked_prompt_delays_a_hangup_and_a_transfer() {
    for command in ["call-command: hangup", "call-command: execute\nexecute-app-name: transfer\nexecute-app-arg: 9000"]
    {
        let (switch, mut incoming) = switch(config());
        let (caller, mut wire) = waiting(&switch, &mut incoming).await;
        wire.ask(&execute("playback", "one.wav", true)).await;
        caller.wait_hears("one.wav").await;
        let began = switch.now();
        wire.ask(&format!("sendmsg\n{command}\n\n")).await;
        caller.wait_for(|view| view.sounds.iter().all(|sound| sound != "one.wav")).await;
        assert_eq!((switch.now() - began).as_millis() / 100, 10, "{command}: the prompt plays to its end");
        caller.hang_up();

        let (caller, mut wire) = waiting(&switch, &mut incoming).await;
        wire.ask(&execute("playback", "one.wav", true)).await;
        caller.wait_hears("one.wav").await;
        let began = switch.now();
        wire.ask(&format!("sendmsg\n{command}\n\n")).await;
        wire.ask(&format!("api uuid_break {}\n\n", caller.uuid())).await;
        caller.wait_for(|view| view.sounds.iter().all(|sound| sound != "one.wav")).await;
        assert!(switch.now() - began < ms(100), "{command}");
        caller.hang_up();
    }
}
