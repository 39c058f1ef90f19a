//! Calls, offers and conversations that have begun and not ended, folded from the records: a restart must resume them.

use std::collections::{BTreeMap, HashMap};

use crate::acd::fact::{Fact, Record};
use crate::acd::ids::{CallId, OfferId};
use crate::acd::restored::Restored;

use super::store::Numbered;

/// The records of all calls, offers and conversations that have begun and not ended.
#[derive(Debug, Default)]
pub struct Unended {
    /// Boxed, because the nodes of the map are only half full.
    all: BTreeMap<u64, Box<Record>>,
    waiting: HashMap<CallId, u64>,
    offers: HashMap<OfferId, u64>,
    talks: HashMap<OfferId, u64>,
}

impl Unended {
    /// Takes the next record.
    pub fn take(&mut self, next: &Numbered) {
        let Numbered { number, record } = next;
        let (begun, ended) = match &record.fact {
            Fact::CallEntered { call, .. } => (true, self.waiting.insert(call.clone(), *number)),
            Fact::OfferMade { offer, .. } => (true, self.offers.insert(*offer, *number)),
            Fact::OfferMissed { offer, .. } | Fact::OfferCancelled { offer, .. } => (false, self.offers.remove(offer)),
            Fact::CallAnswered { offer, call, .. } => {
                self.all.remove(&self.waiting.remove(call).unwrap_or_default());
                self.all.remove(&self.offers.remove(offer).unwrap_or_default());
                (true, self.talks.insert(*offer, *number))
            }
            Fact::ConversationEnded { offer, .. } => (false, self.talks.remove(offer)),
            Fact::CallAbandoned { call, .. }
            | Fact::CallTimedOut { call, .. }
            | Fact::CallReturned { call, .. }
            | Fact::CallTaken { call, .. }
            | Fact::CallLost { call, .. } => (false, self.waiting.remove(call)),
            Fact::CallRefused { .. }
            | Fact::CallWentOn { .. }
            | Fact::HeadStartChanged { .. }
            | Fact::PartyChanged { .. }
            | Fact::AgentLoggedIn { .. }
            | Fact::ShiftBegan { .. }
            | Fact::AgentLoggedOut { .. }
            | Fact::WrapUpStarted { .. }
            | Fact::WrapUpEnded { .. } => (false, None),
        };
        if let Some(before) = ended {
            self.all.remove(&before);
        }
        if begun {
            self.all.insert(*number, Box::new(record.clone()));
        }
    }

    /// The number of the oldest of these records; a restart needs no earlier record.
    pub fn oldest(&self) -> Option<u64> {
        self.all.keys().next().copied()
    }

    /// Adds all of these records to `into`, in order.
    pub fn restore(&self, into: &mut Restored) {
        for record in self.all.values() {
            let kind = match &record.fact {
                Fact::CallEntered { .. } => &mut into.waiting,
                Fact::OfferMade { .. } => &mut into.offers,
                _ => &mut into.conversations,
            };
            kind.push(Record::clone(record));
        }
    }
}
