//! The offers of a call: makes them, calls them off, and carries out their effects.

use std::time::Duration;

use super::ending::PARTING_PATIENCE;
use super::sound::MUSIC_GRACE;
use super::{Call, Channel, Desk, Loser, Stage, Timer, Wire};
use crate::acd::fact::{CancelCause, EndedBy, MissCause};
use crate::acd::ids::{AgentId, LegId, OfferId};
use crate::acd::leg::{LegEnd, News};
use crate::acd::offer::{Around, Found, LEG_PATIENCE, Offer, OfferEffect, OfferTimer, Outcome};
use crate::acd::settings::Strategy;
use crate::acd::time::Now;

/// How long to wait until the winner of a race is known. Until then no other agent is rung for the caller.
const RACE_PATIENCE: Duration = Duration::from_millis(500);

impl Call {
    pub(super) fn ring(&mut self, id: OfferId, agent: AgentId, now: Now) {
        let Stage::Waiting(w) = &self.stage else { return };
        let shared = w.settings.strategy == Strategy::Simultaneous;
        let (offer, effects) = Offer::new(agent, shared, w.settings.ring_time);
        self.offers.insert(id, offer);
        self.follow(id, effects, now);
    }

    /// The answer to the query for phones.
    pub(super) fn found(&mut self, id: OfferId, found: Found, now: Now) {
        let answered = self.channel == Channel::Answered;
        self.with(id, now, |offer| offer.found(found, answered));
    }

    pub(super) fn answer(&mut self) {
        if self.channel == Channel::Early {
            self.channel = Channel::Answering;
            self.wire(Wire::Answer);
        }
    }

    pub(super) fn caller_answered(&mut self, now: Now) {
        self.channel = Channel::Answered;
        self.with_all(now, Offer::caller_answered);
    }

    pub(super) fn call_off(&mut self, id: OfferId, cause: CancelCause, now: Now) {
        self.with(id, now, |offer| offer.call_off(cause));
    }

    pub(super) fn call_off_all(&mut self, cause: CancelCause, now: Now) {
        self.with_all(now, |offer| offer.call_off(cause));
    }

    pub(super) fn offer_due(&mut self, id: OfferId, timer: OfferTimer, now: Now) {
        let rival = self.has_rival(id);
        self.with(id, now, |offer| offer.due(timer, rival));
    }

    /// An event of a leg.
    pub(super) fn heard(&mut self, leg: LegId, news: News, now: Now) {
        let welcome = match &self.stage {
            Stage::Waiting(_) => true,
            Stage::Ending { leave, .. } => leave.is_some(),
            _ => false,
        };
        let around = Around { rival: self.has_rival(leg.offer), welcome };
        self.with(leg.offer, now, |offer| offer.heard(leg.phone, news, around));
    }

    /// FreeSWITCH was asked for its channels and has no leg of this offer.
    pub(super) fn legs_missing(&mut self, id: OfferId, now: Now) {
        let rival = self.has_rival(id);
        self.with(id, now, |offer| offer.legs_missing(rival));
    }

    /// Sets a deadline for the end of an offer, because the event that reports it may be missed.
    pub(super) fn expect_end(&mut self, id: OfferId, now: Now) {
        self.timers.set(Timer::Offer(id, OfferTimer::Patience), now.mono.plus(LEG_PATIENCE));
    }

    /// Whether a phone was answered and is being connected.
    pub(super) fn is_connecting(&self) -> bool {
        self.offers.values().any(Offer::is_connecting)
    }

    /// Whether another agent has the caller, or is being connected.
    fn has_rival(&self, id: OfferId) -> bool {
        let connecting = self.offers.iter().any(|(other, offer)| *other != id && offer.is_connecting());
        connecting || matches!(self.stage, Stage::Talking { .. })
    }

    fn with(&mut self, id: OfferId, now: Now, what: impl FnOnce(&mut Offer) -> Vec<OfferEffect>) {
        if let Some(offer) = self.offers.get_mut(&id) {
            let effects = what(offer);
            self.follow(id, effects, now);
        }
    }

    fn with_all(&mut self, now: Now, what: impl Fn(&mut Offer) -> Vec<OfferEffect>) {
        for id in self.offers.keys().copied().collect::<Vec<_>>() {
            self.with(id, now, &what);
        }
    }

