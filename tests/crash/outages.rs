//! Q19, Q20: the switch restarts, and the link flaps, is down for long, or is not configured.

use freeswitch_queue::esl::{ApiCall, Command};
use simswitch::{Behaviour, CallSpec, Caller, Violation};

use crate::site::{Site, answers, pass, play, setting};

const SERVICE: &str = r#"number: "99900", participants: ["1001", "1002", "1003"], wrap_up_seconds: 4"#;

/// Q20: the switch restarts: its calls are lost, agents stay logged in, the link reconnects by itself, and service
/// resumes; also when the restart takes a minute.
#[test]
fn q20_the_switch_restarts() {
    for down in [0, 60_000] {
        play(async move {
            let site = Site::open(setting(&[SERVICE]));
            site.when_rung("1001", answers(300));
            let talks = site.caller("0791", "99900");
            talks.wait_talking().await;
            let rung = site.caller("0792", "99900");
            site.phone("1002").wait_ringing().await;
            let waits = site.when_rung("1003", Behaviour::Busy);
            let _waits = (waits, site.caller("0793", "99900"));
            pass(1_000).await;
            site.set_linked(false);
            site.switch.restart();
            pass(down).await;
            site.set_linked(true);
            assert!([&talks, &rung].iter().all(|c| c.ended().is_some()));
            site.wait_linked().await;
            pass(8_000).await;
            let book = site.book().await;
            let mut lost = book.story_of(&["lost"]);
            lost.sort();
            assert_eq!(lost, ["0792 is lost by 99900", "0793 is lost by 99900"]);
            assert_eq!(book.story_of(&[" end: "]), ["1001 and 0791 end: unknown"]);
            assert!(["1001", "1002", "1003"].iter().all(|a| site.is_in(a, "99900")), "Q18");
            site.when_rung("1001", Behaviour::Manual);
            let eva = site.caller("0794", "99900");
            assert_eq!(site.take("1001").await, "0794");
            eva.hang_up();
            site.end().await;
        });
    }
}

/// Q20: the daemon and the switch are restarted together.
#[test]
fn q20_both_restart() {
    play(async {
        let site = Site::open(setting(&[SERVICE]));
        let talks = site.caller("0791", "99900");
        site.take("1001").await;
        let waits = site.caller("0792", "99900");
        site.phone("1002").wait_ringing().await;
        site.kill().await;
        site.switch.restart();
        pass(3_000).await;
        site.start();
        let eva = site.caller("0793", "99900");
        pass(100).await;
        assert!(!site.phone("1001").is_ringing(), "the daemon does not know yet that the conversation is over");
        assert_eq!(site.take("1002").await, "0793", "callers who cannot return hold no place");
        assert!(talks.ended().is_some() && waits.ended().is_some());
        pass(1_000).await;
        assert_eq!(
            site.activity("1001"),
            "idle",
            "Q108: the wrap-up begins when the conversation was last known to exist"
        );
        eva.hang_up();
        let book = site.end().await;
        assert_eq!(book.story_of(&["lost"]), ["0792 is lost by 99900"]);
    });
}

/// Q20: a link that flaps has no effect on calls: conversations, waits and offers continue.
#[test]
fn q20_the_link_flaps() {
    play(async {
        let site = Site::open(setting(&[SERVICE]));
        let talks = site.caller("0791", "99900");
        site.take("1001").await;
        let rung = site.caller("0792", "99900");
        site.phone("1002").wait_ringing().await;
        for n in 0..5 {
            site.unlink();
            pass(1 + 200 * n).await;
            assert_eq!(site.status().linked, 0);
            site.link().await;
            pass(1_000).await;
        }
        assert_eq!((site.activity("1001").as_str(), site.activity("1002").as_str()), ("talking", "ringing"));
        assert_eq!(site.take("1002").await, "0792");
        assert_eq!(site.status().repairs, 0, "there was nothing to repair");
        talks.hang_up();
        rung.hang_up();
        let book = site.end().await;
        assert_eq!(book.offers().len(), 2);
    });
}

