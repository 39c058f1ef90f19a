//! The differences between two configurations, for the log and for the code that applies them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Config, SwitchAddress};
use crate::acd::ids::{AgentId, QueueNumber};
use crate::acd::settings::{AgentSettings, Music, QueueSettings, Timeout, TimeoutAction};

/// One difference between two configurations. Its `Display` is a log line without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key outside of agents and queues changed.
    Setting {
        /// The key.
        key: &'static str,
        /// The old value.
        old: String,
        /// The new value.
        new: String,
        /// Whether it applies only after a restart of the daemon.
        restart: bool,
    },
    /// An agent was added.
    AgentAdded(AgentId),
    /// An agent was removed.
    AgentRemoved(AgentId),
    /// A key of an agent changed.
    AgentChanged {
        /// The agent.
        agent: AgentId,
        /// The key.
        key: &'static str,
        /// The old value.
        old: String,
        /// The new value.
        new: String,
    },
    /// A queue was added.
    QueueAdded(QueueNumber),
    /// A queue was removed.
    QueueRemoved(QueueNumber),
    /// A key of a queue changed.
    QueueChanged {
        /// The queue.
        queue: QueueNumber,
        /// The key.
        key: &'static str,
        /// The old value.
        old: String,
        /// The new value.
        new: String,
    },
    /// Agents became participants of a queue.
    ParticipantsAdded {
        /// The queue.
        queue: QueueNumber,
        /// The agents, in list order.
        agents: Vec<AgentId>,
    },
    /// Agents are no longer participants of a queue.
    ParticipantsRemoved {
        /// The queue.
        queue: QueueNumber,
        /// The agents, in the former list order.
        agents: Vec<AgentId>,
    },
    /// The remaining participants of a queue are in another order.
    ParticipantsReordered {
        /// The queue.
        queue: QueueNumber,
        /// The whole new list.
        agents: Vec<AgentId>,
    },
}

impl Change {
    /// Whether this change applies only after a restart of the daemon.
    pub fn needs_restart(&self) -> bool {
        matches!(self, Self::Setting { restart: true, .. })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting { key, old, new, restart } => {
                write!(f, "{key}: {old} → {new}{}", if *restart { " (needs a restart)" } else { "" })
            }
            Self::AgentAdded(agent) => write!(f, "agent {agent}: added"),
            Self::AgentRemoved(agent) => write!(f, "agent {agent}: removed"),
            Self::AgentChanged { agent, key, old, new } => write!(f, "agent {agent}: {key}: {old} → {new}"),
            Self::QueueAdded(queue) => write!(f, "queue {queue}: added"),
            Self::QueueRemoved(queue) => write!(f, "queue {queue}: removed"),
            Self::QueueChanged { queue, key, old, new } => write!(f, "queue {queue}: {key}: {old} → {new}"),
            Self::ParticipantsAdded { queue, agents } => {
                write!(f, "queue {queue}: participants added: {}", join(agents))
            }
            Self::ParticipantsRemoved { queue, agents } => {
                write!(f, "queue {queue}: participants removed: {}", join(agents))
            }
            Self::ParticipantsReordered { queue, agents } => {
                write!(f, "queue {queue}: participants reordered: {}", join(agents))
            }
        }
    }
}

/// The differences from `old` to `new` that apply while the daemon runs: settings in the order of the sample file, then
/// agents by id, then queues by number. The order of agents and queues in the file has no meaning.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = settings(old, new);
    changes.retain(|change| !change.needs_restart());
    agents(old, new, &mut changes);
    queues(old, new, &mut changes);
    changes
}

/// The differences that wait for a restart, from the configuration that the daemon was started with to `new`.
pub fn pending(started: &Config, new: &Config) -> Vec<Change> {
    let mut changes = settings(started, new);
    changes.retain(Change::needs_restart);
    changes
}

