//! A lean switch: any number of calls over real TCP, at the cost of copying bytes.
//!
//! It replays the frames of a capture in the order and with the pauses of the capture, with the ids of each call filled
//! in. It understands the commands of a call that goes well and records them. It is not a simulation, as `simswitch`
//! is: a call that goes any other way counts as wrong.

mod book;
mod call;
mod command;
mod link;
mod template;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

pub use book::{Book, Counts, Times, Traffic};
use template::{Id, Templates};

/// How many events the inbound link may be behind before that counts as wrong.
const LINK_BEHIND: usize = 65_536;

/// The course of the calls.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// How long a phone rings before it is answered.
    pub rings: Duration,
    /// How long caller and agent talk, ± a fifth; `None` means without end until [`Switch::talk`].
    pub talk: Option<Duration>,
}

/// The state that all connections share.
#[derive(Debug)]
pub struct Switch {
    controller: SocketAddr,
    /// The port of the control on 127.0.0.1.
    control: u16,
    templates: Templates,
    queues: Vec<String>,
    book: Mutex<Book>,
    rings: Duration,
    talk: watch::Sender<Option<Duration>>,
    /// When set, every waiting caller hangs up within that time.
    hang_up: watch::Sender<Duration>,
    link: mpsc::Sender<Vec<u8>>,
    calls: AtomicU64,
}

impl Switch {
    /// A switch whose calls go to `controller` and whose samples go to `control`, with `participants` by queue and agent. Its own Event Socket listens
    /// on `listener`, in a thread of its own.
    ///
    /// # Errors
    /// When the templates cannot be read.
    pub fn new(
        controller: SocketAddr,
        control: u16,
        queues: &[(String, Vec<String>)],
        habits: Habits,
        listener: std::net::TcpListener,
    ) -> Result<Arc<Self>> {
        let (link, reports) = mpsc::channel(LINK_BEHIND);
        let switch = Arc::new(Self {
            controller,
            control,
            templates: Templates::read()?,
            queues: queues.iter().map(|(number, _)| number.clone()).collect(),
            book: Mutex::new(Book::new(queues)),
            rings: habits.rings,
            talk: watch::Sender::new(habits.talk),
            hang_up: watch::Sender::new(Duration::ZERO),
            link,
            calls: AtomicU64::new(0),
        });
        listener.set_nonblocking(true)?;
        let serving = switch.clone();
        std::thread::Builder::new().name("link".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { link::serve(&serving, TcpListener::from_std(listener)?, reports).await })
        })?;
        Ok(switch)
    }

    /// A caller dials a queue.
    pub fn call(self: &Arc<Self>, queue: usize) {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(call::run(self.clone(), number, queue));
    }

    /// Sets how long conversations last from now on; those without an end so far end within that time.
    pub fn talk(&self, talk: Duration) {
        self.talk.send_replace(Some(talk));
    }

    /// Every waiting caller hangs up within `within`.
    pub fn hang_up(&self, within: Duration) {
        self.hang_up.send_replace(within);
    }

    /// The record of commands and times.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel's id, built from its kind and the number of its call.
fn id(kind: u32, number: u64) -> Id {
    let mut id = [0; 36];
    let text = format!("{kind:08x}-0000-4000-8000-{number:012x}");
    id.copy_from_slice(text.as_bytes().get(..36).unwrap_or(&[b'0'; 36]));
    id
}
