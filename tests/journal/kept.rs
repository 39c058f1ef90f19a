//! The records that the store keeps for a restart and for reports.

use std::path::Path;
use std::time::Duration;

use freeswitch_queue::acd::fact::{CancelCause, Fact, Record};
use freeswitch_queue::acd::ids::{AgentId, OfferId, QueueNumber};
use freeswitch_queue::acd::time::{Mono, Now, Wall};
use freeswitch_queue::journal::{Alive, Filter, Journal, Restored, WrapUp};
use rusqlite::Connection;
use uuid::Uuid;

use super::{Place, Shelf, all, anna, call, ended, entered, open, service};

const DAY: i64 = 24 * 3600 * 1000;

fn offer(n: u128) -> OfferId {
    OfferId(Uuid::from_u128(n))
}

fn made(n: u128, caller: usize, at: i64) -> Record {
    let fact = Fact::OfferMade { offer: offer(n), call: call(caller), queue: service(), agent: anna() };
    Record { at: Wall(at), fact }
}

fn answered(n: u128, caller: usize, at: i64) -> Record {
    let (call, queue, agent, waited) = (call(caller), service(), anna(), Duration::ZERO);
    Record { at: Wall(at), fact: Fact::CallAnswered { offer: offer(n), call, queue, agent, waited } }
}

fn lives(journal: &Journal, at: i64) {
    let mono = Mono(Duration::from_millis(at.unsigned_abs()));
    journal.alive(Now { mono, wall: Wall(at) }, Wall(at + 1), true);
}

/// Waits, in real time, for the store's own thread.
async fn until(mut done: impl AsyncFnMut() -> bool) {
    let step_by_step = async { while !done().await {} };
    tokio::time::timeout(Duration::from_secs(60), step_by_step).await.unwrap();
}

#[tokio::test]
async fn q18_q6_q19_the_state_for_a_restart_is_restored() {
    for shelf in Shelf::both() {
        let (journal, restored) = shelf.open();
        assert_eq!(restored, Restored::default(), "a new store is empty");
        let (other, bruno) = (QueueNumber::new("99901").unwrap(), AgentId::new("1002").unwrap());
        journal.login(anna(), service(), Wall(1)).await.unwrap();
        journal.login(anna(), service(), Wall(2)).await.unwrap();
        journal.login(bruno.clone(), service(), Wall(3)).await.unwrap();
        journal.login(anna(), other.clone(), Wall(4)).await.unwrap();
        journal.logout(bruno.clone(), service(), Wall(5)).await.unwrap();
        let lasts = Duration::from_millis(30);
        let wrap_up = |agent, until| Fact::WrapUpStarted { agent, queue: service(), until: Wall(until), lasts };
        journal.record(ended(6));
        journal.record(ended(7));
        journal.record(Record { at: Wall(7), fact: wrap_up(anna(), 37) });
        journal.record(Record { at: Wall(8), fact: wrap_up(bruno.clone(), 38) });
        journal.record(Record { at: Wall(9), fact: Fact::WrapUpEnded { agent: bruno } });
        journal.close().await.unwrap();
        drop(journal);
        let (journal, restored) = shelf.open();
        assert_eq!(restored.logins, [(anna(), service(), Wall(1)), (anna(), other, Wall(4))]);
        assert_eq!(restored.last_conversation_end, [(anna(), Wall(7))]);
        assert_eq!(restored.wrap_ups, [WrapUp { agent: anna(), until: Wall(37), lasts }]);
        assert_eq!(all(&journal).await.len(), 10, "a login is one record, not two");
    }
}

/// Q6, Q108: the order of the agents' last conversations is that of their line's time, whatever the calendar showed,
/// and whenever their ends were noticed.
#[tokio::test]
async fn q6_q108_the_last_conversations_are_restored_in_their_order() {
    for shelf in Shelf::both() {
        let (journal, _) = shelf.open();
        let of = |agent: &str, at| {
            let Fact::ConversationEnded { offer, call, queue, talked, by, .. } = ended(at).fact else { unreachable!() };
            let agent = AgentId::new(agent).unwrap();
            Record { at: Wall(at), fact: Fact::ConversationEnded { offer, call, queue, agent, talked, by } }
        };
        journal.record(of("1003", 5_000));
        journal.record(of("1004", 4_000));
        // The calendar is set forward and back.
        journal.alive(Now { mono: Mono(Duration::from_secs(6)), wall: Wall(9 * DAY) }, Wall(6_000), true);
        journal.record(of("1001", 9 * DAY + 1_000));
        journal.alive(Now { mono: Mono(Duration::from_secs(8)), wall: Wall(10) }, Wall(8_000), true);
        journal.record(of("1002", 20));
        journal.close().await.unwrap();
        drop(journal);
        let order: Vec<String> =
            shelf.open().1.last_conversation_end.iter().map(|(agent, _)| agent.to_string()).collect();
        assert_eq!(order, ["1004", "1003", "1001", "1002"]);
    }
}

