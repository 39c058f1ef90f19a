//! The lamps of one switch: what it is told of logins, and what phones ask.
//!
//! Other daemons may stand beside the same FreeSWITCH, and one lamp has one state for all who subscribed. So a lamp is
//! switched on for whom this daemon knows to be logged in, and off only where it lit the lamp itself or has somebody
//! logged in to that queue: a fallback that serves nobody says nothing (Q16, Q107).

use std::collections::BTreeSet;

use crate::acd::fact::Fact;
use crate::acd::ids::{AgentId, QueueNumber};
use crate::esl::{Command, Event, Outcome};

use super::super::lamps::{self, Name};
use super::super::lock;
use super::{Answer, Up};

impl Up<'_> {
    /// A phone asks for a lamp.
    pub(super) fn probed(&mut self, event: &Event) {
        let codes = self.switches.settings.borrow().codes.clone();
        let Some(name) = event.header("to").and_then(|to| lamps::asked_for(&codes, &to)) else { return };
        let Some((agent, queue)) = lamps::read(&codes, &name.0).filter(|(a, q)| self.has_lamp(a, q)) else { return };
        if self.domain().is_none_or(|domain| domain != name.1) && !lock(&self.switches.asked_lamps).note(name.clone()) {
            tracing::debug!(domain = name.1, "a lamp is not followed: phones ask in too many domains");
        }
        let on = self.is_in(&agent, &queue);
        if on || self.lamps.is_lit(&name) || self.decides(&queue) {
            self.lamps.set(name, on);
            self.light();
        }
    }

    /// Whether there is such an agent in such a queue.
    fn has_lamp(&self, agent: &AgentId, queue: &QueueNumber) -> bool {
        self.switches.floor.participants(queue).is_some_and(|settings| settings.participants.contains(agent))
    }

    fn is_in(&self, agent: &AgentId, queue: &QueueNumber) -> bool {
        self.switches.floor.queue(queue, |q| q.logged_in().contains(agent)).unwrap_or(false)
    }

    /// Whether this daemon is the one that serves the queue: somebody is logged in to it here.
    fn decides(&self, queue: &QueueNumber) -> bool {
        self.switches.floor.queue(queue, |q| !q.logged_in().is_empty()).unwrap_or(false)
    }

    /// Somebody logged in or out.
    pub(super) fn fact(&mut self, fact: &Fact) {
        let (agent, queue, on) = match fact {
            Fact::AgentLoggedIn { agent, queue, .. } => (agent, queue, true),
            Fact::AgentLoggedOut { agent, queue, .. } => (agent, queue, false),
            _ => return,
        };
        if on {
            self.look_up(agent);
        }
        let entity = lamps::entity(&self.switches.settings.borrow().codes, queue, agent);
        for (_, domain) in lock(&self.switches.asked_lamps).names().filter(|(asked, _)| *asked == entity) {
            self.lamps.set((entity.clone(), domain.clone()), on);
        }
        if let Some(domain) = self.domain() {
            self.lamps.set((entity, domain), on);
        }
        self.light();
    }

    /// Every lamp that is on is told again, and every other that this daemon lit goes dark.
    pub(super) fn all_lamps(&mut self) {
        let codes = self.switches.settings.borrow().codes.clone();
        let lit: BTreeSet<String> = {
            let states = self.switches.floor.login_states().into_iter();
            states.filter(|(.., on)| *on).map(|(agent, queue, _)| lamps::entity(&codes, &queue, &agent)).collect()
        };
        let mut all: BTreeSet<Name> = {
            let mut asked = lock(&self.switches.asked_lamps);
            asked.retain(|(entity, _)| lamps::read(&codes, entity).is_some_and(|(a, q)| self.has_lamp(&a, &q)));
            asked.names().filter(|(entity, _)| lit.contains(entity)).cloned().collect()
        };
        if let Some(domain) = self.domain() {
            all.extend(lit.into_iter().map(|entity| (entity, domain.clone())));
        }
        self.lamps.set_all(all);
        self.light();
    }

    /// Sets the lamps that are to be set, some at a time.
    pub(super) fn light(&mut self) {
        if self.lighting {
            return;
        }
        let some = self.lamps.take();
        let named = some.iter().filter_map(|(name, on)| match lamps::lamp(name, *on) {
            Ok(command) => Some(command),
            Err(error) => {
                tracing::warn!(?name, %error, "a lamp cannot be named");
                None
            }
        });
        let commands: Vec<Command> = named.collect();
        if commands.is_empty() {
            return;
        }
        match self.link.send_all(&commands) {
            Ok(mut sent) => {
                self.lighting = true;
                let last = sent.pop();
                sent.into_iter().for_each(|pending| pending.log_refusal("a lamp"));
                self.asked.spawn(async move {
                    if let Some(last) = last
                        && let Outcome::Refused(text) = last.await
                    {
                        tracing::warn!(text, "FreeSWITCH refused a lamp");
                    }
                    Answer::Lamps
                });
            }
            Err(full) => {
                tracing::warn!(%full, "lamps are set later");
                self.lamps.put_back(some);
            }
        }
    }
}