/// Q20: while the link is down for long, the daemon still follows conversations whose own connections stand, with their
/// wrap-up.
#[test]
fn q20_blind_for_long_while_conversations_run() {
    play(async {
        let site = Site::open(setting(&[r#"number: "99900", participants: ["1001"], wrap_up_seconds: 4"#]));
        let talks = site.caller("0791", "99900");
        site.take("1001").await;
        let waits = site.caller("0792", "99900");
        site.unlink();
        pass(60_000).await;
        assert_eq!(site.activity("1001"), "talking");
        assert!(!site.phone("1001").is_ringing());
        talks.hang_up();
        pass(1_000).await;
        assert_eq!(site.activity("1001"), "wrap-up");
        assert_eq!(site.take("1001").await, "0792");
        site.link().await;
        pass(7_000).await;
        assert_eq!(site.activity("1001"), "talking");
        assert_eq!(site.status().repairs, 0);
        waits.hang_up();
        site.end().await;
    });
}

/// Q19, Q20: without a link, a conversation from before a restart counts as running for 10 s, then its agent counts as
/// free; when the link finds the conversation, the daemon adopts it.
#[test]
fn q20_blind_from_the_start() {
    play(async {
        let site = Site::open(setting(&[r#"number: "99900", participants: ["1001"], wrap_up_seconds: 4"#]));
        let talks = site.caller("0791", "99900");
        site.take("1001").await;
        pass(1_000).await;
        site.kill().await;
        site.set_linked(false);
        site.start();
        pass(9_000).await;
        assert_eq!(site.activity("1001"), "talking");
        pass(7_000).await;
        assert_eq!(site.activity("1001"), "idle");
        site.link().await;
        pass(100).await;
        assert_eq!(site.activity("1001"), "talking");
        assert_eq!(site.status().repairs, 1);
        talks.hang_up();
        pass(1_000).await;
        assert_eq!(site.activity("1001"), "wrap-up");
        // Q110: the records have its end already, and keep exactly one.
        let book = site.end().await;
        assert_eq!(book.story_of(&[" end: "]), ["1001 and 0791 end: unknown"]);
    });
}

/// Q20, Q22: one of two switches is away for long: agents whose conversations it may have become free after a while,
/// conversations with events from the other switch continue, and callers who do not return are lost.
#[test]
fn q20_one_of_two_switches_is_away_for_long() {
    play(async {
        let busy = r#"number: "99900", participants: ["1001", "1002", "1003"]"#;
        let site = Site::linked(crate::site::Setting { links: 2, ..setting(&[busy]) }).await;
        let talks = site.caller("0791", "99900");
        site.take("1001").await;
        site.when_rung("1002", Behaviour::Busy);
        site.when_rung("1003", Behaviour::Busy);
        let waits = site.caller("0792", "99900");
        pass(1_000).await;
        site.kill().await;
        talks.hang_up();
        waits.hang_up();
        pass(500).await;
        site.set_unreachable("switch:8022");
        site.start();
        pass(5_000).await;
        assert_eq!(site.status().linked, 1);
        assert_eq!(site.activity("1001"), "talking", "the other switch may still have the conversation");
        site.when_rung("1002", answers(100));
        let hears = site.caller("0793", "99900");
        assert_eq!(hears.wait_talking().await, "1002");
        pass(16_000).await;
        assert_eq!((site.activity("1001").as_str(), site.activity("1002").as_str()), ("idle", "talking"));
        assert_eq!(site.daemon().floor().absent().len(), 1);
        pass(20_000).await;
        assert_eq!(site.daemon().floor().absent(), []);
        assert_eq!(hears.view().talks_to(), Some("1002"));
        hears.hang_up();
        pass(1_000).await;
        let book = site.book().await;
        assert_eq!(book.story_of(&["lost"]), ["0792 is lost by 99900"]);
        assert_eq!(book.story_of(&["1001 and"]), ["1001 and 0791 end: unknown"]);
    });
}

/// Q19 without any link: callers return to their places, conversations continue, and a phone that rings is answered or
/// rings to its end. Only the activity of agents is unknown.
#[test]
fn q19_without_any_link() {
    play(async {
        let busy = r#"number: "99900", participants: ["1001", "1002", "1003"], ring_seconds: 6"#;
        let site = Site::open(setting(&[busy]).blind());
        assert_eq!((site.status().switches, site.status().linked), (0, 0));
        let talks = site.caller("0791", "99900");
        site.take("1001").await;
        let rung = site.caller("0792", "99900");
        site.phone("1002").wait_ringing().await;
        site.when_rung("1003", Behaviour::Busy);
        let waits: Vec<Caller> = (3..9).map(|n| site.caller(&format!("079{n}"), "99900")).collect();
        pass(1_000).await;
        let before = site.line("99900");
        assert_eq!(before, ["0792", "0793", "0794", "0795", "0796", "0797", "0798"]);
        site.kill().await;
        site.when_rung("1001", Behaviour::Busy);
        pass(700).await;
        site.start();
        pass(2_000).await;
        // FreeSWITCH delays the second caller while the phone of that caller's `originate` rings.
        assert_eq!(site.line("99900"), before[1..]);
        assert!(site.phone("1002").rings().iter().all(|r| r.number == "0792" || r.ended.is_none()));
        pass(7_000).await;
        assert_eq!(site.line("99900"), before);
        assert_eq!(talks.view().talks_to(), Some("1001"));
        for caller in waits.iter().chain([&talks, &rung]) {
            caller.hang_up();
        }
        pass(40_000).await;
        let only = |v: &Violation| {
            matches!(v, Violation::RungWhileTalking { phone, .. } if phone == "1001")
                || matches!(v, Violation::RungTwice { phone, .. } if phone == "1002")
        };
        assert_eq!(site.violations().into_iter().filter(|v| !only(v)).collect::<Vec<_>>(), []);
    });
}

/// Q19, Q4: a call whose connection was opened and not yet parked when the daemon died is parked for ever in
/// FreeSWITCH; the new daemon finds it, and it keeps its place.
#[test]
fn q19_a_stranded_call_keeps_its_place() {
    play(async {
        let site = Site::open(setting(&[r#"number: "99900", participants: ["1001"]"#]));
        site.when_rung("1001", Behaviour::Busy);
        pass(1_000).await;
        site.wires().die_in(Some(1));
        let hans = site.caller("0791", "99900");
        site.wires().wait_dead().await;
        site.bury(true).await;
        pass(100).await;
        assert!(hans.view().stranded);
        let eva = site.caller("0792", "99900");
        pass(5_000).await;
        site.start();
        pass(9_000).await;
        assert_eq!(site.line("99900"), ["0791", "0792"]);
        let waited = site.daemon().clock().now().wall.0 - site.status().floor.queues[0].waiting[0].since.0;
        assert!((14_000..14_300).contains(&waited), "the wait counts from the call, {waited} ms ago");
        let (connection, _events) = crate::repairs::hand(&site.switch).await;
        let left = ApiCall::new(format!("uuid_getvar {} fsq_since", hans.uuid())).unwrap();
        let left = connection.send(&Command::Api(left)).unwrap().await.done().unwrap();
        assert_eq!(left.body_text(), "_undef_", "the place counts once, not when the caller enters a queue again");
        drop(connection);
        hans.hang_up();
        eva.hang_up();
        site.end().await;
    });
}

/// Q19: a call whose connection was opened and not yet parked when the daemon died is parked for ever in FreeSWITCH;
/// the new daemon finds and serves it.
#[test]
fn q19_a_stranded_call_is_rescued() {
    play(async {
        let site = Site::open(setting(&[SERVICE]));
        pass(1_000).await;
        // The daemon dies after its first command, `connect`.
        site.wires().die_in(Some(1));
        let hans = site.caller("0791", "99900");
        site.wires().wait_dead().await;
        site.bury(false).await;
        pass(100).await;
        assert!(hans.view().stranded);
        pass(20_000).await;
        site.start();
        assert_eq!(site.take("1001").await, "0791");
        assert_eq!(site.status().repairs, 1);
        hans.hang_up();
        site.end().await;
    });
}

/// Q19: after a set time the dialplan runs the admin's own action, in the queue's language; the daemon no longer keeps
/// that caller's place.
#[test]
fn q19_the_dialplan_ends_the_hold_after_its_time() {
    play(async {
        let site = Site::open(setting(&[&format!("{SERVICE}, language: it")]));
        site.when_rung("1001", Behaviour::Busy);
        site.when_rung("1002", Behaviour::Busy);
        site.when_rung("1003", Behaviour::Busy);
        let hans = site.caller("0791", "99900");
        pass(2_000).await;
        site.kill().await;
        hans.wait_hears("/prompts/it/try-later.wav").await;
        assert_eq!(hans.wait_ended().await, "NORMAL_TEMPORARY_FAILURE");
        assert!(site.now() > 170_000, "three minutes");
        let code = site.switch.call(&CallSpec::phone("1001", "*4199900"));
        code.wait_hears("try-later").await;
        code.wait_ended().await;
        site.start();
        pass(1_000).await;
        let story = site.book().await.story();
        assert_eq!(story.last().unwrap(), "0791 is lost by 99900", "the first look at FreeSWITCH shows it");
        site.end().await;
    });
}

/// Q4, Q19: a caller who comes while no daemon runs stands behind earlier callers, and the wait counts from the call.
#[test]
fn q19_a_caller_who_comes_while_no_daemon_runs() {
    play(async {
        let site = Site::open(setting(&[r#"number: "99900", participants: ["1001"], max_wait_minutes: 0.25"#]));
        site.when_rung("1001", Behaviour::Busy);
        let mut callers = vec![site.caller("0700", "99900")];
        pass(1_000).await;
        site.kill().await;
        // The calls are not in step with the dialplan's rounds, so that they return in another order.
        for n in 1..9 {
            pass(437).await;
            callers.push(site.caller(&format!("070{n}"), "99900"));
        }
        pass(4_000).await;
        site.start();
        pass(2_000).await;
        callers.push(site.caller("0709", "99900"));
        pass(100).await;
        let all: Vec<String> = (0..10).map(|n| format!("070{n}")).collect();
        assert_eq!(site.line("99900"), all);
        let waited: Vec<i64> = site.status().floor.queues[0]
            .waiting
            .iter()
            .map(|w| site.daemon().clock().now().wall.0 - w.since.0)
            .collect();
        assert!(waited[8] > 6_000 && waited[8] < 6_200 && waited[9] < 200, "{waited:?}");
        // The longest wait counts from the call, too.
        let came = 1_000 + 8 * 437;
        assert_eq!(callers[8].wait_ended().await, "NORMAL_CLEARING");
        assert!((site.now() - came - 15_000).abs() < 200, "after {} ms", site.now() - came);
        callers[9].hang_up();
        site.end().await;
    });
}

/// Q19: a daemon that dies within a moment of a caller's entry loses its record, and has not yet set the place on the
/// channel: the dialplan has.
#[test]
fn q19_a_death_in_the_moment_of_an_entry() {
    for step in 1..6 {
        play(async move {
            let site = Site::open(setting(&[SERVICE]));
            for agent in ["1001", "1002", "1003"] {
                site.when_rung(agent, Behaviour::Busy);
            }
            pass(1_000).await;
            site.wires().die_in(Some(step));
            let callers: Vec<Caller> = (0..6).map(|n| site.caller(&format!("070{n}"), "99900")).collect();
            site.wires().wait_dead().await;
            site.bury(true).await;
            pass(500).await;
            let late = site.caller("0706", "99900");
            pass(2_700).await;
            site.start();
            // One call may be stranded, which takes two looks.
            pass(9_000).await;
            let all: Vec<String> = (0..7).map(|n| format!("070{n}")).collect();
            let mut line = site.line("99900");
            assert_eq!(line.pop().as_ref(), all.last(), "{step}: a later caller stands behind: {line:?}");
            // The six calls came at the same instant.
            line.sort();
            assert_eq!(line, all[..6], "{step}");
            callers.iter().for_each(Caller::hang_up);
            late.hang_up();
            site.end().await;
        });
    }
}
