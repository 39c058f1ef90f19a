//! One inbound link per FreeSWITCH, for everything that a call's own connection does not show: private calls of agents,
//! registrations, requests for lamps, and the comparison of our state with FreeSWITCH's.
//!
//! No ordinary call needs it. Without a link the queue works, but knows about phones only from its own calls.

mod lamps;
mod link;
mod private_calls;
mod state;
mod survey;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};

use crate::acd::fact::Record;
use crate::acd::ids::Instance;
use crate::acd::pace::SESSIONS_PER_SECOND;
use crate::clock::Clock;
use crate::config::SwitchAddress;
use crate::esl::client::{self, ConnectError};
use crate::esl::command::Password;
use crate::esl::text::TextError;
use crate::esl::{Connection, ConnectionLimits, Events};
use crate::floor::Floor;
use crate::telephony::Settings;

use lamps::{Asked, Lamps};
use private_calls::{Change, PrivateCalls};

pub use state::LinkView;
use state::{LinkState, Troubles};

/// How often our state is compared with FreeSWITCH's.
pub const SURVEY_EVERY: Duration = Duration::from_secs(3);

/// How long all switches may be unseen before agents in calls that no session attends to count as free.
pub const BLIND_PATIENCE: Duration = Duration::from_secs(10);

/// How long a caller whose connection is lost may take to return while no switch can be surveyed. The dialplan takes 2
/// s, but FreeSWITCH holds the caller back while an `originate` from the lost connection still rings a phone.
pub const RETURN_PATIENCE: Duration = Duration::from_secs(30);

/// The first and the longest wait before reconnecting a lost link.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// A link being opened.
pub type Connecting = Pin<Box<dyn Future<Output = Result<(Connection, Events), ConnectError>> + Send>>;

/// Opens a link to a switch, given its address and password.
pub type Connect = Arc<dyn Fn(String, Password) -> Connecting + Send + Sync>;

/// Links over TCP.
pub fn over_tcp() -> Connect {
    Arc::new(|address, password| Box::pin(async move { client::connect(&address, &password, limits()).await }))
}

/// Whether a switch is seen.
#[derive(Clone, Debug)]
enum Sight {
    /// The switch is unseen, so far for less than [`BLIND_PATIENCE`].
    Unseen,
    /// The switch has been unseen for [`BLIND_PATIENCE`] or longer.
    Blind,
    /// The channels of the last survey.
    Channels(BTreeSet<String>),
}

/// The state that the links share.
pub struct Switches {
    /// The live picture.
    pub floor: Arc<Floor>,
    /// The time.
    pub clock: Arc<Clock>,
    /// The configuration, as it is now.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// The instance by which we recognise our legs.
    pub instance: Instance,
    /// Facts as they happen; the links listen for logins.
    pub facts: broadcast::Sender<Record>,
    /// Whether FreeSWITCH has loaded `mod_hash`, as far as known.
    pub mod_hash: Arc<AtomicBool>,
    links: Mutex<Vec<LinkState>>,
    repairs: AtomicUsize,
    in_order: AtomicBool,
    seen: Mutex<Vec<Sight>>,
    /// The maximum number of new sessions per second of each switch, as far as known.
    limits: Mutex<BTreeMap<usize, u32>>,
    phones: Mutex<PrivateCalls>,
    asked_lamps: Mutex<Asked>,
    /// The state of each switch's lamps, kept while its link is down.
    lamps: Mutex<Vec<Lamps>>,
}

impl Switches {
    /// The shared part of `count` links.
    pub fn new(
        floor: Arc<Floor>,
        clock: Arc<Clock>,
        settings: watch::Receiver<Arc<Settings>>,
        instance: Instance,
        facts: broadcast::Sender<Record>,
        mod_hash: Arc<AtomicBool>,
        count: usize,
    ) -> Arc<Self> {
        floor.set_supervised(count > 0, clock.now());
        Arc::new(Self {
            floor,
            clock,
            settings,
            instance,
            facts,
            mod_hash,
            links: Mutex::new(vec![LinkState::default(); count]),
            repairs: AtomicUsize::new(0),
            in_order: AtomicBool::new(count == 0),
            seen: Mutex::new(vec![Sight::Unseen; count]),
            limits: Mutex::default(),
            phones: Mutex::default(),
            asked_lamps: Mutex::default(),
            lamps: Mutex::new((0..count).map(|_| Lamps::default()).collect()),
        })
    }

