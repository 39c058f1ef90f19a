//! Dialled numbers: a queue, or a feature code with which an agent logs in or out.

use super::ids::{AgentId, QueueNumber};

/// The prefixes of the feature codes, and what a lamp key does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureCodes {
    /// Dialled before the queue's number to log in.
    pub login: String,
    /// Dialled before the queue's number to log out.
    pub logout: String,
    /// Whether the lamp key of the agent's own phone logs out when its lamp is lit.
    pub toggle: bool,
}

impl Default for FeatureCodes {
    fn default() -> Self {
        Self { login: "*41".to_owned(), logout: "*42".to_owned(), toggle: false }
    }
}

/// The meaning of a dialled number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// Wait in this queue.
    Queue(QueueNumber),
    /// Log in to this queue, or out of it. The suffix of a lamp key names the agent whose lamp the key shows, not the
    /// agent who dials.
    Feature {
        /// In (true) or out.
        login: bool,
        /// The queue.
        queue: QueueNumber,
        /// The agent in the lamp key's suffix, if one was dialled.
        lamp: Option<AgentId>,
    },
    /// Neither.
    Other,
}

impl FeatureCodes {
    /// Whether a dialled code logs `agent` in, who dialled it. `login` and `lamp` are of [`Dialled::Feature`]; `is_in` is
    /// whether the agent is logged in to the queue, so that a lamp for this agent is lit.
    pub fn logs_in(&self, login: bool, lamp: Option<&AgentId>, agent: &AgentId, is_in: bool) -> bool {
        login && !(self.toggle && is_in && lamp == Some(agent))
    }

    /// Parses a dialled number.
    pub fn read(&self, dialled: &str) -> Dialled {
        let feature = |prefix: &str, login| {
            let rest = dialled.strip_prefix(prefix)?;
            let (number, lamp) = match rest.split_once('*') {
                Some((number, agent)) => (number, Some(AgentId::new(agent).ok()?)),
                None => (rest, None),
            };
            Some(Dialled::Feature { login, queue: QueueNumber::new(number).ok()?, lamp })
        };
        feature(&self.login, true)
            .or_else(|| feature(&self.logout, false))
            .or_else(|| QueueNumber::new(dialled).ok().map(Dialled::Queue))
            .unwrap_or(Dialled::Other)
    }
}

/// The SIP user that FreeSWITCH authenticated for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    /// The user of the SIP account.
    pub user: String,
    /// The directory domain it belongs to.
    pub domain: Option<String>,
    /// Whether the user placed the call to the served number, rather than being transferred to it.
    pub placed: bool,
}

impl Authenticated {
    /// Whether the user belongs to this domain.
    pub fn is_of(&self, domain: &str) -> bool {
        self.domain.as_deref().is_some_and(|has| has.eq_ignore_ascii_case(domain))
    }
}

/// The answer played to the agent after a feature code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureAnswer {
    /// Logged in.
    LoggedIn,
    /// Logged out.
    LoggedOut,
    /// There is no such queue.
    NoSuchQueue,
    /// The user is not a participant of the queue.
    NotAMember,
    /// The call does not come from an authenticated phone.
    NotAuthenticated,
    /// The change cannot be made now.
    Failed,
}

/// Returns the agent whose login a feature code changes. `domain` is the domain in which this agent is rung; a user of
/// the same name in another domain is somebody else. Only the authenticated user counts, and only a call that this user
/// placed to the code: a colleague who transfers the user's call there must not log the user in or out.
///
/// # Errors
/// Returns the refusal to play to the caller.
pub fn authorise(
    who: Option<&Authenticated>,
    domain: &str,
    participants: Option<&[AgentId]>,
) -> Result<AgentId, FeatureAnswer> {
    let who = who.filter(|who| who.placed && who.is_of(domain)).ok_or(FeatureAnswer::NotAuthenticated)?;
    let participants = participants.ok_or(FeatureAnswer::NoSuchQueue)?;
    participants.iter().find(|p| p.as_str() == who.user).cloned().ok_or(FeatureAnswer::NotAMember)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn q(n: &str) -> QueueNumber {
        QueueNumber::new(n).unwrap()
    }

    /// Q14, Q16: the codes, with and without the lamp key's suffix.
    #[test]
    fn feature_codes_are_parsed() {
        let codes = FeatureCodes::default();
        let feature = |login, n, lamp: Option<&str>| Dialled::Feature {
            login,
            queue: q(n),
            lamp: lamp.map(|l| AgentId::new(l).unwrap()),
        };
        assert_eq!(codes.read("99900"), Dialled::Queue(q("99900")));
        assert_eq!(codes.read("*4199900"), feature(true, "99900", None));
        assert_eq!(codes.read("*4299900"), feature(false, "99900", None));
        assert_eq!(codes.read("*4199900*1001"), feature(true, "99900", Some("1001")));
        for odd in ["", "*41", "*42x", "*4199900*", "*4199900*10;1", "*4399900", "1001@x", "*4199900*1*1"] {
            assert_eq!(codes.read(odd), Dialled::Other, "{odd}");
        }
    }

    /// Q16: with `toggle`, only the key for the agent's own lamp logs out, and only while the lamp is lit.
    #[test]
    fn a_lamp_key_may_toggle() {
        let (anna, bruno) = (AgentId::new("1001").unwrap(), AgentId::new("1002").unwrap());
        let usual = FeatureCodes::default();
        let toggles = FeatureCodes { toggle: true, ..usual.clone() };
        assert!(!toggles.logs_in(true, Some(&anna), &anna, true));
        for (lamp, is_in) in [(Some(&anna), false), (Some(&bruno), true), (None, true)] {
            assert!(toggles.logs_in(true, lamp, &anna, is_in), "{lamp:?} {is_in}");
        }
        assert!(usual.logs_in(true, Some(&anna), &anna, true));
        assert!(!toggles.logs_in(false, Some(&anna), &anna, false));
    }

    /// Q14: only an authenticated user of the agent's domain who is a participant is authorised.
    #[test]
    fn only_an_authenticated_participant_is_authorised() {
        let list = [AgentId::new("1001").unwrap()];
        let who = |user: &str, domain: &str| {
            let (user, domain) = (user.into(), Some(domain.into()));
            Authenticated { user, domain, placed: true }
        };
        assert_eq!(authorise(Some(&who("1001", "LAB")), "lab", Some(&list)).unwrap().as_str(), "1001");
        let nowhere = Authenticated { domain: None, ..who("1001", "") };
        let sent = Authenticated { placed: false, ..who("1001", "lab") };
        let others = [&who("1001", "other"), &who("1001", "lab.other"), &nowhere, &sent];
        for stranger in others.into_iter().map(Some).chain([None]) {
            assert_eq!(authorise(stranger, "lab", Some(&list)), Err(FeatureAnswer::NotAuthenticated), "{stranger:?}");
        }
        assert_eq!(authorise(Some(&who("1002", "lab")), "lab", Some(&list)), Err(FeatureAnswer::NotAMember));
        assert_eq!(authorise(Some(&who("1001", "lab")), "lab", None), Err(FeatureAnswer::NoSuchQueue));
    }
}
