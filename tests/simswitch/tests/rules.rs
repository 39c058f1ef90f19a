//! The behaviour measured on a real switch, rule by rule, checked on the simulated one: commands, events, sounds,
//! dialplan.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use simswitch::{Behaviour, CallSpec, Config, Dialplan, QueueRoute, SimSwitch, Sound, Violation};
use std::time::Duration;
use support::ms;
use support::scene::{config, execute, offer, sounds, switch, waiting};

#[tokio::test(start_paused = true)]
async fn unlocked_prompts_nest_and_locked_ones_queue() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.send(&format!("{}{}", execute("playback", "one.wav", false), execute("playback", "two.wav", false))).await;
    wire.read_for(ms(5000)).await;
    let heard: Vec<_> = sounds(&caller).into_iter().skip(1).map(|(file, _)| file).collect();
    assert_eq!(
        heard,
        ["one.wav", "two.wav", "one.wav", "local_stream://moh"],
        "the second starts at once over the first"
    );

    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.send(&format!("{}{}", execute("playback", "one.wav", true), execute("playback", "two.wav", true))).await;
    wire.read_for(ms(5000)).await;
    let heard: Vec<_> = sounds(&caller).into_iter().skip(1).map(|(file, _)| file).collect();
    assert_eq!(heard, ["one.wav", "two.wav", "local_stream://moh"], "each plays to its end");
}

#[tokio::test(start_paused = true)]
async fn music_resumes_after_a_prompt_where_it_was() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.read_for(ms(1000)).await;
    wire.ask(&execute("playback", "one.wav", true)).await;
    wire.read_for(ms(2000)).await;
    let history = caller.history();
    let [.., before, prompt, after] = history.as_slice() else { panic!("{history:?}") };
    assert_eq!(prompt.sound, Sound::Playing("one.wav".into()));
    assert_eq!(after.sound, before.sound);
    assert_eq!(after.position, prompt.at - before.at, "the same position in the stream");
    assert_eq!(after.at, prompt.at + ms(1000), "without a gap");
}

#[tokio::test(start_paused = true)]
async fn a_star_kills_the_music_unless_terminators_are_off() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    caller.dtmf('1');
    assert_eq!(caller.hears(), Sound::Playing("local_stream://moh".into()));
    caller.dtmf('*');
    assert_eq!(caller.hears(), Sound::Silence);
    wire.ask(&execute("set", "playback_terminators=none", false)).await;
    wire.ask(&execute("playback", "local_stream://moh", false)).await;
    caller.wait_hears("moh").await;
    caller.dtmf('*');
    assert_eq!(caller.hears(), Sound::Playing("local_stream://moh".into()));
}

#[tokio::test(start_paused = true)]
async fn a_missing_file_and_an_unknown_application() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&execute("playback", "gone.wav", true)).await;
    wire.read_for(ms(100)).await;
    let last = wire.events("CHANNEL_EXECUTE_COMPLETE").last().unwrap().get("Application-Response");
    assert_eq!(last.as_deref(), Some("FILE NOT FOUND"));
    assert_eq!(caller.hears(), Sound::Playing("local_stream://moh".into()));
    wire.ask(&execute("no_such_application", "", false)).await;
    caller.wait_ended().await;
}

#[tokio::test(start_paused = true)]
async fn the_application_argument_may_come_in_the_body_and_its_uuid_comes_back() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(
        "sendmsg\ncall-command: execute\nexecute-app-name: playback\nEvent-UUID: mine-1\ncontent-type: text/plain\n\
         content-length: 7\nevent-lock: true\n\none.wav",
    )
    .await;
    caller.wait_hears("one.wav").await;
    caller.wait_hears("moh").await;
    wire.read_for(ms(30)).await;
    let done = wire.events("CHANNEL_EXECUTE_COMPLETE").last().unwrap().get("Application-UUID");
    assert_eq!(done.as_deref(), Some("mine-1"));
}

#[tokio::test(start_paused = true)]
async fn no_event_is_sent_while_a_command_is_half_received() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.read_for(ms(50)).await;
    let before = wire.frames.len();
    wire.send("api stat").await;
    caller.dtmf('5');
    wire.read_for(ms(500)).await;
    assert_eq!(wire.frames.len(), before);
    wire.send("us\n\n").await;
    wire.read_for(ms(1)).await;
    assert_eq!(wire.frames[before].get("Content-Type").as_deref(), Some("api/response"));
    assert_eq!(wire.frames[before + 1].get("DTMF-Digit").as_deref(), Some("5"));
}

