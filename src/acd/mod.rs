//! Every decision of the queue, in pure state machines without sockets, clocks, concurrent maps or random sources.
//! Events come in as values together with [`time::Now`]; effects go out as values.
//!
//! - [`agent`]: one record per agent for all queues;
//! - [`reach`]: whether an agent's phone works, and how long it is left alone when it does not;
//! - [`queue`]: who waits, in which order, and who was tried for whom;
//! - [`mod@line`]: by which time places in the line are told;
//! - [`pairing`]: which free agent is next for which caller; [`pace`]: how many at once;
//! - [`call`]: one caller's way from entering to leaving;
//! - [`offer`]: one offer and its legs, from the question which phones there are to the last leg's end; [`leg`]: one leg;
//! - [`announce`]: when which position is spoken;
//! - [`feature`]: dialled feature codes;
//! - [`fact`]: the records of what happened;
//! - [`restored`]: the state that the last daemon left in the store.

pub mod agent;
pub mod announce;
pub mod call;
pub mod fact;
pub mod feature;
pub mod ids;
pub mod leg;
pub mod line;
pub mod offer;
pub mod pace;
pub mod pairing;
pub mod queue;
pub mod reach;
pub mod restored;
pub mod settings;
pub mod time;
pub mod timers;
