//! The faults a test can inject, and their effect on the switch.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use simswitch::{Behaviour, CallSpec, Caller, Config, SimSwitch, Violation};
use std::time::Duration;
use support::{Incoming, Wire, ms};
use tokio::time::Instant;

async fn waiting(config: Config) -> (SimSwitch, Incoming, Caller, Wire) {
    let switch = SimSwitch::new(config);
    let (mut incoming, connector) = Wire::outbound();
    switch.dial_out_via(connector);
    let caller = switch.call(&CallSpec::trunk("0791234567", "99900"));
    let mut wire = incoming.next().await;
    wire.ask("connect\n\n").await;
    wire.ask("linger 1\n\n").await;
    wire.ask("event plain ALL\n\n").await;
    wire.ask("sendmsg\ncall-command: execute\nexecute-app-name: answer\n\n").await;
    wire.read_for(ms(100)).await;
    (switch, incoming, caller, wire)
}

fn originate(caller: &Caller, leg: &str, phone: &str, app: &str) -> String {
    let app = app.replace("CALLER", caller.uuid());
    let uuid = caller.uuid();
    let on_answer = if app == "&park()" { format!(",api_on_answer='uuid_bridge {uuid} {leg}'") } else { String::new() };
    format!("bgapi originate {{origination_uuid={leg}{on_answer}}}user/{phone}@lab {app}\nJob-UUID: {leg}\n\n")
}

