//! One agent: a single record for all queues.
//!
//! The agent chooses the presence (in which queues to be logged in); the activity is observed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::fact::MissCause;
use super::ids::{CallId, OfferId, QueueNumber};
use super::reach::Reach;
use super::settings::AgentSettings;
use super::shift::Shift;
use super::time::{Mono, Now, Since, Wall};

/// The offer that holds an agent, from the claim to the end of its leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The offer, and the UUID of its leg.
    pub offer: OfferId,
    /// The caller.
    pub call: CallId,
    /// The queue the caller waits in, or waited in.
    pub queue: QueueNumber,
    /// Since when.
    pub since: Since,
    /// When the leg was last known to exist. It counts as the end of the leg when the end goes unseen.
    pub seen: Since,
    /// The length of the wrap-up after the conversation, used when the queue has been removed meanwhile.
    pub wrap_up: Duration,
    /// The call no longer receives events of the leg.
    pub given_up: bool,
}

/// The agent's activity for the queues.
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
    /// In the pause after a conversation.
    WrapUp {
        /// When it ends.
        until: Mono,
    },
}

/// Why an agent cannot be offered a caller right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Not logged in to this queue.
    LoggedOut,
    /// The phone already rings for a caller.
    Ringing {
        /// Since when.
        since: Since,
        /// The queue of that caller.
        queue: QueueNumber,
    },
    /// In a conversation with a caller of a queue.
    Talking {
        /// Since when.
        since: Since,
        /// The queue of that caller.
        queue: QueueNumber,
    },
    /// In wrap-up.
    WrapUp {
        /// When it ends.
        until: Mono,
    },
    /// In a call outside any queue.
    OnAnotherCall {
        /// Since when.
        since: Since,
    },
    /// The phone, or its gateway, does not work.
    Unreachable {
        /// Since when.
        since: Since,
        /// How the last offer failed.
        cause: MissCause,
    },
}

/// The outcome of a release: an offer, or a conversation that it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// An offer that led to no conversation.
    Offer,
    /// A conversation.
    Conversation {
        /// The length of the conversation.
        talked: Duration,
        /// When it ended: now, or when the leg was last known to exist.
        ended: Since,
        /// The length of the wrap-up that began then; `None` when it is already over.
        wrap_up: Option<Duration>,
    },
}

/// One agent.
#[derive(Clone, Debug)]
pub struct Agent {
    settings: Arc<AgentSettings>,
    logins: BTreeMap<QueueNumber, Wall>,
    activity: Activity,
    last_conversation_end: Option<Since>,
    shift: Shift,
    elsewhere: Option<Since>,
    reach: Reach,
    retired: bool,
}

impl Agent {
    /// Creates an agent who is logged in nowhere and has had no conversation.
    pub fn new(settings: Arc<AgentSettings>) -> Self {
        Self {
            settings,
            logins: BTreeMap::new(),
            activity: Activity::Idle,
            last_conversation_end: None,
            shift: Shift::default(),
            elsewhere: None,
            reach: Reach::default(),
            retired: false,
        }
    }

    /// The configuration no longer has the agent; a conversation may still finish.
    pub fn retire(&mut self) {
        self.retired = true;
    }

    /// The agent is configured (again).
    pub fn revive(&mut self) {
        self.retired = false;
    }

    /// Whether the configuration no longer has the agent.
    pub fn is_retired(&self) -> bool {
        self.retired
    }

    /// The agent's settings.
    pub fn settings(&self) -> &Arc<AgentSettings> {
        &self.settings
    }

    /// Applies changed settings. Another `dial` or `follow_forwards` may make the phone work, so the failures seen so
    /// far are forgotten.
    pub fn set_settings(&mut self, settings: Arc<AgentSettings>) {
        if self.settings.dial != settings.dial || self.settings.follow_forwards != settings.follow_forwards {
            self.reach.works();
        }
        self.settings = settings;
    }

    /// The queues to which the agent is logged in, and since when.
    pub fn logins(&self) -> &BTreeMap<QueueNumber, Wall> {
        &self.logins
    }

    /// The agent's activity.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// When the last queue conversation ended.
    pub fn last_conversation_end(&self) -> Option<Since> {
        self.last_conversation_end
    }

    /// The work of the present shift.
    pub fn shift(&self) -> &Shift {
        &self.shift
    }

