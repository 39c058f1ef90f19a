//! The books of one test: what the facts of its daemons must add up to.

use std::collections::BTreeMap;

use freeswitch_queue::acd::fact::{Fact, Record};

/// Q23: every call that entered has exactly one end, every offer exactly one outcome, every conversation an end.
/// `books` has the facts of one daemon after the other.
pub fn balanced(books: &[Vec<Record>]) -> Result<(), String> {
    let mut open: BTreeMap<String, i32> = BTreeMap::new();
    let mut before = std::collections::BTreeSet::new();
    for book in books {
        // The offers of a daemon that was killed are nobody's to settle.
        before.extend(open.keys().filter(|key| key.starts_with("offer")).cloned());
        open.retain(|key, count| *count != 0 && !key.starts_with("offer"));
        book.iter().for_each(|record| enter(&mut open, &record.fact));
    }
    // Of a killed daemon's offers one may have been answered while nobody was there, which the next daemon tells.
    open.retain(|key, count| *count != 0 && !before.contains(key));
    if open.is_empty() { Ok(()) } else { Err(format!("the records do not add up: {open:?}")) }
}

fn enter(open: &mut BTreeMap<String, i32>, fact: &Fact) {
    let mut add = |key: String, by: i32| *open.entry(key).or_default() += by;
    match fact {
        // Back from a daemon that could not say that it let go.
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
