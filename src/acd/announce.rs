//! Decides when to announce which position to a waiting caller (Q11).

use std::time::Duration;

use super::time::Mono;

/// Improved positions are announced at most this often.
pub const PAUSE_BETWEEN: Duration = Duration::from_secs(15);

/// The highest position with its own sentence; beyond it, callers hear "more than 30".
pub const HIGHEST: u32 = 30;

/// The announcement schedule of one caller.
#[derive(Clone, Debug)]
pub struct Announcer {
    every: Duration,
    /// The best position announced so far; it never gets worse.
    announced: Option<u32>,
    looked: bool,
    /// The caller returned to a place in the line; callers ahead may still be on their way back.
    returned: bool,
    /// When the last announcement, or the wait, began.
    last: Mono,
    speaking: bool,
}

impl Announcer {
    /// Creates the schedule of a caller who enters at `now`, with the position repeated every `every`. A caller who has
    /// `returned` to an earlier place hears no position until all other callers have had time to return as well.
    pub fn new(every: Duration, returned: bool, now: Mono) -> Self {
        Self { every, announced: None, looked: false, returned, last: now, speaking: false }
    }

    /// Applies an interval that the admin changed.
    pub fn set_every(&mut self, every: Duration) {
        self.every = every;
    }

    /// Whether an improved position may be announced now; before that, the caller need not be woken for one.
    pub fn is_rested(&self, now: Mono) -> bool {
        now >= self.last.plus(PAUSE_BETWEEN)
    }

    /// Takes the caller's current position. Returns the position to announce now, if any (above [`HIGHEST`]: "more
    /// than"), and when to look again.
    pub fn look(&mut self, position: u32, now: Mono) -> (Option<u32>, Mono) {
        let position = self.announced.map_or(position, |t| t.min(position)).min(HIGHEST + 1);
        let rested = self.is_rested(now);
        let first = !self.looked && (rested || !self.returned);
        self.looked |= first;
        let better = self.announced.is_some_and(|t| position < t);
        let repeat = now >= self.last.plus(self.every);
        let speak = !self.speaking && ((first && position > 1) || (better && rested) || repeat);
        if speak {
            self.last = now;
            self.speaking = true;
            self.announced = Some(position);
        }
        let rest_over = self.last.plus(PAUSE_BETWEEN);
        let repeat_at = self.last.plus(self.every);
        let again = if rest_over > now { rest_over.min(repeat_at) } else { repeat_at };
        // The next announcement is due already, but must not interrupt the one that is playing.
        let again = if again > now { again } else { now.plus(Duration::from_secs(1)) };
        (speak.then_some(position), again)
    }

    /// The announcement has ended or was cut off.
    pub fn spoken(&mut self) {
        self.speaking = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(n: u64) -> Mono {
        Mono(Duration::from_secs(n))
    }
    fn spoken(a: &mut Announcer, position: u32, now: u64) -> Option<u32> {
        let (speak, again) = a.look(position, s(now));
        if speak.is_some() {
            a.spoken();
        }
        assert!(again > s(now), "the next look must lie in the future");
        speak
    }

    /// Q11, Q19: a returning caller hears no position while callers ahead may still be on their way back.
    #[test]
    fn a_returning_caller_hears_the_position_once_everybody_is_back() {
        let mut a = Announcer::new(Duration::from_secs(60), true, s(0));
        assert_eq!(spoken(&mut a, 2, 0), None);
        assert_eq!(spoken(&mut a, 5, 2), None);
        assert_eq!(a.look(5, s(14)), (None, s(15)));
        assert_eq!(spoken(&mut a, 5, 15), Some(5));
        assert_eq!(spoken(&mut a, 4, 30), Some(4));
        let mut first = Announcer::new(Duration::from_secs(60), true, s(0));
        assert_eq!(spoken(&mut first, 1, 15), None);
        assert_eq!(spoken(&mut first, 1, 60), Some(1));
    }

    /// Q11: on entry when others are ahead; on improvement, at most every 15 s; and at each interval.
    #[test]
    fn positions_are_announced_on_entry_on_improvement_and_at_intervals() {
        let mut a = Announcer::new(Duration::from_secs(60), false, s(0));
        assert_eq!(spoken(&mut a, 4, 0), Some(4));
        assert_eq!(spoken(&mut a, 3, 5), None);
        assert_eq!(spoken(&mut a, 3, 15), Some(3));
        assert_eq!(spoken(&mut a, 3, 40), None);
        assert_eq!(spoken(&mut a, 2, 41), Some(2));
        assert_eq!(spoken(&mut a, 2, 101), Some(2));
    }

    #[test]
    fn the_first_in_line_hears_nothing_on_entry_but_hears_the_repeats() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        assert_eq!(spoken(&mut a, 1, 0), None);
        assert_eq!(spoken(&mut a, 1, 29), None);
        assert_eq!(spoken(&mut a, 1, 30), Some(1));
    }

    /// Q11: the announced position never gets worse for the same caller.
    #[test]
    fn a_position_never_gets_worse() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        assert_eq!(spoken(&mut a, 2, 0), Some(2));
        assert_eq!(spoken(&mut a, 5, 30), Some(2));
    }

    /// Q11: looking shortly before the announcement is due does not postpone it.
    #[test]
    fn looking_does_not_postpone_the_announcement() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        let just_before = Mono(Duration::from_millis(29_900));
        assert_eq!(a.look(1, just_before), (None, s(30)));
        assert_eq!(spoken(&mut a, 1, 30), Some(1));
    }

    /// Q11, Q19: after a restart callers ahead may return later; a position that was never announced may get worse.
    #[test]
    fn only_announced_positions_never_get_worse() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        assert_eq!(spoken(&mut a, 1, 0), None);
        assert_eq!(spoken(&mut a, 3, 30), Some(3));
        assert_eq!(spoken(&mut a, 2, 45), Some(2));
        assert_eq!(spoken(&mut a, 3, 75), Some(2));
    }

    /// Q11: there is one sentence for all positions beyond 30, so moving up among them announces nothing.
    #[test]
    fn all_positions_beyond_30_share_one_sentence() {
        let mut a = Announcer::new(Duration::from_secs(60), false, s(0));
        assert_eq!(spoken(&mut a, 50, 0), Some(31));
        assert_eq!(spoken(&mut a, 40, 20), None);
        assert_eq!(spoken(&mut a, 30, 21), Some(30));
    }

    #[test]
    fn no_announcement_interrupts_another() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        assert_eq!(a.look(3, s(0)).0, Some(3));
        assert_eq!(a.look(2, s(20)).0, None);
        a.spoken();
        assert_eq!(a.look(2, s(21)).0, Some(2));
    }

    #[test]
    fn a_caller_is_woken_only_when_an_improved_position_may_be_announced() {
        let mut a = Announcer::new(Duration::from_secs(60), false, s(0));
        assert_eq!(a.look(3, s(0)), (Some(3), s(15)));
        assert!(!a.is_rested(s(14)));
        a.spoken();
        assert_eq!(a.look(3, s(15)), (None, s(60)));
        assert!(a.is_rested(s(15)));
    }
}
