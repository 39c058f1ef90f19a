//! The daemon under test: the real binary in its own process and folder.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use freeswitch_queue::acd::fact::{Asker, Fact, Record};
use freeswitch_queue::acd::ids::{AgentId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::journal::{Journal, Options};
use serde_json::Value;

use crate::process::{Cost, cost};

/// How long the daemon may take to start listening, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that is removed on drop.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a new folder among the system's temporary files.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("fsq-{name}-{}-{}", std::process::id(), free_port()?));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // LOAD_KEEP=1 keeps logs and stores for inspection.
        if std::env::var_os("LOAD_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A TCP port on 127.0.0.1 that nobody listens on.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One queue of the configuration.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    /// Its number.
    pub number: String,
    /// `as-listed`, `longest-idle`, ...
    pub strategy: &'static str,
    /// The agents by id, all logged in.
    pub participants: Vec<String>,
}

/// The daemon's configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where the switch's own Event Socket listens.
    pub switch: String,
    /// The directory domain.
    pub domain: String,
    /// The queues.
    pub queues: Vec<QueueSpec>,
    /// The music of all queues.
    pub music: String,
    /// The port for calls; any free port by default.
    pub port: Option<u16>,
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    binary: PathBuf,
    child: Child,
    folder: Folder,
    /// The port on which it listens for calls.
    pub port: u16,
}

impl Daemon {
    /// Starts `binary` with every participant of every queue logged in.
    ///
    /// # Errors
    /// When it does not start; the message contains its log.
    pub fn start(binary: &Path, setup: &Setup) -> Result<Self> {
        let folder = Folder::new("daemon")?;
        let port = setup.port.map_or_else(free_port, Ok)?;
        fs::write(folder.path().join("queues.yaml"), configuration(setup, port))?;
        log_in(&folder.path().join("state.db"), setup)?;
        let log = File::create(folder.path().join("log"))?;
        let child = Command::new(binary)
            // As in the README's systemd unit.
            .env("MALLOC_ARENA_MAX", "1")
            .arg("--config")
            .arg(folder.path().join("queues.yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let mut daemon = Self { binary: binary.to_owned(), child, folder, port };
        daemon.says(" ready ")?;
        Ok(daemon)
    }

    /// Waits until its log contains these words.
    ///
    /// # Errors
    /// When it ends first, or takes longer than half a minute.
    pub fn says(&mut self, words: &str) -> Result<()> {
        let started = Instant::now();
        while !self.log().contains(words) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the daemon ended ({status}):\n{}", self.log());
            }
            ensure!(started.elapsed() < PATIENCE, "the daemon did not log `{words}`:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The resources it has used so far.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cost(&self) -> Result<Cost> {
        cost(self.child.id())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The warnings and errors in its log.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log();
        log.lines().filter(|l| l.contains("WARN") || l.contains("ERROR")).map(str::to_owned).collect()
    }

    /// The output of `freeswitch-queue status --json`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn status(&self) -> Result<Value> {
        let output = Command::new(&self.binary)
            .args(["status", "--json", "--config"])
            .arg(self.folder.path().join("queues.yaml"))
            .output()
            .context("asking the daemon")?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("the daemon did not answer: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(setup: &Setup, port: u16) -> String {
    let mut agents: Vec<&String> = setup.queues.iter().flat_map(|q| &q.participants).collect();
    agents.sort();
    agents.dedup();
    let mut out = format!(
        "listen: 127.0.0.1:{port}\nfreeswitch: [{{ address: \"{}\", password: ClueCon }}]\ndomain: {}\nagents:\n",
        setup.switch, setup.domain
    );
    // Writing to a String cannot fail.
    for agent in agents {
        let _ = writeln!(out, "  - {{ id: \"{agent}\", name: \"Agent {agent}\" }}");
    }
    out.push_str("queues:\n");
    for queue in &setup.queues {
        let participants: Vec<String> = queue.participants.iter().map(|p| format!("\"{p}\"")).collect();
        let _ = writeln!(
            out,
            "  - {{ number: \"{0}\", name: \"Queue {0}\", strategy: {1}, music: \"{2}\", participants: [{3}] }}",
            queue.number,
            queue.strategy,
            setup.music,
            participants.join(", ")
        );
    }
    out
}

/// Writes the logins into the store, as if all agents had dialled `*41` before the daemon started.
fn log_in(store: &Path, setup: &Setup) -> Result<()> {
    let logins = setup.queues.iter().map(|q| q.participants.len()).sum::<usize>();
    let options = Options { backlog: logins.max(1), close_within: PATIENCE, ..Options::default() };
    let (journal, _) = Journal::open(store, options)?;
    for queue in &setup.queues {
        for agent in &queue.participants {
            let (agent, queue) = (AgentId::new(agent)?, QueueNumber::new(&queue.number)?);
            journal.record(Record { at: Wall(1), fact: Fact::AgentLoggedIn { agent, queue, by: Asker::Operator } });
        }
    }
    tokio::runtime::Builder::new_current_thread().build()?.block_on(journal.close())?;
    Ok(())
}
