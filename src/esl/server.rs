//! Outbound connections, which FreeSWITCH opens with its `socket` application: one for each call.
//!
//! Owns the listener: which peers may connect, how many at once, and how a call that is not served goes back to the
//! dialplan. Must not know what a call is for: queues, agents and `fsq_*` variables are none of its business.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::command::{Command, Execute};
use super::connection::{Connection, ConnectionLimits, Events, Incoming, Pool};
use super::frame::FrameLimits;
use super::kind::EventKind;
use super::tcp;

/// How long to pause when the system has no resources for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A refused peer is logged at once, but not more often than this, so that endless attempts do not fill the log.
const REFUSALS_LOGGED_EVERY: Duration = Duration::from_secs(1);

/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`). Beyond that, Linux
/// drops the last packet of the handshake: FreeSWITCH believes it is connected, and the call waits in silence for a
/// `connect` that nobody sends (seen with 188 of 1,000 simultaneous calls and a backlog of 128).
const WAITING_TO_BE_ACCEPTED: u32 = 4096;

/// Limits of the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Concurrent calls. Further ones are turned away.
    pub connections: usize,
    /// Calls being turned away at the same time. Further ones wait to be accepted.
    pub turned_away: usize,
    /// How long to wait for a call that is turned away to park.
    pub park: Duration,
    /// Limits of each connection.
    pub connection: ConnectionLimits,
    /// Bytes of unprocessed data that each connection may always hold: see [`Pool`].
    pub own: usize,
    /// Bytes of unprocessed data that all connections may hold together: see [`Pool`].
    pub shared: usize,
}

impl Default for ServerLimits {
    /// Thousands of calls, more than one FreeSWITCH carries. Frames of a call are some 10 kB, so FreeSWITCH never sends
    /// one of 1 MB, and 4 MB of unread events mean that the session no longer reads. A connection's own 32 kB suffice
    /// for the receive buffer of 16 kB and the usual unread events.
    fn default() -> Self {
        let frame = FrameLimits { body: 1 << 20, ..FrameLimits::default() };
        let connection = ConnectionLimits { frame, event_bytes: 4 << 20, ..ConnectionLimits::default() };
        let (own, shared) = (32 << 10, 256 << 20);
        Self { connections: 4096, turned_away: 256, park: Duration::from_secs(3), connection, own, shared }
    }
}

/// A listener for FreeSWITCH's connections.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: ServerLimits,
    of_connections: Arc<ConnectionLimits>,
    places: Arc<Semaphore>,
    turning_away: Arc<Semaphore>,
    pool: Arc<Pool>,
    refusals: Mutex<Refusals>,
}

/// Counts refused peers.
#[derive(Debug, Default)]
struct Refusals {
    logged: Option<Instant>,
    /// How many were refused since then.
    more: u64,
}

impl Refusals {
    /// Counts another one. When it is time to log again, returns how many went unlogged since the last time.
    fn count(&mut self, now: Instant) -> Option<u64> {
        if self.logged.is_some_and(|logged| now.duration_since(logged) < REFUSALS_LOGGED_EVERY) {
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
    /// Sends commands. Send `connect` within 25 s.
    pub connection: Connection,
    /// Receives events.
    pub events: Events,
    /// The peer's address.
    pub peer: SocketAddr,
    /// Counts against [`ServerLimits::connections`] until it is dropped.
    pub place: Place,
}

/// Room for one call at the listener.
#[derive(Debug)]
pub struct Place(#[allow(dead_code)] OwnedSemaphorePermit);

impl Server {
    /// Listens on `address`.
    ///
    /// # Errors
    /// The system's error, for example when the address is in use or does not belong to this machine.
    pub async fn bind(address: SocketAddr, limits: ServerLimits) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // Connections of the previous process must not keep this one from listening.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(WAITING_TO_BE_ACCEPTED)?;
        let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        let turning_away = Arc::new(Semaphore::new(limits.turned_away.clamp(1, Semaphore::MAX_PERMITS)));
        let pool = Arc::new(Pool::new(limits.own, limits.shared));
        let of_connections = Arc::new(limits.connection);
        Ok(Self { listener, limits, of_connections, places, turning_away, pool, refusals: Mutex::default() })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// The system's error.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// How many more calls there is room for.
    pub fn free_places(&self) -> usize {
        self.places.available_permits()
    }

    /// Waits for the next call there is room for. Cancel safe.
    ///
    /// Closes and logs a peer that is not `allowed`, since it is not our switch. Turns away calls there is no room for:
    /// see [`turn_away`].
    pub async fn accept(&self, allowed: impl Fn(IpAddr) -> bool) -> Accepted {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if !allowed(peer.ip().to_canonical()) {
                let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(unlogged) = refusals.count(Instant::now()) {
                    tracing::warn!(%peer, unlogged, "refused a connection: its address is not in `allow`");
                }
                continue;
            }
            // A failure here means that the peer is gone already; the first read reports it.
            let _ = tcp::prepare(&stream);
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                let (connection, events) = Connection::open_in(stream, self.of_connections.clone(), self.pool.clone());
                return Accepted { connection, events, peer, place: Place(place) };
            }
            tracing::warn!(%peer, most = self.limits.connections, "turned a call away: the limit of calls is reached");
            self.turn_away_in_background(stream).await;
        }
    }

    /// Turns a call away in a task of its own, as soon as fewer than the limit are being turned away.
    async fn turn_away_in_background(&self, stream: TcpStream) {
        let Ok(permit) = Arc::clone(&self.turning_away).acquire_owned().await else {
            return;
        };
        let park = self.limits.park;
        let (connection, events) = Connection::open_in(stream, self.of_connections.clone(), self.pool.clone());
        tokio::spawn(async move {
            turn_away_connection(connection, events, park).await;
            drop(permit);
        });
    }
}

/// Returns an accepted call, which has received no command yet, to the dialplan: `connect`, then as [`give_back`].
pub async fn turn_away<S>(io: S, park: Duration, limits: ConnectionLimits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, events) = Connection::open(io, limits);
    turn_away_connection(connection, events, park).await;
}

async fn turn_away_connection(connection: Connection, mut events: Events, park: Duration) {
    give_back_after(&[Command::Connect], &connection, &mut events, park).await;
}

/// Returns a call to the dialplan after `connect`, and ends its connection.
///
/// A call whose connection ends before the call is parked stays parked for ever, with nobody in charge. So this waits
/// for the park, for at most `park`. The call may have parked before we subscribe to its events (3 of 16 times on a
/// real switch), so it is also given an application, which it executes as soon as it is parked.
pub async fn give_back(connection: &Connection, events: &mut Events, park: Duration) {
    give_back_after(&[], connection, events, park).await;
}

async fn give_back_after(first: &[Command], connection: &Connection, events: &mut Events, park: Duration) {
    wait_for_park(first, connection, events, park).await;
    leave(connection);
}

/// Waits until a call is parked after `connect`, for at most `park`; see [`give_back`].
pub async fn until_parked(connection: &Connection, events: &mut Events, park: Duration) {
    wait_for_park(&[], connection, events, park).await;
}

async fn wait_for_park(first: &[Command], connection: &Connection, events: &mut Events, park: Duration) {
    let mut commands = [first, &[Command::MyEvents]].concat();
    // It consists of plain words, so building it cannot fail.
    commands.extend(Execute::with("set", "fsq_given_back=true").ok().map(Command::from));
    match connection.send_all(&commands) {
        Ok(sent) => sent.into_iter().for_each(|pending| pending.log_refusal("returning a call to the dialplan")),
        Err(full) => tracing::warn!(%full, "cannot see whether a call that returns to the dialplan is parked"),
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
        tracing::debug!("did not see a call park that returns to the dialplan; leaving it anyway");
    }
}

/// Whether this event shows that the call is parked or has ended.
fn shows_park(kind: EventKind) -> bool {
    matches!(kind, EventKind::ChannelPark | EventKind::ChannelExecuteComplete | EventKind::ChannelHangup)
}

/// Ends a connection with `exit`, after the commands already sent have been written.
pub fn leave(connection: &Connection) {
    match connection.send(&Command::Exit) {
        Ok(pending) => pending.log_refusal("exit"),
        Err(full) => tracing::warn!(%full, "closing a connection without `exit`"),
    }
    connection.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_peers_do_not_fill_the_log() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let logged: Vec<_> = [0, 1, 999, 1000, 1001, 2500].into_iter().map(|ms| refusals.count(at(ms))).collect();
        assert_eq!(logged, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
