//! Checks that the records of one test add up, read from the store as an admin reads them.
//!
//! Not the log: a killed daemon may have logged what it did not store, and the next one then closes it.

use std::collections::BTreeMap;
use std::path::Path;

use freeswitch_queue::acd::fact::{Fact, Record};

/// Q23, Q110: every call that entered has one end, every offer one outcome, every conversation an end, across all
/// deaths; and at no moment does one begin that is open, or one end that is not.
pub fn balanced(store: &Path) -> Result<(), String> {
    let records = records(store).map_err(|error| format!("the store cannot be read: {error}"))?;
    let mut open: BTreeMap<String, i32> = BTreeMap::new();
    for Record { at, fact } in &records {
        enter(&mut open, fact);
        if let Some((what, count)) = open.iter().find(|(_, count)| !(0..=1).contains(*count)) {
            return Err(format!("the records do not add up: {what} is open {count} times at {}, with {fact:?}", at.0));
        }
        open.retain(|_, count| *count != 0);
    }
    if open.is_empty() { Ok(()) } else { Err(format!("the records do not add up: {open:?}")) }
}

fn records(store: &Path) -> anyhow::Result<Vec<Record>> {
    let db = rusqlite::Connection::open_with_flags(store, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = db.prepare("SELECT json FROM records ORDER BY id")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|row| Ok(serde_json::from_str(&row?)?)).collect()
}

fn enter(open: &mut BTreeMap<String, i32>, fact: &Fact) {
    let mut add = |key: String, by: i32| *open.entry(key).or_default() += by;
    match fact {
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
