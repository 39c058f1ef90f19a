//! Our side of FreeSWITCH: the commands we send and the meaning of its events, over [`crate::esl`].
//!
//! Owns the `fsq_*` channel variables, the `originate` of an agent's leg, connecting, letting go, transferring,
//! hang-up causes, and the encoding of a caller's place in the line. Must not know the rules of queues or hold state.
//! [`crate::session`] and [`crate::switch`] use it; neither knows the other.
//!
//! - `channel`: reads a call from the reply to `connect`;
//! - `commands`: builds the commands that carry out a call's effects;
//! - `directory`: reads an agent's user from the directory;
//! - `events`: turns events into a call's inputs;
//! - `place`: encodes a caller's place in the line as a channel variable;
//! - `status`: reads the reply to `status`;
//! - `variables`: the names of our channel variables.
//!
//! # Who is in charge of the channel
//!
//! A caller's channel executes the dialplan's `socket` application. When the connection that it opened ends, in order or
//! because this process dies, one channel variable decides what FreeSWITCH does: with `socket_resume=true` it stops what
//! the channel executes, and the dialplan goes on behind `socket`; without it the channel goes on with what it executes,
//! so that a conversation stays whole, but hold music would play for ever. The right value depends on where the caller
//! is. There are five states.
//!
//! | state | set by | if this process dies now |
//! |---|---|---|
//! | Held by the dialplan | Nobody: `socket` could not connect, or has ended, and the context `freeswitch-queue` plays the ring tone and tries `socket` again three times in 5 s, each time with `socket_resume=true` in front. It sets `fsq_held` and counts its rounds in `fsq_away`. | Nothing changes, for there is no connection. The place in the line is in `fsq_place`, or in `fsq_came` of a caller whom no daemon has had yet. |
//! | Ours | The dialplan sets `socket_resume=true` in front of `socket`; `commands::prepare` adds it for a dialplan that did not, and writes `fsq_place`. | The dialplan goes on behind `socket` and holds the caller, who comes back to the same place. |
//! | Connected | The phone's answer: `originate` carries `uuid_setvar CALLER socket_resume false` in front of `uuid_bridge`, in one list that FreeSWITCH carries out in that instant (`commands::ring`). `commands::connected` repeats it once the bridge is seen, and removes `fsq_place`. | The conversation goes on. The next daemon finds it by its link, takes the agent to be busy, and sends `connected` again. |
//! | Let go | `commands::let_go`, when the caller was taken by somebody who is none of our agents (a pickup, a transfer, an operator), or when the call came back while an earlier connection of it is still open; `commands::passed_on`, when it came for another queue meanwhile. | The call goes on where it is, and the end of the connection does not touch it. A call that came back goes by the context `freeswitch-queue`, which arms it for its next connection. |
//! | Re-armed | `Wire::Rearm`: a phone was answered, which switched `socket_resume` off, but the connection failed and the caller still waits. It sets `socket_resume=true`. | As in "ours". Between the answer and this command nobody would hold the caller: the next daemon looks for channels that only wait in `socket`, and sends them through their dialplan again. |
//!
//! A feature code is "ours" until its spoken answer begins; then `socket_resume` is switched off, because the dialplan
//! behind it says "try again later". A transfer by us, or by an agent, takes the variable away with the others of ours,
//! before the dialplan of the next number is asked.

pub(crate) mod channel;
pub(crate) mod commands;
pub(crate) mod directory;
pub(crate) mod events;
pub(crate) mod place;
mod settings;
pub(crate) mod status;
pub(crate) mod variables;

pub use settings::Settings;
