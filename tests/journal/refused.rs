//! Files that the store refuses.

use std::path::Path;

use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Journal, Refusal};
use rusqlite::Connection;

use super::{Place, anna, open, patient, service};

fn refusal(path: &Path) -> String {
    Journal::open(path, patient()).expect_err("must be refused").to_string()
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
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
    assert!(said.contains("written by a newer freeswitch-queue (schema 7, this one knows 4)"), "{said}");
    assert_eq!(std::fs::read(place.file()).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_what_to_do() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    journal.login(anna(), service(), Wall(1)).await.unwrap();
    journal.close().await.unwrap();
    let mut bytes = std::fs::read(place.file()).unwrap();
    // Everything after the first page, which holds the schema.
    bytes[4096..].fill(0xA5);
    std::fs::write(place.file(), bytes).unwrap();
    let said = refusal(&place.file());
    assert!(said.contains("is damaged") && said.contains("log in again"), "{said}");
}

#[tokio::test]
async fn one_store_has_one_daemon_under_any_path() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    let second = Journal::open(place.file(), patient()).expect_err("the first is open");
    assert!(matches!(second.why, Refusal::InUse), "{second}");
    let alias = place.0.join("alias.db");
    std::os::unix::fs::symlink(place.file(), &alias).unwrap();
    let said = refusal(&alias);
    assert!(said.contains("in use by another freeswitch-queue"), "{said}");
    journal.close().await.unwrap();
    open(&alias);
}
