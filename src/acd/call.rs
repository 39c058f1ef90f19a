//! One caller's way from entering a queue to leaving it.
//!
//! The machine is told what FreeSWITCH and the floor say ([`Input`]) and answers with what is to be
//! done ([`Effect`]): towards FreeSWITCH ([`Wire`]) and towards the floor ([`Desk`]). Whoever drives it
//! carries the effects out in order and feeds the answers back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::announce::Announcer;
use super::fact::{CancelCause, EndedBy, MissCause, Onward, TimeoutCause};
use super::ids::{AgentId, OfferId, QueueNumber};
use super::leg::{Leg, LegEnd, Outcome};
use super::queue::{Orders, Place};
use super::settings::{Language, Music, QueueSettings, Strategy, TimeoutAction};
use super::time::{Mono, Now, Wall};
use super::timers::Timers;

/// How long past its ring time an offer may stay without a word from FreeSWITCH.
pub const SILENCE_AFTER_RING_TIME: Duration = Duration::from_secs(10);
/// How long a leg may take to end, or an answered one to be connected, before it is looked after.
pub const LEG_PATIENCE: Duration = Duration::from_secs(5);
/// How long an announcement may last.
pub const LONGEST_ANNOUNCEMENT: Duration = Duration::from_secs(30);
/// How long the message of a timeout may last.
pub const LONGEST_MESSAGE: Duration = Duration::from_secs(300);
/// How long FreeSWITCH may take to end or move on a call that was told to.
const PARTING_PATIENCE: Duration = Duration::from_secs(5);
/// How soon silence after an ended music is filled, unless a connection is just being made.
const MUSIC_GRACE: Duration = Duration::from_millis(300);
/// Music that ends within this time of its start does not work.
const MUSIC_WORKS_AFTER: Duration = Duration::from_secs(2);
/// How often music that ends at once is tried before the ring tone takes its place, and the ring tone itself.
const MUSIC_TRIES: u32 = 3;

/// Names one thing being played, so that its end can be told from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Playing(pub u32);

/// What FreeSWITCH and the floor tell a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The caller is here.
    Begin,
    /// The answer to [`Desk::Enter`]: the queue's settings and the place in the line, or no such queue.
    Entered(Option<(Arc<QueueSettings>, Place)>),
    /// There may be orders, or a better position.
    Woken,
    /// The answer to [`Desk::Look`].
    Looked {
        /// What is to be done.
        orders: Orders,
        /// The caller's position, capped above the highest that is spoken.
        position: u32,
    },
    /// The agent's channel exists.
    LegCreated(OfferId),
    /// The agent's phone was answered.
    LegAnswered(OfferId),
    /// The agent's leg is being hung up. `transferred`: because the agent passed the caller on.
    LegHungUp(OfferId, LegEnd, bool),
    /// The agent's channel is gone.
    LegGone(OfferId, LegEnd),
    /// The order to ring was carried out, or failed.
    Originated(OfferId, Result<(), LegEnd>),
    /// FreeSWITCH knows no such channel to call off.
    LegMissing(OfferId),
    /// Caller and agent are connected.
    Bridged(OfferId),
    /// The caller is connected to somebody who is none of our legs, or is no longer ours to command.
    TakenAway,
    /// Something played to its end, or was cut.
    Played(Playing),
    /// The transfer was carried out.
    MovedOn,
    /// The caller's own channel was answered.
    CallerAnswered,
    /// The caller hung up, or was hung up.
    CallerGone,
    /// The connection of this call has ended; nothing more will be heard.
    Disconnected,
    /// The daemon is going down.
    Drain,
    /// A deadline is due.
    Tick,
}

/// What to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saying {
    /// The position in the line; above [`super::announce::HIGHEST`] it is "more than".
    Position(u32, Language),
    /// The admin's message.
    Message(Arc<str>),
}

/// How a call is hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// In the ordinary way.
    Normal,
    /// There is no such number.
    NoSuchNumber,
}