fn settings(old: &Config, new: &Config) -> Vec<Change> {
    const LIVE: bool = false;
    const RESTART: bool = true;
    let mut changes = Vec::new();
    let mut note = |key, old: String, new: String, restart| {
        if old != new {
            changes.push(Change::Setting { key, old, new, restart });
        }
    };
    note("listen", old.listen.to_string(), new.listen.to_string(), RESTART);
    note("allow", join(&old.allow), join(&new.allow), LIVE);
    // For secrets, the log says only that they changed.
    let token = match (&old.token, &new.token) {
        (_, None) => NONE,
        (Some(old), Some(new)) if old != new => "(changed)",
        (_, Some(_)) => "(set)",
    };
    note("token", if old.token.is_some() { "(set)" } else { NONE }.to_owned(), token.to_owned(), LIVE);
    let switch = |switch: &SwitchAddress| {
        let former = old.freeswitch.iter().find(|former| former.address == switch.address);
        let rekeyed = former.is_some_and(|former| former.password != switch.password);
        format!("{}{}", switch.address, if rekeyed { " with another password" } else { "" })
    };
    let switches = |config: &Config| join(config.freeswitch.iter().map(switch));
    note("freeswitch", switches(old), switches(new), RESTART);
    note("state", old.state.display().to_string(), new.state.display().to_string(), RESTART);
    let days = |config: &Config| (config.keep.as_secs_f64() / 86_400.0).to_string();
    note("keep_days", days(old), days(new), LIVE);
    note("control", old.control.display().to_string(), new.control.display().to_string(), RESTART);
    let domain = |config: &Config| config.domain.clone().unwrap_or_else(|| "${domain}".to_owned());
    note("domain", domain(old), domain(new), LIVE);
    note("prompts", old.prompts.clone(), new.prompts.clone(), LIVE);
    note("languages", join(&old.languages), join(&new.languages), LIVE);
    note("language", old.language.to_string(), new.language.to_string(), LIVE);
    let withheld = |config: &Config| format!("{:?}", config.callers.withheld).to_lowercase();
    note("callers.withheld", withheld(old), withheld(new), LIVE);
    let numbers = |config: &Config| format!("{:?}", config.log.numbers).to_lowercase();
    note("log.numbers", numbers(old), numbers(new), LIVE);
    note("feature_codes.login", old.feature_codes.login.clone(), new.feature_codes.login.clone(), LIVE);
    note("feature_codes.logout", old.feature_codes.logout.clone(), new.feature_codes.logout.clone(), LIVE);
    let toggle = |config: &Config| config.feature_codes.toggle.to_string();
    note("feature_codes.toggle", toggle(old), toggle(new), LIVE);
    changes
}

/// A key and how its value is shown.
type Shown<T> = (&'static str, fn(&T) -> String);

const AGENT_KEYS: [Shown<AgentSettings>; 3] = [
    ("name", |agent| agent.name.to_string()),
    ("dial", |agent| agent.dial.as_ref().map_or_else(|| format!("user/{}", agent.id), ToString::to_string)),
    ("follow_forwards", |agent| agent.follow_forwards.to_string()),
];

const QUEUE_KEYS: [Shown<QueueSettings>; 16] = [
    ("name", |queue| queue.name.to_string()),
    ("strategy", |queue| queue.strategy.to_string()),
    ("max_wait_minutes", |queue| {
        queue.max_wait.map_or_else(|| NONE.to_owned(), |d| (d.as_secs_f64() / 60.0).to_string())
    }),
    ("wrap_up_seconds", |queue| queue.wrap_up.as_secs_f64().to_string()),
    ("ring_seconds", |queue| queue.ring_time.as_secs_f64().to_string()),
    ("ring_at_most", |queue| queue.ring_at_most.to_string()),
    ("head_start_seconds", |queue| queue.head_start.as_secs_f64().to_string()),
    ("music", |queue| music(&queue.music)),
    ("language", |queue| queue.language.to_string()),
    ("position_announcement.every_seconds", |queue| {
        queue.announce_every.map_or_else(|| "off".to_owned(), |d| d.as_secs_f64().to_string())
    }),
    ("timeout.message", |queue| shown(queue.timeout.message.as_ref())),
    ("timeout.action", |queue| action(&queue.timeout)),
    ("max_callers", |queue| shown(queue.max_callers.as_ref())),
    ("full.message", |queue| shown(queue.full.message.as_ref())),
    ("full.action", |queue| action(&queue.full)),
    ("max_conversations", |queue| shown(queue.max_conversations.as_ref())),
];

/// How an absent value and an empty list are shown.
const NONE: &str = "none";

fn agents(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    let by_id = |config: &'_ Config| -> BTreeMap<AgentId, AgentSettings> {
        config.agents.iter().map(|agent| (agent.id.clone(), agent.clone())).collect()
    };
    let (old, new) = (by_id(old), by_id(new));
    for agent in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        match (old.get(agent), new.get(agent)) {
            (None, _) => changes.push(Change::AgentAdded(agent.clone())),
            (_, None) => changes.push(Change::AgentRemoved(agent.clone())),
            (Some(old), Some(new)) => {
                changes.extend(differing(&AGENT_KEYS, old, new).map(|(key, old, new)| Change::AgentChanged {
                    agent: agent.clone(),
                    key,
                    old,
                    new,
                }))
            }
        }
    }
}

