//! The daemon `freeswitch-queue`.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use clap::Parser;
use freeswitch_queue::app::{Daemon, limits, system_random};
use freeswitch_queue::cli::{Cli, LogFormat, What, check};
use freeswitch_queue::clock::Clock;
use freeswitch_queue::config;
use freeswitch_queue::esl::server::Server;
use freeswitch_queue::journal::{Journal, Options};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command.unwrap_or_default() {
        What::Check => return if check(&cli.config) { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        What::Serve => {
            init_log(cli.log);
            serve(&cli.config)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("freeswitch-queue: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn init_log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

#[tokio::main]
async fn serve(path: &Path) -> anyhow::Result<()> {
    let config = config::load(path).map_err(|problems| anyhow!("the configuration is refused\n{problems}"))?;
    let state = config.state.clone();
    let (journal, restored) = tokio::task::spawn_blocking(move || Journal::open(state, Options::default()))
        .await
        .context("opening the store")??;
    let server = Server::bind(config.listen, limits()).await.with_context(|| {
        format!(
            "cannot listen on {}: is another daemon running, or `listen` not an address of this machine?",
            config.listen
        )
    })?;
    let address = server.local_addr().context("reading back the address")?;
    let mut signals = Signals::new().context("watching for signals")?;
    let queues = config.queues.len();
    let daemon = Daemon::start(config, journal, &restored, Clock::system(), system_random());
    tracing::info!(%address, queues, logins = restored.logins.len(), "ready");
    tokio::select! {
        () = daemon.listen(server) => {}
        () = watch_signals(&mut signals, &daemon, path) => {}
    }
    tracing::info!("going down: waiting callers go back to the dialplan, conversations go on");
    daemon.drain().await;
    Ok(())
}

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
}

/// Reloads on SIGHUP; ends when the daemon is to go down.
async fn watch_signals(signals: &mut Signals, daemon: &Arc<Daemon>, path: &Path) {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return,
            _ = signals.interrupt.recv() => return,
            _ = signals.hangup.recv() => reload(daemon, path),
        }
    }
}

fn reload(daemon: &Daemon, path: &Path) {
    match config::load(path) {
        Ok(config) => {
            let changes = daemon.reconfigure(config);
            tracing::info!(changes = changes.len(), "the configuration was read again");
            for change in changes {
                tracing::info!("{change}");
            }
        }
        Err(problems) => tracing::error!("the configuration is refused and nothing was changed\n{problems}"),
    }
}
