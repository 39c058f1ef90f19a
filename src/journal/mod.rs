//! The store: what must survive the process.
//!
//! [`Journal::record`] takes a fact, gives it its number and returns at once; a thread of its own writes facts in batches.
//! Logins and logouts are facts too, but whoever asked is told when they are on disk (Q18). Facts themselves are the
//! records (Q23), which are also the feed: a reader asks for what came behind the last number it has seen
//! ([`Journal::feed`]), and waits for more ([`Journal::written`]). What a restart needs is kept beside them, in the same
//! transaction: who is logged in where, when an agent's last conversation ended (Q6), which wrap-ups run (Q19), what has
//! begun and not ended (Q110), and when the daemon was last known to live (Q108).
//!
//! What keeps it is a [`Store`]: one SQLite file that only this daemon writes.
//!
//! A process that dies suddenly loses the facts of its last 50 ms or so, and no login that was confirmed.
//!
//! When the store cannot be written, calls go on: facts wait in memory, writing is retried, [`Health`] tells so, and
//! when [`Options::backlog`] is reached the oldest facts are given up and counted. Logins are given up last of all.
//!
//! It stays bounded: records older than [`Options::keep`] are deleted a few hundred at a time, and SQLite uses their room
//! again. That goes by the calendar, but not by one that has just gone forward by more than a month.

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

/// How long the store waits for its last facts when a [`Journal`] is dropped without [`Journal::close`].
const DROPPED_WITHIN: Duration = Duration::from_secs(1);

/// What may be chosen about the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How old a record may become: 400 days, so that a report can compare with a year before.
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

/// Whether facts reach the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// They do.
    #[default]
    Ok,
    /// They do, and take more and more room there, because a program reads the store without end.
    HeldUp {
        /// How much that was when it was noticed.
        bytes: u64,
    },
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
pub struct Journal {
    options: Options,
    shared: Arc<Shared>,
    reader: Arc<dyn Reader>,
    identity: Instance,
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
        let journal = Self::begin(opened.store, &opened.restored, options)
            .map_err(|e| OpenError { path, why: Refusal::Thread(e) })?;
        Ok((journal, opened.restored))
    }

    /// Stands in front of any store, and starts its thread.
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

    /// Whose store it is: random, made with the store and kept in it (Q107).
    pub fn identity(&self) -> Instance {
        self.identity
    }

    /// Takes a fact for the store, numbers it and returns at once, whatever the state of the disk.
    pub fn record(&self, record: Record) {
        self.shared.push(Some(record), None);
    }

    /// The daemon lives. To be said every few seconds: what ends while nobody is there ended then, for the records. Where
    /// something is `open` this is written soon, otherwise with the next record or in some minutes.
    pub fn alive(&self, now: Now, line: Wall, open: bool) {
        self.shared.backlog.beat(Beat { now, alive: Alive { wall: now.wall, line }, matters: open });
    }

    /// How old a record may become, from now on.
    pub fn set_keep(&self, keep: Duration) {
        self.shared.set_keep(keep);
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

    /// The records that `filter` lets through, in the order in which they happened. What was recorded in the last 50 ms
    /// may be missing; [`Journal::flush`] first where that matters.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read.
    pub async fn records(&self, filter: Filter) -> Result<Vec<Record>, ReadError> {
        Ok(self.query(filter).await?.into_iter().map(|next| next.record).collect())
    }

    /// The records behind this number that are on disk, at most so many, with their numbers.
    ///
    /// # Errors
    /// [`ReadError`] when the store cannot be read.
    pub async fn feed(&self, after: u64, limit: u32) -> Result<Vec<Numbered>, ReadError> {
        self.query(Filter { after, limit, ..Filter::default() }).await
    }

    /// The number up to which records are on disk, now and whenever there are more.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.shared.written()
    }

    async fn query(&self, filter: Filter) -> Result<Vec<Numbered>, ReadError> {
        let (reader, store) = (Arc::clone(&self.reader), self.shared.name().to_owned());
        let asked = spawn_blocking(move || reader.query(&filter));
        asked.await.map_err(|_| ReadError::Stopped)?.map_err(|source| ReadError::Store { store, source })
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

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("store", &self.shared.name()).finish_non_exhaustive()
    }
}
