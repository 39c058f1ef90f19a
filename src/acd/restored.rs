//! What is known of the life before, when a daemon begins.

use std::time::Duration;

use super::fact::Record;
use super::ids::{AgentId, QueueNumber};
use super::time::Wall;

/// When a daemon was last known to live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alive {
    /// By its calendar.
    pub wall: Wall,
    /// By the line's time ([`Line`](super::line::Line)).
    pub line: Wall,
}

/// A wrap-up that was never recorded as ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrapUp {
    /// Whose.
    pub agent: AgentId,
    /// Until when it was to last; the moment may have passed meanwhile.
    pub until: Wall,
    /// How long all of it was to last; zero when an earlier version did not say.
    pub lasts: Duration,
}

/// What the store knew when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Who is logged in to which queue, and since when.
    pub logins: Vec<(AgentId, QueueNumber, Wall)>,
    /// When each agent's last conversation from any queue ended, in the order in which they did.
    pub last_conversation_end: Vec<(AgentId, Wall)>,
    /// The wrap-ups that were never recorded as ended.
    pub wrap_ups: Vec<WrapUp>,
    /// The [`CallEntered`](super::fact::Fact::CallEntered) after which the call's wait was never recorded as ended.
    pub waiting: Vec<Record>,
    /// The [`OfferMade`](super::fact::Fact::OfferMade) without an outcome.
    pub offers: Vec<Record>,
    /// The [`CallAnswered`](super::fact::Fact::CallAnswered) after which no end of the conversation was recorded.
    pub conversations: Vec<Record>,
    /// When the daemon was last known to live; `None` when there was none.
    pub alive: Option<Alive>,
}
