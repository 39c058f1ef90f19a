//! The store: what must survive the process, in one SQLite file that only this daemon writes.
//!
//! [`Journal::record`] takes a fact and returns at once; a thread of its own writes facts in batches. Logins and
//! logouts are facts too, but whoever asked is told when they are on disk (Q18). Facts themselves are the table
//! `records` (Q23); what a restart needs is kept beside it, in the same transaction: who is logged in where, when an
//! agent's last conversation ended (Q6) and until when a wrap-up runs (Q19).
//!
//! A process that dies suddenly loses the facts of its last 50 ms or so, and no login that was confirmed.
//!
//! When the store cannot be written, calls go on: facts wait in memory, writing is retried, [`Health`] tells so, and
//! when [`Options::backlog`] is reached the oldest facts are given up and counted. Logins are given up last of all.
//!
//! The file stays bounded: records older than [`Options::keep`] are deleted a few hundred at a time, and SQLite uses
//! their room again.

mod backlog;
mod open;
mod read;
mod store;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::acd::fact::{Asker, Fact, Record};
use crate::acd::ids::{AgentId, QueueNumber};
use crate::acd::time::Wall;

use backlog::Entry;
use writer::Shared;

pub use open::{OpenError, Refusal};
pub use read::{Filter, ReadError};

/// How long the store waits for its last facts when a [`Journal`] is dropped without [`Journal::close`].
const DROPPED_WITHIN: Duration = Duration::from_secs(1);

/// What may be chosen about the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How much older than the newest a record may become: 400 days, so that a report can compare with a year before.
    pub keep: Duration,
    /// How many facts may wait in memory while the store cannot be written: 50 000, some 15 MB.
    pub backlog: usize,
    /// How long a login or a [`Journal::flush`] may take to be on disk before its caller is told that it is not: 2 s.
    pub durable_within: Duration,
    /// How long [`Journal::close`] tries to write what still waits: 5 s.
    pub close_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep: Duration::from_secs(400 * 24 * 3600),
            backlog: 50_000,
            durable_within: Duration::from_secs(2),
            close_within: Duration::from_secs(5),
        }
    }
}

/// What the store knew when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Who is logged in to which queue, and since when.
    pub logins: Vec<(AgentId, QueueNumber, Wall)>,
    /// When each agent's last conversation from any queue ended.
    pub last_conversation_end: Vec<(AgentId, Wall)>,
    /// Until when the wrap-ups last that were never recorded as ended; the moment may have passed meanwhile.
    pub wrap_up_until: Vec<(AgentId, Wall)>,
    /// The [`Fact::CallEntered`] of the last day after which the call's wait was never recorded as ended.
    pub waiting: Vec<Record>,
    /// The [`Fact::CallAnswered`] of the last day after which no [`Fact::ConversationEnded`] was recorded.
    pub conversations: Vec<Record>,
}

/// Whether facts reach the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// They do.
    #[default]
    Ok,
    /// They wait in memory, and are lost if the process ends now.
    Degraded {
        /// Since when.
        since: Wall,
        /// What is wrong, and what to do.
        reason: Arc<str>,
        /// How many facts were given up since then, because too many waited.
        dropped: u64,
    },
}

/// A login, logout or flush was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDurable {
    /// The store did not take it in time. It is still waiting and will be written when the store recovers, unless
    /// the process ends before; a login that shall not count after all must be followed by a logout.
    #[error("the store has not written it within {0:?}; it is kept in memory and written as soon as possible")]
    Late(Duration),
    /// It will never be written: the store is closed, or too much waited already.
    #[error("the store is closed or overfull; it will not be written")]
    Lost,
}

/// [`Journal::close`] could not write everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{records} records were not written to the store before it was closed")]
pub struct Unwritten {
    /// How many facts and logins are lost.
    pub records: usize,
}

/// The open store. Dropping it closes it too, waiting up to a second.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    options: Options,
    shared: Arc<Shared>,
}

