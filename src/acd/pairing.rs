//! Chooses the next free agent for a caller, by a pure, total order.
//!
//! A [`Bench`] holds a queue's free agents in the order of its strategy; [`choose`] picks from it for one caller. No
//! caller may be overtaken in a queue: when the longest waiting caller without an offer cannot get the free agents only
//! because they have just missed that caller, they are held for that caller and not offered to the callers behind. The
//! agent from whose phone a call comes is no candidate for that call, and so is not held for it.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::ids::AgentId;
use super::queue::{PAUSE_AFTER_MISS, Queue, Tried};
use super::rank::Rank;
use super::settings::{QueueSettings, Strategy};
use super::shift::Shift;
use super::time::{Mono, Since};

/// A free agent's seat; the smallest is chosen first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seat {
    /// For `fewest-calls` and `least-talk-time`, the work of the present shift.
    load: u64,
    /// For these, `longest-idle` and `simultaneous`, the end of the last conversation; an agent without one comes first.
    idle_since: Option<Since>,
    /// The position in the queue's list of participants.
    listed: u32,
    agent: AgentId,
}

/// The free agents of one queue, in the order of its strategy.
#[derive(Clone, Debug)]
pub struct Bench {
    settings: Arc<QueueSettings>,
    listed: HashMap<AgentId, u32>,
    seats: BTreeSet<Seat>,
    /// Each agent's seat, and the agent's index in `lots`.
    seated: HashMap<AgentId, (Seat, usize)>,
    /// The same agents in no order, for `random`: drawing from a list costs the same at any length.
    lots: Vec<AgentId>,
}

/// How many draws are made before all agents are examined. A draw fails only on an agent who may not be rung for this
/// caller.
const DRAWS: u32 = 32;

impl Bench {
    /// Creates an empty bench for a queue with these settings.
    pub fn new(settings: Arc<QueueSettings>) -> Self {
        let listed = settings.participants.iter().cloned().zip(0..).collect();
        Self { settings, listed, seats: BTreeSet::new(), seated: HashMap::new(), lots: Vec::new() }
    }

    /// The settings the bench was made for.
    pub fn settings(&self) -> &Arc<QueueSettings> {
        &self.settings
    }

    /// Seats a free agent, with the end of the last conversation and the work of the present shift. An agent who is not a
    /// participant is not seated.
    pub fn seat(&mut self, agent: &AgentId, last_conversation_end: Option<Since>, shift: Shift) {
        self.unseat(agent);
        let Some(&listed) = self.listed.get(agent) else { return };
        let by_idleness = match self.settings.strategy {
            Strategy::LongestIdle | Strategy::Simultaneous | Strategy::FewestCalls | Strategy::LeastTalkTime => true,
            Strategy::AsListed | Strategy::RoundRobin | Strategy::Random => false,
        };
        let idle_since = last_conversation_end.filter(|_| by_idleness);
        let load = shift.load(self.settings.strategy);
        let seat = Seat { load, idle_since, listed, agent: agent.clone() };
        self.seats.insert(seat.clone());
        self.seated.insert(agent.clone(), (seat, self.lots.len()));
        self.lots.push(agent.clone());
    }

    /// Takes an agent from the bench.
    pub fn unseat(&mut self, agent: &AgentId) {
        let Some((seat, lot)) = self.seated.remove(agent) else { return };
        self.seats.remove(&seat);
        self.lots.swap_remove(lot);
        let moved = self.lots.get(lot).and_then(|moved| self.seated.get_mut(moved));
        moved.into_iter().for_each(|(_, place)| *place = lot);
    }

    /// Draws one agent among those who may be rung; `seed` determines the draws.
    fn draw(&self, seed: u64, may: impl Fn(&&AgentId) -> bool) -> Option<&AgentId> {
        let lot = |n: u32| self.lots.get((shuffle(seed, n) % self.lots.len().max(1) as u64) as usize);
        let drawn = (0..DRAWS).filter_map(lot).find(&may);
        drawn.or_else(|| {
            let left: Vec<&AgentId> = self.lots.iter().filter(&may).collect();
            left.get((shuffle(seed, DRAWS) % left.len().max(1) as u64) as usize).copied()
        })
    }

