//! The reference model: the rules of the contract, as plainly as the contract states them, on lists that are searched
//! from end to end. It makes no decisions. It follows the daemon's actions and the events around it, and fails the
//! history at the first action that the rules forbid.

mod choice;

use std::time::Duration;

use freeswitch_queue::acd::fact::{CancelCause, Fact, MissCause, TimeoutCause};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::rank::Rank;
use freeswitch_queue::acd::settings::{AgentSettings, QueueSettings, Strategy};

use crate::journal::{Journal, wall};

const PAUSE: u64 = 5000;

/// Q7: the longest time for which a phone that keeps failing in this way is left alone, for all callers.
fn left_alone_for(cause: MissCause) -> Option<u64> {
    match cause {
        MissCause::NoAnswer | MissCause::TimeLimit | MissCause::Busy | MissCause::Declined => None,
        MissCause::NotConnected => None,
        MissCause::Unavailable | MissCause::Cancelled | MissCause::Forwarded => Some(20_000),
        MissCause::Timeout | MissCause::Refused { .. } | MissCause::Failed | MissCause::Silent => Some(60_000),
        MissCause::NotRegistered | MissCause::Unknown | MissCause::GatewayDown => Some(60_000),
    }
}

pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) logins: Vec<QueueNumber>,
    /// The offer that holds the agent, until its leg is gone.
    pub(crate) offer: Option<OfferId>,
    pub(crate) talking: bool,
    /// The queue whose caller the agent talks with.
    talks_for: Option<QueueNumber>,
    /// When the wrap-up ends, and whether a record of it was seen.
    pub(crate) rest: Option<(u64, bool)>,
    last_talk_end: Option<u64>,
    /// That end is from before a restart.
    restored_end: bool,
    /// The queue conversations of the present shift, and their length.
    shift: (u32, u64),
    pub(crate) private: bool,
    /// The last logout.
    left: Option<(QueueNumber, u64)>,
    /// The phone cannot be reached, and is left alone until then.
    pub(crate) unreachable: Option<u64>,
    /// How long the phone was left alone after its last failure; `None` since it last worked.
    left_alone: Option<u64>,
    retired: bool,
}

pub(crate) struct Caller {
    pub(crate) call: CallId,
    pub(crate) queue: QueueNumber,
    pub(crate) rank: Rank,
    /// The head start in the line, according to the records.
    told: Duration,
    /// The agent from whose phone the call comes.
    own: Option<AgentId>,
    /// The caller's own head start.
    head_start: Duration,
    /// When the caller's wait began, which for a returning caller is before the return.
    pub(crate) entered: u64,
    pub(crate) offers: Vec<(OfferId, AgentId)>,
    /// The agents tried in this round.
    tried: Vec<AgentId>,
    missed: Vec<(AgentId, u64)>,
    /// The causes for which the queue has ended the wait.
    pub(crate) over: Vec<TimeoutCause>,
    /// The settings changed at the moment when the wait reached its limit, so either limit may apply.
    due_at_change: Option<u64>,
    /// When the call closed the wait.
    pub(crate) closed: Option<u64>,
}

impl Caller {
    fn tried_in_vain(&mut self, agent: &AgentId, now: u64) {
        self.tried.push(agent.clone());
        self.missed.retain(|(a, _)| a != agent);
        self.missed.push((agent.clone(), now));
    }
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) queues: Vec<QueueSettings>,
    pub(crate) agents: Vec<Agent>,
    /// In the order of their places.
    pub(crate) callers: Vec<Caller>,
    pub(crate) draining: bool,
    /// The conversations without an end that this daemon found in the store.
    pub(crate) restored: Vec<OfferId>,
    /// How many new sessions a second FreeSWITCH accepts.
    pub(crate) sessions: u32,
    /// The agent to whom each queue offered a caller last.
    pub(crate) pointers: Vec<(QueueNumber, AgentId)>,
    /// The offers of the `simultaneous` queues.
    pub(crate) paced: Vec<(QueueNumber, u64)>,
}

