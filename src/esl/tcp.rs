//! TCP options for connections in both directions.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// An idle connection probes its peer after this long, so that the loss of the peer's machine is noticed.
const IDLE: Duration = Duration::from_secs(30);
const PROBE: Duration = Duration::from_secs(10);

/// Makes the connection send at once and notice a peer that vanishes.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(PROBE).with_retries(3);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
