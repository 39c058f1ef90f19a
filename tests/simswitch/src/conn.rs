//! Connections: their subscriptions, the data that waits to be sent, and their ends.

use crate::event::{Event, Format};
use crate::leg::{ConnId, LegId};
use crate::wire::{self, Reader};
use crate::world::World;
use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

/// A byte stream to or from the controller.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for T {}

/// A connection being opened.
pub type Connecting = Pin<Box<dyn Future<Output = std::io::Result<Box<dyn Stream>>> + Send>>;

/// How the `socket` application reaches the controller.
pub trait Connector: Send + Sync + 'static {
    /// Opens a stream for the `HOST:PORT` the dialplan names; an error is a refused connection.
    fn connect(&self, target: String) -> Connecting;
}

impl<F, Fut, S> Connector for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = std::io::Result<S>> + Send + 'static,
    S: Stream,
{
    fn connect(&self, target: String) -> Connecting {
        let stream = self(target);
        Box::pin(async move { Ok(Box::new(stream.await?) as Box<dyn Stream>) })
    }
}

/// The most unread bytes a connection may hold before it is closed.
const MAX_COMMAND: usize = 4 << 20;

/// Bytes rendered ahead of the socket.
const MAX_UNSENT: usize = 256 << 10;

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Phase {
    /// Outbound: no command has come yet.
    Fresh,
    /// Outbound: `connect` is answered, the call is not parked yet.
    Connected,
    /// Serving.
    Serving,
    /// The channel has gone; the socket stays for its last events.
    Lingering,
    /// The last bytes are being sent.
    Closing,
}

pub(crate) struct Conn {
    /// The outbound connection's own leg.
    pub(crate) leg: Option<LegId>,
    pub(crate) own_uuid: String,
    pub(crate) own_name: String,
    pub(crate) phase: Phase,
    pub(crate) opened: Instant,
    pub(crate) authed: bool,
    pub(crate) full: bool,
    pub(crate) reader: Reader,
    pub(crate) backlog: VecDeque<u8>,
    /// An `api` that takes time: the connection neither reads nor sends meanwhile.
    pub(crate) blocked: bool,
    pub(crate) frozen: bool,
    pub(crate) session_down: bool,
    pub(crate) events: VecDeque<Arc<Event>>,
    pub(crate) overflowed: bool,
    pub(crate) out: String,
    pub(crate) writable: Arc<Notify>,
    pub(crate) types: HashSet<&'static str>,
    pub(crate) all: bool,
    pub(crate) listening: bool,
    pub(crate) subclasses: HashSet<String>,
    pub(crate) format: Format,
    pub(crate) myevents: bool,
    pub(crate) filters: Vec<(String, String)>,
    pub(crate) keys: HashSet<String>,
    pub(crate) linger: Option<Option<u64>>,
    pub(crate) woken: Instant,
    pub(crate) flush_due: bool,
}

impl Conn {
    pub(crate) fn wants(&self, event: &Event) -> bool {
        if !self.listening || !self.authed {
            return false;
        }
        if event.name == "CUSTOM" {
            let named = event.subclass.as_ref().is_some_and(|s| self.subclasses.contains(s));
            if !self.all && !(self.types.contains("CUSTOM") && (named || self.subclasses.is_empty())) {
                return false;
            }
        } else if !self.all && !self.types.contains(event.name.as_ref()) {
            return false;
        }
        if !self.filters.is_empty() && !self.passes_filters(event) {
            return false;
        }
        !self.myevents || event.get("Unique-ID") == Some(self.own_uuid.as_str())
    }

    /// An OR over the lines; an event with none of the named headers is dropped.
    fn passes_filters(&self, event: &Event) -> bool {
        self.filters.iter().any(|(name, wanted)| event.get(name).is_some_and(|v| v.eq_ignore_ascii_case(wanted)))
    }

