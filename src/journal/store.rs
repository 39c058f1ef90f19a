//! The file itself: its schema, and how facts are written to it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior, params};

use super::Restored;
use crate::acd::fact::{Fact, Record};
use crate::acd::ids::{AgentId, IdError, QueueNumber};
use crate::acd::time::Wall;

/// How long SQLite itself waits for another program's lock before an attempt counts as failed.
pub(super) const BUSY: Duration = Duration::from_millis(250);
/// How many old records one step deletes.
const PRUNE_STEP: u16 = 500;
/// How far back calls without an end are looked for.
const DAY_MS: i64 = 24 * 3600 * 1000;

/// The schema, step by step: a file with `user_version` N has had the first N. Never change one that was released.
///
/// A record is its JSON; the other columns are read out of it, so a new kind of fact needs no step here.
pub(super) const MIGRATIONS: &[&str] = &["
    PRAGMA application_id = 0x46535131; -- APPLICATION, below
    CREATE TABLE records (
        id INTEGER PRIMARY KEY,
        json TEXT NOT NULL,
        at INTEGER GENERATED ALWAYS AS (json_extract(json, '$.at')),
        kind TEXT GENERATED ALWAYS AS (json_extract(json, '$.fact')),
        call TEXT GENERATED ALWAYS AS (json_extract(json, '$.call')),
        offer TEXT GENERATED ALWAYS AS (json_extract(json, '$.offer')),
        queue TEXT GENERATED ALWAYS AS (json_extract(json, '$.queue')),
        agent TEXT GENERATED ALWAYS AS (json_extract(json, '$.agent')),
        cause TEXT GENERATED ALWAYS AS (json_extract(json, '$.cause')),
        duration_ms INTEGER GENERATED ALWAYS AS
            (coalesce(json_extract(json, '$.waited_ms'), json_extract(json, '$.talked_ms')))
    );
    CREATE INDEX records_at ON records (at);
    CREATE INDEX records_call ON records (call) WHERE call IS NOT NULL;
    CREATE TABLE logins (
        agent TEXT NOT NULL, queue TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (agent, queue)
    ) WITHOUT ROWID;
    CREATE TABLE agents (
        agent TEXT PRIMARY KEY, last_conversation_end INTEGER, wrap_up_until INTEGER
    ) WITHOUT ROWID;
"];
/// Marks a SQLite file as this daemon's: `FSQ1`.
pub(super) const APPLICATION: i64 = 0x4653_5131;

/// Why facts could not be written, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error("{advice} ({0})", advice = advice(.0))]
    Sqlite(#[from] rusqlite::Error),
    #[error("the file was moved, replaced or deleted while in use; put it back, or restart to begin a new one")]
    Moved,
}

/// What a person can do about a failure of SQLite.
pub(super) fn advice(failure: &rusqlite::Error) -> &'static str {
    match failure.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "another program holds a lock on it; let it end",
        Some(ErrorCode::CannotOpen) => "its directory must exist and belong to this user",
        Some(ErrorCode::DiskFull) => "the disk is full; make room",
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => "it may not be written; look at owner and mount",
        Some(ErrorCode::SystemIoFailure) => "the disk reports an error; look at the kernel's log",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => "the file is damaged; restore it from a backup",
        _ => "SQLite reports an error",
    }
}

/// The open file of the writer.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    connection: Connection,
    /// Device and inode, by which a file that was moved away is noticed; SQLite would go on writing to it.
    file: Option<(u64, u64)>,
    /// Holds the lock that keeps a second daemon out; released last.
    _lock: Option<Connection>,
}

