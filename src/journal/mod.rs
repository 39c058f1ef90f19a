//! The store: everything that must survive the process.
//!
//! [`Journal::record`] takes a fact, numbers it and returns at once; a separate thread writes facts in batches. Logins
//! and logouts are facts too, but their requester waits until they are on disk (Q18). The facts are the records (Q23),
//! and the records are the feed: a reader asks for those after the last number it has seen ([`Journal::feed`]), and
//! waits for more ([`Journal::written`]). The same transaction also stores the state that a restart needs: the logins,
//! the end of each agent's last conversation (Q6), running wrap-ups (Q19), calls and offers that have not ended (Q110),
//! and when the daemon was last known to be alive (Q108).
//!
//! Behind it is a [`Store`]: one SQLite file that only this daemon writes.
//!
//! A process that dies suddenly loses the facts of about its last 50 ms, but no confirmed login.
//!
//! When the store cannot be written, calls continue: facts wait in memory, the writer retries, [`Health`] reports it,
//! and beyond [`Options::backlog`] the oldest facts are dropped and counted. Logins are dropped last.
//!
//! The store stays bounded: the writer deletes records older than [`Options::keep`], a few hundred at a time, and
//! SQLite reuses their space. It goes by the calendar, unless the calendar has just jumped forward by more than a
//! month.

mod backlog;
mod file;
mod keep;
mod open;
mod read;
mod sqlite;
mod store;
mod unended;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::acd::fact::{Asker, Fact, Record};
use crate::acd::ids::{AgentId, Instance, QueueNumber};
use crate::acd::time::{Now, Wall};
use crate::clock::thread_now;

use backlog::Beat;
use writer::Shared;

pub use crate::acd::restored::{Alive, Restored, WrapUp};
pub use open::{OpenError, Refusal};
pub use read::ReadError;
pub use sqlite::Sqlite;
pub use store::{Batch, Filter, Numbered, Reader, Store, StoreError};
pub use unended::Unended;

/// How long a [`Journal`] that is dropped without [`Journal::close`] waits for its last facts to be written.
const DROPPED_WITHIN: Duration = Duration::from_secs(1);

/// The options of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The maximum age of a record: 400 days, so that a report can compare with the year before.
    pub keep: Duration,
    /// How many facts may wait in memory while the store cannot be written: 50 000, some 15 MB.
    pub backlog: usize,
    /// How long a login or a [`Journal::flush`] may take to reach the disk before it fails with [`NotDurable`]: 2 s.
    pub durable_within: Duration,
    /// How long [`Journal::close`] tries to write the remaining entries: 5 s.
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

/// Whether facts reach the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Facts reach the disk.
    #[default]
    Ok,
    /// Facts reach the disk but take more and more space, because another program keeps a read transaction open.
    HeldUp {
        /// The size of the `-wal` file when it was noticed.
        bytes: u64,
    },
    /// Facts wait in memory, and are lost if the process ends now.
    Degraded {
        /// The beginning of this state.
        since: Wall,
        /// The failure, and what to do about it.
        reason: Arc<str>,
        /// How many facts were dropped since then, because too many waited.
        dropped: u64,
    },
}

/// A login, logout or flush was not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDurable {
    /// The store did not write it in time. It still waits and will be written when the store recovers, unless the
    /// process ends first; to revoke a login in this state, record a logout.
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
pub struct Journal {
    options: Options,
    shared: Arc<Shared>,
    reader: Arc<dyn Reader>,
    identity: Instance,
}

