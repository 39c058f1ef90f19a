//! Passing events from the connection's task ([`Outlet`]) to the application ([`Events`]).

use std::ops::ControlFlow;
use std::sync::Arc;

use super::inbox::Incoming;
use super::shared::Shared;
use super::{CloseReason, ConnectionLimits};

/// The events of a connection. Dropping it ends the connection.
#[derive(Debug)]
pub struct Events {
    shared: Arc<Shared>,
    ended: bool,
}

impl Events {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, ended: false }
    }

    /// Waits for the next item; [`Incoming::Closed`] is the last, then `None` for ever. Cancel safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            // No item stays in a variable over the wait, where it would take its space in every waiting call's task.
            match self.look() {
                ControlFlow::Break(next) => return next,
                ControlFlow::Continue(()) => {}
            }
            self.shared.inbox.arrived().await;
        }
    }

    /// The next item if one has arrived, without waiting.
    pub fn try_next(&mut self) -> Option<Incoming> {
        self.look().break_value().flatten()
    }

    /// The next item, unless there is none yet.
    fn look(&mut self) -> ControlFlow<Option<Incoming>> {
        match self.shared.inbox.take() {
            (Some(incoming), _) => {
                self.shared.share.give(incoming.size());
                ControlFlow::Break(Some(incoming))
            }
            (None, true) => ControlFlow::Break(self.end()),
            (None, false) => ControlFlow::Continue(()),
        }
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
    /// Whether dropped events have been logged.
    logged: bool,
}

impl Outlet {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, missed: 0, logged: false }
    }

    /// Passes an item on without waiting. Without room, ordinary items are dropped; an essential item ends the
    /// connection instead.
    pub(super) fn pass(&mut self, incoming: Incoming) -> Result<(), CloseReason> {
        let ConnectionLimits { events, essential_events, event_bytes, .. } = *self.shared.limits;
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
            // Logged once, so that a peer that floods us does not fill the log as well.
            if !std::mem::replace(&mut self.logged, true) {
                tracing::warn!(missed, "dropped events, because this process does not handle them fast enough");
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
