//! Q5: who is in a call outside any queue, or has no phone, is not rung; and is rung as soon as that is over.

use std::fmt::Display;
use std::time::Duration;

use freeswitch_queue::acd::settings::Strategy;
use simswitch::{Behaviour, Caller, Registration};

use crate::site::{Site, pass, play, setting};

fn service(strategy: impl Display, participants: &str) -> String {
    format!(r#"number: "99900", participants: [{participants}], strategy: {strategy}"#)
}

/// A private call of 1001's, in this direction.
fn private(site: &Site, outgoing: bool) -> Caller {
    if outgoing { site.dial("1001", "2000") } else { site.dial("3000", "1001") }
}

/// By no strategy, in neither direction, also while it only rings; and within a second after hanging up.
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

/// Whenever the call ends between two looks at FreeSWITCH's table, which is behind: a caller who comes right after it
/// finds the phone free, by every strategy.
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

/// A call that has only just begun is not forgotten by a look at a table that does not have it yet.
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

/// A phone whose channels do not say whose they are (a dial string of the admin's own) is in a call as long as they last.
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

/// A phone that is called privately while it rings for a queue goes on ringing; it is busy from the answer on.
#[test]
fn q5_a_private_call_beside_a_ringing_offer() {
    play(async {
        let site = Site::linked(setting(&[r#"number: "99900", participants: ["1001"], ring_seconds: 5"#])).await;
        let hans = site.caller("0791", "99900");
        site.phone("1001").wait_ringing().await;
        let call = site.dial("1001", "2000");
        pass(12_000).await;
        assert_eq!(site.phone("1001").rings().len(), 1, "rung out, and not rung again");
        call.hang_up();
        pass(500).await;
        assert!(site.phone("1001").is_ringing());
        hans.hang_up();
        site.end().await;
    });
}

/// The link breaks in the middle of a private call, and comes back before or after it ended.
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
            assert!(!site.phone("1001").is_ringing(), "what was seen last is believed for a while");
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

/// A private call that began while the link was down, or while the daemon was, is seen before anybody is offered.
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

/// After 10 s without a link nobody can tell whether a private call goes on: the agent is offered again.
#[test]
fn q5_blind_for_long() {
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

/// A phone that unregisters is passed over at once; registered again, it is rung at once.
#[test]
fn q5_registrations() {
    play(async {
        let site = Site::linked(setting(&[&service("as-listed", r#""1001", "1002""#)])).await;
        // The first offers wait until what there was before the start is listed.
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
        assert_eq!(book.story_of(&["not registered"]), [""; 0], "it was not even tried");
    });
}

/// Whose calls go elsewhere is rung there, registered or not; and somebody whose calls go elsewhere from now on is rung
/// at once.
#[test]
fn q5_registrations_of_who_is_rung_elsewhere() {
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
        // The desk's phone goes while calls go to the desk, then they go to the mobile.
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
        // What the desk's phone does is of no concern now.
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

/// A phone of which it was not heard that it is back is tried again after a minute.
#[test]
fn q5_a_registration_that_was_not_heard() {
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

/// With several switches a phone may be registered at any of them: that one of them has it no more says nothing.
#[test]
fn q5_registrations_with_several_switches() {
    play(async {
        let site =
            Site::linked(crate::site::Setting { links: 2, ..setting(&[&service("as-listed", r#""1001""#)]) }).await;
        site.sees_gone("1001").await;
        assert_eq!(site.activity("1001"), "idle");
        let hans = site.caller("0791", "99900");
        pass(1_000).await;
        assert_eq!(site.activity("1001"), "unreachable", "that it was tried in vain does say something");
        hans.hang_up();
        site.end().await;
    });
}

/// A phone that was not registered when it was tried is tried again when it registers, not later.
#[test]
fn q5_q7_unregistered_when_tried() {
    play(async {
        let site = Site::linked(setting(&[&service("as-listed", r#""1001""#)])).await;
        let anna = site.phone("1001").on_ring(Behaviour::Manual);
        anna.set_registration(Registration::Unregistered);
        let hans = site.caller("0791", "99900");
        pass(8_000).await;
        anna.set_registration(Registration::Registered);
        // Tried for this caller at 0 and at 5 s, and so not before 10 s; the phone would be left alone until 15 s.
        let ring = tokio::time::timeout(Duration::from_secs(3), anna.wait_ringing()).await.unwrap();
        assert_eq!(ring.number, "0791");
        hans.hang_up();
        site.end().await;
    });
}
