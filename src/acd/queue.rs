//! One queue: the waiting callers in order, the agents being rung for each, and the agents already tried.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::fact::{CancelCause, TimeoutCause};
use super::ids::{AgentId, CallId, EntryId, OfferId};
use super::rank::Rank;
use super::settings::{QueueSettings, Strategy};
use super::time::{Mono, Since};

/// No agent is rung again for the same caller within this time of a failed offer.
pub const PAUSE_AFTER_MISS: Duration = Duration::from_secs(5);

/// A failed offer of an agent for one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) at: Mono,
    pub(super) round: u32,
}

/// One waiting caller: an entry in the line.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The call that attends to the entry.
    call: CallId,
    since: Since,
    /// The caller's own head start, without the queue's share.
    head_start: Duration,
    pub(super) offers: Vec<(OfferId, AgentId)>,
    pub(super) tried: HashMap<AgentId, Tried>,
    pub(super) round: u32,
    pub(super) seed: u64,
    /// The agent from whose phone the call comes: never a candidate for it.
    pub(super) own: Option<AgentId>,
    /// The wait is ending: no more offers.
    closing: bool,
    orders: Orders,
}

impl Waiting {
    /// The call that attends to the entry.
    pub fn call(&self) -> &CallId {
        &self.call
    }

    /// Since when the caller waits in this queue.
    pub fn since(&self) -> Since {
        self.since
    }

    /// The agents being rung for the caller.
    pub fn offers(&self) -> &[(OfferId, AgentId)] {
        &self.offers
    }

    /// The agent from whose phone the call comes.
    pub fn own(&self) -> Option<&AgentId> {
        self.own.as_ref()
    }

    /// When an offer of `agent` for this caller last failed.
    pub fn tried_at(&self, agent: &AgentId) -> Option<Mono> {
        self.tried.get(agent).map(|t| t.at)
    }
}

/// Orders for the call of a waiting caller, collected until the call takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Ring these agents.
    pub ring: Vec<(OfferId, AgentId)>,
    /// Call these offers off.
    pub call_off: Vec<(OfferId, CancelCause)>,
    /// End the wait.
    pub end: Option<TimeoutCause>,
    /// The queue's settings changed.
    pub settings: Option<Arc<QueueSettings>>,
}

/// The result of calling an offer off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CalledOff {
    /// The call will end the leg.
    Ordered,
    /// The phone had not begun to ring: the offer can be released at once.
    NeverRang,
    /// There is no such offer.
    Stale,
}

/// The effect of changed settings on the waiting callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// Callers to wake.
    pub wake: Vec<CallId>,
    /// Callers whose head start changed, with the new one, in their new order.
    pub moved: Vec<(CallId, Duration)>,
}

/// The state that a leaving caller leaves behind in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The rank to come back with.
    pub rank: Rank,
    /// Since when the caller had waited.
    pub since: Since,
    /// Offers whose phones had not begun to ring: release them at once.
    pub never_rang: Vec<(OfferId, AgentId)>,
    /// Callers to wake because their position has improved.
    pub improved: Vec<CallId>,
}

/// One queue.
#[derive(Clone, Debug)]
pub struct Queue {
    settings: Arc<QueueSettings>,
    logged_in: BTreeSet<AgentId>,
    /// Boxed, because the nodes of the map are only half full.
    waiting: BTreeMap<Rank, Box<Waiting>>,
    ranks: HashMap<EntryId, Rank>,
    /// The entry that each call attends to.
    attended: HashMap<CallId, EntryId>,
    /// How many entries the line has had.
    entries: u64,
    unserved: BTreeSet<Rank>,
    listening: BTreeSet<Rank>,
    /// The agent to whom a caller of this queue was offered last, whatever came of it (Q34).
    last_offered: Option<AgentId>,
    /// The callers for whom phones ring.
    rung: BTreeSet<Rank>,
    /// The conversations of the queue's callers.
    talks: BTreeSet<OfferId>,
    retired: bool,
}

impl Queue {
    /// Creates a queue without callers and without logins.
    pub fn new(settings: Arc<QueueSettings>) -> Self {
        Self {
            settings,
            logged_in: BTreeSet::new(),
            waiting: BTreeMap::new(),
            ranks: HashMap::new(),
            attended: HashMap::new(),
            entries: 0,
            unserved: BTreeSet::new(),
            listening: BTreeSet::new(),
            last_offered: None,
            rung: BTreeSet::new(),
            talks: BTreeSet::new(),
            retired: false,
        }
    }

