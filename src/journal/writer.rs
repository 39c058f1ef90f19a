//! The writer thread, and the health that it reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::acd::fact::Record;
use crate::acd::restored::Alive;
use crate::acd::time::{Mono, Wall};
use crate::clock::thread_now;

use super::Health;
use super::backlog::{BATCH, Backlog, Beat, Entry, Work};
use super::keep::Keep;
use super::store::{Batch, Numbered, Store, StoreError};

/// The pause after the first failed write; each further one is twice as long, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);
/// The pause between two deletions of old records.
const PRUNE_REST: Duration = Duration::from_millis(50);
/// How often the writer stores that the daemon is alive while nothing is open. The next start compares the calendar
/// with it.
const IDLE_BEAT: Duration = Duration::from_secs(600);
/// The size of the `-wal` file above which a reader is reported to hold up checkpoints. Well-behaved readers leave a
/// few MB.
const HELD_UP: u64 = 64 << 20;

/// The state that the writer shares with the [`Journal`](super::Journal).
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) backlog: Backlog,
    name: String,
    /// How long records are kept, in milliseconds.
    keep: AtomicU64,
    health: watch::Sender<Health>,
    /// The number up to which records are on disk.
    written: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(store: &impl Store, backlog: usize, keep: Duration) -> Self {
        let last = store.last_number();
        let shared = Self {
            backlog: Backlog::new(backlog, last),
            name: store.name(),
            keep: AtomicU64::new(0),
            health: watch::Sender::default(),
            written: watch::Sender::new(last),
        };
        shared.set_keep(keep);
        shared
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn set_keep(&self, keep: Duration) {
        self.keep.store(u64::try_from(keep.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    pub(super) fn push(&self, record: Option<Record>, ack: Option<SyncSender<()>>) {
        if let Some(why) = self.backlog.push(record, ack) {
            self.degrade(why, 1, false);
        }
    }

    /// Reports that nothing was written for too long.
    pub(super) fn silent_for(&self, waited: Duration) {
        self.degrade(&format!("it has not answered for {waited:?}; check the disk below it"), 0, false);
        // The next write, even of this empty entry, shows that the store answers again.
        self.push(None, None);
    }

    /// Reports that facts do not reach the disk, and how many records that has just lost. A `sure` reason replaces the
    /// previous one.
    fn degrade(&self, why: &str, lost: u64, sure: bool) {
        let since = self.backlog.present();
        let mut news = true;
        self.health.send_modify(|health| match health {
            Health::Ok | Health::HeldUp { .. } => {
                *health = Health::Degraded { since, reason: Arc::from(why), dropped: lost };
            }
            Health::Degraded { reason, dropped, .. } => {
                let other = sure && **reason != *why;
                news = other || (*dropped == 0 && lost > 0);
                *dropped += lost;
                if other {
                    *reason = Arc::from(why);
                }
            }
        });
        if news {
            let (path, waiting) = (&self.name, self.backlog.waiting());
            let what = "the store is not written: facts wait in memory, and the oldest are dropped first";
            tracing::warn!(path, why, waiting, lost, "{what}");
        }
    }

    /// Reports that the store is written again.
    fn recovered(&self) {
        if !matches!(*self.health.borrow(), Health::Degraded { .. }) || self.backlog.waiting() >= BATCH {
            return;
        }
        if let Health::Degraded { since, dropped, .. } = self.health.send_replace(Health::Ok) {
            let (path, after) = (&self.name, self.backlog.present().since(since));
            tracing::info!(path, ?after, dropped, "the store is written again");
        }
    }

    /// Reports that a reader holds up checkpoints, or no longer does.
    fn held_up(&self, bytes: u64) {
        let before = match *self.health.borrow() {
            Health::Ok => 0,
            Health::HeldUp { bytes } => bytes,
            Health::Degraded { .. } => return,
        };
        if bytes <= HELD_UP && before > 0 {
            self.health.send_replace(Health::Ok);
        } else if bytes > HELD_UP && bytes >= before.saturating_mul(2) {
            self.health.send_replace(Health::HeldUp { bytes });
            let (path, megabytes) = (&self.name, bytes >> 20);
            tracing::warn!(
                path,
                megabytes,
                "a program keeps a read transaction on the store open, so its -wal file grows; end that program (find it with `fuser`), and make it read in short transactions"
            );
        }
    }
}

/// Reports that the writer has ended, even by a panic.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let asked = self.0.backlog.closing().is_some();
        let unwritten = self.0.backlog.finish();
        if !asked {
            self.0.degrade(
                "its thread has failed; restart the daemon, and report the log lines before this one",
                0,
                true,
            );
        }
        if unwritten > 0 {
            let path = &self.0.name;
            tracing::error!(path, unwritten, "the store was closed before all records were written");
        }
    }
}

/// Writes until the store is closed and nothing waits, or the time for closing is over. The previous daemon was last
/// known to be alive at `before`.
pub(super) fn run(store: impl Store, shared: &Shared, before: Option<Alive>) {
    // Dropped after `store`, so that the file is free when the end is reported.
    let _ending = Ending(shared);
    let mut writer = Writer { store, shared, keep: Keep::new(before), past: None, noted: None, rest: FIRST_REST };
    while writer.turn() {}
}

struct Writer<'a, S> {
    store: S,
    shared: &'a Shared,
    keep: Keep,
    /// The moment before which records are past their time, and when to delete some more.
    past: Option<(Wall, Instant)>,
    /// When the writer last stored that the daemon is alive.
    noted: Option<Mono>,
    rest: Duration,
}

