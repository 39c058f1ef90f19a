//! One link for every FreeSWITCH: what a call's own connection cannot see. Who is in a private call, which
//! phones came back, who asks for a lamp; and whether what is believed is so.
//!
//! No ordinary call needs it. Without it the queue works, and knows of a phone only what it does with it.

mod lamps;
mod link;
mod phones;
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
use crate::esl::command::Secret;
use crate::esl::text::TextError;
use crate::esl::{Events, Link, LinkLimits};
use crate::floor::Floor;
use crate::telephony::Settings;

use lamps::{Asked, Lamps};
use phones::{Change, Phones};

pub use state::LinkView;
use state::{LinkState, Troubles};

/// How often FreeSWITCH is compared with what is believed.
pub const SURVEY_EVERY: Duration = Duration::from_secs(3);

/// How long no switch may be seen until agents whose calls nobody hears of are taken to be free.
pub const BLIND_PATIENCE: Duration = Duration::from_secs(10);

/// How long a caller whose connection is gone may take to come back while no switch can be asked. The dialplan takes
/// 2 s; but FreeSWITCH holds a caller back while a phone rings that was ordered on the lost connection.
pub const RETURN_PATIENCE: Duration = Duration::from_secs(30);

/// The first and the longest wait before a lost link is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// A link being opened.
pub type Connecting = Pin<Box<dyn Future<Output = Result<(Link, Events), ConnectError>> + Send>>;

/// Opens a link to the address of a switch with its password.
pub type Connect = Arc<dyn Fn(String, Secret) -> Connecting + Send + Sync>;

/// Links over TCP: the ordinary way.
pub fn over_tcp() -> Connect {
    Arc::new(|address, password| Box::pin(async move { client::connect(&address, &password, limits()).await }))
}

/// What is seen of a switch.
#[derive(Clone, Debug)]
enum Sight {
    /// Nothing, for a moment.
    Unseen,
    /// Nothing, for [`BLIND_PATIENCE`] or longer.
    Blind,
    /// The channels that it had at its last survey.
    Channels(BTreeSet<String>),
}

/// What the links share.
pub struct Switches {
    /// The live picture.
    pub floor: Arc<Floor>,
    /// The time.
    pub clock: Arc<Clock>,
    /// The configuration, as it is now.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// Which legs are ours.
    pub instance: Instance,
    /// Facts as they become true; the links listen for logins.
    pub facts: broadcast::Sender<Record>,
    /// Whether FreeSWITCH was seen to have `mod_hash`.
    pub mod_hash: Arc<AtomicBool>,
    links: Mutex<Vec<LinkState>>,
    repairs: AtomicUsize,
    in_order: AtomicBool,
    seen: Mutex<Vec<Sight>>,
    /// How many new sessions a second each switch takes, as far as it said.
    limits: Mutex<BTreeMap<usize, u32>>,
    phones: Mutex<Phones>,
    asked_lamps: Mutex<Asked>,
    /// What each switch was told of lamps, while no link to it is up.
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

    /// How many links there are to be.
    pub fn count(&self) -> usize {
        lock(&self.seen).len()
    }

    /// Whether every switch was looked at since the start, and no leg from before it rings any more.
    pub fn are_in_order(&self) -> bool {
        self.in_order.load(Ordering::Relaxed)
    }

    fn set_in_order(&self) {
        if !self.in_order.swap(true, Ordering::Relaxed) {
            self.floor.close_offers();
            self.floor.ring();
        }
    }

    /// How many links are up.
    pub fn up(&self) -> usize {
        lock(&self.links).iter().filter(|link| link.up).count()
    }

    /// How each link is.
    pub fn links(&self) -> Vec<LinkView> {
        lock(&self.links).iter().map(LinkState::view).collect()
    }

    /// Whether some switch tells its channels.
    fn sees(&self) -> bool {
        lock(&self.links).iter().any(|link| link.up && link.troubles.channels.is_none())
    }

    fn change_link(&self, index: usize, change: impl FnOnce(&mut LinkState)) {
        if let Some(link) = lock(&self.links).get_mut(index) {
            change(link);
        }
    }

