//! Whether a caller is let into a queue (Q38).
//!
//! Only a caller who has no place in the line yet is judged, once, on entry.

use std::collections::{BTreeMap, BTreeSet};

use super::ids::{AgentId, QueueNumber};
use super::pairing::{Bench, Choice, Held};
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

/// Whether a free agent other than `own` is left in the queue `at`, once the callers `ahead` have got theirs. The benches
/// are those of every queue that may ring one of its agents; `look` chooses for one caller, as the dispatcher will.
pub fn is_anybody_left(
    at: &QueueNumber,
    own: Option<&AgentId>,
    mut benches: BTreeMap<QueueNumber, Bench>,
    ahead: BTreeSet<(Rank, QueueNumber)>,
    look: impl Fn(&QueueNumber, Rank, &Bench, Option<&Held>) -> Choice,
) -> bool {
    // The queues whose agents are held for a caller ahead, each with what is not.
    let mut all_held: BTreeMap<QueueNumber, Option<Held>> = BTreeMap::new();
    for (rank, queue) in ahead {
        let (Some(bench), held) = (benches.get(&queue), all_held.get(&queue)) else { continue };
        if matches!(held, Some(None)) {
            continue;
        }
        let held = held.and_then(Option::as_ref);
        match look(&queue, rank, bench, held) {
            Choice::Ring(agents) => {
                for bench in benches.values_mut() {
                    agents.iter().for_each(|agent| bench.unseat(agent));
                }
            }
            Choice::Hold { spare, .. } => {
                let callers = held.map_or(0, |held| held.callers) + 1;
                all_held.insert(queue, spare.map(|spare| Held { spare, callers }));
            }
            Choice::Later(_) | Choice::Pass => {}
        }
    }
    let held = all_held.get(at);
    let is_left = |agent: &AgentId| match held {
        None => true,
        Some(held) => held.as_ref().is_some_and(|held| held.spare == *agent),
    };
    benches.get(at).is_some_and(|bench| bench.agents().any(|agent| own != Some(agent) && is_left(agent)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::super::settings::{Language, QueueSettings};
    use super::super::shift::Shift;
    use super::super::time::{Mono, Wall};
    use super::*;

    fn q(n: &str) -> QueueNumber {
        QueueNumber::new(n).unwrap()
    }
    fn a(n: &str) -> AgentId {
        AgentId::new(n).unwrap()
    }
    /// The free agents of a queue.
    fn bench(queue: &str, agents: &[&str]) -> (QueueNumber, Bench) {
        let ids = agents.iter().map(|n| a(n)).collect();
        let mut bench = Bench::new(Arc::new(QueueSettings::new(q(queue), "Q".into(), ids, Language("en".into()))));
        agents.iter().for_each(|n| bench.seat(&a(n), None, Shift::default()));
        (q(queue), bench)
    }
    fn at(ms: i64, queue: &str) -> (Rank, QueueNumber) {
        (Rank::new(Wall(ms), 0), q(queue))
    }
    /// Rings the first agent of the bench.
    fn first(_: &QueueNumber, _: Rank, bench: &Bench, _: Option<&Held>) -> Choice {
        bench.agents().next().map_or(Choice::Pass, |agent| Choice::Ring(vec![agent.clone()]))
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
        let both = || BTreeMap::from([bench("1", &["1001", "1002"]), bench("2", &["1002"])]);
        let left = |ahead: &[(Rank, QueueNumber)]| {
            is_anybody_left(&q("1"), None, both(), ahead.iter().cloned().collect(), first)
        };
        assert!(left(&[]) && left(&[at(1, "1")]) && left(&[at(1, "2")]));
        assert!(!left(&[at(1, "1"), at(2, "2")]), "an agent of both queues is taken in both");
        assert!(left(&[at(1, "2"), at(2, "2")]), "the second caller finds nobody");
        let own = |agent| is_anybody_left(&q("2"), Some(&a(agent)), both(), BTreeSet::new(), first);
        assert!(own("1001") && !own("1002"), "no caller is rung at the own phone");
    }

    /// Q4: the agents who are held for a caller ahead are not rung for the one at the gate, but for the one who is spared;
    /// they are held in that queue alone.
    #[test]
    fn held_agents_are_not_left() {
        let both = || BTreeMap::from([bench("1", &["1001", "1002"]), bench("2", &["1001", "1002"])]);
        let left = |gate: &str, own: Option<&str>, spare: Option<&str>| {
            let hold = |_: &QueueNumber, _: Rank, _: &Bench, _: Option<&Held>| Choice::Hold {
                until: Mono::default(),
                spare: spare.map(a),
            };
            is_anybody_left(&q(gate), own.map(a).as_ref(), both(), BTreeSet::from([at(1, "1")]), hold)
        };
        assert!(!left("1", None, None) && left("2", None, None));
        assert!(left("1", None, Some("1001")) && !left("1", Some("1001"), Some("1001")));
    }
}
