//! What FreeSWITCH told of its own accord and the application has not taken yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::super::event::Event;
use super::super::log::LogLine;
use super::CloseReason;

/// Something that came in without having been asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// A line of FreeSWITCH's log.
    Log(LogLine),
    /// Ordinary events or log lines were dropped before this point, this many, because they were not taken in time.
    Missed(u64),
    /// The call is over; the connection stays open this many seconds for the last events (`linger`).
    Lingering(Option<u32>),
    /// FreeSWITCH is about to close the connection.
    Disconnecting,
    /// An inbound connection wants a password.
    AuthRequest,
    /// FreeSWITCH's access list refused an inbound connection; its text.
    Rejected(String),
    /// The connection has ended. Nothing comes after it.
    Closed(CloseReason),
}

impl Incoming {
    /// Whether it may not be dropped.
    pub(super) fn is_essential(&self) -> bool {
        match self {
            Self::Event(event) => event.kind().is_essential(),
            Self::Log(_) => false,
            _ => true,
        }
    }

    /// What it holds of what was received, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Event(event) => event.size(),
            Self::Log(line) => line.size(),
            _ => 0,
        }
    }
}

/// What came in and was not taken yet. Empty it costs next to nothing, which matters for thousands of callers who
/// wait: a channel of tokio's holds 3 kB.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<Untaken>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Untaken {
    queue: VecDeque<Incoming>,
    bytes: usize,
    /// Nothing more will come.
    ended: bool,
    /// Nobody will take anything any more.
    abandoned: bool,
}

impl Inbox {
    /// Every change under the lock is complete before anything can panic, so a poisoned lock is as good as any.
    fn state(&self) -> MutexGuard<'_, Untaken> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many things and bytes wait to be taken.
    pub(super) fn fill(&self) -> (usize, usize) {
        let state = self.state();
        (state.queue.len(), state.bytes)
    }

    /// False when nobody listens any more: the connection is being closed from this side.
    pub(super) fn put(&self, incoming: Incoming) -> bool {
        let mut state = self.state();
        if state.abandoned {
            return false;
        }
        state.bytes += incoming.size();
        state.queue.push_back(incoming);
        drop(state);
        self.arrived.notify_one();
        true
    }

    /// What came first; the other part tells whether nothing more will come.
    pub(super) fn take(&self) -> (Option<Incoming>, bool) {
        let mut state = self.state();
        let taken = state.queue.pop_front();
        state.bytes -= taken.as_ref().map_or(0, Incoming::size);
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
        (taken, state.ended)
    }

    /// Ends when something has been put there since the last look, or nothing more will come.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(super) fn end(&self) {
        self.state().ended = true;
        self.arrived.notify_one();
    }

    /// Throws away what is there; its bytes.
    pub(super) fn abandon(&self) -> usize {
        let mut state = self.state();
        state.abandoned = true;
        state.queue = VecDeque::new();
        std::mem::take(&mut state.bytes)
    }
}
