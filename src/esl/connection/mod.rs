//! A connection: commands are sent without waiting, replies arrive in order, events arrive at any time.
//!
//! [`Connection`] is the handle that sends commands, [`Events`] receives what FreeSWITCH sends. One task owns the
//! socket. It never stops reading to wait for anything else, because a peer that stops reading freezes the whole
//! switch.

mod events;
mod inbox;
mod pending;
mod pool;
mod shared;
mod task;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::command::Command;
use super::frame::FrameLimits;

pub use super::close::CloseReason;
pub use events::Events;
pub use inbox::Incoming;
pub use pending::Pending;
pub use pool::Pool;
use shared::Shared;

/// Limits of a connection in bytes, items and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Limits of one frame.
    pub frame: FrameLimits,
    /// Commands without a reply yet.
    pub commands: usize,
    /// Bytes of commands not written yet.
    pub unwritten: usize,
    /// Events the application has not taken yet; beyond this only essential ones are kept.
    pub events: usize,
    /// Essential events kept beyond `events`; more of them end the connection.
    pub essential_events: usize,
    /// Bytes of events the application has not taken yet, with the same consequences; essential ones may take as much
    /// again.
    pub event_bytes: usize,
    /// How long a [`Pending`] waits for its reply.
    pub reply: Duration,
    /// How long FreeSWITCH may send nothing while a reply is outstanding; then the connection is closed.
    pub silence: Duration,
    /// How long a frame may take from its first byte to its last.
    pub one_frame: Duration,
    /// How long a write may take.
    pub write: Duration,
    /// How long FreeSWITCH may take to close the connection after we have closed our side.
    pub farewell: Duration,
}

impl Default for ConnectionLimits {
    /// For a caller's connection. FreeSWITCH replies within milliseconds, and itself closes a connection with 256
    /// unanswered `sendmsg`.
    fn default() -> Self {
        Self {
            frame: FrameLimits::default(),
            commands: 192,
            unwritten: 1 << 20,
            events: 256,
            essential_events: 256,
            event_bytes: 32 << 20,
            reply: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            one_frame: Duration::from_secs(10),
            write: Duration::from_secs(10),
            farewell: Duration::from_secs(1),
        }
    }
}

/// Too many commands await a reply, or too many bytes await writing. None of these commands was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many commands still await FreeSWITCH's reply")]
pub struct Full;

/// The handle of a connection. Clones share the connection.
///
/// Dropping the last one ends the connection, after the commands already sent have been written.
#[derive(Clone, Debug)]
pub struct Connection {
    handle: Arc<Handle>,
}

/// Ends the connection when no [`Connection`] is left.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ask_to_close();
    }
}

impl Connection {
    /// Runs a connection on `io`, in a task of its own.
    pub fn open<S>(io: S, limits: ConnectionLimits) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::start(io, Arc::new(limits), None)
    }

    /// Like [`Connection::open`], with memory counted against `pool`. Thousands of connections share the limits.
    pub fn open_in<S>(io: S, limits: Arc<ConnectionLimits>, pool: Arc<Pool>) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::start(io, limits, Some(pool))
    }

    fn start<S>(io: S, limits: Arc<ConnectionLimits>, pool: Option<Arc<Pool>>) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared::new(limits, pool));
        tokio::spawn(task::run(io, Arc::clone(&shared)));
        (Self { handle: Arc::new(Handle(Arc::clone(&shared))) }, Events::new(shared))
    }

    /// Queues a command. The task writes it at once, together with everything else that is queued.
    ///
    /// On a connection that has ended, the outcome is [`Unknown::Closed`](super::reply::Unknown::Closed).
    ///
    /// # Errors
    /// [`Full`] when FreeSWITCH is too far behind; the command was not queued.
    pub fn send(&self, command: &Command) -> Result<Pending, Full> {
        self.send_all(std::slice::from_ref(command))?.pop().ok_or(Full)
    }

    /// Queues all of these commands or none. They are written together, in order.
    ///
    /// # Errors
    /// [`Full`] when FreeSWITCH is too far behind; none of the commands was queued.
    pub fn send_all(&self, commands: &[Command]) -> Result<Vec<Pending>, Full> {
        let shared = &self.handle.0;
        shared.queue(commands, |queued| Pending::new(queued, shared))
    }

    /// Ends the connection: commands already sent are still written, further ones are not accepted.
    pub fn close(&self) {
        self.handle.0.ask_to_close();
    }

    /// Marks the peer as trusted: memory shared by all connections no longer limits it; see [`Pool`].
    pub fn vouch(&self) {
        self.handle.0.share.vouch();
    }

    /// Why the connection ended; `None` while it is open.
    pub fn closed(&self) -> Option<CloseReason> {
        self.handle.0.closed()
    }
}
