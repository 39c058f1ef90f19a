//! Checks the order of the line (Q4, Q19, Q102): what the daemons' facts tell of each offer, held against when the
//! callers really came, as the phones know it.
//!
//! The facts tell who waits and who has an offer; none of them is asked who stands in front. An outside caller came
//! when the own phone dialled, or when somebody moved the caller, and keeps that place across every death.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::Fact;
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use phones::Call;

use super::people::STAFF;
use super::watch::Found;

/// A caller must have waited for this time without an offer before another one's offer overtakes: an entry, or the end
/// of an offer, may cross with the choice.
const UNSERVED: Duration = Duration::from_millis(100);
/// How long a daemon that starts waits at least for the callers of the one before.
const OPENING: Duration = Duration::from_secs(2);
/// How soon a third party takes the place of the agent who completes a transfer.
const INHERITS: Duration = Duration::from_secs(3);

/// One wait in one queue, from the entry to its end, across all deaths in between.
struct Wait {
    caller: String,
    queue: QueueNumber,
    /// When the caller came, at the earliest. `None`: not known, since a place in the line can be inherited.
    earliest: Option<Instant>,
    /// When the caller came, at the latest.
    latest: Instant,
    /// When the caller last entered this daemon's line; `None` while the dialplan holds the caller.
    here: Option<Instant>,
    offers: BTreeSet<OfferId>,
    /// Since when there is no offer for the caller.
    unserved: Instant,
    /// The agents who have been rung for the caller by this daemon: it may leave them alone for a while.
    tried: BTreeSet<AgentId>,
}

/// A move of a caller by somebody else.
struct Move {
    at: Instant,
    /// The caller may get the place of another caller.
    inherits: bool,
}

/// The callers who wait, by line.
#[derive(Default)]
pub struct Line {
    waits: BTreeMap<CallId, Wait>,
    moves: BTreeMap<String, Move>,
    logins: BTreeMap<(AgentId, QueueNumber), Instant>,
    /// When the daemon was started after a death.
    started: Option<Instant>,
    /// When a wait of an agent's own call was taken away.
    taken: Option<Instant>,
    /// The two callers of each finding, which is told once.
    found: BTreeSet<[String; 2]>,
    /// The offers judged: a day without any would prove nothing.
    pub judged: usize,
}

impl Line {
    /// Notes that somebody moves a caller, or may do so.
    pub fn moved(&mut self, caller: &str, inherits: bool) {
        self.moves.insert(caller.to_owned(), Move { at: Instant::now(), inherits });
    }

    /// The daemon is dead: nobody is in its line, and its offers are void. Another one starts now.
    pub fn death(&mut self) {
        let now = Instant::now();
        self.started = Some(now);
        for wait in self.waits.values_mut() {
            (wait.here, wait.unserved) = (None, now);
            wait.offers.clear();
            wait.tried.clear();
        }
    }

    /// Takes the next fact, read at this time.
    pub fn take(&mut self, at: Instant, fact: &Fact, calls: &[Call]) -> Option<Found> {
        match fact {
            Fact::CallEntered { call, queue, caller, .. } => self.enter(at, call, queue, caller, calls),
            // The wait goes on when the dialplan brings the call back.
            Fact::CallReturned { call, .. } => {
                self.waits.get_mut(call)?.here = None;
            }
            Fact::CallTaken { call, .. } => {
                let wait = self.waits.remove(call)?;
                self.taken = if is_outside(&wait.caller) { self.taken } else { Some(at) };
            }
            Fact::CallAnswered { call, .. }
            | Fact::CallAbandoned { call, .. }
            | Fact::CallTimedOut { call, .. }
            | Fact::CallLost { call, .. } => drop(self.waits.remove(call)),
            Fact::OfferMade { offer, call, queue, agent } => {
                let found = self.judge(at, call, queue, agent, calls);
                let wait = self.waits.get_mut(call)?;
                wait.offers.insert(*offer);
                wait.tried.insert(agent.clone());
                return found;
            }
            Fact::OfferMissed { offer, call, .. } | Fact::OfferCancelled { offer, call, .. } => {
                let wait = self.waits.get_mut(call)?;
                if wait.offers.remove(offer) {
                    wait.unserved = at;
                }
            }
            Fact::AgentLoggedIn { agent, queue, .. } => {
                self.logins.entry((agent.clone(), queue.clone())).or_insert(at);
            }
            Fact::AgentLoggedOut { agent, queue, .. } => drop(self.logins.remove(&(agent.clone(), queue.clone()))),
            _ => {}
        }
        None
    }

