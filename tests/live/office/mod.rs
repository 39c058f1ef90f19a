//! A day in the office: phones, callers, operators, restarts and deaths, at random, for any length.
//!
//! `OFFICE_SECONDS` (90), `OFFICE_SEED` (printed), `OFFICE_DEATHS` (one in 30 s). The actions depend on the seed and on
//! what the calls do; each finding is printed with all events of the people it concerns.

mod day;
mod hands;
mod line;
mod operator;
pub mod people;
pub mod watch;

use std::time::Duration;

use crate::lab::{Lab, SOON};
use crate::switch::{DOMAIN, SECRET};

use ::phones::{Manner, Phones};
use day::Day;
pub use people::STAFF;

crate::cases!("office":
    a_day_in_the_office,
);

/// The phones of the office, registered at the lab's FreeSWITCH.
pub fn phones(lab: &Lab) -> Phones {
    let open = || Phones::with_password(lab.switch.sip, lab.switch.trunk, Some(SECRET)).expect("phones");
    let phones = lab.office.get_or_init(open).clone();
    phones.give_tones(people::tones());
    STAFF.iter().for_each(|user| phones.set_manner(user, Manner::Rings));
    phones.register(&STAFF.map(str::to_owned), DOMAIN).expect("registered phones");
    phones
}

/// The queues: one agent of each never logs out, so that no wait ends for lack of agents.
const QUEUES: &str = "  - { number: \"99900\", name: Sales, strategy: longest-idle, wrap_up_seconds: 1, ring_seconds: 5,\n      \
                      participants: [\"1021\", \"1022\", \"1023\", \"1024\"] }\n  \
                      - { number: \"99901\", name: Help, strategy: as-listed, ring_seconds: 5,\n      \
                      participants: [\"1024\", \"1025\", \"1026\"] }\n  \
                      - { number: \"99902\", name: Repairs, strategy: simultaneous, wrap_up_seconds: 0.5, ring_seconds: 5,\n      \
                      participants: [\"1026\", \"1027\", \"1028\", \"1021\"] }\n";

/// Q4, Q7 to Q9, Q19, Q22, Q23, Q102 to Q106, Q110: checked at the phones and in the store.
fn a_day_in_the_office(lab: &Lab) {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = given("OFFICE_SECONDS").unwrap_or(90);
    let seed = given("OFFICE_SEED").unwrap_or_else(people::any_seed);
    let deaths = given("OFFICE_DEATHS").unwrap_or(seconds / 30);
    println!("OFFICE_SEED={seed} OFFICE_SECONDS={seconds} OFFICE_DEATHS={deaths}");
    lab.serve(QUEUES);
    let mut day = Day::begin(lab, seed, Duration::from_secs(seconds), deaths);
    day.play();
    day.close();
    let left = lab.switch.channels().all_gone(SOON);
    if let Err(left) = left {
        day.find(format!("a leg is left: {left}"), &[]);
    }
    if let Err(why) = crate::records::balanced(&lab.daemon().store()) {
        day.find(why, &[]);
    }
    let findings = day.findings();
    assert!(findings.is_empty(), "{} findings with OFFICE_SEED={seed}:\n{}", findings.len(), findings.join("\n"));
}
