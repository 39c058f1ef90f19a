//! The daemon: builds its parts, and starts and drains them in order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::acd::fact::Record;
use crate::clock::Clock;
use crate::config::{Config, LogNumbers, Withheld};
use crate::controller::Controller;
use crate::dispatch::Dispatcher;
use crate::esl::server::{Server, ServerLimits};
use crate::esl::{Connection, ConnectionLimits, Events};
use crate::floor::{Floor, Stored};
use crate::journal::{Journal, Restored};
use crate::observe;
use crate::session::{self, Arrivals, Handovers, Shared};
use crate::switch::{self, Connect, Switches};
use crate::telephony;

/// How long waiting callers may take to return to the dialplan when the daemon goes down.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// The longest time after a start during which the dispatcher makes no offers: it waits until every former caller is
/// back in the line and every FreeSWITCH has been surveyed. The dialplan returns callers within 2 s, in no particular
/// order.
const OPENING_PATIENCE: Duration = Duration::from_secs(2);

/// How many facts a listener may lag behind before it has to read the whole state again.
const FACTS_BEHIND: usize = 1024;

/// The maximum number of simultaneous calls.
pub const MOST_CALLS: usize = 16_384;

/// Open files besides callers' connections: the store, the links, the control socket, and calls being rejected.
const OTHER_FILES: usize = 512;

/// Generates random numbers; passed in, so that a test can repeat a run.
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// The system's randomness.
pub fn system_random() -> Random {
    Arc::new(|| Uuid::new_v4().as_u128())
}

/// A running daemon.
pub struct Daemon {
    floor: Arc<Floor>,
    clock: Arc<Clock>,
    journal: Arc<Journal>,
    switches: Arc<Switches>,
    shared: Arc<Shared>,
    controller: Arc<Controller>,
    /// The tasks without which the daemon does not work.
    vital: tokio::sync::Mutex<JoinSet<&'static str>>,
    draining: watch::Sender<bool>,
    /// Every session holds a clone: when the last is dropped, the receiver completes.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    gone: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Daemon {
    /// Builds the parts and starts the dispatcher. Must be called within a tokio runtime.
    pub fn start(config: Config, journal: Journal, restored: &Restored, clock: Clock, random: Random) -> Arc<Self> {
        Self::start_via(config, journal, restored, clock, random, &switch::over_tcp())
    }

    /// As [`Self::start`], with another transport to the switches.
    pub fn start_via(
        config: Config,
        journal: Journal,
        restored: &Restored,
        clock: Clock,
        random: Random,
        connect: &Connect,
    ) -> Arc<Self> {
        let clock = Arc::new(clock);
        let journal = Arc::new(journal);
        let bell = Arc::new(Notify::new());
        let ring = bell.clone();
        let book = journal.clone();
        let masked = Arc::new(AtomicBool::new(are_masked(&config)));
        let mask = masked.clone();
        let (feed, _) = broadcast::channel(FACTS_BEHIND);
        let tell = feed.clone();
        // Every listener receives facts in the order of their numbers.
        let in_order = Mutex::new(());
        let facts = move |record: Record, stored: Stored| {
            {
                let _one_at_a_time = in_order.lock().unwrap_or_else(PoisonError::into_inner);
                // There is no listener while no switch is linked.
                let _ = tell.send(record.clone());
                if stored == Stored::NotYet {
                    book.record(record.clone());
                }
            }
            observe::log(&record, masked.load(Ordering::Relaxed));
        };
        let floor = Arc::new(Floor::new(Box::new(move || ring.notify_one()), Box::new(facts)));
        let now = clock.now();
        floor.configure(&config.agents, &config.queues, now);
        floor.resume(restored, !config.freeswitch.is_empty(), now);
        let config = Arc::new(config);
        let (settings, settings_seen) = watch::channel(Arc::new(session_settings(&config)));
        let seen_by_switches = settings.subscribe();
        let applied = move |config: &Config| {
            mask.store(are_masked(config), Ordering::Relaxed);
            drop(settings.send_replace(Arc::new(session_settings(config))));
        };
        let (told_floor, told_clock, told_journal) = (floor.clone(), clock.clone(), journal.clone());
        let controller =
            Arc::new(Controller::new(told_floor, told_clock, told_journal, config.clone(), Box::new(applied)));
        let (draining, draining_seen) = watch::channel(false);
        let dice = random.clone();
        let mod_hash = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared {
            floor: floor.clone(),
            clock: clock.clone(),
            settings: settings_seen,
            draining: draining_seen,
            mod_hash: mod_hash.clone(),
            beginning: AtomicUsize::new(0),
            by_channel: AtomicBool::new(true),
            controller: controller.clone(),
            arrivals: Arrivals::default(),
            handovers: Handovers::default(),
            #[allow(clippy::cast_possible_truncation)]
            random: Box::new(move || dice() as u64),
        });
        let instance = journal.identity();
        let new_offer = move || instance.offer(random());
        let dispatcher = Dispatcher::new(floor.clone(), Box::new(new_offer));
        let count = config.freeswitch.len();
        let switches = Switches::new(floor.clone(), clock.clone(), seen_by_switches, instance, feed, mod_hash, count);
        journal.set_keep(config.keep);
        let mut vital = JoinSet::new();
        let mut spawn = |name: &'static str, task: BoxFuture| {
            vital.spawn(async move {
                task.await;
                name
            });
        };
        spawn("the pulse", Box::pin(pulse(journal.clone(), floor.clone(), clock.clone())));
        spawn("the watch over the links", Box::pin(switch::watch_over(switches.clone())));
        spawn("the dispatcher", Box::pin(dispatch(dispatcher, bell, clock.clone(), switches.clone())));
        for (index, address) in config.freeswitch.iter().enumerate() {
            let draining = draining.subscribe();
            let kept = switch::keep(switches.clone(), connect.clone(), index, address.clone(), draining);
            spawn("the link to a FreeSWITCH", Box::pin(kept));
        }
        let (alive, gone) = mpsc::channel(1);
        Arc::new(Self {
            vital: tokio::sync::Mutex::new(vital),
            floor,
            clock,
            journal,
            switches,
            shared,
            controller,
            draining,
            alive: Mutex::new(Some(alive)),
            gone: tokio::sync::Mutex::new(gone),
        })
    }

    /// The live picture.
    pub fn floor(&self) -> &Arc<Floor> {
        &self.floor
    }

    /// The time.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// The store.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The links to FreeSWITCH.
    pub fn switches(&self) -> &Arc<Switches> {
        &self.switches
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<Config> {
        self.controller.config()
    }

    /// The controller: the only entry for intentions.
    pub fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// Runs one connection in its own task; `keep` lives as long as the task.
    pub fn serve<K: Send + 'static>(&self, connection: Connection, events: Events, keep: K) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(alive) = alive else { return };
        let shared = self.shared.clone();
        tokio::spawn(async move {
            session::run(shared, connection, events).await;
            drop((keep, alive));
        });
    }

    /// Accepts connections until the daemon drains.
    pub async fn listen(&self, server: Server) {
        let mut draining = self.draining.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = server.accept(|peer| self.config().allow.iter().any(|net| net.contains(&peer))) => accepted,
                _ = draining.wait_for(|&d| d) => return,
            };
            self.serve(accepted.connection, accepted.events, accepted.place);
        }
    }

    /// Completes with the reason when one of the vital tasks has ended and the daemon no longer works. The process must
    /// then end and be restarted (Q109).
    pub async fn broken(&self) -> String {
        match self.vital.lock().await.join_next().await {
            Some(Ok(name)) => format!("{name} has ended by itself"),
            Some(Err(error)) => format!("a task has died: {error}"),
            None => "no task is left".to_owned(),
        }
    }

    /// Shuts down: accepts no new calls, returns waiting callers to the dialplan, and leaves conversations to
    /// FreeSWITCH.
    pub async fn drain(&self) {
        self.draining.send_replace(true);
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut gone = self.gone.lock().await;
        if timeout(DRAIN_PATIENCE, gone.recv()).await.is_err() {
            tracing::warn!(
                calls = self.floor.calls(),
                "some calls did not return to the dialplan in time; it takes them over when this process ends"
            );
        }
        self.floor.close_offers();
        let now = self.clock.now();
        self.journal.alive(now, self.floor.line(now), true);
        if let Err(unwritten) = self.journal.close().await {
            tracing::error!(%unwritten, "the store could not take the last records");
        }
    }
}

