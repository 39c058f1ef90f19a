//! The connections FreeSWITCH opens with its `socket` application: one for each call.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::command::{Command, Execute};
use super::frame::FrameLimits;
use super::kind::EventKind;
use super::link::{Events, Incoming, Link, LinkLimits, Pool};
use super::tcp;

/// How long to wait when the system has no resources for another connection.
const BREATHER: Duration = Duration::from_millis(100);

/// Strangers are logged at once, but not more often than this: who tries without end must not fill the log.
const STRANGERS: Duration = Duration::from_secs(1);

/// How many connections may wait to be accepted; the system may allow less (`net.core.somaxconn`). Beyond that Linux
/// drops the last step of connecting: FreeSWITCH believes to be connected, and the call waits in silence for a
/// `connect` that nobody sends (seen with 188 of 1,000 calls that came at once, and 128 places).
const WAITING_TO_BE_ACCEPTED: u32 = 4096;

/// What the listener may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Calls at the same time. Further ones are turned away.
    pub connections: usize,
    /// Calls being turned away at the same time. Further ones wait to be accepted.
    pub turned_away: usize,
    /// How long a call that is turned away may take until it is parked.
    pub park: Duration,
    /// Each connection.
    pub link: LinkLimits,
    /// Bytes a connection may hold unfinished, whatever the others do: see [`Pool`].
    pub own: usize,
    /// Bytes that all connections together may hold unfinished; beyond that, one that wants more than its own is closed.
    pub shared: usize,
}

impl Default for ServerLimits {
    /// Thousands of calls, which is more than one FreeSWITCH carries. What a call's connection carries is some 10 kB
    /// a frame, so a frame of 1 MB is none of FreeSWITCH's, and events for 4 MB were left lying. Its own 32 kB have room
    /// for the receive buffer of 16 kB and what is ordinarily on its way.
    fn default() -> Self {
        let frame = FrameLimits { body: 1 << 20, ..FrameLimits::default() };
        let link = LinkLimits { frame, event_bytes: 4 << 20, ..LinkLimits::default() };
        let (own, shared) = (32 << 10, 256 << 20);
        Self { connections: 4096, turned_away: 256, park: Duration::from_secs(3), link, own, shared }
    }
}

/// A listener for FreeSWITCH's connections.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: ServerLimits,
    places: Arc<Semaphore>,
    doors: Arc<Semaphore>,
    pool: Arc<Pool>,
    strangers: Mutex<Strangers>,
}

/// Who was refused.
#[derive(Debug, Default)]
struct Strangers {
    logged: Option<Instant>,
    /// Since then.
    more: u64,
}

impl Strangers {
    /// Another one; how many there were since the last that was logged, if it is time to log again.
    fn come(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|logged| now.duration_since(logged) < STRANGERS) {
            self.more += 1;
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.more))
    }
}

/// A connection FreeSWITCH opened for a call.
#[derive(Debug)]
pub struct Accepted {
    /// For commands. `connect` must be sent within 25 s.
    pub link: Link,
    /// What comes in.
    pub events: Events,
    /// Who connected.
    pub peer: SocketAddr,
    /// Counts against [`ServerLimits::connections`] until it is dropped.
    pub place: Place,
}

