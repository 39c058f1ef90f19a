//! A caller's session: from the first command to the last event.

mod ringing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;
use uuid::Uuid;

use crate::acd::call::{Call, Effect, Input, Parting, Wire};
use crate::acd::fact::MissCause;
use crate::acd::ids::{AgentId, OfferId, QueueNumber};
use crate::acd::leg::LegEnd;
use crate::acd::queue::Place;
use crate::acd::time::Now;
use crate::esl::text::TextError;
use crate::esl::{ApiCall, Cause, CloseReason, Command, EventKind, Events, Incoming, Link, Outcome};
use crate::floor::{AskedPhones, CallDesk, Caller};
use crate::telephony::channel::Channel;
use crate::telephony::events::{self as heard, Heard, News};
use crate::telephony::place::Remembered;
use crate::telephony::variables::SINCE;
use crate::telephony::{Settings, commands as wire};

use super::several::Several;
use super::turns::{self, Again};
use super::{Shared, drained};

/// Serves a caller to the end.
pub(super) async fn run(
    shared: &Arc<Shared>,
    settings: &Arc<Settings>,
    link: Link,
    events: Events,
    channel: Box<Channel>,
    dialled: QueueNumber,
) {
    let span = tracing::info_span!("call", call = %channel.id, queue = %dialled);
    serve(shared, settings, link, events, channel, dialled).instrument(span).await;
}

async fn serve(
    shared: &Arc<Shared>,
    settings: &Arc<Settings>,
    link: Link,
    mut events: Events,
    channel: Box<Channel>,
    dialled: QueueNumber,
) {
    let wake = Arc::new(Notify::new());
    let bell = wake.clone();
    let number: Arc<str> = Arc::from(channel.number.as_str());
    let mut turn = match shared.turns.enter(&channel.id, wake.clone()) {
        Ok(turn) => turn,
        // What seldom happens takes no room in the task of every call.
        Err(earlier) => return Box::pin(turns::wait(shared, &link, &mut events, &channel, earlier)).await,
    };
    shared.floor.admit(&channel.id, number.clone(), Box::new(move || bell.notify_one()));
    let mut session = Session::new(shared, settings, link, channel, dialled, number);
    session.begin();
    let mut draining = shared.draining.clone();
    while !session.call.is_finished() {
        let due = session.call.deadline().map(|at| shared.clock.instant(at));
        let due = due.into_iter().chain(session.later_at.filter(|_| session.later.is_some())).min();
        tokio::select! {
            biased;
            incoming = events.next() => session.incoming(incoming),
            (what, outcome) = next(&mut session.watched) => session.outcome(what, outcome),
            () = wake.notified() => session.tell(match turn.asked_for() {
                None => Input::Woken,
                Some(Again::Back) => Input::Disconnected,
                Some(Again::PassedOn) => Input::CameAgain,
            }),
            () = drained(&mut draining) => session.tell(Input::Drain),
            () = at(due) => session.tick(),
        }
    }
    let (link, lives_on) = (session.link.clone(), session.lives_on);
    drop(session);
    if lives_on {
        Box::pin(turns::stay(&turn, &mut events, &mut draining)).await;
    }
    if turn.is_asked_for() {
        return Box::pin(super::leave_and_see(&link)).await;
    }
    super::leave(&link);
}

/// The outcome of the next command that is watched.
async fn next(watched: &mut Option<JoinSet<(Watched, Outcome)>>) -> (Watched, Outcome) {
    while let Some(set) = watched {
        match set.join_next().await {
            Some(Ok(done)) => return done,
            // Of a task that was ended or failed nothing is known; its deadline looks after it.
            Some(Err(_)) => {}
            // A caller who waits has no use for it.
            None => *watched = None,
        }
    }
    std::future::pending().await
}

/// Ends then, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A command whose outcome decides something.
#[derive(Clone, Copy, Debug)]
enum Watched {
    /// Which phones the agent of an offer has.
    Phones(OfferId),
    /// The legs are named by their UUIDs.
    Ring(Uuid),
    CallOff(Uuid),
    ModHash,
    /// FreeSWITCH has read what a call tells it first.
    Begun,
}

