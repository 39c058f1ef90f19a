//! Which agents are in a private call, outside any queue: counts the channels of their phones on all switches.
//!
//! Events report the beginning and the end of each channel. FreeSWITCH fills its own table (`show channels`) from the
//! same events on a separate thread, and the table lags behind them by 50 to 250 ms (measured); it supplies the events
//! that we missed. So the table never brings back a channel whose end was reported, and never removes one that has just
//! begun.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::acd::ids::AgentId;
use crate::acd::time::{Mono, Since};

/// How far FreeSWITCH's table may lag behind its events.
const BEHIND: Duration = Duration::from_secs(1);

/// How long the end of a channel is remembered. Channel ids are never reused, so a longer time does no harm.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many ends are remembered: more than a busy switch has in that time.
const MOST_REMEMBERED: usize = 1 << 16;

/// The channels of the agents' phones that no queue originated.
#[derive(Debug, Default)]
pub(super) struct PrivateCalls {
    channels: BTreeMap<Key, Known>,
    busy: BTreeMap<AgentId, (Since, BTreeSet<Key>)>,
    ended: Ended,
}

/// A switch, and a channel on it.
type Key = (usize, String);

#[derive(Debug)]
struct Known {
    agent: AgentId,
    /// When the event of its beginning arrived; `None` if it is known from the table.
    heard: Option<Mono>,
}

/// An agent, and the beginning of the private calls; `None` when they are over.
pub(super) type Change = (AgentId, Option<Since>);

/// A switch's table of channels.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// When the table was requested.
    pub(super) asked: Mono,
    /// All channels.
    pub(super) all: BTreeSet<String>,
    /// The channels known to belong to an agent's phone, and when they began.
    pub(super) agents: BTreeMap<String, (AgentId, Since)>,
}

impl PrivateCalls {
    /// Notes the event that a channel of the agent's phone began.
    pub(super) fn began(&mut self, switch: usize, channel: &str, agent: AgentId, now: Mono) -> Option<Change> {
        self.add(switch, channel, agent, now.into(), Some(now))
    }

    /// Notes a channel of the agent whose beginning no event reported.
    pub(super) fn found(&mut self, switch: usize, channel: &str, agent: AgentId, at: Since) -> Option<Change> {
        self.add(switch, channel, agent, at, None)
    }

    fn add(&mut self, switch: usize, channel: &str, agent: AgentId, at: Since, heard: Option<Mono>) -> Option<Change> {
        let key = (switch, channel.to_owned());
        if self.channels.contains_key(&key) || self.has_ended(channel) {
            return None;
        }
        self.channels.insert(key.clone(), Known { agent: agent.clone(), heard });
        let (since, channels) = self.busy.entry(agent.clone()).or_insert_with(|| (at, BTreeSet::new()));
        channels.insert(key);
        (channels.len() == 1).then_some((agent, Some(*since)))
    }

    /// Notes the event that a channel, of any phone, ended; `by_phone` if the phone hung up.
    pub(super) fn ended(&mut self, switch: usize, channel: &str, by_phone: bool, now: Mono) -> Option<Change> {
        self.ended.note(channel, by_phone, now);
        self.remove(switch, channel)
    }

    fn remove(&mut self, switch: usize, channel: &str) -> Option<Change> {
        let key = (switch, channel.to_owned());
        let Known { agent, .. } = self.channels.remove(&key)?;
        let (_, channels) = self.busy.get_mut(&agent)?;
        channels.remove(&key);
        if !channels.is_empty() {
            return None;
        }
        self.busy.remove(&agent);
        Some((agent, None))
    }

    /// Whether an event reported the end of a channel, even if the table still lists it.
    pub(super) fn has_ended(&self, channel: &str) -> bool {
        self.ended.names.contains_key(channel)
    }

    /// Whether a channel, whose end an event reported, was hung up by its phone.
    pub(super) fn hung_up(&self, channel: &str) -> Option<bool> {
        self.ended.names.get(channel).copied()
    }

    /// Applies a switch's table: channels that began or ended without an event. Returns true if the table may be out of
    /// date, so that it should be requested again soon.
    pub(super) fn are(&mut self, switch: usize, listed: &Listed) -> (Vec<Change>, bool) {
        let may_be_missing = |known: &Known| known.heard.is_some_and(|at| at.plus(BEHIND) >= listed.asked);
        let here = self.channels.iter().filter(|((s, _), _)| *s == switch);
        let (young, gone): (Vec<_>, Vec<_>) =
            here.filter(|((_, c), _)| !listed.all.contains(c)).partition(|(_, known)| may_be_missing(known));
        let mut doubtful = !young.is_empty();
        let gone: Vec<String> = gone.into_iter().map(|((_, c), _)| c.clone()).collect();
        let mut changes: Vec<Change> = gone.iter().filter_map(|c| self.remove(switch, c)).collect();
        for (channel, (agent, at)) in &listed.agents {
            let known = self.channels.contains_key(&(switch, channel.clone())) || self.has_ended(channel);
            doubtful |= !known;
            changes.extend(self.add(switch, channel, agent.clone(), *at, None));
        }
        (changes, doubtful)
    }

