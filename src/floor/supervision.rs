//! What whoever compares with FreeSWITCH sees and repairs.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::acd::agent::Activity;
use crate::acd::fact::{EndedBy, Fact, Record};
use crate::acd::ids::{AgentId, QueueNumber};
use crate::acd::time::{Now, Wall};

use super::{Floor, OfferKey, lock};

/// An agent held by an offer or a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldView {
    /// What holds the agent.
    pub key: OfferKey,
    /// Since when.
    pub since: Wall,
    /// Whether caller and agent are believed to be connected.
    pub talking: bool,
    /// Whether a task of ours hears of the leg.
    pub attended: bool,
}

impl Floor {
    /// Tells whether somebody compares with FreeSWITCH. When nobody does any more, agents whose calls no task
    /// hears of are released: nobody would ever do it.
    pub fn set_supervised(&self, supervised: bool, now: Now) {
        if self.supervised.swap(supervised, Ordering::Relaxed) && !supervised {
            for held in self.held().into_iter().filter(|h| !h.attended) {
                let key = &held.key;
                tracing::warn!(agent = %key.agent, leg = %key.offer, "nobody can see this leg; its agent is taken to be free");
                self.release(key, EndedBy::Unknown, now);
            }
        }
    }

    /// Every agent held by an offer or a conversation.
    pub fn held(&self) -> Vec<HeldView> {
        let ids: BTreeSet<AgentId> = self.agents.iter().map(|a| a.key().clone()).collect();
        ids.iter().filter_map(|agent| self.held_by(agent)).collect()
    }

    /// What holds this agent.
    pub fn held_by(&self, agent: &AgentId) -> Option<HeldView> {
        let (key, since, talking, given_up) = {
            let a = self.agents.get(agent)?;
            let h = a.held()?;
            let key = OfferKey { offer: h.offer, call: h.call.clone(), queue: h.queue.clone(), agent: agent.clone() };
            (key, h.since, matches!(a.activity(), Activity::Talking(_)), h.given_up)
        };
        let attended = !given_up && self.has_call(&key.call);
        Some(HeldView { key, since, talking, attended })
    }

    /// A conversation that began before our time goes on: its agent is busy, and a caller of whom it is not known
    /// was answered. False when the agent is unknown or held by something else.
    pub fn adopt_found(&self, key: &OfferKey, since: Wall, now: Now) -> bool {
        if !self.adopt(key, since) {
            return false;
        }
        // The store knows of no conversation, or it would have been held since the start. Of a caller whose entry was
        // lost with the last moments of a killed daemon the wait is not known.
        let who = lock(&self.absent).remove(&key.call);
        let waited = who.map_or(Duration::ZERO, |who| since.since(who.entered));
        let OfferKey { offer, call, queue, agent } = key.clone();
        self.record(now, Fact::CallAnswered { offer, call, queue, agent, waited });
        self.ring();
        true
    }

    /// A conversation that began before our time goes on: its agent is busy. False when the agent is unknown
    /// or held by something else.
    pub fn adopt(&self, key: &OfferKey, since: Wall) -> bool {
        let adopted = self
            .agents
            .get_mut(&key.agent)
            .is_some_and(|mut a| a.adopt(key.offer, key.call.clone(), key.queue.clone(), since));
        if adopted {
            self.agent_changed(&key.agent);
        }
        adopted
    }

    /// Takes up the conversations that the store knows of no end of: until FreeSWITCH was asked, their agents
    /// are busy.
    pub fn adopt_unended(&self, answered: &[Record]) {
        for record in answered {
            if let Fact::CallAnswered { offer, call, queue, agent, .. } = &record.fact {
                let key = OfferKey { offer: *offer, call: call.clone(), queue: queue.clone(), agent: agent.clone() };
                self.adopt(&key, record.at);
            }
        }
    }

    /// Who is logged in where, of all who could be.
    pub fn login_states(&self) -> Vec<(AgentId, QueueNumber, bool)> {
        let mut states = Vec::new();
        for queue in self.queues.iter().filter(|q| !q.is_retired()) {
            for agent in &queue.settings().participants {
                states.push((agent.clone(), queue.key().clone(), queue.logged_in().contains(agent)));
            }
        }
        states
    }
}
