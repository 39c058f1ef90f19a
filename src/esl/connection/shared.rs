//! The state shared by the handles and the task of a connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::command::Command;
use super::super::reply::{Outcome, Reply, Unknown};
use super::inbox::Inbox;
use super::pool::{Pool, Share};
use super::{CloseReason, ConnectionLimits, Full};

/// Room for what is usually written at once: an `originate` is the longest command.
const COMMANDS: usize = 1536;

/// Commands to write, commands without a reply, and whether the connection has ended. Its lock is never held across an
/// await.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Arc<ConnectionLimits>,
    state: Mutex<State>,
    /// Wakes the writer when there is something to write, or to close.
    pub(super) wake_writer: Notify,
    /// The events the application has not taken.
    pub(super) inbox: Inbox,
    /// The bytes it holds of the pool, if the connection belongs to one.
    pub(super) share: Share,
}

#[derive(Debug)]
struct State {
    unwritten: BytesMut,
    /// The commands without a reply, oldest first.
    owed: VecDeque<Owed>,
    /// The number of the oldest of them, counted from the connection's first command.
    first: u64,
    /// Since when a reply has been outstanding without a byte from the peer.
    silent_since: Option<Instant>,
    closing: bool,
    closed: Option<CloseReason>,
}

#[derive(Debug)]
struct Owed {
    is_api: bool,
    to: Receiver,
}

/// The result of queueing a command.
#[derive(Debug)]
pub(super) enum Queued {
    /// It was queued: where its outcome arrives, and its number, counted from the connection's first command.
    Owed(oneshot::Receiver<Outcome>, u64),
    /// The connection has ended, so it is never sent.
    Over(Outcome),
}

/// Where a command's outcome goes.
#[derive(Debug)]
enum Receiver {
    /// To its [`Pending`](super::Pending), which may have been dropped.
    Waiting(oneshot::Sender<Outcome>),
    /// To the log, unless the command was done.
    Log(&'static str),
}

impl Receiver {
    fn deliver(self, outcome: Outcome) {
        let (what, outcome) = match self {
            Self::Log(what) => (what, outcome),
            Self::Waiting(sender) => match sender.send(outcome) {
                Ok(()) => return,
                Err(outcome) => ("a command that nobody waits for", outcome),
            },
        };
        match outcome {
            Outcome::Done(_) => {}
            Outcome::Refused(text) => tracing::warn!(command = what, %text, "FreeSWITCH refused a command"),
            Outcome::Unknown(why) => tracing::debug!(command = what, %why, "no reply to a command"),
        }
    }
}

impl Shared {
    pub(super) fn new(limits: Arc<ConnectionLimits>, pool: Option<Arc<Pool>>) -> Self {
        let state = State {
            unwritten: BytesMut::new(),
            owed: VecDeque::new(),
            first: 0,
            silent_since: None,
            closing: false,
            closed: None,
        };
        let (inbox, share) = (Inbox::default(), Share::new(pool));
        Self { limits, state: Mutex::new(state), wake_writer: Notify::new(), inbox, share }
    }

    /// A poisoned lock is safe to use: every change under it completes before anything can panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues all commands or none, and passes each to `waits`.
    pub(super) fn queue<P>(&self, commands: &[Command], waits: impl Fn(Queued) -> P) -> Result<Vec<P>, Full> {
        let mut state = self.state();
        if let Some(reason) = state.over() {
            let over = Outcome::Unknown(Unknown::Closed(reason));
            return Ok(commands.iter().map(|_| waits(Queued::Over(over.clone()))).collect());
        }
        if state.owed.len() + commands.len() > self.limits.commands {
            return Err(Full);
        }
        let written = state.unwritten.len();
        if written == 0 {
            state.unwritten.reserve(COMMANDS);
        }
        for command in commands {
            command.render(&mut state.unwritten);
        }
        if written > 0 && state.unwritten.len() > self.limits.unwritten {
            state.unwritten.truncate(written);
            return Err(Full);
        }
        let mut pending = Vec::with_capacity(commands.len());
        for command in commands {
            let (sender, receiver) = oneshot::channel();
            let number = state.first + state.owed.len() as u64;
            state.owed.push_back(Owed { is_api: command.is_api(), to: Receiver::Waiting(sender) });
            pending.push(waits(Queued::Owed(receiver, number)));
        }
        state.silent_since.get_or_insert_with(Instant::now);
        drop(state);
        self.wake_writer.notify_one();
        Ok(pending)
    }

    /// Sends the outcome of a command to the log in place of its [`Pending`]; false when it has arrived already.
    pub(super) fn log_refusal(&self, number: u64, what: &'static str) -> bool {
        let mut state = self.state();
        let place = number.checked_sub(state.first).and_then(|at| usize::try_from(at).ok());
        match place.and_then(|at| state.owed.get_mut(at)) {
            Some(owed) => {
                owed.to = Receiver::Log(what);
                true
            }
            None => false,
        }
    }

    /// Takes the bytes to write; `None` when there are none and the connection should be closed.
    pub(super) fn take_unwritten(&self) -> Option<BytesMut> {
        let mut state = self.state();
        // The buffer goes with them, so that an idle connection keeps none.
        if state.closing && state.unwritten.is_empty() { None } else { Some(std::mem::take(&mut state.unwritten)) }
    }

    /// Notes that bytes have arrived.
    pub(super) fn heard(&self) {
        let mut state = self.state();
        state.silent_since = (!state.owed.is_empty()).then(Instant::now);
    }

    /// Since when a reply has been outstanding without a byte from the peer.
    pub(super) fn silent_since(&self) -> Option<Instant> {
        self.state().silent_since
    }

    /// Gives a reply to the oldest command without one.
    pub(super) fn reply(&self, reply: Reply) -> Result<(), CloseReason> {
        let owed = {
            let mut state = self.state();
            let owed = state.owed.pop_front().ok_or(CloseReason::OutOfStep)?;
            state.first += 1;
            if state.owed.is_empty() {
                (state.owed, state.silent_since) = (VecDeque::new(), None);
            }
            owed
        };
        // On a connection without `full`, FreeSWITCH refuses `api` with a command/reply. An api/response replies to
        // nothing but `api`.
        if reply.is_api() && !owed.is_api {
            owed.to.deliver(Outcome::Unknown(Unknown::Closed(CloseReason::OutOfStep)));
            return Err(CloseReason::OutOfStep);
        }
        owed.to.deliver(reply.outcome());
        Ok(())
    }

    pub(super) fn ask_to_close(&self) {
        self.state().closing = true;
        self.wake_writer.notify_one();
    }

    /// Marks the connection as ended; outstanding replies become unknown.
    pub(super) fn finish(&self, reason: CloseReason) {
        let owed = {
            let mut state = self.state();
            state.closed.get_or_insert(reason.clone());
            state.unwritten = BytesMut::new();
            state.first += state.owed.len() as u64;
            std::mem::take(&mut state.owed)
        };
        for owed in owed {
            owed.to.deliver(Outcome::Unknown(Unknown::Closed(reason.clone())));
        }
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.state().closed.clone()
    }
}

impl State {
    /// Why nothing more can be sent.
    fn over(&self) -> Option<CloseReason> {
        self.closed.clone().or(self.closing.then_some(CloseReason::Local))
    }
}
