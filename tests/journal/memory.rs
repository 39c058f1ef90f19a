//! A second store, in memory and as simple as possible. The tests of the store run against both.

use std::sync::{Arc, Mutex, MutexGuard};

use freeswitch_queue::acd::fact::Fact;
use freeswitch_queue::acd::ids::{AgentId, Instance};
use freeswitch_queue::acd::shift::Shift;
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Alive, Batch, Filter, Numbered, Reader, Restored, Store, StoreError, Unended, WrapUp};

/// The part that outlives a daemon: it can be opened again.
#[derive(Clone)]
pub(crate) struct Memory(Arc<Mutex<Kept>>);

struct Kept {
    identity: Instance,
    records: Vec<Numbered>,
    lines: Vec<Wall>,
    last_number: u64,
    alive: Option<Alive>,
}

impl Memory {
    pub(crate) fn new(identity: u128) -> Self {
        let (identity, records) = (Instance::new(identity), Vec::new());
        Self(Arc::new(Mutex::new(Kept { identity, records, lines: Vec::new(), last_number: 0, alive: None })))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }
}

impl Store for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn identity(&self) -> Instance {
        self.kept().identity
    }

    fn last_number(&self) -> u64 {
        self.kept().last_number
    }

    fn restore(&mut self) -> Result<Restored, StoreError> {
        let kept = self.kept();
        let mut restored = Restored { alive: kept.alive, ..Restored::default() };
        let mut unended = Unended::default();
        let mut ends: Vec<(Wall, AgentId, Wall)> = Vec::new();
        for (next, line) in kept.records.iter().zip(&kept.lines) {
            unended.take(next);
            let at = next.record.at;
            match &next.record.fact {
                Fact::AgentLoggedIn { agent, queue, .. } => {
                    let known = restored.logins.iter().any(|(a, q, _)| (a, q) == (agent, queue));
                    restored.logins.extend((!known).then(|| (agent.clone(), queue.clone(), at)));
                }
                Fact::AgentLoggedOut { agent, queue, .. } => {
                    restored.logins.retain(|(a, q, _)| (a, q) != (agent, queue));
                }
                Fact::ShiftBegan { agent, calls, talked } => {
                    shift_of(&mut restored.shifts, agent, Shift { calls: *calls, talked: *talked });
                }
                Fact::ConversationEnded { agent, talked, .. } => {
                    let known = restored.shifts.iter().find(|(a, _)| a == agent);
                    let mut shift = known.map(|(_, shift)| *shift).unwrap_or_default();
                    shift.count(*talked);
                    shift_of(&mut restored.shifts, agent, shift);
                    ends.retain(|(_, a, _)| a != agent);
                    ends.push((*line, agent.clone(), at));
                }
                Fact::WrapUpStarted { agent, until, lasts, .. } => {
                    forget(&mut restored.wrap_ups, agent);
                    restored.wrap_ups.push(WrapUp { agent: agent.clone(), until: *until, lasts: *lasts });
                }
                Fact::WrapUpEnded { agent } => forget(&mut restored.wrap_ups, agent),
                _ => {}
            }
        }
        ends.sort();
        restored.last_conversation_end = ends.into_iter().map(|(_, agent, at)| (agent, at)).collect();
        unended.restore(&mut restored);
        Ok(restored)
    }

    fn append(&mut self, batch: Batch<'_>) -> Result<(), StoreError> {
        let mut kept = self.kept();
        kept.records.extend(batch.records.iter().cloned());
        kept.lines.extend(batch.lines);
        kept.last_number = kept.records.last().map_or(kept.last_number, |last| last.number);
        kept.alive = batch.alive.or(kept.alive);
        Ok(())
    }

    fn prune(&mut self, before: Wall) -> Result<bool, StoreError> {
        let login = |next: &Numbered| matches!(next.record.fact, Fact::AgentLoggedIn { .. });
        // This store keeps the logins in the records.
        let mut kept = self.kept();
        let (records, lines) = (std::mem::take(&mut kept.records), std::mem::take(&mut kept.lines));
        let all = records.into_iter().zip(lines);
        (kept.records, kept.lines) = all.filter(|(next, _)| next.record.at >= before || login(next)).unzip();
        Ok(false)
    }

    fn reader(&self) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }
}

impl Reader for Memory {
    fn query(&self, filter: &Filter) -> Result<Vec<Numbered>, StoreError> {
        let passes = |next: &&Numbered| {
            let record = serde_json::to_value(&next.record).unwrap();
            let is = |name: &str, wanted: Option<&str>| wanted.is_none_or(|wanted| record[name] == wanted);
            next.number > filter.after
                && filter.from.is_none_or(|from| next.record.at >= from)
                && filter.until.is_none_or(|until| next.record.at < until)
                && is("call", filter.call.as_ref().map(|id| id.as_str()))
                && is("queue", filter.queue.as_ref().map(|id| id.as_str()))
                && is("agent", filter.agent.as_ref().map(|id| id.as_str()))
        };
        Ok(self.kept().records.iter().filter(passes).take(filter.limit as usize).cloned().collect())
    }
}

fn shift_of(shifts: &mut Vec<(AgentId, Shift)>, agent: &AgentId, shift: Shift) {
    shifts.retain(|(a, _)| a != agent);
    shifts.push((agent.clone(), shift));
    shifts.sort_by(|(a, _), (b, _)| a.cmp(b));
}

fn forget(wrap_ups: &mut Vec<WrapUp>, agent: &AgentId) {
    wrap_ups.retain(|w| w.agent != *agent);
}
