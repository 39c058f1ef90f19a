//! FreeSWITCH, its callers and its phones, as far as the queue can tell: what is true, and what of it is
//! told to whom and when. The orders and delays are those of `tests/captures`: what happens is told up to
//! 20 ms later and in batches, in order for each connection; commands are carried out at once; who gets
//! the caller is decided here, at the moment of answering.

use std::collections::BTreeMap;
use std::time::Duration;

use freeswitch_queue::acd::call::{Input, Playing};
use freeswitch_queue::acd::fact::MissCause;
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::leg::LegEnd;
use freeswitch_queue::acd::queue::Place;
use freeswitch_queue::acd::time::Wall;

use crate::rng::Rng;
use crate::step::{AGENTS, Fault, Phone, agent_id};

/// One connection between FreeSWITCH and the daemon: one for each life of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conn(pub(crate) usize);

/// What the simulation has to pass on.
#[derive(Debug)]
pub(crate) enum News {
    /// This is told on a connection.
    Tell(Conn, Input),
    /// The dialplan brings a caller back.
    Back(CallId),
    /// An agent's conversation that nobody watches has ended.
    UnwatchedOver(AgentId),
}

#[derive(Debug)]
enum Due {
    Tell(Conn, Input),
    Create(OfferId),
    RingOver(OfferId),
    Answer(OfferId),
    Pick(OfferId),
    Join(OfferId),
    Fail(OfferId, LegEnd),
    SayOver(CallId, Playing),
    CallerEnds(CallId),
    Linger(Conn),
    Back(CallId),
    Reap(OfferId),
}

#[derive(Debug)]
struct Line {
    call: CallId,
    open: bool,
    /// Nothing is told before what was told last.
    last: u64,
}

/// A caller's channel.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) call: CallId,
    pub(crate) alive: bool,
    pub(crate) conn: Option<Conn>,
    pub(crate) queue: QueueNumber,
    pub(crate) visited: Vec<QueueNumber>,
    /// What the channel remembers for the time after the daemon's death.
    pub(crate) place: Option<Place>,
    pub(crate) first_entered: Option<Wall>,
    /// Whether the dialplan would bring the caller back if the daemon died.
    pub(crate) armed: bool,
    music: Option<Playing>,
    saying: Option<Playing>,
    /// The leg that is about to take the caller, and the one that has.
    picking: Option<OfferId>,
    pub(crate) with: Option<OfferId>,
    /// With somebody outside the queue, or on the way there.
    pub(crate) away: bool,
}

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
    pub(crate) shared: bool,
    pub(crate) state: State,
    pub(crate) fault: Option<Fault>,
    ring_time: u64,
    /// When its ring time is over.
    pub(crate) ring_over: u64,
    /// When the daemon was last told of it, or last did something about it.
    pub(crate) touched: u64,
    pub(crate) told_created: bool,
    pub(crate) told_answered: bool,
    pub(crate) told_ended: bool,
    pub(crate) told_gone: bool,
    /// Whether it was ordered to end, and whether that was after it had come to be.
    pub(crate) killed: bool,
    pub(crate) killed_existing: bool,
    /// The daemon has given it up.
    pub(crate) lost: bool,
}

impl Leg {
    pub(crate) fn is_faulty(&self) -> bool {
        self.fault.is_some_and(Fault::may_be_lost)
    }
}

