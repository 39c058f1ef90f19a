//! What the handles and the task of a connection share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::command::Command;
use super::super::reply::{Outcome, Reply, Unknown};
use super::inbox::Inbox;
use super::pool::{Pool, Share};
use super::{CloseReason, Full, LinkLimits};

/// Room for what is usually written in one go: an order to ring is the longest.
const COMMANDS: usize = 1536;

/// Commands on their way out, replies owed, and whether it is over. Never held across an await.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: LinkLimits,
    state: Mutex<State>,
    /// Something to write, or to close.
    pub(super) wake_writer: Notify,
    /// What the application has not taken.
    pub(super) inbox: Inbox,
    /// What is held of the pool, if the connection belongs to one.
    pub(super) share: Share,
}

#[derive(Debug)]
struct State {
    unwritten: BytesMut,
    /// The commands without a reply, oldest first.
    owed: VecDeque<Owed>,
    /// The number of the oldest of them, counted from the first command of all.
    first: u64,
    /// Since when a reply has been owed without a sign of life.
    silent_since: Option<Instant>,
    closing: bool,
    closed: Option<CloseReason>,
}

#[derive(Debug)]
struct Owed {
    is_api: bool,
    to: Receiver,
}

/// A command that was queued, for whoever waits for its outcome.
#[derive(Debug)]
pub(super) enum Queued {
    /// Its outcome comes here; its number, counted from the first command of all.
    Owed(oneshot::Receiver<Outcome>, u64),
    /// It was never sent.
    Over(Outcome),
}

/// Who wants to know a command's outcome.
#[derive(Debug)]
enum Receiver {
    /// Somebody who may be waiting.
    Waiting(oneshot::Sender<Outcome>),
    /// The log, when it is bad.
    Log(&'static str),
}

impl Receiver {
    fn tell(self, outcome: Outcome) {
        let (what, outcome) = match self {
            Self::Log(what) => (what, outcome),
            Self::Waiting(sender) => match sender.send(outcome) {
                Ok(()) => return,
                Err(outcome) => ("a command nobody waits for any more", outcome),
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
    pub(super) fn new(limits: LinkLimits, pool: Option<Arc<Pool>>) -> Self {
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

    /// Every change under the lock is complete before anything can panic, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues commands, all or none, and hands each on to `waits`.
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

    /// Hands the outcome of a command to the log in place of its [`Pending`]; false when it is known already.
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

    /// Takes what is to be written; `None` when nothing is and the connection should be closed.
    pub(super) fn take_unwritten(&self) -> Option<BytesMut> {
        let mut state = self.state();
        // The buffer goes along: a caller who waits has none.
        if state.closing && state.unwritten.is_empty() { None } else { Some(std::mem::take(&mut state.unwritten)) }
    }

    /// Bytes came in.
    pub(super) fn heard(&self) {
        let mut state = self.state();
        state.silent_since = (!state.owed.is_empty()).then(Instant::now);
    }

    /// Since when a reply has been owed without a sign of life.
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
        // `api` without `full` is refused with a command/reply; the other way round nothing fits.
        if reply.is_api() && !owed.is_api {
            owed.to.tell(Outcome::Unknown(Unknown::Closed(CloseReason::OutOfStep)));
            return Err(CloseReason::OutOfStep);
        }
        owed.to.tell(reply.outcome());
        Ok(())
    }

    pub(super) fn ask_to_close(&self) {
        self.state().closing = true;
        self.wake_writer.notify_one();
    }

    /// Notes the end; replies still owed will not come.
    pub(super) fn finish(&self, reason: CloseReason) {
        let owed = {
            let mut state = self.state();
            state.closed.get_or_insert(reason.clone());
            state.unwritten = BytesMut::new();
            state.first += state.owed.len() as u64;
            std::mem::take(&mut state.owed)
        };
        for owed in owed {
            owed.to.tell(Outcome::Unknown(Unknown::Closed(reason.clone())));
        }
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.state().closed.clone()
    }
}

impl State {
    /// Why nothing can be sent any more.
    fn over(&self) -> Option<CloseReason> {
        self.closed.clone().or(self.closing.then_some(CloseReason::Local))
    }
}
