//! Failures and restarts (Q3, Q18 to Q20).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{EndedBy, Fact};

use crate::caller::{Caller, From};
use crate::daemon::Daemon;
use crate::lab::{Lab, SOON};
use crate::phone::Ringing;
use crate::sound::{RING_TONE, Words};

crate::cases!("restarts":
    a_drain_returns_waiting_callers_to_the_dialplan_and_leaves_conversations_alone,
    a_killed_daemon_loses_no_caller_and_interrupts_no_conversation,
    a_drain_stops_the_ringing,
    a_phone_that_rang_when_the_daemon_was_killed_stops_and_rings_again,
    a_phone_answered_while_the_daemon_is_dead_has_a_conversation_and_its_wrap_up,
    a_phone_answered_while_the_daemon_is_dead_is_not_left_in_silence,
    a_phone_answered_for_nobody_is_ended_by_the_next_daemon,
    without_a_daemon_the_dialplan_runs_the_admins_action,
    a_new_file_affects_no_call_and_a_bad_one_changes_nothing,
    freeswitch_restarts_and_service_resumes,
);

/// The dialplan retries the controller at intervals of less than two seconds.
const BACK: Duration = Duration::from_secs(4);

const ONE: &str = "  - { number: \"99900\", name: Sales, participants: [\"1001\"], wrap_up_seconds: 1 }\n";

/// Waits until `count` callers are back in the queue.
#[track_caller]
fn back(lab: &Lab, count: usize) {
    lab.daemon().nth_fact("back", count - 1, BACK, |fact| {
        matches!(fact, Fact::CallEntered { returned: true, .. }).then_some(())
    });
}

/// One caller talks to 1001, two wait; then the daemon ends, and another takes over.
fn takes_over(lab: &Lab, end: impl Fn(&mut Daemon)) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let phone = lab.phone("1001");
    let talking = lab.call(&From::outside("0790000000", ""), "99900");
    let talk = phone.rings(SOON);
    talking.sound.hears(RING_TONE, talking.since, SOON);
    talk.connects(&talking);
    let numbers = ["0791111111", "0792222222"];
    let waiting = numbers.map(|number| lab.call(&From::outside(number, ""), "99900"));
    lab.daemon().nth_fact("three callers", 2, SOON, |fact| matches!(fact, Fact::CallEntered { .. }).then_some(()));
    waiting[1].sound.hears(RING_TONE, waiting[1].since, SOON);
    end(&mut lab.daemon_mut());
    let dead = Instant::now();
    talking.sound.hears(phone.tone, dead, SOON);
    phone.sound.hears(talking.tone, dead, SOON);
    for caller in &waiting {
        caller.sound.hears(RING_TONE, dead, Duration::from_secs(6));
        assert!(!caller.is_over(), "a waiting caller was lost");
    }
    lab.serve_again();
    back(lab, 2);
    phone.stays_quiet(Duration::from_millis(500));
    let status = lab.daemon().status();
    assert_eq!(status["agents"][0]["activity"], "talking", "Q19: known to be busy: {}", status["agents"][0]);
    let since = Instant::now();
    talking.sound.hears(phone.tone, since, SOON);
    assert!(!talking.is_over() && !talk.is_over(), "the conversation was interrupted");
    let (gap, ended) = (talking.sound.longest_gap(phone.tone, dead, since), Instant::now());
    assert!(gap < Duration::from_millis(100), "the agent's voice had a gap of {gap:?}");
    talk.hang_up();
    // After the wrap-up, the callers are served in the order of their first entries.
    for (caller, number) in waiting.into_iter().zip(numbers) {
        let ring = phone.rings(SOON);
        let from = ring.invite.header("From");
        assert!(from.contains(number), "expected {number}, got {from}");
        let pause = ring.invite.at - ended;
        assert!(pause > Duration::from_millis(950), "Q19: its wrap-up; rang after {pause:?}");
        ring.serves(caller);
    }
    talking.over(SOON);
}

