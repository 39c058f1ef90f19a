//! `beside DAEMON`: measures the daemon and `mod_callcenter` on the same FreeSWITCH and prints a table, as Markdown.
//!
//! Uses the FreeSWITCH of `FREESWITCH=/prefix`, or on `PATH`. Without it or its `mod_callcenter` it says so and
//! measures nothing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use load::beside::{Bench, Extent, Figures, Side, freeswitch};
use load::process::load_average;
use load::samples::{Samples, millis};

/// The default extent; `BESIDE_TURNS`, `BESIDE_CALLS` and `BESIDE_WAITS` (seconds) change it.
const EXTENT: Extent = Extent { turns: 2, calls: 10, burst: 100, waiting: 200, waits: Duration::from_secs(8) };

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("beside: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let daemon = PathBuf::from(std::env::args().nth(1).context("usage: beside DAEMON")?);
    let program = match freeswitch() {
        Ok(program) => program,
        Err(why) => return skipped(&why),
    };
    let given = |name: &str| -> Result<Option<usize>> {
        let Ok(text) = std::env::var(name) else { return Ok(None) };
        text.parse().map(Some).with_context(|| format!("{name}={text} is not a number"))
    };
    let mut extent = EXTENT;
    extent.turns = given("BESIDE_TURNS")?.unwrap_or(extent.turns);
    extent.calls = given("BESIDE_CALLS")?.unwrap_or(extent.calls);
    extent.waits = given("BESIDE_WAITS")?.map_or(extent.waits, |s| Duration::from_secs(s as u64));
    let before = load_average();
    let Some(mut bench) = Bench::open(&program, &daemon, extent)? else {
        return skipped(&format!("{} has no mod_callcenter", program.display()));
    };
    let (mut ours, mut theirs, mut bare) = (Figures::default(), Figures::default(), Figures::default());
    for _ in 0..extent.turns {
        bench.turn(Side::Bare)?;
        bench.burst(&mut bare).context("no queue")?;
        for (side, figures) in [(Side::Callcenter, &mut theirs), (Side::Ours, &mut ours)] {
            bench.turn(side)?;
            bench.measure(figures).with_context(|| format!("{side:?}"))?;
        }
    }
    println!("FreeSWITCH {}, in {} turns each; load average before: {before}.\n", bench.version(), extent.turns);
    Ok(table(&ours, &theirs, &bare, &extent))
}

fn skipped(why: &str) -> Result<bool> {
    eprintln!("SKIPPED: nothing was measured beside mod_callcenter. {why}");
    Ok(true)
}

/// Prints the table; true if our side lost no call and made no mistake.
fn table(ours: &Figures, theirs: &Figures, bare: &Figures, extent: &Extent) -> bool {
    println!(
        "| ms: median / p99 / max (of) | freeswitch-queue | mod_callcenter | no queue | goal |\n|---|---:|---:|---:|---|"
    );
    let row = |what: &str, of: fn(&Figures) -> &Samples, goal: &str| {
        println!("| {what} | {} | {} | {} | {goal} |", of(ours), of(theirs), of(bare));
    };
    let no_later = format!("≤ {} ms", millis(theirs.both_hear.median()));
    row("caller's INVITE → agent's INVITE", |f| &f.dialled, "");
    row("caller's 200 OK → agent's INVITE", |f| &f.entered, "10 ms");
    row("agent's BYE → INVITE for the next caller", |f| &f.freed, "30 ms");
    row("agent's 200 OK → the caller hears the agent", |f| &f.caller_hears, "");
    row("agent's 200 OK → the agent hears the caller", |f| &f.agent_hears, "");
    row("agent's 200 OK → both hear each other", |f| &f.both_hear, &no_later);
    let burst = format!("burst of {}: first caller's INVITE → last agent's", extent.burst);
    row(&format!("burst of {}: first INVITE → last caller's 200 OK", extent.burst), |f| &f.burst_in, "");
    row(&burst, |f| &f.burst, "150 ms");
    row("the same from the first caller's 200 OK", |f| &f.burst_answered, "");
    let ends = [ours, theirs, bare].map(|f| format!("{}, {}", f.lost, f.wrong));
    println!("| lost, wrong in the bursts | {} | 0, 0 |", ends.join(" | "));
    let cpu = |figures: &Figures| {
        let count = figures.waiting.len().max(1) as f64;
        let (switch, daemon) = figures.waiting.iter().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        (switch / count * 100.0, daemon / count * 100.0)
    };
    let ((a, b), (c, _)) = (cpu(ours), cpu(theirs));
    println!(
        "| CPU of all, {} callers waiting | {:.1} % of a core ({a:.1} + {b:.1}) | {c:.1} % | | ≤ {c:.1} % |",
        extent.waiting,
        a + b
    );
    ours.lost == 0 && ours.wrong == 0
}
