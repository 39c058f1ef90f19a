//! Opens the store: only this program's file, only once, only undamaged.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use uuid::Uuid;

use super::file::{IN_MEMORY, advice, connect};
use super::sqlite::{APPLICATION, MIGRATIONS, Sqlite};
use crate::acd::ids::Instance;
use crate::acd::restored::Restored;

/// The mode of new files: only the owner may read them, because the records hold callers' numbers. SQLite gives its own
/// files beside the store the same mode.
const MODE: u32 = 0o600;

/// The permission bits that an earlier version may have left open to everybody on the machine.
const OTHERS: u32 = 0o007;

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{} {why}", path.display())]
pub struct OpenError {
    /// The file that cannot be used.
    pub path: PathBuf,
    /// Why, and what to do.
    pub why: Refusal,
}

/// Why a file cannot be the store. Each text continues after the file's name.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The path is a directory.
    #[error("is a directory; `state` must name a file in it, such as state.db")]
    Directory,
    /// The file or its directory cannot be reached.
    #[error("cannot be reached ({0}); its directory must exist and belong to this user")]
    Unreachable(#[from] io::Error),
    /// The file may be read but not written.
    #[error("may not be written; give it and its directory to the user that freeswitch-queue runs as")]
    ReadOnly,
    /// Another process has it open.
    #[error("is in use by another freeswitch-queue; stop that one, or give this one a `state` of its own")]
    InUse,
    /// The file is not a SQLite file.
    #[error("is not a freeswitch-queue store (not a SQLite file); name another file in `state`, or move it away")]
    NotSqlite,
    /// The file is another program's SQLite file.
    #[error("is another program's SQLite file; name another file in `state`")]
    Foreign,
    /// A later version of this program wrote it.
    #[error(
        "was written by a newer freeswitch-queue (schema {found}, this one knows {known}): run that version, or \
         restore the copy from before the upgrade"
    )]
    Newer {
        /// The schema of the file.
        found: i64,
        /// The latest schema known here.
        known: usize,
    },
    /// The file is damaged: its content about agents cannot be trusted.
    #[error(
        "is damaged ({0}): restore it from a backup, or move it and its -wal file away to begin with an empty one, in \
         which every agent has to log in again"
    )]
    Damaged(String),
    /// SQLite refused for another reason.
    #[error("cannot be opened: {advice} ({0})", advice = advice(.0))]
    Sqlite(rusqlite::Error),
    /// The machine has no room for one more thread.
    #[error("cannot be used: its thread does not start ({0}); look at the limit of threads")]
    Thread(io::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(failure: rusqlite::Error) -> Self {
        match (&failure, failure.sqlite_error_code()) {
            (_, Some(ErrorCode::NotADatabase)) => Self::NotSqlite,
            (_, Some(ErrorCode::ReadOnly)) => Self::ReadOnly,
            (_, Some(ErrorCode::DatabaseCorrupt)) | (rusqlite::Error::FromSqlConversionFailure(..), _) => {
                Self::Damaged(failure.to_string())
            }
            _ => Self::Sqlite(failure),
        }
    }
}

/// A writable store, and the state restored from it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Sqlite,
    pub(super) restored: Restored,
}

pub(super) fn open(path: &Path) -> Result<Opened, OpenError> {
    if path.as_os_str() == IN_MEMORY {
        let path = path.join(Uuid::new_v4().to_string());
        return prepare(&path, None).map_err(|why| OpenError { path, why });
    }
    let path = real(path).map_err(|why| OpenError { path: path.to_owned(), why })?;
    let lock_file = beside(&path, "-lock");
    for file in [&path, &lock_file] {
        make(file).map_err(|why| OpenError { path: file.clone(), why })?;
    }
    let lock = match lock(&lock_file) {
        Ok(lock) => lock,
        Err(why @ Refusal::InUse) => return Err(OpenError { path, why }),
        Err(why) => return Err(OpenError { path: lock_file, why }),
    };
    match prepare(&path, Some(lock)) {
        Ok(opened) => {
            for file in [path.clone(), beside(&path, "-wal"), beside(&path, "-shm"), lock_file] {
                close_to_others(&file);
            }
            Ok(opened)
        }
        Err(why) => Err(OpenError { path, why }),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    PathBuf::from(beside)
}

/// Creates the file if it is missing, readable only by its owner whatever the umask.
fn make(file: &Path) -> Result<(), Refusal> {
    match OpenOptions::new().write(true).create_new(true).mode(MODE).open(file) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes the permissions of others on a file; those of its group are the admin's choice.
fn close_to_others(file: &Path) {
    let Ok(found) = fs::metadata(file) else { return };
    let mode = found.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return;
    }
    let file_name = file.display();
    match fs::set_permissions(file, Permissions::from_mode(mode & !OTHERS)) {
        Ok(()) => {
            tracing::warn!(file = %file_name, "everybody on this machine could read the records; now only the file's owner and group can")
        }
        Err(error) => {
            tracing::warn!(file = %file_name, %error, "everybody on this machine can read the records, and the mode cannot be changed; run chmod o-rwx on the file")
        }
    }
}

/// The canonical path, so that two names of one file share one lock, as they share SQLite's own files.
fn real(path: &Path) -> Result<PathBuf, Refusal> {
    if path.is_dir() {
        return Err(Refusal::Directory);
    }
    if path.exists() {
        return Ok(path.canonicalize()?);
    }
    let path = std::path::absolute(path)?;
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Refusal::Directory);
    };
    Ok(directory.canonicalize()?.join(name))
}

