//! The site of the tests: a simulated FreeSWITCH, the daemon beside it, callers and phones; and the daemon's deaths.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freeswitch_queue::acd::fact::{Asker, Fact, Record};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::admin::{self, Reloaded, Status};
use freeswitch_queue::app::{Daemon, Random};
use freeswitch_queue::clock::Clock;
use freeswitch_queue::config::{self, Config};
use freeswitch_queue::esl::Connection;
use freeswitch_queue::esl::client::{self, ConnectError};
use freeswitch_queue::esl::command::Password;
use freeswitch_queue::esl::connection::ConnectionLimits;
use freeswitch_queue::journal::{Filter, Journal, Options, Restored};
use freeswitch_queue::switch::{Connect, limits};
use simswitch::{Behaviour, CallSpec, Caller, Registration, SimSwitch, Violation};
use uuid::Uuid;

use crate::book::Book;
use crate::dialplan;
use crate::ledger::Lives;
use crate::stage::Stage;
pub use crate::stage::{BEGAN, answers, dice, pass, play};
use crate::wire::Wires;

/// The kinds of facts that a death can lose last: they wait this long for others to share their transaction.
const UNWRITTEN_MS: i64 = 50;

/// A phone that answers after ringing this long, and hangs up after talking this long.
pub fn converses(after: u64, talk: u64) -> Behaviour {
    Behaviour::Converse { after: Duration::from_millis(after), talk: Duration::from_millis(talk) }
}

/// The setting of a test.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Lines of the file's `queues`.
    pub queues: Vec<String>,
    /// Further top-level lines of the file.
    pub more: String,
    /// How many links to the switch are configured.
    pub links: usize,
    /// Agents who do not log in before the test begins, as `(agent, queue)`.
    pub out: Vec<(String, String)>,
    /// The seed of every random number.
    pub seed: u64,
    /// The longest time a login may take to reach the disk, in milliseconds of real time.
    pub durable_ms: u64,
    /// The random numbers panic from the second draw on, so that the task that makes an offer dies.
    pub broken_dice: bool,
    /// The file names no domain.
    pub no_domain: bool,
    /// The numbers the switch's dialplan treats as queues, where it reports them.
    pub numbers: String,
}

/// These queues, each `{ number: "99900", participants: ["1001"], … }` without its braces, a link, and every
/// participant logged in.
pub fn setting(queues: &[&str]) -> Setting {
    let queues = queues.iter().map(|q| (*q).to_owned()).collect();
    Setting {
        queues,
        more: String::new(),
        links: 1,
        out: Vec::new(),
        seed: 1,
        durable_ms: 60_000,
        broken_dice: false,
        no_domain: false,
        numbers: String::new(),
    }
}

impl Setting {
    /// Without a link.
    pub fn blind(self) -> Self {
        Self { links: 0, ..self }
    }

    /// With this agent logged out of this queue.
    pub fn without(mut self, agent: &str, queue: &str) -> Self {
        self.out.push((agent.to_owned(), queue.to_owned()));
        self
    }

    /// With further lines of the file.
    pub fn with(self, more: &str) -> Self {
        Self { more: more.to_owned(), ..self }
    }

    /// With a file that names no domain.
    pub fn without_domain(self) -> Self {
        Self { no_domain: true, ..self }
    }

    /// On a switch whose dialplan treats these numbers as queues.
    pub fn numbers(self, pattern: &str) -> Self {
        Self { numbers: pattern.to_owned(), ..self }
    }

