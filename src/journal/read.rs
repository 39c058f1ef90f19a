//! Reads records back, for reports and for readers of the feed.

use std::path::PathBuf;

use rusqlite::ToSql;

use super::file::{connect, numbered};
use super::store::{Filter, Numbered, Reader, StoreError};
use crate::acd::ids::{AgentId, CallId, QueueNumber};

/// Records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store cannot be read.
    #[error("the records in {store} cannot be read: {source}")]
    Store {
        /// The name of the store.
        store: String,
        /// The failure, and what to do about it.
        source: StoreError,
    },
    /// The daemon is going down.
    #[error("the records are no longer read: the daemon is stopping")]
    Stopped,
}

/// Reads a SQLite file, with a separate connection for each query.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Reader for File {
    fn query(&self, filter: &Filter) -> Result<Vec<Numbered>, StoreError> {
        let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
        let (from, until) = (filter.from.map(|at| at.0), filter.until.map(|at| at.0));
        let call = filter.call.as_ref().map(CallId::as_str);
        let queue = filter.queue.as_ref().map(QueueNumber::as_str);
        let agent = filter.agent.as_ref().map(AgentId::as_str);
        let mut query = "SELECT id, json FROM records WHERE id > ?".to_owned();
        let mut values: Vec<&dyn ToSql> = vec![&after];
        // Only the conditions in use are in the query, so that SQLite can choose an index.
        let mut also = |set: bool, condition: &str, value| {
            if set {
                query += " AND ";
                query += condition;
                query += " ?";
                values.push(value);
            }
        };
        also(from.is_some(), "at >=", &from as &dyn ToSql);
        also(until.is_some(), "at <", &until);
        also(call.is_some(), "call =", &call);
        also(queue.is_some(), "queue =", &queue);
        also(agent.is_some(), "agent =", &agent);
        query += " ORDER BY id LIMIT ?";
        values.push(&filter.limit);
        let db = connect(&self.path, true)?;
        let mut asked = db.prepare(&query)?;
        let mut rows = asked.query(values.as_slice())?;
        let (mut found, mut unread) = (Vec::new(), 0_u64);
        while let Some(row) = rows.next()? {
            match numbered(row) {
                Ok(record) => found.push(record),
                Err(_) => unread += 1,
            }
        }
        if unread > 0 {
            tracing::warn!(path = %self.path.display(), unread, "records of a later version cannot be read and are missing from an answer");
        }
        Ok(found)
    }
}
