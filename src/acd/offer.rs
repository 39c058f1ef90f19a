//! One offer: ringing one agent, on one phone or on several, for one caller.
//!
//! Owns the offer's legs. It decides which phones are rung and when, which phone wins, which legs are stopped, what the
//! outcome is, and when the offer is over. It must not know dial strings (phones are numbered), the caller's wait, or
//! other offers. [`Call`](super::call::Call) carries out its [`OfferEffect`]s.
//!
//! The call sees several phones as one: the agent rings while one of them rings, has answered when one has answered,
//! and is free when all legs are gone.
//!
//! | state        | `found`    | caller answered | ring time over      | called off           | patience over    | bridged     | every leg ended | every leg gone |
//! |--------------|------------|-----------------|---------------------|----------------------|------------------|-------------|-----------------|----------------|
//! | `Asking`     | `HeldBack` |                 | missed, over        | cancelled, over      |                  |             |                 |                |
//! | `HeldBack`   |            | `Ringing`       | missed, over        | cancelled, over      |                  |             |                 |                |
//! | `Ringing`    |            |                 | legs end if ringing | `CallingOff` (1)     | `GivingUp`       | `Connected` | `Ending`        | over           |
//! | `CallingOff` |            |                 |                     | `CallingOff` (2)     | `GivingUp` (3)   | `Connected` | `Ending`        | over           |
//! | `GivingUp`   |            |                 |                     | `GivingUp` (2)       | lost             | `Connected` | `Ending`        | over           |
//! | `Connected`  |            |                 |                     |                      | lost (4)         | others end  |                 | over           |
//! | `Ending`     |            |                 |                     |                      | once more, lost  |             |                 | over           |
//!
//! (1) not while an answered phone is being connected, unless the caller is out of its reach for good; (2) if the new
//! cause is final and the earlier one was not; (3) lost, if the cause was final; (4) the leg may be in a conversation
//! with somebody else by now, which must not be ended (Q8).

use std::time::Duration;

use super::fact::{CancelCause, MissCause};
use super::ids::AgentId;
use super::leg::{Leg, LegEnd, News};

/// How long after its ring time an offer may go without any event from FreeSWITCH.
pub const SILENCE_AFTER_RING_TIME: Duration = Duration::from_secs(10);
/// How long a leg may take to end, or an answered one to be connected, before the offer acts.
pub const LEG_PATIENCE: Duration = Duration::from_secs(5);
/// The most phones of one account that are rung.
pub const MOST_PHONES: u8 = 8;
/// How long a registered phone may take to give a sign of ringing (a 18x). A working phone needs milliseconds; a dead
/// one that is still registered would cost every caller the whole ring time. A phone named by `dial` may be in a mobile
/// network, which searches for it for 8 s and more before it sends anything, so it has the whole ring time.
pub const SIGN_OF_RINGING: Duration = Duration::from_secs(4);

/// The answer to the query for an agent's phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This many registered phones, each to be rung by itself. With one or none, the directory's dial string is rung.
    Registered(u8),
    /// The agent's `dial` is rung.
    Dialled,
}

/// The outcome of an offer, reported once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The agent missed the offer.
    Missed(MissCause),
    /// The offer was called off; the agent missed nothing.
    Cancelled(CancelCause),
}

/// A timer of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferTimer {
    /// The end of the ring time.
    Ring,
    /// The end of the time for a sign of ringing.
    Sign,
    /// The end of the time for the next expected event.
    Patience,
}

/// An effect of an offer. Legs are identified by the number of the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferEffect {
    /// Query the agent's phones; [`Offer::found`] takes the answer.
    FindPhones,
    /// `originate` the leg to a phone.
    Originate {
        /// The number of the phone.
        phone: u8,
        /// Whether other phones ring for the same caller, so that the first answer must win.
        first_wins: bool,
    },
    /// End a leg before it is connected.
    CallOff(u8, CancelCause),
    /// End a leg unless it is answered, for this reason.
    RingOut(u8, MissCause),
    /// End a leg in any state.
    EndLeg(u8),
    /// The outcome is known.
    Outcome(Outcome),
    /// A phone was answered, or may have been, and was not connected.
    NotConnected,
    /// The agent is connected to the caller.
    Connected,
    /// The agent's part of the conversation ends; `true` if the agent transferred the caller.
    Parting(bool),
    /// No leg is left: the offer is over.
    Gone(LegEnd),
    /// No more events of the legs are expected: the offer is over.
    Lost,
    /// Set the timer to this time from now.
    Wait(OfferTimer, Duration),
}

