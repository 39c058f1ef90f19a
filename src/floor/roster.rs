//! Logins, and the configured queues and agents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::acd::agent::{Activity, Agent};
use crate::acd::fact::{Asker, CancelCause, Fact, Record, TimeoutCause};
use crate::acd::feature::Authenticated;
use crate::acd::ids::{AgentId, OfferId, QueueNumber};
use crate::acd::pairing::Bench;
use crate::acd::queue::{Queue, Reconfigured};
use crate::acd::settings::{AgentSettings, QueueSettings};
use crate::acd::shift::Shift;
use crate::acd::time::{Now, Since, Wall};

use super::{Floor, OfferKey, Stored};

/// The result of a login or logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginChange {
    /// The login state has changed.
    Changed,
    /// The login state was already as requested.
    Already,
    /// The change is not allowed.
    Refused(LoginRefusal),
}

/// Why an agent may not log in to a queue or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefusal {
    /// The queue does not exist.
    NoSuchQueue,
    /// The agent is not a participant of the queue.
    NotAMember,
}

impl Floor {
    /// Applies a whole configuration: adds new queues and agents, updates changed ones, and ends removed ones as softly
    /// as possible. All other calls, logins and counters stay untouched. Returns the logins that the configuration
    /// ended.
    pub fn configure(
        &self,
        agents: &[AgentSettings],
        queues: &[QueueSettings],
        now: Now,
    ) -> Vec<(AgentId, QueueNumber)> {
        let agents: BTreeMap<&AgentId, &AgentSettings> = agents.iter().map(|a| (&a.id, a)).collect();
        let queues: BTreeMap<&QueueNumber, &QueueSettings> = queues.iter().map(|q| (&q.number, q)).collect();
        for (id, settings) in &agents {
            let changed = {
                let mut agent =
                    self.agents.entry((*id).clone()).or_insert_with(|| Agent::new(Arc::new((*settings).clone())));
                agent.revive();
                let changed = **agent.settings() != **settings;
                if changed {
                    agent.set_settings(Arc::new((*settings).clone()));
                }
                changed
            };
            if changed {
                self.agent_changed(id);
            }
        }
        for (number, settings) in &queues {
            self.configure_queue(number, settings, now);
        }
        // Sorted sets, because DashMaps iterate in any order, and the same change must always have the same effects.
        let gone: BTreeSet<QueueNumber> =
            self.queues.iter().filter(|q| !queues.contains_key(q.key())).map(|q| q.key().clone()).collect();
        for number in gone {
            let waiting = self.queues.get_mut(&number).map(|mut q| {
                q.retire();
                q.end_all(TimeoutCause::QueueRemoved)
            });
            self.wake_all(&waiting.unwrap_or_default());
            self.queues.remove_if(&number, |_, q| q.is_empty());
            self.queue_changed(&number);
        }
        let logged_out = self.log_out_strangers(&queues, now);
        let gone: BTreeSet<AgentId> =
            self.agents.iter().filter(|a| !agents.contains_key(a.key())).map(|a| a.key().clone()).collect();
        for id in gone {
            if let Some(mut a) = self.agents.get_mut(&id) {
                a.retire();
            }
            self.agents.remove_if(&id, |_, a| a.held().is_none());
            self.agent_changed(&id);
        }
        logged_out
    }

    /// The free agents of a queue that takes callers.
    pub fn bench(&self, queue: &QueueNumber) -> Option<Bench> {
        let mut bench = Bench::new(self.participants(queue)?);
        for agent in self.queue(queue, |q| q.logged_in().clone()).unwrap_or_default() {
            let free = |a: &Agent| a.available(queue).is_ok().then(|| (a.last_conversation_end(), *a.shift()));
            if let Some((last, shift)) = self.agent(&agent, free).flatten() {
                bench.seat(&agent, last, shift);
            }
        }
        Some(bench)
    }

    fn configure_queue(&self, number: &QueueNumber, settings: &QueueSettings, now: Now) {
        let is_new = !self.queues.contains_key(number);
        let talks = if is_new { self.talks_of(number) } else { Vec::new() };
        let done = {
            let mut fresh = false;
            let mut queue = self.queues.entry(number.clone()).or_insert_with(|| {
                fresh = true;
                let mut queue = Queue::new(Arc::new(settings.clone()));
                queue.talks().extend(talks.iter().copied());
                queue
            });
            let returned = queue.revive();
            let done = if fresh || (!returned && **queue.settings() == *settings) {
                Reconfigured::default()
            } else {
                queue.set_settings(Arc::new(settings.clone()))
            };
            for (call, head_start) in &done.moved {
                let (call, queue, head_start) = (call.clone(), number.clone(), *head_start);
                self.record(now, Fact::HeadStartChanged { call, queue, head_start });
            }
            done
        };
        // Conversations that ended while the queue was being made found none to leave.
        let goes_on = |offer| self.agents.iter().any(|a| a.held().is_some_and(|held| held.offer == offer));
        for over in talks.into_iter().filter(|offer| !goes_on(*offer)) {
            self.with_queue(number, |q| q.talks().remove(&over));
        }
        self.wake_all(&done.wake);
        self.queue_changed(number);
    }

