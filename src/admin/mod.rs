//! The daemon's control socket: a Unix socket for the commands `status`, `reload`, `login` and `logout`.
//!
//! A request is one line; the answer is everything up to the end of the connection.

mod logins;
mod status;

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::acd::fact::Asker;
use crate::app::Daemon;
use crate::config;
use crate::floor::{CandidateView, FloorView};
use crate::observe;
use crate::switch::LinkView;

pub use logins::{LoginsChanged, Whose};
pub use status::{reason, table};

/// How long a request may take, from connecting to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to send its request after connecting; ours sends it at once.
const SAYING: Duration = Duration::from_secs(1);
/// How many connections are served at a time. Silent clients must not keep others waiting for long.
const AT_ONCE: usize = 128;
/// How many requests the daemon answers at a time.
const ANSWERS_AT_ONCE: usize = 8;
/// The maximum length of a request, in bytes.
const LONGEST: u64 = 256;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The live picture, as JSON.
    Status,
    /// Reload the configuration.
    Reload,
    /// Log an agent in.
    Login(Whose),
    /// Log an agent out.
    Logout(Whose),
}

impl Request {
    fn line(&self) -> String {
        match self {
            Self::Status => "status\n".to_owned(),
            Self::Reload => "reload\n".to_owned(),
            Self::Login(whose) => format!("login {whose}\n"),
            Self::Logout(whose) => format!("logout {whose}\n"),
        }
    }

    fn read(line: &str) -> Option<Self> {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match (word, rest) {
            ("status", "") => Some(Self::Status),
            ("reload", "") => Some(Self::Reload),
            ("login", whose) => Whose::read(whose).map(Self::Login),
            ("logout", whose) => Whose::read(whose).map(Self::Logout),
            _ => None,
        }
    }
}

/// The live picture, and the state of the daemon itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The version of the daemon.
    pub version: String,
    /// How many switches are configured.
    pub switches: usize,
    /// How many of them are linked.
    pub linked: usize,
    /// The state of each link, and the troubles of its switch.
    pub links: Vec<LinkView>,
    /// How many differences from FreeSWITCH were repaired since the start.
    pub repairs: usize,
    /// The trouble of the store, if there is any.
    pub store: Option<String>,
    /// How many log lines were lost since the start, because no reader took them in time.
    pub log_lines_lost: u64,
    /// The number of calls that wait or talk.
    pub calls: usize,
    /// Queues and agents.
    #[serde(flatten)]
    pub floor: FloorView,
}

/// The answer to a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reloaded {
    /// The configuration was applied; its differences, in words.
    Applied(Vec<String>),
    /// The configuration was refused and nothing was changed; the reason.
    Refused(String),
}

