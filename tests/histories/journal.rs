//! The state the store would keep, computed from the facts in the simplest way; and the check that the facts add up.

use freeswitch_queue::acd::fact::{Fact, Onward, Record};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::restored::WrapUp;
use freeswitch_queue::acd::shift::Shift;
use freeswitch_queue::acd::time::Wall;

use crate::ledger::{Ledger, Lives};

/// The wall clock when a history begins.
const START: i64 = 1_700_000_000_000;

pub(crate) fn wall(ms: u64) -> Wall {
    Wall(START + ms as i64)
}

pub(crate) fn since_start(wall: Wall) -> u64 {
    (wall.0 - START) as u64
}

/// Counts of the outcomes of the calls.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// The callers who came to a queue, let in or not.
    pub(crate) offered: u64,
    pub(crate) refused: u64,
    pub(crate) entered: u64,
    pub(crate) answered: u64,
    pub(crate) abandoned: u64,
    pub(crate) timed_out: u64,
    pub(crate) moved: u64,
    pub(crate) lost: u64,
    pub(crate) interrupted: u64,
    pub(crate) offers: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.refused += other.refused;
        self.entered += other.entered;
        self.answered += other.answered;
        self.abandoned += other.abandoned;
        self.timed_out += other.timed_out;
        self.moved += other.moved;
        self.lost += other.lost;
        self.interrupted += other.interrupted;
        self.offers += other.offers;
    }

    /// Whether every kind of end came often enough to be meaningful.
    pub(crate) fn is_lively(&self) -> bool {
        let kinds =
            [self.answered, self.abandoned, self.timed_out, self.moved, self.lost, self.interrupted, self.offers];
        kinds.iter().chain([&self.refused]).all(|n| *n > 100)
    }
}

pub(crate) struct Journal {
    ledger: Ledger,
    pub(crate) logins: Vec<(AgentId, QueueNumber, Wall)>,
    pub(crate) ends: Vec<(AgentId, Wall)>,
    /// The agent to whom each queue offered a caller last.
    pub(crate) pointers: Vec<(QueueNumber, AgentId)>,
    /// Each agent's work in the present shift.
    pub(crate) shifts: Vec<(AgentId, Shift)>,
    pub(crate) wraps: Vec<WrapUp>,
    /// Answered calls whose conversation has not ended.
    pub(crate) conversations: Vec<Record>,
    /// Each call's first entry, and the queues its timeouts have led to since.
    ways: Vec<(CallId, Wall, Vec<QueueNumber>)>,
    pub(crate) counts: Counts,
    last: Wall,
}

impl Default for Journal {
    fn default() -> Self {
        // The restored state has no waits and no offers: a daemon that starts again knows none.
        let ledger = Ledger::new(Lives { forgetful: true, ..Lives::default() });
        let (logins, ends, pointers, shifts, wraps, conversations, ways) = Default::default();
        Self {
            ledger,
            logins,
            ends,
            pointers,
            shifts,
            wraps,
            conversations,
            ways,
            counts: Counts::default(),
            last: Wall::default(),
        }
    }
}

impl Journal {
    pub(crate) fn last_end(&self, agent: &AgentId) -> Option<u64> {
        self.ends.iter().find(|e| e.0 == *agent).map(|e| since_start(e.1))
    }

    pub(crate) fn shift(&self, agent: &AgentId) -> (u32, u64) {
        let shift = self.shifts.iter().find(|s| s.0 == *agent).map(|s| s.1).unwrap_or_default();
        (shift.calls, shift.talked.as_millis() as u64)
    }

    pub(crate) fn wrap_up(&self, agent: &AgentId) -> Option<u64> {
        self.wraps.iter().find(|w| w.agent == *agent).map(|w| since_start(w.until))
    }

    /// The first of the agent's conversations that have not ended.
    pub(crate) fn conversation(&self, agent: &AgentId) -> Option<OfferId> {
        self.conversations.iter().find_map(|r| match &r.fact {
            Fact::CallAnswered { offer, agent: a, .. } if a == agent => Some(*offer),
            _ => None,
        })
    }

    /// The queue of that conversation.
    pub(crate) fn talks_for(&self, agent: &AgentId) -> Option<QueueNumber> {
        self.conversations.iter().find_map(|r| match &r.fact {
            Fact::CallAnswered { queue, agent: a, .. } if a == agent => Some(queue.clone()),
            _ => None,
        })
    }

    /// A call enters a queue other than from another queue.
    pub(crate) fn anew(&mut self, call: &CallId) {
        self.ways.retain(|w| w.0 != *call);
    }

    fn way(&mut self, call: &CallId, now: Wall) -> &mut (CallId, Wall, Vec<QueueNumber>) {
        let at = self.ways.iter().position(|w| w.0 == *call).unwrap_or_else(|| {
            self.ways.push((call.clone(), now, Vec::new()));
            self.ways.len() - 1
        });
        &mut self.ways[at]
    }

