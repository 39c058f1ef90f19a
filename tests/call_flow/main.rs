//! The state machine of one call, branch by branch: each input has exactly these effects, and no leg or timer is left.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ending;
mod hearing;
mod refused;

use std::sync::Arc;
use std::time::Duration;

use freeswitch_queue::acd::call::Input::*;
use freeswitch_queue::acd::call::{Call, Desk, Effect, Input, Leave, Parting, Playing, Saying, Wire};
use freeswitch_queue::acd::fact::{CancelCause, EndedBy, MissCause, Onward, TimeoutCause};
use freeswitch_queue::acd::ids::{AgentId, LegId, OfferId, QueueNumber};
use freeswitch_queue::acd::leg::LegEnd;
use freeswitch_queue::acd::leg::News::{self, *};
use freeswitch_queue::acd::offer::{Found, Outcome};
use freeswitch_queue::acd::queue::Orders;
use freeswitch_queue::acd::rank::Rank;
use freeswitch_queue::acd::settings::{Language, Music, QueueSettings, Strategy, Timeout, TimeoutAction};
use freeswitch_queue::acd::time::{Mono, Now, Since, Wall};
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

fn place(ms: i64) -> Rank {
    Rank::new(Wall(1_000_000 + ms), 0)
}

/// The same moment on the monotonic clock.
fn since(ms: i64) -> Since {
    let ago = Duration::from_millis(ms.min(0).unsigned_abs());
    Since::from(now(ms.max(0).unsigned_abs()).mono).before(ago)
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
        s.tell(0, Entered(Some((settings, place(0), since(0)))));
        s.gives(0, CallerAnswered, &[]);
        s.gives(0, nothing_to_do(1), &[]);
        s
    }

    /// The same, with one leg ringing for each of these offers.
    fn ringing(settings: Arc<QueueSettings>, offers: &[OfferId]) -> Self {
        let shared = settings.strategy == Strategy::Simultaneous;
        let mut s = Self::waiting(settings);
        let ring = offers.iter().map(|o| (*o, anna())).collect();
        let asked: Vec<Effect> = offers.iter().map(|o| wire(Wire::FindPhones(*o, anna()))).collect();
        s.gives(0, Looked { orders: Orders { ring, ..Orders::default() }, position: 1 }, &asked);
        for o in offers {
            s.gives(0, Phones(*o, Found::Dialled), &[originate(o.leg(0), shared)]);
        }
        for o in offers {
            s.gives(10, leg(*o, Created), &[]);
        }
        s
    }

    /// An agent with one phone is rung.
    fn rings(&mut self, offer: OfferId) {
        self.tell(0, orders(Orders { ring: vec![(offer, anna())], ..Orders::default() }));
        self.tell(0, Phones(offer, Found::Dialled));
    }

    /// The same, in a conversation since 2 s.
    fn talking() -> Self {
        let mut s = Self::ringing(settings(|_| ()), &[A]);
        s.gives(2000, leg(A, Answered), &[]);
        s.gives(2010, leg(A, Bridged), &[desk(Desk::Answered(A)), wire(Wire::Connected)]);
        s.gives(2011, leg(A, Originated(Err(GONE))), &[]);
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
        assert_eq!(self.call.offers().count(), 0);
    }
}

fn leg(offer: OfferId, news: News) -> Input {
    Leg(offer.leg(0), news)
}

fn originate(leg: LegId, first_wins: bool) -> Effect {
    wire(Wire::Originate { leg, agent: anna(), first_wins })
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
    s.gives(2000, leg(A, Answered), &[]);
    s.gives(2005, Played(Playing(1)), &[]);
    s.at_last(2305, &[]);
    s.gives(4000, leg(A, HungUp(GONE, false)), &[missed(A, MissCause::NotConnected), wire(Wire::Rearm)]);
    s.gives(4001, leg(A, Gone(GONE)), &[desk(Desk::Gone(A))]);
    s.at_last(4300, &[ringtone(2, false)]);
}

/// Q10, Q19: the same when no further event of the leg arrives.
#[test]
fn a_connection_without_further_events_leaves_no_silence() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(2000, leg(A, Answered), &[]);
    s.gives(2005, Played(Playing(1)), &[]);
    s.at_last(2305, &[]);
    s.at_last(7000, &[wire(Wire::EndLeg(A.leg(0)))]);
    s.at_last(12_000, &[missed(A, MissCause::NotConnected), wire(Wire::Rearm), desk(Desk::Lost(A))]);
    s.at_last(12_300, &[ringtone(2, false)]);
    assert_eq!(s.call.offers().count(), 0);
}

