//! The line's own time, by which places in it are told (Q4, Q19, Q108).
//!
//! A place outlives the process, on the caller's channel, so that it cannot be told by the monotonic clock; and who came
//! first stays first, so that it cannot be told by the calendar, which may be set. The line's time is the calendar's when
//! the first daemon of a store begins, goes on with the monotonic clock, and never goes back from one life to the next.

use std::time::Duration;

use super::time::{Now, Since, Wall};

/// How far ahead of the last life this one begins when the calendar was set back: the longest that a caller may have been
/// held meanwhile, so that who came while nobody was there stands behind who was there before, and before who comes now.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// The line's time in this life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// What it was when the monotonic clock began.
    start: Wall,
    /// Where the life before ended, and how long ago that was when this one began.
    before: Option<(Wall, Since)>,
}

impl Line {
    /// Goes on from where the line's time was when the last life was last known to go on, which was so long ago.
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

    /// Since when who has this place has waited.
    pub fn since(&self, entered: Wall, now: Now) -> Since {
        match self.before {
            // The last moments of a life may not have been noted.
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

    /// Q108: while it runs, the line does not notice that the calendar is set.
    #[test]
    fn q108_the_line_goes_on_whatever_the_calendar_says() {
        let line = Line::resume(None, at(5, 1_000));
        let first = line.at(at(10, 1_005));
        let second = line.at(at(20, 40_000));
        let third = line.at(at(30, 7));
        assert_eq!((first, second, third), (Wall(1_005_000), Wall(1_015_000), Wall(1_025_000)));
        assert_eq!(at(40, 7).lasted(line.since(first, at(40, 7))), s(30));
    }

    /// Q4, Q108: over a restart, nobody who comes later stands before who was there, and waits are as long as they were.
    #[test]
    fn q108_a_restart_and_a_calendar_that_was_set_let_nobody_overtake() {
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