/// The state of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The query for the agent's phones is running.
    Asking,
    /// The phones are known, but the caller's channel is not answered yet: FreeSWITCH would cut the caller off if a
    /// phone that answers by itself were faster (measured).
    HeldBack,
    /// The phones are being rung, or one that was answered is being connected.
    Ringing,
    /// The offer was called off.
    CallingOff(CancelCause),
    /// No event came in time, and the legs were ordered to end.
    GivingUp(Option<CancelCause>),
    /// This phone is connected to the caller.
    Connected { phone: u8 },
    /// The outcome was reported; the legs are ending.
    Ending { told_to_end: bool },
}

/// The state of the call that an offer needs to interpret an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// Another agent has the caller, or is being connected.
    pub rival: bool,
    /// The caller is here and not connected: an agent who gets connected now may keep the caller.
    pub welcome: bool,
}

type Effects = Vec<OfferEffect>;

/// One offer.
#[derive(Clone, Debug)]
pub struct Offer {
    agent: AgentId,
    shared: bool,
    state: State,
    sign: Sign,
    legs: Vec<Leg>,
}

/// Whether a sign of ringing is still awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// There is no deadline for it.
    Free,
    /// At least one phone must give a sign in time.
    Due,
    /// The time is over: silent phones must not be the only ones left.
    Overdue,
}

impl Offer {
    /// Creates an offer to this agent, and returns its first effects. `shared`: other agents ring for the same caller.
    pub fn new(agent: AgentId, shared: bool, ring_time: Duration) -> (Self, Vec<OfferEffect>) {
        let begin = vec![
            OfferEffect::Wait(OfferTimer::Ring, ring_time),
            OfferEffect::Wait(OfferTimer::Patience, ring_time.saturating_add(SILENCE_AFTER_RING_TIME)),
            OfferEffect::FindPhones,
        ];
        (Self { agent, shared, state: State::Asking, sign: Sign::Free, legs: Vec::new() }, begin)
    }

    /// The agent whose phones are rung.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Whether a phone was answered and is not connected yet.
    pub fn is_connecting(&self) -> bool {
        self.is_open() && self.legs.contains(&Leg::Answered)
    }

    /// Whether the outcome is still open.
    fn is_open(&self) -> bool {
        !matches!(self.state, State::Connected { .. } | State::Ending { .. })
    }

    /// Whether one of the phones was answered.
    pub fn was_answered(&self) -> bool {
        self.legs.iter().any(Leg::was_answered)
    }

    /// The reason why the offer was called off, if it was.
    fn called_off(&self) -> Option<CancelCause> {
        match self.state {
            State::CallingOff(cause) => Some(cause),
            State::GivingUp(cause) => cause,
            _ => None,
        }
    }

    /// Whether the offer has failed: an answered phone led to no conversation, and no other phone is being connected.
    fn has_failed(&self) -> bool {
        let failed = |leg: &Leg| leg.was_answered() && leg.end().is_some_and(|end| end != LegEnd::Elsewhere);
        self.legs.iter().any(failed) && !self.legs.contains(&Leg::Answered)
    }

    fn living(&self) -> impl Iterator<Item = u8> {
        (0..).zip(&self.legs).filter(|(_, leg)| leg.is_living()).map(|(phone, _)| phone)
    }

    fn each(&self, effect: impl Fn(u8) -> OfferEffect, out: &mut Effects) {
        out.extend(self.living().map(effect));
    }

    fn stop_all_but(&self, phone: u8, out: &mut Effects) {
        let others = self.living().filter(|other| *other != phone);
        out.extend(others.map(|other| OfferEffect::CallOff(other, CancelCause::AnsweredElsewhere)));
    }

    /// Takes the phones that the query found. If no phone is registered, the directory's dial string may still lead to
    /// one.
    pub fn found(&mut self, found: Found, caller_is_answered: bool) -> Vec<OfferEffect> {
        if self.state != State::Asking {
            return Vec::new();
        }
        let (phones, sign) = match found {
            Found::Dialled | Found::Registered(0) => (1, Sign::Free),
            Found::Registered(phones) => (phones.min(MOST_PHONES), Sign::Due),
        };
        self.legs = vec![Leg::Originating; usize::from(phones)];
        self.sign = sign;
        self.state = State::HeldBack;
        if caller_is_answered { self.caller_answered() } else { Vec::new() }
    }

