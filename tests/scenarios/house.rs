//! The house of the scenarios: a simulated FreeSWITCH, the daemon, callers and phones.

use std::convert::Infallible;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freeswitch_queue::acd::fact::Asker;
use freeswitch_queue::acd::ids::{AgentId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::app::{self, Daemon};
use freeswitch_queue::clock::Clock;
use freeswitch_queue::config::Config;
use freeswitch_queue::esl::{Connection, client};
use freeswitch_queue::floor::LoginChange;
use freeswitch_queue::journal::{Journal, Options, Restored};
use freeswitch_queue::switch::{Connect, limits};
use simswitch::SimSwitch;
use tokio::io::DuplexStream;

use crate::book::Book;
use crate::ledger::Lives;
use crate::setting::{Queue, configuration};
use crate::stage::{BEGAN, Stage, dice};
pub use crate::stage::{answers, pass, play};

/// The longest time the daemon looks for calls from before its start before it makes offers.
pub const SETTLING: Duration = Duration::from_millis(500);

/// A switch, a daemon and their callers.
pub struct House {
    stage: Stage,
    config: Config,
    seed: u64,
    /// The folder of the stores: each run of the daemon has its own.
    stores: Option<PathBuf>,
    /// How often the daemon was started. The switch refuses links to a daemon of an earlier run.
    life: Arc<AtomicU64>,
    /// When the daemon was killed.
    kills: Mutex<Vec<Wall>>,
}

impl House {
    /// These queues, with every participant logged in and every phone registered.
    pub fn open(queues: &[Queue]) -> Self {
        Self::with(simswitch::Config::default(), configuration(queues, ""), 1)
    }

    /// Like `open`, with a store on disk, so that the daemon can be killed and started again.
    pub fn durable(name: &str, queues: &[Queue]) -> Self {
        let stores = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scenarios").join(name);
        drop(std::fs::remove_dir_all(&stores));
        std::fs::create_dir_all(&stores).unwrap();
        Self::build(simswitch::Config::default(), configuration(queues, ""), 1, Some(stores))
    }

    /// Like `open`, for a whole configuration, on a switch with these settings.
    pub fn with(switch: simswitch::Config, config: Config, seed: u64) -> Self {
        Self::build(switch, config, seed, None)
    }

    fn build(switch: simswitch::Config, config: Config, seed: u64, stores: Option<PathBuf>) -> Self {
        let switch = SimSwitch::new(switch);
        for agent in &config.agents {
            let _phone = switch.phone(agent.id.as_str());
        }
        let logins = config.queues.iter().flat_map(|q| {
            let login = |a: &AgentId| (a.clone(), q.number.clone(), Wall(BEGAN));
            q.participants.iter().map(login).collect::<Vec<_>>()
        });
        let restored = Restored { logins: logins.collect(), ..Restored::default() };
        let stage = Stage::new(switch);
        let house = Self { stage, config, seed, stores, life: Arc::default(), kills: Mutex::default() };
        let (journal, _) = house.open_journal(1);
        if house.stores.is_some() {
            // The next daemon needs them too.
            for (agent, queue, at) in &restored.logins {
                drop(journal.login(agent.clone(), queue.clone(), *at));
            }
        }
        house.start(journal, &restored);
        let door = house.door();
        house.switch.dial_out_via(move |_address: String| {
            let daemon = door();
            async move {
                let daemon = daemon.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
                let (ours, theirs) = tokio::io::duplex(64 * 1024);
                let (connection, events) = Connection::open(theirs, app::limits(1024).connection);
                daemon.serve(connection, events, ());
                Ok(ours)
            }
        });
        house
    }

    fn open_journal(&self, life: u64) -> (Journal, Restored) {
        let path = self.stores.as_ref().map_or_else(|| ":memory:".into(), |s| s.join(format!("{life}.db")));
        Journal::open(path, Options::default()).unwrap()
    }

    fn start(&self, journal: Journal, restored: &Restored) {
        let life = self.life.fetch_add(1, Ordering::Relaxed) + 1;
        let (switch, lives) = (self.switch.clone(), self.life.clone());
        let connect: Connect = Arc::new(move |_address, password| {
            let reachable = lives.load(Ordering::Relaxed) == life;
            let switch = switch.clone();
            Box::pin(async move {
                let (ours, theirs) = tokio::io::duplex(64 * 1024);
                if reachable {
                    switch.accept(ours);
                }
                client::login(theirs, &password, limits()).await
            })
        });
        let random = dice(self.seed.wrapping_mul(life));
        let clock = Clock::virtual_from(self.wall());
        let daemon = Daemon::start_via(self.config.clone(), journal, restored, clock, random, &connect);
        self.enter(daemon);
    }

    /// Waits until the daemon has looked for calls from before its start: from then on it makes offers at once.
    pub async fn settled(&self) {
        tokio::time::sleep(SETTLING).await;
    }

    /// `kill -9`: the daemon stops at once and loses all state except its store.
    pub async fn kill(&self) {
        let daemon = self.leave();
        daemon.journal().flush().await.unwrap();
        self.kills.lock().unwrap().push(self.wall());
        let stores = self.stores.as_ref().expect("a durable house");
        let life = self.life.fetch_add(1, Ordering::Relaxed);
        for suffix in ["", "-wal"] {
            let (from, to) = (format!("{life}.db{suffix}"), format!("{}.db{suffix}", life + 2));
            if stores.join(&from).exists() {
                std::fs::copy(stores.join(from), stores.join(to)).unwrap();
            }
        }
        // The killed daemon still writes records while its connections break; they go to a store that no test reads.
        self.switch.cut_connections();
    }

    /// Drains the daemon as SIGTERM does.
    pub async fn drain(&self) {
        self.daemon().drain().await;
        self.leave();
        let life = self.life.fetch_add(1, Ordering::Relaxed);
        let stores = self.stores.as_ref().expect("a durable house");
        std::fs::copy(stores.join(format!("{life}.db")), stores.join(format!("{}.db", life + 2))).unwrap();
    }

    /// Reloads the configuration with these queues.
    pub fn reconfigure(&self, queues: &[Queue]) {
        let daemon = self.daemon();
        let Ok(_) = daemon.controller().reload(&Asker::Operator, || Ok::<_, Infallible>(configuration(queues, "")));
    }

    /// Opens a further connection to the daemon's port.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (connection, events) = Connection::open(theirs, app::limits(1024).connection);
        self.daemon().serve(connection, events, ());
        ours
    }

    /// Starts the daemon again on the store of the last run.
    pub fn start_again(&self) {
        let (journal, restored) = self.open_journal(self.life.load(Ordering::Relaxed) + 1);
        self.start(journal, &restored);
    }

    /// Logs the agent in without dialling a code.
    pub fn log_in(&self, agent: &str, queue: &str) {
        let (agent, queue) = (AgentId::new(agent).unwrap(), QueueNumber::new(queue).unwrap());
        let daemon = self.daemon();
        let now = daemon.clock().now();
        // Stored first, as the controller does.
        drop(daemon.journal().login(agent.clone(), queue.clone(), now.wall));
        assert_eq!(daemon.floor().log_in(&agent, &queue, &Asker::Operator, now), LoginChange::Changed);
    }

    /// Logs the agent out without dialling a code.
    pub fn log_out(&self, agent: &str, queue: &str) {
        let (agent, queue) = (AgentId::new(agent).unwrap(), QueueNumber::new(queue).unwrap());
        let daemon = self.daemon();
        let now = daemon.clock().now();
        assert_eq!(daemon.floor().log_out(&agent, &queue, &Asker::Operator, now), LoginChange::Changed);
        drop(daemon.journal().logout(agent, queue, now.wall));
    }

    /// The records so far.
    pub async fn book(&self) -> Book {
        Book::new(self.records().await, BEGAN)
    }

    /// Checks, after all callers have hung up, that no state is left and no rule was violated.
    pub async fn end(self) -> Book {
        // The longest time a connection lingers after its call.
        pass(15_000).await;
        assert_eq!(self.switch.violations(), [], "the switch found a violation of its rules");
        self.assert_empty();
        assert_eq!(self.switch.connections(), 1, "only the link is left");
        let book = self.book().await;
        tracing::info!("{:#?}", book.timed());
        book.assert_whole(&self.kills.lock().unwrap(), Lives::default());
        book
    }
}

impl Deref for House {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}
