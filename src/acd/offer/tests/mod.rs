//! An offer, branch by branch: each input has exactly these effects.

use super::OfferEffect::{CallOff, Connected, EndLeg, FindPhones, NotConnected, Originate, Parting, RingOut, Wait};
use super::*;

const DESK: u8 = 0;
const SOFT: u8 = 1;
const RING: Duration = Duration::from_secs(20);
const ELSEWHERE: CancelCause = CancelCause::AnsweredElsewhere;
const MISSED: LegEnd = LegEnd::Missed(MissCause::NoAnswer);
const DECLINED: LegEnd = LegEnd::Missed(MissCause::Declined);
const AROUND: Around = Around { rival: false, welcome: true };
const LATER: OfferEffect = Wait(OfferTimer::Patience, LEG_PATIENCE);
const SIGN: OfferEffect = Wait(OfferTimer::Sign, SIGN_OF_RINGING);

/// One phone of `dial`, or several registered ones.
fn found(phones: u8) -> Found {
    if phones == 1 { Found::Dialled } else { Found::Registered(phones) }
}

fn gone(end: LegEnd) -> OfferEffect {
    OfferEffect::Gone(end)
}
fn missed(cause: MissCause) -> OfferEffect {
    OfferEffect::Outcome(Outcome::Missed(cause))
}
fn cancelled(cause: CancelCause) -> OfferEffect {
    OfferEffect::Outcome(Outcome::Cancelled(cause))
}

/// An offer, with assertions about its effects.
struct Stand(Offer);

impl Stand {
    fn asking() -> Self {
        let (offer, begin) = Offer::new(AgentId::new("1001").unwrap(), false, RING);
        let silence = Wait(OfferTimer::Patience, RING + SILENCE_AFTER_RING_TIME);
        assert_eq!(begin, [Wait(OfferTimer::Ring, RING), silence, FindPhones]);
        Self(offer)
    }
    fn originating(phones: u8) -> Self {
        let mut s = Self::asking();
        let all = (0..phones).map(|phone| Originate { phone, first_wins: phones > 1 });
        let sign = (phones > 1).then_some(SIGN);
        assert_eq!(s.0.found(found(phones), true), sign.into_iter().chain(all).collect::<Vec<_>>());
        s
    }
    fn ringing(phones: u8) -> Self {
        let mut s = Self::originating(phones);
        (0..phones).for_each(|phone| s.hears(phone, News::Created, &[]));
        s
    }
    fn hears(&mut self, phone: u8, news: News, effects: &[OfferEffect]) {
        assert_eq!(self.0.heard(phone, news, AROUND), effects, "{phone} {news:?}");
    }
    fn is_due(&mut self, timer: OfferTimer, effects: &[OfferEffect]) {
        assert_eq!(self.0.due(timer, false), effects, "{timer:?}");
    }
    fn called_off(&mut self, cause: CancelCause, effects: &[OfferEffect]) {
        assert_eq!(self.0.call_off(cause), effects, "{cause:?}");
    }
}

#[test]
fn an_outcome_is_reported_once() {
    let mut s = Stand::ringing(1);
    s.hears(DESK, News::HungUp(DECLINED, false), &[LATER, missed(MissCause::Declined)]);
    s.hears(DESK, News::HungUp(MISSED, false), &[]);
    s.hears(DESK, News::Bridged, &[]);
    s.hears(DESK, News::Gone(DECLINED), &[gone(DECLINED)]);
}

/// Q7, Q106: an agent whose ringing phone FreeSWITCH ends, because it was told to end all calls, missed nothing.
#[test]
fn a_leg_that_the_switch_ends_is_no_miss() {
    let mut s = Stand::ringing(1);
    s.hears(DESK, News::HungUp(LegEnd::BySwitch, false), &[LATER, cancelled(CancelCause::Requested)]);
    s.hears(DESK, News::Gone(LegEnd::BySwitch), &[gone(LegEnd::BySwitch)]);
}

