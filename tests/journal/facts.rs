//! Every kind of fact through the store and the log.

use std::sync::Arc;
use std::time::Duration;

use freeswitch_queue::acd::fact::{
    Asker, CancelCause, EndedBy, Fact, LossCause, MissCause, Onward, Record, RefusalCause, TimeoutCause,
};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Journal, Options};
use freeswitch_queue::observe;
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::log::Log;
use super::{all, patient};

fn any_fact() -> impl Strategy<Value = Fact> {
    let agent = "[A-Za-z0-9._+-]{1,64}".prop_map(|text| AgentId::new(&text).unwrap());
    let queue = "[0-9]{1,32}".prop_map(|text| QueueNumber::new(&text).unwrap());
    let call = "[A-Za-z0-9_.@:-]{1,256}".prop_map(|text| CallId::new(&text).unwrap());
    let offer = any::<u128>().prop_map(|bits| OfferId(Uuid::from_u128(bits)));
    let text = any::<String>().prop_map(|text| Arc::<str>::from(text.as_str()));
    let (wall, lasted) = (any::<i64>().prop_map(Wall), any::<u64>().prop_map(Duration::from_millis));
    let miss = prop::sample::select(vec![
        MissCause::NoAnswer,
        MissCause::TimeLimit,
        MissCause::Busy,
        MissCause::Declined,
        MissCause::Unavailable,
        MissCause::Cancelled,
        MissCause::Forwarded,
        MissCause::Timeout,
        MissCause::Refused { sip_status: 503 },
        MissCause::Silent,
        MissCause::NotRegistered,
        MissCause::Unknown,
        MissCause::GatewayDown,
        MissCause::NotConnected,
        MissCause::Failed,
    ]);
    let cancel = prop::sample::select(vec![
        CancelCause::CallerGone,
        CancelCause::AnsweredElsewhere,
        CancelCause::CallTimedOut,
        CancelCause::LoggedOut,
        CancelCause::Reconfigured,
        CancelCause::CallTaken,
        CancelCause::Draining,
        CancelCause::Restart,
    ]);
    let loss = prop::sample::select(vec![LossCause::SwitchGone, LossCause::Restart, LossCause::Defect]);
    let timeout = prop::sample::select(vec![
        TimeoutCause::MaxWait,
        TimeoutCause::NobodyLoggedIn,
        TimeoutCause::LastAgentLoggedOut,
        TimeoutCause::QueueRemoved,
        TimeoutCause::SecondTime,
    ]);
    let by = prop::sample::select(vec![
        EndedBy::Caller,
        EndedBy::Agent,
        EndedBy::Transfer,
        EndedBy::Switch,
        EndedBy::Unknown,
    ]);
    let onward = prop_oneof![
        Just(Onward::HungUp),
        text.clone().prop_map(Onward::Transferred),
        queue.clone().prop_map(Onward::Queue),
    ];
    let subjects = (offer, call, queue, agent);
    let details = ((miss, cancel, timeout, loss), by, onward, text, any::<bool>(), wall, lasted);
    (0..20, subjects, details).prop_map(|(kind, subjects, details)| {
        let (offer, call, queue, agent) = subjects;
        let ((miss, cancel, timeout, loss), by, onward, caller, returned, wall, lasted) = details;
        let asker = match lasted.as_millis() % 4 {
            0 => Asker::Phone { user: caller.clone(), call: call.clone() },
            1 => Asker::File,
            2 => Asker::Operator,
            _ => Asker::Api,
        };
        match kind {
            0 => Fact::CallEntered {
                call,
                queue,
                caller,
                first_entered: wall,
                returned,
                head_start: lasted,
                own_head_start: lasted,
            },
            1 => Fact::OfferMade { offer, call, queue, agent },
            2 => Fact::OfferMissed { offer, call, queue, agent, cause: miss },
            3 => Fact::OfferCancelled { offer, call, queue, agent, cause: cancel },
            4 => Fact::CallAnswered { offer, call, queue, agent, waited: lasted },
            5 => Fact::ConversationEnded { offer, call, queue, agent, talked: lasted, by },
            6 => Fact::CallAbandoned { call, queue, waited: lasted },
            7 => Fact::CallTimedOut { call, queue, cause: timeout, waited: lasted },
            8 => Fact::CallWentOn { call, queue, onward },
            9 => Fact::CallReturned { call, queue, waited: lasted },
            10 => Fact::CallLost { call, queue, waited: lasted, cause: loss },
            11 => Fact::AgentLoggedIn { agent, queue, by: asker },
            12 => Fact::AgentLoggedOut { agent, queue, by: asker },
            13 => Fact::WrapUpStarted { agent, queue, until: wall, lasts: lasted },
            14 => Fact::WrapUpEnded { agent },
            15 => Fact::PartyChanged { offer, agent, queue, party: caller, party_channel: call.clone(), call },
            16 => Fact::HeadStartChanged { call, queue, head_start: lasted },
            17 => Fact::CallRefused { call, queue, caller, cause: RefusalCause::Full, returned },
            18 => Fact::ShiftBegan { agent, calls: 7, talked: lasted },
            _ => Fact::CallTaken { call, queue, waited: lasted, by: Some("1002".into()) },
        }
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    ((0..i64::MAX).prop_map(Wall), any_fact()).prop_map(|(at, fact)| Record { at, fact })
}

/// Q23: the record of a login names who asked for it; a record from before that field is read as well.
#[test]
fn q23_the_record_of_a_login_names_who_asked_for_it() {
    let read = |json: &str| match serde_json::from_str::<Record>(json).unwrap().fact {
        Fact::AgentLoggedIn { by, .. } | Fact::AgentLoggedOut { by, .. } => by,
        other => panic!("{other:?}"),
    };
    let record = |kind: &str, by: &str| format!(r#"{{"at":1,"fact":"{kind}","agent":"1001","queue":"99900"{by}}}"#);
    let phone = r#","by":"phone","user":"1001","call":"c""#;
    let dialled = Asker::Phone { user: "1001".into(), call: CallId::new("c").unwrap() };
    for kind in ["agent_logged_in", "agent_logged_out"] {
        assert_eq!(read(&record(kind, phone)), dialled);
        assert_eq!(read(&record(kind, r#","by":"file""#)), Asker::File);
        assert_eq!(read(&record(kind, "")), Asker::Unknown);
        assert_eq!(read(&record(kind, r#","by":"somebody new""#)), Asker::Unknown);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Q23: every fact is read back as it was recorded.
    #[test]
    fn q23_every_fact_survives_the_store(records in prop::collection::vec(any_record(), 1..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (journal, _) = Journal::open(":memory:", Options { keep: Duration::MAX, ..patient() }).unwrap();
        records.iter().cloned().for_each(|record| journal.record(record));
        let found = runtime.block_on(all(&journal));
        prop_assert_eq!(found, records);
    }

    /// Q23: a line of the log has every field of the record, with the same name and value.
    #[test]
    fn q23_a_line_of_the_log_has_the_fields_of_its_record(records in prop::collection::vec(any_record(), 1..100)) {
        let (log, guard) = Log::begin_json();
        records.iter().for_each(|record| observe::log(record, false));
        drop(guard);
        let text = log.text();
        prop_assert_eq!(text.lines().count(), records.len(), "{}", text);
        for (line, record) in text.lines().zip(&records) {
            let line: Value = serde_json::from_str(line).unwrap();
            prop_assert_eq!(&line["target"], "freeswitch_queue::facts");
            let mut fields = line["fields"].as_object().unwrap().clone();
            if let Some(to) = fields.remove("onward_to") {
                let word = fields.remove("onward").unwrap();
                fields.insert("onward".to_owned(), serde_json::json!({ word.as_str().unwrap(): to }));
            }
            prop_assert_eq!(Value::Object(fields), serde_json::to_value(record).unwrap());
        }
    }
}
