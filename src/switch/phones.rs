//! Which agents are in a call outside any queue: counted by the channels of their phones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::acd::ids::AgentId;
use crate::acd::time::Wall;

/// The channels of the agents' phones that no queue ordered.
#[derive(Debug, Default)]
pub(super) struct Phones {
    channels: HashMap<String, AgentId>,
    busy: BTreeMap<AgentId, (Wall, BTreeSet<String>)>,
}

/// An agent's private calls began at that moment, or are over.
pub(super) type Change = (AgentId, Option<Wall>);

impl Phones {
    /// A channel of the agent's phone came to be.
    pub(super) fn began(&mut self, channel: String, agent: AgentId, at: Wall) -> Option<Change> {
        if self.channels.insert(channel.clone(), agent.clone()).is_some() {
            return None;
        }
        let (since, channels) = self.busy.entry(agent.clone()).or_insert_with(|| (at, BTreeSet::new()));
        channels.insert(channel);
        (channels.len() == 1).then_some((agent, Some(*since)))
    }

    /// A channel is gone.
    pub(super) fn ended(&mut self, channel: &str) -> Option<Change> {
        let agent = self.channels.remove(channel)?;
        let (_, channels) = self.busy.get_mut(&agent)?;
        channels.remove(channel);
        if !channels.is_empty() {
            return None;
        }
        self.busy.remove(&agent);
        Some((agent, None))
    }

    /// All there are, as FreeSWITCH lists them: what is missing began or ended unheard.
    pub(super) fn are(&mut self, now: &BTreeMap<String, (AgentId, Wall)>) -> Vec<Change> {
        let gone: Vec<String> = self.channels.keys().filter(|c| !now.contains_key(*c)).cloned().collect();
        let mut changes: Vec<Change> = gone.iter().filter_map(|c| self.ended(c)).collect();
        changes.extend(now.iter().filter_map(|(c, (agent, at))| self.began(c.clone(), agent.clone(), *at)));
        changes
    }

    /// Nothing is known any more: everybody is taken to be free.
    pub(super) fn forget(&mut self) -> Vec<Change> {
        self.are(&BTreeMap::new())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn a(n: &str) -> AgentId {
        AgentId::new(n).unwrap()
    }

    /// Q5: busy from the first channel to the last.
    #[test]
    fn an_agent_is_busy_from_the_first_channel_to_the_last() {
        let mut p = Phones::default();
        assert_eq!(p.began("x".into(), a("1"), Wall(5)), Some((a("1"), Some(Wall(5)))));
        assert_eq!(p.began("x".into(), a("1"), Wall(6)), None);
        assert_eq!(p.began("y".into(), a("1"), Wall(7)), None);
        assert_eq!(p.ended("x"), None);
        assert_eq!(p.ended("x"), None);
        assert_eq!(p.ended("y"), Some((a("1"), None)));
    }

    #[test]
    fn a_list_puts_right_what_was_missed() {
        let mut p = Phones::default();
        p.began("x".into(), a("1"), Wall(5));
        let list = BTreeMap::from([("y".to_owned(), (a("2"), Wall(6)))]);
        assert_eq!(p.are(&list), [(a("1"), None), (a("2"), Some(Wall(6)))]);
        assert_eq!(p.are(&list), []);
        assert_eq!(p.forget(), [(a("2"), None)]);
    }
}
