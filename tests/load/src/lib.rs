//! Measures freeswitch-queue. Two programs:
//!
//! * `load`: the daemon as a process of its own, and thousands of calls on real TCP from [`lean`].
//! * `decide`: one decision, in small and in large.

pub mod daemon;
pub mod lean;
pub mod process;
pub mod samples;
