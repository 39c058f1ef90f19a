//! The agents' phones: which there are, the orders to ring them, and what is heard of their legs.

use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::acd::call::Input;
use crate::acd::fact::MissCause;
use crate::acd::ids::{AgentId, OfferId};
use crate::acd::leg::LegEnd;
use crate::esl::text::TextError;
use crate::esl::{Cause, Command, Endpoint, Outcome};
use crate::session::several::Several;
use crate::telephony::commands as wire;
use crate::telephony::events::News;

use super::{Order, Session, Watched};

/// How many phones of one account are rung.
const MOST_PHONES: u8 = 8;

/// When so many calls begin at once, FreeSWITCH takes longer to read an order to ring than the channel takes to come to
/// its next frame, which is when it carries one out (20 ms at most).
const CROWD: usize = 4;

impl Session<'_> {
    /// FreeSWITCH tells something of an agent's leg.
    pub(super) fn heard(&mut self, leg: Uuid, news: News) {
        let offer = OfferId::of_leg(leg);
        let Some(several) = self.several.get_mut(&offer) else { return self.tell(news.of(offer)) };
        let follows = several.heard(leg, news);
        for other in follows.stop {
            self.out.push((Command::Api(wire::end_leg(other, Cause::LoseRace)), Some(Watched::CallOff(other))));
        }
        match follows.tell {
            Some(news) => self.tell(news.of(offer)),
            None => self.flush(),
        }
    }

    /// The channel was to order a phone to ring, and did, or may not.
    pub(super) fn carried_out(&mut self, done: bool) {
        let Some((leg, call)) = self.to_carry_out.pop_front().filter(|_| !done) else { return };
        if self.shared.by_channel.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "FreeSWITCH lets no channel use its API; set api-expansion to true in switch.conf.xml: spoken positions and messages need it"
            );
        }
        self.out.push((Command::BgApi { job: leg, call }, Some(Watched::Ring(leg))));
        self.flush();
    }

    /// The channel is gone, and with it what it had not done yet.
    pub(super) fn nothing_is_carried_out(&mut self) {
        for (leg, _) in std::mem::take(&mut self.to_carry_out) {
            self.heard(leg, News::Originated(Err(LegEnd::Elsewhere)));
        }
    }

    /// The legs of an offer that FreeSWITCH may have.
    pub(super) fn legs_of(&self, offer: OfferId) -> Vec<Uuid> {
        self.several.get(&offer).map_or_else(|| vec![offer.0], |several| several.living().collect())
    }

    /// Rings an agent, wherever `dial` says, or else on every phone that is registered for the account: FreeSWITCH is
    /// asked which these are, unless it is known to be one, because an order to ring the account rings but one of them.
    pub(super) fn ring(&mut self, offer: OfferId, agent: AgentId, shared: bool) -> Result<(), TextError> {
        let phone = self.shared.floor.agent(&agent, |a| a.settings().clone()).ok_or(TextError::Empty)?;
        let phones = self.shared.floor.phones();
        if phone.dial.is_some() || phones.is_one(&agent) {
            return self.ring_phones(offer, &agent, shared, &[]);
        }
        let asked = phones.asking(&agent);
        self.out.push((Command::Api(wire::phones(&phone, self.settings)?), Some(Watched::Phones(offer))));
        self.asked.insert(offer, (agent, shared, asked));
        Ok(())
    }

    /// FreeSWITCH tells which phones an agent has. Where it does not, the directory decides.
    pub(super) fn found(&mut self, offer: OfferId, outcome: Outcome) {
        let Some((agent, shared, asked)) = self.asked.remove(&offer).filter(|_| self.call.agent_of(offer).is_some())
        else {
            return;
        };
        let contacts = match outcome {
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
        match self.ring_phones(offer, &agent, shared, &contacts) {
            Ok(()) => self.flush(),
            Err(error) => {
                tracing::error!(%agent, %error, "an agent cannot be rung; check the configured texts");
                self.tell(Input::Originated(offer, Err(LegEnd::Missed(MissCause::Failed))));
            }
        }
    }

    /// Rings these phones of an agent when there are several, and otherwise the one there is.
    fn ring_phones(
        &mut self,
        offer: OfferId,
        agent: &AgentId,
        shared: bool,
        contacts: &[Endpoint],
    ) -> Result<(), TextError> {
        let queue = self.desk.queue().and_then(|q| self.shared.floor.participants(q));
        let phone = self.shared.floor.agent(agent, |a| a.settings().clone());
        let (Some(queue), Some(phone)) = (queue, phone) else { return Err(TextError::Empty) };
        let several = contacts.len() > 1;
        let legs: Vec<(Uuid, Option<&Endpoint>)> = if several {
            (0..MOST_PHONES).zip(contacts).map(|(n, contact)| (offer.leg(n), Some(contact))).collect()
        } else {
            vec![(offer.0, None)]
        };
        let has_hash = self.shared.mod_hash.load(Ordering::Relaxed);
        let first_wins = shared || several;
        if first_wins && !has_hash {
            self.out.push((Command::Api(wire::has_mod_hash()?), Some(Watched::ModHash)));
        }
        let mut orders: Vec<Order> = Vec::new();
        for &(leg, contact) in &legs {
            let race = first_wins && has_hash;
            let (filters, call) = wire::ring(leg, contact, race, &phone, &queue, &self.channel, self.settings)?;
            orders.extend(filters.map(|command| (command, None)));
            let crowd = self.shared.beginning.load(Ordering::Relaxed) >= CROWD;
            let ready = crowd && self.can_be_connected && !self.may_be_busy;
            let ready = ready && self.shared.by_channel.load(Ordering::Relaxed);
            let short = ready.then(|| wire::by_channel(leg, &call)).flatten();
            if short.is_some() {
                self.to_carry_out.push_back((leg, call.clone()));
            }
            orders.push((short.unwrap_or(Command::BgApi { job: leg, call }), Some(Watched::Ring(leg))));
        }
        if several {
            self.several.insert(offer, Several::new(legs.iter().map(|(leg, _)| *leg)));
        }
        if self.can_be_connected {
            self.filtered.extend(legs.iter().map(|(leg, _)| *leg));
            self.out.extend(orders);
        } else {
            self.held_back.push((offer, orders));
        }
        Ok(())
    }
}
