//! Our side of FreeSWITCH: the commands we send and the meaning of its events, over [`crate::esl`].
//!
//! Owns the `fsq_*` channel variables, the `originate` of an agent's leg, connecting, letting go, transferring,
//! hang-up causes, and the encoding of a caller's place in the line. Must not know the rules of queues or hold state.
//! [`crate::session`] and [`crate::switch`] use it; neither knows the other.
//!
//! - [`channel`]: reads a call from the reply to `connect`;
//! - [`commands`]: builds the commands that carry out a call's effects;
//! - [`directory`]: reads an agent's user from the directory;
//! - [`events`]: turns events into a call's inputs;
//! - [`place`]: encodes a caller's place in the line as a channel variable;
//! - [`status`]: reads the reply to `status`;
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