impl<S: Store> Writer<'_, S> {
    /// Runs one round; returns false after the last.
    fn turn(&mut self) -> bool {
        let Work { entries, alive, beat } = self.shared.backlog.take(self.past.map(|(_, at)| at));
        let closing = self.shared.backlog.closing();
        let is_due = beat.is_some_and(|beat| self.is_due(beat));
        if !entries.is_empty() || is_due {
            if let Err(failure) = self.write(&entries, alive) {
                let lost = self.shared.backlog.put_back(entries);
                self.shared.degrade(&failure.to_string(), lost, true);
                if closing.is_some_and(|end| thread_now() >= end) {
                    return false;
                }
                self.shared.backlog.pause(self.rest);
                self.rest = (self.rest * 2).min(LONGEST_REST);
                return true;
            }
            self.shared.backlog.written(entries);
            self.shared.recovered();
            self.rest = FIRST_REST;
        } else if closing.is_some() {
            return false;
        }
        if let Some(beat) = beat {
            self.beat(beat, is_due);
        }
        self.prune();
        true
    }

    fn write(&mut self, entries: &[Entry], alive: Option<Alive>) -> Result<(), StoreError> {
        let all = entries.iter().filter_map(|entry| Some((entry.record.clone()?, entry.line)));
        let (records, lines): (Vec<Numbered>, Vec<Wall>) = all.unzip();
        self.store.append(Batch { records: &records, lines: &lines, alive })?;
        if let Some(last) = records.last() {
            self.shared.written.send_replace(last.number);
        }
        Ok(())
    }

    fn is_due(&self, beat: Beat) -> bool {
        beat.matters || self.noted.is_none_or(|at| beat.now.mono.since(at) >= IDLE_BEAT)
    }

    fn beat(&mut self, beat: Beat, noted: bool) {
        if noted {
            self.noted = Some(beat.now.mono);
            self.shared.held_up(self.store.held_up());
        }
        let keep = Duration::from_millis(self.shared.keep.load(Ordering::Relaxed));
        if let Some(before) = self.keep.look(beat.now, keep) {
            self.past = Some((before, thread_now()));
        }
    }

    /// Deletes some old records if it is time.
    fn prune(&mut self) {
        let Some((before, _)) = self.past.filter(|(_, at)| *at <= thread_now()) else { return };
        self.past = match self.store.prune(before) {
            Ok(true) => Some((before, thread_now() + PRUNE_REST)),
            Ok(false) => None,
            Err(failure) => {
                let path = &self.shared.name;
                tracing::warn!(path, %failure, "old records could not be deleted; the writer retries in an hour");
                None
            }
        };
    }
}
