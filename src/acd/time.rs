//! Time values: callers pass them in, and nothing in `acd` reads a clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on the wall clock, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Used for everything that outlives the process: facts, and entry times stored on a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wall(pub i64);

impl Wall {
    /// The wall-clock moment `d` later, to the millisecond.
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(millis(d)))
    }

    /// The wall-clock moment `d` earlier, to the millisecond.
    pub fn before(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(millis(d)))
    }

    /// The time from `earlier` to this moment; zero when `earlier` lies in the future. The calendar may have been set
    /// in between, so use [`Now::lasted`] for lengths.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A moment on the monotonic clock: the time since the process started. Deadlines use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub Duration);

impl Mono {
    /// The moment `d` later.
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(d))
    }

    /// The time from `earlier` to this moment; zero when `earlier` lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// When something began, on the monotonic clock, in milliseconds; it may lie before the start of this process. Lengths
/// and orders use it, because it does not change when the calendar is set (Q108).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Since(i64);

impl From<Mono> for Since {
    fn from(at: Mono) -> Self {
        Self(millis(at.0))
    }
}

impl Since {
    /// The moment `d` earlier.
    pub fn before(self, d: Duration) -> Self {
        Self(self.0.saturating_sub(millis(d)))
    }
}

/// The present, passed in with every input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines, lengths and orders.
    pub mono: Mono,
    /// For records and people.
    pub wall: Wall,
}

impl Now {
    /// The moment `d` ago.
    pub fn ago(self, d: Duration) -> Since {
        Since::from(self.mono).before(d)
    }

    /// How long something that began at `since` has lasted; zero when `since` lies in the future.
    pub fn lasted(self, since: Since) -> Duration {
        Duration::from_millis(u64::try_from(Since::from(self.mono).0.saturating_sub(since.0)).unwrap_or(0))
    }

    /// The moment `since` on the present calendar.
    pub fn wall_of(self, since: Since) -> Wall {
        Wall(self.wall.0.saturating_sub(Since::from(self.mono).0.saturating_sub(since.0)))
    }
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Q108: a length that began before this process is right, and ignores that the calendar is set.
    #[test]
    fn q108_lengths_do_not_follow_the_calendar() {
        let at = |ms, wall| Now { mono: Mono(Duration::from_millis(ms)), wall: Wall(wall) };
        let since = at(1_000, 500_000).ago(Duration::from_secs(60));
        assert_eq!(at(1_000, 500_000).wall_of(since), Wall(440_000));
        assert_eq!(at(3_000, 1).lasted(since), Duration::from_secs(62));
        assert!(since < Since::from(Mono::default()));
        assert_eq!(at(0, 0).lasted(Since::from(Mono(Duration::from_secs(9)))), Duration::ZERO);
    }
}
