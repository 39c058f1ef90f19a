//! Every decision of the queue: pure state machines that know neither sockets nor clocks.

pub mod fact;
pub mod ids;
pub mod settings;
pub mod time;
