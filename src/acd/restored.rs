//! The state that the last daemon left in the store.

use std::time::Duration;

use super::fact::Record;
use super::ids::{AgentId, QueueNumber};
use super::shift::Shift;
use super::time::Wall;

/// The moment when a daemon was last known to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alive {
    /// On its calendar.
    pub wall: Wall,
    /// In the line's time ([`Line`](super::line::Line)).
    pub line: Wall,
}

/// A wrap-up without a recorded end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrapUp {
    /// The agent.
    pub agent: AgentId,
    /// When it was to end; that moment may have passed.
    pub until: Wall,
    /// Its whole length; zero when an earlier version did not record it.
    pub lasts: Duration,
}

/// The contents of the store when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The logins: agent, queue, and since when.
    pub logins: Vec<(AgentId, QueueNumber, Wall)>,
    /// When each agent's last queue conversation ended, in the order of the ends.
    pub last_conversation_end: Vec<(AgentId, Wall)>,
    /// The work of each agent in the present shift.
    pub shifts: Vec<(AgentId, Shift)>,
    /// The agent to whom each queue offered a caller last.
    pub last_offered: Vec<(QueueNumber, AgentId)>,
    /// The wrap-ups without a recorded end.
    pub wrap_ups: Vec<WrapUp>,
    /// The [`CallEntered`](super::fact::Fact::CallEntered) records of waits without a recorded end.
    pub waiting: Vec<Record>,
    /// The [`OfferMade`](super::fact::Fact::OfferMade) records of offers without an outcome.
    pub offers: Vec<Record>,
    /// The [`CallAnswered`](super::fact::Fact::CallAnswered) records of conversations without a recorded end.
    pub conversations: Vec<Record>,
    /// When the last daemon was last known to live; `None` when there was none.
    pub alive: Option<Alive>,
}
