//! A daemon that is killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use freeswitch_queue::acd::ids::QueueNumber;
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Journal, Refusal};

use super::{Place, anna, entered, open, patient};

const HELPER: &str = "JOURNAL_TEST_FILE";

/// The process that [`q18_a_confirmed_login_survives_kill_9`] kills.
#[test]
#[ignore = "is run by another test"]
fn helper_that_logs_in_for_ever() {
    let Some(path) = std::env::var_os(HELPER) else { return };
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
        .args(["--exact", "kill::helper_that_logs_in_for_ever", "--ignored", "--nocapture"])
        .env(HELPER, place.file())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(helper.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line == "durable 20"), "the helper logs in");
    let second = Journal::open(place.file(), patient()).expect_err("while the helper lives");
    assert!(matches!(second.why, Refusal::InUse), "{second}");
    helper.kill().unwrap();
    helper.wait().unwrap();
    let confirmed = said.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).last().unwrap_or(20);
    let (_journal, restored) = open(&place.file());
    // One more may have been written and not yet been confirmed.
    let found = i64::try_from(restored.logins.len()).unwrap();
    assert!((confirmed..=confirmed + 1).contains(&found), "{confirmed} confirmed, {found} found");
}