/// One of the listener's places.
#[derive(Debug)]
pub struct Place(#[allow(dead_code)] OwnedSemaphorePermit);

impl Server {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The system's error, when the address is in use or not this machine's.
    pub async fn bind(address: SocketAddr, limits: ServerLimits) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of the process before must not keep this one from listening.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(WAITING_TO_BE_ACCEPTED)?;
        let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        let doors = Arc::new(Semaphore::new(limits.turned_away.clamp(1, Semaphore::MAX_PERMITS)));
        let pool = Arc::new(Pool::new(limits.own, limits.shared));
        Ok(Self { listener, limits, places, doors, pool, strangers: Mutex::default() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// How many calls there is room for.
    pub fn free_places(&self) -> usize {
        self.places.available_permits()
    }

    /// The next call there is room for. Cancel safe.
    ///
    /// A peer that is not `allowed` is not our switch: it is closed at once and logged. A call there is no room for
    /// is turned away: see [`turn_away`].
    pub async fn accept(&self, allowed: impl Fn(IpAddr) -> bool) -> Accepted {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(BREATHER).await;
                    continue;
                }
            };
            if !allowed(peer.ip().to_canonical()) {
                let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(unlogged) = strangers.come(Instant::now()) {
                    tracing::warn!(%peer, unlogged, "refused a connection: its address is not in `allow`");
                }
                continue;
            }
            // Failing here means that the peer is gone already, which reading will tell.
            let _ = tcp::prepare(&stream);
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                let (link, events) = Link::open_in(stream, self.limits.link, self.pool.clone());
                return Accepted { link, events, peer, place: Place(place) };
            }
            tracing::warn!(%peer, most = self.limits.connections, "turned a call away: there are as many as allowed");
            self.show_out(stream).await;
        }
    }

    /// Turns a call away beside everything else, as soon as there is a door free.
    async fn show_out(&self, stream: TcpStream) {
        let Ok(door) = Arc::clone(&self.doors).acquire_owned().await else {
            return;
        };
        let park = self.limits.park;
        let (link, events) = Link::open_in(stream, self.limits.link, self.pool.clone());
        tokio::spawn(async move {
            see_out(link, events, park).await;
            drop(door);
        });
    }
}

/// Gives a call that was accepted, and is told nothing yet, back to the dialplan: `connect`, then as [`give_back`].
pub async fn turn_away<S>(io: S, park: Duration, limits: LinkLimits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (link, events) = Link::open(io, limits);
    see_out(link, events, park).await;
}

async fn see_out(link: Link, mut events: Events, park: Duration) {
    leave_behind(&[Command::Connect], &link, &mut events, park).await;
}

/// Gives a call that is connected back to the dialplan, and ends its connection.
///
/// A call whose connection ends before the call is parked stays parked with nobody in charge, for ever. So the park is
/// waited for, at most for `park`. It may be over before we can listen for it (3 of 16 times on a real switch), so the
/// call is given something to execute, which it does as soon as it is parked.
pub async fn give_back(link: &Link, events: &mut Events, park: Duration) {
    leave_behind(&[], link, events, park).await;
}

async fn leave_behind(first: &[Command], link: &Link, events: &mut Events, park: Duration) {
    see_parked(first, link, events, park).await;
    leave(link);
}

/// Waits until a call that is connected is parked, at most for `park`; see [`give_back`].
pub async fn until_parked(link: &Link, events: &mut Events, park: Duration) {
    see_parked(&[], link, events, park).await;
}

async fn see_parked(first: &[Command], link: &Link, events: &mut Events, park: Duration) {
    let mut commands = [first, &[Command::MyEvents]].concat();
    // Of words, so that it can be built.
    commands.extend(Execute::with("set", "fsq_given_back=true").ok().map(Command::from));
    match link.send_all(&commands) {
        Ok(sent) => sent.into_iter().for_each(|pending| pending.log_refusal("giving a call back")),
        Err(full) => tracing::warn!(%full, "whether a call that is given back has parked will not be seen"),
    }
    let parked = async {
        while let Some(incoming) = events.next().await {
            match incoming {
                Incoming::Event(event) if shows_park(event.kind()) => return,
                Incoming::Lingering(_) | Incoming::Closed(_) => return,
                _ => {}
            }
        }
    };
    if timeout(park, parked).await.is_err() {
        tracing::debug!("a call that is given back was not seen to park; leaving it all the same");
    }
}

/// Whether a call that tells this is parked, or no more.
fn shows_park(kind: EventKind) -> bool {
    matches!(kind, EventKind::ChannelPark | EventKind::ChannelExecuteComplete | EventKind::ChannelHangup)
}

/// Ends a connection: FreeSWITCH is told, and what was sent before is still written.
pub fn leave(link: &Link) {
    match link.send(&Command::Exit) {
        Ok(pending) => pending.log_refusal("exit"),
        Err(full) => tracing::warn!(%full, "a connection ends without a word"),
    }
    link.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_fill_the_log() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let logged: Vec<_> = [0, 1, 999, 1000, 1001, 2500].into_iter().map(|ms| strangers.come(at(ms))).collect();
        assert_eq!(logged, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
