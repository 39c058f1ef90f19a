//! Copies of the live picture, for readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::acd::agent::{Activity, Agent, Unavailable};
use crate::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use crate::acd::queue::{Place, Queue};
use crate::acd::settings::Strategy;
use crate::acd::time::{Mono, Now, Since, Wall};

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
    /// The callers in order.
    pub waiting: Vec<WaitingView>,
    /// Why the first caller who is not being rung for waits: each participant with the reason.
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
    /// Whose phones ring.
    pub ringing: Vec<AgentId>,
    /// Why the caller is not offered to each participant, where nobody rings; told of the first 100 callers.
    #[serde(default)]
    pub candidates: Vec<CandidateView>,
}

/// One participant as seen from a caller without an offer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateView {
    /// The agent.
    pub agent: AgentId,
    /// What holds the agent back, in words; `None` when nothing does.
    pub reason: Option<String>,
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
    /// What the agent is doing, in a word.
    pub activity: String,
    /// Since when, or for wrap-up until when.
    pub moment: Option<Wall>,
    /// The caller of an offer or a conversation: the UUID of the channel.
    pub call: Option<CallId>,
    /// The agent's leg of it: the UUID of the channel. Of an agent with several phones that of the first; the others have
    /// this in `fsq_offer`.
    #[serde(default)]
    pub leg: Option<OfferId>,
    /// The number of who talks with the agent in place of the caller.
    #[serde(default)]
    pub party: Option<Arc<str>>,
}

/// How many callers of a queue are explained.
const EXPLAINED: usize = 100;

/// What holds back a participant whoever calls, and from when on the agent is free for a caller, where somebody stands
/// before that.
struct Participant {
    agent: AgentId,
    reason: Option<String>,
    before: Option<(Place, QueueNumber)>,
}

impl Floor {
    /// Copies the live picture.
    pub fn view(&self, now: Now) -> FloorView {
        let firsts: BTreeMap<QueueNumber, Place> = self.queues.iter().filter_map(|q| first_of(&q)).collect();
        let mut queues: Vec<QueueView> =
            self.queue_numbers().iter().filter_map(|q| self.view_queue(q, &firsts, now)).collect();
        queues.sort_by(|a, b| a.number.cmp(&b.number));
        let mut agents: Vec<AgentView> = self
            .agents
            .iter()
            .map(|a| {
                let (activity, since) = match (a.activity(), a.free()) {
                    (Activity::Reserved(h), _) => ("reserved", Some(h.since)),
                    (Activity::Ringing(h), _) => ("ringing", Some(h.since)),
                    (Activity::Talking(h), _) => ("talking", Some(h.since)),
                    (Activity::WrapUp { until }, _) => ("wrap-up", Some((*until).into())),
                    (Activity::Idle, Err(Unavailable::OnAnotherCall { since })) => ("on another call", Some(since)),
                    (Activity::Idle, Err(Unavailable::Unreachable { since, .. })) => ("unreachable", Some(since)),
                    (Activity::Idle, _) => ("idle", a.last_conversation_end()),
                };
                AgentView {
                    id: a.key().clone(),
                    name: a.settings().name.clone(),
                    logins: a.logins().keys().cloned().collect(),
                    activity: activity.to_owned(),
                    moment: since.map(|since| now.wall_of(since)),
                    call: a.held().map(|h| h.call.clone()),
                    leg: a.held().map(|h| h.offer),
                    party: a.held().and_then(|h| self.party(h.offer)).map(|party| party.number),
                }
            })
            .collect();
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        FloorView { at: now.wall, queues, agents }
    }

    /// The numbers of the queues that take callers.
    pub fn numbers(&self) -> Vec<QueueNumber> {
        self.queues.iter().filter(|q| !q.is_retired()).map(|q| q.key().clone()).collect()
    }

    fn queue_numbers(&self) -> Vec<QueueNumber> {
        self.queues.iter().map(|q| q.key().clone()).collect()
    }

