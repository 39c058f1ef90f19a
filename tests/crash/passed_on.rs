//! Q19, Q8: a caller who is transferred to a queue arrives on a new connection while that of the last wait or
//! conversation still exists: neither affects the other.

use freeswitch_queue::esl::{ApiCall, Command};
use simswitch::{Behaviour, Caller};

use crate::repairs::hand;
use crate::site::{Site, pass, play, setting};

const BOTH: [&str; 2] = [r#"number: "99900", participants: ["1001"]"#, r#"number: "99901", participants: ["1002"]"#];

/// How the caller is transferred to the other queue.
#[derive(Clone, Copy, Debug)]
enum By {
    /// Transferred by an admin, while waiting.
    Hand,
    /// Transferred by the agent.
    Agent,
}

impl By {
    /// Transfers a caller, for whom 1001 rings, to 99901.
    async fn passes_on(self, site: &Site, caller: &Caller) {
        match self {
            By::Agent => {
                let anna = site.phone("1001");
                assert!(anna.answer());
                caller.wait_talking().await;
                pass(1_000).await;
                anna.blind_transfer("99901");
            }
            By::Hand => {
                let (connection, _events) = hand(&site.switch).await;
                let call = ApiCall::new(format!("uuid_transfer {} 99901 XML default", caller.uuid())).unwrap();
                connection.send(&Command::Api(call)).unwrap().await.done().unwrap();
            }
        }
    }
}

/// Transfers a caller, and kills the daemon `later` milliseconds after that; 0 means never.
fn passed_on(by: By, later: u64) {
    println!("{by:?}, {later} ms");
    play(async move {
        let site = Site::open(setting(&BOTH));
        pass(1_000).await;
        let hans = site.caller("0791", "99900");
        let anna = site.phone("1001");
        anna.wait_ringing().await;
        pass(500).await;
        by.passes_on(&site, &hans).await;
        let at = site.now();
        if later > 0 {
            pass(later).await;
            site.kill().await;
            pass(300).await;
            site.start();
        }
        let bruno = site.phone("1002");
        bruno.wait_ringing().await;
        let after = site.now() - at;
        assert!(later > 0 || after < 1_000, "{by:?}: rung after {after} ms");
        assert!(!hans.view().stranded && hans.ended().is_none(), "{by:?}, {later}");
        anna.wait_idle().await;
        // A phone that rang when the daemon died is called off first.
        loop {
            bruno.wait_ringing().await;
            pass(300).await;
            if bruno.answer() {
                break;
            }
        }
        assert_eq!(bruno.wait_talking().await, "0791");
        pass(100).await;
        hans.hang_up();
        let book = site.end().await;
        if later == 0 {
            assert_eq!(book.story_of(&["0791 enters"]), ["0791 enters 99900", "0791 enters 99901"], "{by:?}");
        }
    });
}

#[test]
fn q19_a_transferred_caller_is_served() {
    passed_on(By::Agent, 0);
    passed_on(By::Hand, 0);
}

/// Q19: the same, at whatever moment the daemon dies.
#[test]
fn q19_a_transferred_caller_outlives_the_daemon() {
    for by in [By::Agent, By::Hand] {
        for later in (1..60).step_by(4).chain((60..1_400).step_by(23)) {
            passed_on(by, later);
        }
    }
}

/// Q38, Q102: a caller who is passed on enters like any other, and is refused by a queue that is full.
#[test]
fn q38_a_transferred_caller_may_find_a_full_queue() {
    for by in [By::Hand, By::Agent] {
        play(async move {
            let site = Site::open(setting(&[BOTH[0], r#"number: "99901", participants: ["1002"], max_callers: 1"#]));
            pass(1_000).await;
            let eva = site.caller("0790", "99901");
            site.phone("1002").wait_ringing().await;
            let hans = site.caller("0791", "99900");
            site.phone("1001").wait_ringing().await;
            pass(500).await;
            by.passes_on(&site, &hans).await;
            hans.wait_ended().await;
            assert_eq!(site.line("99901"), ["0790"], "{by:?}");
            eva.hang_up();
            let book = site.end().await;
            assert_eq!(book.story_of(&["refused"]), ["0791 is refused by 99901: full"], "{by:?}");
        });
    }
}

/// Q9: the connection of a conversation whose caller was transferred to another phone ends by itself and does not
/// affect that call.
#[test]
fn q9_a_caller_who_is_transferred_to_a_phone() {
    play(async {
        let site = Site::open(setting(&BOTH));
        pass(1_000).await;
        let hans = site.caller("0791", "99900");
        let anna = site.phone("1001");
        anna.wait_ringing().await;
        anna.answer();
        hans.wait_talking().await;
        let clara = site.phone("1003").on_ring(Behaviour::Answer { after: std::time::Duration::from_millis(300) });
        anna.blind_transfer("1003");
        clara.wait_talking().await;
        let eva = site.caller("0792", "99900");
        assert_eq!(site.take("1001").await, "0792", "the agent is free at once");
        pass(10_000).await;
        assert_eq!(site.daemon().floor().calls(), 1, "the daemon has let the first call go");
        assert_eq!(hans.view().talks_to(), Some("1003"));
        hans.hang_up();
        eva.hang_up();
        site.end().await;
    });
}
