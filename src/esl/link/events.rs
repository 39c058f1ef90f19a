//! What FreeSWITCH tells of its own accord.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::super::event::Event;
use super::super::log::LogLine;
use super::shared::Shared;
use super::{CloseReason, LinkLimits};

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
    fn is_essential(&self) -> bool {
        match self {
            Self::Event(event) => event.kind().is_essential(),
            Self::Log(_) => false,
            _ => true,
        }
    }

    /// What it holds of what was received, in bytes.
    fn size(&self) -> usize {
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
    fn fill(&self) -> (usize, usize) {
        let state = self.state();
        (state.queue.len(), state.bytes)
    }

    /// False when nobody listens any more: the connection is being closed from this side.
    fn put(&self, incoming: Incoming) -> bool {
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
    fn take(&self) -> (Option<Incoming>, bool) {
        let mut state = self.state();
        let taken = state.queue.pop_front();
        state.bytes -= taken.as_ref().map_or(0, Incoming::size);
        if state.queue.is_empty() {
            state.queue = VecDeque::new();
        }
        (taken, state.ended)
    }

    fn end(&self) {
        self.state().ended = true;
        self.arrived.notify_one();
    }

    /// Throws away what is there; its bytes.
    fn abandon(&self) -> usize {
        let mut state = self.state();
        state.abandoned = true;
        state.queue = VecDeque::new();
        std::mem::take(&mut state.bytes)
    }
}

/// The events of a connection. When it is dropped, the connection ends.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
    ended: bool,
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, ended: false }
    }

    /// What comes next; [`Incoming::Closed`] is the last, then `None` for ever. Cancel safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            match self.shared.inbox.take() {
                (Some(incoming), _) => return Some(self.taken(incoming)),
                (None, true) => return self.end(),
                (None, false) => self.shared.inbox.arrived.notified().await,
            }
        }
    }

    /// What has come already, without waiting.
    pub fn try_next(&mut self) -> Option<Incoming> {
        match self.shared.inbox.take() {
            (Some(incoming), _) => Some(self.taken(incoming)),
            (None, true) => self.end(),
            (None, false) => None,
        }
    }

    fn taken(&self, incoming: Incoming) -> Incoming {
        self.shared.share.give(incoming.size());
        incoming
    }

    fn end(&mut self) -> Option<Incoming> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        Some(Incoming::Closed(self.shared.closed().unwrap_or(CloseReason::Local)))
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.share.give(self.shared.inbox.abandon());
        self.shared.ask_to_close();
    }
}

/// The task's end of [`Events`].
pub(super) struct Outlet {
    shared: Arc<Shared>,
    missed: u64,
    /// Dropping was logged.
    told: bool,
}

impl Outlet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, missed: 0, told: false }
    }

    /// Passes something on without waiting. What is ordinary is dropped when there is no room for it; when there is
    /// no room for what is essential, the connection has to end.
    pub(super) fn pass(&mut self, incoming: Incoming) -> Result<(), CloseReason> {
        let LinkLimits { events, essential_events, event_bytes, .. } = self.shared.limits;
        let most = events.max(1).saturating_add(essential_events);
        let (waiting, bytes) = self.shared.inbox.fill();
        let room = most.saturating_sub(waiting);
        let essential = incoming.is_essential();
        if !essential && (room <= essential_events || bytes > event_bytes) {
            self.missed += 1;
            return Ok(());
        }
        if room == 0 || bytes > event_bytes.saturating_mul(2) {
            return Err(CloseReason::Overrun);
        }
        let size = incoming.size();
        if !self.shared.share.take(size) {
            self.missed += u64::from(!essential);
            return if essential { Err(CloseReason::Crowded) } else { Ok(()) };
        }
        if self.missed > 0 && room > 1 {
            let missed = std::mem::take(&mut self.missed);
            // Once is enough: a peer that floods us must not fill the log as well.
            if !std::mem::replace(&mut self.told, true) {
                tracing::warn!(missed, "events are dropped, because they are not taken in time");
            }
            self.shared.inbox.put(Incoming::Missed(missed));
        }
        if !self.shared.inbox.put(incoming) {
            self.shared.share.give(size);
        }
        Ok(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.shared.inbox.end();
    }
}
