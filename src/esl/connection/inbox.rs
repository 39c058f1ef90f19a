//! Events and notices that FreeSWITCH sent and the application has not taken yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::super::event::Event;
use super::super::log::LogLine;
use super::CloseReason;

/// Something FreeSWITCH sent that is not a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// A line of FreeSWITCH's log.
    Log(LogLine),
    /// This many ordinary events or log lines were dropped before this point, because the application was too slow.
    Missed(u64),
    /// The call has ended; the connection stays open this many seconds for the last events (`linger`).
    Lingering(Option<u32>),
    /// FreeSWITCH is about to close the connection.
    Disconnecting,
    /// FreeSWITCH asks for a password on an inbound connection.
    AuthRequest,
    /// FreeSWITCH's access list rejected an inbound connection; FreeSWITCH's text.
    Rejected(String),
    /// The connection has ended. Nothing follows.
    Closed(CloseReason),
}

impl Incoming {
    /// Whether it must not be dropped.
    pub(super) fn is_essential(&self) -> bool {
        match self {
            Self::Event(event) => event.kind().is_essential(),
            Self::Log(_) => false,
            _ => true,
        }
    }

    /// How many received bytes it keeps in memory.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Event(event) => event.size(),
            Self::Log(line) => line.size(),
            _ => 0,
        }
    }
}

/// The items not taken yet. Empty, it needs almost no memory, which matters with thousands of waiting callers: a tokio
/// channel needs 3 kB.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<Untaken>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Untaken {
    queue: VecDeque<Incoming>,
    bytes: usize,
    /// The task puts nothing more in.
    ended: bool,
    /// The application takes nothing more out.
    abandoned: bool,
}

impl Inbox {
    /// A poisoned lock is safe to use: every change under it completes before anything can panic.
    fn state(&self) -> MutexGuard<'_, Untaken> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many items and bytes wait to be taken.
    pub(super) fn fill(&self) -> (usize, usize) {
        let state = self.state();
        (state.queue.len(), state.bytes)
    }

    /// Adds an item; false when the application no longer listens, since this side is closing the connection.
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

    /// Takes the oldest item; the flag is true when the task puts nothing more in.
    pub(super) fn take(&self) -> (Option<Incoming>, bool) {
        let mut state = self.state();
        let taken = state.queue.pop_front();
        state.bytes -= taken.as_ref().map_or(0, Incoming::size);
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
        (taken, state.ended)
    }

    /// Waits until an item has arrived since the last look, or the task has ended.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    pub(super) fn end(&self) {
        self.state().ended = true;
        self.arrived.notify_one();
    }

    /// Discards all items; returns their size in bytes.
    pub(super) fn abandon(&self) -> usize {
        let mut state = self.state();
        state.abandoned = true;
        state.queue = VecDeque::new();
        std::mem::take(&mut state.bytes)
    }
}
