//! One agent: a single record for all queues.
//!
//! Presence (logged in where) is what the agent chose; activity is what is observed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fact::MissCause;
use super::ids::{CallId, OfferId, QueueNumber};
use super::reach::Reach;
use super::settings::AgentSettings;
use super::time::{Mono, Now, Wall};

/// What an agent is held by: one offer, from the claim to the end of its leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The offer, and the UUID of its leg.
    pub offer: OfferId,
    /// The caller.
    pub call: CallId,
    /// The queue the caller waits in, or waited in.
    pub queue: QueueNumber,
    /// Since when.
    pub since: Wall,
    /// The call hears nothing of the leg any more.
    pub given_up: bool,
}

/// What the agent is doing for the queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing.
    Idle,
    /// Claimed for an offer that is not confirmed yet.
    Reserved(Held),
    /// The phone rings, or its leg is being ended.
    Ringing(Held),
    /// Connected to a caller.
    Talking(Held),
    /// Left alone after a conversation.
    WrapUp {
        /// When it ends.
        until: Mono,
        /// The same moment for people and records.
        until_wall: Wall,
    },
}

/// Why an agent cannot be offered a caller right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Not logged in to this queue.
    LoggedOut,
    /// Rings for a caller already.
    Ringing {
        /// Since when.
        since: Wall,
        /// The queue of that caller.
        queue: QueueNumber,
    },
    /// In a conversation with a caller of a queue.
    Talking {
        /// Since when.
        since: Wall,
        /// The queue of that caller.
        queue: QueueNumber,
    },
    /// In wrap-up.
    WrapUp {
        /// When it ends.
        until: Wall,
    },
    /// In a call outside any queue.
    OnAnotherCall {
        /// Since when.
        since: Wall,
    },
    /// The phone, or its gateway, does not work.
    Unreachable {
        /// Since when.
        since: Wall,
        /// What it did last.
        cause: MissCause,
    },
}

/// What a release ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// An offer that led to no conversation.
    Offer,
    /// A conversation.
    Conversation {
        /// Since when they had talked.
        since: Wall,
        /// When the wrap-up that began ends, if there is one.
        wrap_up_until: Option<Wall>,
    },
}

/// One agent.
#[derive(Clone, Debug)]
pub struct Agent {
    settings: Arc<AgentSettings>,
    logins: BTreeMap<QueueNumber, Wall>,
    activity: Activity,
    last_conversation_end: Option<Wall>,
    elsewhere: Option<Wall>,
    reach: Reach,
    retired: bool,
}

impl Agent {
    /// An agent who is logged in nowhere and never had a conversation.
    pub fn new(settings: Arc<AgentSettings>) -> Self {
        Self {
            settings,
            logins: BTreeMap::new(),
            activity: Activity::Idle,
            last_conversation_end: None,
            elsewhere: None,
            reach: Reach::default(),
            retired: false,
        }
    }

    /// The admin took the agent away: a conversation is finished first.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    /// The agent is configured (again).
    pub fn revive(&mut self) {
        self.retired = false;
    }

    /// Whether the admin took the agent away.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// The configured part.
    pub fn settings(&self) -> &Arc<AgentSettings> {
        &self.settings
    }

    /// Takes a changed configured part. Whether another phone can be reached is not known yet.
    pub fn set_settings(&mut self, settings: Arc<AgentSettings>) {
        if self.settings.dial != settings.dial || self.settings.follow_forwards != settings.follow_forwards {
            self.reach.works();
        }
        self.settings = settings;
    }

    /// Where the agent is logged in, and since when.
    pub fn logins(&self) -> &BTreeMap<QueueNumber, Wall> {
        &self.logins
    }

    /// What the agent is doing.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// When the last queue conversation ended.
    pub fn last_conversation_end(&self) -> Option<Wall> {
        self.last_conversation_end
    }

