//! One offer: ringing one agent, on one phone or on several, for one caller.
//!
//! Owns the offer's legs and decides which phones are rung and when, which of them won, which are to stop, what the
//! outcome is and when the offer is over. Must not know dial strings (phones are named by their number), the caller's
//! wait, or the other offers; [`Call`](super::call::Call) carries its [`OfferEffect`]s out.
//!
//! To the call several phones are one: the agent rings while one of them does, was answered when one was, and is free
//! when all legs are gone.
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
//! (1) not while a phone that was answered is being connected, unless the caller is out of its reach for good;
//! (2) when that is final, and was not before; (3) lost, when it was called off for good; (4) the leg may be in a
//! conversation with somebody else by now, which is never ended by us (Q8).

use std::time::Duration;

use super::fact::{CancelCause, MissCause};
use super::ids::AgentId;
use super::leg::{Leg, LegEnd, News};

/// How long past its ring time an offer may stay without a word from FreeSWITCH.
pub const SILENCE_AFTER_RING_TIME: Duration = Duration::from_secs(10);
/// How long a leg may take to end, or an answered one to be connected, before it is looked after.
pub const LEG_PATIENCE: Duration = Duration::from_secs(5);
/// How many phones of one account are rung.
pub const MOST_PHONES: u8 = 8;
/// How long a phone that is registered may take to give a sign of ringing (a 18x): one that is there takes milliseconds,
/// one that is registered and dead would cost every caller the whole ring time. What `dial` names may be in a mobile
/// network, which looks for it for 8 s and more before anything is heard of it: it has its ring time.
pub const SIGN_OF_RINGING: Duration = Duration::from_secs(4);

/// What there is to ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many phones that are registered, to be rung one by one. One or none: what the directory says is rung.
    Registered(u8),
    /// What the agent's `dial` says.
    Dialled,
}

/// What was learnt about an offer; told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The agent missed it.
    Missed(MissCause),
    /// It was called off; the agent missed nothing.
    Cancelled(CancelCause),
}

/// What an offer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferTimer {
    /// The end of the ring time.
    Ring,
    /// The end of the time for a sign of ringing.
    Sign,
    /// News that are overdue then.
    Patience,
}

/// What an offer wants done. Legs are named by the number of the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferEffect {
    /// Find out how many phones the agent has; [`Offer::found`] is told.
    FindPhones,
    /// Ring a phone. `first_wins`: others ring for the same caller.
    Originate {
        /// Which.
        phone: u8,
        /// Whether the first to answer must win.
        first_wins: bool,
    },
    /// End a leg before it is connected.
    CallOff(u8, CancelCause),
    /// End a leg that is not answered, for this reason.
    RingOut(u8, MissCause),
    /// End a leg whatever its state.
    EndLeg(u8),
    /// The outcome is known.
    Outcome(Outcome),
    /// A phone was answered, or may have been, and is not connected.
    NotConnected,
    /// The agent has the caller.
    Connected,
    /// The agent's part of the conversation ends. `true`: because the agent passed the caller on.
    Parting(bool),
    /// No leg is left: the offer is over.
    Gone(LegEnd),
    /// Nothing will be heard of the legs any more: the offer is over.
    Lost,
    /// The timer is due in so long from now.
    Wait(OfferTimer, Duration),
}

/// How far an offer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// How many phones the agent has is not known yet.
    Asking,
    /// Nobody can be connected to the caller yet: FreeSWITCH would cut off a caller whose channel is not answered when a
    /// phone that answers by itself is faster (measured).
    HeldBack,
    /// The phones are rung, or one that was answered is being connected.
    Ringing,
    /// It was called off.
    CallingOff(CancelCause),
    /// Nothing was heard for too long, and the legs were told to end.
    GivingUp(Option<CancelCause>),
    /// This phone has the caller.
    Connected { phone: u8 },
    /// The outcome was told; the legs are seen off.
    Ending { told_to_end: bool },
}

/// What an offer must know of its call to make sense of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Around {
    /// Another agent has the caller, or is being connected.
    pub rival: bool,
    /// The caller is there and nobody has them: an agent who is connected now may keep them.
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

/// Whether a sign of ringing is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    /// It may come at any time.
    Free,
    /// One phone at least is to give one in time.
    Due,
    /// The time is over: a phone that has given none may not be the only one left.
    Overdue,
}

impl Offer {
    /// An offer to this agent, and what is to be done first. `shared`: other agents ring for the same caller.
    pub fn new(agent: AgentId, shared: bool, ring_time: Duration) -> (Self, Vec<OfferEffect>) {
        let begin = vec![
            OfferEffect::Wait(OfferTimer::Ring, ring_time),
            OfferEffect::Wait(OfferTimer::Patience, ring_time.saturating_add(SILENCE_AFTER_RING_TIME)),
            OfferEffect::FindPhones,
        ];
        (Self { agent, shared, state: State::Asking, sign: Sign::Free, legs: Vec::new() }, begin)
    }

    /// Whose phones are rung.
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// Whether a phone was answered and the connection is still to come.
    pub fn is_connecting(&self) -> bool {
        self.is_open() && self.legs.contains(&Leg::Answered)
    }

    /// Whether the outcome is still to come.
    fn is_open(&self) -> bool {
        !matches!(self.state, State::Connected { .. } | State::Ending { .. })
    }

