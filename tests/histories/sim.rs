//! Runs the daemon's core between a simulated FreeSWITCH and the reference model.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freeswitch_queue::acd::call::{Call, Desk, Effect, Input, Leave, Saying, Wire};
use freeswitch_queue::acd::fact::{CancelCause, Fact, Onward, Record, TimeoutCause};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId};
use freeswitch_queue::acd::leg::LegEnd;
use freeswitch_queue::acd::offer::Found;
use freeswitch_queue::acd::time::{Mono, Now};
use freeswitch_queue::dispatch::Dispatcher;
use freeswitch_queue::floor::{CallDesk, Caller, Floor};
use uuid::Uuid;

use crate::ear::Ear;
use crate::journal::{Journal, since_start, wall};
use crate::model::Model;
use crate::rng::Rng;
use crate::step::Office;
use crate::supervise::Supervisor;
use crate::world::{Conn, News, Parted, World};

/// One call's state machine and its surroundings.
pub(crate) struct Session {
    pub(crate) id: CallId,
    conn: Conn,
    pub(crate) call: Call,
    desk: CallDesk,
    pub(crate) ear: Ear,
    /// Offers whose agents have phones, as the daemon learned.
    pub(crate) found: Vec<OfferId>,
    /// Since when another party has the caller, as far as the daemon knows.
    pub(crate) taken: Option<u64>,
    /// The wait timed out, and the caller has not gone on yet.
    pub(crate) to_go_on: bool,
    /// Timeouts alone led the caller to the queue again.
    second_time: bool,
    pub(crate) caller_gone: bool,
    pub(crate) ended: bool,
    disconnected: bool,
    /// The daemon knows that the caller's channel is answered, so that agents can be connected.
    pub(crate) can_be_connected: bool,
    /// The conversation with the agent of this offer.
    pub(crate) talks: Option<OfferId>,
}

pub(crate) struct Sim {
    pub(crate) now: u64,
    /// When the present daemon started.
    pub(crate) born: u64,
    pub(crate) rng: Rng,
    pub(crate) office: Office,
    pub(crate) floor: Arc<Floor>,
    pub(crate) supervisor: Supervisor,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) dispatch_at: Option<Mono>,
    pub(crate) bell: Arc<AtomicBool>,
    pub(crate) facts: Arc<Mutex<Vec<Record>>>,
    pub(crate) wakes: Arc<Mutex<VecDeque<CallId>>>,
    pub(crate) sessions: BTreeMap<Conn, Session>,
    pub(crate) world: World,
    pub(crate) model: Model,
    pub(crate) journal: Journal,
    pub(crate) callers: u64,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) lives: u64,
}

pub(crate) fn open(bell: &Arc<AtomicBool>, facts: &Arc<Mutex<Vec<Record>>>, life: u64) -> (Arc<Floor>, Dispatcher) {
    let (bell, facts) = (bell.clone(), facts.clone());
    let ring = Box::new(move || bell.store(true, Ordering::Relaxed));
    let floor = Arc::new(Floor::new(ring, Box::new(move |r, _| facts.lock().unwrap().push(r))));
    let mut made = 0;
    let new_offer = move || {
        made += 1;
        OfferId(Uuid::from_u64_pair(life, made))
    };
    (floor.clone(), Dispatcher::new(floor, Box::new(new_offer)))
}