/// What is to be done in FreeSWITCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Answer the caller, if that was not done.
    Answer,
    /// Let the caller hear this, in place of what was heard.
    Music {
        /// Its name.
        playing: Playing,
        /// What.
        music: Music,
        /// Whether other music is playing, and is to be stopped.
        replace: bool,
    },
    /// Keep with the channel what makes the caller's place survive our death.
    Remember(Place),
    /// Say this over the music.
    Say(Playing, Saying),
    /// Stop what is being said.
    Hush,
    /// Ring an agent. `shared`: others may ring for the same caller.
    Ring {
        /// The offer and the UUID of its leg.
        offer: OfferId,
        /// Whom.
        agent: AgentId,
        /// Whether others ring for the same caller, so that the first to answer must win.
        shared: bool,
        /// How long; [`Wire::RingOut`] ends it on time, FreeSWITCH's own time-out is only there for when we are not.
        ring_time: Duration,
    },
    /// End an agent's leg before it is connected.
    CallOff(OfferId, CancelCause),
    /// The ring time of an offer is over: end its leg as not answered, if it still rings.
    RingOut(OfferId),
    /// Connect the caller with this leg, which was answered before the caller could be connected.
    Join(OfferId),
    /// End an agent's leg whatever its state.
    EndLeg(OfferId),
    /// A connection failed after the phone was answered: make the caller survive our death again.
    Rearm,
    /// Caller and agent are connected: the caller's place in the line is of no more use.
    Connected,
    /// Somebody else has the caller: the end of our connection must not concern the call.
    LetGo,
    /// Send the caller to an internal number.
    Transfer(Arc<str>),
    /// Hang the caller up.
    HangUp(Parting),
    /// Give the caller back to the dialplan.
    GiveBack,
    /// Nothing more is to be done: close the connection.
    Close,
}

/// What is to be done on the floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desk {
    /// Enter this queue, at the place the caller had before coming back.
    Enter(QueueNumber, Option<Place>),
    /// Look at the orders and the position.
    Look {
        /// Whether to be woken at the next better position.
        listen: bool,
    },
    /// No more offers: the wait is ending.
    Close,
    /// An offer has its outcome.
    Outcome(OfferId, Outcome),
    /// The leg is gone: release the agent.
    Gone(OfferId),
    /// Nothing will be heard of the leg any more: release the agent and have it looked after.
    Lost(OfferId),
    /// The caller was connected to this agent.
    Answered(OfferId),
    /// The conversation is over: release the agent.
    Ended(OfferId, EndedBy),
    /// The caller leaves the queue without an agent.
    Leave(Leave),
    /// What was done with a caller whose wait had timed out.
    WentOn(Onward),
}

/// How a caller leaves a queue without an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The caller hung up.
    Abandoned,
    /// The wait ended.
    TimedOut(TimeoutCause),
    /// Back to the dialplan.
    Returned,
    /// Somebody else took the caller.
    Taken,
    /// FreeSWITCH is gone.
    Lost,
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// In FreeSWITCH.
    Wire(Wire),
    /// On the floor.
    Desk(Desk),
}

impl From<Wire> for Effect {
    fn from(w: Wire) -> Self {
        Self::Wire(w)
    }
}

