//! Which agents are in a call outside any queue: counted by the channels of their phones, on all switches.

use std::collections::{BTreeMap, BTreeSet};

use crate::acd::ids::AgentId;
use crate::acd::time::Wall;

/// The channels of the agents' phones that no queue ordered.
#[derive(Debug, Default)]
pub(super) struct Phones {
    channels: BTreeMap<Key, AgentId>,
    busy: BTreeMap<AgentId, (Wall, BTreeSet<Key>)>,
}

/// A switch, and a channel on it.
type Key = (usize, String);

/// An agent's private calls began at that moment, or are over.
pub(super) type Change = (AgentId, Option<Wall>);

impl Phones {
    /// A channel of the agent's phone came to be.
    pub(super) fn began(&mut self, switch: usize, channel: &str, agent: AgentId, at: Wall) -> Option<Change> {
        let key = (switch, channel.to_owned());
        if self.channels.insert(key.clone(), agent.clone()).is_some() {
            return None;
        }
        let (since, channels) = self.busy.entry(agent.clone()).or_insert_with(|| (at, BTreeSet::new()));
        channels.insert(key);
        (channels.len() == 1).then_some((agent, Some(*since)))
    }

    /// A channel is gone.
    pub(super) fn ended(&mut self, switch: usize, channel: &str) -> Option<Change> {
        let key = (switch, channel.to_owned());
        let agent = self.channels.remove(&key)?;
        let (_, channels) = self.busy.get_mut(&agent)?;
        channels.remove(&key);
        if !channels.is_empty() {
            return None;
        }
        self.busy.remove(&agent);
        Some((agent, None))
    }

    /// All there are on a switch, as it lists them: what is missing began or ended unheard.
    pub(super) fn are(&mut self, switch: usize, now: &BTreeMap<String, (AgentId, Wall)>) -> Vec<Change> {
        let here = self.channels.keys().filter(|(s, _)| *s == switch);
        let gone: Vec<String> = here.map(|(_, c)| c).filter(|c| !now.contains_key(*c)).cloned().collect();
        let mut changes: Vec<Change> = gone.iter().filter_map(|c| self.ended(switch, c)).collect();
        changes.extend(now.iter().filter_map(|(c, (agent, at))| self.began(switch, c, agent.clone(), *at)));
        changes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn a(n: &str) -> AgentId {
        AgentId::new(n).unwrap()
    }

    /// Q5: busy from the first channel to the last, whatever the switch.
    #[test]
    fn an_agent_is_busy_from_the_first_channel_to_the_last() {
        let mut p = Phones::default();
        assert_eq!(p.began(0, "x", a("1"), Wall(5)), Some((a("1"), Some(Wall(5)))));
        assert_eq!(p.began(0, "x", a("1"), Wall(6)), None);
        assert_eq!(p.began(1, "y", a("1"), Wall(7)), None);
        assert_eq!(p.ended(0, "x"), None);
        assert_eq!(p.ended(0, "x"), None);
        assert_eq!(p.ended(0, "y"), None);
        assert_eq!(p.ended(1, "y"), Some((a("1"), None)));
    }

    #[test]
    fn a_list_puts_right_what_was_missed_on_its_switch() {
        let mut p = Phones::default();
        p.began(0, "x", a("1"), Wall(5));
        p.began(1, "x", a("3"), Wall(5));
        let list = BTreeMap::from([("y".to_owned(), (a("2"), Wall(6)))]);
        assert_eq!(p.are(0, &list), [(a("1"), None), (a("2"), Some(Wall(6)))]);
        assert_eq!(p.are(0, &list), []);
        assert_eq!(p.are(0, &BTreeMap::new()), [(a("2"), None)]);
        assert_eq!(p.are(1, &BTreeMap::new()), [(a("3"), None)]);
    }
}
