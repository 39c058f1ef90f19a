//! The facts of a scenario, in words.

use std::collections::HashMap;

use freeswitch_queue::acd::fact::{Fact, Onward, Record};
use freeswitch_queue::acd::ids::{AgentId, CallId};
use freeswitch_queue::acd::time::Wall;

/// The facts of a scenario, oldest first.
#[derive(Clone, Debug)]
pub struct Book {
    /// The facts.
    pub records: Vec<Record>,
    began: i64,
}

impl Book {
    /// The facts of a scenario that began at `began`.
    pub fn new(records: Vec<Record>, began: i64) -> Self {
        Self { records, began }
    }

    /// Each fact as a few words, callers by their number.
    pub fn story(&self) -> Vec<String> {
        self.told(|_| true)
    }

    /// Each fact as a few words, with its time in milliseconds since the scenario began.
    pub fn timed(&self) -> Vec<(i64, String)> {
        self.records.iter().map(|r| r.at.0 - self.began).zip(self.story()).collect()
    }

    /// The facts whose words contain one of these.
    pub fn story_of(&self, words: &[&str]) -> Vec<String> {
        self.story().into_iter().filter(|line| words.iter().any(|w| line.contains(w))).collect()
    }

    /// The time of the first fact with these words, in milliseconds since the scenario began.
    pub fn when(&self, words: &str) -> i64 {
        let numbers = self.numbers();
        let at = self.records.iter().find(|r| words_of(&r.fact, &numbers) == words).map(|r| r.at.0 - self.began);
        at.unwrap_or_else(|| panic!("{words:?} is not in {:#?}", self.story()))
    }

    /// A moment of the records' clock, in milliseconds since the scenario began.
    pub fn moment(&self, at: Wall) -> i64 {
        at.0 - self.began
    }

    /// The first entry time in each entry of this caller.
    pub fn first_entries(&self, caller: &str) -> Vec<i64> {
        let first = |r: &Record| match &r.fact {
            Fact::CallEntered { caller: number, first_entered, .. } if **number == *caller => {
                Some(self.moment(*first_entered))
            }
            _ => None,
        };
        self.records.iter().filter_map(first).collect()
    }

    /// Both entries of this caller have the same first entry time: FreeSWITCH's time of the call, slightly before the
    /// time of the record.
    pub fn keeps_the_first_entry(&self, caller: &str, queue: &str) {
        let (first, entered) = (self.first_entries(caller), self.when(&format!("{caller} enters {queue}")));
        assert!(matches!(first[..], [a, b] if a == b && (0..10).contains(&(entered - a))), "{first:?}, {entered}");
    }

    /// The offers made, as agent and caller.
    pub fn offers(&self) -> Vec<(String, String)> {
        self.pairs(|fact| match fact {
            Fact::OfferMade { agent, call, .. } => Some((agent, call)),
            _ => None,
        })
    }

    /// The offers answered, in order, as agent and caller.
    pub fn answered(&self) -> Vec<(String, String)> {
        self.pairs(|fact| match fact {
            Fact::CallAnswered { agent, call, .. } => Some((agent, call)),
            _ => None,
        })
    }

    fn pairs(&self, of: impl Fn(&Fact) -> Option<(&AgentId, &CallId)>) -> Vec<(String, String)> {
        let numbers = self.numbers();
        let pair = |r: &Record| of(&r.fact).map(|(agent, call)| (agent.to_string(), number(&numbers, call)));
        self.records.iter().filter_map(pair).collect()
    }

    fn told(&self, which: impl Fn(&Record) -> bool) -> Vec<String> {
        let numbers = self.numbers();
        self.records.iter().filter(|r| which(r)).map(|r| words_of(&r.fact, &numbers)).collect()
    }

    fn numbers(&self) -> HashMap<CallId, String> {
        let entered = |r: &Record| match &r.fact {
            Fact::CallEntered { call, caller, .. } | Fact::CallRefused { call, caller, .. } => {
                Some((call.clone(), caller.to_string()))
            }
            _ => None,
        };
        self.records.iter().filter_map(entered).collect()
    }
}

fn number(numbers: &HashMap<CallId, String>, call: &CallId) -> String {
    numbers.get(call).cloned().unwrap_or_else(|| call.to_string())
}

/// The name of a cause in the records, with its details.
fn word(cause: impl serde::Serialize) -> String {
    let value = serde_json::to_value(cause).unwrap();
    let name = value.as_str().or_else(|| value["cause"].as_str()).unwrap().replace('_', " ");
    value["sip_status"].as_u64().map_or(name.clone(), |status| format!("{name} {status}"))
}

fn words_of(fact: &Fact, numbers: &HashMap<CallId, String>) -> String {
    let n = |call: &CallId| number(numbers, call);
    match fact {
        Fact::CallEntered { call, queue, returned: false, .. } => format!("{} enters {queue}", n(call)),
        Fact::CallEntered { call, queue, returned: true, .. } => format!("{} is back in {queue}", n(call)),
        Fact::HeadStartChanged { call, head_start, .. } => {
            format!("{} has {} s ahead", n(call), head_start.as_secs_f64())
        }
        Fact::CallRefused { call, queue, cause, returned, .. } => {
            format!("{} is refused by {queue}{}: {}", n(call), if *returned { " again" } else { "" }, word(cause))
        }
        Fact::OfferMade { call, agent, .. } => format!("{agent} is offered {}", n(call)),
        Fact::OfferMissed { call, agent, cause, .. } => format!("{agent} misses {}: {}", n(call), word(cause)),
        Fact::OfferCancelled { call, agent, cause, .. } => {
            format!("{agent} is called off {}: {}", n(call), word(cause))
        }
        Fact::CallAnswered { call, agent, .. } => format!("{agent} answers {}", n(call)),
        Fact::PartyChanged { agent, party, .. } => format!("{agent} talks with {party}"),
        Fact::ConversationEnded { call, agent, by, .. } => format!("{agent} and {} end: {}", n(call), word(by)),
        Fact::CallAbandoned { call, queue, .. } => format!("{} abandons {queue}", n(call)),
        Fact::CallTimedOut { call, queue, cause, .. } => format!("{} times out of {queue}: {}", n(call), word(cause)),
        Fact::CallWentOn { call, onward, .. } => match onward {
            Onward::HungUp => format!("{} is hung up", n(call)),
            Onward::Transferred(to) => format!("{} is transferred to {to}", n(call)),
            Onward::Queue(to) => format!("{} goes on to {to}", n(call)),
        },
        Fact::CallReturned { call, queue, .. } => format!("{} is given back by {queue}", n(call)),
        Fact::CallTaken { call, queue, by: Some(by), .. } => format!("{} is taken out of {queue} by {by}", n(call)),
        Fact::CallTaken { call, queue, by: None, .. } => format!("{} is taken out of {queue}", n(call)),
        Fact::CallLost { call, queue, .. } => format!("{} is lost by {queue}", n(call)),
        Fact::AgentLoggedIn { agent, queue, .. } => format!("{agent} logs in to {queue}"),
        Fact::ShiftBegan { agent, calls, talked } => {
            format!("the shift of {agent} begins with {calls} calls and {} s", talked.as_secs())
        }
        Fact::AgentLoggedOut { agent, queue, .. } => format!("{agent} logs out of {queue}"),
        Fact::WrapUpStarted { agent, .. } => format!("{agent} wraps up"),
        Fact::WrapUpEnded { agent } => format!("{agent} is ready"),
    }
}
