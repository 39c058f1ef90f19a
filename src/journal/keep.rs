//! How long records are kept: by the calendar, if it is credible (Q108).

use std::time::Duration;

use crate::acd::restored::Alive;
use crate::acd::time::{Mono, Now, Wall};

/// How often the writer looks for old records.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// The largest forward jump of the calendar that is believed at once: the daemon may have been down for that long.
const PLAUSIBLE: Duration = Duration::from_secs(31 * 24 * 3600);

/// How long a calendar that jumped further must stand before records are deleted by it, so that an admin can notice it.
const PROBATION: Duration = Duration::from_secs(24 * 3600);

/// Decides which records are past their time.
#[derive(Debug)]
pub(super) struct Keep {
    /// The last reading of the calendar, and its monotonic time.
    known: Option<(Wall, Mono)>,
    /// The moment from which the calendar is believed.
    believed: Mono,
    look_at: Mono,
}

impl Keep {
    /// Starts for a daemon that was last known to be alive at `before`.
    pub(super) fn new(before: Option<Alive>) -> Self {
        let known = before.map(|alive| (alive.wall, Mono::default()));
        Self { known, believed: Mono::default(), look_at: Mono::default() }
    }

    /// The moment before which records are past their time, if a look is due.
    pub(super) fn look(&mut self, now: Now, keep: Duration) -> Option<Wall> {
        if let Some((wall, at)) = self.known {
            let ahead = now.wall.since(wall.plus(now.mono.since(at)));
            if ahead > PLAUSIBLE {
                let days = ahead.as_secs() / (24 * 3600);
                tracing::warn!(days, "the calendar jumped forward by days; records are not deleted by it for one day");
                self.believed = now.mono.plus(PROBATION);
            }
        }
        self.known = Some((now.wall, now.mono));
        if now.mono < self.look_at || now.mono < self.believed {
            return None;
        }
        self.look_at = now.mono.plus(LOOK_EVERY);
        Some(now.wall.before(keep))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(mono: i64, wall: i64) -> Now {
        Now { mono: Mono(Duration::from_secs(mono.unsigned_abs())), wall: Wall(wall * 1000) }
    }
    fn alive(seconds: i64) -> Option<Alive> {
        Some(Alive { wall: Wall(seconds * 1000), line: Wall(0) })
    }
    fn keep(days: u64) -> Duration {
        Duration::from_secs(days * 24 * 3600)
    }

    /// Records expire by the calendar, once an hour.
    #[test]
    fn the_writer_looks_for_old_records_every_hour() {
        let mut k = Keep::new(alive(900 * DAY));
        assert_eq!(k.look(at(2, 910 * DAY), keep(400)), Some(Wall(510 * DAY * 1000)));
        assert_eq!(k.look(at(3600, 910 * DAY + 3598), keep(400)), None);
        assert_eq!(k.look(at(3602, 910 * DAY + 3600), keep(30)), Some(Wall((880 * DAY + 3600) * 1000)));
    }

    /// Q108: a calendar that is years ahead, at the start or later, deletes nothing before an admin can have seen it.
    #[test]
    fn q108_a_wrong_calendar_deletes_nothing() {
        let mut k = Keep::new(alive(900 * DAY));
        let years = 1_700 * DAY;
        assert_eq!(k.look(at(2, years), keep(400)), None);
        assert_eq!(k.look(at(4, 900 * DAY + 10), keep(400)), None, "it is corrected");
        assert_eq!(k.look(at(DAY, 901 * DAY), keep(400)), None);
        assert!(k.look(at(DAY + 2, 901 * DAY), keep(400)).is_some());
        assert_eq!(k.look(at(DAY + 9_000, years), keep(400)), None);
        assert_eq!(k.look(at(2 * DAY, years + 2 * DAY), keep(400)), None);
        assert!(k.look(at(2 * DAY + 9_000, years + DAY), keep(400)).is_some(), "the calendar was right");
    }

    /// A new store, or one of a version that did not record when it was alive, believes the calendar.
    #[test]
    fn a_first_start_believes_its_calendar() {
        assert_eq!(Keep::new(None).look(at(0, 500 * DAY), keep(400)), Some(Wall(100 * DAY * 1000)));
    }
}
