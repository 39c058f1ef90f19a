//! Memory that many connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Bytes that many connections together may hold of what they received and is not dealt with: frames that are not
/// complete, and events the application has not taken.
///
/// Each connection may hold [`Pool::own`] bytes whatever the others do. Once all of them together hold
/// [`Pool::shared`], one that wants more than its own is closed, unless it is vouched for ([`Link::vouch`]): a peer that
/// sends large frames by halves costs its own connection, and that of no call.
///
/// [`Link::vouch`]: super::Link::vouch
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

    /// The bytes every connection may hold by itself.
    pub fn own(&self) -> usize {
        self.own
    }

    /// The bytes for all of them together.
    pub fn shared(&self) -> usize {
        self.shared
    }

    /// The bytes all of them hold now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }
}

/// What one connection holds of a pool; given back when it is dropped.
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

    /// From now on the connection may hold what its own limits allow.
    pub(super) fn vouch(&self) {
        self.vouched.store(true, Ordering::Relaxed);
    }

    /// Notes that this many bytes more are held; false when they may not be, and then nothing is noted.
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

    /// Notes that this many bytes are no longer held.
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
    fn everybody_has_their_own_and_the_rest_is_shared() {
        let pool = Arc::new(Pool::new(10, 100));
        let greedy = Share::new(Some(pool.clone()));
        assert!(greedy.take(95));
        let modest = Share::new(Some(pool.clone()));
        assert!(modest.take(10), "beyond what is shared, but its own");
        assert!(!modest.take(1) && !greedy.take(1), "more than its own, and nothing is left");
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
