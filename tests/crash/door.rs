//! Q3, Q24: the real program on real ports, without a FreeSWITCH: `serve`, `status`, `reload`, `login`, `logout`,
//! `check`, signals, and `kill -9`.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use freeswitch_queue::acd::fact::{Asker, Fact, Record};
use freeswitch_queue::acd::ids::{AgentId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::admin::Status;
use freeswitch_queue::journal::{Journal, Options};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;
use uuid::Uuid;

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Place(PathBuf);

impl Place {
    pub fn new(queues: &str) -> Self {
        // The kernel limits the path of a socket to 108 bytes.
        let folder = std::env::temp_dir().join(format!("fsq-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        let place = Self(folder);
        place.write(queues);
        place
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("queues.yaml")
    }

    pub fn write(&self, queues: &str) {
        let agents = r#"agents: [{ id: "1001", name: Anna }, { id: "1002", name: Bruno }]"#;
        std::fs::write(self.file(), format!("listen: 127.0.0.1:0\n{agents}\nqueues:\n{queues}")).unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freeswitch-queue"));
        command.args(arguments).arg("--config").arg(self.file()).env_remove("RUST_LOG").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub async fn ask(&self, arguments: &[&str]) -> Output {
        timeout(PATIENCE, self.command(arguments).output()).await.unwrap().unwrap()
    }

    async fn serve(&self) -> (Child, Lines<BufReader<ChildStderr>>) {
        let mut daemon = self.command(&["serve"]).spawn().unwrap();
        let mut log = BufReader::new(daemon.stderr.take().unwrap()).lines();
        said(&mut log, "ready").await;
        (daemon, log)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Waits until the daemon logs `words`.
async fn said(log: &mut Lines<BufReader<ChildStderr>>, words: &str) -> String {
    let line = async {
        loop {
            let line = log.next_line().await.unwrap().unwrap_or_else(|| panic!("the log ended without {words:?}"));
            if line.contains(words) {
                return line;
            }
        }
    };
    timeout(PATIENCE, line).await.unwrap_or_else(|_| panic!("the log does not contain {words:?}"))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub async fn signal(daemon: &Child, name: &str) {
    let id = daemon.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &id]).status().await.unwrap().success());
}

pub const GOOD: &str = "  - { number: \"99900\", name: Service, participants: [\"1001\", \"1002\"] }\n";
const OTHER: &str = "  - { number: \"99900\", name: Service, participants: [\"1001\"], strategy: random }\n";
const BAD: &str = "  - { number: 99900, name: Service, participants: [\"1009\"] }\n";

/// Q14, Q18: a command logs an agent in and out as a code does, and says what is true now.
#[tokio::test]
async fn agents_are_logged_in_and_out_by_command() {
    let place = Place::new(GOOD);
    let more = "  - { number: \"99901\", name: Sales, participants: [\"1001\"] }\n";
    let text_of = std::fs::read_to_string(place.file()).unwrap().replace("agents: [", "agents: [{ id: \"1003\" }, ");
    std::fs::write(place.file(), format!("{text_of}{more}")).unwrap();
    let (mut daemon, _log) = place.serve().await;
    let said = async |arguments: &[&str]| {
        let done = place.ask(arguments).await;
        (done.status.code(), text(if done.status.success() { &done.stdout } else { &done.stderr }))
    };
    let is_in = async || -> Vec<String> {
        let status: Status = serde_json::from_slice(&place.ask(&["status", "--json"]).await.stdout).unwrap();
        let anna = status.floor.agents.iter().find(|agent| agent.id.as_str() == "1001").unwrap();
        anna.logins.iter().map(ToString::to_string).collect()
    };
    assert_eq!(said(&["login", "1001", "99901"]).await, (Some(0), "1001 is logged in to 99901\n".into()));
    assert_eq!(is_in().await, ["99901"]);
    let both = "1001 is logged in to 99900\n1001 is logged in to 99901\n";
    assert_eq!(said(&["login", "1001"]).await, (Some(0), both.into()), "again is no mistake");
    assert_eq!(is_in().await, ["99900", "99901"]);
    assert_eq!(said(&["logout", "1001", "99900"]).await, (Some(0), "1001 is logged out of 99900\n".into()));
    // The logins are stored.
    daemon.kill().await.unwrap();
    let (mut daemon, mut log) = place.serve().await;
    assert_eq!(is_in().await, ["99901"]);
    assert_eq!(said(&["logout", "1001"]).await, (Some(0), "1001 is logged out of 99901\n".into()));
    assert_eq!(said(&["logout", "1001"]).await, (Some(0), "1001 is logged in to no queue\n".into()));
    for (arguments, part) in [
        (["login", "1009", "99900"], "the configuration has no agent 1009"),
        (["login", "1002", "99905"], "the configuration has no queue 99905"),
        (["login", "1002", "99901"], "1002 is no participant of queue 99901"),
    ] {
        let (code, words) = said(&arguments).await;
        assert!(code == Some(1) && words.contains(part), "{arguments:?}: {words}");
    }
    assert!(said(&["login", "1003"]).await.1.contains("1003 is a participant of no queue"));
    assert_eq!(said(&["login", "10/01"]).await.0, Some(2), "no agent's id");
    assert!(is_in().await.is_empty());
    signal(&daemon, "-TERM").await;
    self::said(&mut log, "shutting down").await;
    timeout(PATIENCE, daemon.wait()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_program_is_asked_reloaded_killed_and_stopped() {
    let place = Place::new(GOOD);
    let alone = place.ask(&["status"]).await;
    assert!(!alone.status.success() && text(&alone.stderr).contains("no daemon answers at"), "{alone:?}");
    // An agent logged in during an earlier run.
    {
        let (journal, _) = Journal::open(place.0.join("state.db"), Options::default()).unwrap();
        let (agent, queue) = (AgentId::new("1001").unwrap(), QueueNumber::new("99900").unwrap());
        journal.record(Record { at: Wall(1), fact: Fact::AgentLoggedIn { agent, queue, by: Asker::Operator } });
        journal.close().await.unwrap();
    }
    let (mut daemon, mut log) = place.serve().await;
    let status = place.ask(&["status"]).await;
    assert!(status.status.success(), "{status:?}");
    let table = text(&status.stdout);
    for part in ["0 of 0 switches linked", "store ok", "99900 Service (as-listed): 0 waiting", "Anna", "Bruno"] {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let json: serde_json::Value = serde_json::from_slice(&place.ask(&["status", "--json"]).await.stdout).unwrap();
    assert_eq!(json["agents"][0]["logins"][0], "99900");
    assert_eq!(json["store"], serde_json::Value::Null);

    // A second daemon on the same store refuses to start, and gives the reason.
    let second = place.ask(&["serve"]).await;
    assert!(!second.status.success() && text(&second.stderr).contains("state.db"), "{second:?}");

    place.write(BAD);
    let check = place.ask(&["check"]).await;
    assert_eq!(check.status.code(), Some(1));
    let named = place.0.join("freeswitch-queue.sock");
    let control = ["--control", named.to_str().unwrap()];
    // An admin who makes a mistake in the file does not need to name the socket.
    for refused in [place.ask(&[&["reload"], &control[..]].concat()).await, place.ask(&["reload"]).await] {
        assert!(!refused.status.success());
        for part in ["nothing was changed", "99900", "1009"] {
            assert!(text(&refused.stderr).contains(part), "{part}: {refused:?}");
            assert!(part == "nothing was changed" || text(&check.stderr).contains(part), "{part}: {check:?}");
        }
    }
    assert!(text(&place.ask(&["status"]).await.stdout).contains("(as-listed)"));
    // SIGHUP reads the same file, and the daemon logs the same refusal.
    signal(&daemon, "-HUP").await;
    said(&mut log, "the configuration is refused and nothing was changed").await;
    assert!(text(&place.ask(&["status"]).await.stdout).contains("(as-listed)"));

    // A file that cannot be read at all names no socket.
    std::fs::write(place.file(), "queues: [").unwrap();
    let unreadable = text(&place.ask(&["reload"]).await.stderr);
    assert!(unreadable.contains("nothing was changed") && unreadable.contains("queues.yaml:2:1"), "{unreadable}");
    let control = ["--control", named.to_str().unwrap()];
    let unreadable = text(&place.ask(&[&["reload"], &control[..]].concat()).await.stderr);
    assert!(unreadable.contains("nothing was changed") && unreadable.contains("queues.yaml:2:1"), "{unreadable}");
    assert!(text(&place.ask(&["status"]).await.stderr).contains("--control"));
    assert!(text(&place.ask(&[&["status"], &control[..]].concat()).await.stdout).contains("(as-listed)"));

    place.write(OTHER);
    assert!(text(&place.ask(&["check"]).await.stdout).contains("nothing wrong"));
    let reload = place.ask(&["reload"]).await;
    assert!(reload.status.success(), "{reload:?}");
    let told = text(&reload.stdout);
    assert!(told.contains("queue 99900: strategy: as-listed → random") && told.contains("1002"), "{told}");
    said(&mut log, "queue 99900: strategy: as-listed → random").await;
    assert!(text(&place.ask(&["reload"]).await.stdout).contains("nothing has changed"));
    place.write(GOOD);
    signal(&daemon, "-HUP").await;
    said(&mut log, "queue 99900: strategy: random → as-listed").await;

    // A killed daemon leaves its socket behind, and the next one still starts, with the same logins.
    daemon.kill().await.unwrap();
    assert!(named.exists());
    let (mut daemon, mut log) = place.serve().await;
    assert!(text(&place.ask(&["status"]).await.stdout).contains("1001          Anna                  99900"));
    signal(&daemon, "-TERM").await;
    said(&mut log, "shutting down").await;
    let ended = timeout(PATIENCE, daemon.wait()).await.unwrap().unwrap();
    assert!(ended.success() && !named.exists(), "{ended:?}");
}
