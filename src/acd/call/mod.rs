//! One caller's way from entering a queue to leaving it.
//!
//! Owns the stages of a call and every decision in them. It must not know sockets, commands, channels or clocks, nor
//! choose an agent, which the dispatcher does. It takes [`Input`]s from FreeSWITCH and the floor, and returns
//! [`Effect`]s: [`Wire`] for FreeSWITCH, [`Desk`] for the floor. The session carries them out in order and feeds the
//! answers back.

mod effect;
mod ending;
mod input;
mod offers;
mod sound;
mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use effect::{Desk, Effect, Leave, Parting, Saying, Wire};
pub use input::{Input, Playing};

use super::announce::Announcer;
use super::fact::{EndedBy, TimeoutCause};
use super::ids::{AgentId, OfferId, QueueNumber};
use super::offer::{Offer, OfferTimer};
use super::rank::Rank;
use super::settings::{Music, QueueSettings, TimeoutAction};
use super::time::{Mono, Now, Since};
use super::timers::Timers;

/// How long an announcement may last.
pub const LONGEST_ANNOUNCEMENT: Duration = Duration::from_secs(30);
/// How long the message of a timeout may last.
pub const LONGEST_MESSAGE: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    MaxWait,
    Announce,
    Announcement,
    Message,
    MusicGrace,
    TakenAway,
    Taker,
    Losers,
    Offer(OfferId, OfferTimer),
    Parting,
}

#[derive(Clone, Debug)]
struct Wait {
    queue: QueueNumber,
    settings: Arc<QueueSettings>,
    since: Since,
    announcer: Option<Announcer>,
    announcement: Option<Playing>,
    /// The queue's music has changed and the new music does not play yet.
    other_music: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Timeout(TimeoutCause),
    Drain,
}

/// The stage of the call.
///
/// | stage     | goes on                                                                                               |
/// |-----------|-------------------------------------------------------------------------------------------------------|
/// | `New`     | entered: `Waiting`; not let in: `Ending`; no such queue, or the daemon goes down: `Parting`; the      |
/// |           | caller hangs up: `Over`                                                                               |
/// | `Waiting` | connected: `Talking`; the wait ends, or the daemon goes down: `Ending`; the caller hangs up, somebody |
/// |           | else has them, or the connection is lost: `Over`                                                      |
/// | `Ending`  | no offer is left and the message has been played: `New` (the next queue) or `Parting`; a phone is      |
/// |           | connected all the same: `Talking`; the caller is gone, or somebody else's: `Over`                      |
/// | `Talking` | the agent's leg is gone: `Parting`, or `Over` when the caller hung up or was passed on; the caller is   |
/// |           | gone and the leg goes on, or the call is here again: `Over`, and the link looks after the leg           |
/// | `Parting` | the caller is gone, or takes too long: `Over`                                                          |
/// | `Over`    | no offer is left: the call is finished                                                                 |
#[derive(Clone, Debug)]
enum Stage {
    /// Not in a queue yet.
    New,
    /// In line.
    Waiting(Wait),
    /// The wait is over, or the caller was not let in; legs are ended, the message is played. `then` is the action that
    /// follows, or else the return to the dialplan; `leave` is how the caller leaves the line, until that is recorded.
    Ending { queue: QueueNumber, then: Option<TimeoutAction>, message: Option<Playing>, leave: Option<Leave> },
    /// Connected to an agent. `caller_gone` says who ended the caller's channel, once it has ended.
    Talking { offer: OfferId, caller_gone: Option<EndedBy>, transferred: bool },
    /// A hang-up, a transfer or the return to the dialplan has been ordered.
    Parting,
    /// The call has ended for this machine; only legs are still to be ended.
    Over,
}

/// Whether the caller's channel is ready to be connected to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    /// The channel is not answered.
    Early,
    /// `answer` has been ordered.
    Answering,
    /// The channel is answered.
    Answered,
}

/// An offer that apparently ended because somebody else was faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loser {
    offer: OfferId,
    /// The phone had been answered.
    answered: bool,
    /// None of its legs is left.
    gone: bool,
}

/// One caller's call.
#[derive(Clone, Debug)]
pub struct Call {
    first: (QueueNumber, Option<Rank>),
    /// The queues through which timeouts have led the caller, including the present one.
    visited: Vec<QueueNumber>,
    /// The caller has already timed out of the queue being entered, and timeouts alone led back to it.
    in_a_circle: bool,
    /// The caller returned to an earlier rank in the line.
    returned: bool,
    stage: Stage,
    channel: Channel,
    offers: BTreeMap<OfferId, Offer>,
    /// Offers that apparently ended because somebody else was faster; who that was will turn out later.
    losers: Vec<Loser>,
    timers: Timers<Timer>,
    music: Option<(Playing, Music, Mono)>,
    music_plays: bool,
    music_failures: u32,
    played: u32,
    /// The channel was given what it needs to go on without this process ([`Wire::Prepare`]).
    is_prepared: bool,
    /// The caller is connected elsewhere, and the call no longer depends on this process.
    is_let_go: bool,
    /// The caller's channel has ended, is out of reach, or goes back to the dialplan.
    has_left: bool,
    closed: bool,
    out: Vec<Effect>,
}

