//! The store as a SQLite file: its schema, and the writing of facts.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::file::{numbered, unreadable};
use super::read::File;
use super::store::{Batch, Numbered, Reader, Store, StoreError};
use super::unended::Unended;
use crate::acd::fact::Fact;
use crate::acd::ids::{AgentId, IdError, Instance, QueueNumber};
use crate::acd::restored::{Alive, Restored, WrapUp};
use crate::acd::shift::Shift;
use crate::acd::time::Wall;

/// How many old records one step deletes.
const PRUNE_STEP: u16 = 500;

/// The migrations of the schema: a file with `user_version` N has had the first N. Never change a released one.
///
/// A record is its JSON; the other columns are generated from it, so a new kind of fact needs no migration.
pub(super) const MIGRATIONS: &[&str] = &[
    "
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
",
    "
    ALTER TABLE agents ADD COLUMN last_line INTEGER; -- that end, by the line's time
    UPDATE agents SET last_line = last_conversation_end;
    ALTER TABLE agents ADD COLUMN wrap_up_ms INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE life (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        identity TEXT, -- of the installation; NULL has the next start make another
        wall INTEGER, line INTEGER, -- when the daemon was last known to live
        last_number INTEGER NOT NULL, -- of all records there ever were
        unended_from INTEGER NOT NULL -- nothing before this number was open
    );
    INSERT INTO life SELECT 1, NULL, NULL, NULL, coalesce(max(id), 0), coalesce(max(id), 0) - 100000 FROM records;
",
    "
    CREATE TABLE queues (queue TEXT PRIMARY KEY, last_offered TEXT NOT NULL) WITHOUT ROWID;
",
    "
    ALTER TABLE agents ADD COLUMN shift_calls INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE agents ADD COLUMN shift_talked_ms INTEGER NOT NULL DEFAULT 0;
",
];
/// Marks a SQLite file as this daemon's: `FSQ1`.
pub(super) const APPLICATION: i64 = 0x4653_5131;

/// The writer's open file.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    connection: Connection,
    /// Device and inode, to notice that the file was moved away: SQLite would keep writing to it.
    file: Option<(u64, u64)>,
    identity: Instance,
    last_number: u64,
    unended: Unended,
    /// Holds the lock that keeps a second daemon out; released last.
    _lock: Option<Connection>,
}

