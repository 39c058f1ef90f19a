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

/// The state that a leaving caller leaves behind in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The caller's rank.
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
    waiting: BTreeMap<Rank, Waiting>,
    ranks: HashMap<EntryId, Rank>,
    /// The entry that each call attends to.
    attended: HashMap<CallId, EntryId>,
    /// How many entries the line has had.
    entries: u64,
    unserved: BTreeSet<Rank>,
    listening: BTreeSet<Rank>,
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
            retired: false,
        }
    }

    /// The configuration no longer has the queue: it accepts no new callers.
    pub fn retire(&mut self) {
        self.retired = true;
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

    /// Applies changed settings and passes them to the waiting callers. Returns the callers to wake.
    pub fn set_settings(&mut self, settings: Arc<QueueSettings>) -> Vec<CallId> {
        self.settings = settings.clone();
        for w in self.waiting.values_mut() {
            w.orders.settings = Some(settings.clone());
        }
        self.waiting.values().map(|w| w.call.clone()).collect()
    }

    /// The agents who are logged in.
    pub fn logged_in(&self) -> &BTreeSet<AgentId> {
        &self.logged_in
    }

    /// The waiting callers in order.
    pub fn waiting(&self) -> impl Iterator<Item = (Rank, &Waiting)> {
        self.waiting.iter().map(|(p, w)| (*p, w))
    }

    /// How many callers wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
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

    /// A caller enters, having waited since `since`, and `call` attends to the entry. `seed` determines the caller's
    /// random order of agents; `own` is the agent from whose phone the call comes.
    pub fn enter(
        &mut self,
        call: CallId,
        mut rank: Rank,
        since: Since,
        seed: u64,
        own: Option<AgentId>,
    ) -> (EntryId, Rank) {
        while self.waiting.contains_key(&rank) {
            rank.seq += 1;
        }
        let entry = EntryId(self.entries);
        self.entries += 1;
        self.ranks.insert(entry, rank);
        self.attended.insert(call.clone(), entry);
        self.unserved.insert(rank);
        let w = Waiting {
            call,
            since,
            offers: Vec::new(),
            tried: HashMap::new(),
            round: 0,
            seed,
            own,
            closing: false,
            orders: Orders::default(),
        };
        self.waiting.insert(rank, w);
        (entry, rank)
    }

    /// A caller leaves, for any reason. Returns `None` when the caller does not wait here.
    pub fn leave(&mut self, entry: EntryId) -> Option<Left> {
        let rank = self.ranks.remove(&entry)?;
        self.unserved.remove(&rank);
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
        Some(Left { rank, since: w.since, never_rang: w.orders.ring, improved })
    }

    /// Stops offers for this caller, whose wait is ending. Returns the offers whose phones had not begun to ring;
    /// release them at once.
    pub fn close(&mut self, entry: EntryId) -> Vec<(OfferId, AgentId)> {
        let Some((rank, w)) = self.entry(entry) else { return Vec::new() };
        w.closing = true;
        let never_rang = std::mem::take(&mut w.orders.ring);
        w.offers.retain(|o| !never_rang.contains(o));
        self.unserved.remove(&rank);
        never_rang
    }

    /// Confirms a claimed offer. Returns false when the caller can no longer be served; release the claim then.
    pub fn confirm(&mut self, entry: EntryId, offer: OfferId, agent: AgentId) -> bool {
        match self.entry(entry) {
            Some((rank, w)) if !w.closing => {
                w.offers.push((offer, agent.clone()));
                w.orders.ring.push((offer, agent));
                self.unserved.remove(&rank);
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

    /// The rank of an entry.
    pub fn rank(&self, entry: EntryId) -> Option<Rank> {
        self.ranks.get(&entry).copied()
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
        match self.settings.strategy {
            Strategy::Simultaneous => {
                self.waiting.range((from, Bound::Unbounded)).find(|(_, w)| !w.closing).map(|(p, _)| *p)
            }
            _ => self.unserved.range((from, Bound::Unbounded)).next().copied(),
        }
    }

    pub(super) fn at(&mut self, rank: Rank) -> Option<&mut Waiting> {
        self.waiting.get_mut(&rank)
    }

    fn entry(&mut self, entry: EntryId) -> Option<(Rank, &mut Waiting)> {
        let rank = *self.ranks.get(&entry)?;
        self.waiting.get_mut(&rank).map(|w| (rank, w))
    }

    fn unserve(&mut self, rank: Rank) {
        if self.waiting.get(&rank).is_some_and(|w| w.offers.is_empty() && !w.closing) {
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
pub(super) mod tests {
    use uuid::Uuid;

    use super::super::ids::QueueNumber;
    use super::super::settings::Language;
    use super::super::time::Wall;
    use super::*;

    pub(in crate::acd) fn settings(strategy: Strategy, participants: &[&str]) -> Arc<QueueSettings> {
        let participants = participants.iter().map(|p| AgentId::new(p).unwrap()).collect();
        let number = QueueNumber::new("99900").unwrap();
        let usual = QueueSettings::new(number, "Service".into(), participants, Language("en".into()));
        Arc::new(QueueSettings { strategy, ..usual })
    }
    fn call(n: &str) -> CallId {
        CallId::new(n).unwrap()
    }
    fn agent(n: &str) -> AgentId {
        AgentId::new(n).unwrap()
    }
    fn rank(ms: i64) -> Rank {
        Rank::new(Wall(ms), 0)
    }
    /// The callers of [`three`], by the order in which they came.
    const B: EntryId = EntryId(0);
    const C: EntryId = EntryId(1);
    const A: EntryId = EntryId(2);
    fn offer(n: u128) -> OfferId {
        OfferId(Uuid::from_u128(n))
    }
    fn three() -> Queue {
        let mut q = Queue::new(settings(Strategy::AsListed, &["1001"]));
        q.enter(call("b"), rank(20), Since::default(), 0, None);
        q.enter(call("c"), rank(30), Since::default(), 0, None);
        q.enter(call("a"), rank(10), Since::default(), 0, None);
        q
    }

    /// Q4: callers stand in the order of their entry, also when they come back with an older entry.
    #[test]
    fn callers_stand_in_the_order_of_their_entry() {
        let q = three();
        let order: Vec<_> = q.waiting().map(|(_, w)| w.call().as_str().to_owned()).collect();
        assert_eq!(order, ["a", "b", "c"]);
        assert_eq!(q.position(A, 31), Some(1));
        assert_eq!(q.position(C, 31), Some(3));
        assert_eq!(q.position(C, 2), Some(2));
        assert_eq!(q.position(EntryId(9), 31), None);
    }

    #[test]
    fn two_callers_of_the_same_millisecond_get_two_ranks() {
        let mut q = three();
        let (_, got) = q.enter(call("d"), rank(20), Since::default(), 0, None);
        assert_eq!(got, Rank::new(Wall(20), 1));
        assert_eq!(q.len(), 4);
    }

    /// An entry is the line's own: it has its number also when the same call comes again, and is found by its call.
    #[test]
    fn an_entry_has_an_id_of_its_own() {
        let mut q = three();
        assert_eq!(q.entry_of(&call("a")), Some(A));
        q.leave(A);
        assert_eq!((q.entry_of(&call("a")), q.rank(A)), (None, None));
        let (again, at) = q.enter(call("a"), rank(10), Since::default(), 0, None);
        assert_eq!((q.entry_of(&call("a")), q.rank(again)), (Some(again), Some(at)));
        assert!(again != A && q.take_orders(A, false).is_none(), "no order reaches an entry that is gone");
    }

    /// A caller with a head start stands where an earlier entry would.
    #[test]
    fn a_head_start_puts_a_caller_ahead_of_earlier_ones() {
        let mut q = three();
        let ahead = Rank { head_start: Duration::from_millis(25), ..rank(40) };
        let (d, at) = q.enter(call("d"), ahead, Since::default(), 0, None);
        assert_eq!((at, q.position(d, 31), q.position(B, 31)), (ahead, Some(2), Some(3)));
        assert_eq!(q.next_to_serve(Some(rank(10))), Some(ahead));
    }

    /// Q8: an offer is not confirmed when its caller is no longer waiting.
    #[test]
    fn an_offer_is_confirmed_only_for_a_caller_who_waits() {
        let mut q = three();
        assert!(q.confirm(A, offer(1), agent("1001")));
        assert_eq!(q.next_to_serve(None), Some(rank(20)));
        assert!(q.close(B).is_empty());
        assert!(!q.confirm(B, offer(2), agent("1001")));
        assert!(!q.confirm(EntryId(9), offer(2), agent("1001")));
        assert_eq!(q.next_to_serve(None), Some(rank(30)));
        q.missed(A, offer(1), Mono::default());
        assert_eq!(q.next_to_serve(None), Some(rank(10)));
        assert_eq!(q.next_to_serve(Some(rank(10))), Some(rank(30)));
    }

    /// Q8: no agent is kept for a caller who is about to leave.
    #[test]
    fn closing_frees_agents_whose_phones_do_not_ring_yet() {
        let mut q = three();
        q.confirm(A, offer(1), agent("1001"));
        q.take_orders(A, false).unwrap();
        q.confirm(A, offer(2), agent("1002"));
        assert_eq!(q.close(A), [(offer(2), agent("1002"))]);
        assert!(q.take_orders(A, false).unwrap().ring.is_empty());
        assert!(q.leave(A).unwrap().never_rang.is_empty());
    }

    /// Q15: an offer whose phone has not begun to ring has no leg to end.
    #[test]
    fn calling_off_knows_whether_it_rang() {
        let mut q = three();
        q.confirm(A, offer(1), agent("1001"));
        assert_eq!(q.call_off(A, offer(1), CancelCause::LoggedOut, Mono::default()), CalledOff::NeverRang);
        assert_eq!(q.call_off(A, offer(1), CancelCause::LoggedOut, Mono::default()), CalledOff::Stale);
        q.confirm(A, offer(2), agent("1001"));
        assert_eq!(q.take_orders(A, false).unwrap().ring, [(offer(2), agent("1001"))]);
        assert_eq!(q.call_off(A, offer(2), CancelCause::LoggedOut, Mono::default()), CalledOff::Ordered);
        let orders = q.take_orders(A, false).unwrap();
        assert_eq!(orders.call_off, [(offer(2), CancelCause::LoggedOut)]);
        assert!(orders.ring.is_empty());
        q.cancelled(A, offer(2));
        assert_eq!(q.next_to_serve(None), Some(rank(10)));
        assert_eq!(q.at(rank(10)).unwrap().tried_at(&agent("1001")), None);
    }

    /// Q7: an offer that never rang and was called off on request counts as tried: others come first.
    #[test]
    fn calling_off_on_request_passes_the_agent_over() {
        let mut q = three();
        q.confirm(A, offer(1), agent("1001"));
        let now = Mono(std::time::Duration::from_secs(7));
        assert_eq!(q.call_off(A, offer(1), CancelCause::Requested, now), CalledOff::NeverRang);
        assert_eq!(q.at(rank(10)).unwrap().tried_at(&agent("1001")), Some(now));
    }

    /// Q11: only callers behind a leaving caller move up, and only those who listen are woken.
    #[test]
    fn a_leaving_caller_wakes_the_listening_callers_behind() {
        let mut q = three();
        q.take_orders(A, true);
        q.take_orders(C, true);
        let left = q.leave(B).unwrap();
        assert_eq!(left.rank, rank(20));
        assert_eq!(left.improved, [call("c")]);
        assert_eq!(q.leave(B), None);
        assert!(q.leave(A).unwrap().improved.is_empty());
    }

    /// Q13: the last logout ends every wait, and nothing is offered to those who leave.
    #[test]
    fn the_last_logout_ends_every_wait() {
        let mut q = three();
        q.login(agent("1001"));
        q.login(agent("1002"));
        assert!(q.logout(&agent("1002")).is_empty());
        assert_eq!(q.logout(&agent("1001")).len(), 3);
        assert_eq!(q.take_orders(A, false).unwrap().end, Some(TimeoutCause::LastAgentLoggedOut));
        assert_eq!(q.next_to_serve(None), None);
    }
}
