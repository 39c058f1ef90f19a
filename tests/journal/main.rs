//! The store: the records it keeps, the files it refuses, and its behaviour when the disk fails (Q6, Q18, Q19, Q23).
//! And the log of facts, which has the same content.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../support/log.rs"]
mod log;

mod facts;
mod kept;
mod kill;
mod memory;
mod open_to;
mod refused;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use freeswitch_queue::acd::fact::{EndedBy, Fact, Record};
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Filter, Journal, Options, Restored};
use uuid::Uuid;

/// The directory of one test, removed with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let place = std::env::temp_dir().join(format!("journal-{}", Uuid::new_v4()));
        std::fs::create_dir(&place).unwrap();
        Self(place)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state.db")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A store that can be opened again: the tests of any store run against both kinds.
enum Shelf {
    File(Place),
    Memory(memory::Memory),
}

impl Shelf {
    fn both() -> [Self; 2] {
        [Self::File(Place::new()), Self::Memory(memory::Memory::new(Uuid::new_v4().as_u128()))]
    }

    fn open(&self) -> (Journal, Restored) {
        match self {
            Self::File(place) => open(&place.file()),
            Self::Memory(memory) => Journal::over(memory.clone(), patient()).unwrap(),
        }
    }
}

/// Timeouts long enough for a busy machine; no test waits for them to elapse.
fn patient() -> Options {
    Options { durable_within: Duration::from_secs(60), ..Options::default() }
}

fn open(path: &Path) -> (Journal, Restored) {
    Journal::open(path, patient()).unwrap()
}

fn anna() -> AgentId {
    AgentId::new("1001").unwrap()
}

fn service() -> QueueNumber {
    QueueNumber::new("99900").unwrap()
}

fn call(n: usize) -> CallId {
    CallId::new(&format!("call-{n}")).unwrap()
}

fn entered(n: usize, at: i64) -> Record {
    let fact = Fact::CallEntered {
        call: call(n),
        queue: service(),
        caller: Arc::from("0791234567"),
        first_entered: Wall(at),
        returned: false,
        head_start: Duration::ZERO,
        own_head_start: Duration::ZERO,
    };
    Record { at: Wall(at), fact }
}

fn ended(at: i64) -> Record {
    let fact = Fact::ConversationEnded {
        offer: OfferId(Uuid::nil()),
        call: call(1),
        queue: service(),
        agent: anna(),
        talked: Duration::from_millis(1),
        by: EndedBy::Agent,
    };
    Record { at: Wall(at), fact }
}

async fn all(journal: &Journal) -> Vec<Record> {
    journal.flush().await.unwrap();
    journal.records(Filter { limit: u32::MAX, ..Filter::default() }).await.unwrap()
}
