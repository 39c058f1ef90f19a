//! Measures the machine's own share of a time: a process beside the daemon that answers at once.
//!
//! Under the same load, one call in [`ONE_IN`] also sends the bytes from which a time is measured to this process, on a
//! connection of its own, and waits for the answer. This process reads and writes as the daemon does, with as many
//! threads, but does nothing in between: all the time it takes is the machine's.

use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::daemon::free_port;
use crate::lean::Switch;

/// One call in this many has a connection to the control, because a connection for each would double the load.
pub const ONE_IN: u64 = 10;

/// The argument that makes the program run as the control.
pub const ARGUMENT: &str = "--control";

/// The length of the answer, which is that of an `originate`.
const ANSWER: usize = 1_400;

/// The running control.
#[derive(Debug)]
pub struct Control {
    child: Child,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Control {
    /// Starts this program a second time, as the control.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start() -> Result<Self> {
        let port = free_port()?;
        let child = Command::new(std::env::current_exe()?)
            .args([ARGUMENT, &port.to_string()])
            // As the daemon is started.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the control")?;
        let control = Self { child, port };
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(control);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        anyhow::bail!("the control does not listen")
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs as the control until the process is ended.
///
/// # Errors
/// When it cannot listen.
pub fn serve(port: u16) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        // As long a backlog as the daemon's.
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], port).into())?;
        let listener: TcpListener = socket.listen(4096)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(answer(stream));
        }
    })
}

/// Answers one connection: each request begins with its length in four bytes.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut said = Vec::new();
    loop {
        let length = stream.read_u32().await?;
        said.resize(usize::try_from(length).unwrap_or(usize::MAX).min(1 << 20), 0);
        stream.read_exact(&mut said).await?;
        stream.write_all(&[b'a'; ANSWER]).await?;
    }
}

/// The time that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// From the caller's arrival, and from the answer to `connect`.
    Told,
    /// From the end of an agent's call.
    Free,
}

/// Bytes that were just sent to the daemon: the time that they start, when it started, and the bytes.
pub(crate) type Said = (Mark, Instant, Vec<u8>);

/// Sends to the control the bytes that a call, which `came` then, sends to the daemon, until the call has ended.
pub(crate) async fn follow(switch: Arc<Switch>, port: u16, came: Instant, said: mpsc::UnboundedReceiver<Said>) {
    if let Err(error) = say(&switch, port, came, said).await {
        switch.book().wrong(format!("the control was lost: {error}"));
    }
}

async fn say(switch: &Switch, port: u16, came: Instant, mut said: mpsc::UnboundedReceiver<Said>) -> io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let mut answer = [0; ANSWER];
    while let Some((mark, since, mut bytes)) = said.recv().await {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
        bytes.splice(0..0, length);
        stream.write_all(&bytes).await?;
        stream.read_exact(&mut answer).await?;
        let now = Instant::now();
        let mut book = switch.book();
        match mark {
            Mark::Told => {
                book.control.came_to_offer.add(now - came);
                book.control.known_to_offer.add(now - since);
            }
            Mark::Free => book.control.free_to_offer.add(now - since),
        }
    }
    Ok(())
}
