//! The agents' phones and legs in the simulated FreeSWITCH. Who gets the caller is decided here, in the
//! moment of answering, and told later. One thing is left out: a phone that is answered while the caller is
//! already connected to another does not take the caller away, whatever way it was rung.

use std::time::Duration;

use freeswitch_queue::acd::call::Input;
use freeswitch_queue::acd::fact::{CancelCause, MissCause};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId};
use freeswitch_queue::acd::leg::LegEnd;

use crate::step::{Fault, Phone};
use crate::world::{Conn, Due, World};

/// A leg that was answered and is not connected hangs itself up after this time.
const PARKED: u64 = 5000;
/// How much longer than its ring time FreeSWITCH itself would let a leg ring.
const MARGIN: u64 = 2000;
/// How long a leg that cannot be ended lasts.
const DEAF: u64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ordered,
    Ringing,
    Answered,
    Talking,
    Dead,
}

/// An agent's leg.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) offer: OfferId,
    pub(crate) call: CallId,
    pub(crate) agent: AgentId,
    pub(crate) conn: Conn,
    shared: bool,
    pub(crate) state: State,
    pub(crate) fault: Option<Fault>,
    /// When its ring time is over, and whether the daemon said so.
    pub(crate) ring_over: u64,
    pub(crate) rung_out: bool,
    /// When the daemon was last told of it, or last did something about it.
    pub(crate) touched: u64,
    pub(crate) told_created: bool,
    pub(crate) told_answered: bool,
    pub(crate) told_ended: bool,
    pub(crate) told_gone: bool,
    /// Whether it was ordered to end, and whether that was after it had come to be.
    pub(crate) killed: bool,
    pub(crate) killed_existing: bool,
    /// When the phone was answered.
    pub(crate) answered_at: Option<u64>,
    /// It was to end if it still rang, and had just been answered.
    pub(crate) spared: bool,
    /// Its call has given it up.
    pub(crate) lost: bool,
}

impl Leg {
    pub(crate) fn is_faulty(&self) -> bool {
        self.fault.is_some_and(Fault::may_be_lost)
    }

    /// Whether FreeSWITCH has such a channel.
    pub(crate) fn exists(&self) -> bool {
        !matches!(self.state, State::Ordered | State::Dead)
    }

    /// Whether, as far as was told, it is about to be connected.
    pub(crate) fn is_connecting(&self) -> bool {
        self.told_answered && !self.told_ended && !self.told_gone
    }
}

impl World {
    pub(crate) fn leg(&mut self, offer: OfferId) -> &mut Leg {
        self.legs.iter_mut().rev().find(|l| l.offer == offer).expect("a leg nobody ordered")
    }

    pub(crate) fn ringing(&self, of: impl Fn(&Leg) -> bool) -> Vec<OfferId> {
        self.legs.iter().filter(|l| l.state == State::Ringing && of(l)).map(|l| l.offer).collect()
    }

    // What is told of a leg.

    fn tell_of(&mut self, offer: OfferId, input: Input) {
        let leg = self.leg(offer);
        let conn = leg.conn;
        match leg.fault {
            Some(Fault::Mute) => {}
            Some(Fault::NoHangUp) if matches!(input, Input::LegHungUp(..)) => {}
            Some(Fault::NoGone) if matches!(input, Input::LegGone(..) | Input::Originated(_, Err(_))) => {}
            Some(Fault::NoResult) if matches!(input, Input::Originated(..)) => {}
            Some(Fault::LateResult) if matches!(input, Input::Originated(..)) => {
                let delay = self.rng.within(100, 3000);
                self.at(delay, Due::Tell(conn, input));
            }
            Some(Fault::LateEnd(ms)) if matches!(input, Input::LegHungUp(..) | Input::LegGone(..)) => {
                self.at(ms, Due::Tell(conn, input));
            }
            Some(Fault::Double) => {
                self.tell(conn, input.clone());
                self.tell(conn, input);
            }
            _ => self.tell(conn, input),
        }
    }