impl Model {
    pub(crate) fn agent(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.agents.iter_mut().find(|a| a.id == *id)
    }

    pub(crate) fn caller(&mut self, call: &CallId) -> Option<&mut Caller> {
        self.callers.iter_mut().find(|c| c.call == *call)
    }

    pub(crate) fn queue(&self, number: &QueueNumber) -> Option<&QueueSettings> {
        self.queues.iter().find(|q| q.number == *number)
    }

    fn logged_in(&self, queue: &QueueNumber) -> usize {
        self.agents.iter().filter(|a| a.logins.contains(queue)).count()
    }

    pub(crate) fn participates(&self, agent: &AgentId, queue: &QueueNumber) -> bool {
        self.queue(queue).is_some_and(|q| q.participants.contains(agent))
    }

    /// Q11: the position in the line, counted from 1.
    pub(crate) fn position(&self, call: &CallId) -> Option<u32> {
        let me = self.callers.iter().find(|c| c.call == *call)?;
        let ahead = self.callers.iter().filter(|c| c.queue == me.queue && c.rank < me.rank).count();
        Some(ahead as u32 + 1)
    }

    fn offered(&mut self, offer: OfferId, call: &CallId, agent: &AgentId, now: u64) {
        let expected = self.next_offer(now);
        let legal = expected.as_ref().is_some_and(|(c, agents)| c == call && agents.contains(agent));
        assert!(legal, "Q4-Q7: {agent} is offered {call}, but the next offer is {expected:?}");
        self.check_overtaking(call, agent);
        let a = self.agent(agent).expect("an agent");
        assert_eq!(a.offer, None, "Q8: {agent} is already held by an offer");
        a.offer = Some(offer);
        let c = self.caller(call).expect("a caller");
        c.offers.push((offer, agent.clone()));
        let queue = c.queue.clone();
        if c.tried.contains(agent) {
            c.tried.clear();
        }
        self.pointers.retain(|(q, _)| *q != queue);
        self.pointers.push((queue.clone(), agent.clone()));
        if self.queue(&queue).is_some_and(|q| q.strategy == Strategy::Simultaneous) {
            self.paced.push((queue, now));
        }
    }

    /// Q25, Q27: puts the callers into their order, by the head starts of the present settings.
    fn line_up(&mut self) {
        for c in &mut self.callers {
            let share = self.queues.iter().find(|q| q.number == c.queue).map(|q| q.head_start);
            // A queue that the file no longer has keeps its order for its last callers.
            if let Some(share) = share {
                c.rank.head_start = (share + c.head_start).min(Duration::from_secs(3600));
            }
        }
        // A caller from before a restart and one from after it may get the same place; then the queue's number decides.
        self.callers.sort_by_key(|c| (c.rank, c.queue.clone()));
    }

    /// The leg is gone or never existed: the agent is free.
    pub(crate) fn released(&mut self, offer: OfferId) {
        for a in self.agents.iter_mut().filter(|a| a.offer == Some(offer)) {
            a.offer = None;
            a.talking = false;
            a.talks_for = None;
        }
        self.agents.retain(|a| !a.retired || a.offer.is_some());
    }

    // The events that the model follows.

