//! What `shared/freeswitch` says a real switch does, rule by rule, asked of the simulated one.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use simswitch::{
    Behaviour, CallSpec, Caller, Config, Dialplan, Length, QueueRoute, Registration, SimSwitch, Sound, Violation,
};
use std::sync::Arc;
use std::time::Duration;
use support::{Incoming, Wire, ms};

fn config() -> Config {
    Config {
        lengths: Some(Arc::new(|name: &str| match name {
            "one.wav" => Some(Length::For(ms(1000))),
            "gone.wav" => Some(Length::Missing),
            _ => None,
        })),
        ..Config::default()
    }
}

fn execute(app: &str, arg: &str, locked: bool) -> String {
    let lock = if locked { "event-lock: true\n" } else { "" };
    format!("sendmsg\ncall-command: execute\nexecute-app-name: {app}\nexecute-app-arg: {arg}\n{lock}\n")
}

/// A caller from a trunk, answered and waiting with music, and the connection that controls it.
async fn waiting(switch: &SimSwitch, incoming: &mut Incoming) -> (Caller, Wire) {
    let caller = switch.call(&CallSpec::trunk("0791234567", "99900").name("Hans Muster"));
    let mut wire = incoming.next().await;
    wire.ask("connect\n\n").await;
    for command in ["linger 2\n\n", "event plain ALL\n\n"] {
        wire.ask(command).await;
    }
    wire.ask(&format!("filter Unique-ID {}\n\n", caller.uuid())).await;
    wire.ask(&execute("set", "hangup_after_bridge=true", false)).await;
    wire.ask(&execute("answer", "", false)).await;
    wire.ask(&execute("playback", "local_stream://moh", false)).await;
    caller.wait_hears("moh").await;
    (caller, wire)
}

fn switch(config: Config) -> (SimSwitch, Incoming) {
    let switch = SimSwitch::new(config);
    let (incoming, connector) = Wire::outbound();
    switch.dial_out_via(connector);
    (switch, incoming)
}

fn offer(caller: &Caller, leg: &str, phone: &str) -> String {
    let uuid = caller.uuid();
    format!(
        "bgapi originate {{origination_uuid={leg},originate_timeout=20,origination_caller_id_number=079,\
         api_on_answer_1='uuid_setvar {uuid} socket_resume false',api_on_answer_2='uuid_bridge {uuid} {leg}'}}\
         user/{phone}@lab &park()\nJob-UUID: {leg}\n\n"
    )
}

fn intercept(caller: &Caller, leg: &str, phone: &str) -> String {
    format!(
        "bgapi originate {{origination_uuid={leg},originate_timeout=20,intercept_unbridged_only=true,\
         hangup_after_bridge=true}}user/{phone}@lab &intercept({})\nJob-UUID: {leg}\n\n",
        caller.uuid()
    )
}

fn sounds(caller: &Caller) -> Vec<(String, Duration)> {
    caller
        .history()
        .into_iter()
        .filter_map(|s| match s.sound {
            Sound::Playing(file) => Some((file, s.position)),
            _ => None,
        })
        .collect()
}

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
async fn music_goes_on_after_a_prompt_where_it_was() {
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
async fn park_is_seen_by_who_subscribed_in_the_same_write() {
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
async fn filters_are_an_or_and_myevents_an_own_leg_only() {
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
async fn a_controller_that_comes_back_finds_the_call_again() {
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
async fn a_dead_controller_gives_the_waiting_caller_back_to_the_dialplan() {
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
async fn exit_lets_the_dialplan_go_on() {
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
async fn one_of_two_phones_gets_the_caller_and_nobody_misses_a_call() {
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
async fn who_is_called_off_shows_a_missed_call_unless_somebody_else_took_it() {
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
    assert_eq!(phone.view().missed.len(), 2, "who declined knows of the call");
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
async fn an_authenticated_phone_stays_itself_whatever_it_claims() {
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
