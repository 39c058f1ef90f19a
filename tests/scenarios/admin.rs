//! Q3: the configuration changes while calls are under way. SIGTERM: the daemon drains.

use simswitch::{Behaviour, Caller, Sound};

use crate::house::{House, answers, pass, play};
use crate::setting::queue;

fn plays(caller: &Caller, name: &str) -> bool {
    matches!(caller.hears(), Sound::Playing(file) if file.contains(name))
}

/// Q3: a removed queue takes no new callers; its waiting callers get its timeout action; its conversations continue,
/// with wrap-up.
#[test]
fn q3_a_queue_is_removed() {
    play(async {
        let leaving = queue("99900", &["1001", "1002"])
            .with("wrap_up_seconds: 5")
            .with("timeout: { action: { transfer: \"1005\" } }");
        let staying = queue("99901", &["1002", "1003"]);
        let house = House::open(&[leaving, staying.clone()]);
        let talking = house.caller("0791", "99900");
        house.take("1001").await;
        let rung = house.caller("0792", "99900");
        house.phone("1002").wait_ringing().await;
        let elsewhere = house.caller("0793", "99901");
        house.phone("1003").wait_ringing().await;
        house.reconfigure(&[staying]);
        house.phone("1002").wait_idle().await;
        assert_eq!(house.phone("1002").view().missed, []);
        assert_eq!(house.take("1005").await, "0792", "its timeout action");
        let late = house.caller("0794", "99900");
        assert_eq!(late.wait_ended().await, "UNALLOCATED_NUMBER");
        pass(5_000).await;
        assert_eq!(talking.view().talks_to(), Some("1001"));
        assert!(house.phone("1003").is_ringing(), "the other queue's phone rings on");
        assert_eq!(house.phone("1003").rings().len(), 1);
        assert!(house.is_in("1002", "99901") && !house.is_in("1002", "99900"));
        talking.hang_up();
        rung.hang_up();
        house.phone("1003").answer();
        elsewhere.wait_talking().await;
        elsewhere.hang_up();
        let book = house.end().await;
        assert_eq!(book.story_of(&["times out"]), ["0792 times out of 99900: queue removed"]);
        assert!(book.story().contains(&"1001 and 0791 end: caller".to_owned()));
    });
}

/// Q3: a removed agent finishes the current conversation and gets no further offers.
#[test]
fn q3_an_agent_is_removed_while_talking() {
    play(async {
        let both = queue("99900", &["1001", "1002"]);
        let house = House::open(std::slice::from_ref(&both));
        house.when_rung("1002", Behaviour::Ignore);
        let hans = house.caller("0791", "99900");
        house.take("1001").await;
        house.reconfigure(&[both.of(&["1002"])]);
        pass(60_000).await;
        assert_eq!(hans.view().talks_to(), Some("1001"));
        house.phone("1001").hang_up();
        hans.wait_ended().await;
        let eva = house.caller("0792", "99900");
        pass(60_000).await;
        assert_eq!(house.phone("1001").rings().len(), 1);
        assert_eq!(house.activity("1001"), "unknown", "the view no longer has the agent");
        eva.hang_up();
        let story = house.end().await.story();
        assert!(story.contains(&"1001 and 0791 end: agent".to_owned()), "{story:?}");
    });
}

/// Q3: a removed agent's phone stops ringing, and the next agent is offered the caller.
#[test]
fn q3_an_agent_is_removed_while_ringing() {
    play(async {
        let both = queue("99900", &["1001", "1002"]);
        let house = House::open(std::slice::from_ref(&both));
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        house.reconfigure(&[both.of(&["1002"])]);
        assert_eq!(house.take("1002").await, "0791");
        house.phone("1001").wait_idle().await;
        assert_eq!(house.phone("1001").view().missed, []);
        hans.hang_up();
        let book = house.end().await;
        assert_eq!(book.story_of(&["called off"]), ["1001 is called off 0791: reconfigured"]);
    });
}

/// Q3: when the strategy changes while a phone rings, the phone keeps ringing, and the new order applies from the next
/// choice on.
#[test]
fn q3_the_strategy_changes_while_phones_ring() {
    play(async {
        let one = queue("99900", &["1001", "1002", "1003"]);
        let house = House::open(std::slice::from_ref(&one));
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        pass(1_000).await;
        house.reconfigure(&[one.clone().with("strategy: simultaneous")]);
        house.phone("1002").wait_ringing().await;
        house.phone("1003").wait_ringing().await;
        assert_eq!(house.phone("1001").rings().len(), 1);
        house.phone("1001").answer();
        assert_eq!(hans.wait_talking().await, "1001");
        for other in ["1002", "1003"] {
            house.phone(other).wait_idle().await;
            assert_eq!(house.phone(other).view().missed, []);
        }
        // Back to `as-listed` while two phones ring.
        let eva = house.caller("0792", "99900");
        house.phone("1002").wait_ringing().await;
        house.phone("1003").wait_ringing().await;
        house.reconfigure(&[one]);
        pass(3_000).await;
        house.phone("1003").answer();
        assert_eq!(eva.wait_talking().await, "1003");
        house.phone("1002").wait_idle().await;
        pass(5_000).await;
        assert_eq!(eva.view().talks_to(), Some("1003"));
        hans.hang_up();
        eva.hang_up();
        house.end().await;
    });
}