fn queues(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    let by_number = |config: &'_ Config| -> BTreeMap<QueueNumber, QueueSettings> {
        config.queues.iter().map(|queue| (queue.number.clone(), queue.clone())).collect()
    };
    let (old, new) = (by_number(old), by_number(new));
    for queue in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        match (old.get(queue), new.get(queue)) {
            (None, _) => changes.push(Change::QueueAdded(queue.clone())),
            (_, None) => changes.push(Change::QueueRemoved(queue.clone())),
            (Some(old), Some(new)) => {
                changes.extend(differing(&QUEUE_KEYS, old, new).map(|(key, old, new)| Change::QueueChanged {
                    queue: queue.clone(),
                    key,
                    old,
                    new,
                }));
                participants(queue, &old.participants, &new.participants, changes);
            }
        }
    }
}

fn participants(queue: &QueueNumber, old: &[AgentId], new: &[AgentId], changes: &mut Vec<Change>) {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    let without = |list: &[AgentId], known: &BTreeSet<&AgentId>| -> Vec<AgentId> {
        list.iter().filter(|agent| !known.contains(agent)).cloned().collect()
    };
    let (added, removed) = (without(new, &before), without(old, &after));
    if !added.is_empty() {
        changes.push(Change::ParticipantsAdded { queue: queue.clone(), agents: added });
    }
    if !removed.is_empty() {
        changes.push(Change::ParticipantsRemoved { queue: queue.clone(), agents: removed });
    }
    let stayed_before = old.iter().filter(|agent| after.contains(agent));
    let stayed_after = new.iter().filter(|agent| before.contains(agent));
    if !stayed_before.eq(stayed_after) {
        changes.push(Change::ParticipantsReordered { queue: queue.clone(), agents: new.to_vec() });
    }
}

fn differing<'a, T>(
    keys: &'a [Shown<T>],
    old: &'a T,
    new: &'a T,
) -> impl Iterator<Item = (&'static str, String, String)> + 'a {
    keys.iter().map(|(key, show)| (*key, show(old), show(new))).filter(|(_, old, new)| old != new)
}

fn join<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { NONE.to_owned() } else { items.join(", ") }
}

fn shown<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| NONE.to_owned(), T::to_string)
}

fn music(music: &Music) -> String {
    match music {
        Music::Ringtone => "ringtone".to_owned(),
        Music::File(path) | Music::Stream(path) => path.to_string(),
    }
}

fn action(timeout: &Timeout) -> String {
    match &timeout.action {
        TimeoutAction::Hangup => "hangup".to_owned(),
        TimeoutAction::Transfer(number) => format!("transfer to {number}"),
        TimeoutAction::Queue(number) => format!("queue {number}"),
    }
}
