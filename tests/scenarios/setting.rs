//! The setting of a scenario: queues and agents, written as an admin writes them.

use std::path::Path;

use freeswitch_queue::config::{self, Config};

/// One queue of the file.
#[derive(Clone, Debug)]
pub struct Queue {
    number: String,
    participants: Vec<String>,
    keys: Vec<String>,
}

/// A queue with only its defaults.
pub fn queue(number: &str, participants: &[&str]) -> Queue {
    let participants = participants.iter().map(|p| (*p).to_owned()).collect();
    Queue { number: number.to_owned(), participants, keys: Vec::new() }
}

impl Queue {
    /// Adds a line, as in the file: `strategy: random`.
    pub fn with(mut self, key: &str) -> Self {
        self.keys.push(key.to_owned());
        self
    }

    /// Replaces the list of participants.
    pub fn of(self, participants: &[&str]) -> Self {
        Self { participants: participants.iter().map(|p| (*p).to_owned()).collect(), ..self }
    }

    /// The agents of this queue.
    pub fn participants(&self) -> &[String] {
        &self.participants
    }

    fn yaml(&self) -> String {
        let keys: String = self.keys.iter().map(|k| format!(", {k}")).collect();
        format!("  - {{ number: {:?}, name: Service, participants: {:?}{keys} }}\n", self.number, self.participants)
    }
}

/// The whole file: these queues, their agents, and further top-level lines.
pub fn configuration(queues: &[Queue], more: &str) -> Config {
    let mut agents: Vec<&String> = queues.iter().flat_map(Queue::participants).collect();
    agents.sort();
    agents.dedup();
    let agents: String = agents.iter().map(|a| format!("  - {{ id: {a:?} }}\n")).collect();
    let queues: String = queues.iter().map(Queue::yaml).collect();
    let yaml = format!(
        "domain: lab\nprompts: /prompts\nfreeswitch: [{{ address: \"switch:8021\", password: ClueCon }}]\n{more}agents:\n{agents}queues:\n{queues}"
    );
    let path = Path::new("queues.yaml");
    config::parse(path, yaml.as_bytes(), Vec::new()).unwrap_or_else(|problems| panic!("{problems}\n{yaml}"))
}