    /// How many links are configured.
    pub fn count(&self) -> usize {
        lock(&self.seen).len()
    }

    /// Whether every switch has been surveyed since the start, and no leg from before the start still rings.
    pub fn are_in_order(&self) -> bool {
        self.in_order.load(Ordering::Relaxed)
    }

    fn set_in_order(&self) {
        if !self.in_order.swap(true, Ordering::Relaxed) {
            self.floor.close_offers();
            self.floor.wake_dispatcher();
        }
    }

    /// How many links are up.
    pub fn up(&self) -> usize {
        lock(&self.links).iter().filter(|link| link.up).count()
    }

    /// The state of each link.
    pub fn links(&self) -> Vec<LinkView> {
        lock(&self.links).iter().map(LinkState::view).collect()
    }

    /// Whether at least one switch lists its channels.
    fn sees(&self) -> bool {
        lock(&self.links).iter().any(|link| link.up && link.troubles.channels.is_none())
    }

    fn change_link(&self, index: usize, change: impl FnOnce(&mut LinkState)) {
        if let Some(link) = lock(&self.links).get_mut(index) {
            change(link);
        }
    }

    /// Sets or clears a trouble of a switch. Returns true if that changes it.
    fn trouble(&self, index: usize, of: fn(&mut Troubles) -> &mut Option<String>, now: Option<String>) -> bool {
        let mut links = lock(&self.links);
        let Some(slot) = links.get_mut(index).map(|link| of(&mut link.troubles)) else { return false };
        let is_new = *slot != now;
        *slot = now;
        is_new
    }

    fn lamps_of(&self, index: usize) -> Lamps {
        lock(&self.lamps).get_mut(index).map(std::mem::take).unwrap_or_default()
    }

    fn keep_lamps(&self, index: usize, lamps: Lamps) {
        if let Some(slot) = lock(&self.lamps).get_mut(index) {
            *slot = lamps;
        }
    }

    /// How many differences from FreeSWITCH were repaired.
    pub fn repairs(&self) -> usize {
        self.repairs.load(Ordering::Relaxed)
    }

