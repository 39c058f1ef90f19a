//! The live picture: queues, agents and calls in concurrent maps.
//!
//! Every method is synchronous and holds one guard at a time; the decisions are made in `acd`. A change that could make
//! an offer possible is noted, and rings the dispatcher's bell.

mod absent;
mod changes;
mod desk;
mod entry;
mod heirs;
mod parties;
mod registrations;
mod resume;
mod roster;
mod supervision;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::DashMap;

use crate::acd::agent::{Activity, Agent, Released, Unavailable};
use crate::acd::announce::HIGHEST;
use crate::acd::call::Leave;
use crate::acd::fact::{CancelCause, EndedBy, Fact, LossCause, Record};
use crate::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use crate::acd::line::Line;
use crate::acd::offer::Outcome;
use crate::acd::pace::SESSIONS_PER_SECOND;
use crate::acd::queue::{CalledOff, Left, Orders, Queue};
use crate::acd::time::{Now, Wall};

use resume::Unclosed;

use changes::Watchers;

pub use absent::Absent;
pub use changes::{News, Subject, Watcher};
pub use desk::CallDesk;
pub use entry::{Admission, Caller};
pub use heirs::Standing;
pub use parties::Party;
pub use registrations::{AskedRegistrations, Registrations};
pub use roster::{LoginChange, LoginRefusal};
pub use supervision::HeldView;
pub use view::{AgentView, CandidateView, Doing, FloorView, QueueView, Reason, WaitingView};

/// Wakes the task of a call. Must not block.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// Takes a fact, and whether it still has to be stored. The floor calls it under the guard of the changed entry, so
/// that the facts of one call or agent arrive in the order in which they became true; it must neither block nor call
/// the floor.
pub type Facts = Box<dyn Fn(Record, Stored) + Send + Sync>;

/// Whether a fact is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A login or logout, which the controller stores before it takes effect.
    Already,
    /// Any other fact.
    NotYet,
}

/// The changes since the dispatcher last looked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Queues whose callers, settings or pauses changed.
    pub queues: BTreeSet<QueueNumber>,
    /// Agents who became free or ceased to be free.
    pub agents: BTreeSet<AgentId>,
}

/// An offer with its call, queue and agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferKey {
    /// The offer.
    pub offer: OfferId,
    /// The caller.
    pub call: CallId,
    /// The queue the caller waits in.
    pub queue: QueueNumber,
    /// The agent.
    pub agent: AgentId,
}

struct Admitted {
    wake: Wake,
    number: Arc<str>,
    /// Offers whose leg is gone, which the call has not taken yet.
    legs_missing: BTreeMap<OfferId, OfferKey>,
}

/// The live picture of everything.
pub struct Floor {
    queues: DashMap<QueueNumber, Queue>,
    agents: DashMap<AgentId, Agent>,
    calls: DashMap<CallId, Admitted>,
    absent: Mutex<BTreeMap<CallId, Absent>>,
    coming: Mutex<BTreeSet<CallId>>,
    unclosed: Mutex<Unclosed>,
    parties: Mutex<BTreeMap<OfferId, Party>>,
    /// The calls that are here, by the Call-ID of the caller's phone.
    dialogs: DashMap<Arc<str>, CallId>,
    heirs: Mutex<heirs::Heirs>,
    registrations: Registrations,
    changed: Mutex<Changed>,
    watchers: Watchers,
    /// Whether a link compares the floor with FreeSWITCH, and looks after legs without a session.
    supervised: AtomicBool,
    bell: Wake,
    facts: Facts,
    arrivals: AtomicU64,
    line: Mutex<Line>,
    /// Held while a caller enters a queue in which nobody may wait, and while an offer is made.
    gate: Mutex<()>,
    sessions_per_second: AtomicU32,
}

impl Floor {
    /// An empty floor. `bell` is rung when the dispatcher has something to look at.
    pub fn new(bell: Wake, facts: Facts) -> Self {
        Self {
            queues: DashMap::new(),
            agents: DashMap::new(),
            calls: DashMap::new(),
            absent: Mutex::default(),
            coming: Mutex::default(),
            unclosed: Mutex::default(),
            parties: Mutex::default(),
            dialogs: DashMap::new(),
            heirs: Mutex::default(),
            registrations: Registrations::default(),
            changed: Mutex::default(),
            watchers: Watchers::default(),
            supervised: AtomicBool::new(false),
            bell,
            facts,
            arrivals: AtomicU64::new(0),
            line: Mutex::default(),
            gate: Mutex::default(),
            sessions_per_second: AtomicU32::new(SESSIONS_PER_SECOND),
        }
    }