/// The limits of the server, if `files` files may be open at the same time: more calls than one FreeSWITCH carries, but
/// few enough to leave files for the store, the links and the control socket. The limits of a connection allow a queue
/// of hundreds to ring all agents at once: each phone takes three commands, and four events when it stops ringing.
pub fn limits(files: usize) -> ServerLimits {
    let connections = files.saturating_sub(OTHER_FILES).max(files / 2).min(MOST_CALLS);
    let usual = ServerLimits::default();
    let connection = ConnectionLimits {
        commands: 4096,
        unwritten: 4 << 20,
        essential_events: 4096,
        event_bytes: 16 << 20,
        ..usual.connection
    };
    ServerLimits { connections, connection, ..usual }
}

/// Whether the log shows only the last digits of callers' numbers.
fn are_masked(config: &Config) -> bool {
    config.log.numbers == LogNumbers::Masked
}

fn session_settings(config: &Config) -> telephony::Settings {
    telephony::Settings {
        token: config.token.as_ref().map(|t| t.expose().to_owned()),
        domain: config.domain.clone(),
        codes: config.feature_codes.clone(),
        prompts: config.prompts.clone(),
        language: config.language.clone(),
        hide_withheld: config.callers.withheld == Withheld::Hide,
    }
}

/// A task of the daemon.
type BoxFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// How often the daemon tells the store that it is alive.
const PULSE: Duration = Duration::from_secs(2);

/// Tells the store that the daemon is alive: for the records, everything that ends while no daemon runs ended at the
/// last such moment (Q108).
async fn pulse(journal: Arc<Journal>, floor: Arc<Floor>, clock: Arc<Clock>) {
    loop {
        let now = clock.now();
        journal.alive(now, floor.line(now), floor.is_busy());
        sleep(PULSE).await;
    }
}

/// Runs the dispatcher whenever the bell rings or one of its own deadlines is due.
async fn dispatch(mut dispatcher: Dispatcher, bell: Arc<Notify>, clock: Arc<Clock>, switches: Arc<Switches>) {
    let opening = async {
        while !(switches.are_in_order() && switches.floor.all_are_back()) {
            bell.notified().await;
        }
    };
    if timeout(OPENING_PATIENCE, opening).await.is_err() {
        tracing::info!(
            "not every former caller is back, or a FreeSWITCH does not answer; the dispatcher starts anyway"
        );
    }
    loop {
        match dispatcher.run(clock.now()) {
            Some(at) => tokio::select! {
                () = bell.notified() => {}
                () = sleep_until(clock.instant(at)) => {}
            },
            None => bell.notified().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_calls_leaves_files_for_everything_else() {
        let calls = |files| limits(files).connections;
        assert_eq!([calls(64), calls(1024), calls(4096), calls(usize::MAX)], [32, 512, 3584, 16_384]);
    }
}
