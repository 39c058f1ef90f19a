//! The agents' phones: which there are, and the `originate` of each.

use std::sync::atomic::Ordering;

use crate::acd::call::Input;
use crate::acd::fact::MissCause;
use crate::acd::ids::{AgentId, LegId, OfferId};
use crate::acd::leg::{LegEnd, News};
use crate::acd::offer::MOST_PHONES;
use crate::esl::text::TextError;
use crate::esl::{Command, Endpoint, Outcome};
use crate::floor::AskedPhones;
use crate::telephony::commands as wire;

use super::{Session, Watched};

/// What a leg is told that could not even be ordered.
pub(super) const NOT_RUNG: News = News::Originated(Err(LegEnd::Missed(MissCause::Failed)));

/// What the numbers of an agent's phones stand for.
pub(super) enum Contacts {
    /// FreeSWITCH was asked.
    Asked(AgentId, AskedPhones),
    /// Several phones, each where it is registered.
    Found(Vec<Endpoint>),
}

impl Session<'_> {
    /// Finds out which phones an agent has: one wherever `dial` says, or else all that are registered for the account.
    /// FreeSWITCH is asked which these are, unless it is known to be one, because to `originate` the account rings but
    /// one of them.
    pub(super) fn find_phones(&mut self, offer: OfferId, agent: AgentId) -> Result<Option<Input>, TextError> {
        let phone = self.shared.floor.agent(&agent, |a| a.settings().clone()).ok_or(TextError::Empty)?;
        let phones = self.shared.floor.phones();
        if phone.dial.is_some() || phones.is_one(&agent) {
            return Ok(Some(Input::Phones(offer, 1)));
        }
        let asked = phones.asking(&agent);
        self.out.push((Command::Api(wire::phones(&phone, self.settings)?), Some(Watched::Phones(offer))));
        self.contacts.insert(offer, Contacts::Asked(agent, asked));
        Ok(None)
    }

    /// FreeSWITCH tells which phones an agent has. Where it does not, the directory decides.
    pub(super) fn found(&mut self, offer: OfferId, outcome: Outcome) {
        let Some(Contacts::Asked(agent, asked)) = self.contacts.remove(&offer) else { return };
        let mut contacts = match outcome {
            Outcome::Done(reply) => {
                let contacts = Endpoint::contacts(&reply.body_text());
                self.shared.floor.phones().found(&agent, asked, contacts.len());
                contacts
            }
            Outcome::Refused(text) => {
                tracing::debug!(%agent, %text, "FreeSWITCH does not tell the phones of an agent");
                Vec::new()
            }
            Outcome::Unknown(why) => {
                tracing::warn!(%agent, %why, "FreeSWITCH did not tell the phones of an agent");
                Vec::new()
            }
        };
        contacts.truncate(usize::from(MOST_PHONES));
        let count = (0..MOST_PHONES).zip(&contacts).count();
        if contacts.len() > 1 {
            self.contacts.insert(offer, Contacts::Found(contacts));
        }
        self.tell(Input::Phones(offer, u8::try_from(count).unwrap_or(MOST_PHONES)));
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
        let contact = match self.contacts.get(&leg.offer) {
            Some(Contacts::Found(contacts)) => contacts.get(usize::from(leg.phone)),
            _ => None,
        };
        let race = first_wins && has_hash;
        let (filters, call) = wire::ring(leg.uuid(), contact, race, &phone, &queue, &self.channel, self.settings)?;
        self.out.extend(filters.map(|command| (command, None)));
        let command = self.courier.send(leg, call);
        self.out.push((command, Some(Watched::Ring(leg))));
        self.filtered.insert(leg);
        Ok(())
    }
}
