//! The books of one run: what the facts of a daemon must add up to.

use std::collections::BTreeMap;

use freeswitch_queue::acd::fact::{Fact, Record};

/// Q23: every call that entered has exactly one end, every offer exactly one outcome, every conversation an end.
pub fn balanced(facts: &[Record]) -> Result<(), String> {
    let mut open: BTreeMap<String, i32> = BTreeMap::new();
    let mut add = |key: String, by: i32| *open.entry(key).or_default() += by;
    for record in facts {
        match &record.fact {
            Fact::CallEntered { call, .. } => add(format!("call {call}"), 1),
            Fact::CallAbandoned { call, .. }
            | Fact::CallTimedOut { call, .. }
            | Fact::CallReturned { call, .. }
            | Fact::CallTaken { call, .. }
            | Fact::CallLost { call, .. } => add(format!("call {call}"), -1),
            Fact::OfferMade { offer, .. } => add(format!("offer {offer}"), 1),
            Fact::OfferMissed { offer, .. } | Fact::OfferCancelled { offer, .. } => add(format!("offer {offer}"), -1),
            Fact::CallAnswered { call, offer, .. } => {
                add(format!("call {call}"), -1);
                add(format!("offer {offer}"), -1);
                add(format!("conversation {offer}"), 1);
            }
            Fact::ConversationEnded { offer, .. } => add(format!("conversation {offer}"), -1),
            _ => {}
        }
    }
    open.retain(|_, count| *count != 0);
    if open.is_empty() { Ok(()) } else { Err(format!("the records do not add up: {open:?}")) }
}
