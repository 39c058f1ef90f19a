//! Callers who wait, and whose connection is gone: FreeSWITCH's dialplan brings them back to their place, or they
//! are lost (Q19, Q20).

use crate::acd::fact::{CancelCause, Fact, Record};
use crate::acd::ids::{CallId, QueueNumber};
use crate::acd::queue::Place;
use crate::acd::time::{Mono, Now, Wall};

use super::{Floor, lock};

/// A caller who waited, and is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// The queue.
    pub queue: QueueNumber,
    /// When the caller entered it.
    pub entered: Wall,
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
    /// Takes up the callers of whose wait the store knows no end: they waited when the daemon last ended.
    pub fn expect_back(&self, waiting: &[Record]) {
        let mut absent = lock(&self.absent);
        for record in waiting {
            if let Fact::CallEntered { call, queue, first_entered, .. } = &record.fact {
                let who =
                    Absent { queue: queue.clone(), entered: record.at, first_entered: *first_entered, since: None };
                absent.insert(call.clone(), who);
            }
        }
    }

    /// The connection of a waiting caller has ended, and nobody can tell whether the call has: it leaves the line,
    /// and has no disposition until it is back or found to be gone.
    pub(super) fn goes_missing(&self, call: &CallId, queue: &QueueNumber, first_entered: Wall, now: Now) {
        let Some(left) = self.leave_queue(call, queue, CancelCause::CallerGone, now) else { return };
        let who = Absent { queue: queue.clone(), entered: left.entered, first_entered, since: Some(now.mono) };
        lock(&self.absent).insert(call.clone(), who);
    }

    /// The caller is here again: the wait before counts as given back to the dialplan.
    pub(super) fn comes_back(&self, call: &CallId, now: Now) -> Option<Absent> {
        lock(&self.coming).remove(call);
        let who = lock(&self.absent).remove(call)?;
        let (queue, waited) = (who.queue.clone(), now.wall.since(who.entered));
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

    /// This caller will not come back. False when that is not so any more.
    pub fn give_up(&self, call: &CallId, now: Now) -> bool {
        let Some(who) = lock(&self.absent).remove(call) else { return false };
        let (queue, waited) = (who.queue, now.wall.since(who.entered));
        self.record(now, Fact::CallLost { call: call.clone(), queue, waited });
        self.ring();
        true
    }

    /// Whoever pairs callers and agents shall look again.
    pub fn ring(&self) {
        (self.bell)();
    }
}