/// Q19, Q110: calls and offers that have begun and not ended are restored, however old they are and whatever the dates
/// in between.
#[tokio::test]
async fn q19_q110_open_calls_and_offers_are_restored() {
    for shelf in Shelf::both() {
        let (journal, _) = shelf.open();
        let returned = |n, at| Record {
            at: Wall(at),
            fact: Fact::CallReturned { call: call(n), queue: service(), waited: Duration::ZERO },
        };
        let cancelled = |n, caller, at| Record {
            at: Wall(at),
            fact: Fact::OfferCancelled {
                offer: offer(n),
                call: call(caller),
                queue: service(),
                agent: anna(),
                cause: CancelCause::CallerGone,
            },
        };
        let talk_ended = |n, at| {
            let Fact::ConversationEnded { call, queue, agent, talked, by, .. } = ended(at).fact else { unreachable!() };
            let fact = Fact::ConversationEnded { offer: offer(n), call, queue, agent, talked, by };
            Record { at: Wall(at), fact }
        };
        // Call 0 has waited for days, 1 is answered and ended, 2 talks, 3 waits and is offered, 4 left and returned.
        let facts = [
            entered(0, 0),
            entered(1, DAY),
            made(1, 1, DAY),
            answered(1, 1, DAY + 1),
            talk_ended(1, DAY + 2),
            entered(2, 900 * DAY),
            made(2, 2, DAY + 3),
            answered(2, 2, DAY + 4),
            entered(3, DAY + 5),
            made(3, 3, DAY + 5),
            cancelled(3, 3, DAY + 5),
            made(4, 3, DAY + 6),
            entered(4, DAY + 6),
            returned(4, DAY + 7),
            entered(4, DAY + 8),
        ];
        facts.iter().cloned().for_each(|record| journal.record(record));
        journal.close().await.unwrap();
        drop(journal);
        for _ in 0..2 {
            let (journal, restored) = shelf.open();
            assert_eq!(restored.waiting, [entered(0, 0), entered(3, DAY + 5), entered(4, DAY + 8)]);
            assert_eq!(restored.conversations, [answered(2, 2, DAY + 4)]);
            assert_eq!(restored.offers, [made(4, 3, DAY + 6)]);
            journal.close().await.unwrap();
        }
    }
}

/// Q108: the store knows when the daemon was last alive: from its records, and from a heartbeat while a call or
/// conversation is open.
#[tokio::test]
async fn q108_the_last_sign_of_life_is_kept() {
    for shelf in Shelf::both() {
        let (journal, _) = shelf.open();
        journal.record(entered(1, 50));
        journal.close().await.unwrap();
        drop(journal);
        let (journal, restored) = shelf.open();
        assert_eq!(restored.alive, Some(Alive { wall: Wall(50), line: Wall(50) }));
        lives(&journal, 2_000);
        journal.record(entered(2, 2_500));
        // A calendar change does not count as time in between.
        journal.record(entered(3, 9 * DAY));
        journal.flush().await.unwrap();
        journal.close().await.unwrap();
        drop(journal);
        let (journal, restored) = shelf.open();
        assert_eq!(restored.alive, Some(Alive { wall: Wall(2_500), line: Wall(2_501) }));
        lives(&journal, 4_000);
        journal.close().await.unwrap();
        drop(journal);
        assert_eq!(shelf.open().1.alive.map(|alive| alive.wall), Some(Wall(4_000)));
    }
}

