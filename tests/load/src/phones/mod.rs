//! Phones: callers and agents in this process, who note to the microsecond what reaches them.
//!
//! All of them share one SIP socket and one socket for their audio: which call a packet of audio belongs to is told by
//! the port it comes from, which FreeSWITCH has for each call. Whoever talks sends a tone, and notes the first packet
//! in which the other side's is heard.

mod audio;
pub mod sip;

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use audio::Speakers;
use sip::{Message, request, sdp};

/// The tone of callers, in Hz. Multiples of 50 Hz do not disturb each other in a packet of 20 ms.
const CALLER: u32 = 2000;
/// The tone of agents, in Hz.
const AGENT: u32 = 1000;
/// How long a request waits for an answer before it is repeated; doubles each time (T1 of RFC 3261).
const REPEAT: Duration = Duration::from_millis(500);
/// The pause after which it is given up.
const GIVE_UP: Duration = Duration::from_secs(8);
/// How long registrations may take.
const REGISTERED: Duration = Duration::from_secs(20);
/// How often it is looked whether something must be repeated.
const LOOK: Duration = Duration::from_millis(100);

/// One call of one phone. Times are when the datagram was sent, or taken from the socket.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose phone: the number of the caller, or the user of the agent.
    pub user: String,
    /// Who it came from, on an agent's phone.
    pub from: String,
    /// The `INVITE`, received by an agent's phone or sent by a caller's.
    pub invited: Instant,
    /// The `200 OK`, sent by an agent's phone or received by a caller's.
    pub answered: Option<Instant>,
    /// The first packet in which the other side's tone was heard.
    pub heard: Option<Instant>,
    /// Its end, by whichever side.
    pub ended: Option<Instant>,
    /// The status with which a caller was refused.
    pub refused: Option<u16>,
    /// Whether it is a caller's.
    pub is_caller: bool,
    id: String,
    /// An agent's `INVITE`.
    invite: Message,
    /// `From`, `To` and `Call-ID` of our requests.
    dialog: String,
    uri: String,
    to: SocketAddr,
    /// FreeSWITCH's port for the audio of this call.
    media: Option<u16>,
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
}

/// All the phones.
#[derive(Clone)]
pub struct Phones {
    shared: Arc<Shared>,
    /// Where they register.
    house: SocketAddr,
    /// Where callers call.
    trunk: SocketAddr,
}

