//! The rules for the facts of all runs of the daemon, once all callers have hung up.

use std::collections::HashMap;

use freeswitch_queue::acd::fact::{Fact, Record};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::time::Wall;

use crate::book::Book;

/// The end of a call's last wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Returned,
    TimedOut,
    Answered,
    Taken,
    Gone,
}

#[derive(Debug)]
struct Call {
    queue: QueueNumber,
    /// The time the call entered this queue, in any run.
    since: (Wall, usize),
    end: End,
    /// In line in this run.
    here: bool,
    offers: Vec<OfferId>,
}

/// How the daemon runs and dies.
#[derive(Clone, Copy, Default)]
pub struct Lives {
    /// A death loses the last facts.
    pub losing: bool,
    /// The daemon has no link.
    pub blind: bool,
}

#[derive(Default)]
struct Ledger {
    calls: HashMap<CallId, Call>,
    offers: HashMap<OfferId, AgentId>,
    /// Offers that were open when the daemon died: their phones ring without a caller, and they still need an outcome.
    orphaned: HashMap<OfferId, AgentId>,
    talks: HashMap<OfferId, AgentId>,
    wraps: HashMap<AgentId, Wall>,
    lives: Lives,
}

impl Book {
    /// Every call has exactly one disposition, every offer exactly one end, no agent is held twice, no caller is
    /// overtaken, and nothing is left open. `kills` has the times of the daemon's deaths.
    pub fn assert_whole(&self, kills: &[Wall], lives: Lives) {
        let mut ledger = Ledger { lives, ..Ledger::default() };
        let mut kills = kills.iter().peekable();
        for (at, record) in self.records.iter().enumerate() {
            while kills.next_if(|k| record.at > **k).is_some() {
                ledger.killed();
            }
            let taken = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ledger.take(at, record)));
            if taken.is_err() {
                let story = self.timed();
                panic!("the last of these breaks a rule: {:#?}", &story[at.saturating_sub(60)..=at]);
            }
        }
        for (call, c) in &ledger.calls {
            assert!(!matches!(c.end, End::Open | End::Returned), "Q23: {call} has no disposition: {c:?}");
        }
        assert!(ledger.offers.is_empty(), "an offer has no end: {:?}", ledger.offers);
        assert!(ledger.orphaned.is_empty(), "Q110: an offer from before a death has no end: {:?}", ledger.orphaned);
        assert!(ledger.talks.is_empty(), "a conversation has no end: {:?}", ledger.talks);
    }
}

impl Ledger {
    fn killed(&mut self) {
        self.orphaned.extend(self.offers.drain());
        for call in self.calls.values_mut() {
            call.here = false;
            call.offers.clear();
        }
        if self.lives.blind {
            // Their outcomes cannot be known.
            self.talks.clear();
        }
    }

    fn over(&mut self, call: &CallId, queue: &QueueNumber, end: End) {
        let Some(c) = self.calls.get_mut(call) else {
            assert!(self.lives.losing, "{call} ends as {end:?} and never came");
            return;
        };
        assert_eq!((c.end, &c.queue), (End::Open, queue), "Q23: {call} ends again, as {end:?}, or elsewhere");
        c.end = end;
        c.here = false;
    }

