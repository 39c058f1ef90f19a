//! The whole switch as one value: legs, connections, phones, callers, and future actions. Every event is a synchronous
//! change of it, at an instant of the runtime's time (virtual in tests).

use crate::clock::Clock;
use crate::config::Config;
use crate::conn::{Conn, Connector, Phase};
use crate::event::Event;
use crate::fault::Faults;
use crate::headers;
use crate::leg::{ConnId, Leg, LegId};
use crate::observe::{CallStats, SecurityRecord, Violation};
use crate::party::{CallerState, PhoneState};
use crate::rng::Rng;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

type Action = Box<dyn FnOnce(&mut World) + Send>;

/// The world behind its lock, with two notifications: an action is due, the world has changed.
pub(crate) struct Shared {
    world: Mutex<World>,
    pub(crate) changed: Notify,
}

impl Shared {
    pub(crate) fn start(config: Config) -> Arc<Self> {
        let due = Arc::new(Notify::new());
        let shared = Arc::new_cyclic(|weak| Self {
            world: Mutex::new(World::new(config, weak.clone(), due.clone())),
            changed: Notify::new(),
        });
        tokio::spawn(drive(Arc::downgrade(&shared), due));
        shared
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the world.
    pub(crate) fn read<R>(&self, f: impl FnOnce(&World) -> R) -> R {
        f(&self.lock())
    }

    /// Checks `look`, and again whenever `bell` rings, until the result is `enough`.
    ///
    /// # Panics
    /// After [`Config::patience`], with the last result.
    pub(crate) async fn wait_for<T>(
        &self,
        bell: &Notify,
        look: impl Fn() -> T,
        enough: impl Fn(&T) -> bool,
        say: impl Fn(&T) -> String,
    ) -> T {
        let end = Instant::now() + self.read(|world| world.config.patience);
        loop {
            let rings = bell.notified();
            tokio::pin!(rings);
            rings.as_mut().enable();
            let seen = look();
            if enough(&seen) {
                return seen;
            }
            if tokio::time::timeout_at(end, rings).await.is_err() {
                panic!("waited in vain (Config::patience): {}", say(&seen));
            }
        }
    }

    /// Changes the world and notifies the waiters.
    pub(crate) fn change<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        let result = f(&mut self.lock());
        self.changed.notify_waiters();
        result
    }
}

/// Runs due actions, and sleeps until the next one is due or a nearer one is added.
async fn drive(shared: Weak<Shared>, due: Arc<Notify>) {
    loop {
        let next = {
            let Some(shared) = shared.upgrade() else { return };
            shared.change(World::run_due)
        };
        match next {
            Some(at) => {
                tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = due.notified() => {}
                }
            }
            None => {
                // A bounded wait, so that the loop notices when no handle of the switch is left.
                let _ = tokio::time::timeout(Duration::from_secs(3600), due.notified()).await;
            }
        }
    }
}

struct Timer {
    at: Instant,
    sequence: u64,
    action: Action,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}
impl Eq for Timer {}
impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

pub(crate) struct World {
    pub(crate) shared: Weak<Shared>,
    due: Arc<Notify>,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) rng: Rng,
    pub(crate) core_uuid: String,
    timers: BinaryHeap<Reverse<Timer>>,
    counter: u64,
    event_sequence: u64,
    pub(crate) sessions: u64,
    pub(crate) legs: BTreeMap<LegId, Leg>,
    /// Entries that `show` lists a little longer than they exist.
    pub(crate) table: crate::show::Table,
    pub(crate) by_uuid: HashMap<String, LegId>,
    /// The legs that hold the places of `limit`.
    pub(crate) limits: HashMap<String, Vec<LegId>>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    /// Connections that may want an event of this Unique-ID or Job-UUID.
    pub(crate) keyed: HashMap<String, BTreeSet<ConnId>>,
    /// Connections that must be checked for every event.
    pub(crate) unkeyed: BTreeSet<ConnId>,
    pub(crate) connector: Option<Arc<dyn Connector>>,
    pub(crate) phones: BTreeMap<String, PhoneState>,
    pub(crate) callers: HashMap<u64, CallerState>,
    /// Legs rung for a caller, by the caller's UUID.
    pub(crate) rings: HashMap<String, Vec<LegId>>,
    pub(crate) faults: Faults,
    pub(crate) violations: Vec<Violation>,
    pub(crate) security: Vec<SecurityRecord>,
    pub(crate) presence: Vec<Vec<(String, String)>>,
    pub(crate) stats: CallStats,
    /// The number of a connection's running background jobs.
    pub(crate) jobs: HashMap<ConnId, usize>,
    /// Connections that have ended and wait for their jobs, with their call.
    pub(crate) held_back: HashMap<ConnId, (LegId, Phase)>,
    /// Rises when the switch restarts: earlier messages under way are void.
    pub(crate) life: u64,
}