    pub(crate) fn note_told(&mut self, conn: Conn, input: &Input) {
        let now = self.now;
        if matches!(input, Input::CallerGone | Input::Bridged(_)) {
            self.legs.iter_mut().filter(|l| l.conn == conn).for_each(|l| l.touched = now);
        }
        let offer = match input {
            Input::LegCreated(o) | Input::LegAnswered(o) | Input::LegHungUp(o, ..) | Input::LegGone(o, _) => *o,
            Input::Bridged(o) | Input::Originated(o, _) | Input::LegMissing(o) => *o,
            _ => return,
        };
        let leg = self.leg(offer);
        leg.touched = now;
        match input {
            Input::LegAnswered(_) => (leg.told_created, leg.told_answered) = (true, true),
            Input::LegHungUp(..) => (leg.told_created, leg.told_ended) = (true, true),
            Input::LegGone(..) => leg.told_gone = true,
            Input::LegMissing(_) => leg.told_gone |= leg.told_created,
            // While it is being connected, `originate` takes it for a failure.
            Input::Originated(_, Err(_)) if leg.is_connecting() => {}
            Input::Originated(_, Err(_)) => {
                leg.told_ended = true;
                leg.told_gone |= !leg.told_created;
            }
            _ => leg.told_created = true,
        }
    }

    // What phones do.

    pub(crate) fn set_phone(&mut self, agent: &AgentId, phone: Phone) {
        self.phones.iter_mut().filter(|p| p.0 == *agent).for_each(|p| p.1 = phone);
    }

    pub(crate) fn set_fault(&mut self, agent: &AgentId, fault: Fault) {
        self.phones.iter_mut().filter(|p| p.0 == *agent).for_each(|p| p.2 = Some(fault));
    }

    pub(crate) fn create(&mut self, offer: OfferId) {
        let leg = self.leg(offer);
        if leg.state != State::Ordered {
            return;
        }
        leg.state = State::Ringing;
        let (agent, fault, ring_over) = (leg.agent.clone(), leg.fault, leg.ring_over);
        self.tell_of(offer, Input::LegCreated(offer));
        let phone = self.phones.iter().find(|p| p.0 == agent).map_or(Phone::Rings, |p| p.1);
        let in_use = self.legs.iter().any(|l| l.agent == agent && l.offer != offer && l.exists());
        let delay = self.rng.within(1, 30);
        if in_use || phone == Phone::Busy {
            self.at(delay, Due::Fail(offer, LegEnd::Missed(MissCause::Busy)));
        } else if let Phone::Refuses(status) = phone {
            self.at(delay, Due::Fail(offer, LegEnd::Missed(MissCause::of_sip(status))));
        } else if phone == Phone::AnswersAtOnce {
            self.at(delay, Due::Answer(offer));
        }
        if fault == Some(Fault::Deaf) {
            self.at(DEAF, Due::Fail(offer, LegEnd::Cleared));
        } else {
            let left = ring_over.saturating_sub(self.now) + MARGIN;
            self.at(left, Due::RingOver(offer));
        }
    }

    pub(crate) fn ring_over(&mut self, offer: OfferId) {
        if self.leg(offer).state == State::Ringing && self.leg(offer).fault != Some(Fault::Deaf) {
            self.die(offer, LegEnd::Missed(MissCause::NoAnswer), false);
        }
    }

    pub(crate) fn answer(&mut self, offer: OfferId) {
        if self.leg(offer).state != State::Ringing {
            return;
        }
        let now = self.now;
        let leg = self.leg(offer);
        (leg.state, leg.answered_at) = (State::Answered, Some(now));
        let (shared, fault, call) = (leg.shared, leg.fault, leg.call.clone());
        self.tell_of(offer, Input::LegAnswered(offer));
        let taken = self.rng.chance(30);
        self.tell_of(offer, Input::Originated(offer, if taken { Err(LegEnd::Cleared) } else { Ok(()) }));
        if let Some(c) = self.caller(&call) {
            c.armed = false;
        }
        let alone = self.caller(&call).is_some_and(|c| c.alive && c.with.is_none());
        // Nobody is connected who has no media yet.
        let early = self.caller(&call).is_some_and(|c| !c.answered);
        if fault == Some(Fault::NotBridged) || fault == Some(Fault::Parked) {
            let delay = if fault == Some(Fault::Parked) { PARKED } else { self.rng.below(2000) };
            self.at(delay, Due::Fail(offer, LegEnd::Cleared));
            if alone && self.rng.chance(50) {
                self.silence(&call);
            }
        } else if shared {
            let delay = self.rng.below(40);
            self.at(delay, Due::Pick(offer));
        } else if alone && !early {
            self.unpark(&call);
            self.connected(offer);
        } else {
            self.at(PARKED, Due::Fail(offer, LegEnd::Cleared));
        }
    }

