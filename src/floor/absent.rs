//! Waiting callers whose connection is gone: either FreeSWITCH's dialplan brings them back to their place, or they are
//! lost (Q19, Q20).

use std::time::Duration;

use crate::acd::fact::{CancelCause, Fact, LossCause};
use crate::acd::ids::{CallId, QueueNumber};
use crate::acd::rank::Rank;
use crate::acd::time::{Mono, Now, Since, Wall};

use super::{Floor, lock};

/// A caller who was waiting and has no connection now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The queue.
    pub queue: QueueNumber,
    /// When the caller entered it, in the line's time.
    pub entered: Wall,
    /// The caller's own head start.
    pub head_start: Duration,
    /// When the wait began.
    pub waits: Since,
    /// When the caller was last known to wait.
    pub seen: Since,
    /// When the caller first entered any queue.
    pub first_entered: Wall,
    /// When the connection ended; `None` when it ended before this process started.
    pub since: Option<Mono>,
}

impl Absent {
    /// The caller's rank, as far as the records show it.
    pub(super) fn rank(&self) -> Rank {
        Rank::new(self.entered, 0).with_head_start(self.head_start)
    }
}

impl Floor {
    /// The connection of a waiting caller has ended, and it is unknown whether the call has ended too. The call leaves
    /// the line; its disposition stays open until it comes back or is given up.
    pub(super) fn goes_missing(&self, call: &CallId, queue: &QueueNumber, first_entered: Wall, now: Now) {
        let Some(left) = self.leave_queue(call, queue, CancelCause::CallerGone, now, |_| None) else { return };
        let who = Absent {
            queue: queue.clone(),
            entered: left.rank.entered,
            head_start: left.rank.head_start,
            waits: left.since,
            seen: now.mono.into(),
            first_entered,
            since: Some(now.mono),
        };
        lock(&self.absent).insert(call.clone(), who);
    }

    /// The caller is back: the earlier wait is recorded as returned to the dialplan.
    pub(super) fn comes_back(&self, call: &CallId, now: Now) -> Option<Absent> {
        lock(&self.coming).remove(call);
        let mut absent = lock(&self.absent);
        let who = absent.remove(call)?;
        let (queue, waited) = (who.queue.clone(), now.lasted(who.waits));
        self.record(now, Fact::CallReturned { call: call.clone(), queue, waited });
        Some(who)
    }

    /// The own head start with which a caller who is absent waited (Q25).
    pub fn head_start_of_absent(&self, call: &CallId) -> Option<Duration> {
        lock(&self.absent).get(call).map(|who| who.head_start)
    }

    /// All absent callers.
    pub fn absent(&self) -> Vec<(CallId, Absent)> {
        lock(&self.absent).iter().map(|(call, who)| (call.clone(), who.clone())).collect()
    }

    /// Notes callers that FreeSWITCH reports as held by the dialplan, on their way to this daemon. Their records may be
    /// missing, because a daemon that is killed loses the records of its last moments.
    pub fn see_coming(&self, calls: impl IntoIterator<Item = CallId>) {
        lock(&self.coming).extend(calls.into_iter().filter(|call| !self.has_call(call)));
    }

    /// Whether every caller who was waiting when the daemon last ended is back or given up.
    pub fn all_are_back(&self) -> bool {
        lock(&self.absent).values().all(|who| who.since.is_some()) && lock(&self.coming).is_empty()
    }

    /// Gives up a caller who will not come back: the wait ended when the caller was last known to wait. `hung_up`: an
    /// event reported the end of the call, and whether the caller caused it. Returns false when the caller is no longer
    /// absent.
    pub fn give_up(&self, call: &CallId, hung_up: Option<bool>, now: Now) -> bool {
        {
            let mut absent = lock(&self.absent);
            let Some(who) = absent.remove(call) else { return false };
            let (queue, waited) = (who.queue, now.lasted(who.waits).saturating_sub(now.lasted(who.seen)));
            let lost = |cause| Fact::CallLost { call: call.clone(), queue: queue.clone(), waited, cause };
            let fact = match hung_up {
                Some(true) => Fact::CallAbandoned { call: call.clone(), queue: queue.clone(), waited },
                Some(false) => lost(LossCause::SwitchEnded),
                None if who.since.is_some() => lost(LossCause::SwitchGone),
                None => lost(LossCause::Restart),
            };
            self.record_at(now.wall_of(who.seen), fact);
        }
        self.wake_dispatcher();
        true
    }

    /// Wakes the dispatcher.
    pub fn wake_dispatcher(&self) {
        (self.bell)();
    }
}
