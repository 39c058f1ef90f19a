//! What the switch was told to do, whether it was right, and how long it took.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::samples::Samples;

/// Callers who came at the same moment, seen from the controller, may be served in any order.
const SAME_MOMENT: Duration = Duration::from_secs(1);
/// How many mistakes are told in words.
const TOLD: usize = 10;

/// How many calls there were of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls whose controller took them.
    pub entered: u64,
    /// Orders to ring an agent.
    pub offered: u64,
    /// Calls that were connected.
    pub answered: u64,
    /// Conversations that ended.
    pub ended: u64,
    /// Callers who hung up while they waited.
    pub abandoned: u64,
    /// Calls whose controller was lost, or never came.
    pub lost: u64,
    /// Orders that should not have been given.
    pub wrong: u64,
}

#[derive(Debug, Default)]
struct Agent {
    /// By index.
    queues: BTreeSet<usize>,
    /// The call that rings or talks.
    call: Option<u64>,
    /// When the last call was over, if somebody was waiting for the agent then.
    wanted_since: Option<Instant>,
}

#[derive(Debug)]
struct Caller {
    queue: usize,
    came: Instant,
    told: Instant,
    offers: u32,
}

/// The book.
#[derive(Debug)]
pub struct Book {
    agents: HashMap<String, Agent>,
    callers: HashMap<u64, Caller>,
    /// The callers of each queue without an offer, by when they came.
    waiting: Vec<BTreeMap<(Instant, u64), ()>>,
    /// The channels there are, and the caller's queue or the agent.
    pub(super) channels: HashMap<super::Id, Channel>,
    /// Counts since the last [`Book::forget`].
    pub counts: Counts,
    /// From an agent's last call being over to the order for the next one.
    pub free_to_offer: Samples,
    /// From the caller's connection being opened to the order to ring.
    pub came_to_offer: Samples,
    /// From the answer to `connect`, which says who calls, to the order to ring.
    pub told_to_offer: Samples,
    /// The first mistakes in words.
    pub mistakes: Vec<String>,
}

/// A channel, as `show channels` lists it.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) agent: Option<String>,
    /// Connected to this one.
    pub(super) other: Option<super::Id>,
}

impl Book {
    pub(super) fn new(queues: &[(String, Vec<String>)]) -> Self {
        let mut agents: HashMap<String, Agent> = HashMap::new();
        for (index, (_, participants)) in queues.iter().enumerate() {
            for agent in participants {
                agents.entry(agent.clone()).or_default().queues.insert(index);
            }
        }
        Self {
            agents,
            callers: HashMap::new(),
            waiting: vec![BTreeMap::new(); queues.len()],
            channels: HashMap::new(),
            counts: Counts::default(),
            free_to_offer: Samples::default(),
            came_to_offer: Samples::default(),
            told_to_offer: Samples::default(),
            mistakes: Vec::new(),
        }
    }

    /// Begins to measure anew; who is here stays.
    pub fn forget(&mut self) {
        self.counts = Counts { lost: self.counts.lost, wrong: self.counts.wrong, ..Counts::default() };
        self.free_to_offer = Samples::default();
        self.came_to_offer = Samples::default();
        self.told_to_offer = Samples::default();
        self.agents.values_mut().for_each(|agent| agent.wanted_since = None);
    }

    /// How many callers have no offer.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }

    /// How many agents ring or talk.
    pub fn busy(&self) -> usize {
        self.agents.values().filter(|agent| agent.call.is_some()).count()
    }

    /// How many callers are here.
    pub fn here(&self) -> usize {
        self.callers.len()
    }

    /// Something went wrong.
    pub fn wrong(&mut self, what: String) {
        self.counts.wrong += 1;
        if self.mistakes.len() < TOLD {
            self.mistakes.push(what);
        }
    }

    pub(super) fn entered(&mut self, call: u64, queue: usize, came: Instant, told: Instant) {
        self.counts.entered += 1;
        self.callers.insert(call, Caller { queue, came, told, offers: 0 });
        if let Some(waiting) = self.waiting.get_mut(queue) {
            waiting.insert((told, call), ());
        }
    }

    /// The controller orders an agent to be rung. False when that must not be.
    pub(super) fn offered(&mut self, call: u64, agent_id: &str, now: Instant) -> bool {
        self.counts.offered += 1;
        let Some(caller) = self.callers.get_mut(&call) else {
            self.wrong(format!("call {call} is gone, and {agent_id} is rung for it"));
            return false;
        };
        let (queue, told) = (caller.queue, caller.told);
        if caller.offers == 0 {
            self.came_to_offer.add(now - caller.came);
            self.told_to_offer.add(now - told);
        }
        caller.offers += 1;
        let line = self.waiting.get_mut(queue);
        let (stood, first) =
            line.map_or((false, None), |line| (line.remove(&(told, call)).is_some(), line.keys().next().copied()));
        if !stood {
            self.wrong(format!("call {call} is rung for already, and {agent_id} is rung too"));
        }
        if let Some((since, other)) = first
            && since + SAME_MOMENT < told
        {
            self.wrong(format!("call {other} waits for {:?} longer than {call}, which is served", told - since));
        }
        let Some(agent) = self.agents.get_mut(agent_id) else {
            self.wrong(format!("there is no agent {agent_id}"));
            return false;
        };
        if let Some(since) = agent.wanted_since.take() {
            self.free_to_offer.add(now - since);
        }
        let (member, held) = (agent.queues.contains(&queue), agent.call.replace(call));
        if !member {
            self.wrong(format!("{agent_id} is no participant of the queue of call {call}"));
        }
        if let Some(other) = held {
            self.wrong(format!("{agent_id} is rung for call {call} while with call {other}"));
        }
        member && held.is_none()
    }

    pub(super) fn answered(&mut self) {
        self.counts.answered += 1;
    }

    /// The agent's channel is about to be reported gone.
    pub(super) fn free(&mut self, agent_id: &str) {
        let Some(agent) = self.agents.get_mut(agent_id) else { return };
        agent.call = None;
        let wanted = agent.queues.iter().any(|q| self.waiting.get(*q).is_some_and(|line| !line.is_empty()));
        agent.wanted_since = wanted.then(Instant::now);
    }

    /// The caller is gone; `connected` tells whether there was a conversation.
    pub(super) fn left(&mut self, call: u64, connected: bool) {
        if let Some(caller) = self.callers.remove(&call) {
            if let Some(line) = self.waiting.get_mut(caller.queue) {
                line.remove(&(caller.told, call));
            }
            if connected {
                self.counts.ended += 1;
            } else {
                self.counts.abandoned += 1;
            }
        }
    }
}
