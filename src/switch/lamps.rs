//! Lamps: a key that shows whether an agent is logged in to a queue (Q16).

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::acd::feature::{Dialled, FeatureCodes};
use crate::acd::ids::{AgentId, QueueNumber};
use crate::esl::Command;
use crate::esl::command::SendEvent;
use crate::esl::text::TextError;

/// How many lamps are set in one batch.
const AT_ONCE: usize = 64;

/// In how many domains besides the agents' own phones may subscribe to lamps: a phone may name any domain. Each domain
/// has one lamp per agent and queue.
const MOST_DOMAINS: usize = 64;

/// A lamp as FreeSWITCH knows it: the number on the key, and the domain of the phone's subscription.
pub(super) type Name = (String, String);

/// The number that a lamp key is programmed with: `*41<queue>*<agent>`.
pub(super) fn entity(codes: &FeatureCodes, queue: &QueueNumber, agent: &AgentId) -> String {
    format!("{}{queue}*{agent}", codes.login)
}

/// The agent and queue of a lamp.
pub(super) fn read(codes: &FeatureCodes, entity: &str) -> Option<(AgentId, QueueNumber)> {
    match codes.read(entity) {
        Dialled::Feature { login: true, queue, lamp: Some(agent) } => Some((agent, queue)),
        _ => None,
    }
}

/// The lamp that a phone asks for, from the `to` of a PRESENCE_PROBE.
pub(super) fn asked_for(codes: &FeatureCodes, to: &str) -> Option<Name> {
    let (entity, domain) = to.rsplit_once('@')?;
    read(codes, entity).map(|_| (entity.to_owned(), domain.to_owned()))
}

/// Lamps that phones subscribed to in a domain other than the agents': only the subscription shows that they exist.
/// Kept while links are down.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<String, BTreeSet<Name>>);

impl Asked {
    /// Follows a lamp from now on. Returns false if phones ask in too many domains.
    pub(super) fn note(&mut self, name: Name) -> bool {
        let is_room = self.0.len() < MOST_DOMAINS || self.0.contains_key(&name.1);
        if is_room {
            self.0.entry(name.1.clone()).or_default().insert(name);
        }
        is_room
    }

    /// Keeps only the lamps for which `which` is true.
    pub(super) fn retain(&mut self, which: impl Fn(&Name) -> bool) {
        for names in self.0.values_mut() {
            names.retain(&which);
        }
        self.0.retain(|_, names| !names.is_empty());
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.values().flatten()
    }
}

/// The lamps of one switch: those that were sent, and those still to send. Kept while its link is down.
#[derive(Debug, Default)]
pub(super) struct Lamps {
    /// The newest state of each lamp that is still to send.
    due: BTreeMap<Name, bool>,
    /// The lamps that this daemon has lit.
    lit: BTreeSet<Name>,
}

impl Lamps {
    /// Sets the state of a lamp.
    pub(super) fn set(&mut self, name: Name, on: bool) {
        self.due.insert(name, on);
    }

    /// Whether this daemon has lit the lamp.
    pub(super) fn is_lit(&self, name: &Name) -> bool {
        self.lit.contains(name)
    }

    /// Sets all lamps that are on. Lamps that this daemon lit and that are not among them go dark; others are not
    /// touched.
    pub(super) fn set_all(&mut self, on: BTreeSet<Name>) {
        let gone = self.lit.difference(&on).cloned().map(|name| (name, false)).collect::<Vec<_>>();
        self.due.retain(|name, was_on| !*was_on || on.contains(name));
        self.due.extend(gone);
        self.due.extend(on.into_iter().map(|name| (name, true)));
    }

    /// Takes a batch of lamps to send now.
    pub(super) fn take(&mut self) -> Vec<(Name, bool)> {
        let mut some = Vec::new();
        while some.len() < AT_ONCE
            && let Some((name, on)) = self.due.pop_first()
        {
            if on {
                self.lit.insert(name.clone());
            } else {
                self.lit.remove(&name);
            }
            some.push((name, on));
        }
        some
    }

    /// Puts back lamps that could not be sent; a newer state takes precedence.
    pub(super) fn put_back(&mut self, some: Vec<(Name, bool)>) {
        for (name, on) in some {
            self.due.entry(name).or_insert(on);
        }
    }
}

