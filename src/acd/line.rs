//! The line's own time, in which entries into the line are measured (Q4, Q19, Q108).
//!
//! A place is stored on the caller's channel and outlives the process, so the monotonic clock cannot measure it. The
//! calendar cannot either, because it may be set, and callers must keep their order. The line's time equals the
//! calendar when the first daemon of a store starts, advances with the monotonic clock, and never goes back from one
//! process to the next.

use std::time::Duration;

use super::time::{Now, Since, Wall};

/// How far ahead of the last process the line's time continues when the calendar was set back. It is the longest that a
/// caller may have been held meanwhile, so that callers who arrived without a daemon stand behind the earlier callers
/// and before the later ones.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// The line's time in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// The line's time at the start of the monotonic clock.
    start: Wall,
    /// The line's time at the end of the last process, and when that end was on this process's clock.
    before: Option<(Wall, Since)>,
}

impl Line {
    /// Continues from the last process: `before` is the line's time when that process was last known to live, and how
    /// long ago that was.
    pub fn resume(before: Option<(Wall, Duration)>, now: Now) -> Self {
        let start = match before {
            Some((last, _)) if now.wall < last => last.plus(AHEAD),
            _ => now.wall,
        };
        Self { start: start.before(now.mono.0), before: before.map(|(last, away)| (last, now.ago(away))) }
    }

    /// The line's time now.
    pub fn at(&self, now: Now) -> Wall {
        self.start.plus(now.mono.0)
    }

    /// When the caller with this entry time began to wait.
    pub fn since(&self, entered: Wall, now: Now) -> Since {
        match self.before {
            // The last moments of the last process may not have been stored.
            Some((last, died)) if entered < self.start => died.before(last.since(entered)),
            _ => now.ago(self.at(now).since(entered)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::Mono;
    use super::*;

    fn at(seconds: u64, wall: i64) -> Now {
        Now { mono: Mono(Duration::from_secs(seconds)), wall: Wall(wall * 1000) }
    }
    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Q108: a running line ignores that the calendar is set.
    #[test]
    fn q108_the_line_ignores_the_calendar_while_it_runs() {
        let line = Line::resume(None, at(5, 1_000));
        let first = line.at(at(10, 1_005));
        let second = line.at(at(20, 40_000));
        let third = line.at(at(30, 7));
        assert_eq!((first, second, third), (Wall(1_005_000), Wall(1_015_000), Wall(1_025_000)));
        assert_eq!(at(40, 7).lasted(line.since(first, at(40, 7))), s(30));
    }

    /// Q4, Q108: across a restart, later callers stay behind earlier ones, and waits keep their lengths.
    #[test]
    fn q108_nobody_overtakes_across_a_restart_with_the_calendar_set() {
        let (last, place) = (Wall(100_000_000), Wall(99_940_000));
        for (wall, away) in [(100_030, 30), (90_000, 0), (200_000, 30)] {
            let now = at(1, wall);
            let line = Line::resume(Some((last, s(away))), now);
            let held = line.at(now).before(s(20));
            assert!(place < held && held < line.at(now), "{wall}");
            assert_eq!(now.lasted(line.since(place, now)), s(60 + away), "{wall}");
            assert_eq!(at(9, wall).lasted(line.since(place, now)), s(68 + away), "{wall}");
        }
    }
}
