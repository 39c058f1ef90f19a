//! The daemon `freeswitch-queue`.

use std::env::VarError;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Parser;
use freeswitch_queue::admin::{self, Door, LoginsChanged, Reloaded, Request, Status, Whose};
use freeswitch_queue::app::{Daemon, MOST_CALLS, limits, system_random};
use freeswitch_queue::cli::{Action, Cli, LogFormat, LoginArgs, check, complain, print};
use freeswitch_queue::clock::Clock;
use freeswitch_queue::config;
use freeswitch_queue::demo;
use freeswitch_queue::esl::server::Server;
use freeswitch_queue::journal::{Journal, Options};
use freeswitch_queue::observe::{self, Format, LastLines};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or_default() {
        Action::Check => check(&cli.config).context("the answer cannot be written").map(exit_code),
        Action::Status { json, control } => status(&cli.config, control, json).map(|()| ExitCode::SUCCESS),
        Action::Reload { control } => reload(&cli.config, control).map(|()| ExitCode::SUCCESS),
        Action::Login(args) => change_logins(&cli.config, args, Request::Login).map(|()| ExitCode::SUCCESS),
        Action::Logout(args) => change_logins(&cli.config, args, Request::Logout).map(|()| ExitCode::SUCCESS),
        Action::Demo { seconds } => {
            // The log would overwrite the picture, so it is on only if RUST_LOG asks for it.
            let log = std::env::var_os(EnvFilter::DEFAULT_ENV).map(|_| start_log(cli.log)).transpose();
            log.and_then(|_log| play(seconds)).map(|()| ExitCode::SUCCESS)
        }
        Action::Serve => start_log(cli.log).and_then(|_log| serve(&cli.config)),
    };
    done.unwrap_or_else(|error| {
        complain(&format_args!("freeswitch-queue: {error:#}"));
        ExitCode::FAILURE
    })
}

fn exit_code(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn start_log(format: LogFormat) -> anyhow::Result<LastLines> {
    const NAME: &str = EnvFilter::DEFAULT_ENV;
    let fix = "write a level, such as info, or target=level";
    let filter = match std::env::var(NAME) {
        Ok(said) => EnvFilter::try_new(&said).map_err(|error| anyhow!("{NAME}={said}: {error}; {fix}"))?,
        Err(VarError::NotPresent) => EnvFilter::new("info"),
        Err(error) => return Err(anyhow!("{NAME}: {error}; {fix}")),
    };
    let format = match format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    observe::start(filter, format).context("the log cannot be written")
}

#[tokio::main]
async fn play(seconds: u64) -> anyhow::Result<()> {
    demo::run((seconds > 0).then_some(seconds)).await.context("the demo cannot be shown")
}

#[tokio::main]
async fn serve(path: &Path) -> anyhow::Result<ExitCode> {
    let config = config::load(path).map_err(|problems| anyhow!("the configuration is refused\n{problems}"))?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let state = config.state.clone();
    let (journal, restored) = tokio::task::spawn_blocking(move || Journal::open(state, Options::default()))
        .await
        .context("opening the store")??;
    let limits = limits(allow_files());
    if limits.connections < MOST_CALLS {
        tracing::warn!(
            calls = limits.connections,
            "the system allows few open files, and each call needs one: see LimitNOFILE in the README"
        );
    }
    let server = Server::bind(config.listen, limits).await.with_context(|| {
        format!(
            "cannot listen on {}: is another daemon running, or is `listen` not an address of this machine?",
            config.listen
        )
    })?;
    let address = server.local_addr().context("reading back the address")?;
    let mut signals = Signals::new().context("watching for signals")?;
    let door = Door::open(&config.control).await.with_context(|| {
        format!("cannot open the control socket {}; choose another `control`", config.control.display())
    })?;
    let queues = config.queues.len();
    let daemon = Daemon::start(config, journal, &restored, Clock::system(), system_random());
    tracing::info!(%address, queues, logins = restored.logins.len(), "ready");
    tokio::select! {
        () = daemon.listen(server) => {}
        () = door.serve(daemon.clone(), path.to_owned()) => {}
        () = watch_signals(&mut signals, &daemon, path) => {}
        why = daemon.broken() => return Err(anyhow!("{why}; report the log lines before this one as a defect")),
    }
    tracing::info!("shutting down: waiting callers return to the dialplan, conversations continue");
    tokio::select! {
        () = daemon.drain() => Ok(ExitCode::SUCCESS),
        // A second Ctrl-C at the terminal ends the wait.
        () = signals.interrupted_again() => {
            tracing::warn!("interrupted again: the process ends at once");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Raises the limit of open files to the hard limit. Returns the resulting limit.
fn allow_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// The exit code that a shell reports for a process that SIGINT ended.
const INTERRUPTED: u8 = 128 + 2;

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn interrupted_again(&mut self) {
        if self.interrupt.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Reloads on SIGHUP; completes on SIGTERM or SIGINT.
async fn watch_signals(signals: &mut Signals, daemon: &Arc<Daemon>, path: &Path) {
    let Signals { hangup, terminate, interrupt } = signals;
    let reloads = async {
        while hangup.recv().await.is_some() {
            drop(admin::reload_aside(daemon, path).await);
        }
        std::future::pending().await
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = reloads => {}
    }
}

/// Sends a request to the running daemon and returns its answer.
#[tokio::main(flavor = "current_thread")]
async fn ask(file: &Path, control: Option<PathBuf>, request: Request) -> anyhow::Result<String> {
    let control = match control {
        Some(path) => path,
        None => config::control(file).map_err(|problems| anyhow!("{problems}")).with_context(|| match &request {
            Request::Reload => "nothing was changed: the file is refused, and does not state the daemon's socket",
            _ => "the file does not state the daemon's socket; name it with --control",
        })?,
    };
    admin::ask(&control, &request).await.with_context(|| {
        format!("no daemon answers at {}; is it running, and do you run this as its user?", control.display())
    })
}

fn status(file: &Path, control: Option<PathBuf>, json: bool) -> anyhow::Result<()> {
    let text = ask(file, control, Request::Status)?;
    let answer = if json {
        format!("{text}\n")
    } else {
        let status: Status =
            serde_json::from_str(&text).context("the daemon's answer cannot be read; is it of this version?")?;
        admin::table(&status)
    };
    print(&answer).context("the answer cannot be written")
}

fn reload(file: &Path, control: Option<PathBuf>) -> anyhow::Result<()> {
    let text = ask(file, control, Request::Reload)?;
    let answer =
        match serde_json::from_str(&text).context("the daemon's answer cannot be read; is it of this version?")? {
            Reloaded::Applied(changes) if changes.is_empty() => "nothing has changed\n".to_owned(),
            Reloaded::Applied(changes) => changes.iter().map(|change| format!("{change}\n")).collect(),
            Reloaded::Refused(problems) => return Err(anyhow!("nothing was changed\n{problems}")),
        };
    print(&answer).context("the answer cannot be written")
}

fn change_logins(file: &Path, args: LoginArgs, request: fn(Whose) -> Request) -> anyhow::Result<()> {
    let LoginArgs { agent, queue, control } = args;
    let text = ask(file, control, request(Whose { agent, queue }))?;
    match serde_json::from_str(&text).context("the daemon's answer cannot be read; is it of this version?")? {
        LoginsChanged::Done(said) => print(&format!("{}\n", said.join("\n"))).context("the answer cannot be written"),
        LoginsChanged::Refused(said) => Err(anyhow!("{}", said.join("\n"))),
    }
}
