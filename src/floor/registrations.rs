//! Caches which agents have at most one registered phone, so that a call can skip the query before `originate`.

use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::acd::ids::AgentId;

/// The known registrations of agents' accounts on the one FreeSWITCH. The cache stays empty unless the link
/// [subscribes](Self::listen) to registration events.
#[derive(Debug, Default)]
pub struct Registrations {
    accounts: DashMap<AgentId, Account>,
    /// Counts subscriptions and their ends; odd while a subscription is active.
    listened: AtomicU64,
}

/// The most contacts of one account that are reported as impossible to ring.
const MOST_REPORTED: usize = 16;

#[derive(Debug, Default)]
struct Account {
    /// The `Call-ID` with which the account's last phone registered: the same for as long as it is the same phone
    /// (RFC 3261, section 10.2.4).
    last: Option<Box<str>>,
    /// Counts the registration events that make earlier queries out of date.
    round: u64,
    /// The number of phones, if it is one or none.
    few: Option<u8>,
    /// The contacts already reported as impossible to ring.
    reported: Vec<Box<str>>,
    /// The subscription under which `few` was learnt.
    listened: u64,
}

/// Marks the moment of a query for an account's phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedRegistrations {
    listened: u64,
    round: u64,
}

impl Registrations {
    /// Starts a subscription, whose events go to [`registered`](Self::registered), or ends it. Either way the cache is
    /// cleared.
    pub fn listen(&self, on: bool) {
        let next = |listened: u64| Some((listened | 1) + if on { 2 } else { 1 });
        let _ = self.listened.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    fn listened(&self) -> u64 {
        self.listened.load(Ordering::Acquire)
    }

    /// The agent's number of phones, if it is known to be one or none.
    pub fn known(&self, agent: &AgentId) -> Option<u8> {
        let listened = self.listened();
        self.accounts.get(agent).filter(|account| account.listened == listened).and_then(|account| account.few)
    }

    /// Marks the start of a query for the agent's phones.
    pub fn asking(&self, agent: &AgentId) -> AskedRegistrations {
        AskedRegistrations {
            listened: self.listened(),
            round: self.accounts.get(agent).map_or(0, |account| account.round),
        }
    }

    /// Takes the number of phones that the query found. An answer is dropped when a phone has registered since the
    /// query started.
    pub fn found(&self, agent: &AgentId, asked: AskedRegistrations, count: usize) {
        let listened = self.listened();
        if listened.is_multiple_of(2) || listened != asked.listened {
            return;
        }
        let mut account = self.accounts.entry(agent.clone()).or_default();
        if account.round == asked.round {
            (account.few, account.listened) = (u8::try_from(count).ok().filter(|count| *count <= 1), listened);
        }
    }

    /// Whether this contact has not yet been reported as impossible to ring. Returns true once, until another phone of
    /// the account registers.
    pub fn is_new(&self, agent: &AgentId, contact: &str) -> bool {
        let mut account = self.accounts.entry(agent.clone()).or_default();
        let new =
            account.reported.len() < MOST_REPORTED && account.reported.iter().all(|reported| **reported != *contact);
        if new {
            account.reported.push(Box::from(contact));
        }
        new
    }

    /// A phone of the agent's account has registered with this `Call-ID`; a changed `Call-ID` means another phone.
    /// `None` stands for a registration without a `Call-ID`, or for one that ended.
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
    fn listening() -> Registrations {
        let phones = Registrations::default();
        phones.listen(true);
        phones
    }
    fn one() -> Registrations {
        let phones = listening();
        phones.registered(&anna(), Some("desk"));
        phones.found(&anna(), phones.asking(&anna()), 1);
        assert_eq!(phones.known(&anna()), Some(1));
        phones
    }

    /// Q8: a phone that registers again with the same `Call-ID` is still the only one.
    #[test]
    fn the_same_phone_registering_again_keeps_the_count() {
        let phones = one();
        phones.registered(&anna(), Some("desk"));
        assert_eq!(phones.known(&anna()), Some(1));
        phones.registered(&anna(), Some("soft"));
        assert_eq!(phones.known(&anna()), None);
        phones.found(&anna(), phones.asking(&anna()), 2);
        assert_eq!(phones.known(&anna()), None);
    }

    /// Q8: an answer is dropped when another phone registered while it was on its way.
    #[test]
    fn a_registration_invalidates_an_earlier_query() {
        let phones = one();
        let asked = phones.asking(&anna());
        phones.registered(&anna(), Some("soft"));
        phones.found(&anna(), asked, 1);
        assert_eq!(phones.known(&anna()), None);
        phones.found(&anna(), phones.asking(&anna()), 1);
        phones.registered(&anna(), None);
        assert_eq!(phones.known(&anna()), None, "it may be any phone");
        // The other phone, which had the last Call-ID, unregisters and registers again.
        phones.registered(&anna(), Some("soft"));
        phones.registered(&anna(), None);
        phones.found(&anna(), phones.asking(&anna()), 1);
        phones.registered(&anna(), Some("soft"));
        assert_eq!(phones.known(&anna()), None);
    }

    /// Q8: nothing is known without a subscription, and a new subscription starts empty.
    #[test]
    fn nothing_is_known_without_a_subscription() {
        let phones = one();
        let asked = phones.asking(&anna());
        phones.listen(false);
        assert_eq!(phones.known(&anna()), None);
        phones.listen(true);
        phones.found(&anna(), asked, 1);
        assert_eq!(phones.known(&anna()), None);
        let unsubscribed = Registrations::default();
        unsubscribed.found(&anna(), unsubscribed.asking(&anna()), 1);
        assert_eq!(unsubscribed.known(&anna()), None);
    }
}
