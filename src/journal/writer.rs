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
        Self { backlog: Backlog::new(backlog), path, health: watch::Sender::default() }
    }

    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    pub(super) fn push(&self, entry: Entry) {
        if let Some(why) = self.backlog.push(entry) {
            self.degrade(why, 1, false);
        }
    }

    /// Makes visible that nothing was written for too long.
    pub(super) fn silent_for(&self, waited: Duration) {
        self.degrade(&format!("it has not answered for {waited:?}; look at the disk below it"), 0, false);
        // Whatever is written next, if only this, shows that it answers again.
        self.push(Entry { record: None, ack: None });
    }

    /// Makes visible that facts do not reach the disk, and how many records that cost just now. A `sure` reason
    /// replaces the one given before.
    fn degrade(&self, why: &str, lost: u64, sure: bool) {
        let mut news = true;
        self.health.send_modify(|health| match health {
            Health::Ok => *health = Health::Degraded { since: wall_now(), reason: Arc::from(why), dropped: lost },
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
            let (path, waiting) = (self.path.display(), self.backlog.waiting());
            let what = "the store is not written: facts wait in memory, and the oldest go first";
            tracing::warn!(%path, why, waiting, lost, "{what}");
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

/// Tells everybody that the writer has ended, however it did.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let asked = self.0.backlog.closing().is_some();
        let unwritten = self.0.backlog.finish();
        if !asked {
            self.0.degrade("its thread has failed; restart, and report what the log says before this", 0, true);
        }
        if unwritten > 0 {
            let path = self.0.path.display();
            tracing::error!(%path, unwritten, "the store was closed before everything was written");
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
            shared.degrade(&failure.to_string(), lost, true);
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
            let path = shared.path.display();
            tracing::warn!(%path, %failure, "old records could not be deleted; trying again in an hour");
            PRUNE_EVERY
        }
    }
}