impl Phones {
    /// Phones beside a FreeSWITCH on 127.0.0.1: agents register at `house`, callers call `trunk`.
    ///
    /// # Errors
    /// When there is no port for them.
    pub fn open(house: u16, trunk: u16) -> Result<Self> {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (sip, audio) = (bind()?, bind()?);
        sip.set_read_timeout(Some(LOOK))?;
        let (sip_port, audio_port) = (sip.local_addr()?.port(), audio.local_addr()?.port());
        let speakers = Speakers::default();
        let shared =
            Shared { book: Mutex::default(), news: Condvar::new(), sip, audio, speakers, sip_port, audio_port };
        let shared = Arc::new(shared);
        for work in [Shared::signal, Shared::listen, Shared::speak] {
            let shared = shared.clone();
            std::thread::spawn(move || work(&shared));
        }
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Self { shared, house: local(house), trunk: local(trunk) })
    }

    /// Registers agents' phones.
    ///
    /// # Errors
    /// When one is not registered within 20 s.
    pub fn register(&self, users: &[String], domain: &str) -> Result<()> {
        let here = self.shared.sip_port;
        for user in users {
            let dialog = format!(
                "From: <sip:{user}@{domain}>;tag=r\r\nTo: <sip:{user}@{domain}>\r\nCall-ID: register-{user}\r\n"
            );
            let mut book = self.shared.book();
            let branch = book.branch();
            let text = request("REGISTER", &format!("sip:{domain}"), &dialog, 1, here, branch, "")
                .replace("<sip:phone@", &format!("<sip:{user}@"))
                .replace("Max-Forwards", "Expires: 3600\r\nMax-Forwards");
            self.shared.until_answered(&mut book, format!("z9hG4bK{branch}"), text, self.house);
        }
        let all = |book: &Book| (book.registered.len() == users.len()).then_some(());
        if self.shared.wait(REGISTERED, all).is_none() {
            let book = self.shared.book();
            let (some, of, last) = (book.registered.len(), users.len(), book.registration);
            bail!("{some} of {of} phones are registered after {REGISTERED:?}; the last answer was {last}");
        }
        Ok(())
    }

    /// A caller dials a number.
    pub fn call(&self, caller: &str, number: &str) -> usize {
        let mut book = self.shared.book();
        let branch = book.branch();
        let id = format!("call-{branch}");
        let uri = format!("sip:{number}@{}", self.trunk);
        let dialog = format!("From: <sip:{caller}@127.0.0.1>;tag={branch}\r\nTo: <{uri}>\r\nCall-ID: {id}\r\n");
        let text = request("INVITE", &uri, &dialog, 1, self.shared.sip_port, branch, &sdp(self.shared.audio_port));
        let invited = self.shared.until_answered(&mut book, format!("z9hG4bK{branch}"), text, self.trunk);
        book.add(Call {
            user: caller.to_owned(),
            from: String::new(),
            invited,
            answered: None,
            heard: None,
            ended: None,
            refused: None,
            is_caller: true,
            id,
            invite: Message::default(),
            dialog,
            uri,
            to: self.trunk,
            media: None,
        })
    }

    /// An agent lifts the handset.
    pub fn answer(&self, call: usize) {
        let mut book = self.shared.book();
        let Some(it) = book.calls.get(call).filter(|it| it.ended.is_none()).cloned() else { return };
        let text = it.invite.answer("200 OK", &tag(call), self.shared.sip_port, &sdp(self.shared.audio_port));
        let answered = self.shared.until_answered(&mut book, it.id, text, it.to);
        book.calls[call].answered = Some(answered);
        if let Some(media) = it.media {
            self.shared.speakers.start(call, media, AGENT);
        }
    }

    /// Hangs up a call that was answered.
    pub fn hang_up(&self, call: usize) {
        let mut book = self.shared.book();
        let Some(it) = book.calls.get(call).filter(|it| it.ended.is_none()).cloned() else { return };
        let branch = book.branch();
        let text = request("BYE", &it.uri, &it.dialog, 2, self.shared.sip_port, branch, "");
        let ended = self.shared.until_answered(&mut book, format!("z9hG4bK{branch}"), text, it.to);
        book.calls[call].ended = Some(ended);
        self.shared.speakers.stop(call);
    }

    /// How many calls there have been.
    pub fn count(&self) -> usize {
        self.shared.book().calls.len()
    }

    /// The calls from this one on.
    pub fn calls(&self, from: usize) -> Vec<Call> {
        self.shared.book().calls.get(from..).unwrap_or_default().to_vec()
    }

    /// Waits for something, looked for in the calls from this one on.
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
        let line = |c: &Call| {
            let ms = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(c.invited).as_millis());
            let (answered, heard, ended) = (ms(c.answered), ms(c.heard), ms(c.ended));
            format!("{} {} answered {answered:?} heard {heard:?} ended {ended:?} {:?}", c.user, c.from, c.refused)
        };
        book.calls[since..].iter().map(line).collect()
    }
}

