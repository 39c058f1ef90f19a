//! Whole calls on virtual time: the daemon's own parts against a simulated FreeSWITCH. Every test names the rule it
//! proves.

// All tests share one binary, so no other binary uses the public items of these modules.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/book.rs"]
mod book;
// Each binary needs only a part of this module.
#[allow(dead_code)]
#[path = "../support/ledger.rs"]
mod ledger;
#[path = "../support/log.rs"]
mod log;
#[path = "../support/rules.rs"]
mod rules;
#[path = "../support/stage.rs"]
mod stage;

mod admin;
mod house;
mod setting;

mod causes;
mod codes;
mod crowd;
mod gates;
mod head_start;
mod hearing;
mod hostile;

mod offers;
mod order;
mod own;
mod phones;
mod pickup;
mod privacy;
mod races;
mod repairs;
mod restarts;
mod silent;
mod strategies;
mod timeout;
mod wrap_up;
