//! The agents' legs: ringing them, calling them off, and connecting one.

use std::time::Duration;

use super::ending::PARTING_PATIENCE;
use super::sound::MUSIC_GRACE;
use super::{Call, Desk, LEG_PATIENCE, SILENCE_AFTER_RING_TIME, Stage, Timer, Wire};
use crate::acd::fact::{CancelCause, EndedBy, MissCause};
use crate::acd::ids::{AgentId, OfferId};
use crate::acd::leg::{Leg, LegEnd, Outcome};
use crate::acd::settings::Strategy;
use crate::acd::time::Now;

/// How long the winner of a race may take to be known. Until then nobody else is rung for the caller.
const RACE_PATIENCE: Duration = Duration::from_millis(500);

impl Call {
    pub(super) fn ring(&mut self, offer: OfferId, agent: AgentId, now: Now) {
        let Stage::Waiting(w) = &self.stage else { return };
        let (shared, ring_time) = (w.settings.strategy == Strategy::Simultaneous, w.settings.ring_time);
        self.legs.insert(offer, Leg::new(agent.clone()));
        self.timers.set(Timer::Ring(offer), now.mono.plus(ring_time));
        self.timers.set(Timer::Leg(offer), now.mono.plus(ring_time).plus(SILENCE_AFTER_RING_TIME));
        self.wire(Wire::Ring { offer, agent, shared, ring_time });
    }

    pub(super) fn call_off(&mut self, offer: OfferId, cause: CancelCause, now: Now) {
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        // A phone that was answered is being connected inside FreeSWITCH this very moment: only a caller
        // who has gone, or is talking to somebody else, takes that back.
        if (leg.is_connecting() && !cause.is_final()) || !leg.call_off(cause) {
            return;
        }
        self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
        self.wire(Wire::CallOff(offer, cause));
    }

    pub(super) fn call_off_all(&mut self, cause: CancelCause, now: Now) {
        for offer in self.legs.keys().copied().collect::<Vec<_>>() {
            self.call_off(offer, cause, now);
        }
    }

    /// A leg that was called off before FreeSWITCH had it, or had told of it, is called off once more.
    pub(super) fn call_off_again(&mut self, offer: OfferId) {
        if let Some(cause) = self.legs.get(&offer).and_then(Leg::called_off) {
            self.wire(Wire::CallOff(offer, cause));
        }
    }

    pub(super) fn end_leg(&mut self, offer: OfferId) {
        self.wire(Wire::EndLeg(offer));
    }

    pub(super) fn leg_answered(&mut self, offer: OfferId, now: Now) {
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        leg.answered();
        // When it was called off while the answer was on its way, the connection decides, if there is one.
        self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
    }

    pub(super) fn leg_ended(&mut self, offer: OfferId, end: LegEnd, by_transfer: bool, now: Now) {
        if let Stage::Talking { offer: talking, transferred, .. } = &mut self.stage
            && *talking == offer
        {
            *transferred |= by_transfer;
            self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
            return;
        }
        let others = self.legs.iter().any(|(o, l)| *o != offer && l.is_connecting());
        let talking = matches!(self.stage, Stage::Talking { .. });
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        let was_connecting = leg.is_connecting();
        if let Some(outcome) = leg.ended(end, others || talking) {
            self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
            let lost_the_race = outcome == Outcome::Cancelled(CancelCause::AnsweredElsewhere);
            if lost_the_race && matches!(self.stage, Stage::Waiting(_)) {
                self.losers.push((offer, false));
                self.timers.set(Timer::Losers, now.mono.plus(RACE_PATIENCE));
                return;
            }
            self.desk(Desk::Outcome(offer, outcome));
            // Whoever is being connected to another stays as that one's answer has left the channel.
            let elsewhere = outcome == Outcome::Cancelled(CancelCause::AnsweredElsewhere);
            if was_connecting && !others && !elsewhere {
                self.not_connected(now);
            }
        }
    }