    /// Continues the line's time from `before`: its last known value in the previous run, and how long ago that was.
    pub fn resume_line(&self, before: Option<(Wall, Duration)>, now: Now) {
        *lock(&self.line) = Line::resume(before, now);
    }

    /// The line's time.
    pub fn line(&self, now: Now) -> Wall {
        lock(&self.line).at(now)
    }

    /// The agents' known registrations.
    pub fn registrations(&self) -> &Registrations {
        &self.registrations
    }

    /// Sets how many new sessions a second FreeSWITCH accepts.
    pub fn set_sessions_per_second(&self, sessions: u32) {
        self.sessions_per_second.store(sessions, Ordering::Relaxed);
    }

    /// How many new sessions a second FreeSWITCH accepts.
    pub fn sessions_per_second(&self) -> u32 {
        self.sessions_per_second.load(Ordering::Relaxed)
    }

    /// Admits a call; `wake` wakes its task when there is something for it. Returns false when the call is already
    /// here.
    pub fn admit(&self, call: &CallId, number: Arc<str>, wake: Wake) -> bool {
        match self.calls.entry(call.clone()) {
            dashmap::Entry::Occupied(_) => false,
            dashmap::Entry::Vacant(v) => {
                v.insert(Admitted { wake, number, legs_missing: BTreeMap::new() });
                true
            }
        }
    }

    /// The call's task is done.
    pub fn dismiss(&self, call: &CallId) {
        self.calls.remove(call);
    }

    /// How many calls are here, waiting or talking.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether anything is open that would end with the daemon: a call, an agent's part of one, or a wrap-up.
    pub fn is_busy(&self) -> bool {
        let busy = |agent: &Agent| !matches!(agent.activity(), Activity::Idle);
        !self.calls.is_empty() || !lock(&self.absent).is_empty() || self.agents.iter().any(|a| busy(&a))
    }

    /// Takes the changes since the last look.
    pub fn take_changed(&self) -> Changed {
        std::mem::take(&mut lock(&self.changed))
    }

    /// Whether a call's task is here.
    pub fn has_call(&self, call: &CallId) -> bool {
        self.calls.contains_key(call)
    }

    /// Takes the call's orders, and reads its position.
    pub fn look(&self, call: &CallId, queue: &QueueNumber, listen: bool) -> Option<(Orders, u32)> {
        let mut q = self.queues.get_mut(queue)?;
        let entry = q.entry_of(call)?;
        let orders = q.take_orders(entry, listen)?;
        let position = q.position(entry, HIGHEST + 1)?;
        Some((orders, position))
    }

    /// Ends the offers for this caller, and releases the agents whose phones do not ring yet.
    pub fn close(&self, call: &CallId, queue: &QueueNumber, cause: CancelCause, now: Now) {
        let never_rang = match self.queues.get_mut(queue) {
            Some(mut q) => {
                let never_rang = q.entry_of(call).map(|entry| q.close(entry)).unwrap_or_default();
                self.record_unrung(call, queue, &never_rang, cause, now);
                never_rang
            }
            None => Vec::new(),
        };
        self.release_unrung(call, queue, &never_rang, now);
        self.queue_changed(queue);
    }

    /// Records the outcome of an offer.
    pub fn outcome(&self, key: &OfferKey, outcome: Outcome, now: Now) {
        let OfferKey { offer, call, queue, agent } = key.clone();
        if let Outcome::Missed(cause) = outcome {
            self.watching_phone(&agent, |a| a.tried(offer, cause, now));
        }
        {
            let mut q = self.queues.get_mut(&queue);
            let entry = q.as_ref().and_then(|q| q.entry_of(&call));
            if let (Some(q), Some(entry)) = (&mut q, entry) {
                match outcome {
                    Outcome::Cancelled(cause) if !cause.passes_over() => q.cancelled(entry, offer),
                    Outcome::Cancelled(_) | Outcome::Missed(_) => q.missed(entry, offer, now.mono),
                }
            }
            let fact = match outcome {
                Outcome::Missed(cause) => Fact::OfferMissed { offer, call, queue, agent, cause },
                Outcome::Cancelled(cause) => Fact::OfferCancelled { offer, call, queue, agent, cause },
            };
            self.record(now, fact);
        }
        self.queue_changed(&key.queue);
    }

