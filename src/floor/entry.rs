//! A caller's entry into a queue's line.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::acd::fact::{Fact, TimeoutCause};
use crate::acd::ids::{CallId, QueueNumber};
use crate::acd::rank::Rank;
use crate::acd::settings::QueueSettings;
use crate::acd::time::{Now, Since};

use super::{Absent, Caller, Floor, lock};

impl Floor {
    /// Puts a caller into a queue, at the `rank` of before when coming back. Returns `None` when there is no such queue.
    pub fn enter(
        &self,
        call: &CallId,
        queue: &QueueNumber,
        rank: Option<Rank>,
        caller: &Caller,
        seed: u64,
        now: Now,
    ) -> Option<(Arc<QueueSettings>, Rank, Since)> {
        let back = self.comes_back(call, now);
        // A daemon killed at the very beginning of a wait has recorded the place, but not yet set it on the channel.
        let recorded = back.as_ref().filter(|b| b.queue == *queue).map(Absent::rank);
        let line = *lock(&self.line);
        let rank = rank.or(recorded);
        let since = match rank {
            Some(rank) => caller.since.unwrap_or_else(|| line.since(rank.entered, now)),
            None => now.ago(caller.came),
        };
        let came = line.at(now).before(caller.came);
        let fresh = || Rank::new(came, self.arrivals.fetch_add(1, Ordering::Relaxed));
        let own_head_start = caller.head_start;
        let rank = rank.unwrap_or_else(fresh).with_head_start(own_head_start);
        let first_entered = caller.first_entered.or(back.as_ref().map(|b| b.first_entered));
        let (settings, rank) = {
            let mut q = self.queues.get_mut(queue).filter(|q| !q.is_retired())?;
            let (entry, rank) = q.enter(call.clone(), rank, since, seed, caller.own.clone());
            if q.logged_in().is_empty() {
                q.end_one(entry, TimeoutCause::NobodyLoggedIn);
            }
            self.record(
                now,
                Fact::CallEntered {
                    call: call.clone(),
                    queue: queue.clone(),
                    caller: caller.number.clone(),
                    first_entered: first_entered.unwrap_or_else(|| now.wall_of(since)),
                    returned: caller.returned || back.is_some(),
                    head_start: rank.head_start,
                    own_head_start,
                },
            );
            (q.settings().clone(), rank)
        };
        self.queue_changed(queue);
        Some((settings, rank, since))
    }
}
