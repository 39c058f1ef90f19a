//! The choice of caller and agent, by the rules.

use freeswitch_queue::acd::ids::{AgentId, CallId, QueueNumber};
use freeswitch_queue::acd::settings::{QueueSettings, Strategy};

use super::{Agent, Caller, Model, PAUSE};

impl Model {
    /// Q5: logged in here, not in a conversation, not ringing, not in wrap-up, not on a private call,
    /// reachable.
    fn is_free(a: &Agent, queue: &QueueNumber, now: u64) -> bool {
        a.logins.contains(queue)
            && a.offer.is_none()
            && a.rest.is_none_or(|(until, _)| until <= now)
            && !a.private
            && a.unreachable.is_none_or(|until| until <= now)
    }

    /// The next offer that the rules demand: the caller, and the agents of whom one must be rung.
    pub(crate) fn next_offer(&self, now: u64) -> Option<(CallId, Vec<AgentId>)> {
        // Queues whose free agents are held for an earlier caller, and the one agent who is not held because that
        // caller calls from the agent's own phone.
        let mut held: Vec<(&QueueNumber, Option<&AgentId>)> = Vec::new();
        // Q4, Q25: the caller who has waited longest, with a head start as part of the wait, is served first, across
        // all queues.
        for c in &self.callers {
            let Some(q) = self.queue(&c.queue) else { continue };
            let over = c.closed.is_some() || !c.over.is_empty();
            if q.strategy == Strategy::Simultaneous && self.is_at_its_share(&c.queue, now) {
                continue;
            }
            let rings = !c.offers.is_empty();
            // Q38: not while as many callers of the queue talk, are being rung for, or have agents held for them, as may.
            let held_for = held.iter().filter(|(queue, _)| **queue == c.queue).count();
            if !rings && !self.has_room(q, held_for) {
                continue;
            }
            // Q37: so many phones ring for a caller at a time.
            let at_most = if q.strategy == Strategy::Simultaneous { q.ring_at_most } else { 1 };
            if over || c.offers.len() >= at_most {
                continue;
            }
            let left = held.iter().rev().find(|(queue, _)| **queue == c.queue).map(|(_, spare)| *spare);
            // Q6: in list order; an agent who is not free is skipped.
            let agent = |id: &AgentId| self.agents.iter().find(|a| a.id == *id);
            let free = q.participants.iter().filter_map(agent).filter(|a| Self::is_free(a, &c.queue, now));
            let free: Vec<&Agent> = free.filter(|a| left.is_none_or(|spare| spare == Some(&a.id))).collect();
            // Q5: not the agent from whose phone the call comes.
            let (own, free): (Vec<&Agent>, Vec<&Agent>) = free.into_iter().partition(|a| c.own == Some(a.id.clone()));
            // Q7: untried agents first; when all were tried and none rings, the round starts over.
            let mut turn: Vec<&Agent> = free.iter().copied().filter(|a| !c.tried.contains(&a.id)).collect();
            if turn.is_empty() && !rings {
                turn.clone_from(&free);
            }
            // Q7: never within 5 s of a failed offer.
            let paused = |a: &Agent| c.missed.iter().any(|(id, at)| *id == a.id && now < at + PAUSE);
            let mut ready: Vec<&Agent> = turn.into_iter().filter(|a| !paused(a)).collect();
            if ready.is_empty() {
                if !rings && !free.is_empty() {
                    // Q4: callers behind do not get the agents who are only paused for this caller.
                    held.push((&c.queue, own.first().map(|a| &a.id)));
                }
                continue;
            }
            match q.strategy {
                Strategy::AsListed => ready.truncate(1),
                Strategy::LongestIdle | Strategy::Simultaneous | Strategy::FewestCalls | Strategy::LeastTalkTime => {
                    // Q35: the least work of the shift first; ties: longest idle.
                    let work = |a: &Agent| match q.strategy {
                        Strategy::FewestCalls => u64::from(a.shift.0),
                        Strategy::LeastTalkTime => a.shift.1,
                        _ => 0,
                    };
                    let least = ready.iter().map(|a| work(a)).min();
                    ready.retain(|a| Some(work(a)) == least);
                    let longest = ready.iter().map(|a| a.last_talk_end).min();
                    ready.retain(|a| Some(a.last_talk_end) == longest);
                    // Q6: list order breaks ties; of ends in the same millisecond before a restart, the order of the
                    // records does.
                    if !ready.iter().any(|a| a.restored_end) {
                        ready.truncate(1);
                    }
                }
                // Q34: the next one behind the agent offered last, in list order, around.
                Strategy::RoundRobin => {
                    let listed = |id: &AgentId| q.participants.iter().position(|p| p == id);
                    let last = self.pointers.iter().find(|(queue, _)| *queue == c.queue);
                    let begins = last.and_then(|(_, agent)| listed(agent)).map_or(0, |at| at + 1);
                    let all = q.participants.len();
                    ready.sort_by_key(|a| (listed(&a.id).unwrap_or_default() + all - begins) % all);
                    ready.truncate(1);
                }
                Strategy::Random => {}
            }
            return Some((c.call.clone(), ready.into_iter().map(|a| a.id.clone()).collect()));
        }
        None
    }

