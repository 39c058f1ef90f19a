//! A caller's session: from the first command to the last event.
//!
//! Owns the caller's connection and its one loop: event in, input to the call, effects out as commands.
//! Must not decide: [`Call`] does, and every event, outcome and deadline goes to it.

mod courier;
mod effects;
mod entry;
mod outbox;
mod replies;
mod ringing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::sleep_until;
use tracing::Instrument;

use crate::acd::call::{Call, Effect, Input};
use crate::acd::ids::{OfferId, QueueNumber};
use crate::acd::time::{Mono, Now};
use crate::esl::{CloseReason, Connection, Event, Events, Incoming};
use crate::floor::CallDesk;
use crate::telephony::channel::{Channel, NewCall};
use crate::telephony::events::{self as heard, Heard};
use crate::telephony::{Settings, commands as wire};

use super::handover::{self, Again};
use super::{Shared, drained};
use courier::Courier;
use outbox::{Outbox, Watched};
use replies::Replies;
use ringing::Phones;

/// Serves a caller to the end.
pub(super) fn run(
    shared: &Arc<Shared>,
    settings: Arc<Settings>,
    connection: Connection,
    events: Events,
    call: Box<NewCall>,
    dialled: QueueNumber,
) -> impl Future<Output = ()> {
    let span = tracing::info_span!("call", call = %call.channel.id, queue = %dialled);
    serve(shared, settings, connection, events, call, dialled).instrument(span)
}

async fn serve(
    shared: &Arc<Shared>,
    settings: Arc<Settings>,
    connection: Connection,
    mut events: Events,
    call: Box<NewCall>,
    dialled: QueueNumber,
) {
    let wake = Arc::new(Notify::new());
    let mut turn = match shared.handovers.enter(&call.channel.id, wake.clone()) {
        Ok(turn) => turn,
        // Boxed, so that this rare case takes no space in the task of every call.
        Err(earlier) => return Box::pin(handover::wait(shared, &connection, &mut events, &call, earlier)).await,
    };
    let mut session = Session::new(shared, settings, connection, call, dialled, wake.clone());
    session.begin();
    let mut draining = shared.draining.clone();
    while !session.call.is_finished() {
        let due = session.call.deadline().into_iter().chain(session.outbox.deadline()).min();
        let at = shared.clock.instant(due.unwrap_or_default());
        tokio::select! {
            biased;
            incoming = events.next() => session.incoming(incoming),
            (what, outcome) = session.replies.next() => session.outcome(what, outcome),
            () = wake.notified() => session.woken(turn.asked_for()),
            () = drained(&mut draining) => session.tell(Input::Drain),
            () = sleep_until(at), if due.is_some() => session.tick(),
        }
    }
    let (connection, lives_on) = (session.connection.clone(), session.call.lives_on());
    drop(session);
    if lives_on {
        Box::pin(handover::stay(&turn, &mut events, &mut draining)).await;
    }
    if turn.is_asked_for() {
        return Box::pin(super::leave_and_see(&connection)).await;
    }
    super::leave(&connection);
}

struct Session<'a> {
    shared: &'a Shared,
    /// The current configuration: a reload reaches waiting callers too.
    settings: Arc<Settings>,
    connection: Connection,
    channel: Channel,
    dialled: QueueNumber,
    /// When FreeSWITCH replied to `connect`.
    replied: Mono,
    call: Call,
    desk: CallDesk,
    replies: Replies,
    outbox: Outbox,
    /// The phones of each offer's agent.
    phones: BTreeMap<OfferId, Phones>,
    courier: Courier<'a>,
}

impl<'a> Session<'a> {
    /// Admits the call to the floor, which notifies `wake` when something has changed for the caller. Frees `new`, of which
    /// only the channel is kept.
    fn new(
        shared: &'a Arc<Shared>,
        settings: Arc<Settings>,
        connection: Connection,
        new: Box<NewCall>,
        dialled: QueueNumber,
        wake: Arc<Notify>,
    ) -> Self {
        let (now, number) = (shared.clock.now(), Arc::from(new.channel.number.as_str()));
        shared.floor.admit(&new.channel.id, Arc::clone(&number), Box::new(move || wake.notify_one()));
        let (call, desk) = entry::enter(shared, &settings, &new, &dialled, number, now);
        Self {
            shared,
            settings,
            connection,
            channel: new.channel,
            dialled,
            replied: now.mono,
            call,
            desk,
            replies: Replies::default(),
            outbox: Outbox::default(),
            phones: BTreeMap::new(),
            courier: Courier::new(shared),
        }
    }

    fn begin(&mut self) {
        let [filter, events, linger] = wire::setup(&self.channel.channel);
        self.outbox.push(filter);
        self.outbox.push(events);
        self.outbox.ask(linger, Watched::Begun);
        if self.channel.answered {
            self.tell(Input::CallerAnswered);
        }
        self.tell(Input::Begin);
        self.forget_kept_moment();
    }

    fn incoming(&mut self, incoming: Option<Incoming>) {
        match incoming {
            Some(Incoming::Event(event)) => self.event(&event),
            // The disconnect notice overtakes events that are still queued (measured), even the answer of the call. The
            // hang-up event keeps its order behind them, and the end of the connection bounds the wait.
            Some(Incoming::Lingering(_)) => {}
            Some(Incoming::Closed(reason)) => {
                match reason {
                    CloseReason::Peer | CloseReason::Local => tracing::debug!(%reason, "the connection ended"),
                    reason => tracing::warn!(%reason, "the connection of a call ended too early"),
                }
                self.tell(Input::Disconnected);
            }
            None => self.tell(Input::Disconnected),
            Some(_) => {}
        }
    }

    fn event(&mut self, event: &Event) {
        let own = self.channel.id.as_str();
        if heard::shows_parked(event, own) {
            self.outbox.is_parked();
        }
        if heard::is_last_of(event, own) {
            self.nothing_is_carried_out();
        }
        match heard::hear(event, self.channel.id.as_str(), &self.call) {
            Some(Heard::CarriedOut(done)) => self.carried_out(done),
            Some(Heard::Loopback(leg)) => self.refuse_loopback(leg),
            Some(Heard::Call(input)) => self.tell(input),
            None => self.flush(),
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
                        if let Some(input) = self.carry_out(wire) {
                            self.work(input, now);
                        }
                    }
                }
            }
        }
    }

    fn tick(&mut self) {
        self.outbox.tick(self.shared.clock.now().mono);
        self.tell(Input::Tick);
    }

    /// Writes the collected commands.
    fn flush(&mut self) {
        self.phones.retain(|offer, _| self.call.agent_of(*offer).is_some());
        let outgoing = self.outbox.take(&self.call, self.shared.clock.now().mono);
        if outgoing.is_empty() {
            return;
        }
        let (commands, watched): (Vec<_>, Vec<_>) = outgoing.into_iter().unzip();
        match self.connection.send_all(&commands) {
            Ok(sent) => sent.into_iter().zip(watched).for_each(|(pending, what)| self.replies.wait_for(pending, what)),
            Err(full) => {
                tracing::error!(%full, "FreeSWITCH does not keep up with this call; its connection is closed");
                self.connection.close();
            }
        }
    }
}
