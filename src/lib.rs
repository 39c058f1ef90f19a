//! The call queue (ACD) beside FreeSWITCH: its architecture and its glossary.
//!
//! # The way of a call
//!
//! FreeSWITCH opens a TCP connection for each caller, and the call passes through the crate in one straight line:
//!
//! ```text
//! socket bytes -> esl -> telephony -> session -> acd -> session -> telephony -> esl -> FreeSWITCH
//!                frames   what they   one task   pure             what to     typed
//!                events   mean to us  a call     decisions        say         commands
//! ```
//!
//! [`acd`] decides and does nothing else: its machines take an input and the time, and return effects. [`session`]
//! carries the effects out, [`telephony`] knows the words for FreeSWITCH, [`esl`] knows the wire and nothing of queues.
//! Two calls meet only in [`floor`], the live picture of queues, agents and calls, where [`dispatch`] pairs callers with
//! agents.
//!
//! # The way of an intention
//!
//! Every requested login, logout, reload or end of an offer takes one way, from whichever side the request comes:
//!
//! ```text
//! feature code, control socket, file -> controller -> floor, acd -> fact -> journal, log, demo
//! ```
//!
//! [`controller`] checks the request, makes the change and returns a typed answer. Each change is recorded as a fact;
//! [`journal`] stores facts and [`observe`] logs them. [`switch`] stands beside both ways: its link to each FreeSWITCH
//! sees private calls and registrations, and repairs differences between daemon and FreeSWITCH. [`config`] reads the
//! file, [`clock`] is the only source of time, [`app`] builds, starts and drains the parts, [`admin`] answers `status`
//! and `reload`, and [`demo`] runs everything beside a simulated FreeSWITCH.
//!
//! A module uses only modules below it; `tests/tidy.rs` has the table.
//!
//! # A call in six files
//!
//! Open these in order to follow a call from `socket` to hang-up:
//!
//! 1. `src/esl/server.rs` accepts the connection that `socket` opens.
//! 2. `src/session/mod.rs` sends `connect` to learn which call it is, and distinguishes callers from feature codes.
//! 3. `src/session/caller.rs` is the loop of one caller: event in, input to the call, effects out as commands.
//! 4. `src/acd/call/mod.rs` is the call: its stages from `New` to `Over`, and the effect of each input in each stage.
//! 5. `src/dispatch/mod.rs` pairs the waiting caller with a free agent, which makes an offer.
//! 6. `src/telephony/commands.rs` has the commands: prepare the channel, ring the agent, connect, transfer, hang up.
//!
//! Beside them, `acd/offer.rs` handles the phones of one offer, and `telephony/events.rs` turns each event, hang-ups
//! included, into an input. [`telephony`](telephony#who-is-in-charge-of-the-channel) explains which party controls the
//! caller's channel at each moment, and how the daemon's death affects it then.
//!
//! # Glossary
//!
//! - **abandoned**: the caller hung up before an agent answered.
//! - **agent**: a person who answers calls; one record for all queues, known by the user of the SIP account.
//! - **announcement**: a sentence spoken to a waiting caller over the music, such as the position.
//! - **bench**: the free agents of one queue, ranked for the next caller.
//! - **call**: a caller's connection from the entry to its one disposition; named by the UUID of the caller's channel.
//! - **caller**: a person who dialled a queue's number.
//! - **connection**: one TCP connection of the Event Socket, whichever side has opened it.
//! - **disposition**: the way a call ended: answered, abandoned, timed out, taken, moved on or lost.
//! - **entry**: one caller's stay in one line, with a number of its own; the call attends to it.
//! - **fact**: a record of what happened, in the past tense, numbered in the order of happening.
//! - **feature code**: a number that an agent dials to log in or out, such as `*4199900`.
//! - **feed**: the facts as they happen, for readers in the process, such as `demo` and the lamps (`switch::Switches::facts`).
//! - **floor**: the live picture of queues, agents and calls.
//! - **handover**: a call that is here again on a second connection, so that the first has to end; see `session::Handovers`.
//! - **head start**: the time by which a caller stands ahead, as if the entry had been earlier: the queue's share plus
//!   the caller's own.
//! - **identity**: the random number of a daemon's store; each leg's UUID carries it, so that a daemon recognises its
//!   own legs.
//! - **inbound link**, or **link**: the connection that the daemon opens to a FreeSWITCH's own event socket.
//! - **journal**: the store of facts and logins, and the thread that writes it.
//! - **lamp**: a BLF key of a phone that lights while an agent is logged in to a queue.
//! - **leg**: the channel of one of an agent's phones, from `originate` until FreeSWITCH has no such channel any more.
//! - **line**: the callers who wait in a queue, in order; the line's time, in which entries are measured, ignores
//!   changes of the calendar.
//! - **login**: an agent's choice to take the calls of one queue; it survives restarts.
//! - **lost**: FreeSWITCH or the connection ended the call, although nobody hung up.
//! - **miss**: an offer that was not taken, with a cause, such as `no_answer` or `busy`.
//! - **offer**: one agent rung for one caller, on one phone or several; it has one outcome.
//! - **order**: what a queue wants of the call of a waiting caller: ring, call an offer off, end the wait.
//! - **participant**: an agent in a queue's list in the file, logged in or not.
//! - **position**: the number announced to the caller: one more than the callers in front.
//! - **private call**: a call of an agent's phone that the queue did not make; it makes the agent busy.
//! - **queue**: a line of callers with a number, a strategy and participants.
//! - **rank**: a caller's place in the line: the moment of entry less a head start, and the order of arrival; kept in
//!   `fsq_place`.
//! - **reach**: whether an agent's phone works, and how long it is left alone if it does not.
//! - **repair**: a correction that the link makes when FreeSWITCH and the daemon disagree.
//! - **ring time**: how long one offer rings.
//! - **session**: the task of one connection from FreeSWITCH.
//! - **strategy**: which agents are rung, and in which order.
//! - **survey**: the comparison of `show channels` with the floor, every 3 s, over the link.
//! - **taken**: a party that this call did not ring has taken the waiting caller, by pickup, `intercept` or an
//!   operator's command.
//! - **timed out**: the wait ended without an agent, and the queue's timeout action follows.
//! - **wrap-up**: the time after a conversation in which the agent is left alone by all queues.

pub mod acd;
pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod controller;
pub mod demo;
pub mod dispatch;
pub mod esl;
pub mod floor;
pub mod journal;
pub mod observe;
pub mod session;
pub mod switch;
pub mod telephony;