    pub(crate) fn entered(
        &mut self,
        call: CallId,
        queue: QueueNumber,
        (rank, since): (Rank, freeswitch_queue::acd::time::Wall),
        (own, head_start): (Option<AgentId>, Duration),
        (kept, circle): (bool, bool),
        now: u64,
    ) {
        assert!(self.caller(&call).is_none(), "{call} waits twice");
        let arrival = |rank: &Rank| (rank.entered, rank.seq);
        let newest = self.callers.iter().map(|c| arrival(&c.rank)).max();
        if rank.entered == wall(now) {
            assert!(newest.is_none_or(|n| n < arrival(&rank)), "Q4: {call} is put before an earlier caller");
        }
        // Q38: a caller who has no place yet is let in only if there is room.
        let full = self.is_full(&queue, own.as_ref(), now);
        assert!(kept || full != Some(true), "Q38: {call} is let into {queue}, which is full");
        // Q13: a caller whom timeouts lead back to the same queue does not wait there again.
        let circle = circle.then_some(TimeoutCause::SecondTime);
        let nobody = (self.logged_in(&queue) == 0).then_some(TimeoutCause::NobodyLoggedIn);
        let over: Vec<TimeoutCause> = circle.into_iter().chain(nobody).collect();
        let entered = crate::journal::since_start(since);
        let (offers, tried, missed) = (Vec::new(), Vec::new(), Vec::new());
        let (due_at_change, closed) = (None, None);
        let line = rank.head_start;
        self.callers.push(Caller {
            call: call.clone(),
            queue,
            rank,
            told: line,
            own,
            head_start,
            entered,
            offers,
            tried,
            missed,
            over,
            due_at_change,
            closed,
        });
        self.line_up();
        assert_eq!(self.caller(&call).map(|c| c.rank.head_start), Some(line), "Q25: the head start of {call}");
    }

    /// The caller was not let in.
    pub(crate) fn refused(&self, call: &CallId, queue: &QueueNumber, own: Option<&AgentId>, now: u64) {
        assert!(self.is_full(queue, own, now) != Some(false), "Q38: {call} is refused by {queue}, which is not full");
    }

    /// The call closed its wait; `taken`: another party has the caller.
    pub(crate) fn closed(&mut self, call: &CallId, taken: bool, now: u64) {
        let limit = self.limit_of(call);
        let draining = self.draining;
        let Some(c) = self.caller(call) else { return };
        let due = limit.is_some_and(|at| at <= now) || c.due_at_change == Some(now);
        assert!(due || draining || taken || !c.over.is_empty(), "Q13: the wait of {call} ends too early");
        c.closed.get_or_insert(now);
    }

    /// Q13: when this caller's wait reaches its limit.
    pub(crate) fn limit_of(&self, call: &CallId) -> Option<u64> {
        let c = self.callers.iter().find(|c| c.call == *call)?;
        let max = self.queue(&c.queue)?.max_wait?;
        Some(c.entered + max.as_millis() as u64)
    }

