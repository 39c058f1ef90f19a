//! Pairs callers with free agents: rank, claim, confirm.
//!
//! Owns the benches of free agents, and makes every offer. It must not poll, wait, or talk to FreeSWITCH;
//! [`pairing`](crate::acd::pairing) decides which agent is next for which caller.
//!
//! The app calls [`Dispatcher::run`] when the floor's bell rings or the dispatcher's next deadline is due; in between,
//! the dispatcher does nothing. It keeps a bench of free agents for each queue and updates it from the floor's changes,
//! so that the cost of a decision does not grow with the number of waiting callers or busy agents.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::acd::ids::{AgentId, OfferId, QueueNumber};
use crate::acd::pace::{Pace, share};
use crate::acd::pairing::{Bench, Choice, Held, choose};
use crate::acd::rank::Rank;
use crate::acd::settings::Strategy;
use crate::acd::time::{Mono, Now};
use crate::floor::{Floor, OfferKey};

/// Creates the ID of a new offer.
pub type NewOffer = Box<dyn FnMut() -> OfferId + Send>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Agent(AgentId),
    Queue(QueueNumber),
}

/// The one place where callers and agents are paired.
pub struct Dispatcher {
    floor: Arc<Floor>,
    benches: HashMap<QueueNumber, Bench>,
    /// The queues on whose benches each agent sits.
    seated: HashMap<AgentId, Vec<QueueNumber>>,
    due: BTreeSet<(Mono, Due)>,
    /// Limits the offer rate of each queue with the strategy `simultaneous`.
    paces: HashMap<QueueNumber, Pace>,
    new_offer: NewOffer,
}

impl Dispatcher {
    /// Creates a dispatcher for this floor.
    pub fn new(floor: Arc<Floor>, new_offer: NewOffer) -> Self {
        let (benches, seated, paces) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { floor, benches, seated, due: BTreeSet::new(), paces, new_offer }
    }

    /// Makes every offer that is possible now. Returns the deadline for the next call.
    pub fn run(&mut self, now: Now) -> Option<Mono> {
        let mut queues = BTreeSet::new();
        while let Some((at, _)) = self.due.first()
            && *at <= now.mono
        {
            match self.due.pop_first() {
                Some((_, Due::Agent(agent))) => self.floor.tick_agent(&agent, now),
                Some((_, Due::Queue(queue))) => {
                    queues.insert(queue);
                }
                None => {}
            }
        }
        loop {
            let changed = self.floor.take_changed();
            if changed.agents.is_empty() && changed.queues.is_empty() && queues.is_empty() {
                return self.due.first().map(|(at, _)| *at);
            }
            queues.extend(changed.queues);
            for queue in &queues {
                self.refresh_bench(queue);
            }
            for agent in changed.agents {
                self.seat(&agent, now, &mut queues);
            }
            self.pair(std::mem::take(&mut queues), now);
        }
    }

    /// Rebuilds a queue's bench when its settings have changed.
    fn refresh_bench(&mut self, queue: &QueueNumber) {
        let Some(settings) = self.floor.participants(queue) else {
            self.benches.remove(queue);
            self.paces.remove(queue);
            return;
        };
        if self.benches.get(queue).is_some_and(|b| Arc::ptr_eq(b.settings(), &settings)) {
            return;
        }
        let Some(bench) = self.floor.bench(queue) else { return };
        for agent in bench.agents() {
            let seats = self.seated.entry(agent.clone()).or_default();
            if !seats.contains(queue) {
                seats.push(queue.clone());
            }
        }
        if settings.strategy == Strategy::Simultaneous {
            self.paces.entry(queue.clone()).or_default();
        } else {
            self.paces.remove(queue);
        }
        self.benches.insert(queue.clone(), bench);
    }

