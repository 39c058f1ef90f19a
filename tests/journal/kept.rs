//! What is kept, for a restart and for reports.

use std::path::Path;
use std::time::Duration;

use freeswitch_queue::acd::fact::{Fact, Record};
use freeswitch_queue::acd::ids::{AgentId, OfferId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Filter, Restored};
use rusqlite::Connection;
use uuid::Uuid;

use super::{Place, all, anna, call, ended, entered, open, service};

#[tokio::test]
async fn q18_q6_q19_what_a_restart_needs_is_restored() {
    let place = Place::new();
    let (journal, restored) = open(&place.file());
    assert_eq!(restored, Restored::default(), "a new store knows nothing");
    let (other, bruno) = (QueueNumber::new("99901").unwrap(), AgentId::new("1002").unwrap());
    journal.login(anna(), service(), Wall(1)).await.unwrap();
    journal.login(anna(), service(), Wall(2)).await.unwrap();
    journal.login(bruno.clone(), service(), Wall(3)).await.unwrap();
    journal.login(anna(), other.clone(), Wall(4)).await.unwrap();
    journal.logout(bruno.clone(), service(), Wall(5)).await.unwrap();
    let wrap_up = |agent, until| Fact::WrapUpStarted { agent, queue: service(), until: Wall(until) };
    journal.record(ended(6));
    journal.record(ended(7));
    journal.record(Record { at: Wall(7), fact: wrap_up(anna(), 37) });
    journal.record(Record { at: Wall(8), fact: wrap_up(bruno.clone(), 38) });
    journal.record(Record { at: Wall(9), fact: Fact::WrapUpEnded { agent: bruno } });
    journal.close().await.unwrap();
    let (journal, restored) = open(&place.file());
    assert_eq!(restored.logins, [(anna(), service(), Wall(1)), (anna(), other, Wall(4))]);
    assert_eq!(restored.last_conversation_end, [(anna(), Wall(7))]);
    assert_eq!(restored.wrap_up_until, [(anna(), Wall(37))]);
    assert_eq!(all(&journal).await.len(), 10, "a login is one record, not two");
}

#[tokio::test]
async fn q19_calls_without_an_end_are_restored() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    let offer = OfferId(Uuid::nil());
    let answered = |n, at| Record {
        at: Wall(at),
        fact: Fact::CallAnswered { offer, call: call(n), queue: service(), agent: anna(), waited: Duration::ZERO },
    };
    let returned = |n, at| Record {
        at: Wall(at),
        fact: Fact::CallReturned { call: call(n), queue: service(), waited: Duration::ZERO },
    };
    let day = 24 * 3600 * 1000;
    // Call 0 is older than a day, 1 was answered and ended, 2 talks, 3 waits, 4 went and came back.
    let facts = [
        entered(0, 0),
        entered(1, day),
        answered(1, day + 1),
        ended(day + 2),
        entered(2, day + 3),
        answered(2, day + 4),
        entered(3, day + 5),
        entered(4, day + 6),
        returned(4, day + 7),
        entered(4, day + 8),
    ];
    facts.iter().cloned().for_each(|record| journal.record(record));
    journal.close().await.unwrap();
    let (_, restored) = open(&place.file());
    assert_eq!(restored.waiting, [entered(3, day + 5), entered(4, day + 8)]);
    assert_eq!(restored.conversations, [answered(2, day + 4)]);
}

#[tokio::test]
async fn q23_records_are_found_by_time_call_queue_and_agent() {
    let (journal, _) = open(Path::new(":memory:"));
    for n in 0..2000 {
        journal.record(entered(n, i64::try_from(n).unwrap()));
    }
    journal.record(ended(5000));
    assert_eq!(all(&journal).await.len(), 2001, "more than one batch");
    let found = async |filter: Filter| journal.records(filter).await.unwrap();
    let none = Filter::default;
    assert_eq!(found(Filter { call: Some(call(7)), ..none() }).await, [entered(7, 7)]);
    assert_eq!(found(Filter { agent: Some(anna()), queue: Some(service()), ..none() }).await, [ended(5000)]);
    assert_eq!(found(Filter { queue: QueueNumber::new("1").ok(), ..none() }).await, []);
    assert_eq!(
        found(Filter { from: Some(Wall(10)), until: Some(Wall(20)), limit: 2, ..none() }).await,
        [entered(10, 10), entered(11, 11)]
    );
    assert_eq!(found(Filter { from: Some(Wall(1999)), until: Some(Wall(5000)), ..none() }).await.len(), 1);
}

#[tokio::test]
async fn q23_the_columns_for_reports_are_read_out_of_the_facts() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    journal.record(ended(5));
    journal.close().await.unwrap();
    let columns = "SELECT concat_ws(' ', at, kind, call, offer, queue, agent, duration_ms) FROM records";
    let found: String = Connection::open(place.file()).unwrap().query_row(columns, [], |row| row.get(0)).unwrap();
    assert_eq!(found, format!("5 conversation_ended call-1 {} 99900 1001 1", Uuid::nil()));
}

#[tokio::test]
async fn records_past_their_time_are_deleted_and_logins_are_not() {
    let place = Place::new();
    let day = 24 * 3600 * 1000;
    let (journal, _) = open(&place.file());
    journal.login(anna(), service(), Wall(0)).await.unwrap();
    (0..1200).for_each(|n| journal.record(entered(n, day)));
    journal.record(entered(0, 2 * day));
    journal.record(entered(0, 402 * day));
    journal.close().await.unwrap();
    let (journal, _) = open(&place.file());
    let step_by_step = async { while all(&journal).await.len() > 2 {} };
    tokio::time::timeout(Duration::from_secs(60), step_by_step).await.unwrap();
    let left = all(&journal).await;
    assert_eq!(left, [entered(0, 2 * day), entered(0, 402 * day)]);
    journal.close().await.unwrap();
    assert_eq!(open(&place.file()).1.logins.len(), 1);
}