fn a_drain_returns_waiting_callers_to_the_dialplan_and_leaves_conversations_alone(lab: &Lab) {
    takes_over(lab, |daemon| daemon.terminate(SOON));
}

/// Q19.
fn a_killed_daemon_loses_no_caller_and_interrupts_no_conversation(lab: &Lab) {
    takes_over(lab, Daemon::kill);
}

/// Q19: no phone keeps ringing for a daemon that has ended.
fn a_drain_stops_the_ringing(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    lab.daemon_mut().terminate(SOON);
    let reason = ring.cancelled(SOON);
    assert_eq!(reason.header("Reason"), "SIP;cause=200;text=\"Call completed elsewhere\"", "no missed call");
    let dead = Instant::now();
    caller.sound.hears(RING_TONE, dead, Duration::from_secs(6));
    lab.serve_again();
    back(lab, 1);
    let again = lab.phone("1001").rings(SOON);
    again.serves(caller);
}

/// Q19: no offer is left over.
fn a_phone_that_rang_when_the_daemon_was_killed_stops_and_rings_again(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    lab.daemon_mut().kill();
    lab.serve_again();
    let off = ring.cancelled(Duration::from_secs(6));
    let again = lab.phone("1001").rings(Duration::from_secs(6));
    assert!(again.invite.at >= off.at, "the phone had two offers at once");
    again.serves(caller);
}

/// Q19: FreeSWITCH connects the two by itself, and the next daemon finds them.
fn a_phone_answered_while_the_daemon_is_dead_has_a_conversation_and_its_wrap_up(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    lab.daemon_mut().kill();
    let answered = ring.connects(&caller);
    // A little longer than FreeSWITCH's own table lags behind.
    lab.phone("1001").sound.hears(caller.tone, answered + Duration::from_millis(500), SOON);
    lab.serve_again();
    let second = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    lab.phone("1001").stays_quiet(Duration::from_millis(700));
    assert!(!ring.is_over() && !caller.is_over(), "the conversation was interrupted");
    ring.hang_up();
    let ended = Instant::now();
    let next = lab.phone("1001").rings(SOON);
    let pause = next.invite.at - ended;
    assert!(pause > Duration::from_millis(950), "its wrap-up; rang after {pause:?}");
    second.hang_up();
    next.cancelled(SOON);
    second.over(SOON);
    caller.over(SOON);
}

/// A caller waits, the phone rings, the daemon is killed and the caller hangs up.
fn rings_for_nobody(lab: &Lab) -> Ringing<'_> {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    lab.daemon_mut().kill();
    caller.hang_up();
    caller.over(SOON);
    assert!(!ring.is_over(), "nobody is there to stop it");
    ring
}

/// The caller who left is in the records, and the agent is free and gets the next one.
fn serves_the_next(lab: &Lab) {
    lab.daemon().fact("lost", Duration::from_secs(20), |fact| matches!(fact, Fact::CallLost { .. }).then_some(()));
    let next = lab.call(&From::outside("0792222222", "Vreni"), "99900");
    lab.phone("1001").rings(SOON).serves(next);
}

/// Q8, Q19: FreeSWITCH itself ends the leg where no daemon is back by then.
fn a_phone_answered_while_the_daemon_is_dead_is_not_left_in_silence(lab: &Lab) {
    let ring = rings_for_nobody(lab);
    let answered = ring.answer();
    let silent = ring.byed(Duration::from_secs(6)).at.saturating_duration_since(answered);
    println!("  FreeSWITCH ended it {silent:?} after the answer");
    lab.serve_again();
    serves_the_next(lab);
}

/// Q8, Q19, Q22: a daemon that is back sooner ends it, and says so.
fn a_phone_answered_for_nobody_is_ended_by_the_next_daemon(lab: &Lab) {
    let ring = rings_for_nobody(lab);
    let answered = ring.answer();
    lab.serve_again();
    lab.daemon().says("repaired: a leg that was answered, with nobody to connect it to, was ended", SOON);
    let silent = ring.byed(SOON).at.saturating_duration_since(answered);
    println!("  the daemon ended it {silent:?} after the answer");
    assert!(silent < Duration::from_millis(2900), "FreeSWITCH alone takes 3 s: {silent:?}");
    serves_the_next(lab);
}

