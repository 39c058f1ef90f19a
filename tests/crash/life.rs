//! Q18, Q107 to Q110: which daemon a leg belongs to, calendar changes, and calls that end while no daemon runs.

use std::time::Duration;

use freeswitch_queue::acd::call::Desk;
use freeswitch_queue::acd::fact::{CancelCause, EndedBy, Fact, LossCause, Record};
use freeswitch_queue::acd::ids::{AgentId, CallId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::floor::{CallDesk, Caller};
use simswitch::Behaviour;

use crate::site::{Setting, Site, answers, pass, play, setting};

const HOUR: i64 = 3600 * 1000;
const SERVICE: &str = r#"number: "99900", participants: ["1001", "1002"]"#;
const ONE: &str = r#"number: "99900", participants: ["1001"], wrap_up_seconds: 600"#;

/// The length of the conversation in the records, and the party that ended it.
fn talks(records: &[Record]) -> Vec<(u64, EndedBy)> {
    let ended = |r: &Record| match &r.fact {
        Fact::ConversationEnded { talked, by, .. } => Some((u64::try_from(talked.as_millis()).unwrap(), *by)),
        _ => None,
    };
    records.iter().filter_map(ended).collect()
}

/// The outcomes of the offers that were open at a death.
fn closed_by_restart(records: &[Record]) -> Vec<i64> {
    let closed = |r: &Record| match &r.fact {
        Fact::OfferCancelled { cause: CancelCause::Restart, .. } => Some(r.at.0),
        _ => None,
    };
    records.iter().filter_map(closed).collect()
}

/// Moves the machine's calendar by `by`.
fn set_calendar(site: &Site, by: i64) {
    let daemon = site.daemon();
    let clock = daemon.clock();
    clock.set(Wall(clock.now().wall.0 + by));
}

/// Q107: two daemons with the same file, as if on two hosts, beside one switch: neither ends the other's ringing
/// phones, adopts the other's conversations, or finds anything to repair.
#[test]
fn q107_two_daemons_of_one_file_do_not_touch_each_other() {
    play(async {
        let file = |queue: &str| setting(&[queue]).with("state: /var/lib/freeswitch-queue/state.db\n");
        let site = Site::open(file(SERVICE));
        let other = site.beside("127.0.0.1:8085", file(r#"number: "99800", participants: ["1003", "1004"]"#));
        site.when_rung("1001", answers(200));
        let talks = site.caller("0791", "99900");
        talks.wait_talking().await;
        let rung = site.caller("0792", "99900");
        site.phone("1002").wait_ringing().await;
        let theirs = other.caller("0793", "99800");
        other.phone("1003").wait_ringing().await;
        pass(15_000).await;
        assert!(site.phone("1002").is_ringing() && site.phone("1002").rings().len() == 1);
        assert!(other.phone("1003").is_ringing() && other.phone("1003").rings().len() == 1);
        assert_eq!((site.status().repairs, other.status().repairs), (0, 0));
        assert!(other.daemon().floor().held().iter().all(|h| h.key.queue.as_str() == "99800"));
        for caller in [talks, rung, theirs] {
            caller.hang_up();
        }
        pass(5_000).await;
        other.book().await;
        site.end().await;
    });
}

/// Q106: a caller who hangs up while the dialplan holds the call has given up. Only the link hears of this end.
#[test]
fn q106_a_caller_who_hangs_up_while_held_has_given_up() {
    play(async {
        let site = Site::linked(setting(&[SERVICE])).await;
        let hans = site.caller("0791", "99900");
        pass(3_000).await;
        site.kill().await;
        pass(100).await;
        site.start();
        site.link().await;
        hans.hang_up();
        pass(20_000).await;
        let records = site.records().await;
        let ends = |r: &&Record| matches!(&r.fact, Fact::CallLost { .. } | Fact::CallAbandoned { .. });
        let ends: Vec<_> = records.iter().filter(ends).collect();
        assert!(matches!(ends[..], [Record { fact: Fact::CallAbandoned { .. }, .. }]), "{ends:?}");
        site.end().await;
    });
}

/// Q108: a conversation that ends while no daemon runs is recorded as ended when it was last known to exist: the outage
/// does not count towards it, and its wrap-up begins at that time.
#[test]
fn q108_an_outage_does_not_count_towards_a_conversation() {
    for (away, activity) in [(3_600_000, "idle"), (120_000, "wrap-up")] {
        play(async move {
            let site = Site::open(setting(&[ONE]));
            let hans = site.caller("0791", "99900");
            site.take("1001").await;
            pass(60_000).await;
            site.kill().await;
            pass(1_000).await;
            hans.hang_up();
            pass(away).await;
            site.start();
            pass(20_000).await;
            assert_eq!(site.activity("1001"), activity);
            let records = site.records().await;
            let [(talked, EndedBy::Unknown)] = talks(&records)[..] else { panic!("{:?}", talks(&records)) };
            assert!((57_900..=60_100).contains(&talked), "{talked} ms");
            site.end().await;
        });
    }
}

/// Q108: calls that die with FreeSWITCH are recorded as ended at that moment, not when FreeSWITCH is back.
#[test]
fn q108_calls_that_died_with_the_switch_ended_at_that_moment() {
    play(async {
        let site = Site::linked(setting(&[SERVICE])).await;
        let hans = site.caller("0791", "99900");
        site.take("1001").await;
        let eva = site.caller("0792", "99900");
        site.when_rung("1002", Behaviour::Busy);
        pass(1_600).await;
        let died = site.wall();
        site.set_linked(false);
        site.switch.restart();
        pass(6_000).await;
        site.link().await;
        pass(10_000).await;
        let records = site.records().await;
        let [(talked, _)] = talks(&records)[..] else { panic!("{:?}", talks(&records)) };
        assert!((1_500..=1_800).contains(&talked), "{talked} ms");
        let lost = records.iter().find(|r| matches!(&r.fact, Fact::CallLost { .. })).expect("a caller is lost");
        assert!(lost.at.0 - died.0 <= 100, "{lost:?}");
        drop((hans, eva));
        site.end().await;
    });
}

/// Q110: every offer that was open at a death has one outcome: `restart`, at the time the daemon was last known to
/// live, or an answer, if the phone was answered while no daemon ran.
#[test]
fn q110_offers_open_at_a_death_are_closed() {
    for (answered, linked) in [(false, true), (true, true), (false, false)] {
        play(async move {
            let file = if linked { setting(&[SERVICE]) } else { setting(&[SERVICE]).blind() };
            let site = Site::open(file);
            let hans = site.caller("0791", "99900");
            site.phone("1001").wait_ringing().await;
            pass(3_000).await;
            site.kill().await;
            let died = site.wall();
            pass(500).await;
            if answered {
                site.phone("1001").answer();
                hans.wait_talking().await;
            }
            pass(4_000).await;
            site.start();
            pass(8_000).await;
            let closed = closed_by_restart(&site.records().await);
            assert_eq!(closed.len(), usize::from(!answered), "{answered} {linked}");
            assert!(closed.iter().all(|at| *at <= died.0 && died.0 - *at < 2_500), "{closed:?}, {died}");
            hans.hang_up();
            pass(1_000).await;
            if linked {
                // Without a link no daemon ends the phone that the last daemon rang.
                site.end().await;
            }
        });
    }
}

/// Q110: callers who waited at a death and do not return are recorded as lost, with the cause `restart`.
#[test]
fn q110_callers_who_do_not_come_back_are_lost() {
    play(async {
        let site = Site::open(setting(&[SERVICE]));
        site.when_rung("1001", Behaviour::Busy);
        site.when_rung("1002", Behaviour::Busy);
        let hans = site.caller("0791", "99900");
        pass(30_000).await;
        site.kill().await;
        hans.hang_up();
        pass(60_000).await;
        site.start();
        pass(8_000).await;
        let lost = |r: &Record| match &r.fact {
            Fact::CallLost { waited, cause, .. } => Some((waited.as_secs(), *cause)),
            _ => None,
        };
        let lost: Vec<_> = site.records().await.iter().filter_map(lost).collect();
        assert!(matches!(lost[..], [(28..=30, LossCause::Restart)]), "{lost:?}");
        site.end().await;
    });
}

/// Q18: a login that is not restored, because the file no longer has the agent there, is recorded as ended: it does not
/// reappear when the agent is added again months and a restart later.
#[test]
fn q18_a_login_that_is_not_restored_has_ended() {
    play(async {
        let with = setting(&[SERVICE]);
        let without =
            setting(&[r#"number: "99900", participants: ["1002"]"#, r#"number: "99901", participants: ["1001"]"#])
                .without("1001", "99901");
        let site = Site::open(with.clone());
        site.kill().await;
        std::fs::write(&site.file, without.yaml()).unwrap();
        site.start();
        pass(1_000).await;
        assert!(!site.is_in("1001", "99900") && site.is_in("1002", "99900"));
        site.reload(&with);
        pass(60_000).await;
        site.kill().await;
        site.start();
        pass(1_000).await;
        assert!(!site.is_in("1001", "99900") && site.is_in("1002", "99900"));
        let book = site.end().await;
        assert_eq!(book.story_of(&["1001 logs out"]), ["1001 logs out of 99900"]);
    });
}

/// Q108: setting the calendar during waits, conversations and wrap-ups changes no duration and ends nothing.
#[test]
fn q108_a_calendar_that_is_set_changes_no_length() {
    for by in [6 * HOUR, -6 * HOUR] {
        play(async move {
            let queue = r#"number: "99900", participants: ["1001"], wrap_up_seconds: 20, max_wait_minutes: 10"#;
            let site = Site::linked(setting(&[queue])).await;
            let hans = site.caller("0791", "99900");
            site.phone("1001").wait_ringing().await;
            pass(2_000).await;
            set_calendar(&site, by);
            site.phone("1001").answer();
            hans.wait_talking().await;
            pass(10_000).await;
            set_calendar(&site, by);
            let eva = site.caller("0792", "99900");
            pass(10_000).await;
            assert_eq!(site.status().floor.queues[0].waiting.len(), 1, "the waiting caller stays");
            hans.hang_up();
            pass(5_000).await;
            set_calendar(&site, -2 * by);
            assert_eq!(site.activity("1001"), "wrap-up");
            pass(14_000).await;
            assert_eq!(site.activity("1001"), "wrap-up");
            pass(2_000).await;
            assert_eq!(site.activity("1001"), "ringing");
            let waits = site.why("1001", "99900");
            assert_eq!(waits, None);
            eva.hang_up();
            pass(1_000).await;
            let records = site.records().await;
            let [(talked, EndedBy::Caller)] = talks(&records)[..] else { panic!("{:?}", talks(&records)) };
            assert!((19_900..=20_200).contains(&talked), "{by}: {talked} ms");
            let waited = records.iter().find_map(|r| match &r.fact {
                Fact::CallAnswered { waited, .. } => Some(waited.as_millis()),
                _ => None,
            });
            assert!(waited.is_some_and(|ms| (2_000..4_000).contains(&ms)), "{by}: {waited:?}");
            assert_eq!(site.status().repairs, 0);
        });
    }
}

/// Q108: repairs do not depend on the calendar.
#[test]
fn q108_repairs_do_not_depend_on_the_calendar() {
    for by in [6 * HOUR, -6 * HOUR] {
        play(async move {
            let site = Site::linked(setting(&[r#"number: "99900", participants: ["1001"]"#])).await;
            let hans = site.caller("0791", "99900");
            site.take("1001").await;
            site.kill().await;
            site.start();
            site.wait_linked().await;
            pass(500).await;
            set_calendar(&site, by);
            site.switch.faults(|f| f.lose_events = ["CHANNEL_HANGUP_COMPLETE"; 2].map(str::to_owned).to_vec());
            hans.hang_up();
            let eva = site.caller("0792", "99900");
            let at = site.now();
            assert_eq!(site.take("1001").await, "0792");
            assert!(site.now() - at < 7_500, "{} ms", site.now() - at);
            eva.hang_up();
            pass(1_000).await;
        });
    }
}

/// Q4, Q108: the calendar is hours wrong, is corrected, and the daemon is started again: callers from before keep their
/// places ahead of later callers, and the correction ends no wait.
#[test]
fn q108_a_corrected_calendar_lets_nobody_overtake() {
    for by in [6 * HOUR, -6 * HOUR] {
        play(async move {
            let queue = r#"number: "99900", participants: ["1001"], ring_seconds: 5, max_wait_minutes: 30"#;
            let site = Site::open(setting(&[queue]));
            site.when_rung("1001", Behaviour::Busy);
            // The calendar is wrong from here to the death; the next run of the daemon has the right one.
            set_calendar(&site, by);
            let first = site.caller("0791", "99900");
            pass(2_000).await;
            let second = site.caller("0792", "99900");
            pass(20_000).await;
            site.kill().await;
            let meanwhile = site.caller("0793", "99900");
            pass(3_000).await;
            site.start();
            pass(4_000).await;
            let late = site.caller("0794", "99900");
            pass(10_000).await;
            assert_eq!(site.line("99900"), ["0791", "0792", "0793", "0794"], "{by}");
            for caller in [first, second, meanwhile, late] {
                caller.hang_up();
            }
            pass(1_000).await;
        });
    }
}

/// Q108: a wrap-up that was stored with a date of next year lasts no longer than its own length.
#[test]
fn q108_a_wrap_up_with_a_wrong_date_is_no_longer_than_its_length() {
    play(async {
        let site = Site::open(setting(&[r#"number: "99900", participants: ["1001"], wrap_up_seconds: 60"#]));
        set_calendar(&site, 365 * 24 * HOUR);
        let hans = site.caller("0791", "99900");
        site.take("1001").await;
        pass(5_000).await;
        hans.hang_up();
        pass(10_000).await;
        assert_eq!(site.activity("1001"), "wrap-up");
        site.kill().await;
        site.start();
        pass(2_000).await;
        assert_eq!(site.activity("1001"), "wrap-up");
        pass(60_000).await;
        assert_eq!(site.activity("1001"), "idle");
    });
}

/// Q109: a call whose task dies leaves the line as `lost`, and the phones that ring for it are released: the next
/// caller in line is served.
#[test]
fn q109_a_dead_task_leaves_no_ghost_in_the_line() {
    for strategy in ["as-listed", "simultaneous"] {
        play(async move {
            let queue = format!(r#"number: "99900", participants: ["1001", "1002"], strategy: {strategy}"#);
            let site = Site::linked(setting(&[&queue])).await;
            let daemon = site.daemon();
            let call = CallId::new("ghost").unwrap();
            let (number, came) = ("0790".into(), Duration::ZERO);
            let caller = Caller { number, came, ..Caller::default() };
            assert!(daemon.floor().admit(&call, "0790".into(), Box::new(|| {})));
            let mut desk = CallDesk::new(daemon.floor().clone(), call, caller, 1);
            drop(desk.carry_out(Desk::Enter(QueueNumber::new("99900").unwrap(), None), daemon.clock().now()));
            pass(100).await;
            drop(desk);
            site.when_rung("1001", answers(500));
            let hans = site.caller("0791", "99900");
            hans.wait_talking().await;
            assert!(site.now() < 20_000, "{} ms", site.now());
            hans.hang_up();
            let book = site.end().await;
            assert_eq!(book.story_of(&["lost"]), ["0790 is lost by 99900"]);
        });
    }
}

/// Q109: when the dispatcher dies, the daemon reports that it is broken, so that the process ends and is started again.
#[test]
fn q109_a_dead_dispatcher_is_noticed() {
    play(async {
        let site = Site::open(Setting { broken_dice: true, ..setting(&[SERVICE]) });
        let hans = site.caller("0791", "99900");
        let daemon = site.daemon();
        let why = tokio::time::timeout(Duration::from_secs(10), daemon.broken()).await.expect("it is noticed");
        assert!(why.contains("has died"), "{why}");
        hans.hang_up();
        let anna = AgentId::new("1001").unwrap();
        assert!(daemon.floor().agent(&anna, |a| a.logins().len()).is_some(), "the floor remains until then");
    });
}

/// Q3: every reload reports the settings that need a restart until it is made, or until the admin reverts them.
#[test]
fn q3_settings_that_need_a_restart_are_reported_again() {
    play(async {
        let site = Site::open(setting(&[SERVICE]));
        let told = |setting: &Setting| match site.reload(setting) {
            freeswitch_queue::admin::Reloaded::Applied(changes) => changes,
            freeswitch_queue::admin::Reloaded::Refused(why) => panic!("{why}"),
        };
        let other = setting(&[SERVICE]).with("listen: 127.0.0.1:9999\n");
        let waits = ["listen: 127.0.0.1:8084 → 127.0.0.1:9999 (needs a restart)"];
        assert_eq!(told(&other), waits);
        assert_eq!(told(&other), waits);
        assert_eq!(told(&setting(&[SERVICE])), [""; 0]);
        site.end().await;
    });
}

/// Q3: a new `prompts` and a new `domain` apply to callers who already wait.
#[test]
fn q3_a_reload_reaches_waiting_callers() {
    play(async {
        let queue = r#"number: "99900", participants: ["1001"], position_announcement: { every_seconds: 15 }"#;
        let site = Site::open(setting(&[queue]));
        site.when_rung("1001", Behaviour::Busy);
        let first = site.caller("0791", "99900");
        let second = site.caller("0792", "99900");
        pass(20_000).await;
        let text = std::fs::read_to_string(&site.file).unwrap().replace("prompts: /prompts", "prompts: /others");
        std::fs::write(&site.file, text).unwrap();
        let _applied = freeswitch_queue::admin::reload(&site.daemon(), &site.file);
        second.wait_hears("/others/").await;
        first.hang_up();
        second.hang_up();
        site.end().await;
    });
}
