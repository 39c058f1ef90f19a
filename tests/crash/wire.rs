//! The daemon's connections under the test's control: counted, and cut at any instant.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::Notify;

/// How many bytes either side may send ahead.
const ROOM: usize = 256 << 10;

/// The daemon's end of a connection.
enum End {
    Open(DuplexStream),
    /// The network broke the connection, and the daemon sees that.
    Broken,
    /// The daemon is dead.
    Dead,
}

struct Hold {
    end: End,
    reader: Option<Waker>,
}

type Held = Arc<Mutex<Hold>>;

#[derive(Default)]
struct State {
    dead: bool,
    /// The steps so far: commands the daemon wrote, and pieces of what it read.
    steps: usize,
    /// The step at which the daemon dies: before it reads the bytes of that step, or after it wrote the command of that
    /// step.
    last: Option<usize>,
    burst: usize,
    streams: Vec<Held>,
}

/// All connections of one run of the daemon.
#[derive(Clone, Default)]
pub struct Wires {
    state: Arc<Mutex<State>>,
    /// The connections that break together: all, or a part of them.
    group: Arc<Mutex<Vec<Held>>>,
    died: Arc<Notify>,
}

impl Wires {
    /// A part of the connections, which can be broken alone and dies with the rest.
    pub fn part(&self) -> Self {
        Self { group: Arc::default(), ..self.clone() }
    }

    /// Opens a connection: the switch's end, and the daemon's.
    pub fn pair(&self) -> (DuplexStream, Wire) {
        let (theirs, ours) = tokio::io::duplex(ROOM);
        let held = Arc::new(Mutex::new(Hold { end: End::Open(ours), reader: None }));
        self.state.lock().unwrap().streams.push(held.clone());
        self.group.lock().unwrap().push(held.clone());
        (theirs, Wire { held, wires: self.clone(), commands: Commands::default() })
    }

    /// Sets the number of steps after which the daemon dies, or none.
    pub fn die_in(&self, steps: Option<usize>) {
        let mut state = self.state.lock().unwrap();
        state.last = steps.map(|n| state.steps + n);
    }

    /// The daemon is dead: bytes it wrote still arrive, then every connection ends. Later writes reach no peer.
    pub fn cut(&self) {
        let streams = {
            let mut state = self.state.lock().unwrap();
            state.dead = true;
            std::mem::take(&mut state.streams)
        };
        for held in streams {
            held.lock().unwrap().end = End::Dead;
        }
        self.died.notify_one();
    }

    /// Breaks every connection as the network does: both sides see it.
    pub fn break_all(&self) {
        for held in std::mem::take(&mut *self.group.lock().unwrap()) {
            let mut held = held.lock().unwrap();
            held.end = End::Broken;
            if let Some(reader) = held.reader.take() {
                reader.wake();
            }
        }
    }

    /// The most commands the daemon wrote at once.
    pub fn burst(&self) -> usize {
        self.state.lock().unwrap().burst
    }

    /// Whether the daemon is dead.
    pub fn is_dead(&self) -> bool {
        self.state.lock().unwrap().dead
    }

    /// Waits for the death.
    pub async fn wait_dead(&self) {
        while !self.is_dead() {
            self.died.notified().await;
        }
    }

    fn wrote(&self, commands: usize) {
        let mut state = self.state.lock().unwrap();
        state.burst = state.burst.max(commands);
    }

    /// Takes one step; true when it is the step of the death.
    fn step(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.steps += 1;
        state.last == Some(state.steps)
    }
}

/// The daemon's end of a connection.
pub struct Wire {
    held: Held,
    wires: Wires,
    commands: Commands,
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = {
            let mut held = self.held.lock().unwrap();
            held.reader = Some(cx.waker().clone());
            match &mut held.end {
                End::Open(stream) => Pin::new(stream).poll_read(cx, buf),
                End::Broken => return Poll::Ready(Ok(())),
                End::Dead => return Poll::Pending,
            }
        };
        if read.is_ready() && buf.filled().len() > before && self.wires.step() {
            buf.set_filled(before);
            self.wires.cut();
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let held = self.held.clone();
        let mut held = held.lock().unwrap();
        let stream = match &mut held.end {
            End::Open(stream) => stream,
            End::Broken => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            End::Dead => return Poll::Ready(Ok(bytes.len())),
        };
        let mut passed = bytes.len();
        let mut last = false;
        let ends = self.commands.ends(bytes);
        self.wires.wrote(ends.len());
        for end in ends {
            if self.wires.step() {
                (passed, last) = (end, true);
                break;
            }
        }
        let written = Pin::new(stream).poll_write(cx, &bytes[..passed]);
        assert!(matches!(written, Poll::Ready(Ok(n)) if n == passed), "there is room for every command");
        drop(held);
        if last {
            self.wires.cut();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.held.lock().unwrap().end {
            End::Open(stream) => Pin::new(stream).poll_shutdown(cx),
            End::Broken | End::Dead => Poll::Ready(Ok(())),
        }
    }
}

/// Finds the ends of commands: at an empty line, or after the body that a `content-length` announces.
#[derive(Default)]
struct Commands {
    head: Vec<u8>,
    body: usize,
}

impl Commands {
    fn ends(&mut self, bytes: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        for (at, byte) in bytes.iter().enumerate() {
            if self.body > 0 {
                self.body -= 1;
                if self.body == 0 {
                    ends.push(at + 1);
                }
                continue;
            }
            self.head.push(*byte);
            if self.head.ends_with(b"\n\n") {
                let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
                self.head.clear();
                let length = head.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
                self.body = length.unwrap_or(0);
                if self.body == 0 {
                    ends.push(at + 1);
                }
            }
        }
        ends
    }
}
