//! The house in which the scenarios play: a simulated FreeSWITCH, the daemon, callers and phones.

use std::convert::Infallible;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freeswitch_queue::acd::fact::CancelCause;
use freeswitch_queue::acd::ids::{AgentId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::app::{self, Daemon, Random};
use freeswitch_queue::clock::Clock;
use freeswitch_queue::config::Config;
use freeswitch_queue::esl::{Link, client};
use freeswitch_queue::floor::LoginChange;
use freeswitch_queue::journal::{Filter, Journal, Options, Restored};
use freeswitch_queue::switch::{Connect, limits};
use simswitch::{Behaviour, CallSpec, Caller, Phone, SimSwitch};
use tokio::io::DuplexStream;

use crate::book::Book;
use crate::log;
use crate::setting::{Queue, configuration};

/// The calendar of the simulated switch begins here, and so does the daemon's.
const BEGAN: i64 = 1_795_338_000_000;

/// How long the daemon looks at what there was before its start, at most, before it makes offers.
pub const SETTLING: Duration = Duration::from_millis(500);

/// No scenario lasts longer, in virtual time.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// Plays a scenario on virtual time.
pub fn play(scenario: impl Future<Output = ()>) {
    log::to_the_tests_output();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(LONGEST, scenario).await });
    ended.expect("the scenario waits for something that never happens");
}

/// Lets virtual time pass.
pub async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// A phone that is taken after ringing this long.
pub fn answers(ms: u64) -> Behaviour {
    Behaviour::Answer { after: Duration::from_millis(ms) }
}