    /// Q23: every call has one disposition, every offer one outcome.
    pub(crate) fn take(&mut self, record: &Record) {
        let late = matches!(record.fact, Fact::ConversationEnded { .. } | Fact::WrapUpStarted { .. });
        assert!(late || record.at >= self.last, "a record is older than the one before");
        self.last = record.at.max(self.last);
        self.ledger.take(&record.fact).unwrap();
        match &record.fact {
            Fact::CallEntered { call, queue, first_entered, caller, .. } => {
                // An entry whose record a dead daemon lost is recorded by the next.
                self.counts.offered += u64::from(caller.is_empty());
                let way = self.way(call, record.at);
                assert_eq!(*first_entered, way.1, "Q13: when {call} first entered a queue");
                way.2.push(queue.clone());
                self.counts.entered += 1;
            }
            Fact::CallRefused { call, queue, .. } => {
                self.way(call, record.at).2.push(queue.clone());
                self.counts.refused += 1;
            }
            Fact::OfferMade { queue, agent, .. } => {
                self.pointers.retain(|(q, _)| q != queue);
                self.pointers.push((queue.clone(), agent.clone()));
                self.counts.offers += 1;
            }
            Fact::CallAnswered { .. } => {
                self.conversations.push(record.clone());
                self.counts.answered += 1;
            }
            Fact::ShiftBegan { agent, calls, talked } => {
                self.shifts.retain(|s| s.0 != *agent);
                self.shifts.push((agent.clone(), Shift { calls: *calls, talked: *talked }));
            }
            Fact::ConversationEnded { offer, agent, talked, .. } => {
                let known = self.shifts.iter().find(|s| s.0 == *agent);
                let mut shift = known.map(|(_, shift)| *shift).unwrap_or_default();
                shift.count(*talked);
                self.shifts.retain(|s| s.0 != *agent);
                self.shifts.push((agent.clone(), shift));
                let ended = |r: &Record| matches!(&r.fact, Fact::CallAnswered { offer: o, .. } if o == offer);
                self.conversations.retain(|r| !ended(r));
                self.ends.retain(|e| e.0 != *agent);
                self.ends.push((agent.clone(), record.at));
            }
            Fact::CallAbandoned { .. } => self.counts.abandoned += 1,
            Fact::CallTimedOut { .. } => self.counts.timed_out += 1,
            Fact::CallReturned { .. } | Fact::CallTaken { .. } => self.counts.moved += 1,
            Fact::CallLost { .. } => self.counts.lost += 1,
            Fact::CallWentOn { call, onward: Onward::Queue(to), .. } => {
                let been = &self.way(call, record.at).2;
                assert!(!been.contains(to), "Q13: {call} is sent to {to} once more, and has been in {been:?}");
            }
            Fact::OfferMissed { .. }
            | Fact::OfferCancelled { .. }
            | Fact::CallWentOn { .. }
            | Fact::HeadStartChanged { .. }
            | Fact::PartyChanged { .. } => {}
            Fact::AgentLoggedIn { agent, queue, .. } => self.logins.push((agent.clone(), queue.clone(), record.at)),
            Fact::AgentLoggedOut { agent, queue, .. } => self.logins.retain(|l| l.0 != *agent || l.1 != *queue),
            Fact::WrapUpStarted { agent, until, lasts, .. } => {
                self.wraps.retain(|w| w.agent != *agent);
                self.wraps.push(WrapUp { agent: agent.clone(), until: *until, lasts: *lasts });
            }
            Fact::WrapUpEnded { agent } => self.wraps.retain(|w| w.agent != *agent),
        }
        self.balance();
    }

    /// Entered = answered + abandoned + timed out + moved + lost + waiting.
    fn balance(&self) {
        let c = &self.counts;
        let left = c.answered + c.abandoned + c.timed_out + c.moved + c.lost + c.interrupted;
        assert_eq!(c.entered, left + self.ledger.waiting() as u64, "the calls do not add up");
    }

    /// A caller has come to a queue, and the facts of it are taken.
    pub(crate) fn offered(&mut self) {
        self.counts.offered += 1;
        let c = &self.counts;
        assert_eq!(c.offered, c.entered + c.refused, "Q44: the callers who came do not add up");
    }

    /// The daemon died: its open work produces no more events.
    pub(crate) fn interrupted(&mut self) {
        self.counts.interrupted += self.ledger.waiting() as u64;
        self.ledger.died();
        // A recorded conversation continues, or is recorded as ended.
        let recorded = |offer: OfferId| {
            self.conversations.iter().any(|r| matches!(&r.fact, Fact::CallAnswered { offer: o, .. } if *o == offer))
        };
        self.ledger.forget_talks(recorded);
    }

    /// The daemon adopts a conversation that it, or this run of it, did not see begin.
    pub(crate) fn adopted(&mut self, offer: OfferId) {
        self.ledger.adopted(offer);
    }

    pub(crate) fn check_over(&self) {
        self.ledger.whole().unwrap();
    }
}