    /// The caller's channel is answered, so phones can be rung.
    pub fn caller_answered(&mut self) -> Vec<OfferEffect> {
        let mut out = Vec::new();
        if self.state == State::HeldBack {
            self.state = State::Ringing;
            if self.sign == Sign::Due {
                out.push(OfferEffect::Wait(OfferTimer::Sign, SIGN_OF_RINGING));
            }
            let first_wins = self.shared || self.legs.len() > 1;
            self.each(|phone| OfferEffect::Originate { phone, first_wins }, &mut out);
        }
        out
    }

    /// Handles an event of a leg.
    pub fn heard(&mut self, phone: u8, news: News, around: Around) -> Vec<OfferEffect> {
        let (mut out, rival) = (Vec::new(), around.rival);
        let Some(leg) = self.legs.get_mut(usize::from(phone)) else { return out };
        match (news, *leg) {
            (News::Created, _) => {
                leg.created();
                self.call_off_again(phone, &mut out);
            }
            (News::Ringing, _) => leg.rings(),
            (News::Answered, _) => {
                leg.answered();
                // If the offer was called off while the answer was on its way, the connection decides, if there is one.
                if self.is_open() {
                    out.push(OfferEffect::Wait(OfferTimer::Patience, LEG_PATIENCE));
                }
            }
            (News::HungUp(end, transferred), _) => {
                leg.hung_up(end);
                self.ended(phone, transferred, rival, &mut out);
            }
            (News::Gone(end), _) => self.gone(phone, end, rival, &mut out),
            (News::Originated(Ok(())), _) => self.call_off_again(phone, &mut out),
            (News::Originated(Err(end)), Leg::Originating) => self.gone(phone, end, rival, &mut out),
            // The leg's own end says more: it has the phone's answer, which the result of `originate` lacks, and
            // sometimes arrives after that result (measured).
            (News::Originated(Err(_)), Leg::Created | Leg::Ringing) => {
                let last = self.legs.iter().filter(|leg| leg.end().is_none()).count() == 1;
                if last && self.is_open() {
                    out.push(OfferEffect::Wait(OfferTimer::Patience, LEG_PATIENCE));
                }
            }
            // The connection takes an answered leg away from `originate`, which then reports a failure, before or after
            // the connection. The leg's own events show how it goes on.
            (News::Originated(Err(_)), _) => {}
            (News::Missing, Leg::Originating | Leg::Gone(_)) => {}
            (News::Missing, leg) => {
                let unheard = self.is_open() && !self.was_answered();
                self.gone(phone, leg.end().unwrap_or(LegEnd::Cleared), rival, &mut out);
                // This reply overtakes events: the phone may have been answered unnoticed, and its answer may have let
                // the caller's channel go, which `NotConnected` reverses.
                if unheard && !self.is_open() {
                    out.push(OfferEffect::NotConnected);
                }
            }
            (News::Bridged, _) => self.bridged(phone, around.welcome, &mut out),
        }
        out
    }

    fn bridged(&mut self, phone: u8, welcome: bool, out: &mut Effects) {
        match self.state {
            State::Connected { phone: winner } if winner == phone => {}
            State::Connected { .. } => out.push(OfferEffect::CallOff(phone, CancelCause::AnsweredElsewhere)),
            _ if !welcome => self.each(OfferEffect::EndLeg, out),
            // The hang-up arrived before the bridge event: an offer has only one outcome.
            State::Ending { .. } | State::Asking | State::HeldBack => {}
            State::Ringing | State::CallingOff(_) | State::GivingUp(_) => {
                self.legs.iter_mut().skip(usize::from(phone)).take(1).for_each(Leg::answered);
                self.state = State::Connected { phone };
                out.push(OfferEffect::Connected);
                self.stop_all_but(phone, out);
            }
        }
    }

    /// FreeSWITCH was asked for its channels and no longer has a leg of this offer. That counts only for a
    /// conversation, because a leg that is to ring may not exist yet.
    pub fn legs_missing(&mut self, rival: bool) -> Vec<OfferEffect> {
        let mut out = Vec::new();
        if matches!(self.state, State::Connected { .. }) {
            for phone in self.living().collect::<Vec<_>>() {
                self.gone(phone, LegEnd::Unseen, rival, &mut out);
            }
        }
        out
    }