#[tokio::test(start_paused = true)]
async fn an_event_is_at_most_20_ms_old_and_a_command_fetches_it() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask("api uuid_exists x\n\n").await;
    wire.read_for(ms(3)).await;
    caller.dtmf('7');
    assert!(wire.events("DTMF").is_empty());
    wire.read_for(ms(10)).await;
    assert!(wire.events("DTMF").is_empty(), "nothing was sent to the connection: it sleeps");
    wire.read_for(ms(10)).await;
    assert_eq!(wire.events("DTMF").len(), 1);
    caller.dtmf('8');
    wire.ask("api uuid_exists x\n\n").await;
    wire.read_for(ms(1)).await;
    assert_eq!(wire.events("DTMF").len(), 2, "a command wakes the connection");
}

#[tokio::test(start_paused = true)]
async fn api_originate_holds_the_whole_connection() {
    let (switch, mut incoming) = switch(config());
    let phone = switch.phone("1001");
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.read_for(ms(50)).await;
    let before = wire.frames.len();
    wire.send("api originate {originate_timeout=5}user/1001@lab &park()\n\napi uuid_exists x\n\n").await;
    caller.dtmf('1');
    phone.wait_ringing().await;
    wire.read_for(ms(1000)).await;
    assert_eq!(wire.frames.len(), before, "no events and no replies until it ends");
    wire.read_for(ms(5000)).await;
    assert_eq!(wire.frames[before].body, "-ERR NO_ANSWER\n");
    assert_eq!(wire.frames[before + 1].body, "false");
}

#[tokio::test(start_paused = true)]
async fn park_is_seen_by_a_connection_that_subscribes_in_the_same_write() {
    let (switch, mut incoming) = switch(config());
    let _caller = switch.call(&CallSpec::trunk("079", "99900"));
    let mut wire = incoming.next().await;
    wire.send("connect\n\nlinger\n\nmyevents\n\n").await;
    wire.event("CHANNEL_PARK", 1).await;
    let _second = switch.call(&CallSpec::trunk("079", "99900"));
    let mut late = incoming.next().await;
    late.ask("connect\n\n").await;
    late.ask("myevents\n\n").await;
    late.read_for(ms(500)).await;
    assert!(late.events("CHANNEL_PARK").is_empty());
}