    /// Changes an agent, and logs when offers begin to fail because of the agent's phone and when they succeed again:
    /// once each, however many attempts lie in between.
    fn watching_phone<R>(&self, agent: &AgentId, change: impl FnOnce(&mut Agent) -> R) -> Option<R> {
        let (before, done, after) = {
            let mut a = self.agents.get_mut(agent)?;
            let before = a.failing();
            let done = change(&mut a);
            (before, done, a.failing())
        };
        match (before, after) {
            (None, Some((_, cause))) => tracing::warn!(
                %agent, %cause,
                "an agent's phone cannot be rung; it is tried ever less often, and not logged again until it can be rung"
            ),
            (Some((failures, _)), None) => tracing::info!(%agent, failures, "an agent's phone can be rung again"),
            _ => {}
        }
        Some(done)
    }

    /// Releases the agent when the leg of an offer is gone, with wrap-up after a conversation.
    pub fn release(&self, key: &OfferKey, by: EndedBy, now: Now) {
        self.free(key, by, true, now);
    }

    /// Releases the agent when a leg is gone and its end went unseen: a conversation ended when last known to go on.
    pub fn release_unseen(&self, key: &OfferKey, now: Now) {
        self.free(key, EndedBy::Unknown, false, now);
    }

    fn free(&self, key: &OfferKey, by: EndedBy, seen: bool, now: Now) {
        let wrap_up = self.queues.get(&key.queue).map(|q| q.settings().wrap_up);
        {
            let Some(mut a) = self.agents.get_mut(&key.agent) else { return };
            let Some(released) = a.release(key.offer, wrap_up, seen, now) else { return };
            if let Released::Conversation { talked, ended, wrap_up } = released {
                if lock(&self.unclosed).end(key.offer, seen) {
                    // As the store counts: with the record.
                    a.shift_mut().count(talked);
                    let OfferKey { offer, call, queue, agent } = key.clone();
                    let at = now.wall_of(ended);
                    self.record_at(at, Fact::ConversationEnded { offer, call, queue, agent, talked, by });
                }
                if let Some(lasts) = wrap_up {
                    let (at, agent, queue) = (now.wall_of(ended), key.agent.clone(), key.queue.clone());
                    self.record_at(at, Fact::WrapUpStarted { agent, queue, until: at.plus(lasts), lasts });
                }
            }
        }
        self.talks_no_longer(key);
        self.agents.remove_if(&key.agent, |_, a| a.is_retired());
        self.agent_changed(&key.agent);
    }

    /// Counts a conversation against its queue's `max_conversations`, before its agent is known to talk: the end of the
    /// conversation comes behind that. Returns false when it counts already.
    fn counts_as_talking(&self, key: &OfferKey) -> bool {
        self.with_queue(&key.queue, |q| q.talks().insert(key.offer)) == Some(true)
    }

    fn talks_no_longer(&self, key: &OfferKey) {
        if self.with_queue(&key.queue, |q| q.talks().remove(&key.offer)) == Some(true) {
            self.queue_changed(&key.queue);
        }
    }

    /// The call receives no more events of the leg of an offer. With a link, the survey releases the agent when the leg
    /// is gone; without one, the agent is released now.
    pub fn lost(&self, key: &OfferKey, now: Now) {
        if !self.supervised.load(Ordering::Relaxed) {
            self.release(key, EndedBy::Unknown, now);
        } else if let Some(mut agent) = self.agents.get_mut(&key.agent) {
            agent.given_up(key.offer, now);
        }
    }

    /// Records that the caller was connected to the agent of this offer.
    pub fn answered(&self, key: &OfferKey, now: Now) {
        let wrap_up = self.queues.get(&key.queue).map_or(Duration::ZERO, |q| q.settings().wrap_up);
        self.counts_as_talking(key);
        let left = self.leave_queue(&key.call, &key.queue, CancelCause::AnsweredElsewhere, now, |_| None);
        let tell = || {
            if let Some(left) = left {
                let OfferKey { offer, call, queue, agent } = key.clone();
                let waited = now.lasted(left.since);
                self.record(now, Fact::CallAnswered { offer, call, queue, agent, waited });
            }
        };
        // The guard on the agent keeps the conversation's end from being recorded before its beginning.
        let connected = self.watching_phone(&key.agent, |a| {
            let connected = a.connected(key.offer, wrap_up, now);
            tell();
            connected
        });
        debug_assert!(connected == Some(true), "an offer that holds nobody was answered: {key:?}");
        self.watchers.tell(|| Subject::Agent(key.agent.clone()));
    }

