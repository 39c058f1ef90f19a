//! The ledger of the facts of a daemon: every call that entered has one disposition, every offer one outcome, every
//! conversation one end (Q23, Q110), whatever the daemon's deaths do to them.

use std::collections::BTreeMap;

use freeswitch_queue::acd::fact::Fact;
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};

/// How the daemon runs and dies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lives {
    /// A death loses the last facts.
    pub losing: bool,
    /// The daemon has no link.
    pub blind: bool,
    /// A daemon that starts knows nothing of the waits and offers that were open at the last death, and ends none.
    pub forgetful: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// In line in this run.
    Here,
    /// In line when the daemon died.
    Away,
    Over,
}

#[derive(Debug)]
struct Call {
    queue: QueueNumber,
    wait: Wait,
    /// The open offers of this run.
    offers: Vec<OfferId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Open when the daemon died: the phones ring without a caller.
    Orphaned,
    Talking,
    /// It has its outcome, and no conversation.
    Over,
    /// Its conversation has ended, and this run of the daemon has recorded it.
    Ended,
}

#[derive(Debug)]
struct Offer {
    call: CallId,
    agent: AgentId,
    stage: Stage,
}

/// The waits, offers and conversations of the facts so far.
#[derive(Debug, Default)]
pub struct Ledger {
    lives: Lives,
    calls: BTreeMap<CallId, Call>,
    offers: BTreeMap<OfferId, Offer>,
}

impl Ledger {
    pub fn new(lives: Lives) -> Self {
        Self { lives, ..Self::default() }
    }

