//! Facts as sentences, and their totals.

use std::collections::HashMap;
use std::time::Duration;

use crate::acd::fact::{CancelCause, EndedBy, Fact, MissCause, Onward, Record, RefusalCause, TimeoutCause};
use crate::acd::ids::{AgentId, CallId, QueueNumber};
use crate::acd::time::Wall;
use crate::config::Config;

use super::people;

/// How many callers' names are remembered; then all are forgotten and shown as "somebody".
const REMEMBERED: usize = 1_000;

/// The names, and the totals so far.
pub(super) struct Story {
    began: Wall,
    agents: HashMap<AgentId, String>,
    queues: HashMap<QueueNumber, String>,
    callers: HashMap<CallId, String>,
    calls: u64,
    answered: u64,
    abandoned: u64,
    timed_out: u64,
    waited: Duration,
}

impl Story {
    /// Starts at `began`.
    pub(super) fn new(began: Wall, config: &Config) -> Self {
        Self {
            began,
            agents: config.agents.iter().map(|a| (a.id.clone(), a.name.to_string())).collect(),
            queues: config.queues.iter().map(|q| (q.number.clone(), q.name.to_string())).collect(),
            callers: HashMap::new(),
            calls: 0,
            answered: 0,
            abandoned: 0,
            timed_out: 0,
            waited: Duration::ZERO,
        }
    }

    /// An agent's name.
    pub(super) fn agent<'a>(&'a self, agent: &'a AgentId) -> &'a str {
        self.agents.get(agent).map_or(agent.as_str(), String::as_str)
    }

    fn queue<'a>(&'a self, queue: &'a QueueNumber) -> &'a str {
        self.queues.get(queue).map_or(queue.as_str(), String::as_str)
    }

    /// A caller's name or number.
    pub(super) fn caller<'a>(&'a self, call: &'a CallId) -> &'a str {
        self.callers.get(call).map_or("somebody", String::as_str)
    }

    /// Counts a fact and returns it as a line with its time.
    pub(super) fn tell(&mut self, record: &Record) -> String {
        self.count(record);
        format!("{}  {}", clock(record.at.since(self.began)), self.sentence(&record.fact))
    }

    fn count(&mut self, record: &Record) {
        match &record.fact {
            Fact::CallEntered { call, caller, .. } | Fact::CallRefused { call, caller, .. } => {
                // A call that a timeout moves, or that comes back, enters again.
                if !self.callers.contains_key(call) {
                    self.calls += 1;
                }
                if self.callers.len() >= REMEMBERED {
                    self.callers.clear();
                }
                let name = people::name_of(caller).unwrap_or(if caller.is_empty() { "somebody" } else { caller });
                self.callers.insert(call.clone(), name.to_owned());
            }
            Fact::CallAnswered { waited, .. } => {
                self.answered += 1;
                self.waited += *waited;
            }
            Fact::CallAbandoned { .. } => self.abandoned += 1,
            Fact::CallTimedOut { .. } => self.timed_out += 1,
            _ => {}
        }
    }

    fn sentence(&self, fact: &Fact) -> String {
        let (agent, queue, caller) = (|a| self.agent(a), |q| self.queue(q), |c| self.caller(c));
        match fact {
            Fact::CallEntered { call, queue: q, .. } => format!("{} enters {}", caller(call), queue(q)),
            Fact::HeadStartChanged { call, head_start, .. } => {
                format!("{} has a head start of {}", caller(call), seconds(*head_start))
            }
            Fact::CallRefused { call, queue: q, cause, .. } => {
                format!("{} is not let into {}: {}", caller(call), queue(q), refused(*cause))
            }
            Fact::OfferMade { agent: a, call, .. } => format!("{}'s phone rings for {}", agent(a), caller(call)),
            Fact::OfferMissed { agent: a, call, cause, .. } => {
                format!("{} {}: {} goes on to the next", agent(a), missed(*cause), caller(call))
            }
            Fact::OfferCancelled { agent: a, cause, .. } => {
                format!("{}'s phone stops: {}", agent(a), cancelled(*cause))
            }
            Fact::CallAnswered { agent: a, call, waited, .. } => {
                format!("{} answers {} after {}", agent(a), caller(call), seconds(*waited))
            }
            Fact::PartyChanged { agent: a, party, .. } => format!("{} talks with {party} now", agent(a)),
            Fact::ConversationEnded { agent: a, call, talked, by, .. } => {
                format!("{} and {} have talked for {}{}", agent(a), caller(call), seconds(*talked), ended(*by))
            }
            Fact::CallAbandoned { call, queue: q, waited } => {
                format!("{} gives up in {} after {}", caller(call), queue(q), seconds(*waited))
            }
            Fact::CallTimedOut { call, queue: q, cause, .. } => {
                format!("{} waits no longer in {}: {}", caller(call), queue(q), timed_out(*cause))
            }
            Fact::CallWentOn { call, onward, .. } => match onward {
                Onward::HungUp => format!("{} is hung up", caller(call)),
                Onward::Transferred(number) => format!("{} is transferred to {number}", caller(call)),
                Onward::Queue(q) => format!("{} goes on to {}", caller(call), queue(q)),
            },
            Fact::CallReturned { call, .. } => format!("{} goes back to the dialplan", caller(call)),
            Fact::CallTaken { call, by, .. } => {
                format!("{} is taken away by {}", caller(call), by.as_deref().unwrap_or("somebody else"))
            }
            Fact::CallLost { call, .. } => format!("{} is lost with FreeSWITCH", caller(call)),
            Fact::AgentLoggedIn { agent: a, queue: q, .. } => format!("{} logs in to {}", agent(a), queue(q)),
            Fact::ShiftBegan { agent: a, .. } => format!("the shift of {} begins", agent(a)),
            Fact::AgentLoggedOut { agent: a, queue: q, .. } => format!("{} logs out of {}", agent(a), queue(q)),
            Fact::WrapUpStarted { agent: a, .. } => format!("{} wraps up", agent(a)),
            Fact::WrapUpEnded { agent: a } => format!("{} is free again", agent(a)),
        }
    }

