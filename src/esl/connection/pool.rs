//! The memory limit that many connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Limits the unprocessed data that many connections together hold in memory: incomplete frames, and events the
/// application has not taken.
///
/// Each connection may always hold [`Pool::own`] bytes. Once all of them together hold [`Pool::shared`], a connection
/// that needs more than its own is closed, unless it is trusted ([`Connection::vouch`]). So a peer that sends large
/// incomplete frames loses its own connection and costs no call its connection.
///
/// [`Connection::vouch`]: super::Connection::vouch
#[derive(Debug)]
pub struct Pool {
    own: usize,
    shared: usize,
    held: AtomicUsize,
}

impl Pool {
    /// A pool of `shared` bytes, and `own` more for each connection.
    pub fn new(own: usize, shared: usize) -> Self {
        Self { own, shared, held: AtomicUsize::new(0) }
    }

    /// The bytes that every connection may hold, whatever the others hold.
    pub fn own(&self) -> usize {
        self.own
    }

    /// The bytes that all connections may hold together.
    pub fn shared(&self) -> usize {
        self.shared
    }

    /// The bytes that all connections hold now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// The bytes one connection holds of a pool. Dropping it returns them.
#[derive(Debug)]
pub(super) struct Share {
    pool: Option<Arc<Pool>>,
    held: AtomicUsize,
    vouched: AtomicBool,
}

impl Share {
    pub(super) fn new(pool: Option<Arc<Pool>>) -> Self {
        Self { pool, held: AtomicUsize::new(0), vouched: AtomicBool::new(false) }
    }

    /// From now on only the connection's own limits apply.
    pub(super) fn vouch(&self) {
        self.vouched.store(true, Ordering::Relaxed);
    }

    /// Counts this many more bytes as held; false, and nothing is counted, when they exceed the limit.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let Some(pool) = &self.pool else { return true };
        let here = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let everywhere = pool.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let allowed = here <= pool.own || everywhere <= pool.shared || self.vouched.load(Ordering::Relaxed);
        if !allowed {
            self.give(bytes);
        }
        allowed
    }

    /// Counts this many bytes as no longer held.
    pub(super) fn give(&self, bytes: usize) {
        if let Some(pool) = &self.pool {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            pool.held.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give(self.held.load(Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_its_own_bytes_and_shares_the_rest() {
        let pool = Arc::new(Pool::new(10, 100));
        let greedy = Share::new(Some(pool.clone()));
        assert!(greedy.take(95));
        let modest = Share::new(Some(pool.clone()));
        assert!(modest.take(10), "the shared part is used up, but these are its own");
        assert!(!modest.take(1) && !greedy.take(1), "more than its own, and the shared part is used up");
        assert_eq!(pool.held(), 105);
        greedy.give(90);
        assert!(modest.take(80));
        modest.vouch();
        assert!(modest.take(1000));
        drop(greedy);
        drop(modest);
        assert_eq!(pool.held(), 0);
        assert!(Share::new(None).take(usize::MAX));
    }
}
