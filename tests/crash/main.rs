//! Nothing is lost: restarts, crashes, private calls, lamps, live changes (Q3, Q5, Q16, Q18 to Q20, Q22, Q24), on
//! virtual time against a simulated FreeSWITCH, and against a real one where it is installed.

// All tests share one binary, so no other binary uses the public items of these modules.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code)]
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

mod dialplan;
mod site;
mod wire;

mod changes;
mod door;
mod gates;
mod lamps;
mod life;
mod logs;
mod moved;
mod outages;
mod passed_on;
mod points;
mod private;
mod random;
mod repairs;
mod store;
mod trust;
mod why;
