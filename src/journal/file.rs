//! The SQLite file: connections to it, decoding of its rows, and advice for a person when it fails.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::store::{Numbered, StoreError};
use crate::acd::fact::Record;

/// The path that stands for a store in memory.
pub(super) const IN_MEMORY: &str = ":memory:";

/// How long SQLite itself waits for another program's lock before an attempt counts as failed.
const BUSY: Duration = Duration::from_millis(250);
/// Opens a connection. The connections of this process share a store in memory by its path
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

/// Advice for a person about a failure of SQLite.
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

impl From<rusqlite::Error> for StoreError {
    fn from(failure: rusqlite::Error) -> Self {
        Self(format!("{} ({failure})", advice(&failure)))
    }
}

/// Decodes a record from a row of its number and its JSON.
pub(super) fn numbered(row: &rusqlite::Row<'_>) -> rusqlite::Result<Numbered> {
    let (number, json): (i64, String) = (row.get(0)?, row.get(1)?);
    let record: Record = serde_json::from_str(&json).map_err(|e| unreadable(1, e))?;
    Ok(Numbered { number: u64::try_from(number).unwrap_or(0), record })
}

pub(super) fn unreadable(column: usize, why: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(why))
}
