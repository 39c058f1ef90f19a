//! An agent's work in the present shift, for the strategies that share it out (Q35).
//!
//! A shift begins with the first login after the agent has been out of all queues.

use std::time::Duration;

use super::settings::Strategy;

/// The queue conversations of a shift, whichever queue they came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    /// How many there were.
    pub calls: u32,
    /// How long they lasted together.
    pub talked: Duration,
}

impl Shift {
    /// The shift of an agent who begins beside these: with the least work among them, so that nobody is flooded who comes
    /// later or returns from a break outside all queues.
    pub fn beside(others: impl Iterator<Item = Self>) -> Self {
        others
            .reduce(|least, other| Self { calls: least.calls.min(other.calls), talked: least.talked.min(other.talked) })
            .unwrap_or_default()
    }

    /// Counts a conversation of this length.
    pub fn count(&mut self, talked: Duration) {
        self.calls = self.calls.saturating_add(1);
        self.talked = self.talked.saturating_add(talked);
    }

    /// The work that a strategy shares out, as a number: the agent with the smallest comes first. 0 for a strategy that
    /// looks at no work.
    pub fn load(self, strategy: Strategy) -> u64 {
        match strategy {
            Strategy::FewestCalls => u64::from(self.calls),
            Strategy::LeastTalkTime => u64::try_from(self.talked.as_millis()).unwrap_or(u64::MAX),
            Strategy::AsListed
            | Strategy::Simultaneous
            | Strategy::LongestIdle
            | Strategy::RoundRobin
            | Strategy::Random => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shift(calls: u32, seconds: u64) -> Shift {
        Shift { calls, talked: Duration::from_secs(seconds) }
    }

    /// Q35: whoever begins has the least of both, and nothing where nobody is present.
    #[test]
    fn q35_a_shift_begins_with_the_least_work_of_those_present() {
        assert_eq!(Shift::beside([shift(7, 60), shift(5, 90), shift(9, 50)].into_iter()), shift(5, 50));
        assert_eq!(Shift::beside([].into_iter()), Shift::default());
    }

    /// Q35: each of the two strategies looks at its own count.
    #[test]
    fn q35_each_strategy_shares_out_its_own_work() {
        let mut one = shift(2, 30);
        one.count(Duration::from_millis(1_500));
        assert_eq!((one.load(Strategy::FewestCalls), one.load(Strategy::LeastTalkTime)), (3, 31_500));
        let others = Strategy::ALL.into_iter().filter(|s| one.load(*s) > 0).count();
        assert_eq!(others, 2);
    }
}
