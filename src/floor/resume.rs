//! What goes on from the life before, and what ended with it (Q18, Q19, Q108, Q110).
//!
//! What was open when the last daemon died either goes on, or ended when that daemon was last known to live. That is the
//! moment of its record: how long nobody was there is part of no conversation and of no wait.

use std::collections::VecDeque;
use std::time::Duration;

use crate::acd::fact::{Asker, CancelCause, EndedBy, Fact, Record};
use crate::acd::ids::OfferId;
use crate::acd::restored::{Alive, Restored, WrapUp};
use crate::acd::time::{Now, Since, Wall};

use super::{Absent, Floor, OfferKey, Written, lock};

/// The longest wrap-up that an earlier version may have left without its length: the longest there may be.
const LONGEST_WRAP_UP: Duration = Duration::from_secs(3600);

/// The end of the life before.
#[derive(Clone, Copy, Debug)]
struct Death {
    /// By its own calendar and line.
    alive: Alive,
    /// By our clock, as far as the calendar tells.
    at: Since,
}

impl Death {
    /// A moment of the life before, by our clock.
    fn moment(self, wall: Wall) -> Since {
        self.at.before(self.alive.wall.since(wall))
    }
}

/// What FreeSWITCH has still to tell of: offers of the life before without an outcome, whose phones may have been answered
/// while nobody was there; and conversations that ended for the records though nobody saw it, and may be found to go on.
#[derive(Debug, Default)]
pub(super) struct Unclosed {
    offers: Vec<OfferKey>,
    died: Wall,
    ended: VecDeque<OfferId>,
}

/// How many conversations that ended unseen are known for such.
const MOST_UNSEEN: usize = 4096;

impl Unclosed {
    /// A conversation ends. False when it has ended for the records already.
    pub(super) fn end(&mut self, offer: OfferId, seen: bool) -> bool {
        if self.has_ended(offer) {
            return false;
        }
        if !seen {
            self.ended.truncate(MOST_UNSEEN - 1);
            self.ended.push_front(offer);
        }
        true
    }

    /// Whether a conversation has ended for the records.
    pub(super) fn has_ended(&self, offer: OfferId) -> bool {
        self.ended.contains(&offer)
    }
}

impl Floor {
    /// Takes up what the store knew, behind [`Floor::configure`]. `linked` tells that FreeSWITCH will be asked what became
    /// of the conversations and of the phones that rang; without that all of them are taken to be over.
    pub fn resume(&self, restored: &Restored, linked: bool, now: Now) {
        let alive = restored.alive.unwrap_or(Alive { wall: now.wall, line: now.wall });
        let away = now.wall.since(alive.wall);
        let death = Death { alive, at: now.ago(away) };
        self.resume_line(restored.alive.map(|alive| (alive.line, away)), now);
        self.resume_ends(restored, death);
        for wrap_up in &restored.wrap_ups {
            self.resume_wrap_up(wrap_up, death, now);
        }
        self.expect_back(&restored.waiting, death);
        for answered in &restored.conversations {
            self.resume_conversation(answered, death, linked, now);
        }
        {
            let mut unclosed = lock(&self.unclosed);
            (unclosed.offers, unclosed.died) = (restored.offers.iter().filter_map(key_of).collect(), alive.wall);
        }
        if !linked {
            self.close_offers();
        }
        for (agent, queue, since) in &restored.logins {
            if !self.restore_login(agent, queue, *since) {
                let (agent, queue) = (agent.clone(), queue.clone());
                let fact = Fact::AgentLoggedOut { agent, queue, by: Asker::File };
                (self.facts)(Record { at: now.wall, fact }, Written::Not);
            }
        }
    }

    /// Offers of the life before whose phone nobody has answered meanwhile, as is known by now, have their outcome.
    pub fn close_offers(&self) {
        let mut unclosed = lock(&self.unclosed);
        for OfferKey { offer, call, queue, agent } in std::mem::take(&mut unclosed.offers) {
            let cause = CancelCause::Restart;
            self.record_at(unclosed.died, Fact::OfferCancelled { offer, call, queue, agent, cause });
        }
    }

    /// This offer of the life before has its outcome. False when it is none, or had one.
    pub(super) fn close_offer(&self, offer: OfferId) -> bool {
        let mut unclosed = lock(&self.unclosed);
        let before = unclosed.offers.len();
        unclosed.offers.retain(|key| key.offer != offer);
        unclosed.offers.len() < before
    }

    /// When conversations ended, in the order in which they did, whatever the calendar said then (Q6, Q108).
    fn resume_ends(&self, restored: &Restored, death: Death) {
        let mut latest = death.at;
        for (agent, wall) in restored.last_conversation_end.iter().rev() {
            latest = death.moment(*wall).min(latest);
            if let Some(mut a) = self.agents.get_mut(agent) {
                a.restore_end(latest);
            }
            self.agent_changed(agent);
            latest = latest.before(Duration::from_millis(1));
        }
    }

    fn resume_wrap_up(&self, wrap_up: &WrapUp, death: Death, now: Now) {
        let WrapUp { agent, until, lasts } = wrap_up;
        let lasts = if lasts.is_zero() { LONGEST_WRAP_UP } else { *lasts };
        let left = until.since(death.alive.wall).min(lasts).saturating_sub(now.lasted(death.at));
        match self.agents.get_mut(agent) {
            Some(mut a) if !left.is_zero() => a.rest(left, now),
            _ => self.record_at(death.alive.wall, Fact::WrapUpEnded { agent: agent.clone() }),
        }
        self.agent_changed(agent);
    }

    /// Takes up the callers of whose wait the store knows no end.
    fn expect_back(&self, waiting: &[Record], death: Death) {
        let mut absent = lock(&self.absent);
        for record in waiting {
            if let Fact::CallEntered { call, queue, first_entered, .. } = &record.fact {
                let who = Absent {
                    queue: queue.clone(),
                    entered: death.alive.line.before(death.alive.wall.since(record.at)),
                    waits: death.moment(record.at),
                    seen: death.at,
                    first_entered: *first_entered,
                    since: None,
                };
                absent.insert(call.clone(), who);
            }
        }
    }

    /// A conversation of which the store knows no end: until FreeSWITCH was asked, its agent is busy.
    fn resume_conversation(&self, answered: &Record, death: Death, linked: bool, now: Now) {
        let Some(key) = key_of(answered) else { return };
        if !self.adopt(&key, death.moment(answered.at), death.at) {
            lock(&self.unclosed).end(key.offer, false);
            let OfferKey { offer, call, queue, agent } = key;
            let talked = death.alive.wall.since(answered.at);
            let ended = Fact::ConversationEnded { offer, call, queue, agent, talked, by: EndedBy::Unknown };
            self.record_at(death.alive.wall, ended);
        } else if !linked {
            self.release_unseen(&key, now);
        }
    }
}

fn key_of(record: &Record) -> Option<OfferKey> {
    match &record.fact {
        Fact::OfferMade { offer, call, queue, agent } | Fact::CallAnswered { offer, call, queue, agent, .. } => {
            Some(OfferKey { offer: *offer, call: call.clone(), queue: queue.clone(), agent: agent.clone() })
        }
        _ => None,
    }
}
