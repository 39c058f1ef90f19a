//! Our side of FreeSWITCH: what we say to it and what its events mean to us, over [`crate::esl`].
//!
//! Owns the `fsq_*` channel variables, the `originate` of an agent's leg, connecting, letting go, transferring, the
//! causes of ends, and the value of a caller's place in the line. Must not know the rules of queues, nor hold any state:
//! [`crate::session`] and [`crate::switch`] use it, and neither knows the other.
//!
//! - [`channel`]: what the answer to `connect` tells of a call;
//! - [`commands`]: what a call wants done, as commands;
//! - [`directory`]: what the directory says of an agent's user;
//! - [`events`]: events, as what a call is told;
//! - [`place`]: a caller's place in the line, as the channel keeps it;
//! - [`status`]: what FreeSWITCH says of itself;
//! - [`variables`]: the names of our channel variables.

pub(crate) mod channel;
pub(crate) mod commands;
pub(crate) mod directory;
pub(crate) mod events;
pub(crate) mod place;
mod settings;
pub(crate) mod status;
pub(crate) mod variables;

pub use settings::Settings;