impl Journal {
    /// Opens the store at `path`, creates it if there is none, and starts its thread. The path `:memory:` is a store
    /// that ends with the process, for trials.
    ///
    /// While the store is open, SQLite's `-wal` and `-shm` files lie beside `path`, as does an empty `-lock` file that
    /// keeps out a second daemon. The file must be on a local disk: SQLite cannot lock over most network file systems.
    ///
    /// # Errors
    /// [`OpenError`] when the file cannot be opened, is not this daemon's, is damaged, or is in use.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<(Self, Restored), OpenError> {
        let opened = open::open(path.as_ref())?;
        let path = opened.store.path().to_owned();
        let journal = Self::begin(opened.store, &opened.restored, options)
            .map_err(|e| OpenError { path, why: Refusal::Thread(e) })?;
        Ok((journal, opened.restored))
    }

    /// Uses any store, and starts its thread.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read, or the machine has no room for one more thread.
    pub fn over(mut store: impl Store, options: Options) -> Result<(Self, Restored), StoreError> {
        let restored = store.restore()?;
        let journal = Self::begin(store, &restored, options).map_err(|e| StoreError(e.to_string()))?;
        Ok((journal, restored))
    }

    fn begin(store: impl Store, restored: &Restored, options: Options) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(&store, options.backlog, options.keep));
        let (reader, identity) = (store.reader(), store.identity());
        let (theirs, before) = (Arc::clone(&shared), restored.alive);
        thread::Builder::new().name("journal".to_owned()).spawn(move || writer::run(store, &theirs, before))?;
        Ok(Self { options, shared, reader, identity })
    }

    /// The instance that owns the store: random, created with the store and kept in it (Q107).
    pub fn identity(&self) -> Instance {
        self.identity
    }

    /// Takes a fact, numbers it and returns at once, whatever the state of the disk.
    pub fn record(&self, record: Record) {
        self.shared.push(Some(record), None);
    }

    /// Notes that the daemon is alive; to be called every few seconds. The next start takes the last such moment as the
    /// end of everything that ended while no daemon ran. If something is `open`, the moment is written soon, otherwise
    /// with the next record or within ten minutes.
    pub fn alive(&self, now: Now, line: Wall, open: bool) {
        self.shared.backlog.beat(Beat { now, alive: Alive { wall: now.wall, line }, matters: open });
    }

    /// Sets the maximum age of records from now on.
    pub fn set_keep(&self, keep: Duration) {
        self.shared.set_keep(keep);
    }

    /// Records that an operator logged `agent` in to `queue`. The record is queued when this returns; the future
    /// completes when it is on disk, after at most [`Options::durable_within`] of real time (also if tokio's clock is
    /// paused).
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

    /// Completes when everything recorded before is on disk, after at most [`Options::durable_within`].
    ///
    /// # Errors
    /// [`NotDurable`] when it is not known to be on disk.
    pub fn flush(&self) -> impl Future<Output = Result<(), NotDurable>> + Send + use<> {
        self.durable(None)
    }

    /// Records `record`, if there is one, and completes when everything up to it is on disk; as [`Journal::login`].
    ///
    /// # Errors
    /// [`NotDurable`] when it is not known to be on disk.
    pub fn durable(&self, record: Option<Record>) -> impl Future<Output = Result<(), NotDurable>> + Send + use<> {
        let (ack, written) = sync_channel(1);
        let (shared, within) = (Arc::clone(&self.shared), self.options.durable_within);
        let deadline = thread_now() + within;
        shared.push(record, Some(ack));
        let wait = move || match written.recv_timeout(deadline.saturating_duration_since(thread_now())) {
            Ok(()) => Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                shared.silent_for(within);
                Err(NotDurable::Late(within))
            }
            Err(RecvTimeoutError::Disconnected) => Err(NotDurable::Lost),
        };
        // A thread waits, because tokio's timer would expire at once if its clock is paused.
        async move { spawn_blocking(wait).await.unwrap_or(Err(NotDurable::Lost)) }
    }

    /// Whether facts reach the disk; the receiver sees every change.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health()
    }

    /// How many facts were dropped since the daemon started.
    pub fn dropped(&self) -> u64 {
        self.shared.backlog.dropped()
    }

    /// How many facts wait to be written.
    pub fn waiting(&self) -> usize {
        self.shared.backlog.waiting()
    }

    /// The records that match `filter`, in the order in which they happened. Those of the last 50 ms may be missing;
    /// call
    /// [`Journal::flush`] first if that matters.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read.
    pub async fn records(&self, filter: Filter) -> Result<Vec<Record>, ReadError> {
        Ok(self.query(filter).await?.into_iter().map(|next| next.record).collect())
    }

    /// The records on disk with numbers above `after`, at most `limit`, with their numbers.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read.
    pub async fn feed(&self, after: u64, limit: u32) -> Result<Vec<Numbered>, ReadError> {
        self.query(Filter { after, limit, ..Filter::default() }).await
    }

    /// The number up to which records are on disk; the receiver sees every change.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.shared.written()
    }

    async fn query(&self, filter: Filter) -> Result<Vec<Numbered>, ReadError> {
        let (reader, store) = (Arc::clone(&self.reader), self.shared.name().to_owned());
        let asked = spawn_blocking(move || reader.query(&filter));
        asked.await.map_err(|_| ReadError::Stopped)?.map_err(|source| ReadError::Store { store, source })
    }

    /// Writes the waiting entries, for at most [`Options::close_within`], and closes the file. Facts recorded
    /// afterwards are dropped and counted.
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
        // The writer has logged how many records it could not write.
        let _ = self.shared.backlog.close(DROPPED_WITHIN);
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("store", &self.shared.name()).finish_non_exhaustive()
    }
}
