//! Q3: the file changes while calls are under way. The daemon applies all of it or nothing.

use freeswitch_queue::admin::Reloaded;
use simswitch::{Behaviour, Caller, Sound};

use crate::site::{Setting, Site, answers, pass, play, setting};

fn one(more: &str) -> Setting {
    setting(&[&format!(r#"number: "99900", participants: ["1001", "1002"]{more}"#)])
}

fn applied(reloaded: Reloaded) -> Vec<String> {
    match reloaded {
        Reloaded::Applied(changes) => changes,
        Reloaded::Refused(problems) => panic!("{problems}"),
    }
}

fn plays(caller: &Caller, name: &str) -> bool {
    matches!(caller.hears(), Sound::Playing(file) if file.contains(name))
}

/// Q3: a bad file changes nothing, and its problems are all reported with their places; the next good one is applied.
#[test]
fn q3_a_bad_file_changes_nothing() {
    play(async {
        let site = Site::open(one(", ring_seconds: 20"));
        let hans = site.caller("0791", "99900");
        site.phone("1001").wait_ringing().await;
        let before = serde_json::to_value(site.status().floor.queues).unwrap();
        let bad = [
            r#"number: 99900, participants: ["1001"]"#,
            r#"number: "99901", participants: ["1002"], strategy: loudest, timeout: { action: { queue: "99977" } }"#,
        ];
        let Reloaded::Refused(problems) = site.reload(&setting(&bad)) else { panic!("it was taken") };
        for part in ["99900", "loudest", "99977"] {
            assert!(problems.contains(part), "{part} is not in {problems}");
        }
        std::fs::remove_file(&site.file).unwrap();
        let gone = freeswitch_queue::admin::reload(&site.daemon(), &site.file);
        assert!(matches!(&gone, Reloaded::Refused(why) if why.contains("cannot be read")), "{gone:?}");
        pass(1_000).await;
        assert_eq!(serde_json::to_value(site.status().floor.queues).unwrap(), before);
        assert!(site.phone("1001").is_ringing() && site.is_in("1002", "99900"));
        assert_eq!(
            applied(site.reload(&one(", ring_seconds: 20"))),
            [""; 0],
            "reloading the same file changes nothing"
        );
        let changes = applied(site.reload(&one(", ring_seconds: 7, wrap_up_seconds: 3")));
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(changes.iter().any(|c| c.starts_with("queue 99900: ring_seconds: 20")), "{changes:?}");
        hans.hang_up();
        site.end().await;
    });
}

/// Q3: a queue gets another number: the old queue is removed, the new one added; no agent is logged in to it.
#[test]
fn q3_a_queue_is_renumbered() {
    play(async {
        let old =
            r#"number: "99900", participants: ["1001", "1002"], wrap_up_seconds: 5, timeout: { message: /gone.wav }"#;
        let site = Site::open(setting(&[old]));
        let talks = site.caller("0791", "99900");
        site.take("1001").await;
        site.when_rung("1002", Behaviour::Ignore);
        let rung = site.caller("0792", "99900");
        let waits = site.caller("0793", "99900");
        site.phone("1002").wait_ringing().await;
        let changes = applied(site.reload(&setting(&[&old.replace("99900", "99905")])));
        assert_eq!(changes, ["queue 99900: removed", "queue 99905: added"]);
        for caller in [&rung, &waits] {
            caller.wait_hears("gone.wav").await;
        }
        for caller in [&rung, &waits] {
            assert_eq!(caller.wait_ended().await, "NORMAL_CLEARING");
        }
        assert!(!site.phone("1002").is_ringing() && site.phone("1002").view().missed.is_empty());
        assert!(!site.is_in("1001", "99905") && !site.is_in("1001", "99900"));
        let late = site.caller("0794", "99900");
        assert_eq!(late.wait_ended().await, "UNALLOCATED_NUMBER");
        assert_eq!(talks.view().talks_to(), Some("1001"), "a conversation continues");
        site.dial("1002", "*4199905").wait_ended().await;
        pass(100).await;
        let new = site.caller("0795", "99905");
        assert_eq!(site.take("1002").await, "0795");
        talks.hang_up();
        pass(500).await;
        assert_eq!(site.activity("1001"), "wrap-up", "wrap-up is that of the queue at the time of the connection");
        new.hang_up();
        let book = site.end().await;
        assert_eq!(book.story_of(&["times out"]).len(), 2);
    });
}

/// Q3: a removed queue is added again while its callers still hear its message: they leave, and new callers enter.
#[test]
fn q3_a_removed_queue_comes_back() {
    play(async {
        let queues = [
            r#"number: "99900", participants: ["1001"], timeout: { message: /gone.wav }"#,
            r#"number: "99901", participants: ["1002"]"#,
        ];
        let site = Site::open(setting(&queues));
        site.when_rung("1001", Behaviour::Ignore);
        let waits = site.caller("0791", "99900");
        site.phone("1001").wait_ringing().await;
        applied(site.reload(&setting(&queues[1..])));
        waits.wait_hears("gone.wav").await;
        applied(site.reload(&setting(&queues)));
        assert_eq!(waits.wait_ended().await, "NORMAL_CLEARING");
        site.dial("1001", "*4199900").wait_ended().await;
        pass(100).await;
        let hans = site.caller("0792", "99900");
        assert_eq!(site.phone("1001").wait_ringing().await.number, "0792");
        hans.hang_up();
        site.end().await;
    });
}

/// Q3: new ring time and wrap-up apply from the next offer and conversation on, a new longest wait also to waiting
/// callers; a longest wait shorter than the time already waited ends the wait at once.
#[test]
fn q3_times_change() {
    play(async {
        let site = Site::open(one(", ring_seconds: 20, wrap_up_seconds: 60, max_wait_minutes: 10"));
        let talks = site.caller("0791", "99900");
        site.take("1001").await;
        let waits = site.caller("0792", "99900");
        site.phone("1002").wait_ringing().await;
        pass(2_000).await;
        applied(site.reload(&one(", ring_seconds: 4, wrap_up_seconds: 1, max_wait_minutes: 0.5")));
        pass(10_000).await;
        assert!(site.phone("1002").is_ringing(), "the phone that already rings keeps its 20 s");
        talks.hang_up();
        pass(500).await;
        assert_eq!(site.activity("1001"), "wrap-up");
        pass(1_000).await;
        assert_eq!(site.activity("1001"), "idle", "one second, not sixty");
        let at = site.now();
        applied(site.reload(&one(", max_wait_minutes: 0.1")));
        assert_eq!(waits.wait_ended().await, "NORMAL_CLEARING");
        assert!(site.now() - at < 200, "at once: {} ms", site.now() - at);
        site.phone("1002").wait_idle().await;
        let book = site.end().await;
        assert_eq!(book.story_of(&["times out"]), ["0792 times out of 99900: max wait"]);
    });
}

/// Q3: announcements are switched on and off, and change their language, while a caller waits.
#[test]
fn q3_announcements_change() {
    play(async {
        let announced = |language: &str| {
            one(&format!(", position_announcement: {{ language: {language}, every_seconds: 15 }}, music: /moh.wav"))
        };
        let site = Site::open(one(", music: /moh.wav"));
        for agent in ["1001", "1002"] {
            site.when_rung(agent, Behaviour::Busy);
        }
        let first = site.caller("0791", "99900");
        let second = site.caller("0792", "99900");
        pass(20_000).await;
        let heard = |caller: &Caller| {
            let prompts = caller.history().into_iter().filter_map(|s| match s.sound {
                Sound::Playing(file) if file.contains("position-") => Some(file),
                _ => None,
            });
            prompts.collect::<Vec<_>>()
        };
        assert_eq!(heard(&second), [""; 0]);
        applied(site.reload(&announced("fr")));
        pass(17_000).await;
        assert!(heard(&second).iter().all(|f| f.contains("/fr/position-2")) && !heard(&second).is_empty());
        applied(site.reload(&announced("it")));
        pass(16_000).await;
        assert!(heard(&second).last().unwrap().contains("/it/position-2"));
        applied(site.reload(&one(", music: /moh.wav")));
        pass(3_000).await;
        let so_far = heard(&second).len();
        pass(40_000).await;
        assert_eq!(heard(&second).len(), so_far);
        assert!(plays(&first, "moh.wav") && plays(&second, "moh.wav"));
        first.hang_up();
        second.hang_up();
        site.end().await;
    });
}

/// Q3: the order of the list, and the strategy, change while phones ring: they keep ringing, and the next choice
/// follows the new order.
#[test]
fn q3_the_order_changes() {
    play(async {
        let listed = |agents: &str, strategy: &str| {
            setting(&[&format!(r#"number: "99900", participants: [{agents}], strategy: {strategy}, ring_seconds: 5"#)])
        };
        let site = Site::open(listed(r#""1001", "1002", "1003""#, "as-listed"));
        let hans = site.caller("0791", "99900");
        site.phone("1001").wait_ringing().await;
        let changes = applied(site.reload(&listed(r#""1003", "1002", "1001""#, "as-listed")));
        assert_eq!(changes, ["queue 99900: participants reordered: 1003, 1002, 1001"]);
        pass(2_000).await;
        assert!(site.phone("1001").is_ringing());
        assert_eq!(site.phone("1003").wait_ringing().await.number, "0791");
        applied(site.reload(&listed(r#""1003", "1002", "1001""#, "simultaneous")));
        pass(1_000).await;
        assert!(site.phone("1003").is_ringing() && site.phone("1002").is_ringing());
        // One phone rang alone, the other as one of several: both answer within a moment.
        site.phone("1003").answer();
        site.phone("1002").answer();
        hans.wait_talking().await;
        pass(6_000).await;
        assert_eq!(hans.view().talked_to.len(), 1);
        hans.hang_up();
        site.end().await;
    });
}

/// Q3: a new token, domain or `allow` applies from the next call on; callers already in the line stay.
#[test]
fn q3_token_and_domain_change() {
    play(async {
        let site = Site::open(one(""));
        let hans = site.caller("0791", "99900");
        site.phone("1001").wait_ringing().await;
        let changes = applied(site.reload(&one("").with("token: s3cret\nallow: [10.0.0.0/8]\n")));
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(!changes.iter().any(|c| c.contains("s3cret")), "no log line contains the secret: {changes:?}");
        assert_eq!(site.daemon().config().allow.len(), 1, "the listener checks every connection against this list");
        let eva = site.caller("0792", "99900");
        pass(5_000).await;
        assert_eq!(site.line("99900"), ["0791"], "a call without the token returns to the dialplan");
        assert!(eva.ended().is_none() && !eva.view().stranded);
        applied(site.reload(&one("")));
        pass(2_000).await;
        assert_eq!(site.line("99900"), ["0791", "0792"], "and comes again");
        let text = std::fs::read_to_string(&site.file).unwrap().replace("domain: lab", "domain: other");
        std::fs::write(&site.file, text).unwrap();
        applied(freeswitch_queue::admin::reload(&site.daemon(), &site.file));
        pass(1_000).await;
        assert!(site.switch.is_lit("*4199900*1001@other") && site.phone("1001").is_ringing());
        let third = site.dial("1002", "*4299900");
        third.wait_hears("not-a").await;
        third.wait_ended().await;
        applied(site.reload(&one("")));
        hans.hang_up();
        eva.hang_up();
        site.end().await;
    });
}

/// Q3: the reload reports settings that take effect only after a restart, and changes nothing for them.
#[test]
fn q3_a_setting_that_needs_a_restart_is_reported() {
    play(async {
        let site = Site::linked(one("")).await;
        let changes =
            applied(site.reload(&Setting { links: 2, ..one("").with("listen: 127.0.0.1:9999\nstate: other.db\n") }));
        assert_eq!(changes.iter().filter(|c| c.ends_with("(needs a restart)")).count(), 3, "{changes:?}");
        let status = site.status();
        assert_eq!((status.switches, status.linked), (1, 1), "status shows the running setting, not that of the file");
        applied(site.reload(&one("")));
        site.when_rung("1001", answers(100));
        let hans = site.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, "1001");
        hans.hang_up();
        site.end().await;
    });
}
