//! With whom agents talk, where it is not the caller any more (Q103): a conversation may go on with the third party of an
//! attended transfer, or with whomever the caller or an operator passed the agent on to.

use std::sync::Arc;

use crate::acd::fact::Fact;
use crate::acd::ids::{CallId, OfferId};
use crate::acd::time::Now;

use super::{Floor, OfferKey, lock};

/// Who talks with an agent in place of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The channel.
    pub channel: CallId,
    /// The number, reduced to safe characters; empty where it is withheld.
    pub number: Arc<str>,
}

impl Floor {
    /// Who has taken the caller's place in the conversation of this offer.
    pub fn party(&self, offer: OfferId) -> Option<Party> {
        lock(&self.parties).get(&offer).cloned()
    }

    /// The agent of this offer was seen to talk with somebody else than before. False when the conversation is over, or
    /// that was known.
    pub fn party_changed(&self, key: &OfferKey, party: Party, now: Now) -> bool {
        let held: Vec<OfferId> = self.held().iter().filter(|h| h.talking).map(|h| h.key.offer).collect();
        {
            let mut parties = lock(&self.parties);
            parties.retain(|offer, _| held.contains(offer));
            if !held.contains(&key.offer) || parties.get(&key.offer).is_some_and(|known| known.channel == party.channel)
            {
                return false;
            }
            parties.insert(key.offer, party.clone());
        }
        let OfferKey { offer, call, queue, agent } = key.clone();
        self.record(
            now,
            Fact::PartyChanged { offer, call, queue, agent, party: party.number, party_channel: party.channel },
        );
        true
    }
}