/// Q19: the report that a leg no longer exists can overtake its last events, which may include its answer. So the call
/// is made independent of this process again.
#[test]
fn a_missing_leg_may_have_been_answered() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.at_last(20_000, &[wire(Wire::RingOut(A.leg(0), MissCause::NoAnswer))]);
    s.at_last(30_000, &[wire(Wire::EndLeg(A.leg(0)))]);
    s.gives(30_010, leg(A, Missing), &[missed(A, MissCause::Failed), gone(A), wire(Wire::Rearm)]);
    s.gives(30_020, leg(A, Answered), &[]);
}

/// Q19: while another leg is being connected, the channel stays as that leg's answer left it. Otherwise the
/// conversation would end if this process died.
#[test]
fn the_loser_of_a_race_does_not_rearm_the_caller() {
    let mut s = Stand::ringing(simultaneous(), &[A, B]);
    s.gives(2000, leg(A, Answered), &[]);
    s.gives(2005, leg(B, Answered), &[]);
    s.gives(2010, leg(A, HungUp(CALLED_OFF, false)), &[]);
    s.gives(2011, leg(A, Gone(CALLED_OFF)), &[]);
    let told = [cancelled(A, CancelCause::AnsweredElsewhere), desk(Desk::Gone(A))];
    let won = [desk(Desk::Answered(B)), wire(Wire::Connected)];
    s.gives(2030, leg(B, Bridged), &[&won[..], &told[..]].concat());
}

/// Q23: every offer has an outcome, even when the connection is lost.
#[test]
fn a_lost_connection_leaves_no_offer_without_an_outcome() {
    let mut s = Stand::ringing(simultaneous(), &[A, B]);
    s.gives(500, leg(B, HungUp(LegEnd::Missed(MissCause::Declined), false)), &[missed(B, MissCause::Declined)]);
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
    wire(Wire::CallOff(offer.leg(0), cause))
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
    let entered = [wire(Wire::Prepare(place(-5000))), wire(Wire::Answer), ringtone(1, false), look(false)];
    s.gives(0, Entered(Some((settings(|_| ()), place(-5000), since(-5000)))), &entered);
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
    s.at_last(20_000, &[wire(Wire::RingOut(A.leg(0), MissCause::NoAnswer))]);
    s.gives(20_010, leg(A, HungUp(NO_ANSWER, false)), &[missed(A, MissCause::NoAnswer)]);
    s.gives(20_011, leg(A, Originated(Err(NO_ANSWER))), &[]);
    s.gives(20_012, leg(A, Gone(NO_ANSWER)), &[gone(A)]);
    assert_eq!(s.call.deadline(), None);
}

/// Q7: an unregistered phone gets no channel, and its offer ends at once.
#[test]
fn an_unregistered_phone_costs_no_time() {
    let mut s = Stand::waiting(settings(|_| ()));
    s.rings(A);
    let end = LegEnd::Missed(MissCause::NotRegistered);
    s.gives(3, leg(A, Originated(Err(end))), &[missed(A, MissCause::NotRegistered), gone(A)]);
    assert_eq!(s.call.deadline(), None);
}

/// Q7: a phone that is registered and gives no sign of ringing costs 4 s; one that rings has its time.
#[test]
fn a_phone_that_does_not_ring_costs_four_seconds() {
    let mut s = Stand::waiting(settings(|_| ()));
    s.tell(0, orders(Orders { ring: vec![(A, anna())], ..Orders::default() }));
    s.gives(100, Phones(A, Found::Registered(1)), &[originate(A.leg(0), false)]);
    s.gives(110, leg(A, Created), &[]);
    s.at_last(4100, &[wire(Wire::RingOut(A.leg(0), MissCause::Silent))]);
    let silent = LegEnd::Missed(MissCause::Silent);
    s.gives(4120, leg(A, HungUp(silent, false)), &[missed(A, MissCause::Silent)]);
    s.gives(4121, leg(A, Gone(silent)), &[gone(A)]);
    assert_eq!(s.call.deadline(), None);
    s.tell(5000, orders(Orders { ring: vec![(B, anna())], ..Orders::default() }));
    s.gives(5000, Phones(B, Found::Registered(1)), &[originate(B.leg(0), false)]);
    s.gives(8999, leg(B, Ringing), &[]);
    s.at_last(9000, &[]);
    s.at_last(25_000, &[wire(Wire::RingOut(B.leg(0), MissCause::NoAnswer))]);
}

