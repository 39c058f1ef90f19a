//! A caller's session: from the first command to the last event.
//!
//! Owns the caller's connection, its one loop, and the order and moment in which commands are written. Must not decide:
//! [`Call`] does, and every event, outcome and deadline goes to it. No flag here may stand for a state of the call.

mod courier;
mod ringing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use crate::acd::call::{Call, Effect, Input, Parting, Wire};
use crate::acd::ids::{AgentId, LegId, OfferId, QueueNumber};
use crate::acd::leg::News;
use crate::acd::offer::Found;
use crate::acd::queue::Place;
use crate::acd::time::{Mono, Now};
use crate::esl::text::TextError;
use crate::esl::{ApiCall, Cause, ChannelId, CloseReason, Command, EventKind, Events, Incoming, Link, Outcome};
use crate::floor::{CallDesk, Caller};
use crate::telephony::channel::Channel;
use crate::telephony::events::{self as heard, Heard};
use crate::telephony::place::Remembered;
use crate::telephony::variables::SINCE;
use crate::telephony::{Settings, commands as wire};

use super::handover::{self, Again};
use super::{Shared, drained};
use courier::Courier;
use ringing::{NOT_RUNG, Phones};

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
    let mut turn = match shared.handovers.enter(&channel.id, wake.clone()) {
        Ok(turn) => turn,
        // Boxed, so that this rare case takes no space in the task of every call.
        Err(earlier) => return Box::pin(handover::wait(shared, &link, &mut events, &channel, earlier)).await,
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
            () = wake.notified() => session.woken(turn.asked_for()),
            () = drained(&mut draining) => session.tell(Input::Drain),
            () = at(due) => session.tick(),
        }
    }
    let (link, lives_on) = (session.link.clone(), session.lives_on);
    drop(session);
    if lives_on {
        Box::pin(handover::stay(&turn, &mut events, &mut draining)).await;
    }
    if turn.is_asked_for() {
        return Box::pin(super::leave_and_see(&link)).await;
    }
    super::leave(&link);
}

/// Waits for the outcome of the next watched command.
async fn next(watched: &mut Option<JoinSet<(Watched, Outcome)>>) -> (Watched, Outcome) {
    while let Some(set) = watched {
        match set.join_next().await {
            Some(Ok(done)) => return done,
            // The task was aborted or panicked; the deadline of its command covers that.
            Some(Err(_)) => {}
            // A waiting caller does not need the empty set.
            None => *watched = None,
        }
    }
    std::future::pending().await
}

/// Completes at `moment`, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A command whose outcome the session handles.
#[derive(Clone, Copy, Debug)]
enum Watched {
    /// Asks for the phones of an offer's agent.
    Phones(OfferId),
    /// Asks for the directory's variables for an offer's agent.
    Directory(OfferId),
    Ring(LegId),
    CallOff(LegId),
    /// Asks whether a leg that could not be ended exists.
    Exists(LegId),
    ModHash,
    /// Asks whose phone has the caller.
    Taker,
    /// The last of the first commands: its reply shows that FreeSWITCH has read them.
    Begun,
}

/// How long a non-urgent command is held back so that an `originate` found meanwhile goes first: the dispatcher finds a
/// free agent at once.
const PUT_OFF: Duration = Duration::from_millis(5);

/// A command, and how the session handles its outcome, if it does.
type Order = (Command, Option<Watched>);

struct Session<'a> {
    shared: &'a Shared,
    /// The current configuration: a reload reaches waiting callers too.
    settings: Arc<Settings>,
    link: Link,
    channel: Box<Channel>,
    dialled: QueueNumber,
    /// When FreeSWITCH answered `connect`.
    told: Mono,
    call: Call,
    desk: CallDesk,
    watched: Option<JoinSet<(Watched, Outcome)>>,
    /// The commands for the current input, written together and in this order: music sent after an `originate` would
    /// play into the conversation with a phone that answers by itself.
    out: Vec<Order>,
    /// The non-urgent command that is held back, and until when ([`PUT_OFF`]).
    later: Option<Box<Command>>,
    later_at: Option<Instant>,
    /// Legs whose filters are still set.
    filtered: BTreeSet<LegId>,
    /// The phones of each offer's agent.
    phones: BTreeMap<OfferId, Phones>,
    /// The channel has the variables with which the call continues without this process.
    prepared: bool,
    courier: Courier<'a>,
    /// The call is parked: ending the connection no longer strands it.
    parked: bool,
    /// Return the call to the dialplan as soon as it is parked.
    give_back: bool,
    /// No event has shown that the call ended, so it continues elsewhere when this session ends.
    lives_on: bool,
}