    /// With another seed.
    pub fn seeded(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The text of the file.
    pub fn yaml(&self) -> String {
        let mut agents: Vec<String> = Vec::new();
        for word in self.queues.iter().flat_map(|q| q.split_once("participants:").map(|(_, rest)| rest.to_owned())) {
            let list = word.split(']').next().unwrap_or_default().to_owned();
            agents.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
        agents.sort();
        agents.dedup();
        let agents: String = agents.iter().map(|a| format!("  - {{ id: {a:?} }}\n")).collect();
        let queues: String = self.queues.iter().map(|q| format!("  - {{ name: Service, {q} }}\n")).collect();
        let links: String = (0..self.links)
            .map(|n| format!("  - {{ address: \"switch:{}\", password: ClueCon }}\n", 8021 + n))
            .collect();
        let links = if links.is_empty() { links } else { format!("freeswitch:\n{links}") };
        let domain = if self.no_domain { "" } else { "domain: lab\n" };
        format!("{domain}prompts: /prompts\n{links}{}agents:\n{agents}queues:\n{queues}", self.more)
    }
}

#[derive(Clone)]
struct Life {
    daemon: Arc<Daemon>,
    wires: Wires,
    /// The connections of the links only.
    links: Wires,
}

/// A controller beside a switch.
pub struct Site {
    stage: Stage,
    /// The configuration file.
    pub file: PathBuf,
    folder: PathBuf,
    setting: Setting,
    address: String,
    doors: Arc<Mutex<BTreeMap<String, Life>>>,
    linked: Arc<AtomicBool>,
    /// The address of a switch that cannot be reached.
    unreachable: Arc<Mutex<Option<String>>>,
    /// Whether the daemon has another password than the switch.
    wrong_password: Arc<AtomicBool>,
    lives: AtomicU64,
    kills: Mutex<Vec<(i64, i64)>>,
    losing: Mutex<bool>,
}

impl Site {
    /// The daemon runs.
    pub fn open(setting: Setting) -> Self {
        let switch = SimSwitch::new(simswitch::Config {
            dialplan: dialplan::delivered(),
            seed: setting.seed,
            numbers: setting.numbers.clone(),
            ..simswitch::Config::default()
        });
        let doors: Arc<Mutex<BTreeMap<String, Life>>> = Arc::default();
        let found = doors.clone();
        switch.dial_out_via(move |address: String| {
            let life = found.lock().unwrap().get(&address).filter(|l| !l.wires.is_dead()).cloned();
            async move {
                let life = life.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
                let (theirs, ours) = life.wires.pair();
                let (connection, events) = Connection::open(ours, ConnectionLimits::default());
                life.daemon.serve(connection, events, ());
                Ok(theirs)
            }
        });
        Self::with(switch, doors, "127.0.0.1:8084", setting)
    }

    /// Starts the site and waits until its links are up.
    pub async fn linked(setting: Setting) -> Self {
        let site = Self::open(setting);
        site.wait_linked().await;
        site
    }

    /// Another controller beside the same switch.
    pub fn beside(&self, address: &str, setting: Setting) -> Self {
        Self::with(self.switch.clone(), self.doors.clone(), address, setting)
    }

    fn with(switch: SimSwitch, doors: Arc<Mutex<BTreeMap<String, Life>>>, address: &str, setting: Setting) -> Self {
        // In memory where the machine has a memory file system: a death is no power failure, and a disk is slow.
        let memory = Some(Path::new("/dev/shm")).filter(|p| p.is_dir());
        let folder = memory.unwrap_or(Path::new(env!("CARGO_TARGET_TMPDIR"))).join(format!("crash-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("queues.yaml");
        std::fs::write(&file, setting.yaml()).unwrap();
        let site = Self {
            stage: Stage::new(switch),
            file,
            folder,
            setting,
            address: address.to_owned(),
            doors,
            linked: Arc::new(AtomicBool::new(true)),
            unreachable: Arc::default(),
            wrong_password: Arc::default(),
            lives: AtomicU64::new(0),
            kills: Mutex::default(),
            losing: Mutex::default(),
        };
        let config = site.config();
        for agent in &config.agents {
            let _phone = site.switch.phone(agent.id.as_str());
        }
        let (journal, mut restored) = site.open_journal(0);
        for queue in &config.queues {
            for agent in &queue.participants {
                if !site.setting.out.contains(&(agent.to_string(), queue.number.to_string())) {
                    let (agent, queue) = (agent.clone(), queue.number.clone());
                    restored.logins.push((agent.clone(), queue.clone(), Wall(BEGAN)));
                    journal.record(Record {
                        at: Wall(BEGAN),
                        fact: Fact::AgentLoggedIn { agent, queue, by: Asker::Operator },
                    });
                }
            }
        }
        site.run(journal, &restored);
        site
    }

    fn config(&self) -> Config {
        let yaml = std::fs::read(&self.file).unwrap();
        config::parse(&self.file, &yaml, Vec::new()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn store(&self, life: u64) -> PathBuf {
        self.folder.join(format!("{life}.db"))
    }

    /// The store of the running daemon.
    pub fn present_store(&self) -> PathBuf {
        self.store(self.lives.load(Ordering::Relaxed) - 1)
    }

    fn open_journal(&self, life: u64) -> (Journal, Restored) {
        let options = Options { durable_within: Duration::from_millis(self.setting.durable_ms), ..Options::default() };
        Journal::open(self.store(life), options).unwrap()
    }

    fn run(&self, journal: Journal, restored: &Restored) {
        let wires = Wires::default();
        let links = wires.part();
        let (switch, linked, hands) = (self.switch.clone(), self.linked.clone(), links.clone());
        let (unreachable, wrong) = (self.unreachable.clone(), self.wrong_password.clone());
        let connect: Connect = Arc::new(move |address, password| {
            let (switch, linked, hands) = (switch.clone(), linked.clone(), hands.clone());
            let reachable = unreachable.lock().unwrap().as_ref() != Some(&address);
            let password = if wrong.load(Ordering::Relaxed) { Password::new("wrong").unwrap() } else { password };
            Box::pin(async move {
                if !reachable || !linked.load(Ordering::Relaxed) || hands.is_dead() {
                    return Err(ConnectError::Io { address, source: std::io::ErrorKind::ConnectionRefused.into() });
                }
                let (theirs, ours) = hands.pair();
                switch.accept(theirs);
                client::login(ours, &password, limits()).await
            })
        });
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        let dice = dice(self.setting.seed.wrapping_mul(7919).wrapping_add(life));
        // A caller draws the first number.
        let (broken, thrown) = (self.setting.broken_dice, AtomicU64::new(0));
        let random: Random = Arc::new(move || {
            assert!(!broken || thrown.fetch_add(1, Ordering::Relaxed) == 0, "the dice are broken");
            dice()
        });
        let clock = Clock::virtual_from(self.wall());
        let daemon = Daemon::start_via(self.config(), journal, restored, clock, random, &connect);
        self.enter(daemon.clone());
        self.doors.lock().unwrap().insert(self.address.clone(), Life { daemon, wires, links });
    }

    /// Milliseconds since the start of the test.
    pub fn now(&self) -> i64 {
        self.wall().0 - BEGAN
    }

    fn life(&self) -> Life {
        self.doors.lock().unwrap().get(&self.address).cloned().expect("the daemon is away")
    }

    /// Its connections.
    pub fn wires(&self) -> Wires {
        self.life().wires
    }

    /// `kill -9`.
    pub async fn kill(&self) {
        self.wires().cut();
        self.bury(false).await;
    }

    /// The daemon dies. With `losing`, the facts that are not written yet are lost, as in a real death; without, it
    /// dies right after they are written.
    pub async fn bury(&self, losing: bool) {
        let life = self.doors.lock().unwrap().remove(&self.address).expect("the daemon ran");
        let daemon = self.leave();
        assert!(life.wires.is_dead());
        let now = self.now();
        self.kills.lock().unwrap().push((now, i64::MAX));
        daemon.journal().close().await.unwrap();
        let (last, next) = (self.lives.load(Ordering::Relaxed) - 1, self.lives.load(Ordering::Relaxed));
        if !losing {
            for suffix in ["", "-wal"] {
                let (from, to) = (format!("{last}.db{suffix}"), format!("{next}.db{suffix}"));
                if self.folder.join(&from).exists() {
                    std::fs::copy(self.folder.join(from), self.folder.join(to)).unwrap();
                }
            }
            return;
        }
        *self.losing.lock().unwrap() = true;
        let (old, _) = self.open_journal(last);
        let mut records = old.records(Filter { limit: u32::MAX, ..Filter::default() }).await.unwrap();
        let kept = |r: &Record| {
            // A login is confirmed once it is on disk, and then everything before it is too.
            r.at.0 - BEGAN < now - UNWRITTEN_MS
                || matches!(r.fact, Fact::AgentLoggedIn { .. } | Fact::AgentLoggedOut { .. })
        };
        while records.last().is_some_and(|r| !kept(r)) {
            records.pop();
        }
        let (new, _) = self.open_journal(next);
        let copy = format!(
            "ATTACH '{}' AS old; UPDATE life SET identity = (SELECT identity FROM old.life)",
            self.store(last).display()
        );
        new.close().await.unwrap();
        drop(new);
        rusqlite::Connection::open(self.store(next)).unwrap().execute_batch(&copy).unwrap();
        let (new, _) = self.open_journal(next);
        records.into_iter().for_each(|r| new.record(r));
        new.close().await.unwrap();
    }

    /// Starts the daemon again on the store of the last run.
    pub fn start(&self) {
        let (journal, restored) = self.open_journal(self.lives.load(Ordering::Relaxed));
        let now = self.now();
        self.kills.lock().unwrap().last_mut().expect("it died before").1 = now;
        self.run(journal, &restored);
    }

    /// Sets whether new links to the switch can be opened; open links stay.
    pub fn set_linked(&self, linked: bool) {
        self.linked.store(linked, Ordering::Relaxed);
    }

    /// Refuses new links to this address.
    pub fn set_unreachable(&self, address: &str) {
        *self.unreachable.lock().unwrap() = Some(address.to_owned());
    }

    /// Makes the daemon use another password than the switch's, or the right one again.
    pub fn wrong_password(&self, wrong: bool) {
        self.wrong_password.store(wrong, Ordering::Relaxed);
    }

    /// Breaks the links, and nothing else; no new link can be opened.
    pub fn unlink(&self) {
        self.set_linked(false);
        self.life().links.break_all();
    }

    /// Lets links be opened again, and waits for them.
    pub async fn link(&self) {
        self.set_linked(true);
        self.wait_linked().await;
    }

    /// Waits for the link to be up.
    pub async fn wait_linked(&self) {
        while self.daemon().switches().up() < self.setting.links {
            pass(10).await;
        }
    }

    /// Rewrites the file and makes the daemon reload it.
    pub fn reload(&self, setting: &Setting) -> Reloaded {
        std::fs::write(&self.file, setting.yaml()).unwrap();
        admin::reload(&self.daemon(), &self.file)
    }

    /// The daemon's `status`.
    pub fn status(&self) -> Status {
        admin::status_of(&self.daemon())
    }

    /// A phone calls a number.
    pub fn dial(&self, phone: &str, number: &str) -> Caller {
        self.switch.call(&CallSpec::phone(phone, number))
    }

    /// A phone registers, and later its registration ends.
    pub async fn sees_gone(&self, number: &str) {
        let phone = self.phone(number);
        phone.set_registration(Registration::Unregistered);
        phone.set_registration(Registration::Registered);
        pass(100).await;
        phone.set_registration(Registration::Unregistered);
        pass(100).await;
    }

    /// The agent lets the phone ring for a moment and answers; returns the caller's number.
    pub async fn take(&self, agent: &str) -> String {
        let number = self.stage.take(agent).await;
        // Waits until the daemon has processed the answer.
        pass(50).await;
        number
    }

    /// The records so far.
    pub async fn book(&self) -> Book {
        let mut records = self.records().await;
        records.retain(|r| r.at.0 > BEGAN || !matches!(r.fact, Fact::AgentLoggedIn { .. }));
        Book::new(records, BEGAN)
    }

    /// The violations of the rules; while the daemon was away, no process could stop a phone from ringing.
    pub fn violations(&self) -> Vec<Violation> {
        let kills = self.kills.lock().unwrap();
        let away = |at: Duration| {
            let at = i64::try_from(at.as_millis()).unwrap();
            // From the death to the first look at the switch, plus the delay until a violation shows.
            kills.iter().any(|(died, back)| at >= *died && at <= back.saturating_add(1_500))
        };
        let excused = |v: &Violation| match v {
            Violation::StrayRing { at, .. } | Violation::Silence { at, .. } | Violation::Stranded { at, .. } => {
                away(*at)
            }
            _ => false,
        };
        self.switch.violations().into_iter().filter(|v| !excused(v)).collect()
    }

    /// Checks, after all callers have hung up, that no state is left and no rule was violated.
    pub async fn end(self) -> Book {
        // The longest time a connection lingers after its call, and the longest wait for a caller who does not return.
        pass(40_000).await;
        let book = self.book().await;
        tracing::info!("{:#?}", book.timed());
        self.assert_empty();
        assert_eq!(self.violations(), [], "the switch found a violation of its rules");
        assert_eq!(self.daemon().floor().absent(), [], "no absent caller is left");
        if self.linked.load(Ordering::Relaxed) {
            let links = self.doors.lock().unwrap().len() * self.setting.links;
            assert_eq!(self.switch.connections(), links, "only the links are left");
        }
        let kills: Vec<Wall> = self.kills.lock().unwrap().iter().map(|k| Wall(BEGAN + k.0)).collect();
        let (losing, blind) = (*self.losing.lock().unwrap(), self.setting.links == 0);
        let lives = Lives { losing, blind, ..Lives::default() };
        book.assert_whole(&kills, lives);
        book
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Deref for Site {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}
