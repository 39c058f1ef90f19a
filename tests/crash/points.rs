//! Q19: the daemon dies at every step of a call: after every command it writes, and before everything it reads.
//!
//! All points of all flows are some 900 deaths. An ordinary run takes every so many of them, different ones for every
//! flow; `CRASH_POINTS=all` runs all, `CRASH_POINTS=<step>` one.

use std::pin::Pin;
use std::time::Duration;

use simswitch::{Behaviour, CallSpec, Caller, Registration, SimSwitch};

use crate::site::{Setting, Site, answers, converses, pass, play, setting};

type People = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The actions of callers and agents, independent of the daemon.
struct Flow {
    setting: Setting,
    people: fn(SimSwitch) -> People,
}

/// Plays the flow with the daemon dying at one step. False when the flow ended before that step.
fn dies_at(flow: &Flow, step: usize) -> bool {
    let (away, losing) = ([50, 900, 3_100, 12_500][step % 4], step.is_multiple_of(3));
    let (setting, people) = (flow.setting.clone(), flow.people);
    play(async move {
        let site = Site::open(setting);
        let wires = site.wires();
        wires.die_in(Some(step));
        let mut people = tokio::spawn(people(site.switch.clone()));
        let mut done = tokio::select! {
            () = wires.wait_dead() => None,
            done = &mut people => Some(done),
        };
        // The daemon may die with the flow's last action.
        let died = wires.is_dead();
        wires.die_in(None);
        if died {
            tracing::info!("dies at {} ms, losing its last facts: {losing}", site.now());
            site.bury(losing).await;
            pass(away).await;
            tracing::info!("starts again at {} ms", site.now());
            site.start();
        }
        if done.is_none() {
            done = tokio::time::timeout(Duration::from_secs(300), people).await.ok();
        }
        done.unwrap_or_else(|| panic!("not every caller was served: {:#?}", site.switch.legs())).unwrap();
        site.end().await;
        died
    })
}

/// Every `stride`-th point, with a different first point for every flow.
fn dies_everywhere(first: usize, stride: usize, flow: &Flow) {
    let asked = std::env::var("CRASH_POINTS").unwrap_or_default();
    if let Ok(step) = asked.parse() {
        println!("{step}: {}", if dies_at(flow, step) { "died" } else { "over before" });
        return;
    }
    let (first, stride) = if asked == "all" { (1, 1) } else { (first, stride) };
    let mut steps = (first..).step_by(stride);
    let over = steps.find(|step| {
        println!("step {step}");
        !dies_at(flow, *step)
    });
    println!("the flow has fewer than {over:?} points");
}

fn call(switch: &SimSwitch, number: &str, to: &str) -> Caller {
    switch.call(&CallSpec::trunk(number, to))
}

/// Checks that one agent served the caller and hung up.
async fn served(caller: &Caller) {
    assert_eq!(caller.wait_ended().await, "NORMAL_CLEARING", "{caller:?}");
    assert_eq!(caller.view().talked_to.len(), 1, "{caller:?}");
}

