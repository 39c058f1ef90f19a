//! Whether an agent's phone, or the gateway in front of it, works, and how long the phone is suspended when it does not
//! (Q7).

use std::time::Duration;

use super::fact::MissCause;
use super::time::{Mono, Now, Since};

/// How long a phone that does not work is suspended before it is tried again for any caller, unless FreeSWITCH reports
/// earlier that it is back. The time doubles after each further failure.
pub const UNREACHABLE_RETRY: Duration = Duration::from_secs(5);

/// The longest suspension, so that a phone left switched off over a weekend does not cause thousands of missed offers.
/// A phone that FreeSWITCH reports as unregistered is suspended for this long too. FreeSWITCH also reports its return;
/// the suspension ends by itself in case that event was missed, or the phone can be reached without a registration.
pub const LONGEST_UNREACHABLE_RETRY: Duration = Duration::from_secs(60);

/// The longest suspension of a phone that works but refuses calls by itself: "do not disturb" may be switched off at
/// any moment, and no event reports that.
pub const LONGEST_REFUSING_RETRY: Duration = Duration::from_secs(20);

/// The longest suspension of a phone that fails repeatedly with this cause. `None` when the phone works and the agent
/// did not take the call: the next caller may be offered at once.
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

/// The state of a phone that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    since: Since,
    cause: MissCause,
    /// How many offers have failed since then.
    failures: u32,
    /// The length of the last suspension.
    pause: Duration,
    /// When to try the phone again; `None` when it may be tried now.
    retry: Option<Mono>,
}

/// The known state of a phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach(Option<Trouble>);

impl Reach {
    /// The phone works, or its state is unknown.
    pub fn works(&mut self) {
        self.0 = None;
    }

    /// An offer was missed. A cause that shows the phone not working suspends it for a while; any other cause proves
    /// that the phone works.
    pub fn missed(&mut self, cause: MissCause, now: Now) {
        self.0 = longest_retry(cause).map(|longest| {
            let (since, pause, failures) = match &self.0 {
                Some(trouble) => (trouble.since, trouble.pause.saturating_mul(2), trouble.failures),
                None => (now.mono.into(), UNREACHABLE_RETRY, 0),
            };
            let pause = pause.min(longest);
            Trouble { since, cause, failures: failures.saturating_add(1), pause, retry: Some(now.mono.plus(pause)) }
        });
    }

    /// FreeSWITCH reports that the phone is no longer registered.
    pub fn gone(&mut self, now: Now) {
        let (since, failures) =
            self.0.as_ref().map_or((now.mono.into(), 0), |trouble| (trouble.since, trouble.failures));
        let (cause, pause) = (MissCause::NotRegistered, LONGEST_UNREACHABLE_RETRY);
        self.0 = Some(Trouble { since, cause, failures, pause, retry: Some(now.mono.plus(pause)) });
    }

    /// Since when the phone has not worked, and how it last failed; `None` when it may be tried.
    pub fn left_alone(&self) -> Option<(Since, MissCause)> {
        self.0.as_ref().filter(|trouble| trouble.retry.is_some()).map(|trouble| (trouble.since, trouble.cause))
    }

    /// How many offers have failed since the phone last worked, and the cause of the last one.
    pub fn failing(&self) -> Option<(u32, MissCause)> {
        self.0.as_ref().filter(|trouble| trouble.failures > 0).map(|trouble| (trouble.failures, trouble.cause))
    }

    /// When the phone may be tried again.
    pub fn deadline(&self) -> Option<Mono> {
        self.0.as_ref()?.retry
    }

    /// Applies the passing of time.
    pub fn tick(&mut self, now: Now) {
        if let Some(trouble) = &mut self.0 {
            trouble.retry = trouble.retry.filter(|at| *at > now.mono);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::time::Wall;
    use super::*;

    fn now(seconds: u64) -> Now {
        Now { mono: Mono(Duration::from_secs(seconds)), wall: Wall(1_000_000 + 1000 * seconds as i64) }
    }

    /// Q7: a phone that does not work is tried less and less often; a phone that refuses by itself is tried more often
    /// than that; a phone that works is tried for every caller.
    #[test]
    fn a_phone_that_keeps_failing_is_tried_less_and_less_often() {
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

    /// Q5: a phone is suspended until its time is over, and the end of a registration does not count as a failed offer.
    #[test]
    fn the_end_of_a_registration_is_no_failed_offer() {
        let mut reach = Reach::default();
        reach.gone(now(0));
        assert_eq!(reach.left_alone(), Some((now(0).mono.into(), MissCause::NotRegistered)));
        assert_eq!((reach.failing(), reach.deadline()), (None, Some(now(60).mono)));
        reach.tick(now(59));
        assert!(reach.left_alone().is_some());
        reach.tick(now(60));
        assert_eq!(reach.left_alone(), None);
        reach.missed(MissCause::NotRegistered, now(60));
        assert_eq!(
            reach.left_alone(),
            Some((now(0).mono.into(), MissCause::NotRegistered)),
            "since the registration ended"
        );
        assert_eq!(reach.deadline(), Some(now(120).mono));
        reach.works();
        assert_eq!(reach, Reach::default());
    }
}