#[test]
fn a_leg_without_events_is_ended_and_given_up() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.at_last(20_000, &[wire(Wire::RingOut(A.leg(0), MissCause::NoAnswer))]);
    s.at_last(30_000, &[wire(Wire::EndLeg(A.leg(0)))]);
    s.at_last(35_000, &[missed(A, MissCause::Failed), desk(Desk::Lost(A))]);
    assert_eq!((s.call.deadline(), s.call.offers().count()), (None, 0));
}

/// Q15: logging out while the phone rings calls the offer off, unless the agent has just answered.
#[test]
fn a_logout_calls_the_offer_off_unless_just_answered() {
    let logout = || orders(Orders { call_off: vec![(A, CancelCause::LoggedOut)], ..Orders::default() });
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(900, logout(), &[call_off(A, CancelCause::LoggedOut)]);
    s.gives(910, leg(A, HungUp(CALLED_OFF, false)), &[cancelled(A, CancelCause::LoggedOut)]);
    s.gives(911, leg(A, Gone(CALLED_OFF)), &[gone(A)]);
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(890, leg(A, Answered), &[]);
    s.gives(900, logout(), &[]);
    s.gives(910, leg(A, Bridged), &[desk(Desk::Answered(A)), wire(Wire::Connected)]);
}

/// Q8: a leg that is created after it was called off is called off again.
#[test]
fn a_leg_that_appears_late_is_called_off_again() {
    let mut s = Stand::waiting(settings(|_| ()));
    s.rings(A);
    let gives_up = [desk(Desk::Leave(Leave::Abandoned)), call_off(A, CancelCause::CallerGone)];
    s.gives(5, CallerGone, &gives_up);
    s.gives(6, leg(A, Missing), &[]);
    s.gives(8, leg(A, Created), &[call_off(A, CancelCause::CallerGone)]);
    s.gives(9, leg(A, Missing), &[cancelled(A, CancelCause::CallerGone), gone(A), closed()]);
    s.is_done();
}

// Connecting.

/// Q6, Q8: the first phone to answer gets the caller, every other phone stops, and a second one is not connected.
#[test]
fn only_one_leg_wins_the_race() {
    let mut s = Stand::ringing(simultaneous(), &[A, B]);
    s.gives(2000, leg(A, Answered), &[]);
    s.gives(2001, leg(B, Answered), &[]);
    let won = [desk(Desk::Answered(B)), call_off(A, CancelCause::AnsweredElsewhere), wire(Wire::Connected)];
    s.gives(2030, leg(B, Bridged), &won);
    s.gives(2031, leg(A, Bridged), &[wire(Wire::EndLeg(A.leg(0)))]);
    s.gives(2040, leg(A, HungUp(CALLED_OFF, false)), &[cancelled(A, CancelCause::AnsweredElsewhere)]);
    s.gives(2041, leg(A, Gone(CALLED_OFF)), &[gone(A)]);
    assert_eq!(s.call.deadline(), None);
}

/// An offer has one outcome, in whatever order the events arrive.
#[test]
fn a_bridge_event_after_the_hangup_is_ignored() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(2000, leg(A, Answered), &[]);
    s.gives(2020, leg(A, HungUp(GONE, false)), &[missed(A, MissCause::NotConnected), wire(Wire::Rearm)]);
    s.gives(2021, leg(A, Bridged), &[]);
    s.gives(2022, leg(A, Gone(GONE)), &[gone(A)]);
    s.gives(2030, CallerGone, &[desk(Desk::Leave(Leave::Abandoned)), closed()]);
    s.is_done();
}

/// Q8: an agent who answers after the caller has gone is not left in silence.
#[test]
fn a_connection_after_the_caller_has_gone_is_ended() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    let gives_up = [desk(Desk::Leave(Leave::Abandoned)), call_off(A, CancelCause::CallerGone)];
    s.gives(2000, CallerGone, &gives_up);
    s.gives(2001, leg(A, Answered), &[]);
    s.gives(2002, leg(A, Bridged), &[wire(Wire::EndLeg(A.leg(0)))]);
    s.gives(2003, leg(A, Gone(GONE)), &[cancelled(A, CancelCause::CallerGone), gone(A), closed()]);
    s.is_done();
}