    /// A fact that became true at `at` and was recorded at `now`.
    pub(crate) fn fact(&mut self, fact: &Fact, at: u64, now: u64) {
        match fact {
            Fact::OfferMade { offer, call, agent, .. } => self.offered(*offer, call, agent, now),
            Fact::OfferMissed { offer, call, agent, cause, .. } => {
                if let Some(c) = self.caller(call) {
                    c.offers.retain(|(o, _)| o != offer);
                    c.tried_in_vain(agent, now);
                }
                if let Some(a) = self.agent(agent) {
                    let before = a.left_alone.map_or(PAUSE, |pause| 2 * pause);
                    a.left_alone = left_alone_for(*cause).map(|longest| before.min(longest));
                    a.unreachable = a.left_alone.map(|pause| now + pause);
                }
            }
            Fact::OfferCancelled { offer, call, agent, cause, .. } => {
                if let Some(c) = self.caller(call) {
                    c.offers.retain(|(o, _)| o != offer);
                    if *cause == CancelCause::Requested {
                        c.tried_in_vain(agent, now);
                    }
                }
            }
            Fact::CallAnswered { offer, call, queue, agent, waited } => {
                let c = self.caller(call).expect("an answered caller waits");
                assert_eq!(waited.as_millis() as u64, now - c.entered, "the length of the wait of {call}");
                let a = self.agent(agent).expect("an agent");
                assert_eq!(a.offer, Some(*offer), "Q8: an offer that does not hold {agent} was answered");
                a.talking = true;
                a.talks_for = Some(queue.clone());
                (a.unreachable, a.left_alone) = (None, None);
                self.left(call);
            }
            Fact::ConversationEnded { offer, queue, agent, talked, .. } => {
                if let Some(a) = self.agent(agent) {
                    a.shift = (a.shift.0 + 1, a.shift.1 + talked.as_millis() as u64);
                }
                let wrap_up = self.queue(queue).map(|q| q.wrap_up.as_millis() as u64);
                let restored = self.restored.contains(offer);
                let Some(a) = self.agent(agent).filter(|a| !restored || a.offer == Some(*offer)) else {
                    // It is from before a restart, and could not be resumed: its agent was removed or is held by
                    // another offer.
                    return assert!(restored, "a conversation ends that no agent has");
                };
                assert!(a.talking && a.offer == Some(*offer), "a conversation of {agent} ends that had not begun");
                (a.last_talk_end, a.restored_end) = (Some(at), false);
                a.rest = wrap_up.filter(|w| *w > 0 && at + w > now).map(|w| (at + w, false));
            }
            Fact::WrapUpStarted { agent, queue, until, .. } => {
                let known = self.queue(queue).is_some();
                let a = self.agent(agent).expect("an agent");
                let until = crate::journal::since_start(*until);
                // A queue that the file no longer has may still exist for its last callers.
                assert!(!known || a.rest == Some((until, false)), "Q9: wrap-up of {agent} until {until}");
                a.rest = Some((until, true));
            }
            Fact::WrapUpEnded { agent } => {
                // The agent was removed during a restart.
                let Some(a) = self.agent(agent) else { return };
                let rest = a.rest.take().map(|(until, _)| until);
                assert_eq!(rest, Some(now), "Q9: the end of the wrap-up of {agent}");
            }
            Fact::AgentLoggedIn { agent, queue, .. } => {
                assert!(self.participates(agent, queue), "Q14: {agent} is no participant of {queue}");
                let a = self.agent(agent).expect("an agent");
                assert!(!a.logins.contains(queue), "Q14: {agent} is logged in to {queue} twice");
                // Q35: a shift begins with the least work of those logged in to any queue of the agent.
                let begins = a.logins.is_empty();
                let own = |q: &QueueNumber| self.participates(agent, q);
                let present = self.agents.iter().filter(|a| a.logins.iter().any(own)).map(|a| a.shift);
                let (calls, talked): (Vec<u32>, Vec<u64>) = present.unzip();
                let least = (calls.into_iter().min().unwrap_or(0), talked.into_iter().min().unwrap_or(0));
                let a = self.agent(agent).expect("an agent");
                a.logins.push(queue.clone());
                if begins {
                    a.shift = least;
                }
            }
            Fact::ShiftBegan { agent, calls, talked } => {
                let shift = self.agent(agent).expect("an agent").shift;
                assert_eq!((*calls, talked.as_millis() as u64), shift, "Q35: the shift of {agent} begins");
            }
            Fact::AgentLoggedOut { agent, queue, .. } => {
                let a = self.agent(agent).expect("an agent");
                assert!(a.logins.contains(queue), "Q14: {agent} was not logged in to {queue}");
                a.logins.retain(|q| q != queue);
                a.left = Some((queue.clone(), now));
                if self.logged_in(queue) == 0 {
                    self.end_waits(queue, TimeoutCause::LastAgentLoggedOut);
                }
            }
            Fact::CallTimedOut { call, cause, waited, .. } => {
                let limit = self.limit_of(call);
                let c = self.caller(call).expect("a caller");
                // The first cause that ended the wait must be the recorded one.
                let just = c.over.first() == Some(cause)
                    || (*cause == TimeoutCause::MaxWait
                        && (limit.is_none_or(|at| c.closed.is_some_and(|t| t >= at))
                            || (c.closed.is_some() && c.closed == c.due_at_change)));
                assert!(just, "Q13: {call} timed out for {cause:?}");
                assert_eq!(waited.as_millis() as u64, now - c.entered, "the length of the wait of {call}");
                self.left(call);
            }
            Fact::CallReturned { call, .. } => {
                assert!(self.draining, "{call} is returned to the dialplan without need");
                self.left(call);
            }
            Fact::CallAbandoned { call, .. } | Fact::CallTaken { call, .. } | Fact::CallLost { call, .. } => {
                self.left(call);
            }
            Fact::HeadStartChanged { call, head_start, .. } => {
                let c = self.caller(call).expect("a caller");
                assert_eq!(c.rank.head_start, *head_start, "Q27: the head start of {call}");
                assert_ne!(std::mem::replace(&mut c.told, *head_start), *head_start, "Q27: nothing changes for {call}");
            }
            Fact::CallEntered { .. }
            | Fact::CallRefused { .. }
            | Fact::CallWentOn { .. }
            | Fact::PartyChanged { .. } => {}
        }
    }