impl Journal {
    /// Opens the store at `path`, creating it when there is none, and starts its thread. The path `:memory:` is a
    /// store that ends with the process, for trials.
    ///
    /// Beside `path` lie SQLite's `-wal` and `-shm` files while the store is open, and an empty `-lock` file that
    /// keeps a second daemon out. The file must be on a local disk: SQLite cannot lock over most network file systems.
    ///
    /// # Errors
    /// [`OpenError`] when the file cannot be opened, is not this daemon's, is damaged, or is in use.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<(Self, Restored), OpenError> {
        let opened = open::open(path.as_ref())?;
        let path = opened.store.path().to_owned();
        let shared = Arc::new(Shared::new(path.clone(), options.backlog));
        let (theirs, keep, store) = (Arc::clone(&shared), options.keep, opened.store);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer::run(store, &theirs, keep))
            .map_err(|e| OpenError { path: path.clone(), why: Refusal::Thread(e) })?;
        Ok((Self { path, options, shared }, opened.restored))
    }

    /// Takes a fact for the store and returns at once, whatever the state of the disk.
    pub fn record(&self, record: Record) {
        self.shared.push(Entry { record: Some(record), ack: None });
    }

    /// Records that an operator logged `agent` in to `queue`. It is on its way when this returns; the future tells when it is on
    /// disk, after at most [`Options::durable_within`] of real time (also where tokio's clock is paused).
    ///
    /// # Errors
    /// [`NotDurable`] when it is not known to be on disk.
    pub fn login(
        &self,
        agent: AgentId,
        queue: QueueNumber,
        at: Wall,
    ) -> impl Future<Output = Result<(), NotDurable>> + Send + use<> {
        self.durable(Some(Record { at, fact: Fact::AgentLoggedIn { agent, queue, by: Asker::Operator } }))
    }

    /// Records that an operator logged `agent` out of `queue`; otherwise as [`Journal::login`].
    ///
    /// # Errors
    /// [`NotDurable`] when it is not known to be on disk.
    pub fn logout(
        &self,
        agent: AgentId,
        queue: QueueNumber,
        at: Wall,
    ) -> impl Future<Output = Result<(), NotDurable>> + Send + use<> {
        self.durable(Some(Record { at, fact: Fact::AgentLoggedOut { agent, queue, by: Asker::Operator } }))
    }

    /// Tells when everything recorded before is on disk, after at most [`Options::durable_within`].
    ///
    /// # Errors
    /// [`NotDurable`] when it is not known to be on disk.
    pub fn flush(&self) -> impl Future<Output = Result<(), NotDurable>> + Send + use<> {
        self.durable(None)
    }

    /// Records something, if it is given, and tells when everything up to it is on disk; as [`Journal::login`].
    ///
    /// # Errors
    /// [`NotDurable`] when it is not known to be on disk.
    pub fn durable(&self, record: Option<Record>) -> impl Future<Output = Result<(), NotDurable>> + Send + use<> {
        let (ack, written) = sync_channel(1);
        let (shared, within) = (Arc::clone(&self.shared), self.options.durable_within);
        let deadline = Instant::now() + within;
        shared.push(Entry { record, ack: Some(ack) });
        let wait = move || match written.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                shared.silent_for(within);
                Err(NotDurable::Late(within))
            }
            Err(RecvTimeoutError::Disconnected) => Err(NotDurable::Lost),
        };
        // A thread waits, because a timer of tokio would run out at once where its clock is paused.
        async move { spawn_blocking(wait).await.unwrap_or(Err(NotDurable::Lost)) }
    }

    /// Whether facts reach the disk, now and whenever that changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health()
    }

    /// How many facts were given up since the daemon began.
    pub fn dropped(&self) -> u64 {
        self.shared.backlog.dropped()
    }

    /// How many facts wait to be written.
    pub fn waiting(&self) -> usize {
        self.shared.backlog.waiting()
    }

    /// The records that `filter` lets through, in the order of time, from a connection of its own. What was recorded
    /// in the last 50 ms may be missing; [`Journal::flush`] first where that matters.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read.
    pub async fn records(&self, filter: Filter) -> Result<Vec<Record>, ReadError> {
        let path = self.path.clone();
        spawn_blocking(move || read::records(&path, &filter)).await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Writes what waits, for at most [`Options::close_within`], and closes the file. What is recorded afterwards is
    /// dropped and counted.
    ///
    /// # Errors
    /// [`Unwritten`] when not everything could be written.
    pub async fn close(&self) -> Result<(), Unwritten> {
        let (shared, within) = (Arc::clone(&self.shared), self.options.close_within);
        let closed = spawn_blocking(move || shared.backlog.close(within)).await;
        closed.unwrap_or(Err(self.waiting())).map_err(|records| Unwritten { records })
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The writer has logged what it could not write.
        let _ = self.shared.backlog.close(DROPPED_WITHIN);
    }
}

/// The present, to tell since when the store is degraded.
fn wall_now() -> Wall {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Wall(0).plus(since_epoch)
}
