//! Q5: an agent in a call outside any queue, or without a phone, is not rung, and is rung as soon as that is over.

use std::fmt::Display;
use std::time::Duration;

use freeswitch_queue::acd::settings::Strategy;
use simswitch::{Behaviour, Caller, Registration};

use crate::site::{Site, pass, play, setting};

fn service(strategy: impl Display, participants: &str) -> String {
    format!(r#"number: "99900", participants: [{participants}], strategy: {strategy}"#)
}

/// A private call of 1001's, in the given direction.
fn private(site: &Site, outgoing: bool) -> Caller {
    if outgoing { site.dial("1001", "2000") } else { site.dial("3000", "1001") }
}

/// Q5: with no strategy and in neither direction, also while the private call only rings; the agent is rung within a
/// second after the hang-up.
#[test]
fn q5_private_calls() {
    for strategy in Strategy::ALL {
        for outgoing in [true, false] {
            play(async move {
                let site = Site::linked(setting(&[&service(strategy, r#""1001", "1002""#)])).await;
                let call = private(&site, outgoing);
                if !outgoing {
                    site.phone("1001").wait_ringing().await;
                    pass(2_000).await;
                    assert_eq!(site.activity("1001"), "on another call", "while it only rings");
                    site.phone("1001").answer();
                }
                pass(1_000).await;
                let hans = site.caller("0791", "99900");
                let eva = site.caller("0792", "99900");
                assert_eq!(site.take("1002").await, "0791", "{strategy}");
                pass(10_000).await;
                let rings = site.phone("1001").rings();
                assert!(rings.iter().all(|r| !r.number.starts_with("079")), "{strategy}: {rings:?}");
                assert_eq!(
                    site.why("1001", "99900").unwrap(),
                    format!("on another call for {} s", if outgoing { 11 } else { 13 })
                );
                call.hang_up();
                let at = site.now();
                assert_eq!(site.phone("1001").wait_ringing().await.number, "0792");
                assert!(site.now() - at < 1_000, "{strategy}: {} ms", site.now() - at);
                hans.hang_up();
                eva.hang_up();
                site.end().await;
            });
        }
    }
}

/// Q5: whenever the call ends between two looks at FreeSWITCH's table, which lags behind, a caller who comes right
/// after it finds the phone free, with every strategy.
#[test]
fn q5_private_calls_end_at_any_moment() {
    for moment in 0..32 {
        let strategy = Strategy::ALL[moment % Strategy::ALL.len()];
        play(async move {
            let site = Site::linked(setting(&[&service(strategy, r#""1001""#)])).await;
            let outgoing = moment / 4 % 2 == 0;
            let call = private(&site, outgoing);
            if !outgoing {
                site.phone("1001").wait_ringing().await;
                site.phone("1001").answer();
            }
            pass(6_000 + 97 * moment as u64).await;
            call.hang_up();
            let at = site.now();
            pass(150).await;
            let waits = site.caller("0791", "99900");
            while !site.phone("1001").is_ringing() && site.now() - at < 1_000 {
                pass(10).await;
            }
            assert!(site.phone("1001").is_ringing(), "{moment}, {strategy}: {:?}", site.why("1001", "99900"));
            waits.hang_up();
            site.end().await;
        });
    }
}

/// Q5: a call that has just begun is kept when a look at the table does not show it yet.
#[test]
fn q5_private_calls_begin_at_any_moment() {
    for moment in 0..32 {
        play(async move {
            let site = Site::linked(setting(&[&service("as-listed", r#""1001""#)])).await;
            pass(2_000 + 97 * moment).await;
            let call = private(&site, moment % 2 == 0);
            pass(30).await;
            let waits = site.caller("0791", "99900");
            pass(4_000).await;
            assert!(site.phone("1001").rings().iter().all(|r| r.number != "0791"), "{moment}");
            call.hang_up();
            site.phone("1001").wait_idle().await;
            assert_eq!(site.take("1001").await, "0791");
            waits.hang_up();
            site.end().await;
        });
    }
}

/// Q5: a phone whose channels carry no presence id (an admin's own dial string) is in a call as long as its channels
/// last.
#[test]
fn q5_a_private_call_without_a_presence() {
    play(async {
        let site = Site::linked(setting(&[&service("as-listed", r#""1001""#)])).await;
        site.switch.faults(|f| f.no_presence = true);
        let call = private(&site, false);
        site.phone("1001").wait_ringing().await;
        site.phone("1001").answer();
        pass(100).await;
        let waits = site.caller("0791", "99900");
        pass(15_000).await;
        assert_eq!(site.activity("1001"), "on another call");
        call.hang_up();
        let at = site.now();
        assert_eq!(site.take("1001").await, "0791");
        assert!(site.now() - at < 1_000);
        waits.hang_up();
        site.end().await;
    });
}

/// Q5: a phone that receives a private call while it rings for a queue keeps ringing; it is busy from the private
/// call's answer on.
#[test]
fn q5_a_private_call_beside_a_ringing_offer() {
    play(async {
        let site = Site::linked(setting(&[r#"number: "99900", participants: ["1001"], ring_seconds: 5"#])).await;
        let hans = site.caller("0791", "99900");
        site.phone("1001").wait_ringing().await;
        let call = site.dial("1001", "2000");
        pass(12_000).await;
        assert_eq!(site.phone("1001").rings().len(), 1, "the offer rings to its end, and the phone is not rung again");
        call.hang_up();
        pass(500).await;
        assert!(site.phone("1001").is_ringing());
        hans.hang_up();
        site.end().await;
    });
}

/// Q5: the link breaks during a private call, and reconnects before or after its end.
#[test]
fn q5_the_link_breaks_during_a_private_call() {
    for ends_unseen in [false, true] {
        play(async move {
            let site = Site::linked(setting(&[&service("as-listed", r#""1001""#)])).await;
            let call = private(&site, true);
            pass(1_000).await;
            let hans = site.caller("0791", "99900");
            site.unlink();
            pass(4_000).await;
            assert!(!site.phone("1001").is_ringing(), "the last known state counts for a while");
            if ends_unseen {
                call.hang_up();
            }
            site.link().await;
            pass(1_000).await;
            assert_eq!(site.phone("1001").is_ringing(), ends_unseen);
            call.hang_up();
            assert_eq!(site.take("1001").await, "0791");
            hans.hang_up();
            site.end().await;
        });
    }
}

/// Q5: a private call that began while the link or the daemon was down is found before the first offer.
#[test]
fn q5_a_private_call_that_began_unseen() {
    for dead in [false, true] {
        play(async move {
            let site = Site::linked(setting(&[&service("as-listed", r#""1001", "1002""#)])).await;
            if dead {
                site.kill().await;
            } else {
                site.unlink();
            }
            let call = private(&site, true);
            pass(2_000).await;
            if dead {
                site.start();
            } else {
                site.link().await;
                pass(100).await;
            }
            let hans = site.caller("0791", "99900");
            assert_eq!(site.take("1002").await, "0791");
            assert_eq!(site.phone("1001").rings(), []);
            for caller in [call, hans] {
                caller.hang_up();
            }
            site.end().await;
        });
    }
}

/// Q5: after 10 s without a link the daemon cannot tell whether a private call still runs: the agent gets offers again.
#[test]
fn q5_without_a_link_for_long() {
    play(async {
        let site = Site::linked(setting(&[&service("as-listed", r#""1001""#)])).await;
        let call = private(&site, true);
        pass(1_000).await;
        site.unlink();
        let hans = site.caller("0791", "99900");
        pass(8_000).await;
        assert!(!site.phone("1001").is_ringing());
        call.hang_up();
        let at = site.now();
        assert_eq!(site.phone("1001").wait_ringing().await.number, "0791");
        assert!(site.now() - at < 10_000, "{} ms", site.now() - at);
        site.link().await;
        hans.hang_up();
        site.end().await;
    });
}

/// Q5: a phone that unregisters is skipped at once; when it registers again, it rings at once.
#[test]
fn q5_registrations() {
    play(async {
        let site = Site::linked(setting(&[&service("as-listed", r#""1001", "1002""#)])).await;
        // The first offers wait until the calls from before the start are listed.
        pass(500).await;
        let anna = site.phone("1001");
        site.sees_gone("1001").await;
        assert_eq!(site.activity("1001"), "unreachable");
        let hans = site.caller("0791", "99900");
        let at = site.now();
        assert_eq!(site.phone("1002").wait_ringing().await.number, "0791");
        assert!(site.now() - at < 50, "it costs no ring time: {} ms", site.now() - at);
        let eva = site.caller("0792", "99900");
        pass(10_000).await;
        assert_eq!(site.why("1001", "99900").unwrap(), "phone not reachable for 10 s: not registered");
        anna.set_registration(Registration::Registered);
        let at = site.now();
        assert_eq!(anna.wait_ringing().await.number, "0792");
        assert!(site.now() - at < 100, "{} ms", site.now() - at);
        hans.hang_up();
        eva.hang_up();
        let book = site.end().await;
        assert_eq!(book.story_of(&["not registered"]), [""; 0], "the phone is not even tried");
    });
}

/// Q5: an agent whose calls are forwarded is rung at the target, registered or not; an agent who switches a forward on
/// is rung there at once.
#[test]
fn q5_registrations_of_agents_who_are_rung_elsewhere() {
    play(async {
        let at_home = setting(&[&service("as-listed", r#""1001", "1002""#)]);
        let text = |site: &Site, dial: &str| {
            let text = std::fs::read_to_string(&site.file).unwrap();
            let text = text.replace(r#"{ id: "1001" }"#, &format!(r#"{{ id: "1001", dial: {dial} }}"#));
            std::fs::write(&site.file, text).unwrap();
            freeswitch_queue::admin::reload(&site.daemon(), &site.file);
        };
        let site = Site::linked(at_home.clone()).await;
        site.when_rung("1002", Behaviour::Busy);
        let mobile = "sofia/gateway/mobile/0791111111";
        let at_the_desk = site.phone("1001");
        // The desk phone unregisters while calls go to the desk, then calls go to the mobile.
        site.sees_gone("1001").await;
        assert_eq!(site.activity("1001"), "unreachable");
        let hans = site.caller("0791", "99900");
        pass(1_000).await;
        let at = site.now();
        text(&site, mobile);
        assert_eq!(site.phone(mobile).wait_ringing().await.number, "0791");
        assert!(site.now() - at < 100, "at once: {} ms", site.now() - at);
        hans.hang_up();
        site.phone(mobile).wait_idle().await;
        // The state of the desk phone no longer matters.
        at_the_desk.set_registration(Registration::Registered);
        pass(100).await;
        at_the_desk.set_registration(Registration::Unregistered);
        pass(100).await;
        let eva = site.caller("0792", "99900");
        assert_eq!(site.phone(mobile).wait_ringing().await.number, "0792");
        eva.hang_up();
        site.end().await;
    });
}

/// Q5: a phone whose registration the daemon has missed is tried again after a minute.
#[test]
fn q5_a_registration_without_an_event() {
    play(async {
        let site = Site::linked(setting(&[&service("as-listed", r#""1001""#)])).await;
        let anna = site.phone("1001");
        site.sees_gone("1001").await;
        site.switch.faults(|f| f.lose_events.push("CUSTOM".into()));
        anna.set_registration(Registration::Registered);
        let hans = site.caller("0791", "99900");
        pass(50_000).await;
        assert!(!anna.is_ringing());
        pass(11_000).await;
        assert!(anna.is_ringing());
        hans.hang_up();
        site.end().await;
    });
}

/// Q5: with several switches a phone may be registered at any of them: its absence at one of them proves nothing.
#[test]
fn q5_registrations_with_several_switches() {
    play(async {
        let site =
            Site::linked(crate::site::Setting { links: 2, ..setting(&[&service("as-listed", r#""1001""#)]) }).await;
        site.sees_gone("1001").await;
        assert_eq!(site.activity("1001"), "idle");
        let hans = site.caller("0791", "99900");
        pass(1_000).await;
        assert_eq!(site.activity("1001"), "unreachable", "a failed offer makes the agent unreachable");
        hans.hang_up();
        site.end().await;
    });
}

/// Q5, Q7: a phone that was not registered when it was tried is tried again when it registers, not later.
#[test]
fn q5_q7_unregistered_when_tried() {
    play(async {
        let site = Site::linked(setting(&[&service("as-listed", r#""1001""#)])).await;
        let anna = site.phone("1001").on_ring(Behaviour::Manual);
        anna.set_registration(Registration::Unregistered);
        let hans = site.caller("0791", "99900");
        pass(8_000).await;
        anna.set_registration(Registration::Registered);
        // Tried for this caller at 0 and at 5 s, and so not before 10 s; without the registration the phone would be
        // skipped until 15 s.
        let ring = tokio::time::timeout(Duration::from_secs(3), anna.wait_ringing()).await.unwrap();
        assert_eq!(ring.number, "0791");
        hans.hang_up();
        site.end().await;
    });
}