/// Q19: after a set time the dialplan runs the admin's own action.
fn without_a_daemon_the_dialplan_runs_the_admins_action(lab: &Lab) {
    lab.switch.set("fsq_away_rounds", "1");
    lab.switch.api("reloadxml");
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    caller.sound.hears(RING_TONE, caller.since, SOON);
    let words = Words::of(&lab.prompt("en", "try-later"));
    caller.sound.hears_words(&words, caller.since, Duration::from_secs(9));
    caller.byed(Duration::from_secs(6));
    caller.over(SOON);
    let code = lab.call(&From::phone("1001"), "*4199900");
    code.sound.hears_words(&words, code.since, SOON);
    code.byed(Duration::from_secs(6));
    code.over(SOON);
    lab.switch.set("fsq_away_rounds", "24");
    lab.switch.api("reloadxml");
}

/// Q3.
fn a_new_file_affects_no_call_and_a_bad_one_changes_nothing(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let phone = lab.phone("1001");
    let caller = lab.call(&From::outside("0791111111", ""), "99900");
    let talk = phone.rings(SOON);
    talk.connects(&caller);
    let waiting = lab.call(&From::outside("0792222222", ""), "99900");
    let bad = lab.daemon().reload(&lab.switch, "  - { number: 99900, nmae: Sales, participants: [\"1001\"] }\n");
    assert!(!bad.status.success());
    let told = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(told.contains("nmae") && told.contains("99900"), "both mistakes: {told}");
    let two = format!("{ONE}  - {{ number: \"99901\", name: Help, participants: [\"1002\"] }}\n");
    let good = lab.daemon().reload(&lab.switch, &two);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    lab.log_in("99901", &["1002"]);
    let help = lab.call(&From::outside("0793333333", ""), "99901");
    let ring = lab.phone("1002").rings(SOON);
    help.hang_up();
    ring.cancelled(SOON);
    help.over(SOON);
    let later = Instant::now();
    caller.sound.hears(phone.tone, later, SOON);
    assert!(!waiting.is_over() && !talk.is_over());
    talk.hang_up();
    caller.over(SOON);
    let next = phone.rings(SOON);
    next.serves(waiting);
}

/// Q20. The last case, because it ends all calls.
fn freeswitch_restarts_and_service_resumes(lab: &Lab) {
    lab.serve(ONE);
    lab.log_in("99900", &["1001"]);
    let talking = lab.call(&From::outside("0791111111", ""), "99900");
    let talk = lab.phone("1001").rings(SOON);
    talk.connects(&talking);
    let waiting = lab.call(&From::outside("0792222222", ""), "99900");
    lab.daemon().nth_fact("two callers", 1, SOON, |fact| matches!(fact, Fact::CallEntered { .. }).then_some(()));
    lab.switch.kill();
    Caller::vanish(talking);
    Caller::vanish(waiting);
    lab.switch.launch();
    lab.register_all();
    lab.daemon().says_again("the link to FreeSWITCH is up", 2, Duration::from_secs(30));
    let caller = lab.call(&From::outside("0793333333", ""), "99900");
    let ring = lab.phone("1001").rings(Duration::from_secs(10));
    ring.serves(caller);
    let (_, by) = lab.daemon().fact("the end of the conversation", Duration::from_secs(20), |fact| match fact {
        Fact::ConversationEnded { by, .. } => Some(*by),
        _ => None,
    });
    assert_eq!(by, EndedBy::Unknown);
    // The daemon waits a while for callers to return.
    lab.daemon().fact("lost", Duration::from_secs(40), |fact| matches!(fact, Fact::CallLost { .. }).then_some(()));
}
