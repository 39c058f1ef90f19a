//! Random histories of the queue's core against a naive reference of the contract.
//!
//! A history is a list of [`step::Step`]s: callers come, press keys and give up, agents log in and out, answer, refuse,
//! hang up, transfer; phones and connections fail; the admin changes the file; the daemon and FreeSWITCH die and come
//! back. The real core ([`sim`], [`play`]) runs it on virtual time between a simulated FreeSWITCH ([`world`]) and the
//! reference ([`model`], [`ear`], [`journal`], [`check`]), which rejects every breach of the contract. A failing
//! history is shrunk while it still fails, and printed with its seed.
//!
//! More of them: `HISTORIES=100000 cargo test --release --test histories`; a single one, with all its events: `SEED=17
//! cargo test --test histories`. With `SHRINK=0` the first failure is printed unshrunk, which is enough for
//! `scripts/mutants`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod check;
mod ear;
mod journal;
// Each binary needs only a part of this module.
#[allow(dead_code, unreachable_pub)]
#[path = "../support/ledger.rs"]
mod ledger;
mod legs;
mod model;
mod play;
mod regressions;
#[path = "../support/rng.rs"]
mod rng;
mod sim;
mod step;
mod supervise;
mod world;

use std::panic::{set_hook, take_hook};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::journal::Counts;
use crate::play::{Failure, run};
use crate::step::{Step, history};

/// The number of histories of an ordinary run.
const ORDINARY: u64 = 3000;

/// Runs a function that may panic often, without printing the panics.
fn quietly<R>(what: impl FnOnce() -> R) -> R {
    static HOOK: Mutex<()> = Mutex::new(());
    let _one = HOOK.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let done = what();
    set_hook(hook);
    done
}

/// Fails. The panic's message would be lost while another test is quiet.
fn fail(text: &str) -> ! {
    println!("{text}");
    panic!("a history fails");
}

/// Shrinks a failing history: removes ever smaller pieces while it still fails.
fn shrink(seed: u64, mut steps: Vec<Step>) -> Vec<Step> {
    let mut piece = steps.len() / 2;
    while piece > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + piece).min(steps.len()));
            if run(seed, &fewer, false).is_err() {
                steps = fewer;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    steps
}

fn report(seed: u64, steps: &[Step], failure: &Failure) -> String {
    let steps: Vec<String> = steps.iter().map(|s| format!("    {s:?},")).collect();
    let trace = failure.trace.join("\n");
    format!("{trace}\n\nSEED={seed}, shortened to:\n{}\n\n{}", steps.join("\n"), failure.why)
}

/// Runs one history; if it fails, describes the failure in as few steps as possible.
fn hold(seed: u64, steps: &[Step]) -> Result<Counts, String> {
    run(seed, steps, false).map_err(|failure| {
        if wanted("SHRINK") == Some(0) {
            return failure.why;
        }
        let short = shrink(seed, steps.to_vec());
        match run(seed, &short, true) {
            Err(failure) => report(seed, &short, &failure),
            Ok(_) => format!("SEED={seed} fails once and passes when repeated"),
        }
    })
}

fn wanted(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

/// Q4 to Q16, and the invariants of the design, over random histories.
#[test]
fn random_histories_keep_the_contract() {
    let (first, count) = match wanted("SEED") {
        Some(seed) => (seed, 1),
        None => (1, wanted("HISTORIES").unwrap_or(ORDINARY)),
    };
    let next = AtomicU64::new(first);
    let failed = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let totals = Mutex::new((0, Counts::default()));
    quietly(|| {
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + count || failed.lock().unwrap().is_some() {
                            return;
                        }
                        let steps = history(seed);
                        match hold(seed, &steps) {
                            Ok(counts) => {
                                let mut t = totals.lock().unwrap();
                                t.0 += steps.len();
                                t.1.add(&counts);
                            }
                            Err(text) => *failed.lock().unwrap() = Some(text),
                        }
                    }
                });
            }
        });
    });
    if let Some(text) = failed.into_inner().unwrap() {
        fail(&text);
    }
    let (steps, counts) = totals.into_inner().unwrap();
    println!("{count} histories, {steps} steps: {counts:?}");
    if count >= ORDINARY {
        assert!(counts.is_lively(), "the histories do not reach every kind of end: {counts:?}");
    }
}