/// Q3: new music replaces the old at once; the rest of the wait is unchanged.
#[test]
fn q3_the_music_changes() {
    play(async {
        let tone = queue("99900", &["1001"]);
        let house = House::open(std::slice::from_ref(&tone));
        let first = house.caller("0791", "99900");
        let second = house.caller("0792", "99900");
        house.phone("1001").wait_ringing().await;
        pass(1_000).await;
        house.reconfigure(&[tone.clone().with("music: local_stream://moh")]);
        pass(100).await;
        assert!(plays(&first, "moh") && plays(&second, "moh"));
        pass(5_000).await;
        assert_eq!(first.view().sounds, ["local_stream://moh"], "the old music is not kept below the new one");
        house.reconfigure(&[tone.with("wrap_up_seconds: 3")]);
        pass(100).await;
        assert!(plays(&first, "425"));
        assert_eq!(house.line("99900"), ["0791", "0792"]);
        assert_eq!(house.phone("1001").rings().len(), 1);
        first.hang_up();
        second.hang_up();
        house.end().await;
    });
}

/// Q3, Q13: a shorter longest wait counts from the entry; a caller who has already waited longer times out at once.
#[test]
fn q3_the_longest_wait_changes() {
    play(async {
        let patient = queue("99900", &["1001"]);
        let house = House::open(std::slice::from_ref(&patient));
        house.phone("1001").set_registration(simswitch::Registration::Unregistered);
        let long = house.caller("0791", "99900");
        pass(30_000).await;
        let short = house.caller("0792", "99900");
        pass(10_000).await;
        house.reconfigure(&[patient.with("max_wait_minutes: 0.5")]);
        long.wait_ended().await;
        short.wait_ended().await;
        let book = house.end().await;
        assert_eq!(book.when("0791 times out of 99900: max wait"), 40_000);
        // The wait counts from FreeSWITCH's time of the call, which is slightly earlier than the record of the entry.
        assert_eq!(book.when("0792 times out of 99900: max wait"), 30_000 + 30_000);
    });
}

/// Q3, Q5: a new agent who logs in gets callers who already wait; the login of another agent is unchanged.
#[test]
fn q3_an_agent_is_added() {
    play(async {
        let alone = queue("99900", &["1001"]);
        let house = House::open(&[alone.clone(), queue("99901", &["1003"])]);
        house.when_rung("1001", Behaviour::Busy);
        let hans = house.caller("0791", "99900");
        pass(1_000).await;
        house.reconfigure(&[alone.of(&["1001", "1002"]), queue("99901", &["1003"])]);
        house.when_rung("1002", answers(300));
        house.log_in("1002", "99900");
        assert_eq!(hans.wait_talking().await, "1002");
        assert!(house.is_in("1003", "99901"));
        hans.hang_up();
        house.end().await;
    });
}

/// Reloading the same configuration, or changing other queues, does not affect this queue's calls.
#[test]
fn q3_changes_elsewhere_touch_nothing() {
    play(async {
        let ours = queue("99900", &["1001"]).with("music: local_stream://moh");
        let house = House::open(&[ours.clone(), queue("99901", &["1002"])]);
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        for n in 0..20 {
            house.reconfigure(&[ours.clone(), queue("99901", &["1002"]).with(&format!("wrap_up_seconds: {n}"))]);
            pass(500).await;
        }
        assert_eq!(house.phone("1001").rings().len(), 1);
        let music = hans.history().into_iter().filter(|s| matches!(&s.sound, Sound::Playing(_))).count();
        assert_eq!(music, 1, "the music is not restarted");
        hans.hang_up();
        house.end().await;
    });
}

/// SIGTERM: waiting callers return to the dialplan with their places, phones stop ringing, conversations continue, and
/// the next daemon takes all of them over.
#[test]
fn a_drain_loses_nobody() {
    play(async {
        let house = House::durable("drain", &[queue("99900", &["1001", "1002"]).with("wrap_up_seconds: 5")]);
        let talking = house.caller("0791", "99900");
        house.take("1001").await;
        let callers: Vec<Caller> = (2..6).map(|n| house.caller(&format!("079{n}"), "99900")).collect();
        house.phone("1002").wait_ringing().await;
        pass(2_000).await;
        house.drain().await;
        assert!(!house.phone("1002").is_ringing(), "no phone rings without a caller");
        assert_eq!(house.phone("1002").view().missed, []);
        pass(3_000).await;
        assert_eq!(talking.view().talks_to(), Some("1001"));
        assert!(callers.iter().all(|c| plays(c, "tone_stream")));
        house.start_again();
        pass(3_000).await;
        assert_eq!(house.activity("1001"), "talking");
        let line = house.line("99900");
        assert_eq!(line, ["0792", "0793", "0794", "0795"]);
        talking.hang_up();
        callers.iter().for_each(Caller::hang_up);
        house.phone("1001").wait_idle().await;
        house.phone("1002").wait_idle().await;
        let book = house.end().await;
        assert_eq!(book.story_of(&["is given back"]).len(), 4);
        assert_eq!(book.story_of(&["is back"]).len(), 4);
        assert!(book.story().contains(&"1001 and 0791 end: caller".to_owned()));
        assert!(book.story_of(&["lost"]).is_empty());
    });
}
