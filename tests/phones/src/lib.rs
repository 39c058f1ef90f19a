//! Phones of callers and agents in this process, which note the time of every message to the microsecond.
//!
//! All of them share one SIP socket and one audio socket: the port a packet of audio comes from, which FreeSWITCH opens
//! for each call, identifies its call. A talking phone sends a tone, and notes the first packet with the other side's
//! tone; with [`Phones::give_tones`] each person has a distinct tone, and every call notes whose tone it hears.

mod audio;
mod call;
mod dial;
mod incoming;
pub mod sip;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use audio::Speakers;
pub use call::{Call, Ended, Heard};
use sip::{Message, Request};

/// The tone of callers, in Hz. Multiples of 50 Hz do not disturb each other in a packet of 20 ms.
const CALLER: u32 = 2000;
/// The tone of agents, in Hz.
const AGENT: u32 = 1000;
/// The interval at which a call checks whose tone it hears, when each person has a distinct tone.
const LISTENS: Duration = Duration::from_millis(60);
/// How long a request waits for an answer before it is repeated; doubles each time (T1 of RFC 3261).
const REPEAT: Duration = Duration::from_millis(500);
/// The pause after which a request is given up.
const GIVE_UP: Duration = Duration::from_secs(8);
/// The longest time for registrations.
const REGISTERED: Duration = Duration::from_secs(20);
/// The interval of the checks for repeats.
const LOOK: Duration = Duration::from_millis(100);

/// The reaction of a phone to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Rings until it gets a command.
    #[default]
    Rings,
    /// Answers with this final status at once.
    Refuses(u16),
    /// Answers 302 at once, with this user in the Contact, at FreeSWITCH's own port for phones or for trunks.
    Forwards {
        /// The user.
        to: String,
        /// The port.
        port: u16,
    },
    /// Ignores every message: its line is cut.
    Dead,
}

/// A datagram that is repeated until there is an answer.
struct Unanswered {
    key: String,
    text: String,
    to: SocketAddr,
    next: Instant,
    pause: Duration,
}

#[derive(Default)]
struct Book {
    calls: Vec<Call>,
    by_id: HashMap<String, usize>,
    by_media: HashMap<u16, usize>,
    unanswered: Vec<Unanswered>,
    registered: BTreeSet<String>,
    /// The status of the last answer to a registration.
    registration: u16,
    manners: BTreeMap<String, Manner>,
    /// The tone of each person, in Hz.
    tones: Option<Arc<BTreeMap<String, u32>>>,
    /// Calls that came while a line was cut.
    lost: BTreeSet<String>,
    branch: u64,
}

struct Shared {
    book: Mutex<Book>,
    news: Condvar,
    sip: UdpSocket,
    audio: UdpSocket,
    speakers: Speakers,
    sip_port: u16,
    audio_port: u16,
    /// The password for digest challenges.
    password: Option<String>,
}

/// All the phones.
#[derive(Clone)]
pub struct Phones {
    shared: Arc<Shared>,
    /// The address of FreeSWITCH's profile for phones.
    house: SocketAddr,
    /// The address of FreeSWITCH's profile for outside callers.
    trunk: SocketAddr,
}

impl Phones {
    /// Phones beside a FreeSWITCH on 127.0.0.1: agents register at `house`, callers call `trunk`.
    ///
    /// # Errors
    /// When there is no port for them.
    pub fn open(house: u16, trunk: u16) -> Result<Self> {
        Self::with_password(house, trunk, None)
    }

