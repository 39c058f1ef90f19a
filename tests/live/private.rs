//! Calls outside any queue (Q5), and the dialplan's part between FreeSWITCH and the daemon: the token, several
//! controllers.

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::Fact;

use crate::caller::From;
use crate::lab::{Lab, SOON};
use crate::sound::RING_TONE;

crate::cases!("private":
    an_agent_is_rung_within_a_second_after_a_private_call,
    a_call_without_the_token_goes_back_to_the_dialplan,
    the_second_controller_takes_calls_while_the_first_is_away,
    callers_who_came_without_a_daemon_stand_in_order,
);

/// Q5, with every strategy, at any moment between the daemon's looks at FreeSWITCH's table, which lags behind.
fn an_agent_is_rung_within_a_second_after_a_private_call(lab: &Lab) {
    let phone = lab.phone("1001");
    for (n, strategy) in ["as-listed", "simultaneous", "longest-idle", "random"].into_iter().enumerate() {
        let file =
            format!("  - {{ number: \"99900\", name: Sales, strategy: {strategy}, participants: [\"1001\"] }}\n");
        if n == 0 {
            lab.serve(&file);
            lab.log_in("99900", &["1001"]);
        } else {
            assert!(lab.daemon().reload(&lab.switch, &file).status.success());
        }
        // The daemon looks every three seconds: these are moments in between.
        for moment in 0..6 {
            let private = lab.call(&From::phone("1001"), "9000");
            std::thread::sleep(Duration::from_millis(300 + 500 * moment));
            private.hang_up();
            private.over(SOON);
            let ended = Instant::now();
            // The table keeps the channel for a moment longer.
            std::thread::sleep(Duration::from_millis(150));
            let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
            let ring = phone.rings(SOON);
            let after = ring.invite.at.saturating_duration_since(ended);
            println!("  {strategy}, {moment}: rung {after:?} after hanging up");
            assert!(after < Duration::from_secs(1), "Q5: rung {after:?} after hanging up");
            caller.hang_up();
            ring.cancelled(SOON);
            caller.over(SOON);
        }
    }
    // The same while a caller waits all the time.
    let private = lab.call(&From::phone("1001"), "9000");
    std::thread::sleep(Duration::from_millis(500));
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    phone.stays_quiet(Duration::from_millis(4_000));
    private.hang_up();
    let ended = Instant::now();
    let ring = phone.rings(SOON);
    let after = ring.invite.at.saturating_duration_since(ended);
    assert!(after < Duration::from_secs(1), "Q5: rung {after:?} after hanging up");
    private.over(SOON);
    caller.hang_up();
    ring.cancelled(SOON);
    caller.over(SOON);
}

/// Q2.
fn a_call_without_the_token_goes_back_to_the_dialplan(lab: &Lab) {
    let queue = "  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n";
    lab.serve(queue);
    lab.log_in("99900", &["1001"]);
    let with_token = format!("{queue}token: s3cret\n");
    assert!(lab.daemon().reload(&lab.switch, &with_token).status.success());
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    caller.sound.hears(RING_TONE, caller.since, SOON);
    lab.phone("1001").stays_quiet(Duration::from_millis(2_500));
    assert!(!caller.is_over(), "the dialplan holds the caller");
    lab.switch.set("fsq_socket", &format!("127.0.0.1:{}/s3cret", lab.switch.controller));
    lab.switch.api("reloadxml");
    // The dialplan uses the new settings in the call's next round.
    let ring = lab.phone("1001").rings(Duration::from_secs(8));
    ring.serves(caller);
    lab.switch.set("fsq_socket", &format!("127.0.0.1:{}", lab.switch.controller));
    lab.switch.api("reloadxml");
}

/// Q19: `socket a|b`, where nothing listens at the first.
fn the_second_controller_takes_calls_while_the_first_is_away(lab: &Lab) {
    let nobody = crate::machine::tcp_port();
    lab.switch.set("fsq_socket", &format!("127.0.0.1:{nobody}|127.0.0.1:{}", lab.switch.controller));
    lab.switch.api("reloadxml");
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    lab.daemon_mut().kill();
    lab.serve_again();
    ring.cancelled(Duration::from_secs(6));
    let again = lab.phone("1001").rings(Duration::from_secs(6));
    again.serves(caller);
    lab.switch.set("fsq_socket", &format!("127.0.0.1:{}", lab.switch.controller));
    lab.switch.api("reloadxml");
}

/// Q4, Q19: the callers return in random order, and their waits count from their calls.
fn callers_who_came_without_a_daemon_stand_in_order(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"], ring_seconds: 60 }\n");
    lab.log_in("99900", &["1001"]);
    lab.daemon_mut().kill();
    let mut callers = Vec::new();
    let came = Instant::now();
    for n in 0..8 {
        callers.push(lab.call(&From::outside(&format!("079000000{n}"), ""), "99900"));
        std::thread::sleep(Duration::from_millis(437));
    }
    lab.serve_again();
    let entered = |fact: &Fact| matches!(fact, Fact::CallEntered { .. }).then_some(());
    lab.daemon().nth_fact("everybody", callers.len() - 1, SOON, entered);
    let ring = lab.phone("1001").rings(SOON);
    assert!(ring.invite.header("From").contains("0790000000"), "Q4: {}", ring.invite.header("From"));
    let status = lab.daemon().status();
    let waiting = status["queues"][0]["waiting"].as_array().expect("a list").clone();
    let numbers: Vec<&str> = waiting.iter().map(|w| w["number"].as_str().expect("a number")).collect();
    let all: Vec<String> = (0..8).map(|n| format!("079000000{n}")).collect();
    assert_eq!(numbers, all, "Q4: first come, first served");
    let waits = |n: usize| status["at"].as_i64().expect("ms") - waiting[n]["since"].as_i64().expect("ms");
    let since = i64::try_from(came.elapsed().as_millis()).expect("ms");
    assert!((waits(0) - since).abs() < 1_000, "waits {} ms of {since}", waits(0));
    assert!(waits(7) < waits(0) - 7 * 437, "as they came");
    callers.iter().for_each(crate::caller::Caller::hang_up);
    callers.into_iter().for_each(|caller| caller.over(SOON));
    ring.cancelled(SOON);
}