    /// The `socket` application of the caller's channel ends.
    fn unpark(&mut self, call: &CallId) {
        self.silence(call);
        if let Some(conn) = self.caller(call).and_then(|c| c.conn) {
            self.tell(conn, Input::TakenAway);
        }
    }

    /// The leg tries to take the caller; another that tries within the next 20 ms may yet get ahead.
    pub(crate) fn pick(&mut self, offer: OfferId) {
        if self.leg(offer).state != State::Answered {
            return;
        }
        let call = self.leg(offer).call.clone();
        let open = self.caller(&call).is_some_and(|c| c.alive && c.answered && c.with.is_none() && !c.away);
        let rival = self.caller(&call).and_then(|c| c.picking).filter(|o| *o != offer);
        let rival = rival.filter(|o| self.leg(*o).state == State::Answered);
        // Only who loses to another is told so, and not always.
        let lost = rival.is_some() || self.caller(&call).is_some_and(|c| c.with.is_some());
        let end = if lost && self.rng.chance(50) { LegEnd::Elsewhere } else { LegEnd::Cleared };
        if !open || (rival.is_some() && self.rng.chance(50)) {
            return self.die(offer, end, false);
        }
        if rival.is_none() {
            self.unpark(&call);
        }
        self.caller(&call).expect("a caller").picking = Some(offer);
        self.at(20, Due::Join(offer));
        if let Some(loser) = rival {
            self.die(loser, end, false);
        }
    }

    pub(crate) fn join(&mut self, offer: OfferId) {
        if self.leg(offer).state != State::Answered {
            return;
        }
        let call = self.leg(offer).call.clone();
        if self.caller(&call).is_some_and(|c| c.alive && !c.away && c.with.is_none() && c.picking == Some(offer)) {
            self.connected(offer);
        } else {
            self.die(offer, LegEnd::Cleared, false);
        }
    }

    fn connected(&mut self, offer: OfferId) {
        let leg = self.leg(offer);
        leg.state = State::Talking;
        let (call, conn) = (leg.call.clone(), leg.conn);
        let late = self.rng.chance(10);
        let c = self.caller(&call).expect("a caller");
        c.with = Some(offer);
        c.away = false;
        match c.conn {
            // It is the caller's channel that tells: what the agent's tells may come before.
            Some(now) if now == conn && late => {
                let delay = self.rng.within(10, 60);
                self.at(delay, Due::Tell(conn, Input::Bridged(offer)));
            }
            Some(now) if now == conn => self.tell_of(offer, Input::Bridged(offer)),
            // A leg of the caller's last life.
            Some(now) => self.tell(now, Input::TakenAway),
            None => {}
        }
    }

    pub(crate) fn decline(&mut self, offer: OfferId) {
        self.die(offer, LegEnd::Missed(MissCause::Declined), false);
    }

    /// The agent hangs up, or passes the caller on.
    pub(crate) fn leave(&mut self, agent: &AgentId, transfer: bool) {
        let talking = |l: &&Leg| l.agent == *agent && matches!(l.state, State::Answered | State::Talking);
        if let Some(offer) = self.legs.iter().find(talking).map(|l| l.offer) {
            let transfer = transfer && self.leg(offer).state == State::Talking;
            self.die(offer, LegEnd::Cleared, transfer);
        }
    }