    /// Updates an agent's seats, and adds to `wanted` the queues for which the agent is now free.
    fn seat(&mut self, agent: &AgentId, now: Now, wanted: &mut BTreeSet<QueueNumber>) {
        self.unseat(agent);
        let known = self.floor.agent(agent, |a| {
            let free = a.free().is_ok();
            let logins: Vec<QueueNumber> = if free { a.logins().keys().cloned().collect() } else { Vec::new() };
            (logins, (a.last_conversation_end(), *a.shift()), a.deadline())
        });
        let Some((logins, (last, shift), deadline)) = known else { return };
        match deadline {
            // It passed while an offer held the agent. That changes the agent, who is seated in the next round.
            Some(at) if at <= now.mono => return self.floor.tick_agent(agent, now),
            Some(at) => _ = self.due.insert((at, Due::Agent(agent.clone()))),
            None => {}
        }
        for queue in &logins {
            self.refresh_bench(queue);
            if let Some(bench) = self.benches.get_mut(queue) {
                bench.seat(agent, last, shift);
            }
        }
        wanted.extend(logins.iter().cloned());
        if !logins.is_empty() {
            self.seated.insert(agent.clone(), logins);
        }
    }

    fn unseat(&mut self, agent: &AgentId) {
        for queue in self.seated.remove(agent).unwrap_or_default() {
            if let Some(bench) = self.benches.get_mut(&queue) {
                bench.unseat(agent);
            }
        }
    }

    /// Serves the callers of these queues, longest wait first across all of them.
    fn pair(&mut self, queues: BTreeSet<QueueNumber>, now: Now) {
        let mut heads: BTreeSet<(Rank, QueueNumber)> = BTreeSet::new();
        for queue in queues {
            if let Some(rank) = self.next(&queue, None) {
                heads.insert((rank, queue));
            }
        }
        let mut all_held: HashMap<QueueNumber, Held> = HashMap::new();
        while let Some((rank, queue)) = heads.pop_first() {
            let Some(bench) = self.benches.get(&queue) else { continue };
            let held = all_held.get(&queue);
            if held.is_some_and(|held| !bench.seats(&held.spare)) {
                continue;
            }
            let chosen = self.floor.with_queue(&queue, |q| (q.call_at(rank), choose(q, rank, bench, held, now.mono)));
            match chosen {
                Some((Some(call), Choice::Ring(agents))) => {
                    let (room, again) = self.room(&queue, now.mono);
                    if let Some(at) = again {
                        self.due.insert((at, Due::Queue(queue)));
                        continue;
                    }
                    for agent in agents.into_iter().take(room) {
                        let key =
                            OfferKey { offer: (self.new_offer)(), call: call.clone(), queue: queue.clone(), agent };
                        self.offer(&key, now);
                    }
                    // An agent who is paused after a miss may have to be rung for this caller as well, later.
                    heads.insert((rank, queue));
                    continue;
                }
                Some((_, Choice::Hold { until, spare })) => {
                    self.due.insert((until, Due::Queue(queue.clone())));
                    let Some(spare) = spare else { continue };
                    let callers = held.map_or(0, |held| held.callers) + 1;
                    all_held.insert(queue.clone(), Held { spare, callers });
                }
                Some((_, Choice::Later(at))) => {
                    self.due.insert((at, Due::Queue(queue.clone())));
                }
                _ => {}
            }
            if let Some(next) = self.next(&queue, Some(rank)) {
                heads.insert((next, queue));
            }
        }
    }

    /// How many agents may be rung for this queue now; if none, also when to look again.
    fn room(&mut self, queue: &QueueNumber, now: Mono) -> (usize, Option<Mono>) {
        let Some(pace) = self.paces.get_mut(queue) else { return (usize::MAX, None) };
        match pace.room(share(self.floor.sessions_per_second()), now) {
            0 => (0, pace.free_at()),
            room => (room, None),
        }
    }

    /// The next caller to serve; `None` when no agent is free.
    fn next(&self, queue: &QueueNumber, after: Option<Rank>) -> Option<Rank> {
        if self.benches.get(queue)?.is_empty() {
            return None;
        }
        self.floor.queue(queue, |q| q.next_to_serve(after)).flatten()
    }

    fn offer(&mut self, key: &OfferKey, now: Now) {
        self.unseat(&key.agent);
        // A failed claim or confirmation marks what changed on the floor, so the loop in `run` comes round again.
        if self.floor.offer(key, now) {
            self.paces.entry(key.queue.clone()).and_modify(|pace| pace.count(now.mono));
        }
    }
}