    /// The configuration no longer has the queue: it accepts no new callers, and begins anew should it be configured
    /// again.
    pub fn retire(&mut self) {
        (self.retired, self.last_offered) = (true, None);
    }

    /// The queue is configured (again). Returns true when it had been removed.
    pub fn revive(&mut self) -> bool {
        std::mem::take(&mut self.retired)
    }

    /// Whether the configuration no longer has the queue.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// The queue's settings.
    pub fn settings(&self) -> &Arc<QueueSettings> {
        &self.settings
    }

    /// Applies changed settings and passes them to the waiting callers, who move at once if their head start changes
    /// (Q27).
    pub fn set_settings(&mut self, settings: Arc<QueueSettings>) -> Reconfigured {
        let share_changed = self.settings.head_start != settings.head_start;
        self.settings = settings.clone();
        for w in self.waiting.values_mut() {
            w.orders.settings = Some(settings.clone());
        }
        let moved = if share_changed { self.rank_anew() } else { Vec::new() };
        Reconfigured { wake: self.waiting.values().map(|w| w.call.clone()).collect(), moved }
    }

    /// Gives every caller the rank of the present settings. Returns the callers whose head start changed.
    fn rank_anew(&mut self) -> Vec<(CallId, Duration)> {
        let before = std::mem::take(&mut self.waiting);
        let (unserved, listening) = (std::mem::take(&mut self.unserved), std::mem::take(&mut self.listening));
        self.rung.clear();
        self.ranks.clear();
        let mut moved = BTreeSet::new();
        for (old, w) in before {
            let new = self.free_rank(old.with_head_start(self.settings.head_start_with(w.head_start)));
            if new.head_start != old.head_start {
                moved.insert(new);
            }
            if unserved.contains(&old) {
                self.unserved.insert(new);
            }
            if listening.contains(&old) {
                self.listening.insert(new);
            }
            if !w.offers.is_empty() {
                self.rung.insert(new);
            }
            self.ranks.extend(self.attended.get(&w.call).map(|entry| (*entry, new)));
            self.waiting.insert(new, w);
        }
        moved.iter().filter_map(|rank| Some((self.waiting.get(rank)?.call.clone(), rank.head_start))).collect()
    }

    /// The first rank from `rank` on that nobody has.
    fn free_rank(&self, mut rank: Rank) -> Rank {
        while self.waiting.contains_key(&rank) {
            rank.seq += 1;
        }
        rank
    }

    /// The agents who are logged in.
    pub fn logged_in(&self) -> &BTreeSet<AgentId> {
        &self.logged_in
    }

    /// The waiting callers in order.
    pub fn waiting(&self) -> impl Iterator<Item = (Rank, &Waiting)> {
        self.waiting.iter().map(|(p, w)| (*p, w.as_ref()))
    }

    /// How many callers wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The conversations of the queue's callers, by the offers that led to them.
    pub fn talks(&mut self) -> &mut BTreeSet<OfferId> {
        &mut self.talks
    }

    /// How many more callers may be rung for, so that no more talk at once than may (Q38); `None` means any number.
    pub fn room(&self) -> Option<usize> {
        let most = self.settings.max_conversations?;
        Some((most as usize).saturating_sub(self.talks.len() + self.rung.len()))
    }

    /// How many of the queue's callers talk.
    pub fn talking(&self) -> usize {
        self.talks.len()
    }