    /// A leg ends; with `transfer` its caller goes on with somebody else.
    pub(crate) fn die(&mut self, offer: OfferId, end: LegEnd, transfer: bool) {
        let leg = self.leg(offer);
        let was = std::mem::replace(&mut leg.state, State::Dead);
        if was == State::Dead {
            return;
        }
        let call = leg.call.clone();
        let took = self.caller(&call).is_some_and(|c| c.with == Some(offer));
        if took {
            let c = self.caller(&call).expect("a caller");
            c.with = None;
            c.away = transfer;
        }
        if took && !transfer && self.rng.chance(50) {
            self.caller_ends(&call);
        }
        self.tell_of(offer, Input::LegHungUp(offer, end, transfer));
        let result_first = self.rng.chance(50);
        let unanswered = was == State::Ringing;
        if unanswered && result_first {
            self.tell_of(offer, Input::Originated(offer, Err(end)));
        }
        self.tell_of(offer, Input::LegGone(offer, end));
        if unanswered && !result_first {
            self.tell_of(offer, Input::Originated(offer, Err(end)));
        }
        if took && !transfer {
            self.caller_ends(&call);
        } else if took && self.rng.chance(30) {
            // To the number of a queue: its dialplan connects the caller once more.
            let delay = self.rng.within(60, 500);
            self.at(delay, Due::Again(call));
        } else if took {
            let delay = self.rng.within(100, 20_000);
            self.at(delay, Due::CallerEnds(call));
        }
    }

    // What the daemon orders.

    pub(crate) fn ring(&mut self, conn: Conn, offer: OfferId, agent: &AgentId, shared: bool, ring_time: Duration) {
        let call = self.call_of(conn);
        let doubled = self.legs.iter().find(|l| l.agent == *agent && l.state != State::Dead && !l.lost);
        assert!(doubled.is_none(), "Q8: the phone of {agent} is rung while it has a leg: {doubled:?}");
        let entry = self.phones.iter_mut().find(|p| p.0 == *agent).expect("a phone");
        let (phone, fault) = (entry.1, entry.2.take());
        let ring_time = ring_time.as_millis() as u64;
        self.legs.push(Leg {
            offer,
            call,
            agent: agent.clone(),
            conn,
            shared,
            state: State::Ordered,
            fault,
            ring_over: self.now + ring_time,
            rung_out: false,
            touched: self.now,
            told_created: false,
            told_answered: false,
            told_ended: false,
            told_gone: false,
            killed: false,
            killed_existing: false,
            answered_at: None,
            spared: false,
            lost: false,
        });
        let refusal = match (phone, fault) {
            (Phone::NotRegistered, _) => Some(MissCause::NotRegistered),
            (Phone::Unknown, _) => Some(MissCause::Unknown),
            (_, Some(Fault::Refused)) => Some(MissCause::Failed),
            _ => None,
        };
        if let Some(cause) = refusal {
            self.leg(offer).state = State::Dead;
            self.leg(offer).fault = None;
            self.tell_of(offer, Input::Originated(offer, Err(LegEnd::Missed(cause))));
            return;
        }
        let delay = match fault {
            Some(Fault::SlowCreate(ms)) => ms,
            Some(Fault::Never) => return,
            _ => self.rng.within(1, 4),
        };
        self.at(delay, Due::Create(offer));
    }

    /// The ring time is over.
    pub(crate) fn ring_out(&mut self, offer: OfferId) {
        let now = self.now;
        let leg = self.leg(offer);
        assert_eq!(leg.ring_over, now, "how long the phone rings");
        leg.rung_out = true;
        self.ring_over(offer);
    }

    /// Calls a leg off. Whoever may just have answered is spared unless the caller is out of reach, and
    /// nothing is said of it.
    pub(crate) fn call_off(&mut self, offer: OfferId, cause: CancelCause) {
        match cause {
            CancelCause::AnsweredElsewhere | CancelCause::CallerGone => self.kill(offer, LegEnd::Elsewhere),
            _ => {
                let now = self.now;
                let leg = self.leg(offer);
                leg.killed = true;
                leg.touched = now;
                leg.spared |= matches!(leg.state, State::Answered | State::Talking);
                leg.killed_existing |= leg.exists() && !leg.spared;
                if leg.state == State::Ringing && leg.fault != Some(Fault::Deaf) {
                    self.die(offer, LegEnd::Elsewhere, false);
                }
            }
        }
    }

    /// Ends a leg, if it is there.
    pub(crate) fn kill(&mut self, offer: OfferId, end: LegEnd) {
        let now = self.now;
        let leg = self.leg(offer);
        leg.killed = true;
        leg.touched = now;
        let (conn, exists) = (leg.conn, leg.exists());
        leg.killed_existing |= exists;
        if !exists {
            self.reply(conn, Input::LegMissing(offer));
        } else if leg.fault != Some(Fault::Deaf) {
            self.die(offer, end, false);
        }
    }
}
