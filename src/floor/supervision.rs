//! The floor as the survey sees it, and the repairs that the survey makes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::acd::agent::Activity;
use crate::acd::fact::Fact;
use crate::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use crate::acd::time::{Now, Since};

use super::{Floor, OfferKey, lock};

/// An agent held by an offer or a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldView {
    /// The offer that holds the agent.
    pub key: OfferKey,
    /// Since when.
    pub since: Since,
    /// Whether caller and agent are believed to be connected.
    pub talking: bool,
    /// Whether a session of this daemon receives the leg's events.
    pub attended: bool,
}

impl Floor {
    /// Sets whether a link compares the floor with FreeSWITCH. When none does any more, agents whose legs no session
    /// attends to are released, because nothing else would release them.
    pub fn set_supervised(&self, supervised: bool, now: Now) {
        if self.supervised.swap(supervised, Ordering::Relaxed) && !supervised {
            for held in self.held().into_iter().filter(|h| !h.attended) {
                let key = &held.key;
                tracing::warn!(agent = %key.agent, leg = %key.offer, "no link can see this leg; its agent counts as free");
                self.release_unseen(key, now);
            }
            self.close_offers();
        }
    }

    /// Notes that the leg of this offer exists.
    pub fn seen(&self, key: &OfferKey, now: Now) {
        if let Some(mut a) = self.agents.get_mut(&key.agent) {
            a.seen(key.offer, now);
        }
    }

    /// Every agent held by an offer or a conversation.
    pub fn held(&self) -> Vec<HeldView> {
        let ids: BTreeSet<AgentId> = self.agents.iter().map(|a| a.key().clone()).collect();
        ids.iter().filter_map(|agent| self.held_by(agent)).collect()
    }

    /// The offer or conversation that holds this agent.
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

    /// FreeSWITCH no longer has a leg of this offer, which still holds its agent. If a session attends to the offer,
    /// the floor wakes it, and it releases the agent; otherwise the floor releases the agent at once.
    pub fn legs_missing(&self, key: &OfferKey, now: Now) {
        let attended = self.held_by(&key.agent).is_some_and(|held| held.key.offer == key.offer && held.attended);
        let woken = attended
            && self.calls.get_mut(&key.call).is_some_and(|mut c| {
                c.legs_missing.insert(key.offer, key.clone());
                (c.wake)();
                true
            });
        if !woken {
            self.release_unseen(key, now);
        }
    }

    /// Takes the call's offers whose legs are gone.
    pub fn take_legs_missing(&self, call: &CallId) -> BTreeMap<OfferId, OfferKey> {
        if self.calls.get(call).is_none_or(|c| c.legs_missing.is_empty()) {
            return BTreeMap::new();
        }
        self.calls.get_mut(call).map(|mut c| std::mem::take(&mut c.legs_missing)).unwrap_or_default()
    }

    /// Adopts a conversation that FreeSWITCH shows and that began before this daemon did: its agent is busy, and the
    /// caller was answered. Returns false when the agent is unknown or held by another offer.
    pub fn adopt_found(&self, key: &OfferKey, since: Since, now: Now) -> bool {
        let OfferKey { offer, call, queue, agent } = key.clone();
        let is_new = self.counts_as_talking(key);
        let adopted = self.agents.get_mut(&key.agent).is_some_and(|mut a| {
            let known = a.held().is_some_and(|h| h.offer == offer);
            if !a.adopt(offer, call.clone(), queue.clone(), since, now.mono.into()) {
                return false;
            }
            // The records have it as answered, and as ended unseen: both are written only once.
            if lock(&self.unclosed).has_ended(offer) {
                return true;
            }
            // The store has no open conversation of this offer, or its agent would be held since the start. Facts
            // missing from the store were lost with the last moments of a killed daemon, and are recorded now.
            let at = now.wall_of(since);
            let who = lock(&self.absent).remove(&call);
            let waits = who.as_ref().map_or(since, |who| who.waits);
            if who.is_none() && !self.has_call(&call) {
                let (call, queue) = (call.clone(), queue.clone());
                let unknown = Fact::CallEntered {
                    call,
                    queue,
                    caller: "".into(),
                    first_entered: at,
                    returned: false,
                    head_start: Duration::ZERO,
                    own_head_start: Duration::ZERO,
                };
                self.record_at(at, unknown);
            }
            if !self.close_offer(offer) && !known {
                let (call, queue, agent) = (call.clone(), queue.clone(), agent.clone());
                self.record_at(at, Fact::OfferMade { offer, call, queue, agent });
            }
            let waited = now.lasted(waits).saturating_sub(now.lasted(since));
            self.record_at(at, Fact::CallAnswered { offer, call, queue, agent, waited });
            true
        });
        if adopted {
            self.agent_changed(&key.agent);
            self.wake_dispatcher();
        } else if is_new {
            self.talks_no_longer(key);
        }
        adopted
    }

    /// Adopts a conversation that began before this daemon did and was last known to go on at `seen`: its agent is
    /// busy. Returns false when the agent is unknown or held by another offer.
    pub fn adopt(&self, key: &OfferKey, since: Since, seen: Since) -> bool {
        let is_new = self.counts_as_talking(key);
        let adopted = self
            .agents
            .get_mut(&key.agent)
            .is_some_and(|mut a| a.adopt(key.offer, key.call.clone(), key.queue.clone(), since, seen));
        if adopted {
            self.agent_changed(&key.agent);
        } else if is_new {
            self.talks_no_longer(key);
        }
        adopted
    }

    /// Every participant of every queue, and whether the agent is logged in there.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::floor::tests::open;

    /// Q22: a session learns that its leg is gone, and releases the agent itself; for a call without a session the
    /// floor does.
    #[test]
    fn q22_a_repair_tells_the_call() {
        let (floor, [agent], [queue]) = open(["1001"], ["99900"], |_| {});
        let call = CallId::new("c").unwrap();
        let key =
            OfferKey { offer: OfferId(uuid::Uuid::from_u128(1)), call: call.clone(), queue, agent: agent.clone() };
        let woken = Arc::new(AtomicUsize::new(0));
        let wakes = woken.clone();
        floor.admit(&call, "0791".into(), Box::new(move || _ = wakes.fetch_add(1, Ordering::Relaxed)));
        floor.log_in(&agent, &key.queue, &crate::acd::fact::Asker::Operator, Now::default());
        floor.claim(&key, Now::default()).unwrap();
        floor.legs_missing(&key, Now::default());
        floor.legs_missing(&key, Now::default());
        assert_eq!(woken.load(Ordering::Relaxed), 2);
        assert!(floor.held_by(&agent).is_some(), "the call releases it");
        assert_eq!(floor.take_legs_missing(&call), BTreeMap::from([(key.offer, key.clone())]));
        assert_eq!(floor.take_legs_missing(&call), BTreeMap::new());
        floor.dismiss(&call);
        floor.legs_missing(&key, Now::default());
        assert_eq!(floor.held_by(&agent), None);
    }
}
