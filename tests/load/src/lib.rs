//! Measures freeswitch-queue. Three programs:
//!
//! * `load`: the daemon as a process of its own, and thousands of calls on real TCP from [`lean`].
//! * `decide`: one decision, in small and in large.
//! * `beside`: the same calls through freeswitch-queue and through mod_callcenter, on a real FreeSWITCH.

pub mod daemon;
pub mod lean;
pub mod process;
pub mod samples;
