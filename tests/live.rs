//! The daemon against a real FreeSWITCH with real SIP phones. Every test is named for the rule it proves.
//!
//! On a machine without FreeSWITCH or SIPp the tests are skipped, with a message. To run them:
//! `FREESWITCH=/prefix cargo test --test live`, or `... -- NAME` for the tests with NAME in their names.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/answers.rs"]
mod answers;
#[path = "live/caller.rs"]
mod caller;
#[path = "live/daemon.rs"]
mod daemon;
#[path = "live/lab.rs"]
mod lab;
#[path = "live/lamp.rs"]
mod lamp;
// Each binary needs only a part of this module.
#[allow(dead_code)]
#[path = "support/ledger.rs"]
mod ledger;
#[path = "live/office/mod.rs"]
mod office;
#[path = "live/phone.rs"]
mod phone;
#[path = "live/records.rs"]
mod records;
#[path = "live/refuser.rs"]
mod refuser;
// The office needs only a part of this module.
#[allow(dead_code)]
#[path = "support/rng.rs"]
mod rng;
#[path = "live/sipp.rs"]
mod sipp;
#[path = "live/six.rs"]
mod six;
#[path = "live/sound.rs"]
mod sound;

#[path = "live/causes.rs"]
mod causes;
#[path = "crash/live.rs"]
mod deaths;
#[path = "live/elsewhere.rs"]
mod elsewhere;
#[path = "live/ends.rs"]
mod ends;
#[path = "live/gates.rs"]
mod gates;
#[path = "live/hearing.rs"]
mod hearing;
#[path = "live/hostile.rs"]
mod hostile;
#[path = "live/logins.rs"]
mod logins;
#[path = "live/loops.rs"]
mod loops;
#[path = "live/moved.rs"]
mod moved;
#[path = "live/order.rs"]
mod order;
#[path = "live/pace.rs"]
mod pace;
#[path = "live/phones.rs"]
mod phones;
#[path = "live/pickup.rs"]
mod pickup;
#[path = "live/private.rs"]
mod private;
#[path = "live/restarts.rs"]
mod restarts;
#[path = "live/stops.rs"]
mod stops;
#[path = "live/strategies.rs"]
mod strategies;
#[path = "live/timeouts.rs"]
mod timeouts;
#[path = "live/trust.rs"]
mod trust;
#[path = "live/truth.rs"]
mod truth;
#[path = "live/two.rs"]
mod two;
#[path = "live/wire.rs"]
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use lab::{Lab, Programs};
use realswitch::{machine, switch};

/// One test: its name and its function.
type Case = (&'static str, fn(&Lab));

/// Makes the table of a module's tests.
macro_rules! cases {
    ($module:literal: $($name:ident),* $(,)?) => {
        pub const CASES: &[$crate::Case] = &[$((concat!($module, "::", stringify!($name)), $name)),*];
    };
}
pub(crate) use cases;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let all = [
        strategies::CASES,
        order::CASES,
        phones::CASES,
        causes::CASES,
        ends::CASES,
        elsewhere::CASES,
        moved::CASES,
        loops::CASES,
        hearing::CASES,
        timeouts::CASES,
        gates::CASES,
        logins::CASES,
        hostile::CASES,
        pickup::CASES,
        private::CASES,
        trust::CASES,
        wire::CASES,
        truth::CASES,
        deaths::CASES,
        pace::CASES,
        restarts::CASES,
        stops::CASES,
        two::CASES,
        office::CASES,
    ]
    .concat();
    let names: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let wanted = |case: &&Case| names.is_empty() || names.iter().any(|name| case.0.contains(name.as_str()));
    let chosen: Vec<&Case> = all.iter().filter(wanted).collect();
    if arguments.iter().any(|a| a == "--list") {
        chosen.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", chosen.len());
    match Programs::find() {
        Err(why) => {
            chosen.iter().for_each(|(name, _)| println!("test {name} ... ignored, {why}"));
            eprintln!("SKIPPED: the live tests did not run. {why}");
            summary(true, 0, 0, chosen.len(), Instant::now());
            ExitCode::SUCCESS
        }
        Ok(programs) => run(programs, &chosen),
    }
}

fn run(programs: Programs, chosen: &[&Case]) -> ExitCode {
    // The panic's own message and place are enough; a backtrace adds nothing.
    std::panic::set_hook(Box::new(|panic| println!("{panic}")));
    let start = Instant::now();
    let lab = Lab::open(programs);
    let mut failed = Vec::new();
    for (name, case) in chosen {
        let begun = Instant::now();
        lab.fresh();
        let done = catch_unwind(AssertUnwindSafe(|| case(&lab)));
        let done = match done {
            Err(_) => Err(lab.give_up()),
            Ok(()) => lab.tidy(),
        };
        let took = begun.elapsed().as_secs_f32();
        match done {
            Ok(()) => println!("test {name} ... ok ({took:.1} s)"),
            Err(why) => {
                println!("test {name} ... FAILED ({took:.1} s)\n{why}\n");
                failed.push(name);
            }
        }
    }
    lab.close(!failed.is_empty());
    failed.iter().for_each(|name| println!("failed: {name}"));
    summary(failed.is_empty(), chosen.len() - failed.len(), failed.len(), 0, start);
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn summary(ok: bool, passed: usize, failed: usize, ignored: usize, start: Instant) {
    let word = if ok { "ok" } else { "FAILED" };
    let took = start.elapsed().as_secs_f32();
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; \
         finished in {took:.2}s\n"
    );
}