    /// The identities an event must carry for this connection to receive it, if identities alone decide.
    fn identity_keys(&self) -> Option<HashSet<String>> {
        if self.myevents {
            return Some(HashSet::from([self.own_uuid.clone()]));
        }
        if self.filters.is_empty() {
            return None;
        }
        let by_identity = |name: &str| name.eq_ignore_ascii_case("Unique-ID") || name.eq_ignore_ascii_case("Job-UUID");
        if !self.filters.iter().all(|(name, _)| by_identity(name)) {
            return None;
        }
        Some(self.filters.iter().map(|(_, value)| value.clone()).collect())
    }
}

impl World {
    /// Serves a stream. Two tasks carry its bytes; the world does the rest.
    pub(crate) fn open_conn(&mut self, stream: Box<dyn Stream>, leg: Option<LegId>, full: bool) -> ConnId {
        let id = self.fresh();
        let writable = Arc::new(Notify::new());
        let (own_uuid, own_name) =
            leg.and_then(|l| self.legs.get(&l)).map(|l| (l.uuid.clone(), l.name.clone())).unwrap_or_default();
        let conn = Conn {
            leg,
            own_uuid,
            own_name,
            phase: if leg.is_some() { Phase::Fresh } else { Phase::Serving },
            opened: Instant::now(),
            authed: leg.is_some(),
            full,
            reader: Reader::default(),
            backlog: VecDeque::new(),
            blocked: false,
            frozen: self.faults.frozen,
            session_down: false,
            events: VecDeque::new(),
            overflowed: false,
            out: if leg.is_some() { String::new() } else { "Content-Type: auth/request\n\n".into() },
            writable: writable.clone(),
            types: HashSet::new(),
            all: false,
            listening: false,
            subclasses: HashSet::new(),
            format: Format::Plain,
            myevents: false,
            filters: Vec::new(),
            keys: HashSet::new(),
            linger: None,
            woken: Instant::now(),
            flush_due: false,
        };
        self.conns.insert(id, conn);
        let (reader, writer) = tokio::io::split(stream);
        let shared = self.shared.clone();
        let gone = Arc::new(Notify::new());
        tokio::spawn(read_task(shared.clone(), id, reader, gone.clone()));
        tokio::spawn(write_task(shared, id, writer, writable.clone(), gone));
        writable.notify_one();
        id
    }

    /// Updates the index of subscribers with a connection's subscriptions.
    pub(crate) fn reindex(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let keys = conn.identity_keys();
        let open = conn.listening && keys.is_none();
        let keys = if conn.listening { keys.unwrap_or_default() } else { HashSet::new() };
        let old = std::mem::replace(&mut conn.keys, keys.clone());
        for gone in old.difference(&keys) {
            if let Some(set) = self.keyed.get_mut(gone) {
                set.remove(&id);
                if set.is_empty() {
                    self.keyed.remove(gone);
                }
            }
        }
        for new in keys {
            self.keyed.entry(new).or_default().insert(id);
        }
        if open {
            self.unkeyed.insert(id);
        } else {
            self.unkeyed.remove(&id);
        }
    }

    /// Whether any connection may subscribe to an event of this leg: under load, most events have no subscriber.
    pub(crate) fn is_wanted(&self, name: &str, uuid: &str) -> bool {
        let takes = |id: &ConnId| self.conns.get(id).is_some_and(|c| c.listening && (c.all || c.types.contains(name)));
        self.keyed.get(uuid).is_some_and(|set| set.iter().any(takes)) || self.unkeyed.iter().any(takes)
    }

    /// Passes an event to every connection that subscribes to it.
    pub(crate) fn fire(&mut self, event: Event) {
        self.stats.events += 1;
        if self.faults.loses(&event) {
            return;
        }
        let mut takers: Vec<ConnId> = self.unkeyed.iter().copied().collect();
        for key in ["Unique-ID", "Job-UUID"] {
            if let Some(set) = event.get(key).and_then(|value| self.keyed.get(value)) {
                takers.extend(set);
            }
        }
        takers.sort_unstable();
        takers.dedup();
        takers.retain(|id| self.conns.get(id).is_some_and(|c| c.wants(&event)));
        if takers.is_empty() {
            return;
        }
        let event = Arc::new(event);
        let is_link = |id: &ConnId| self.conns.get(id).is_some_and(|conn| conn.leg.is_none());
        let (links, takers): (Vec<ConnId>, Vec<ConnId>) =
            takers.into_iter().partition(|id| self.faults.link_delay.is_some() && is_link(id));
        if let Some(delay) = self.faults.link_delay.filter(|_| !links.is_empty()) {
            let event = event.clone();
            self.after(delay, move |world| links.into_iter().for_each(|id| world.queue_event(id, event.clone())));
        }
        match self.faults.event_delay {
            Some(delay) => self.after(delay, move |world| {
                for id in takers {
                    world.queue_event(id, event.clone());
                }
            }),
            None => {
                for id in takers {
                    self.queue_event(id, event.clone());
                }
            }
        }
    }

