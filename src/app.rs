//! The daemon: the parts put together, started and drained in order.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::{sleep_until, timeout};
use uuid::Uuid;

use crate::acd::fact::{Fact, Record};
use crate::acd::ids::Instance;
use crate::clock::Clock;
use crate::config::{Config, LogNumbers, Withheld};
use crate::controller::Controller;
use crate::dispatch::Dispatcher;
use crate::esl::server::{Server, ServerLimits};
use crate::esl::{Events, Link, LinkLimits};
use crate::floor::Floor;
use crate::journal::{Journal, Restored};
use crate::observe;
use crate::session::{self, Arrivals, Shared, Turns};
use crate::switch::{self, Connect, Switches};
use crate::telephony;

/// How long waiting callers may take to be back in the dialplan when the daemon goes down.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// How long nobody is offered to anybody after a start, until every caller who waited is back in line and
/// FreeSWITCH was looked at: the dialplan brings callers within 2 s, in no particular order.
const OPENING_PATIENCE: Duration = Duration::from_secs(2);

/// How many facts a listener may be behind before it has to look at the whole picture.
const FACTS_BEHIND: usize = 1024;

/// The most calls at the same time.
pub const MOST_CALLS: usize = 16_384;

/// Files that are not a caller's connection: the store, the links, the control socket, and calls being turned away.
const OTHER_FILES: usize = 512;

/// Makes random numbers; passed in, so that a test can repeat a run.
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

/// The system's randomness.
pub fn system_random() -> Random {
    Arc::new(|| Uuid::new_v4().as_u128())
}

/// What a running daemon holds on to.
pub struct Daemon {
    floor: Arc<Floor>,
    clock: Arc<Clock>,
    journal: Arc<Journal>,
    switches: Arc<Switches>,
    shared: Arc<Shared>,
    controller: Arc<Controller>,
    draining: watch::Sender<bool>,
    /// Every session holds a clone: when the last is gone, the receiver knows.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    gone: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Daemon {
    /// Puts the parts together and starts the dispatcher. Must be called within a tokio runtime.
    pub fn start(config: Config, journal: Journal, restored: &Restored, clock: Clock, random: Random) -> Arc<Self> {
        Self::start_via(config, journal, restored, clock, random, &switch::over_tcp())
    }

    /// As [`Self::start`], with another way to the switches.
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
        let (told, _) = broadcast::channel(FACTS_BEHIND);
        let tell = told.clone();
        let facts = move |record: Record| {
            observe::log(&record, masked.load(Ordering::Relaxed));
            // Nobody listens while no switch is linked.
            let _ = tell.send(record.clone());
            // Logins were written down before they became true, so that they could be confirmed.
            if !matches!(record.fact, Fact::AgentLoggedIn { .. } | Fact::AgentLoggedOut { .. }) {
                book.record(record);
            }
        };
        let floor = Arc::new(Floor::new(Box::new(move || ring.notify_one()), Box::new(facts)));
        let now = clock.now();
        floor.configure(&config.agents, &config.queues, now);
        floor.restore(&restored.logins, &restored.last_conversation_end, &restored.wrap_up_until, now);
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
            turns: Turns::default(),
            #[allow(clippy::cast_possible_truncation)]
            random: Box::new(move || dice() as u64),
        });
        let instance = Instance::of(&config.state.to_string_lossy());
        let new_offer = move || instance.offer(random());
        let dispatcher = Dispatcher::new(floor.clone(), Box::new(new_offer));
        let count = config.freeswitch.len();
        let switches = Switches::new(floor.clone(), clock.clone(), seen_by_switches, instance, told, mod_hash, count);
        floor.expect_back(&restored.waiting);
        if !config.freeswitch.is_empty() {
            floor.adopt_unended(&restored.conversations);
        }
        tokio::spawn(switch::watch_over(switches.clone()));
        tokio::spawn(dispatch(dispatcher, bell, clock.clone(), switches.clone()));
        for (index, address) in config.freeswitch.iter().enumerate() {
            tokio::spawn(switch::keep(switches.clone(), connect.clone(), index, address.clone(), draining.subscribe()));
        }
        let (alive, gone) = mpsc::channel(1);
        Arc::new(Self {
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

    /// The way in for intentions.
    pub fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// Runs one connection in a task of its own; `keep` lives as long as it does.
    pub fn serve<K: Send + 'static>(&self, link: Link, events: Events, keep: K) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(alive) = alive else { return };
        let shared = self.shared.clone();
        tokio::spawn(async move {
            session::run(shared, link, events).await;
            drop((keep, alive));
        });
    }

    /// Takes connections until the daemon drains.
    pub async fn listen(&self, server: Server) {
        let mut draining = self.draining.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = server.accept(|peer| self.config().allow.iter().any(|net| net.contains(&peer))) => accepted,
                _ = draining.wait_for(|&d| d) => return,
            };
            self.serve(accepted.link, accepted.events, accepted.place);
        }
    }

    /// Goes down: no new calls, waiting callers go back to the dialplan, conversations go on by themselves.
    pub async fn drain(&self) {
        self.draining.send_replace(true);
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut gone = self.gone.lock().await;
        if timeout(DRAIN_PATIENCE, gone.recv()).await.is_err() {
            tracing::warn!(calls = self.floor.calls(), "calls were left behind; FreeSWITCH's dialplan takes them");
        }
        if let Err(unwritten) = self.journal.close().await {
            tracing::error!(%unwritten, "the store could not take the last records");
        }
    }
}

/// How many calls there is room for, with `files` that may be open at the same time: more than one FreeSWITCH carries,
/// but never so many that nothing is left for the store, the links and who asks at the control socket. And how much a
/// call may have under way: when a queue of hundreds rings everybody at once, each phone is three commands, and four
/// events when it stops.
pub fn limits(files: usize) -> ServerLimits {
    let connections = files.saturating_sub(OTHER_FILES).max(files / 2).min(MOST_CALLS);
    let usual = ServerLimits::default();
    let link =
        LinkLimits { commands: 4096, unwritten: 4 << 20, essential_events: 4096, event_bytes: 16 << 20, ..usual.link };
    ServerLimits { connections, link, ..usual }
}

/// Whether the log shows of callers' numbers the last digits only.
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

/// Runs the dispatcher: when the bell was rung, and when one of its own deadlines is due.
async fn dispatch(mut dispatcher: Dispatcher, bell: Arc<Notify>, clock: Arc<Clock>, switches: Arc<Switches>) {
    let opening = async {
        while !(switches.are_in_order() && switches.floor.all_are_back()) {
            bell.notified().await;
        }
    };
    if timeout(OPENING_PATIENCE, opening).await.is_err() {
        tracing::info!("not every caller who waited is back, or no FreeSWITCH answers; going on without");
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
    fn calls_leave_files_for_the_rest() {
        let calls = |files| limits(files).connections;
        assert_eq!([calls(64), calls(1024), calls(4096), calls(usize::MAX)], [32, 512, 3584, 16_384]);
    }
}
