//! The measurements of the side whose turn it is.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::process::{Cost, cost};
use phones::Call;

use super::switch::{BURST, ONE, TALKING, WAITING};
use super::{Bench, Figures};

/// How long any single step may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long audio may take before it counts as missing.
const SILENCE: Duration = Duration::from_secs(5);
/// How long waiting callers are left alone before CPU use is measured.
const SETTLE: Duration = Duration::from_secs(5);

impl Bench {
    /// Measures one turn.
    ///
    /// # Errors
    /// When a call does not go as it must.
    pub fn measure(&mut self, figures: &mut Figures) -> Result<()> {
        // The first call warms up caches.
        self.one_after_the_other(&mut Figures::default())?;
        for _ in 0..self.extent.calls {
            self.one_after_the_other(figures)?;
        }
        self.burst(figures)?;
        if self.extent.waits.is_zero() { Ok(()) } else { self.many_wait(figures) }
    }

    /// A caller for a free agent, then a second caller who waits for this agent.
    fn one_after_the_other(&mut self, figures: &mut Figures) -> Result<()> {
        let start = self.phones.count();
        let first = self.caller(ONE);
        let agent = self.nth_ring(start, 0)?;
        let (caller, rung) = (self.get(first), self.get(agent));
        figures.dialled.add(rung.invited - caller.invited);
        figures
            .entered
            .add(rung.invited.saturating_duration_since(caller.answered.context("the queue did not answer")?));
        self.pause(100, 200);
        self.connect(agent, first, figures)?;
        let second = self.caller(ONE);
        self.answered(second)?;
        self.pause(300, 420);
        self.phones.hang_up(agent);
        let next = self.nth_ring(start, 1)?;
        figures.freed.add(self.get(next).invited - self.get(agent).ended.context("it was not hung up")?);
        self.pause(100, 200);
        self.connect(next, second, figures)?;
        self.phones.hang_up(second);
        self.quiet()
    }

    /// The agent answers; waits until both hear each other.
    fn connect(&mut self, agent: usize, caller: usize, figures: &mut Figures) -> Result<()> {
        self.phones.answer(agent);
        self.phones.wait("both hear each other", SILENCE, 0, |calls| calls[agent].heard.and(calls[caller].heard))?;
        let (agent, caller) = (self.get(agent), self.get(caller));
        let (answered, there, here) =
            agent.answered.zip(caller.heard).zip(agent.heard).map(|((a, b), c)| (a, b, c)).context("no sound")?;
        figures.caller_hears.add(there - answered);
        figures.agent_hears.add(here - answered);
        figures.both_hear.add(there.max(here) - answered);
        self.pause(200, 300);
        Ok(())
    }

    /// As many callers as agents, all at once.
    ///
    /// # Errors
    /// When no caller is answered or no phone rings.
    pub fn burst(&mut self, figures: &mut Figures) -> Result<()> {
        let (start, many) = (self.phones.count(), self.extent.burst);
        for _ in 0..many {
            self.caller(BURST);
        }
        let rung = |calls: &[Call]| agents(calls).map(|c| &c.user).collect::<BTreeSet<_>>().len();
        // A caller for whom no phone rings counts as lost below.
        let _ = self.phones.wait("all phones ring", PATIENCE, start, |calls| (rung(calls) >= many).then_some(()));
        // Time for a phone to ring twice by mistake.
        sleep(Duration::from_millis(500));
        let calls = self.phones.calls(start);
        let callers = || calls.iter().filter(|c| c.is_caller);
        let first = callers().map(|c| c.invited).min().context("no caller")?;
        let first_answered = callers().filter_map(|c| c.answered).min().context("no caller was answered")?;
        let last = agents(&calls).map(|c| c.invited).max().context("no phone rang")?;
        let last_answered = callers().filter_map(|c| c.answered).max().unwrap_or(first_answered);
        figures.burst_in.add(last_answered - first);
        figures.burst.add(last - first);
        figures.burst_answered.add(last.saturating_duration_since(first_answered));
        figures.wrong += calls.len() - many - rung(&calls);
        figures.wrong += agents(&calls).count() - agents(&calls).map(|c| &c.from).collect::<BTreeSet<_>>().len();
        let ringing = (start..).zip(&calls).filter(|(_, call)| !call.is_caller);
        ringing.for_each(|(agent, _)| self.phones.answer(agent));
        let heard = |calls: &[Call]| calls.iter().all(|c| c.heard.is_some()).then_some(());
        let _ = self.phones.wait("all hear each other", PATIENCE, start, heard);
        let calls = self.phones.calls(start);
        figures.lost += calls.iter().filter(|c| c.is_caller && (c.heard.is_none() || c.ended.is_some())).count();
        figures.wrong += agents(&calls).filter(|c| c.heard.is_none()).count();
        self.end(start)
    }

    /// Many callers wait, and no agent is free.
    fn many_wait(&mut self, figures: &mut Figures) -> Result<()> {
        let start = self.phones.count();
        for nth in 0..TALKING {
            let caller = self.caller(WAITING);
            let agent = self.nth_ring(start, nth)?;
            self.phones.answer(agent);
            self.phones.wait("a talk", SILENCE, 0, |calls| calls[agent].heard.and(calls[caller].heard))?;
        }
        for _ in 0..self.extent.waiting {
            let caller = self.caller(WAITING);
            self.answered(caller)?;
        }
        sleep(SETTLE);
        let before = self.costs()?;
        sleep(self.extent.waits);
        let after = self.costs()?;
        let cores = |now: Option<Cost>, before: Option<Cost>| now.zip(before).map_or(0.0, |(n, b)| n.cores_since(&b));
        figures.waiting.push((cores(Some(after.0), Some(before.0)), cores(after.1, before.1)));
        self.end(start)
    }

    /// The resources that FreeSWITCH and the daemon have used.
    fn costs(&self) -> Result<(Cost, Option<Cost>)> {
        let switch = cost(self.switch.pid().context("FreeSWITCH is gone")?)?;
        Ok((switch, self.daemon.as_ref().map(|daemon| daemon.cost()).transpose()?))
    }

    /// All callers hang up, the last first, so that no waiting caller gets an agent meanwhile.
    fn end(&mut self, start: usize) -> Result<()> {
        let calls = self.phones.calls(start);
        for (index, call) in calls.iter().enumerate().rev() {
            if call.is_caller && call.answered.is_some() {
                self.phones.hang_up(start + index);
            }
        }
        self.quiet()
    }

    fn caller(&mut self, queue: usize) -> usize {
        self.callers += 1;
        self.phones.call(&format!("079{:07}", self.callers), &self.number(queue, self.callers))
    }

    fn get(&self, call: usize) -> Call {
        self.phones.calls(call).swap_remove(0)
    }

    fn answered(&self, caller: usize) -> Result<Instant> {
        self.phones.wait("the queue answers", PATIENCE, caller, |calls| calls.first()?.answered)
    }

    /// Waits until a phone rings after `nth` others since `start`.
    fn nth_ring(&self, start: usize, nth: usize) -> Result<usize> {
        let look = |calls: &[Call]| (start..).zip(calls).filter(|(_, call)| !call.is_caller).nth(nth).map(|(n, _)| n);
        self.phones.wait("a phone rings", PATIENCE, start, look)
    }
}

fn agents(calls: &[Call]) -> impl Iterator<Item = &Call> {
    calls.iter().filter(|call| !call.is_caller)
}