/// Q8: no phone is rung for a caller who cannot be connected yet.
#[test]
fn phones_are_held_back_until_the_caller_is_answered() {
    let mut s = Stand::asking();
    assert_eq!(s.0.caller_answered(), []);
    assert_eq!(s.0.found(found(2), false), []);
    let originate = |phone| Originate { phone, first_wins: true };
    assert_eq!(s.0.caller_answered(), [SIGN, originate(DESK), originate(SOFT)]);
    assert_eq!(s.0.caller_answered(), []);
    assert_eq!(s.0.found(found(1), true), [], "too late");
    let mut none = Stand::asking();
    assert_eq!(none.0.found(Found::Registered(0), true), [Originate { phone: DESK, first_wins: false }]);
    let mut many = Stand::asking();
    assert_eq!(many.0.found(found(u8::MAX), true).len(), 1 + usize::from(MOST_PHONES));
}

/// Q7, Q8: an offer that never rang is over at once.
#[test]
fn an_offer_that_never_rang_is_over_at_once() {
    for held_back in [false, true] {
        let stand = || {
            let mut s = Stand::asking();
            if held_back {
                s.0.found(found(1), false);
            }
            s
        };
        let never = gone(LegEnd::Missed(MissCause::Failed));
        stand().called_off(CancelCause::LoggedOut, &[LATER, cancelled(CancelCause::LoggedOut), never]);
        stand().is_due(OfferTimer::Ring, &[LATER, missed(MissCause::Failed), never]);
    }
}

/// Q8: a leg called off before its channel exists is called off again when it appears, and its end is no miss.
#[test]
fn a_leg_that_appears_late_is_still_called_off() {
    let mut s = Stand::originating(1);
    let cause = CancelCause::CallerGone;
    s.called_off(cause, &[LATER, CallOff(DESK, cause)]);
    s.called_off(cause, &[]);
    s.hears(DESK, News::Missing, &[]);
    s.hears(DESK, News::Created, &[CallOff(DESK, cause)]);
    s.hears(DESK, News::Answered, &[LATER]);
    s.hears(DESK, News::HungUp(LegEnd::Cleared, false), &[LATER, cancelled(cause), NotConnected]);
}

/// Q8: a cause that is not final spares a phone that may have been answered; a final cause calls it off again.
#[test]
fn a_final_cause_calls_off_again() {
    let mut s = Stand::ringing(1);
    let final_cause = CancelCause::CallerGone;
    s.called_off(CancelCause::LoggedOut, &[LATER, CallOff(DESK, CancelCause::LoggedOut)]);
    s.called_off(CancelCause::CallTimedOut, &[]);
    s.called_off(final_cause, &[LATER, CallOff(DESK, final_cause)]);
    s.called_off(ELSEWHERE, &[]);
    let lost = [LATER, cancelled(final_cause), OfferEffect::Lost];
    s.is_due(OfferTimer::Patience, &lost);
    let mut spared = Stand::ringing(1);
    spared.called_off(CancelCause::LoggedOut, &[LATER, CallOff(DESK, CancelCause::LoggedOut)]);
    spared.is_due(OfferTimer::Patience, &[LATER, EndLeg(DESK)]);
    spared.is_due(OfferTimer::Patience, &[LATER, cancelled(CancelCause::LoggedOut), OfferEffect::Lost]);
}

/// Q8: a leg without events is ended, also when it appears only then.
#[test]
fn a_silent_leg_is_given_up() {
    let mut s = Stand::originating(1);
    s.is_due(OfferTimer::Ring, &[RingOut(DESK, MissCause::NoAnswer)]);
    s.is_due(OfferTimer::Patience, &[LATER, EndLeg(DESK)]);
    s.hears(DESK, News::Created, &[EndLeg(DESK)]);
    s.hears(DESK, News::HungUp(LegEnd::Elsewhere, false), &[LATER, missed(MissCause::Failed)]);
    s.is_due(OfferTimer::Patience, &[OfferEffect::Lost]);
}

/// The loser of a race has answered and still missed nothing.
#[test]
fn the_loser_of_a_race_missed_nothing() {
    for (end, rival) in [(LegEnd::Elsewhere, false), (LegEnd::Cleared, true)] {
        let mut s = Stand::ringing(1);
        s.hears(DESK, News::Answered, &[LATER]);
        let around = Around { rival, welcome: true };
        assert_eq!(s.0.heard(DESK, News::HungUp(end, false), around), [LATER, cancelled(ELSEWHERE)]);
    }
    let mut alone = Stand::ringing(1);
    alone.hears(DESK, News::Answered, &[LATER]);
    let failed = [LATER, missed(MissCause::NotConnected), NotConnected];
    alone.hears(DESK, News::HungUp(LegEnd::Cleared, false), &failed);
}