    fn enter(&mut self, at: Instant, id: &CallId, queue: &QueueNumber, caller: &str, calls: &[Call]) {
        let phone = phone(caller, calls);
        let dialled = phone.map(|call| call.invited);
        let last_move = self.moves.get(caller).filter(|last| dialled.is_none_or(|dialled| dialled < last.at));
        let talked = phone.is_some_and(|call| call.person.is_some());
        let mut known = false;
        if let Some(wait) = self.waits.get_mut(id) {
            known = true;
            let since = wait.latest;
            let moved = last_move.is_some_and(|last| last.at > since)
                || phone.and_then(|call| call.person.as_ref()).is_some_and(|(heard, _)| *heard > since);
            if wait.queue == *queue && !moved {
                (wait.here, wait.unserved) = (Some(at), at);
                return;
            }
        }
        let inherits = self.taken.is_some_and(|taken| at < taken + INHERITS);
        let (earliest, latest) = match (last_move, phone) {
            (None, Some(call)) if !talked && is_outside(caller) => {
                (Some(call.invited), call.answered.unwrap_or(at).min(at))
            }
            (Some(last), Some(_)) if !known && !last.inherits && !inherits && is_outside(caller) => (Some(last.at), at),
            _ => (None, at),
        };
        let wait = Wait {
            caller: caller.to_owned(),
            queue: queue.clone(),
            earliest,
            latest,
            here: Some(at),
            offers: BTreeSet::new(),
            unserved: at,
            tried: BTreeSet::new(),
        };
        self.waits.insert(id.clone(), wait);
    }

    /// An agent is rung for a caller: nobody who came before may be without an offer then.
    fn judge(
        &mut self,
        at: Instant,
        id: &CallId,
        queue: &QueueNumber,
        agent: &AgentId,
        calls: &[Call],
    ) -> Option<Found> {
        let offered = self.waits.get(id)?;
        let came = offered.earliest.filter(|_| offered.here.is_some() && self.is_settled(offered))?;
        self.judged += 1;
        // A caller who is not back since a death waits as well: at first, nobody is served before all are back.
        let opening = self.started.is_some_and(|started| at < started + OPENING);
        let elsewhere = |wait: &Wait| self.waits.values().any(|o| o.caller == wait.caller && o.here.is_some());
        let waits = |wait: &&Wait| {
            let here = wait.here.map_or(opening && !elsewhere(wait), |here| here + UNSERVED < at);
            here && wait.offers.is_empty() && wait.unserved + UNSERVED < at
        };
        let first = |wait: &&Wait| {
            let before = |other: &Wait| other.latest < wait.latest || other.earliest.is_none();
            let up = |other: &Wait| phone(&other.caller, calls).is_some_and(Call::is_up);
            let unserved = |other: &&Wait| other.queue == wait.queue && other.offers.is_empty() && up(other);
            !self.waits.values().filter(unserved).any(|other| !std::ptr::eq(other, *wait) && before(other))
        };
        let serves = |wait: &&Wait| {
            // Of other queues the agent serves, only a first caller for whom the agent was not rung yet is certain.
            let served = self.logins.get(&(agent.clone(), wait.queue.clone())).is_some_and(|in_| *in_ + INHERITS < at);
            wait.queue == *queue || (served && !wait.tried.contains(agent) && first(wait))
        };
        let overtaken = self.waits.values().find(|wait| {
            let phone = phone(&wait.caller, calls).filter(|call| call.is_up());
            wait.latest < came
                && is_outside(&wait.caller)
                && waits(wait)
                && serves(wait)
                && self.is_settled(wait)
                && phone.is_some_and(|call| call.hears().is_none())
        })?;
        let who = [offered.caller.clone(), overtaken.caller.clone()];
        let what = format!(
            "{agent} is rung for {} in {queue}, though {} came {:.1} s earlier, waits in {} and has no offer",
            who[0],
            who[1],
            (came - overtaken.latest).as_secs_f32(),
            overtaken.queue
        );
        self.found.insert(who.clone()).then(|| Found { what, who: who.into() })
    }

    /// A line as the daemon shows it, in order: nobody stands before a caller who came earlier.
    pub fn order(&mut self, queue: &str, shown: &[&str]) -> Option<Found> {
        let now = Instant::now();
        let known = |id: &&str| CallId::new(id).ok().and_then(|id| self.waits.get(&id));
        let sure = |wait: &&Wait| {
            let here = wait.here.is_some_and(|here| here + UNSERVED < now);
            here && wait.queue.as_str() == queue && is_outside(&wait.caller) && self.is_settled(wait)
        };
        let line: Vec<&Wait> = shown.iter().filter_map(known).filter(sure).collect();
        let (before, behind) = line.iter().enumerate().find_map(|(n, before)| {
            let behind = line[n + 1..].iter().find(|wait| before.earliest.is_some_and(|came| wait.latest < came));
            Some((before, behind?))
        })?;
        let who = [before.caller.clone(), behind.caller.clone()];
        let what = format!("{} stands before {} in {queue}, who came earlier", who[0], who[1]);
        self.found.insert(who.clone()).then(|| Found { what, who: who.into() })
    }

    /// Whether nobody has moved the caller since the entry.
    fn is_settled(&self, wait: &Wait) -> bool {
        self.moves.get(&wait.caller).is_none_or(|last| last.at <= wait.latest)
    }
}

/// The call with which a caller came.
fn phone<'a>(caller: &str, calls: &'a [Call]) -> Option<&'a Call> {
    calls.iter().rfind(|call| call.is_caller && call.user == caller)
}

fn is_outside(caller: &str) -> bool {
    !caller.is_empty() && !STAFF.contains(&caller)
}
