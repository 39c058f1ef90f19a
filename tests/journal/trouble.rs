//! Trouble with the disk, and the end of the store.

use std::time::Duration;

use freeswitch_queue::acd::fact::{Fact, Record};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Health, Journal, NotDurable, Options};
use rusqlite::Connection;

use super::{Place, all, anna, entered, open, patient, service};

/// Waits until the store's health matches.
async fn health(journal: &Journal, wanted: impl FnMut(&Health) -> bool) -> Health {
    let mut health = journal.health();
    tokio::time::timeout(Duration::from_secs(60), health.wait_for(wanted)).await.unwrap().unwrap().clone()
}

fn degraded(health: &Health) -> bool {
    matches!(health, Health::Degraded { .. })
}

#[tokio::test]
async fn while_another_program_holds_the_file_only_facts_wait() {
    let place = Place::new();
    let hasty = Options { durable_within: Duration::from_millis(1), ..Options::default() };
    let (journal, _) = Journal::open(place.file(), hasty).unwrap();
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // None of these calls could return if it waited for the store, because the lock is released only afterwards.
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
async fn a_full_backlog_drops_and_counts_the_oldest_facts_and_keeps_logins() {
    let place = Place::new();
    let (journal, _) = Journal::open(place.file(), Options { backlog: 10, ..patient() }).unwrap();
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let login = journal.login(anna(), service(), Wall(0));
    (0..100).for_each(|n| journal.record(entered(n, 1)));
    // Once the writer has returned the entries it held, ten are left: the login and nine facts.
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
async fn a_file_that_is_moved_away_is_noticed_and_opened_again() {
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
async fn closing_is_bounded_and_reports_unwritten_records() {
    let place = Place::new();
    let options = Options { close_within: Duration::from_millis(1), ..patient() };
    let (journal, _) = Journal::open(place.file(), options).unwrap();
    let other = Connection::open(place.file()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    (0..3).for_each(|n| journal.record(entered(n, 1)));
    let login = journal.login(anna(), service(), Wall(1));
    assert_eq!(journal.close().await.unwrap_err().records, 4);
    assert_eq!(login.await, Err(NotDurable::Lost));
    assert_eq!(journal.login(anna(), service(), Wall(1)).await, Err(NotDurable::Lost), "later logins fail too");
    assert_eq!(journal.dropped(), 1);
}

#[tokio::test]
async fn a_dropped_store_writes_the_pending_records() {
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
