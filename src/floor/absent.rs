//! Callers who wait, and whose connection is gone: FreeSWITCH's dialplan brings them back to their place, or they
//! are lost (Q19, Q20).

use crate::acd::fact::{CancelCause, Fact, LossCause};
use crate::acd::ids::{CallId, QueueNumber};
use crate::acd::queue::Place;
use crate::acd::time::{Mono, Now, Since, Wall};

use super::{Floor, lock};

/// A caller who waited, and is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The queue.
    pub queue: QueueNumber,
    /// When the caller entered it, by the line's time.
    pub entered: Wall,
    /// Since when the caller waits.
    pub waits: Since,
    /// When the caller was last known to wait.
    pub seen: Since,
    /// When the caller first entered any queue.
    pub first_entered: Wall,
    /// Since when the connection is gone; `None` when that was before our time.
    pub since: Option<Mono>,
}

impl Absent {
    /// The place the caller had, as far as the records tell.
    pub(super) fn place(&self) -> Place {
        Place { entered: self.entered, seq: 0 }
    }
}

impl Floor {
    /// The connection of a waiting caller has ended, and nobody can tell whether the call has: it leaves the line,
    /// and has no disposition until it is back or found to be gone.
    pub(super) fn goes_missing(&self, call: &CallId, queue: &QueueNumber, first_entered: Wall, now: Now) {
        let Some(left) = self.leave_queue(call, queue, CancelCause::CallerGone, now, |_| None) else { return };
        let who = Absent {
            queue: queue.clone(),
            entered: left.place.entered,
            waits: left.since,
            seen: now.mono.into(),
            first_entered,
            since: Some(now.mono),
        };
        lock(&self.absent).insert(call.clone(), who);
    }

    /// The caller is here again: the wait before counts as given back to the dialplan.
    pub(super) fn comes_back(&self, call: &CallId, now: Now) -> Option<Absent> {
        lock(&self.coming).remove(call);
        let mut absent = lock(&self.absent);
        let who = absent.remove(call)?;
        let (queue, waited) = (who.queue.clone(), now.lasted(who.waits));
        self.record(now, Fact::CallReturned { call: call.clone(), queue, waited });
        Some(who)
    }

    /// The callers who are not here.
    pub fn absent(&self) -> Vec<(CallId, Absent)> {
        lock(&self.absent).iter().map(|(call, who)| (call.clone(), who.clone())).collect()
    }

    /// These callers are on their way to us, as FreeSWITCH tells: the dialplan holds them. Nothing else may be known of
    /// them, for a daemon that is killed takes the records of its last moments with it.
    pub fn see_coming(&self, calls: impl IntoIterator<Item = CallId>) {
        lock(&self.coming).extend(calls.into_iter().filter(|call| !self.has_call(call)));
    }

    /// Whether all who waited when the daemon last ended are back, or given up.
    pub fn all_are_back(&self) -> bool {
        lock(&self.absent).values().all(|who| who.since.is_some()) && lock(&self.coming).is_empty()
    }

    /// This caller will not come back: the wait ended when it was last known to go on. False when that is not so any
    /// more.
    pub fn give_up(&self, call: &CallId, now: Now) -> bool {
        {
            let mut absent = lock(&self.absent);
            let Some(who) = absent.remove(call) else { return false };
            let cause = if who.since.is_some() { LossCause::SwitchGone } else { LossCause::Restart };
            let (queue, waited) = (who.queue, now.lasted(who.waits).saturating_sub(now.lasted(who.seen)));
            self.record_at(now.wall_of(who.seen), Fact::CallLost { call: call.clone(), queue, waited, cause });
        }
        self.ring();
        true
    }

    /// Whoever pairs callers and agents shall look again.
    pub fn ring(&self) {
        (self.bell)();
    }
}