/// Q23: record numbers continue across restarts, and a reader continues from the number it names.
#[tokio::test]
async fn q23_a_reader_continues_from_a_record_number() {
    for shelf in Shelf::both() {
        let (journal, _) = shelf.open();
        (0..3).for_each(|n| journal.record(entered(n, 1)));
        journal.flush().await.unwrap();
        assert_eq!(*journal.written().borrow(), 3);
        journal.close().await.unwrap();
        drop(journal);
        let (journal, _) = shelf.open();
        let mut written = journal.written();
        assert_eq!(*written.borrow(), 3);
        journal.record(entered(7, 0));
        journal.login(anna(), service(), Wall(0)).await.unwrap();
        written.wait_for(|last| *last == 5).await.unwrap();
        let found = journal.feed(2, 10).await.unwrap();
        assert_eq!(found.iter().map(|next| next.number).collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(found[1].record, entered(7, 0));
        assert_eq!(journal.feed(0, 2).await.unwrap().len(), 2);
    }
}

/// Q107: a store has a random identity, which stays the same for the life of the store.
#[tokio::test]
async fn q107_a_store_has_its_own_identity() {
    let shelves = [Shelf::both(), Shelf::both()].into_iter().flatten();
    let mut all = Vec::new();
    for shelf in shelves {
        let (journal, _) = shelf.open();
        let identity = journal.identity();
        journal.close().await.unwrap();
        drop(journal);
        assert_eq!(shelf.open().0.identity(), identity);
        assert!(!all.contains(&identity));
        all.push(identity);
    }
    // A store copied for another daemon gets a new identity, as the README describes.
    let place = Place::new();
    let identity = open(&place.file()).0.identity();
    Connection::open(place.file()).unwrap().execute_batch("UPDATE life SET identity = NULL").unwrap();
    assert_ne!(open(&place.file()).0.identity(), identity);
}

#[tokio::test]
async fn q23_records_are_found_by_time_call_queue_and_agent() {
    for shelf in Shelf::both() {
        let (journal, _) = shelf.open();
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
}

/// Q23: a record of a later version is skipped: no query fails, and the daemon starts.
#[tokio::test]
async fn q23_a_record_of_a_later_version_makes_no_query_fail() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    journal.record(entered(1, 1));
    journal.flush().await.unwrap();
    let later = r#"INSERT INTO records (id, json) VALUES (9, '{"at": 2, "fact": "agent_danced", "call": "call-1"}')"#;
    Connection::open(place.file()).unwrap().execute_batch(later).unwrap();
    assert_eq!(all(&journal).await, [entered(1, 1)]);
    journal.close().await.unwrap();
    drop(journal);
    let (journal, restored) = open(&place.file());
    assert_eq!(restored.waiting, [entered(1, 1)]);
    journal.record(entered(2, 3));
    let found = async |after| {
        journal.flush().await.unwrap();
        journal.feed(after, 10).await.unwrap().iter().map(|next| next.number).collect::<Vec<_>>()
    };
    assert_eq!(found(0).await, [1, 10], "its number is not used again");
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
async fn old_records_are_deleted_and_logins_are_not() {
    for shelf in Shelf::both() {
        let (journal, _) = shelf.open();
        journal.login(anna(), service(), Wall(0)).await.unwrap();
        let gone = |n| Record {
            at: Wall(DAY),
            fact: Fact::CallReturned { call: call(n), queue: service(), waited: Duration::ZERO },
        };
        (0..1200).for_each(|n| journal.record(gone(n)));
        let kept = [ended(402 * DAY), ended(402 * DAY + 1)];
        kept.iter().cloned().for_each(|record| journal.record(record));
        journal.flush().await.unwrap();
        lives(&journal, 402 * DAY + 5);
        let left = async || {
            let mut left = all(&journal).await;
            left.retain(|r| !matches!(r.fact, Fact::AgentLoggedIn { .. }));
            left
        };
        until(async || left().await.len() == 2).await;
        assert_eq!(left().await, kept);
        journal.close().await.unwrap();
        drop(journal);
        assert_eq!(shelf.open().1.logins.len(), 1);
    }
}

/// Q108: one record with a wrong date deletes nothing, and hides no open call or conversation.
#[tokio::test]
async fn q108_a_record_with_a_date_in_the_future_deletes_nothing() {
    for shelf in Shelf::both() {
        let (journal, _) = shelf.open();
        let year = 365 * DAY;
        let facts = [entered(1, year), ended(3 * year), entered(2, year + 1)];
        facts.iter().cloned().for_each(|record| journal.record(record));
        journal.close().await.unwrap();
        drop(journal);
        let (journal, restored) = shelf.open();
        assert_eq!(restored.waiting, [entered(1, year), entered(2, year + 1)]);
        lives(&journal, year + 2);
        lives(&journal, year + 2 + 2 * 3600 * 1000);
        assert_eq!(all(&journal).await, facts);
    }
}

#[tokio::test]
async fn each_store_in_memory_is_separate() {
    let (first, second) = (open(Path::new(":memory:")).0, open(Path::new(":memory:")).0);
    first.record(entered(1, 1));
    assert_eq!((all(&first).await.len(), all(&second).await.len()), (1, 0));
}
