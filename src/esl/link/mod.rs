//! A connection: commands go out without waiting, replies come back in order, events come in.
//!
//! [`Link`] is the handle commands are sent through, [`Events`] what FreeSWITCH tells. One task owns the socket; its
//! reading never waits for anything but the socket, because a peer that stops reading freezes the whole switch.

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

/// What a connection may cost in bytes, items and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLimits {
    /// One frame.
    pub frame: FrameLimits,
    /// Commands without a reply yet.
    pub commands: usize,
    /// Bytes of commands not yet written.
    pub unwritten: usize,
    /// Events the application has not taken yet; of those that come on top only the essential ones are kept.
    pub events: usize,
    /// Essential events kept on top of `events`; when there are more, the connection is closed.
    pub essential_events: usize,
    /// Bytes of events the application has not taken yet, with the same consequences; essential ones may take as much
    /// on top.
    pub event_bytes: usize,
    /// How long a [`Pending`] waits for its reply.
    pub reply: Duration,
    /// How long FreeSWITCH may be silent while it owes a reply; then the connection is closed.
    pub silence: Duration,
    /// How long a frame may take from its first byte to its last.
    pub one_frame: Duration,
    /// How long a write may take.
    pub write: Duration,
    /// How long FreeSWITCH has to end the connection after we ended our side.
    pub farewell: Duration,
}

impl Default for LinkLimits {
    /// For a caller's connection: FreeSWITCH answers within milliseconds, and closes a connection itself when it has
    /// 256 unanswered `sendmsg`.
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

/// Too many commands wait for a reply, or too many bytes for being written. Nothing of the attempt was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many commands wait for FreeSWITCH's reply")]
pub struct Full;

/// The handle of a connection. Its clones are the same connection.
///
/// When the last one is dropped, what was sent is still written, and the connection ends.
#[derive(Clone, Debug)]
pub struct Link {
    handle: Arc<Handle>,
}

/// Ends the connection when no [`Link`] is left.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.ask_to_close();
    }
}

impl Link {
    /// Runs a connection on `io`, in a task of its own.
    pub fn open<S>(io: S, limits: LinkLimits) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::start(io, limits, None)
    }

    /// Runs a connection whose memory counts against `pool`.
    pub fn open_in<S>(io: S, limits: LinkLimits, pool: Arc<Pool>) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        Self::start(io, limits, Some(pool))
    }

    fn start<S>(io: S, limits: LinkLimits, pool: Option<Arc<Pool>>) -> (Self, Events)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared::new(limits, pool));
        tokio::spawn(task::run(io, Arc::clone(&shared)));
        (Self { handle: Arc::new(Handle(Arc::clone(&shared))) }, Events::new(shared))
    }

    /// Queues a command. It is written at once, together with what else is queued.
    ///
    /// On a connection that has ended the outcome is [`Unknown::Closed`](super::reply::Unknown::Closed).
    ///
    /// # Errors
    /// [`Full`] when FreeSWITCH is too far behind; the command was not queued.
    pub fn send(&self, command: &Command) -> Result<Pending, Full> {
        self.send_all(std::slice::from_ref(command))?.pop().ok_or(Full)
    }

    /// Queues several commands that are written together, in order, or none.
    ///
    /// # Errors
    /// [`Full`] when FreeSWITCH is too far behind; none of the commands was queued.
    pub fn send_all(&self, commands: &[Command]) -> Result<Vec<Pending>, Full> {
        let shared = &self.handle.0;
        shared.queue(commands, |queued| Pending::new(queued, shared))
    }

    /// Ends the connection: what was sent is still written, nothing else is accepted.
    pub fn close(&self) {
        self.handle.0.ask_to_close();
    }

    /// Says that the peer is who it should be: it is never closed for what all connections together hold; see [`Pool`].
    pub fn vouch(&self) {
        self.handle.0.share.vouch();
    }

    /// Why the connection ended; `None` while it has not.
    pub fn closed(&self) -> Option<CloseReason> {
        self.handle.0.closed()
    }
}
