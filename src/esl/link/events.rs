//! What FreeSWITCH tells of its own accord.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

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

/// The events of a connection. When it is dropped, the connection ends.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Incoming>,
    shared: Arc<Shared>,
    ended: bool,
}

impl Events {
    pub(super) fn new(receiver: mpsc::Receiver<Incoming>, shared: Arc<Shared>) -> Self {
        Self { receiver, shared, ended: false }
    }

    /// What comes next; [`Incoming::Closed`] is the last, then `None` for ever. Cancel safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        match self.receiver.recv().await {
            Some(incoming) => Some(self.taken(incoming)),
            None => self.end(),
        }
    }

    /// What has come already, without waiting.
    pub fn try_next(&mut self) -> Option<Incoming> {
        match self.receiver.try_recv() {
            Ok(incoming) => Some(self.taken(incoming)),
            Err(mpsc::error::TryRecvError::Empty) => None,
            Err(mpsc::error::TryRecvError::Disconnected) => self.end(),
        }
    }

    fn taken(&self, incoming: Incoming) -> Incoming {
        let size = incoming.size();
        self.shared.untaken.fetch_sub(size, Ordering::Relaxed);
        self.shared.share.give(size);
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
        self.shared.ask_to_close();
    }
}

/// The task's end of [`Events`].
pub(super) struct Outlet {
    sender: mpsc::Sender<Incoming>,
    shared: Arc<Shared>,
    missed: u64,
    /// Dropping was logged.
    told: bool,
}

impl Outlet {
    pub(super) fn new(sender: mpsc::Sender<Incoming>, shared: Arc<Shared>) -> Self {
        Self { sender, shared, missed: 0, told: false }
    }

    /// Passes something on without waiting. What is ordinary is dropped when there is no room for it; when there is
    /// no room for what is essential, the connection has to end.
    pub(super) fn pass(&mut self, incoming: Incoming) -> Result<(), CloseReason> {
        let LinkLimits { essential_events, event_bytes, .. } = self.shared.limits;
        let room = self.sender.capacity();
        let bytes = self.shared.untaken.load(Ordering::Relaxed);
        let essential = incoming.is_essential();
        if !essential && (room <= essential_events || bytes > event_bytes) {
            self.missed += 1;
            return Ok(());
        }
        if bytes > event_bytes.saturating_mul(2) {
            return Err(CloseReason::Overrun);
        }
        if !self.shared.share.take(incoming.size()) {
            self.missed += u64::from(!essential);
            return if essential { Err(CloseReason::Crowded) } else { Ok(()) };
        }
        if self.missed > 0 && room > 1 {
            let missed = std::mem::take(&mut self.missed);
            // Once is enough: a peer that floods us must not fill the log as well.
            if !std::mem::replace(&mut self.told, true) {
                tracing::warn!(missed, "events are dropped, because they are not taken in time");
            }
            self.send(Incoming::Missed(missed))?;
        }
        self.send(incoming)
    }

    fn send(&self, incoming: Incoming) -> Result<(), CloseReason> {
        self.shared.untaken.fetch_add(incoming.size(), Ordering::Relaxed);
        match self.sender.try_send(incoming) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(CloseReason::Overrun),
            // Nobody listens any more; the connection is being closed from this side.
            Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
        }
    }
}
