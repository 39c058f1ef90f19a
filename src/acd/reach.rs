//! Whether an agent's phone, or the gateway it is behind, works; and how long it is left alone when it does not (Q7).

use std::time::Duration;

use super::fact::MissCause;
use super::time::{Mono, Now, Wall};

/// How long a phone that does not work is left alone before it is tried again, by whichever caller, when nothing else
/// tells that it came back: twice as long after each further failure.
pub const UNREACHABLE_RETRY: Duration = Duration::from_secs(5);

/// The longest such time: a phone that was left off over the weekend is no thousand missed offers. It is also how long
/// a phone is left alone that FreeSWITCH said is not registered any more. FreeSWITCH tells when it is back; this is for
/// the day when that was not heard, or the phone can be reached all the same.
pub const LONGEST_UNREACHABLE_RETRY: Duration = Duration::from_secs(60);

/// The longest such time for a phone that works and takes no calls by itself: "do not disturb" may be switched off any
/// moment, and nothing tells.
pub const LONGEST_REFUSING_RETRY: Duration = Duration::from_secs(20);

/// The longest time that a phone is left alone which failed in this way again and again. `None` when the phone works and
/// it is the agent who did not take the call: the next caller may be offered at once.
fn longest_retry(cause: MissCause) -> Option<Duration> {
    match cause {
        MissCause::NoAnswer
        | MissCause::TimeLimit
        | MissCause::Busy
        | MissCause::Declined
        | MissCause::NotConnected => None,
        MissCause::Unavailable | MissCause::Cancelled | MissCause::Forwarded => Some(LONGEST_REFUSING_RETRY),
        MissCause::Timeout
        | MissCause::Refused { .. }
        | MissCause::Silent
        | MissCause::NotRegistered
        | MissCause::Unknown
        | MissCause::GatewayDown
        | MissCause::Failed => Some(LONGEST_UNREACHABLE_RETRY),
    }
}

/// What is known of a phone that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    since: Wall,
    cause: MissCause,
    /// How many offers have failed since.
    failures: u32,
    /// How long the phone was left alone after the last failure.
    pause: Duration,
    /// When to try it again; `None` when it may be tried.
    retry: Option<Mono>,
}

/// Whether a phone works, as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach(Option<Trouble>);

impl Reach {
    /// The phone works, or nothing is known of it.
    pub fn works(&mut self) {
        self.0 = None;
    }

    /// An offer was missed. When that says that the phone does not work, it is left alone for a while; any other cause
    /// proves that the phone is there.
    pub fn missed(&mut self, cause: MissCause, now: Now) {
        self.0 = longest_retry(cause).map(|longest| {
            let (since, pause, failures) = match &self.0 {
                Some(trouble) => (trouble.since, trouble.pause.saturating_mul(2), trouble.failures),
                None => (now.wall, UNREACHABLE_RETRY, 0),
            };
            let pause = pause.min(longest);
            Trouble { since, cause, failures: failures.saturating_add(1), pause, retry: Some(now.mono.plus(pause)) }
        });
    }

    /// FreeSWITCH says that the phone is registered no longer.
    pub fn gone(&mut self, now: Now) {
        let (since, failures) = self.0.as_ref().map_or((now.wall, 0), |trouble| (trouble.since, trouble.failures));
        let (cause, pause) = (MissCause::NotRegistered, LONGEST_UNREACHABLE_RETRY);
        self.0 = Some(Trouble { since, cause, failures, pause, retry: Some(now.mono.plus(pause)) });
    }

    /// Since when the phone does not work, and what it did last; `None` when it may be tried.
    pub fn left_alone(&self) -> Option<(Wall, MissCause)> {
        self.0.as_ref().filter(|trouble| trouble.retry.is_some()).map(|trouble| (trouble.since, trouble.cause))
    }

    /// Since the phone last worked so many offers have failed because it does not, the last one for this cause.
    pub fn failing(&self) -> Option<(u32, MissCause)> {
        self.0.as_ref().filter(|trouble| trouble.failures > 0).map(|trouble| (trouble.failures, trouble.cause))
    }

    /// When the phone may be tried again.
    pub fn deadline(&self) -> Option<Mono> {
        self.0.as_ref()?.retry
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Now) {
        if let Some(trouble) = &mut self.0 {
            trouble.retry = trouble.retry.filter(|at| *at > now.mono);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(seconds: u64) -> Now {
        Now { mono: Mono(Duration::from_secs(seconds)), wall: Wall(1_000_000 + 1000 * seconds as i64) }
    }

    /// Q7: a phone that does not work is tried ever less often, one that refuses by itself not as seldom, and one that
    /// works as soon as anybody wants it.
    #[test]
    fn what_fails_again_and_again_is_tried_ever_less_often() {
        let mut reach = Reach::default();
        let mut at = 0;
        let mut pauses = |reach: &mut Reach, cause, tries: usize| -> Vec<u64> {
            let pause = |_| {
                reach.missed(cause, now(at));
                let until = reach.deadline().map_or(at, |until| until.0.as_secs());
                let pause = until - at;
                at = until;
                reach.tick(now(at));
                pause
            };
            (0..tries).map(pause).collect()
        };
        assert_eq!(pauses(&mut reach, MissCause::Silent, 6), [5, 10, 20, 40, 60, 60]);
        assert_eq!(reach.failing(), Some((6, MissCause::Silent)));
        assert_eq!(pauses(&mut reach, MissCause::Declined, 2), [0, 0]);
        assert_eq!(reach.failing(), None);
        assert_eq!(pauses(&mut reach, MissCause::Unavailable, 4), [5, 10, 20, 20]);
        assert_eq!(pauses(&mut reach, MissCause::Refused { sip_status: 503 }, 2), [40, 60]);
        assert_eq!(pauses(&mut reach, MissCause::Forwarded, 1), [20]);
    }

    /// Q5: a phone is left alone until its time, and a registration that ended counts as no failed offer.
    #[test]
    fn a_phone_that_is_registered_no_longer_has_failed_nobody() {
        let mut reach = Reach::default();
        reach.gone(now(0));
        assert_eq!(reach.left_alone(), Some((now(0).wall, MissCause::NotRegistered)));
        assert_eq!((reach.failing(), reach.deadline()), (None, Some(now(60).mono)));
        reach.tick(now(59));
        assert!(reach.left_alone().is_some());
        reach.tick(now(60));
        assert_eq!(reach.left_alone(), None);
        reach.missed(MissCause::NotRegistered, now(60));
        assert_eq!(reach.left_alone(), Some((now(0).wall, MissCause::NotRegistered)), "all that time");
        assert_eq!(reach.deadline(), Some(now(120).mono));
        reach.works();
        assert_eq!(reach, Reach::default());
    }
}
