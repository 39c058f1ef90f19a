//! `freeswitch-queue demo`: the real daemon on a simulated FreeSWITCH, with simulated callers and agents.
//!
//! Everything runs in this process and on the loopback interface. It reads no file and stores nothing.

mod people;
mod scene;
mod screen;
mod story;

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use crate::acd::fact::Record;

use people::People;
use scene::Scene;
use screen::Screen;
use story::Story;

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(250);

/// How many of the latest facts the screen shows.
const LATEST: usize = 7;

/// How long the daemon may take to shut down.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs for this many seconds, or until a signal stops it (Ctrl-C, SIGTERM). On a terminal it draws a picture that
/// changes in place, otherwise it prints each fact as a line. Then it prints a summary.
///
/// # Errors
/// The system's error when it cannot listen on a port or write the output.
pub async fn run(seconds: Option<u64>) -> io::Result<()> {
    match play(seconds).await {
        // The reader of the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        played => played,
    }
}

async fn play(seconds: Option<u64>) -> io::Result<()> {
    let scene = Scene::set().await?;
    let mut facts = scene.daemon.switches().facts.subscribe();
    let people = tokio::spawn(People::new(scene.switch.clone()).come_and_go());
    let began = Instant::now();
    let mut story = Story::new(scene.daemon.clock().now().wall, &scene.daemon.config());
    let mut out = Output::new(seconds)?;
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let end = async {
        match seconds {
            Some(seconds) => sleep_until((began + Duration::from_secs(seconds)).into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let stopped = stopped()?;
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut end => break,
            () = &mut stopped => break,
            fact = facts.recv() => match fact {
                Ok(record) => out.fact(&mut story, &record)?,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => break,
            },
            _ = frames.tick() => out.picture(&scene, &story, began.elapsed())?,
        }
    }
    people.abort();
    let waiting = scene.daemon.floor().view(scene.daemon.clock().now()).queues.iter().map(|q| q.waiting.len()).sum();
    // Calls that remain after that end with the process.
    let _ = timeout(FAREWELL, scene.daemon.drain()).await;
    out.farewell(&story.summary(began.elapsed(), waiting))
}

/// Completes on SIGINT or SIGTERM.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Where the demo is shown.
enum Output {
    Terminal { screen: Screen, latest: VecDeque<String>, seconds: Option<u64> },
    Lines,
}

impl Output {
    fn new(seconds: Option<u64>) -> io::Result<Self> {
        if io::stdout().is_terminal() {
            return Ok(Self::Terminal { screen: Screen::open()?, latest: VecDeque::new(), seconds });
        }
        Ok(Self::Lines)
    }

    fn fact(&mut self, story: &mut Story, record: &Record) -> io::Result<()> {
        let line = story.tell(record);
        match self {
            Self::Terminal { latest, .. } => {
                if latest.len() == LATEST {
                    latest.pop_front();
                }
                latest.push_back(line);
                Ok(())
            }
            Self::Lines => writeln!(io::stdout(), "{line}"),
        }
    }

    fn picture(&mut self, scene: &Scene, story: &Story, elapsed: Duration) -> io::Result<()> {
        let Self::Terminal { screen, latest, seconds } = self else { return Ok(()) };
        let view = scene.daemon.floor().view(scene.daemon.clock().now());
        screen.draw(&screen::picture(&view, story, &scene.said(), latest, elapsed, *seconds))
    }

    fn farewell(self, summary: &str) -> io::Result<()> {
        // Restore the terminal first, so that the summary stays on it.
        drop(self);
        writeln!(io::stdout(), "{summary}")
    }
}