// The conversation and its end.

#[test]
fn the_agent_the_caller_or_a_transfer_ends_a_conversation() {
    let mut s = Stand::talking();
    s.gives(9000, leg(A, HungUp(GONE, false)), &[]);
    s.gives(9001, leg(A, Gone(GONE)), &[desk(Desk::Ended(A, EndedBy::Agent))]);
    s.at_last(14_001, &[closed()]);
    s.is_done();
    let mut s = Stand::talking();
    s.gives(9000, CallerGone, &[]);
    s.gives(9001, leg(A, Gone(GONE)), &[desk(Desk::Ended(A, EndedBy::Caller)), closed()]);
    s.is_done();
    let mut s = Stand::talking();
    s.gives(9000, leg(A, HungUp(GONE, true)), &[]);
    s.gives(9001, leg(A, Gone(GONE)), &[desk(Desk::Ended(A, EndedBy::Transfer)), closed()]);
    s.is_done();
}

/// Q22: a conversation ends when FreeSWITCH no longer has its leg, even if no event reported the leg's end.
#[test]
fn a_conversation_whose_leg_is_found_to_be_missing_ends() {
    let mut s = Stand::talking();
    s.gives(9000, LegsMissing(A), &[desk(Desk::Ended(A, EndedBy::Unknown))]);
    s.gives(9001, LegsMissing(A), &[]);
    s.at_last(14_000, &[closed()]);
    s.is_done();
    let mut s = Stand::talking();
    s.gives(9000, CallerGone, &[]);
    s.gives(9001, LegsMissing(A), &[desk(Desk::Ended(A, EndedBy::Caller)), closed()]);
    s.is_done();
}

#[test]
fn a_conversation_that_goes_on_without_the_caller_is_not_ended() {
    let mut s = Stand::talking();
    s.gives(9000, CallerGone, &[]);
    s.at_last(14_000, &[desk(Desk::Lost(A)), closed()]);
    s.is_done();
    // The old leg does not delay a caller who arrives on a new connection meanwhile.
    let mut s = Stand::talking();
    s.gives(9000, CameAgain, &[]);
    s.at_last(10_000, &[desk(Desk::Lost(A)), closed()]);
    s.is_done();
}

/// Q106: the record names the party that ended the conversation, as far as FreeSWITCH tells.
#[test]
fn the_record_names_the_party_that_ended_a_conversation() {
    let ends = |before: &[Input], end: LegEnd| {
        let mut s = Stand::talking();
        before.iter().for_each(|input| drop(s.tell(9000, input.clone())));
        s.tell(9001, leg(A, Gone(end))).into_iter().find_map(|effect| match effect {
            Effect::Desk(Desk::Ended(_, by)) => Some(by),
            _ => None,
        })
    };
    assert_eq!(ends(&[], LegEnd::ByAgent), Some(EndedBy::Agent));
    assert_eq!(ends(&[CallerEnded], LegEnd::ByAgent), Some(EndedBy::Agent));
    assert_eq!(ends(&[CallerGone], LegEnd::BySwitch), Some(EndedBy::Caller));
    assert_eq!(
        ends(&[CallerGone, CallerEnded], LegEnd::BySwitch),
        Some(EndedBy::Caller),
        "the caller's end is reported twice"
    );
    assert_eq!(ends(&[CallerEnded], LegEnd::BySwitch), Some(EndedBy::Switch));
    assert_eq!(ends(&[], LegEnd::BySwitch), Some(EndedBy::Switch));
    assert_eq!(ends(&[], LegEnd::Missed(MissCause::Failed)), Some(EndedBy::Switch), "the phone died");
}

/// Q106, Q103: only a caller who hangs up counts as abandoned.
#[test]
fn the_cause_of_the_end_decides_how_a_waiting_caller_leaves() {
    for (input, leave) in
        [(CallerGone, Leave::Abandoned), (CallerEnded, Leave::Ended), (CallerReplaced, Leave::Replaced)]
    {
        let mut s = Stand::waiting(settings(|_| ()));
        s.gives(9000, input, &[desk(Desk::Leave(leave)), closed()]);
    }
}
