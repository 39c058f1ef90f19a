//! One agent's leg, from the order to ring until FreeSWITCH has no such channel any more.
//!
//! What FreeSWITCH tells of a leg comes in no fixed order (see the captures); this is the one place
//! that makes sense of it.

use super::fact::{CancelCause, MissCause};
use super::ids::AgentId;

/// How a leg ended, as its hang-up cause tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegEnd {
    /// It was not answered, for this reason.
    Missed(MissCause),
    /// FreeSWITCH ended it because somebody else has the caller, or the caller has gone.
    Elsewhere,
    /// It was hung up in the ordinary way.
    Cleared,
    /// The agent's phone hung it up.
    ByAgent,
}

/// What was learnt about an offer; told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The agent missed it.
    Missed(MissCause),
    /// It was called off; the agent missed nothing.
    Cancelled(CancelCause),
}

/// One agent's leg.
#[derive(Clone, Debug)]
pub struct Leg {
    /// Who is being rung.
    pub agent: AgentId,
    created: bool,
    answered: bool,
    called_off: Option<CancelCause>,
    given_up: bool,
    told: bool,
}

impl Leg {
    /// A leg that is about to be ordered.
    pub fn new(agent: AgentId) -> Self {
        Self { agent, created: false, answered: false, called_off: None, given_up: false, told: false }
    }

    /// FreeSWITCH has the channel.
    pub fn created(&mut self) {
        self.created = true;
    }

    /// Whether FreeSWITCH ever had the channel.
    pub fn exists(&self) -> bool {
        self.created
    }

    /// The phone was answered.
    pub fn answered(&mut self) {
        self.created = true;
        self.answered = true;
    }

    /// Whether the phone was answered and the connection is still to come.
    pub fn is_connecting(&self) -> bool {
        self.answered && !self.told
    }

    /// Whether the phone may still be ringing for all we know.
    pub fn is_ringing(&self) -> bool {
        !self.answered && !self.told && self.called_off.is_none()
    }

    /// Why it was called off, while its end has not come.
    pub fn called_off(&self) -> Option<CancelCause> {
        self.called_off.filter(|_| !self.told)
    }

    /// Whether its outcome was told: it ended, or carried the conversation.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// Whether it was called off.
    pub fn is_called_off(&self) -> bool {
        self.called_off.is_some()
    }

    /// Calls it off. True when FreeSWITCH must be told.
    pub fn call_off(&mut self, cause: CancelCause) -> bool {
        if self.called_off.is_some() || self.told {
            return false;
        }
        self.called_off = Some(cause);
        true
    }

    /// Nothing was heard of it for too long: it is ended, as a failure of its own. True when FreeSWITCH
    /// must be told, false when it was told already and did not answer.
    pub fn give_up(&mut self) -> bool {
        let first = self.called_off.is_none() && !self.given_up;
        self.given_up = true;
        first
    }

    /// The leg ended, or could not begin. Tells the outcome the first time.
    pub fn ended(&mut self, end: LegEnd, another_connecting: bool) -> Option<Outcome> {
        if self.told {
            return None;
        }
        self.told = true;
        Some(match (self.called_off, end) {
            (Some(cause), _) => Outcome::Cancelled(cause),
            // Ended by us because nothing was heard of it: nobody else has the caller.
            (None, LegEnd::Elsewhere) if !self.given_up => Outcome::Cancelled(CancelCause::AnsweredElsewhere),
            (None, LegEnd::Cleared | LegEnd::ByAgent) if self.answered && another_connecting => {
                Outcome::Cancelled(CancelCause::AnsweredElsewhere)
            }
            (None, LegEnd::Missed(cause)) if !self.answered => Outcome::Missed(cause),
            (None, _) if self.answered => Outcome::Missed(MissCause::NotConnected),
            (None, _) => Outcome::Missed(MissCause::Failed),
        })
    }

    /// The leg carried the conversation: there is no other outcome to tell.
    pub fn connected(&mut self) {
        self.created = true;
        self.told = true;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn leg() -> Leg {
        Leg::new(AgentId::new("1001").unwrap())
    }

    #[test]
    fn an_outcome_is_told_once() {
        let mut l = leg();
        assert_eq!(l.ended(LegEnd::Missed(MissCause::Busy), false), Some(Outcome::Missed(MissCause::Busy)));
        assert_eq!(l.ended(LegEnd::Missed(MissCause::NoAnswer), false), None);
    }

    /// Q8: a leg called off before FreeSWITCH had it stays called off when it appears, and its end is no miss.
    #[test]
    fn a_leg_that_appears_late_is_still_called_off() {
        let mut l = leg();
        assert!(l.call_off(CancelCause::CallerGone));
        assert!(!l.call_off(CancelCause::CallerGone));
        l.created();
        l.answered();
        assert_eq!(l.called_off(), Some(CancelCause::CallerGone));
        assert_eq!(l.ended(LegEnd::Cleared, false), Some(Outcome::Cancelled(CancelCause::CallerGone)));
        assert_eq!(l.called_off(), None);
    }

    /// The loser of a race answered, and yet missed nothing.
    #[test]
    fn the_loser_of_a_race_missed_nothing() {
        for (end, another) in [(LegEnd::Elsewhere, false), (LegEnd::Cleared, true)] {
            let mut l = leg();
            l.answered();
            assert_eq!(l.ended(end, another), Some(Outcome::Cancelled(CancelCause::AnsweredElsewhere)));
        }
        let mut alone = leg();
        alone.answered();
        assert_eq!(alone.ended(LegEnd::Cleared, false), Some(Outcome::Missed(MissCause::NotConnected)));
    }
}
