//! The settings of queues and agents, as validated values.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fact::RefusalCause;
use super::ids::{AgentId, QueueNumber};
use super::rank::LONGEST_HEAD_START;

/// The order in which a queue offers a caller to its candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// In the order of the queue's list of participants.
    #[default]
    AsListed,
    /// Every candidate at once, up to a limit, the longest idle first; the first to answer gets the caller.
    Simultaneous,
    /// The agent whose last queue conversation ended longest ago comes first.
    LongestIdle,
    /// The next one behind the agent whom this queue offered a caller last, in list order, around.
    RoundRobin,
    /// The agent with the fewest queue conversations in the present shift comes first, then the longest idle.
    FewestCalls,
    /// The agent who has talked least in the queue conversations of the present shift comes first, then the longest
    /// idle.
    LeastTalkTime,
    /// A fresh random order for every caller.
    Random,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 7] = [
        Self::AsListed,
        Self::Simultaneous,
        Self::LongestIdle,
        Self::RoundRobin,
        Self::FewestCalls,
        Self::LeastTalkTime,
        Self::Random,
    ];

    /// Its name in the configuration file and everywhere else.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsListed => "as-listed",
            Self::Simultaneous => "simultaneous",
            Self::LongestIdle => "longest-idle",
            Self::RoundRobin => "round-robin",
            Self::FewestCalls => "fewest-calls",
            Self::LeastTalkTime => "least-talk-time",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The music for waiting callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Music {
    /// The Swiss and European ring tone: 425 Hz, 1 s on, 4 s off.
    #[default]
    Ringtone,
    /// A sound file on the FreeSWITCH machine, played in a loop.
    File(Arc<str>),
    /// A FreeSWITCH stream URL, such as `local_stream://moh`.
    Stream(Arc<str>),
}

/// A language of the spoken prompts, named like its folder of prompts, such as `de`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Language(pub Arc<str>);

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The action for a caller whose wait ended without an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// The call is hung up.
    #[default]
    Hangup,
    /// The call is transferred to an internal number.
    Transfer(Arc<str>),
    /// The caller goes to another queue.
    Queue(QueueNumber),
}

/// The treatment of callers whose wait ends without an agent, or who are not let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeout {
    /// A sound file on the FreeSWITCH machine, played to its end before the action.
    pub message: Option<Arc<str>>,
    /// The action that follows.
    pub action: TimeoutAction,
}

/// The highest number of phones that may ring for one caller at a time.
pub const MOST_AT_ONCE: u32 = 1000;

/// The settings of one queue. Everything but number, name and participants has a default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The number that callers dial.
    pub number: QueueNumber,
    /// The name shown to people.
    pub name: Arc<str>,
    /// The order in which agents are chosen.
    pub strategy: Strategy,
    /// The queue's agents, in list order and without duplicates.
    pub participants: Vec<AgentId>,
    /// How long a caller may wait; `None` means without limit.
    pub max_wait: Option<Duration>,
    /// How long an agent gets no offers after a conversation.
    pub wrap_up: Duration,
    /// How long one offer rings.
    pub ring_time: Duration,
    /// How many phones may ring for one caller at a time, with `simultaneous`.
    pub ring_at_most: usize,
    /// The head start of every caller of this queue, beside callers of other queues.
    pub head_start: Duration,
    /// The music that waiting callers hear.
    pub music: Music,
    /// The language of every prompt in this queue.
    pub language: Language,
    /// How often the position is announced to a waiting caller; `None` switches announcements off.
    pub announce_every: Option<Duration>,
    /// The treatment of callers whose wait ends without an agent.
    pub timeout: Timeout,
    /// How many callers may wait; `None` means any number. With 0 a caller is let in only if a phone can be rung at
    /// once.
    pub max_callers: Option<u32>,
    /// The treatment of callers who are one too many.
    pub full: Timeout,
    /// How many of the queue's callers may talk at once; `None` means any number.
    pub max_conversations: Option<u32>,
}

impl QueueSettings {
    /// Creates a queue with defaults for all other settings. The default language comes from the file, which sets it
    /// for all queues.
    pub fn new(number: QueueNumber, name: Arc<str>, participants: Vec<AgentId>, language: Language) -> Self {
        Self {
            number,
            name,
            strategy: Strategy::default(),
            participants,
            max_wait: None,
            wrap_up: Duration::ZERO,
            ring_time: Duration::from_secs(20),
            ring_at_most: MOST_AT_ONCE as usize,
            head_start: Duration::ZERO,
            music: Music::default(),
            language,
            announce_every: None,
            timeout: Timeout::default(),
            max_callers: None,
            full: Timeout::default(),
            max_conversations: None,
        }
    }

    /// The treatment of callers who are not let in for this reason.
    pub fn refusal(&self, cause: RefusalCause) -> &Timeout {
        match cause {
            RefusalCause::Full => &self.full,
        }
    }

    /// The head start in this queue of a caller whose own head start is `own` (Q25).
    pub fn head_start_with(&self, own: Duration) -> Duration {
        self.head_start.saturating_add(own).min(LONGEST_HEAD_START)
    }
}

/// The settings of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSettings {
    /// The SIP user.
    pub id: AgentId,
    /// The name shown to people.
    pub name: Arc<str>,
    /// A FreeSWITCH dial string to ring instead of the phone of the same number.
    pub dial: Option<Arc<str>>,
    /// Whether to follow a redirect of the phone (302).
    pub follow_forwards: bool,
}

impl AgentSettings {
    /// Creates an agent with defaults for all other settings.
    pub fn new(id: AgentId, name: Arc<str>) -> Self {
        Self { id, name, dial: None, follow_forwards: false }
    }

    /// The directory domain of the agent's own account, when `dial` names it: `user/ID@DOMAIN`.
    pub fn own_domain(&self) -> Option<&str> {
        let (user, domain) = self.dial.as_deref()?.strip_prefix("user/")?.split_once('@')?;
        (user == self.id.as_str()).then_some(domain)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Q14: only the account of the agent's own id identifies the phone as the agent's.
    #[test]
    fn an_agents_own_domain_is_the_domain_of_its_account() {
        let of = |dial: Option<&str>| {
            let agent = AgentSettings::new(AgentId::new("1001").unwrap(), "Anna".into());
            AgentSettings { dial: dial.map(Arc::from), ..agent }.own_domain().map(str::to_owned)
        };
        assert_eq!(of(Some("user/1001@a.example")), Some("a.example".to_owned()));
        for other in [None, Some("user/1001"), Some("user/1002@a.example"), Some("sofia/gateway/mobile/1001@a.example")]
        {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_strategy_is_written_the_same_way_everywhere() {
        for strategy in Strategy::ALL {
            assert_eq!(serde_json::to_value(strategy).unwrap(), strategy.as_str());
        }
    }
}
