//! The phones of the house, and what is done with them.

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

/// The phone that FreeSWITCH tells of every change of the other side, by its make.
pub const UPDATED: &str = "1009";

/// A phone of the house, registered for the whole run.
pub struct Phone {
    name: String,
    pub user: String,
    /// The tone it sends in a call.
    pub tone: u32,
    pub sound: Sound,
    scenario: PathBuf,
    port: Cell<u16>,
    sipp: RefCell<Option<Sipp>>,
    /// Holds the address while nothing answers there.
    dead: RefCell<Option<UdpSocket>>,
    registered: Cell<bool>,
    /// How many calls the test has taken note of.
    seen: Cell<usize>,
}

impl Phone {
    /// `name` tells it apart from others of the same user.
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

    /// Everything it was sent since then.
    pub fn texts_since(&self, since: Instant) -> Vec<String> {
        let sipp = self.sipp.borrow();
        let all = sipp.as_ref().map(Sipp::messages).unwrap_or_default();
        all.into_iter().filter(|m| !m.sent && m.at >= since).map(|m| m.text).collect()
    }

    /// The UDP port it answers on.
    pub fn port(&self) -> u16 {
        self.port.get()
    }

    /// Makes it ready for the next test, whatever the last one did to it.
    pub fn fresh(&self, lab: &Lab) {
        if !self.registered.get() {
            self.register(lab);
        } else if self.sipp.borrow().is_none() {
            self.replace(lab);
        }
        let sipp = self.sipp.borrow();
        self.seen.set(sipp.as_ref().map_or(0, |sipp| sipp.messages().iter().filter(|m| rang(m)).count()));
    }

    /// A SIPp that registers it for some seconds; none of its calls are taken until it is plugged in.
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

    /// Takes calls from now on.
    pub fn plug_in(&self, lab: &Lab) {
        let mouth = self.sound.mouth();
        let watch = move |m: &Message, before: &[Message]| match m.what() {
            "200" if m.sent && m.header("CSeq").ends_with("INVITE") => {
                let invite = before.iter().find(|b| b.what() == "INVITE" && b.call() == m.call());
                mouth.speak_to(invite.and_then(Message::sound_port));
            }
            // The end of another call, told again and again because the phone had died, is none of this one.
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

    /// Takes its registration back.
    #[track_caller]
    pub fn unregister(&self, lab: &Lab) {
        assert!(self.registering(lab, 0).ends_well(SOON), "{} could not unregister", self.user);
    }

    /// Cuts its line: whatever is sent there is lost. The registration stays.
    pub fn cut_off(&self) {
        *self.sipp.borrow_mut() = None;
        *self.dead.borrow_mut() = Some(UdpSocket::bind(("127.0.0.1", self.port.get())).expect("the phone's port"));
    }

    /// Another phone takes its place; what is still being sent to the old one is lost.
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

    /// Waits for the next call, which need not come.
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

    /// Whether it does not ring for some time. Nothing can be waited for but the time itself.
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
        let sipp = sipp.as_ref().expect("a phone that is in order");
        let wanted = |m: &Message| !m.sent && m.what() == what && m.call() == call;
        sipp.wait(wanted, within)
            .unwrap_or_else(|| panic!("{} got no {what} within {within:?}; it saw:\n{}", self.user, sipp.story(since)))
    }

    fn tell(&self, call: &str, command: &str, header: &str) {
        self.sipp.borrow().as_ref().expect("a phone that is in order").tell(call, command, header);
    }
}

/// A phone that rings, and then the call on it.
pub struct Ringing<'a> {
    phone: &'a Phone,
    call: String,
    pub invite: Message,
}

impl Ringing<'_> {
    /// The handset is lifted.
    pub fn lift(&self) {
        self.phone.tell(&self.call, "ANSWER", "");
    }

    /// The handset is lifted; returns when the 200 OK left.
    #[track_caller]
    pub fn answer(&self) -> Instant {
        self.lift();
        let sipp = self.phone.sipp.borrow();
        let wanted = |m: &Message| m.sent && m.what() == "200" && m.call() == self.call;
        sipp.as_ref().and_then(|sipp| sipp.wait(wanted, SOON)).expect("a 200 OK").at
    }

    /// The handset is lifted, and the caller hears the agent; returns when the 200 OK left.
    #[track_caller]
    pub fn connects(&self, caller: &Caller) -> Instant {
        let answered = self.answer();
        caller.sound.hears(self.phone.tone, answered, SOON);
        answered
    }

    /// The handset is lifted, the caller hears the agent, and the agent hangs up: the call is over.
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

    /// Waits until FreeSWITCH ends it, ringing or not.
    #[track_caller]
    pub fn over(&self, within: Duration) -> Message {
        let since = Instant::now();
        let sipp = self.phone.sipp.borrow();
        let sipp = sipp.as_ref().expect("a phone that is in order");
        let ends = |m: &Message| !m.sent && m.call() == self.call && ["BYE", "CANCEL"].contains(&m.what());
        let user = &self.phone.user;
        sipp.wait(ends, within).unwrap_or_else(|| panic!("{user} was not let go:\n{}", sipp.story(since)))
    }

    /// Whether FreeSWITCH has ended the call in whatever way.
    pub fn is_over(&self) -> bool {
        let sipp = self.phone.sipp.borrow();
        let ends = |m: &Message| m.call() == self.call && ["BYE", "CANCEL"].contains(&m.what());
        sipp.as_ref().is_none_or(|sipp| sipp.messages().iter().any(ends))
    }

    pub fn hang_up(&self) {
        self.phone.tell(&self.call, "HANGUP", "");
    }

    /// Sends the other side to a number of the house, without asking there first.
    pub fn transfer(&self, number: &str) {
        self.phone.tell(&self.call, "TRANSFER", &format!("Refer-To: <sip:{number}@{DOMAIN}>\r\n"));
    }

    /// Puts the other side through to who is on the line in `other`, a call of this phone.
    pub fn transfer_to(&self, other: &Caller) {
        let target = format!("Refer-To: <sip:{DOMAIN}?Replaces={}>\r\n", other.replaces());
        self.phone.tell(&self.call, "TRANSFER", &target);
    }

    /// The phone dies in the middle of the call: it sends and answers nothing more.
    pub fn crash(&self) {
        self.phone.tell(&self.call, "CRASH", "");
    }
}
