//! The state machine of one call, branch by branch: each input has exactly these effects, and no leg or timer is left.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ending;
mod hearing;

use std::sync::Arc;
use std::time::Duration;

use freeswitch_queue::acd::call::Input::*;
use freeswitch_queue::acd::call::{Call, Desk, Effect, Input, Leave, Parting, Playing, Saying, Wire};
use freeswitch_queue::acd::fact::{CancelCause, EndedBy, MissCause, Onward, TimeoutCause};
use freeswitch_queue::acd::ids::{AgentId, OfferId, QueueNumber};
use freeswitch_queue::acd::leg::{LegEnd, Outcome};
use freeswitch_queue::acd::queue::{Orders, Place};
use freeswitch_queue::acd::settings::{Language, Music, QueueSettings, Strategy, Timeout, TimeoutAction};
use freeswitch_queue::acd::time::{Mono, Now, Wall};
use uuid::Uuid;

const A: OfferId = OfferId(Uuid::from_u128(0xa));
const B: OfferId = OfferId(Uuid::from_u128(0xb));
const GONE: LegEnd = LegEnd::Cleared;
const CALLED_OFF: LegEnd = LegEnd::Elsewhere;

fn now(ms: u64) -> Now {
    Now { mono: Mono(Duration::from_millis(ms)), wall: Wall(1_000_000 + ms as i64) }
}

fn q(n: &str) -> QueueNumber {
    QueueNumber::new(n).unwrap()
}

fn anna() -> AgentId {
    AgentId::new("1001").unwrap()
}

fn settings(change: impl FnOnce(&mut QueueSettings)) -> Arc<QueueSettings> {
    let mut s = QueueSettings::new(q("1"), "Service".into(), vec![anna()], Language("en".into()));
    change(&mut s);
    Arc::new(s)
}

fn place(ms: i64) -> Place {
    Place { entered: Wall(1_000_000 + ms), seq: 0 }
}

fn wire(w: Wire) -> Effect {
    w.into()
}

fn desk(d: Desk) -> Effect {
    d.into()
}

/// A call under test.
struct Stand {
    call: Call,
}

impl Stand {
    /// A caller who has waited since 0 ms.
    fn waiting(settings: Arc<QueueSettings>) -> Self {
        let mut s = Self { call: Call::new(q("1"), Vec::new(), None) };
        s.gives(0, Begin, &[desk(Desk::Enter(q("1"), None))]);
        s.tell(0, Entered(Some((settings, place(0)))));
        s.gives(0, nothing_to_do(1), &[]);
        s
    }

    /// The same, with one leg ringing for each of these offers.
    fn ringing(settings: Arc<QueueSettings>, offers: &[OfferId]) -> Self {
        let shared = settings.strategy == Strategy::Simultaneous;
        let mut s = Self::waiting(settings);
        let ring = offers.iter().map(|o| (*o, anna())).collect();
        let rung =
            |o: &OfferId| wire(Wire::Ring { offer: *o, agent: anna(), shared, ring_time: Duration::from_secs(20) });
        let rung: Vec<Effect> = offers.iter().map(rung).collect();
        s.gives(0, Looked { orders: Orders { ring, ..Orders::default() }, position: 1 }, &rung);
        for o in offers {
            s.gives(10, LegCreated(*o), &[]);
        }
        s
    }

    /// The same, with the conversation begun at 2 s.
    fn talking() -> Self {
        let mut s = Self::ringing(settings(|_| ()), &[A]);
        s.gives(2000, LegAnswered(A), &[]);
        s.gives(2010, Bridged(A), &[desk(Desk::Answered(A)), wire(Wire::Connected)]);
        s.gives(2011, Originated(A, Err(GONE)), &[]);
        assert_eq!(s.call.deadline(), None, "a conversation may last");
        s
    }

    fn tell(&mut self, ms: u64, input: Input) -> Vec<Effect> {
        self.call.handle(input, now(ms))
    }

    /// Asserts that the input has exactly these effects.
    fn gives(&mut self, ms: u64, input: Input, effects: &[Effect]) {
        assert_eq!(self.tell(ms, input.clone()), effects, "at {ms} ms, {input:?}");
    }

