//! The phones of the house, and their actions.

use std::cell::{Cell, RefCell};
use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::caller::Caller;
use crate::lab::{Lab, SOON};
use crate::machine::udp_port;
use crate::sipp::{Message, Sipp};
use crate::sound::Sound;
use crate::switch::{DOMAIN, SECRET};

/// Whether a phone began to ring.
fn rang(message: &Message) -> bool {
    message.sent && message.what() == "180"
}

/// The phone that, by its make, gets every change of the other party from FreeSWITCH.
pub const UPDATED: &str = "1009";

/// A phone of the house, registered for the whole run.
pub struct Phone {
    name: String,
    pub user: String,
    /// The tone the phone sends in a call.
    pub tone: u32,
    pub sound: Sound,
    scenario: PathBuf,
    port: Cell<u16>,
    sipp: RefCell<Option<Sipp>>,
    /// Holds the address while no phone answers there.
    dead: RefCell<Option<UdpSocket>>,
    registered: Cell<bool>,
    /// The number of calls the test has noticed.
    seen: Cell<usize>,
}

impl Phone {
    /// `name` distinguishes several phones of the same user.
    pub fn new(lab: &Lab, name: &str, user: &str, tone: u32) -> Phone {
        let sound = Sound::open(tone);
        let rtp = sound.port().to_string();
        let more = match user {
            UPDATED => "\n    User-Agent: Yealink SIP-T46\n    Allow: INVITE, ACK, BYE, CANCEL, NOTIFY, REFER, UPDATE",
            _ => "",
        };
        let values = [("USER", user), ("DOMAIN", DOMAIN), ("RTP", rtp.as_str()), ("MORE", more)];
        Phone {
            name: name.to_owned(),
            user: user.to_owned(),
            tone,
            sound,
            scenario: lab.scenario(&format!("phone-{name}.xml"), include_str!("agent.xml"), &values),
            port: Cell::new(udp_port()),
            sipp: RefCell::default(),
            dead: RefCell::default(),
            registered: Cell::new(false),
            seen: Cell::new(0),
        }
    }

    /// Every message it has received since `since`.
    pub fn texts_since(&self, since: Instant) -> Vec<String> {
        let sipp = self.sipp.borrow();
        let all = sipp.as_ref().map(Sipp::messages).unwrap_or_default();
        all.into_iter().filter(|m| !m.sent && m.at >= since).map(|m| m.text).collect()
    }

    /// The UDP port it answers on.
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// Prepares the phone for the next test, whatever state the last one left it in.
    pub fn fresh(&self, lab: &Lab) {
        if !self.registered.get() {
            self.register(lab);
        } else if self.sipp.borrow().is_none() {
            self.replace(lab);
        }
        let sipp = self.sipp.borrow();
        self.seen.set(sipp.as_ref().map_or(0, |sipp| sipp.messages().iter().filter(|m| rang(m)).count()));
    }

    /// A SIPp that registers the phone for some seconds; it answers no calls yet.
    pub fn registering(&self, lab: &Lab, seconds: u32) -> Sipp {
        *self.sipp.borrow_mut() = None;
        *self.dead.borrow_mut() = None;
        self.registered.set(seconds > 0);
        let expires = seconds.to_string();
        let values = [("USER", self.user.as_str()), ("DOMAIN", DOMAIN), ("EXPIRES", expires.as_str())];
        let scenario = lab.scenario(&format!("register-{}.xml", self.name), include_str!("register.xml"), &values);
        let more = ["-m", "1", "-au", &self.user, "-ap", SECRET, "-timeout", "10s", "-timeout_error"];
        Sipp::start(lab.programs(), &scenario, self.port.get(), lab.switch.sip, &more, |_, _| {})
    }

