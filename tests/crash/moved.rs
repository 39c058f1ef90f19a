//! Q102, Q13: transferred calls: the queue is that of the number dialled last, and no variable of the daemon stays on a
//! channel.

use freeswitch_queue::esl::{ApiCall, Command};
use simswitch::Behaviour;

use crate::repairs::hand;
use crate::site::{Site, answers, pass, play, setting};

const THREE: [&str; 3] = [
    r#"number: "99900", participants: ["1001"]"#,
    r#"number: "99901", participants: ["1002"]"#,
    r#"number: "99902", participants: ["1003"]"#,
];

/// Variables of the caller's channel that belong to the daemon or that it sets; except the call's context, which the
/// dialplan needs for callers it has held once.
const OURS: [&str; 11] = [
    "socket_resume",
    "playback_terminators",
    "execute_on_blind_transfer",
    "fsq_dialled",
    "fsq_language",
    "fsq_place",
    "fsq_away",
    "fsq_held",
    "fsq_hold",
    "fsq_came",
    "fsq_order",
];

/// Q102: a caller who is transferred repeatedly enters the queue that is dialled, behind its waiting callers, with a
/// new wait; also after the dialplan has held the call, because the daemon died (`killed`) while the caller waited.
fn passed_on_twice(killed: bool) {
    play(async move {
        let site = Site::open(setting(&THREE));
        pass(1_000).await;
        let hans = site.caller("0791", "99900");
        if killed {
            pass(2_000).await;
            site.kill().await;
            pass(7_000).await;
            site.start();
            pass(8_000).await;
        }
        assert_eq!(site.take("1001").await, "0791");
        pass(60_000).await;
        // A caller already waits in the line that Hans enters.
        site.when_rung("1002", Behaviour::Manual);
        let vreni = site.caller("0792", "99901");
        site.phone("1002").wait_ringing().await;
        assert!(site.phone("1001").blind_transfer("99901"));
        pass(3_000).await;
        assert_eq!(site.line("99901"), ["0792", "0791"]);
        assert_eq!(site.take("1002").await, "0792");
        pass(500).await;
        assert!(vreni.view().talks_to().is_some());
        vreni.hang_up();
        assert_eq!(site.take("1002").await, "0791");
        pass(500).await;
        assert!(site.phone("1002").blind_transfer("99902"));
        pass(3_000).await;
        assert_eq!(site.line("99902"), ["0791"]);
        assert_eq!(site.take("1003").await, "0791");
        // Back to the first queue.
        assert!(site.phone("1003").blind_transfer("99900"));
        pass(3_000).await;
        assert_eq!(site.take("1001").await, "0791");
        hans.hang_up();
        let book = site.end().await;
        let entries = book.story_of(&["0791 enters"]);
        let queues: Vec<&str> = entries.iter().filter_map(|line| line.rsplit(' ').next()).collect();
        assert_eq!(queues, ["99900", "99901", "99902", "99900"]);
    });
}

#[test]
fn q102_every_transfer_leads_to_the_queue_that_is_dialled() {
    passed_on_twice(false);
    passed_on_twice(true);
}

