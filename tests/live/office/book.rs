//! The records of the day, read from the store as an admin reads them.

use freeswitch_queue::acd::fact::Record;

use crate::daemon::Daemon;

/// Q23, Q110: every call that entered has one end, every offer one outcome, across all deaths.
pub fn balanced(daemon: &Daemon) -> Result<(), String> {
    let records = records(daemon).map_err(|error| format!("the store cannot be read: {error}"))?;
    crate::ledger::balanced(&[records])
}

fn records(daemon: &Daemon) -> anyhow::Result<Vec<Record>> {
    let db = rusqlite::Connection::open_with_flags(daemon.store(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = db.prepare("SELECT json FROM records ORDER BY id")?;
    let rows = query.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|row| Ok(serde_json::from_str(&row?)?)).collect()
}