impl From<Desk> for Effect {
    fn from(d: Desk) -> Self {
        Self::Desk(d)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timer {
    MaxWait,
    Announce,
    Announcement,
    Message,
    MusicGrace,
    TakenAway,
    Ring(OfferId),
    Leg(OfferId),
    Parting,
}

#[derive(Clone, Debug)]
struct Wait {
    queue: QueueNumber,
    settings: Arc<QueueSettings>,
    entered: Wall,
    announcer: Option<Announcer>,
    announcement: Option<Playing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Timeout(TimeoutCause),
    Drain,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Not in a queue yet.
    New,
    /// In line.
    Waiting(Wait),
    /// The wait is over; legs are ended, the message is played.
    Ending { wait: Wait, why: Why, message: Option<Playing>, left: bool },
    /// Connected to an agent.
    Talking { offer: OfferId, caller_gone: bool, transferred: bool },
    /// Told to hang up, to move on, or to go back to the dialplan.
    Parting,
    /// No longer our call: only legs to be seen off.
    Over,
}

/// One caller's call.
#[derive(Clone, Debug)]
pub struct Call {
    first: (QueueNumber, Option<Place>),
    visited: Vec<QueueNumber>,
    stage: Stage,
    legs: BTreeMap<OfferId, Leg>,
    timers: Timers<Timer>,
    music: Option<(Playing, Music, Mono)>,
    music_plays: bool,
    music_failures: u32,
    played: u32,
    closed: bool,
    out: Vec<Effect>,
}

impl Call {
    /// A caller who is to wait in `queue`, having been in `visited` before by timeouts, and who comes back
    /// to `place` when the controller had been away.
    pub fn new(queue: QueueNumber, visited: Vec<QueueNumber>, place: Option<Place>) -> Self {
        Self {
            first: (queue, place),
            visited,
            stage: Stage::New,
            legs: BTreeMap::new(),
            timers: Timers::default(),
            music: None,
            music_plays: false,
            music_failures: 0,
            played: 0,
            closed: false,
            out: Vec::new(),
        }
    }

    /// The queues the caller has been in by timeouts, the present one included.
    pub fn visited(&self) -> &[QueueNumber] {
        &self.visited
    }

    /// Who is, or was, rung by this offer.
    pub fn agent_of(&self, offer: OfferId) -> Option<&AgentId> {
        self.legs.get(&offer).map(|l| &l.agent)
    }

    /// The legs FreeSWITCH may still have.
    pub fn legs(&self) -> impl Iterator<Item = OfferId> {
        self.legs.keys().copied()
    }

    /// Whether everything is done.
    pub fn is_finished(&self) -> bool {
        self.closed
    }

    /// The next deadline: [`Input::Tick`] is due then.
    pub fn deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// Takes one input and tells what is to be done, in order.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        match input {
            Input::Begin => {
                let (queue, place) = self.first.clone();
                self.enter(queue, place);
            }
            Input::Woken => self.look(now),
            Input::Entered(entered) => self.entered(entered, now),
            Input::Looked { orders, position } => self.looked(orders, position, now),
            Input::LegCreated(offer) => {
                if self.legs.get_mut(&offer).is_some_and(Leg::created) {
                    self.end_leg(offer);
                }
            }
            Input::LegAnswered(offer) => self.leg_answered(offer, now),
            Input::LegHungUp(offer, end, transferred) => self.leg_ended(offer, end, transferred, now),
            Input::LegGone(offer, end) => self.leg_gone(offer, end, now),
            Input::Originated(offer, Ok(())) => {
                if self.legs.get(&offer).is_some_and(Leg::is_called_off) {
                    self.end_leg(offer);
                }
            }
            Input::Originated(offer, Err(end)) => {
                // An answered leg is taken from `originate` while it is being connected, which `originate` then
                // reports as its failure. The leg itself tells how it goes on.
                match self.legs.get(&offer) {
                    Some(leg) if leg.is_connecting() => {}
                    Some(leg) if leg.exists() => self.leg_ended(offer, end, false, now),
                    _ => self.leg_gone(offer, end, now),
                }
            }
            Input::LegMissing(offer) => {
                if self.legs.get(&offer).is_some_and(Leg::exists) {
                    self.leg_gone(offer, LegEnd::Cleared, now);
                }
            }
            Input::Bridged(offer) => self.bridged(offer, now),
            Input::TakenAway => {
                if matches!(self.stage, Stage::Waiting(_)) {
                    self.timers.set(Timer::TakenAway, now.mono.plus(LEG_PATIENCE));
                    if !self.legs.values().any(Leg::is_connecting) {
                        self.wire(Wire::LetGo);
                    }
                }
            }
            Input::Played(what) => self.played(what, now),
            Input::MovedOn => {
                if matches!(self.stage, Stage::Parting) {
                    self.over();
                }
            }
            Input::CallerAnswered => self.caller_answered(),
            Input::CallerGone => self.caller_gone(now),
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

    fn next_playing(&mut self) -> Playing {
        self.played += 1;
        Playing(self.played)
    }

    fn enter(&mut self, queue: QueueNumber, place: Option<Place>) {
        self.stage = Stage::New;
        if !self.visited.contains(&queue) {
            self.visited.push(queue.clone());
        }
        self.desk(Desk::Enter(queue, place));
    }

    fn look(&mut self, now: Now) {
        let Stage::Waiting(w) = &self.stage else { return };
        let listen = w.announcer.as_ref().is_some_and(|a| a.is_rested(now.mono));
        self.desk(Desk::Look { listen });
    }

    fn entered(&mut self, entered: Option<(Arc<QueueSettings>, Place)>, now: Now) {
        if !matches!(self.stage, Stage::New) {
            return;
        }
        let Some((settings, place)) = entered else {
            return self.part(Wire::HangUp(Parting::NoSuchNumber), now);
        };
        let announcer = settings.announce_every.map(|every| Announcer::new(every, now.mono));
        self.wire(Wire::Remember(place));
        self.wire(Wire::Answer);
        self.start_music(settings.music.clone(), now);
        let queue = settings.number.clone();
        self.stage = Stage::Waiting(Wait { queue, settings, entered: place.entered, announcer, announcement: None });
        self.set_max_wait(now);
        self.look(now);
    }

    fn start_music(&mut self, music: Music, now: Now) {
        let playing = self.next_playing();
        self.music = Some((playing, music.clone(), now.mono));
        let replace = std::mem::replace(&mut self.music_plays, true);
        self.wire(Wire::Music { playing, music, replace });
    }

    fn set_max_wait(&mut self, now: Now) {
        let Stage::Waiting(w) = &self.stage else { return };
        match w.settings.max_wait {
            Some(max) => {
                let left = max.saturating_sub(now.wall.since(w.entered));
                self.timers.set(Timer::MaxWait, now.mono.plus(left));
            }
            None => self.timers.clear(Timer::MaxWait),
        }
    }

    fn looked(&mut self, orders: Orders, position: u32, now: Now) {
        if let Some(settings) = orders.settings {
            self.reconfigured(settings, now);
        }
        for (offer, cause) in orders.call_off {
            self.call_off(offer, cause, now);
        }
        let waiting = matches!(self.stage, Stage::Waiting(_)) && orders.end.is_none();
        for (offer, agent) in orders.ring {
            if waiting {
                self.ring(offer, agent, now);
            } else {
                self.desk(Desk::Outcome(offer, Outcome::Cancelled(CancelCause::CallTimedOut)));
                self.desk(Desk::Gone(offer));
            }
        }
        match orders.end {
            Some(cause) => self.end_wait(Why::Timeout(cause), now),
            None => self.announce(position, now),
        }
    }

    fn reconfigured(&mut self, settings: Arc<QueueSettings>, now: Now) {
        let Stage::Waiting(w) = &mut self.stage else { return };
        let music_changed = w.settings.music != settings.music;
        w.announcer = match (w.announcer.take(), settings.announce_every) {
            (Some(mut a), Some(every)) => {
                a.set_every(every);
                Some(a)
            }
            (None, Some(every)) => Some(Announcer::new(every, now.mono)),
            (_, None) => None,
        };
        w.settings = settings.clone();
        if music_changed {
            self.music_failures = 0;
            self.start_music(settings.music.clone(), now);
        }
        self.set_max_wait(now);
    }

    fn announce(&mut self, position: u32, now: Now) {
        let Stage::Waiting(w) = &mut self.stage else { return };
        let Some(announcer) = &mut w.announcer else { return };
        let language = w.settings.language.clone();
        let (look, again) = announcer.look(position, now.mono);
        self.timers.set(Timer::Announce, again);
        if let Some(position) = look {
            let playing = self.next_playing();
            if let Stage::Waiting(w) = &mut self.stage {
                w.announcement = Some(playing);
            }
            self.timers.set(Timer::Announcement, now.mono.plus(LONGEST_ANNOUNCEMENT));
            self.wire(Wire::Say(playing, Saying::Position(position, language)));
        }
    }

    fn ring(&mut self, offer: OfferId, agent: AgentId, now: Now) {
        let Stage::Waiting(w) = &self.stage else { return };
        let (shared, ring_time) = (w.settings.strategy == Strategy::Simultaneous, w.settings.ring_time);
        self.legs.insert(offer, Leg::new(agent.clone()));
        self.timers.set(Timer::Ring(offer), now.mono.plus(ring_time));
        self.timers.set(Timer::Leg(offer), now.mono.plus(ring_time).plus(SILENCE_AFTER_RING_TIME));
        self.wire(Wire::Ring { offer, agent, shared, ring_time });
    }

    fn call_off(&mut self, offer: OfferId, cause: CancelCause, now: Now) {
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        // A phone that was answered is being connected inside FreeSWITCH this very moment: only a caller
        // who has gone, or is talking to somebody else, takes that back.
        let too_late = !matches!(cause, CancelCause::CallerGone | CancelCause::AnsweredElsewhere);
        if (leg.is_connecting() && too_late) || !leg.call_off(cause) {
            return;
        }
        self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
        self.wire(Wire::CallOff(offer, cause));
    }

    fn call_off_all(&mut self, cause: CancelCause, now: Now) {
        for offer in self.legs.keys().copied().collect::<Vec<_>>() {
            self.call_off(offer, cause, now);
        }
    }

    fn end_leg(&mut self, offer: OfferId) {
        self.wire(Wire::EndLeg(offer));
    }

    fn leg_answered(&mut self, offer: OfferId, now: Now) {
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        if leg.answered() {
            // Called off while the answer was on its way. The connection, if there is one, decides.
            return;
        }
        self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
    }

    /// A phone that answers by itself can be faster than the caller's own answer, and FreeSWITCH connects nobody
    /// who has no media yet. Had the connection been made, this news would have come before that of the phone.
    fn caller_answered(&mut self) {
        if !matches!(self.stage, Stage::Waiting(_)) {
            return;
        }
        if let Some(offer) = self.legs.iter().find(|(_, l)| l.is_connecting()).map(|(o, _)| *o) {
            self.wire(Wire::Join(offer));
        }
    }

    fn leg_ended(&mut self, offer: OfferId, end: LegEnd, by_transfer: bool, now: Now) {
        if let Stage::Talking { offer: talking, transferred, .. } = &mut self.stage
            && *talking == offer
        {
            *transferred |= by_transfer;
            self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
            return;
        }
        let others = self.legs.iter().any(|(o, l)| *o != offer && l.is_connecting());
        let talking = matches!(self.stage, Stage::Talking { .. });
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        let was_connecting = leg.is_connecting();
        if let Some(outcome) = leg.ended(end, others || talking) {
            self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
            self.desk(Desk::Outcome(offer, outcome));
            // Whoever is being connected to another stays as that one's answer has left the channel.
            let elsewhere = outcome == Outcome::Cancelled(CancelCause::AnsweredElsewhere);
            if was_connecting && !others && !elsewhere {
                self.not_connected(now);
            }
        }
    }

    /// A connection was begun and failed: the caller waits on.
    fn not_connected(&mut self, now: Now) {
        match self.stage {
            Stage::Waiting(_) => {
                self.wire(Wire::Rearm);
                if !self.music_plays {
                    self.timers.set(Timer::MusicGrace, now.mono.plus(MUSIC_GRACE));
                }
            }
            // The caller may go on to another queue.
            Stage::Ending { .. } => self.wire(Wire::Rearm),
            _ => {}
        }
    }

    fn leg_gone(&mut self, offer: OfferId, end: LegEnd, now: Now) {
        self.leg_ended(offer, end, false, now);
        if self.legs.remove(&offer).is_none() {
            return;
        }
        self.timers.clear(Timer::Leg(offer));
        self.timers.clear(Timer::Ring(offer));
        match self.stage {
            Stage::Talking { offer: talking, caller_gone, transferred } if talking == offer => {
                let by = match (caller_gone, transferred) {
                    (true, _) => EndedBy::Caller,
                    (false, true) => EndedBy::Transfer,
                    (false, false) => EndedBy::Agent,
                };
                self.desk(Desk::Ended(offer, by));
                if caller_gone || transferred {
                    self.over();
                } else {
                    self.stage = Stage::Parting;
                    self.timers.set(Timer::Parting, now.mono.plus(PARTING_PATIENCE));
                }
            }
            _ => self.desk(Desk::Gone(offer)),
        }
    }

    fn bridged(&mut self, offer: OfferId, now: Now) {
        let waiting = match &self.stage {
            Stage::Waiting(_) => true,
            Stage::Ending { left, .. } => !left,
            Stage::Talking { offer: talking, .. } => {
                if *talking != offer && self.legs.contains_key(&offer) {
                    self.end_leg(offer);
                }
                return;
            }
            _ => false,
        };
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        if !waiting {
            return self.end_leg(offer);
        }
        leg.connected();
        self.timers.clear_all();
        for (other, leg) in &self.legs {
            if *other != offer && (leg.is_called_off() || leg.exists()) {
                self.timers.set(Timer::Leg(*other), now.mono.plus(LEG_PATIENCE));
            }
        }
        self.stage = Stage::Talking { offer, caller_gone: false, transferred: false };
        self.music = None;
        self.desk(Desk::Answered(offer));
        for other in self.legs.keys().copied().filter(|o| *o != offer).collect::<Vec<_>>() {
            self.call_off(other, CancelCause::AnsweredElsewhere, now);
        }
        self.wire(Wire::Connected);
    }

    fn played(&mut self, what: Playing, now: Now) {
        if self.music.as_ref().is_some_and(|(m, ..)| *m == what) {
            self.music_plays = false;
            if matches!(self.stage, Stage::Waiting(_)) {
                self.timers.set(Timer::MusicGrace, now.mono.plus(MUSIC_GRACE));
            }
            return;
        }
        match &mut self.stage {
            Stage::Waiting(w) if w.announcement == Some(what) => self.announcement_over(now),
            Stage::Ending { message, .. } if *message == Some(what) => {
                *message = None;
                self.timers.clear(Timer::Message);
            }
            _ => {}
        }
    }

    fn announcement_over(&mut self, now: Now) {
        let Stage::Waiting(w) = &mut self.stage else { return };
        w.announcement = None;
        if let Some(a) = &mut w.announcer {
            a.spoken();
        }
        self.timers.clear(Timer::Announcement);
        self.look(now);
    }

    fn end_wait(&mut self, why: Why, now: Now) {
        let Stage::Waiting(wait) = &self.stage else { return };
        let wait = wait.clone();
        for timer in [Timer::MaxWait, Timer::Announce, Timer::Announcement, Timer::MusicGrace] {
            self.timers.clear(timer);
        }
        self.desk(Desk::Close);
        if wait.announcement.is_some() {
            self.wire(Wire::Hush);
        }
        let cause = match why {
            Why::Timeout(_) => CancelCause::CallTimedOut,
            Why::Drain => CancelCause::Draining,
        };
        self.call_off_all(cause, now);
        let message = match (why, &wait.settings.timeout.message) {
            (Why::Timeout(_), Some(file)) => Some(file.clone()),
            _ => None,
        };
        let message = message.map(|file| {
            let playing = self.next_playing();
            self.timers.set(Timer::Message, now.mono.plus(LONGEST_MESSAGE));
            self.wire(Wire::Say(playing, Saying::Message(file)));
            playing
        });
        self.stage = Stage::Ending { wait, why, message, left: false };
    }

    /// Takes the steps that wait for something that may just have happened.
    fn advance(&mut self, now: Now) {
        if let Stage::Ending { wait, why, message, left } = &mut self.stage
            && self.legs.is_empty()
        {
            let (why, done, first) = (*why, message.is_none(), !*left);
            let (queue, action) = (wait.queue.clone(), wait.settings.timeout.action.clone());
            *left = true;
            if first {
                self.desk(Desk::Leave(match why {
                    Why::Timeout(cause) => Leave::TimedOut(cause),
                    Why::Drain => Leave::Returned,
                }));
            }
            if done {
                match why {
                    Why::Drain => self.part(Wire::GiveBack, now),
                    Why::Timeout(_) => self.go_on(&queue, action, now),
                }
            }
        }
        if matches!(self.stage, Stage::Over) && self.legs.is_empty() && !self.closed {
            self.closed = true;
            self.timers.clear_all();
            self.wire(Wire::Close);
        }
    }

    fn go_on(&mut self, from: &QueueNumber, action: TimeoutAction, now: Now) {
        match action {
            TimeoutAction::Queue(to) if to != *from && !self.visited.contains(&to) => {
                self.desk(Desk::WentOn(Onward::Queue(to.clone())));
                self.enter(to, None);
            }
            TimeoutAction::Transfer(number) => {
                self.desk(Desk::WentOn(Onward::Transferred(number.clone())));
                self.part(Wire::Transfer(number), now);
            }
            TimeoutAction::Queue(_) | TimeoutAction::Hangup => {
                self.desk(Desk::WentOn(Onward::HungUp));
                self.part(Wire::HangUp(Parting::Normal), now);
            }
        }
    }

    fn part(&mut self, wire: Wire, now: Now) {
        self.timers.clear_all();
        self.timers.set(Timer::Parting, now.mono.plus(PARTING_PATIENCE));
        self.music = None;
        self.stage = Stage::Parting;
        self.wire(wire);
    }

    fn over(&mut self) {
        self.stage = Stage::Over;
        self.music = None;
        for timer in [Timer::MaxWait, Timer::Announce, Timer::Announcement, Timer::Message] {
            self.timers.clear(timer);
        }
        for timer in [Timer::MusicGrace, Timer::TakenAway, Timer::Parting] {
            self.timers.clear(timer);
        }
    }

    fn caller_gone(&mut self, now: Now) {
        match &mut self.stage {
            Stage::Waiting(_) => self.desk(Desk::Leave(Leave::Abandoned)),
            Stage::Ending { why, left: false, .. } => {
                let leave = match why {
                    Why::Timeout(cause) => Leave::TimedOut(*cause),
                    Why::Drain => Leave::Abandoned,
                };
                self.desk(Desk::Leave(leave));
            }
            Stage::Talking { offer, caller_gone, .. } => {
                *caller_gone = true;
                let offer = *offer;
                self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
                return;
            }
            _ => {}
        }
        self.over();
        self.call_off_all(CancelCause::CallerGone, now);
    }

    fn disconnected(&mut self) {
        match &self.stage {
            Stage::Waiting(_) | Stage::Ending { left: false, .. } => self.desk(Desk::Leave(Leave::Lost)),
            _ => {}
        }
        for offer in self.forget_legs(CancelCause::CallerGone) {
            self.desk(Desk::Lost(offer));
        }
        self.timers.clear_all();
        self.over();
    }

    /// Nothing more will be heard of any leg: whatever was not told of them yet is told now.
    fn forget_legs(&mut self, cause: CancelCause) -> Vec<OfferId> {
        let mut legs = std::mem::take(&mut self.legs);
        for (offer, leg) in &mut legs {
            leg.call_off(cause);
            if let Some(outcome) = leg.ended(LegEnd::Cleared, false) {
                self.desk(Desk::Outcome(*offer, outcome));
            }
        }
        legs.into_keys().collect()
    }

    fn drain(&mut self, now: Now) {
        match self.stage {
            Stage::Waiting(_) => self.end_wait(Why::Drain, now),
            Stage::New => self.part(Wire::GiveBack, now),
            // A conversation goes on without us.
            Stage::Talking { .. } => {
                self.forget_legs(CancelCause::Draining);
                self.over();
            }
            _ => {}
        }
    }

    fn tick(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.mono) {
            match timer {
                Timer::MaxWait => self.end_wait(Why::Timeout(TimeoutCause::MaxWait), now),
                Timer::Announce => self.look(now),
                Timer::Announcement => self.announcement_over(now),
                Timer::Message => {
                    if let Stage::Ending { message, .. } = &mut self.stage {
                        *message = None;
                    }
                }
                Timer::MusicGrace => self.restart_music(now),
                Timer::TakenAway => {
                    if matches!(self.stage, Stage::Waiting(_)) {
                        self.desk(Desk::Leave(Leave::Taken));
                        self.over();
                        self.call_off_all(CancelCause::CallerGone, now);
                    }
                }
                Timer::Ring(offer) => {
                    if self.legs.get(&offer).is_some_and(Leg::is_ringing) {
                        self.wire(Wire::RingOut(offer));
                    }
                }
                Timer::Leg(offer) => self.leg_overdue(offer, now),
                Timer::Parting => self.over(),
            }
        }
    }

    fn restart_music(&mut self, now: Now) {
        let connecting = self.legs.values().any(Leg::is_connecting);
        let taken_away = self.timers.holds(Timer::TakenAway);
        if !matches!(self.stage, Stage::Waiting(_)) || connecting || taken_away {
            return;
        }
        let Some((_, music, since)) = self.music.clone() else {
            return;
        };
        let works = now.mono.since(since) >= MUSIC_WORKS_AFTER;
        self.music_failures = if works { 0 } else { self.music_failures + 1 };
        if self.music_failures < MUSIC_TRIES {
            self.start_music(music, now);
        } else if music != Music::Ringtone {
            self.music_failures = 0;
            self.start_music(Music::Ringtone, now);
        }
    }

    /// Nothing was heard of a leg for too long.
    fn leg_overdue(&mut self, offer: OfferId, now: Now) {
        let talking = matches!(self.stage, Stage::Talking { offer: t, .. } if t == offer);
        let Some(leg) = self.legs.get_mut(&offer) else { return };
        if leg.give_up() {
            self.timers.set(Timer::Leg(offer), now.mono.plus(LEG_PATIENCE));
            return self.end_leg(offer);
        }
        if !talking {
            self.leg_ended(offer, LegEnd::Missed(MissCause::Failed), false, now);
        }
        self.legs.remove(&offer);
        self.timers.clear(Timer::Leg(offer));
        self.timers.clear(Timer::Ring(offer));
        self.desk(Desk::Lost(offer));
        if talking {
            self.over();
        }
    }
}
