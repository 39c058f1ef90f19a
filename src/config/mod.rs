//! The admin's file → validated values, and the difference between two of them.
//!
//! The way of a value is one line: the file's bytes become a tree that knows where each value stands and
//! whether it was quoted (`yaml`); the tree is held against the one table of keys (`schema`), which turns
//! it into a layer for the `config` crate; `config` lays the environment (`environment`) over it and fills
//! the structs of `raw` by serde; `validate`, `queue` and `text` turn those into domain types. Every problem
//! on the way is collected with its place (`report`), and all are reported at once.
//!
//! The `config` crate's own YAML format is not used: it reads `0077` as 77 and keeps no lines.

mod checks;
mod diff;
mod environment;
mod problem;
mod queue;
mod raw;
mod report;
mod scalar;
mod schema;
mod sources;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
mod text;
mod validate;
mod yaml;

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use self::diff::{Change, diff, pending};
pub use self::problem::{Mark, Place, Problem, Problems};

use self::problem::{Fault, KeyPath};
use self::report::Report;
use self::sources::{Layer, Sources, merge};
pub use crate::acd::feature::FeatureCodes;
use crate::acd::settings::{AgentSettings, Language, QueueSettings};

/// Everything the file and the environment say, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where FreeSWITCH's `socket` application connects. Default `127.0.0.1:8084`; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Who may connect there. Default `127.0.0.0/8` and `::1/128`.
    pub allow: Vec<IpNet>,
    /// What `socket HOST:PORT/TOKEN` must say, when set.
    pub token: Option<Secret>,
    /// The switches' own Event Sockets. Without any, private calls, registrations and lamp keys cannot be
    /// seen, and differences between switch and daemon are not repaired.
    pub freeswitch: Vec<SwitchAddress>,
    /// The store. Default `state.db`. A relative path begins at the file's folder.
    pub state: PathBuf,
    /// How long records are kept. Default 400 days, so that a report can compare with a year before.
    pub keep: Duration,
    /// The socket on which the running daemon takes requests. Default `freeswitch-queue.sock` in the folder
    /// of the store. A relative path begins at the file's folder.
    pub control: PathBuf,
    /// The directory domain of the agents' phones; FreeSWITCH's own `${domain}` when absent.
    pub domain: Option<String>,
    /// The folder of the prompts as FreeSWITCH sees it, with a folder for each language in it and no `/` at
    /// the end. Default `${conf_dir}/fsq/prompts`.
    pub prompts: String,
    /// The languages that have prompts. Default de, fr, it, en.
    pub languages: Vec<Language>,
    /// The language of queues that name none. Default en, or the first of `languages` when en is not among them.
    pub language: Language,
    /// What agents dial.
    pub feature_codes: FeatureCodes,
    /// The agents, in the order of the file, each id once.
    pub agents: Vec<AgentSettings>,
    /// The queues, in the order of the file, each number once. At least one.
    pub queues: Vec<QueueSettings>,
}

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"***\"")
    }
}

/// Where a switch's Event Socket is, and what it asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchAddress {
    /// `host:port`.
    pub address: String,
    /// What `auth` must say.
    pub password: Secret,
}

/// Reads the file and the process's environment. Waits for the disk.
///
/// # Errors
/// [`Problems`]: everything that is wrong, each with its place and what to do.
pub fn load(path: &Path) -> Result<Config, Problems> {
    parse(path, &contents(path)?, std::env::vars_os())
}

/// The control socket of the daemon that runs with this file. Whatever else is wrong with the file is for that daemon to
/// tell. Waits for the disk.
///
/// # Errors
/// [`Problems`]: everything that is wrong with the file, when it does not tell the socket.
pub fn control(path: &Path) -> Result<PathBuf, Problems> {
    let (config, problems) = read_with(path, &contents(path)?, std::env::vars_os());
    let in_the_way = |problem: &Problem| ["", "state", "control"].contains(&problem.key.as_str());
    match config {
        Some(config) if problems.is_complete() && !problems.iter().any(in_the_way) => Ok(config.control),
        _ => Err(problems),
    }
}

fn contents(path: &Path) -> Result<Vec<u8>, Problem> {
    read(path).map_err(|Fault { what, fix }| {
        let place = Place::File(Arc::from(path.display().to_string()));
        Problem { place, key: String::new(), what, fix }
    })
}

/// Reads a file's content, with `path` as its name in messages and its folder as the start of relative paths,
/// and the given environment variables.
///
/// # Errors
/// As [`load`].
pub fn parse(
    path: &Path,
    bytes: &[u8],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, Problems> {
    match read_with(path, bytes, variables) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(problems),
    }
}

/// What a file says, as far as it can be understood, and everything that is wrong with it.
fn read_with(
    path: &Path,
    bytes: &[u8],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> (Option<Config>, Problems) {
    let file: Arc<str> = Arc::from(path.display().to_string());
    let root = match yaml::parse(&file, bytes) {
        Ok(root) => root,
        Err(problem) => return (None, problem.into()),
    };
    let overrides = environment::read(variables);
    let sources = Sources { file, root, variables: environment::places(&overrides) };
    let mut report = Report::new(&sources);
    let checked = schema::check(&sources.root, &mut report);
    let from_environment = environment::layer(overrides, &mut report);
    let merged = checked.map(|from_file| merge(Layer(from_file), from_environment));
    let config = match merged {
        Some(Ok(raw)) => Some(validate::config(raw, path.parent().unwrap_or(Path::new("")), &mut report)),
        Some(Err(e)) => {
            // The table of keys and the structs agree (a test holds that): a defect of this module.
            let fault = Fault::new(format!("the values do not fit ({e})"), "report this as a defect of the daemon");
            report.add(&KeyPath::Root, fault);
            None
        }
        None => None,
    };
    (config, report.into_problems())
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let cannot = |e: std::io::Error| {
        let fix = match e.kind() {
            std::io::ErrorKind::NotFound => "name another file, or begin with a copy of the sample queues.yaml",
            std::io::ErrorKind::PermissionDenied => "let the daemon's user read it",
            _ => "look at the disk",
        };
        Fault::new(format!("the file cannot be read ({e})"), fix)
    };
    // Asked first: opening a pipe would wait for a writer.
    let found = std::fs::metadata(path).map_err(cannot)?;
    if !found.is_file() {
        let what = if found.is_dir() { "this is a folder" } else { "this is not a regular file" };
        return Err(Fault::new(what, "name the YAML file"));
    }
    let mut bytes = Vec::new();
    let bound = yaml::LARGEST_FILE as u64 + 1;
    std::fs::File::open(path).and_then(|file| file.take(bound).read_to_end(&mut bytes)).map_err(cannot)?;
    Ok(bytes)
}
