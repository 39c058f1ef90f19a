//! The house in which the scenarios play: a simulated FreeSWITCH, the daemon, callers and phones.

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
use freeswitch_queue::esl::{Link, client};
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

/// How long the daemon looks at what there was before its start, at most, before it makes offers.
pub const SETTLING: Duration = Duration::from_millis(500);

/// A switch, a daemon, and whoever calls.
pub struct House {
    stage: Stage,
    config: Config,
    seed: u64,
    /// The folder of the stores: one for each life of the daemon.
    stores: Option<PathBuf>,
    /// How often the daemon was started. A daemon of an earlier life gets no link to the switch any more.
    life: Arc<AtomicU64>,
    /// When the daemon was killed.
    kills: Mutex<Vec<Wall>>,
}

impl House {
    /// These queues, with every participant logged in and every phone registered.
    pub fn open(queues: &[Queue]) -> Self {
        Self::with(simswitch::Config::default(), configuration(queues, ""), 1)
    }

    /// The same with a store on disk, so that the daemon can be killed and started again.
    pub fn durable(name: &str, queues: &[Queue]) -> Self {
        let stores = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scenarios").join(name);
        drop(std::fs::remove_dir_all(&stores));
        std::fs::create_dir_all(&stores).unwrap();
        Self::build(simswitch::Config::default(), configuration(queues, ""), 1, Some(stores))
    }

    /// The same for a whole configuration, on a switch of these settings.
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
            // The next life has to know of them too.
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
                let (link, events) = Link::open(theirs, app::limits(1024).link);
                daemon.serve(link, events, ());
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

    /// The daemon has looked at what there was before its start: from now on offers are made at once.
    pub async fn settled(&self) {
        tokio::time::sleep(SETTLING).await;
    }

    /// `kill -9`: the daemon is gone from one instant to the next, with everything it knew but its store.
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
        // What the old one still writes, now that its connections break, goes into a store that nobody reads.
        self.switch.cut_connections();
    }

    /// The daemon goes down as on SIGTERM.
    pub async fn drain(&self) {
        self.daemon().drain().await;
        self.leave();
        let life = self.life.fetch_add(1, Ordering::Relaxed);
        let stores = self.stores.as_ref().expect("a durable house");
        std::fs::copy(stores.join(format!("{life}.db")), stores.join(format!("{}.db", life + 2))).unwrap();
    }

    /// The admin changes the queues.
    pub fn reconfigure(&self, queues: &[Queue]) {
        let daemon = self.daemon();
        let Ok(_) = daemon.controller().reload(&Asker::Operator, || Ok::<_, Infallible>(configuration(queues, "")));
    }

    /// Somebody else connects to the daemon's port.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (link, events) = Link::open(theirs, app::limits(1024).link);
        self.daemon().serve(link, events, ());
        ours
    }

    /// The daemon is started again on the store it left.
    pub fn start_again(&self) {
        let (journal, restored) = self.open_journal(self.life.load(Ordering::Relaxed) + 1);
        self.start(journal, &restored);
    }

    /// The agent logs in, without dialling for it.
    pub fn log_in(&self, agent: &str, queue: &str) {
        let (agent, queue) = (AgentId::new(agent).unwrap(), QueueNumber::new(queue).unwrap());
        let daemon = self.daemon();
        let now = daemon.clock().now();
        assert_eq!(daemon.floor().log_in(&agent, &queue, &Asker::Operator, now), LoginChange::Changed);
        drop(daemon.journal().login(agent, queue, now.wall));
    }

    /// The agent logs out, without dialling for it.
    pub fn log_out(&self, agent: &str, queue: &str) {
        let (agent, queue) = (AgentId::new(agent).unwrap(), QueueNumber::new(queue).unwrap());
        let daemon = self.daemon();
        let now = daemon.clock().now();
        assert_eq!(daemon.floor().log_out(&agent, &queue, &Asker::Operator, now), LoginChange::Changed);
        drop(daemon.journal().logout(agent, queue, now.wall));
    }

    /// What has happened so far.
    pub async fn book(&self) -> Book {
        Book::new(self.records().await, BEGAN)
    }

    /// Everybody has hung up: nothing is left anywhere, and nothing happened that must not.
    pub async fn end(self) -> Book {
        // The longest a connection lingers behind its call.
        pass(15_000).await;
        assert_eq!(self.switch.violations(), [], "the switch saw what must not happen");
        self.assert_empty();
        assert_eq!(self.switch.connections(), 1, "nothing but the link is left");
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
