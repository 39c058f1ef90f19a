//! Copies of the live picture, for readers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::acd::agent::{Activity, Unavailable};
use crate::acd::ids::{AgentId, CallId, QueueNumber};
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
}

/// One participant as seen from a queue's first caller without an offer.
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
    /// The caller of an offer or a conversation.
    pub call: Option<CallId>,
    /// The number of who talks with the agent in place of the caller.
    #[serde(default)]
    pub party: Option<Arc<str>>,
}

impl Floor {
    /// Copies the live picture.
    pub fn view(&self, now: Now) -> FloorView {
        let mut queues: Vec<QueueView> = self.queue_numbers().iter().filter_map(|q| self.view_queue(q, now)).collect();
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

    fn view_queue(&self, number: &QueueNumber, now: Now) -> Option<QueueView> {
        let (settings, rows, first) = {
            let q = self.queues.get(number)?;
            let rows: Vec<_> = q
                .waiting()
                .map(|(_, w)| {
                    let ringing = w.offers().iter().map(|(_, a)| a.clone()).collect();
                    (w.call().clone(), now.wall_of(w.since()), ringing)
                })
                .collect();
            let first = q.waiting().find(|(_, w)| w.offers().is_empty()).map(|(_, w)| {
                let tried = |a: &AgentId| w.tried_at(a);
                q.settings().participants.iter().map(tried).collect::<Vec<Option<Mono>>>()
            });
            (q.settings().clone(), rows, first)
        };
        let waiting = rows
            .into_iter()
            .map(|(call, since, ringing)| WaitingView { number: self.number_of(&call), call, since, ringing })
            .collect();
        let candidates = match first {
            None => Vec::new(),
            Some(tried) => settings
                .participants
                .iter()
                .zip(tried)
                .map(|(a, tried)| CandidateView { agent: a.clone(), reason: self.reason(a, number, tried, now) })
                .collect(),
        };
        Some(QueueView {
            number: number.clone(),
            name: settings.name.clone(),
            strategy: settings.strategy,
            waiting,
            candidates,
        })
    }

    /// Why an agent is not offered to a queue's first caller without an offer (Q24).
    fn reason(&self, agent: &AgentId, queue: &QueueNumber, tried: Option<Mono>, now: Now) -> Option<String> {
        let seconds = |since: Since| now.lasted(since).as_secs();
        let held = match self.agents.get(agent)?.available(queue) {
            Ok(()) => None,
            Err(why) => Some(match why {
                Unavailable::LoggedOut => "logged out".to_owned(),
                Unavailable::Ringing { since, queue } => {
                    format!("ringing for a caller of {queue} for {} s", seconds(since))
                }
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
            }),
        };
        held.or_else(|| tried.map(|at| format!("tried {} s ago", now.mono.since(at).as_secs())))
    }
}
