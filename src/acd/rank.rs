//! A caller's rank in the line: who is served before whom (Q4, Q25).

use std::cmp::Ordering;
use std::time::Duration;

use super::time::Wall;

/// The longest head start: the queue's share and the caller's own together (Q25).
pub const LONGEST_HEAD_START: Duration = Duration::from_secs(3600);

/// Where a caller stands in the line, in one queue and among callers of several queues: the earlier the time of entry,
/// the further ahead, with a head start as if the caller had entered that much earlier.
///
/// The entry time is in the line's own time ([`Line`](super::line::Line)), which continues across restarts and ignores
/// the calendar; it does not measure the length of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rank {
    /// By how much the caller stands ahead of others who entered at the same time, to the millisecond. In a line it is
    /// the queue's share plus the caller's own, at most [`LONGEST_HEAD_START`]; in a rank to enter or to come back with,
    /// it is the caller's own.
    pub head_start: Duration,
    /// When the caller entered this queue, by the line's time.
    pub entered: Wall,
    /// Distinguishes callers who entered in the same millisecond.
    pub seq: u64,
}

impl Rank {
    /// The rank of a caller without a head start.
    pub const fn new(entered: Wall, seq: u64) -> Self {
        Self { head_start: Duration::ZERO, entered, seq }
    }

    /// The same place with another head start.
    pub const fn with_head_start(self, head_start: Duration) -> Self {
        Self { head_start, ..self }
    }

    /// The order of ranks. The entry time comes last, so that only equal ranks compare as equal.
    fn key(&self) -> (Wall, u64, Wall) {
        (self.entered.before(self.head_start), self.seq, self.entered)
    }
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key()).then_with(|| self.head_start.cmp(&other.head_start))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(head_start_ms: u64, entered: i64, seq: u64) -> Rank {
        Rank { head_start: Duration::from_millis(head_start_ms), ..Rank::new(Wall(entered), seq) }
    }

    /// Q4: without a head start, first come is first served; of the same millisecond, who arrived first.
    #[test]
    fn q4_callers_rank_in_the_order_of_their_entry() {
        let ranks = [Rank::new(Wall(10), 9), Rank::new(Wall(11), 0), Rank::new(Wall(11), 1)];
        assert!(ranks.is_sorted_by(|a, b| a < b));
    }

    /// Q25: a head start counts as an earlier entry, and as no more.
    #[test]
    fn a_head_start_counts_as_an_earlier_entry() {
        let ahead = with(5_000, 20_000, 7);
        assert!(ahead < Rank::new(Wall(15_001), 0) && ahead > Rank::new(Wall(14_999), 9));
        assert!(ahead < Rank::new(Wall(15_000), 8) && ahead > Rank::new(Wall(15_000), 6));
    }

    /// Two ranks are equal only if they are the same: a line has one caller at each.
    #[test]
    fn different_ranks_are_never_equal() {
        let ranks = [Rank::new(Wall(15_000), 7), with(5_000, 20_000, 7), with(5_000, 20_001, 7), with(0, 20_001, 7)];
        for (i, a) in ranks.iter().enumerate() {
            for (j, b) in ranks.iter().enumerate() {
                assert_eq!((a == b, a.cmp(b) == Ordering::Equal), (i == j, i == j), "{a:?} {b:?}");
            }
        }
    }
}
