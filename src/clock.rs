//! The one clock of the process.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::acd::time::{Mono, Now, Wall};

/// Tells the time: a monotonic part that starts with the process, and a wall clock that never goes back.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// The wall clock follows the monotonic one from here, for tests on virtual time.
    follows: Option<Wall>,
    last: AtomicI64,
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self { started: Instant::now(), follows: None, last: AtomicI64::new(i64::MIN) }
    }

    /// A wall clock that stands at `wall` now and goes as tokio's time goes, paused time included.
    pub fn virtual_from(wall: Wall) -> Self {
        Self { started: Instant::now(), follows: Some(wall), last: AtomicI64::new(i64::MIN) }
    }

    /// The present.
    pub fn now(&self) -> Now {
        let mono = Mono(self.started.elapsed());
        let wall = match self.follows {
            Some(start) => start.plus(mono.0),
            None => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
        };
        // The system's clock may be set back; orders and durations must not.
        let last = self.last.fetch_max(wall.0, Ordering::Relaxed);
        Now { mono, wall: Wall(wall.0.max(last)) }
    }

    /// The moment for tokio's timers.
    pub fn instant(&self, at: Mono) -> Instant {
        self.started + at.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn virtual_time_moves_both_clocks() {
        let clock = Clock::virtual_from(Wall(1_000));
        tokio::time::advance(Duration::from_millis(250)).await;
        let now = clock.now();
        assert_eq!(now, Now { mono: Mono(Duration::from_millis(250)), wall: Wall(1_250) });
        assert_eq!(clock.instant(now.mono), Instant::now());
    }
}
