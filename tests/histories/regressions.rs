//! Histories that once failed, each as short as possible, with the delays and orders of many seeds.

use freeswitch_queue::acd::settings::Strategy;

use crate::step::Change::*;
use crate::step::Step::{self, *};
use crate::step::{Fault, Phone};
use crate::{fail, hold, quietly};

fn holds(steps: &[Step]) {
    let failed = quietly(|| (0..60).find_map(|seed| hold(seed, steps).err()));
    if let Some(text) = failed {
        fail(&text);
    }
}

/// Q6: with `simultaneous`, an agent who was paused longer than the others was forgotten when the round started over.
#[test]
fn simultaneous_starts_over_with_all_agents() {
    holds(&[
        Write(1, Strategy(Strategy::Simultaneous)),
        Write(1, Ring(1000)),
        Reload,
        Login(0, 1),
        Login(1, 1),
        Call(1),
        Wait(8000),
    ]);
}

/// Q7: looking for an agent while all were paused counted as starting over, and put agents already tried before untried
/// ones.
#[test]
fn an_agent_who_was_never_tried_comes_first() {
    holds(&[
        Login(0, 0),
        Login(1, 0),
        Private(1, true),
        Call(0),
        Wait(1000),
        Decline(0),
        Wait(500),
        Private(0, true),
        Wait(7000),
        Private(0, false),
        Private(1, false),
        Wait(100),
    ]);
}

/// Q10: when a connection failed more than 300 ms after the music had ended, the music never started again.
#[test]
fn a_failed_connection_leaves_no_silence() {
    holds(&[Login(0, 0), Fault(0, Fault::NotBridged), Call(0), Wait(500), Answer(0), Wait(9000)]);
}

/// Q19: the loser of a race made the daemon's death end the winner's conversation.
#[test]
fn the_loser_of_a_race_leaves_the_winner_alone() {
    holds(&[
        Write(1, Strategy(Strategy::Simultaneous)),
        Reload,
        Login(0, 1),
        Login(2, 1),
        Call(1),
        Wait(5000),
        AnswerAll(0),
        Wait(2000),
        Crash,
        Wait(2000),
    ]);
}

/// Q19: a caller who moved to another queue after a failed connection would have been lost with the daemon.
#[test]
fn a_failed_connection_before_the_next_queue_loses_no_caller() {
    holds(&[
        Write(0, MaxWait(Some(700))),
        Write(0, OnTo(1)),
        Reload,
        Login(0, 0),
        Login(1, 1),
        Fault(0, Fault::NotBridged),
        Call(0),
        Wait(690),
        Answer(0),
        Wait(4000),
        Crash,
        Wait(1000),
    ]);
}

/// Q11: a caller who returned before those ahead was announced as next from then on.
#[test]
fn after_a_restart_positions_are_true() {
    holds(&[
        Write(1, Announce(Some(5000))),
        Reload,
        Login(1, 1),
        Call(1),
        Wait(10),
        Call(1),
        Wait(10),
        Crash,
        Wait(31_000),
    ]);
}

/// Q11: a look in the last second before an announcement postponed it.
#[test]
fn a_look_does_not_postpone_an_announcement() {
    holds(&[Write(0, Announce(Some(5000))), Reload, Login(0, 0), Call(0), Wait(4500), Reload, Wait(3000)]);
}

/// Q23: a lost connection left an offer without an outcome.
#[test]
fn a_lost_connection_leaves_no_open_offer() {
    holds(&[Login(2, 0), Call(0), Until(0), Cut(0)]);
}

/// Q8, Q22: a call that came back counted as attending to a leg of its last run, whose agent was never released.
#[test]
fn a_call_that_comes_back_does_not_attend_to_its_old_leg() {
    holds(&[Login(2, 0), Call(0), Wait(1488), Cut(0), Wait(5558), Supervised(false)]);
}

/// Q13: a caller whom another party had taken was hung up when the wait ran out.
#[test]
fn a_caller_taken_by_another_party_is_not_hung_up() {
    holds(&[Write(1, MaxWait(Some(700))), Reload, Login(0, 1), Call(1), Steal(0), Wait(2000)]);
    holds(&[Write(1, MaxWait(Some(700))), Write(1, Message(true)), Reload, Login(0, 1), Call(1), Wait(701), Steal(0)]);
}

/// Q10, Q11: a caller whom another party had taken heard an announcement.
#[test]
fn a_caller_taken_by_another_party_hears_no_announcement() {
    holds(&[Write(0, Announce(Some(5000))), Reload, Login(2, 0), Call(0), Wait(4000), Steal(0), Wait(5000)]);
    holds(&[Login(2, 0), Call(0), Wait(100), Steal(0), Wait(50), Write(0, Music(1)), Reload, Wait(5000)]);
}

/// Q4: the agents held for a caller who was taken away were not offered to the next callers.
#[test]
fn callers_behind_one_who_was_taken_are_served() {
    holds(&[Login(0, 1), Call(1), Call(1), Wait(100), Decline(0), Wait(100), Steal(0), Wait(3000)]);
}

/// Q8: a phone that answered while its agent logged out was left in silence when the caller then hung up.
#[test]
fn no_answer_stays_silent_after_a_logout() {
    holds(&[Login(2, 0), Call(0), Wait(100), Answer(2), Logout(2, 0), GiveUp(0), Wait(8000)]);
    holds(&[Login(2, 0), Call(0), Call(0), Wait(10), Answer(2), Logout(2, 0), Wait(12), GiveUp(0), Wait(8000)]);
}

/// Q23: a leg that was hung up before the event of its connection had two outcomes.
#[test]
fn a_short_conversation_has_one_outcome() {
    holds(&[Login(0, 0), Call(0), Wait(100), Answer(0), HangUp(0, false), Wait(1000)]);
    holds(&[Login(0, 0), Call(0), Wait(100), Answer(0), HangUp(0, true), Wait(1000)]);
}

/// Q8: an offer made just before the wait ended kept its agent reserved until the last leg of the caller was gone.
#[test]
fn no_agent_is_kept_for_a_wait_that_is_over() {
    holds(&[
        Write(0, Strategy(Strategy::Simultaneous)),
        Write(0, MaxWait(Some(700))),
        Reload,
        Login(0, 0),
        Fault(0, Fault::Deaf),
        Call(0),
        Wait(690),
        Until(0),
        Login(1, 0),
        Wait(100),
    ]);
}

/// Q9: a wrap-up that ended in the instant of a restart was reported as if nobody expected its end.
#[test]
fn a_wrap_up_that_ends_with_the_daemon_is_reported() {
    holds(&[
        Write(0, WrapUp(5000)),
        Login(0, 0),
        Call(0),
        Wait(9),
        Answer(0),
        Wait(518),
        Crash,
        Supervised(false),
        Until(0),
        Crash,
    ]);
}

/// Q8: a phone that appears when another one of the agent talks is ended.
#[test]
fn a_phone_that_appears_late_does_not_ring_on() {
    holds(&[
        Phones(0, 2, Phone::Rings),
        Fault(0, Fault::SlowCreate(2000)),
        Login(0, 0),
        Call(0),
        Wait(400),
        Answer(0),
        Wait(8000),
    ]);
}

/// Q10: the caller hears music again although the other phone of a failed offer ends late.
#[test]
fn a_failed_offer_whose_other_phone_ends_late_leaves_no_silence() {
    holds(&[Phones(0, 2, Phone::AnswersAtOnce), Fault(0, Fault::NotBridged), Login(0, 0), Call(0), Wait(9000)]);
}
