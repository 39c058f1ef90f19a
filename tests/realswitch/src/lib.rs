//! A real FreeSWITCH, started with a configuration of its own on 127.0.0.1: for the live tests, and for measuring.
//!
//! What fails here is the machine, not what is tested: it panics, and says what was missing.

#![allow(clippy::expect_used, clippy::panic)]

pub mod machine;
pub mod pcmu;
pub mod switch;
