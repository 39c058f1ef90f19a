//! When which position is spoken to a waiting caller (Q11).

use std::time::Duration;

use super::time::Mono;

/// Better positions are spoken at most this often.
pub const PAUSE_BETWEEN: Duration = Duration::from_secs(15);

/// The highest position with a sentence of its own; beyond it is "more than 30".
pub const HIGHEST: u32 = 30;

/// What one caller has been told and will be told.
#[derive(Clone, Debug)]
pub struct Announcer {
    every: Duration,
    /// The best position the caller was told; it never gets worse.
    told: Option<u32>,
    looked: bool,
    /// The caller was in the line before: others who were may still be on their way back, and stand ahead.
    returned: bool,
    /// When the last announcement, or the wait, began.
    last: Mono,
    speaking: bool,
}

impl Announcer {
    /// For a caller who entered at `now`; the position is repeated `every` so often. One who has `returned` to a place in
    /// the line has entered long ago, and is told the position when everybody else has had the time to return as well.
    pub fn new(every: Duration, returned: bool, now: Mono) -> Self {
        Self { every, told: None, looked: false, returned, last: now, speaking: false }
    }

    /// The interval was changed by the admin.
    pub fn set_every(&mut self, every: Duration) {
        self.every = every;
    }

    /// Whether a better position could be spoken at once: only then is it worth being told of one.
    pub fn is_rested(&self, now: Mono) -> bool {
        now >= self.last.plus(PAUSE_BETWEEN)
    }

    /// The caller's position is looked at: what to speak now, if anything (above [`HIGHEST`] it is "more
    /// than"), and when to look again.
    pub fn look(&mut self, position: u32, now: Mono) -> (Option<u32>, Mono) {
        let position = self.told.map_or(position, |t| t.min(position)).min(HIGHEST + 1);
        let rested = self.is_rested(now);
        let first = !self.looked && (rested || !self.returned);
        self.looked |= first;
        let better = self.told.is_some_and(|t| position < t);
        let repeat = now >= self.last.plus(self.every);
        let speak = !self.speaking && ((first && position > 1) || (better && rested) || repeat);
        if speak {
            self.last = now;
            self.speaking = true;
            self.told = Some(position);
        }
        let rest_over = self.last.plus(PAUSE_BETWEEN);
        let repeat_at = self.last.plus(self.every);
        let again = if rest_over > now { rest_over.min(repeat_at) } else { repeat_at };
        // Due already, and not to be spoken over what is being said.
        let again = if again > now { again } else { now.plus(Duration::from_secs(1)) };
        (speak.then_some(position), again)
    }

    /// The announcement has ended, or was cut.
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
        assert!(again > s(now), "it would look again at once");
        speak
    }

    /// Q11, Q19: who comes back is told nothing while others may be on their way back to their places ahead.
    #[test]
    fn who_comes_back_is_told_when_everybody_is_back() {
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

    /// Q11: on entry when others are ahead; on improvement, at most every 15 s; every so often.
    #[test]
    fn positions_are_spoken_when_they_are_news() {
        let mut a = Announcer::new(Duration::from_secs(60), false, s(0));
        assert_eq!(spoken(&mut a, 4, 0), Some(4));
        assert_eq!(spoken(&mut a, 3, 5), None);
        assert_eq!(spoken(&mut a, 3, 15), Some(3));
        assert_eq!(spoken(&mut a, 3, 40), None);
        assert_eq!(spoken(&mut a, 2, 41), Some(2));
        assert_eq!(spoken(&mut a, 2, 101), Some(2));
    }

    #[test]
    fn the_first_in_line_is_told_nothing_on_entry_but_reminded() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        assert_eq!(spoken(&mut a, 1, 0), None);
        assert_eq!(spoken(&mut a, 1, 29), None);
        assert_eq!(spoken(&mut a, 1, 30), Some(1));
    }

    /// Q11: it never gets worse for the same caller.
    #[test]
    fn a_position_never_gets_worse() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        assert_eq!(spoken(&mut a, 2, 0), Some(2));
        assert_eq!(spoken(&mut a, 5, 30), Some(2));
    }

    /// Q11: looking shortly before it is due does not put the announcement off.
    #[test]
    fn looking_puts_nothing_off() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        let just_before = Mono(Duration::from_millis(29_900));
        assert_eq!(a.look(1, just_before), (None, s(30)));
        assert_eq!(spoken(&mut a, 1, 30), Some(1));
    }

    /// Q11, Q19: after a restart those ahead may come back later: what was never said need not be kept.
    #[test]
    fn only_what_was_told_is_kept() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        assert_eq!(spoken(&mut a, 1, 0), None);
        assert_eq!(spoken(&mut a, 3, 30), Some(3));
        assert_eq!(spoken(&mut a, 2, 45), Some(2));
        assert_eq!(spoken(&mut a, 3, 75), Some(2));
    }

    /// Q11: beyond 30 there is one sentence, and moving up behind it is no news.
    #[test]
    fn far_behind_is_one_sentence() {
        let mut a = Announcer::new(Duration::from_secs(60), false, s(0));
        assert_eq!(spoken(&mut a, 50, 0), Some(31));
        assert_eq!(spoken(&mut a, 40, 20), None);
        assert_eq!(spoken(&mut a, 30, 21), Some(30));
    }

    #[test]
    fn nothing_is_spoken_over_an_announcement() {
        let mut a = Announcer::new(Duration::from_secs(30), false, s(0));
        assert_eq!(a.look(3, s(0)).0, Some(3));
        assert_eq!(a.look(2, s(20)).0, None);
        a.spoken();
        assert_eq!(a.look(2, s(21)).0, Some(2));
    }

    #[test]
    fn it_listens_only_when_a_better_position_could_be_spoken() {
        let mut a = Announcer::new(Duration::from_secs(60), false, s(0));
        assert_eq!(a.look(3, s(0)), (Some(3), s(15)));
        assert!(!a.is_rested(s(14)));
        a.spoken();
        assert_eq!(a.look(3, s(15)), (None, s(60)));
        assert!(a.is_rested(s(15)));
    }
}
