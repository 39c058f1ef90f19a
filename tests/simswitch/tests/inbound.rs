//! The inbound listener against the capture `inbound-link`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;

use simswitch::{Behaviour, CallSpec, Config, Registration, SimSwitch};
use std::collections::BTreeSet;
use std::time::Duration;
use support::{Capture, Frame, Wire, ms};

/// Names of the fields of every row of a JSON answer, as text: no JSON reader is needed to compare two encoders.
fn fields(json: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = json;
    while let Some(at) = rest.find("\":") {
        let start = rest[..at].rfind('"').map_or(0, |i| i + 1);
        names.push(rest[start..at].to_owned());
        rest = &rest[at + 2..];
    }
    names
}

fn kinds(frames: &[Frame]) -> Vec<String> {
    let of = |f: &Frame| {
        let name = f.get("Event-Name").unwrap_or_default();
        let cause = f.get("Hangup-Cause").unwrap_or_default();
        let state = f.get("Channel-State").unwrap_or_default();
        format!("{name} {} {cause} {state}", f.get("Event-Subclass").unwrap_or_default())
    };
    frames.iter().filter(|f| f.get("Content-Type").as_deref() == Some("text/event-plain")).map(of).collect()
}

#[tokio::test(start_paused = true)]
async fn the_link_receives_the_same_as_in_the_capture() {
    let capture = Capture::load("inbound-link");
    let switch = SimSwitch::new(Config::default());
    let (phone1, phone2) = (switch.phone("1001"), switch.phone("1002").on_ring(Behaviour::Answer { after: ms(300) }));
    let _other = switch.phone("1003");
    for phone in [&phone1, &phone2] {
        phone.set_registration(Registration::Unregistered);
    }
    let mut wire = Wire::inbound(&switch);
    wire.ask("auth ClueCon\n\n").await;
    wire.ask(
        "event plain HEARTBEAT CHANNEL_CREATE CHANNEL_ANSWER CHANNEL_BRIDGE CHANNEL_UNBRIDGE CHANNEL_HANGUP_COMPLETE \
         PRESENCE_PROBE CUSTOM sofia::register sofia::unregister sofia::expire\n\n",
    )
    .await;
    wire.ask(
        "sendevent PRESENCE_IN\nproto: sip\nlogin: *4199900*1001@lab\nfrom: *4199900*1001@lab\nevent_type: presence\n\
         alt_event_type: dialog\nevent_count: 1\nstatus: Active\nrpid: unknown\n\
         unique-id: 6f0f2f0a-0000-4000-8000-000000000001\nchannel-state: CS_ROUTING\nanswer-state: confirmed\n\n",
    )
    .await;
    assert!(switch.is_lit("*4199900*1001"));
    for phone in [&phone1, &phone2] {
        phone.set_registration(Registration::Registered);
    }
    phone1.subscribe_lamp("*4199900*1001");
    let caller = switch.call(&CallSpec::phone("1001", "1002"));
    wire.read_for(ms(1150)).await;
    assert_eq!(phone2.view().talks_to(), Some("1001"));
    let uuid = caller.uuid().to_owned();
    for command in [
        "show registrations as json".to_owned(),
        "show calls as json".into(),
        "show channels as json".into(),
        "show detailed_bridged_calls as json".into(),
        format!("uuid_dump {uuid} json"),
        format!("uuid_exists {uuid}"),
        format!("uuid_getvar {uuid} sip_auth_username"),
        "uuid_getvar 6f0f2f0a-0000-4000-8000-00000000dead x".into(),
        "nosuchcommand".into(),
    ] {
        wire.ask(&format!("api {command}\n\n")).await;
    }
    wire.ask("nonsense\n\n").await;
    caller.hang_up();
    wire.read_for(ms(480)).await;
    phone2.set_registration(Registration::Unregistered);
    wire.read_for(Duration::from_secs(19)).await;
    wire.ask("exit\n\n").await;
    wire.read_to_end().await;

    assert_eq!(kinds(&wire.frames), kinds(&capture.frames), "left is simulated, right is captured");

    let answers = |frames: &[Frame]| -> Vec<Frame> {
        let other = |f: &&Frame| f.get("Content-Type").as_deref() != Some("text/event-plain");
        frames.iter().filter(other).cloned().collect()
    };
    let (ours, theirs) = (answers(&wire.frames), answers(&capture.frames));
    assert_eq!(ours.len(), theirs.len());
    let everywhere = support::every_header();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_eq!(
            ours.headers.iter().map(|(n, _)| n).collect::<Vec<_>>(),
            theirs.headers.iter().map(|(n, _)| n).collect::<Vec<_>>()
        );
        assert_eq!(ours.get("Content-Type"), theirs.get("Content-Type"));
        if theirs.body.starts_with("{\"Event-Name\"") {
            let (mine, real): (BTreeSet<_>, BTreeSet<_>) =
                (fields(&ours.body).into_iter().collect(), fields(&theirs.body).into_iter().collect());
            for name in mine.difference(&real) {
                assert!(everywhere.contains(name), "uuid_dump has {name}");
            }
            for name in
                ["Unique-ID", "Channel-State", "Answer-State", "Other-Leg-Unique-ID", "variable_sip_auth_username"]
            {
                assert!(mine.contains(name), "uuid_dump lacks {name}");
            }
        } else if theirs.body.starts_with('{') {
            assert_eq!(fields(&ours.body), fields(&theirs.body), "{}", theirs.body);
        } else if !theirs.get("Reply-Text").unwrap_or_default().starts_with("+OK d25f") {
            assert_eq!((ours.get("Reply-Text"), &ours.body), (theirs.get("Reply-Text"), &theirs.body));
        }
    }
    for frame in &wire.frames {
        for name in frame.names() {
            assert!(everywhere.contains(&name), "{name} is in no capture");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_reported_and_the_connection_closed() {
    let switch = SimSwitch::new(Config::default());
    let mut wire = Wire::inbound(&switch);
    assert_eq!(wire.ask("api status\n\n").await.get("Reply-Text").unwrap(), "-ERR command not found");
    let mut wire = Wire::inbound(&switch);
    assert_eq!(wire.ask("auth wrong\n\n").await.get("Reply-Text").unwrap(), "-ERR invalid");
    wire.read_to_end().await;
}

#[tokio::test(start_paused = true)]
async fn json_events_carry_the_same_headers() {
    let switch = SimSwitch::new(Config::default());
    let mut wire = Wire::inbound(&switch);
    wire.ask("auth ClueCon\n\n").await;
    wire.ask("event json CHANNEL_CREATE BACKGROUND_JOB\n\n").await;
    let caller = switch.call(&CallSpec::phone("1001", "9000").name("O\"Neil"));
    wire.ask("bgapi status\n\n").await;
    wire.read_for(ms(100)).await;
    let bodies: Vec<_> = wire.frames.iter().map(|f| f.body.as_str()).filter(|b| b.starts_with('{')).collect();
    assert!(bodies[0].contains(&format!("\"Unique-ID\":\"{}\"", caller.uuid())), "{}", bodies[0]);
    assert!(bodies[0].contains("\"Caller-Caller-ID-Name\":\"O\\\"Neil\""), "{}", bodies[0]);
    assert!(bodies[1].contains("\"_body\":\"UP 0 years"), "{}", bodies[1]);
}
