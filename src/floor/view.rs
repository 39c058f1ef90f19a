//! Copies of the live picture for readers: whole, or of one queue or agent. The readers turn them into words.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::acd::agent::{Activity, Agent, Unavailable};
use crate::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use crate::acd::queue::Queue;
use crate::acd::rank::Rank;
use crate::acd::settings::Strategy;
use crate::acd::time::{Mono, Now, Wall};

use super::Floor;

/// Everything, at one moment (each queue and agent is copied whole; between two of them time may pass).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FloorView {
    /// When.
    pub at: Wall,
    /// The queues by number.
    pub queues: Vec<QueueView>,
    /// The agents by id.
    pub agents: Vec<AgentView>,
}

/// One queue.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QueueView {
    /// Its number.
    pub number: QueueNumber,
    /// Its name.
    pub name: Arc<str>,
    /// How agents are chosen.
    pub strategy: Strategy,
    /// How many callers may wait; `None` means any number.
    #[serde(default)]
    pub max_callers: Option<u32>,
    /// How many of the queue's callers talk.
    #[serde(default)]
    pub talking: usize,
    /// How many may talk at once; `None` means any number.
    #[serde(default)]
    pub max_conversations: Option<u32>,
    /// The callers in order.
    pub waiting: Vec<WaitingView>,
    /// Why the first caller for whom no phone rings waits: each participant with the reason.
    pub candidates: Vec<CandidateView>,
}

/// One waiting caller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WaitingView {
    /// The channel.
    pub call: CallId,
    /// The number.
    pub number: Arc<str>,
    /// When the caller entered this queue.
    pub since: Wall,
    /// The head start in the line, in milliseconds: the queue's share and the caller's own.
    #[serde(default)]
    pub head_start_ms: u64,
    /// The agents whose phones ring.
    pub ringing: Vec<AgentId>,
    /// Why each participant is not offered the caller, if no phone rings; given for the first 100 callers.
    #[serde(default)]
    pub candidates: Vec<CandidateView>,
}

/// One participant as seen from a caller without an offer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateView {
    /// The agent.
    pub agent: AgentId,
    /// The reason that holds the agent back; `None` when there is none.
    pub held_back: Option<Reason>,
}

/// Why an agent is not offered to a caller (Q24).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Reason {
    /// Not logged in to this queue.
    LoggedOut,
    /// Rings for a caller, of this queue or another.
    Ringing {
        /// The queue of that caller.
        queue: QueueNumber,
        /// Since when.
        since: Wall,
    },
    /// Talks with a caller, of this queue or another.
    Talking {
        /// The queue of that caller.
        queue: QueueNumber,
        /// Since when.
        since: Wall,
    },
    /// Left alone after a conversation.
    WrapUp {
        /// When that ends.
        until: Wall,
    },
    /// In a call outside any queue.
    OnAnotherCall {
        /// Since when.
        since: Wall,
    },
    /// The phone, or its gateway, does not work.
    Unreachable {
        /// Since when.
        since: Wall,
        /// Its last failure, in words.
        cause: String,
    },
    /// The call comes from the agent's own phone.
    OwnCall,
    /// Free, but held for a caller who is further ahead.
    HeldForEarlier {
        /// The queue of that caller.
        queue: QueueNumber,
    },
    /// Free, but as many of the queue's callers talk, or are being rung for, as may.
    MaxConversations {
        /// How many.
        most: u32,
    },
    /// Was offered this caller and did not answer.
    Tried {
        /// When the offer failed.
        at: Wall,
    },
}

impl Reason {
    fn of(why: Unavailable, now: Now) -> Self {
        match why {
            Unavailable::LoggedOut => Self::LoggedOut,
            Unavailable::Ringing { since, queue } => Self::Ringing { queue, since: now.wall_of(since) },
            Unavailable::Talking { since, queue } => Self::Talking { queue, since: now.wall_of(since) },
            Unavailable::WrapUp { until } => Self::WrapUp { until: now.wall_of(until.into()) },
            Unavailable::OnAnotherCall { since } => Self::OnAnotherCall { since: now.wall_of(since) },
            Unavailable::Unreachable { since, cause } => {
                Self::Unreachable { since: now.wall_of(since), cause: cause.to_string() }
            }
        }
    }
}