    /// Asserts that the next deadline is at `ms`, and that reaching it has exactly these effects.
    fn at_last(&mut self, ms: u64, effects: &[Effect]) {
        assert_eq!(self.call.deadline(), Some(now(ms).mono), "the next deadline");
        self.gives(ms, Tick, effects);
    }

    /// Asserts that the call has ended without legs or timers.
    fn is_done(&self) {
        assert!(self.call.is_finished());
        assert_eq!(self.call.deadline(), None);
        assert_eq!(self.call.legs().count(), 0);
    }
}

fn nothing_to_do(position: u32) -> Input {
    Looked { orders: Orders::default(), position }
}

fn end(cause: TimeoutCause) -> Input {
    Looked { orders: Orders { end: Some(cause), ..Orders::default() }, position: 1 }
}

fn missed(offer: OfferId, cause: MissCause) -> Effect {
    desk(Desk::Outcome(offer, Outcome::Missed(cause)))
}

fn cancelled(offer: OfferId, cause: CancelCause) -> Effect {
    desk(Desk::Outcome(offer, Outcome::Cancelled(cause)))
}

fn ringtone(playing: u32, replace: bool) -> Effect {
    wire(Wire::Music { playing: Playing(playing), music: Music::Ringtone, replace })
}

fn simultaneous() -> Arc<QueueSettings> {
    settings(|s| s.strategy = Strategy::Simultaneous)
}

/// Q10, Q19: after the failure the caller waits as before: with music, and without depending on this process.
#[test]
fn a_connection_that_fails_late_leaves_no_silence() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(2000, LegAnswered(A), &[]);
    s.gives(2005, Played(Playing(1)), &[]);
    s.at_last(2305, &[]);
    s.gives(4000, LegHungUp(A, GONE, false), &[missed(A, MissCause::NotConnected), wire(Wire::Rearm)]);
    s.gives(4001, LegGone(A, GONE), &[desk(Desk::Gone(A))]);
    s.at_last(4300, &[ringtone(2, false)]);
}

/// Q10, Q19: the same when no further event of the leg arrives.
#[test]
fn a_connection_without_further_events_leaves_no_silence() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(2000, LegAnswered(A), &[]);
    s.gives(2005, Played(Playing(1)), &[]);
    s.at_last(2305, &[]);
    s.at_last(7000, &[wire(Wire::EndLeg(A))]);
    s.at_last(12_000, &[missed(A, MissCause::NotConnected), wire(Wire::Rearm), desk(Desk::Lost(A))]);
    s.at_last(12_300, &[ringtone(2, false)]);
    assert_eq!(s.call.legs().count(), 0);
}

/// Q19: the report that a leg no longer exists can overtake its last events, which may include its answer. So the call
/// is made independent of this process again.
#[test]
fn a_missing_leg_may_have_been_answered() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.at_last(20_000, &[wire(Wire::RingOut(A))]);
    s.at_last(30_000, &[wire(Wire::EndLeg(A))]);
    s.gives(30_010, LegMissing(A), &[missed(A, MissCause::Failed), gone(A), wire(Wire::Rearm)]);
    s.gives(30_020, LegAnswered(A), &[]);
}

/// Q19: while another leg is being connected, the channel stays as that leg's answer left it. Otherwise the
/// conversation would end if this process died.
#[test]
fn the_loser_of_a_race_does_not_rearm_the_caller() {
    let mut s = Stand::ringing(simultaneous(), &[A, B]);
    s.gives(2000, LegAnswered(A), &[]);
    s.gives(2005, LegAnswered(B), &[]);
    s.gives(2010, LegHungUp(A, CALLED_OFF, false), &[]);
    s.gives(2011, LegGone(A, CALLED_OFF), &[]);
    let told = [cancelled(A, CancelCause::AnsweredElsewhere), desk(Desk::Gone(A))];
    let won = [desk(Desk::Answered(B)), wire(Wire::Connected)];
    s.gives(2030, Bridged(B), &[&won[..], &told[..]].concat());
}

/// Q23: every offer has an outcome, even when the connection is lost.
#[test]
fn a_lost_connection_leaves_no_offer_without_an_outcome() {
    let mut s = Stand::ringing(simultaneous(), &[A, B]);
    s.gives(500, LegHungUp(B, LegEnd::Missed(MissCause::Declined), false), &[missed(B, MissCause::Declined)]);
    s.gives(
        501,
        Disconnected,
        &[
            desk(Desk::Leave(Leave::Lost)),
            cancelled(A, CancelCause::CallerGone),
            desk(Desk::Lost(A)),
            desk(Desk::Lost(B)),
            wire(Wire::Close),
        ],
    );
    s.is_done();
}

