//! Reading records back, for reports.

use std::path::{Path, PathBuf};

use rusqlite::ToSql;

use super::open::connect;
use super::store;
use crate::acd::fact::Record;
use crate::acd::ids::{AgentId, CallId, QueueNumber};
use crate::acd::time::Wall;

/// Which records to read; by default the oldest 10 000 of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// From this moment on.
    pub from: Option<Wall>,
    /// Before this moment.
    pub until: Option<Wall>,
    /// Of this call.
    pub call: Option<CallId>,
    /// Of this queue.
    pub queue: Option<QueueNumber>,
    /// Of this agent.
    pub agent: Option<AgentId>,
    /// At most this many.
    pub limit: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Self { from: None, until: None, call: None, queue: None, agent: None, limit: 10_000 }
    }
}

/// Records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite refused, or a record in the file is not one.
    #[error("the records in {path} cannot be read: {advice} ({source})", advice = store::advice(.source))]
    Sqlite {
        /// The store.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The daemon is going down.
    #[error("the records are no longer read: the daemon is stopping")]
    Stopped,
}

pub(super) fn records(path: &Path, filter: &Filter) -> Result<Vec<Record>, ReadError> {
    select(path, filter).map_err(|source| ReadError::Sqlite { path: path.to_owned(), source })
}

fn select(path: &Path, filter: &Filter) -> rusqlite::Result<Vec<Record>> {
    let (from, until) = (filter.from.map(|at| at.0), filter.until.map(|at| at.0));
    let call = filter.call.as_ref().map(CallId::as_str);
    let queue = filter.queue.as_ref().map(QueueNumber::as_str);
    let agent = filter.agent.as_ref().map(AgentId::as_str);
    let mut query = "SELECT json FROM records WHERE true".to_owned();
    let mut values: Vec<&dyn ToSql> = Vec::new();
    // Conditions are added one by one, so that SQLite sees which index serves.
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
    query += " ORDER BY at, id LIMIT ?";
    values.push(&filter.limit);
    connect(path, true)?.prepare(&query)?.query_map(values.as_slice(), store::record)?.collect()
}