/// Q19: one caller is answered; another waits and is served after the wrap-up.
#[test]
fn q19_answered() {
    let people = |switch: SimSwitch| -> People {
        Box::pin(async move {
            let _anna = switch.phone("1001").on_ring(converses(700, 3_000));
            let hans = call(&switch, "0791", "99900");
            pass(300).await;
            let eva = call(&switch, "0792", "99900");
            served(&hans).await;
            served(&eva).await;
        })
    };
    let setting = setting(&[r#"number: "99900", participants: ["1001"], wrap_up_seconds: 2"#]);
    dies_everywhere(1, 3, &Flow { setting, people });
}

/// Q19: offers fail in every way before one is accepted.
#[test]
fn q19_missed() {
    let people = |switch: SimSwitch| -> People {
        Box::pin(async move {
            let _busy = switch.phone("1001").on_ring(Behaviour::Busy);
            let _declines = switch.phone("1002").on_ring(Behaviour::Decline { after: Duration::from_millis(400) });
            switch.phone("1003").set_registration(Registration::Unregistered);
            let _ignores = switch.phone("1004").on_ring(Behaviour::Ignore);
            let _takes = switch.phone("1005").on_ring(converses(500, 1_000));
            let hans = call(&switch, "0791", "99900");
            served(&hans).await;
        })
    };
    let participants = r#"participants: ["1001", "1002", "1003", "1004", "1005"]"#;
    let setting = setting(&[&format!(r#"number: "99900", {participants}, ring_seconds: 2"#)]);
    dies_everywhere(2, 6, &Flow { setting, people });
}

/// Q19: every phone rings, and two answer within a moment.
#[test]
fn q19_simultaneous() {
    let people = |switch: SimSwitch| -> People {
        Box::pin(async move {
            let _first = switch.phone("1001").on_ring(converses(600, 2_000));
            let _second = switch.phone("1002").on_ring(converses(605, 2_000));
            let hans = call(&switch, "0791", "99900");
            pass(100).await;
            let eva = call(&switch, "0792", "99900");
            served(&hans).await;
            served(&eva).await;
        })
    };
    let setting = setting(&[
        r#"number: "99900", participants: ["1001", "1002", "1003"], strategy: simultaneous, wrap_up_seconds: 1"#,
    ]);
    dies_everywhere(3, 8, &Flow { setting, people });
}

/// Q19: a caller gives up while a phone rings; the phone rings for the next in line.
#[test]
fn q19_abandoned() {
    let people = |switch: SimSwitch| -> People {
        Box::pin(async move {
            let anna = switch.phone("1001").on_ring(Behaviour::Ignore);
            let hans = call(&switch, "0791", "99900");
            let eva = call(&switch, "0792", "99900");
            pass(1_500).await;
            hans.hang_up();
            pass(2_000).await;
            let _anna = anna.on_ring(converses(500, 500));
            served(&eva).await;
        })
    };
    let setting = setting(&[r#"number: "99900", participants: ["1001"], ring_seconds: 5"#]);
    dies_everywhere(4, 6, &Flow { setting, people });
}

/// Q19: the wait times out: the offer is called off, the message played, the call transferred; the wait counts from the
/// entry.
#[test]
fn q19_timed_out() {
    let people = |switch: SimSwitch| -> People {
        Box::pin(async move {
            let _anna = switch.phone("1001").on_ring(Behaviour::Ignore);
            let hans = call(&switch, "0791", "99900");
            hans.wait_hears("1633").await;
            let at = switch.now();
            assert!(at >= Duration::from_secs(8), "the wait does not end early: {at:?}");
            // Away for at most 12.5 s, back 2 s later, then the message; for a stranded call, the wait begins at the
            // rescue.
            assert!(at <= Duration::from_secs(8 + 13 + 2 + 8 + 6), "the time without a daemon counts too: {at:?}");
            hans.hang_up();
        })
    };
    let setting = setting(&[concat!(
        r#"number: "99900", participants: ["1001"], max_wait_minutes: 0.1, position_announcement: { language: en, "#,
        r#"every_seconds: 15 }, timeout: { message: /sorry.wav, action: { transfer: "2000" } }"#
    )]);
    dies_everywhere(5, 5, &Flow { setting, people });
}

/// Q19: the wait times out, and the caller moves to another queue.
#[test]
fn q19_moved_to_another_queue() {
    let people = |switch: SimSwitch| -> People {
        Box::pin(async move {
            let _anna = switch.phone("1001").on_ring(Behaviour::Ignore);
            let _bruno = switch.phone("1002").on_ring(converses(1_500, 1_000));
            let hans = call(&switch, "0791", "99900");
            served(&hans).await;
        })
    };
    let setting = setting(&[
        r#"number: "99900", participants: ["1001"], max_wait_minutes: 0.05, timeout: { action: { queue: "99901" } }"#,
        r#"number: "99901", participants: ["1002"]"#,
    ]);
    dies_everywhere(6, 6, &Flow { setting, people });
}

/// Q19: an agent logs in while a caller waits, and out while the phone rings; another agent gets the offer.
#[test]
fn q19_feature_codes() {
    let people = |switch: SimSwitch| -> People {
        Box::pin(async move {
            let _anna = switch.phone("1001").on_ring(Behaviour::Ignore);
            let _bruno = switch.phone("1002").on_ring(converses(800, 1_000));
            let hans = call(&switch, "0791", "99900");
            pass(1_000).await;
            dials(&switch, "1001", "*4299900").await;
            served(&hans).await;
            dials(&switch, "1001", "*4199900*1001").await;
            let _anna = switch.phone("1001").on_ring(answers(300));
            // The agent's phone is busy until that call is known to be over, which takes a second at most.
            pass(1_000).await;
            let eva = call(&switch, "0792", "99900");
            eva.wait_talking().await;
            assert_eq!(eva.view().talked_to[0].1, "1001", "an agent whose login was confirmed is logged in");
            eva.hang_up();
        })
    };
    let setting = setting(&[r#"number: "99900", participants: ["1001", "1002"], ring_seconds: 30"#]);
    dies_everywhere(7, 7, &Flow { setting, people });
}

/// Dials a code until it is confirmed. An interrupted prompt confirms nothing.
async fn dials(switch: &SimSwitch, phone: &str, code: &str) {
    loop {
        let agent = switch.call(&CallSpec::phone(phone, code));
        let heard = agent.wait_for(|v| {
            v.ended.is_some() || matches!(&v.hears, simswitch::Sound::Playing(file) if file.contains("logged-"))
        });
        let confirmed = heard.await.ended.is_none();
        agent.wait_ended().await;
        if confirmed {
            return;
        }
        pass(1_000).await;
    }
}

/// Q19: the position is announced to three callers in line.
#[test]
fn q19_announced() {
    let people = |switch: SimSwitch| -> People {
        Box::pin(async move {
            let _anna = switch.phone("1001").on_ring(converses(2_500, 1_500));
            let mut callers = Vec::new();
            for number in ["0791", "0792", "0793"] {
                callers.push(call(&switch, number, "99900"));
                pass(200).await;
            }
            for caller in &callers {
                served(caller).await;
            }
        })
    };
    let setting = setting(&[concat!(
        r#"number: "99900", participants: ["1001"], music: /moh.wav, "#,
        r#"position_announcement: { language: en, every_seconds: 15 }"#
    )]);
    dies_everywhere(8, 11, &Flow { setting, people });
}
