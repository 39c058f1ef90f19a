//! This queue and `mod_callcenter`, in turns on the same FreeSWITCH, with the same phones and callers.

mod switch;
mod trials;

use std::time::Duration;

pub use switch::{Bench, Side, freeswitch};

use crate::samples::Samples;

/// What one side was measured to take.
#[derive(Debug, Default)]
pub struct Figures {
    /// The caller's `INVITE` to the agent's `INVITE`, with a free agent.
    pub dialled: Samples,
    /// The caller's `200 OK` to the agent's `INVITE`, with a free agent.
    pub entered: Samples,
    /// The agent's `BYE` to the `INVITE` for the next caller who waits.
    pub freed: Samples,
    /// The agent's `200 OK` to the first packet with the agent's tone at the caller's phone.
    pub caller_hears: Samples,
    /// The agent's `200 OK` to the first packet with the caller's tone at the agent's phone.
    pub agent_hears: Samples,
    /// The later of the two.
    pub both_hear: Samples,
    /// A burst: the first caller's `INVITE` to the last caller's `200 OK`.
    pub burst_in: Samples,
    /// A burst: the first caller's `INVITE` to the last agent's.
    pub burst: Samples,
    /// The same, from the first caller's `200 OK`.
    pub burst_answered: Samples,
    /// Callers of bursts who were refused, cut off, rang nobody, or heard nobody after the answer.
    pub lost: usize,
    /// Agents who rang twice, callers who rang two agents, and agents who heard nobody.
    pub wrong: usize,
    /// CPU of FreeSWITCH and of the controller while callers wait and nothing else happens, in cores.
    pub waiting: Vec<(f64, f64)>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// How often each side has its turn.
    pub turns: usize,
    /// Calls one after the other in each turn; each gives one sample, and two of the sound.
    pub calls: usize,
    /// Callers of a burst, and agents; one burst a turn.
    pub burst: usize,
    /// Callers who wait.
    pub waiting: usize,
    /// For how long their CPU is looked at, in each turn.
    pub waits: Duration,
}