    /// Answers calls from now on.
    pub fn plug_in(&self, lab: &Lab) {
        let mouth = self.sound.mouth();
        let watch = move |m: &Message, before: &[Message]| match m.what() {
            "200" if m.sent && m.header("CSeq").ends_with("INVITE") => {
                let invite = before.iter().find(|b| b.what() == "INVITE" && b.call() == m.call());
                mouth.speak_to(invite.and_then(Message::sound_port));
            }
            // FreeSWITCH repeats the end of another call because the phone was dead then; that end does not count here.
            "BYE" | "CRASH" => {
                let answers = |b: &&Message| b.sent && b.what() == "200" && b.header("CSeq").ends_with("INVITE");
                if before.iter().rev().find(answers).is_some_and(|answer| answer.call() == m.call()) {
                    mouth.speak_to(None);
                }
            }
            _ => {}
        };
        let sipp = Sipp::start(lab.programs(), &self.scenario, self.port.get(), lab.switch.sip, &[], watch);
        *self.sipp.borrow_mut() = Some(sipp);
        self.seen.set(0);
    }

    /// Registers it.
    #[track_caller]
    pub fn register(&self, lab: &Lab) {
        assert!(self.registering(lab, 3600).ends_well(SOON), "{} could not register", self.user);
        self.plug_in(lab);
    }

    /// Unregisters it.
    #[track_caller]
    pub fn unregister(&self, lab: &Lab) {
        assert!(self.registering(lab, 0).ends_well(SOON), "{} could not unregister", self.user);
    }

    /// Cuts its line: messages sent there are lost. The registration stays.
    pub fn cut_off(&self) {
        *self.sipp.borrow_mut() = None;
        *self.dead.borrow_mut() = Some(UdpSocket::bind(("127.0.0.1", self.port.get())).expect("the phone's port"));
    }

    /// Puts another phone in its place; messages sent to the old one are lost.
    #[track_caller]
    pub fn replace(&self, lab: &Lab) {
        let dead = self.dead.take();
        self.port.set(udp_port());
        self.register(lab);
        *self.dead.borrow_mut() = dead;
    }

    /// Waits for the next call.
    #[track_caller]
    pub fn rings(&self, within: Duration) -> Ringing<'_> {
        let since = Instant::now();
        self.rings_at_all(within)
            .unwrap_or_else(|| panic!("{} did not ring within {within:?}; it saw:\n{}", self.user, self.story(since)))
    }

    /// Waits for the next call, if there is one.
    pub fn rings_at_all(&self, within: Duration) -> Option<Ringing<'_>> {
        let seen = self.seen.get();
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let sipp = self.sipp.borrow();
            let sipp = sipp.as_ref()?;
            let ringing: Vec<Message> = sipp.messages().into_iter().filter(rang).collect();
            if let Some(ring) = ringing.get(seen) {
                self.seen.set(seen + 1);
                let call = ring.call().to_owned();
                let invite = sipp.wait(|m| m.what() == "INVITE" && m.call() == call, Duration::ZERO)?;
                return Some(Ringing { phone: self, call, invite });
            }
            let known: Vec<String> = ringing.iter().map(|m| m.call().to_owned()).collect();
            sipp.wait(|m| rang(m) && !known.iter().any(|call| call == m.call()), left)?;
        }
    }

    /// Whether it stays silent for some time. Only the time itself can be waited for.
    #[track_caller]
    pub fn stays_quiet(&self, time: Duration) {
        if let Some(ring) = self.rings_at_all(time) {
            panic!("{} rang, by {}", self.user, ring.invite.header("From"));
        }
    }

    fn story(&self, since: Instant) -> String {
        self.sipp.borrow().as_ref().map_or_else(|| "    (cut off)".to_owned(), |sipp| sipp.story(since))
    }

    #[track_caller]
    fn wait(&self, call: &str, what: &str, within: Duration) -> Message {
        let since = Instant::now();
        let sipp = self.sipp.borrow();
        let sipp = sipp.as_ref().expect("a working phone");
        let wanted = |m: &Message| !m.sent && m.what() == what && m.call() == call;
        sipp.wait(wanted, within)
            .unwrap_or_else(|| panic!("{} got no {what} within {within:?}; it saw:\n{}", self.user, sipp.story(since)))
    }

    fn tell(&self, call: &str, command: &str, header: &str) {
        self.sipp.borrow().as_ref().expect("a working phone").tell(call, command, header);
    }
}

