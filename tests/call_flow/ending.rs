//! The end of the wait, shutting down, and callers whom other parties take.

use super::*;

fn limited(message: bool, action: TimeoutAction) -> Arc<QueueSettings> {
    settings(|s| {
        s.max_wait = Some(Duration::from_secs(9));
        s.timeout = Timeout { message: message.then(|| "/sorry.wav".into()), action };
    })
}

fn sorry(playing: u32) -> Effect {
    wire(Wire::Say(Playing(playing), Saying::Message("/sorry.wav".into())))
}

/// Q13: exactly on time, and a ringing phone is called off.
#[test]
fn a_wait_ends_on_time() {
    let mut s = Stand::ringing(limited(false, TimeoutAction::Hangup), &[A]);
    s.at_last(9000, &[close(CancelCause::CallTimedOut), call_off(A, CancelCause::CallTimedOut)]);
    s.gives(9010, leg(A, HungUp(CALLED_OFF, false)), &[cancelled(A, CancelCause::CallTimedOut)]);
    let last = [
        gone(A),
        timed_out(TimeoutCause::MaxWait),
        desk(Desk::WentOn(Onward::HungUp)),
        wire(Wire::HangUp(Parting::Normal)),
    ];
    s.gives(9011, leg(A, Gone(CALLED_OFF)), &last);
    s.gives(9020, CallerGone, &[closed()]);
    s.is_done();
}

/// Q13: the message is played to its end, then the caller is transferred.
#[test]
fn the_message_comes_before_the_transfer() {
    let mut s = Stand::waiting(limited(true, TimeoutAction::Transfer("1005".into())));
    s.at_last(9000, &[close(CancelCause::CallTimedOut), sorry(2), timed_out(TimeoutCause::MaxWait)]);
    let on = [desk(Desk::WentOn(Onward::Transferred("1005".into()))), wire(Wire::Transfer("1005".into()))];
    s.gives(12_000, Played(Playing(2)), &on);
    s.gives(12_050, MovedOn, &[closed()]);
    s.is_done();
}

#[test]
fn a_message_that_never_ends_does_not_hold_the_caller_for_ever() {
    let mut s = Stand::waiting(limited(true, TimeoutAction::Hangup));
    s.at_last(9000, &[close(CancelCause::CallTimedOut), sorry(2), timed_out(TimeoutCause::MaxWait)]);
    let hung_up = [wire(Wire::Hush), desk(Desk::WentOn(Onward::HungUp)), wire(Wire::HangUp(Parting::Normal))];
    s.at_last(309_000, &hung_up);
    s.at_last(314_000, &[closed()]);
    s.is_done();
}

#[test]
fn a_caller_who_hangs_up_during_the_message_has_timed_out() {
    let mut s = Stand::ringing(limited(true, TimeoutAction::Hangup), &[A]);
    s.at_last(9000, &[close(CancelCause::CallTimedOut), call_off(A, CancelCause::CallTimedOut), sorry(2)]);
    // Until now, an agent who had just answered would have been spared.
    s.gives(9005, CallerGone, &[timed_out(TimeoutCause::MaxWait), call_off(A, CancelCause::CallerGone)]);
    s.gives(9010, leg(A, Gone(CALLED_OFF)), &[cancelled(A, CancelCause::CallerGone), gone(A), closed()]);
    s.is_done();
}

/// Q13: an agent who answers at the last moment gets the caller.
#[test]
fn an_answer_in_the_last_moment_counts() {
    let mut s = Stand::ringing(limited(true, TimeoutAction::Hangup), &[A]);
    s.gives(8999, leg(A, Answered), &[]);
    s.at_last(9000, &[close(CancelCause::CallTimedOut), sorry(2)]);
    s.gives(9020, leg(A, Bridged), &[desk(Desk::Answered(A)), wire(Wire::Connected)]);
}

