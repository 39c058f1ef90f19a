//! The daemon as a separate process.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freeswitch_queue::admin::{Request, Status, ask};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long any single step may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Daemon {
    child: Child,
    folder: PathBuf,
    /// Where it listens for calls.
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reading: JoinHandle<()>,
}

impl Daemon {
    /// Starts it with this configuration, whose `listen` must have port 0, and waits until it is ready.
    pub(crate) async fn start(yaml: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fsq-abuse-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("queues.yaml");
        fs::write(&file, yaml).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_freeswitch-queue"));
        command.arg("--config").arg(&file).env_remove("RUST_LOG").kill_on_drop(true);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (kept, (ready, is_ready)) = (log.clone(), oneshot::channel());
        let reading = tokio::spawn(async move {
            let mut ready = Some(ready);
            while let Some(line) = lines.next_line().await.unwrap() {
                let address = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
                if let Some(ready) = address.and_then(|address: SocketAddr| Some((ready.take()?, address))) {
                    let _ = ready.0.send(ready.1);
                }
                kept.lock().unwrap().push(line);
            }
        });
        let address = timeout(PATIENCE, is_ready).await.expect("ready in time");
        let address = address.unwrap_or_else(|_| panic!("the daemon ended:\n{}", log.lock().unwrap().join("\n")));
        Self { child, folder, address, log, reading }
    }

    /// The output of `freeswitch-queue status --json`; asks again if the machine is too busy to answer at once.
    pub(crate) async fn status(&self) -> Status {
        let asking = async {
            loop {
                if let Ok(text) = ask(&self.control(), &Request::Status).await {
                    return text;
                }
            }
        };
        let text = timeout(PATIENCE, asking).await.expect("the control socket answers");
        serde_json::from_str(&text).expect("a status")
    }

    /// Polls the status until the condition holds.
    pub(crate) async fn wait_for(&self, what: &str, condition: impl Fn(&Status) -> bool) {
        let waiting = async { while !condition(&self.status().await) {} };
        assert!(timeout(PATIENCE, waiting).await.is_ok(), "waited in vain for {what}: {:?}", self.status().await);
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.folder.join("freeswitch-queue.sock")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder.join("state.db")
    }

    /// The most memory it ever held, in bytes (`VmHWM`, proc_pid_status(5)).
    pub(crate) fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// How many files and connections it has open.
    pub(crate) fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id().unwrap())).unwrap().count()
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Stops it with SIGTERM, and waits for its exit and the last line of its log.
    pub(crate) async fn end(&mut self) -> ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = timeout(PATIENCE, self.child.wait()).await.expect("an end in time").unwrap();
        (&mut self.reading).await.unwrap();
        status
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of the daemon's log, without the lines that hostile peers cause:");
            let expected =
                ["none within", "without our token", "does not belong to a call", "the peer", "all connections"];
            let log = self.log();
            let unusual: Vec<_> = log.iter().filter(|line| !expected.iter().any(|text| line.contains(text))).collect();
            unusual.iter().skip(unusual.len().saturating_sub(40)).for_each(|line| eprintln!("{line}"));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
