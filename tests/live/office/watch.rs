//! Checks the rules at the phones.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use phones::{Call, Ended};

use super::line::Line;
use super::people::{STAFF, is_line};

/// An event that may end calls, and the people it concerns.
struct Reason {
    at: Instant,
    /// `None`: everybody.
    whose: Option<BTreeSet<String>>,
}

/// How long before an end its reason may lie: an action, a death in between, and FreeSWITCH's own time.
const BEFORE: Duration = Duration::from_secs(4);
/// How long after the end its reason may lie: two datagrams that cross.
const BEHIND: Duration = Duration::from_millis(500);
/// A party heard within this time before the end of a call is the party it talked to.
const JUST_HEARD: Duration = Duration::from_millis(900);
/// How long two rings may overlap while they cross, or while an answer has not arrived yet.
const CROSSING: Duration = Duration::from_millis(700);
/// An agent who answers hears the caller within this time, or the call is over.
const CONNECTED: Duration = Duration::from_secs(4);
/// The longest silence of a wait: the ring tone pauses for 4 s, and at each of two deaths in a row the dialplan's pass
/// may just be in its own pause.
const TONE: Duration = Duration::from_secs(12);

/// The state of the day's checks.
#[derive(Default)]
pub struct Watch {
    /// The order of the callers.
    pub line: Line,
    reasons: Vec<Reason>,
    /// Callers whom the line is responsible for, as far as the phones can tell, and since when.
    waiting: BTreeMap<String, Instant>,
    settled: BTreeSet<(usize, &'static str)>,
    /// When the whole machine last stood still: what could not be played then is heard later.
    stalled: Option<Instant>,
    /// Ended calls, with the time, and whether the caller waited in a line then.
    ends: Vec<(usize, Instant, bool)>,
}

/// A finding, and the people it concerns.
pub struct Found {
    pub what: String,
    pub who: Vec<String>,
}

impl Watch {
    /// Notes an event that may end calls of these people and of the parties they talk to.
    pub fn reason(&mut self, at: Instant, whose: impl IntoIterator<Item = String>, calls: &[Call]) {
        let mut all: BTreeSet<String> = whose.into_iter().collect();
        let talks: BTreeMap<&str, &str> = calls
            .iter()
            .filter(|c| c.is_up())
            .filter_map(|c| Some((c.user.as_str(), c.person.as_ref()?.1.as_str())))
            .collect();
        for _ in 0..2 {
            let more: Vec<String> = talks
                .iter()
                .filter(|(a, b)| all.contains(**a) || all.contains(**b))
                .flat_map(|(a, b)| [(*a).to_owned(), (*b).to_owned()])
                .collect();
            all.extend(more);
        }
        // The tone of 9000 belongs to no conversation.
        all.remove("9000");
        self.reasons.push(Reason { at, whose: Some(all) });
    }

    /// Notes an event that may end every call.
    pub fn reason_for_all(&mut self, at: Instant) {
        self.reasons.push(Reason { at, whose: None });
    }

    /// Sets whether a caller waits in a line. Staff may have several calls, and are not watched.
    pub fn in_line(&mut self, caller: &str, is: bool) {
        self.line.moved(caller, false);
        if is && !STAFF.contains(&caller) {
            self.waiting.insert(caller.to_owned(), Instant::now());
        } else {
            self.waiting.remove(caller);
        }
    }

    pub fn is_in_line(&self, caller: &str) -> bool {
        self.waiting.contains_key(caller)
    }

    /// Notes the number a person was transferred to.
    pub fn sent(&mut self, person: &str, to: &str) {
        self.in_line(person, is_line(to));
    }

    /// Notes that the whole machine stood still.
    pub fn stall(&mut self) {
        self.stalled = Some(Instant::now());
    }

    fn excused(&self, at: Instant, who: &[&str]) -> bool {
        self.reasons.iter().any(|reason| {
            let near = at < reason.at + BEFORE && reason.at < at + BEHIND;
            near && reason.whose.as_ref().is_none_or(|whose| who.iter().any(|who| whose.contains(*who)))
        })
    }

