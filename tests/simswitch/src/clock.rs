//! Virtual time as FreeSWITCH shows it: microseconds since 1970, and their textual forms.

use std::time::Duration;
use tokio::time::Instant;

/// The date of the captures: 22 November 2026, 09:00 GMT.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_795_338_000);

/// Maps the runtime's time to the fixed calendar of the simulation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Time since the start of the switch.
    pub(crate) fn elapsed(self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn since_start(self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// Microseconds since 1970 at `at`.
    pub(crate) fn micros(self, at: Instant) -> u64 {
        u64::try_from((EPOCH + self.since_start(at)).as_micros()).unwrap_or(u64::MAX)
    }

    /// The first instant at which the calendar shows the whole second of `at` plus `seconds`. FreeSWITCH counts
    /// `originate_timeout` and `linger` in whole calendar seconds (captures `agent-no-answer`: 2 s ended after 1.58 s).
    pub(crate) fn whole_seconds_after(self, at: Instant, seconds: u64) -> Instant {
        let into = Duration::from_micros(self.micros(at) % 1_000_000);
        at + Duration::from_secs(seconds) - into
    }
}

/// Year, month, day, hour, minute, second of a time in microseconds since 1970.
fn civil(micros: u64) -> (u64, u64, u64, u64, u64, u64, u64) {
    let seconds = micros / 1_000_000;
    let days = seconds / 86_400;
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z % 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    let rest = seconds % 86_400;
    (year, month, day, rest / 3600, rest / 60 % 60, rest % 60, (days + 4) % 7)
}

/// `2026-11-22 09:03:57`
pub(crate) fn stamp(micros: u64) -> String {
    let (y, mo, d, h, mi, s, _) = civil(micros);
    format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
}

/// `Sun, 22 Nov 2026 09:03:57 GMT`
pub(crate) fn http_date(micros: u64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (y, mo, d, h, mi, s, wd) = civil(micros);
    format!("{}, {d:02} {} {y:04} {h:02}:{mi:02}:{s:02} GMT", DAYS[wd as usize], MONTHS[(mo - 1) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_in_the_captures() {
        assert_eq!(stamp(1_795_338_237_856_875), "2026-11-22 09:03:57");
        assert_eq!(http_date(1_795_338_237_856_875), "Sun, 22 Nov 2026 09:03:57 GMT");
        assert_eq!(stamp(951_782_400_000_000), "2000-02-29 00:00:00");
    }
}
