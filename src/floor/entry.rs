//! How a caller comes to a queue: let in, or refused at the gate (Q38, Q44).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::acd::fact::{Fact, RefusalCause, TimeoutCause};
use crate::acd::gate::{is_anybody_left, is_full};
use crate::acd::ids::{AgentId, CallId, QueueNumber};
use crate::acd::pairing::{Bench, Choice, look};
use crate::acd::queue::Queue;
use crate::acd::rank::Rank;
use crate::acd::settings::QueueSettings;
use crate::acd::time::{Now, Since, Wall};

use super::{Absent, Floor, lock};

/// The state of a caller when the call comes to the floor.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The number, reduced to safe characters.
    pub number: Arc<str>,
    /// When the caller first came to any queue, if that was before.
    pub first_entered: Option<Wall>,
    /// Whether the caller comes back after the daemon was away.
    pub returned: bool,
    /// Why the queue has refused the caller before, who comes back without having gone on.
    pub refused: Option<RefusalCause>,
    /// Whether another party has just passed the caller on: the caller enters like any other (Q102).
    pub passed_on: bool,
    /// Since when the caller has waited, if a source other than the place tells.
    pub since: Option<Since>,
    /// The agent from whose phone the call comes.
    pub own: Option<AgentId>,
    /// The Call-ID of the caller's phone, if it is a SIP phone.
    pub dialog: Option<Arc<str>>,
    /// The caller's own head start, which counts in every queue.
    pub head_start: Duration,
    /// How long ago the caller came and began to stand in line. Later queues count from the moment of entry.
    pub came: Duration,
}

/// The answer of a queue to a caller who comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There is no such queue.
    NoSuchQueue,
    /// The caller is in the line, or is not let in.
    At {
        /// The queue's settings.
        settings: Arc<QueueSettings>,
        /// The rank in the line, or the one that the caller would have had.
        rank: Rank,
        /// Since when the caller waits.
        since: Since,
        /// Why the caller is not let in.
        refused: Option<RefusalCause>,
    },
}

impl Floor {
    /// Puts a caller into a queue, at the `rank` of before when coming back, or refuses the caller. A caller who comes
    /// back to a place in the line is always let in (Q38).
    pub fn enter(
        &self,
        call: &CallId,
        queue: &QueueNumber,
        rank: Option<Rank>,
        caller: &Caller,
        seed: u64,
        now: Now,
    ) -> Admission {
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
        let first_entered = caller.first_entered.or(back.as_ref().map(|b| b.first_entered));
        let returned = caller.returned || back.is_some();
        let is_judged = rank.is_none() || caller.passed_on;
        let own_head_start = caller.head_start;
        let rank = rank.unwrap_or_else(fresh).with_head_start(own_head_start);
        // Where nobody is logged in, that decides (Q13).
        let limit = |q: &Queue| q.settings().max_callers.filter(|_| !q.logged_in().is_empty());
        let limit = self.queue(queue, limit).flatten().filter(|_| is_judged);
        // Two callers at the same instant must not be let in for the same phone.
        let _turn = (limit == Some(0)).then(|| lock(&self.gate));
        let rings = limit == Some(0) && self.rings_at_once(queue, caller.own.as_ref(), now);
        let absent = if limit.is_some() { self.absent_from(queue) } else { 0 };
        let admission = {
            let Some(mut q) = self.queues.get_mut(queue).filter(|q| !q.is_retired()) else {
                return Admission::NoSuchQueue;
            };
            let settings = q.settings().clone();
            let full = limit.is_some() && is_full(limit, q.len() + absent, rings);
            let (call, queue, number) = (call.clone(), queue.clone(), caller.number.clone());
            if let Some(cause) = caller.refused.or(full.then_some(RefusalCause::Full)) {
                self.record(now, Fact::CallRefused { call, queue, caller: number, cause, returned });
                return Admission::At { settings, rank, since, refused: Some(cause) };
            }
            let (entry, rank) = q.enter(call.clone(), rank, since, seed, caller.own.clone());
            if q.logged_in().is_empty() {
                q.end_one(entry, TimeoutCause::NobodyLoggedIn);
            }
            let first_entered = first_entered.unwrap_or_else(|| now.wall_of(since));
            let head_start = rank.head_start;
            self.record(
                now,
                Fact::CallEntered { call, queue, caller: number, first_entered, returned, head_start, own_head_start },
            );
            Admission::At { settings, rank, since, refused: None }
        };
        self.queue_changed(queue);
        admission
    }

    /// How many callers of this queue are on their way back to their places.
    fn absent_from(&self, queue: &QueueNumber) -> usize {
        lock(&self.absent).values().filter(|absent| absent.queue == *queue).count()
    }

    /// Whether a phone can be rung at once for a caller at the end of this queue's line.
    fn rings_at_once(&self, queue: &QueueNumber, own: Option<&AgentId>, now: Now) -> bool {
        let has_room = self.queue(queue, |q| q.room().is_none_or(|room| room > q.unserved()));
        let Some(bench) = self.bench(queue).filter(|_| has_room == Some(true)) else { return false };
        let shared = |agent: &AgentId| self.agent(agent, |a| a.logins().keys().cloned().collect::<Vec<_>>());
        let queues: BTreeSet<QueueNumber> =
            bench.agents().filter_map(shared).flatten().filter(|shared| shared != queue).collect();
        let others = queues.into_iter().filter_map(|queue| Some((queue.clone(), self.bench(&queue)?)));
        let benches: BTreeMap<QueueNumber, Bench> = others.chain([(queue.clone(), bench)]).collect();
        let ahead = benches.iter().flat_map(|(queue, bench)| self.first_to_serve(queue, bench.agents().count()));
        let ahead = ahead.collect();
        is_anybody_left(queue, own, benches, ahead, |queue, rank, bench, held| {
            self.queue(queue, |q| look(q, rank, bench, held, now.mono).0).unwrap_or(Choice::Pass)
        })
    }

    /// The first callers of a queue for whom an agent may be chosen, `most` of them.
    fn first_to_serve(&self, queue: &QueueNumber, most: usize) -> Vec<(Rank, QueueNumber)> {
        let first = self.queue(queue, |q| {
            let ranks = std::iter::successors(q.next_to_serve(None), |rank| q.next_to_serve(Some(*rank)));
            // One more, because the agents must not be left over for a caller who cannot have one of them.
            ranks.take(most + 1).map(|rank| (rank, queue.clone())).collect()
        });
        first.unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::acd::fact::Asker;
    use crate::floor::tests::open;

    /// Q38, Q102: a caller who was held between two connections, after somebody passed the caller on, has no place yet.
    #[test]
    fn q38_a_caller_who_was_passed_on_is_judged() {
        let (floor, [agent], [queue]) = open(["1001"], ["99900"], |queue| queue.max_callers = Some(1));
        floor.log_in(&agent, &queue, &Asker::Operator, Now::default());
        let enters = |call: &str, passed_on| {
            let caller = Caller { passed_on, ..Caller::default() };
            let (call, held) = (CallId::new(call).unwrap(), Rank::new(Wall(1), 0));
            match floor.enter(&call, &queue, Some(held), &caller, 0, Now::default()) {
                Admission::At { refused, .. } => refused,
                Admission::NoSuchQueue => panic!("no such queue"),
            }
        };
        assert_eq!(enters("a", false), None);
        assert_eq!(enters("b", false), None, "a kept place");
        assert_eq!(enters("c", true), Some(RefusalCause::Full));
    }
}
