//! The interface of a store, independent of its engine.
//!
//! [`Journal`](super::Journal) numbers facts, batches them, retries and reports failures, so that a store only has to
//! append, restore, query and prune. The engine is SQLite ([`Sqlite`](super::sqlite::Sqlite)).

use std::fmt;
use std::sync::Arc;

use crate::acd::fact::Record;
use crate::acd::ids::{AgentId, CallId, Instance, QueueNumber};
use crate::acd::restored::{Alive, Restored};
use crate::acd::time::Wall;

/// A record with its number, which it gets when it happens: its position in the feed and its id in the store. Numbers
/// increase by one, also across restarts; a missing number is a record that was dropped or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The number; the first is 1.
    pub number: u64,
    /// The fact, and when it happened.
    pub record: Record,
}

/// A batch that is written all or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch<'a> {
    /// The records, in the order of their numbers.
    pub records: &'a [Numbered],
    /// When each of them happened, by the line's time ([`Line`](crate::acd::line::Line)), which is independent of the
    /// calendar.
    pub lines: &'a [Wall],
    /// When the daemon was last known to be alive.
    pub alive: Option<Alive>,
}

/// Selects records, in the order in which they happened; by default the oldest 10 000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Only records with numbers above this one.
    pub after: u64,
    /// Only records at or after this moment.
    pub from: Option<Wall>,
    /// Only records before this moment.
    pub until: Option<Wall>,
    /// Only records of this call.
    pub call: Option<CallId>,
    /// Only records of this queue.
    pub queue: Option<QueueNumber>,
    /// Only records of this agent.
    pub agent: Option<AgentId>,
    /// The maximum number of records.
    pub limit: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { after: 0, from: None, until: None, call: None, queue: None, agent: None, limit: 10_000 }
    }
}

/// An operation of the store failed; the text states the reason and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

/// Stores facts, and the state that a restart needs.
pub trait Store: Send + 'static {
    /// The name of the store in logs.
    fn name(&self) -> String;

    /// The instance that owns the store: random, created with the store and kept in it (Q107).
    fn identity(&self) -> Instance;

    /// The number of the newest record ever written; 0 if there was none.
    fn last_number(&self) -> u64;

    /// Reads the state that a restart needs.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn restore(&mut self) -> Result<Restored, StoreError>;

    /// Writes a batch and the state that it changes, all or none. When this returns, the batch is durable.
    ///
    /// # Errors
    /// [`StoreError`] when the batch was not written.
    fn append(&mut self, batch: Batch<'_>) -> Result<(), StoreError>;

    /// Deletes some of the records before this moment, few enough that nothing waits long for it. Returns whether more
    /// may remain.
    ///
    /// # Errors
    /// [`StoreError`] when the records could not be deleted.
    fn prune(&mut self, before: Wall) -> Result<bool, StoreError>;

    /// A reader that works while the store writes.
    fn reader(&self) -> Arc<dyn Reader>;

    /// How many bytes cannot be checkpointed, because another program keeps a read transaction open.
    fn held_up(&self) -> u64 {
        0
    }
}

/// Reads records.
pub trait Reader: Send + Sync {
    /// The records that match `filter`, in the order of their numbers. Unreadable records, such as those of a later
    /// version, are left out.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    fn query(&self, filter: &Filter) -> Result<Vec<Numbered>, StoreError>;
}
