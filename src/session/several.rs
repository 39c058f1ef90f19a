//! The several phones of one agent that ring for one offer: a leg each, and to the call they are one.
//!
//! FreeSWITCH is told to ring every phone by itself, because only so each leg has a UUID that was chosen. Of what it
//! tells of them the call hears what it would hear of a single phone: it rings while one of them does, it was answered
//! when one was, and it is gone when all are.

use uuid::Uuid;

use crate::acd::leg::LegEnd;
use crate::telephony::events::News;

/// One phone's leg.
#[derive(Debug)]
struct Phone {
    leg: Uuid,
    created: bool,
    answered: bool,
    end: Option<LegEnd>,
    gone: bool,
}

/// The legs of one offer.
#[derive(Debug)]
pub(super) struct Several {
    phones: Vec<Phone>,
    /// The leg that was connected to the caller.
    winner: Option<Uuid>,
    /// All others are to stop, also those that FreeSWITCH has not made yet.
    stopping: bool,
}

/// What follows from news of one leg.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Follows {
    /// What the call is told.
    pub(super) tell: Option<News>,
    /// Legs that are to stop: another phone of the agent has the caller, or had.
    pub(super) stop: Vec<Uuid>,
}

impl Several {
    /// Legs that are about to be ordered.
    pub(super) fn new(legs: impl IntoIterator<Item = Uuid>) -> Self {
        let phone = |leg| Phone { leg, created: false, answered: false, end: None, gone: false };
        Self { phones: legs.into_iter().map(phone).collect(), winner: None, stopping: false }
    }

    /// The legs that FreeSWITCH may still have.
    pub(super) fn living(&self) -> impl Iterator<Item = Uuid> {
        self.phones.iter().filter(|p| !p.gone).map(|p| p.leg)
    }

    /// FreeSWITCH tells something of one of the legs.
    pub(super) fn heard(&mut self, leg: Uuid, news: News) -> Follows {
        let tell = |news| Follows { tell: Some(news), stop: Vec::new() };
        let Some(phone) = self.phones.iter_mut().find(|p| p.leg == leg) else { return Follows::default() };
        match news {
            News::Created => {
                phone.created = true;
                if self.stopping && self.winner != Some(leg) {
                    return Follows { tell: Some(news), stop: vec![leg] };
                }
            }
            News::Answered => (phone.created, phone.answered) = (true, true),
            News::Bridged => return self.bridged(leg),
            News::HungUp(end, transferred) => return self.ended(leg, end, transferred),
            News::Gone(end) => return self.gone(leg, end),
            News::Originated(Ok(())) => {}
            // Of an answered leg `originate` knows nothing any more, and what ended because somebody was faster tells
            // of its end itself.
            News::Originated(Err(_)) if phone.answered => return Follows::default(),
            News::Originated(Err(LegEnd::Elsewhere)) if phone.created => return Follows::default(),
            News::Originated(Err(end)) if phone.created => return self.ended(leg, end, false),
            News::Originated(Err(end)) => return self.gone(leg, end),
            News::Missing if phone.created => return self.gone(leg, LegEnd::Cleared),
            News::Missing => return Follows::default(),
        }
        tell(news)
    }

    fn bridged(&mut self, leg: Uuid) -> Follows {
        match self.winner {
            None => {
                self.winner = Some(leg);
                Follows { tell: Some(News::Bridged), stop: self.stop_all_but(leg) }
            }
            Some(winner) if winner == leg => Follows { tell: Some(News::Bridged), stop: Vec::new() },
            Some(_) => Follows { tell: None, stop: vec![leg] },
        }
    }

    fn ended(&mut self, leg: Uuid, end: LegEnd, transferred: bool) -> Follows {
        let Some(phone) = self.phones.iter_mut().find(|p| p.leg == leg) else { return Follows::default() };
        phone.end.get_or_insert(end);
        let failed = phone.answered && end != LegEnd::Elsewhere;
        if self.winner == Some(leg) {
            return Follows { tell: Some(News::HungUp(end, transferred)), stop: Vec::new() };
        }
        if self.winner.is_some() {
            return Follows::default();
        }
        if self.phones.iter().all(|p| p.end.is_some()) {
            return Follows { tell: Some(News::HungUp(self.outcome(), false)), stop: Vec::new() };
        }
        // It was answered and not connected: the others are not to ring on for an offer that has failed, unless one of
        // them is being connected this very moment.
        let connecting = self.phones.iter().any(|p| p.answered && p.end.is_none());
        Follows { tell: None, stop: if failed && !connecting { self.stop_all_but(leg) } else { Vec::new() } }
    }

