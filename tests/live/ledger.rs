//! Checks that the facts of one test's daemons add up.

use std::collections::BTreeMap;

use freeswitch_queue::acd::fact::{Fact, Record};

/// Q23: every call that entered has exactly one end, every offer exactly one outcome, every conversation an end.
/// `books` has the facts of one daemon after another.
pub fn balanced(books: &[Vec<Record>]) -> Result<(), String> {
    let mut open: BTreeMap<String, i32> = BTreeMap::new();
    let mut before = std::collections::BTreeSet::new();
    for book in books {
        // A killed daemon cannot settle its offers.
        before.extend(open.keys().filter(|key| key.starts_with("offer")).cloned());
        open.retain(|key, count| *count != 0 && !key.starts_with("offer"));
        book.iter().for_each(|record| enter(&mut open, &record.fact));
    }
    // A killed daemon's offer may have been answered while no daemon ran; the next daemon records that answer.
    open.retain(|key, count| *count != 0 && !before.contains(key));
    if open.is_empty() { Ok(()) } else { Err(format!("the records do not add up: {open:?}")) }
}

fn enter(open: &mut BTreeMap<String, i32>, fact: &Fact) {
    let mut add = |key: String, by: i32| *open.entry(key).or_default() += by;
    match fact {
        // Back from a daemon that could not record the end of the call.
        Fact::CallEntered { call, returned: true, .. } => drop(open.insert(format!("call {call}"), 1)),
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