    /// Like `new`, with a password for digest challenges.
    ///
    /// # Errors
    /// When there is no port for them.
    pub fn with_password(house: u16, trunk: u16, password: Option<&str>) -> Result<Self> {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (sip, audio) = (bind()?, bind()?);
        sip.set_read_timeout(Some(LOOK))?;
        let (sip_port, audio_port) = (sip.local_addr()?.port(), audio.local_addr()?.port());
        let shared = Shared {
            book: Mutex::default(),
            news: Condvar::new(),
            sip,
            audio,
            speakers: Speakers::default(),
            sip_port,
            audio_port,
            password: password.map(str::to_owned),
        };
        let shared = Arc::new(shared);
        for work in [Shared::signal, Shared::listen, Shared::speak] {
            let shared = shared.clone();
            std::thread::spawn(move || work(&shared));
        }
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self { shared, house: local(house), trunk: local(trunk) })
    }

    /// Gives each person a distinct tone (multiples of 50 Hz): every call then notes whose tone it hears.
    pub fn give_tones(&self, tones: BTreeMap<String, u32>) {
        self.shared.book().tones = Some(Arc::new(tones));
    }

    /// Sets the reaction of a phone to its next calls.
    pub fn set_manner(&self, user: &str, manner: Manner) {
        self.shared.book().manners.insert(user.to_owned(), manner);
    }

    /// Registers agents' phones.
    ///
    /// # Errors
    /// When one is not registered within 20 s.
    pub fn register(&self, users: &[String], domain: &str) -> Result<()> {
        for user in users {
            let mut book = self.shared.book();
            book.registered.remove(user);
            let ask = self.shared.registration(&mut book, user, domain, None);
            self.shared.until_answered(&mut book, ask.0, ask.1, self.house);
        }
        let all = |book: &Book| (users.iter().all(|user| book.registered.contains(user))).then_some(());
        if self.shared.wait(REGISTERED, all).is_none() {
            let book = self.shared.book();
            let (some, of, last) = (book.registered.len(), users.len(), book.registration);
            bail!("{some} of {of} phones are registered after {REGISTERED:?}; the last answer was {last}");
        }
        Ok(())
    }

    /// The number of calls so far.
    pub fn count(&self) -> usize {
        self.shared.book().calls.len()
    }

    /// The calls from number `from` on.
    pub fn calls(&self, from: usize) -> Vec<Call> {
        self.shared.book().calls.get(from..).unwrap_or_default().to_vec()
    }

    /// One call.
    pub fn get(&self, call: usize) -> Option<Call> {
        self.shared.book().calls.get(call).cloned()
    }

    /// Waits until `wanted` accepts the calls from number `from` on.
    ///
    /// # Errors
    /// When it has not come in time; `what` is in the message.
    pub fn wait<T>(&self, what: &str, within: Duration, from: usize, look: impl Fn(&[Call]) -> Option<T>) -> Result<T> {
        let found = self.shared.wait(within, |book| look(book.calls.get(from..).unwrap_or_default()));
        match found {
            Some(found) => Ok(found),
            None => bail!("not within {within:?}: {what}; the last calls: {:#?}", self.last(6)),
        }
    }

    fn last(&self, count: usize) -> Vec<String> {
        let book = self.shared.book();
        let since = book.calls.len().saturating_sub(count);
        book.calls[since..].iter().map(Call::story).collect()
    }
}

impl Book {
    fn branch(&mut self) -> u64 {
        self.branch += 1;
        self.branch
    }

    fn add(&mut self, call: Call) -> usize {
        let index = self.calls.len();
        self.by_id.insert(call.id.clone(), index);
        if let Some(media) = call.media {
            self.by_media.insert(media, index);
        }
        self.calls.push(call);
        index
    }

    /// The tone of a call's phone.
    fn tone(&self, call: usize) -> u32 {
        let it = &self.calls[call];
        let own = self.tones.as_ref().and_then(|tones| tones.get(&it.user).copied());
        own.unwrap_or(if it.is_caller { CALLER } else { AGENT })
    }
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, within: Duration, look: impl Fn(&Book) -> Option<T>) -> Option<T> {
        let end = Instant::now() + within;
        let mut book = self.book();
        loop {
            if let Some(found) = look(&book) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            book = self.news.wait_timeout(book, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Sends a message now, and repeats it until the key is answered.
    fn until_answered(&self, book: &mut Book, key: String, text: String, to: SocketAddr) -> Instant {
        let now = Instant::now();
        // Lost messages are repeated.
        let _ = self.sip.send_to(text.as_bytes(), to);
        book.unanswered.push(Unanswered { key, text, to, next: now + REPEAT, pause: REPEAT });
        now
    }

    fn send(&self, text: &str, to: SocketAddr) {
        let _ = self.sip.send_to(text.as_bytes(), to);
    }

    /// Sends a request inside a call, and repeats it until it is answered.
    fn in_dialog(&self, book: &mut Book, call: usize, method: &str, more: &str, body: &str) -> Instant {
        let branch = book.branch();
        let it = &mut book.calls[call];
        it.sequence += 1;
        let request = Request { method, uri: &it.uri, dialog: &it.dialog, sequence: it.sequence, more, body };
        let (text, to) = (request.text(self.sip_port, branch), it.to);
        self.until_answered(book, format!("z9hG4bK{branch}"), text, to)
    }

    /// Handles a datagram on the SIP socket.
    fn signal(&self) {
        let mut buffer = [0; 8192];
        loop {
            let received = self.sip.recv_from(&mut buffer);
            let now = Instant::now();
            match received {
                Ok((length, from)) => {
                    if let Some(message) = Message::read(&buffer[..length]) {
                        self.take(&message, from, now);
                    }
                    if self.book().unanswered.iter().any(|late| late.next <= now) {
                        self.repeat(now);
                    }
                }
                Err(_) => self.repeat(now),
            }
        }
    }

    fn repeat(&self, now: Instant) {
        let mut book = self.book();
        book.unanswered.retain(|late| late.pause < GIVE_UP);
        for late in book.unanswered.iter_mut().filter(|late| late.next <= now) {
            late.pause *= 2;
            late.next = now + late.pause;
            self.send(&late.text, late.to);
        }
    }

    fn take(&self, message: &Message, from: SocketAddr, now: Instant) {
        let mut book = self.book();
        match message.status() {
            Some(status) => self.response(&mut book, message, status, from, now),
            None => self.request(&mut book, message, from, now),
        }
        drop(book);
        self.news.notify_all();
    }
}

fn tag(call: usize) -> String {
    format!("t{call}")
}