/// Q13: the caller goes to the other queue, where the wait starts anew, but to no queue a second time.
#[test]
fn a_caller_moves_to_another_queue_but_never_in_a_loop() {
    let mut s = Stand::waiting(limited(false, TimeoutAction::Queue(q("2"))));
    let moved = [
        close(CancelCause::CallTimedOut),
        timed_out(TimeoutCause::MaxWait),
        desk(Desk::WentOn(Onward::Queue(q("2")))),
        desk(Desk::Enter(q("2"), None)),
    ];
    s.at_last(9000, &moved);
    let second = settings(|s| {
        s.number = q("2");
        s.timeout.action = TimeoutAction::Queue(q("1"));
    });
    let entered = [wire(Wire::Remember(place(9000))), ringtone(2, true), look(false)];
    s.gives(9000, Entered(Some((second, place(9000), since(9000)))), &entered);
    let hung_up = [
        close(CancelCause::CallTimedOut),
        timed_out(TimeoutCause::LastAgentLoggedOut),
        desk(Desk::WentOn(Onward::HungUp)),
        wire(Wire::HangUp(Parting::Normal)),
    ];
    s.gives(9500, end(TimeoutCause::LastAgentLoggedOut), &hung_up);
}

/// Q13: a transfer to a number that leads back to the queue is a loop as well; it ends after the message.
#[test]
fn a_loop_through_a_number_ends_after_the_message() {
    let with_message = limited(true, TimeoutAction::Transfer("1005".into()));
    let mut s = Stand { call: Call::new(q("1"), vec![q("2"), q("1")], None) };
    s.gives(0, Begin, &[desk(Desk::Enter(q("1"), None))]);
    let entered = [wire(Wire::Prepare(place(0))), wire(Wire::Answer), ringtone(1, false)];
    let ended = [close(CancelCause::CallTimedOut), sorry(2), timed_out(TimeoutCause::SecondTime)];
    s.gives(0, Entered(Some((with_message.clone(), place(0), since(0)))), &[&entered[..], &ended[..]].concat());
    let hung_up = [desk(Desk::WentOn(Onward::HungUp)), wire(Wire::HangUp(Parting::Normal))];
    s.gives(3_000, Played(Playing(2)), &hung_up);
    // A caller who returns to a place, in any queue, is in no loop.
    let mut back = Stand { call: Call::back(q("1"), vec![q("2"), q("1")], place(0)) };
    back.gives(0, Begin, &[desk(Desk::Enter(q("1"), Some(place(0))))]);
    back.gives(0, Entered(Some((with_message, place(0), since(0)))), &[&entered[..], &[look(false)]].concat());
    assert_eq!(back.call.visited(), [q("2"), q("1")]);
}

#[test]
fn an_agent_claimed_as_the_wait_ends_is_released() {
    let mut s = Stand::waiting(settings(|_| ()));
    let last = Orders { ring: vec![(A, anna())], end: Some(TimeoutCause::QueueRemoved), ..Orders::default() };
    let effects = s.tell(700, orders(last));
    assert_eq!(effects[..2], [cancelled(A, CancelCause::CallTimedOut), gone(A)]);
    assert_eq!(effects[2..4], [close(CancelCause::CallTimedOut), timed_out(TimeoutCause::QueueRemoved)]);
}

#[test]
fn shutting_down_returns_the_caller_to_the_dialplan() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(700, Drain, &[close(CancelCause::Draining), call_off(A, CancelCause::Draining)]);
    let back = [cancelled(A, CancelCause::Draining), gone(A), desk(Desk::Leave(Leave::Returned)), wire(Wire::GiveBack)];
    s.gives(720, leg(A, Gone(CALLED_OFF)), &back);
    s.gives(730, Disconnected, &[closed()]);
    s.is_done();
    let mut s = Stand::talking();
    s.gives(9000, Drain, &[closed()]);
    s.is_done();
}

