//! Follows agents who talk with another party than the caller they were connected to (Q103).

use std::sync::Arc;

use crate::acd::ids::CallId;
use crate::esl::{ApiCall, ChannelId, Event, Outcome};
use crate::floor::{HeldView, OfferKey, Party};
use crate::telephony::channel::number_of;

use super::super::survey::Survey;
use super::{Answer, Up, done};

impl Up<'_> {
    /// Asks for the channels that our agents talk with instead of their callers.
    pub(super) fn ask_for_parties(&mut self, survey: &Survey, held: &[HeldView]) {
        let floor = self.switches.floor.clone();
        let with = |h: &HeldView| floor.party(h.key.offer).map_or_else(|| h.key.call.clone(), |party| party.channel);
        for (key, other) in survey.parties(held, with) {
            if let Ok(channel) = ChannelId::new(other.as_str()) {
                self.ask(ApiCall::uuid_dump(&channel), move |outcome| Answer::Party(key, other, outcome));
            }
        }
    }

    /// Handles FreeSWITCH's answer about such a channel.
    pub(super) fn party(&self, key: &OfferKey, channel: CallId, outcome: Outcome) {
        let Some(dump) = done(outcome).and_then(|reply| Event::json(reply.body_text().as_bytes(), 4096)) else {
            return;
        };
        let number: Arc<str> = Arc::from(number_of(&dump).as_str());
        let party = Party { channel, number };
        if self.switches.floor.party_changed(key, party.clone(), self.switches.clock.now()) {
            tracing::info!(agent = %key.agent, leg = %key.offer, with = %party.channel, "an agent talks with another party than the caller");
        }
    }
}