    /// Carries out an offer's effects.
    fn follow(&mut self, id: OfferId, effects: Vec<OfferEffect>, now: Now) {
        let mut connected = false;
        for effect in effects {
            match effect {
                OfferEffect::Wait(timer, time) => self.timers.set(Timer::Offer(id, timer), now.mono.plus(time)),
                OfferEffect::FindPhones => {
                    if let Some(agent) = self.agent_of(id).cloned() {
                        self.wire(Wire::FindPhones(id, agent));
                    }
                }
                OfferEffect::Originate { phone, first_wins } => {
                    if let Some(agent) = self.agent_of(id).cloned() {
                        self.wire(Wire::Originate { leg: id.leg(phone), agent, first_wins });
                    }
                }
                OfferEffect::CallOff(phone, cause) => self.wire(Wire::CallOff(id.leg(phone), cause)),
                OfferEffect::RingOut(phone, cause) => self.wire(Wire::RingOut(id.leg(phone), cause)),
                OfferEffect::EndLeg(phone) => self.wire(Wire::EndLeg(id.leg(phone))),
                OfferEffect::Outcome(outcome) => self.outcome(id, outcome, now),
                OfferEffect::NotConnected => self.not_connected(now),
                OfferEffect::Connected => {
                    connected = true;
                    self.connected(id, now);
                }
                OfferEffect::Parting(by_transfer) => {
                    if let Stage::Talking { transferred, .. } = &mut self.stage {
                        *transferred |= by_transfer;
                    }
                }
                OfferEffect::Gone(end) => self.offer_gone(id, end, now),
                OfferEffect::Lost => self.offer_lost(id),
            }
        }
        if connected {
            for other in self.offers.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
                self.call_off(other, CancelCause::AnsweredElsewhere, now);
            }
            self.wire(Wire::Connected);
        }
    }

    fn outcome(&mut self, id: OfferId, outcome: Outcome, now: Now) {
        let elsewhere = [CancelCause::AnsweredElsewhere, CancelCause::CallTaken];
        let lost_the_race = elsewhere.into_iter().any(|cause| outcome == Outcome::Cancelled(cause));
        // The queue's ring time is not over yet, so another time limit in FreeSWITCH ended the ringing.
        let early = self.timers.holds(Timer::Offer(id, OfferTimer::Ring));
        let outcome = match outcome {
            Outcome::Missed(MissCause::NoAnswer) if early => Outcome::Missed(MissCause::TimeLimit),
            outcome => outcome,
        };
        if lost_the_race && matches!(self.stage, Stage::Waiting(_)) {
            let answered = self.offers.get(&id).is_some_and(Offer::was_answered);
            self.losers.push(Loser { offer: id, answered, gone: false });
            self.timers.set(Timer::Losers, now.mono.plus(RACE_PATIENCE));
        } else {
            self.desk(Desk::Outcome(id, outcome));
        }
    }

    /// A connection was begun and failed: the caller goes on waiting.
    fn not_connected(&mut self, now: Now) {
        // While another agent is being connected, that agent's answer determines the state of the caller's channel.
        if self.is_connecting() {
            return;
        }
        match self.stage {
            // The caller was taken away; the channel must not be touched.
            _ if self.is_taken_away() => {}
            Stage::Waiting(_) => {
                self.wire(Wire::Rearm);
                if !self.music_plays && !self.timers.holds(Timer::MusicGrace) {
                    self.timers.set(Timer::MusicGrace, now.mono.plus(MUSIC_GRACE));
                }
            }
            // The caller may go on to another queue.
            Stage::Ending { .. } => self.wire(Wire::Rearm),
            _ => {}
        }
    }

    /// No more events of any leg will come: reports the outcomes that are still open.
    pub(super) fn forget_offers(&mut self, cause: CancelCause) -> Vec<OfferId> {
        let offers = std::mem::take(&mut self.offers);
        for (id, offer) in &offers {
            if let Some(outcome) = offer.forget(cause) {
                self.desk(Desk::Outcome(*id, outcome));
            }
        }
        offers.into_keys().collect()
    }

    fn remove(&mut self, id: OfferId) {
        self.offers.remove(&id);
        for timer in [OfferTimer::Ring, OfferTimer::Sign, OfferTimer::Patience] {
            self.timers.clear(Timer::Offer(id, timer));
        }
    }

    fn offer_gone(&mut self, id: OfferId, end: LegEnd, now: Now) {
        self.remove(id);
        match self.stage {
            Stage::Talking { offer: talking, caller_gone, transferred } if talking == id => {
                // The order of the two hang-up events depends on how the channels were connected, so the leg's own end
                // decides.
                let by = match (transferred, end, caller_gone) {
                    (true, ..) => EndedBy::Transfer,
                    (false, LegEnd::ByAgent, _) => EndedBy::Agent,
                    (false, _, Some(by)) => by,
                    // FreeSWITCH was asked and has no such leg.
                    (false, LegEnd::Unseen, None) => EndedBy::Unknown,
                    // FreeSWITCH does not say who hung up a leg that is not SIP.
                    (false, LegEnd::Cleared, None) => EndedBy::Agent,
                    // The phone died, or something outside the call ended the leg.
                    (false, LegEnd::BySwitch | LegEnd::Missed(_) | LegEnd::Elsewhere, None) => EndedBy::Switch,
                };
                self.desk(Desk::Ended(id, by));
                if caller_gone.is_some() || transferred {
                    self.over();
                } else {
                    self.stage = Stage::Parting;
                    self.timers.set(Timer::Parting, now.mono.plus(PARTING_PATIENCE));
                }
            }
            _ => match self.losers.iter_mut().find(|loser| loser.offer == id) {
                Some(loser) => loser.gone = true,
                None => self.desk(Desk::Gone(id)),
            },
        }
    }

    fn offer_lost(&mut self, id: OfferId) {
        self.remove(id);
        self.desk(Desk::Lost(id));
        if matches!(self.stage, Stage::Talking { offer: talking, .. } if talking == id) {
            self.over();
        }
    }

    /// Reports the outcome of offers that seemed to lose a race. If nobody has the caller by now, their agents missed
    /// the offer like any other.
    pub(super) fn tell_losers(&mut self, now: Now) {
        let somebody = match self.stage {
            Stage::Waiting(_) | Stage::Ending { .. } => self.is_taken_away() || self.is_connecting(),
            _ => true,
        };
        let answered = self.losers.iter().any(|loser| loser.answered);
        let taken = self.is_taken_away() && !self.is_connecting();
        let cause = if taken { CancelCause::CallTaken } else { CancelCause::AnsweredElsewhere };
        self.end_losers(|loser| match (somebody, loser.answered) {
            (true, _) => Outcome::Cancelled(cause),
            (false, false) => Outcome::Missed(MissCause::Cancelled),
            (false, true) => Outcome::Missed(MissCause::NotConnected),
        });
        if answered && !somebody {
            self.not_connected(now);
        }
    }

    /// The caller is gone before the winner of the race was known.
    pub(super) fn leave_losers(&mut self) {
        let somebody = self.is_connecting();
        let cause = if somebody { CancelCause::AnsweredElsewhere } else { CancelCause::CallerGone };
        self.end_losers(|_| Outcome::Cancelled(cause));
    }

    /// Somebody outside the queue has the caller.
    pub(super) fn leave_losers_to_the_taker(&mut self) {
        self.end_losers(|_| Outcome::Cancelled(CancelCause::CallTaken));
    }

    fn end_losers(&mut self, outcome: impl Fn(&Loser) -> Outcome) {
        self.timers.clear(Timer::Losers);
        for loser in std::mem::take(&mut self.losers) {
            self.desk(Desk::Outcome(loser.offer, outcome(&loser)));
            if loser.gone {
                self.desk(Desk::Gone(loser.offer));
            }
        }
    }

    /// The agent is connected to the caller; from now on only the ends of other legs are awaited.
    fn connected(&mut self, id: OfferId, now: Now) {
        // The apparently lost race was this offer's own connection, which `originate` reports as a failure.
        self.losers.retain(|loser| loser.offer != id);
        self.timers.clear_all();
        for other in self.offers.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            self.expect_end(other, now);
        }
        self.stage = Stage::Talking { offer: id, caller_gone: None, transferred: false };
        self.music = None;
        self.desk(Desk::Answered(id));
    }
}
