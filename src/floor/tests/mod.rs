//! A floor for unit tests.

use super::Floor;
use crate::acd::ids::{AgentId, QueueNumber};
use crate::acd::settings::{AgentSettings, Language, QueueSettings};
use crate::acd::time::Now;

/// A floor where every agent is a participant of every queue, which `edit` may change; nobody is logged in.
pub(super) fn open<const A: usize, const Q: usize>(
    agents: [&str; A],
    queues: [&str; Q],
    edit: impl Fn(&mut QueueSettings),
) -> (Floor, [AgentId; A], [QueueNumber; Q]) {
    let floor = Floor::new(Box::new(|| {}), Box::new(|_, _| {}));
    let agents = agents.map(|id| AgentId::new(id).unwrap());
    let numbers = queues.map(|number| QueueNumber::new(number).unwrap());
    let queue = |number: &QueueNumber| {
        let name = "Service".into();
        let mut queue = QueueSettings::new(number.clone(), name, agents.to_vec(), Language("en".into()));
        edit(&mut queue);
        queue
    };
    let settings = agents.each_ref().map(|id| AgentSettings::new(id.clone(), "Anna".into()));
    floor.configure(&settings, &numbers.each_ref().map(queue), Now::default());
    (floor, agents, numbers)
}