    fn queue_event(&mut self, id: ConnId, event: Arc<Event>) {
        let limit = self.config.event_queue;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.events.len() >= limit {
            if !std::mem::replace(&mut conn.overflowed, true) {
                self.note_overflow(id);
            }
            return;
        }
        conn.events.push_back(event);
        self.schedule_flush(id);
    }

    /// The connection's thread looks at its events on a grid of 20 ms from the last command it read.
    pub(crate) fn schedule_flush(&mut self, id: ConnId) {
        let step = self.config.timing.flush;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.flush_due || conn.phase == Phase::Closing {
            return;
        }
        conn.flush_due = true;
        let now = Instant::now();
        let behind = now.saturating_duration_since(conn.woken).as_micros();
        let grid = step.as_micros().max(1);
        let steps = behind.div_ceil(grid).max(1);
        let at = conn.woken + Duration::from_micros(u64::try_from(steps * grid).unwrap_or(u64::MAX));
        self.at(at, move |world| {
            if let Some(conn) = world.conns.get_mut(&id) {
                conn.flush_due = false;
                conn.woken = Instant::now();
            }
            world.flush(id);
        });
    }

    /// Sends the queued data, then notices that the channel has ended.
    pub(crate) fn flush(&mut self, id: ConnId) {
        let clock = self.clock;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.blocked || conn.frozen || conn.reader.is_inside() || conn.phase == Phase::Closing {
            return;
        }
        // A peer that does not read fills its own queue, not the machine's memory.
        while conn.out.len() < MAX_UNSENT {
            let Some(event) = conn.events.pop_front() else { break };
            conn.out.push_str(event.frame(conn.format));
        }
        if !conn.events.is_empty() {
            conn.writable.notify_one();
            return;
        }
        if conn.session_down && conn.phase != Phase::Lingering {
            conn.phase = Phase::Lingering;
            match conn.linger {
                None => return self.close_conn(id),
                Some(wanted) => {
                    let shown = wanted.map_or(-1, |s| i64::try_from(s).unwrap_or(i64::MAX));
                    conn.out.push_str(&format!(
                        "Content-Type: text/disconnect-notice\nControlled-Session-UUID: {}\nContent-Disposition: linger\n\
                         Channel-Name: {}\nLinger-Time: {shown}\nContent-Length: 0\n\n",
                        conn.own_uuid, conn.own_name
                    ));
                    if let Some(seconds) = wanted {
                        // Whole calendar seconds, and one more: `now > end`.
                        let end = clock.whole_seconds_after(Instant::now(), seconds.saturating_add(1).min(1 << 30));
                        self.at(end, move |world| world.close_conn(id));
                    }
                }
            }
        }
        if let Some(conn) = self.conns.get(&id) {
            conn.writable.notify_one();
        }
    }

    /// Sends the disconnect notice and closes. The next step of the connection's own channel is decided here too.
    pub(crate) fn close_conn(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if conn.phase == Phase::Closing {
            return;
        }
        let session = if conn.leg.is_some() {
            format!("Controlled-Session-UUID: {}\nContent-Disposition: disconnect\n", conn.own_uuid)
        } else {
            String::new()
        };
        conn.out.push_str(&format!(
            "Content-Type: text/disconnect-notice\n{session}Content-Length: {}\n\n{}",
            wire::GOODBYE.len(),
            wire::GOODBYE
        ));
        self.end_conn(id);
    }

