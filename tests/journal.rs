//! The store: what it keeps, what it refuses, and how it bears trouble (Q6, Q18, Q19, Q23).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use freeswitch_queue::acd::fact::{CancelCause, EndedBy, Fact, MissCause, Onward, Record, TimeoutCause};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Filter, Health, Journal, NotDurable, OpenError, Options, Restored};
use proptest::prelude::*;
use rusqlite::Connection;
use uuid::Uuid;

/// A directory of one test, gone with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let place = std::env::temp_dir().join(format!("journal-{}", Uuid::new_v4()));
        std::fs::create_dir(&place).unwrap();
        Self(place)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.db")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Patience enough for a busy machine; no test waits it out.
fn patient() -> Options {
    Options { durable_within: Duration::from_secs(60), ..Options::default() }
}

fn open(path: &Path) -> (Journal, Restored) {
    Journal::open(path, patient()).unwrap()
}

fn refusal(path: &Path) -> String {
    Journal::open(path, patient()).expect_err("must be refused").to_string()
}

fn anna() -> AgentId {
    AgentId::new("1001").unwrap()
}

fn service() -> QueueNumber {
    QueueNumber::new("99900").unwrap()
}

fn call(n: usize) -> CallId {
    CallId::new(&format!("call-{n}")).unwrap()
}

fn entered(n: usize, at: i64) -> Record {
    let fact = Fact::CallEntered {
        call: call(n),
        queue: service(),
        caller: Arc::from("0791234567"),
        first_entered: Wall(at),
        returned: false,
    };
    Record { at: Wall(at), fact }
}

fn ended(at: i64) -> Record {
    let fact = Fact::ConversationEnded {
        offer: OfferId(Uuid::nil()),
        call: call(1),
        queue: service(),
        agent: anna(),
        talked: Duration::from_millis(1),
        by: EndedBy::Agent,
    };
    Record { at: Wall(at), fact }
}

async fn all(journal: &Journal) -> Vec<Record> {
    journal.flush().await.unwrap();
    journal.records(Filter { limit: u32::MAX, ..Filter::default() }).await.unwrap()
}

/// Waits until the store's health is as wanted.
async fn health(journal: &Journal, wanted: impl FnMut(&Health) -> bool) -> Health {
    let mut health = journal.health();
    tokio::time::timeout(Duration::from_secs(60), health.wait_for(wanted)).await.unwrap().unwrap().clone()
}

fn degraded(health: &Health) -> bool {
    matches!(health, Health::Degraded { .. })
}

fn any_fact() -> impl Strategy<Value = Fact> {
    let agent = "[A-Za-z0-9._+-]{1,64}".prop_map(|text| AgentId::new(&text).unwrap());
    let queue = "[0-9]{1,32}".prop_map(|text| QueueNumber::new(&text).unwrap());
    let call = "[A-Za-z0-9_.@:-]{1,256}".prop_map(|text| CallId::new(&text).unwrap());
    let offer = any::<u128>().prop_map(|bits| OfferId(Uuid::from_u128(bits)));
    let text = any::<String>().prop_map(|text| Arc::<str>::from(text.as_str()));
    let (wall, lasted) = (any::<i64>().prop_map(Wall), any::<u64>().prop_map(Duration::from_millis));
    let miss = prop::sample::select(vec![
        MissCause::NoAnswer,
        MissCause::Busy,
        MissCause::Declined,
        MissCause::NotRegistered,
        MissCause::Unknown,
        MissCause::NotConnected,
        MissCause::Failed,
    ]);
    let cancel = prop::sample::select(vec![
        CancelCause::CallerGone,
        CancelCause::AnsweredElsewhere,
        CancelCause::CallTimedOut,
        CancelCause::LoggedOut,
        CancelCause::Reconfigured,
        CancelCause::Draining,
    ]);
    let timeout = prop::sample::select(vec![
        TimeoutCause::MaxWait,
        TimeoutCause::NobodyLoggedIn,
        TimeoutCause::LastAgentLoggedOut,
        TimeoutCause::QueueRemoved,
        TimeoutCause::QueueFull,
    ]);
    let by = prop::sample::select(vec![EndedBy::Caller, EndedBy::Agent, EndedBy::Transfer, EndedBy::Unknown]);
    let onward = prop_oneof![
        Just(Onward::HungUp),
        text.clone().prop_map(Onward::Transferred),
        queue.clone().prop_map(Onward::Queue),
    ];
    let subjects = (offer, call, queue, agent);
    let details = (miss, cancel, timeout, by, onward, text, any::<bool>(), wall, lasted);
    (0..15, subjects, details).prop_map(|(kind, subjects, details)| {
        let (offer, call, queue, agent) = subjects;
        let (miss, cancel, timeout, by, onward, caller, returned, wall, lasted) = details;
        match kind {
            0 => Fact::CallEntered { call, queue, caller, first_entered: wall, returned },
            1 => Fact::OfferMade { offer, call, queue, agent },
            2 => Fact::OfferMissed { offer, call, queue, agent, cause: miss },
            3 => Fact::OfferCancelled { offer, call, queue, agent, cause: cancel },
            4 => Fact::CallAnswered { offer, call, queue, agent, waited: lasted },
            5 => Fact::ConversationEnded { offer, call, queue, agent, talked: lasted, by },
            6 => Fact::CallAbandoned { call, queue, waited: lasted },
            7 => Fact::CallTimedOut { call, queue, cause: timeout, waited: lasted },
            8 => Fact::CallWentOn { call, queue, onward },
            9 => Fact::CallReturned { call, queue, waited: lasted },
            10 => Fact::CallLost { call, queue, waited: lasted },
            11 => Fact::AgentLoggedIn { agent, queue },
            12 => Fact::AgentLoggedOut { agent, queue },
            13 => Fact::WrapUpStarted { agent, queue, until: wall },
            _ => Fact::WrapUpEnded { agent },
        }
    })
}

