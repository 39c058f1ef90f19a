//! Measures freeswitch-queue. Three programs:
//!
//! * `load`: the daemon in its own process, with thousands of calls over real TCP from [`lean`].
//! * `decide`: a single decision, with few and with many callers and agents.
//! * `beside`: the daemon and mod_callcenter on the same real FreeSWITCH, with simulated [`phones`].

pub mod beside;
pub mod daemon;
pub mod lean;
pub mod phones;
pub mod process;
pub mod samples;
