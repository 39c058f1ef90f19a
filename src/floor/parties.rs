//! The parties that replaced the caller in a conversation (Q103): the agent may go on talking with the third party of
//! an attended transfer, or with the party to whom the caller or an operator passed the agent on.

use std::sync::Arc;

use crate::acd::fact::Fact;
use crate::acd::ids::{CallId, OfferId};
use crate::acd::time::Now;

use super::{Floor, OfferKey, lock};

/// The party that talks with an agent in place of the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Party {
    /// The party's channel.
    pub channel: CallId,
    /// The party's number, reduced to safe characters; empty when it is withheld.
    pub number: Arc<str>,
}

impl Floor {
    /// The party that took the caller's place in the conversation of this offer.
    pub fn party(&self, offer: OfferId) -> Option<Party> {
        lock(&self.parties).get(&offer).cloned()
    }

    /// FreeSWITCH shows the agent of this offer bridged to a new party. Returns false when the conversation is over, or
    /// when this party is already known.
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
