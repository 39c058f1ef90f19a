//! One call's machine, branch by branch: this input, exactly these effects, and nothing left.
#![allow(clippy::unwrap_used, clippy::expect_used)]

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
    let mut s = QueueSettings {
        number: q("1"),
        name: "Service".into(),
        strategy: Strategy::AsListed,
        participants: vec![anna()],
        max_wait: None,
        wrap_up: Duration::ZERO,
        ring_time: Duration::from_secs(20),
        music: Music::Ringtone,
        language: Language("en".into()),
        announce_every: None,
        timeout: Timeout::default(),
    };
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

/// A call and what it says to each input.
struct Stand {
    call: Call,
}

impl Stand {
    /// A caller who begins to wait at 0 ms.
    fn waiting(settings: Arc<QueueSettings>) -> Self {
        let mut s = Self { call: Call::new(q("1"), Vec::new(), None) };
        s.gives(0, Begin, &[desk(Desk::Enter(q("1"), None))]);
        s.tell(0, Entered(Some((settings, place(0)))));
        s.gives(0, nothing_to_do(1), &[]);
        s
    }

    /// The same, with an agent rung by each of these offers.
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
        assert_eq!(s.call.deadline(), None, "a conversation may last");
        s
    }

    fn tell(&mut self, ms: u64, input: Input) -> Vec<Effect> {
        self.call.handle(input, now(ms))
    }

    /// This input has exactly these effects.
    fn gives(&mut self, ms: u64, input: Input, effects: &[Effect]) {
        assert_eq!(self.tell(ms, input.clone()), effects, "at {ms} ms, {input:?}");
    }

    /// The next deadline lies there; it is let come, and has exactly these effects.
    fn at_last(&mut self, ms: u64, effects: &[Effect]) {
        assert_eq!(self.call.deadline(), Some(now(ms).mono), "the next deadline");
        self.gives(ms, Tick, effects);
    }

    /// Nothing is left.
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

/// Q10, Q19: the caller waits on as before: with music, and not to be lost by our death.
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

/// Q10, Q19: the same when nothing is ever heard of the leg again.
#[test]
fn a_connection_that_is_never_heard_of_leaves_no_silence() {
    let mut s = Stand::ringing(settings(|_| ()), &[A]);
    s.gives(2000, LegAnswered(A), &[]);
    s.gives(2005, Played(Playing(1)), &[]);
    s.at_last(2305, &[]);
    s.at_last(7000, &[wire(Wire::EndLeg(A))]);
    s.at_last(12_000, &[missed(A, MissCause::NotConnected), wire(Wire::Rearm), desk(Desk::Lost(A))]);
    s.at_last(12_300, &[ringtone(2, false)]);
    assert_eq!(s.call.legs().count(), 0);
}

/// Q19: while another is being connected the channel stays as that one's answer left it, or our death would cut
/// the conversation.
#[test]
fn the_loser_of_a_race_does_not_rearm_the_caller() {
    let mut s = Stand::ringing(simultaneous(), &[A, B]);
    s.gives(2000, LegAnswered(A), &[]);
    s.gives(2005, LegAnswered(B), &[]);
    s.gives(2010, LegHungUp(A, CALLED_OFF, false), &[cancelled(A, CancelCause::AnsweredElsewhere)]);
    s.gives(2011, LegGone(A, CALLED_OFF), &[desk(Desk::Gone(A))]);
    s.gives(2030, Bridged(B), &[desk(Desk::Answered(B)), wire(Wire::Connected)]);
}

/// Q23: every offer has an outcome, also when the connection is lost.
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