impl Call {
    /// Creates the call of a caller who comes back to `rank` in `queue` after the controller was away. `visited` lists
    /// the queues through which timeouts have led the caller, including this one.
    pub fn back(queue: QueueNumber, mut visited: Vec<QueueNumber>, rank: Rank) -> Self {
        visited.retain(|v| *v != queue);
        Self::new(queue, visited, Some(rank))
    }

    /// Creates the call of a caller who enters `queue` after timeouts alone led through `visited`. A second entry to
    /// the same queue ends with a hang-up (Q13). `rank` is the rank of a caller who has waited for a controller.
    pub fn new(queue: QueueNumber, visited: Vec<QueueNumber>, rank: Option<Rank>) -> Self {
        Self {
            first: (queue, rank),
            visited,
            in_a_circle: false,
            returned: false,
            stage: Stage::New,
            channel: Channel::Early,
            offers: BTreeMap::new(),
            losers: Vec::new(),
            timers: Timers::default(),
            music: None,
            music_plays: false,
            music_failures: 0,
            played: 0,
            is_prepared: false,
            is_let_go: false,
            has_left: false,
            closed: false,
            out: Vec::new(),
        }
    }

    /// The queues through which timeouts have led the caller, including the present one.
    pub fn visited(&self) -> &[QueueNumber] {
        &self.visited
    }

    /// The agent whom this offer rings or has rung.
    pub fn agent_of(&self, offer: OfferId) -> Option<&AgentId> {
        self.offers.get(&offer).map(Offer::agent)
    }

    /// The offers whose legs FreeSWITCH may still have.
    pub fn offers(&self) -> impl Iterator<Item = OfferId> {
        self.offers.keys().copied()
    }

    /// Whether the caller waits and may get offers.
    pub fn is_in_line(&self) -> bool {
        matches!(self.stage, Stage::New | Stage::Waiting(_))
    }

    /// Whether the channel can go on without this process, and has the caller's rank.
    pub fn is_prepared(&self) -> bool {
        self.is_prepared
    }

    /// Whether the caller's channel lives on, somewhere else, when the call is finished here.
    pub fn lives_on(&self) -> bool {
        !self.has_left
    }

    /// Whether the call is finished.
    pub fn is_finished(&self) -> bool {
        self.closed
    }

    /// The next deadline: [`Input::Tick`] is due then.
    pub fn deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Takes one input and returns the effects to carry out, in order.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        match input {
            Input::Begin => {
                let (queue, rank) = self.first.clone();
                self.enter(queue, rank);
            }
            Input::Woken => self.look(now),
            Input::Entered(entered) => self.entered(entered, now),
            Input::Refused(settings, rank, cause) => self.refused(&settings, rank, cause, now),
            Input::Looked { orders, position } => self.looked(orders, position, now),
            Input::CallerAnswered => self.caller_answered(now),
            Input::Phones(offer, found) => self.found(offer, found, now),
            Input::Leg(leg, news) => self.heard(leg, news, now),
            Input::LegsMissing(offer) => self.legs_missing(offer, now),
            Input::TakenAway => self.taken_away(now),
            Input::Taker(by) => self.taken_by(by, now),
            Input::CameAgain => self.came_again(now),
            Input::Played(what) => self.played(what, now),
            Input::CutOff(what) => self.cut_off(what, now),
            Input::MovedOn => {
                if matches!(self.stage, Stage::Parting) {
                    self.over();
                }
            }
            Input::CallerGone => self.caller_gone(Leave::Abandoned, now),
            Input::CallerEnded => self.caller_gone(Leave::Ended, now),
            Input::CallerReplaced => self.caller_gone(Leave::Replaced, now),
            Input::Disconnected => self.disconnected(),
            Input::Drain => self.drain(now),
            Input::Tick => self.tick(now),
        }
        self.advance(now);
        std::mem::take(&mut self.out)
    }

    fn wire(&mut self, wire: Wire) {
        self.out.push(wire.into());
    }

    fn desk(&mut self, desk: Desk) {
        self.out.push(desk.into());
    }

    fn tick(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::MaxWait => self.end_wait(Why::Timeout(TimeoutCause::MaxWait), now),
                Timer::Announce => self.look(now),
                Timer::Announcement => self.announcement_over(now),
                Timer::Message => self.message_over(),
                Timer::MusicGrace => self.restart_music(now),
                Timer::TakenAway => self.find_taker(now),
                Timer::Taker => self.taken(now),
                Timer::Losers => self.tell_losers(now),
                Timer::Offer(offer, timer) => self.offer_due(offer, timer, now),
                Timer::Parting => self.over(),
            }
        }
    }

    /// Takes the steps whose conditions this input may have fulfilled.
    fn advance(&mut self, now: Now) {
        if !self.losers.is_empty() && !matches!(self.stage, Stage::Waiting(_)) {
            self.tell_losers(now);
        }
        let taken_away = self.is_taken_away();
        if let Stage::Ending { queue, then, message, leave } = &mut self.stage
            && self.offers.is_empty()
            && !taken_away
        {
            let (queue, then, done, leave) = (queue.clone(), then.clone(), message.is_none(), leave.take());
            if let Some(leave) = leave {
                self.desk(Desk::Leave(leave));
            }
            if done {
                match then {
                    None => self.part(Wire::GiveBack, now),
                    Some(action) => self.go_on(&queue, action, now),
                }
            }
        }
        if matches!(self.stage, Stage::Over) && self.offers.is_empty() && !self.closed {
            self.closed = true;
            self.timers.clear_all();
            self.wire(Wire::Close);
        }
    }
}