impl Sim {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let (bell, facts) = (Arc::default(), Arc::default());
        let (floor, dispatcher) = open(&bell, &facts, 0);
        let mut rng = Rng::branch(seed, 3);
        // FreeSWITCH accepts more sessions than a history needs, or very few.
        let sessions = if rng.chance(70) { 30 } else { 4 };
        floor.set_sessions_per_second(sessions);
        let model = Model { sessions, ..Model::default() };
        let mut sim = Self {
            now: 0,
            born: 0,
            rng,
            office: Office::new(),
            floor,
            supervisor: Supervisor::default(),
            dispatcher,
            dispatch_at: None,
            bell,
            facts,
            wakes: Arc::default(),
            sessions: BTreeMap::new(),
            world: World::new(seed),
            model,
            journal: Journal::default(),
            callers: 0,
            trace: traced.then(Vec::new),
            lives: 0,
        };
        sim.floor.resume_line(None, sim.time());
        sim.set_supervised(true);
        sim.reload();
        sim
    }

    pub(crate) fn time(&self) -> Now {
        Now { mono: Mono(Duration::from_millis(self.now - self.born)), wall: wall(self.now) }
    }

    fn moment(&self, at: Mono) -> u64 {
        self.born + at.0.as_millis() as u64
    }

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let text = text().replace("00000000-0000-", "");
            trace.push(format!("{:>8} {text}", self.now));
        }
    }

    // The state machine of one call.

    pub(crate) fn feed(&mut self, conn: Conn, input: Input) {
        let Some(mut s) = self.sessions.remove(&conn) else { return };
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.note(|| format!("{} <- {input:?}", s.id));
            self.hear(&mut s, &input);
            let tick = input == Input::Tick;
            let effects = s.call.handle(input, self.time());
            let due = s.call.deadline().map(|at| self.moment(at));
            assert!(!tick || due.is_none_or(|at| at > self.now), "a deadline of {} stays after it was due", s.id);
            for effect in effects {
                self.note(|| format!("{} -> {effect:?}", s.id));
                match effect {
                    Effect::Wire(wire) => self.wire(conn, &mut s, wire),
                    Effect::Desk(wish) => inputs.extend(self.wish(&mut s, wish)),
                }
            }
        }
        if s.call.is_finished() {
            assert_eq!(s.call.offers().count(), 0, "{} is finished and has legs", s.id);
            assert_eq!(s.call.deadline(), None, "{} is finished and has a deadline", s.id);
        } else {
            self.sessions.insert(conn, s);
        }
    }

    fn hear(&mut self, s: &mut Session, input: &Input) {
        match input {
            Input::Played(playing) => s.ear.told_over(*playing, self.now),
            Input::CutOff(playing) => s.ear.told_cut_off(*playing, self.now),
            Input::TakenAway => s.taken = s.taken.or(Some(self.now)),
            Input::CallerAnswered => s.can_be_connected = true,
            Input::Phones(offer, Found::Dialled | Found::Registered(1..)) => s.found.push(*offer),
            Input::CallerGone => s.caller_gone = true,
            Input::CallerEnded => (s.caller_gone, s.ended) = (true, true),
            Input::Disconnected => (s.caller_gone, s.disconnected) = (true, true),
            _ => {}
        }
    }

    fn wish(&mut self, s: &mut Session, wish: Desk) -> Option<Input> {
        let done = wish.clone();
        let answer = s.desk.carry_out(wish, self.time());
        match &answer {
            Some(Input::Entered(Some((_, rank, since)))) => {
                if let Desk::Enter(_, Some(before)) = &done {
                    assert_eq!(rank.entered, before.entered, "Q19: {} loses the place in the line", s.id);
                }
                let queue = s.desk.queue().expect("a queue").clone();
                let returned = matches!(&done, Desk::Enter(_, Some(_)));
                let circle = !returned && self.world.caller(&s.id).is_some_and(|c| c.visited.contains(&queue));
                let since = self.time().wall_of(*since);
                let c = self.world.caller(&s.id).expect("a caller");
                let who = (c.own.clone(), c.head_start);
                self.model.entered(s.id.clone(), queue.clone(), (*rank, since), who, (returned, circle), self.now);
                s.ear.entered(self.model.queue(&queue), returned, self.now);
                if let Some(c) = self.world.caller(&s.id) {
                    (c.queue, c.visited) = (queue, s.call.visited().to_vec());
                    c.first_entered = s.desk.first_entered();
                }
            }
            Some(Input::Refused(settings, _, cause)) => {
                let queue = settings.number.clone();
                let again = self.world.caller(&s.id).and_then(|c| c.refused);
                let own = self.world.caller(&s.id).and_then(|c| c.own.clone());
                let circle = self.world.caller(&s.id).is_some_and(|c| c.visited.contains(&queue));
                match &done {
                    // Q38: a place in the line is never refused; only the refusal itself stands over a restart.
                    Desk::Enter(_, Some(_)) => assert_eq!(again, Some(*cause), "Q38: {} loses the place", s.id),
                    _ => self.model.refused(&s.id, &queue, own.as_ref(), self.now),
                }
                (s.to_go_on, s.second_time) = (true, circle && again.is_none());
                s.ear.entered(self.model.queue(&queue), false, self.now);
                if let Some(c) = self.world.caller(&s.id) {
                    (c.queue, c.visited) = (queue, s.call.visited().to_vec());
                    c.first_entered = s.desk.first_entered();
                }
            }
            Some(Input::Looked { position, .. }) => s.ear.looked(*position, self.now),
            Some(Input::Entered(None)) => {
                let gone = !matches!(&done, Desk::Enter(q, _) if self.model.queue(q).is_some());
                assert!(gone, "{} is turned away from a queue that exists", s.id);
            }
            _ => {}
        }
        if done == Desk::Leave(freeswitch_queue::acd::call::Leave::Lost) {
            // No survey here finds out whether the call itself is gone.
            self.floor.give_up(&s.id, None, self.time());
        }
        self.take_facts();
        if matches!(answer, Some(Input::Entered(Some(_)) | Input::Refused(..))) {
            self.journal.offered();
        }
        match done {
            Desk::Close(_) => self.model.closed(&s.id, s.taken.is_some(), self.now),
            Desk::Gone(offer) | Desk::Ended(offer, _) => {
                for leg in self.world.legs_of(offer) {
                    assert!(leg.told_gone, "Q8: {} is released while a leg may exist: {leg:?}", leg.agent);
                }
                s.talks = s.talks.filter(|o| *o != offer);
                self.model.released(offer);
            }
            Desk::Lost(offer) => {
                let faulty = s.disconnected || self.world.legs_of(offer).any(|l| l.is_faulty());
                assert!(faulty, "healthy legs are given up: {:?}", self.world.legs_of(offer).collect::<Vec<_>>());
                self.world.legs_of(offer).for_each(|l| l.lost = true);
                self.world.asked(offer).expect("the offer was made").lost = true;
                s.talks = s.talks.filter(|o| *o != offer);
                // With a supervisor, the agent stays held until the leg is gone.
                if self.supervisor.next.is_none() {
                    self.model.released(offer);
                }
            }
            Desk::Answered(offer) => (s.talks, s.taken) = (Some(offer), None),
            Desk::Leave(Leave::Abandoned | Leave::Ended) => {
                let given_up = done == Desk::Leave(Leave::Abandoned);
                assert_ne!(given_up, s.ended, "Q106: whether {} has abandoned the call", s.id);
            }
            Desk::Leave(Leave::Taken) => {
                let armed = self.world.caller(&s.id).is_some_and(|c| c.armed && c.conn == Some(s.conn));
                assert!(!armed, "closing the connection would cut off {}, whom another party has", s.id);
            }
            Desk::Leave(leave) => {
                s.to_go_on = matches!(leave, Leave::TimedOut(_));
                s.second_time = leave == Leave::TimedOut(TimeoutCause::SecondTime);
            }
            Desk::WentOn(onward) => {
                assert!(!s.second_time || onward == Onward::HungUp, "Q13: {} goes round in a loop", s.id);
                assert!(s.to_go_on, "{} goes on without having timed out", s.id);
                s.ear.may_go_on(self.now);
                s.to_go_on = false;
            }
            _ => {}
        }
        answer
    }

    fn wire(&mut self, conn: Conn, s: &mut Session, wire: Wire) {
        let waits = self.model.callers.iter().find(|c| c.call == s.id);
        let queue = waits.map(|c| c.queue.clone());
        let closing = waits.is_none_or(|c| c.closed.is_some());
        let position = self.model.position(&s.id);
        let ends = matches!(wire, Wire::HangUp(_) | Wire::Transfer(_) | Wire::Say(_, Saying::Message(_)));
        assert!(!ends || s.taken.is_none(), "{} is with another party, and the daemon sends the caller away", s.id);
        s.ear.order(&wire, queue.as_ref().and_then(|q| self.model.queue(q)), position, closing, self.now);
        match wire {
            Wire::Music { playing, replace, .. } => self.world.music(&s.id, playing, replace),
            Wire::Prepare(rank) => {
                let c = self.world.caller(&s.id).expect("a caller");
                (c.rank, c.armed, c.refused) = (Some(rank), true, s.desk.refused());
            }
            Wire::Remember(rank) => {
                let c = self.world.caller(&s.id).expect("a caller");
                (c.rank, c.refused) = (Some(rank), s.desk.refused());
            }
            Wire::Say(playing, _) => self.world.say(&s.id, playing),
            Wire::Hush => self.world.hush(&s.id),
            Wire::FindPhones(offer, agent) => {
                let ring_time = queue.as_ref().and_then(|q| self.model.queue(q)).map(|q| q.ring_time);
                self.world.find_phones(conn, offer, &agent, ring_time.expect("a queue"));
            }
            Wire::Originate { leg, agent, first_wins } => {
                assert!(s.can_be_connected, "a phone rings for {}, who cannot be connected yet", s.id);
                self.world.originate(conn, leg, &agent, first_wins);
            }
            Wire::CallOff(id, cause) => {
                let leg = self.world.leg(id);
                if cause == CancelCause::LoggedOut && !leg.killed {
                    let (agent, queue) = (leg.agent.clone(), queue.expect("a queue"));
                    assert!(self.model.has_left(&agent, &queue, self.now), "Q15: {agent} did not log out of {queue}");
                }
                self.world.call_off(id, cause);
            }
            Wire::EndLeg(id) => self.world.kill(id, LegEnd::Cleared),
            Wire::Rearm => {
                let other = self.world.legs.iter().find(|l| l.conn == conn && l.is_connecting());
                assert!(other.is_none(), "Q19: the death of the daemon would cut a conversation: {other:?}");
                self.world.caller(&s.id).expect("a caller").armed = true;
            }
            Wire::Transfer(_) => self.world.part(&s.id, Parted::Moved),
            Wire::HangUp(_) => self.world.part(&s.id, Parted::HungUp),
            Wire::GiveBack => self.world.part(&s.id, Parted::GivenBack),
            Wire::Close => self.world.close(conn),
            Wire::RingOut(id, cause) => self.world.ring_out(id, cause),
            Wire::LetGo => self.world.caller(&s.id).expect("a caller").armed = false,
            Wire::Answer => self.world.answer_caller(&s.id),
            Wire::FindTaker => self.world.find_taker(conn),
            Wire::Connected => {}
        }
    }

    /// Passes the recorded facts to the journal and to the reference model.
    pub(crate) fn take_facts(&mut self) {
        let records = std::mem::take(&mut *self.facts.lock().unwrap());
        for record in records {
            self.note(|| format!("   {:?}", record.fact));
            // An end that went unseen is recorded later than it happened.
            let late = matches!(record.fact, Fact::ConversationEnded { .. } | Fact::WrapUpStarted { .. });
            let now = wall(self.now);
            assert!(record.at == now || (late && record.at < now), "a record has the wrong time: {record:?}");
            self.journal.take(&record);
            self.model.fact(&record.fact, since_start(record.at), self.now);
            self.world.check_cause(&record.fact);
            if let Fact::OfferCancelled { offer, .. } = &record.fact
                && self.world.asked(*offer).is_none()
            {
                // No phone rang yet.
                self.model.released(*offer);
            }
        }
    }

    pub(crate) fn begin(&mut self, call: &CallId, returned: bool) {
        let conn = self.world.connect(call);
        let c = self.world.caller(call).expect("a caller");
        let number = "0791234567".into();
        let (first_entered, own, head_start, came) = (c.first_entered, c.own.clone(), c.head_start, Duration::ZERO);
        let refused = c.refused;
        let caller = Caller { number, first_entered, returned, refused, own, head_start, came, ..Caller::default() };
        let (queue, visited, rank) = (c.queue.clone(), c.visited.clone(), c.rank);
        let answered = c.answered;
        let wakes = self.wakes.clone();
        let woken = call.clone();
        let wake = Box::new(move || wakes.lock().unwrap().push_back(woken.clone()));
        if !self.floor.admit(call, caller.number.clone(), wake) {
            // The call's previous session is not over yet; the dialplan will try again.
            self.world.close(conn);
            return;
        }
        let session = Session {
            id: call.clone(),
            conn,
            call: match rank {
                Some(rank) => Call::back(queue, visited, rank),
                None => Call::new(queue, visited, None),
            },
            desk: CallDesk::new(self.floor.clone(), call.clone(), caller, self.rng.next()),
            ear: Ear::default(),
            taken: None,
            found: Vec::new(),
            to_go_on: false,
            second_time: false,
            caller_gone: false,
            ended: false,
            disconnected: false,
            can_be_connected: false,
            talks: None,
        };
        self.sessions.insert(conn, session);
        if answered {
            self.feed(conn, Input::CallerAnswered);
        }
        self.feed(conn, Input::Begin);
    }

    // Time.

    pub(crate) fn dispatch(&mut self) {
        self.bell.store(false, Ordering::Relaxed);
        self.dispatch_at = self.dispatcher.run(self.time());
        self.take_facts();
        let at = self.dispatch_at.map(|at| self.moment(at));
        assert!(at.is_none_or(|at| at > self.now), "the dispatcher's deadline lies in the past");
    }

    /// Runs everything that is due now, in random order, until nothing is left.
    pub(crate) fn settle(&mut self) {
        self.world.now = self.now;
        for round in 0.. {
            assert!(round < 5000, "the simulation never comes to rest");
            let due = self.due_sessions();
            let wakes = usize::from(!self.wakes.lock().unwrap().is_empty());
            let bell = usize::from(self.bell.load(Ordering::Relaxed) || self.dispatch_due());
            let world = usize::from(self.world.next_moment().is_some_and(|at| at <= self.now));
            let survey = usize::from(self.supervisor.next.is_some_and(|at| at <= self.now));
            let all = due.len() + wakes + bell + survey + world;
            if all == 0 {
                break;
            }
            let n = self.rng.below(all as u64) as usize;
            if n < due.len() {
                self.feed(due[n], Input::Tick);
            } else if n < due.len() + wakes {
                self.wake();
            } else if n < due.len() + wakes + bell {
                self.dispatch();
            } else if n < due.len() + wakes + bell + survey {
                self.survey();
            } else if let Some(news) = self.world.pop() {
                self.pass_on(news);
            }
        }
        self.check();
    }

    fn dispatch_due(&self) -> bool {
        self.dispatch_at.is_some_and(|at| self.moment(at) <= self.now)
    }

    fn due_sessions(&self) -> Vec<Conn> {
        let due = |s: &Session| s.call.deadline().is_some_and(|at| self.moment(at) <= self.now);
        self.sessions.iter().filter(|(_, s)| due(s)).map(|(c, _)| *c).collect()
    }

    fn wake(&mut self) {
        let call = self.wakes.lock().unwrap().pop_front();
        let conn = self.sessions.iter().find(|(_, s)| Some(&s.id) == call.as_ref()).map(|(c, _)| *c);
        if let Some(conn) = conn {
            self.feed(conn, Input::Woken);
        }
    }

    fn pass_on(&mut self, news: News) {
        match news {
            News::Tell(conn, input) => self.feed(conn, input),
            // A draining daemon accepts no more calls.
            News::Back(call) if self.model.draining => self.world.bring_back(&call),
            News::Back(call) => self.begin(&call, true),
            News::Again(call) => {
                self.note(|| format!("{call} is passed on to a queue"));
                self.journal.anew(&call);
                self.world.anew(&call);
                self.begin(&call, false);
            }
        }
    }

    pub(crate) fn set_private(&mut self, agent: &AgentId, private: bool) {
        self.note(|| format!("{agent} on another call: {private}"));
        self.floor.set_elsewhere(agent, private.then(|| self.time().mono.into()));
        self.model.set_private(agent, private);
    }

    /// The next moment at which something is due in the daemon, FreeSWITCH or the reference model.
    pub(crate) fn next_moment(&self) -> Option<u64> {
        let sessions = self.sessions.values().filter_map(|s| s.call.deadline()).chain(self.dispatch_at);
        let core = sessions.map(|at| self.moment(at));
        let ears = self.sessions.values().filter_map(|s| s.ear.next_moment(self.now));
        core.chain(ears)
            .chain(self.world.next_moment())
            .chain(self.supervisor.next)
            .chain(self.model.next_moment(self.now))
            .min()
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        self.settle();
        while let Some(at) = self.next_moment().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Lets time pass until `before` milliseconds ahead of the next due action, if that is soon.
    pub(crate) fn pass_until(&mut self, before: u64) {
        self.settle();
        let Some(at) = self.next_moment().filter(|at| *at < self.now + 60_000) else { return };
        let at = at.saturating_sub(before);
        if at > self.now {
            self.pass(at - self.now - 1);
            self.now = at;
            self.world.now = at;
        }
    }
}