/// Q8: the first phone connected gets the caller, the others stop, and the agent is free when all legs are gone.
#[test]
fn one_phone_gets_the_caller_and_the_others_stop() {
    let mut s = Stand::ringing(2);
    s.hears(SOFT, News::Answered, &[LATER]);
    s.hears(SOFT, News::Bridged, &[Connected, CallOff(DESK, ELSEWHERE)]);
    s.hears(SOFT, News::Originated(Err(LegEnd::Elsewhere)), &[]);
    s.hears(SOFT, News::Bridged, &[]);
    s.hears(DESK, News::HungUp(LegEnd::Elsewhere, false), &[]);
    s.hears(DESK, News::Gone(LegEnd::Elsewhere), &[]);
    s.hears(SOFT, News::HungUp(LegEnd::ByAgent, true), &[LATER, Parting(true)]);
    s.hears(SOFT, News::Gone(LegEnd::ByAgent), &[LATER, Parting(false), gone(LegEnd::ByAgent)]);
}

/// Q8: an answer on a second phone does not end the conversation on the first.
#[test]
fn an_answer_beside_a_conversation_sets_no_deadline() {
    let mut s = Stand::ringing(2);
    s.hears(DESK, News::Bridged, &[Connected, CallOff(SOFT, ELSEWHERE)]);
    s.hears(SOFT, News::Answered, &[]);
    s.hears(SOFT, News::Bridged, &[CallOff(SOFT, ELSEWHERE)]);
}

/// Q8: a phone that answers by itself may be faster than FreeSWITCH creates the next leg.
#[test]
fn a_phone_that_is_late_stops_as_well() {
    let mut s = Stand::originating(2);
    s.hears(DESK, News::Answered, &[LATER]);
    s.hears(DESK, News::Bridged, &[Connected, CallOff(SOFT, ELSEWHERE)]);
    s.hears(SOFT, News::Missing, &[]);
    s.hears(SOFT, News::Created, &[CallOff(SOFT, ELSEWHERE)]);
    s.hears(DESK, News::Created, &[]);
}

/// Q8: an agent is not free while another phone's leg still exists.
#[test]
fn an_agent_is_free_when_every_leg_is_gone() {
    let mut s = Stand::ringing(2);
    s.hears(SOFT, News::Bridged, &[Connected, CallOff(DESK, ELSEWHERE)]);
    s.hears(SOFT, News::Gone(LegEnd::ByAgent), &[LATER, Parting(false)]);
    s.hears(DESK, News::Gone(LegEnd::Elsewhere), &[gone(LegEnd::ByAgent)]);
}

/// Q7: an offer is missed when all phones have missed it; one phone's refusal is the cause.
#[test]
fn it_rings_until_the_last_phone_has_stopped() {
    let mut s = Stand::ringing(2);
    s.hears(DESK, News::Originated(Err(DECLINED)), &[]);
    s.hears(DESK, News::HungUp(DECLINED, false), &[]);
    s.hears(DESK, News::Gone(DECLINED), &[]);
    s.is_due(OfferTimer::Ring, &[RingOut(SOFT, MissCause::NoAnswer)]);
    s.hears(SOFT, News::HungUp(MISSED, false), &[LATER, missed(MissCause::Declined)]);
    s.hears(SOFT, News::Gone(MISSED), &[gone(DECLINED)]);
}

/// Q7: an unreachable phone costs nothing while the other rings.
#[test]
fn a_phone_that_cannot_be_rung_does_not_end_the_offer() {
    let absent = LegEnd::Missed(MissCause::NotRegistered);
    let mut s = Stand::originating(2);
    s.hears(DESK, News::Originated(Err(absent)), &[]);
    s.hears(SOFT, News::Created, &[]);
    s.hears(SOFT, News::Gone(MISSED), &[LATER, missed(MissCause::NoAnswer), gone(MISSED)]);
    let mut none = Stand::originating(2);
    none.hears(DESK, News::Originated(Err(absent)), &[]);
    let all = [LATER, missed(MissCause::NotRegistered), gone(absent)];
    none.hears(SOFT, News::Originated(Err(absent)), &all);
}

/// Q8: when two phones of one agent are answered at the same instant, the slower one is no outcome.
#[test]
fn the_slower_phone_is_no_outcome() {
    let mut s = Stand::ringing(2);
    s.hears(DESK, News::Answered, &[LATER]);
    s.hears(SOFT, News::Answered, &[LATER]);
    s.hears(SOFT, News::HungUp(LegEnd::Elsewhere, false), &[]);
    s.hears(SOFT, News::Gone(LegEnd::Elsewhere), &[]);
    s.hears(DESK, News::Bridged, &[Connected]);
}

