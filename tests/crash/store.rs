//! Q14, Q18, Q23: trouble with the store. Calls continue; the daemon reports it; a login that is not on disk is
//! refused.

use std::time::Duration;

use rusqlite::Connection;

use crate::site::{Setting, Site, pass, play, setting};

fn service() -> Setting {
    let queues = setting(&[r#"number: "99900", participants: ["1001", "1002"], wrap_up_seconds: 1"#]);
    Setting { durable_ms: 200, ..queues.without("1002", "99900") }
}

/// Another process locks the store.
fn lock(site: &Site) -> Connection {
    let other = Connection::open(site.present_store()).unwrap();
    other.busy_timeout(Duration::from_secs(10)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    other
}

/// Waits, in real time, for the store's own thread.
async fn until(site: &Site, healthy: bool) {
    let mut health = site.daemon().journal().health();
    let wanted = |h: &freeswitch_queue::journal::Health| (*h == freeswitch_queue::journal::Health::Ok) == healthy;
    // Keeps virtual time from advancing meanwhile.
    let daemon = site.daemon();
    while !wanted(&health.borrow_and_update()) {
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(5))).await.unwrap();
    }
    drop(daemon);
}

#[test]
fn q14_q18_a_store_that_cannot_be_written() {
    play(async {
        let site = Site::open(service());
        assert_eq!(site.status().store, None);
        site.book().await;
        let other = lock(&site);
        let login = site.dial("1002", "*4199900");
        login.wait_hears("/en/failed.wav").await;
        login.wait_ended().await;
        assert!(!site.is_in("1002", "99900") && !site.switch.is_lit("*4199900*1002"), "refused means refused");
        let logout = site.dial("1001", "*4299900");
        logout.wait_hears("/en/failed.wav").await;
        logout.wait_ended().await;
        assert!(site.is_in("1001", "99900") && site.switch.is_lit("*4199900*1001"));
        until(&site, false).await;
        // At first the write only counts as late.
        let told = loop {
            let told = site.status().store.unwrap();
            if told.contains("lock") {
                break told;
            }
            tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(5))).await.unwrap();
        };
        assert!(freeswitch_queue::admin::table(&site.status()).contains(&told));
        // Calls continue to their ends.
        let hans = site.caller("0791", "99900");
        assert_eq!(site.take("1001").await, "0791");
        let eva = site.caller("0792", "99900");
        pass(1_000).await;
        hans.hang_up();
        assert_eq!(site.take("1001").await, "0792");
        eva.hang_up();
        other.execute_batch("COMMIT").unwrap();
        until(&site, true).await;
        assert_eq!(site.status().store, None);
        // The refused login and logout are written late, and reverted after that.
        site.kill().await;
        pass(500).await;
        site.start();
        assert!(site.is_in("1001", "99900") && !site.is_in("1002", "99900"));
        let again = site.dial("1002", "*4199900");
        again.wait_hears("/en/logged-in.wav").await;
        again.wait_ended().await;
        let book = site.end().await;
        assert_eq!(book.answered().len(), 2, "the records are complete");
    });
}