    /// Forgets the channels of a switch that is no longer seen.
    pub(super) fn forget(&mut self, switch: usize) -> Vec<Change> {
        self.are(switch, &Listed { asked: Mono(Duration::MAX), ..Listed::default() }).0
    }
}

/// The channels whose end an event reported last.
#[derive(Debug, Default)]
struct Ended {
    order: VecDeque<(Mono, String)>,
    /// The channels, and whether the phone hung up.
    names: BTreeMap<String, bool>,
}

impl Ended {
    fn note(&mut self, channel: &str, by_phone: bool, now: Mono) {
        let old = |(at, _): &(Mono, String)| at.plus(REMEMBERED) <= now;
        while self.order.len() >= MOST_REMEMBERED || self.order.front().is_some_and(old) {
            if let Some((_, name)) = self.order.pop_front() {
                self.names.remove(&name);
            }
        }
        if self.names.insert(channel.to_owned(), by_phone).is_none() {
            self.order.push_back((now, channel.to_owned()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn a(n: &str) -> AgentId {
        AgentId::new(n).unwrap()
    }
    fn s(n: u64) -> Mono {
        Mono(Duration::from_secs(n))
    }
    /// A table requested at `asked`, with channels of these agents.
    fn table(asked: u64, agents: &[(&str, &str)]) -> Listed {
        let agents: BTreeMap<_, _> = agents.iter().map(|(c, n)| ((*c).to_owned(), (a(n), Since::default()))).collect();
        Listed { asked: s(asked), all: agents.keys().cloned().collect(), agents }
    }

    /// Q5: an agent is busy from the first channel to the last, on any switch.
    #[test]
    fn an_agent_is_busy_from_the_first_channel_to_the_last() {
        let mut p = PrivateCalls::default();
        assert_eq!(p.began(0, "x", a("1"), s(0)), Some((a("1"), Some(s(0).into()))));
        assert_eq!(p.began(0, "x", a("1"), s(0)), None);
        assert_eq!(p.began(1, "y", a("1"), s(0)), None);
        assert_eq!(p.ended(0, "x", true, s(1)), None);
        assert_eq!(p.ended(0, "x", true, s(1)), None);
        assert_eq!(p.ended(0, "y", false, s(1)), None);
        assert_eq!(p.ended(1, "y", false, s(1)), Some((a("1"), None)));
    }

    #[test]
    fn the_table_supplies_missed_events_of_its_switch() {
        let mut p = PrivateCalls::default();
        p.began(0, "x", a("1"), s(0));
        p.began(1, "x", a("3"), s(0));
        let list = table(10, &[("y", "2")]);
        assert_eq!(p.are(0, &list), (vec![(a("1"), None), (a("2"), Some(Since::default()))], true));
        assert_eq!(p.are(0, &list), (vec![], false));
        assert_eq!(p.are(0, &table(11, &[])), (vec![(a("2"), None)], false));
        assert_eq!(p.forget(1), [(a("3"), None)]);
    }

    /// Q5: the table lags: it neither brings back a channel that has ended, nor removes one that has just begun.
    #[test]
    fn events_take_precedence_over_a_table_that_lags() {
        let mut p = PrivateCalls::default();
        p.began(0, "x", a("1"), s(1));
        assert_eq!(p.are(0, &table(1, &[])), (vec![], true));
        assert_eq!(p.are(0, &table(1, &[("x", "1")])), (vec![], false));
        assert_eq!(p.are(0, &table(3, &[])), (vec![(a("1"), None)], false));
        p.began(0, "y", a("1"), s(4));
        p.ended(0, "y", false, s(5));
        assert_eq!(p.are(0, &table(6, &[("y", "1")])), (vec![], false));
        assert!(p.has_ended("y"));
        // The events may arrive in any order.
        assert_eq!(p.began(0, "y", a("1"), s(6)), None);
        p.ended(0, "z", false, s(66));
        assert!(!p.has_ended("y") && p.has_ended("z"));
    }

    /// Q5: a channel that the table lists without an agent stays its agent's.
    #[test]
    fn a_channel_listed_without_an_agent_stays() {
        let mut p = PrivateCalls::default();
        p.began(0, "x", a("1"), s(0));
        let list = Listed { asked: s(9), all: BTreeSet::from(["x".to_owned()]), agents: BTreeMap::new() };
        assert_eq!(p.are(0, &list), (vec![], false));
    }

    /// The memory of ends is bounded.
    #[test]
    fn only_the_last_ends_are_remembered() {
        let mut ended = Ended::default();
        (0..=MOST_REMEMBERED).for_each(|n| ended.note(&n.to_string(), false, s(1)));
        assert_eq!((ended.order.len(), ended.names.len()), (MOST_REMEMBERED, MOST_REMEMBERED));
        assert!(!ended.names.contains_key("0") && ended.names.contains_key("1"));
    }
}
