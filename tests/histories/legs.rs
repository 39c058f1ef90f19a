//! The agents' phones and legs in the simulated FreeSWITCH. The winner of the caller is decided here, in the moment of
//! the answer, and reported later. One thing is left out: a phone that answers while the caller is already connected to
//! another does not take the caller away, however it was rung.

use std::time::Duration;

use freeswitch_queue::acd::call::Input;
use freeswitch_queue::acd::fact::{CancelCause, Fact, MissCause};
use freeswitch_queue::acd::ids::{AgentId, CallId, LegId, OfferId};
use freeswitch_queue::acd::leg::{LegEnd, News};
use freeswitch_queue::acd::offer::Found;

use crate::step::{Fault, Phone};
use crate::world::{Account, Conn, Due, World};

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

/// An offer whose phones were looked up.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) offer: OfferId,
    /// The end of its ring time.
    pub(crate) ring_over: u64,
    /// A sign of ringing is due 4 s after the first `originate` to a registered phone.
    registered: bool,
    pub(crate) begun: Option<u64>,
    /// Its call has given it up.
    pub(crate) lost: bool,
}

impl Asked {
    /// Q7: the time at which a phone without a sign of ringing is given up.
    pub(crate) fn sign_due(&self) -> Option<u64> {
        self.begun.filter(|_| self.registered).map(|begun| begun + 4000)
    }
}

/// An agent's leg.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) call: CallId,
    pub(crate) agent: AgentId,
    pub(crate) conn: Conn,
    first_wins: bool,
    pub(crate) state: State,
    pub(crate) fault: Option<Fault>,
    /// The end of its ring time, and whether the daemon has seen it.
    pub(crate) ring_over: u64,
    pub(crate) rung_out: bool,
    /// Whether it rings, and whether the daemon has an event of that.
    pub(crate) rings: bool,
    pub(crate) told_rings: bool,
    /// The time of the daemon's last event or command for it.
    pub(crate) touched: u64,
    pub(crate) told_created: bool,
    pub(crate) told_answered: bool,
    pub(crate) told_ended: bool,
    pub(crate) told_gone: bool,
    /// Whether the daemon has ended it, and whether it existed by then.
    pub(crate) killed: bool,
    pub(crate) killed_existing: bool,
    /// The time of the answer.
    pub(crate) answered_at: Option<u64>,
    /// It was connected to the caller.
    pub(crate) connected: bool,
    /// The daemon ended it if it still rang, but it had just answered.
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

    /// Whether, according to the events so far, it is about to be connected.
    pub(crate) fn is_connecting(&self) -> bool {
        self.told_answered && !self.told_ended && !self.told_gone
    }
}

impl World {
    pub(crate) fn leg(&mut self, id: LegId) -> &mut Leg {
        self.legs.iter_mut().rev().find(|l| l.id == id).expect("the leg was originated")
    }

    pub(crate) fn legs_of(&mut self, offer: OfferId) -> impl Iterator<Item = &mut Leg> {
        self.legs.iter_mut().filter(move |l| l.id.offer == offer)
    }

    pub(crate) fn ringing(&self, of: impl Fn(&Leg) -> bool) -> Vec<LegId> {
        self.legs.iter().filter(|l| l.state == State::Ringing && of(l)).map(|l| l.id).collect()
    }

    pub(crate) fn asked(&mut self, offer: OfferId) -> Option<&mut Asked> {
        self.asked.iter_mut().rev().find(|a| a.offer == offer)
    }

    /// The ringing phones of an agent that an action affects: one of them, or all at the same instant.
    pub(crate) fn some_ringing(&mut self, agent: &AgentId) -> Vec<LegId> {
        let ringing = self.ringing(|l| l.agent == *agent);
        let ringing: Vec<LegId> = ringing.into_iter().filter(|id| !self.is_silent(*id)).collect();
        if ringing.len() < 2 || self.rng.chance(30) { ringing } else { vec![*self.rng.pick(&ringing)] }
    }

    // Events of a leg.

