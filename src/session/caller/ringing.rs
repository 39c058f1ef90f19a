//! Finds the agents' phones, and originates a leg to each.

use std::sync::atomic::Ordering;

use crate::acd::call::Input;
use crate::acd::fact::MissCause;
use crate::acd::ids::{AgentId, LegId, OfferId};
use crate::acd::leg::{LegEnd, News};
use crate::acd::offer::{Found, MOST_PHONES};
use crate::esl::text::TextError;
use crate::esl::{Command, Contacts, Endpoint, Outcome};
use crate::floor::AskedRegistrations;
use crate::telephony::commands as wire;
use crate::telephony::directory::{self, Entry};

use super::Session;
use super::outbox::Watched;

/// The input for a leg whose `originate` could not be sent.
pub(super) const NOT_RUNG: News = News::Originated(Err(LegEnd::Missed(MissCause::Failed)));

/// The phones of an offer's agent, which the call knows only by number.
pub(super) enum Phones {
    /// The session has asked FreeSWITCH which phones are registered.
    Asked(AgentId, AskedRegistrations),
    /// The session has asked for the directory's variables for these phones.
    Found(Vec<Endpoint>),
    /// The phones can be rung.
    Known(Vec<wire::Contact>),
}

impl Session<'_> {
    /// Finds the phones of an agent: the one that `dial` names, or else all that are registered for the account. Asks
    /// FreeSWITCH which these are, unless there is known to be one, because `originate` to the account would ring only
    /// one.
    pub(super) fn find_phones(&mut self, offer: OfferId, agent: AgentId) -> Result<Option<Input>, TextError> {
        let phone = self.shared.floor.agent(&agent, |a| a.settings().clone()).ok_or(TextError::Empty)?;
        let phones = self.shared.floor.registrations();
        if phone.dial.is_some() {
            return Ok(Some(Input::Phones(offer, Found::Dialled)));
        }
        if let Some(known) = phones.known(&agent) {
            return Ok(Some(Input::Phones(offer, Found::Registered(known))));
        }
        let asked = phones.asking(&agent);
        self.outbox.ask(Command::Api(wire::phones(&phone, &self.settings)?), Watched::Phones(offer));
        self.phones.insert(offer, Phones::Asked(agent, asked));
        Ok(None)
    }

    /// Handles FreeSWITCH's answer about the phones of an agent. Without an answer, the directory decides.
    pub(super) fn found(&mut self, offer: OfferId, outcome: Outcome) {
        let Some(Phones::Asked(agent, asked)) = self.phones.remove(&offer) else { return };
        let mut contacts = match outcome {
            Outcome::Done(reply) => {
                let contacts = Contacts::read(&reply.body_text());
                self.shared.floor.registrations().found(&agent, asked, contacts.count());
                contacts
            }
            Outcome::Refused(text) => {
                tracing::debug!(%agent, %text, "FreeSWITCH does not list the phones of an agent");
                Contacts::default()
            }
            Outcome::Unknown(why) => {
                tracing::warn!(%agent, %why, "FreeSWITCH did not list the phones of an agent");
                Contacts::default()
            }
        };
        for (contact, why) in &contacts.refused {
            if self.shared.floor.registrations().is_new(&agent, contact) {
                tracing::warn!(%agent, ?contact, %why, "one of an agent's phones cannot be dialled separately: offers do not ring it beside the others");
            }
        }
        let several = contacts.count() > 1 && !contacts.phones.is_empty();
        if !several {
            let count = u8::from(contacts.count() > 0);
            return self.tell(Input::Phones(offer, Found::Registered(count)));
        }
        contacts.phones.truncate(usize::from(MOST_PHONES));
        let domain = self.settings.domain.as_deref().or(self.channel.domain.as_deref());
        match domain.map(|domain| directory::ask(&agent, domain)) {
            Some(Ok(call)) => {
                self.phones.insert(offer, Phones::Found(contacts.phones));
                self.outbox.ask(Command::Api(call), Watched::Directory(offer));
                self.flush();
            }
            _ => self.ring_each(offer, contacts.phones, &Entry::default()),
        }
    }

    /// Handles the directory's answer for an agent with several phones.
    pub(super) fn read_directory(&mut self, offer: OfferId, outcome: Outcome) {
        let Some(Phones::Found(phones)) = self.phones.remove(&offer) else { return };
        let entry = match outcome {
            Outcome::Done(reply) => directory::read(&reply.body_text()),
            Outcome::Refused(text) => {
                tracing::debug!(%offer, %text, "FreeSWITCH does not return an agent's directory entry");
                Entry::default()
            }
            Outcome::Unknown(why) => {
                tracing::warn!(%offer, %why, "FreeSWITCH did not return an agent's directory entry");
                Entry::default()
            }
        };
        self.ring_each(offer, phones, &entry);
    }

    fn ring_each(&mut self, offer: OfferId, phones: Vec<Endpoint>, entry: &Entry) {
        let count = u8::try_from(phones.len()).unwrap_or(MOST_PHONES);
        let contact = |endpoint| wire::Contact { endpoint, entry: entry.clone() };
        self.phones.insert(offer, Phones::Known(phones.into_iter().map(contact).collect()));
        self.tell(Input::Phones(offer, Found::Registered(count)));
    }

    /// Originates a leg to one of an agent's phones.
    pub(super) fn originate(&mut self, leg: LegId, agent: &AgentId, first_wins: bool) -> Result<(), TextError> {
        let queue = self.desk.queue().and_then(|q| self.shared.floor.participants(q));
        let phone = self.shared.floor.agent(agent, |a| a.settings().clone());
        let (Some(queue), Some(phone)) = (queue, phone) else { return Err(TextError::Empty) };
        let has_hash = self.shared.mod_hash.load(Ordering::Relaxed);
        if first_wins && !has_hash && leg.phone == 0 {
            self.outbox.ask(Command::Api(wire::has_mod_hash()?), Watched::ModHash);
        }
        let contact = match self.phones.get(&leg.offer) {
            Some(Phones::Known(contacts)) => contacts.get(usize::from(leg.phone)),
            _ => None,
        };
        let race = first_wins && has_hash;
        let (filters, call) = wire::ring(leg.uuid(), contact, race, &phone, &queue, &self.channel, &self.settings)?;
        self.outbox.filter(leg, filters);
        self.outbox.ask(self.courier.send(leg, call), Watched::Ring(leg));
        Ok(())
    }

    /// Ends a leg of which the directory's dial string made a loopback: that takes itself out of the conversation, and
    /// the agent would count as free while talking (Q104).
    pub(super) fn refuse_loopback(&mut self, leg: LegId) {
        if let Some(agent) = self.call.agent_of(leg.offer).cloned()
            && self.shared.floor.registrations().is_new(&agent, "loopback/")
        {
            tracing::warn!(
                %agent,
                "the directory rings an agent through `loopback/`, which FreeSWITCH takes out of the conversation, so offers to this agent fail; write where it leads in the user's dial-string, or as the agent's `dial`"
            );
        }
        match wire::refuse_loopback(leg.uuid()) {
            Ok(call) => self.outbox.push(Command::Api(call)),
            Err(error) => tracing::error!(%error, "a command could not be built"),
        }
        self.tell(Input::Leg(leg, News::Created));
    }
}
