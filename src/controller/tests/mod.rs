//! Simultaneous requests cannot contradict each other.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::{JoinSet, spawn_blocking};

use super::*;
use crate::config;
use crate::journal::{Filter, Options};

const QUEUE: &str = "99900";

/// A configuration of 100 agents and one queue with these participants.
fn file(participants: &[String]) -> Config {
    let agents: String = (1000..1100).map(|id| format!("  - {{ id: \"{id}\" }}\n")).collect();
    let text =
        format!("agents:\n{agents}queues:\n  - {{ number: \"{QUEUE}\", name: Q, participants: {participants:?} }}\n");
    config::parse(Path::new("test.yaml"), text.as_bytes(), []).unwrap()
}

fn queue() -> QueueNumber {
    QueueNumber::new(QUEUE).unwrap()
}

fn agents() -> Vec<AgentId> {
    (1001..1100).map(|id| AgentId::new(&id.to_string()).unwrap()).collect()
}

struct Desk {
    controller: Arc<Controller>,
    floor: Arc<Floor>,
    journal: Arc<Journal>,
    everybody: Config,
    nobody: Config,
}

impl Desk {
    /// Creates a controller for which everybody is a participant and nobody is logged in.
    fn new() -> Self {
        let everybody = file(&agents().iter().map(ToString::to_string).collect::<Vec<_>>());
        let nobody = file(&["1000".to_owned()]);
        let floor = Arc::new(Floor::new(Box::new(|| {}), Box::new(|record, _| drop(record))));
        let clock = Arc::new(Clock::system());
        floor.configure(&everybody.agents, &everybody.queues, clock.now());
        let journal = Arc::new(Journal::open(":memory:", Options::default()).unwrap().0);
        let config = Arc::new(everybody.clone());
        let controller = Controller::new(floor.clone(), clock, journal.clone(), config, Box::new(|_| {}));
        Self { controller: Arc::new(controller), floor, journal, everybody, nobody }
    }

    fn reload(&self, config: &Config) {
        let Ok(_) = self.controller.reload(&Asker::Operator, || Ok::<_, Infallible>(config.clone()));
    }

    fn logged_in(&self) -> BTreeSet<AgentId> {
        let queue = self.floor.queue(&queue(), |q| q.logged_in().clone()).unwrap();
        let each = agents().into_iter().filter(|a| self.floor.agent(a, |a| a.logins().len()) == Some(1)).collect();
        assert_eq!(queue, each, "the queue and its agents agree");
        queue
    }

    /// The recorded logins (true) and logouts, with who asked for them, in order.
    async fn stored(&self) -> Vec<(bool, AgentId, Asker)> {
        self.journal.flush().await.unwrap();
        let records = self.journal.records(Filter::default()).await.unwrap();
        let change = |record: Record| match record.fact {
            Fact::AgentLoggedIn { agent, by, .. } => Some((true, agent, by)),
            Fact::AgentLoggedOut { agent, by, .. } => Some((false, agent, by)),
            _ => None,
        };
        records.into_iter().filter_map(change).collect()
    }

    async fn stored_as_logged_in(&self) -> BTreeSet<AgentId> {
        let mut logged_in = BTreeSet::new();
        for (login, agent, _) in self.stored().await {
            if login {
                logged_in.insert(agent)
            } else {
                logged_in.remove(&agent)
            };
        }
        logged_in
    }
}

/// Q3, Q14: in whatever order logins and reloads run, no agent stays logged in to a queue that the file has taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_outlives_the_file_that_forbids_it() {
    let desk = Arc::new(Desk::new());
    for _ in 0..20 {
        let mut logins = JoinSet::new();
        for agent in agents() {
            let controller = desk.controller.clone();
            logins.spawn(async move { controller.log_in(&Asker::Api, &agent, &queue()).await });
        }
        let done = Arc::new(AtomicBool::new(false));
        let (admin, until) = (desk.clone(), done.clone());
        let reloads = spawn_blocking(move || {
            while !until.load(Ordering::Relaxed) {
                admin.reload(&admin.nobody);
                assert_eq!(admin.logged_in(), BTreeSet::new(), "agents who are not participants");
                admin.reload(&admin.everybody);
            }
        });
        while logins.join_next().await.is_some() {}
        done.store(true, Ordering::Relaxed);
        reloads.await.unwrap();
        assert_eq!(desk.stored_as_logged_in().await, desk.logged_in(), "a restart would restore the same logins");
    }
}

/// Q14, Q18: a login that is being stored while reloads remove the agent and add it again has no effect, and the agent
/// is told so.
#[tokio::test]
async fn a_login_forbidden_while_being_stored_fails() {
    let desk = Desk::new();
    let anna = agents()[0].clone();
    let phone = Asker::Phone { user: "1001".into(), call: crate::acd::ids::CallId::new("c").unwrap() };
    assert_eq!(desk.controller.log_in(&phone, &anna, &queue()).await, LoginAnswer::Done);
    let queue = queue();
    let (answers, ()) = tokio::join!(
        async {
            tokio::join!(
                desk.controller.log_out(&phone, &anna, &queue),
                desk.controller.log_in(&Asker::Api, &anna, &queue),
            )
        },
        // Polled right after the two requests, which have begun and are not stored yet.
        async {
            desk.reload(&desk.nobody);
            desk.reload(&desk.everybody);
        }
    );
    assert_eq!(answers, (LoginAnswer::Done, LoginAnswer::Failed));
    assert_eq!(desk.logged_in(), BTreeSet::new());
    let story = [(true, phone.clone()), (false, phone), (true, Asker::Api), (false, Asker::File)];
    assert_eq!(desk.stored().await, story.map(|(login, by)| (login, anna.clone(), by)));
}

/// Q14: the answer tells every asker what became of the request.
#[tokio::test]
async fn every_request_gets_its_answer() {
    let desk = Desk::new();
    let (anna, stranger) = (agents()[0].clone(), AgentId::new("1000").unwrap());
    let nowhere = QueueNumber::new("1").unwrap();
    let by = &Asker::Operator;
    let answers = [
        desk.controller.log_in(by, &anna, &nowhere).await,
        desk.controller.log_in(by, &stranger, &queue()).await,
        desk.controller.log_out(by, &anna, &queue()).await,
        desk.controller.log_in(by, &anna, &queue()).await,
        desk.controller.log_in(by, &anna, &queue()).await,
    ];
    let refused = LoginAnswer::Refused;
    let done = LoginAnswer::Done;
    let (no_queue, no_member) = (refused(LoginRefusal::NoSuchQueue), refused(LoginRefusal::NotAMember));
    assert_eq!(answers, [no_queue, no_member, done, done, done]);
    assert_eq!(desk.stored().await, [(true, anna, Asker::Operator)]);
    desk.journal.close().await.unwrap();
    assert_eq!(desk.controller.log_out(by, &agents()[0], &queue()).await, LoginAnswer::Failed);
    assert_eq!(desk.logged_in().len(), 1);
}