impl Sqlite {
    /// Takes a connection to a file of the newest schema. A store without an identity gets `fresh`.
    pub(super) fn new(
        path: PathBuf,
        connection: Connection,
        lock: Option<Connection>,
        fresh: Instance,
    ) -> rusqlite::Result<Self> {
        let file = if lock.is_some() { identity(&path).ok() } else { None };
        let (kept, last_number): (Option<String>, i64) = connection.query_row(
            "SELECT identity, max(last_number, coalesce((SELECT max(id) FROM records), 0)) FROM life",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let kept = kept.map(|text| text.parse::<Instance>().map_err(|e| unreadable(0, e))).transpose()?;
        if kept.is_none() {
            connection.execute("UPDATE life SET identity = ?1", [fresh.to_string()])?;
        }
        let last_number = u64::try_from(last_number).unwrap_or(0);
        let unended = Unended::default();
        Ok(Self { path, connection, file, identity: kept.unwrap_or(fresh), last_number, unended, _lock: lock })
    }

    /// The path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read(&mut self) -> rusqlite::Result<Restored> {
        let db = &self.connection;
        let alive = db.query_row("SELECT wall, line FROM life", [], |row| {
            let (wall, line): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
            Ok(wall.zip(line).map(|(wall, line)| Alive { wall: Wall(wall), line: Wall(line) }))
        })?;
        // An earlier version did not store this: it was alive when it wrote its last record.
        let last = || {
            db.query_row("SELECT at FROM records ORDER BY id DESC LIMIT 1", [], |row| row.get::<_, i64>(0))
                .ok()
                .map(|at| Alive { wall: Wall(at), line: Wall(at) })
        };
        let mut restored = Restored {
            logins: rows(db, "SELECT agent, queue, since FROM logins ORDER BY since, agent, queue", |row| {
                Ok((agent(row)?, id(row, 1, QueueNumber::new)?, Wall(row.get(2)?)))
            })?,
            last_conversation_end: rows(
                db,
                "SELECT agent, last_conversation_end FROM agents WHERE last_conversation_end IS NOT NULL
                 ORDER BY last_line, agent",
                |row| Ok((agent(row)?, Wall(row.get(1)?))),
            )?,
            shifts: rows(
                db,
                "SELECT agent, shift_calls, shift_talked_ms FROM agents WHERE shift_calls > 0 OR shift_talked_ms > 0
                 ORDER BY agent",
                |row| {
                    let calls = u32::try_from(row.get::<_, i64>(1)?).unwrap_or(u32::MAX);
                    let talked = Duration::from_millis(row.get::<_, i64>(2)?.unsigned_abs());
                    Ok((agent(row)?, Shift { calls, talked }))
                },
            )?,
            last_offered: rows(db, "SELECT last_offered, queue FROM queues ORDER BY queue", |row| {
                Ok((id(row, 1, QueueNumber::new)?, agent(row)?))
            })?,
            wrap_ups: rows(
                db,
                "SELECT agent, wrap_up_until, wrap_up_ms FROM agents WHERE wrap_up_until IS NOT NULL ORDER BY agent",
                |row| {
                    let lasts = Duration::from_millis(row.get::<_, i64>(2)?.unsigned_abs());
                    Ok(WrapUp { agent: agent(row)?, until: Wall(row.get(1)?), lasts })
                },
            )?,
            alive: alive.or_else(last),
            ..Restored::default()
        };
        let mut unended = Unended::default();
        let mut unread = 0_u64;
        {
            let mut of_late =
                db.prepare("SELECT id, json FROM records WHERE id >= (SELECT unended_from FROM life) ORDER BY id")?;
            let mut rows = of_late.query([])?;
            while let Some(row) = rows.next()? {
                match numbered(row) {
                    Ok(next) => unended.take(&next),
                    // An unreadable record is missing from reports, but must not prevent the start.
                    Err(_) => unread += 1,
                }
            }
        }
        if unread > 0 {
            tracing::warn!(
                unread,
                "records cannot be read; calls and offers in them stay unknown until FreeSWITCH reports them"
            );
        }
        unended.restore(&mut restored);
        self.unended = unended;
        Ok(restored)
    }

    fn write(&mut self, batch: Batch<'_>) -> rusqlite::Result<()> {
        // A batch that fails is folded again at the retry, which changes nothing.
        batch.records.iter().for_each(|next| self.unended.take(next));
        let last = batch.records.last().map_or(self.last_number, |next| next.number);
        let unended_from = self.unended.oldest().unwrap_or(last + 1);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (next, line) in batch.records.iter().zip(batch.lines) {
            write(&transaction, next, *line)?;
        }
        let (wall, line) = batch.alive.map(|alive| (alive.wall.0, alive.line.0)).unzip();
        transaction
            .prepare_cached(
                "UPDATE life SET wall = coalesce(?1, wall), line = coalesce(?2, line), last_number = ?3, unended_from = ?4",
            )?
            .execute(params![wall, line, number(last), number(unended_from)])?;
        transaction.commit()?;
        self.last_number = last;
        Ok(())
    }
}

impl Store for Sqlite {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn identity(&self) -> Instance {
        self.identity
    }

    fn last_number(&self) -> u64 {
        self.last_number
    }

    fn restore(&mut self) -> Result<Restored, StoreError> {
        Ok(self.read()?)
    }

    fn append(&mut self, batch: Batch<'_>) -> Result<(), StoreError> {
        if self.file.is_some_and(|file| !identity(&self.path).is_ok_and(|found| found == file)) {
            let moved =
                "the file was moved, replaced or deleted while in use; put it back, or restart to begin a new one";
            return Err(StoreError(moved.to_owned()));
        }
        Ok(self.write(batch)?)
    }

    fn prune(&mut self, before: Wall) -> Result<bool, StoreError> {
        // Records of calls and offers that have not ended are kept, however old they are.
        let some = "DELETE FROM records WHERE id IN (
            SELECT id FROM records WHERE at < ?1 AND id < (SELECT unended_from FROM life) ORDER BY at LIMIT ?2)";
        let deleted = self.connection.prepare_cached(some)?.execute(params![before.0, PRUNE_STEP])?;
        Ok(deleted == usize::from(PRUNE_STEP))
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(File::new(self.path.clone()))
    }

    fn held_up(&self) -> u64 {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        fs::metadata(log).map_or(0, |found| found.len())
    }
}