    /// Calls the offer off.
    pub fn call_off(&mut self, cause: CancelCause) -> Vec<OfferEffect> {
        let mut out = Vec::new();
        // FreeSWITCH is connecting an answered phone at this very moment. Only a caller who is gone or connected
        // elsewhere takes that back.
        if self.is_connecting() && !cause.is_final() {
            return out;
        }
        match self.state {
            State::Asking | State::HeldBack => {
                self.state = State::CallingOff(cause);
                self.never_rang(&mut out);
            }
            State::Connected { .. } | State::Ending { .. } => {}
            State::CallingOff(before) | State::GivingUp(Some(before)) if before.is_final() || !cause.is_final() => {}
            State::Ringing | State::CallingOff(_) | State::GivingUp(_) => {
                let gives_up = matches!(self.state, State::GivingUp(_));
                self.state = if gives_up { State::GivingUp(Some(cause)) } else { State::CallingOff(cause) };
                out.push(OfferEffect::Wait(OfferTimer::Patience, LEG_PATIENCE));
                self.each(|phone| OfferEffect::CallOff(phone, cause), &mut out);
            }
        }
        out
    }

    /// Ends a leg once more if the first command may have come before its channel existed.
    fn call_off_again(&self, phone: u8, out: &mut Effects) {
        let stop = OfferEffect::CallOff(phone, CancelCause::AnsweredElsewhere);
        match self.state {
            State::CallingOff(cause) | State::GivingUp(Some(cause)) => out.push(OfferEffect::CallOff(phone, cause)),
            State::GivingUp(None) => out.push(OfferEffect::EndLeg(phone)),
            State::Connected { phone: winner } if winner != phone => out.push(stop),
            State::Ringing if self.has_failed() => out.push(stop),
            _ => {}
        }
    }

    /// A timer is due.
    pub fn due(&mut self, timer: OfferTimer, rival: bool) -> Vec<OfferEffect> {
        let mut out = Vec::new();
        match timer {
            OfferTimer::Ring => match self.state {
                State::Asking | State::HeldBack => self.never_rang(&mut out),
                State::Ringing => self.ring_out(|leg| !leg.was_answered(), MissCause::NoAnswer, &mut out),
                _ => {}
            },
            OfferTimer::Sign => {
                self.sign = Sign::Overdue;
                self.end_silent(&mut out);
            }
            OfferTimer::Patience => self.overdue(rival, &mut out),
        }
        out
    }

    fn ring_out(&self, which: impl Fn(&Leg) -> bool, cause: MissCause, out: &mut Effects) {
        let legs = (0..).zip(&self.legs).filter(|(_, leg)| leg.is_living() && which(leg));
        out.extend(legs.map(|(phone, _)| OfferEffect::RingOut(phone, cause)));
    }

    /// Ends the silent legs if no phone rings and the time for a sign of ringing is over.
    fn end_silent(&self, out: &mut Effects) {
        let rings = self.legs.iter().any(|leg| matches!(leg, Leg::Ringing | Leg::Answered));
        if self.state == State::Ringing && self.sign == Sign::Overdue && !rings {
            self.ring_out(|leg| leg.end().is_none(), MissCause::Silent, out);
        }
    }

    /// The expected event did not come in time.
    fn overdue(&mut self, rival: bool, out: &mut Effects) {
        self.state = match self.state {
            State::Asking | State::HeldBack => return self.never_rang(out),
            State::Ringing => State::GivingUp(None),
            State::CallingOff(cause) if !cause.is_final() => State::GivingUp(Some(cause)),
            State::Connected { phone } => {
                self.stop_all_but(phone, out);
                out.push(OfferEffect::Lost);
                return;
            }
            State::Ending { told_to_end: false } => State::Ending { told_to_end: true },
            _ => {
                self.conclude(LegEnd::Missed(MissCause::Failed), rival, out);
                out.push(OfferEffect::Lost);
                return;
            }
        };
        out.push(OfferEffect::Wait(OfferTimer::Patience, LEG_PATIENCE));
        self.each(OfferEffect::EndLeg, out);
    }

