//! Resumes the state that the last daemon left behind (Q18, Q19, Q108, Q110).
//!
//! Calls and conversations that were open when the last daemon died either go on, or ended when that daemon was last
//! known to live. Their end is recorded at that moment, because the time without a daemon counts towards no
//! conversation and no wait.

use std::collections::VecDeque;
use std::time::Duration;

use crate::acd::fact::{Asker, CancelCause, EndedBy, Fact, Record};
use crate::acd::ids::OfferId;
use crate::acd::restored::{Alive, Restored, WrapUp};
use crate::acd::time::{Now, Since, Wall};

use super::{Absent, Floor, OfferKey, Stored, lock};

/// Stands in for the length of a wrap-up that an earlier version recorded without it: the longest wrap-up allowed.
const LONGEST_WRAP_UP: Duration = Duration::from_secs(3600);

/// The moment when the last daemon was last known to live.
#[derive(Clone, Copy, Debug)]
struct Death {
    /// On its own calendar and in its line's time.
    alive: Alive,
    /// On this process's clock, as far as the calendar shows it.
    at: Since,
}

impl Death {
    /// Converts a wall-clock moment of the last daemon to this process's clock.
    fn moment(self, wall: Wall) -> Since {
        self.at.before(self.alive.wall.since(wall))
    }
}

/// Offers and conversations whose end FreeSWITCH has yet to confirm: the last daemon's offers without an outcome, whose
/// phones may have been answered since; and conversations that were recorded as ended although nobody saw the end, and
/// that may turn out to go on.
#[derive(Debug, Default)]
pub(super) struct Unclosed {
    offers: Vec<OfferKey>,
    died: Wall,
    ended: VecDeque<OfferId>,
}

/// The most conversations remembered as ended without the end being seen.
const MOST_UNSEEN: usize = 4096;

impl Unclosed {
    /// A conversation ends. Returns false when its end has already been recorded.
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

    /// Whether a conversation has been recorded as ended without its end being seen.
    pub(super) fn has_ended(&self, offer: OfferId) -> bool {
        self.ended.contains(&offer)
    }
}

impl Floor {
    /// Restores the state from the store; call it after [`Floor::configure`]. With `linked`, FreeSWITCH will be asked
    /// what became of the conversations and the ringing phones; without it, all of them count as over.
    pub fn resume(&self, restored: &Restored, linked: bool, now: Now) {
        let alive = restored.alive.unwrap_or(Alive { wall: now.wall, line: now.wall });
        let away = now.wall.since(alive.wall);
        let death = Death { alive, at: now.ago(away) };
        self.resume_line(restored.alive.map(|alive| (alive.line, away)), now);
        self.resume_ends(restored, death);
        for (queue, agent) in &restored.last_offered {
            if let Some(mut q) = self.queues.get_mut(queue) {
                q.restore_last_offered(agent.clone());
            }
        }
        for (agent, shift) in &restored.shifts {
            if let Some(mut a) = self.agents.get_mut(agent) {
                *a.shift_mut() = *shift;
            }
            self.agent_changed(agent);
        }
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
                (self.facts)(Record { at: now.wall, fact }, Stored::NotYet);
            }
        }
    }

    /// Cancels the last daemon's offers that are still open, because no phone has been found answered.
    pub fn close_offers(&self) {
        let mut unclosed = lock(&self.unclosed);
        for OfferKey { offer, call, queue, agent } in std::mem::take(&mut unclosed.offers) {
            let cause = CancelCause::Restart;
            self.record_at(unclosed.died, Fact::OfferCancelled { offer, call, queue, agent, cause });
        }
    }

    /// An offer of the last daemon has its outcome. Returns false when it is no such offer, or when it already had one.
    pub(super) fn close_offer(&self, offer: OfferId) -> bool {
        let mut unclosed = lock(&self.unclosed);
        let before = unclosed.offers.len();
        unclosed.offers.retain(|key| key.offer != offer);
        unclosed.offers.len() < before
    }

    /// Restores when conversations ended, in their recorded order even if the calendar was set in between (Q6, Q108).
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

    /// Expects the callers back whose wait has no recorded end.
    fn expect_back(&self, waiting: &[Record], death: Death) {
        let mut absent = lock(&self.absent);
        for record in waiting {
            if let Fact::CallEntered { call, queue, first_entered, own_head_start, .. } = &record.fact {
                let who = Absent {
                    queue: queue.clone(),
                    entered: death.alive.line.before(death.alive.wall.since(record.at)),
                    head_start: *own_head_start,
                    waits: death.moment(record.at),
                    seen: death.at,
                    first_entered: *first_entered,
                    since: None,
                };
                absent.insert(call.clone(), who);
            }
        }
    }

    /// Resumes a conversation without a recorded end: its agent stays busy until FreeSWITCH has been asked.
    fn resume_conversation(&self, answered: &Record, death: Death, linked: bool, now: Now) {
        let Some(key) = key_of(answered) else { return };
        if !self.adopt(&key, death.moment(answered.at), death.at) {
            lock(&self.unclosed).end(key.offer, false);
            let OfferKey { offer, call, queue, agent } = key;
            let (talked, counted) = (death.alive.wall.since(answered.at), agent.clone());
            let ended = Fact::ConversationEnded { offer, call, queue, agent, talked, by: EndedBy::Unknown };
            if let Some(mut a) = self.agents.get_mut(&counted) {
                a.shift_mut().count(talked);
            }
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
