//! Compares this queue with `mod_callcenter`: in turns on the same FreeSWITCH, with the same phones and callers.

mod switch;
mod trials;

use std::time::Duration;

pub use switch::{Bench, Side, freeswitch};

use crate::samples::Samples;

/// The measurements of one side.
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
    /// Callers of bursts who were refused, cut off, not offered to an agent, or heard nobody after the answer.
    pub lost: usize,
    /// Agents whose phones rang twice, callers for whom two phones rang, and agents who heard nobody.
    pub wrong: usize,
    /// CPU used by FreeSWITCH and by the controller while callers wait and nothing else happens, in cores.
    pub waiting: Vec<(f64, f64)>,
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Turns of each side.
    pub turns: usize,
    /// Calls in sequence in each turn; each gives one sample, and two of audio.
    pub calls: usize,
    /// Callers in a burst, and agents; one burst per turn.
    pub burst: usize,
    /// Waiting callers.
    pub waiting: usize,
    /// For how long CPU use is measured while they wait, in each turn.
    pub waits: Duration,
}
