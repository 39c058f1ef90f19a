//! The modes of the store's files, and a reader that holds the store's lock.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use freeswitch_queue::acd::time::{Mono, Now, Wall};
use freeswitch_queue::journal::{Health, Journal, Options};
use rusqlite::{Connection, OpenFlags};

use super::{Place, all, anna, entered, open, service};

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

fn files(place: &Place) -> [std::path::PathBuf; 4] {
    ["", "-wal", "-shm", "-lock"].map(|suffix| place.0.join(format!("state.db{suffix}")))
}

const HELPER: &str = "JOURNAL_TEST_MODES";

/// The process of [`the_files_are_the_owner_s_alone_whatever_the_umask`].
#[test]
#[ignore = "is run by another test"]
fn helper_that_makes_a_store() {
    let Some(path) = std::env::var_os(HELPER) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (journal, _) = open(Path::new(&path));
    runtime.block_on(journal.login(anna(), service(), Wall(1))).unwrap();
    // Ends without closing the store, so that all its files stay.
    std::process::exit(0);
}

/// The records contain callers' numbers.
#[test]
fn the_files_are_the_owner_s_alone_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let place = Place::new();
        let made = Command::new("sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "open_to::helper_that_makes_a_store", "--ignored"])
            .env(HELPER, place.file())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        assert_eq!(files(&place).map(|file| mode(&file)), [0o600; 4], "umask {umask}");
    }
}

/// A store of an earlier version is closed to other users; the admin decides about the group's access, and SQLite's own
/// files follow.
#[tokio::test]
async fn a_store_that_other_users_could_read_is_closed_to_them() {
    let place = Place::new();
    open(&place.file()).0.close().await.unwrap();
    fs::set_permissions(place.file(), Permissions::from_mode(0o644)).unwrap();
    let (journal, _) = open(&place.file());
    journal.login(anna(), service(), Wall(1)).await.unwrap();
    let [store, log, shared, _] = files(&place);
    assert_eq!([store, log, shared].map(|file| mode(&file)), [0o640; 3]);
}

/// A file that is no store is left alone.
#[tokio::test]
async fn a_foreign_file_keeps_its_modes() {
    let place = Place::new();
    Connection::open(place.file()).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    fs::set_permissions(place.file(), Permissions::from_mode(0o644)).unwrap();
    Journal::open(place.file(), Options::default()).unwrap_err();
    assert_eq!(mode(&place.file()), 0o644);
}

/// Reports read while the daemon writes, and the daemon reports a reader that delays it.
#[tokio::test]
async fn a_reader_that_does_not_end_is_reported() {
    let place = Place::new();
    let (journal, _) = open(&place.file());
    journal.record(entered(0, 1));
    journal.flush().await.unwrap();
    let report = Connection::open_with_flags(place.file(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    report.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    let mut beats = 0;
    let mut beat = || {
        beats += 1;
        journal.alive(Now { mono: Mono(Duration::from_secs(beats)), wall: Wall(1) }, Wall(1), true);
    };
    let health = journal.health();
    while *health.borrow() == Health::Ok {
        (0..500).for_each(|n| journal.record(entered(n, 1)));
        journal.flush().await.unwrap();
        beat();
    }
    assert!(matches!(*health.borrow(), Health::HeldUp { bytes } if bytes > 64 << 20), "{health:?}");
    report.execute_batch("COMMIT").unwrap();
    drop(report);
    while *health.borrow() != Health::Ok {
        journal.record(entered(0, 1));
        journal.flush().await.unwrap();
        beat();
    }
    assert!(!all(&journal).await.is_empty());
}