    /// Notes something that is wrong with a switch, or is no longer. True when that is new.
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

    /// How many differences were repaired.
    pub fn repairs(&self) -> usize {
        self.repairs.load(Ordering::Relaxed)
    }

    fn repaired(&self) {
        self.repairs.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes what is seen of a switch. Returns the channels that some switch has, and whether one of them has not been
    /// seen for long; `None` while one is not seen for a moment.
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
        tracing::error!(switch, %error, "the password of a switch cannot be sent; give it another in event_socket.conf.xml, and here");
        let why = format!("the password cannot be sent: {error}");
        self.change_link(index, |link| link.troubles.link = Some(why));
    }

    /// A switch takes so many new sessions a second. The floor goes by the one that takes fewest: which switch the next
    /// caller is on, it does not know.
    fn takes(&self, index: usize, sessions: Option<u32>) {
        let mut limits = lock(&self.limits);
        let Some(sessions) = sessions else {
            tracing::warn!(
                "FreeSWITCH does not say how many new sessions a second it takes; {SESSIONS_PER_SECOND} are assumed"
            );
            return;
        };
        limits.insert(index, sessions);
        if let Some(fewest) = limits.values().min() {
            self.floor.set_sessions_per_second(*fewest);
        }
    }

    /// Brings up to date who is in a private call, and tells the floor.
    fn private_calls<C: IntoIterator<Item = Change>>(&self, change: impl FnOnce(&mut Phones) -> C) {
        let changes = change(&mut lock(&self.phones));
        for (agent, since) in changes {
            self.floor.set_elsewhere(&agent, since);
        }
    }
}

/// A poisoned lock means that a thread panicked while it held plain sets: they are still sets.
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
    let password = match Secret::new(address.password.expose()) {
        Ok(password) => password,
        Err(error) => {
            switches.cannot_log_in(index, &address.address, &error);
            drop(draining.wait_for(|&d| d).await);
            return;
        }
    };
    let mut wait = BACKOFF.0;
    // A reason is told once, and another one again.
    let mut told = None;
    let mut blind_since = Some(switches.clock.now().mono);
    loop {
        let connected = tokio::select! {
            connected = connect(address.address.clone(), password.clone()) => connected,
            _ = draining.wait_for(|&d| d) => return,
        };
        match connected {
            Ok((link, events)) => {
                tracing::info!(switch = address.address, "the link to FreeSWITCH is up");
                switches.change_link(index, |link| {
                    link.up = true;
                    link.troubles = Troubles::default();
                });
                switches.floor.set_supervised(true, switches.clock.now());
                let reason = tokio::select! {
                    reason = link::run(&switches, index, link, events) => reason,
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
                    "the link to FreeSWITCH is lost; private calls and registrations are not seen until it is back"
                );
                told = None;
                wait = BACKOFF.0;
                blind_since = Some(switches.clock.now().mono);
            }
            Err(error) => {
                let why = error.to_string();
                if told.as_ref() != Some(&why) {
                    tracing::warn!(switch = address.address, %error, "no link to FreeSWITCH; trying again and again");
                }
                switches.change_link(index, |link| link.troubles.link = Some(why.clone()));
                told = Some(why);
            }
        }
        if blind_since.is_some_and(|since| switches.clock.now().mono.since(since) >= BLIND_PATIENCE) {
            // Who was in a private call when the link was lost is taken to be free now, and nobody waits for what this
            // switch would say of others.
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

/// Watches over the watchers: when no switch was seen for [`BLIND_PATIENCE`], nobody can tell any more what
/// became of legs without a task, nor of callers who do not come back.
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
                floor.give_up(&call, now);
            }
        }
    }
}

/// The limits of a link: `show channels as json` has 1 kB a channel.
pub fn limits() -> LinkLimits {
    let mut limits = LinkLimits { events: 8192, essential_events: 8192, ..LinkLimits::default() };
    limits.frame.body = 64 << 20;
    limits
}