    /// How many callers wait for whom no phone rings.
    pub fn unserved(&self) -> usize {
        self.unserved.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// An agent is logged in from now on.
    pub fn login(&mut self, agent: AgentId) {
        self.logged_in.insert(agent);
    }

    /// An agent is logged in no longer. When that was the last one, every wait ends. Returns the callers to wake.
    pub fn logout(&mut self, agent: &AgentId) -> Vec<CallId> {
        self.logged_in.remove(agent);
        if self.logged_in.is_empty() { self.end_all(TimeoutCause::LastAgentLoggedOut) } else { Vec::new() }
    }

    /// Ends every wait. Returns the callers to wake.
    pub fn end_all(&mut self, cause: TimeoutCause) -> Vec<CallId> {
        for w in self.waiting.values_mut() {
            w.orders.end.get_or_insert(cause);
            w.closing = true;
        }
        self.unserved.clear();
        self.waiting.values().map(|w| w.call.clone()).collect()
    }

    /// Ends one caller's wait.
    pub fn end_one(&mut self, entry: EntryId, cause: TimeoutCause) {
        if let Some((rank, w)) = self.entry(entry) {
            w.orders.end.get_or_insert(cause);
            w.closing = true;
            self.unserved.remove(&rank);
        }
    }

    /// The call that attends to the entry at this rank.
    pub fn call_at(&self, rank: Rank) -> Option<CallId> {
        self.waiting.get(&rank).map(|w| w.call.clone())
    }

    /// The entry that a call attends to, while it waits here.
    pub fn entry_of(&self, call: &CallId) -> Option<EntryId> {
        self.attended.get(call).copied()
    }

    /// A caller enters, having waited since `since`, and `call` attends to the entry. In `rank`, the head start is the
    /// caller's own; the returned rank is the one in this line. `seed` determines the caller's random order of agents;
    /// `own` is the agent from whose phone the call comes.
    pub fn enter(
        &mut self,
        call: CallId,
        rank: Rank,
        since: Since,
        seed: u64,
        own: Option<AgentId>,
    ) -> (EntryId, Rank) {
        let head_start = rank.head_start;
        let rank = self.free_rank(rank.with_head_start(self.settings.head_start_with(head_start)));
        let entry = EntryId(self.entries);
        self.entries += 1;
        self.ranks.insert(entry, rank);
        self.attended.insert(call.clone(), entry);
        self.unserved.insert(rank);
        let w = Waiting {
            call,
            since,
            head_start,
            offers: Vec::new(),
            tried: HashMap::new(),
            round: 0,
            seed,
            own,
            closing: false,
            orders: Orders::default(),
        };
        self.waiting.insert(rank, Box::new(w));
        (entry, rank)
    }

    /// A caller leaves, for any reason. Returns `None` when the caller does not wait here.
    pub fn leave(&mut self, entry: EntryId) -> Option<Left> {
        let rank = self.ranks.remove(&entry)?;
        self.unserved.remove(&rank);
        self.rung.remove(&rank);
        self.listening.remove(&rank);
        let w = self.waiting.remove(&rank)?;
        self.attended.remove(&w.call);
        let behind: Vec<Rank> = self.listening.range(rank..).copied().collect();
        let improved = behind
            .iter()
            .filter_map(|p| {
                self.listening.remove(p);
                self.waiting.get(p).map(|w| w.call.clone())
            })
            .collect();
        let rank = rank.with_head_start(w.head_start);
        Some(Left { rank, since: w.since, never_rang: w.orders.ring, improved })
    }

    /// Stops offers for this caller, whose wait is ending. Returns the offers whose phones had not begun to ring;
    /// release them at once.
    pub fn close(&mut self, entry: EntryId) -> Vec<(OfferId, AgentId)> {
        let Some((rank, w)) = self.entry(entry) else { return Vec::new() };
        w.closing = true;
        let never_rang = std::mem::take(&mut w.orders.ring);
        w.offers.retain(|o| !never_rang.contains(o));
        if w.offers.is_empty() {
            self.rung.remove(&rank);
        }
        self.unserved.remove(&rank);
        never_rang
    }

    /// The agent to whom a caller of this queue was offered last.
    pub fn last_offered(&self) -> Option<&AgentId> {
        self.last_offered.as_ref()
    }

    /// Restores the agent to whom the last daemon offered a caller last.
    pub fn restore_last_offered(&mut self, agent: AgentId) {
        self.last_offered = Some(agent);
    }

    /// Confirms a claimed offer. Returns false when the caller can no longer be served; release the claim then.
    pub fn confirm(&mut self, entry: EntryId, offer: OfferId, agent: AgentId) -> bool {
        match self.entry(entry) {
            Some((rank, w)) if !w.closing => {
                w.offers.push((offer, agent.clone()));
                w.orders.ring.push((offer, agent.clone()));
                self.last_offered = Some(agent);
                self.unserved.remove(&rank);
                self.rung.insert(rank);
                true
            }
            _ => false,
        }
    }

    /// An offer failed. The agent counts as tried for this caller.
    pub fn missed(&mut self, entry: EntryId, offer: OfferId, now: Mono) {
        let Some((rank, w)) = self.entry(entry) else { return };
        let Some(agent) = remove_offer(&mut w.offers, offer) else {
            return;
        };
        w.tried.insert(agent, Tried { at: now, round: w.round });
        self.unserve(rank);
    }

    /// An offer was called off without being missed.
    pub fn cancelled(&mut self, entry: EntryId, offer: OfferId) {
        let Some((rank, w)) = self.entry(entry) else { return };
        if remove_offer(&mut w.offers, offer).is_some() {
            self.unserve(rank);
        }
    }

    /// Orders an offer to be called off.
    pub fn call_off(&mut self, entry: EntryId, offer: OfferId, cause: CancelCause, now: Mono) -> CalledOff {
        let Some((rank, w)) = self.entry(entry) else {
            return CalledOff::Stale;
        };
        let before = w.orders.ring.len();
        w.orders.ring.retain(|(o, _)| *o != offer);
        if w.orders.ring.len() < before {
            let agent = remove_offer(&mut w.offers, offer).filter(|_| cause.passes_over());
            w.tried.extend(agent.map(|agent| (agent, Tried { at: now, round: w.round })));
            self.unserve(rank);
            return CalledOff::NeverRang;
        }
        if w.offers.iter().any(|(o, _)| *o == offer) {
            w.orders.call_off.push((offer, cause));
            return CalledOff::Ordered;
        }
        CalledOff::Stale
    }

    /// Takes the call's orders. With `listen`, the caller is woken at the next better position.
    pub fn take_orders(&mut self, entry: EntryId, listen: bool) -> Option<Orders> {
        let (rank, w) = self.entry(entry)?;
        let orders = std::mem::take(&mut w.orders);
        if listen {
            self.listening.insert(rank);
        }
        Some(orders)
    }

    /// The rank with which the caller of an entry comes back, or another takes over the place.
    pub fn rank_to_keep(&self, entry: EntryId) -> Option<Rank> {
        let rank = self.ranks.get(&entry)?;
        Some(rank.with_head_start(self.waiting.get(rank)?.head_start))
    }

    /// The caller's position, from 1 up to `most`; any position beyond counts as `most`.
    pub fn position(&self, entry: EntryId, most: u32) -> Option<u32> {
        let rank = self.ranks.get(&entry)?;
        let ahead = self.waiting.range(..rank).take(most as usize).count();
        Some(u32::try_from(ahead).unwrap_or(most).saturating_add(1).min(most))
    }

    /// The next caller behind `after` for whom an agent may be chosen. With the strategy `simultaneous`, that includes
    /// callers for whom agents already ring.
    pub fn next_to_serve(&self, after: Option<Rank>) -> Option<Rank> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let has_room = self.room() != Some(0);
        match self.settings.strategy {
            Strategy::Simultaneous => {
                let may = |w: &Waiting| !w.closing && (has_room || !w.offers.is_empty());
                self.waiting.range((from, Bound::Unbounded)).find(|(_, w)| may(w)).map(|(p, _)| *p)
            }
            _ if !has_room => None,
            _ => self.unserved.range((from, Bound::Unbounded)).next().copied(),
        }
    }

    pub(super) fn peek(&self, rank: Rank) -> Option<&Waiting> {
        self.waiting.get(&rank).map(Box::as_ref)
    }

    pub(super) fn at(&mut self, rank: Rank) -> Option<&mut Waiting> {
        self.waiting.get_mut(&rank).map(Box::as_mut)
    }

    fn entry(&mut self, entry: EntryId) -> Option<(Rank, &mut Waiting)> {
        let rank = *self.ranks.get(&entry)?;
        self.waiting.get_mut(&rank).map(|w| (rank, w.as_mut()))
    }

    fn unserve(&mut self, rank: Rank) {
        let Some(w) = self.waiting.get(&rank).filter(|w| w.offers.is_empty()) else { return };
        self.rung.remove(&rank);
        if !w.closing {
            self.unserved.insert(rank);
        }
    }
}

fn remove_offer(offers: &mut Vec<(OfferId, AgentId)>, offer: OfferId) -> Option<AgentId> {
    let i = offers.iter().position(|(o, _)| *o == offer)?;
    Some(offers.remove(i).1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests;
