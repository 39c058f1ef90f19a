//! A test's view of the whole switch: rules that were broken, text that was executed, numbers for load.

use crate::audio::{Segment, Sound};
use crate::leg::{Leg, LegId, Owner};
use crate::world::World;
use std::time::Duration;

/// An event that must never happen to a caller or an agent. Every time is since the start of the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// A phone was rung while it already rang for an `originate`.
    RungTwice {
        /// When.
        at: Duration,
        /// The phone.
        phone: String,
        /// The two callers, as far as the `originate` commands name them.
        callers: (Option<String>, Option<String>),
    },
    /// A phone was rung by `originate` while it talked.
    RungWhileTalking {
        /// When.
        at: Duration,
        /// The phone.
        phone: String,
    },
    /// A phone kept ringing after its caller had gone or talked to another party.
    StrayRing {
        /// When it was noticed.
        at: Duration,
        /// The phone.
        phone: String,
        /// The caller's leg.
        caller: String,
    },
    /// A phone stood answered without a partner.
    Silence {
        /// When it was noticed.
        at: Duration,
        /// The phone.
        phone: String,
    },
    /// A caller in a conversation was taken away from it.
    TakenAway {
        /// When.
        at: Duration,
        /// The caller.
        caller: String,
        /// The leg that took the caller.
        by: String,
    },
    /// A connection did not read, and its event queue is full: the real switch freezes for minutes.
    Overflow {
        /// When.
        at: Duration,
        /// UUID of the connection's own leg; empty for an inbound connection.
        leg: String,
    },
    /// A call is parked for ever: its connection was closed before it was taken.
    Stranded {
        /// When.
        at: Duration,
        /// The caller.
        caller: String,
    },
}

/// Text that FreeSWITCH would execute: an API call inside `${...}`, an executing application, a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityRecord {
    /// When.
    pub at: Duration,
    /// The leg it ran on.
    pub leg: Option<String>,
    /// The executed text.
    pub executed: String,
    /// The text that contained it.
    pub text: String,
}

/// Counters of the whole switch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallStats {
    /// Most legs at the same time.
    pub peak_legs: usize,
    /// Connections the `socket` application opened.
    pub sockets: u64,
    /// Events fired.
    pub events: u64,
    /// Calls that came in.
    pub calls: u64,
    /// Legs that were rung.
    pub rings: u64,
    /// Conversations begun.
    pub conversations: u64,
    /// Conversations cut because a controller died with `socket_resume` still set.
    pub cut_by_reset: u64,
    /// For each caller with an offer: from the start of the call to the first leg rung for it.
    pub first_offer: Vec<Duration>,
    /// For each connected caller: from the phone's answer to the conversation.
    pub answer_to_talk: Vec<Duration>,
}

/// One living leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegView {
    /// Its UUID.
    pub uuid: String,
    /// `caller NUMBER` or `phone NUMBER`.
    pub who: String,
    /// `CS_...`.
    pub state: &'static str,
    /// Whether it was answered.
    pub answered: bool,
    /// UUID of the leg it talks to.
    pub talks_to: Option<String>,
    /// The caller's leg it was rung for.
    pub rings_for: Option<String>,
    /// The sound it hears.
    pub hears: Sound,
}

impl World {
    pub(crate) fn view(&self, id: LegId, leg: &Leg) -> LegView {
        LegView {
            uuid: leg.uuid.clone(),
            who: self.describe(id),
            state: leg.running.name(),
            answered: leg.is_answered(),
            talks_to: leg.talks_to().and_then(|p| self.legs.get(&p)).map(|p| p.uuid.clone()),
            rings_for: leg.rings_for.clone(),
            hears: leg.audio.now.as_ref().map_or(Sound::Ringing, |s| s.sound.clone()),
        }
    }