    /// The connection has ended, with or without a disconnect notice.
    pub(crate) fn end_conn(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let before = std::mem::replace(&mut conn.phase, Phase::Closing);
        if before == Phase::Closing {
            return;
        }
        conn.listening = false;
        conn.events.clear();
        conn.writable.notify_one();
        let leg = conn.leg.filter(|_| !conn.session_down);
        self.reindex(id);
        if let Some(leg) = leg {
            // FreeSWITCH waits for the threads of `bgapi` before it gives the call up (measured): the caller stays as
            // long as a phone rings by a command of this connection.
            if self.jobs.contains_key(&id) {
                self.held_back.insert(id, (leg, before));
            } else {
                self.controller_gone(leg, id, before);
            }
        }
    }

    /// Bytes from the peer.
    pub(crate) fn feed(&mut self, id: ConnId, bytes: &[u8]) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.backlog.extend(bytes);
            if conn.backlog.len() > MAX_COMMAND {
                return self.end_conn(id);
            }
        }
        self.work_off(id);
    }

    /// After the commands read so far: events are sent, and a call just taken is parked.
    pub(crate) fn settle(&mut self, id: ConnId) {
        self.flush(id);
        if let Some(conn) = self.conns.get(&id) {
            conn.writable.notify_one();
            if conn.phase == Phase::Connected {
                self.park_connected(id);
            }
        }
    }

    /// Runs the commands that have been read, then sends the data that they and others queued.
    pub(crate) fn work_off(&mut self, id: ConnId) {
        let mut worked = false;
        loop {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            if conn.blocked || conn.frozen || conn.phase == Phase::Closing {
                return;
            }
            let Some(byte) = conn.backlog.pop_front() else { break };
            let Some(command) = conn.reader.push(byte) else {
                continue;
            };
            conn.woken = Instant::now();
            worked = true;
            self.command(id, &command);
        }
        if worked {
            self.settle(id);
        } else if self.conns.get(&id).is_some_and(|c| !c.events.is_empty()) {
            self.schedule_flush(id);
        }
    }
}

async fn read_task(
    shared: std::sync::Weak<crate::world::Shared>,
    id: ConnId,
    mut reader: tokio::io::ReadHalf<Box<dyn Stream>>,
    gone: Arc<Notify>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            read = reader.read(&mut buffer) => read,
            () = gone.notified() => return,
        };
        let Some(shared) = shared.upgrade() else { return };
        match read {
            Ok(n) if n > 0 => {
                let open = shared.change(|world| {
                    world.feed(id, &buffer[..n]);
                    world.conns.contains_key(&id)
                });
                if !open {
                    return;
                }
            }
            _ => {
                shared.change(|world| world.end_conn(id));
                return;
            }
        }
    }
}

async fn write_task(
    shared: std::sync::Weak<crate::world::Shared>,
    id: ConnId,
    mut writer: tokio::io::WriteHalf<Box<dyn Stream>>,
    writable: Arc<Notify>,
    gone: Arc<Notify>,
) {
    loop {
        writable.notified().await;
        loop {
            let Some(strong) = shared.upgrade() else { return };
            let (bytes, closing) = strong.change(|world| {
                let Some(conn) = world.conns.get_mut(&id) else {
                    return (String::new(), true);
                };
                let bytes = if conn.frozen { String::new() } else { std::mem::take(&mut conn.out) };
                let (closing, more) = (conn.phase == Phase::Closing, !conn.events.is_empty());
                if more {
                    world.schedule_flush(id);
                }
                (bytes, closing)
            });
            drop(strong);
            let failed = !bytes.is_empty() && writer.write_all(bytes.as_bytes()).await.is_err();
            if failed || (closing && bytes.is_empty()) {
                let _ = writer.shutdown().await;
                let Some(strong) = shared.upgrade() else { return };
                strong.change(|world| {
                    world.end_conn(id);
                    world.conns.remove(&id);
                });
                gone.notify_one();
                return;
            }
            if bytes.is_empty() {
                break;
            }
            let _ = writer.flush().await;
        }
    }
}