#[tokio::test(start_paused = true)]
async fn filters_are_an_or_and_myevents_covers_the_own_leg_only() {
    let (switch, mut incoming) = switch(config());
    let _phone = switch.phone("1001");
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-1", "1001")).await;
    wire.read_for(ms(100)).await;
    assert!(wire.events("CHANNEL_CREATE").is_empty(), "no line names the leg");
    wire.ask("filter Unique-ID leg-2\n\n").await;
    wire.ask("filter Job-UUID leg-3\n\n").await;
    wire.ask("api uuid_kill leg-1\n\n").await;
    wire.ask(&offer(&caller, "leg-2", "1001")).await;
    wire.event("CHANNEL_CREATE", 1).await;
    wire.ask(&offer(&caller, "leg-3", "9999")).await;
    assert_eq!(wire.event("BACKGROUND_JOB", 1).await.body.lines().last(), Some("-ERR SUBSCRIBER_ABSENT"));
    let reply = wire.ask("filter delete Unique-ID leg-2\n\n").await;
    assert_eq!(reply.get("Reply-Text").unwrap(), "+OK filter deleted. [Unique-ID][leg-2]");

    let other = switch.call(&CallSpec::trunk("078", "99900"));
    let mut wire = incoming.next().await;
    wire.ask("connect\n\n").await;
    wire.ask("myevents\n\n").await;
    assert_eq!(wire.ask("myevents\n\n").await.get("Reply-Text").unwrap(), "-ERR aready enabled.");
    wire.ask("event plain BACKGROUND_JOB CHANNEL_HOLD\n\n").await;
    wire.ask("bgapi status\n\n").await;
    caller.dtmf('3');
    other.dtmf('4');
    wire.read_for(ms(100)).await;
    assert!(wire.events("BACKGROUND_JOB").is_empty());
    let digits: Vec<_> = wire.events("DTMF").iter().map(|f| f.get("DTMF-Digit").unwrap()).collect();
    assert_eq!(digits, ["4"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_connection_loops_in_the_dialplan_and_then_falls_back() {
    let queue = QueueRoute { tries: 3, ..QueueRoute::new("127.0.0.1:8084 async full") };
    let switch = SimSwitch::new(Config { dialplan: Dialplan::new().queue(queue).internal(), ..config() });
    let caller = switch.call(&CallSpec::trunk("0791234567", "99900"));
    assert_eq!(caller.wait_ended().await, "NORMAL_TEMPORARY_FAILURE");
    let tone = "tone_stream://%(1000,0,425)";
    let heard: Vec<_> = sounds(&caller).into_iter().map(|(file, _)| file).collect();
    assert_eq!(heard, [tone, tone, tone, "sorry.wav"]);
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_returns_gets_the_call_again() {
    let (switch, mut incoming) = switch(config());
    switch.faults(|f| f.controller_away = true);
    let caller = switch.call(&CallSpec::trunk("0791234567", "99900"));
    caller.wait_hears("tone_stream").await;
    switch.faults(|f| f.controller_away = false);
    let mut wire = incoming.next().await;
    let channel = wire.ask("connect\n\n").await;
    assert_eq!(channel.get("variable_queue_tries").as_deref(), Some("2"));
    assert_eq!(channel.get("Unique-ID").as_deref(), Some(caller.uuid()));
}

#[tokio::test(start_paused = true)]
async fn after_a_controllers_death_the_waiting_caller_returns_to_the_dialplan() {
    let (switch, mut incoming) = switch(config());
    let (caller, wire) = waiting(&switch, &mut incoming).await;
    assert_eq!(caller.variable("socket_resume").as_deref(), Some("true"));
    drop(wire);
    caller.wait_hears("tone_stream").await;
    let mut again = incoming.next().await;
    assert_eq!(again.ask("connect\n\n").await.get("Unique-ID").as_deref(), Some(caller.uuid()));
}

#[tokio::test(start_paused = true)]
async fn without_resume_the_music_plays_for_ever() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&format!("api uuid_setvar {} socket_resume false\n\n", caller.uuid())).await;
    drop(wire);
    tokio::time::sleep(Duration::from_secs(500)).await;
    assert_eq!(caller.hears(), Sound::Playing("local_stream://moh".into()));
    assert_eq!(caller.ended(), None);
}

#[tokio::test(start_paused = true)]
async fn exit_lets_the_dialplan_continue() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.send("exit\n\n").await;
    wire.read_to_end().await;
    assert_eq!(wire.frames.last().unwrap().get("Content-Disposition").as_deref(), Some("disconnect"));
    caller.wait_hears("tone_stream").await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_before_the_park_strands_the_call() {
    for early in ["", "connect\n\n", "connect\n\nexit\n\n"] {
        let (switch, mut incoming) = switch(config());
        let caller = switch.call(&CallSpec::trunk("079", "99900"));
        let mut wire = incoming.next().await;
        wire.send(early).await;
        drop(wire);
        caller.wait_for(|view| view.stranded).await;
        tokio::time::sleep(Duration::from_secs(1000)).await;
        assert_eq!(caller.ended(), None);
        assert!(matches!(switch.violations()[..], [Violation::Stranded { .. }]), "{:?}", switch.violations());
    }
    let (switch, mut incoming) = switch(config());
    let caller = switch.call(&CallSpec::trunk("079", "99900"));
    let mut wire = incoming.next().await;
    wire.send("connect\n\nsendmsg\ncall-command: hangup\nhangup-cause: USER_BUSY\n\n").await;
    assert_eq!(caller.wait_ended().await, "USER_BUSY", "a queued hang-up is carried out");
    drop(wire);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_connects_is_dropped_after_25_s() {
    let (switch, mut incoming) = switch(config());
    let _caller = switch.call(&CallSpec::trunk("079", "99900"));
    let mut wire = incoming.next().await;
    assert!(wire.read_for(ms(24_900)).await);
    assert!(!wire.read_for(ms(200)).await);
}

#[tokio::test(start_paused = true)]
async fn the_257th_queued_command_closes_the_connection() {
    let (switch, mut incoming) = switch(config());
    let (_caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&execute("playback", "one.wav", true)).await;
    wire.read_for(ms(40)).await;
    for _ in 0..256 {
        wire.send(&execute("set", "a=b", false)).await;
    }
    assert!(wire.read_for(ms(1)).await);
    wire.send(&execute("set", "a=b", false)).await;
    assert!(!wire.read_for(ms(1)).await);
}

#[tokio::test(start_paused = true)]
async fn text_of_a_caller_in_an_argument_is_executed_and_recorded() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&execute("set", "greeting=hello ${uuid}", false)).await;
    wire.read_for(ms(30)).await;
    assert_eq!(caller.variable("greeting").unwrap(), format!("hello {}", caller.uuid()));
    assert_eq!(switch.executed(), []);
    wire.ask(&execute("set", "name=${system(touch /tmp/x)}", false)).await;
    wire.read_for(ms(30)).await;
    wire.ask("bgapi originate {origination_caller_id_name='${lua(x)}'}user/1001@lab &park()\n\n").await;
    wire.ask("api reload mod_event_socket\n\n").await;
    let executed: Vec<_> = switch.executed().into_iter().map(|r| r.executed).collect();
    assert_eq!(executed, ["system touch /tmp/x", "lua x", "reload mod_event_socket"]);
}

#[tokio::test(start_paused = true)]
async fn an_authenticated_phone_stays_itself_whatever_its_from_header() {
    let (switch, mut incoming) = switch(config());
    let _ = switch.phone("1001");
    let _call = switch.call(&CallSpec::phone("1001", "*4199900").claims("1002"));
    let mut wire = incoming.next().await;
    let channel = wire.ask("connect\n\n").await;
    assert_eq!(channel.get("variable_sip_auth_username").as_deref(), Some("1001"));
    assert_eq!(channel.get("Caller-Username").as_deref(), Some("1002"));
    assert_eq!(channel.get("variable_sip_from_user").as_deref(), Some("1002"));
    let _trunk = switch.call(&CallSpec::trunk("079", "*4199900"));
    let mut wire = incoming.next().await;
    assert_eq!(wire.ask("connect\n\n").await.get("variable_sip_auth_username"), None);
}

#[tokio::test(start_paused = true)]
async fn without_full_a_connection_commands_only_its_own_call() {
    let queue = QueueRoute::new("127.0.0.1:8084 async");
    let (switch, mut incoming) = switch(Config { dialplan: Dialplan::new().queue(queue), ..config() });
    let caller = switch.call(&CallSpec::trunk("079", "99900"));
    let mut wire = incoming.next().await;
    assert_eq!(wire.ask("connect\n\n").await.get("Control").as_deref(), Some("single-channel"));
    for refused in ["api status", "bgapi status", "event plain ALL", "linger 5", "sendevent PRESENCE_IN"] {
        let reply = wire.ask(&format!("{refused}\n\n")).await;
        assert_eq!(reply.get("Reply-Text").unwrap(), "-ERR command not found", "{refused}");
    }
    assert_eq!(wire.ask("myevents\n\n").await.get("Reply-Text").unwrap(), "+OK Events Enabled");
    wire.ask("sendmsg\ncall-command: hangup\n\n").await;
    caller.wait_ended().await;
}

#[tokio::test(start_paused = true)]
async fn a_stray_carriage_return_is_answered_ok_and_does_nothing() {
    let (switch, mut incoming) = switch(config());
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.read_for(ms(50)).await;
    let reply = wire.ask("sendmsg\ncall-command: hangup\r\nhangup-cause: USER_BUSY\n\n").await;
    assert_eq!(reply.get("Reply-Text").unwrap(), "+OK");
    wire.read_for(ms(1000)).await;
    assert_eq!(caller.ended(), None);
}

/// All output to a controller in a small scenario, with the times.
async fn whole_run(seed: u64) -> Vec<(u64, Vec<(String, String)>, String)> {
    let (switch, mut incoming) = switch(Config { seed, ..config() });
    let phone = switch.phone("1001").on_ring(Behaviour::Converse { after: ms(700), talk: ms(900) });
    let (caller, mut wire) = waiting(&switch, &mut incoming).await;
    wire.ask(&offer(&caller, "leg-1", "1001")).await;
    phone.wait_talking().await;
    wire.read_to_end().await;
    wire.frames.into_iter().map(|f| (f.at, f.headers, f.body)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run_to_the_byte() {
    let first = whole_run(7).await;
    assert_eq!(first, whole_run(7).await);
    assert_ne!(first, whole_run(8).await);
}