/// The device and inode behind a path.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// SQLite's integers are signed.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn millis(lasts: Duration) -> i64 {
    i64::try_from(lasts.as_millis()).unwrap_or(i64::MAX)
}

/// Writes one record and the state that it changes.
fn write(db: &Transaction<'_>, next: &Numbered, line: Wall) -> rusqlite::Result<()> {
    let Numbered { number: n, record } = next;
    let json = serde_json::to_string(record).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))?;
    db.prepare_cached("INSERT INTO records (id, json) VALUES (?1, ?2)")?.execute(params![number(*n), json])?;
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
        Fact::ConversationEnded { agent, talked, .. } => {
            set_agent(db, agent, ["last_conversation_end", "last_line"], [Some(at), Some(line.0)])?;
            db.prepare_cached(
                "UPDATE agents SET shift_calls = shift_calls + 1, shift_talked_ms = shift_talked_ms + ?2
                 WHERE agent = ?1",
            )?
            .execute(params![agent.as_str(), millis(*talked)])?;
        }
        Fact::ShiftBegan { agent, calls, talked } => {
            let (calls, talked) = (i64::from(*calls), millis(*talked));
            set_agent(db, agent, ["shift_calls", "shift_talked_ms"], [Some(calls), Some(talked)])?;
        }
        Fact::WrapUpStarted { agent, until, lasts, .. } => {
            set_agent(db, agent, ["wrap_up_until", "wrap_up_ms"], [Some(until.0), Some(millis(*lasts))])?;
        }
        Fact::WrapUpEnded { agent } => set_agent(db, agent, ["wrap_up_until", "wrap_up_ms"], [None, Some(0)])?,
        Fact::OfferMade { queue, agent, .. } => {
            db.prepare_cached("INSERT INTO queues VALUES (?1, ?2) ON CONFLICT DO UPDATE SET last_offered = ?2")?
                .execute([queue.as_str(), agent.as_str()])?;
        }
        Fact::CallEntered { .. }
        | Fact::HeadStartChanged { .. }
        | Fact::CallRefused { .. }
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

fn set_agent(db: &Connection, agent: &AgentId, columns: [&str; 2], to: [Option<i64>; 2]) -> rusqlite::Result<()> {
    let [a, b] = columns;
    let set = format!(
        "INSERT INTO agents (agent, {a}, {b}) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET {a} = ?2, {b} = ?3"
    );
    db.prepare_cached(&set)?.execute(params![agent.as_str(), to[0], to[1]]).map(drop)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::acd::fact::{LossCause, Record};
    use crate::acd::ids::CallId;

    fn lost(n: u64) -> Numbered {
        let fact = Fact::CallLost {
            call: CallId::new(&"c".repeat(200)).unwrap(),
            queue: QueueNumber::new("1").unwrap(),
            waited: Duration::ZERO,
            cause: LossCause::Restart,
        };
        Numbered { number: n, record: Record { at: Wall(0), fact } }
    }

    #[test]
    fn a_full_disk_is_reported_leaves_nothing_half_written_and_is_survived() {
        let db = Connection::open_in_memory().unwrap();
        MIGRATIONS.iter().for_each(|step| db.execute_batch(step).unwrap());
        let mut store = Sqlite::new(PathBuf::new(), db, None, Instance::new(1)).unwrap();
        let limit = |store: &Sqlite, pages: u32| {
            store.connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
        };
        let records: Vec<Numbered> = (1..=1000).map(lost).collect();
        let batch = Batch { records: &records, lines: &[Wall(0); 1000], alive: None };
        limit(&store, 20);
        let said = store.append(batch).expect_err("must not fit").to_string();
        assert!(said.contains("disk is full; make room"), "{said}");
        let count = |store: &Sqlite| {
            store.connection.query_row("SELECT count(*) FROM records", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(count(&store), 0);
        limit(&store, 20_000);
        store.append(batch).unwrap();
        assert_eq!(count(&store), 1000);
    }
}
