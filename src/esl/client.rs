//! The inbound connection: from this process to FreeSWITCH's own Event Socket port.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::close::CloseReason;
use super::command::{Command, Password};
use super::connection::{Connection, ConnectionLimits, Events, Incoming};
use super::reply::{NotDone, Unknown};
use super::tcp;

/// Why no connection to FreeSWITCH could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The port could not be reached.
    #[error(
        "cannot connect to the Event Socket at {address}: {source}; check that FreeSWITCH is running and that event_socket.conf.xml has this listen-ip and listen-port"
    )]
    Io {
        /// The address, as `host:port`.
        address: String,
        /// The system's error.
        source: io::Error,
    },
    /// FreeSWITCH's access list rejected this machine; FreeSWITCH's text.
    #[error("FreeSWITCH refused this machine ({0}); allow its address with apply-inbound-acl in event_socket.conf.xml")]
    Rejected(String),
    /// The password is wrong; FreeSWITCH's text.
    #[error("FreeSWITCH refused the password ({0}); use the one in event_socket.conf.xml")]
    Password(String),
    /// The connection ended before the login completed.
    #[error("the connection ended before the login completed: {0}")]
    Closed(CloseReason),
    /// The peer did not answer within this time.
    #[error("no answer within {0:?}; check that this is the Event Socket port")]
    TimedOut(Duration),
}

/// Connects to `address` (`host:port`) and logs in. Takes at most twice [`ConnectionLimits::reply`].
///
/// # Errors
/// [`ConnectError`], which says what to check.
pub async fn connect(
    address: &str,
    password: &Password,
    limits: ConnectionLimits,
) -> Result<(Connection, Events), ConnectError> {
    let failed = |source| ConnectError::Io { address: address.to_owned(), source };
    let stream = match timeout(limits.reply, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(failed)?,
        Err(_) => return Err(failed(io::ErrorKind::TimedOut.into())),
    };
    tcp::prepare(&stream).map_err(failed)?;
    login(stream, password, limits).await
}

/// Logs in on an open connection. Takes at most [`ConnectionLimits::reply`].
///
/// # Errors
/// [`ConnectError`], which says what to check.
pub async fn login<S>(
    io: S,
    password: &Password,
    limits: ConnectionLimits,
) -> Result<(Connection, Events), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (connection, mut events) = Connection::open(io, limits);
    match timeout(limits.reply, authenticate(&connection, &mut events, password)).await {
        Ok(done) => done.map(|()| (connection, events)),
        Err(_) => Err(ConnectError::TimedOut(limits.reply)),
    }
}

async fn authenticate(connection: &Connection, events: &mut Events, password: &Password) -> Result<(), ConnectError> {
    loop {
        match events.next().await {
            Some(Incoming::AuthRequest) => break,
            Some(Incoming::Rejected(text)) => return Err(ConnectError::Rejected(text)),
            Some(Incoming::Closed(reason)) => return Err(ConnectError::Closed(reason)),
            Some(_) => {}
            None => return Err(ConnectError::Closed(CloseReason::Peer)),
        }
    }
    let reply = match connection.send(&Command::Auth(password.clone())) {
        Ok(pending) => pending.await,
        Err(_) => return Err(ConnectError::Closed(CloseReason::OutOfStep)),
    };
    match reply.done() {
        Ok(_) => Ok(()),
        Err(NotDone::Refused(text)) => Err(ConnectError::Password(text)),
        Err(NotDone::Unknown(Unknown::Closed(reason))) => Err(ConnectError::Closed(reason)),
        Err(NotDone::Unknown(Unknown::TimedOut(after))) => Err(ConnectError::TimedOut(after)),
    }
}
