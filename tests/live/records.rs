//! Checks that the records of one test add up, read from the store as an admin reads them.
//!
//! Not the log: a killed daemon may have logged what it did not store, and the next one then closes it.

use std::path::Path;

use freeswitch_queue::acd::fact::Record;

use crate::ledger::{Ledger, Lives};

/// Q23, Q110: every call that entered has one end, every offer one outcome, every conversation an end, across all
/// deaths; and at no moment does one begin that is open, or one end that is not.
pub fn balanced(store: &Path) -> Result<(), String> {
    let records = records(store).map_err(|error| format!("the store cannot be read: {error}"))?;
    let mut ledger = Ledger::new(Lives::default());
    for Record { at, fact } in &records {
        ledger.take(fact).map_err(|why| format!("the records do not add up at {}, with {fact:?}: {why}", at.0))?;
    }
    ledger.whole().map_err(|why| format!("the records do not add up: {why}"))
}

fn records(store: &Path) -> anyhow::Result<Vec<Record>> {
    let db = rusqlite::Connection::open_with_flags(store, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = db.prepare("SELECT json FROM records ORDER BY id")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|row| Ok(serde_json::from_str(&row?)?)).collect()
}
