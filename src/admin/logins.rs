//! Logging an agent in and out by command, for one who has no desk phone to dial a code.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::acd::fact::Asker;
use crate::acd::ids::{AgentId, QueueNumber};
use crate::app::Daemon;
use crate::controller::{Controller, LoginAnswer};
use crate::floor::LoginRefusal;

/// The agent, and the queue; without one, every queue that it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// The agent.
    pub agent: AgentId,
    /// The queue. Without it a login concerns every queue in which the agent is a participant, and a logout every queue
    /// to which the agent is logged in.
    pub queue: Option<QueueNumber>,
}

impl Whose {
    /// Reads `AGENT` or `AGENT QUEUE`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let agent = AgentId::new(words.next()?).ok()?;
        let queue = words.next().map(QueueNumber::new).transpose().ok()?;
        words.next().is_none().then_some(Self { agent, queue })
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.queue {
            Some(queue) => write!(f, "{} {queue}", self.agent),
            None => write!(f, "{}", self.agent),
        }
    }
}

/// The answer to a login or logout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginsChanged {
    /// All of it is true now, and stored; a line for each queue.
    Done(Vec<String>),
    /// At least one queue refused; a line for each queue, or the reason why none was asked.
    Refused(Vec<String>),
}

/// Logs the agent in or out, queue by queue.
pub(super) async fn change(daemon: &Daemon, whose: &Whose, login: bool) -> LoginsChanged {
    let Whose { agent, .. } = whose;
    let config = daemon.config();
    if config.agents.iter().all(|known| known.id != *agent) {
        return LoginsChanged::Refused(vec![format!(
            "the configuration has no agent {agent}; the id is the one in `agents`"
        )]);
    }
    let queues: Vec<QueueNumber> = match (&whose.queue, login) {
        (Some(queue), _) => vec![queue.clone()],
        (None, true) => {
            config.queues.iter().filter(|q| q.participants.contains(agent)).map(|q| q.number.clone()).collect()
        }
        (None, false) => daemon.floor().agent(agent, |a| a.logins().keys().cloned().collect()).unwrap_or_default(),
    };
    if queues.is_empty() {
        return match login {
            true => LoginsChanged::Refused(vec![format!(
                "{agent} is a participant of no queue; add the agent to one, and reload"
            )]),
            false => LoginsChanged::Done(vec![format!("{agent} is logged in to no queue")]),
        };
    }
    // In tasks of their own: a client that does not wait must not interrupt a change that is being stored.
    let begun: Vec<_> = queues
        .into_iter()
        .map(|queue| tokio::spawn(change_one(daemon.controller().clone(), agent.clone(), queue, login)))
        .collect();
    let (mut said, mut well) = (Vec::new(), true);
    for change in begun {
        let (done, line) = change
            .await
            .unwrap_or_else(|error| (false, format!("the daemon failed ({error}); report its log as a defect")));
        well &= done;
        said.push(line);
    }
    if well { LoginsChanged::Done(said) } else { LoginsChanged::Refused(said) }
}

async fn change_one(controller: Arc<Controller>, agent: AgentId, queue: QueueNumber, login: bool) -> (bool, String) {
    let answer = match login {
        true => controller.log_in(&Asker::Operator, &agent, &queue).await,
        false => controller.log_out(&Asker::Operator, &agent, &queue).await,
    };
    let is_now = if login { "logged in to" } else { "logged out of" };
    match answer {
        LoginAnswer::Done => (true, format!("{agent} is {is_now} {queue}")),
        LoginAnswer::Refused(LoginRefusal::NoSuchQueue) => {
            (false, format!("the configuration has no queue {queue}; name it by its `number`"))
        }
        LoginAnswer::Refused(LoginRefusal::NotAMember) => {
            (false, format!("{agent} is no participant of queue {queue}; add the agent there, and reload"))
        }
        LoginAnswer::Failed => (
            false,
            format!("{agent}, queue {queue}: not stored in time, so nothing is confirmed; see the daemon's log"),
        ),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A request is read as it is written, and nothing else is one.
    #[test]
    fn a_login_names_an_agent_and_at_most_one_queue() {
        for text in ["1001", "1001 99900"] {
            assert_eq!(Whose::read(text).unwrap().to_string(), text);
        }
        for bad in ["", "1001 x", "1001 99900 99901", "10/01 99900"] {
            assert_eq!(Whose::read(bad), None, "{bad}");
        }
    }
}
