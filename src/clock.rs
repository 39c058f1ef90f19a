//! The one clock of the process (Q108).
//!
//! Everything uses the monotonic time since the process started. The calendar is an anchor on it: the system's calendar
//! at the start of the process. When somebody or NTP sets the system's calendar, the anchor follows: records carry the
//! new time from then on, but no duration, order or deadline changes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::acd::time::{Mono, Now, Wall};

/// How far the system's calendar may differ from ours before it counts as set. The kernel slews both clocks alike, so
/// any difference comes from steps, and from the time between reading the two clocks.
const STEP_MS: u64 = 50;

/// The longest time for reading both clocks after which the reading is used: the thread may be preempted in between.
const READ_WITHIN: Duration = Duration::from_millis(5);

/// The clock.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// The calendar at the start of the process, in milliseconds.
    anchor: AtomicI64,
    /// The calendar follows the system's; otherwise only [`Clock::set`] sets it.
    system: bool,
}

impl Clock {
    /// A clock that follows the system's.
    pub fn system() -> Self {
        Self { started: Instant::now(), anchor: AtomicI64::new(system_wall().0), system: true }
    }

    /// A clock whose calendar reads `wall` now and advances with tokio's time, also if that is paused.
    pub fn virtual_from(wall: Wall) -> Self {
        Self { started: Instant::now(), anchor: AtomicI64::new(wall.0), system: false }
    }

    /// The present.
    pub fn now(&self) -> Now {
        let mono = Mono(self.started.elapsed());
        if self.system {
            let wall = system_wall();
            if self.started.elapsed().saturating_sub(mono.0) <= READ_WITHIN {
                self.follow(mono, wall);
            }
        }
        self.at(mono)
    }

    fn at(&self, mono: Mono) -> Now {
        Now { mono, wall: Wall(self.anchor.load(Ordering::Relaxed)).plus(mono.0) }
    }

    /// Sets the calendar as an admin or NTP would; for tests on virtual time.
    pub fn set(&self, wall: Wall) {
        self.follow(Mono(self.started.elapsed()), wall);
    }

    /// Compares our calendar with the system's, and follows it if it was set.
    fn follow(&self, mono: Mono, wall: Wall) {
        let anchor = self.anchor.load(Ordering::Relaxed);
        let other = wall.before(mono.0).0;
        if other.abs_diff(anchor) < STEP_MS {
            return;
        }
        // Several threads may notice it; only one logs it.
        if self.anchor.compare_exchange(anchor, other, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(
                milliseconds = other.saturating_sub(anchor),
                "the system's calendar was set; records carry the new time from now on, nothing else changes"
            );
        }
    }

    /// The moment as an instant for tokio's timers.
    pub fn instant(&self, at: Mono) -> Instant {
        self.started + at.0
    }
}

/// The machine's monotonic time, for threads that wait without tokio; it advances even if tokio's time is paused.
pub fn thread_now() -> std::time::Instant {
    std::time::Instant::now()
}

fn system_wall() -> Wall {
    Wall(0).plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_moves_both_clocks() {
        let clock = Clock::virtual_from(Wall(1_000));
        tokio::time::advance(Duration::from_millis(250)).await;
        let now = clock.now();
        assert_eq!(now, Now { mono: Mono(Duration::from_millis(250)), wall: Wall(1_250) });
        assert_eq!(clock.instant(now.mono), Instant::now());
    }

    /// Q108: setting the calendar, in either direction, changes the records' time and nothing else.
    #[tokio::test(start_paused = true)]
    async fn q108_setting_the_calendar_changes_only_the_records_time() {
        let clock = Clock::virtual_from(Wall(1_000));
        for wall in [9_000_000, 5, 2_000_000_000_000] {
            tokio::time::advance(Duration::from_secs(1)).await;
            let before = clock.now();
            clock.set(Wall(wall));
            let after = clock.now();
            assert_eq!((after.mono, after.wall), (before.mono, Wall(wall)));
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(clock.now().wall, Wall(wall + 1_000));
        }
    }

    /// The two clocks are never read at the same instant: a small difference is not a step.
    #[tokio::test(start_paused = true)]
    async fn the_time_between_two_readings_is_not_a_step() {
        let clock = Clock::virtual_from(Wall(1_000));
        clock.set(Wall(1_049));
        assert_eq!(clock.now().wall, Wall(1_000));
        clock.set(Wall(951));
        assert_eq!(clock.now().wall, Wall(1_000));
    }

    #[test]
    fn the_clock_follows_the_system_s_calendar() {
        let (clock, wall) = (Clock::system(), system_wall());
        assert!(clock.now().wall.0.abs_diff(wall.0) < 1_000);
    }
}
