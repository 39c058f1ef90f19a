//! Q18, Q19, Q20: the daemon or the switch stops and returns.

use simswitch::{Behaviour, CallSpec, Caller, Sound};

use crate::house::{House, answers, pass, play};
use crate::setting::{Queue, queue};

fn service() -> Queue {
    queue("99900", &["1001", "1002"]).with("wrap_up_seconds: 10")
}

/// Q19: no waiting caller is lost or loses the place, in whatever order they return; the first entry time is kept.
#[test]
fn q19_a_killed_daemon_loses_nobody() {
    play(async {
        let house = House::durable("q19-line", &[service()]);
        for agent in ["1001", "1002"] {
            house.log_out(agent, "99900");
        }
        house.log_in("1002", "99900");
        house.when_rung("1002", Behaviour::Busy);
        let callers: Vec<Caller> = (0..7).map(|n| house.caller(&format!("079{n}"), "99900")).collect();
        pass(20_000).await;
        let before = house.line("99900");
        assert_eq!(before.len(), 7);
        house.kill().await;
        for caller in &callers {
            caller.wait_hears("tone_stream").await;
        }
        // Some callers give up while no daemon runs.
        callers[2].hang_up();
        pass(7_300).await;
        house.start_again();
        pass(3_000).await;
        let expected: Vec<&String> = before.iter().filter(|n| *n != "0792").collect();
        assert_eq!(house.line("99900").iter().collect::<Vec<_>>(), expected);
        let book = house.book().await;
        assert_eq!(book.story_of(&["is back in 99900"]).len(), 6);
        book.keeps_the_first_entry("0796", "99900");
        // Offers continue in the old order.
        house.when_rung("1002", answers(300));
        for caller in callers.iter().filter(|c| c.ended().is_none()) {
            assert_eq!(caller.wait_talking().await, "1002");
            pass(500).await;
            caller.hang_up();
        }
        pass(40_000).await;
        let book = house.end().await;
        let served: Vec<String> = book.answered().into_iter().map(|(_, caller)| caller).collect();
        assert_eq!(served.iter().collect::<Vec<_>>(), expected);
        assert_eq!(book.story_of(&["lost"]), ["0792 is lost by 99900"], "a caller who never returns has an end too");
    });
}

/// Q19, Q9: a conversation continues without interruption; its agent is known to be busy and gets the wrap-up after it.
#[test]
fn q19_a_conversation_outlives_the_daemon() {
    for away in [100, 3_000, 20_000] {
        play(async move {
            let house = House::durable(&format!("q19-talk-{away}"), &[service().of(&["1001"])]);
            let hans = house.caller("0791", "99900");
            house.take("1001").await;
            pass(5_000).await;
            house.kill().await;
            pass(away).await;
            assert_eq!(hans.view().talks_to(), Some("1001"), "the conversation is not interrupted");
            house.start_again();
            pass(1_000).await;
            assert_eq!(house.activity("1001"), "talking");
            let eva = house.caller("0792", "99900");
            pass(20_000).await;
            assert_eq!(house.phone("1001").view().talks_to(), Some("0791"));
            assert!(!house.phone("1001").is_ringing());
            hans.hang_up();
            house.phone("1001").wait_idle().await;
            pass(5_000).await;
            assert_eq!(house.activity("1001"), "wrap-up");
            assert_eq!(house.take("1001").await, "0792");
            eva.hang_up();
            let book = house.end().await;
            let gap = book.when("1001 is offered 0792") - book.when("1001 and 0791 end: caller");
            assert_eq!(gap, 10_000, "after its wrap-up: {:?}", book.timed());
        });
    }
}

/// Q19: a conversation that ends while no daemon runs leaves no agent busy.
#[test]
fn q19_a_conversation_ends_while_the_daemon_is_away() {
    play(async {
        let house = House::durable("q19-ended", &[service().of(&["1001"])]);
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        pass(1_000).await;
        house.kill().await;
        pass(2_000).await;
        house.phone("1001").hang_up();
        hans.wait_ended().await;
        pass(2_000).await;
        house.start_again();
        let eva = house.caller("0792", "99900");
        assert_eq!(house.take("1001").await, "0792");
        eva.hang_up();
        let story = house.end().await.story();
        assert!(story.contains(&"1001 and 0791 end: unknown".to_owned()), "{story:?}");
    });
}

/// Q19, Q8: a phone that rings when the daemon dies is connected when answered, stops, or rings for the returned
/// caller: it never answers to silence, and never rings twice.
#[test]
fn q19_a_ringing_phone_outlives_the_daemon() {
    for (away, answer) in [(300, None), (300, Some(100)), (300, Some(2_000)), (8_000, None), (8_000, Some(4_000))] {
        play(async move {
            let house = House::durable(&format!("q19-rings-{away}-{answer:?}"), &[service()]);
            let hans = house.caller("0791", "99900");
            house.phone("1001").wait_ringing().await;
            pass(1_000).await;
            house.kill().await;
            let taken = async {
                if let Some(after) = answer {
                    pass(after).await;
                    house.phone("1001").answer();
                }
            };
            let back = async {
                pass(away).await;
                house.start_again();
            };
            tokio::join!(taken, back);
            pass(10_000).await;
            let talks = hans.view().talks_to().is_some();
            let rings = house.phone("1001").is_ringing() || house.phone("1002").is_ringing();
            assert!(talks || rings, "the caller is served");
            hans.hang_up();
            house.phone("1001").wait_idle().await;
            house.phone("1002").wait_idle().await;
            pass(40_000).await;
            house.end().await;
        });
    }
}

