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
    let number = |name: &str| fields.get(name).and_then(Value::as_i64);
    let returned = fields.get("returned").and_then(Value::as_bool);
    // A log line has no fields within fields: `onward` is a word, or a word with where to.
    let onward = fields.get("onward").and_then(Value::as_object).and_then(|onward| onward.iter().next());
    // What a record does not have is left out.
    tracing::info!(
        target: FACTS,
        fact = text("fact"),
        at = number("at"),
        call = text("call"),
        offer = text("offer"),
        queue = text("queue"),
        agent = text("agent"),
        caller = text("caller"),
        first_entered = number("first_entered"),
        returned,
        cause = text("cause"),
        waited_ms = number("waited_ms"),
        talked_ms = number("talked_ms"),
        by = text("by"),
        onward = onward.map_or(text("onward"), |(word, _)| Some(word.as_str())),
        onward_to = onward.and_then(|(_, to)| to.as_str()),
        until = number("until"),
    );
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use uuid::Uuid;

    use crate::acd::fact::{CancelCause, EndedBy, Fact, MissCause, Onward, TimeoutCause};
    use crate::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
    use crate::acd::time::Wall;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// One of each kind, with every field there is.
    fn all() -> Vec<Fact> {
        let (call, agent) = (CallId::new("x").unwrap(), AgentId::new("1001").unwrap());
        let (queue, offer) = (QueueNumber::new("99900").unwrap(), OfferId(Uuid::from_u128(7)));
        let waited = Duration::from_millis(1500);
        let onwards = [Onward::HungUp, Onward::Transferred("1005".into()), Onward::Queue(queue.clone())];
        let q = || queue.clone();
        let mut all = vec![
            Fact::CallEntered {
                call: call.clone(),
                queue: q(),
                caller: "0791".into(),
                first_entered: Wall(3),
                returned: true,
            },
            Fact::OfferMade { offer, call: call.clone(), queue: q(), agent: agent.clone() },
            Fact::OfferMissed { offer, call: call.clone(), queue: q(), agent: agent.clone(), cause: MissCause::Busy },
            Fact::OfferCancelled {
                offer,
                call: call.clone(),
                queue: q(),
                agent: agent.clone(),
                cause: CancelCause::LoggedOut,
            },
            Fact::CallAnswered { offer, call: call.clone(), queue: q(), agent: agent.clone(), waited },
            Fact::ConversationEnded {
                offer,
                call: call.clone(),
                queue: q(),
                agent: agent.clone(),
                talked: waited,
                by: EndedBy::Agent,
            },
            Fact::CallAbandoned { call: call.clone(), queue: q(), waited },
            Fact::CallTimedOut { call: call.clone(), queue: q(), cause: TimeoutCause::MaxWait, waited },
            Fact::CallReturned { call: call.clone(), queue: q(), waited },
            Fact::CallTaken { call: call.clone(), queue: q(), waited },
            Fact::CallLost { call: call.clone(), queue: q(), waited },
            Fact::AgentLoggedIn { agent: agent.clone(), queue: q() },
            Fact::AgentLoggedOut { agent: agent.clone(), queue: q() },
            Fact::WrapUpStarted { agent: agent.clone(), queue: q(), until: Wall(9) },
            Fact::WrapUpEnded { agent },
        ];
        all.extend(onwards.map(|onward| Fact::CallWentOn { call: call.clone(), queue: q(), onward }));
        all
    }

    /// Q23: a line of the log has every field of the record, under the same name and with the same value.
    #[test]
    fn q23_a_line_has_the_fields_of_its_record() {
        let log_file = Log::default();
        let made = log_file.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || made.clone()).finish();
        let records: Vec<Record> = all().into_iter().map(|fact| Record { at: Wall(1_795_338_000_000), fact }).collect();
        tracing::subscriber::with_default(subscriber, || records.iter().for_each(log));
        let text = String::from_utf8(log_file.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), records.len(), "{text}");
        for (line, record) in text.lines().zip(&records) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["target"], FACTS);
            let mut fields = line["fields"].as_object().unwrap().clone();
            if let Some(to) = fields.remove("onward_to") {
                let word = fields.remove("onward").unwrap();
                fields.insert("onward".to_owned(), serde_json::json!({ word.as_str().unwrap(): to }));
            }
            assert_eq!(Value::Object(fields), serde_json::to_value(record).unwrap());
        }
    }
}
