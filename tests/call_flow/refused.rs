//! Q38, Q44: callers who are not let in.

use freeswitch_queue::acd::fact::RefusalCause;

use super::*;

fn full(message: bool, action: TimeoutAction) -> Input {
    let settings = settings(|s| s.full = Timeout { message: message.then(|| "/full.wav".into()), action });
    Refused(settings, place(0), RefusalCause::Full)
}

fn at_the_gate(visited: Vec<QueueNumber>) -> Stand {
    let mut s = Stand { call: Call::new(q("1"), visited, None) };
    s.gives(0, Begin, &[desk(Desk::Enter(q("1"), None))]);
    s
}

fn told(playing: u32) -> [Effect; 3] {
    let message = wire(Wire::Say(Playing(playing), Saying::Message("/full.wav".into())));
    [wire(Wire::Prepare(place(0))), wire(Wire::Answer), message]
}

/// Q38: the message without any music, then the action; the caller leaves no line, having been in none.
#[test]
fn the_message_comes_before_any_music_and_then_the_action() {
    let mut s = at_the_gate(Vec::new());
    s.gives(0, full(true, TimeoutAction::Transfer("1005".into())), &told(1));
    let on = [desk(Desk::WentOn(Onward::Transferred("1005".into()))), wire(Wire::Transfer("1005".into()))];
    s.gives(3_000, Played(Playing(1)), &on);
    s.gives(3_050, MovedOn, &[closed()]);
    s.is_done();
}

#[test]
fn without_a_message_the_action_follows_at_once() {
    let mut s = at_the_gate(Vec::new());
    let on = [
        wire(Wire::Prepare(place(0))),
        wire(Wire::Answer),
        desk(Desk::WentOn(Onward::Queue(q("2")))),
        desk(Desk::Enter(q("2"), None)),
    ];
    s.gives(0, full(false, TimeoutAction::Queue(q("2"))), &on);
    assert_eq!(s.call.visited(), [q("1"), q("2")]);
}

/// Q44: neither a hang-up, nor a lost connection, nor the end of the daemon makes a refused caller leave a line.
#[test]
fn a_refused_caller_abandons_nothing() {
    for gone in [CallerGone, CallerEnded, Disconnected] {
        let mut s = at_the_gate(Vec::new());
        s.gives(0, full(true, TimeoutAction::Hangup), &told(1));
        s.gives(500, Drain, &[]);
        s.gives(1_000, gone, &[closed()]);
        s.is_done();
    }
}

/// Q13: a full queue whose action leads back to it, by way of a number, hangs up the second time.
#[test]
fn a_full_queue_leads_nobody_round_in_a_circle() {
    let mut s = at_the_gate(vec![q("1")]);
    s.gives(0, full(true, TimeoutAction::Transfer("1005".into())), &told(1));
    let hung_up = [desk(Desk::WentOn(Onward::HungUp)), wire(Wire::HangUp(Parting::Normal))];
    s.gives(3_000, Played(Playing(1)), &hung_up);
}