/// A caller whom another party took hears no message and is not hung up.
#[test]
fn a_caller_who_was_taken_is_let_go() {
    let mut s = Stand::waiting(limited(true, TimeoutAction::Hangup));
    s.gives(8500, TakenAway, &[close(CancelCause::AnsweredElsewhere), wire(Wire::LetGo)]);
    s.at_last(9000, &[]);
    s.gives(9100, TakenAway, &[]);
    s.at_last(9500, &[wire(Wire::FindTaker)]);
    s.gives(9510, Taker(Some(anna())), &[desk(Desk::TakenBy(anna())), desk(Desk::Leave(Leave::Taken)), closed()]);
    s.is_done();
    let mut s = Stand::waiting(limited(true, TimeoutAction::Hangup));
    s.at_last(9000, &[close(CancelCause::CallTimedOut), sorry(2), timed_out(TimeoutCause::MaxWait)]);
    s.gives(9500, TakenAway, &[close(CancelCause::AnsweredElsewhere), wire(Wire::LetGo)]);
    s.gives(9501, Played(Playing(2)), &[]);
    s.at_last(10_500, &[wire(Wire::FindTaker)]);
    s.at_last(11_500, &[closed()]);
    s.is_done();
    // A pickup cuts the message off before the event of the pickup comes.
    let mut s = Stand::waiting(limited(true, TimeoutAction::Hangup));
    s.at_last(9000, &[close(CancelCause::CallTimedOut), sorry(2), timed_out(TimeoutCause::MaxWait)]);
    s.gives(9500, CutOff(Playing(2)), &[]);
    s.gives(9520, TakenAway, &[close(CancelCause::AnsweredElsewhere), wire(Wire::LetGo)]);
    s.at_last(10_000, &[]);
    s.at_last(10_520, &[wire(Wire::FindTaker)]);
    s.gives(10_530, Taker(None), &[closed()]);
    s.is_done();
}

/// The normal start of a conversation: the answer has switched `socket_resume` off, and the caller's channel leaves our
/// connection before the bridge event.
#[test]
fn a_caller_who_is_being_connected_leaves_our_connection_first() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(2000, leg(A, Answered), &[]);
    s.gives(2001, TakenAway, &[close(CancelCause::AnsweredElsewhere)]);
    s.gives(2020, leg(A, Bridged), &[desk(Desk::Answered(A)), wire(Wire::Connected)]);
}

/// Q23: the loser of a race has an outcome even if the connection ends before the winner is known.
#[test]
fn the_loser_of_a_race_has_an_outcome_when_the_connection_is_lost() {
    let mut s = Stand::ringing(simultaneous(), &[A, B]);
    s.gives(640, leg(A, Answered), &[]);
    s.gives(641, leg(B, Answered), &[]);
    s.gives(642, leg(B, HungUp(GONE, false)), &[]);
    let lost = [
        desk(Desk::Leave(Leave::Lost)),
        cancelled(B, CancelCause::AnsweredElsewhere),
        cancelled(A, CancelCause::CallerGone),
        desk(Desk::Lost(A)),
        desk(Desk::Lost(B)),
        closed(),
    ];
    s.gives(660, Disconnected, &lost);
    s.is_done();
}

/// Q102: a call that somebody took lives on elsewhere; one that has ended, or goes back to the dialplan, does not.
#[test]
fn only_a_call_that_was_taken_lives_on_elsewhere() {
    let after = |inputs: &[Input]| {
        let mut s = Stand::waiting(settings(|_| ()));
        inputs.iter().for_each(|input| drop(s.tell(700, input.clone())));
        for ms in [60_000, 70_000] {
            s.tell(ms, Tick);
        }
        assert!(s.call.is_finished(), "{inputs:?}");
        s.call.lives_on()
    };
    assert!(after(&[TakenAway]));
    assert!(after(&[CameAgain]));
    for end in [CallerGone, CallerEnded, CallerReplaced, Disconnected, Drain] {
        assert!(!after(std::slice::from_ref(&end)), "{end:?}");
    }
    assert!(!after(&[TakenAway, CallerGone]));
    assert!(Stand::talking().call.lives_on());
}

/// Q19: the channel is prepared once, with the first place.
#[test]
fn a_channel_is_prepared_once() {
    let mut s = Stand { call: Call::new(q("1"), Vec::new(), None) };
    s.tell(0, Begin);
    assert!(!s.call.is_prepared());
    let entered = s.tell(0, Entered(Some((limited(false, TimeoutAction::Queue(q("2"))), place(0), since(0)))));
    assert_eq!(entered[0], wire(Wire::Prepare(place(0))));
    assert!(s.call.is_prepared());
}