    fn left(&mut self, call: &CallId) {
        assert!(self.caller(call).is_some(), "{call} leaves, but was not waiting");
        self.callers.retain(|c| c.call != *call);
    }

    fn end_waits(&mut self, queue: &QueueNumber, cause: TimeoutCause) {
        self.callers.iter_mut().filter(|c| c.queue == *queue).for_each(|c| c.over.push(cause));
    }

    /// A configuration was applied. The logins that it ends have facts of their own.
    pub(crate) fn configured(&mut self, agents: &[AgentSettings], queues: Vec<QueueSettings>, now: u64) {
        let due: Vec<bool> = self.callers.iter().map(|c| self.limit_of(&c.call) == Some(now)).collect();
        for (c, _) in self.callers.iter_mut().zip(due).filter(|(_, due)| *due) {
            c.due_at_change = Some(now);
        }
        let removed: Vec<QueueNumber> = self.queues.iter().map(|q| q.number.clone()).collect();
        for number in removed.iter().filter(|n| queues.iter().all(|q| q.number != **n)) {
            self.end_waits(number, TimeoutCause::QueueRemoved);
        }
        self.pointers.retain(|(queue, _)| queues.iter().any(|q| q.number == *queue));
        // A queue that stops being `simultaneous` loses its count of offers.
        let everybody = |n: &QueueNumber| queues.iter().any(|q| q.number == *n && q.strategy == Strategy::Simultaneous);
        self.paced.retain(|(queue, _)| everybody(queue));
        self.queues = queues;
        self.line_up();
        for a in agents {
            match self.agent(&a.id) {
                Some(known) => known.retired = false,
                None => self.agents.push(Agent::new(a.id.clone())),
            }
        }
    }

    /// Then agents who are no longer in the configuration go.
    pub(crate) fn dismissed(&mut self, agents: &[AgentSettings]) {
        for a in &mut self.agents {
            a.retired = agents.iter().all(|s| s.id != a.id);
        }
        // An agent in a conversation finishes it first.
        self.agents.retain(|a| !a.retired || a.offer.is_some());
    }

    /// The daemon has restarted, and knows only the contents of the journal.
    pub(crate) fn restarted(
        &mut self,
        agents: &[AgentSettings],
        queues: Vec<QueueSettings>,
        journal: &Journal,
        now: u64,
    ) {
        let restored = journal.conversations.iter().filter_map(|r| match &r.fact {
            Fact::CallAnswered { offer, .. } => Some(*offer),
            _ => None,
        });
        let mut pointers = journal.pointers.clone();
        pointers.retain(|(queue, _)| queues.iter().any(|q| q.number == *queue));
        let (restored, sessions) = (restored.collect(), self.sessions);
        *self = Self { queues, restored, sessions, pointers, ..Self::default() };
        for s in agents {
            let mut a = Agent::new(s.id.clone());
            a.logins = journal.logins.iter().filter(|l| l.0 == s.id).map(|l| l.1.clone()).collect();
            a.last_talk_end = journal.last_end(&s.id);
            a.restored_end = a.last_talk_end.is_some();
            a.shift = journal.shift(&s.id);
            // One that has ended meanwhile is reported to end now.
            a.rest = journal.wrap_up(&s.id).map(|until| (until.max(now), true));
            a.offer = journal.conversation(&s.id);
            a.talking = a.offer.is_some();
            a.talks_for = journal.talks_for(&s.id);
            a.rest = a.rest.filter(|(until, _)| !a.talking || *until == now);
            self.agents.push(a);
        }
    }