    /// Takes the next fact, or says which rule it breaks.
    pub fn take(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::CallEntered { call, queue, .. } => self.enters(call, queue),
            Fact::CallRefused { call, queue, .. } => self.refused(call, queue),
            Fact::OfferMade { offer, call, queue, agent } => self.made(*offer, call, queue, agent),
            Fact::OfferMissed { offer, .. } | Fact::OfferCancelled { offer, .. } => self.ends(*offer, Stage::Over),
            Fact::CallAnswered { offer, call, queue, agent, .. } => {
                self.ends(*offer, Stage::Talking).map_err(|why| format!("{agent} answers {call}: {why}"))?;
                self.leaves(call, queue)
            }
            Fact::PartyChanged { offer, .. } => self.talks(*offer),
            Fact::ConversationEnded { offer, .. } => {
                self.talks(*offer)?;
                self.set(*offer, Stage::Ended);
                Ok(())
            }
            Fact::CallAbandoned { call, queue, .. }
            | Fact::CallTimedOut { call, queue, .. }
            | Fact::CallReturned { call, queue, .. }
            | Fact::CallTaken { call, queue, .. }
            | Fact::CallLost { call, queue, .. } => self.leaves(call, queue),
            Fact::CallWentOn { .. }
            | Fact::HeadStartChanged { .. }
            | Fact::AgentLoggedIn { .. }
            | Fact::ShiftBegan { .. }
            | Fact::AgentLoggedOut { .. }
            | Fact::WrapUpStarted { .. }
            | Fact::WrapUpEnded { .. } => Ok(()),
        }
    }

    /// The daemon died.
    pub fn died(&mut self) {
        let forgetful = self.lives.forgetful;
        for call in self.calls.values_mut() {
            call.offers.clear();
            if call.wait == Wait::Here {
                call.wait = if forgetful { Wait::Over } else { Wait::Away };
            }
        }
        for offer in self.offers.values_mut() {
            offer.stage = match offer.stage {
                Stage::Open | Stage::Orphaned if forgetful => Stage::Over,
                Stage::Open | Stage::Orphaned => Stage::Orphaned,
                // Without a link, the ends of conversations cannot be known either.
                Stage::Talking if self.lives.blind => Stage::Over,
                Stage::Ended => Stage::Over,
                stage => stage,
            };
        }
    }

    /// The next daemon knows of no conversation but these.
    pub fn forget_talks(&mut self, known: impl Fn(OfferId) -> bool) {
        for (id, offer) in &mut self.offers {
            if offer.stage == Stage::Talking && !known(*id) {
                offer.stage = Stage::Over;
            }
        }
    }

    /// The daemon took up a conversation that it did not see begin. One whose end it has recorded, without seeing it,
    /// gets no second end.
    pub fn adopted(&mut self, offer: OfferId) {
        if self.offers.get(&offer).is_some_and(|offer| offer.stage != Stage::Ended) {
            self.set(offer, Stage::Talking);
        }
    }

    fn set(&mut self, offer: OfferId, stage: Stage) {
        if let Some(offer) = self.offers.get_mut(&offer) {
            offer.stage = stage;
        }
    }

    /// How many callers wait.
    pub fn waiting(&self) -> usize {
        self.calls.values().filter(|call| call.wait != Wait::Over).count()
    }

    /// Whether the caller waits in this queue, in this run, and nobody is rung for them.
    pub fn is_unserved(&self, call: &CallId, queue: &QueueNumber) -> bool {
        self.calls.get(call).is_some_and(|c| c.wait == Wait::Here && c.offers.is_empty() && c.queue == *queue)
    }

    /// Whether the agent is rung in this run, or talks.
    pub fn holds(&self, agent: &AgentId) -> bool {
        let held = |offer: &Offer| offer.agent == *agent && matches!(offer.stage, Stage::Open | Stage::Talking);
        self.offers.values().any(held)
    }

    /// Once all callers have hung up, nothing is open.
    pub fn whole(&self) -> Result<(), String> {
        let waits: Vec<_> = self.calls.iter().filter(|(_, call)| call.wait != Wait::Over).collect();
        if !waits.is_empty() {
            return Err(format!("Q23: these calls have no disposition: {waits:?}"));
        }
        let offers: Vec<_> =
            self.offers.iter().filter(|(_, offer)| !matches!(offer.stage, Stage::Over | Stage::Ended)).collect();
        if !offers.is_empty() {
            return Err(format!("Q23, Q110: these offers have no end: {offers:?}"));
        }
        Ok(())
    }

    fn enters(&mut self, call: &CallId, queue: &QueueNumber) -> Result<(), String> {
        if let Some(waits) = self.calls.get(call).filter(|c| c.wait != Wait::Over) {
            return Err(format!("Q23: {call} enters {queue} and waits already: {waits:?}"));
        }
        self.calls.insert(call.clone(), Call { queue: queue.clone(), wait: Wait::Here, offers: Vec::new() });
        Ok(())
    }

    /// Q44: a caller who is not let in does not wait, and so neither abandons nor times out.
    fn refused(&self, call: &CallId, queue: &QueueNumber) -> Result<(), String> {
        match self.calls.get(call).filter(|c| c.wait != Wait::Over) {
            Some(waits) => Err(format!("Q44: {call} is refused by {queue} and waits already: {waits:?}")),
            None => Ok(()),
        }
    }

    fn made(&mut self, id: OfferId, call: &CallId, queue: &QueueNumber, agent: &AgentId) -> Result<(), String> {
        if self.offers.contains_key(&id) {
            return Err(format!("{id} is made twice"));
        }
        let waits = self.calls.get_mut(call).filter(|c| c.wait == Wait::Here && c.queue == *queue);
        waits.ok_or_else(|| format!("{agent} is offered {call}, who does not wait in {queue}"))?.offers.push(id);
        self.offers.insert(id, Offer { call: call.clone(), agent: agent.clone(), stage: Stage::Open });
        Ok(())
    }

    /// An offer has its outcome.
    fn ends(&mut self, id: OfferId, stage: Stage) -> Result<(), String> {
        let offer = self.offers.get_mut(&id).ok_or_else(|| format!("{id} has an outcome, and was never made"))?;
        if matches!(offer.stage, Stage::Talking | Stage::Over | Stage::Ended) {
            return Err(format!("Q23: {id} has an outcome once more: {offer:?}"));
        }
        offer.stage = stage;
        if let Some(call) = self.calls.get_mut(&offer.call) {
            call.offers.retain(|open| *open != id);
        }
        Ok(())
    }

    fn talks(&self, id: OfferId) -> Result<(), String> {
        let talks = self.offers.get(&id).is_some_and(|offer| offer.stage == Stage::Talking);
        if talks || self.lives.losing { Ok(()) } else { Err(format!("{id} is no conversation")) }
    }

    fn leaves(&mut self, call: &CallId, queue: &QueueNumber) -> Result<(), String> {
        match self.calls.get_mut(call) {
            Some(waits) if waits.wait != Wait::Over && waits.queue == *queue => waits.wait = Wait::Over,
            None if self.lives.losing => {}
            other => return Err(format!("Q23: {call} leaves {queue}, and does not wait there: {other:?}")),
        }
        Ok(())
    }
}
