//! The agents' phones: which there are, and the `originate` of each.

use std::sync::atomic::Ordering;

use crate::acd::call::Input;
use crate::acd::fact::MissCause;
use crate::acd::ids::{AgentId, LegId, OfferId};
use crate::acd::leg::{LegEnd, News};
use crate::acd::offer::{Found, MOST_PHONES};
use crate::esl::dial::VariableName;
use crate::esl::text::TextError;
use crate::esl::{Command, Contacts, Endpoint, Outcome, SafeText};
use crate::floor::AskedPhones;
use crate::telephony::{commands as wire, directory};

use super::{Session, Watched};

/// What a leg is told that could not even be ordered.
pub(super) const NOT_RUNG: News = News::Originated(Err(LegEnd::Missed(MissCause::Failed)));

/// What the numbers of an agent's phones stand for.
pub(super) enum Phones {
    /// FreeSWITCH was asked which phones there are.
    Asked(AgentId, AskedPhones),
    /// It was asked what the directory has for these.
    Found(Vec<Endpoint>),
    /// They can be rung.
    Known(Vec<wire::Contact>),
}

impl Session<'_> {
    /// Finds out which phones an agent has: one wherever `dial` says, or else all that are registered for the account.
    /// FreeSWITCH is asked which these are, unless it is known to be one, because to `originate` the account rings but
    /// one of them.
    pub(super) fn find_phones(&mut self, offer: OfferId, agent: AgentId) -> Result<Option<Input>, TextError> {
        let phone = self.shared.floor.agent(&agent, |a| a.settings().clone()).ok_or(TextError::Empty)?;
        let phones = self.shared.floor.phones();
        if phone.dial.is_some() {
            return Ok(Some(Input::Phones(offer, Found::Dialled)));
        }
        if let Some(known) = phones.known(&agent) {
            return Ok(Some(Input::Phones(offer, Found::Registered(known))));
        }
        let asked = phones.asking(&agent);
        self.out.push((Command::Api(wire::phones(&phone, &self.settings)?), Some(Watched::Phones(offer))));
        self.phones.insert(offer, Phones::Asked(agent, asked));
        Ok(None)
    }

    /// FreeSWITCH tells which phones an agent has. Where it does not, the directory decides.
    pub(super) fn found(&mut self, offer: OfferId, outcome: Outcome) {
        let Some(Phones::Asked(agent, asked)) = self.phones.remove(&offer) else { return };
        let mut contacts = match outcome {
            Outcome::Done(reply) => {
                let contacts = Contacts::read(&reply.body_text());
                self.shared.floor.phones().found(&agent, asked, contacts.count());
                contacts
            }
            Outcome::Refused(text) => {
                tracing::debug!(%agent, %text, "FreeSWITCH does not tell the phones of an agent");
                Contacts::default()
            }
            Outcome::Unknown(why) => {
                tracing::warn!(%agent, %why, "FreeSWITCH did not tell the phones of an agent");
                Contacts::default()
            }
        };
        for (contact, why) in &contacts.refused {
            if self.shared.floor.phones().is_new(&agent, contact) {
                tracing::warn!(%agent, ?contact, %why, "a phone of an agent cannot be rung by itself: no offer rings it beside the others");
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
                self.out.push((Command::Api(call), Some(Watched::Directory(offer))));
                self.flush();
            }
            _ => self.ring_each(offer, contacts.phones, Vec::new()),
        }
    }

    /// FreeSWITCH tells what the directory has for an agent with several phones.
    pub(super) fn read_directory(&mut self, offer: OfferId, outcome: Outcome) {
        let Some(Phones::Found(phones)) = self.phones.remove(&offer) else { return };
        let variables = match outcome {
            Outcome::Done(reply) => directory::variables(&reply.body_text()),
            Outcome::Refused(text) => {
                tracing::debug!(%offer, %text, "FreeSWITCH does not tell what its directory has for an agent");
                Vec::new()
            }
            Outcome::Unknown(why) => {
                tracing::warn!(%offer, %why, "FreeSWITCH did not tell what its directory has for an agent");
                Vec::new()
            }
        };
        self.ring_each(offer, phones, variables);
    }

    fn ring_each(&mut self, offer: OfferId, phones: Vec<Endpoint>, variables: Vec<(VariableName, SafeText)>) {
        let count = u8::try_from(phones.len()).unwrap_or(MOST_PHONES);
        let contact = |endpoint| wire::Contact { endpoint, variables: variables.clone() };
        self.phones.insert(offer, Phones::Known(phones.into_iter().map(contact).collect()));
        self.tell(Input::Phones(offer, Found::Registered(count)));
    }

    /// Rings one of an agent's phones.
    pub(super) fn originate(&mut self, leg: LegId, agent: &AgentId, first_wins: bool) -> Result<(), TextError> {
        let queue = self.desk.queue().and_then(|q| self.shared.floor.participants(q));
        let phone = self.shared.floor.agent(agent, |a| a.settings().clone());
        let (Some(queue), Some(phone)) = (queue, phone) else { return Err(TextError::Empty) };
        let has_hash = self.shared.mod_hash.load(Ordering::Relaxed);
        if first_wins && !has_hash && leg.phone == 0 {
            self.out.push((Command::Api(wire::has_mod_hash()?), Some(Watched::ModHash)));
        }
        let contact = match self.phones.get(&leg.offer) {
            Some(Phones::Known(contacts)) => contacts.get(usize::from(leg.phone)),
            _ => None,
        };
        let race = first_wins && has_hash;
        let (filters, call) = wire::ring(leg.uuid(), contact, race, &phone, &queue, &self.channel, &self.settings)?;
        self.out.extend(filters.map(|command| (command, None)));
        let command = self.courier.send(leg, call);
        self.out.push((command, Some(Watched::Ring(leg))));
        self.filtered.insert(leg);
        Ok(())
    }
}
