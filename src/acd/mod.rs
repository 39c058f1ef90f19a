//! Every decision of the queue: pure state machines that know neither sockets nor clocks, neither
//! maps nor random sources. What happens comes in as values together with [`time::Now`]; what is to
//! be done goes out as values.
//!
//! - [`agent`]: one record per agent for all queues;
//! - [`queue`]: who waits, in which order, and who was tried for whom;
//! - [`line`]: by which time places in the line are told;
//! - [`pairing`]: which free agent is next for which caller;
//! - [`call`]: one caller's way from entering to leaving;
//! - [`announce`]: when which position is spoken;
//! - [`feature`]: dialled feature codes;
//! - [`fact`]: what happened;
//! - [`restored`]: what is known of the life before.

pub mod agent;
pub mod announce;
pub mod call;
pub mod fact;
pub mod feature;
pub mod ids;
pub mod leg;
pub mod line;
pub mod pairing;
pub mod queue;
pub mod restored;
pub mod settings;
pub mod time;
pub mod timers;
