//! When callers arrived, by FreeSWITCH's clock: that decides the order of the line, not the order in which connections
//! are read (Q4).
//!
//! When many callers arrive at once, connections open and are read in no particular order. FreeSWITCH states for each
//! call, by its own clock, when it arrived and when `connect` was answered. The smallest difference between that answer
//! and its reading by our clock is the best estimate of the difference of the two clocks; all other answers were read
//! with more delay.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::acd::time::Mono;
use crate::telephony::channel::Arrival;

/// A caller who arrived longer ago first heard something in the dialplan, and enters the queue only now.
const AT_ONCE: Duration = Duration::from_secs(2);

/// The longest credible delay of an answer; a longer one means that a clock was set.
const LATEST: Duration = Duration::from_secs(10);

/// The period of a measured clock difference, which is used for one or two periods: clocks drift.
const PERIOD: Duration = Duration::from_secs(60);

/// The maximum number of known clocks; a restarted FreeSWITCH counts as a new one.
const MOST_CLOCKS: usize = 64;

/// The clocks of the switches.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<BTreeMap<String, Difference>>);

/// How much our clock is ahead of a switch's, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Difference {
    /// The smallest in this period, and in the previous one.
    least: [i128; 2],
    began: Mono,
}

impl Arrivals {
    /// How long ago the caller of this reply to `connect` arrived.
    pub(super) fn ago(&self, arrival: &Arrival, now: Mono) -> Duration {
        let ours = i128::try_from(now.0.as_micros()).unwrap_or(i128::MAX);
        let seen = ours.saturating_sub(i128::from(arrival.replied));
        let mut clocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clocks.len() >= MOST_CLOCKS && !clocks.contains_key(&arrival.switch) {
            clocks.clear();
        }
        let clock = clocks.entry(arrival.switch.clone()).or_insert(Difference { least: [seen; 2], began: now });
        let ahead = clock.see(seen, now);
        let came = if arrival.waited() <= AT_ONCE { arrival.came } else { arrival.replied };
        let ago = ours.saturating_sub(ahead.saturating_add(i128::from(came)));
        Duration::from_micros(u64::try_from(ago).unwrap_or(0)).min(AT_ONCE + LATEST)
    }
}

impl Difference {
    /// Takes a measurement, and returns how far our clock is ahead.
    fn see(&mut self, seen: i128, now: Mono) -> i128 {
        let latest = i128::try_from(LATEST.as_micros()).unwrap_or(i128::MAX);
        let was_set = seen.abs_diff(self.least[0].min(self.least[1])) > latest.unsigned_abs();
        if was_set || now.since(self.began) >= PERIOD * 2 {
            (self.least, self.began) = ([seen; 2], now);
        } else if now.since(self.began) >= PERIOD {
            (self.least, self.began) = ([seen, self.least[0]], now);
        }
        self.least[0] = self.least[0].min(seen);
        self.least[0].min(self.least[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 1_795_338_315_976_863;

    fn ms(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }
    /// A caller who arrived, and whose `connect` was answered, at these milliseconds by FreeSWITCH's clock.
    fn arrival(came: u64, replied: u64) -> Arrival {
        Arrival { switch: "fs".to_owned(), came: BASE + came * 1000, replied: BASE + replied * 1000 }
    }
    fn ago(arrivals: &Arrivals, came: u64, replied: u64, read: u64) -> u64 {
        u64::try_from(arrivals.ago(&arrival(came, replied), ms(read)).as_millis()).unwrap_or(u64::MAX)
    }

    /// Q4: the caller who arrived first is first in line, even if the connection is read late.
    #[test]
    fn q4_callers_are_in_line_in_the_order_of_arrival() {
        let arrivals = Arrivals::default();
        assert_eq!(ago(&arrivals, 990, 1000, 7_000), 10);
        // Read late, and in another order.
        assert_eq!(ago(&arrivals, 1100, 1110, 7_400), 300);
        assert_eq!(ago(&arrivals, 1050, 1100, 7_500), 450);
        // This one is read with less delay than the first, which was therefore late too.
        assert_eq!(ago(&arrivals, 2000, 2000, 7_990), 0);
        assert_eq!(ago(&arrivals, 2000, 2000, 8_000), 10);
    }

    /// A caller who first heard a greeting arrives when it is over.
    #[test]
    fn q4_a_greeting_before_the_queue_is_not_a_wait() {
        let arrivals = Arrivals::default();
        assert_eq!(ago(&arrivals, 0, 30_000, 100), 0);
        assert_eq!(ago(&arrivals, 29_000, 30_000, 100), 1_000);
        assert_eq!(ago(&arrivals, 31_000, 30_000, 100), 0, "the clock was set in between");
    }

    /// Q108: a clock that is set, or another switch, starts a new measurement; no caller is credited with a long wait.
    #[test]
    fn q108_setting_a_clock_moves_no_caller_far() {
        let arrivals = Arrivals::default();
        ago(&arrivals, 0, 0, 1_000);
        assert_eq!(ago(&arrivals, 3_600_000, 3_600_000, 2_000), 0, "forward");
        assert_eq!(ago(&arrivals, 0, 0, 3_000), 0, "backward");
        assert!(ago(&arrivals, 1, 1, 12_900) <= 12_000);
        // The clocks drift: the smallest difference of an hour ago no longer counts.
        assert_eq!(ago(&arrivals, 3_600_000, 3_600_000, 3_603_500), 0);
        let other = Arrival { switch: "other".to_owned(), ..arrival(5, 5) };
        assert_eq!(arrivals.ago(&other, ms(3_604_000)), Duration::ZERO);
    }
}