fn any_record() -> impl Strategy<Value = Record> {
    ((0..i64::MAX).prop_map(Wall), any_fact()).prop_map(|(at, fact)| Record { at, fact })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Q23: every fact comes back as it was recorded.
    #[test]
    fn q23_every_fact_survives_the_store(mut records in prop::collection::vec(any_record(), 1..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (journal, _) = Journal::open(":memory:", Options { keep: Duration::MAX, ..patient() }).unwrap();
        records.iter().cloned().for_each(|record| journal.record(record));
        let found = runtime.block_on(all(&journal));
        records.sort_by_key(|record| record.at);
        prop_assert_eq!(found, records);
    }
}

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
async fn while_another_program_holds_the_file_facts_wait_and_nobody_else_does() {
    let place = Place::new();
    let hasty = Options { durable_within: Duration::from_millis(1), ..Options::default() };
    let (journal, _) = Journal::open(place.file(), hasty).unwrap();
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Not one of these could return if it waited for the store: the lock goes only afterwards.
    (0..1000).for_each(|n| journal.record(entered(n, 1)));
    assert_eq!(journal.login(anna(), service(), Wall(2)).await, Err(NotDurable::Late(Duration::from_millis(1))));
    let trouble =
        health(&journal, |health| matches!(health, Health::Degraded { reason, .. } if reason.contains("lock"))).await;
    assert!(matches!(&trouble, Health::Degraded { dropped: 0, .. }), "{trouble:?}");
    assert_eq!(journal.waiting(), 1001);
    other.execute_batch("COMMIT").unwrap();
    health(&journal, |health| *health == Health::Ok).await;
    journal.close().await.unwrap();
    let (journal, restored) = open(&place.file());
    assert_eq!(restored.logins, [(anna(), service(), Wall(2))], "a late login is kept");
    assert_eq!(all(&journal).await.len(), 1001);
}

#[tokio::test]
async fn a_full_backlog_gives_up_the_oldest_facts_counts_them_and_keeps_logins() {
    let place = Place::new();
    let (journal, _) = Journal::open(place.file(), Options { backlog: 10, ..patient() }).unwrap();
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let login = journal.login(anna(), service(), Wall(0));
    (0..100).for_each(|n| journal.record(entered(n, 1)));
    // Once the writer has put back what it had in hand, ten entries are left: the login and nine facts.
    health(
        &journal,
        |health| matches!(health, Health::Degraded { dropped: 91, reason, .. } if reason.contains("lock")),
    )
    .await;
    assert_eq!((journal.dropped(), journal.waiting()), (91, 10));
    other.execute_batch("COMMIT").unwrap();
    login.await.unwrap();
    let found: Vec<Record> = all(&journal).await;
    let newest: Vec<Record> = (91..100).map(|n| entered(n, 1)).collect();
    assert_eq!(found[1..], newest);
    assert!(matches!(found[0].fact, Fact::AgentLoggedIn { .. }));
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_noticed_and_taken_again() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    let away = place.0.join("away");
    std::fs::rename(place.file(), &away).unwrap();
    let login = journal.login(anna(), service(), Wall(1));
    let trouble = health(&journal, degraded).await;
    assert!(matches!(&trouble, Health::Degraded { reason, .. } if reason.contains("moved")), "{trouble:?}");
    std::fs::rename(&away, place.file()).unwrap();
    login.await.unwrap();
    health(&journal, |health| *health == Health::Ok).await;
}

#[tokio::test]
async fn closing_is_bounded_and_tells_what_was_not_written() {
    let place = Place::new();
    let options = Options { close_within: Duration::from_millis(1), ..patient() };
    let (journal, _) = Journal::open(place.file(), options).unwrap();
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    (0..3).for_each(|n| journal.record(entered(n, 1)));
    let login = journal.login(anna(), service(), Wall(1));
    assert_eq!(journal.close().await.unwrap_err().records, 4);
    assert_eq!(login.await, Err(NotDurable::Lost));
    assert_eq!(journal.login(anna(), service(), Wall(1)).await, Err(NotDurable::Lost), "and later ones neither");
    assert_eq!(journal.dropped(), 1);
}

#[tokio::test]
async fn a_dropped_store_writes_what_waited() {
    let place = Place::new();
    drop({
        let (journal, _) = open(&place.file());
        (0..700).for_each(|n| journal.record(entered(n, 1)));
        journal
    });
    let (journal, _) = open(&place.file());
    assert_eq!(all(&journal).await.len(), 700);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_of_tokio_makes_no_login_late() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    let before = tokio::time::Instant::now();
    journal.login(anna(), service(), Wall(1)).await.unwrap();
    assert_eq!(before.elapsed(), Duration::ZERO);
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

#[tokio::test]
async fn what_is_not_a_store_is_refused_and_left_as_it_is() {
    let place = Place::new();
    let said = refusal(&place.0);
    assert!(said.contains("is a directory"), "{said}");
    let said = refusal(&place.0.join("missing/state.db"));
    assert!(said.contains("missing") && said.contains("directory must exist"), "{said}");

    let text = place.0.join("text");
    std::fs::write(&text, "queues: [] # certainly no database\n".repeat(200)).unwrap();
    let said = refusal(&text);
    assert!(said.contains("not a SQLite file"), "{said}");
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("queues"));

    let foreign = place.0.join("foreign");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    let before = std::fs::read(&foreign).unwrap();
    let said = refusal(&foreign);
    assert!(said.contains("another program's"), "{said}");
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
}

#[tokio::test]
async fn a_newer_file_is_refused_and_left_as_it_is() {
    let place = Place::new();
    open(&place.file()).0.close().await.unwrap();
    Connection::open(place.file()).unwrap().execute_batch("PRAGMA user_version = 7").unwrap();
    let before = std::fs::read(place.file()).unwrap();
    let said = refusal(&place.file());
    assert!(said.contains("written by a newer freeswitch-queue (schema 7, this one knows 1)"), "{said}");
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_what_to_do() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    journal.login(anna(), service(), Wall(1)).await.unwrap();
    journal.close().await.unwrap();
    let mut bytes = std::fs::read(place.file()).unwrap();
    // Everything behind the first page, which holds the schema.
    bytes[4096..].fill(0xA5);
    std::fs::write(place.file(), bytes).unwrap();
    let said = refusal(&place.file());
    assert!(said.contains("is damaged") && said.contains("log in again"), "{said}");
}

#[tokio::test]
async fn one_store_has_one_daemon_under_whatever_name() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    assert!(matches!(Journal::open(place.file(), patient()), Err(OpenError::InUse(_))));
    let alias = place.0.join("alias.db");
    std::os::unix::fs::symlink(place.file(), &alias).unwrap();
    let said = refusal(&alias);
    assert!(said.contains("in use by another freeswitch-queue"), "{said}");
    journal.close().await.unwrap();
    open(&alias);
}

