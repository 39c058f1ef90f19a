//! The thread that writes, and what it tells about itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::backlog::{BATCH, Backlog, Entry};
use super::store::Store;
use super::{Health, wall_now};

/// The first rest after a failed attempt to write; each further one is twice as long, up to [`LONGEST_REST`].
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);
/// How often old records are looked for, and the rest between two steps of deleting them.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const PRUNE_REST: Duration = Duration::from_millis(50);

/// What the writer shares with everybody.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) backlog: Backlog,
    path: PathBuf,
    health: watch::Sender<Health>,
}

impl Shared {
    pub(super) fn new(path: PathBuf, backlog: usize) -> Self {
        Self {
            backlog: Backlog::new(backlog),
            path,
            health: watch::Sender::default(),
        }
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn push(&self, entry: Entry) {
        let lost = self.backlog.push(entry);
        if lost > 0 {
            self.trouble(
                "more is recorded than it can write; look at the load and the disk below it",
                lost,
            );
        }
    }

    /// Makes visible that the store cannot be written, and what that cost. A reason found by writing replaces one
    /// found by waiting.
    pub(super) fn trouble(&self, why: &str, lost: u64) {
        let mut news = false;
        self.health.send_if_modified(|health| {
            if let Health::Degraded { dropped, reason, .. } = health {
                let first = *dropped == 0 && lost > 0;
                let other = lost == 0 && **reason != *why;
                *dropped += lost;
                if other {
                    *reason = Arc::from(why);
                }
                news = first || other;
                return news || lost > 0;
            }
            *health = Health::Degraded {
                since: wall_now(),
                reason: Arc::from(why),
                dropped: lost,
            };
            news = true;
            true
        });
        if news {
            let (path, waiting) = (self.path.display(), self.backlog.waiting());
            tracing::warn!(%path, why, waiting, lost, "the store is not written: facts wait in memory, the oldest go first");
        }
    }

    /// Makes visible that the store is written again.
    fn recovered(&self) {
        if matches!(*self.health.borrow(), Health::Ok) || self.backlog.waiting() >= BATCH {
            return;
        }
        if let Health::Degraded { since, dropped, .. } = self.health.send_replace(Health::Ok) {
            let (path, after) = (self.path.display(), wall_now().since(since));
            tracing::info!(%path, ?after, dropped, "the store is written again");
        }
    }
}

/// Tells those who close that the writer has ended, however it did.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let unwritten = self.0.backlog.finish();
        if unwritten > 0 {
            tracing::error!(path = %self.0.path.display(), unwritten, "the store was closed before everything was written");
        }
    }
}

/// Writes until the store is closed and nothing waits, or the time for closing is over.
pub(super) fn run(store: Store, shared: &Shared, keep: Duration) {
    // Dropped after `store`, so that the file is free when the end is told.
    let _ending = Ending(shared);
    let mut store = store;
    let mut rest = FIRST_REST;
    let mut prune_at = Instant::now();
    loop {
        let taken = shared.backlog.take(prune_at);
        let closing = shared.backlog.closing();
        if taken.is_empty() {
            if closing.is_some() {
                return;
            }
        } else if let Err(failure) = store.write(taken.iter().filter_map(|entry| entry.record.as_ref())) {
            let lost = shared.backlog.put_back(taken);
            shared.trouble(&failure.to_string(), 0);
            if lost > 0 {
                shared.trouble("", lost);
            }
            if closing.is_some_and(|end| Instant::now() >= end) {
                return;
            }
            shared.backlog.pause(rest);
            rest = (rest * 2).min(LONGEST_REST);
            continue;
        } else {
            shared.backlog.written(taken);
            shared.recovered();
            rest = FIRST_REST;
        }
        if Instant::now() >= prune_at {
            prune_at = Instant::now() + prune(&mut store, shared, keep);
        }
    }
}

/// Deletes some old records. Returns when to look again.
fn prune(store: &mut Store, shared: &Shared, keep: Duration) -> Duration {
    match store.prune(keep) {
        Ok(true) => PRUNE_REST,
        Ok(false) => PRUNE_EVERY,
        Err(failure) => {
            tracing::warn!(path = %shared.path.display(), %failure, "old records could not be deleted; trying again in an hour");
            PRUNE_EVERY
        }
    }
}
