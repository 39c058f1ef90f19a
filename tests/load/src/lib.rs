//! Measures freeswitch-queue. Three programs:
//!
//! * `load`: the daemon as a process of its own, and thousands of calls on real TCP from [`lean`].
//! * `decide`: one decision, in small and in large.
//! * `beside`: the daemon and mod_callcenter on a real FreeSWITCH, with phones of our own.

pub mod beside;
pub mod control;
pub mod daemon;
pub mod lean;
pub mod process;
pub mod samples;