const HELPER: &str = "JOURNAL_TEST_FILE";

/// The process that [`q18_a_confirmed_login_survives_kill_9`] kills.
#[test]
#[ignore = "is run by another test"]
fn helper_that_logs_in_for_ever() {
    let path = std::env::var_os(HELPER).expect("started by the other test");
    let (journal, _) = open(Path::new(&path));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for n in 1.. {
        let queue = QueueNumber::new(&format!("{n}")).unwrap();
        (0..20).for_each(|n| journal.record(entered(n, 1)));
        runtime.block_on(journal.login(anna(), queue, Wall(n))).unwrap();
        eprintln!("durable {n}");
    }
}

#[test]
fn q18_a_confirmed_login_survives_kill_9() {
    let place = Place::new();
    let mut helper = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_that_logs_in_for_ever", "--ignored", "--nocapture"])
        .env(HELPER, place.file())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(helper.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line == "durable 20"), "the helper logs in");
    assert!(matches!(Journal::open(place.file(), patient()), Err(OpenError::InUse(_))), "while it lives, nobody else");
    helper.kill().unwrap();
    helper.wait().unwrap();
    let confirmed = said.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).last().unwrap_or(20);
    let (_journal, restored) = open(&place.file());
    // One more may have been written and not yet been confirmed.
    let found = i64::try_from(restored.logins.len()).unwrap();
    assert!((confirmed..=confirmed + 1).contains(&found), "{confirmed} confirmed, {found} found");
}
