//! The one clock of the process (Q108).
//!
//! Everything goes by the monotonic time since the process began. The calendar is an anchor on it: the moment of the
//! beginning as the system's calendar had it. When the system's calendar is set, by hand or by NTP, the anchor follows;
//! records carry the new time from then on, and no length, order or deadline notices.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::acd::time::{Mono, Now, Wall};

/// How far the system's calendar may be from ours before it counts as set. The kernel slews both clocks alike, so that
/// what is left are steps, and the time that reading two clocks takes.
const STEP_MS: u64 = 50;

/// How long reading both clocks may take to be believed: a thread may stand still in between.
const READ_WITHIN: Duration = Duration::from_millis(5);

/// Tells the time.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// The calendar at the beginning, in milliseconds.
    anchor: AtomicI64,
    /// The calendar is the system's; otherwise it is set by [`Clock::set`] alone.
    system: bool,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self { started: Instant::now(), anchor: AtomicI64::new(system_wall().0), system: true }
    }

    /// A calendar that stands at `wall` now and goes as tokio's time goes, paused time included.
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

    /// Sets the calendar, as the system's may be set; for tests on virtual time.
    pub fn set(&self, wall: Wall) {
        self.follow(Mono(self.started.elapsed()), wall);
    }

    /// The system's calendar says this. Where it was set, ours is as well.
    fn follow(&self, mono: Mono, wall: Wall) {
        let anchor = self.anchor.load(Ordering::Relaxed);
        let other = wall.before(mono.0).0;
        if other.abs_diff(anchor) < STEP_MS {
            return;
        }
        // One of several threads that see it tells of it.
        if self.anchor.compare_exchange(anchor, other, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!(
                milliseconds = other.saturating_sub(anchor),
                "the system's calendar was set; records carry the new time from now on, and nothing else changes"
            );
        }
    }

    /// The moment for tokio's timers.
    pub fn instant(&self, at: Mono) -> Instant {
        self.started + at.0
    }
}

/// The machine's monotonic time, for threads that wait without tokio: real, also where tokio's time is paused.
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

    /// Q108: a calendar that is set, in either direction, sets the records' time and nothing else.
    #[tokio::test(start_paused = true)]
    async fn q108_the_calendar_may_be_set() {
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

    /// Two clocks are never read in the same instant: that is no step.
    #[tokio::test(start_paused = true)]
    async fn a_moment_between_two_readings_is_no_step() {
        let clock = Clock::virtual_from(Wall(1_000));
        clock.set(Wall(1_049));
        assert_eq!(clock.now().wall, Wall(1_000));
        clock.set(Wall(951));
        assert_eq!(clock.now().wall, Wall(1_000));
    }

    #[test]
    fn the_system_s_calendar_is_told() {
        let (clock, wall) = (Clock::system(), system_wall());
        assert!(clock.now().wall.0.abs_diff(wall.0) < 1_000);
    }
}
