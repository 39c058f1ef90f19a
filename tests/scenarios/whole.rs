//! What must be true of the facts of every scenario in which everybody has hung up.

use std::collections::HashMap;

use freeswitch_queue::acd::fact::{CancelCause, Fact, Record};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::time::Wall;

use crate::book::Book;

/// One caller in line.
struct Waiting {
    since: (Wall, usize),
    call: CallId,
    open: usize,
    /// No longer in line for an agent: the wait is ending, or the daemon was killed and the caller is not back yet.
    away: bool,
}

#[derive(Default)]
struct Check {
    lines: HashMap<QueueNumber, Vec<Waiting>>,
    entered: HashMap<(QueueNumber, CallId), (Wall, usize)>,
    offers: HashMap<OfferId, AgentId>,
    talks: HashMap<OfferId, AgentId>,
    answered: HashMap<CallId, u32>,
    /// A conversation may have begun while no daemon was there to note it.
    killed: bool,
}

impl Check {
    fn waiting(&mut self, queue: &QueueNumber, call: &CallId) -> Option<&mut Waiting> {
        self.lines.get_mut(queue)?.iter_mut().find(|w| w.call == *call)
    }

    fn leave(&mut self, queue: &QueueNumber, call: &CallId) {
        let line = self.lines.entry(queue.clone()).or_default();
        let at = line.iter().position(|w| w.call == *call).expect("who leaves is in line, and leaves once");
        line.remove(at);
    }

    fn offer(&mut self, offer: OfferId, queue: &QueueNumber, call: &CallId, agent: &AgentId) {
        let busy = self.offers.values().chain(self.talks.values()).any(|a| a == agent);
        assert!(!busy, "Q8: {agent} is offered {call} while held by another");
        self.offers.insert(offer, agent.clone());
        self.waiting(queue, call).expect("only who waits is offered").open += 1;
        let line = &self.lines[queue];
        let mine = line.iter().find(|w| w.call == *call).expect("in line").since;
        let ahead = line.iter().find(|w| w.since < mine && w.open == 0 && !w.away).map(|w| &w.call);
        assert_eq!(ahead, None, "Q4: {call} is offered before somebody who waits longer and is rung for by nobody");
    }

    fn offer_over(&mut self, offer: OfferId, queue: &QueueNumber, call: &CallId) {
        self.offers.remove(&offer).expect("an offer ends once");
        if let Some(waiting) = self.waiting(queue, call) {
            waiting.open -= 1;
        }
    }

    fn killed(&mut self) {
        self.killed = true;
        self.offers.clear();
        for waiting in self.lines.values_mut().flatten() {
            (waiting.open, waiting.away) = (0, true);
        }
    }

    fn take(&mut self, at: usize, record: &Record) {
        match &record.fact {
            Fact::CallEntered { call, queue, first_entered, returned, .. } => {
                let since = match self.entered.get(&(queue.clone(), call.clone())).filter(|_| *returned) {
                    // Who comes back has the old place.
                    Some(since) => *since,
                    None => (if *returned { *first_entered } else { record.at }, at),
                };
                self.entered.insert((queue.clone(), call.clone()), since);
                let line = self.lines.entry(queue.clone()).or_default();
                if *returned {
                    // The daemon was killed: the entry before has no end of its own.
                    line.retain(|w| w.call != *call);
                }
                assert!(line.iter().all(|w| w.call != *call), "{call} enters twice");
                line.push(Waiting { since, call: call.clone(), open: 0, away: false });
            }
            Fact::OfferMade { offer, call, queue, agent } => self.offer(*offer, queue, call, agent),
            Fact::OfferMissed { offer, call, queue, .. } => self.offer_over(*offer, queue, call),
            Fact::OfferCancelled { offer, call, queue, cause, .. } => {
                self.offer_over(*offer, queue, call);
                let ends = matches!(cause, CancelCause::CallTimedOut | CancelCause::Draining);
                if let Some(waiting) = self.waiting(queue, call).filter(|_| ends) {
                    waiting.away = true;
                }
            }
            Fact::CallAnswered { offer, call, queue, agent, .. } => {
                self.offer_over(*offer, queue, call);
                self.leave(queue, call);
                let times = self.answered.entry(call.clone()).or_default();
                *times += 1;
                assert_eq!(*times, 1, "Q8: {call} is answered by a second agent");
                self.talks.insert(*offer, agent.clone());
            }
            Fact::ConversationEnded { offer, .. } => {
                let ended = self.talks.remove(offer);
                assert!(ended.is_some() || self.killed, "a conversation ends once");
            }
            Fact::CallAbandoned { call, queue, .. }
            | Fact::CallTimedOut { call, queue, .. }
            | Fact::CallReturned { call, queue, .. }
            | Fact::CallTaken { call, queue, .. }
            | Fact::CallLost { call, queue, .. } => self.leave(queue, call),
            Fact::CallWentOn { .. }
            | Fact::AgentLoggedIn { .. }
            | Fact::AgentLoggedOut { .. }
            | Fact::WrapUpStarted { .. }
            | Fact::WrapUpEnded { .. } => {}
        }
    }
}

impl Book {
    /// Every call has exactly one disposition, every offer exactly one end, nobody is held twice or overtaken, and
    /// nothing is still going on. Offers that were open when the daemon was killed have no end.
    pub fn assert_whole(&self, kills: &[Wall]) {
        let mut check = Check::default();
        let mut kills = kills.iter().peekable();
        for (at, record) in self.records.iter().enumerate() {
            while kills.next_if(|k| **k <= record.at).is_some() {
                check.killed();
            }
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check.take(at, record)));
            if checked.is_err() {
                let story = self.timed();
                panic!("not as it must be, at the last of these: {:#?}", &story[at.saturating_sub(60)..=at]);
            }
        }
        assert!(check.lines.values().all(Vec::is_empty), "somebody still waits");
        assert!(check.offers.is_empty(), "an offer has no end: {:?}", check.offers);
        assert!(check.talks.is_empty(), "a conversation has no end: {:?}", check.talks);
    }
}