    fn take(&mut self, at: usize, record: &Record) {
        match &record.fact {
            Fact::CallEntered { call, queue, returned, first_entered, .. } => {
                // A caller whom the dialplan held first has waited since then.
                let held = *returned || !self.calls.contains_key(call);
                self.enters(call, queue, *returned, (if held { *first_entered } else { record.at }, at));
            }
            Fact::OfferMade { offer, call, queue, agent } => {
                let busy = self.offers.values().chain(self.talks.values()).any(|a| a == agent);
                assert!(!busy, "Q8: {agent} is offered {call} at {} while held by another", record.at.0);
                assert!(self.wraps.get(agent).is_none_or(|until| record.at >= *until), "Q9: {agent} is in wrap-up");
                self.overtakes(call, queue, agent);
                self.offers.insert(*offer, agent.clone());
                let c = self.calls.get_mut(call).expect("only waiting callers are offered");
                assert!(c.here && c.end == End::Open, "{call} is offered while not in line");
                c.offers.push(*offer);
            }
            Fact::OfferMissed { offer, call, .. } | Fact::OfferCancelled { offer, call, .. } => {
                self.offer_over(*offer, call);
            }
            Fact::CallAnswered { offer, call, queue, agent, .. } => {
                let offered = self.offers.remove(offer).or_else(|| self.orphaned.remove(offer)).is_some();
                assert!(offered, "{agent} answers without an offer");
                if let Some(c) = self.calls.get_mut(call) {
                    c.offers.retain(|o| o != offer);
                }
                self.over(call, queue, End::Answered);
                self.talks.insert(*offer, agent.clone());
            }
            Fact::PartyChanged { offer, agent, .. } => {
                let known = self.talks.contains_key(offer);
                assert!(
                    known || self.lives.losing,
                    "{agent} talks with somebody else in a conversation that never began"
                );
            }
            Fact::ConversationEnded { offer, agent, .. } => {
                let known = self.talks.remove(offer).is_some();
                assert!(known || self.lives.losing, "{agent} ends a conversation that never began");
            }
            Fact::CallTimedOut { call, queue, .. } => self.over(call, queue, End::TimedOut),
            Fact::CallReturned { call, queue, .. } => self.over(call, queue, End::Returned),
            Fact::CallTaken { call, queue, .. } => self.over(call, queue, End::Taken),
            Fact::CallAbandoned { call, queue, .. } | Fact::CallLost { call, queue, .. } => {
                self.over(call, queue, End::Gone);
            }
            Fact::WrapUpStarted { agent, until, .. } => drop(self.wraps.insert(agent.clone(), *until)),
            Fact::WrapUpEnded { agent } => drop(self.wraps.remove(agent)),
            Fact::CallWentOn { .. } | Fact::AgentLoggedIn { .. } | Fact::AgentLoggedOut { .. } => {}
        }
    }

    fn enters(&mut self, call: &CallId, queue: &QueueNumber, returned: bool, at: (Wall, usize)) {
        let before = self.calls.get(call);
        let mut since = at;
        if let Some(c) = before {
            // A timed out call may enter the next queue, or return when the daemon died during its message.
            // A caller who is transferred, by an agent or another party, enters another queue as a new call.
            let passed_on = !returned && c.queue != *queue && matches!(c.end, End::Answered | End::Taken);
            let may = matches!(c.end, End::TimedOut) || (returned && c.end == End::Returned) || passed_on;
            assert!(may, "{call} enters {queue} (returned: {returned}) after {c:?}");
            if c.queue == *queue {
                since = c.since;
            }
        } else {
            assert!(!returned || self.lives.losing, "{call} is back, and never came");
        }
        let call_now = Call { queue: queue.clone(), since, end: End::Open, here: true, offers: Vec::new() };
        self.calls.insert(call.clone(), call_now);
    }

    fn offer_over(&mut self, offer: OfferId, call: &CallId) {
        let ended = self.offers.remove(&offer).or_else(|| self.orphaned.remove(&offer));
        ended.expect("an offer ends once");
        if let Some(c) = self.calls.get_mut(call) {
            c.offers.retain(|o| *o != offer);
        }
    }

    /// Q4: no caller who has waited longer is passed over.
    fn overtakes(&self, call: &CallId, queue: &QueueNumber, agent: &AgentId) {
        let Some(mine) = self.calls.get(call).map(|c| c.since) else { return };
        for (other, c) in self.calls.iter().filter(|(id, c)| *id != call && c.queue == *queue) {
            let waits = c.end == End::Open && c.here && c.offers.is_empty() && c.since < mine;
            assert!(!waits, "Q4: {call} is offered {agent} before {other}, who waits longer");
        }
    }
}