/// Switches a lamp on or off, with the event that mod_sofia passes on to every subscribed phone (capture
/// `inbound-link`).
pub(super) fn lamp((entity, domain): &Name, on: bool) -> Result<Command, TextError> {
    let from = format!("{entity}@{domain}");
    let (channel, answer, status) =
        if on { ("CS_ROUTING", "confirmed", "Logged in") } else { ("CS_HANGUP", "terminated", "Logged out") };
    let event = SendEvent::new("PRESENCE_IN")?
        .header("proto", "sip")?
        .header("login", &from)?
        .header("from", &from)?
        .header("event_type", "presence")?
        .header("alt_event_type", "dialog")?
        .header("event_count", "1")?
        .header("status", status)?
        .header("rpid", "unknown")?
        // Each lamp is one dialog: on and off must have the same id.
        .header("unique-id", &Uuid::from_u128(fnv128(&from)).to_string())?
        .header("channel-state", channel)?
        .header("answer-state", answer)?;
    Ok(Command::SendEvent(event))
}

/// FNV-1a of 128 bits.
fn fnv128(text: &str) -> u128 {
    text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |h, b| {
        (h ^ u128::from(b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    /// Q16: the number that the key dials is the lamp's name.
    #[test]
    fn a_lamp_has_the_name_that_its_key_dials() {
        let codes = FeatureCodes::default();
        let name = asked_for(&codes, "*4199900*1001@lab").unwrap();
        let (agent, queue) = read(&codes, &name.0).unwrap();
        assert_eq!((entity(&codes, &queue, &agent), "lab".to_owned()), name);
        for other in ["1001@lab", "*4199900@lab", "*4299900*1001@lab", "*4199900*1001"] {
            assert_eq!(asked_for(&codes, other), None, "{other}");
        }
    }

    #[test]
    fn on_and_off_are_one_dialog() {
        let text = |on| {
            let mut out = BytesMut::new();
            lamp(&("*4199900*1001".to_owned(), "lab".to_owned()), on).unwrap().render(&mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let (on, off) = (text(true), text(false));
        assert!(on.starts_with("sendevent PRESENCE_IN\n") && on.contains("answer-state: confirmed\n"), "{on}");
        assert!(off.contains("answer-state: terminated\n") && off.contains("channel-state: CS_HANGUP\n"), "{off}");
        let id = |text: &str| text.lines().find(|l| l.starts_with("unique-id")).unwrap().to_owned();
        assert_eq!(id(&on), id(&off));
    }

    fn name(n: usize) -> Name {
        (format!("*41{n}*1"), "lab".to_owned())
    }

    /// Q16: a lamp that no longer exists goes dark; a state that could not be sent is sent later, unless it has changed
    /// since; a lamp that this daemon did not light is not switched off.
    #[test]
    fn no_lamp_stays_lit_and_no_change_is_lost() {
        let mut lamps = Lamps::default();
        lamps.set_all(BTreeSet::from([name(1), name(2)]));
        lamps.set(name(2), false);
        let first = lamps.take();
        assert_eq!(first, [(name(1), true), (name(2), false)]);
        lamps.set(name(1), false);
        lamps.put_back(first);
        assert_eq!(lamps.take(), [(name(1), false), (name(2), false)]);
        lamps.set(name(1), true);
        assert_eq!(lamps.take(), [(name(1), true)]);
        lamps.set(name(4), true);
        lamps.set_all(BTreeSet::from([name(3)]));
        assert_eq!(lamps.take(), [(name(1), false), (name(3), true)]);
        assert_eq!(lamps.take(), []);
    }

    /// Q21: a phone that asks for lamps in ever more domains takes bounded space, and none from others.
    #[test]
    fn the_lamps_that_phones_ask_for_are_bounded() {
        let mut asked = Asked::default();
        assert!(asked.note(name(0)));
        for n in 0..2 * MOST_DOMAINS {
            assert_eq!(asked.note((name(0).0, format!("made-up-{n}"))), n < MOST_DOMAINS - 1, "{n}");
        }
        assert!(asked.note(name(1)), "in a known domain");
        assert_eq!(asked.names().count(), MOST_DOMAINS + 1);
        asked.retain(|asked| *asked == name(1));
        assert_eq!(asked.names().collect::<Vec<_>>(), [&name(1)]);
    }
}