/// Q7, Q10: an answer without a connection ends the offer: the other phones stop, and the caller goes on waiting at
/// once.
#[test]
fn an_answer_without_a_connection_ends_the_offer() {
    let mut s = Stand::ringing(2);
    s.hears(DESK, News::Answered, &[LATER]);
    assert!(s.0.is_connecting());
    s.hears(DESK, News::HungUp(LegEnd::Cleared, false), &[CallOff(SOFT, ELSEWHERE), NotConnected]);
    assert!(!s.0.is_connecting());
    s.hears(SOFT, News::Created, &[CallOff(SOFT, ELSEWHERE)]);
    let ended = [LATER, missed(MissCause::NotConnected), NotConnected];
    s.hears(SOFT, News::HungUp(LegEnd::Elsewhere, false), &ended);
}

/// Q8: a refused command to end a leg shows that the leg is gone only if it existed before. The refusal overtakes the
/// leg's last events, so an unnoticed answer may have let the caller's channel go.
#[test]
fn a_leg_that_does_not_exist_yet_is_not_gone() {
    let mut s = Stand::originating(2);
    s.hears(DESK, News::Missing, &[]);
    s.hears(DESK, News::Created, &[]);
    s.hears(SOFT, News::Created, &[]);
    s.hears(DESK, News::Missing, &[]);
    let last = [LATER, missed(MissCause::Failed), gone(LegEnd::Cleared), NotConnected];
    s.hears(SOFT, News::Missing, &last);
}

/// Q8: an agent who answers when the caller is connected elsewhere or gone is not left in silence.
#[test]
fn a_connection_that_is_not_welcome_is_ended() {
    let mut s = Stand::ringing(2);
    let around = Around { rival: true, welcome: false };
    assert_eq!(s.0.heard(DESK, News::Bridged, around), [EndLeg(DESK), EndLeg(SOFT)]);
}

/// Q23: an open offer gets an outcome when the connection is lost.
#[test]
fn a_forgotten_offer_has_an_outcome() {
    let mut s = Stand::ringing(1);
    let gone = CancelCause::CallerGone;
    assert_eq!(s.0.forget(gone), Some(Outcome::Cancelled(gone)));
    s.called_off(CancelCause::LoggedOut, &[LATER, CallOff(DESK, CancelCause::LoggedOut)]);
    assert_eq!(s.0.forget(CancelCause::Draining), Some(Outcome::Cancelled(CancelCause::LoggedOut)));
    assert_eq!(s.0.forget(gone), Some(Outcome::Cancelled(gone)));
    s.hears(DESK, News::HungUp(MISSED, false), &[LATER, cancelled(CancelCause::LoggedOut)]);
    assert_eq!(s.0.forget(gone), None);
}

/// Q7: an offer is silent when no phone rings in time; while one phone rings, the others are not judged.
#[test]
fn an_offer_is_silent_when_no_phone_rings() {
    let mut s = Stand::ringing(2);
    let out = |phone| RingOut(phone, MissCause::Silent);
    s.is_due(OfferTimer::Sign, &[out(DESK), out(SOFT)]);
    let silent = LegEnd::Missed(MissCause::Silent);
    s.hears(DESK, News::HungUp(silent, false), &[out(SOFT)]);
    s.hears(SOFT, News::HungUp(silent, false), &[LATER, missed(MissCause::Silent)]);
    let mut one = Stand::ringing(2);
    one.hears(SOFT, News::Ringing, &[]);
    one.is_due(OfferTimer::Sign, &[]);
    one.hears(SOFT, News::HungUp(DECLINED, false), &[out(DESK)]);
    one.hears(DESK, News::HungUp(silent, false), &[LATER, missed(MissCause::Declined)]);
    let mut answered = Stand::ringing(2);
    answered.hears(DESK, News::Answered, &[LATER]);
    answered.is_due(OfferTimer::Sign, &[]);
    let mut off = Stand::ringing(2);
    let cause = CancelCause::LoggedOut;
    off.called_off(cause, &[LATER, CallOff(DESK, cause), CallOff(SOFT, cause)]);
    off.is_due(OfferTimer::Sign, &[]);
}