    fn view_queue(&self, number: &QueueNumber, firsts: &BTreeMap<QueueNumber, Place>, now: Now) -> Option<QueueView> {
        let (settings, rows) = {
            let q = self.queues.get(number)?;
            let settings = q.settings().clone();
            let rows: Vec<_> = q
                .waiting()
                .enumerate()
                .map(|(at, (place, w))| {
                    let ringing: Vec<AgentId> = w.offers().iter().map(|(_, a)| a.clone()).collect();
                    let is_explained = ringing.is_empty() && at < EXPLAINED;
                    let tried: Option<Vec<Option<Mono>>> =
                        is_explained.then(|| settings.participants.iter().map(|a| w.tried_at(a)).collect());
                    (w.call().clone(), place, now.wall_of(w.since()), ringing, tried)
                })
                .collect();
            (settings, rows)
        };
        let participants: Vec<Participant> = if rows.iter().any(|(.., tried)| tried.is_some()) {
            settings.participants.iter().map(|agent| self.participant(agent, number, firsts, now)).collect()
        } else {
            Vec::new()
        };
        let waiting: Vec<WaitingView> = rows
            .into_iter()
            .map(|(call, place, since, ringing, tried)| WaitingView {
                number: self.number_of(&call),
                call,
                since,
                ringing,
                candidates: tried.map(|tried| candidates(&participants, &tried, place, now)).unwrap_or_default(),
            })
            .collect();
        let first = waiting.iter().find(|w| w.ringing.is_empty());
        let candidates = first.map(|w| w.candidates.clone()).unwrap_or_default();
        let (name, strategy) = (settings.name.clone(), settings.strategy);
        Some(QueueView { number: number.clone(), name, strategy, waiting, candidates })
    }

    fn participant(
        &self,
        agent: &AgentId,
        queue: &QueueNumber,
        firsts: &BTreeMap<QueueNumber, Place>,
        now: Now,
    ) -> Participant {
        let found = self.agents.get(agent);
        let logins = found.iter().flat_map(|a| a.logins().keys());
        let before = logins.filter_map(|queue| Some((*firsts.get(queue)?, queue.clone()))).min();
        let reason = found.as_ref().and_then(|a| reason(a, queue, now));
        Participant { agent: agent.clone(), reason, before }
    }
}

/// A queue, and where its first caller stands for whom nobody rings.
fn first_of(queue: &Queue) -> Option<(QueueNumber, Place)> {
    let (place, _) = queue.waiting().find(|(_, w)| w.offers().is_empty())?;
    Some((queue.settings().number.clone(), place))
}

/// Why a caller at `place` is not offered to each participant (Q24).
fn candidates(participants: &[Participant], tried: &[Option<Mono>], place: Place, now: Now) -> Vec<CandidateView> {
    let each = participants.iter().zip(tried);
    let reason = |participant: &Participant, tried: &Option<Mono>| {
        let tried = tried.map(|at| format!("tried {} s ago", now.mono.since(at).as_secs()));
        let before = participant.before.as_ref().filter(|(first, _)| *first < place);
        let held = before.map(|(_, queue)| format!("held for an earlier caller of {queue}"));
        participant.reason.clone().or(tried).or(held)
    };
    each.map(|(one, tried)| CandidateView { agent: one.agent.clone(), reason: reason(one, tried) }).collect()
}

/// What holds an agent back from every caller of a queue.
fn reason(agent: &Agent, queue: &QueueNumber, now: Now) -> Option<String> {
    let seconds = |since: Since| now.lasted(since).as_secs();
    Some(match agent.available(queue).err()? {
        Unavailable::LoggedOut => "logged out".to_owned(),
        Unavailable::Ringing { since, queue } => format!("ringing for a caller of {queue} for {} s", seconds(since)),
        Unavailable::Talking { since, queue } => {
            format!("in conversation with a caller of {queue} for {} s", seconds(since))
        }
        Unavailable::WrapUp { until } => {
            format!("wrap-up for another {} s", until.since(now.mono).as_millis().div_ceil(1000))
        }
        Unavailable::OnAnotherCall { since } => format!("on another call for {} s", seconds(since)),
        Unavailable::Unreachable { since, cause } => {
            format!("phone not reachable for {} s: {cause}", seconds(since))
        }
    })
}