/// An agent's activity. In JSON it is the word `activity`, with the moment beside it as `moment`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "activity", rename_all = "snake_case")]
pub enum Doing {
    /// Nothing.
    Idle {
        /// When the last conversation from a queue ended.
        #[serde(rename = "moment")]
        last_conversation_end: Option<Wall>,
    },
    /// Chosen for a caller; the phone is about to ring.
    Reserved {
        /// Since when.
        #[serde(rename = "moment")]
        since: Wall,
    },
    /// The phone rings for a caller.
    Ringing {
        /// Since when.
        #[serde(rename = "moment")]
        since: Wall,
    },
    /// Talks with a caller.
    Talking {
        /// Since when.
        #[serde(rename = "moment")]
        since: Wall,
    },
    /// Left alone after a conversation.
    #[serde(rename = "wrap-up")]
    WrapUp {
        /// When that ends.
        #[serde(rename = "moment")]
        until: Wall,
    },
    /// In a call outside any queue.
    #[serde(rename = "on another call")]
    OnAnotherCall {
        /// Since when.
        #[serde(rename = "moment")]
        since: Wall,
    },
    /// The phone, or its gateway, does not work.
    Unreachable {
        /// Since when.
        #[serde(rename = "moment")]
        since: Wall,
    },
}

impl Doing {
    fn of(agent: &Agent, now: Now) -> Self {
        let at = |since| now.wall_of(since);
        match (agent.activity(), agent.free()) {
            (Activity::Reserved(h), _) => Self::Reserved { since: at(h.since) },
            (Activity::Ringing(h), _) => Self::Ringing { since: at(h.since) },
            (Activity::Talking(h), _) => Self::Talking { since: at(h.since) },
            (Activity::WrapUp { until }, _) => Self::WrapUp { until: at((*until).into()) },
            (Activity::Idle, Err(Unavailable::OnAnotherCall { since })) => Self::OnAnotherCall { since: at(since) },
            (Activity::Idle, Err(Unavailable::Unreachable { since, .. })) => Self::Unreachable { since: at(since) },
            (Activity::Idle, _) => Self::Idle { last_conversation_end: agent.last_conversation_end().map(at) },
        }
    }

    /// The activity as a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Idle { .. } => "idle",
            Self::Reserved { .. } => "reserved",
            Self::Ringing { .. } => "ringing",
            Self::Talking { .. } => "talking",
            Self::WrapUp { .. } => "wrap-up",
            Self::OnAnotherCall { .. } => "on another call",
            Self::Unreachable { .. } => "unreachable",
        }
    }
}

/// One agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgentView {
    /// The SIP user.
    pub id: AgentId,
    /// The name.
    pub name: Arc<str>,
    /// Where the agent is logged in.
    pub logins: Vec<QueueNumber>,
    /// The agent's activity.
    #[serde(flatten)]
    pub doing: Doing,
    /// The queue conversations that count in the present shift (Q35).
    #[serde(default)]
    pub calls: u32,
    /// Their length together.
    #[serde(default)]
    pub talked_ms: u64,
    /// The caller of an offer or a conversation: the UUID of the channel.
    pub call: Option<CallId>,
    /// The agent's leg of it: the UUID of the channel. For an agent with several phones this is the first phone's leg;
    /// the others carry it in `fsq_offer`.
    #[serde(default)]
    pub leg: Option<OfferId>,
    /// The number of the party that talks with the agent in place of the caller.
    #[serde(default)]
    pub party: Option<Arc<str>>,
}

/// How many callers of a queue come with reasons.
const EXPLAINED: usize = 100;

/// The reason that holds a participant back from every caller, and the earliest caller for whom no phone rings in any
/// queue the agent is logged in to.
struct Participant {
    agent: AgentId,
    reason: Option<Reason>,
    before: Option<(Rank, QueueNumber)>,
}

impl Floor {
    /// Copies the live picture.
    pub fn view(&self, now: Now) -> FloorView {
        let firsts: BTreeMap<QueueNumber, Rank> = self.queues.iter().filter_map(|q| first_of(&q)).collect();
        let mut queues: Vec<QueueView> =
            self.queue_numbers().iter().filter_map(|q| self.view_of(q, &firsts, now)).collect();
        queues.sort_by(|a, b| a.number.cmp(&b.number));
        let mut agents: Vec<AgentView> = self.agents.iter().map(|a| self.of_agent(a.key(), &a, now)).collect();
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        FloorView { at: now.wall, queues, agents }
    }

    /// Copies one agent; `None` when there is none of that id.
    pub fn agent_view(&self, agent: &AgentId, now: Now) -> Option<AgentView> {
        self.agent(agent, |a| self.of_agent(agent, a, now))
    }

    /// Copies one queue, and the reasons why its callers wait; `None` when there is none of that number.
    pub fn queue_view(&self, number: &QueueNumber, now: Now) -> Option<QueueView> {
        let firsts = self.queues.iter().filter_map(|q| first_of(&q)).collect();
        self.view_of(number, &firsts, now)
    }

    fn of_agent(&self, id: &AgentId, agent: &Agent, now: Now) -> AgentView {
        AgentView {
            id: id.clone(),
            name: agent.settings().name.clone(),
            logins: agent.logins().keys().cloned().collect(),
            doing: Doing::of(agent, now),
            calls: agent.shift().calls,
            talked_ms: u64::try_from(agent.shift().talked.as_millis()).unwrap_or(u64::MAX),
            call: agent.held().map(|h| h.call.clone()),
            leg: agent.held().map(|h| h.offer),
            party: agent.held().and_then(|h| self.party(h.offer)).map(|party| party.number),
        }
    }

