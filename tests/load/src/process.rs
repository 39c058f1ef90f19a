//! The resources a process uses, as Linux counts them.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// `USER_HZ`: the unit of CPU times in `/proc`, 10 ms on every Linux (proc_pid_stat(5)).
const TICK: Duration = Duration::from_millis(10);

/// The resources a process has used up to one moment.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// When.
    pub at: Instant,
    /// CPU time, user and system.
    pub cpu: Duration,
    /// Memory it holds at this moment, in bytes.
    pub memory: u64,
    /// The most memory it ever held, in bytes.
    pub most_memory: u64,
    /// How often its threads have gone to sleep.
    pub sleeps: u64,
}

/// Reads the resources used by process `pid`.
///
/// # Errors
/// When there is no such process.
pub fn cost(pid: u32) -> Result<Cost> {
    let gone = || format!("process {pid} is gone");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(gone)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(gone)?;
    // The name, in parentheses, may contain anything; the third field follows it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    Ok(Cost {
        at: Instant::now(),
        cpu: TICK * (ticks(11) + ticks(12)),
        memory: kilobytes("VmRSS:") << 10,
        most_memory: kilobytes("VmHWM:") << 10,
        sleeps: sleeps(pid).with_context(gone)?,
    })
}

fn sleeps(pid: u32) -> std::io::Result<u64> {
    let mut count = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended meanwhile.
        let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count += line.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(count)
}

impl Cost {
    /// The share of one core used since `before`.
    pub fn cores_since(&self, before: &Cost) -> f64 {
        (self.cpu - before.cpu).as_secs_f64() / (self.at - before.at).as_secs_f64()
    }
}

/// The load averages, to print with every figure, because other work on the machine affects it.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