    fn repaired(&self) {
        self.repairs.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes what is seen of a switch. Returns the channels of all switches, and whether any switch has been blind for
    /// long; `None` while any switch is briefly unseen.
    fn note(&self, index: usize, sight: Sight) -> Option<(BTreeSet<String>, bool)> {
        let mut seen = lock(&self.seen);
        if let Some(slot) = seen.get_mut(index) {
            *slot = sight;
        }
        let (mut all, mut blind) = (BTreeSet::new(), false);
        for sight in &*seen {
            match sight {
                Sight::Unseen => return None,
                Sight::Blind => blind = true,
                Sight::Channels(channels) => all.extend(channels.iter().cloned()),
            }
        }
        Some((all, blind))
    }

    fn cannot_log_in(&self, index: usize, switch: &str, error: &TextError) {
        tracing::error!(switch, %error, "the password of a switch cannot be sent; choose another in event_socket.conf.xml, and here");
        let why = format!("the password cannot be sent: {error}");
        self.change_link(index, |link| link.troubles.link = Some(why));
    }

    /// Notes how many new sessions per second a switch accepts. The floor uses the smallest limit, because it does not
    /// know which switch the next caller is on.
    fn takes(&self, index: usize, sessions: Option<u32>) {
        let mut limits = lock(&self.limits);
        let Some(sessions) = sessions else {
            tracing::warn!(
                "FreeSWITCH does not state how many new sessions per second it accepts; {SESSIONS_PER_SECOND} are assumed"
            );
            return;
        };
        limits.insert(index, sessions);
        if let Some(fewest) = limits.values().min() {
            self.floor.set_sessions_per_second(*fewest);
        }
    }

    /// Applies a change to the agents' private calls, and updates the floor.
    fn private_calls<C: IntoIterator<Item = Change>>(&self, change: impl FnOnce(&mut PrivateCalls) -> C) {
        let changes = change(&mut lock(&self.phones));
        for (agent, since) in changes {
            self.floor.set_elsewhere(&agent, since);
        }
    }
}

/// A poisoned lock means that a thread panicked while it held plain collections; they are still usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the link to one switch up until the daemon goes down.
pub async fn keep(
    switches: Arc<Switches>,
    connect: Connect,
    index: usize,
    address: SwitchAddress,
    mut draining: watch::Receiver<bool>,
) {
    switches.change_link(index, |link| link.address.clone_from(&address.address));
    let password = match Password::new(address.password.expose()) {
        Ok(password) => password,
        Err(error) => {
            switches.cannot_log_in(index, &address.address, &error);
            drop(draining.wait_for(|&d| d).await);
            return;
        }
    };
    let mut wait = BACKOFF.0;
    // Each new reason is logged once.
    let mut logged = None;
    let mut blind_since = Some(switches.clock.now().mono);
    loop {
        let connected = tokio::select! {
            connected = connect(address.address.clone(), password.clone()) => connected,
            _ = draining.wait_for(|&d| d) => return,
        };
        match connected {
            Ok((connection, events)) => {
                tracing::info!(switch = address.address, "the link to FreeSWITCH is up");
                switches.change_link(index, |link| {
                    link.up = true;
                    link.troubles = Troubles::default();
                });
                switches.floor.set_supervised(true, switches.clock.now());
                let reason = tokio::select! {
                    reason = link::run(&switches, index, connection, events) => reason,
                    _ = draining.wait_for(|&d| d) => return,
                };
                switches.change_link(index, |link| {
                    link.up = false;
                    link.troubles = Troubles { link: Some(reason.to_string()), ..Troubles::default() };
                });
                switches.note(index, Sight::Unseen);
                tracing::warn!(
                    switch = address.address,
                    %reason,
                    "the link to FreeSWITCH is lost; private calls and registrations are unseen until it is up again"
                );
                logged = None;
                wait = BACKOFF.0;
                blind_since = Some(switches.clock.now().mono);
            }
            Err(error) => {
                let why = error.to_string();
                if logged.as_ref() != Some(&why) {
                    tracing::warn!(switch = address.address, %error, "no link to FreeSWITCH; the daemon keeps trying");
                }
                switches.change_link(index, |link| link.troubles.link = Some(why.clone()));
                logged = Some(why);
            }
        }
        if blind_since.is_some_and(|since| switches.clock.now().mono.since(since) >= BLIND_PATIENCE) {
            // Agents who were in a private call on this switch now count as free, and nothing waits for its survey.
            switches.note(index, Sight::Blind);
            switches.private_calls(|phones| phones.forget(index));
            blind_since = None;
        }
        if timeout(wait, draining.wait_for(|&d| d)).await.is_ok() {
            return;
        }
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// Watches the links: when no switch has been seen for [`BLIND_PATIENCE`], nothing shows the fate of legs without a
/// session, or of callers who do not return.
pub async fn watch_over(switches: Arc<Switches>) {
    let mut blind = Duration::ZERO;
    let step = Duration::from_secs(1);
    loop {
        sleep(step).await;
        let (floor, now) = (&switches.floor, switches.clock.now());
        if switches.sees() {
            blind = Duration::ZERO;
            continue;
        }
        blind = blind.saturating_add(step);
        if blind == BLIND_PATIENCE {
            floor.set_supervised(false, now);
        }
        for (call, who) in floor.absent() {
            if now.mono.since(who.since.unwrap_or_default()) >= RETURN_PATIENCE {
                floor.give_up(&call, None, now);
            }
        }
    }
}

/// The limits of a link: `show channels as json` takes 1 kB per channel.
pub fn limits() -> ConnectionLimits {
    let mut limits = ConnectionLimits { events: 8192, essential_events: 8192, ..ConnectionLimits::default() };
    limits.frame.body = 64 << 20;
    limits
}
