//! What a store can do, whatever is behind it.
//!
//! [`Journal`](super::Journal) stands in front: it numbers facts, gathers them, tries again and tells about trouble, so
//! that a store only has to append, restore, query and prune. SQLite is behind it ([`Sqlite`](super::sqlite::Sqlite)).

use std::fmt;
use std::sync::Arc;

use crate::acd::fact::Record;
use crate::acd::ids::{AgentId, CallId, Instance, QueueNumber};
use crate::acd::restored::{Alive, Restored};
use crate::acd::time::Wall;

/// A record with its number: its position in the feed, given when it happened, and its id in the store. Numbers go up by
/// one, over restarts as well; one that is missing is a record that was given up or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The number; the first is 1.
    pub number: u64,
    /// What happened.
    pub record: Record,
}

/// What is written in one go, all of it or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// The records, in the order of their numbers.
    pub records: &'a [Numbered],
    /// When each of them became true, by the line's time ([`Line`](crate::acd::line::Line)), which goes on whatever the
    /// calendar does.
    pub lines: &'a [Wall],
    /// When the daemon was last known to live.
    pub alive: Option<Alive>,
}

/// Which records to read, in the order in which they happened; by default the oldest 10 000 of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Behind this number.
    pub after: u64,
    /// From this moment on.
    pub from: Option<Wall>,
    /// Before this moment.
    pub until: Option<Wall>,
    /// Of this call.
    pub call: Option<CallId>,
    /// Of this queue.
    pub queue: Option<QueueNumber>,
    /// Of this agent.
    pub agent: Option<AgentId>,
    /// At most this many.
    pub limit: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { after: 0, from: None, until: None, call: None, queue: None, agent: None, limit: 10_000 }
    }
}

/// The store could not do it; the text says why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// What keeps the facts, and what a restart needs.
pub trait Store: Send + 'static {
    /// What it is called in logs.
    fn name(&self) -> String;

    /// Whose store it is: random, made with the store and kept in it (Q107).
    fn identity(&self) -> Instance;

    /// The number of the newest record there ever was; 0 when there was none.
    fn last_number(&self) -> u64;

    /// What a restart needs.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read.
    fn restore(&mut self) -> Result<Restored, StoreError>;

    /// Writes a batch and what follows from it, all or none. What was appended survives whatever happens when this
    /// returns.
    ///
    /// # Errors
    /// [`StoreError`] when nothing of it was written.
    fn append(&mut self, batch: Batch<'_>) -> Result<(), StoreError>;

    /// Deletes some of the records from before this moment: never so many that others wait for it. Whether there may be
    /// more.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be deleted.
    fn prune(&mut self, before: Wall) -> Result<bool, StoreError>;

    /// Reads while others write.
    fn reader(&self) -> Arc<dyn Reader>;

    /// How many bytes were written that cannot be put in order, because somebody reads without end.
    fn held_up(&self) -> u64 {
        0
    }
}

/// Reads records.
pub trait Reader: Send + Sync {
    /// The records that `filter` lets through, in the order of their numbers. Those that cannot be read, such as those of a
    /// later version, are left out.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn query(&self, filter: &Filter) -> Result<Vec<Numbered>, StoreError>;
}
