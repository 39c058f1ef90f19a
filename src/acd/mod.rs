//! Every decision of the queue, in pure state machines without sockets, clocks, concurrent maps or random sources.
//! Events come in as values together with [`time::Now`]; effects go out as values.
//!
//! - [`agent`]: one record per agent for all queues;
//! - [`shift`]: an agent's work in the present shift;
//! - [`reach`]: whether an agent's phone works, and how long it is left alone when it does not;
//! - [`gate`]: whether a caller is let into a queue;
//! - [`queue`]: the waiting callers in order, and the agents who were tried for each;
//! - [`rank`]: which waiting caller is ahead of which; [`mod@line`]: the time in which entries are measured;
//! - [`pairing`]: which free agent is next for which caller; [`pace`]: how many agents may be rung at once;
//! - [`call`]: one caller's way through the queues;
//! - [`offer`]: one offer and its legs, from the query for phones to the end of the last leg; [`leg`]: one leg;
//! - [`announce`]: when to announce which position;
//! - [`feature`]: dialled feature codes;
//! - [`fact`]: the records of what happened;
//! - [`restored`]: the state that the last daemon left in the store.

pub mod agent;
pub mod announce;
pub mod call;
pub mod fact;
pub mod feature;
pub mod gate;
pub mod ids;
pub mod leg;
pub mod line;
pub mod offer;
pub mod pace;
pub mod pairing;
pub mod queue;
pub mod rank;
pub mod reach;
pub mod restored;
pub mod settings;
pub mod shift;
pub mod time;
pub mod timers;