    /// The offer or conversation that holds the agent.
    pub fn held(&self) -> Option<&Held> {
        match &self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) | Activity::Talking(h) => Some(h),
            Activity::Idle | Activity::WrapUp { .. } => None,
        }
    }

    /// The offer for which the phone rings, or is about to.
    pub fn held_by_offer(&self) -> Option<&Held> {
        match &self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) => Some(h),
            _ => None,
        }
    }

    /// The same, if that is for a caller of `queue`.
    pub fn ringing_for(&self, queue: &QueueNumber) -> Option<&Held> {
        self.held_by_offer().filter(|h| h.queue == *queue)
    }

    /// Takes what the store kept from before a restart.
    pub fn restore(&mut self, last_conversation_end: Option<Wall>, wrap_up_until: Option<Wall>, now: Now) {
        self.last_conversation_end = last_conversation_end;
        if let Some(until_wall) = wrap_up_until
            && until_wall > now.wall
        {
            let until = now.mono.plus(until_wall.since(now.wall));
            self.activity = Activity::WrapUp { until, until_wall };
        }
    }

    /// Whether a caller of `queue` may be offered now, and if not, why.
    ///
    /// # Errors
    /// The first reason that holds the agent back.
    pub fn available(&self, queue: &QueueNumber) -> Result<(), Unavailable> {
        if !self.logins.contains_key(queue) { Err(Unavailable::LoggedOut) } else { self.free() }
    }

    /// Whether the agent could take a caller of any queue now.
    ///
    /// # Errors
    /// The first reason that holds the agent back.
    pub fn free(&self) -> Result<(), Unavailable> {
        match &self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) => {
                return Err(Unavailable::Ringing { since: h.since, queue: h.queue.clone() });
            }
            Activity::Talking(h) => {
                return Err(Unavailable::Talking { since: h.since, queue: h.queue.clone() });
            }
            Activity::WrapUp { until_wall, .. } => return Err(Unavailable::WrapUp { until: *until_wall }),
            Activity::Idle => {}
        }
        if let Some(since) = self.elsewhere {
            return Err(Unavailable::OnAnotherCall { since });
        }
        match self.reach.left_alone() {
            Some((since, cause)) => Err(Unavailable::Unreachable { since, cause }),
            None => Ok(()),
        }
    }

    /// Claims the agent for an offer.
    ///
    /// # Errors
    /// Why the agent cannot be claimed; nothing has changed then.
    pub fn claim(&mut self, offer: OfferId, call: CallId, queue: QueueNumber, now: Now) -> Result<(), Unavailable> {
        self.available(&queue)?;
        self.activity = Activity::Reserved(Held { offer, call, queue, since: now.wall, given_up: false });
        Ok(())
    }

    /// The offer was confirmed: the phone is being rung. False when the offer is stale.
    pub fn ringing(&mut self, offer: OfferId) -> bool {
        match &self.activity {
            Activity::Reserved(h) if h.offer == offer => {
                self.activity = Activity::Ringing(h.clone());
                true
            }
            _ => false,
        }
    }

    /// The call hears nothing of the leg of this offer any more.
    pub fn given_up(&mut self, offer: OfferId) {
        if let Activity::Reserved(h) | Activity::Ringing(h) | Activity::Talking(h) = &mut self.activity
            && h.offer == offer
        {
            h.given_up = true;
        }
    }

    /// A conversation that nobody attends to goes on. False when the agent is held by something else, or that was
    /// known already.
    pub fn adopt(&mut self, offer: OfferId, call: CallId, queue: QueueNumber, since: Wall) -> bool {
        match &self.activity {
            Activity::Idle | Activity::WrapUp { .. } => {}
            Activity::Reserved(h) | Activity::Ringing(h) if h.offer == offer => {}
            _ => return false,
        }
        self.activity = Activity::Talking(Held { offer, call, queue, since, given_up: true });
        true
    }

    /// The agent was connected to the caller of `offer`. False when the offer is stale.
    pub fn connected(&mut self, offer: OfferId, now: Now) -> bool {
        match &self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) if h.offer == offer => {
                self.activity = Activity::Talking(Held { since: now.wall, ..h.clone() });
                self.reach.works();
                true
            }
            _ => false,
        }
    }

    /// An offer failed. When that says that the phone or its gateway does not work, it is left alone for a while, so that
    /// no other caller pays for it either; any other answer proves that the phone is there.
    pub fn tried(&mut self, offer: OfferId, cause: MissCause, now: Now) {
        if self.held().is_none_or(|h| h.offer != offer) {
            return;
        }
        self.reach.missed(cause, now);
    }

    /// Since the phone last worked so many offers have failed because it does not, the last one for this cause.
    pub fn failing(&self) -> Option<(u32, MissCause)> {
        self.reach.failing()
    }

    /// The single release of an offer, when its leg is really gone: the agent is free again, or in
    /// wrap-up of `wrap_up` if there was a conversation. `None` when the offer is stale.
    pub fn release(&mut self, offer: OfferId, wrap_up: Duration, now: Now) -> Option<Released> {
        // Nobody lets time pass for an agent who is held.
        self.reach.tick(now);
        match &self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) if h.offer == offer => {
                self.activity = Activity::Idle;
                Some(Released::Offer)
            }
            Activity::Talking(h) if h.offer == offer => {
                let since = h.since;
                self.last_conversation_end = Some(now.wall);
                let wrap_up_until = (!wrap_up.is_zero()).then(|| now.wall.plus(wrap_up));
                self.activity = match wrap_up_until {
                    Some(until_wall) => Activity::WrapUp { until: now.mono.plus(wrap_up), until_wall },
                    None => Activity::Idle,
                };
                Some(Released::Conversation { since, wrap_up_until })
            }
            _ => None,
        }
    }

    /// Logs the agent in to a queue. False when that was so already.
    pub fn login(&mut self, queue: QueueNumber, at: Wall) -> bool {
        match self.logins.entry(queue) {
            std::collections::btree_map::Entry::Vacant(v) => {
                v.insert(at);
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    /// Logs the agent out of a queue. False when that was so already.
    pub fn logout(&mut self, queue: &QueueNumber) -> bool {
        self.logins.remove(queue).is_some()
    }

    /// The agent is in a call outside any queue since then, or in none.
    pub fn set_elsewhere(&mut self, since: Option<Wall>) -> bool {
        let changed = self.elsewhere.is_some() != since.is_some();
        if changed {
            self.elsewhere = since;
        }
        changed
    }

    /// FreeSWITCH says whether the phone can be reached.
    pub fn set_reachable(&mut self, reachable: bool, now: Now) -> bool {
        let changed = self.reach.left_alone().is_none() != reachable;
        if reachable {
            self.reach.works();
        } else {
            self.reach.gone(now);
        }
        changed
    }

    /// When something about the agent changes by itself.
    pub fn deadline(&self) -> Option<Mono> {
        let wrap_up = match &self.activity {
            Activity::WrapUp { until, .. } => Some(*until),
            _ => None,
        };
        wrap_up.into_iter().chain(self.reach.deadline()).min()
    }

    /// Lets time pass. True when a wrap-up ended.
    pub fn tick(&mut self, now: Now) -> bool {
        self.reach.tick(now);
        match &self.activity {
            Activity::WrapUp { until, .. } if *until <= now.mono => {
                self.activity = Activity::Idle;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use uuid::Uuid;

    use super::super::ids::AgentId;
    use super::*;

    fn now(ms: u64) -> Now {
        Now { mono: Mono(Duration::from_millis(ms)), wall: Wall(1_000_000 + ms as i64) }
    }
    fn agent() -> Agent {
        Agent::new(Arc::new(AgentSettings::new(AgentId::new("1001").unwrap(), "Anna".into())))
    }
    fn q(n: &str) -> QueueNumber {
        QueueNumber::new(n).unwrap()
    }
    fn c(n: &str) -> CallId {
        CallId::new(n).unwrap()
    }
    const A: OfferId = OfferId(Uuid::from_u128(1));
    const B: OfferId = OfferId(Uuid::from_u128(2));

    /// Q5, Q8: one claim at a time; a stale offer changes nothing.
    #[test]
    fn an_agent_holds_one_offer_and_frees_it_once() {
        let mut a = agent();
        assert_eq!(a.claim(A, c("x"), q("1"), now(0)), Err(Unavailable::LoggedOut));
        assert!(a.login(q("1"), Wall(5)));
        assert!(!a.login(q("1"), Wall(6)));
        a.claim(A, c("x"), q("1"), now(0)).unwrap();
        assert!(matches!(a.claim(B, c("y"), q("1"), now(0)), Err(Unavailable::Ringing { .. })));
        assert_eq!(a.release(B, Duration::ZERO, now(1)), None);
        assert!(!a.connected(B, now(1)));
        assert!(a.ringing(A));
        assert_eq!(a.release(A, Duration::from_secs(9), now(2)), Some(Released::Offer));
        assert_eq!(a.release(A, Duration::from_secs(9), now(2)), None);
        assert_eq!(a.free(), Ok(()));
        assert_eq!(a.last_conversation_end(), None);
    }

    /// Q9: wrap-up follows the conversation, to the millisecond, and holds every queue back.
    #[test]
    fn wrap_up_starts_at_the_end_and_ends_on_time() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.login(q("2"), Wall(5));
        a.claim(A, c("x"), q("1"), now(0)).unwrap();
        a.ringing(A);
        assert!(a.connected(A, now(10)));
        assert_eq!(
            a.release(A, Duration::from_secs(30), now(5_000)),
            Some(Released::Conversation { since: Wall(1_000_010), wrap_up_until: Some(Wall(1_035_000)) })
        );
        assert!(matches!(a.available(&q("2")), Err(Unavailable::WrapUp { until: Wall(1_035_000) })));
        assert_eq!(a.deadline(), Some(Mono(Duration::from_secs(35))));
        assert!(!a.tick(now(34_999)));
        assert!(a.tick(now(35_000)));
        assert_eq!(a.available(&q("2")), Ok(()));
        assert_eq!(a.last_conversation_end(), Some(Wall(1_005_000)));
    }

    /// Q22: whether anybody hears of a leg is known of each leg.
    #[test]
    fn a_leg_is_given_up_by_its_own_name() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.claim(A, c("x"), q("1"), now(0)).unwrap();
        a.given_up(B);
        assert!(!a.held().unwrap().given_up);
        a.given_up(A);
        assert!(a.held().unwrap().given_up);
        assert!(a.adopt(A, c("x"), q("1"), Wall(6)));
        assert!(a.held().unwrap().given_up);
    }

    /// Q5, Q7: a phone that is not there is left alone for a while, and comes back by news or by time.
    #[test]
    fn an_unreachable_phone_is_skipped_until_it_comes_back() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.claim(A, c("x"), q("1"), now(0)).unwrap();
        a.tried(B, MissCause::NotRegistered, now(0));
        a.tried(A, MissCause::NotRegistered, now(0));
        a.release(A, Duration::ZERO, now(0));
        assert!(matches!(a.free(), Err(Unavailable::Unreachable { .. })));
        a.tick(now(4_999));
        assert!(a.free().is_err());
        a.tick(now(5_000));
        assert_eq!(a.free(), Ok(()));
        assert_eq!(a.deadline(), None);
        a.claim(B, c("x"), q("1"), now(5_000)).unwrap();
        a.tried(B, MissCause::Unknown, now(5_000));
        a.release(B, Duration::ZERO, now(5_000));
        assert_eq!(
            a.free(),
            Err(Unavailable::Unreachable { since: now(0).wall, cause: MissCause::Unknown }),
            "all that time"
        );
        assert_eq!(a.deadline(), Some(Mono(Duration::from_secs(15))), "twice as long");
        a.tick(now(15_000));
        assert_eq!(a.free(), Ok(()));
        assert!(a.set_reachable(false, now(16_000)), "it is gone, says FreeSWITCH");
        a.tick(now(75_000));
        assert!(a.free().is_err());
        a.tick(now(76_000));
        assert_eq!(a.free(), Ok(()), "tried all the same");
        assert!(a.set_reachable(false, now(77_000)));
        assert!(a.set_reachable(true, now(78_000)));
        assert_eq!(a.free(), Ok(()));
    }

    /// Q5: a private call holds the queues back, and is none of the queue's conversations.
    #[test]
    fn a_private_call_holds_back_and_counts_for_nothing() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        assert!(a.set_elsewhere(Some(Wall(7))));
        assert!(!a.set_elsewhere(Some(Wall(8))));
        assert_eq!(a.available(&q("1")), Err(Unavailable::OnAnotherCall { since: Wall(7) }));
        assert!(a.set_elsewhere(None));
        assert_eq!(a.available(&q("1")), Ok(()));
        assert_eq!(a.last_conversation_end(), None);
    }

    /// Q9 after a restart: what is left of a wrap-up is kept.
    #[test]
    fn a_wrap_up_survives_a_restart() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.restore(Some(Wall(3)), Some(Wall(1_002_000)), now(500));
        assert_eq!(a.deadline(), Some(Mono(Duration::from_secs(2))));
        let mut b = agent();
        b.restore(None, Some(Wall(1_000_100)), now(500));
        assert_eq!(b.deadline(), None);
    }
}