/// Numbers that are the same in every run.
fn dice(seed: u64) -> Random {
    let state = AtomicU64::new(seed);
    let next = move || {
        let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    Arc::new(move || (u128::from(next()) << 64) | u128::from(next()))
}

/// Where the `socket` application finds the daemon; empty while there is none.
type Door = Arc<Mutex<Option<Arc<Daemon>>>>;

/// A switch, a daemon, and whoever calls.
pub struct House {
    /// The switch.
    pub switch: SimSwitch,
    door: Door,
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
        let house =
            Self { switch, door: Door::default(), config, seed, stores, life: Arc::default(), kills: Mutex::default() };
        let (journal, _) = house.open_journal(1);
        if house.stores.is_some() {
            // The next life has to know of them too.
            for (agent, queue, at) in &restored.logins {
                drop(journal.login(agent.clone(), queue.clone(), *at));
            }
        }
        house.start(journal, &restored);
        let door = house.door.clone();
        house.switch.dial_out_via(move |_address: String| {
            let daemon = door.lock().unwrap().clone();
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
        let clock = Clock::virtual_from(self.now());
        let daemon = Daemon::start_via(self.config.clone(), journal, restored, clock, random, &connect);
        *self.door.lock().unwrap() = Some(daemon);
    }

    /// The daemon has looked at what there was before its start: from now on offers are made at once.
    pub async fn settled(&self) {
        tokio::time::sleep(SETTLING).await;
    }

    /// `kill -9`: the daemon is gone from one instant to the next, with everything it knew but its store.
    pub async fn kill(&self) {
        let daemon = self.door.lock().unwrap().take().expect("there is a daemon");
        daemon.journal().flush().await.unwrap();
        self.kills.lock().unwrap().push(self.now());
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
        let daemon = self.daemon();
        daemon.drain().await;
        *self.door.lock().unwrap() = None;
        let life = self.life.fetch_add(1, Ordering::Relaxed);
        let stores = self.stores.as_ref().expect("a durable house");
        std::fs::copy(stores.join(format!("{life}.db")), stores.join(format!("{}.db", life + 2))).unwrap();
    }

    /// The admin changes the queues.
    pub fn reconfigure(&self, queues: &[Queue]) {
        let Ok(_) = self.daemon().reconfigure(|| Ok::<_, Infallible>(configuration(queues, "")));
    }

    /// Somebody else connects to the daemon's port.
    pub fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (link, events) = Link::open(theirs, app::limits(1024).link);
        self.daemon().serve(link, events, ());
        ours
    }

    /// The time on everybody's calendar.
    fn now(&self) -> Wall {
        Wall(BEGAN + i64::try_from(self.switch.now().as_millis()).unwrap())
    }

    /// The daemon is started again on the store it left.
    pub fn start_again(&self) {
        let (journal, restored) = self.open_journal(self.life.load(Ordering::Relaxed) + 1);
        self.start(journal, &restored);
    }

    /// The daemon.
    pub fn daemon(&self) -> Arc<Daemon> {
        self.door.lock().unwrap().clone().expect("the daemon is away")
    }

    /// A call from outside to this queue.
    pub fn caller(&self, number: &str, queue: &str) -> Caller {
        self.switch.call(&CallSpec::trunk(number, queue))
    }

    /// An agent's phone.
    pub fn phone(&self, number: &str) -> Phone {
        self.switch.phone(number)
    }

    /// A phone that does this when it is rung.
    pub fn when_rung(&self, number: &str, does: Behaviour) -> Phone {
        self.switch.phone(number).on_ring(does)
    }

    /// The agent lets the phone ring for a moment and takes the call; the caller's number.
    pub async fn take(&self, agent: &str) -> String {
        let phone = self.switch.phone(agent);
        let ring = phone.wait_ringing().await;
        pass(300).await;
        assert!(phone.answer(), "{agent} rings no more");
        phone.wait_talking().await;
        ring.number
    }

    /// The agent logs in, without dialling for it.
    pub fn log_in(&self, agent: &str, queue: &str) {
        let (agent, queue) = (AgentId::new(agent).unwrap(), QueueNumber::new(queue).unwrap());
        let daemon = self.daemon();
        let now = daemon.clock().now();
        assert_eq!(daemon.floor().log_in(&agent, &queue, now), LoginChange::Changed);
        drop(daemon.journal().login(agent, queue, now.wall));
    }

    /// The agent logs out, without dialling for it.
    pub fn log_out(&self, agent: &str, queue: &str) {
        let (agent, queue) = (AgentId::new(agent).unwrap(), QueueNumber::new(queue).unwrap());
        let daemon = self.daemon();
        let now = daemon.clock().now();
        assert_eq!(daemon.floor().log_out(&agent, &queue, CancelCause::LoggedOut, now), LoginChange::Changed);
        drop(daemon.journal().logout(agent, queue, now.wall));
    }

    /// What has happened so far.
    pub async fn book(&self) -> Book {
        let daemon = self.daemon();
        daemon.journal().flush().await.unwrap();
        let records = daemon.journal().records(Filter { limit: u32::MAX, ..Filter::default() }).await.unwrap();
        Book::new(records, BEGAN)
    }

    /// What has happened so far, in words.
    pub async fn story(&self) -> Vec<String> {
        self.book().await.story()
    }

    /// Whether the agent is logged in to the queue.
    pub fn is_in(&self, agent: &str, queue: &str) -> bool {
        let (agent, queue) = (AgentId::new(agent).unwrap(), QueueNumber::new(queue).unwrap());
        self.daemon().floor().agent(&agent, |a| a.logins().contains_key(&queue)).unwrap_or(false)
    }

    /// What the agent does, in the words of the live picture.
    pub fn activity(&self, agent: &str) -> String {
        let daemon = self.daemon();
        let view = daemon.floor().view(daemon.clock().now());
        view.agents.into_iter().find(|a| a.id.as_str() == agent).map_or("unknown".to_owned(), |a| a.activity)
    }

    /// The numbers of those who wait, in order.
    pub fn line(&self, queue: &str) -> Vec<String> {
        let daemon = self.daemon();
        let view = daemon.floor().view(daemon.clock().now());
        let found = view.queues.iter().find(|q| q.number.as_str() == queue);
        found.map(|q| q.waiting.iter().map(|w| w.number.to_string()).collect()).unwrap_or_default()
    }

    /// What FreeSWITCH executed of texts, but for the daemon's own condition in front of a prompt.
    pub fn executed(&self) -> Vec<String> {
        let own = "${cond(${socket_resume} == true ? ";
        let strange = self
            .switch
            .executed()
            .into_iter()
            .filter(|e| !(e.text.starts_with(own) && e.text.matches("${").count() <= 3));
        strange.map(|e| e.text).collect()
    }

    /// Everybody has hung up: nothing is left anywhere, and nothing happened that must not.
    pub async fn end(self) -> Book {
        // The longest a connection lingers behind its call.
        pass(15_000).await;
        let daemon = self.daemon();
        assert_eq!(self.switch.violations(), [], "the switch saw what must not happen");
        assert_eq!(self.executed(), Vec::<String>::new(), "text was executed");
        assert_eq!(self.switch.legs(), [], "a channel was left");
        assert_eq!(self.switch.connections(), 1, "nothing but the link is left");
        assert_eq!(daemon.floor().calls(), 0, "a call was left");
        assert_eq!(daemon.floor().held(), [], "an agent is held by nothing");
        let book = self.book().await;
        tracing::info!("{:#?}", book.timed());
        book.assert_whole(&self.kills.lock().unwrap());
        book
    }
}
