//! Plays the steps of a history, and checks that nothing is left over at its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use freeswitch_queue::acd::call::Input;
use freeswitch_queue::acd::fact::Asker;
use freeswitch_queue::acd::ids::{AgentId, CallId, QueueNumber};
use freeswitch_queue::acd::restored::{Alive, Restored};
use freeswitch_queue::floor::{Doing, LoginChange};

use crate::journal::{Counts, wall};
use crate::sim::{Sim, open};
use crate::step::{Step, agent_id, queue_number};
use crate::world::Conn;

/// The most callers at a time.
const MOST_CALLERS: usize = 12;

impl Sim {
    pub(crate) fn reload(&mut self) {
        let (agents, queues) = (self.office.agents(), self.office.queues());
        self.model.configured(&agents, queues.clone(), self.now);
        self.floor.configure(&agents, &queues, self.time());
        for s in self.sessions.values_mut() {
            let queue = self.model.callers.iter().find(|c| c.call == s.id).map(|c| c.queue.clone());
            s.ear.configured(queue.and_then(|q| self.model.queue(&q)), self.now);
        }
        self.take_facts();
        self.model.dismissed(&agents);
    }

    fn somebody_calls(&mut self, queue: u8, own: Option<AgentId>, head_start: u64) {
        self.callers += 1;
        let call = CallId::new(&format!("c{}", self.callers)).unwrap();
        self.world.call(call.clone(), queue_number(queue), own, Duration::from_millis(head_start));
        self.begin(&call, false);
    }

    fn restart(&mut self) {
        self.take_facts();
        self.sessions.clear();
        // A killed daemon records none of these facts.
        self.facts.lock().unwrap().clear();
        self.journal.interrupted();
        self.wakes.lock().unwrap().clear();
        let line = self.floor.line(self.time());
        self.born = self.now;
        self.lives += 1;
        (self.floor, self.dispatcher) = open(&self.bell, &self.facts, self.lives);
        let (agents, queues) = (self.office.agents(), self.office.queues());
        let takes_part =
            |a: &AgentId, q: &QueueNumber| queues.iter().any(|s| s.number == *q && s.participants.contains(a));
        self.journal.logins.retain(|l| takes_part(&l.0, &l.1));
        self.model.restarted(&agents, queues.clone(), &self.journal, self.now);
        self.floor.set_sessions_per_second(self.model.sessions);
        self.floor.configure(&agents, &queues, self.time());
        let j = &self.journal;
        let restored = Restored {
            logins: j.logins.clone(),
            last_conversation_end: {
                let mut ends = j.ends.clone();
                ends.sort_by_key(|(_, at)| *at);
                ends
            },
            last_offered: j.pointers.clone(),
            shifts: j.shifts.clone(),
            wrap_ups: j.wraps.clone(),
            conversations: j.conversations.clone(),
            alive: Some(Alive { wall: wall(self.now), line }),
            ..Restored::default()
        };
        self.floor.resume(&restored, true, self.time());
        self.model.agents.iter().filter_map(|a| a.offer).for_each(|o| self.journal.adopted(o));
        self.world.daemon_died();
        self.set_supervised(true);
        self.dispatch();
    }

    fn drain(&mut self) {
        self.settle();
        self.model.draining = true;
        let conns: Vec<Conn> = self.sessions.keys().copied().collect();
        for conn in conns {
            self.feed(conn, Input::Drain);
        }
        let ms = self.rng.below(1500);
        self.pass(ms);
        self.restart();
    }

    fn switch_crash(&mut self) {
        self.settle();
        for conn in self.world.died() {
            self.feed(conn, Input::Disconnected);
        }
        let agents: Vec<AgentId> = self.model.agents.iter().map(|a| a.id.clone()).collect();
        for agent in agents {
            self.set_private(&agent, false);
        }
    }

