//! Carries out on the floor what a call asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::acd::call::{Desk, Input, Leave};
use crate::acd::fact::{EndedBy, Fact, RefusalCause};
use crate::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use crate::acd::time::{Now, Since, Wall};

use super::{Admission, Caller, Floor, OfferKey};

/// Carries out one call's wishes. Dropping it takes the call off the floor.
pub struct CallDesk {
    floor: Arc<Floor>,
    call: CallId,
    caller: Caller,
    queue: Option<QueueNumber>,
    /// Since when the call waits, or waited, in that queue.
    since: Option<Since>,
    refused: Option<RefusalCause>,
    offers: HashMap<OfferId, (AgentId, QueueNumber)>,
    taken_by: Option<Arc<str>>,
    seed: u64,
    /// When a wish was last carried out.
    last: Now,
}

impl CallDesk {
    /// A desk for a call that was admitted. `seed` makes the caller's random order of agents.
    pub fn new(floor: Arc<Floor>, call: CallId, caller: Caller, seed: u64) -> Self {
        if let Some(dialog) = &caller.dialog {
            floor.dialogs.insert(dialog.clone(), call.clone());
        }
        let (offers, last) = (HashMap::new(), Now::default());
        Self { floor, call, caller, queue: None, since: None, refused: None, offers, taken_by: None, seed, last }
    }

    /// The queue the call is in, or was in last.
    pub fn queue(&self) -> Option<&QueueNumber> {
        self.queue.as_ref()
    }

    /// Since when the call waits in its queue, or waited in its last.
    pub fn since(&self) -> Option<Since> {
        self.since
    }

    /// Why the queue in which the call is last has not let it in.
    pub fn refused(&self) -> Option<RefusalCause> {
        self.refused
    }

    /// When the caller first came to any queue.
    pub fn first_entered(&self) -> Option<Wall> {
        self.caller.first_entered
    }

    /// The caller's own head start.
    pub fn head_start(&self) -> Duration {
        self.caller.head_start
    }

    /// Carries out one wish, and returns the answer if there is one.
    pub fn carry_out(&mut self, wish: Desk, now: Now) -> Option<Input> {
        self.last = now;
        match wish {
            Desk::Enter(queue, rank) => {
                let admission = self.floor.enter(&self.call, &queue, rank, &self.caller, self.seed, now);
                (self.caller.returned, self.caller.since, self.caller.came) = (false, None, Duration::ZERO);
                (self.caller.refused, self.caller.passed_on) = (None, false);
                let Admission::At { settings, rank, since, refused } = admission else {
                    return Some(Input::Entered(None));
                };
                self.caller.first_entered.get_or_insert(now.wall_of(since));
                (self.queue, self.since, self.refused) = (Some(queue), Some(since), refused);
                return Some(match refused {
                    None => Input::Entered(Some((settings, rank, since))),
                    Some(cause) => Input::Refused(settings, rank, cause),
                });
            }
            Desk::Look { listen } => {
                let queue = self.queue.clone()?;
                let (orders, position) = self.floor.look(&self.call, &queue, listen)?;
                for (offer, agent) in &orders.ring {
                    self.offers.insert(*offer, (agent.clone(), queue.clone()));
                }
                return Some(Input::Looked { orders, position });
            }
            Desk::Close(cause) => {
                if let Some(queue) = &self.queue {
                    self.floor.close(&self.call, queue, cause, now);
                }
            }
            Desk::Outcome(offer, outcome) => {
                if let Some(key) = self.key(offer) {
                    self.floor.outcome(&key, outcome, now);
                }
            }
            Desk::Gone(offer) => self.release(offer, EndedBy::Unknown, now),
            Desk::Ended(offer, by) => self.release(offer, by, now),
            Desk::Lost(offer) => {
                if let Some(key) = self.key(offer) {
                    self.floor.lost(&key, now);
                    self.offers.remove(&offer);
                }
            }
            Desk::Answered(offer) => {
                if let Some(key) = self.key(offer) {
                    self.floor.answered(&key, now);
                }
            }
            Desk::TakenBy(user) => self.taken_by = Some(Arc::from(user.as_str())),
            Desk::Leave(leave) => self.leave(leave, now),
            Desk::WentOn(onward) => {
                if let Some(queue) = self.queue.clone() {
                    self.floor.record(now, Fact::CallWentOn { call: self.call.clone(), queue, onward });
                }
            }
        }
        None
    }

    fn leave(&mut self, leave: Leave, now: Now) {
        let Some(queue) = &self.queue else { return };
        match leave {
            Leave::Lost => {
                if let Some(first) = self.caller.first_entered {
                    self.floor.goes_missing(&self.call, queue, first, now);
                }
            }
            Leave::Replaced => {
                let standing = self.floor.standing(&self.call, self.caller.first_entered);
                self.floor.leave(&self.call, queue, leave, None, now);
                if let (Some(dialog), Some(standing)) = (self.caller.dialog.clone(), standing) {
                    self.floor.leaves_a_place(dialog, standing, now);
                }
            }
            leave => {
                self.floor.leave(&self.call, queue, leave, self.taken_by.take(), now);
            }
        }
    }

    fn key(&self, offer: OfferId) -> Option<OfferKey> {
        let (agent, queue) = self.offers.get(&offer)?.clone();
        Some(OfferKey { offer, call: self.call.clone(), queue, agent })
    }

    fn release(&mut self, offer: OfferId, by: EndedBy, now: Now) {
        if let Some(key) = self.key(offer) {
            self.floor.release(&key, by, now);
            self.offers.remove(&offer);
        }
    }
}

impl Drop for CallDesk {
    fn drop(&mut self) {
        // A call that ends has left its queue. When its task panicked, nothing else takes it out of the queue or
        // attends to its phones.
        let waits = self.queue.as_ref().is_some_and(|q| self.floor.leave(&self.call, q, Leave::Lost, None, self.last));
        let died = std::thread::panicking();
        if died {
            tracing::error!(call = %self.call, "the task of a call has died; report what the log says before this");
        }
        if waits || died {
            for key in self.offers.keys().filter_map(|offer| self.key(*offer)) {
                self.floor.lost(&key, self.last);
            }
        }
        if let Some(dialog) = &self.caller.dialog {
            self.floor.dialogs.remove_if(dialog, |_, call| *call == self.call);
        }
        self.floor.dismiss(&self.call);
    }
}