/// How long what no phone need wait for waits for one that is to ring: a free agent is found at once.
const PUT_OFF: Duration = Duration::from_millis(5);

/// Counts as long as it is there.
struct Beginning<'a>(&'a AtomicUsize);

impl<'a> Beginning<'a> {
    fn count(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A command, and whether its outcome decides something.
type Order = (Command, Option<Watched>);

struct Session<'a> {
    shared: &'a Shared,
    settings: &'a Settings,
    link: Link,
    channel: Box<Channel>,
    dialled: QueueNumber,
    call: Call,
    desk: CallDesk,
    watched: Option<JoinSet<(Watched, Outcome)>>,
    /// Commands of the input being worked on, written in one go and in this order: music that was ordered behind an
    /// `originate` would play into the conversation with a phone that answers by itself.
    out: Vec<Order>,
    /// What no phone need wait for, and until when it waits itself for one that is to ring.
    later: Option<Box<Command>>,
    later_at: Option<Instant>,
    /// Legs whose filters are still set.
    filtered: BTreeSet<Uuid>,
    /// Offers whose agent has several phones.
    several: BTreeMap<OfferId, Several>,
    /// Offers that wait to hear which phones there are: whom they are to ring, and whether others ring as well.
    asked: BTreeMap<OfferId, (AgentId, bool, AskedPhones)>,
    /// The dialplan answered, or `answer` was ordered.
    answered: bool,
    /// The channel was told how to go on without us.
    prepared: bool,
    /// The caller's channel is answered. Before that FreeSWITCH can connect it with nobody, and a phone that answers
    /// by itself would be faster (measured: the caller was cut off).
    can_be_connected: bool,
    /// Orders to ring that wait for it.
    held_back: Vec<(OfferId, Vec<Order>)>,
    /// The channel may be busy with something for a while, so that what it is to do has to wait.
    may_be_busy: bool,
    /// FreeSWITCH has not read yet what it was told first.
    beginning: Option<Beginning<'a>>,
    /// Orders to ring that the channel has not carried out yet, the next one first.
    to_carry_out: VecDeque<(Uuid, ApiCall)>,
    /// The call is parked: the connection may be ended without stranding it.
    parked: bool,
    /// To be given back as soon as it is parked.
    give_back: bool,
    /// The call goes on elsewhere when we are done with it, as far as was heard.
    lives_on: bool,
}

impl<'a> Session<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        settings: &'a Settings,
        link: Link,
        channel: Box<Channel>,
        dialled: QueueNumber,
        number: Arc<str>,
    ) -> Self {
        let can_be_connected = channel.answered;
        let place = channel.place.as_ref().filter(|r| r.dialled == dialled);
        // Who came while no controller was there, or the last one had no time to say so, has waited since then.
        let held = channel.held_for.map(|held| shared.clock.now().wall.before(held));
        let (call, first_entered) = match (place, held) {
            (Some(r), _) => (Call::new(r.queue.clone(), r.visited.clone(), Some(r.place)), Some(r.first_entered)),
            (None, Some(came)) => {
                let place = Place { entered: came, seq: 0 };
                (Call::new(dialled.clone(), Vec::new(), Some(place)), Some(came))
            }
            (None, None) => (Call::new(dialled.clone(), Vec::new(), None), None),
        };
        let who = channel.who.as_ref().or(channel.dialled_user.as_ref());
        let own = who.and_then(|who| shared.floor.agent_of(who, settings.domain.as_deref()));
        let caller = Caller { number, first_entered, returned: place.is_some(), own };
        let desk = CallDesk::new(shared.floor.clone(), channel.id.clone(), caller, (shared.random)());
        Self {
            shared,
            settings,
            link,
            channel,
            dialled,
            call,
            desk,
            watched: None,
            out: Vec::new(),
            later: None,
            later_at: None,
            filtered: BTreeSet::new(),
            several: BTreeMap::new(),
            asked: BTreeMap::new(),
            answered: can_be_connected,
            prepared: false,
            can_be_connected,
            held_back: Vec::new(),
            may_be_busy: false,
            beginning: Some(Beginning::count(&shared.beginning)),
            to_carry_out: VecDeque::new(),
            parked: false,
            give_back: false,
            lives_on: true,
        }
    }

    fn begin(&mut self) {
        let [filter, events, linger] = wire::setup(&self.channel.channel);
        self.out.extend([(filter, None), (events, None), (linger, Some(Watched::Begun))]);
        self.tell(Input::Begin);
        // The place is on the channel now: what was kept for it is not to count again when the caller comes back some day.
        if self.channel.rescued && self.prepared {
            match wire::set(SINCE, "") {
                Ok(command) => self.push(command),
                Err(error) => tracing::error!(%error, "a command could not be built"),
            }
            self.flush();
        }
    }

    fn incoming(&mut self, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Event(event)) => {
                let own = event.channel().is_some_and(|c| c == self.channel.id.as_str());
                if own && matches!(event.kind(), EventKind::ChannelPark | EventKind::ChannelExecuteComplete) {
                    self.parked = true;
                }
                if own && !self.can_be_connected && heard::tells_answer(&event) {
                    self.can_be_connected = true;
                    for (offer, commands) in std::mem::take(&mut self.held_back) {
                        self.filtered.extend(self.legs_of(offer));
                        self.out.extend(commands);
                    }
                    self.flush();
                }
                if own && event.kind() == EventKind::ChannelHangupComplete {
                    self.nothing_is_carried_out();
                }
                match heard::hear(&event, self.channel.id.as_str(), &self.call) {
                    Some(Heard::CarriedOut(done)) => self.carried_out(done),
                    Some(Heard::Call(input)) => {
                        self.lives_on &= input != Input::CallerGone;
                        self.tell(input);
                    }
                    Some(Heard::Leg(leg, news)) => self.heard(leg, news),
                    None if self.give_back && self.parked => self.flush(),
                    None => {}
                }
            }
            // The notice overtakes events that are still queued (measured), the answer of the call among them: the hang-up
            // itself is in its place behind them, and the end of the connection bounds the wait.
            Some(Incoming::Lingering(_)) => {}
            Some(Incoming::Closed(reason)) => {
                self.lives_on = false;
                match reason {
                    CloseReason::Peer | CloseReason::Local => tracing::debug!(%reason, "the connection ended"),
                    reason => tracing::warn!(%reason, "the connection of a call ended too early"),
                }
                self.tell(Input::Disconnected);
            }
            None => {
                self.lives_on = false;
                self.tell(Input::Disconnected);
            }
            Some(_) => {}
        }
    }

    /// The outcome of a command that decides something.
    fn outcome(&mut self, what: Watched, outcome: Outcome) {
        match (what, outcome) {
            (Watched::Begun, outcome) => {
                self.beginning = None;
                if let Outcome::Refused(text) = outcome {
                    tracing::warn!(%text, "FreeSWITCH refused a command of a call");
                }
            }
            (Watched::ModHash, Outcome::Done(reply)) => {
                let has = reply.body_text().trim() == "true";
                if !has {
                    tracing::warn!(
                        "FreeSWITCH has no mod_hash; load it, or of two agents who answer at the same instant one hears nobody for a moment"
                    );
                }
                self.shared.mod_hash.store(has, Ordering::Relaxed);
            }
            (Watched::Phones(offer), outcome) => self.found(offer, outcome),
            (_, Outcome::Done(_)) => {}
            (Watched::ModHash, Outcome::Refused(text)) => {
                tracing::debug!(text, "FreeSWITCH does not tell whether it has mod_hash")
            }
            (Watched::Ring(leg), Outcome::Refused(text)) => {
                tracing::warn!(%leg, %text, "FreeSWITCH refused to ring an agent");
                self.to_carry_out.retain(|(ordered, _)| *ordered != leg);
                self.heard(leg, News::Originated(Err(LegEnd::Missed(MissCause::Failed))));
            }
            (Watched::CallOff(leg), Outcome::Refused(text)) => {
                tracing::debug!(%leg, %text, "a leg to be called off is not there");
                self.heard(leg, News::Missing);
            }
            // The deadline of the leg looks after it.
            (_, Outcome::Unknown(why)) => tracing::warn!(?what, %why, "no reply to a command"),
        }
    }

    /// Tells the call something, and does what it wants done.
    fn tell(&mut self, input: Input) {
        let now = self.shared.clock.now();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.call.handle(input, now) {
                match effect {
                    Effect::Desk(wish) => inputs.extend(self.desk.carry_out(wish, now)),
                    Effect::Wire(wire) => {
                        if let Err(refused) = self.order(wire, now) {
                            inputs.push_back(refused);
                        }
                    }
                }
            }
        }
        self.flush();
    }

    /// Turns a wish into commands. What cannot be said is what FreeSWITCH would have refused.
    fn order(&mut self, wish: Wire, now: Now) -> Result<(), Input> {
        if let Wire::CallOff(offer, _) | Wire::RingOut(offer) | Wire::EndLeg(offer) = &wish {
            let held = self.held_back.iter().position(|(held, _)| held == offer);
            if held.map(|at| self.held_back.remove(at)).is_some() || self.asked.remove(offer).is_some() {
                let never_rang = matches!(wish, Wire::RingOut(_));
                let end = if never_rang { LegEnd::Missed(MissCause::Failed) } else { LegEnd::Elsewhere };
                return Err(Input::Originated(*offer, Err(end)));
            }
        }
        let refused = match &wish {
            Wire::Ring { offer, .. } => Some(Input::Originated(*offer, Err(LegEnd::Missed(MissCause::Failed)))),
            Wire::Music { playing, .. } | Wire::Say(playing, _) => Some(Input::Played(*playing)),
            _ => None,
        };
        self.try_order(wish, now).or_else(|error| {
            tracing::error!(%error, "a command could not be built; check the configured texts");
            refused.map_or(Ok(()), Err)
        })
    }

    fn try_order(&mut self, wish: Wire, _now: Now) -> Result<(), TextError> {
        match wish {
            Wire::Answer => {
                if !std::mem::replace(&mut self.answered, true) {
                    self.push(crate::esl::Execute::new("answer")?.into());
                }
            }
            Wire::Remember(place) => self.remember(place)?,
            Wire::Music { playing, music, replace } => {
                let command = wire::music(playing, &music)?;
                self.may_be_busy |= wire::may_take_a_while(&music);
                if replace {
                    self.push(Command::Api(ApiCall::uuid_break(&self.channel.channel)));
                }
                self.push(command);
            }
            Wire::Say(playing, saying) => {
                self.may_be_busy = true;
                self.push(wire::say(playing, &saying, self.settings)?);
            }
            Wire::Hush => self.push(Command::Api(ApiCall::uuid_break(&self.channel.channel))),
            Wire::Ring { offer, agent, shared, ring_time: _ } => self.ring(offer, agent, shared)?,
            Wire::CallOff(offer, cause) => {
                for leg in self.legs_of(offer) {
                    let (call, refused_is_gone) = wire::call_off(leg, cause)?;
                    self.out.push((Command::Api(call), refused_is_gone.then_some(Watched::CallOff(leg))));
                }
            }
            Wire::RingOut(offer) => {
                for leg in self.legs_of(offer) {
                    self.push(Command::Api(wire::end_if_ringing(leg, Cause::NoAnswer)?));
                }
            }
            Wire::EndLeg(offer) => {
                for leg in self.legs_of(offer) {
                    let call = wire::end_leg(leg, Cause::OriginatorCancel);
                    self.out.push((Command::Api(call), Some(Watched::CallOff(leg))));
                }
            }
            Wire::Rearm => self.push(wire::set("socket_resume", "true")?),
            Wire::Connected => self.push(wire::connected(&self.channel.channel)?),
            Wire::LetGo => self.push(wire::let_go(&self.channel.channel)?),
            Wire::Transfer(number) => {
                for command in wire::transfer(&number, &self.channel.context)? {
                    self.push(command);
                }
            }
            Wire::HangUp(Parting::NoSuchNumber) if self.channel.answered => {
                wire::refuse(self.settings)?.into_iter().for_each(|command| self.push(command));
            }
            Wire::HangUp(parting) => self.push(wire::hang_up(parting)),
            Wire::GiveBack => (self.give_back, self.lives_on) = (true, false),
            Wire::Close => {}
        }
        Ok(())
    }

    fn push(&mut self, command: Command) {
        self.out.push((command, None));
    }

    fn remember(&mut self, place: Place) -> Result<(), TextError> {
        let Some(queue) = self.desk.queue().cloned() else { return Ok(()) };
        let first_entered = self.desk.first_entered().unwrap_or(place.entered);
        let visited = self.call.visited().to_vec();
        let language = self
            .shared
            .floor
            .participants(&queue)
            .map_or_else(|| self.settings.language.clone(), |q| q.language.clone());
        let remembered = Remembered { dialled: self.dialled.clone(), queue, place, first_entered, visited };
        let first = !std::mem::replace(&mut self.prepared, true);
        let command = wire::prepare(&remembered, &language, first, self.channel.resumes)?;
        if first && self.channel.resumes {
            // The dialplan has said the same but for the place, and since when the call is here.
            self.later = Some(Box::new(command));
        } else {
            self.push(command);
        }
        Ok(())
    }

    /// Sends what was put off behind the first order to ring, and before anything else that is to be done.
    fn decide_on_later(&mut self) {
        if self.later.is_none() {
            return;
        }
        let in_line = self.call.is_in_line();
        let only_asks = self.out.iter().all(|(_, watched)| matches!(watched, Some(Watched::Phones(_))));
        if in_line && self.later_at.is_none() {
            self.later_at = Some(Instant::now() + PUT_OFF);
        } else if in_line && self.out.iter().any(|(_, watched)| matches!(watched, Some(Watched::Ring(_)))) {
            self.out.extend(self.later.take().map(|command| (*command, None)));
        } else if !(in_line && only_asks) {
            self.out.splice(0..0, self.later.take().map(|command| (*command, None)));
        }
    }

    fn tick(&mut self) {
        if self.later_at.is_some_and(|at| at <= Instant::now()) {
            // No phone is to ring now.
            self.out.extend(self.later.take().map(|command| (*command, None)));
        }
        self.tell(Input::Tick);
    }

    /// Writes what has come together.
    fn flush(&mut self) {
        let is_gone = |offer: OfferId| self.call.agent_of(offer).is_none();
        let gone: Vec<Uuid> = self.filtered.iter().copied().filter(|leg| is_gone(OfferId::of_leg(*leg))).collect();
        self.several.retain(|offer, _| self.call.agent_of(*offer).is_some());
        for leg in gone {
            self.filtered.remove(&leg);
            // Of a call that was connected, or has left, hardly anything comes: the connection will soon be closed.
            if self.call.is_in_line() {
                wire::forget_leg(leg).into_iter().for_each(|c| self.push(c));
            }
        }
        if self.give_back && self.parked {
            self.give_back = false;
            self.push(Command::Exit);
        }
        self.decide_on_later();
        if self.out.is_empty() {
            return;
        }
        let (commands, watched): (Vec<_>, Vec<_>) = std::mem::take(&mut self.out).into_iter().unzip();
        match self.link.send_all(&commands) {
            Ok(sent) => {
                for (pending, watched) in sent.into_iter().zip(watched) {
                    match watched {
                        Some(what) => {
                            self.watched.get_or_insert_default().spawn(async move { (what, pending.await) });
                        }
                        None => pending.log_refusal("a command of a call"),
                    }
                }
            }
            Err(full) => {
                tracing::error!(%full, "FreeSWITCH does not keep up with this call; its connection is closed");
                self.link.close();
            }
        }
    }
}
