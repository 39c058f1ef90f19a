//! Follows registrations, and counts the phones of logged-in agents before anybody calls: a session rings an agent who
//! is known to have one phone without asking FreeSWITCH first.

use std::collections::BTreeSet;

use crate::acd::ids::AgentId;
use crate::esl::{ApiCall, Contacts, Event, Outcome};
use crate::floor::AskedPhones;
use crate::telephony::commands as wire;

use super::{Answer, Up, done};

/// How many of these questions are under way at a time, so that the link's other questions do not wait long behind
/// them.
const AT_A_TIME: usize = 8;

impl Up<'_> {
    /// Starts to trust the counts of phones: from here on the link receives every registration; earlier counts may be
    /// wrong.
    pub(super) fn hears_registrations(&mut self) {
        // With several switches, the phone may be registered at any of them.
        if self.switches.count() == 1 {
            self.switches.floor.phones().listen(true);
            let states = self.switches.floor.login_states().into_iter();
            self.to_look_up.extend(states.filter(|(.., on)| *on).map(|(agent, ..)| agent));
            self.look_up_phones();
        }
    }

    /// Handles the event that a phone registered, unregistered, or expired.
    pub(super) fn registration(&mut self, event: &Event) {
        self.heard_registration(event);
        let value = |name: &str| event.header(name).map(|v| v.into_owned());
        let user = value("username").or_else(|| value("user")).or_else(|| value("from-user"));
        let domain = value("domain_name").or_else(|| value("realm")).or_else(|| value("host"));
        let (Some(user), Some(domain)) = (user, domain) else { return };
        let Some(agent) = self.agent(&user, &domain) else { return };
        if event.header("Event-Subclass").as_deref() == Some("sofia::register") {
            self.registered.insert(agent.clone());
            self.switches.floor.set_reachable(&agent, true, self.switches.clock.now());
        } else if self.registered.contains(&agent)
            && self.is_rung_at_the_phone(&agent)
            && let Ok(call) = ApiCall::new(format!("sofia_contact */{agent}@{domain}"))
        {
            // Another phone of the same account may still be registered.
            self.ask(call, move |outcome| Answer::Contact(agent, outcome));
        }
    }

    /// Whether the agent can be rung only through a registration at this switch: not if `dial` names another
    /// destination, and not with several switches, because the phone may be registered at another.
    fn is_rung_at_the_phone(&self, agent: &AgentId) -> bool {
        self.switches.count() == 1 && self.switches.floor.agent(agent, |a| a.settings().dial.is_none()) == Some(true)
    }

    /// Handles the answer about an agent's remaining registrations after one has ended.
    pub(super) fn still_there(&mut self, agent: &AgentId, outcome: Outcome) {
        let text = done(outcome).map(|reply| reply.body_text().into_owned()).unwrap_or_default();
        if text.starts_with("error/") && self.is_rung_at_the_phone(agent) {
            self.switches.floor.set_reachable(agent, false, self.switches.clock.now());
        }
    }

    /// Updates the count of an agent's phones after a registration or its end. `from-user` is the account (`user` when
    /// it expired), `username` the authenticated user, which is `unknown` without a password (sofia_reg.c). The domain
    /// does not matter: FreeSWITCH may have more than one name for it.
    fn heard_registration(&self, event: &Event) {
        // A phone that has unregistered may register again with the same Call-ID.
        let is_there = event.header("Event-Subclass").as_deref() == Some("sofia::register");
        let call_id = event.header("call-id").filter(|_| is_there);
        let users = ["from-user", "user", "username"].map(|name| event.header(name));
        for agent in users.iter().flatten().filter_map(|user| AgentId::new(user).ok()).collect::<BTreeSet<_>>() {
            if self.switches.floor.agent(&agent, |_| ()).is_some() {
                self.switches.floor.phones().registered(&agent, call_id.as_deref());
            }
        }
    }

    /// Asks for the phones of an agent who will be rung soon.
    pub(super) fn look_up(&mut self, agent: &AgentId) {
        if self.switches.count() == 1 {
            self.to_look_up.insert(agent.clone());
            self.look_up_phones();
        }
    }

    /// Asks for the phones of the agents in `to_look_up`, a few at a time.
    pub(super) fn look_up_phones(&mut self) {
        while self.looking_up < AT_A_TIME
            && let Some(agent) = self.to_look_up.pop_first()
        {
            let phones = self.switches.floor.phones();
            let settings = self.switches.floor.agent(&agent, |a| a.settings().clone());
            let Some(settings) = settings.filter(|s| s.dial.is_none() && phones.known(&agent).is_none()) else {
                continue;
            };
            let asked = phones.asking(&agent);
            let call = wire::phones(&settings, &self.switches.settings.borrow());
            let Ok(call) = call else { continue };
            let asked = self.ask(call, move |outcome| Answer::Phones(agent, asked, outcome));
            self.looking_up += usize::from(asked);
        }
    }

    pub(super) fn looked_up(&mut self, agent: &AgentId, asked: AskedPhones, outcome: Outcome) {
        self.looking_up -= 1;
        if let Outcome::Done(reply) = outcome {
            let count = Contacts::read(&reply.body_text()).count();
            self.switches.floor.phones().found(agent, asked, count);
        }
        self.look_up_phones();
    }
}