    fn stop_all_but(&mut self, leg: Uuid) -> Vec<Uuid> {
        self.stopping = true;
        self.living().filter(|l| *l != leg).collect()
    }

    fn gone(&mut self, leg: Uuid, end: LegEnd) -> Follows {
        let mut follows = self.ended(leg, end, false);
        if let Some(phone) = self.phones.iter_mut().find(|p| p.leg == leg) {
            phone.gone = true;
        }
        if self.phones.iter().all(|p| p.gone) {
            follows.tell = Some(News::Gone(self.outcome()));
        }
        follows
    }

    /// How the offer ended: as the leg that was connected or answered; or else as the phone that says most of the agent.
    fn outcome(&self) -> LegEnd {
        let says = |end: LegEnd| match end {
            LegEnd::Missed(cause) => cause.telling(),
            LegEnd::Elsewhere => 4,
            LegEnd::Cleared | LegEnd::ByAgent => 5,
        };
        let ended = self.phones.iter().filter_map(|p| Some((p, p.end?)));
        let most = ended.min_by_key(|(p, end)| (self.winner != Some(p.leg), !p.answered, says(*end)));
        most.map_or(LegEnd::Cleared, |(_, end)| end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acd::fact::MissCause;

    const DESK: Uuid = Uuid::from_u128(1);
    const SOFT: Uuid = Uuid::from_u128(2);
    const MISSED: LegEnd = LegEnd::Missed(MissCause::NoAnswer);

    fn ringing() -> Several {
        let mut several = Several::new([DESK, SOFT]);
        for leg in [DESK, SOFT] {
            assert_eq!(several.heard(leg, News::Created), tells(News::Created));
        }
        several
    }
    fn tells(news: News) -> Follows {
        Follows { tell: Some(news), stop: Vec::new() }
    }
    fn stops(leg: Uuid) -> Follows {
        Follows { tell: None, stop: vec![leg] }
    }
    fn nothing() -> Follows {
        Follows::default()
    }

    /// Q8: the first that is connected has the caller, the others stop, and the agent is free when all are gone.
    #[test]
    fn one_phone_has_the_caller_and_the_others_stop() {
        let mut s = ringing();
        assert_eq!(s.heard(SOFT, News::Answered), tells(News::Answered));
        assert_eq!(s.heard(SOFT, News::Bridged), Follows { tell: Some(News::Bridged), stop: vec![DESK] });
        assert_eq!(s.heard(SOFT, News::Originated(Err(LegEnd::Elsewhere))), nothing());
        assert_eq!(s.heard(DESK, News::HungUp(LegEnd::Elsewhere, false)), nothing());
        assert_eq!(s.heard(DESK, News::Gone(LegEnd::Elsewhere)), nothing());
        assert_eq!(s.living().collect::<Vec<_>>(), [SOFT]);
        assert_eq!(s.heard(SOFT, News::HungUp(LegEnd::ByAgent, true)), tells(News::HungUp(LegEnd::ByAgent, true)));
        assert_eq!(s.heard(SOFT, News::Gone(LegEnd::ByAgent)), tells(News::Gone(LegEnd::ByAgent)));
    }

    /// Q8: a phone that answers by itself may be faster than FreeSWITCH is with the next one.
    #[test]
    fn a_phone_that_is_late_stops_as_well() {
        let mut s = Several::new([DESK, SOFT]);
        s.heard(DESK, News::Answered);
        assert_eq!(s.heard(DESK, News::Bridged), Follows { tell: Some(News::Bridged), stop: vec![SOFT] });
        assert_eq!(s.heard(SOFT, News::Missing), nothing());
        assert_eq!(s.heard(SOFT, News::Created), Follows { tell: Some(News::Created), stop: vec![SOFT] });
        assert_eq!(s.heard(DESK, News::Created), tells(News::Created));
    }

    /// Q8: an agent whose other phone does not stop is not free.
    #[test]
    fn an_agent_is_free_when_every_leg_is_gone() {
        let mut s = ringing();
        s.heard(SOFT, News::Answered);
        s.heard(SOFT, News::Bridged);
        assert_eq!(s.heard(SOFT, News::Gone(LegEnd::ByAgent)), tells(News::HungUp(LegEnd::ByAgent, false)));
        assert_eq!(s.heard(DESK, News::Gone(LegEnd::Elsewhere)), tells(News::Gone(LegEnd::ByAgent)));
    }

    /// Q7: an offer is missed when all phones have missed it, and the refusal of one is what it was missed for.
    #[test]
    fn it_rings_until_the_last_phone_has_stopped() {
        let mut s = ringing();
        let declined = LegEnd::Missed(MissCause::Declined);
        assert_eq!(s.heard(DESK, News::Originated(Err(declined))), nothing());
        assert_eq!(s.heard(DESK, News::HungUp(declined, false)), nothing());
        assert_eq!(s.heard(DESK, News::Gone(declined)), nothing());
        assert_eq!(s.heard(SOFT, News::HungUp(MISSED, false)), tells(News::HungUp(declined, false)));
        assert_eq!(s.heard(SOFT, News::Gone(MISSED)), tells(News::Gone(declined)));
    }

    /// Q7: a phone that is not there any more costs nothing while the other rings.
    #[test]
    fn a_phone_that_cannot_be_rung_is_no_answer() {
        let gone = LegEnd::Missed(MissCause::NotRegistered);
        let mut s = Several::new([DESK, SOFT]);
        assert_eq!(s.heard(DESK, News::Originated(Err(gone))), nothing());
        assert_eq!(s.heard(SOFT, News::Created), tells(News::Created));
        assert_eq!(s.heard(SOFT, News::Gone(MISSED)), tells(News::Gone(MISSED)));
        let mut none = Several::new([DESK, SOFT]);
        none.heard(DESK, News::Originated(Err(gone)));
        assert_eq!(none.heard(SOFT, News::Originated(Err(gone))), tells(News::Gone(gone)));
    }

    /// Q8: of two phones of one agent that are answered in the same instant, the one that lost is no outcome.
    #[test]
    fn the_loser_of_a_race_says_nothing() {
        let mut s = ringing();
        s.heard(DESK, News::Answered);
        s.heard(SOFT, News::Answered);
        assert_eq!(s.heard(SOFT, News::HungUp(LegEnd::Elsewhere, false)), nothing());
        assert_eq!(s.heard(SOFT, News::Gone(LegEnd::Elsewhere)), nothing());
        assert_eq!(s.heard(DESK, News::Bridged), tells(News::Bridged));
        let mut both = ringing();
        both.heard(DESK, News::Bridged);
        assert_eq!(both.heard(SOFT, News::Bridged), stops(SOFT));
    }

    /// Q7: an answer that led to no conversation ends the offer, and the other phones do not ring on.
    #[test]
    fn an_answer_without_a_connection_ends_the_offer() {
        let mut s = ringing();
        s.heard(DESK, News::Answered);
        assert_eq!(s.heard(DESK, News::HungUp(LegEnd::Cleared, false)), stops(SOFT));
        assert_eq!(s.heard(DESK, News::Gone(LegEnd::Cleared)), stops(SOFT));
        assert_eq!(s.heard(SOFT, News::Gone(LegEnd::Elsewhere)), tells(News::Gone(LegEnd::Cleared)));
    }

    /// Q8: a refused order to end a leg tells that it is gone only of a leg that was there.
    #[test]
    fn a_leg_that_is_not_there_yet_is_not_gone() {
        let mut s = Several::new([DESK, SOFT]);
        assert_eq!(s.heard(DESK, News::Missing), nothing());
        s.heard(DESK, News::Created);
        s.heard(SOFT, News::Created);
        assert_eq!(s.heard(DESK, News::Missing), nothing());
        assert_eq!(s.heard(SOFT, News::Missing), tells(News::Gone(LegEnd::Cleared)));
    }
}
