//! Whether a caller is let into a queue (Q38).
//!
//! Only a caller who has no place in the line yet is judged, once, on entry.

use std::collections::BTreeSet;

use super::ids::{AgentId, QueueNumber};
use super::rank::Rank;

/// Whether one more caller would be one too many, when so many wait; `rings` tells whether a phone can be rung for the
/// caller at once.
pub fn is_full(max_callers: Option<u32>, waiting: usize, rings: bool) -> bool {
    match max_callers {
        None => false,
        Some(0) => !rings,
        Some(most) => waiting >= most as usize,
    }
}

/// A caller for whom an agent will be chosen before the one at the gate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ahead {
    /// The rank in the line.
    pub rank: Rank,
    /// The queue.
    pub queue: QueueNumber,
    /// Whether every free agent of the queue is rung for the caller.
    pub all: bool,
    /// The agent from whose phone the call comes.
    pub own: Option<AgentId>,
}

/// Whether one of `wanted` is left among the free agents, each given with the queues that may ring them, when each
/// caller ahead has taken one of them, or all. An agent whose phone has just missed a call is held for its caller, and so
/// counts as taken too.
pub fn is_anybody_left(
    mut free: Vec<(AgentId, BTreeSet<QueueNumber>)>,
    mut ahead: Vec<Ahead>,
    wanted: impl Fn(&AgentId) -> bool,
) -> bool {
    ahead.sort();
    for caller in ahead {
        let takes = |(agent, queues): &(AgentId, _)| {
            BTreeSet::contains(queues, &caller.queue) && caller.own.as_ref() != Some(agent)
        };
        if caller.all {
            free.retain(|agent| !takes(agent));
        } else if let Some(at) = free.iter().position(takes) {
            free.remove(at);
        }
    }
    free.iter().any(|(agent, _)| wanted(agent))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::time::Wall;
    use super::*;

    fn q(n: &str) -> QueueNumber {
        QueueNumber::new(n).unwrap()
    }
    fn a(n: &str) -> AgentId {
        AgentId::new(n).unwrap()
    }
    fn free(n: &str, queues: &[&str]) -> (AgentId, BTreeSet<QueueNumber>) {
        (a(n), queues.iter().map(|n| q(n)).collect())
    }
    fn ahead(ms: i64, queue: &str, all: bool, own: Option<&str>) -> Ahead {
        Ahead { rank: Rank::new(Wall(ms), 0), queue: q(queue), all, own: own.map(a) }
    }

    /// Q38: the line is full from the caller on who would be one more than it takes; 0 asks only for a phone.
    #[test]
    fn a_line_is_full_from_one_caller_too_many_on() {
        assert!(!is_full(None, 10_000, false));
        assert!(!is_full(Some(2), 1, false) && is_full(Some(2), 2, true) && is_full(Some(2), 3, true));
        assert!(is_full(Some(0), 0, false) && !is_full(Some(0), 5, true));
    }

    /// Q38: an agent who is about to be rung for a caller ahead is not rung for the one at the gate.
    #[test]
    fn callers_ahead_take_the_free_agents_first() {
        let both = || vec![free("1001", &["1"]), free("1002", &["1", "2"])];
        let left = |callers: &[Ahead]| is_anybody_left(both(), callers.to_vec(), |agent| *agent != a("1009"));
        assert!(left(&[]) && left(&[ahead(1, "1", false, None)]));
        assert!(!left(&[ahead(1, "1", false, None), ahead(2, "2", false, None)]));
        assert!(!left(&[ahead(1, "1", true, None)]), "every phone rings for the caller ahead");
        assert!(left(&[ahead(1, "3", true, None)]), "in a queue without these agents");
        assert!(left(&[ahead(1, "2", false, Some("1002"))]), "no caller is rung at the own phone");
        let own = is_anybody_left(vec![free("1001", &["1"])], Vec::new(), |agent| *agent != a("1001"));
        assert!(!own, "nor is the one at the gate");
    }
}
