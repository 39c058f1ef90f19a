//! Limits how fast a queue that rings many agents for one caller may ring them.
//!
//! FreeSWITCH accepts a limited number of new sessions per second, outgoing ones included, and refuses all others with
//! 503. A queue that rang everybody at once would block callers, its own and those of other queues.

use std::collections::VecDeque;
use std::time::Duration;

use super::time::Mono;

/// FreeSWITCH's default limit (`sessions-per-second`).
pub const SESSIONS_PER_SECOND: u32 = 30;

/// The window in which sessions are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// How many offers one queue may make within any second, given FreeSWITCH's limit: half of it, so that as many callers
/// can arrive as agents are rung.
pub fn share(sessions_per_second: u32) -> usize {
    usize::try_from(sessions_per_second / 2).unwrap_or(usize::MAX).max(1)
}

/// The times of the offers that a queue has made within the last second.
#[derive(Clone, Debug, Default)]
pub struct Pace(VecDeque<Mono>);

impl Pace {
    /// How many more offers may be made now, of `share` within any second.
    pub fn room(&mut self, share: usize, now: Mono) -> usize {
        while self.0.front().is_some_and(|at| at.plus(WINDOW) <= now) {
            self.0.pop_front();
        }
        share.saturating_sub(self.0.len())
    }

    /// Counts an offer.
    pub fn count(&mut self, now: Mono) {
        self.0.push_back(now);
    }

    /// When there will be room again, after [`room`](Self::room) has returned 0.
    pub fn free_at(&self) -> Option<Mono> {
        self.0.front().map(|at| at.plus(WINDOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }

    /// Q6: no second has more offers than the share.
    #[test]
    fn no_second_has_more_than_the_share() {
        assert_eq!((share(30), share(1), share(0)), (15, 1, 1));
        let mut pace = Pace::default();
        for ms in [0, 400, 400] {
            assert!(pace.room(3, at(ms)) > 0);
            pace.count(at(ms));
        }
        assert_eq!((pace.room(3, at(999)), pace.free_at()), (0, Some(at(1000))));
        assert_eq!(pace.room(3, at(1000)), 1);
        pace.count(at(1000));
        assert_eq!((pace.room(3, at(1399)), pace.free_at()), (0, Some(at(1400))));
        assert_eq!(pace.room(3, at(9000)), 3);
        assert_eq!(pace.free_at(), None);
    }
}
