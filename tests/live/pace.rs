//! The pace at which a queue rings many phones (Q6).

use std::time::Duration;

use freeswitch_queue::acd::fact::Fact;
use phones::{Call, Phones};

use crate::lab::{Lab, SOON, crowd};
use crate::switch::{DOMAIN, SECRET};

crate::cases!("pace":
    ringing_forty_phones_at_once_refuses_no_caller,
);

/// FreeSWITCH's default.
const SESSIONS_PER_SECOND: &str = "30";
/// The pause between two callers: with half of FreeSWITCH's limit for the phones, 15 callers a second have room.
const PAUSE: Duration = Duration::from_millis(80);
/// The callers who come while the phones begin to ring.
const CALLERS: usize = 30;

/// Sets FreeSWITCH's limit, and resets it at the end.
struct Limit<'a>(&'a Lab);

impl<'a> Limit<'a> {
    fn set(lab: &'a Lab) -> Self {
        let said = lab.switch.api(&format!("fsctl sps {SESSIONS_PER_SECOND}"));
        assert!(said.contains(SESSIONS_PER_SECOND), "{said}");
        Self(lab)
    }
}

impl Drop for Limit<'_> {
    fn drop(&mut self) {
        self.0.switch.api("fsctl sps 1000");
    }
}

/// Q6: FreeSWITCH refuses new sessions above its limit, whoever wants them. A queue that rings forty agents for each
/// caller leaves half of the limit to callers.
fn ringing_forty_phones_at_once_refuses_no_caller(lab: &Lab) {
    let _limit = Limit::set(lab);
    let agents: Vec<String> = crowd().collect();
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, strategy: simultaneous, ring_seconds: 30, participants: {agents:?} }}\n"
    ));
    let phones = Phones::with_password(lab.switch.sip, lab.switch.trunk, Some(SECRET)).expect("phones");
    phones.register(&agents, DOMAIN).expect("registered phones");
    for agent in &agents {
        phones.call_from(agent, DOMAIN, "*4199900");
        std::thread::sleep(PAUSE);
    }
    let over = |calls: &[Call]| calls.iter().all(|call| call.ended.is_some()).then_some(());
    phones.wait("the ends of the logins", SOON, 0, over).expect("forty logins");
    let logged_in = |fact: &Fact| matches!(fact, Fact::AgentLoggedIn { .. }).then_some(());
    lab.daemon().nth_fact("the last login", agents.len() - 1, SOON, logged_in);
    let first = phones.count();
    let waiting = phones.call("0790000000", "99900");
    let mut callers = Vec::new();
    for n in 0..CALLERS {
        callers.push(phones.call(&format!("07911111{n:02}"), "9000"));
        std::thread::sleep(PAUSE);
    }
    let settled = |calls: &[Call]| {
        let open = calls.iter().any(|call| call.is_caller && call.answered.is_none() && call.refused.is_none());
        (!open).then_some(())
    };
    phones.wait("an answer for every caller", SOON, first, settled).expect("answers");
    let refused = |call: &usize| phones.get(*call).and_then(|call| call.refused);
    let all: Vec<u16> = callers.iter().chain([&waiting]).filter_map(refused).collect();
    assert!(all.is_empty(), "of {CALLERS} callers, FreeSWITCH refused {all:?}");
    let ringing = |calls: &[Call]| {
        let rung = calls.iter().filter(|call| !call.is_caller && call.ringing.is_some()).count();
        (rung == agents.len()).then_some(())
    };
    phones.wait("forty ringing phones", SOON, first, ringing).expect("every agent is rung");
    phones.hang_up(waiting);
    callers.into_iter().for_each(|call| phones.hang_up(call));
    lab.switch.channels().all_gone(SOON).unwrap();
}