    /// The totals as a line.
    pub(super) fn totals(&self, waiting: usize) -> String {
        format!(
            "{} call{}: {} answered, {} abandoned, {} timed out, {waiting} waiting; average wait {}",
            self.calls,
            if self.calls == 1 { "" } else { "s" },
            self.answered,
            self.abandoned,
            self.timed_out,
            seconds(self.waited.checked_div(u32::try_from(self.answered).unwrap_or(u32::MAX)).unwrap_or_default()),
        )
    }

    /// The summary at the end.
    pub(super) fn summary(&self, elapsed: Duration, waiting: usize) -> String {
        format!(
            "\nIn {} {}.\n\
             That was the real daemon on a simulated FreeSWITCH. For a real FreeSWITCH, write your queues into\n\
             queues.yaml, check the file with `freeswitch-queue check`, and run `freeswitch-queue serve`.",
            seconds(elapsed),
            self.totals(waiting),
        )
    }
}

/// Minutes and seconds.
pub(super) fn clock(d: Duration) -> String {
    format!("{:02}:{:02}", d.as_secs() / 60, d.as_secs() % 60)
}

fn seconds(d: Duration) -> String {
    format!("{:.1} s", d.as_secs_f64())
}

fn missed(cause: MissCause) -> &'static str {
    match cause {
        MissCause::NoAnswer | MissCause::TimeLimit => "does not answer",
        MissCause::Busy => "is busy",
        MissCause::Declined | MissCause::Cancelled | MissCause::Refused { .. } => "declines",
        MissCause::Forwarded => "has forwarded the phone",
        MissCause::Unavailable
        | MissCause::Timeout
        | MissCause::Silent
        | MissCause::NotRegistered
        | MissCause::Unknown
        | MissCause::GatewayDown => "cannot be reached",
        MissCause::NotConnected => "was not connected",
        MissCause::Failed => "could not be rung",
    }
}

fn cancelled(cause: CancelCause) -> &'static str {
    match cause {
        CancelCause::CallerGone => "the caller has hung up",
        CancelCause::AnsweredElsewhere => "somebody else has answered",
        CancelCause::CallTaken => "somebody else has taken the caller",
        CancelCause::CallTimedOut => "the caller has waited too long",
        CancelCause::LoggedOut => "the agent has logged out",
        CancelCause::Reconfigured => "the configuration has changed",
        CancelCause::Draining => "the daemon is shutting down",
        CancelCause::Restart => "the daemon had died",
        CancelCause::Requested => "an operator asked for it",
    }
}

fn refused(cause: RefusalCause) -> &'static str {
    match cause {
        RefusalCause::Full => "the line is full",
    }
}

fn timed_out(cause: TimeoutCause) -> &'static str {
    match cause {
        TimeoutCause::MaxWait => "the maximum wait is over",
        TimeoutCause::NobodyLoggedIn => "nobody is logged in",
        TimeoutCause::LastAgentLoggedOut => "the last agent has logged out",
        TimeoutCause::QueueRemoved => "the queue was removed",
        TimeoutCause::SecondTime => "the call has been in this queue before",
    }
}

fn ended(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Caller => "; the caller hangs up",
        EndedBy::Agent => "; the agent hangs up",
        EndedBy::Transfer => "; the agent passes the caller on",
        EndedBy::Switch => "; FreeSWITCH hangs up",
        EndedBy::Unknown => "",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    fn story() -> Story {
        let file = "agents: [{ id: \"1001\", name: Anna }]\n\
                    queues: [{ number: \"99900\", name: Service, participants: [\"1001\"] }]\n";
        Story::new(Wall(1_000), &crate::config::parse(Path::new("x.yaml"), file.as_bytes(), []).unwrap())
    }

    #[test]
    fn facts_are_shown_with_names_and_counted_once() {
        let mut story = story();
        let (call, queue) = (CallId::new("c").unwrap(), QueueNumber::new("99900").unwrap());
        let agent = AgentId::new("1001").unwrap();
        let offer = crate::acd::ids::OfferId(uuid::Uuid::nil());
        let entered = |at, returned| Record {
            at: Wall(at),
            fact: Fact::CallEntered {
                call: call.clone(),
                queue: queue.clone(),
                caller: "0791234567".into(),
                first_entered: Wall(2_000),
                returned,
                head_start: Duration::ZERO,
                own_head_start: Duration::ZERO,
            },
        };
        assert_eq!(story.tell(&entered(2_000, false)), "00:01  0791234567 enters Service");
        story.tell(&entered(3_000, true));
        let waited = Duration::from_millis(2_500);
        let fact = Fact::CallAnswered { offer, call: call.clone(), queue: queue.clone(), agent, waited };
        let answered = Record { at: Wall(65_500), fact };
        assert_eq!(story.tell(&answered), "01:04  Anna answers 0791234567 after 2.5 s");
        assert_eq!(story.totals(3), "1 call: 1 answered, 0 abandoned, 0 timed out, 3 waiting; average wait 2.5 s");
    }
}