fn tag(call: usize) -> String {
    format!("t{call}")
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

    /// Sends something now, and again until the key is answered.
    fn until_answered(&self, book: &mut Book, key: String, text: String, to: SocketAddr) -> Instant {
        let now = Instant::now();
        // What is lost is sent again.
        let _ = self.sip.send_to(text.as_bytes(), to);
        book.unanswered.push(Unanswered { key, text, to, next: now + REPEAT, pause: REPEAT });
        now
    }

    fn send(&self, text: &str, to: SocketAddr) {
        let _ = self.sip.send_to(text.as_bytes(), to);
    }

    /// Takes what comes to the SIP socket.
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

    fn response(&self, book: &mut Book, message: &Message, status: u16, from: SocketAddr, now: Instant) {
        if message.method() == "REGISTER" {
            // FreeSWITCH refuses some while it is still busy with its start: they are repeated as if they were lost.
            book.registration = status;
            if status != 200 {
                return;
            }
            book.registered.insert(message.header("Call-ID").to_owned());
        }
        book.unanswered.retain(|late| late.key != message.branch());
        let Some(&call) = book.by_id.get(message.header("Call-ID")) else { return };
        if message.method() != "INVITE" || status < 200 {
            return;
        }
        let branch = if status < 300 { book.branch() } else { number_of(message.branch()) };
        let it = &mut book.calls[call];
        let dialog = format!(
            "From: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
            message.header("From"),
            message.header("To"),
            message.header("Call-ID")
        );
        let uri = if status < 300 { message.contact().to_owned() } else { it.uri.clone() };
        self.send(&request("ACK", &uri, &dialog, 1, self.sip_port, branch, ""), from);
        if status >= 300 {
            it.refused = Some(status);
            it.ended = Some(now);
        } else if it.answered.is_none() {
            it.answered = Some(now);
            (it.dialog, it.uri, it.media) = (dialog, uri, message.audio_port());
            if let Some(media) = it.media {
                book.by_media.insert(media, call);
                self.speakers.start(call, media, CALLER);
            }
        }
    }

    fn request(&self, book: &mut Book, message: &Message, from: SocketAddr, now: Instant) {
        let known = book.by_id.get(message.header("Call-ID")).copied();
        let answer = |status: &str, body: &str| {
            let tag = tag(known.unwrap_or(book.calls.len()));
            self.send(&message.answer(status, &tag, self.sip_port, body), from);
        };
        match (message.method(), known) {
            ("INVITE", None) => {
                answer("180 Ringing", "");
                let tag = tag(book.calls.len());
                let dialog = format!(
                    "From: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\n",
                    message.header("To"),
                    message.header("From"),
                    message.header("Call-ID")
                );
                book.add(Call {
                    user: message.to_user().to_owned(),
                    from: message.from_user().to_owned(),
                    invited: now,
                    answered: None,
                    heard: None,
                    ended: None,
                    refused: None,
                    is_caller: false,
                    id: message.header("Call-ID").to_owned(),
                    invite: message.clone(),
                    dialog,
                    uri: message.contact().to_owned(),
                    to: from,
                    media: message.audio_port(),
                });
            }
            // The call is changed: it goes on as it was.
            ("INVITE", Some(call)) if book.calls[call].answered.is_some() => {
                answer("200 OK", &sdp(self.audio_port));
            }
            ("INVITE", Some(_)) => answer("180 Ringing", ""),
            ("ACK", _) => book.unanswered.retain(|late| late.key != message.header("Call-ID")),
            ("CANCEL", Some(call)) => {
                answer("200 OK", "");
                let it = &mut book.calls[call];
                if it.answered.is_none() && it.ended.is_none() {
                    it.ended = Some(now);
                    let text = it.invite.answer("487 Request Terminated", &tag(call), self.sip_port, "");
                    let id = it.id.clone();
                    self.until_answered(book, id, text, from);
                }
            }
            ("BYE", Some(call)) => {
                answer("200 OK", "");
                let it = &mut book.calls[call];
                it.ended = it.ended.or(Some(now));
                self.speakers.stop(call);
            }
            ("BYE" | "CANCEL", None) => answer("481 Call/Transaction Does Not Exist", ""),
            _ => answer("200 OK", ""),
        }
    }
}

/// The number in a branch of ours.
fn number_of(branch: &str) -> u64 {
    branch.trim_start_matches("z9hG4bK").parse().unwrap_or_default()
}