    /// The conversations of a queue that was removed and is configured again.
    fn talks_of(&self, queue: &QueueNumber) -> Vec<OfferId> {
        let talk = |agent: &Agent| match agent.activity() {
            Activity::Talking(held) if held.queue == *queue => Some(held.offer),
            _ => None,
        };
        self.agents.iter().filter_map(|agent| talk(&agent)).collect()
    }

    /// Logs agents out of the queues in which they are no longer participants.
    fn log_out_strangers(
        &self,
        queues: &BTreeMap<&QueueNumber, &QueueSettings>,
        now: Now,
    ) -> Vec<(AgentId, QueueNumber)> {
        let mut strangers = Vec::new();
        for agent in &self.agents {
            for queue in agent.logins().keys() {
                if queues.get(queue).is_none_or(|q| !q.participants.contains(agent.key())) {
                    strangers.push((agent.key().clone(), queue.clone()));
                }
            }
        }
        strangers.sort();
        for (agent, queue) in &strangers {
            self.log_out(agent, queue, &Asker::File, now);
        }
        strangers
    }

    /// Restores a login from the store. Returns false when the agent is no longer a participant.
    pub(super) fn restore_login(&self, agent: &AgentId, queue: &QueueNumber, since: Wall) -> bool {
        let takes_part = self.participates(agent, queue);
        if takes_part {
            self.apply_login(agent, queue, since, None);
        }
        takes_part
    }

    /// The agent to whom this account belongs. The account's domain must match the one that the agent's `dial` names,
    /// or else `home`; when neither is known, any domain matches.
    pub fn agent_of(&self, who: &Authenticated, home: Option<&str>) -> Option<AgentId> {
        let agent = AgentId::new(&who.user).ok()?;
        let own = self.agent(&agent, |a| a.settings().own_domain().map(str::to_owned))?;
        own.as_deref().or(home).is_none_or(|home| who.is_of(home)).then_some(agent)
    }

    /// The settings of a queue that accepts callers, with its participants; `None` when there is no such queue.
    pub fn participants(&self, queue: &QueueNumber) -> Option<Arc<QueueSettings>> {
        self.queues.get(queue).filter(|q| !q.is_retired()).map(|q| q.settings().clone())
    }

    fn participates(&self, agent: &AgentId, queue: &QueueNumber) -> bool {
        self.participants(queue).is_some_and(|s| s.participants.contains(agent))
    }

    /// Whether a login or logout would change anything.
    pub fn login_change(&self, agent: &AgentId, queue: &QueueNumber, login: bool) -> LoginChange {
        let Some(settings) = self.participants(queue) else {
            return LoginChange::Refused(LoginRefusal::NoSuchQueue);
        };
        if !settings.participants.contains(agent) {
            return LoginChange::Refused(LoginRefusal::NotAMember);
        }
        let is_in = self.agents.get(agent).is_some_and(|a| a.logins().contains_key(queue));
        if is_in == login { LoginChange::Already } else { LoginChange::Changed }
    }

    /// Logs an agent in, if that is a change and still allowed. The controller has stored the change before.
    pub fn log_in(&self, agent: &AgentId, queue: &QueueNumber, by: &Asker, now: Now) -> LoginChange {
        let change = self.login_change(agent, queue, true);
        if change == LoginChange::Changed {
            let fact = Fact::AgentLoggedIn { agent: agent.clone(), queue: queue.clone(), by: by.clone() };
            self.apply_login(agent, queue, now.wall, Some(fact));
        }
        change
    }

    fn apply_login(&self, agent: &AgentId, queue: &QueueNumber, at: Wall, fact: Option<Fact>) {
        let least = self.least_work(agent);
        let changed = self.agents.get_mut(agent).is_some_and(|mut a| {
            let begins = a.logins().is_empty();
            let changed = a.login(queue.clone(), at);
            if let Some(fact) = fact.filter(|_| changed) {
                (self.facts)(Record { at, fact }, Stored::Already);
                if begins {
                    *a.shift_mut() = least;
                    let Shift { calls, talked } = least;
                    self.record_at(at, Fact::ShiftBegan { agent: agent.clone(), calls, talked });
                }
            }
            changed
        });
        if changed {
            if let Some(mut q) = self.queues.get_mut(queue) {
                q.login(agent.clone());
            }
            self.queue_shows(queue);
            self.agent_changed(agent);
        }
    }