/// A phone that rings, and then the call on it.
pub struct Ringing<'a> {
    phone: &'a Phone,
    call: String,
    pub invite: Message,
}

impl Ringing<'_> {
    /// Answers.
    pub fn lift(&self) {
        self.phone.tell(&self.call, "ANSWER", "");
    }

    /// Answers; returns the time of the 200 OK.
    #[track_caller]
    pub fn answer(&self) -> Instant {
        self.lift();
        let sipp = self.phone.sipp.borrow();
        let wanted = |m: &Message| m.sent && m.what() == "200" && m.call() == self.call;
        sipp.as_ref().and_then(|sipp| sipp.wait(wanted, SOON)).expect("a 200 OK").at
    }

    /// Answers, and the caller hears the agent; returns the time of the 200 OK.
    #[track_caller]
    pub fn connects(&self, caller: &Caller) -> Instant {
        let answered = self.answer();
        caller.sound.hears(self.phone.tone, answered, SOON);
        answered
    }

    /// Answers, the caller hears the agent, and the agent hangs up: the call is over.
    #[track_caller]
    pub fn serves(&self, caller: Caller) {
        self.connects(&caller);
        self.hang_up();
        caller.over(SOON);
    }

    pub fn busy(&self) {
        self.phone.tell(&self.call, "BUSY", "");
    }

    pub fn decline(&self) {
        self.phone.tell(&self.call, "DECLINE", "");
    }

    /// Waits until FreeSWITCH stops the ringing.
    #[track_caller]
    pub fn cancelled(&self, within: Duration) -> Message {
        self.phone.wait(&self.call, "CANCEL", within)
    }

    /// Waits until FreeSWITCH ends the call.
    #[track_caller]
    pub fn byed(&self, within: Duration) -> Message {
        self.phone.wait(&self.call, "BYE", within)
    }

    /// Waits until FreeSWITCH ends the call, ringing or not.
    #[track_caller]
    pub fn over(&self, within: Duration) -> Message {
        let since = Instant::now();
        let sipp = self.phone.sipp.borrow();
        let sipp = sipp.as_ref().expect("a working phone");
        let ends = |m: &Message| !m.sent && m.call() == self.call && ["BYE", "CANCEL"].contains(&m.what());
        let user = &self.phone.user;
        sipp.wait(ends, within).unwrap_or_else(|| panic!("{user} was not let go:\n{}", sipp.story(since)))
    }

    /// Whether FreeSWITCH has ended the call in any way.
    pub fn is_over(&self) -> bool {
        let sipp = self.phone.sipp.borrow();
        let ends = |m: &Message| m.call() == self.call && ["BYE", "CANCEL"].contains(&m.what());
        sipp.as_ref().is_none_or(|sipp| sipp.messages().iter().any(ends))
    }

    pub fn hang_up(&self) {
        self.phone.tell(&self.call, "HANGUP", "");
    }

    /// Transfers the other party to a number of the house without consulting it first.
    pub fn transfer(&self, number: &str) {
        self.phone.tell(&self.call, "TRANSFER", &format!("Refer-To: <sip:{number}@{DOMAIN}>\r\n"));
    }

    /// Connects the other party to the party of `other`, a call of this phone.
    pub fn transfer_to(&self, other: &Caller) {
        let target = format!("Refer-To: <sip:{DOMAIN}?Replaces={}>\r\n", other.replaces());
        self.phone.tell(&self.call, "TRANSFER", &target);
    }

    /// The phone dies during the call: it sends and answers nothing more.
    pub fn crash(&self) {
        self.phone.tell(&self.call, "CRASH", "");
    }
}