    /// Q38: whether one more caller of the queue may be rung for.
    fn has_room(&self, q: &QueueSettings, held: usize) -> bool {
        let talk = self.agents.iter().filter(|a| a.talks_for.as_ref() == Some(&q.number)).count();
        let rung = self.callers.iter().filter(|c| c.queue == q.number && !c.offers.is_empty()).count();
        q.max_conversations.is_none_or(|most| talk + rung + held < most as usize)
    }

    /// A `simultaneous` queue uses at most half of the new sessions of any second.
    fn is_at_its_share(&self, queue: &QueueNumber, now: u64) -> bool {
        let lately = self.paced.iter().filter(|(q, at)| q == queue && now < at + 1000).count();
        lately >= (self.sessions / 2) as usize
    }

    /// Q25: a caller is overtaken only by one who came no more than the largest head start in use later.
    pub(super) fn check_overtaking(&self, call: &CallId, agent: &AgentId) {
        let most = self.callers.iter().map(|c| c.rank.head_start).max().unwrap_or_default();
        let mine = self.callers.iter().find(|c| c.call == *call).expect("a caller");
        // Q38: further phones may ring for a caller for whom some do while the limit lets nobody else be rung.
        if !mine.offers.is_empty() && self.queue(&mine.queue).is_some_and(|q| !self.has_room(q, 0)) {
            return;
        }
        let waits = |c: &&Caller| c.closed.is_none() && c.over.is_empty() && c.offers.is_empty();
        let others = self.callers.iter().filter(|c| c.queue == mine.queue && c.own.as_ref() != Some(agent));
        for other in others.filter(waits) {
            let later = mine.rank.entered.since(other.rank.entered);
            assert!(later <= most, "Q25: {call} overtakes {} by {later:?}, more than {most:?}", other.call);
        }
    }

    /// Q38: whether one more caller would be one too many. `None` where that depends on which agents are about to be
    /// rung for the callers ahead.
    pub(super) fn is_full(&self, queue: &QueueNumber, own: Option<&AgentId>, now: u64) -> Option<bool> {
        let q = self.queue(queue)?;
        // Q13: where nobody is logged in, that decides.
        let most = q.max_callers.filter(|_| self.logged_in(queue) > 0).unwrap_or(u32::MAX);
        if most > 0 {
            return Some(self.callers.iter().filter(|c| c.queue == *queue).count() >= most as usize);
        }
        let free: Vec<&Agent> = self.agents.iter().filter(|a| Self::is_free(a, queue, now)).collect();
        let rings = self.has_room(q, 0) && free.iter().any(|a| own != Some(&a.id) && q.participants.contains(&a.id));
        let wants =
            |c: &Caller| c.closed.is_none() && c.over.is_empty() && free.iter().any(|a| a.logins.contains(&c.queue));
        match self.callers.iter().any(wants) {
            true if rings => None,
            _ => Some(!rings),
        }
    }
}