    /// The least work of those logged in to any queue of this agent, with which a shift begins beside them (Q35).
    fn least_work(&self, agent: &AgentId) -> Shift {
        let mut present = BTreeSet::new();
        for queue in self.queues.iter().filter(|q| q.settings().participants.contains(agent)) {
            present.extend(queue.logged_in().iter().cloned());
        }
        Shift::beside(present.iter().filter_map(|agent| self.agent(agent, |a| *a.shift())))
    }

    /// Logs an agent out, if that is a change, and calls off a phone that rings for the queue. When no agent is left,
    /// every wait in the queue ends. The controller has stored the change before, or stores it after applying a
    /// configuration.
    pub fn log_out(&self, agent: &AgentId, queue: &QueueNumber, by: &Asker, now: Now) -> LoginChange {
        let (changed, held) = match self.agents.get_mut(agent) {
            Some(mut a) => {
                let changed = a.logout(queue);
                if changed {
                    let fact = Fact::AgentLoggedOut { agent: agent.clone(), queue: queue.clone(), by: by.clone() };
                    (self.facts)(Record { at: now.wall, fact }, Stored::Already);
                }
                (changed, a.ringing_for(queue).cloned())
            }
            None => (false, None),
        };
        if !changed {
            return LoginChange::Already;
        }
        let wake = self.queues.get_mut(queue).map(|mut q| q.logout(agent)).unwrap_or_default();
        if let Some(held) = held {
            let key = OfferKey { offer: held.offer, call: held.call, queue: held.queue, agent: agent.clone() };
            let by_file = *by == Asker::File;
            let cause = if by_file { CancelCause::Reconfigured } else { CancelCause::LoggedOut };
            self.call_off(&key, cause, now);
        }
        self.wake_all(&wake);
        self.queue_shows(queue);
        self.agent_changed(agent);
        LoginChange::Changed
    }

    /// FreeSWITCH reports a call of the agent outside any queue, or the end of that call.
    pub fn set_elsewhere(&self, agent: &AgentId, since: Option<Since>) {
        if self.agents.get_mut(agent).is_some_and(|mut a| a.set_elsewhere(since)) {
            self.agent_changed(agent);
        }
    }

    /// FreeSWITCH reports whether the agent's phone can be reached.
    pub fn set_reachable(&self, agent: &AgentId, reachable: bool, now: Now) {
        if self.watching_phone(agent, |a| a.set_reachable(reachable, now)).unwrap_or(false) {
            self.agent_changed(agent);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::acd::fact::EndedBy;
    use crate::acd::ids::CallId;
    use crate::floor::tests::open;

    /// Q35: a shift begins with the first login, with the least work of those present; a second login changes nothing.
    #[test]
    fn q35_a_shift_begins_beside_those_present() {
        let (floor, ids, numbers) = open(["1001", "1002"], ["99900", "99901"], |_| {});
        let log_in =
            |agent: &AgentId, queue: &QueueNumber| floor.log_in(agent, queue, &Asker::Operator, Now::default());
        let calls = |agent: &AgentId| floor.agent(agent, |a| a.shift().calls).unwrap();
        let talk = |agent: &AgentId, n: u128| {
            let (offer, call) = (OfferId(uuid::Uuid::from_u128(n)), CallId::new("c").unwrap());
            let key = OfferKey { offer, call, queue: numbers[0].clone(), agent: agent.clone() };
            assert!(floor.adopt(&key, Since::default(), Since::default()));
            floor.release(&key, EndedBy::Agent, Now::default());
        };
        log_in(&ids[0], &numbers[0]);
        talk(&ids[0], 1);
        talk(&ids[0], 2);
        assert_eq!(calls(&ids[0]), 2);
        log_in(&ids[1], &numbers[0]);
        assert_eq!(calls(&ids[1]), 2, "the least of those present");
        talk(&ids[1], 3);
        log_in(&ids[1], &numbers[1]);
        assert_eq!(calls(&ids[1]), 3, "the shift goes on");
        floor.log_out(&ids[0], &numbers[0], &Asker::Operator, Now::default());
        log_in(&ids[0], &numbers[1]);
        assert_eq!(calls(&ids[0]), 3, "another shift, beside the other agent");
    }
}
