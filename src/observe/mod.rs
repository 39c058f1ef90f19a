//! Logs and other readers of facts: lossy and bounded, so that none of them ever delays a call (Q109).

mod output;

use std::borrow::Cow;

use serde_json::Value;

use crate::acd::fact::Record;

pub use output::{Format, LastLines, lost_lines, on_one_line, start};

/// The log target of facts.
const FACTS: &str = "freeswitch_queue::facts";

/// How many of the last digits of a masked number are shown: enough to tell two callers apart.
const SHOWN: usize = 3;

/// Logs a fact on one line, with the fields that the record has in the store. With `masked`, it shows only the last
/// digits of callers' numbers.
pub fn log(record: &Record, masked: bool) {
    if !tracing::enabled!(target: FACTS, tracing::Level::INFO) {
        return;
    }
    let fields = match serde_json::to_value(record) {
        Ok(fields) => fields,
        Err(error) => return tracing::error!(%error, "a fact cannot be written to the log"),
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let number = |name: &str| text(name).map(|n| if masked { Cow::from(mask(n)) } else { Cow::from(n) });
    let moment = |name: &str| fields.get(name).and_then(Value::as_i64);
    let count = |name: &str| fields.get(name).and_then(Value::as_u64);
    let returned = fields.get("returned").and_then(Value::as_bool);
    // A log line has no nested fields: `onward` is a word, or a word with a destination.
    let onward = fields.get("onward").and_then(Value::as_object).and_then(|onward| onward.iter().next());
    // tracing leaves out the fields that a record does not have.
    tracing::info!(
        target: FACTS,
        fact = text("fact"),
        at = moment("at"),
        call = text("call"),
        offer = text("offer"),
        queue = text("queue"),
        agent = text("agent"),
        caller = number("caller").as_deref(),
        party = number("party").as_deref(),
        party_channel = text("party_channel"),
        first_entered = moment("first_entered"),
        returned,
        head_start_ms = count("head_start_ms"),
        own_head_start_ms = count("own_head_start_ms"),
        cause = text("cause"),
        sip_status = count("sip_status"),
        waited_ms = count("waited_ms"),
        talked_ms = count("talked_ms"),
        calls = count("calls"),
        by = text("by"),
        user = text("user"),
        onward = onward.map_or(text("onward"), |(word, _)| Some(word.as_str())),
        onward_to = onward.and_then(|(_, to)| to.as_str()),
        until = moment("until"),
        lasts_ms = count("lasts_ms"),
    );
}

/// Hides all but the last digits of a number.
fn mask(number: &str) -> String {
    let hidden = number.chars().count().saturating_sub(SHOWN);
    number.chars().enumerate().map(|(at, char)| if at < hidden { '*' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_number_shows_its_last_digits() {
        assert_eq!(["0791234567", "+41", "12", "", "anna"].map(mask), ["*******567", "+41", "12", "", "*nna"]);
    }
}