    /// A connection was begun and failed: the caller waits on.
    fn not_connected(&mut self, now: Now) {
        match self.stage {
            // Or is with somebody else.
            _ if self.timers.holds(Timer::TakenAway) => {}
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

    /// FreeSWITCH has no such leg any more.
    pub(super) fn leg_missing(&mut self, offer: OfferId, now: Now) {
        let Some(leg) = self.legs.get(&offer).filter(|leg| leg.exists()) else { return };
        let unheard = !leg.was_answered() && !leg.is_told();
        self.leg_gone(offer, LegEnd::Cleared, now);
        // This reply overtakes events: the phone may have been answered, and the caller told to outlive us, unheard.
        if unheard && !self.legs.values().any(Leg::is_connecting) {
            self.not_connected(now);
        }
    }

    /// Nothing more will be heard of any leg: whatever was not told of them yet is told now.
    pub(super) fn forget_legs(&mut self, cause: CancelCause) -> Vec<OfferId> {
        let mut legs = std::mem::take(&mut self.legs);
        for (offer, leg) in &mut legs {
            leg.call_off(cause);
            if let Some(outcome) = leg.ended(LegEnd::Cleared, false) {
                self.desk(Desk::Outcome(*offer, outcome));
            }
        }
        legs.into_keys().collect()
    }

    pub(super) fn leg_gone(&mut self, offer: OfferId, end: LegEnd, now: Now) {
        self.leg_ended(offer, end, false, now);
        if self.legs.remove(&offer).is_none() {
            return;
        }
        self.timers.clear(Timer::Leg(offer));
        self.timers.clear(Timer::Ring(offer));
        match self.stage {
            Stage::Talking { offer: talking, caller_gone, transferred } if talking == offer => {
                // Whose hang-up is told first depends on how the two were connected; the leg itself knows.
                let by = match (transferred, end, caller_gone) {
                    (true, ..) => EndedBy::Transfer,
                    (false, LegEnd::ByAgent, _) | (false, _, false) => EndedBy::Agent,
                    (false, _, true) => EndedBy::Caller,
                };
                self.desk(Desk::Ended(offer, by));
                if caller_gone || transferred {
                    self.over();
                } else {
                    self.stage = Stage::Parting;
                    self.timers.set(Timer::Parting, now.mono.plus(PARTING_PATIENCE));
                }
            }
            _ => match self.losers.iter_mut().find(|(loser, _)| *loser == offer) {
                Some((_, gone)) => *gone = true,
                None => self.desk(Desk::Gone(offer)),
            },
        }
    }

    /// Somebody else was faster than these: who it was is known by now, or will never be.
    pub(super) fn tell_losers(&mut self) {
        self.timers.clear(Timer::Losers);
        for (offer, gone) in std::mem::take(&mut self.losers) {
            self.desk(Desk::Outcome(offer, Outcome::Cancelled(CancelCause::AnsweredElsewhere)));
            if gone {
                self.desk(Desk::Gone(offer));
            }
        }
    }

    pub(super) fn bridged(&mut self, offer: OfferId, now: Now) {
        let waiting = match &self.stage {
            Stage::Waiting(_) => true,
            Stage::Ending { left, .. } => !left,
            Stage::Talking { offer: talking, .. } => {
                if *talking != offer && self.legs.contains_key(&offer) {
                    self.end_leg(offer);
                }
                return;
            }
            _ => false,
        };
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        if !waiting {
            return self.end_leg(offer);
        }
        if leg.is_told() {
            // Hung up before we heard that it was connected: an offer has one outcome.
            return;
        }
        leg.connected();
        // What looked like a lost race was its own connection, which `originate` takes for a failure.
        self.losers.retain(|(loser, _)| *loser != offer);
        self.timers.clear_all();
        for (other, leg) in &self.legs {
            if *other != offer && (leg.is_called_off() || leg.exists()) {
                self.timers.set(Timer::Leg(*other), now.mono.plus(LEG_PATIENCE));
            }
        }
        self.stage = Stage::Talking { offer, caller_gone: false, transferred: false };
        self.music = None;
        self.desk(Desk::Answered(offer));
        for other in self.legs.keys().copied().filter(|o| *o != offer).collect::<Vec<_>>() {
            self.call_off(other, CancelCause::AnsweredElsewhere, now);
        }
        self.wire(Wire::Connected);
    }

    /// Nothing was heard of a leg for too long.
    pub(super) fn leg_overdue(&mut self, offer: OfferId, now: Now) {
        let talking = matches!(self.stage, Stage::Talking { offer: t, .. } if t == offer);
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        if leg.give_up() {
            self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
            return self.end_leg(offer);
        }
        if !talking {
            self.leg_ended(offer, LegEnd::Missed(MissCause::Failed), false, now);
        }
        self.legs.remove(&offer);
        self.timers.clear(Timer::Leg(offer));
        self.timers.clear(Timer::Ring(offer));
        self.desk(Desk::Lost(offer));
        if talking {
            self.over();
        }
    }
}
