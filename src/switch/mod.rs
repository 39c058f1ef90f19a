//! One link for every FreeSWITCH: what a call's own connection cannot see. Who is in a private call, which
//! phones came back, who asks for a lamp; and whether what is believed is so.
//!
//! No ordinary call needs it. Without it the queue works, and knows of a phone only what it does with it.

mod lamps;
mod link;
mod phones;
mod survey;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};
use tokio::time::{sleep, timeout};

use crate::acd::fact::Record;
use crate::acd::ids::{Instance, OfferId};
use crate::clock::Clock;
use crate::config::SwitchAddress;
use crate::esl::client::{self, ConnectError};
use crate::esl::command::Secret;
use crate::esl::{Events, Link, LinkLimits};
use crate::floor::Floor;
use crate::session::SessionSettings;

/// How often FreeSWITCH is compared with what is believed.
pub const SURVEY_EVERY: Duration = Duration::from_secs(3);

/// How long no switch may be seen until agents whose calls nobody hears of are taken to be free.
pub const BLIND_PATIENCE: Duration = Duration::from_secs(10);

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

/// What the links share.
pub struct Switches {
    /// The live picture.
    pub floor: Arc<Floor>,
    /// The time.
    pub clock: Arc<Clock>,
    /// The configuration, as it is now.
    pub settings: watch::Receiver<Arc<SessionSettings>>,
    /// Which legs are ours.
    pub instance: Instance,
    /// Facts as they become true; the links listen for logins.
    pub facts: broadcast::Sender<Record>,
    up: AtomicUsize,
    repairs: AtomicUsize,
    /// For each switch the legs of ours that it had at its last survey; `None` while it is not seen.
    seen: Mutex<Vec<Option<BTreeSet<OfferId>>>>,
}

impl Switches {
    /// The shared part of `count` links.
    pub fn new(
        floor: Arc<Floor>,
        clock: Arc<Clock>,
        settings: watch::Receiver<Arc<SessionSettings>>,
        instance: Instance,
        facts: broadcast::Sender<Record>,
        count: usize,
    ) -> Arc<Self> {
        floor.set_supervised(count > 0, clock.now());
        Arc::new(Self {
            floor,
            clock,
            settings,
            instance,
            facts,
            up: AtomicUsize::new(0),
            repairs: AtomicUsize::new(0),
            seen: Mutex::new(vec![None; count]),
        })
    }

    /// How many links are up.
    pub fn up(&self) -> usize {
        self.up.load(Ordering::Relaxed)
    }

    /// How many differences were repaired.
    pub fn repairs(&self) -> usize {
        self.repairs.load(Ordering::Relaxed)
    }

    fn repaired(&self) {
        self.repairs.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes what a switch has, and returns the legs that some switch has; `None` while one is not seen.
    fn note(&self, index: usize, legs: Option<BTreeSet<OfferId>>) -> Option<BTreeSet<OfferId>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = seen.get_mut(index) {
            *slot = legs;
        }
        seen.iter().try_fold(BTreeSet::new(), |mut all, legs| {
            all.extend(legs.as_ref()?.iter().copied());
            Some(all)
        })
    }
}

/// Keeps the link to one switch up until the daemon goes down.
pub async fn keep(
    switches: Arc<Switches>,
    connect: Connect,
    index: usize,
    address: SwitchAddress,
    mut draining: watch::Receiver<bool>,
) {
    let password = match Secret::new(address.password.expose()) {
        Ok(password) => password,
        Err(error) => {
            tracing::error!(switch = address.address, %error, "the password of a switch cannot be sent");
            return;
        }
    };
    let mut wait = BACKOFF.0;
    let mut told = false;
    loop {
        let connected = tokio::select! {
            connected = connect(address.address.clone(), password.clone()) => connected,
            _ = draining.wait_for(|&d| d) => return,
        };
        match connected {
            Ok((link, events)) => {
                tracing::info!(switch = address.address, "the link to FreeSWITCH is up");
                switches.up.fetch_add(1, Ordering::Relaxed);
                switches.floor.set_supervised(true, switches.clock.now());
                let reason = tokio::select! {
                    reason = link::run(&switches, index, link, events) => reason,
                    _ = draining.wait_for(|&d| d) => return,
                };
                switches.up.fetch_sub(1, Ordering::Relaxed);
                switches.note(index, None);
                tracing::warn!(
                    switch = address.address,
                    %reason,
                    "the link to FreeSWITCH is lost; private calls and registrations are not seen until it is back"
                );
                told = true;
                wait = BACKOFF.0;
            }
            Err(error) if !told => {
                tracing::warn!(switch = address.address, %error, "no link to FreeSWITCH; trying again and again");
                told = true;
            }
            Err(error) => tracing::debug!(switch = address.address, %error, "still no link to FreeSWITCH"),
        }
        if timeout(wait, draining.wait_for(|&d| d)).await.is_ok() {
            return;
        }
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// Watches over the watchers: when no switch was seen for [`BLIND_PATIENCE`], nobody can tell any more what
/// became of legs without a task.
pub async fn watch_blindness(switches: Arc<Switches>) {
    let mut blind = Duration::ZERO;
    let step = Duration::from_secs(1);
    loop {
        sleep(step).await;
        blind = if switches.up() == 0 { blind + step } else { Duration::ZERO };
        if blind == BLIND_PATIENCE {
            switches.floor.set_supervised(false, switches.clock.now());
        }
    }
}

/// The limits of a link: `show channels as json` has 1 kB a channel.
pub fn limits() -> LinkLimits {
    let mut limits = LinkLimits { events: 8192, essential_events: 8192, ..LinkLimits::default() };
    limits.frame.body = 64 << 20;
    limits
}
