//! The rules for the facts of all runs of the daemon, once all callers have hung up.

use std::collections::HashMap;
use std::time::Duration;

use freeswitch_queue::acd::fact::{Fact, Record};
use freeswitch_queue::acd::ids::{AgentId, CallId, QueueNumber};
use freeswitch_queue::acd::time::Wall;

use crate::book::Book;
use crate::ledger::{Ledger, Lives};

/// How a call's last wait ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Returned,
    TimedOut,
    /// Somebody has the caller, who may be passed on.
    Had,
    Gone,
}

#[derive(Debug)]
struct Wait {
    queue: QueueNumber,
    /// The time the call entered this queue, in any run.
    since: (Wall, usize),
    head_start: Duration,
    end: End,
}

struct Rules {
    ledger: Ledger,
    waits: HashMap<CallId, Wait>,
    wraps: HashMap<AgentId, Wall>,
    lives: Lives,
}

impl Book {
    /// Every call has exactly one disposition, every offer exactly one end, no agent is held twice, no caller is
    /// overtaken, and nothing is left open. `kills` has the times of the daemon's deaths.
    pub fn assert_whole(&self, kills: &[Wall], lives: Lives) {
        let (waits, wraps) = (HashMap::new(), HashMap::new());
        let mut rules = Rules { ledger: Ledger::new(lives), waits, wraps, lives };
        let mut kills = kills.iter().peekable();
        for (at, record) in self.records.iter().enumerate() {
            while kills.next_if(|k| record.at > **k).is_some() {
                rules.ledger.died();
            }
            if let Err(why) = rules.take(at, record) {
                let story = self.timed();
                panic!("{why}\nthe last of these breaks a rule: {:#?}", &story[at.saturating_sub(60)..=at]);
            }
        }
        rules.ledger.whole().unwrap();
        for (call, wait) in &rules.waits {
            assert!(wait.end != End::Returned, "Q23: {call} was given back and has no disposition: {wait:?}");
        }
    }
}

/// An error unless it holds.
fn hold(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

impl Rules {
    fn take(&mut self, at: usize, record: &Record) -> Result<(), String> {
        let fact = &record.fact;
        match fact {
            Fact::CallEntered { call, queue, returned, first_entered, head_start, .. } => {
                // A caller whom the dialplan held first has waited since then.
                let held = *returned || !self.waits.contains_key(call);
                self.enters(call, queue, *returned, (if held { *first_entered } else { record.at }, at))?;
                self.has_head_start(call, *head_start);
            }
            Fact::HeadStartChanged { call, head_start, .. } => self.has_head_start(call, *head_start),
            Fact::OfferMade { call, queue, agent, .. } => {
                let busy = self.ledger.holds(agent);
                hold(!busy, || format!("Q8: {agent} is offered {call} at {} while held by another", record.at.0))?;
                let rests = self.wraps.get(agent).is_some_and(|until| record.at < *until);
                hold(!rests, || format!("Q9: {agent} is in wrap-up"))?;
                self.overtakes(call, queue, agent)?;
            }
            Fact::WrapUpStarted { agent, until, .. } => drop(self.wraps.insert(agent.clone(), *until)),
            Fact::WrapUpEnded { agent } => drop(self.wraps.remove(agent)),
            Fact::CallTimedOut { call, .. } => self.ends(call, End::TimedOut),
            Fact::CallReturned { call, .. } => self.ends(call, End::Returned),
            Fact::CallAnswered { call, .. } | Fact::CallTaken { call, .. } => self.ends(call, End::Had),
            Fact::CallAbandoned { call, .. } | Fact::CallLost { call, .. } => self.ends(call, End::Gone),
            _ => {}
        }
        self.ledger.take(fact)
    }

    fn ends(&mut self, call: &CallId, end: End) {
        if let Some(wait) = self.waits.get_mut(call) {
            wait.end = end;
        }
    }

    fn has_head_start(&mut self, call: &CallId, head_start: Duration) {
        if let Some(wait) = self.waits.get_mut(call) {
            wait.head_start = head_start;
        }
    }

    fn enters(&mut self, call: &CallId, queue: &QueueNumber, returned: bool, at: (Wall, usize)) -> Result<(), String> {
        let mut since = at;
        if let Some(wait) = self.waits.get(call) {
            // A timed out call may enter the next queue, or return when the daemon died during its message.
            // A caller who is transferred, by an agent or another party, enters another queue as a new call.
            let passed_on = !returned && wait.queue != *queue && wait.end == End::Had;
            let may = wait.end == End::TimedOut || (returned && wait.end == End::Returned) || passed_on;
            hold(may, || format!("{call} enters {queue} (returned: {returned}) after {wait:?}"))?;
            if wait.queue == *queue {
                since = wait.since;
            }
        } else {
            hold(!returned || self.lives.losing, || format!("{call} is back, and never came"))?;
        }
        self.waits
            .insert(call.clone(), Wait { queue: queue.clone(), since, head_start: Duration::ZERO, end: End::Open });
        Ok(())
    }

    /// Q4, Q25: no caller who is ahead is passed over.
    fn overtakes(&self, call: &CallId, queue: &QueueNumber, agent: &AgentId) -> Result<(), String> {
        let rank = |wait: &Wait| (wait.since.0.before(wait.head_start), wait.since.1);
        let Some(mine) = self.waits.get(call).map(rank) else { return Ok(()) };
        let ahead = |(other, wait): &(&CallId, &Wait)| *other != call && wait.queue == *queue && rank(wait) < mine;
        let other = self.waits.iter().filter(ahead).find(|(other, _)| self.ledger.is_unserved(other, queue));
        other.map_or(Ok(()), |(other, _)| Err(format!("Q4: {call} is offered {agent} before {other}, who is ahead")))
    }
}
