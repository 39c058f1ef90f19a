//! Readers of facts and views.

use serde_json::Value;

use crate::acd::fact::Record;

/// The target of the log lines that are facts.
const FACTS: &str = "freeswitch_queue::facts";

/// Writes a fact to the log: one line, with the fields that the record has in the store.
pub fn log(record: &Record) {
    if !tracing::enabled!(target: FACTS, tracing::Level::INFO) {
        return;
    }
    let fields = match serde_json::to_value(record) {
        Ok(fields) => fields,
        Err(error) => return tracing::error!(%error, "a fact cannot be written to the log"),
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let moment = |name: &str| fields.get(name).and_then(Value::as_i64);
    let count = |name: &str| fields.get(name).and_then(Value::as_u64);
    let returned = fields.get("returned").and_then(Value::as_bool);
    // A log line has no fields within fields: `onward` is a word, or a word with where to.
    let onward = fields.get("onward").and_then(Value::as_object).and_then(|onward| onward.iter().next());
    // What a record does not have is left out.
    tracing::info!(
        target: FACTS,
        fact = text("fact"),
        at = moment("at"),
        call = text("call"),
        offer = text("offer"),
        queue = text("queue"),
        agent = text("agent"),
        caller = text("caller"),
        party = text("party"),
        party_channel = text("party_channel"),
        first_entered = moment("first_entered"),
        returned,
        cause = text("cause"),
        sip_status = count("sip_status"),
        waited_ms = count("waited_ms"),
        talked_ms = count("talked_ms"),
        by = text("by"),
        user = text("user"),
        onward = onward.map_or(text("onward"), |(word, _)| Some(word.as_str())),
        onward_to = onward.and_then(|(_, to)| to.as_str()),
        until = moment("until"),
    );
}