impl World {
    fn new(config: Config, shared: Weak<Shared>, due: Arc<Notify>) -> Self {
        let mut rng = Rng::new(config.seed);
        let mut world = Self {
            shared,
            due,
            clock: Clock::start(),
            core_uuid: rng.uuid(),
            rng,
            config,
            timers: BinaryHeap::new(),
            counter: 0,
            event_sequence: 0,
            sessions: 0,
            legs: BTreeMap::new(),
            table: crate::show::Table::default(),
            by_uuid: HashMap::new(),
            limits: HashMap::new(),
            conns: BTreeMap::new(),
            keyed: HashMap::new(),
            unkeyed: BTreeSet::new(),
            connector: None,
            phones: BTreeMap::new(),
            callers: HashMap::new(),
            rings: HashMap::new(),
            faults: Faults::default(),
            violations: Vec::new(),
            security: Vec::new(),
            presence: Vec::new(),
            stats: CallStats::default(),
            jobs: HashMap::new(),
            held_back: HashMap::new(),
            life: 0,
        };
        world.schedule_heartbeat();
        world
    }

    /// A number not used before.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    pub(crate) fn micros(&self) -> u64 {
        self.clock.micros(Instant::now())
    }

    /// Runs `action` at `at`, after the actions already due then.
    pub(crate) fn at(&mut self, at: Instant, action: impl FnOnce(&mut World) + Send + 'static) {
        let sequence = self.fresh();
        let life = self.life;
        let action: Action = Box::new(move |world| {
            if world.life == life {
                action(world);
            }
        });
        let nearest = self.timers.peek().is_none_or(|t| at < t.0.at);
        self.timers.push(Reverse(Timer { at, sequence, action }));
        if nearest {
            self.due.notify_one();
        }
    }

    pub(crate) fn after(&mut self, delay: Duration, action: impl FnOnce(&mut World) + Send + 'static) {
        self.at(Instant::now() + delay, action);
    }

    /// Runs due actions; returns the time of the next.
    fn run_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        while self.timers.peek().is_some_and(|t| t.0.at <= now) {
            if let Some(Reverse(timer)) = self.timers.pop() {
                (timer.action)(self);
            }
        }
        self.timers.peek().map(|t| t.0.at)
    }

    pub(crate) fn leg_id(&self, uuid: &str) -> Option<LegId> {
        self.by_uuid.get(uuid).copied()
    }

    /// A living leg by its UUID.
    pub(crate) fn up_leg(&self, uuid: &str) -> Option<LegId> {
        self.leg_id(uuid).filter(|id| self.legs.get(id).is_some_and(Leg::is_up))
    }

    /// Starts an event of that name.
    pub(crate) fn event(&mut self, name: &'static str) -> Event {
        self.event_sequence += 1;
        let core = headers::Core {
            uuid: &self.core_uuid,
            sequence: self.event_sequence,
            micros: self.clock.micros(Instant::now()),
        };
        headers::start(name, &core)
    }

    /// Fires an event of a leg, with its variables when `variables` is set and `extra` after them.
    pub(crate) fn fire_leg(&mut self, id: LegId, name: &'static str, variables: bool, extra: &[(&'static str, &str)]) {
        let Some(leg) = self.legs.get(&id) else { return };
        if !self.is_wanted(name, &leg.uuid) {
            self.event_sequence += 1;
            return;
        }
        let mut event = self.event(name);
        let Some(leg) = self.legs.get(&id) else { return };
        if let Some((a, b)) = &leg.bridge_pair
            && matches!(name, "CHANNEL_BRIDGE" | "CHANNEL_UNBRIDGE")
        {
            event.push("Bridge-A-Unique-ID", a.as_str());
            event.push("Bridge-B-Unique-ID", b.as_str());
        }
        headers::channel(&mut event, leg);
        if variables {
            headers::variables(&mut event, leg);
        }
        for (name, value) in extra {
            event.push(*name, *value);
        }
        self.fire(event);
    }

    /// A switch whose time advances.
    pub(crate) fn schedule_heartbeat(&mut self) {
        let every = self.config.timing.heartbeat;
        self.after(every, |world| {
            let mut event = world.event("HEARTBEAT");
            let up = world.clock.elapsed();
            let (s, ms) = (up.as_secs(), up.subsec_millis());
            let text = format!(
                "0 years, {} days, {} hours, {} minutes, {} seconds, {ms} milliseconds, 0 microseconds",
                s / 86_400,
                s / 3600 % 24,
                s / 60 % 60,
                s % 60
            );
            event.push("Event-Info", "System Ready");
            event.push("Up-Time", text);
            event.push("FreeSWITCH-Version", crate::api::VERSION);
            event.push("Uptime-msec", up.as_millis().to_string());
            event.push("Session-Count", world.legs.len().to_string());
            event.push("Max-Sessions", "20000");
            event.push("Session-Per-Sec", "2000");
            event.push("Session-Per-Sec-Last", "0");
            event.push("Session-Per-Sec-Max", "4");
            event.push("Session-Per-Sec-FiveMin", "2");
            event.push("Session-Since-Startup", world.sessions.to_string());
            event.push("Session-Peak-Max", world.stats.peak_legs.to_string());
            event.push("Session-Peak-FiveMin", world.stats.peak_legs.to_string());
            event.push("Idle-CPU", "81.000000");
            world.fire(event);
            world.schedule_heartbeat();
        });
    }
}