    fn tell_of(&mut self, id: LegId, news: News) {
        let leg = self.leg(id);
        let conn = leg.conn;
        let input = Input::Leg(id, news);
        match leg.fault {
            Some(Fault::Mute) => {}
            Some(Fault::NoHangUp) if matches!(news, News::HungUp(..)) => {}
            Some(Fault::NoGone) if matches!(news, News::Gone(_) | News::Originated(Err(_))) => {}
            Some(Fault::NoResult) if matches!(news, News::Originated(_)) => {}
            Some(Fault::LateResult) if matches!(news, News::Originated(_)) => {
                let delay = self.rng.within(100, 3000);
                self.at(delay, Due::Tell(conn, input));
            }
            Some(Fault::LateEnd(ms)) if matches!(news, News::HungUp(..) | News::Gone(_)) => {
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
        if matches!(input, Input::CallerGone | Input::CallerEnded | Input::Leg(_, News::Bridged)) {
            self.legs.iter_mut().filter(|l| l.conn == conn).for_each(|l| l.touched = now);
        }
        let Input::Leg(id, news) = input else { return };
        // The call's patience covers all phones of one agent together.
        self.legs_of(id.offer).for_each(|l| l.touched = now);
        let leg = self.leg(*id);
        match news {
            News::Answered => (leg.told_created, leg.told_answered) = (true, true),
            News::HungUp(..) => (leg.told_created, leg.told_ended) = (true, true),
            News::Gone(_) => leg.told_gone = true,
            News::Missing => leg.told_gone |= leg.told_created,
            // An existing leg ends by its own event.
            News::Originated(Err(_)) if leg.told_created => {}
            News::Originated(Err(_)) => (leg.told_ended, leg.told_gone) = (true, true),
            News::Ringing => (leg.told_created, leg.told_rings) = (true, true),
            News::Created | News::Originated(Ok(())) | News::Bridged => leg.told_created = true,
        }
    }

    /// Q7: "no answer" requires the whole ring time, and "answered elsewhere" another winner.
    pub(crate) fn check_cause(&self, fact: &Fact) {
        match fact {
            Fact::OfferMissed { offer, cause: MissCause::NoAnswer, .. } => {
                let mut legs = self.legs.iter().filter(|l| l.id.offer == *offer);
                assert!(legs.any(|l| l.rung_out), "Q7: {fact:?}");
            }
            Fact::OfferCancelled { offer, call, cause: CancelCause::AnsweredElsewhere, .. } => {
                let mut legs = self.legs.iter().filter(|l| l.call == *call);
                let rival = legs.any(|l| l.id.offer != *offer && l.answered_at.is_some());
                let caller = self.callers.iter().find(|c| c.call == *call);
                let waits = caller.is_some_and(|c| c.alive && !c.away && c.with.is_none());
                assert!(rival || !waits, "Q7: no other party has the caller: {fact:?}");
            }
            _ => {}
        }
    }

    // Actions of phones.

    pub(crate) fn account(&mut self, agent: &AgentId) -> &mut Account {
        self.accounts.iter_mut().find(|a| a.agent == *agent).expect("an account")
    }

    pub(crate) fn create(&mut self, id: LegId) {
        let leg = self.leg(id);
        if leg.state != State::Ordered {
            return;
        }
        leg.state = State::Ringing;
        let (agent, fault, ring_over) = (leg.agent.clone(), leg.fault, leg.ring_over);
        self.tell_of(id, News::Created);
        let phone = self.account(&agent).phone(id.phone);
        let in_use = self.legs.iter().any(|l| l.agent == agent && l.id.offer != id.offer && l.exists());
        let delay = self.rng.within(1, 30);
        match phone {
            Phone::Dead => {}
            Phone::Slow(ms) => self.at(ms, Due::Ring(id)),
            _ => self.at(1, Due::Ring(id)),
        }
        if in_use || phone == Phone::Busy {
            self.at(delay, Due::Fail(id, LegEnd::Missed(MissCause::Busy)));
        } else if let Phone::Refuses(status) = phone {
            self.at(delay, Due::Fail(id, LegEnd::Missed(MissCause::of_sip(status))));
        } else if phone == Phone::AnswersAtOnce {
            self.at(delay, Due::Answer(id));
        }
        let cut = delay + self.rng.below(1500);
        match fault {
            Some(Fault::PickedOff) => self.at(cut, Due::PickedOff(id)),
            Some(Fault::CutShort) => self.at(cut, Due::CutShort(id)),
            _ => {}
        }
        if fault == Some(Fault::Deaf) {
            self.at(DEAF, Due::Fail(id, LegEnd::Cleared));
        } else {
            let left = ring_over.saturating_sub(self.now) + MARGIN;
            self.at(left, Due::RingOver(id));
        }
    }

    pub(crate) fn rings(&mut self, id: LegId) {
        if self.leg(id).state == State::Ringing && !std::mem::replace(&mut self.leg(id).rings, true) {
            self.tell_of(id, News::Ringing);
        }
    }

    /// An admin of the switch ends the ringing.
    pub(crate) fn picked_off(&mut self, id: LegId) {
        if self.leg(id).state == State::Ringing {
            self.die(id, LegEnd::Elsewhere, false);
        }
    }

    /// A time limit of the directory ends the ringing.
    pub(crate) fn cut_short(&mut self, id: LegId) {
        if self.leg(id).state == State::Ringing {
            self.die(id, LegEnd::Missed(MissCause::NoAnswer), false);
        }
    }

    pub(crate) fn ring_over(&mut self, id: LegId) {
        if self.leg(id).state == State::Ringing && self.leg(id).fault != Some(Fault::Deaf) {
            self.die(id, LegEnd::Missed(MissCause::NoAnswer), false);
        }
    }

    pub(crate) fn answer(&mut self, id: LegId) {
        if self.leg(id).state != State::Ringing || self.is_silent(id) {
            return;
        }
        let now = self.now;
        let leg = self.leg(id);
        (leg.state, leg.answered_at) = (State::Answered, Some(now));
        let (first_wins, fault, call) = (leg.first_wins, leg.fault, leg.call.clone());
        self.tell_of(id, News::Answered);
        let taken = self.rng.chance(30);
        self.tell_of(id, News::Originated(if taken { Err(LegEnd::Cleared) } else { Ok(()) }));
        if let Some(c) = self.caller(&call) {
            c.armed = false;
        }
        let alone = self.caller(&call).is_some_and(|c| c.alive && c.with.is_none());
        let early = self.caller(&call).is_some_and(|c| c.alive && !c.answered);
        assert!(!early, "an answer cuts off a caller whose channel is not answered yet");
        if fault == Some(Fault::NotBridged) || fault == Some(Fault::Parked) {
            let delay = if fault == Some(Fault::Parked) { PARKED } else { self.rng.below(2000) };
            self.at(delay, Due::Fail(id, LegEnd::Cleared));
            if alone && self.rng.chance(50) {
                self.silence(&call);
            }
        } else if first_wins {
            let delay = self.rng.below(40);
            self.at(delay, Due::Pick(id));
        } else if alone {
            self.unpark(&call);
            self.connected(id);
        } else {
            self.at(PARKED, Due::Fail(id, LegEnd::Cleared));
        }
    }

    /// The `socket` application of the caller's channel ends.
    fn unpark(&mut self, call: &CallId) {
        self.silence(call);
        if let Some(conn) = self.caller(call).and_then(|c| c.conn) {
            self.tell(conn, Input::TakenAway);
        }
    }

    /// The leg tries to take the caller; another that tries within the next 20 ms may still win.
    pub(crate) fn pick(&mut self, id: LegId) {
        if self.leg(id).state != State::Answered {
            return;
        }
        let call = self.leg(id).call.clone();
        let open = self.caller(&call).is_some_and(|c| c.alive && c.answered && c.with.is_none() && !c.away);
        let rival = self.caller(&call).and_then(|c| c.picking).filter(|o| *o != id);
        let rival = rival.filter(|o| self.leg(*o).state == State::Answered);
        // Only a leg that loses to another gets the event, and not always.
        let lost = rival.is_some() || self.caller(&call).is_some_and(|c| c.with.is_some());
        let end = if lost && self.rng.chance(50) { LegEnd::Elsewhere } else { LegEnd::Cleared };
        if !open || (rival.is_some() && self.rng.chance(50)) {
            return self.die(id, end, false);
        }
        if rival.is_none() {
            self.unpark(&call);
        }
        self.caller(&call).expect("a caller").picking = Some(id);
        self.at(20, Due::Join(id));
        if let Some(loser) = rival {
            self.die(loser, end, false);
        }
    }

    pub(crate) fn join(&mut self, id: LegId) {
        if self.leg(id).state != State::Answered {
            return;
        }
        let call = self.leg(id).call.clone();
        if self.caller(&call).is_some_and(|c| c.alive && !c.away && c.with.is_none() && c.picking == Some(id)) {
            self.connected(id);
        } else {
            self.die(id, LegEnd::Cleared, false);
        }
    }

    fn connected(&mut self, id: LegId) {
        let leg = self.leg(id);
        (leg.state, leg.connected) = (State::Talking, true);
        let (call, conn) = (leg.call.clone(), leg.conn);
        let late = self.rng.chance(10);
        let c = self.caller(&call).expect("a caller");
        c.with = Some(id);
        c.away = false;
        match c.conn {
            // The event comes on the caller's channel; events of the agent's channel may come earlier.
            Some(now) if now == conn && late => {
                let delay = self.rng.within(10, 60);
                self.at(delay, Due::Tell(conn, Input::Leg(id, News::Bridged)));
            }
            Some(now) if now == conn => self.tell_of(id, News::Bridged),
            // A leg of the caller's last run.
            Some(now) => self.tell(now, Input::TakenAway),
            None => {}
        }
    }

    pub(crate) fn decline(&mut self, id: LegId) {
        self.die(id, LegEnd::Missed(MissCause::Declined), false);
    }

    /// The agent hangs up, or transfers the caller.
    pub(crate) fn leave(&mut self, agent: &AgentId, transfer: bool) {
        let talking = |l: &&Leg| l.agent == *agent && matches!(l.state, State::Answered | State::Talking);
        if let Some(id) = self.legs.iter().find(talking).map(|l| l.id) {
            let transfer = transfer && self.leg(id).state == State::Talking;
            self.die(id, LegEnd::Cleared, transfer);
        }
    }

    /// A leg ends; with `transfer` its caller continues with another party.
    pub(crate) fn die(&mut self, id: LegId, end: LegEnd, transfer: bool) {
        let leg = self.leg(id);
        let was = std::mem::replace(&mut leg.state, State::Dead);
        if was == State::Dead {
            return;
        }
        let call = leg.call.clone();
        let took = self.caller(&call).is_some_and(|c| c.with == Some(id));
        if took {
            let c = self.caller(&call).expect("a caller");
            c.with = None;
            c.away = transfer;
        }
        if took && !transfer && self.rng.chance(50) {
            self.caller_ends(&call);
        }
        self.tell_of(id, News::HungUp(end, transfer));
        let result_first = self.rng.chance(50);
        let unanswered = was == State::Ringing;
        if unanswered && result_first {
            self.tell_of(id, News::Originated(Err(end)));
        }
        self.tell_of(id, News::Gone(end));
        if unanswered && !result_first {
            self.tell_of(id, News::Originated(Err(end)));
        }
        if took && !transfer {
            self.caller_ends(&call);
        } else if took && self.rng.chance(30) {
            // To the number of a queue: its dialplan connects the caller to the daemon again.
            let delay = self.rng.within(60, 500);
            self.at(delay, Due::Again(call));
        } else if took {
            let delay = self.rng.within(100, 20_000);
            self.at(delay, Due::CallerEnds(call));
        }
    }

    // Commands of the daemon.

    /// Looks up an agent's phones: at once if the agent is known to have one.
    pub(crate) fn find_phones(&mut self, conn: Conn, offer: OfferId, agent: &AgentId, ring_time: Duration) {
        let ring_over = self.now + ring_time.as_millis() as u64;
        let account = self.account(agent);
        let (phones, dialled) = (account.phones, account.dialled);
        self.asked.push(Asked { offer, ring_over, registered: !dialled, begun: None, lost: false });
        let found = Input::Phones(offer, if dialled { Found::Dialled } else { Found::Registered(phones) });
        if dialled || (phones == 1 && self.rng.chance(70)) {
            self.at(0, Due::Tell(conn, found));
        } else if self.rng.chance(10) {
            let delay = self.rng.within(100, 4000);
            self.at(delay, Due::Tell(conn, found));
        } else {
            self.reply(conn, found);
        }
    }

    /// Looks up the user whose phone has the caller; the reply may be lost.
    pub(crate) fn find_taker(&mut self, conn: Conn) {
        if self.rng.chance(90) {
            let user = self.rng.chance(50).then(|| AgentId::new("picker").expect("an ID"));
            self.reply(conn, Input::Taker(user));
        }
    }

    pub(crate) fn originate(&mut self, conn: Conn, id: LegId, agent: &AgentId, first_wins: bool) {
        let call = self.call_of(conn);
        let other = |l: &&Leg| l.agent == *agent && l.id.offer != id.offer && l.state != State::Dead && !l.lost;
        let doubled = self.legs.iter().find(other);
        assert!(doubled.is_none(), "Q8: a phone of {agent} rings while the agent has a leg: {doubled:?}");
        let again = self.legs.iter().any(|l| l.id == id);
        assert!(!again, "a phone of {agent} is rung twice for one offer");
        let now = self.now;
        let asked = self.asked(id.offer).expect("the offer was made");
        asked.begun.get_or_insert(now);
        let ring_over = asked.ring_over;
        let hits = self.account(agent).phones == 1 || self.rng.chance(50);
        let account = self.account(agent);
        let phone = account.phone(id.phone);
        let fault = if hits { account.fault.take() } else { None };
        self.legs.push(Leg {
            id,
            call,
            agent: agent.clone(),
            conn,
            first_wins,
            state: State::Ordered,
            fault,
            ring_over,
            rung_out: false,
            rings: false,
            told_rings: false,
            touched: self.now,
            told_created: false,
            told_answered: false,
            told_ended: false,
            told_gone: false,
            killed: false,
            killed_existing: false,
            answered_at: None,
            connected: false,
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
            self.leg(id).state = State::Dead;
            self.leg(id).fault = None;
            self.tell_of(id, News::Originated(Err(LegEnd::Missed(cause))));
            return;
        }
        let delay = match fault {
            Some(Fault::SlowCreate(ms)) => ms,
            Some(Fault::Never) => return,
            _ => self.rng.within(1, 4),
        };
        self.at(delay, Due::Create(id));
    }

    /// A phone that does nothing can never be answered.
    fn is_silent(&mut self, id: LegId) -> bool {
        let agent = self.leg(id).agent.clone();
        self.account(&agent).phone(id.phone) == Phone::Dead && !self.leg(id).rings
    }

    /// The ring time is over, or the time in which a phone must give a sign.
    pub(crate) fn ring_out(&mut self, id: LegId, cause: MissCause) {
        let now = self.now;
        let sign_due = self.asked(id.offer).and_then(|asked| asked.sign_due());
        let signs = self.legs_of(id.offer).any(|l| (l.told_rings || l.told_answered) && !l.told_ended && !l.told_gone);
        let leg = self.leg(id);
        if cause == MissCause::Silent {
            assert!(sign_due.is_some_and(|at| at <= now) && !signs, "Q7: no sign of ringing, at {sign_due:?}: {leg:?}");
        } else {
            assert_eq!(leg.ring_over, now, "Q2: the phone rings for the ring time");
        }
        leg.rung_out = true;
        if leg.state == State::Ringing && leg.fault != Some(Fault::Deaf) {
            self.die(id, LegEnd::Missed(cause), false);
        }
    }

    /// Calls a leg off. A leg that may just have answered is spared unless the caller is out of reach; no event reports
    /// that it was spared.
    pub(crate) fn call_off(&mut self, id: LegId, cause: CancelCause) {
        match cause {
            CancelCause::AnsweredElsewhere | CancelCause::CallerGone => self.kill(id, LegEnd::Elsewhere),
            _ => {
                let now = self.now;
                let leg = self.leg(id);
                leg.killed = true;
                leg.touched = now;
                leg.spared |= matches!(leg.state, State::Answered | State::Talking);
                leg.killed_existing |= leg.exists() && !leg.spared;
                if leg.state == State::Ringing && leg.fault != Some(Fault::Deaf) {
                    self.die(id, LegEnd::Elsewhere, false);
                }
            }
        }
    }

    /// Ends a leg, if it is there.
    pub(crate) fn kill(&mut self, id: LegId, end: LegEnd) {
        let now = self.now;
        let leg = self.leg(id);
        leg.killed = true;
        leg.touched = now;
        let (conn, exists) = (leg.conn, leg.exists());
        leg.killed_existing |= exists;
        if !exists {
            self.reply(conn, Input::Leg(id, News::Missing));
        } else if leg.fault != Some(Fault::Deaf) {
            self.die(id, end, false);
        }
    }
}