/// Q19, Q21: a phone answers in the instant in which the daemon is killed: the caller is still served, and the new
/// daemon does not query FreeSWITCH without a pause about a leg that it cannot end.
#[test]
fn q19_a_phone_is_answered_as_the_daemon_dies() {
    play(async {
        let house = House::durable("q19-answered", &[service().of(&["1001"])]);
        let hans = house.caller("0791", "99900");
        let phone = house.phone("1001");
        phone.wait_ringing().await;
        assert!(phone.answer());
        house.kill().await;
        house.start_again();
        let phone = phone.on_ring(answers(300));
        pass(8_000).await;
        assert_eq!(hans.wait_talking().await, "1001");
        assert_eq!(phone.wait_talking().await, "0791");
        hans.hang_up();
        pass(10_000).await;
        house.end().await;
    });
}

/// Q19, Q8: a leg that FreeSWITCH does not list yet when the new daemon first looks: its agent is not rung for a second
/// caller meanwhile.
#[test]
fn q19_a_leg_that_is_not_listed_yet() {
    play(async {
        let house = House::durable("q19-unlisted", &[service().of(&["1001"])]);
        let hans = house.caller("0791", "99900");
        let phone = house.phone("1001");
        phone.wait_ringing().await;
        house.kill().await;
        house.start_again();
        house.switch.wait_until(|_| phone.rings().len() == 2).await;
        assert_eq!(house.take("1001").await, "0791");
        hans.hang_up();
        house.end().await;
    });
}

/// Q18: logins survive a restart of the daemon, and so do logouts.
#[test]
fn q18_logins_survive() {
    play(async {
        let house = House::durable("q18", &[service(), queue("99901", &["1001"])]);
        let logout = house.switch.call(&CallSpec::phone("1001", "*4299901"));
        logout.wait_ended().await;
        house.kill().await;
        pass(1_000).await;
        house.start_again();
        assert!(house.is_in("1001", "99900") && house.is_in("1002", "99900") && !house.is_in("1001", "99901"));
        house.switch.restart();
        pass(1_000).await;
        assert!(house.is_in("1001", "99900") && house.is_in("1002", "99900") && !house.is_in("1001", "99901"));
        let hans = house.caller("0791", "99900");
        assert_eq!(house.take("1001").await, "0791");
        hans.hang_up();
        house.end().await;
    });
}

/// Q18, Q14: an agent logs in and out at the same instant, from two phones: the last code counts, at once and after a
/// restart.
#[test]
fn q18_a_login_and_a_logout_in_one_instant() {
    for (first, last) in [("*41", "*42"), ("*42", "*41")] {
        play(async move {
            let house = House::durable(&format!("q18-instant-{}", &last[1..]), &[service()]);
            if first == "*41" {
                house.log_out("1001", "99900");
            }
            let dials = [first, last, first, last];
            let calls = dials.map(|code| house.switch.call(&CallSpec::phone("1001", &format!("{code}99900"))));
            for call in calls {
                call.wait_ended().await;
            }
            assert_eq!(house.is_in("1001", "99900"), last == "*41");
            house.kill().await;
            house.start_again();
            assert_eq!(house.is_in("1001", "99900"), last == "*41");
            house.end().await;
        });
    }
}

/// Q6, Q9: the order of longest-idle agents and the rest of a wrap-up survive a restart.
#[test]
fn q6_q9_the_agents_past_survives() {
    play(async {
        let idle = queue("99900", &["1001", "1002"]).with("strategy: longest-idle").with("wrap_up_seconds: 30");
        let house = House::durable("past", &[idle]);
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        hans.hang_up();
        house.phone("1001").wait_idle().await;
        pass(12_000).await;
        house.kill().await;
        house.start_again();
        assert_eq!(house.activity("1001"), "wrap-up");
        let ended = house.book().await.when("1001 and 0791 end: caller");
        house.log_out("1002", "99900");
        let eva = house.caller("0792", "99900");
        assert_eq!(house.take("1001").await, "0792");
        let offered = house.book().await.when("1001 is offered 0792");
        assert_eq!(offered - ended, 30_000, "to the millisecond");
        eva.hang_up();
        pass(31_000).await;
        house.log_in("1002", "99900");
        house.kill().await;
        house.start_again();
        let third = house.caller("0793", "99900");
        assert_eq!(house.take("1002").await, "0793", "1002 never had a conversation");
        third.hang_up();
        house.end().await;
    });
}

/// Q20: the connections break, the calls do not: all callers return to their old places.
#[test]
fn q20_the_network_breaks() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        house.when_rung("1001", Behaviour::Busy);
        let callers: Vec<Caller> = (0..4).map(|n| house.caller(&format!("079{n}"), "99900")).collect();
        pass(10_000).await;
        house.switch.cut_connections();
        pass(3_000).await;
        assert_eq!(house.line("99900"), ["0790", "0791", "0792", "0793"]);
        assert!(callers.iter().all(|c| matches!(c.hears(), Sound::Playing(_))));
        callers.iter().for_each(Caller::hang_up);
        let book = house.end().await;
        book.keeps_the_first_entry("0793", "99900");
    });
}