    /// The work of the present shift, to begin it or to count a conversation.
    pub fn shift_mut(&mut self) -> &mut Shift {
        &mut self.shift
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

    /// The offer for which the phone rings, or is about to, if its caller is in `queue`.
    pub fn ringing_for(&self, queue: &QueueNumber) -> Option<&Held> {
        self.held_by_offer().filter(|h| h.queue == *queue)
    }

    /// Restores the end of the last conversation, which an earlier process recorded.
    pub fn restore_end(&mut self, at: Since) {
        self.last_conversation_end = Some(at);
    }

    /// Starts or resumes a wrap-up that has this long left.
    pub fn rest(&mut self, left: Duration, now: Now) {
        self.activity = Activity::WrapUp { until: now.mono.plus(left) };
    }

    /// Whether a caller of `queue` may be offered now, and if not, why.
    ///
    /// # Errors
    /// Returns the first reason that holds the agent back.
    pub fn available(&self, queue: &QueueNumber) -> Result<(), Unavailable> {
        if !self.logins.contains_key(queue) { Err(Unavailable::LoggedOut) } else { self.free() }
    }

    /// Whether the agent could take a caller of any queue now.
    ///
    /// # Errors
    /// Returns the first reason that holds the agent back.
    pub fn free(&self) -> Result<(), Unavailable> {
        match &self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) => {
                return Err(Unavailable::Ringing { since: h.since, queue: h.queue.clone() });
            }
            Activity::Talking(h) => {
                return Err(Unavailable::Talking { since: h.since, queue: h.queue.clone() });
            }
            Activity::WrapUp { until } => return Err(Unavailable::WrapUp { until: *until }),
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
    /// Returns why the agent cannot be claimed; nothing has changed then.
    pub fn claim(&mut self, offer: OfferId, call: CallId, queue: QueueNumber, now: Now) -> Result<(), Unavailable> {
        self.available(&queue)?;
        let (since, wrap_up) = (now.mono.into(), Duration::ZERO);
        self.activity = Activity::Reserved(Held { offer, call, queue, since, seen: since, wrap_up, given_up: false });
        Ok(())
    }

    /// The offer was confirmed, and the phone is being rung. Returns false when the offer is stale.
    pub fn ringing(&mut self, offer: OfferId) -> bool {
        match &self.activity {
            Activity::Reserved(h) if h.offer == offer => {
                self.activity = Activity::Ringing(h.clone());
                true
            }
            _ => false,
        }
    }

    /// The call no longer receives events of this offer's leg.
    pub fn given_up(&mut self, offer: OfferId, now: Now) {
        if let Some(h) = self.held_by(offer) {
            h.seen = now.mono.into();
            h.given_up = true;
        }
    }

    /// FreeSWITCH shows that this offer's leg exists.
    pub fn seen(&mut self, offer: OfferId, now: Now) {
        if let Some(h) = self.held_by(offer) {
            h.seen = now.mono.into();
        }
    }

    fn held_by(&mut self, offer: OfferId) -> Option<&mut Held> {
        match &mut self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) | Activity::Talking(h) if h.offer == offer => Some(h),
            _ => None,
        }
    }

    /// Takes over a conversation that no call attends to, last `seen` then. Returns false when the agent is held by
    /// another offer, or when the conversation was already known.
    pub fn adopt(&mut self, offer: OfferId, call: CallId, queue: QueueNumber, since: Since, seen: Since) -> bool {
        match &self.activity {
            Activity::Idle | Activity::WrapUp { .. } => {}
            Activity::Reserved(h) | Activity::Ringing(h) if h.offer == offer => {}
            _ => return false,
        }
        let wrap_up = Duration::ZERO;
        self.activity = Activity::Talking(Held { offer, call, queue, since, seen, wrap_up, given_up: true });
        true
    }

    /// The agent was connected to the caller of `offer`, in a queue with this wrap-up. Returns false when the offer is
    /// stale.
    pub fn connected(&mut self, offer: OfferId, wrap_up: Duration, now: Now) -> bool {
        match &self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) if h.offer == offer => {
                self.activity =
                    Activity::Talking(Held { since: now.mono.into(), seen: now.mono.into(), wrap_up, ..h.clone() });
                self.reach.works();
                true
            }
            _ => false,
        }
    }

    /// An offer failed. A cause that shows the phone or its gateway not working suspends the phone for a while, so that
    /// no other caller loses time on it; any other cause proves that the phone works.
    pub fn tried(&mut self, offer: OfferId, cause: MissCause, now: Now) {
        if self.held().is_none_or(|h| h.offer != offer) {
            return;
        }
        self.reach.missed(cause, now);
    }

    /// How many offers have failed since the phone last worked, and the cause of the last one.
    pub fn failing(&self) -> Option<(u32, MissCause)> {
        self.reach.failing()
    }

    /// Releases an offer, once, when its leg is really gone. The agent is then free, or in wrap-up if there was a
    /// conversation; its length comes from the queue, or else from the moment of the connection. A conversation whose
    /// end was not `seen` ended when its leg was last known to exist, and the wrap-up began then. Returns `None` when
    /// the offer is stale.
    pub fn release(&mut self, offer: OfferId, wrap_up: Option<Duration>, seen: bool, now: Now) -> Option<Released> {
        // The floor does not tick an agent who is held.
        self.reach.tick(now);
        match &self.activity {
            Activity::Reserved(h) | Activity::Ringing(h) if h.offer == offer => {
                self.activity = Activity::Idle;
                Some(Released::Offer)
            }
            Activity::Talking(h) if h.offer == offer => {
                let ended = if seen { Since::from(now.mono) } else { h.seen.max(h.since) };
                let (since, wrap_up) = (h.since, wrap_up.unwrap_or(h.wrap_up));
                let talked = now.lasted(since).saturating_sub(now.lasted(ended));
                self.last_conversation_end = Some(ended);
                let left = wrap_up.saturating_sub(now.lasted(ended));
                self.activity = Activity::Idle;
                if left.is_zero() {
                    return Some(Released::Conversation { talked, ended, wrap_up: None });
                }
                self.rest(left, now);
                Some(Released::Conversation { talked, ended, wrap_up: Some(wrap_up) })
            }
            _ => None,
        }
    }

    /// Logs the agent in to a queue. Returns false when the agent was logged in already.
    pub fn login(&mut self, queue: QueueNumber, at: Wall) -> bool {
        match self.logins.entry(queue) {
            std::collections::btree_map::Entry::Vacant(v) => {
                v.insert(at);
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    /// Logs the agent out of a queue. Returns false when the agent was not logged in.
    pub fn logout(&mut self, queue: &QueueNumber) -> bool {
        self.logins.remove(queue).is_some()
    }

    /// Sets since when the agent is in a call outside any queue; `None` when there is no such call.
    pub fn set_elsewhere(&mut self, since: Option<Since>) -> bool {
        let changed = self.elsewhere.is_some() != since.is_some();
        if changed {
            self.elsewhere = since;
        }
        changed
    }

    /// FreeSWITCH reports whether the phone can be reached. Returns whether that is a change.
    pub fn set_reachable(&mut self, reachable: bool, now: Now) -> bool {
        let changed = self.reach.left_alone().is_none() != reachable;
        if reachable {
            self.reach.works();
        } else {
            self.reach.gone(now);
        }
        changed
    }

    /// The next moment at which the agent's state changes by itself.
    pub fn deadline(&self) -> Option<Mono> {
        let wrap_up = match &self.activity {
            Activity::WrapUp { until } => Some(*until),
            _ => None,
        };
        wrap_up.into_iter().chain(self.reach.deadline()).min()
    }

    /// Applies the passing of time. Returns true when a wrap-up ended.
    pub fn tick(&mut self, now: Now) -> bool {
        self.reach.tick(now);
        match &self.activity {
            Activity::WrapUp { until } if *until <= now.mono => {
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
    fn since(ms: u64) -> Since {
        now(ms).mono.into()
    }
    /// An agent connected at 0 in a queue with 30 s of wrap-up.
    fn talking() -> Agent {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.claim(A, c("x"), q("1"), now(0)).unwrap();
        a.connected(A, Duration::from_secs(30), now(0));
        a
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
        assert_eq!(a.release(B, None, true, now(1)), None);
        assert!(!a.connected(B, Duration::ZERO, now(1)));
        assert!(a.ringing(A));
        assert_eq!(a.release(A, Some(Duration::from_secs(9)), true, now(2)), Some(Released::Offer));
        assert_eq!(a.release(A, Some(Duration::from_secs(9)), true, now(2)), None);
        assert_eq!(a.free(), Ok(()));
        assert_eq!(a.last_conversation_end(), None);
    }

    /// Q9: the wrap-up follows the conversation, to the millisecond, and holds the agent back in every queue.
    #[test]
    fn wrap_up_starts_at_the_end_and_ends_on_time() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.login(q("2"), Wall(5));
        a.claim(A, c("x"), q("1"), now(0)).unwrap();
        a.ringing(A);
        assert!(a.connected(A, Duration::ZERO, now(10)));
        let (talked, wrap_up) = (Duration::from_millis(4_990), Duration::from_secs(30));
        assert_eq!(
            a.release(A, Some(wrap_up), true, now(5_000)),
            Some(Released::Conversation { talked, ended: since(5_000), wrap_up: Some(wrap_up) })
        );
        assert_eq!(a.available(&q("2")), Err(Unavailable::WrapUp { until: now(35_000).mono }));
        assert_eq!(a.deadline(), Some(Mono(Duration::from_secs(35))));
        assert!(!a.tick(now(34_999)));
        assert!(a.tick(now(35_000)));
        assert_eq!(a.available(&q("2")), Ok(()));
        assert_eq!(a.last_conversation_end(), Some(since(5_000)));
    }

    /// Q9: when the queue has been removed, the wrap-up lasts as long as it was set at the connection.
    #[test]
    fn q9_a_wrap_up_outlives_its_queue() {
        let mut a = talking();
        let Some(Released::Conversation { wrap_up, .. }) = a.release(A, None, true, now(5_000)) else { panic!() };
        assert_eq!((wrap_up, a.deadline()), (Some(Duration::from_secs(30)), Some(now(35_000).mono)));
    }

    /// Q108: a conversation whose end went unseen ended when it was last seen, and its wrap-up began then.
    #[test]
    fn q108_an_unseen_end_is_dated_to_the_last_sighting() {
        let mut a = talking();
        a.seen(B, now(9_000));
        a.seen(A, now(8_000));
        let mut late = a.clone();
        let (talked, ended, wrap_up) = (Duration::from_secs(8), since(8_000), Some(Duration::from_secs(30)));
        let unseen = Released::Conversation { talked, ended, wrap_up };
        assert_eq!(a.release(A, None, false, now(20_000)), Some(unseen));
        assert_eq!((a.deadline(), a.last_conversation_end()), (Some(now(38_000).mono), Some(ended)));
        let over = Released::Conversation { talked, ended, wrap_up: None };
        assert_eq!(late.release(A, None, false, now(38_000)), Some(over));
        assert_eq!(late.free(), Ok(()));
    }

    /// Q22: a leg is given up by its own offer alone.
    #[test]
    fn a_leg_is_given_up_by_its_own_offer() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.claim(A, c("x"), q("1"), now(0)).unwrap();
        a.given_up(B, now(1));
        assert!(!a.held().unwrap().given_up);
        a.given_up(A, now(1));
        assert!(a.held().unwrap().given_up);
        assert!(a.adopt(A, c("x"), q("1"), since(6), since(6)));
        assert!(a.held().unwrap().given_up);
    }

    /// Q5, Q7: an unreachable phone is suspended until FreeSWITCH reports it back or its time is over.
    #[test]
    fn an_unreachable_phone_is_skipped_until_it_comes_back() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.claim(A, c("x"), q("1"), now(0)).unwrap();
        a.tried(B, MissCause::NotRegistered, now(0));
        a.tried(A, MissCause::NotRegistered, now(0));
        a.release(A, None, true, now(0));
        assert!(matches!(a.free(), Err(Unavailable::Unreachable { .. })));
        a.tick(now(4_999));
        assert!(a.free().is_err());
        a.tick(now(5_000));
        assert_eq!(a.free(), Ok(()));
        assert_eq!(a.deadline(), None);
        a.claim(B, c("x"), q("1"), now(5_000)).unwrap();
        a.tried(B, MissCause::Unknown, now(5_000));
        a.release(B, None, true, now(5_000));
        assert_eq!(
            a.free(),
            Err(Unavailable::Unreachable { since: since(0), cause: MissCause::Unknown }),
            "since the first failure"
        );
        assert_eq!(a.deadline(), Some(Mono(Duration::from_secs(15))), "twice as long");
        a.tick(now(15_000));
        assert_eq!(a.free(), Ok(()));
        assert!(a.set_reachable(false, now(16_000)), "FreeSWITCH reports it gone");
        a.tick(now(75_000));
        assert!(a.free().is_err());
        a.tick(now(76_000));
        assert_eq!(a.free(), Ok(()), "tried all the same");
        assert!(a.set_reachable(false, now(77_000)));
        assert!(a.set_reachable(true, now(78_000)));
        assert_eq!(a.free(), Ok(()));
    }

    /// Q5: a private call holds every queue back, and does not count as a queue conversation.
    #[test]
    fn a_private_call_holds_the_queues_back_and_does_not_count() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        assert!(a.set_elsewhere(Some(since(7))));
        assert!(!a.set_elsewhere(Some(since(8))));
        assert_eq!(a.available(&q("1")), Err(Unavailable::OnAnotherCall { since: since(7) }));
        assert!(a.set_elsewhere(None));
        assert_eq!(a.available(&q("1")), Ok(()));
        assert_eq!(a.last_conversation_end(), None);
    }

    /// Q9 after a restart: what is left of a wrap-up is kept.
    #[test]
    fn a_wrap_up_survives_a_restart() {
        let mut a = agent();
        a.login(q("1"), Wall(5));
        a.rest(Duration::from_millis(1_500), now(500));
        assert_eq!(a.deadline(), Some(Mono(Duration::from_secs(2))));
        assert!(a.available(&q("1")).is_err());
    }
}