/// Keeps other daemons out while the returned connection lives; the sudden death of the process releases the lock too.
/// It is SQLite's own lock, on an empty file beside the store: on the store itself it would keep out readers and
/// backups.
fn lock(beside: &Path) -> Result<Connection, Refusal> {
    let lock = connect(beside, false)?;
    match lock.execute_batch("BEGIN EXCLUSIVE") {
        Ok(()) => Ok(lock),
        Err(failure) if failure.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Err(Refusal::InUse),
        Err(failure) => Err(failure.into()),
    }
}

/// Checks the file, migrates its schema and reads it. Nothing is written before the file is known to be ours.
fn prepare(path: &Path, lock: Option<Connection>) -> Result<Opened, Refusal> {
    let mut db = connect(path, false)?;
    let version = check(&db)?;
    // With WAL, readers never block the writer; with FULL, a commit survives a power failure.
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.execute_batch("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;")?;
    migrate(&mut db, MIGRATIONS, version)?;
    // Only the tables read at start are checked, so that the start does not slow down as the records grow.
    for table in ["logins", "agents", "queues", "life"] {
        let finding: String = db.query_row(&format!("PRAGMA quick_check({table})"), [], |row| row.get(0))?;
        if finding != "ok" {
            return Err(Refusal::Damaged(finding));
        }
    }
    let fresh = Instance::new(Uuid::new_v4().as_u128());
    let mut store = Sqlite::new(path.to_owned(), db, lock, fresh)?;
    let restored = store.read()?;
    Ok(Opened { store, restored })
}

/// Checks that the file belongs to this program or is empty, and is writable. Returns its schema.
fn check(db: &Connection) -> Result<usize, Refusal> {
    let number = |query: &str| db.query_row(query, [], |row| row.get::<_, i64>(0));
    let found = number("PRAGMA user_version")?;
    let application = number("PRAGMA application_id")?;
    let empty = number("SELECT count(*) FROM sqlite_schema")? == 0 && found == 0 && application == 0;
    if application != APPLICATION && !empty {
        return Err(Refusal::Foreign);
    }
    let known = MIGRATIONS.len();
    let version = usize::try_from(found).ok().filter(|&version| version <= known);
    let version = version.ok_or(Refusal::Newer { found, known })?;
    if db.is_readonly("main")? { Err(Refusal::ReadOnly) } else { Ok(version) }
}

/// Runs the migrations that a file of this `version` lacks, all or none.
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
    fn a_migration_runs_all_missing_steps_or_none() {
        let mut db = Connection::open_in_memory().unwrap();
        let version = |db: &Connection| db.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0)).unwrap();
        migrate(&mut db, &["CREATE TABLE a (x)"], 0).unwrap();
        let broken = ["not read again", "CREATE TABLE b (x)", "CREATE TABLE a (y)"];
        migrate(&mut db, &broken, 1).expect_err("the last step must fail");
        assert_eq!(version(&db), 1);
        db.prepare("SELECT * FROM b").expect_err("the step before it must not stay either");
        migrate(&mut db, &broken[..2], 1).unwrap();
        assert_eq!(version(&db), 2);
        migrate(&mut db, &broken[..2], 2).unwrap();
    }
}