impl<'a> Session<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        settings: &Arc<Settings>,
        link: Link,
        channel: Box<Channel>,
        dialled: QueueNumber,
        number: Arc<str>,
    ) -> Self {
        let place = channel.place.as_ref().filter(|r| r.dialled == dialled);
        // A caller who arrived while no controller was there, or whose controller died before it stored the place, has
        // waited since then.
        let now = shared.clock.now();
        // A call that replaces a waiting one takes its place in the line.
        let heir = channel.replaces.as_ref().and_then(|call| shared.floor.place_of(call, now));
        let (call, first_entered, since) = match (place, channel.held_for) {
            _ if let Some(h) = heir => (Call::back(h.queue, Vec::new(), h.place), Some(h.first_entered), None),
            (Some(r), _) => {
                let since = r.since.zip(channel.arrival.as_ref()).and_then(|(since, arrival)| arrival.since(since));
                let call = Call::back(r.queue.clone(), r.visited.clone(), r.place);
                (call, Some(r.first_entered), since.map(|lasts| now.ago(lasts)))
            }
            (None, Some(held)) => {
                let place = Place { entered: shared.floor.line(now).before(held), seq: 0 };
                let since = now.ago(held);
                let call = Call::new(dialled.clone(), channel.visited.clone(), Some(place));
                (call, Some(now.wall_of(since)), Some(since))
            }
            (None, None) => (Call::new(dialled.clone(), channel.visited.clone(), None), None, None),
        };
        let who = channel.who.as_ref().or(channel.dialled_user.as_ref());
        let own = who.and_then(|who| shared.floor.agent_of(who, settings.domain.as_deref()));
        let came = channel.arrival.as_ref().map(|arrival| shared.arrivals.ago(arrival, now.mono));
        let came = came.unwrap_or_default();
        let (returned, dialog) = (place.is_some(), channel.dialog.clone());
        let caller = Caller { number, first_entered, returned, since, came, own, dialog };
        let desk = CallDesk::new(shared.floor.clone(), channel.id.clone(), caller, (shared.random)());
        Self {
            shared,
            settings: settings.clone(),
            link,
            channel,
            dialled,
            told: now.mono,
            call,
            desk,
            watched: None,
            out: Vec::new(),
            later: None,
            later_at: None,
            filtered: BTreeSet::new(),
            phones: BTreeMap::new(),
            prepared: false,
            courier: Courier::new(shared),
            parked: false,
            give_back: false,
            lives_on: true,
        }
    }

    fn begin(&mut self) {
        let [filter, events, linger] = wire::setup(&self.channel.channel);
        self.out.extend([(filter, None), (events, None), (linger, Some(Watched::Begun))]);
        if self.channel.answered {
            self.tell(Input::CallerAnswered);
        }
        self.tell(Input::Begin);
        // The place is on the channel now: clear the kept moment, so that it does not count again if the caller
        // returns.
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
                if own && event.kind() == EventKind::ChannelHangupComplete {
                    self.nothing_is_carried_out();
                }
                match heard::hear(&event, self.channel.id.as_str(), &self.call) {
                    Some(Heard::CarriedOut(done)) => self.carried_out(done),
                    Some(Heard::Loopback(leg)) => self.refuse_loopback(leg),
                    Some(Heard::Call(input)) => {
                        self.lives_on &=
                            !matches!(input, Input::CallerGone | Input::CallerEnded | Input::CallerReplaced);
                        self.tell(input);
                    }
                    None if self.give_back && self.parked => self.flush(),
                    None => {}
                }
            }
            // The disconnect notice overtakes events that are still queued (measured), even the answer of the call. The
            // hang-up event keeps its order behind them, and the end of the connection bounds the wait.
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

    /// Something has changed for the call on the floor, or it is here on another connection.
    fn woken(&mut self, again: Option<Again>) {
        let floor = &self.shared.floor;
        for (offer, key) in floor.take_legs_missing(&self.channel.id) {
            if self.call.agent_of(offer).is_some() {
                self.tell(Input::LegsMissing(offer));
            } else {
                // It is of an earlier connection of the call, of which nobody hears any more.
                floor.release_unseen(&key, self.shared.clock.now());
            }
        }
        self.tell(match again {
            None => Input::Woken,
            Some(Again::Back) => Input::Disconnected,
            Some(Again::PassedOn) => Input::CameAgain,
        });
    }

    /// Handles the outcome of a watched command.
    fn outcome(&mut self, what: Watched, outcome: Outcome) {
        match (what, outcome) {
            (Watched::Begun, outcome) => {
                self.courier.has_begun();
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
            (Watched::Directory(offer), outcome) => self.read_directory(offer, outcome),
            (Watched::Exists(leg), Outcome::Done(reply)) if reply.body_text().trim() == "false" => {
                self.tell(Input::Leg(leg, News::Missing));
            }
            (Watched::Taker, Outcome::Done(reply)) => {
                let user = Some(reply.body_text().trim().to_owned()).filter(|user| user != "_undef_");
                self.tell(Input::Taker(user.and_then(|user| AgentId::new(&user).ok())));
            }
            (_, Outcome::Done(_)) => {}
            (Watched::Exists(leg), Outcome::Refused(text)) => {
                tracing::debug!(%leg, %text, "FreeSWITCH does not tell whether a leg is there");
            }
            (Watched::Taker, Outcome::Refused(text)) => {
                tracing::debug!(text, "no user of this switch has the caller who was taken");
                self.tell(Input::Taker(None));
            }
            (Watched::ModHash, Outcome::Refused(text)) => {
                tracing::debug!(text, "FreeSWITCH does not tell whether it has mod_hash")
            }
            (Watched::Ring(leg), Outcome::Refused(text)) => {
                tracing::warn!(%leg, %text, "FreeSWITCH refused to ring an agent");
                self.courier.forget(leg);
                self.tell(Input::Leg(leg, NOT_RUNG));
            }
            (Watched::CallOff(leg), Outcome::Refused(text)) => {
                tracing::debug!(%leg, %text, "a leg to be called off is not there, or is connected");
                let asked = ApiCall::uuid_exists(&ChannelId::from(leg.uuid()));
                self.out.push((Command::Api(asked), Some(Watched::Exists(leg))));
                self.flush();
            }
            // The deadline of the leg covers a missing reply.
            (_, Outcome::Unknown(why)) => tracing::warn!(?what, %why, "no reply to a command"),
        }
    }

    /// Passes an input to the call, and carries out its effects.
    fn tell(&mut self, input: Input) {
        self.settings.clone_from(&self.shared.settings.borrow());
        let now = self.shared.clock.now();
        self.work(input, now);
        self.flush();
    }

    fn work(&mut self, input: Input, now: Now) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.call.handle(input, now) {
                match effect {
                    Effect::Desk(wish) => inputs.extend(self.desk.carry_out(wish, now)),
                    Effect::Wire(wire) => {
                        // Handled at once, so that commands keep the order of the effects.
                        if let Some(input) = self.order(wire) {
                            self.work(input, now);
                        }
                    }
                }
            }
        }
    }

    /// Turns an effect into commands, and returns the input that is known already. A command that cannot be built
    /// counts as one that FreeSWITCH refused.
    fn order(&mut self, wish: Wire) -> Option<Input> {
        let refused = match &wish {
            Wire::Originate { leg, .. } => Some(Input::Leg(*leg, NOT_RUNG)),
            Wire::FindPhones(offer, _) => Some(Input::Phones(*offer, Found::Registered(0))),
            Wire::FindTaker => Some(Input::Taker(None)),
            Wire::Music { playing, .. } | Wire::Say(playing, _) => Some(Input::Played(*playing)),
            _ => None,
        };
        self.try_order(wish).unwrap_or_else(|error| {
            tracing::error!(%error, "a command could not be built; check the configured texts");
            refused
        })
    }

    fn try_order(&mut self, wish: Wire) -> Result<Option<Input>, TextError> {
        match wish {
            Wire::Answer => self.push(crate::esl::Execute::new("answer")?.into()),
            Wire::Remember(place) => self.remember(place)?,
            Wire::Music { playing, music, replace } => {
                let command = wire::music(playing, &music)?;
                if wire::may_take_a_while(&music) {
                    self.courier.may_be_kept();
                }
                if replace {
                    self.push(Command::Api(ApiCall::uuid_break(&self.channel.channel)));
                }
                self.push(command);
            }
            Wire::Say(playing, saying) => {
                self.courier.may_be_kept();
                self.push(wire::say(playing, &saying, &self.settings)?);
            }
            Wire::Hush => self.push(Command::Api(ApiCall::uuid_break(&self.channel.channel))),
            Wire::FindPhones(offer, agent) => return self.find_phones(offer, agent),
            Wire::Originate { leg, agent, first_wins } => self.originate(leg, &agent, first_wins)?,
            Wire::CallOff(leg, cause) => {
                let (call, refused_is_gone) = wire::call_off(leg.uuid(), cause)?;
                self.out.push((Command::Api(call), refused_is_gone.then_some(Watched::CallOff(leg))));
            }
            Wire::RingOut(leg, cause) => self.push(Command::Api(wire::ring_out(leg.uuid(), cause)?)),
            Wire::EndLeg(leg) => {
                let call = wire::end_leg(leg.uuid(), Cause::OriginatorCancel);
                self.out.push((Command::Api(call), Some(Watched::CallOff(leg))));
            }
            Wire::Rearm => self.push(wire::set("socket_resume", "true")?),
            Wire::Connected => self.push(wire::connected(&self.channel.channel)?),
            Wire::LetGo => self.push(wire::let_go(&self.channel.channel)?),
            Wire::Transfer(number) => {
                for command in wire::transfer(&number, &self.channel.context, self.call.visited())? {
                    self.push(command);
                }
            }
            Wire::HangUp(Parting::NoSuchNumber) if self.channel.answered => {
                wire::refuse(&self.settings)?.into_iter().for_each(|command| self.push(command));
            }
            Wire::HangUp(parting) => self.push(wire::hang_up(parting)),
            Wire::FindTaker => {
                self.out.push((Command::Api(wire::partner_of(&self.channel.channel)?), Some(Watched::Taker)));
            }
            Wire::GiveBack => (self.give_back, self.lives_on) = (true, false),
            Wire::Close => {}
        }
        Ok(None)
    }

    fn present(&self) -> Instant {
        self.shared.clock.instant(self.shared.clock.now().mono)
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
        let now = self.shared.clock.now();
        let ago = self.desk.since().map_or(Duration::ZERO, |since| now.lasted(since));
        let passed = now.mono.since(self.told);
        let since = self.channel.arrival.as_ref().map(|arrival| arrival.moment(passed, ago));
        let dialled = self.dialled.clone();
        let remembered = Remembered { dialled, queue, place, first_entered, visited, since };
        let first = !std::mem::replace(&mut self.prepared, true);
        let command = wire::prepare(&remembered, &language, first, self.channel.resumes)?;
        if first && self.channel.resumes {
            // The dialplan has already set everything except the place and the start of the wait.
            self.later = Some(Box::new(command));
        } else {
            self.push(command);
        }
        Ok(())
    }

    /// Sends the held-back command after the first `originate`, but before any other command.
    fn decide_on_later(&mut self) {
        if self.later.is_none() {
            return;
        }
        let in_line = self.call.is_in_line();
        let only_asks =
            self.out.iter().all(|(_, watched)| matches!(watched, Some(Watched::Phones(_) | Watched::Directory(_))));
        if in_line && self.later_at.is_none() {
            self.later_at = Some(self.present() + PUT_OFF);
        } else if in_line && self.out.iter().any(|(_, watched)| matches!(watched, Some(Watched::Ring(_)))) {
            self.out.extend(self.later.take().map(|command| (*command, None)));
        } else if !(in_line && only_asks) {
            self.out.splice(0..0, self.later.take().map(|command| (*command, None)));
        }
    }

    fn tick(&mut self) {
        if self.later_at.is_some_and(|at| at <= self.present()) {
            // No phone rings within this time.
            self.out.extend(self.later.take().map(|command| (*command, None)));
        }
        self.tell(Input::Tick);
    }

    /// Writes the collected commands.
    fn flush(&mut self) {
        let is_gone = |offer: &OfferId| self.call.agent_of(*offer).is_none();
        let gone: Vec<LegId> = self.filtered.iter().copied().filter(|leg| is_gone(&leg.offer)).collect();
        self.phones.retain(|offer, _| !is_gone(offer));
        for leg in gone {
            self.filtered.remove(&leg);
            // Filters of a call that was connected or has left need no deletion: its connection closes soon.
            if self.call.is_in_line() {
                wire::forget_leg(leg.uuid()).into_iter().for_each(|c| self.push(c));
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