    /// A phone is about to be rung.
    pub(crate) fn note_ring(&mut self, id: LegId, originated: bool) {
        self.stats.rings += 1;
        let at = self.clock.elapsed();
        let Some(Leg { owner: Owner::Phone(number), rings_for, .. }) = self.legs.get(&id) else {
            return;
        };
        let (number, caller) = (number.clone(), rings_for.clone());
        let caller_id =
            caller.as_ref().and_then(|uuid| self.leg_id(uuid)).and_then(|l| match self.legs.get(&l)?.owner {
                Owner::Caller(caller) => Some(caller),
                Owner::Phone(_) | Owner::Half => None,
            });
        if let Some(state) = caller_id.and_then(|c| self.callers.get_mut(&c))
            && state.first_offer.is_none()
        {
            state.first_offer = Some(at);
            self.stats.first_offer.push(at - state.began);
        }
        if !originated {
            return;
        }
        let Some(phone) = self.phones.get(&number) else { return };
        let now = self.micros();
        let talking = u64::try_from(self.config.bounds.talking.as_micros()).unwrap_or(u64::MAX);
        let mut found = Vec::new();
        for other in phone.legs.iter().filter(|l| **l != id).filter_map(|l| self.legs.get(l)).filter(|l| l.is_up()) {
            if other.from_originate && !other.is_answered() {
                let callers = (other.rings_for.clone(), caller.clone());
                found.push(Violation::RungTwice { at, phone: number.clone(), callers });
            } else if other.is_answered() && now.saturating_sub(other.times.answered) > talking {
                found.push(Violation::RungWhileTalking { at, phone: number.clone() });
            }
        }
        self.violations.extend(found);
    }

    pub(crate) fn note_answered(&mut self, id: LegId) {
        self.hear(id);
    }

    pub(crate) fn note_silence(&mut self, id: LegId, since: Duration) {
        let Some(leg) = self.legs.get(&id).filter(|l| l.is_up() && !l.held) else {
            return;
        };
        let same = matches!(&leg.audio.now, Some(Segment { at, sound: Sound::Silence, .. }) if *at == since);
        if same {
            let (at, phone) = (self.clock.elapsed(), self.party(id));
            self.violate(Violation::Silence { at, phone });
        }
    }

    pub(crate) fn note_stray(&mut self, id: LegId) {
        let Some(leg) = self.legs.get(&id).filter(|l| l.is_up() && !l.is_answered()) else {
            return;
        };
        let Some(caller) = leg.rings_for.clone() else { return };
        let waits = self.up_leg(&caller).and_then(|c| self.legs.get(&c)).is_some_and(|c| c.bridge.is_none());
        if !waits {
            let (at, phone) = (self.clock.elapsed(), self.party(id));
            self.violate(Violation::StrayRing { at, phone, caller });
        }
    }

    pub(crate) fn note_stranded(&mut self, id: LegId) {
        let (at, caller) = (self.clock.elapsed(), self.party(id));
        self.violate(Violation::Stranded { at, caller });
        self.ring_owner(id);
    }

    pub(crate) fn note_overflow(&mut self, id: crate::leg::ConnId) {
        let leg = self.conns.get(&id).map(|c| c.own_uuid.clone()).unwrap_or_default();
        let at = self.clock.elapsed();
        self.violate(Violation::Overflow { at, leg });
    }

    /// Two legs began to talk.
    pub(crate) fn note_connected(&mut self, a: LegId, b: LegId) {
        self.stats.conversations += 1;
        let at = self.clock.elapsed();
        for (id, peer) in [(a, b), (b, a)] {
            let party = self.party(peer);
            let answered = self.legs.get(&peer).map_or(0, |l| l.times.answered);
            let now = self.micros();
            let Some(leg) = self.legs.get(&id) else { continue };
            let uuid = leg.uuid.clone();
            // Through a loopback, the talking party is the one beyond it.
            let talks = self.legs.get(&self.beyond(id).unwrap_or(id));
            if let Some(Owner::Caller(caller)) = talks.map(|l| &l.owner)
                && !party.is_empty()
                && let Some(caller) = self.callers.get_mut(caller)
            {
                caller.talked_to.push((at, party));
                caller.notify.notify_waiters();
                self.stats.answer_to_talk.push(Duration::from_micros(now.saturating_sub(answered)));
            }
            self.watch_rings_for(&uuid);
        }
    }

    /// A leg has ended: no phone may ring for it any more.
    pub(crate) fn note_gone(&mut self, leg: &Leg) {
        if let Some(caller) = &leg.rings_for
            && let Some(ringing) = self.rings.get_mut(caller)
        {
            ringing.retain(|id| self.legs.contains_key(id));
            if ringing.is_empty() {
                self.rings.remove(caller);
            }
        }
        self.watch_rings_for(&leg.uuid);
    }
}