    /// Whether the agent is free.
    pub fn seats(&self, agent: &AgentId) -> bool {
        self.seated.contains_key(agent)
    }

    /// Whether nobody is free.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The agents in list order, beginning behind `last`, around. Begins with the first when the list no longer has
    /// `last`.
    fn around(&self, last: Option<&AgentId>) -> impl Iterator<Item = &AgentId> {
        let seat = |agent: &AgentId| {
            Some(Seat { load: 0, idle_since: None, listed: *self.listed.get(agent)?, agent: agent.clone() })
        };
        let (behind, before) = match last.and_then(seat) {
            Some(last) => {
                let behind = self.seats.range((Bound::Excluded(&last), Bound::Unbounded));
                (behind, Some(self.seats.range(..=&last)))
            }
            None => (self.seats.range::<Seat, _>(..), None),
        };
        behind.chain(before.into_iter().flatten()).map(|s| &s.agent)
    }

    /// The agents, in the order of the strategy.
    pub fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.seats.iter().map(|s| &s.agent)
    }
}

/// The instructions for one caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Ring these agents, in this order.
    Ring(Vec<AgentId>),
    /// Hold the free agents for this caller; callers behind must not get them before.
    Hold {
        /// When the hold ends.
        until: Mono,
        /// The one agent among them who is not held, because the call comes from that agent's own phone.
        spare: Option<AgentId>,
    },
    /// Other agents ring for this caller, and one more may be rung at this time; look at the next caller.
    Later(Mono),
    /// Nothing can be done for this caller; look at the next caller.
    Pass,
}

/// The free agents and the conversations that may yet begin (Q38), as far as they are held for callers ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The one free agent who is not held.
    pub spare: AgentId,
    /// For how many callers.
    pub callers: usize,
}

/// Chooses for the caller of this rank, from what is not `held` for callers ahead.
pub fn choose(queue: &mut Queue, rank: Rank, bench: &Bench, held: Option<&Held>, now: Mono) -> Choice {
    let (choice, round) = look(queue, rank, bench, held, now);
    if let (Choice::Ring(_), Some(w)) = (&choice, queue.at(rank)) {
        w.round = round;
    }
    choice
}

/// As [`choose`], without the choice taking effect. The number is the round of a choice that rings.
pub fn look(queue: &Queue, rank: Rank, bench: &Bench, held: Option<&Held>, now: Mono) -> (Choice, u32) {
    let spare = held.map(|held| &held.spare);
    let no_room = held.zip(queue.room()).is_some_and(|(held, room)| room <= held.callers);
    let simultaneous = bench.settings.strategy == Strategy::Simultaneous;
    let random = bench.settings.strategy == Strategy::Random;
    let last_offered = queue.last_offered().filter(|_| bench.settings.strategy == Strategy::RoundRobin);
    let pass = (Choice::Pass, 0);
    let Some(w) = queue.peek(rank) else { return pass };
    let at_most = if simultaneous { bench.settings.ring_at_most } else { 1 };
    let room = at_most.saturating_sub(w.offers.len());
    if bench.is_empty() || room == 0 || (no_room && w.offers.is_empty()) {
        return pass;
    }
    let own = w.own.as_ref();
    let is_candidate = |a: &AgentId| own != Some(a) && spare.is_none_or(|spare| spare == a);
    let mut candidates = bench.agents().filter(|a| is_candidate(a)).peekable();
    if candidates.peek().is_none() {
        return pass;
    }
    let over_again = candidates.all(|a| w.tried.get(a).is_some_and(|t| t.round >= w.round));
    if over_again && !w.offers.is_empty() {
        return pass;
    }
    // The new round starts with the next offer, not before: until then an agent who was never tried may become free.
    let round = w.round + u32::from(over_again);
    let due = |t: &Tried| t.at.plus(PAUSE_AFTER_MISS);
    let may = |a: &&AgentId| is_candidate(a) && w.tried.get(*a).is_none_or(|t| t.round < round && due(t) <= now);
    let chosen: Vec<AgentId> = if simultaneous {
        bench.agents().filter(may).take(room).cloned().collect()
    } else if random {
        bench.draw(shuffle(w.seed, round), may).cloned().into_iter().collect()
    } else {
        bench.around(last_offered).find(may).cloned().into_iter().collect()
    };
    if !chosen.is_empty() {
        return (Choice::Ring(chosen), round);
    }
    let paused = bench.agents().filter(|a| is_candidate(a)).filter_map(|a| w.tried.get(a));
    let choice = match paused.filter(|t| t.round < round).map(due).min() {
        Some(until) if w.offers.is_empty() => {
            let spare = own.filter(|own| spare.is_none_or(|spare| spare == *own) && bench.seats(own)).cloned();
            Choice::Hold { until, spare }
        }
        Some(at) => Choice::Later(at),
        None => Choice::Pass,
    };
    (choice, round)
}

