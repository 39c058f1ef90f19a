//! The two ends of what FreeSWITCH tells of its own accord: the application's, and that of the task.

use std::sync::Arc;

use super::inbox::Incoming;
use super::shared::Shared;
use super::{CloseReason, LinkLimits};

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
                (None, false) => self.shared.inbox.arrived().await,
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
