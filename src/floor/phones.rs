//! Which agents are known to have one phone, so that nobody need ask before it is rung.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::acd::ids::AgentId;

/// What is known of the registrations of agents' accounts, at the one switch there is. Nothing is known unless somebody
/// [listens](Self::listen) to what registers there.
#[derive(Debug, Default)]
pub struct Phones {
    accounts: DashMap<AgentId, Account>,
    /// How often somebody began or ceased to listen; odd while somebody does.
    listened: AtomicU64,
}

/// How many contacts of one account somebody is told of.
const MOST_TOLD: usize = 16;

#[derive(Debug, Default)]
struct Account {
    /// The `Call-ID` with which the account's last phone registered: the same for as long as it is the same phone
    /// (RFC 3261, section 10.2.4).
    last: Option<Box<str>>,
    /// How often something came that makes what was asked before worthless.
    round: u64,
    /// How many phones it has, where that is one or none.
    few: Option<u8>,
    /// Contacts that cannot be rung, of which somebody was told.
    told: Vec<Box<str>>,
    /// While whom it was learnt listening to.
    listened: u64,
}

/// When the phones of an account were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedPhones {
    listened: u64,
    round: u64,
}

impl Phones {
    /// From now on whatever registers is [told](Self::registered) here; or no longer. What was known is forgotten.
    pub fn listen(&self, on: bool) {
        let next = |listened: u64| Some((listened | 1) + if on { 2 } else { 1 });
        let _ = self.listened.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    fn listened(&self) -> u64 {
        self.listened.load(Ordering::Acquire)
    }

    /// How many phones the agent has, where it is known to be one or none.
    pub fn known(&self, agent: &AgentId) -> Option<u8> {
        let listened = self.listened();
        self.accounts.get(agent).filter(|account| account.listened == listened).and_then(|account| account.few)
    }

    /// Somebody is about to ask for the agent's phones.
    pub fn asking(&self, agent: &AgentId) -> AskedPhones {
        AskedPhones { listened: self.listened(), round: self.accounts.get(agent).map_or(0, |account| account.round) }
    }

    /// So many phones were found. Too late when one has registered in between.
    pub fn found(&self, agent: &AgentId, asked: AskedPhones, count: usize) {
        let listened = self.listened();
        if listened.is_multiple_of(2) || listened != asked.listened {
            return;
        }
        let mut account = self.accounts.entry(agent.clone()).or_default();
        if account.round == asked.round {
            (account.few, account.listened) = (u8::try_from(count).ok().filter(|count| *count <= 1), listened);
        }
    }

    /// Whether nobody was told yet that this contact of the agent cannot be rung: true once for as long as nothing else
    /// registers.
    pub fn is_new(&self, agent: &AgentId, contact: &str) -> bool {
        let mut account = self.accounts.entry(agent.clone()).or_default();
        let new = account.told.len() < MOST_TOLD && account.told.iter().all(|told| **told != *contact);
        if new {
            account.told.push(Box::from(contact));
        }
        new
    }

    /// A phone of the agent's account registered, with this `Call-ID`: another one than before, unless that is the same.
    /// `None`: one registered without telling, or is registered no longer.
    pub fn registered(&self, agent: &AgentId, call_id: Option<&str>) {
        let mut account = self.accounts.entry(agent.clone()).or_default();
        if call_id.is_none() || account.last.as_deref() != call_id {
            *account = Account { last: call_id.map(Box::from), round: account.round + 1, ..Account::default() };
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn anna() -> AgentId {
        AgentId::new("1001").unwrap()
    }
    fn listening() -> Phones {
        let phones = Phones::default();
        phones.listen(true);
        phones
    }
    fn one() -> Phones {
        let phones = listening();
        phones.registered(&anna(), Some("desk"));
        phones.found(&anna(), phones.asking(&anna()), 1);
        assert_eq!(phones.known(&anna()), Some(1));
        phones
    }

    /// Q8: one phone stays one while it is the same that registers.
    #[test]
    fn the_same_phone_again_is_no_other() {
        let phones = one();
        phones.registered(&anna(), Some("desk"));
        assert_eq!(phones.known(&anna()), Some(1));
        phones.registered(&anna(), Some("soft"));
        assert_eq!(phones.known(&anna()), None);
        phones.found(&anna(), phones.asking(&anna()), 2);
        assert_eq!(phones.known(&anna()), None);
    }

    /// Q8: an answer that was on its way while another phone registered counts for nothing.
    #[test]
    fn what_was_asked_before_is_not_known_after() {
        let phones = one();
        let asked = phones.asking(&anna());
        phones.registered(&anna(), Some("soft"));
        phones.found(&anna(), asked, 1);
        assert_eq!(phones.known(&anna()), None);
        phones.found(&anna(), phones.asking(&anna()), 1);
        phones.registered(&anna(), None);
        assert_eq!(phones.known(&anna()), None, "it may be any");
        // The other phone, whose Call-ID was the last, goes and comes back.
        phones.registered(&anna(), Some("soft"));
        phones.registered(&anna(), None);
        phones.found(&anna(), phones.asking(&anna()), 1);
        phones.registered(&anna(), Some("soft"));
        assert_eq!(phones.known(&anna()), None);
    }

    /// Q8: without somebody who listens nothing is known, and what was known before is not known again.
    #[test]
    fn nothing_is_known_unheard() {
        let phones = one();
        let asked = phones.asking(&anna());
        phones.listen(false);
        assert_eq!(phones.known(&anna()), None);
        phones.listen(true);
        phones.found(&anna(), asked, 1);
        assert_eq!(phones.known(&anna()), None);
        let unheard = Phones::default();
        unheard.found(&anna(), unheard.asking(&anna()), 1);
        assert_eq!(unheard.known(&anna()), None);
    }
}