    /// Takes the caller out of the queue without an agent. `by` is the user who took the caller, if known. Returns
    /// false when the caller does not wait there.
    pub fn leave(&self, call: &CallId, queue: &QueueNumber, leave: Leave, by: Option<Arc<str>>, now: Now) -> bool {
        let cancel = match leave {
            Leave::TimedOut(_) => CancelCause::CallTimedOut,
            Leave::Returned => CancelCause::Draining,
            Leave::Abandoned | Leave::Taken | Leave::Lost | Leave::Ended | Leave::Replaced => CancelCause::CallerGone,
        };
        let left = self.leave_queue(call, queue, cancel, now, |left| {
            let waited = now.lasted(left.since);
            let (call, queue) = (call.clone(), queue.clone());
            Some(match leave {
                Leave::Abandoned => Fact::CallAbandoned { call, queue, waited },
                Leave::TimedOut(cause) => Fact::CallTimedOut { call, queue, cause, waited },
                Leave::Returned => Fact::CallReturned { call, queue, waited },
                Leave::Taken | Leave::Replaced => Fact::CallTaken { call, queue, waited, by },
                Leave::Ended => Fact::CallLost { call, queue, waited, cause: LossCause::SwitchEnded },
                Leave::Lost => Fact::CallLost { call, queue, waited, cause: LossCause::Defect },
            })
        });
        left.is_some()
    }

    /// Takes a caller out of a queue, and records the fact that `fact` returns, if any.
    fn leave_queue(
        &self,
        call: &CallId,
        queue: &QueueNumber,
        cancel: CancelCause,
        now: Now,
        fact: impl FnOnce(&Left) -> Option<Fact>,
    ) -> Option<Left> {
        let left = {
            let mut q = self.queues.get_mut(queue)?;
            let entry = q.entry_of(call)?;
            let left = q.leave(entry)?;
            // Offers whose phones do not ring yet end before the wait does.
            self.record_unrung(call, queue, &left.never_rang, cancel, now);
            if let Some(fact) = fact(&left) {
                self.record(now, fact);
            }
            left
        };
        self.queues.remove_if(queue, |_, q| q.is_retired() && q.is_empty());
        self.release_unrung(call, queue, &left.never_rang, now);
        self.wake_all(&left.improved);
        self.queue_changed(queue);
        Some(left)
    }

    /// Records that these offers were called off before a phone rang.
    fn record_unrung(
        &self,
        call: &CallId,
        queue: &QueueNumber,
        offers: &[(OfferId, AgentId)],
        cause: CancelCause,
        now: Now,
    ) {
        for (offer, agent) in offers {
            let (offer, call, queue, agent) = (*offer, call.clone(), queue.clone(), agent.clone());
            self.record(now, Fact::OfferCancelled { offer, call, queue, agent, cause });
        }
    }

    fn release_unrung(&self, call: &CallId, queue: &QueueNumber, offers: &[(OfferId, AgentId)], now: Now) {
        for (offer, agent) in offers {
            let key = OfferKey { offer: *offer, call: call.clone(), queue: queue.clone(), agent: agent.clone() };
            self.release(&key, EndedBy::Unknown, now);
        }
    }

    /// Offers an agent a caller: claims the agent, and confirms that with the caller's queue. Returns false when one of
    /// them cannot any more.
    pub fn offer(&self, key: &OfferKey, now: Now) -> bool {
        // No caller is let in for an agent who is just being claimed.
        let _turn = lock(&self.gate);
        self.claim(key, now).is_ok() && self.confirm(key, now)
    }

    /// Claims an agent for an offer.
    ///
    /// # Errors
    /// Returns why the agent cannot be claimed.
    pub fn claim(&self, key: &OfferKey, now: Now) -> Result<(), Unavailable> {
        let mut agent = self.agents.get_mut(&key.agent).ok_or(Unavailable::LoggedOut)?;
        agent.claim(key.offer, key.call.clone(), key.queue.clone(), now)
    }

    /// Confirms a claimed offer with the caller's queue and wakes the call. Releases the agent and returns false when
    /// the caller takes no more offers.
    pub fn confirm(&self, key: &OfferKey, now: Now) -> bool {
        let confirmed = self.queues.get_mut(&key.queue).is_some_and(|mut q| {
            let entry = q.entry_of(&key.call);
            let confirmed = entry.is_some_and(|entry| q.confirm(entry, key.offer, key.agent.clone()));
            if confirmed {
                let OfferKey { offer, call, queue, agent } = key.clone();
                self.record(now, Fact::OfferMade { offer, call, queue, agent });
            }
            confirmed
        });
        if !confirmed {
            self.release(key, EndedBy::Unknown, now);
            return false;
        }
        let still_in = self.agents.get_mut(&key.agent).is_some_and(|mut a| {
            a.ringing(key.offer);
            a.logins().contains_key(&key.queue)
        });
        if !still_in {
            // The agent logged out after the claim, and the logout found no offer to call off.
            self.call_off(key, CancelCause::LoggedOut, now);
        }
        self.watchers.tell(|| Subject::Agent(key.agent.clone()));
        self.queue_shows(&key.queue);
        self.wake_all(std::slice::from_ref(&key.call));
        true
    }

