//! A real FreeSWITCH on 127.0.0.1 with its own configuration, for the live tests and for measurements.
//!
//! A failure here is the machine's, not that of the code under test, so functions panic and name what is missing.

#![allow(clippy::expect_used, clippy::panic)]

pub mod machine;
pub mod pcmu;
pub mod switch;