    /// The numbers of the queues that take callers.
    pub fn numbers(&self) -> Vec<QueueNumber> {
        self.queues.iter().filter(|q| !q.is_retired()).map(|q| q.key().clone()).collect()
    }

    fn queue_numbers(&self) -> Vec<QueueNumber> {
        self.queues.iter().map(|q| q.key().clone()).collect()
    }

    fn view_of(&self, number: &QueueNumber, firsts: &BTreeMap<QueueNumber, Rank>, now: Now) -> Option<QueueView> {
        let (settings, talking, is_at_its_limit, rows) = {
            let q = self.queues.get(number)?;
            let settings = q.settings().clone();
            let (talking, is_at_its_limit) = (q.talking(), q.room() == Some(0));
            let rows: Vec<_> = q
                .waiting()
                .enumerate()
                .map(|(at, (rank, w))| {
                    let ringing: Vec<AgentId> = w.offers().iter().map(|(_, a)| a.clone()).collect();
                    let is_explained = ringing.is_empty() && at < EXPLAINED;
                    let tried = |a: &AgentId| (w.own() == Some(a), w.tried_at(a));
                    let tried: Option<Vec<Tried>> =
                        is_explained.then(|| settings.participants.iter().map(tried).collect());
                    (w.call().clone(), rank, now.wall_of(w.since()), ringing, tried)
                })
                .collect();
            (settings, talking, is_at_its_limit, rows)
        };
        let mut participants: Vec<Participant> = if rows.iter().any(|(.., tried)| tried.is_some()) {
            settings.participants.iter().map(|agent| self.participant(agent, number, firsts, now)).collect()
        } else {
            Vec::new()
        };
        if let Some(most) = settings.max_conversations.filter(|_| is_at_its_limit) {
            for one in &mut participants {
                one.reason.get_or_insert(Reason::MaxConversations { most });
            }
        }
        let waiting: Vec<WaitingView> = rows
            .into_iter()
            .map(|(call, rank, since, ringing, tried)| WaitingView {
                number: self.number_of(&call),
                call,
                since,
                head_start_ms: u64::try_from(rank.head_start.as_millis()).unwrap_or(u64::MAX),
                ringing,
                candidates: tried.map(|tried| candidates(&participants, &tried, rank, now)).unwrap_or_default(),
            })
            .collect();
        let first = waiting.iter().find(|w| w.ringing.is_empty());
        let candidates = first.map(|w| w.candidates.clone()).unwrap_or_default();
        Some(QueueView {
            number: number.clone(),
            name: settings.name.clone(),
            strategy: settings.strategy,
            max_callers: settings.max_callers,
            talking,
            max_conversations: settings.max_conversations,
            waiting,
            candidates,
        })
    }

    fn participant(
        &self,
        agent: &AgentId,
        queue: &QueueNumber,
        firsts: &BTreeMap<QueueNumber, Rank>,
        now: Now,
    ) -> Participant {
        let found = self.agents.get(agent);
        let logins = found.iter().flat_map(|a| a.logins().keys());
        let before = logins.filter_map(|queue| Some((*firsts.get(queue)?, queue.clone()))).min();
        let reason = found.as_ref().and_then(|a| a.available(queue).err()).map(|why| Reason::of(why, now));
        Participant { agent: agent.clone(), reason, before }
    }
}

/// A queue, and the place of its first caller for whom no phone rings.
fn first_of(queue: &Queue) -> Option<(QueueNumber, Rank)> {
    if queue.room() == Some(0) {
        return None;
    }
    let (rank, _) = queue.waiting().find(|(_, w)| w.offers().is_empty())?;
    Some((queue.settings().number.clone(), rank))
}

/// Whether the call comes from the participant's own phone, and when an offer to the participant last failed.
type Tried = (bool, Option<Mono>);

/// Why each participant is not offered the caller at `place` (Q24).
fn candidates(participants: &[Participant], tried: &[Tried], rank: Rank, now: Now) -> Vec<CandidateView> {
    let each = participants.iter().zip(tried);
    let reason = |participant: &Participant, (own, tried): &Tried| {
        if *own {
            return Some(Reason::OwnCall);
        }
        let tried = tried.map(|at| Reason::Tried { at: now.wall_of(at.into()) });
        let before = participant.before.as_ref().filter(|(first, _)| *first < rank);
        let held = before.map(|(_, queue)| Reason::HeldForEarlier { queue: queue.clone() });
        participant.reason.clone().or(tried).or(held)
    };
    each.map(|(one, tried)| CandidateView { agent: one.agent.clone(), held_back: reason(one, tried) }).collect()
}
