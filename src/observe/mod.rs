//! Readers of facts and views.

use crate::acd::fact::Record;

/// Writes a fact to the log: one line, the same JSON that the store keeps.
pub fn log(record: &Record) {
    match serde_json::to_string(record) {
        Ok(json) => tracing::info!(target: "freeswitch_queue::facts", "{json}"),
        Err(error) => tracing::error!(%error, "a fact cannot be written to the log"),
    }
}