fn call_off(offer: OfferId, cause: CancelCause) -> Effect {
    wire(Wire::CallOff(offer, cause))
}

fn gone(offer: OfferId) -> Effect {
    desk(Desk::Gone(offer))
}

fn look(listen: bool) -> Effect {
    desk(Desk::Look { listen })
}

fn close(cause: CancelCause) -> Effect {
    desk(Desk::Close(cause))
}

fn timed_out(cause: TimeoutCause) -> Effect {
    desk(Desk::Leave(Leave::TimedOut(cause)))
}

fn orders(orders: Orders) -> Input {
    Looked { orders, position: 1 }
}

fn closed() -> Effect {
    wire(Wire::Close)
}

const NO_ANSWER: LegEnd = LegEnd::Missed(MissCause::NoAnswer);

// Entering.

#[test]
fn a_caller_enters_and_hears_music() {
    let mut s = Stand { call: Call::new(q("1"), Vec::new(), Some(place(-5000))) };
    s.gives(0, Begin, &[desk(Desk::Enter(q("1"), Some(place(-5000))))]);
    let entered = [wire(Wire::Remember(place(-5000))), wire(Wire::Answer), ringtone(1, false), look(false)];
    s.gives(0, Entered(Some((settings(|_| ()), place(-5000)))), &entered);
    assert_eq!(s.call.deadline(), None);
    assert_eq!(s.call.visited(), [q("1")]);
}

#[test]
fn a_queue_that_does_not_exist_is_an_unknown_number() {
    let mut s = Stand { call: Call::new(q("1"), Vec::new(), None) };
    s.gives(0, Begin, &[desk(Desk::Enter(q("1"), None))]);
    s.gives(0, Entered(None), &[wire(Wire::HangUp(Parting::NoSuchNumber))]);
    s.at_last(5000, &[closed()]);
    s.is_done();
}

// Ringing.

#[test]
fn an_offer_that_rings_for_its_whole_ring_time_is_missed() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.at_last(20_000, &[wire(Wire::RingOut(A))]);
    s.gives(20_010, LegHungUp(A, NO_ANSWER, false), &[missed(A, MissCause::NoAnswer)]);
    s.gives(20_011, Originated(A, Err(NO_ANSWER)), &[]);
    s.gives(20_012, LegGone(A, NO_ANSWER), &[gone(A)]);
    assert_eq!(s.call.deadline(), None);
}

/// Q7: an unregistered phone gets no channel, and its offer ends at once.
#[test]
fn an_unregistered_phone_costs_no_time() {
    let mut s = Stand::waiting(settings(|_| ()));
    let ring = Orders { ring: vec![(A, anna())], ..Orders::default() };
    s.tell(0, orders(ring));
    let end = LegEnd::Missed(MissCause::NotRegistered);
    s.gives(3, Originated(A, Err(end)), &[missed(A, MissCause::NotRegistered), gone(A)]);
    assert_eq!(s.call.deadline(), None);
}

#[test]
fn a_leg_without_events_is_ended_and_given_up() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.at_last(20_000, &[wire(Wire::RingOut(A))]);
    s.at_last(30_000, &[wire(Wire::EndLeg(A))]);
    s.at_last(35_000, &[missed(A, MissCause::Failed), desk(Desk::Lost(A))]);
    assert_eq!((s.call.deadline(), s.call.legs().count()), (None, 0));
}

/// Q15: logging out while the phone rings calls the offer off, unless the agent has just answered.
#[test]
fn a_logout_calls_the_offer_off_unless_just_answered() {
    let logout = || orders(Orders { call_off: vec![(A, CancelCause::LoggedOut)], ..Orders::default() });
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(900, logout(), &[call_off(A, CancelCause::LoggedOut)]);
    s.gives(910, LegHungUp(A, CALLED_OFF, false), &[cancelled(A, CancelCause::LoggedOut)]);
    s.gives(911, LegGone(A, CALLED_OFF), &[gone(A)]);
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(890, LegAnswered(A), &[]);
    s.gives(900, logout(), &[]);
    s.gives(910, Bridged(A), &[desk(Desk::Answered(A)), wire(Wire::Connected)]);
}