    /// The offer is over before a phone was rung.
    fn never_rang(&mut self, out: &mut Effects) {
        let end = LegEnd::Missed(MissCause::Failed);
        self.conclude(end, false, out);
        out.push(OfferEffect::Gone(end));
    }

    /// A leg has ended.
    fn ended(&mut self, phone: u8, transferred: bool, rival: bool, out: &mut Effects) {
        if let State::Connected { phone: winner } = self.state {
            if winner == phone {
                out.push(OfferEffect::Wait(OfferTimer::Patience, LEG_PATIENCE));
                out.push(OfferEffect::Parting(transferred));
            }
        } else if self.legs.iter().all(|leg| leg.end().is_some()) {
            self.conclude(self.end(), rival, out);
        } else if self.has_failed() {
            // The other phones must stop ringing for a failed offer, and the caller must not wait for their legs to
            // end.
            self.stop_all_but(phone, out);
            out.push(OfferEffect::NotConnected);
        } else {
            self.end_silent(out);
        }
    }

    fn gone(&mut self, phone: u8, end: LegEnd, rival: bool, out: &mut Effects) {
        let Some(leg) = self.legs.get_mut(usize::from(phone)) else { return };
        leg.gone(end);
        self.ended(phone, false, rival, out);
        if self.living().next().is_none() {
            out.push(OfferEffect::Gone(self.end()));
        }
    }

    /// How the offer ended: like the leg that was connected or answered, or else like the leg whose end tells most
    /// about the agent.
    fn end(&self) -> LegEnd {
        let says = |end: LegEnd| match end {
            LegEnd::Missed(cause) => cause.telling(),
            LegEnd::Elsewhere => 4,
            LegEnd::Cleared | LegEnd::ByAgent | LegEnd::BySwitch | LegEnd::Unseen => 5,
        };
        let won = |of: u8| matches!(self.state, State::Connected { phone } if phone == of);
        let ended = (0..).zip(&self.legs).filter_map(|(phone, leg)| Some((phone, leg, leg.end()?)));
        let most = ended.min_by_key(|(phone, leg, end)| (!won(*phone), !leg.was_answered(), says(*end)));
        most.map_or(LegEnd::Cleared, |(_, _, end)| end)
    }

    /// Reports the outcome, once.
    fn conclude(&mut self, end: LegEnd, rival: bool, out: &mut Effects) {
        if !self.is_open() {
            return;
        }
        let answered = self.was_answered();
        let outcome = self.outcome(end, rival);
        let told_to_end = match self.state {
            State::CallingOff(cause) => cause.is_final(),
            state => matches!(state, State::GivingUp(_)),
        };
        self.state = State::Ending { told_to_end };
        out.push(OfferEffect::Wait(OfferTimer::Patience, LEG_PATIENCE));
        out.push(OfferEffect::Outcome(outcome));
        // While another agent is being connected, that agent's answer determines the state of the caller's channel.
        if answered && outcome != Outcome::Cancelled(CancelCause::AnsweredElsewhere) {
            out.push(OfferEffect::NotConnected);
        }
    }

    fn outcome(&self, end: LegEnd, rival: bool) -> Outcome {
        let answered = self.was_answered();
        let elsewhere = Outcome::Cancelled(CancelCause::AnsweredElsewhere);
        match (self.called_off(), end) {
            (Some(cause), _) => Outcome::Cancelled(cause),
            // This process ended the leg after the silence, so nobody else has the caller.
            (None, LegEnd::Elsewhere) if !matches!(self.state, State::GivingUp(_)) => elsewhere,
            (None, LegEnd::Cleared | LegEnd::ByAgent | LegEnd::BySwitch) if answered && rival => elsewhere,
            (None, LegEnd::Missed(cause)) if !answered => Outcome::Missed(cause),
            // The phone did nothing that an agent could be blamed for.
            (None, LegEnd::BySwitch) if !answered => Outcome::Cancelled(CancelCause::Requested),
            (None, _) if answered => Outcome::Missed(MissCause::NotConnected),
            (None, _) => Outcome::Missed(MissCause::Failed),
        }
    }

    /// No more events of the offer will come: returns the outcome, if it is still open.
    pub fn forget(&self, cause: CancelCause) -> Option<Outcome> {
        let before = self.called_off().filter(|before| before.is_final() || !cause.is_final());
        self.is_open().then(|| Outcome::Cancelled(before.unwrap_or(cause)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