pub(crate) struct World {
    pub(crate) now: u64,
    rng: Rng,
    due: BTreeMap<(u64, u64), Due>,
    count: u64,
    lines: Vec<Line>,
    pub(crate) callers: Vec<Caller>,
    pub(crate) legs: Vec<Leg>,
    phones: Vec<(AgentId, Phone, Option<Fault>)>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            rng: Rng::branch(seed, 1),
            due: BTreeMap::new(),
            count: 0,
            lines: Vec::new(),
            callers: Vec::new(),
            legs: Vec::new(),
            phones: (0..AGENTS).map(|a| (agent_id(a), Phone::Rings, None)).collect(),
        }
    }

    pub(crate) fn next_moment(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Lets happen what is due, until there is something to pass on.
    pub(crate) fn pop(&mut self) -> Option<News> {
        loop {
            if self.next_moment()? > self.now {
                return None;
            }
            let (_, due) = self.due.pop_first()?;
            match due {
                Due::Tell(conn, input) => {
                    if self.lines[conn.0].open {
                        self.note_told(conn, &input);
                        return Some(News::Tell(conn, input));
                    }
                }
                Due::Back(call) => {
                    if self.caller(&call).is_some_and(|c| c.alive && c.conn.is_none()) {
                        return Some(News::Back(call));
                    }
                }
                Due::Create(offer) => self.create(offer),
                Due::RingOver(offer) => {
                    if self.leg(offer).state == State::Ringing {
                        self.die(offer, LegEnd::Missed(MissCause::NoAnswer), false);
                    }
                }
                Due::Answer(offer) => self.answer(offer),
                Due::Pick(offer) => self.pick(offer),
                Due::Join(offer) => self.join(offer),
                Due::Fail(offer, end) => self.die(offer, end, false),
                Due::SayOver(call, playing) => self.say_over(&call, playing),
                Due::CallerEnds(call) => self.caller_ends(&call),
                Due::Linger(conn) => self.tell(conn, Input::Disconnected),
                Due::Reap(offer) => {
                    let state = self.leg(offer).state;
                    if state == State::Talking {
                        continue;
                    }
                    self.leg(offer).state = State::Dead;
                }
            }
            if let Some(agent) = self.unwatched_over() {
                return Some(News::UnwatchedOver(agent));
            }
        }
    }

    fn at(&mut self, delay: u64, due: Due) {
        self.count += 1;
        self.due.insert((self.now + delay, self.count), due);
    }

    /// Something is told up to 20 ms later, in order.
    fn tell(&mut self, conn: Conn, input: Input) {
        let delay = self.rng.below(21);
        let line = &mut self.lines[conn.0];
        line.last = line.last.max(self.now + delay);
        let delay = line.last - self.now;
        self.at(delay, Due::Tell(conn, input));
    }

    /// The answer to a command comes at once.
    fn reply(&mut self, conn: Conn, input: Input) {
        let delay = self.rng.below(6);
        self.at(delay, Due::Tell(conn, input));
    }

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
            Some(Fault::Double) => {
                self.tell(conn, input.clone());
                self.tell(conn, input);
            }
            _ => self.tell(conn, input),
        }
    }

    fn note_told(&mut self, conn: Conn, input: &Input) {
        let now = self.now;
        if matches!(input, Input::CallerGone | Input::Bridged(_)) {
            self.legs.iter_mut().filter(|l| l.conn == conn).for_each(|l| l.touched = now);
        }
        let (offer, existing) = match input {
            Input::LegCreated(o) | Input::LegAnswered(o) | Input::LegHungUp(o, ..) => (*o, true),
            Input::Bridged(o) | Input::Originated(o, Ok(())) => (*o, true),
            Input::LegGone(o, _) | Input::Originated(o, Err(_)) | Input::LegMissing(o) => (*o, false),
            _ => return,
        };
        let leg = self.leg(offer);
        leg.touched = now;
        leg.told_created |= existing;
        match input {
            Input::LegAnswered(_) => leg.told_answered = true,
            Input::LegHungUp(..) => leg.told_ended = true,
            Input::LegGone(..) => leg.told_gone = true,
            Input::LegMissing(_) => leg.told_gone |= leg.told_created,
            Input::Originated(_, Err(_)) => {
                leg.told_ended = true;
                leg.told_gone |= !leg.told_created;
            }
            _ => {}
        }
    }

    pub(crate) fn leg(&mut self, offer: OfferId) -> &mut Leg {
        self.legs.iter_mut().rev().find(|l| l.offer == offer).expect("a leg nobody ordered")
    }

    pub(crate) fn caller(&mut self, call: &CallId) -> Option<&mut Caller> {
        self.callers.iter_mut().find(|c| c.call == *call)
    }

    /// The callers a step may name: those who are there and not with somebody.
    pub(crate) fn waiting(&self) -> Vec<CallId> {
        let there = |c: &&Caller| c.alive && !c.away && c.with.is_none() && c.conn.is_some();
        self.callers.iter().filter(there).map(|c| c.call.clone()).collect()
    }

    // What callers and phones do.

    pub(crate) fn call(&mut self, call: CallId, queue: QueueNumber) {
        self.callers.push(Caller {
            call,
            alive: true,
            conn: None,
            queue,
            visited: Vec::new(),
            place: None,
            first_entered: None,
            armed: true,
            music: None,
            saying: None,
            picking: None,
            with: None,
            away: false,
        });
    }

    /// The dialplan connects the caller to the daemon.
    pub(crate) fn connect(&mut self, call: &CallId) -> Conn {
        let conn = Conn(self.lines.len());
        self.lines.push(Line { call: call.clone(), open: true, last: self.now });
        let caller = self.caller(call).expect("a caller");
        caller.conn = Some(conn);
        caller.armed = true;
        (caller.music, caller.saying) = (None, None);
        conn
    }

    pub(crate) fn hang_up_caller(&mut self, call: &CallId) {
        self.at(0, Due::CallerEnds(call.clone()));
    }

    fn caller_ends(&mut self, call: &CallId) {
        let Some(c) = self.caller(call) else { return };
        if !std::mem::replace(&mut c.alive, false) {
            return;
        }
        let (conn, with) = (c.conn, c.with.take());
        self.silence(call);
        let first = self.rng.chance(50);
        if let (true, Some(offer)) = (first, with) {
            self.die(offer, LegEnd::Cleared, false);
        }
        if let Some(conn) = conn {
            self.tell(conn, Input::CallerGone);
            if self.rng.chance(50) {
                let linger = self.rng.within(2000, 12_000);
                self.at(linger, Due::Linger(conn));
            }
        }
        if let (false, Some(offer)) = (first, with) {
            self.die(offer, LegEnd::Cleared, false);
        }
    }

    pub(crate) fn ringing(&self, of: impl Fn(&Leg) -> bool) -> Vec<OfferId> {
        self.legs.iter().filter(|l| l.state == State::Ringing && of(l)).map(|l| l.offer).collect()
    }

    pub(crate) fn answer(&mut self, offer: OfferId) {
        if self.leg(offer).state != State::Ringing {
            return;
        }
        self.leg(offer).state = State::Answered;
        let leg = self.leg(offer);
        let (shared, fault, call) = (leg.shared, leg.fault, leg.call.clone());
        self.tell_of(offer, Input::LegAnswered(offer));
        self.tell_of(offer, Input::Originated(offer, Ok(())));
        if let Some(c) = self.caller(&call) {
            c.armed = false;
        }
        if fault == Some(Fault::Parked) || fault == Some(Fault::NotBridged) {
            self.silence(&call);
            if fault == Some(Fault::NotBridged) {
                let delay = self.rng.below(2000);
                self.at(delay, Due::Fail(offer, LegEnd::Cleared));
            }
        } else if shared {
            let delay = self.rng.below(40);
            self.at(delay, Due::Pick(offer));
        } else if self.caller(&call).is_some_and(|c| c.alive && c.with.is_none()) {
            self.silence(&call);
            self.connected(offer);
        }
        // Else the leg is parked, and would wait in silence for ever.
    }

    /// The leg tries to take the caller; another that tries within the next 20 ms may yet get ahead.
    fn pick(&mut self, offer: OfferId) {
        if self.leg(offer).state != State::Answered {
            return;
        }
        let call = self.leg(offer).call.clone();
        let open = self.caller(&call).is_some_and(|c| c.alive && c.with.is_none() && !c.away);
        let rival = self.caller(&call).and_then(|c| c.picking).filter(|o| *o != offer);
        let rival = rival.filter(|o| self.leg(*o).state == State::Answered);
        let end = if self.rng.chance(50) { LegEnd::Elsewhere } else { LegEnd::Cleared };
        if !open || (rival.is_some() && self.rng.chance(50)) {
            return self.die(offer, end, false);
        }
        self.silence(&call);
        self.caller(&call).expect("a caller").picking = Some(offer);
        self.at(20, Due::Join(offer));
        if let Some(loser) = rival {
            self.die(loser, end, false);
        }
    }

    fn join(&mut self, offer: OfferId) {
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
        let c = self.caller(&call).expect("a caller");
        c.with = Some(offer);
        c.away = false;
        match c.conn {
            Some(now) if now == conn => self.tell_of(offer, Input::Bridged(offer)),
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

    pub(crate) fn set_phone(&mut self, agent: &AgentId, phone: Phone) {
        self.phones.iter_mut().filter(|p| p.0 == *agent).for_each(|p| p.1 = phone);
    }

    pub(crate) fn set_fault(&mut self, agent: &AgentId, fault: Fault) {
        self.phones.iter_mut().filter(|p| p.0 == *agent).for_each(|p| p.2 = Some(fault));
    }

    fn create(&mut self, offer: OfferId) {
        let (agent, fault, ring_time) = {
            let l = self.leg(offer);
            if l.state != State::Ordered {
                return;
            }
            l.state = State::Ringing;
            (l.agent.clone(), l.fault, l.ring_time)
        };
        self.tell_of(offer, Input::LegCreated(offer));
        let another =
            |l: &Leg| l.agent == agent && l.offer != offer && !matches!(l.state, State::Ordered | State::Dead);
        let phone = self.phones.iter().find(|p| p.0 == agent).map_or(Phone::Rings, |p| p.1);
        let delay = self.rng.within(1, 30);
        if self.legs.iter().any(another) || phone == Phone::Busy {
            self.at(delay, Due::Fail(offer, LegEnd::Missed(MissCause::Busy)));
        } else if phone == Phone::AnswersAtOnce {
            self.at(delay, Due::Answer(offer));
        }
        if fault != Some(Fault::Deaf) {
            self.at(ring_time, Due::RingOver(offer));
        }
    }

    /// A leg ends; with `transfer` its caller goes on with somebody else.
    fn die(&mut self, offer: OfferId, end: LegEnd, transfer: bool) {
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
        let caller_first = took && !transfer && self.rng.chance(50);
        if caller_first {
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
        } else if took {
            let delay = self.rng.within(100, 20_000);
            self.at(delay, Due::CallerEnds(call));
        }
    }

    /// Whatever the caller hears ends.
    pub(crate) fn silence(&mut self, call: &CallId) {
        let Some(c) = self.caller(call) else { return };
        let over = [c.saying.take(), c.music.take()];
        if let Some(conn) = c.conn {
            over.into_iter().flatten().for_each(|p| self.tell(conn, Input::Played(p)));
        }
    }

    pub(crate) fn is_silent(&self, call: &CallId) -> bool {
        self.callers.iter().any(|c| c.call == *call && c.music.is_none())
    }

    fn say_over(&mut self, call: &CallId, playing: Playing) {
        let Some(c) = self.caller(call).filter(|c| c.saying == Some(playing)) else { return };
        c.saying = None;
        if let Some(conn) = c.conn {
            self.tell(conn, Input::Played(playing));
        }
    }

    /// Somebody outside the queue takes the caller.
    pub(crate) fn steal(&mut self, call: &CallId) {
        self.silence(call);
        let Some(c) = self.caller(call) else { return };
        c.away = true;
        if let Some(conn) = c.conn {
            self.tell(conn, Input::TakenAway);
        }
    }

    /// The connection is lost; the dialplan brings the caller back.
    pub(crate) fn cut(&mut self, call: &CallId) -> Option<Conn> {
        let conn = self.caller(call)?.conn.take()?;
        self.lines[conn.0].open = false;
        self.bring_back(call);
        Some(conn)
    }

    pub(crate) fn bring_back(&mut self, call: &CallId) {
        let Some(c) = self.caller(call) else { return };
        (c.music, c.saying) = (None, None);
        if c.alive && !c.away && c.with.is_none() {
            let delay = self.rng.within(10, 500);
            self.at(delay, Due::Back(call.clone()));
        }
    }

    // What the daemon orders.

    pub(crate) fn ring(&mut self, conn: Conn, offer: OfferId, agent: &AgentId, shared: bool, ring_time: Duration) {
        let call = self.lines[conn.0].call.clone();
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
            ring_time,
            ring_over: self.now + ring_time,
            touched: self.now,
            told_created: false,
            told_answered: false,
            told_ended: false,
            told_gone: false,
            killed: false,
            killed_existing: false,
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

    /// Ends a leg, if it is there.
    pub(crate) fn kill(&mut self, offer: OfferId, end: LegEnd) {
        let now = self.now;
        let leg = self.leg(offer);
        leg.killed = true;
        leg.touched = now;
        let conn = leg.conn;
        match leg.state {
            State::Ordered | State::Dead => self.reply(conn, Input::LegMissing(offer)),
            _ => {
                leg.killed_existing = true;
                if leg.fault != Some(Fault::Deaf) {
                    self.die(offer, end, false);
                }
            }
        }
    }

    pub(crate) fn music(&mut self, call: &CallId, playing: Playing, replace: bool) {
        let c = self.caller(call).expect("a caller");
        let over = c.music.replace(playing);
        if let (true, Some(conn), Some(over)) = (replace, c.conn, over) {
            self.tell(conn, Input::Played(over));
        }
    }

    pub(crate) fn say(&mut self, call: &CallId, playing: Playing) {
        let c = self.caller(call).expect("a caller");
        c.saying = Some(playing);
        let delay = if self.rng.chance(5) { 400_000 } else { self.rng.within(300, 4000) };
        self.at(delay, Due::SayOver(call.clone(), playing));
    }

    pub(crate) fn hush(&mut self, call: &CallId) {
        if let Some(playing) = self.caller(call).and_then(|c| c.saying) {
            self.say_over(call, playing);
        }
    }

    /// The caller is hung up, or goes elsewhere.
    pub(crate) fn part(&mut self, call: &CallId, how: Parted) {
        let Some(conn) = self.caller(call).and_then(|c| c.conn) else { return };
        let unheard = self.rng.chance(10);
        match how {
            Parted::HungUp => self.hang_up_caller(call),
            Parted::Moved => {
                self.silence(call);
                self.caller(call).expect("a caller").away = true;
                if !unheard {
                    self.tell(conn, Input::MovedOn);
                }
                let delay = self.rng.within(100, 20_000);
                self.at(delay, Due::CallerEnds(call.clone()));
            }
            Parted::GivenBack => {
                self.silence(call);
                self.lines[conn.0].last = self.now;
                let told = if unheard { Input::MovedOn } else { Input::Disconnected };
                self.tell(conn, told);
            }
        }
    }

    /// The daemon closes the connection: whoever is still there goes on in the dialplan, and comes back.
    pub(crate) fn close(&mut self, conn: Conn) {
        self.lines[conn.0].open = false;
        let call = self.lines[conn.0].call.clone();
        if self.caller(&call).is_some_and(|c| c.conn == Some(conn)) {
            self.caller(&call).expect("a caller").conn = None;
            self.bring_back(&call);
        }
    }

    /// The daemon has given a leg up; whoever compares finds it within seconds. Gives the agent if there
    /// is a conversation that is left alone.
    pub(crate) fn reap(&mut self, offer: OfferId) -> Option<AgentId> {
        let delay = self.rng.within(0, 3000);
        self.at(delay, Due::Reap(offer));
        let leg = self.leg(offer);
        leg.lost = true;
        (leg.state == State::Talking).then(|| leg.agent.clone())
    }

    /// A conversation nobody watches has ended.
    fn unwatched_over(&mut self) -> Option<AgentId> {
        let over = |l: &&mut Leg| l.lost && l.state == State::Dead && !l.told_gone;
        let leg = self.legs.iter_mut().find(over)?;
        leg.told_gone = true;
        Some(leg.agent.clone())
    }

    /// The daemon is dead: every connection is closed, waiting callers will be brought back, conversations
    /// go on. Ringing legs are ended by whoever comes next.
    pub(crate) fn daemon_died(&mut self) -> Vec<AgentId> {
        self.lines.iter_mut().for_each(|l| l.open = false);
        let calls: Vec<CallId> = self.callers.iter().filter(|c| c.alive).map(|c| c.call.clone()).collect();
        for c in &mut self.callers {
            c.conn = None;
        }
        calls.iter().for_each(|c| self.bring_back(c));
        let legs: Vec<OfferId> = self.legs.iter().filter(|l| l.state != State::Dead).map(|l| l.offer).collect();
        legs.into_iter().filter_map(|o| self.reap(o)).collect()
    }

    /// FreeSWITCH is dead, and everything in it. Gives the connections that end.
    pub(crate) fn died(&mut self) -> Vec<Conn> {
        self.due.clear();
        self.callers.iter_mut().for_each(|c| c.alive = false);
        self.legs.iter_mut().for_each(|l| (l.state, l.told_gone) = (State::Dead, true));
        let open = self.lines.iter_mut().enumerate().filter(|(_, l)| l.open);
        open.map(|(n, l)| {
            l.open = false;
            Conn(n)
        })
        .collect()
    }
}

/// What becomes of a caller whom the daemon lets go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parted {
    HungUp,
    Moved,
    GivenBack,
}