    /// The daemon adopted a conversation from before its start.
    pub(crate) fn adopted(&mut self, agent: &AgentId, offer: OfferId, queue: QueueNumber) {
        let a = self.agent(agent).expect("an agent");
        assert!(a.offer.is_none_or(|o| o == offer), "Q8: {agent} holds another offer");
        // That ends the rest of a wrap-up.
        (a.offer, a.talking, a.rest, a.talks_for) = (Some(offer), true, None, Some(queue));
    }

    /// Q15: whether the agent has logged out of this queue, or did so this moment.
    pub(crate) fn has_left(&self, agent: &AgentId, queue: &QueueNumber, now: u64) -> bool {
        let a = self.agents.iter().find(|a| a.id == *agent);
        a.is_none_or(|a| !a.logins.contains(queue) || a.left == Some((queue.clone(), now)))
    }

    pub(crate) fn set_private(&mut self, agent: &AgentId, private: bool) {
        if let Some(a) = self.agent(agent) {
            a.private = private;
        }
    }

    pub(crate) fn set_reachable(&mut self, agent: &AgentId, reachable: bool, now: u64) {
        if let Some(a) = self.agent(agent) {
            a.left_alone = (!reachable).then_some(60_000);
            a.unreachable = a.left_alone.map(|pause| now + pause);
        }
    }

    /// The next moment after `now` at which an offer may become due by itself.
    pub(crate) fn next_moment(&self, now: u64) -> Option<u64> {
        let rests = self.agents.iter().filter_map(|a| a.rest.map(|(until, _)| until));
        let phones = self.agents.iter().filter_map(|a| a.unreachable);
        let pauses = self.callers.iter().flat_map(|c| c.missed.iter().map(|(_, at)| at + PAUSE));
        let limits = self.callers.iter().filter_map(|c| self.limit_of(&c.call));
        rests.chain(phones).chain(pauses).chain(limits).filter(|at| *at > now).min()
    }

    /// Checks the invariants that hold whenever nothing is left to be done at a moment.
    pub(crate) fn check(&self, now: u64) {
        let next = self.next_offer(now);
        assert!(next.is_none(), "Q4-Q7: an offer that the rules demand was not made: {next:?}");
        for c in &self.callers {
            assert_eq!(c.told, c.rank.head_start, "Q27: the records do not tell the head start of {}", c.call);
            let late = self.limit_of(&c.call).is_some_and(|at| at <= now);
            assert!(c.closed.is_some() || !late, "Q13: {} has waited too long", c.call);
            assert!(c.closed.is_some() || c.over.is_empty(), "Q13: {} waits on: {:?}", c.call, c.over);
        }
        for a in &self.agents {
            assert!(a.rest.is_none_or(|(_, seen)| seen), "Q9: there is no record of the wrap-up of {}", a.id);
            assert!(a.rest.is_none_or(|(until, _)| until > now), "Q9: the wrap-up of {} has not ended", a.id);
        }
    }
}

impl Agent {
    fn new(id: AgentId) -> Self {
        Self {
            id,
            logins: Vec::new(),
            offer: None,
            talking: false,
            talks_for: None,
            rest: None,
            last_talk_end: None,
            restored_end: false,
            shift: (0, 0),
            private: false,
            left: None,
            unreachable: None,
            left_alone: None,
            retired: false,
        }
    }
}
