//! Deaths of the daemon beside a real FreeSWITCH (Q16, Q19); run by `tests/live.rs`, in its lab.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::Fact;

use crate::caller::{Caller, From};
use crate::lab::Lab;

crate::cases!("deaths":
    ten_deaths_in_a_row_lose_no_caller,
    a_call_stranded_by_a_death_is_rescued,
    a_lamp_subscribed_without_a_daemon_gets_its_state_later,
);

const TALKING: [&str; 5] = ["1001", "1002", "1003", "1004", "1005"];
const RUNG: [&str; 2] = ["1006", "1007"];
const WAITING: usize = 20;
/// For events that take two seconds at most, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn queue(agents: &[&str]) -> String {
    format!("  - {{ number: \"99900\", name: Sales, participants: {agents:?}, ring_seconds: 120 }}\n")
}

/// The numbers of the waiting callers, in order.
fn line(lab: &Lab) -> Vec<String> {
    let status = lab.daemon().status();
    let waiting = status["queues"][0]["waiting"].as_array().expect("a list").clone();
    waiting.iter().map(|w| w["number"].as_str().expect("a number").to_owned()).collect()
}

fn activities(lab: &Lab, agents: &[&str]) -> Vec<String> {
    let status = lab.daemon().status();
    let all = status["agents"].as_array().expect("a list").clone();
    let of = |id: &&str| {
        let agent = all.iter().find(|a| a["id"] == **id).expect("the agent");
        agent["activity"].as_str().expect("a word").to_owned()
    };
    agents.iter().map(of).collect()
}

/// Q19: twenty callers wait, five talk, two phones ring; `kill -9` and a new start, ten times in a row. No caller is
/// lost, every caller keeps the place, no conversation is cut, no phone rings without a caller.
fn ten_deaths_in_a_row_lose_no_caller(lab: &Lab) {
    let agents = [&TALKING[..], &RUNG[..]].concat();
    lab.serve(&queue(&agents));
    lab.log_in("99900", &agents);
    let mut callers = Vec::new();
    let mut talks = Vec::new();
    for (n, agent) in TALKING.iter().enumerate() {
        let caller = lab.call(&From::outside(&format!("07900000{n:02}"), ""), "99900");
        let talk = lab.phone(agent).rings(PATIENCE);
        let answered = talk.answer();
        caller.sound.hears(lab.phone(agent).tone, answered, PATIENCE);
        callers.push(caller);
        talks.push(talk);
    }
    for n in 0..RUNG.len() + WAITING {
        callers.push(lab.call(&From::outside(&format!("07911111{n:02}"), ""), "99900"));
        let entered = |fact: &Fact| matches!(fact, Fact::CallEntered { .. }).then_some(());
        lab.daemon().nth_fact("another caller", TALKING.len() + n, PATIENCE, entered);
    }
    let mut rings: Vec<_> = RUNG.iter().map(|agent| lab.phone(agent).rings(PATIENCE)).collect();
    let before = line(lab);
    assert_eq!(before.len(), RUNG.len() + WAITING);
    let channels = callers.len() + TALKING.len() + RUNG.len();
    for death in 0..10_u64 {
        lab.daemon_mut().kill();
        std::thread::sleep(Duration::from_millis([0, 200, 900, 2_500][usize::try_from(death % 4).expect("small")]));
        lab.serve_again();
        let started = Instant::now();
        // A phone that rang for an offer of the last daemon stops, and rings for an offer of this one.
        for (ring, agent) in rings.iter_mut().zip(RUNG) {
            let off = ring.cancelled(PATIENCE);
            assert_eq!(off.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"", "no missed call");
            let again = lab.phone(agent).rings(PATIENCE);
            assert!(again.invite.at >= off.at, "the phone has two offers at once");
            *ring = again;
        }
        let all_back = |fact: &Fact| matches!(fact, Fact::CallEntered { returned: true, .. }).then_some(());
        let (back, ()) = lab.daemon().nth_fact("all are back", before.len() - 1, PATIENCE, all_back);
        println!("  death {death}: all are back {:?} after the start", back.duration_since(started));
        assert_eq!(line(lab), before, "Q19: every caller has the old place");
        assert_eq!(activities(lab, &TALKING), ["talking"; 5]);
        assert_eq!(activities(lab, &RUNG), ["ringing"; 2]);
        assert!(talks.iter().all(|talk| !talk.is_over()) && callers.iter().all(|c| !c.is_over()), "somebody was cut");
        lab.switch.channels().come_to(channels, PATIENCE).expect("no leg too many, none too few");
    }
    // Both parties of every conversation hear each other.
    let now = Instant::now();
    for (caller, agent) in callers.iter().zip(TALKING) {
        caller.sound.hears(lab.phone(agent).tone, now, PATIENCE);
    }
    let talking = callers.drain(..TALKING.len()).collect::<Vec<_>>();
    for (caller, talk) in talking.into_iter().zip(talks) {
        caller.hang_up();
        talk.byed(PATIENCE);
        caller.over(PATIENCE);
        // The freed agent's phone rings for the next in line.
    }
    callers.iter().for_each(Caller::hang_up);
    callers.into_iter().for_each(|caller| caller.over(PATIENCE));
    rings.iter().for_each(|ring| drop(ring.cancelled(PATIENCE)));
}

/// Q19: the daemon that accepted the connection dies before the call is parked: FreeSWITCH keeps the call parked for
/// ever.
fn a_call_stranded_by_a_death_is_rescued(lab: &Lab) {
    lab.serve(&queue(&["1001"]));
    lab.log_in("99900", &["1001"]);
    lab.daemon_mut().kill();
    let dying = TcpListener::bind(("127.0.0.1", lab.switch.controller)).expect("the controller's port");
    let caller = lab.dial(&From::outside("0791234567", "Hans"), "99900");
    let (mut connection, _) = dying.accept().expect("a connection");
    connection.write_all(b"connect\n\n").expect("its first command");
    drop((connection, dying));
    // The dialplan would try again within two seconds.
    std::thread::sleep(Duration::from_secs(4));
    let rounds = lab.switch.api("show channels");
    // Whether FreeSWITCH notices the death in time to continue by itself depends on milliseconds.
    let stranded = rounds.contains(",socket,");
    eprintln!("  the call was {} by the death", if stranded { "stranded" } else { "not stranded" });
    lab.serve_again();
    let ring = lab.phone("1001").rings(Duration::from_secs(12));
    let answered = ring.answer();
    caller.sound.hears(lab.phone("1001").tone, answered, PATIENCE);
    assert_eq!(lab.daemon().status()["repairs"], u64::from(stranded));
    ring.hang_up();
    caller.over(PATIENCE);
}

/// Q16: a phone subscribes while no daemon runs, and gets its state when the daemon is back.
fn a_lamp_subscribed_without_a_daemon_gets_its_state_later(lab: &Lab) {
    lab.serve(&queue(&["1001", "1002"]));
    let early = lab.lamp("1005", "*4199900*1001");
    early.shows(false, PATIENCE);
    lab.log_in("99900", &["1001"]);
    early.shows(true, PATIENCE);
    lab.daemon_mut().kill();
    let late = lab.lamp("1006", "*4199900*1001");
    let other = lab.lamp("1007", "*4199900*1002");
    lab.serve_again();
    late.shows(true, PATIENCE);
    early.shows(true, PATIENCE);
    let out = lab.call(&From::phone("1001"), "*4299900");
    late.shows(false, PATIENCE);
    early.shows(false, PATIENCE);
    out.over(PATIENCE);
    assert!(!other.ever_lit(), "the lamp of another agent stays dark");
}
