//! The order of the line with head starts (Q25, Q27).

use crate::caller::From;
use crate::lab::{Lab, SOON};

crate::cases!("order":
    a_head_start_from_the_dialplan_outlives_the_daemon,
    a_head_start_from_the_file_moves_the_callers_who_wait,
);

/// The number whose dialplan sets a head start of ten minutes and leads to 99900.
const AHEAD: &str = "7902";

/// The caller for whom the phone rings next is served.
#[track_caller]
fn served_next(lab: &Lab, number: &str, caller: crate::caller::Caller) {
    let ring = lab.phone("1001").rings(SOON);
    let from = ring.invite.header("From");
    assert!(from.contains(number), "expected {number}, got {from}");
    ring.serves(caller);
}

/// The numbers of the callers who wait in 99900 and in 99901, in order.
fn lines(lab: &Lab) -> Vec<Vec<String>> {
    let status = lab.daemon().status();
    let queues = status["queues"].as_array().expect("queues").iter();
    let number = |caller: &serde_json::Value| caller["number"].as_str().unwrap_or_default().to_owned();
    queues.map(|queue| queue["waiting"].as_array().expect("callers").iter().map(number).collect()).collect()
}

/// Q25, Q19.
fn a_head_start_from_the_dialplan_outlives_the_daemon(lab: &Lab) {
    lab.serve("  - { number: \"99900\", name: Sales, participants: [\"1001\"] }\n");
    lab.log_in("99900", &["1001"]);
    let talking = lab.call(&From::outside("0790000000", ""), "99900");
    let talk = lab.phone("1001").rings(SOON);
    talk.connects(&talking);
    let first = lab.call(&From::outside("0791111111", ""), "99900");
    let second = lab.call(&From::outside("0792222222", ""), AHEAD);
    let third = lab.call(&From::outside("0793333333", ""), "99900");
    let line = [vec!["0792222222", "0791111111", "0793333333"]];
    lab.until("the caller with a head start stands ahead", || lines(lab) == line);
    assert_eq!(lab.daemon().status()["queues"][0]["waiting"][0]["head_start_ms"], 600_000);
    lab.daemon_mut().kill();
    lab.serve_again();
    lab.until("the callers are back in their order", || lines(lab) == line);
    talk.hang_up();
    served_next(lab, "0792222222", second);
    served_next(lab, "0791111111", first);
    served_next(lab, "0793333333", third);
    talking.over(SOON);
}

/// Q25, Q27.
fn a_head_start_from_the_file_moves_the_callers_who_wait(lab: &Lab) {
    let queues = |head_start: u32| {
        format!(
            "  - {{ number: \"99900\", name: Sales, participants: [\"1001\"] }}\n  \
               - {{ number: \"99901\", name: Help, participants: [\"1001\"], head_start_seconds: {head_start} }}\n"
        )
    };
    lab.serve(&queues(0));
    lab.log_in("99900", &["1001"]);
    lab.log_in("99901", &["1001"]);
    let talking = lab.call(&From::outside("0790000000", ""), "99900");
    let talk = lab.phone("1001").rings(SOON);
    talk.connects(&talking);
    let sales = lab.call(&From::outside("0791111111", ""), "99900");
    let help = lab.call(&From::outside("0792222222", ""), "99901");
    lab.until("both wait", || lines(lab) == [["0791111111"], ["0792222222"]]);
    let reload = lab.daemon().reload(&lab.switch, &queues(3600));
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    talk.hang_up();
    served_next(lab, "0792222222", help);
    served_next(lab, "0791111111", sales);
    talking.over(SOON);
}
