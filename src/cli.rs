//! Arguments and exit codes.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

/// The call queue (ACD) beside FreeSWITCH.
#[derive(Debug, Parser)]
#[command(name = "freeswitch-queue", version, about)]
pub struct Cli {
    /// What to do; `serve` when absent.
    #[command(subcommand)]
    pub command: Option<What>,
    /// The configuration file.
    #[arg(long, short, global = true, default_value = "queues.yaml", value_name = "FILE")]
    pub config: PathBuf,
    /// How logs are written to standard error; `RUST_LOG` chooses what (default `info`).
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

/// What to do.
#[derive(Clone, Debug, Default, Subcommand)]
pub enum What {
    /// Run the queue.
    #[default]
    Serve,
    /// Show queues, waiting callers, agents, and why the first caller waits.
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
        /// The running daemon's socket; the one of the configuration when absent.
        #[arg(long, value_name = "PATH")]
        control: Option<PathBuf>,
    },
    /// Have the running daemon read its configuration again; exit code 0 when it was applied.
    Reload {
        /// The running daemon's socket; the one of the configuration when absent.
        #[arg(long, value_name = "PATH")]
        control: Option<PathBuf>,
    },
    /// See it at work without a FreeSWITCH: callers, agents and queues on a simulated one, for a minute.
    Demo {
        /// How long, in seconds; 0 is until Ctrl-C.
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u64,
    },
    /// Check the configuration file: print every problem with its place; exit code 0 or 1.
    Check,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Checks the file and says what is wrong with it. True when nothing is.
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

/// Writes to standard output. A reader that has seen enough and is gone (`status | head`) is no error.
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

/// Writes a line to standard error, if anybody is there to read it: there is nobody else to tell.
pub fn complain(text: &dyn Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
