//! Arguments and exit codes.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::acd::ids::{AgentId, QueueNumber};

/// The call queue (ACD) beside FreeSWITCH.
#[derive(Debug, Parser)]
#[command(name = "freeswitch-queue", version, about)]
pub struct Cli {
    /// The action; `serve` when absent.
    #[command(subcommand)]
    pub command: Option<Action>,
    /// The configuration file.
    #[arg(long, short, global = true, default_value = "queues.yaml", value_name = "FILE")]
    pub config: PathBuf,
    /// The format of the log on standard error; `RUST_LOG` selects its content (default `info`).
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

/// The actions of the program.
#[derive(Clone, Debug, Default, Subcommand)]
pub enum Action {
    /// Run the queue.
    #[default]
    Serve,
    /// Show queues, waiting callers, agents, and why the first caller waits.
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
        /// The running daemon's socket; by default the one in the configuration.
        #[arg(long, value_name = "PATH")]
        control: Option<PathBuf>,
    },
    /// Make the running daemon reload its configuration; exit code 0 if it was applied.
    Reload {
        /// The running daemon's socket; by default the one in the configuration.
        #[arg(long, value_name = "PATH")]
        control: Option<PathBuf>,
    },
    /// Log an agent in: to one queue, or to every queue in which the agent is a participant.
    Login(LoginArgs),
    /// Log an agent out: of one queue, or of every queue.
    Logout(LoginArgs),
    /// Show the queue at work without a FreeSWITCH: callers, agents and queues on a simulated one, for a minute.
    Demo {
        /// The duration in seconds; 0 runs until Ctrl-C.
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
    },
    /// Check the configuration file: print every problem with its position; exit code 0 or 1.
    Check,
}

/// An agent, a queue, and where the daemon is.
#[derive(Clone, Debug, clap::Args)]
pub struct LoginArgs {
    /// The agent's `id` in the configuration.
    #[arg(value_parser = AgentId::new)]
    pub agent: AgentId,
    /// The queue's `number`.
    #[arg(value_parser = QueueNumber::new)]
    pub queue: Option<QueueNumber>,
    /// The running daemon's socket; by default the one in the configuration.
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Checks the file and prints its problems. Returns true if there are none.
///
/// # Errors
/// See [`print()`].
pub fn check(path: &Path) -> io::Result<bool> {
    match crate::config::load(path) {
        Ok(config) => {
            let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
            let (queues, agents) = (counted(config.queues.len(), "queue"), counted(config.agents.len(), "agent"));
            print(&format!("{}: {queues}, {agents}, nothing wrong\n", path.display()))?;
            for warning in config.warnings() {
                print(&format!("warning: {warning}\n"))?;
            }
            Ok(true)
        }
        Err(problems) => {
            complain(&problems);
            Ok(false)
        }
    }
}

/// Writes to standard output. A reader that closes the pipe early (`status | head`) is not an error.
///
/// # Errors
/// The system's, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

/// Writes a line to standard error. A failure is ignored, because there is no other place to report it.
pub fn complain(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