    fn apply(&mut self, step: Step) {
        self.note(|| format!("== {step:?}"));
        self.world.now = self.now;
        let time = self.time();
        let waiting = self.world.waiting();
        let nth = |n: u8| waiting.get(usize::from(n) % waiting.len().max(1)).cloned();
        match step {
            Step::Wait(ms) => self.pass(ms),
            Step::Until(before) => self.pass_until(before),
            Step::Call(q) if waiting.len() < MOST_CALLERS => self.somebody_calls(q, None, 0),
            Step::CallFrom(a, q) if waiting.len() < MOST_CALLERS => self.somebody_calls(q, Some(agent_id(a)), 0),
            Step::CallAhead(q, ms) if waiting.len() < MOST_CALLERS => self.somebody_calls(q, None, ms),
            Step::Call(_) | Step::CallFrom(..) | Step::CallAhead(..) => {}
            Step::GiveUp(n) => nth(n).iter().for_each(|c| self.world.hang_up_caller(c)),
            Step::Press(n) => nth(n).iter().for_each(|c| self.world.press(c)),
            Step::Login(a, q) => {
                let wanted = self.model.participates(&agent_id(a), &queue_number(q));
                let done = self.floor.log_in(&agent_id(a), &queue_number(q), &Asker::Operator, time);
                assert_eq!(matches!(done, LoginChange::Refused(_)), !wanted, "Q14: only participants may log in");
            }
            Step::Logout(a, q) => {
                self.floor.log_out(&agent_id(a), &queue_number(q), &Asker::Operator, time);
            }
            Step::CallOff(a) => {
                let _rang = self.floor.call_off_offer(&agent_id(a), time);
            }
            Step::Answer(a) => {
                let legs = self.world.some_ringing(&agent_id(a));
                legs.into_iter().for_each(|l| self.world.answer(l));
            }
            Step::AnswerAll(n) => {
                let legs = nth(n).map(|c| self.world.ringing(|l| l.call == c));
                legs.into_iter().flatten().for_each(|l| self.world.answer(l));
            }
            Step::Decline(a) => {
                let legs = self.world.some_ringing(&agent_id(a));
                legs.into_iter().for_each(|l| self.world.decline(l));
            }
            Step::HangUp(a, transfer) => self.world.leave(&agent_id(a), transfer),
            Step::Private(a, yes) => self.set_private(&agent_id(a), yes),
            Step::Reachable(a, yes) => {
                self.floor.set_reachable(&agent_id(a), yes, time);
                self.model.set_reachable(&agent_id(a), yes, self.now);
            }
            Step::Phone(a, phone) => self.world.account(&agent_id(a)).first = phone,
            Step::Phones(a, phones, others) => {
                let account = self.world.account(&agent_id(a));
                (account.phones, account.others) = (phones, others);
            }
            Step::Dial(a, yes) => self.world.account(&agent_id(a)).dialled = yes,
            Step::Fault(a, fault) => self.world.account(&agent_id(a)).fault = Some(fault),
            Step::Write(q, change) => self.office.write(q, change),
            Step::Hire(a, yes) => self.office.hire(a, yes),
            Step::Reload => self.reload(),
            Step::Cut(n) => {
                let cut = nth(n).and_then(|c| self.world.cut(&c));
                if let Some(conn) = cut {
                    self.feed(conn, Input::Disconnected);
                }
            }
            Step::Steal(n) => nth(n).iter().for_each(|c| self.world.steal(c)),
            Step::Silence(n) => nth(n).iter().for_each(|c| self.world.silence(c)),
            Step::Supervised(yes) => self.set_supervised(yes),
            Step::Drain => self.drain(),
            Step::Crash => self.restart(),
            Step::SwitchCrash => self.switch_crash(),
        }
        self.take_facts();
    }

    /// Ends all calls, after which nothing may be left anywhere.
    fn go_home(&mut self) {
        self.note(|| "== all calls end".to_owned());
        self.settle();
        for _ in 0..2 {
            let calls: Vec<CallId> = self.world.callers.iter().map(|c| c.call.clone()).collect();
            calls.iter().for_each(|c| self.world.hang_up_caller(c));
            self.pass(400_000);
        }
        assert!(self.sessions.is_empty(), "calls that never end: {:?}", self.sessions.keys());
        assert_eq!(self.floor.calls(), 0, "calls stay on the floor");
        let view = self.floor.view(self.time());
        let held = view.agents.iter().find(|a| a.call.is_some());
        assert!(held.is_none(), "Q8: an agent is never released: {held:?}");
        assert!(view.queues.iter().all(|q| q.waiting.is_empty()), "a caller stays in a queue");
        self.journal.check_over();
    }

    /// Compares the live picture with the reference.
    fn compare(&self) {
        let view = self.floor.view(self.time());
        for a in &self.model.agents {
            let seen = view.agents.iter().find(|v| v.id == a.id).expect("the agent is on the floor");
            assert_eq!(seen.call.is_some(), a.offer.is_some(), "Q8: whether {} is held: {seen:?}", a.id);
            assert_eq!(matches!(seen.doing, Doing::Talking { .. }), a.talking, "the activity of {}: {seen:?}", a.id);
            let mut logins = a.logins.clone();
            logins.sort();
            assert_eq!(seen.logins, logins, "Q14: the logins of {}", a.id);
        }
        for q in &view.queues {
            let wait: Vec<&CallId> =
                self.model.callers.iter().filter(|c| c.queue == q.number).map(|c| &c.call).collect();
            assert_eq!(q.waiting.iter().map(|w| &w.call).collect::<Vec<_>>(), wait, "Q4: the line of {}", q.number);
        }
    }
}

/// The failure of a history.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) why: String,
    pub(crate) trace: Vec<String>,
}

/// Runs one history; `seed` determines its delays and orders.
pub(crate) fn run(seed: u64, steps: &[Step], traced: bool) -> Result<Counts, Failure> {
    let mut sim = Sim::new(seed, traced);
    let done = catch_unwind(AssertUnwindSafe(|| {
        for step in steps {
            sim.apply(*step);
        }
        sim.settle();
        sim.compare();
        sim.go_home();
    }));
    match done {
        Ok(()) => Ok(sim.journal.counts),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let why = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default();
            sim.facts.clear_poison();
            let facts = std::mem::take(&mut *sim.facts.lock().unwrap());
            let mut trace = sim.trace.unwrap_or_default();
            trace.extend(facts.iter().map(|r| format!("         . {:?}", r.fact)));
            Err(Failure { why, trace })
        }
    }
}