/// The open control socket.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// Opens the control socket at `path`, for the daemon's own user only. A socket that a killed daemon left is
    /// removed.
    ///
    /// # Errors
    /// The system's error; also if the path is not a socket, or another daemon has it open.
    pub async fn open(path: &Path) -> io::Result<Self> {
        if let Ok(found) = std::fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it exists and is not a socket"));
            }
            // Any other error means that a daemon is there: one that is overrun or hangs gives WouldBlock.
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon answers there")),
                Err(error) => return Err(error),
            }
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers requests for ever. `file` is the configuration that a reload reads.
    pub async fn serve(self, daemon: Arc<Daemon>, file: PathBuf) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let answers = Arc::new(Semaphore::new(ANSWERS_AT_ONCE));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (daemon, file, answers) = (daemon.clone(), file.clone(), answers.clone());
                    tokio::spawn(async move {
                        match timeout(PATIENCE, answer(stream, &answers, &daemon, &file)).await {
                            Ok(Ok(())) => {}
                            Ok(Err(error)) => tracing::debug!(%error, "a request was not answered"),
                            Err(_) => tracing::debug!("a request took too long"),
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a request could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // The next start removes a file left behind.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, answers: &Semaphore, daemon: &Arc<Daemon>, file: &Path) -> io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut line = String::new();
    let mut input = BufReader::new(input.take(LONGEST));
    match timeout(SAYING, input.read_line(&mut line)).await {
        Ok(read) => drop(read?),
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    }
    let Ok(_turn) = answers.acquire().await else { return Ok(()) };
    let text = match Request::read(&line) {
        Some(Request::Status) => json(&status_of(daemon)).map(|status| status.to_string()),
        Some(Request::Reload) => serde_json::to_string(&reload_aside(daemon, file).await),
        Some(Request::Login(whose)) => serde_json::to_string(&logins::change(daemon, &whose, true).await),
        Some(Request::Logout(whose)) => serde_json::to_string(&logins::change(daemon, &whose, false).await),
        None => Ok("unknown request; ask for status, reload, login AGENT [QUEUE] or logout AGENT [QUEUE]".to_owned()),
    };
    output.write_all(text.unwrap_or_else(|error| error.to_string()).as_bytes()).await?;
    output.shutdown().await
}

/// The status as JSON, with each reason in words beside it.
///
/// # Errors
/// When a value has no form in JSON.
pub fn json(status: &Status) -> serde_json::Result<Value> {
    let mut json = serde_json::to_value(status)?;
    let words = |candidate: &CandidateView| -> Value {
        candidate.held_back.as_ref().map(|why| reason(why, status.floor.at)).into()
    };
    for (number, queue) in status.floor.queues.iter().enumerate() {
        for (place, candidate) in queue.candidates.iter().enumerate() {
            json["queues"][number]["candidates"][place]["reason"] = words(candidate);
        }
        for (caller, waiting) in queue.waiting.iter().enumerate() {
            for (place, candidate) in waiting.candidates.iter().enumerate() {
                json["queues"][number]["waiting"][caller]["candidates"][place]["reason"] = words(candidate);
            }
        }
    }
    Ok(json)
}

/// The live picture, and the state of the daemon itself.
pub fn status_of(daemon: &Daemon) -> Status {
    let health = daemon.journal().health().borrow().clone();
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        switches: daemon.switches().count(),
        linked: daemon.switches().up(),
        links: daemon.switches().links(),
        repairs: daemon.switches().repairs(),
        store: match health {
            crate::journal::Health::Ok => None,
            crate::journal::Health::HeldUp { bytes } => {
                Some(format!("a program reads it without end: {} MB wait in its -wal file", bytes >> 20))
            }
            crate::journal::Health::Degraded { reason, dropped, .. } => {
                Some(format!("{reason} ({dropped} records given up)"))
            }
        },
        log_lines_lost: observe::lost_lines(),
        calls: daemon.floor().calls(),
        floor: daemon.floor().view(daemon.clock().now()),
    }
}

/// As [`reload`], on a separate thread, because the disk may be slow.
pub async fn reload_aside(daemon: &Arc<Daemon>, file: &Path) -> Reloaded {
    let (daemon, file) = (daemon.clone(), file.to_owned());
    tokio::task::spawn_blocking(move || reload(&daemon, &file)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "the configuration could not be reloaded");
        Reloaded::Refused(format!("the daemon failed ({error}); report its log as a defect"))
    })
}

/// Reloads the configuration, and applies it if it has no problems. Blocks on the disk.
pub fn reload(daemon: &Daemon, file: &Path) -> Reloaded {
    match daemon.controller().reload(&Asker::Operator, || config::load(file)) {
        Ok(changes) => {
            for change in &changes {
                tracing::info!("{change}");
            }
            Reloaded::Applied(changes.iter().map(ToString::to_string).collect())
        }
        Err(problems) => {
            tracing::error!("the configuration is refused and nothing was changed");
            // A log line each, because a log line must not contain line breaks.
            for problem in problems.to_string().lines() {
                tracing::error!("{problem}");
            }
            Reloaded::Refused(problems.to_string())
        }
    }
}

/// Sends a request to the daemon whose control socket is at `path`.
///
/// # Errors
/// The system's error, when no daemon answers there.
pub async fn ask(path: &Path, request: &Request) -> io::Result<String> {
    let asked = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(request.line().as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Q19: opening removes the socket of a killed daemon, but not that of a running daemon, nor another kind of file.
    #[tokio::test]
    async fn only_an_unused_socket_is_removed() {
        let path = std::env::temp_dir().join(format!("door-{}", uuid::Uuid::new_v4()));
        let refused = async || Door::open(&path).await.unwrap_err().kind();
        let other = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        other.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        other.listen(1).unwrap();
        assert_eq!(refused().await, io::ErrorKind::AddrInUse);
        // The other daemon hangs: it accepts no connection, and its backlog is full.
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path).await {
            waiting.push(stream);
        }
        assert_eq!(refused().await, io::ErrorKind::WouldBlock);
        drop((waiting, other));
        let door = Door::open(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(refused().await, io::ErrorKind::AddrInUse);
        drop(door);
        assert!(!path.exists());
        std::fs::write(&path, "somebody else's").unwrap();
        assert_eq!(refused().await, io::ErrorKind::AlreadyExists);
        std::fs::remove_file(&path).unwrap();
    }
}