    /// Looks at the calls from `first` on.
    pub fn look(&mut self, first: usize, calls: &[Call], now: Instant) -> Vec<Found> {
        let mut found = Vec::new();
        for (n, call) in calls.iter().enumerate() {
            let id = first + n;
            if let Some(at) = call.ended.filter(|_| !self.settled.contains(&(id, "end"))) {
                self.settled.insert((id, "end"));
                let in_line = !STAFF.contains(&call.user.as_str()) && self.waiting.remove(&call.user).is_some();
                self.ends.push((id, at, in_line));
                let person = call.person.as_ref().map(|(_, who)| who.clone());
                self.reasons.extend((call.ended_by == Some(Ended::Us)).then(|| Reason {
                    at,
                    whose: Some(
                        [Some(call.user.clone()), person].into_iter().flatten().filter(|who| who != "9000").collect(),
                    ),
                }));
            }
            self.silent(id, call, now, &mut found);
            self.rung(id, call, first, calls, &mut found);
        }
        // An end is judged once its reason has had time to arrive.
        let (due, early) = std::mem::take(&mut self.ends).into_iter().partition(|(_, at, _)| now > *at + BEHIND);
        self.ends = early;
        let due: Vec<(usize, Instant, bool)> = due;
        for (id, _, in_line) in due.into_iter().filter(|(id, ..)| *id >= first) {
            self.ended(&calls[id - first], in_line, &mut found);
        }
        self.reasons.retain(|reason| now < reason.at + 3 * BEFORE);
        found
    }

    /// A conversation ends only by one of its parties or an operator; no waiting caller is lost.
    fn ended(&self, call: &Call, in_line: bool, found: &mut Vec<Found>) {
        let (Some(at), Some(by)) = (call.ended, call.ended_by) else { return };
        if by == Ended::Us || call.answered.is_none() {
            return;
        }
        let talked = call
            .person
            .as_ref()
            .filter(|(heard, who)| at.saturating_duration_since(*heard) < JUST_HEARD && who != "9000");
        match talked {
            Some((_, who)) if !self.excused(at, &[&call.user, who]) => found.push(Found {
                what: format!("the conversation of {} and {who} ended without a reason", call.user),
                who: vec![call.user.clone(), who.clone()],
            }),
            None if in_line && !self.excused(at, &[&call.user]) => found
                .push(Found { what: format!("{}, who waited, was hung up", call.user), who: vec![call.user.clone()] }),
            _ => {}
        }
    }

    /// No answered call stays silent, and every waiting caller hears something.
    fn silent(&mut self, id: usize, call: &Call, now: Instant, found: &mut Vec<Found>) {
        if !call.is_up() {
            return;
        }
        // A caller who talks no longer waits, even if the other party holds the call.
        let talks = |since: &Instant| call.person.as_ref().is_some_and(|(heard, _)| *heard > *since + CROSSING);
        if self.waiting.get(&call.user).is_some_and(talks) {
            self.waiting.remove(&call.user);
        }
        let answered = call.answered.unwrap_or(now);
        let offer = is_offer(call);
        if offer
            && call.cancelled.is_none()
            && !self.excused(answered, &[&call.user, &call.from])
            && call.person.is_none()
            && call.sound.is_none()
            && now > answered + CONNECTED
            && self.settled.insert((id, "silence"))
        {
            found.push(Found { what: format!("{} answered into silence", call.user), who: vec![call.user.clone()] });
        }
        let Some(since) = self.waiting.get(&call.user) else { return };
        let heard = call.sound.unwrap_or(answered).max(*since).max(self.stalled.unwrap_or(answered));
        if now > heard + TONE && self.settled.insert((id, "tone")) {
            let what = format!("the waiting caller {} has heard nothing for {TONE:?}", call.user);
            found.push(Found { what, who: vec![call.user.clone()] });
        }
    }

    /// No phone rings for two callers, or while its agent talks.
    fn rung(&mut self, id: usize, call: &Call, first: usize, calls: &[Call], found: &mut Vec<Found>) {
        if !is_offer(call) || call.ringing.is_none() || !self.settled.insert((id, "ring")) {
            return;
        }
        // FreeSWITCH has no channel for a call whose answer crossed its `CANCEL`, and does not end it at the phone.
        let of_this_phone = |other: &Call| other.user == call.user && other.cancelled.is_none();
        for (n, other) in calls.iter().enumerate().filter(|(n, other)| first + n != id && of_this_phone(other)) {
            let at = call.invited;
            let over = other.ended.is_some_and(|ended| ended < at + CROSSING);
            let who = vec![call.user.clone(), call.from.clone(), other.from.clone()];
            if is_offer(other) && other.answered.is_none() && other.invited + CROSSING < at && !over {
                found.push(Found { what: format!("{} rings for two: call {id} and {}", call.user, first + n), who });
            } else if other.answered.is_some_and(|answered| answered + CROSSING < at) && !over {
                found.push(Found { what: format!("{} is rung while talking (call {})", call.user, first + n), who });
            }
        }
    }

    /// Forgets the events before a call.
    pub fn forget(&mut self, before: usize) {
        self.settled.retain(|(id, _)| *id >= before);
    }
}

/// Whether a call rings for a queue: the display then starts with the queue's name.
pub fn is_offer(call: &Call) -> bool {
    !call.is_caller && ["Sales - ", "Help - ", "Repairs - "].iter().any(|name| call.shown.starts_with(name))
}
