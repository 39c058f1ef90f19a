//! Reads the admin's file into validated values, and compares two configurations.
//!
//! Every value takes the same path. `yaml` parses the file's bytes into a tree that keeps the place of each value and
//! whether it is quoted. `schema` checks the tree against the table of keys and turns it into a layer for the `config`
//! crate. `config` puts the environment (`environment`) on top and fills the structs of `raw` with serde. `validate`,
//! `queue` and `text` convert those to domain types. `report` collects every problem with its place, and all are
//! reported at once.
//!
//! The `config` crate's own YAML reader is not used: it reads `0077` as 77 and does not keep line numbers.

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
mod warning;
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

/// The validated configuration from file and environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where FreeSWITCH's `socket` application connects. Default `127.0.0.1:8084`; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The networks that may connect there. Default `127.0.0.0/8` and `::1/128`.
    pub allow: Vec<IpNet>,
    /// If set, the token required in `socket HOST:PORT/TOKEN`.
    pub token: Option<Secret>,
    /// The switches' own Event Sockets. Without any, the daemon does not see private calls, registrations and lamp
    /// subscriptions, and does not repair differences between switch and daemon.
    pub freeswitch: Vec<SwitchAddress>,
    /// The store. Default `state.db`. A relative path starts at the file's folder.
    pub state: PathBuf,
    /// How long records are kept. Default 400 days, so that a report can compare with a year before.
    pub keep: Duration,
    /// The Unix socket on which the running daemon takes requests. Default `freeswitch-queue.sock` in the store's
    /// folder. A relative path starts at the file's folder.
    pub control: PathBuf,
    /// The directory domain of the agents' phones; if absent, FreeSWITCH's own `${domain}`.
    pub domain: Option<String>,
    /// The folder of the prompts as FreeSWITCH sees it, without a trailing `/`; it contains one folder per language.
    /// Default `${conf_dir}/fsq/prompts`.
    pub prompts: String,
    /// The languages that have prompts. Default de, fr, it, en.
    pub languages: Vec<Language>,
    /// The language of queues without one of their own. Default en, or the first of `languages` if en is not in it.
    pub language: Language,
    /// The codes that agents dial.
    pub feature_codes: FeatureCodes,
    /// The treatment of callers' numbers.
    pub callers: Callers,
    /// The content of log lines.
    pub log: LogSettings,
    /// The agents, in the order of the file, each id once.
    pub agents: Vec<AgentSettings>,
    /// The queues, in the order of the file, each number once. At least one.
    pub queues: Vec<QueueSettings>,
}

/// The treatment of callers' numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    /// The treatment of a number that its caller withholds. Default: it stays hidden.
    pub withheld: Withheld,
}

/// The treatment of a number that its caller withholds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Withheld {
    /// No phone, gateway, record, log or status shows it.
    #[default]
    Hide,
    /// It is used like any other.
    Show,
}

/// The content of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// How callers' numbers are written. Default: whole.
    pub numbers: LogNumbers,
}

/// How callers' numbers are written to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogNumbers {
    /// As they are.
    #[default]
    Whole,
    /// Their last three digits only.
    Masked,
}

/// A text that is never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text itself, for the code that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"***\"")
    }
}

/// A switch's Event Socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchAddress {
    /// `host:port`.
    pub address: String,
    /// The password for `auth`.
    pub password: Secret,
}

/// Reads the file and the process's environment. Blocks on the disk.
///
/// # Errors
/// [`Problems`]: everything that is wrong, each with its place and its fix.
pub fn load(path: &Path) -> Result<Config, Problems> {
    parse(path, &contents(path)?, std::env::vars_os())
}

/// The control socket of the daemon that runs with this file. Problems elsewhere in the file are ignored: that daemon
/// reports them. Blocks on the disk.
///
/// # Errors
/// [`Problems`]: everything that is wrong with the file, if the socket cannot be read from it.
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

/// Reads a file's content and the given environment variables. `path` names the file in messages, and relative paths
/// start at its folder.
///
/// # Errors
/// The same as [`load`].
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

/// The configuration as far as it can be read, and everything that is wrong with it.
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
            // A test ensures that the table of keys and the structs agree, so this is a bug in this module.
            let fault = Fault::new(format!("the values do not fit ({e})"), "report this as a bug in the daemon");
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
            std::io::ErrorKind::NotFound => "pass another path, or start with a copy of the sample queues.yaml",
            std::io::ErrorKind::PermissionDenied => "give the daemon's user read permission",
            _ => "check the disk",
        };
        Fault::new(format!("the file cannot be read ({e})"), fix)
    };
    // Checked first, because opening a pipe would wait for a writer.
    let found = std::fs::metadata(path).map_err(cannot)?;
    if !found.is_file() {
        let what = if found.is_dir() { "this is a folder" } else { "this is not a regular file" };
        return Err(Fault::new(what, "pass the path of the YAML file"));
    }
    let mut bytes = Vec::new();
    let bound = yaml::LARGEST_FILE as u64 + 1;
    std::fs::File::open(path).and_then(|file| file.take(bound).read_to_end(&mut bytes)).map_err(cannot)?;
    Ok(bytes)
}
