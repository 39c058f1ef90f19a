//! Opening the store: only the right file, only once, only whole.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use uuid::Uuid;

use super::Restored;
use super::store::{APPLICATION, BUSY, MIGRATIONS, Store, advice};

/// The path that stands for a store in memory.
const IN_MEMORY: &str = ":memory:";

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is a directory.
    #[error("{0} is a directory; `state` must name a file, such as {0}/state.db")]
    Directory(PathBuf),
    /// The file, or what lies above it, cannot be reached.
    #[error("{path} cannot be opened: {source}; the directory must exist and belong to this user")]
    Unreachable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file may be read but not written.
    #[error("{0} may not be written; give the file and its directory to the user that freeswitch-queue runs as")]
    ReadOnly(PathBuf),
    /// Another process has it open.
    #[error("{0} is in use by another freeswitch-queue; stop that one, or give this one a `state` of its own")]
    InUse(PathBuf),
    /// It is not a SQLite file.
    #[error("{0} is not a freeswitch-queue store (not a SQLite file); name another file in `state`, or move it away")]
    NotSqlite(PathBuf),
    /// It is a SQLite file of another program.
    #[error("{0} is another program's SQLite file; name another file in `state`")]
    Foreign(PathBuf),
    /// A later version of this program wrote it.
    #[error(
        "{path} was written by a newer freeswitch-queue (schema {found}, this one knows {known}): run that version, \
         or restore the copy from before the upgrade"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The latest schema known here.
        known: usize,
    },
    /// What it says about agents cannot be trusted.
    #[error(
        "{path} is damaged ({finding}): restore it from a backup, or move it and its -wal file away to begin with an \
         empty one, in which every agent has to log in again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        finding: String,
    },
    /// SQLite refused for another reason.
    #[error("{path} cannot be opened: {advice} ({source})", advice = advice(.source))]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The machine has no room for one more thread.
    #[error("the store's thread cannot be started: {0}")]
    Thread(io::Error),
}

/// A store that may be written to, and what it knew.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) restored: Restored,
}

/// Opens a connection. A store in memory is shared by its path between the connections of this process
/// (<https://www.sqlite.org/src/file/src/memdb.c>).
pub(super) fn connect(path: &Path, only_read: bool) -> rusqlite::Result<Connection> {
    let in_memory = path.starts_with(IN_MEMORY);
    let mut flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags |= match only_read && !in_memory {
        true => OpenFlags::SQLITE_OPEN_READ_ONLY,
        false => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let connection = if in_memory {
        let name = format!("file:/{}?vfs=memdb", path.display());
        Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_URI)?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

impl OpenError {
    /// What SQLite's refusal means to a person.
    fn of(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match (&source, source.sqlite_error_code()) {
            (_, Some(ErrorCode::NotADatabase)) => Self::NotSqlite(path),
            (_, Some(ErrorCode::ReadOnly)) => Self::ReadOnly(path),
            (rusqlite::Error::FromSqlConversionFailure(..), _) | (_, Some(ErrorCode::DatabaseCorrupt)) => {
                Self::Damaged { path, finding: source.to_string() }
            }
            _ => Self::Sqlite { path, source },
        }
    }
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    if path.as_os_str() == IN_MEMORY {
        return prepare(&path.join(Uuid::new_v4().to_string()), None);
    }
    if path.is_dir() {
        return Err(OpenError::Directory(path.to_owned()));
    }
    // By its real name, so that two names of one file share one lock, as they share SQLite's own files.
    let path = std::path::absolute(path)
        .and_then(|path| if path.exists() { path.canonicalize() } else { Ok(path) })
        .map_err(|source| OpenError::Unreachable { path: path.to_owned(), source })?;
    let lock = lock(&path)?;
    prepare(&path, Some(lock))
}

/// Keeps other daemons out for as long as the returned connection lives, the process's sudden death included. SQLite's
/// own lock on an empty file beside the store serves; on the store itself it would keep readers and backups out too.
fn lock(path: &Path) -> Result<Connection, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    let name = PathBuf::from(name);
    let held = connect(&name, false).and_then(|lock| {
        lock.execute_batch("BEGIN EXCLUSIVE")?;
        Ok(lock)
    });
    held.map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy) => OpenError::InUse(path.to_owned()),
        _ => OpenError::of(&name, source),
    })
}

/// Checks the file, brings its schema up to date and reads it. Nothing is written before it is known to be ours.
fn prepare(path: &Path, lock: Option<Connection>) -> Result<Opened, OpenError> {
    let refused = |source| OpenError::of(path, source);
    let mut db = connect(path, false).map_err(refused)?;
    let version = check(path, &db)?;
    // Readers never hold up the writer; and what is committed is on disk, power failure included.
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(refused)?;
    db.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;").map_err(refused)?;
    migrate(&mut db, MIGRATIONS, version).map_err(refused)?;
    // Only what is read at start is checked, so that starting takes no longer as the records grow.
    for table in ["logins", "agents"] {
        let finding: String =
            db.query_row(&format!("PRAGMA quick_check({table})"), [], |row| row.get(0)).map_err(refused)?;
        if finding != "ok" {
            return Err(OpenError::Damaged { path: path.to_owned(), finding });
        }
    }
    let store = Store::new(path.to_owned(), db, lock)
        .map_err(|source| OpenError::Unreachable { path: path.to_owned(), source })?;
    let restored = store.restore().map_err(refused)?;
    Ok(Opened { store, restored })
}

/// Checks that the file is this program's, or empty, and may be written. Returns its schema.
fn check(path: &Path, db: &Connection) -> Result<usize, OpenError> {
    let number = |query: &str| db.query_row(query, [], |row| row.get::<_, i64>(0)).map_err(|e| OpenError::of(path, e));
    let found = number("PRAGMA user_version")?;
    let application = number("PRAGMA application_id")?;
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0 && found == 0 && application == 0;
    if application != APPLICATION && !empty {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    let known = MIGRATIONS.len();
    let version = usize::try_from(found).ok().filter(|&version| version <= known);
    let version = version.ok_or(OpenError::Newer { path: path.to_owned(), found, known })?;
    match db.is_readonly("main") {
        Ok(false) => Ok(version),
        Ok(true) => Err(OpenError::ReadOnly(path.to_owned())),
        Err(source) => Err(OpenError::of(path, source)),
    }
}

/// Takes the steps that a file of this `version` has not had, all or none.
fn migrate(db: &mut Connection, steps: &[&str], version: usize) -> rusqlite::Result<()> {
    let missing = steps.get(version..).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", i64::try_from(steps.len()).unwrap_or(i64::MAX))?;
    transaction.commit()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_takes_the_missing_steps_or_none() {
        let mut db = Connection::open_in_memory().unwrap();
        let version = |db: &Connection| db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap();
        migrate(&mut db, &["CREATE TABLE a (x)"], 0).unwrap();
        let broken = ["not read again", "CREATE TABLE b (x)", "CREATE TABLE a (y)"];
        migrate(&mut db, &broken, 1).expect_err("the last step must fail");
        assert_eq!(version(&db), 1);
        db.prepare("SELECT * FROM b").expect_err("nor may the step before it stay");
        migrate(&mut db, &broken[..2], 1).unwrap();
        assert_eq!(version(&db), 2);
        migrate(&mut db, &broken[..2], 2).unwrap();
    }
}
