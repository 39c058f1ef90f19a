//! Records the controller's commands, whether they were right, and how long they took.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use crate::samples::Samples;

/// Callers who arrive within this time may be served in any order, since each has a connection of its own in both
/// directions.
const SAME_MOMENT: Duration = Duration::from_millis(100);
/// Successive `originate`s may arrive in any order within this time, and so may a hang-up sent meanwhile, since each
/// uses a connection of its own.
const ON_THE_WAY: Duration = Duration::from_millis(50);
/// How many mistakes are described in words.
const TOLD: usize = 10;

/// Counts of calls and commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that the controller accepted.
    pub entered: u64,
    /// `originate`s.
    pub offered: u64,
    /// Calls that were connected.
    pub answered: u64,
    /// Conversations that ended.
    pub ended: u64,
    /// Callers who hung up while they waited.
    pub abandoned: u64,
    /// Calls that lost their connection to the controller, or never had one.
    pub lost: u64,
    /// Commands that the controller should not have sent.
    pub wrong: u64,
    /// Traffic on the calls' own connections.
    pub traffic: Traffic,
}

/// Commands and their bytes, and replies and events and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Commands from the controller.
    pub commands: u64,
    /// Their bytes.
    pub command_bytes: u64,
    /// Replies to them.
    pub replies: u64,
    /// Events and disconnect notices.
    pub events: u64,
    /// Bytes of replies and events.
    pub sent_bytes: u64,
}

impl Traffic {
    pub(super) fn add(&mut self, more: Self) {
        self.commands += more.commands;
        self.command_bytes += more.command_bytes;
        self.replies += more.replies;
        self.events += more.events;
        self.sent_bytes += more.sent_bytes;
    }
}

#[derive(Debug, Default)]
struct Agent {
    /// By index.
    queues: BTreeSet<usize>,
    /// The call that rings or talks.
    call: Option<u64>,
    /// When the last call ended, if a caller was waiting for the agent then.
    wanted_since: Option<Instant>,
}

#[derive(Debug)]
struct Caller {
    queue: usize,
    came: Instant,
    known: Instant,
    offers: u32,
}

/// The measured times.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// From the end of an agent's last call to the order for the next one.
    pub free_to_offer: Samples,
    /// From the caller's connection being opened to the order to ring.
    pub came_to_offer: Samples,
    /// From the answer to `connect`, which names the caller, to the order to ring.
    pub known_to_offer: Samples,
}

/// The book.
#[derive(Debug)]
pub struct Book {
    agents: HashMap<String, Agent>,
    callers: HashMap<u64, Caller>,
    /// The callers of each queue without an offer, by arrival.
    waiting: Vec<BTreeMap<(Instant, u64), ()>>,
    /// All channels.
    pub(super) channels: HashMap<super::Id, Channel>,
    /// Callers who seem to be overtaken: since when, and a description.
    overtaken: HashMap<u64, (Instant, String)>,
    /// Callers who hung up while they waited, and when.
    gone: HashMap<u64, Instant>,
    /// Counts since the last [`Book::forget`].
    pub counts: Counts,
    /// How long the daemon took.
    pub times: Times,
    /// How long the control took to answer the same bytes; see [`control`](crate::control).
    pub control: Times,
    /// The first mistakes in words.
    pub mistakes: Vec<String>,
}