/// Q102: also if an operator moves the caller to the number of the same queue while no daemon runs, in the context of
/// the house or in the one that holds the call.
#[test]
fn q102_a_caller_who_is_moved_while_no_daemon_runs_goes_to_the_end_of_the_line() {
    for context in ["default", "freeswitch-queue"] {
        play(async move {
            let site = Site::open(setting(&[r#"number: "99900", participants: ["1001"]"#]));
            pass(1_000).await;
            site.when_rung("1001", Behaviour::Ignore);
            let mut callers = Vec::new();
            for number in ["0790", "0791", "0792"] {
                callers.push(site.caller(number, "99900"));
                pass(500).await;
            }
            assert_eq!(site.line("99900"), ["0790", "0791", "0792"]);
            site.kill().await;
            pass(300).await;
            let (operator, events) = hand(&site.switch).await;
            let moved = ApiCall::new(format!("uuid_transfer {} 99900 XML {context}", callers[1].uuid())).unwrap();
            operator.send(&Command::Api(moved)).unwrap().await.done().unwrap();
            drop((operator, events));
            pass(300).await;
            site.start();
            pass(8_000).await;
            assert_eq!(site.line("99900"), ["0790", "0792", "0791"], "in the context {context}");
            callers.iter().for_each(simswitch::Caller::hang_up);
            site.end().await;
        });
    }
}

/// Q13: an internal number leads back to the queue; a caller who would enter it a second time hears the message and is
/// hung up.
#[test]
fn q13_no_chain_of_timeouts_is_an_endless_loop() {
    play(async {
        let site = Site::open(setting(&[
            r#"number: "99900", participants: ["1001"], max_wait_minutes: 0.1, timeout: { action: { queue: "99901" } }"#,
            r#"number: "99901", participants: ["1002"], max_wait_minutes: 0.1, timeout: { message: "/sorry.wav", action: { transfer: "8900" } }"#,
        ]));
        pass(1_000).await;
        for agent in ["1001", "1002"] {
            site.when_rung(agent, Behaviour::Ignore);
        }
        let hans = site.caller("0791", "99900");
        assert_eq!(hans.wait_ended().await, "NORMAL_CLEARING");
        let book = site.end().await;
        assert_eq!(
            book.story_of(&["enters", "times out", "is hung up", "is transferred"]),
            [
                "0791 enters 99900",
                "0791 times out of 99900: max wait",
                "0791 enters 99901",
                "0791 times out of 99901: max wait",
                "0791 is transferred to 8900",
                "0791 enters 99900",
                "0791 times out of 99900: second time",
                "0791 is hung up",
            ]
        );
    });
}

/// Q102: entering a queue again is no loop if a party who talked to the caller made the transfer.
#[test]
fn q102_a_caller_who_was_transferred_by_an_agent_may_enter_again() {
    play(async {
        let site = Site::open(setting(&[
            r#"number: "99900", participants: ["1001"], max_wait_minutes: 0.1, timeout: { action: { transfer: "1005" } }"#,
        ]));
        pass(1_000).await;
        site.when_rung("1001", Behaviour::Ignore);
        let emma = site.when_rung("1005", answers(500));
        let hans = site.caller("0791", "99900");
        emma.wait_talking().await;
        pass(2_000).await;
        site.when_rung("1001", Behaviour::Manual);
        pass(3_000).await;
        assert!(emma.blind_transfer("99900"));
        assert_eq!(site.take("1001").await, "0791");
        hans.hang_up();
        site.end().await;
    });
}

/// Q102: after a transfer, by the daemon or an agent, the channel is as the dialplan expects it.
#[test]
fn q102_no_variable_of_the_daemon_stays_on_a_channel_it_has_let_go() {
    play(async {
        let site = Site::open(setting(&[
            r#"number: "99900", participants: ["1001"], max_wait_minutes: 0.1, timeout: { action: { transfer: "1005" } }"#,
        ]));
        pass(1_000).await;
        let emma = site.when_rung("1005", answers(500));
        for by_agent in [false, true] {
            let hans = site.caller("0791", "99900");
            if by_agent {
                assert_eq!(site.take("1001").await, "0791");
                pass(500).await;
                assert!(site.phone("1001").blind_transfer("1005"));
            } else {
                site.when_rung("1001", Behaviour::Ignore);
            }
            emma.wait_talking().await;
            site.when_rung("1001", Behaviour::Manual);
            pass(500).await;
            let left: Vec<_> = OURS.iter().filter_map(|name| Some((*name, hans.variable(name)?))).collect();
            assert_eq!(left, [], "by the agent: {by_agent}");
            assert_eq!(hans.variable("hangup_after_bridge"), None, "by the agent: {by_agent}");
            hans.hang_up();
            emma.wait_idle().await;
        }
        site.end().await;
    });
}

/// Q103: the third party takes the place of the consulting agent, with the same wait, and no caller counts as
/// abandoned.
#[test]
fn q103_a_consultation_completed_while_it_waits_keeps_the_place() {
    play(async {
        let site = Site::open(setting(&THREE));
        pass(1_000).await;
        site.when_rung("1001", Behaviour::Ignore);
        let reception = site.phone("1004");
        let hans = site.caller("0791", "1004");
        reception.wait_ringing().await;
        assert!(reception.answer());
        hans.wait_talking().await;
        let question = site.dial("1004", "99900");
        pass(10_000).await;
        let vreni = site.caller("0792", "99900");
        pass(2_000).await;
        assert_eq!(site.line("99900"), ["1004", "0792"]);
        assert!(reception.attended_transfer(&question));
        pass(3_000).await;
        assert_eq!(site.line("99900"), ["0791", "0792"]);
        site.when_rung("1001", Behaviour::Manual);
        pass(20_000).await;
        assert_eq!(site.take("1001").await, "0791");
        hans.hang_up();
        vreni.hang_up();
        let book = site.end().await;
        assert_eq!(book.story_of(&["1004 abandons", "1004 is taken"]), ["1004 is taken out of 99900"]);
        let entered = book.when("1004 enters 99900");
        assert_eq!(book.first_entries("0791"), [entered], "the wait counts from the consulting agent's entry");
    });
}

/// Q106: a call that an operator ends is not recorded as abandoned.
#[test]
fn q106_a_caller_hung_up_by_the_switch_is_lost() {
    play(async {
        let site = Site::open(setting(&THREE));
        pass(1_000).await;
        site.when_rung("1001", Behaviour::Ignore);
        let (lost, gives_up) = (site.caller("0791", "99900"), site.caller("0792", "99900"));
        pass(2_000).await;
        let (connection, _events) = hand(&site.switch).await;
        let call = ApiCall::new(format!("uuid_kill {}", lost.uuid())).unwrap();
        connection.send(&Command::Api(call)).unwrap().await.done().unwrap();
        connection.close();
        gives_up.hang_up();
        let book = site.end().await;
        let mut ends = book.story_of(&["is lost", "abandons"]);
        ends.sort();
        assert_eq!(ends, ["0791 is lost by 99900", "0792 abandons 99900"]);
    });
}
