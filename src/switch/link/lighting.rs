//! Sets the lamps of one switch, after logins and when phones ask.
//!
//! Several daemons may use the same FreeSWITCH, and a lamp has one state for all its subscribers. So this daemon
//! switches a lamp on for an agent whom it has logged in, and off only if it lit the lamp itself or has an agent logged
//! in to that queue: a standby daemon without logins sends nothing (Q16, Q107).

use std::collections::BTreeSet;

use crate::acd::fact::Fact;
use crate::acd::ids::{AgentId, QueueNumber};
use crate::esl::{Command, Event, Outcome};

use super::super::lamps::{self, Name};
use super::super::lock;
use super::{Answer, Up};

impl Up<'_> {
    /// Handles the event that a phone asks for a lamp.
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

    /// Whether the agent is a participant of the queue.
    fn has_lamp(&self, agent: &AgentId, queue: &QueueNumber) -> bool {
        self.switches.floor.participants(queue).is_some_and(|settings| settings.participants.contains(agent))
    }

    fn is_in(&self, agent: &AgentId, queue: &QueueNumber) -> bool {
        self.switches.floor.queue(queue, |q| q.logged_in().contains(agent)).unwrap_or(false)
    }

    /// Whether this daemon serves the queue: an agent is logged in to it here.
    fn decides(&self, queue: &QueueNumber) -> bool {
        self.switches.floor.queue(queue, |q| !q.logged_in().is_empty()).unwrap_or(false)
    }

    /// Sets the lamps of an agent who logged in or out.
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

    /// Sends every lamp that is on again, and switches off every other lamp that this daemon lit.
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

    /// Sends the lamps that are due, a batch at a time.
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
        match self.connection.send_all(&commands) {
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
                tracing::warn!(%full, "lamps cannot be set now; the link sets them later");
                self.lamps.put_back(some);
            }
        }
    }
}