    /// Tells watchers of a change to a queue that makes no offer possible.
    fn queue_shows(&self, queue: &QueueNumber) {
        self.watchers.tell(|| Subject::Queue(queue.clone()));
    }

    /// Orders the call to call off the agent's offer, unless it is already connected. `None` when there is no such
    /// offer.
    pub fn call_off_offer(&self, agent: &AgentId, now: Now) -> Option<OfferKey> {
        let held = self.agents.get(agent)?.held_by_offer()?.clone();
        let key = OfferKey { offer: held.offer, call: held.call, queue: held.queue, agent: agent.clone() };
        self.call_off(&key, CancelCause::Requested, now);
        Some(key)
    }

    /// Orders an offer to be called off.
    fn call_off(&self, key: &OfferKey, cause: CancelCause, now: Now) {
        let done = self.queues.get_mut(&key.queue).map(|mut q| {
            let entry = q.entry_of(&key.call);
            let done = entry.map_or(CalledOff::Stale, |entry| q.call_off(entry, key.offer, cause, now.mono));
            if done == CalledOff::NeverRang {
                self.record_unrung(&key.call, &key.queue, &[(key.offer, key.agent.clone())], cause, now);
            }
            done
        });
        match done {
            Some(CalledOff::NeverRang) => self.release(key, EndedBy::Unknown, now),
            Some(CalledOff::Ordered) => self.wake_all(std::slice::from_ref(&key.call)),
            Some(CalledOff::Stale) | None => {}
        }
    }

    /// Lets time pass for one agent.
    pub fn tick_agent(&self, agent: &AgentId, now: Now) {
        if let Some(mut a) = self.agents.get_mut(agent)
            && a.tick(now)
        {
            self.record(now, Fact::WrapUpEnded { agent: agent.clone() });
            self.watchers.tell(|| Subject::Agent(agent.clone()));
        }
        self.agents.remove_if(agent, |_, a| a.is_retired() && a.held().is_none());
        lock(&self.changed).agents.insert(agent.clone());
    }

    /// Reads an agent.
    pub fn agent<R>(&self, agent: &AgentId, read: impl FnOnce(&Agent) -> R) -> Option<R> {
        self.agents.get(agent).map(|a| read(&a))
    }

    /// Reads a queue.
    pub fn queue<R>(&self, queue: &QueueNumber, read: impl FnOnce(&Queue) -> R) -> Option<R> {
        self.queues.get(queue).map(|q| read(&q))
    }

    /// Changes a queue; for the dispatcher.
    pub fn with_queue<R>(&self, queue: &QueueNumber, work: impl FnOnce(&mut Queue) -> R) -> Option<R> {
        self.queues.get_mut(queue).map(|mut q| work(&mut q))
    }

    /// Reports changes to a new watcher from now on. A change rings its bell, which must neither block nor call the
    /// floor.
    pub fn watch(&self, bell: Wake) -> Watcher {
        self.watchers.watch(bell)
    }

    /// Records a fact.
    pub fn record(&self, now: Now, fact: Fact) {
        self.record_at(now.wall, fact);
    }

    /// Records a fact that became true at `at` and was noticed only now.
    pub fn record_at(&self, at: Wall, fact: Fact) {
        if let Some(call) = fact.call() {
            self.watchers.tell(|| Subject::Call(call.clone()));
        }
        (self.facts)(Record { at, fact }, Stored::NotYet);
    }

    fn wake_all(&self, calls: &[CallId]) {
        for call in calls {
            if let Some(c) = self.calls.get(call) {
                (c.wake)();
            }
        }
    }

    fn queue_changed(&self, queue: &QueueNumber) {
        lock(&self.changed).queues.insert(queue.clone());
        self.watchers.tell(|| Subject::Queue(queue.clone()));
        (self.bell)();
    }

    fn agent_changed(&self, agent: &AgentId) {
        lock(&self.changed).agents.insert(agent.clone());
        self.watchers.tell(|| Subject::Agent(agent.clone()));
        (self.bell)();
    }

    fn number_of(&self, call: &CallId) -> Arc<str> {
        self.calls.get(call).map_or_else(|| Arc::from(""), |c| c.number.clone())
    }
}

/// A poisoned lock means that a thread panicked while it held plain data, which is still valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