    /// Whether one of the phones was answered.
    pub fn was_answered(&self) -> bool {
        self.legs.iter().any(Leg::was_answered)
    }

    /// Why it was called off.
    fn called_off(&self) -> Option<CancelCause> {
        match self.state {
            State::CallingOff(cause) => Some(cause),
            State::GivingUp(cause) => cause,
            _ => None,
        }
    }

    /// A phone was answered and led to no conversation, and no other is being connected: the offer has failed.
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

    /// What there is to ring is known. Where no phone is registered, the directory may still lead to one somewhere.
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

    /// The caller can be connected from now on.
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

    /// FreeSWITCH tells something of a leg.
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
                // When it was called off while the answer was on its way, the connection decides, if there is one.
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
            // The leg's own end says more: what the phone answered, which the result of `originate` does not know and is
            // heard before now and then (measured).
            (News::Originated(Err(_)), Leg::Created | Leg::Ringing) => {
                let last = self.legs.iter().filter(|leg| leg.end().is_none()).count() == 1;
                if last && self.is_open() {
                    out.push(OfferEffect::Wait(OfferTimer::Patience, LEG_PATIENCE));
                }
            }
            // An answered leg is taken from `originate` while it is being connected, which `originate` then reports as
            // its failure, before or behind the connection. The leg itself tells how it goes on.
            (News::Originated(Err(_)), _) => {}
            (News::Missing, Leg::Originating | Leg::Gone(_)) => {}
            (News::Missing, leg) => {
                let unheard = self.is_open() && !self.was_answered();
                self.gone(phone, leg.end().unwrap_or(LegEnd::Cleared), rival, &mut out);
                // This reply overtakes events: the phone may have been answered, and the caller told to outlive us,
                // unheard.
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
            // Hung up before we heard that it was connected: an offer has one outcome.
            State::Ending { .. } | State::Asking | State::HeldBack => {}
            State::Ringing | State::CallingOff(_) | State::GivingUp(_) => {
                self.legs.iter_mut().skip(usize::from(phone)).take(1).for_each(Leg::answered);
                self.state = State::Connected { phone };
                out.push(OfferEffect::Connected);
                self.stop_all_but(phone, out);
            }
        }
    }

    /// FreeSWITCH was asked, and has no leg of this offer any more. Only of a conversation is that believed: a leg that
    /// is to ring may not be there yet.
    pub fn legs_missing(&mut self, rival: bool) -> Vec<OfferEffect> {
        let mut out = Vec::new();
        if matches!(self.state, State::Connected { .. }) {
            for phone in self.living().collect::<Vec<_>>() {
                self.gone(phone, LegEnd::Unseen, rival, &mut out);
            }
        }
        out
    }

    /// Calls it off.
    pub fn call_off(&mut self, cause: CancelCause) -> Vec<OfferEffect> {
        let mut out = Vec::new();
        // A phone that was answered is being connected inside FreeSWITCH this very moment: only a caller who has gone,
        // or is talking to somebody else, takes that back.
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

    /// A leg that was to end before FreeSWITCH had it, or had told of it, is ended once more.
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

    /// One of its timers is due.
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

    /// No phone rings, and the time in which one should have is over.
    fn end_silent(&self, out: &mut Effects) {
        let rings = self.legs.iter().any(|leg| matches!(leg, Leg::Ringing | Leg::Answered));
        if self.state == State::Ringing && self.sign == Sign::Overdue && !rings {
            self.ring_out(|leg| leg.end().is_none(), MissCause::Silent, out);
        }
    }

    /// Nothing was heard for too long.
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

    /// It is over before a phone was rung.
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
            // The others are not to ring on for an offer that has failed, and the caller is not to wait for their ends.
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

    /// How the offer ended: as the leg that was connected or answered; or else as the phone that says most of the agent.
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

    /// Tells the outcome, the first time.
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
        // While another is connected, the caller's channel stays as that one's answer has left it.
        if answered && outcome != Outcome::Cancelled(CancelCause::AnsweredElsewhere) {
            out.push(OfferEffect::NotConnected);
        }
    }

    fn outcome(&self, end: LegEnd, rival: bool) -> Outcome {
        let answered = self.was_answered();
        let elsewhere = Outcome::Cancelled(CancelCause::AnsweredElsewhere);
        match (self.called_off(), end) {
            (Some(cause), _) => Outcome::Cancelled(cause),
            // Ended by us because nothing was heard of it: nobody else has the caller.
            (None, LegEnd::Elsewhere) if !matches!(self.state, State::GivingUp(_)) => elsewhere,
            (None, LegEnd::Cleared | LegEnd::ByAgent | LegEnd::BySwitch) if answered && rival => elsewhere,
            (None, LegEnd::Missed(cause)) if !answered => Outcome::Missed(cause),
            (None, _) if answered => Outcome::Missed(MissCause::NotConnected),
            (None, _) => Outcome::Missed(MissCause::Failed),
        }
    }

    /// Nothing more will be heard of it: the outcome, if it was not told yet.
    pub fn forget(&self, cause: CancelCause) -> Option<Outcome> {
        let before = self.called_off().filter(|before| before.is_final() || !cause.is_final());
        self.is_open().then(|| Outcome::Cancelled(before.unwrap_or(cause)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