/// A channel, as `show channels` lists it.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) agent: Option<String>,
    /// The channel it is connected to.
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
            overtaken: HashMap::new(),
            gone: HashMap::new(),
            counts: Counts::default(),
            times: Times::default(),
            control: Times::default(),
            mistakes: Vec::new(),
        }
    }

    /// Restarts the measurement; calls go on.
    pub fn forget(&mut self) {
        self.counts = Counts { lost: self.counts.lost, wrong: self.counts.wrong, ..Counts::default() };
        (self.times, self.control) = (Times::default(), Times::default());
        self.agents.values_mut().for_each(|agent| agent.wanted_since = None);
    }

    /// How many callers have no offer.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(BTreeMap::len).sum()
    }

    /// How many agents are ringing or talking.
    pub fn busy(&self) -> usize {
        self.agents.values().filter(|agent| agent.call.is_some()).count()
    }

    /// How many callers there are.
    pub fn here(&self) -> usize {
        self.callers.len()
    }

    /// Counts and describes a mistake.
    pub fn wrong(&mut self, what: String) {
        self.counts.wrong += 1;
        if self.mistakes.len() < TOLD {
            self.mistakes.push(what);
        }
    }

    pub(super) fn entered(&mut self, call: u64, queue: usize, came: Instant, known: Instant) {
        self.counts.entered += 1;
        self.callers.insert(call, Caller { queue, came, known, offers: 0 });
        if let Some(waiting) = self.waiting.get_mut(queue) {
            waiting.insert((came, call), ());
        }
    }

    /// The controller originates a call to an agent. Returns false when it must not.
    pub(super) fn offered(&mut self, call: u64, agent_id: &str, now: Instant) -> bool {
        self.counts.offered += 1;
        self.had_waited(call, now);
        let Some(caller) = self.callers.get_mut(&call) else {
            if self.gone.get(&call).is_some_and(|at| now <= *at + ON_THE_WAY) {
                // The hang-up was on its way when the controller sent the command.
                return false;
            }
            self.wrong(format!("call {call} is gone, and {agent_id} is rung for it"));
            return false;
        };
        let (queue, came, known) = (caller.queue, caller.came, caller.known);
        if caller.offers == 0 {
            self.times.came_to_offer.add(now - came);
            self.times.known_to_offer.add(now - known);
        }
        caller.offers += 1;
        let line = self.waiting.get_mut(queue);
        let (stood, first) =
            line.map_or((false, None), |line| (line.remove(&(came, call)).is_some(), line.keys().next().copied()));
        if !stood {
            self.wrong(format!("a phone already rings for call {call}, and {agent_id} is rung too"));
        }
        // The controller knows only the callers whose answer to `connect` has reached it.
        let known = |other| self.callers.get(other).is_some_and(|other| other.known + ON_THE_WAY < now);
        if let Some((since, other)) = first
            && since + SAME_MOMENT < came
            && known(&other)
        {
            let what = format!("call {other} waits for {:?} longer than {call}, which is served", came - since);
            self.overtaken.entry(other).or_insert((now, what));
        }
        let Some(agent) = self.agents.get_mut(agent_id) else {
            self.wrong(format!("there is no agent {agent_id}"));
            return false;
        };
        if let Some(since) = agent.wanted_since.take() {
            self.times.free_to_offer.add(now - since);
        }
        let (member, held) = (agent.queues.contains(&queue), agent.call.replace(call));
        if !member {
            self.wrong(format!("{agent_id} is not a participant of the queue of call {call}"));
        }
        if let Some(other) = held {
            self.wrong(format!("{agent_id} is rung for call {call} while with call {other}"));
        }
        member && held.is_none()
    }

    /// A caller who may have been overtaken is served or leaves.
    fn had_waited(&mut self, call: u64, now: Instant) {
        if let Some((at, what)) = self.overtaken.remove(&call)
            && now > at + ON_THE_WAY
        {
            self.wrong(what);
        }
    }

    pub(super) fn answered(&mut self) {
        self.counts.answered += 1;
    }

    /// The agent's channel is about to be reported gone. Returns true when a caller waits for the agent.
    pub(super) fn free(&mut self, agent_id: &str) -> bool {
        let Some(agent) = self.agents.get_mut(agent_id) else { return false };
        agent.call = None;
        let wanted = agent.queues.iter().any(|q| self.waiting.get(*q).is_some_and(|line| !line.is_empty()));
        agent.wanted_since = wanted.then(Instant::now);
        wanted
    }

    /// The caller has left, after a conversation if `connected`.
    pub(super) fn left(&mut self, call: u64, connected: bool) {
        self.had_waited(call, Instant::now());
        if let Some(caller) = self.callers.remove(&call) {
            if let Some(line) = self.waiting.get_mut(caller.queue) {
                line.remove(&(caller.came, call));
            }
            if connected {
                self.counts.ended += 1;
            } else {
                self.counts.abandoned += 1;
                self.gone.insert(call, Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> (Book, Instant) {
        let agents = ["1", "2", "3"].map(str::to_owned).to_vec();
        (Book::new(&[("a".to_owned(), agents.clone()), ("b".to_owned(), vec!["1".to_owned()])]), Instant::now())
    }

    /// The only mistake so far.
    fn mistake(book: &Book) -> &str {
        assert_eq!(book.counts.wrong, 1, "{:?}", book.mistakes);
        &book.mistakes[0]
    }

    #[test]
    fn calls_that_go_well_are_not_mistakes() {
        let (mut book, at) = book();
        book.entered(1, 0, at, at);
        book.entered(2, 0, at + SAME_MOMENT, at + SAME_MOMENT);
        assert!(book.offered(1, "1", at) && book.offered(2, "2", at));
        book.free("1");
        book.left(1, true);
        book.entered(3, 1, at + SAME_MOMENT * 3, at + SAME_MOMENT * 3);
        assert!(book.offered(3, "1", at));
        assert_eq!(book.counts.wrong, 0, "{:?}", book.mistakes);
    }

    #[test]
    fn two_agents_for_a_caller_are_a_mistake() {
        let (mut book, at) = book();
        book.entered(1, 0, at, at);
        book.offered(1, "1", at);
        book.offered(1, "2", at);
        assert!(mistake(&book).contains("a phone already rings for"));
    }

    #[test]
    fn ringing_an_agent_twice_is_a_mistake() {
        let (mut book, at) = book();
        book.entered(1, 0, at, at);
        book.entered(2, 0, at, at);
        book.offered(1, "1", at);
        assert!(!book.offered(2, "1", at));
        assert!(mistake(&book).contains("while with call 1"));
    }

    #[test]
    fn overtaking_a_caller_is_a_mistake() {
        let (mut book, at) = book();
        book.entered(1, 0, at, at);
        let late = at + SAME_MOMENT * 2;
        book.entered(2, 0, late, late);
        book.entered(3, 0, late, late);
        book.offered(2, "1", late);
        book.offered(3, "2", late);
        assert_eq!(book.counts.wrong, 0);
        book.offered(1, "3", late + ON_THE_WAY * 2);
        assert!(mistake(&book).contains("longer than 2"));
    }

    /// Both `originate`s were on their way.
    #[test]
    fn a_caller_who_is_served_at_once_was_not_overtaken() {
        let (mut book, at) = book();
        book.entered(1, 0, at, at);
        let late = at + SAME_MOMENT * 2;
        book.entered(2, 0, late, late);
        book.offered(2, "1", late);
        book.offered(1, "2", late + ON_THE_WAY);
        assert_eq!(book.counts.wrong, 0, "{:?}", book.mistakes);
    }

    /// Its connection was read late: the controller could not know of it.
    #[test]
    fn a_caller_who_is_not_known_yet_is_not_overtaken() {
        let (mut book, at) = book();
        let late = at + SAME_MOMENT * 2;
        book.entered(1, 0, at, late);
        book.entered(2, 0, late, late);
        book.offered(2, "1", late + ON_THE_WAY / 2);
        book.offered(1, "2", late + ON_THE_WAY * 3);
        assert_eq!(book.counts.wrong, 0, "{:?}", book.mistakes);
    }

    #[test]
    fn ringing_a_stranger_or_for_nobody_is_a_mistake() {
        let (mut book, at) = book();
        book.entered(1, 1, at, at);
        assert!(!book.offered(1, "2", at));
        assert!(mistake(&book).contains("not a participant"));
        assert!(!book.offered(7, "3", at));
        assert_eq!(book.counts.wrong, 2);
    }

    /// Q8: an `originate` may cross with the hang-up, but not come later.
    #[test]
    fn an_originate_for_a_caller_who_left_long_ago_is_a_mistake() {
        let (mut book, at) = book();
        book.entered(1, 0, at, at);
        book.left(1, false);
        assert!(!book.offered(1, "1", Instant::now()));
        assert_eq!(book.counts.wrong, 0, "{:?}", book.mistakes);
        assert!(!book.offered(1, "1", Instant::now() + ON_THE_WAY * 2));
        assert!(mistake(&book).contains("is gone"));
    }

    /// The time counts only if a caller was waiting for the agent.
    #[test]
    fn the_wait_for_an_agent_starts_at_the_end_of_the_last_call() {
        let (mut book, at) = book();
        book.entered(1, 0, at, at);
        book.offered(1, "1", at);
        book.free("1");
        book.entered(2, 1, at, at);
        book.offered(2, "1", Instant::now());
        assert_eq!(book.times.free_to_offer.len(), 0);
        book.entered(3, 1, at, at);
        book.free("1");
        book.offered(3, "1", Instant::now());
        assert_eq!(book.times.free_to_offer.len(), 1);
    }
}