/// The `n`th number of a caller's own random sequence (SplitMix64).
fn shuffle(seed: u64, n: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::super::ids::{CallId, EntryId, OfferId};
    use super::super::queue::tests::settings;
    use super::super::time::{Now, Wall};
    use super::*;

    fn id(n: &str) -> AgentId {
        AgentId::new(n).unwrap()
    }
    fn ids(ns: &[&str]) -> Vec<AgentId> {
        ns.iter().map(|n| id(n)).collect()
    }
    fn at(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }
    fn hold(ms: u64) -> Choice {
        Choice::Hold { until: at(ms), spare: None }
    }
    struct Room {
        queue: Queue,
        bench: Bench,
        entry: EntryId,
        rank: Rank,
        offers: u128,
    }
    impl Room {
        fn new(strategy: Strategy, agents: &[&str]) -> Self {
            let s = settings(strategy, agents);
            let mut queue = Queue::new(s.clone());
            let (entry, rank) =
                queue.enter(CallId::new("x").unwrap(), Rank::new(Wall(0), 0), Since::default(), 7, None);
            let mut bench = Bench::new(s);
            for a in agents {
                bench.seat(&id(a), None, Shift::default());
            }
            Self { queue, bench, entry, rank, offers: 0 }
        }
        fn choose(&mut self, ms: u64) -> Choice {
            choose(&mut self.queue, self.rank, &self.bench, None, at(ms))
        }
        fn own(&mut self, agent: &str) {
            self.queue.at(self.rank).unwrap().own = Some(id(agent));
        }
        fn ring(&mut self, agent: &str) -> OfferId {
            self.offers += 1;
            let offer = OfferId(Uuid::from_u128(self.offers));
            assert!(self.queue.confirm(self.entry, offer, id(agent)));
            self.bench.unseat(&id(agent));
            offer
        }
        fn miss(&mut self, agent: &str, ms: u64) {
            let offer = self.ring(agent);
            self.queue.missed(self.entry, offer, at(ms));
            self.bench.seat(&id(agent), None, Shift::default());
        }
    }

    /// Q6 `as-listed`: in list order; an agent who cannot take the call now is skipped at once.
    #[test]
    fn as_listed_follows_the_list() {
        let mut r = Room::new(Strategy::AsListed, &["3", "1", "2"]);
        assert_eq!(r.choose(0), Choice::Ring(ids(&["3"])));
        r.bench.unseat(&id("3"));
        assert_eq!(r.choose(0), Choice::Ring(ids(&["1"])));
    }

    /// Q6 `simultaneous`: every candidate rings; an agent who becomes free meanwhile joins.
    #[test]
    fn simultaneous_rings_everybody_and_agents_who_become_free() {
        let mut r = Room::new(Strategy::Simultaneous, &["1", "2", "3"]);
        r.bench.unseat(&id("2"));
        assert_eq!(r.choose(0), Choice::Ring(ids(&["1", "3"])));
        r.ring("1");
        r.ring("3");
        assert_eq!(r.choose(0), Choice::Pass);
        r.bench.seat(&id("2"), None, Shift::default());
        assert_eq!(r.choose(0), Choice::Ring(ids(&["2"])));
    }

    /// Q37: the longest idle ring, no more at a time than the limit; an agent who misses makes room for the next.
    #[test]
    fn q37_simultaneous_rings_the_longest_idle_up_to_a_limit() {
        let mut r = Room::new(Strategy::Simultaneous, &["1", "2", "3", "4"]);
        let settings = QueueSettings { ring_at_most: 2, ..(**r.bench.settings()).clone() };
        r.bench = Bench::new(Arc::new(settings));
        for (agent, idle) in [("1", 10), ("2", 40), ("3", 20), ("4", 30)] {
            r.bench.seat(&id(agent), Some(Now::default().ago(Duration::from_secs(idle))), Shift::default());
        }
        assert_eq!(r.choose(0), Choice::Ring(ids(&["2", "4"])));
        let (two, _) = (r.ring("2"), r.ring("4"));
        assert_eq!(r.choose(0), Choice::Pass);
        r.queue.missed(r.entry, two, at(1_000));
        r.bench.seat(&id("2"), Some(Now::default().ago(Duration::from_secs(40))), Shift::default());
        assert_eq!(r.choose(60_000), Choice::Ring(ids(&["3"])), "others come first");
        r.ring("3");
        assert_eq!(r.choose(60_000), Choice::Pass);
    }

    /// Q38: the caller for whom agents are held keeps one of the conversations that may yet begin; a caller for whom
    /// phones ring has one already.
    #[test]
    fn q38_the_last_conversation_is_held_for_the_caller_ahead() {
        let mut r = Room::new(Strategy::Simultaneous, &["1", "2"]);
        let settings = |most| QueueSettings { max_conversations: Some(most), ..(**r.bench.settings()).clone() };
        let (one, two) = (Arc::new(settings(1)), Arc::new(settings(2)));
        let held = Held { spare: id("2"), callers: 1 };
        for (settings, choice) in [(&one, Choice::Pass), (&two, Choice::Ring(ids(&["2"])))] {
            r.queue.set_settings(settings.clone());
            assert_eq!(choose(&mut r.queue, r.rank, &r.bench, Some(&held), at(0)), choice);
        }
        r.ring("1");
        r.queue.set_settings(one);
        assert_eq!(choose(&mut r.queue, r.rank, &r.bench, Some(&held), at(0)), Choice::Ring(ids(&["2"])));
    }

    /// Q6, Q7: an agent who declined is not rung again while others still ring for this caller.
    #[test]
    fn simultaneous_starts_over_only_when_all_have_failed() {
        let mut r = Room::new(Strategy::Simultaneous, &["1", "2"]);
        let two = r.ring("2");
        r.miss("1", 0);
        assert_eq!(r.choose(60_000), Choice::Pass);
        r.queue.missed(r.entry, two, at(60_000));
        r.bench.seat(&id("2"), None, Shift::default());
        assert_eq!(r.choose(60_000), Choice::Ring(ids(&["1"])));
    }

    /// Q6 `longest-idle`: agents without a conversation come first, then the longest idle; the list breaks ties.
    #[test]
    fn longest_idle_follows_the_end_of_the_last_conversation() {
        let mut r = Room::new(Strategy::LongestIdle, &["1", "2", "3", "4"]);
        r.bench.seat(&id("1"), Some(Now::default().ago(Duration::from_secs(30))), Shift::default());
        r.bench.seat(&id("2"), Some(Now::default().ago(Duration::from_secs(40))), Shift::default());
        r.bench.seat(&id("3"), Some(Now::default().ago(Duration::from_secs(40))), Shift::default());
        assert_eq!(r.choose(0), Choice::Ring(ids(&["4"])));
        r.bench.unseat(&id("4"));
        assert_eq!(r.choose(0), Choice::Ring(ids(&["2"])));
        r.bench.unseat(&id("2"));
        assert_eq!(r.choose(0), Choice::Ring(ids(&["3"])));
    }

    /// Q34: the next one behind the agent last offered, in list order, around; a miss moves on like an answer, and an
    /// agent who is not free comes again in the next round.
    #[test]
    fn q34_round_robin_goes_around() {
        let mut r = Room::new(Strategy::RoundRobin, &["3", "1", "2"]);
        assert_eq!(r.choose(0), Choice::Ring(ids(&["3"])));
        r.miss("3", 0);
        assert_eq!(r.choose(60_000), Choice::Ring(ids(&["1"])));
        r.bench.unseat(&id("1"));
        assert_eq!(r.choose(60_000), Choice::Ring(ids(&["2"])));
        r.miss("2", 60_000);
        r.bench.seat(&id("1"), None, Shift::default());
        assert_eq!(r.choose(90_000), Choice::Ring(ids(&["1"])), "who was never tried comes first");
        r.miss("1", 90_000);
        assert_eq!(r.choose(120_000), Choice::Ring(ids(&["2"])));
        r.queue.restore_last_offered(id("9"));
        assert_eq!(r.choose(120_000), Choice::Ring(ids(&["3"])), "nobody is behind who is not in the list");
    }

    /// Q6 `random`: a fresh order for every caller, stable for the same caller.
    #[test]
    fn random_is_a_fresh_order_for_every_caller() {
        let agents: Vec<String> = (0..5).map(|n| n.to_string()).collect();
        let agents: Vec<&str> = agents.iter().map(String::as_str).collect();
        let mut counts = HashMap::new();
        for seed in 0..1000 {
            let mut r = Room::new(Strategy::Random, &agents);
            r.queue.at(r.rank).unwrap().seed = seed;
            let Choice::Ring(first) = r.choose(0) else { panic!("nobody was chosen") };
            assert_eq!(r.choose(0), Choice::Ring(first.clone()));
            *counts.entry(first[0].clone()).or_insert(0) += 1;
        }
        assert!(counts.len() == 5 && counts.values().all(|&n| n > 140 && n < 260), "{counts:?}");
    }

    /// Q7: untried agents come first, then the round starts over, never within 5 s of the failed offer.
    #[test]
    fn a_failed_offer_moves_on_and_starts_over_after_a_pause() {
        let mut r = Room::new(Strategy::AsListed, &["1", "2"]);
        r.miss("1", 0);
        assert_eq!(r.choose(0), Choice::Ring(ids(&["2"])));
        r.miss("2", 1_000);
        assert_eq!(r.choose(1_000), hold(5_000));
        assert_eq!(r.choose(4_999), hold(5_000));
        assert_eq!(r.choose(5_000), Choice::Ring(ids(&["1"])));
        r.miss("1", 5_500);
        assert_eq!(r.choose(5_500), hold(6_000));
        assert_eq!(r.choose(6_000), Choice::Ring(ids(&["2"])));
    }

    /// Q7: a busy colleague who was never tried does not keep the only free agent from being tried again.
    #[test]
    fn starting_over_looks_at_candidates_only() {
        let mut r = Room::new(Strategy::AsListed, &["1", "2"]);
        r.bench.unseat(&id("2"));
        r.miss("1", 0);
        assert_eq!(r.choose(5_000), Choice::Ring(ids(&["1"])));
        r.miss("1", 6_000);
        r.bench.seat(&id("2"), None, Shift::default());
        assert_eq!(r.choose(6_000), Choice::Ring(ids(&["2"])));
    }

    /// Q6: an agent whose pause ends later joins the others then.
    #[test]
    fn simultaneous_starts_over_one_after_the_other() {
        let mut r = Room::new(Strategy::Simultaneous, &["1", "2"]);
        let (one, two) = (r.ring("1"), r.ring("2"));
        for (agent, offer, ms) in [("1", one, 0), ("2", two, 1_000)] {
            r.queue.missed(r.entry, offer, at(ms));
            r.bench.seat(&id(agent), None, Shift::default());
        }
        assert_eq!(r.choose(5_000), Choice::Ring(ids(&["1"])));
        r.ring("1");
        assert_eq!(r.choose(5_000), Choice::Later(at(6_000)));
        assert_eq!(r.choose(6_000), Choice::Ring(ids(&["2"])));
    }

    /// Q7: an untried agent comes first, even after several looks while all free agents were paused.
    #[test]
    fn looking_changes_nothing() {
        let mut r = Room::new(Strategy::AsListed, &["1", "2"]);
        r.bench.unseat(&id("2"));
        r.miss("1", 0);
        assert_eq!(r.choose(0), hold(5_000));
        r.bench.seat(&id("2"), None, Shift::default());
        assert_eq!(r.choose(6_000), Choice::Ring(ids(&["2"])));
    }

    /// Q6 `random`: a tried agent is drawn no more, and the others are equally likely, even when most draws fail.
    #[test]
    fn random_draws_from_the_untried_agents() {
        let agents: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let agents: Vec<&str> = agents.iter().map(String::as_str).collect();
        let mut counts: HashMap<AgentId, u32> = HashMap::new();
        for seed in 0..400 {
            let mut r = Room::new(Strategy::Random, &agents);
            agents.iter().skip(2).for_each(|a| r.miss(a, 0));
            r.queue.at(r.rank).unwrap().seed = seed;
            let Choice::Ring(first) = r.choose(0) else { panic!("nobody was chosen") };
            *counts.entry(first[0].clone()).or_insert(0) += 1;
        }
        assert!(counts.keys().all(|a| ["0", "1"].contains(&a.as_str())), "{counts:?}");
        assert!(counts.values().all(|n| *n > 150), "{counts:?}");
    }

    /// An agent who leaves the bench is drawn no more; the others still are.
    #[test]
    fn an_agent_who_leaves_is_drawn_no_more() {
        let mut r = Room::new(Strategy::Random, &["1", "2", "3"]);
        for (gone, left) in [("2", vec!["1", "3"]), ("1", vec!["3"])] {
            r.bench.unseat(&id(gone));
            for seed in 0..50 {
                r.queue.at(r.rank).unwrap().seed = seed;
                let Choice::Ring(first) = r.choose(0) else { panic!("nobody was chosen") };
                assert!(left.contains(&first[0].as_str()), "{first:?}");
            }
        }
    }

    /// Q5: an agent who calls the queue is not rung for that call, with any strategy.
    #[test]
    fn an_agent_is_no_candidate_for_the_own_call() {
        for strategy in Strategy::ALL {
            let mut r = Room::new(strategy, &["1", "2"]);
            r.own("1");
            assert_eq!(r.choose(0), Choice::Ring(ids(&["2"])), "{strategy}");
            r.bench.unseat(&id("2"));
            assert_eq!(r.choose(0), Choice::Pass, "{strategy}");
        }
    }

    /// Q5, Q7: the round starts over when all other agents were tried; meanwhile the calling agent is not held for that
    /// call.
    #[test]
    fn an_agent_is_not_held_for_the_own_call() {
        let mut r = Room::new(Strategy::AsListed, &["1", "2"]);
        r.own("1");
        r.miss("2", 0);
        assert_eq!(r.choose(0), Choice::Hold { until: at(5_000), spare: Some(id("1")) });
        assert_eq!(r.choose(5_000), Choice::Ring(ids(&["2"])));
        let call = CallId::new("behind").unwrap();
        let (_, behind) = r.queue.enter(call, Rank::new(Wall(1), 0), Since::default(), 7, None);
        let mut choose = |spare: &str| {
            let held = Held { spare: id(spare), callers: 1 };
            choose(&mut r.queue, behind, &r.bench, Some(&held), at(0))
        };
        assert_eq!(choose("1"), Choice::Ring(ids(&["1"])));
        assert_eq!(choose("3"), Choice::Pass);
    }

    #[test]
    fn an_agent_outside_the_list_is_not_seated() {
        let mut r = Room::new(Strategy::AsListed, &["1"]);
        r.bench.unseat(&id("1"));
        r.bench.seat(&id("9"), None, Shift::default());
        assert!(r.bench.is_empty());
        assert_eq!(r.choose(0), Choice::Pass);
    }
}