impl Store {
    pub(super) fn new(path: PathBuf, connection: Connection, lock: Option<Connection>) -> io::Result<Self> {
        let file = if lock.is_some() { Some(identity(&path)?) } else { None };
        Ok(Self { path, connection, file, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes records and what follows from them, all or none; on disk when this returns.
    pub(super) fn write<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), WriteError> {
        if self.file.is_some_and(|file| !identity(&self.path).is_ok_and(|found| found == file)) {
            return Err(WriteError::Moved);
        }
        let batch = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for record in records {
            write(&batch, record)?;
        }
        Ok(batch.commit()?)
    }

    /// Deletes a few hundred of the records that are older than the newest one by more than `keep`. Returns whether
    /// there may be more. No clock is asked, so one that is wrong at boot costs no records.
    pub(super) fn prune(&mut self, keep: Duration) -> rusqlite::Result<bool> {
        let some = "DELETE FROM records WHERE id IN (
            SELECT id FROM records WHERE at < (SELECT max(at) FROM records) - ?1 ORDER BY at LIMIT ?2)";
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let deleted = self.connection.prepare_cached(some)?.execute(params![keep, PRUNE_STEP])?;
        Ok(deleted == usize::from(PRUNE_STEP))
    }

    /// Reads what a restart needs.
    pub(super) fn restore(&self) -> rusqlite::Result<Restored> {
        let db = &self.connection;
        Ok(Restored {
            logins: rows(db, "SELECT agent, queue, since FROM logins ORDER BY since, agent, queue", |row| {
                Ok((agent(row)?, id(row, 1, QueueNumber::new)?, Wall(row.get(2)?)))
            })?,
            last_conversation_end: agent_times(db, "last_conversation_end")?,
            wrap_up_until: agent_times(db, "wrap_up_until")?,
            waiting: unended(
                db,
                "call_entered",
                "'call_answered', 'call_abandoned', 'call_timed_out', 'call_returned', 'call_taken', 'call_lost'",
            )?,
            conversations: unended(db, "call_answered", "'conversation_ended'")?,
        })
    }
}

/// The device and inode behind a path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Writes one record, and the state that it changes.
fn write(db: &Connection, record: &Record) -> rusqlite::Result<()> {
    let json = serde_json::to_string(record).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    db.prepare_cached("INSERT INTO records (json) VALUES (?1)")?.execute([json])?;
    let at = record.at.0;
    match &record.fact {
        Fact::AgentLoggedIn { agent, queue, .. } => {
            db.prepare_cached("INSERT INTO logins VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?.execute(params![
                agent.as_str(),
                queue.as_str(),
                at
            ])?;
        }
        Fact::AgentLoggedOut { agent, queue, .. } => {
            db.prepare_cached("DELETE FROM logins WHERE agent = ?1 AND queue = ?2")?
                .execute([agent.as_str(), queue.as_str()])?;
        }
        Fact::ConversationEnded { agent, .. } => set_agent(db, agent, "last_conversation_end", Some(at))?,
        Fact::WrapUpStarted { agent, until, .. } => set_agent(db, agent, "wrap_up_until", Some(until.0))?,
        Fact::WrapUpEnded { agent } => set_agent(db, agent, "wrap_up_until", None)?,
        Fact::CallEntered { .. }
        | Fact::OfferMade { .. }
        | Fact::OfferMissed { .. }
        | Fact::OfferCancelled { .. }
        | Fact::CallAnswered { .. }
        | Fact::PartyChanged { .. }
        | Fact::CallAbandoned { .. }
        | Fact::CallTimedOut { .. }
        | Fact::CallWentOn { .. }
        | Fact::CallReturned { .. }
        | Fact::CallTaken { .. }
        | Fact::CallLost { .. } => {}
    }
    Ok(())
}

fn set_agent(db: &Connection, agent: &AgentId, column: &str, to: Option<i64>) -> rusqlite::Result<()> {
    let set = format!("INSERT INTO agents (agent, {column}) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET {column} = ?2");
    db.prepare_cached(&set)?.execute(params![agent.as_str(), to]).map(drop)
}

fn agent_times(db: &Connection, column: &str) -> rusqlite::Result<Vec<(AgentId, Wall)>> {
    let known = format!("SELECT agent, {column} FROM agents WHERE {column} IS NOT NULL ORDER BY agent");
    rows(db, &known, |row| Ok((agent(row)?, Wall(row.get(1)?))))
}

/// The records of the last day of the kind `opening` whose call has none of `endings` after it.
fn unended(db: &Connection, opening: &str, endings: &str) -> rusqlite::Result<Vec<Record>> {
    let open = format!(
        "SELECT json FROM records opening
         WHERE at > (SELECT max(at) - {DAY_MS} FROM records) AND kind = '{opening}' AND NOT EXISTS (
            SELECT 1 FROM records WHERE call = opening.call AND id > opening.id AND kind IN ({endings}))
         ORDER BY id"
    );
    // A record that cannot be read is missing in a report; it is no reason not to start.
    let readable = |found: rusqlite::Result<Record>| match found {
        Ok(record) => Some(record),
        Err(error) => {
            tracing::warn!(opening, %error, "a record cannot be read; its call is not known until FreeSWITCH tells of it");
            None
        }
    };
    Ok(rows(db, &open, |row| Ok(record(row)))?.into_iter().filter_map(readable).collect())
}

/// All rows of a query without parameters.
fn rows<T>(
    db: &Connection,
    query: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    db.prepare(query)?.query_map([], read)?.collect()
}

fn agent(row: &rusqlite::Row<'_>) -> rusqlite::Result<AgentId> {
    id(row, 0, AgentId::new)
}

fn id<T>(row: &rusqlite::Row<'_>, column: usize, new: fn(&str) -> Result<T, IdError>) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    new(&text).map_err(|e| unreadable(column, e))
}

/// A record from the JSON in a row's first column.
pub(super) fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<Record> {
    let json: String = row.get(0)?;
    serde_json::from_str(&json).map_err(|e| unreadable(0, e))
}

fn unreadable(column: usize, why: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(why))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::acd::ids::CallId;

    #[test]
    fn a_full_disk_is_told_leaves_nothing_half_written_and_is_survived() {
        let db = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|step| db.execute_batch(step).unwrap());
        let mut store = Store::new(PathBuf::new(), db, None).unwrap();
        let limit = |store: &Store, pages: u32| {
            store.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        };
        let lost = |n| Record {
            at: Wall(n),
            fact: Fact::CallLost {
                call: CallId::new(&"c".repeat(200)).unwrap(),
                queue: QueueNumber::new("1").unwrap(),
                waited: Duration::ZERO,
            },
        };
        let records: Vec<Record> = (0..1000).map(lost).collect();
        limit(&store, 20);
        let said = store.write(records.iter()).expect_err("must not fit").to_string();
        assert!(said.contains("disk is full; make room"), "{said}");
        let count = |store: &Store| {
            store.connection.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(count(&store), 0);
        limit(&store, 20_000);
        store.write(records.iter()).unwrap();
        assert_eq!(count(&store), 1000);
    }
}