#[tokio::test(start_paused = true)]
async fn replies_and_events_can_be_late() {
    let (switch, _incoming, caller, mut wire) = waiting(Config::default()).await;
    switch.faults(|f| f.reply_delay = Some(ms(300)));
    let asked = Instant::now();
    wire.send("api uuid_exists x\n\napi uuid_exists y\n\n").await;
    let before = wire.frames.len();
    wire.read_for(ms(299)).await;
    assert_eq!(wire.frames.len(), before);
    wire.read_for(ms(310)).await;
    assert_eq!(wire.frames.len(), before + 2, "one after the other, {:?} after the question", asked.elapsed());
    switch.faults(|f| {
        f.reply_delay = None;
        f.event_delay = Some(ms(700));
    });
    caller.dtmf('1');
    wire.read_for(ms(690)).await;
    assert!(wire.events("DTMF").is_empty());
    wire.read_for(ms(40)).await;
    assert_eq!(wire.events("DTMF").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_late_replies_is_still_taken() {
    let switch = SimSwitch::new(Config::default());
    let (mut incoming, connector) = Wire::outbound();
    switch.dial_out_via(connector);
    switch.faults(|f| f.reply_delay = Some(ms(100)));
    let caller = switch.call(&CallSpec::trunk("079", "99900"));
    let mut wire = incoming.next().await;
    wire.ask("connect\n\n").await;
    wire.ask("sendmsg\ncall-command: execute\nexecute-app-name: answer\n\n").await;
    caller.wait_for(|view| view.answered).await;
}

#[tokio::test(start_paused = true)]
async fn one_event_and_one_job_can_be_lost() {
    let (switch, _incoming, caller, mut wire) = waiting(Config::default()).await;
    switch.faults(|f| {
        f.lose_events = vec!["DTMF".into()];
        f.lose_jobs = vec!["status".into()];
    });
    caller.dtmf('1');
    caller.dtmf('2');
    wire.ask("bgapi status\n\n").await;
    wire.ask("bgapi version\n\n").await;
    wire.read_for(ms(50)).await;
    let digits: Vec<_> = wire.events("DTMF").iter().map(|f| f.get("DTMF-Digit").unwrap()).collect();
    assert_eq!(digits, ["2"]);
    let jobs: Vec<_> = wire.events("BACKGROUND_JOB").iter().map(|f| f.get("Job-Command").unwrap()).collect();
    assert_eq!(jobs, ["version"]);
}

#[tokio::test(start_paused = true)]
async fn an_originate_can_be_swallowed() {
    let (switch, _incoming, caller, mut wire) = waiting(Config::default()).await;
    let phone = switch.phone("1001");
    switch.faults(|f| f.swallow_originates = 1);
    let reply = wire.ask(&originate(&caller, "leg-1", "1001", "&park()")).await;
    assert_eq!(reply.get("Reply-Text").unwrap(), "+OK Job-UUID: leg-1");
    wire.read_for(Duration::from_secs(120)).await;
    assert!(wire.events("BACKGROUND_JOB").is_empty() && phone.rings().is_empty());
    wire.ask(&originate(&caller, "leg-2", "1001", "&park()")).await;
    phone.wait_ringing().await;
}

#[tokio::test(start_paused = true)]
async fn a_frozen_switch_holds_back_and_then_delivers_in_order() {
    let (switch, _incoming, caller, mut wire) = waiting(Config::default()).await;
    wire.ask("nixevent HEARTBEAT\n\n").await;
    let before = wire.frames.len();
    switch.freeze();
    wire.send("api uuid_exists x\n\n").await;
    caller.dtmf('1');
    wire.read_for(Duration::from_secs(60)).await;
    assert_eq!(wire.frames.len(), before);
    switch.thaw();
    wire.read_for(ms(30)).await;
    assert_eq!(wire.frames.len(), before + 2);
}

#[tokio::test(start_paused = true)]
async fn a_restart_ends_every_call_and_connection() {
    let (switch, mut incoming, caller, mut wire) = waiting(Config::default()).await;
    let phone = switch.phone("1001");
    wire.ask(&originate(&caller, "leg-1", "1001", "&park()")).await;
    phone.wait_ringing().await;
    let mut link = Wire::inbound(&switch);
    link.ask("auth ClueCon\n\n").await;
    switch.restart();
    assert!(!wire.read_for(ms(10)).await && !link.read_for(ms(10)).await, "both closed, without a word");
    assert_eq!(caller.wait_ended().await, "CRASH");
    assert!(phone.view().is_idle() && switch.legs().is_empty());
    let again = switch.call(&CallSpec::trunk("079", "99900"));
    let mut wire = incoming.next().await;
    assert_eq!(wire.ask("connect\n\n").await.get("Unique-ID").as_deref(), Some(again.uuid()));
    tokio::time::sleep(Duration::from_secs(100)).await;
}

#[tokio::test(start_paused = true)]
async fn cut_connections_are_what_a_killed_controller_leaves() {
    let (switch, mut incoming, caller, mut wire) = waiting(Config::default()).await;
    switch.cut_connections();
    assert!(!wire.read_for(ms(10)).await);
    caller.wait_hears("tone_stream").await;
    incoming.next().await;
}

#[tokio::test(start_paused = true)]
async fn a_phone_rung_twice_or_while_talking_is_noticed() {
    let (switch, _incoming, caller, mut wire) = waiting(Config::default()).await;
    let phone = switch.phone("1001");
    wire.ask(&originate(&caller, "leg-1", "1001", "&park()")).await;
    phone.wait_ringing().await;
    wire.ask(&originate(&caller, "leg-2", "1001", "&park()")).await;
    phone.wait_for(|view| view.ringing.len() == 2).await;
    assert!(matches!(&switch.violations()[..], [Violation::RungTwice { phone, .. }] if phone == "1001"));
    wire.ask("api uuid_kill leg-2\n\n").await;
    phone.answer();
    phone.wait_talking().await;
    wire.read_for(ms(1000)).await;
    wire.ask(&originate(&caller, "leg-3", "1001", "&park()")).await;
    assert!(matches!(switch.violations()[1..], [Violation::RungWhileTalking { .. }]), "{:?}", switch.violations());
}

#[tokio::test(start_paused = true)]
async fn a_leg_that_rings_without_a_caller_and_answers_to_silence_is_noticed() {
    let (switch, _incoming, caller, mut wire) = waiting(Config::default()).await;
    let phone = switch.phone("1001");
    wire.ask(&originate(&caller, "leg-1", "1001", "&park()")).await;
    phone.wait_ringing().await;
    caller.hang_up();
    wire.read_for(ms(400)).await;
    assert_eq!(switch.violations(), []);
    wire.read_for(ms(200)).await;
    assert!(matches!(switch.violations()[..], [Violation::StrayRing { .. }]), "{:?}", switch.violations());
    phone.answer();
    tokio::time::sleep(ms(1100)).await;
    assert!(matches!(switch.violations()[1..], [Violation::Silence { .. }]), "{:?}", switch.violations());
}

#[tokio::test(start_paused = true)]
async fn a_caller_taken_out_of_a_conversation_is_noticed() {
    let (switch, _incoming, caller, mut wire) = waiting(Config::default()).await;
    let (first, second) = (switch.phone("1001"), switch.phone("1002").on_ring(Behaviour::Answer { after: ms(50) }));
    wire.ask(&originate(&caller, "leg-1", "1001", "&intercept(CALLER)")).await;
    first.wait_ringing().await;
    first.answer();
    first.wait_talking().await;
    wire.ask(&originate(&caller, "leg-2", "1002", "&intercept(CALLER)")).await;
    second.wait_talking().await;
    first.wait_idle().await;
    assert!(switch.violations().iter().any(|v| matches!(v, Violation::TakenAway { .. })), "{:?}", switch.violations());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_overflows_its_queue_only() {
    let config = Config { event_queue: 500, ..Config::default() };
    let (switch, _incoming, caller, wire) = waiting(config).await;
    for n in 0..5000 {
        caller.dtmf('1');
        if n % 100 == 0 {
            tokio::time::sleep(ms(20)).await;
        }
    }
    assert!(matches!(switch.violations()[..], [Violation::Overflow { .. }]), "{:?}", switch.violations());
    drop(wire);
    caller.wait_hears("tone_stream").await;
}

#[tokio::test]
async fn the_switch_also_works_over_tcp() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let switch = SimSwitch::new(Config::default());
    switch.dial_out_to(listener.local_addr().unwrap());
    let caller = switch.call(&CallSpec::trunk("0791234567", "99900"));
    let (stream, _) = listener.accept().await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let mut reader = tokio::io::BufReader::new(reader);
    tokio::io::AsyncWriteExt::write_all(
        &mut writer,
        b"connect\n\nsendmsg\ncall-command: execute\nexecute-app-name: answer\n\n",
    )
    .await
    .unwrap();
    caller.wait_for(|view| view.answered).await;
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut line).await.unwrap();
    assert_eq!(line, "Event-Name: CHANNEL_DATA\n");
}