/// Q8: a leg that is created after it was called off is called off again.
#[test]
fn a_leg_that_appears_late_is_called_off_again() {
    let mut s = Stand::waiting(settings(|_| ()));
    s.tell(0, orders(Orders { ring: vec![(A, anna())], ..Orders::default() }));
    let gives_up = [desk(Desk::Leave(Leave::Abandoned)), call_off(A, CancelCause::CallerGone)];
    s.gives(5, CallerGone, &gives_up);
    s.gives(6, LegMissing(A), &[]);
    s.gives(8, LegCreated(A), &[call_off(A, CancelCause::CallerGone)]);
    s.gives(9, LegMissing(A), &[cancelled(A, CancelCause::CallerGone), gone(A), closed()]);
    s.is_done();
}

// Connecting.

/// Q6, Q8: the first phone to answer gets the caller, every other phone stops, and a second one is not connected.
#[test]
fn only_one_leg_wins_the_race() {
    let mut s = Stand::ringing(simultaneous(), &[A, B]);
    s.gives(2000, LegAnswered(A), &[]);
    s.gives(2001, LegAnswered(B), &[]);
    let won = [desk(Desk::Answered(B)), call_off(A, CancelCause::AnsweredElsewhere), wire(Wire::Connected)];
    s.gives(2030, Bridged(B), &won);
    s.gives(2031, Bridged(A), &[wire(Wire::EndLeg(A))]);
    s.gives(2040, LegHungUp(A, CALLED_OFF, false), &[cancelled(A, CancelCause::AnsweredElsewhere)]);
    s.gives(2041, LegGone(A, CALLED_OFF), &[gone(A)]);
    assert_eq!(s.call.deadline(), None);
}

/// An offer has one outcome, in whatever order the events arrive.
#[test]
fn a_bridge_event_after_the_hangup_is_ignored() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(2000, LegAnswered(A), &[]);
    s.gives(2020, LegHungUp(A, GONE, false), &[missed(A, MissCause::NotConnected), wire(Wire::Rearm)]);
    s.gives(2021, Bridged(A), &[]);
    s.gives(2022, LegGone(A, GONE), &[gone(A)]);
    s.gives(2030, CallerGone, &[desk(Desk::Leave(Leave::Abandoned)), closed()]);
    s.is_done();
}

/// Q8: an agent who answers after the caller has gone is not left in silence.
#[test]
fn a_connection_after_the_caller_has_gone_is_ended() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    let gives_up = [desk(Desk::Leave(Leave::Abandoned)), call_off(A, CancelCause::CallerGone)];
    s.gives(2000, CallerGone, &gives_up);
    s.gives(2001, LegAnswered(A), &[]);
    s.gives(2002, Bridged(A), &[wire(Wire::EndLeg(A))]);
    s.gives(2003, LegGone(A, GONE), &[cancelled(A, CancelCause::CallerGone), gone(A), closed()]);
    s.is_done();
}

// The conversation and its end.

#[test]
fn the_agent_the_caller_or_a_transfer_ends_a_conversation() {
    let mut s = Stand::talking();
    s.gives(9000, LegHungUp(A, GONE, false), &[]);
    s.gives(9001, LegGone(A, GONE), &[desk(Desk::Ended(A, EndedBy::Agent))]);
    s.at_last(14_001, &[closed()]);
    s.is_done();
    let mut s = Stand::talking();
    s.gives(9000, CallerGone, &[]);
    s.gives(9001, LegGone(A, GONE), &[desk(Desk::Ended(A, EndedBy::Caller)), closed()]);
    s.is_done();
    let mut s = Stand::talking();
    s.gives(9000, LegHungUp(A, GONE, true), &[]);
    s.gives(9001, LegGone(A, GONE), &[desk(Desk::Ended(A, EndedBy::Transfer)), closed()]);
    s.is_done();
}

#[test]
fn a_conversation_without_an_end_event_is_given_up() {
    let mut s = Stand::talking();
    s.gives(9000, CallerGone, &[]);
    s.at_last(14_000, &[wire(Wire::EndLeg(A))]);
    s.at_last(19_000, &[desk(Desk::Lost(A)), closed()]);
    s.is_done();
}
