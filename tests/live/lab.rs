//! The lab: one FreeSWITCH, phones that stay registered, and for each test a daemon and callers of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{Fact, Record};

use crate::daemon::Daemon;
use crate::lamp::Lamp;
use crate::machine::{Programs, fill, udp_port};
use crate::sipp::{Message, Sipp};
use crate::sound::Sound;
use crate::switch::{DOMAIN, ELSEWHERE, SECRET, Switch, users};

/// Long enough for anything that happens at once, on a machine that is busy.
pub const SOON: Duration = Duration::from_secs(4);

/// Everything a test needs.
pub struct Lab {
    pub switch: Switch,
    programs: Programs,
    folder: PathBuf,
    phones: BTreeMap<String, Phone>,
    daemon: RefCell<Option<Daemon>>,
    /// What the daemons of this test before the present one recorded.
    books: RefCell<Vec<Vec<Record>>>,
    /// Daemons and callers so far.
    made: Cell<(u32, u32)>,
}

impl Lab {
    /// Starts FreeSWITCH and registers the phones.
    pub fn open(programs: Programs) -> Lab {
        let folder = std::env::temp_dir().join(format!("fsq-live-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let switch = Switch::start(&programs, &folder.join("freeswitch"));
        let mut lab = Lab {
            switch,
            programs,
            folder,
            phones: BTreeMap::new(),
            daemon: RefCell::default(),
            books: RefCell::default(),
            made: Cell::new((0, 0)),
        };
        lab.phones = users().zip(0..).map(|(user, n)| (user.clone(), Phone::new(&lab, &user, 600 + 100 * n))).collect();
        lab.register_all();
        lab
    }

    /// Registers every phone anew.
    pub fn register_all(&self) {
        let mut busy: Vec<Sipp> = self.phones.values().map(|phone| phone.registering(self, 3600)).collect();
        let all = busy.iter_mut().all(|sipp| sipp.ends_well(Duration::from_secs(10)));
        assert!(all, "a phone could not register");
        self.phones.values().for_each(|phone| phone.plug_in(self));
    }

    /// A phone of the house.
    #[track_caller]
    pub fn phone(&self, user: &str) -> &Phone {
        &self.phones[user]
    }

    /// Starts a daemon with these queues.
    pub fn serve(&self, queues: &str) {
        let (daemons, callers) = self.made.get();
        self.made.set((daemons + 1, callers));
        *self.daemon.borrow_mut() = Some(Daemon::start(&self.switch, &self.daemon_folder(), queues));
    }

    /// Starts the daemon again, with the same file and store.
    pub fn serve_again(&self) {
        let before = self.daemon.borrow_mut().take();
        self.books.borrow_mut().extend(before.map(|daemon| daemon.facts()));
        *self.daemon.borrow_mut() = Some(Daemon::again(&self.daemon_folder()));
    }

    fn daemon_folder(&self) -> PathBuf {
        self.folder.join(format!("daemon-{}", self.made.get().0))
    }

    /// The daemon.
    pub fn daemon(&self) -> std::cell::Ref<'_, Daemon> {
        std::cell::Ref::map(self.daemon.borrow(), |d| d.as_ref().expect("a daemon"))
    }

    /// The daemon, to end it.
    pub fn daemon_mut(&self) -> std::cell::RefMut<'_, Daemon> {
        std::cell::RefMut::map(self.daemon.borrow_mut(), |d| d.as_mut().expect("a daemon"))
    }

    /// Logs agents in to a queue, as they do it: by dialling.
    #[track_caller]
    pub fn log_in(&self, queue: &str, agents: &[&str]) {
        let calls: Vec<Caller> =
            agents.iter().map(|user| self.dial(&From::phone(user), &format!("*41{queue}"))).collect();
        for agent in agents {
            self.daemon().fact(&format!("{agent} logged in to {queue}"), SOON, |fact| match fact {
                Fact::AgentLoggedIn { agent: a, queue: q } => {
                    (a.as_str() == *agent && q.as_str() == queue).then_some(())
                }
                _ => None,
            });
        }
        for call in calls {
            call.answered();
            call.hang_up();
            call.over(SOON);
        }
    }

    /// Somebody calls a number, and is answered.
    #[track_caller]
    pub fn call(&self, from: &From, number: &str) -> Caller {
        let caller = self.dial(from, number);
        caller.answered();
        caller
    }

    /// Somebody dials a number.
    pub fn dial(&self, from: &From, number: &str) -> Caller {
        let (daemons, callers) = self.made.get();
        self.made.set((daemons, callers + 1));
        Caller::new(self, from, number, 1700 + 100 * (callers % 10))
    }

    /// A lamp key of a phone, programmed with a number.
    pub fn lamp(&self, user: &str, number: &str) -> Lamp {
        Lamp::new(self, user, number)
    }

    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A file made for this run, in a folder FreeSWITCH can read.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.folder.join(name);
        fs::write(&file, content).expect("a file");
        file
    }

    /// A spoken sentence of the project.
    pub fn prompt(&self, language: &str, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("freeswitch-conf/fsq/prompts/{language}/{name}.wav"))
    }

    /// Makes ready for the next test.
    pub fn fresh(&self) {
        self.books.take();
        for phone in self.phones.values() {
            if !phone.registered.get() {
                phone.register(self);
            } else if phone.sipp.borrow().is_none() {
                phone.replace(self);
            }
            let sipp = phone.sipp.borrow();
            let rung = sipp.as_ref().map_or(0, |sipp| sipp.messages().iter().filter(|m| rang(m)).count());
            phone.seen.set(rung);
        }
    }

    /// What a test leaves behind: no channel may be left, and the daemon must end well.
    pub fn tidy(&self) -> Result<(), String> {
        let left = self.switch.channels().all_gone(SOON);
        self.switch.forget_channels();
        if left.is_err() {
            self.switch.api("hupall");
            let _ = self.switch.channels().all_gone(SOON);
        }
        if let Some(mut daemon) = self.daemon.borrow_mut().take() {
            daemon.terminate(Duration::from_secs(12));
            left?;
            let mut books = self.books.take();
            books.push(daemon.facts());
            return crate::ledger::balanced(&books).map_err(|why| format!("{why}\n{}", daemon.log()));
        }
        left
    }

    /// Ends what a failed test has left, and tells where to look.
    pub fn give_up(&self) -> String {
        let daemon = self.daemon.borrow_mut().take();
        let log = daemon.map_or_else(|| "  (no daemon)".to_owned(), |daemon| daemon.log());
        if !self.switch.is_running() {
            self.switch.launch();
            self.register_all();
        }
        if self.switch.channels().all_gone(Duration::ZERO).is_err() {
            self.switch.api("hupall");
            let _ = self.switch.channels().all_gone(SOON);
        }
        self.switch.forget_channels();
        format!("the daemon's log:\n{log}\nFreeSWITCH's log: {}", self.switch.log_file().display())
    }

    /// Takes everything of this run away.
    pub fn close(self, keep: bool) {
        let folder = self.folder.clone();
        drop(self);
        if !keep {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// A scenario for SIPp.
    pub fn scenario(&self, name: &str, template: &str, values: &[(&str, &str)]) -> PathBuf {
        self.file(name, fill(template, values).as_bytes())
    }
}

/// Whether a phone began to ring.
fn rang(message: &Message) -> bool {
    message.sent && message.what() == "180"
}

/// A phone of the house, registered for the whole run.
pub struct Phone {
    pub user: String,
    /// The tone it sends in a call.
    pub tone: u32,
    pub sound: Sound,
    port: Cell<u16>,
    sipp: RefCell<Option<Sipp>>,
    /// Holds the address while nothing answers there.
    dead: RefCell<Option<UdpSocket>>,
    registered: Cell<bool>,
    /// How many calls the test has taken note of.
    seen: Cell<usize>,
}

impl Phone {
    fn new(lab: &Lab, user: &str, tone: u32) -> Phone {
        let phone = Phone {
            user: user.to_owned(),
            tone,
            sound: Sound::open(tone),
            port: Cell::new(udp_port()),
            sipp: RefCell::default(),
            dead: RefCell::default(),
            registered: Cell::new(false),
            seen: Cell::new(0),
        };
        let rtp = phone.sound.port().to_string();
        let values = [("USER", user), ("DOMAIN", DOMAIN), ("RTP", rtp.as_str())];
        lab.scenario(&format!("phone-{user}.xml"), include_str!("agent.xml"), &values);
        phone
    }

    fn registering(&self, lab: &Lab, seconds: u32) -> Sipp {
        *self.sipp.borrow_mut() = None;
        *self.dead.borrow_mut() = None;
        self.registered.set(seconds > 0);
        let expires = seconds.to_string();
        let values = [("USER", self.user.as_str()), ("DOMAIN", DOMAIN), ("EXPIRES", expires.as_str())];
        let scenario = lab.scenario(&format!("register-{}.xml", self.user), include_str!("register.xml"), &values);
        let more = ["-m", "1", "-au", &self.user, "-ap", SECRET, "-timeout", "10s", "-timeout_error"];
        Sipp::start(&lab.programs, &scenario, self.port.get(), lab.switch.sip, &more, |_, _| {})
    }

    fn plug_in(&self, lab: &Lab) {
        let scenario = lab.folder.join(format!("phone-{}.xml", self.user));
        let mouth = self.sound.mouth();
        let watch = move |m: &Message, before: &[Message]| match m.what() {
            "200" if m.sent && m.header("CSeq").ends_with("INVITE") => {
                let invite = before.iter().find(|b| b.what() == "INVITE" && b.call() == m.call());
                mouth.speak_to(invite.and_then(Message::sound_port));
            }
            "BYE" | "CRASH" => mouth.speak_to(None),
            _ => {}
        };
        let sipp = Sipp::start(&lab.programs, &scenario, self.port.get(), lab.switch.sip, &[], watch);
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

    /// The phone dies in the middle of the call: it sends and answers nothing more.
    pub fn crash(&self) {
        self.phone.tell(&self.call, "CRASH", "");
    }
}

/// Who calls.
pub struct From {
    user: String,
    header: String,
    login: Option<String>,
}

impl From {
    /// The world outside: any number and name.
    pub fn outside(number: &str, name: &str) -> From {
        let name = if name.is_empty() { String::new() } else { format!("{name} ") };
        From { user: "trunk".to_owned(), header: format!("{name}<sip:{number}@example.net>"), login: None }
    }

    /// A phone of the house.
    pub fn phone(user: &str) -> From {
        From { user: user.to_owned(), header: format!("<sip:{user}@{DOMAIN}>"), login: Some(user.to_owned()) }
    }

    /// A phone of the house that claims to be another.
    pub fn phone_as(user: &str, claimed: &str) -> From {
        From { header: format!("<sip:{claimed}@{DOMAIN}>"), ..From::phone(user) }
    }
}

/// A caller. Dropping it hangs up.
pub struct Caller {
    pub sound: Sound,
    /// The tone it sends.
    pub tone: u32,
    pub since: Instant,
    sipp: Sipp,
}

impl Caller {
    fn new(lab: &Lab, from: &From, number: &str, tone: u32) -> Caller {
        let sound = Sound::open(tone);
        let (rtp, port) = (sound.port().to_string(), udp_port());
        let values = [
            ("NUMBER", number),
            ("USER", from.user.as_str()),
            ("DOMAIN", DOMAIN),
            ("RTP", rtp.as_str()),
            ("FROM", from.header.as_str()),
        ];
        let scenario = lab.scenario(&format!("caller-{port}.xml"), include_str!("caller.xml"), &values);
        let remote = if from.login.is_some() { lab.switch.sip } else { lab.switch.trunk };
        let user = from.login.as_deref().unwrap_or("nobody");
        let more = ["-m", "1", "-au", user, "-ap", SECRET];
        let since = Instant::now();
        let mouth = sound.mouth();
        let watch = move |m: &Message, _: &[Message]| match m.what() {
            "200" if !m.sent && m.header("CSeq").ends_with("INVITE") => mouth.speak_to(m.sound_port()),
            "BYE" => mouth.speak_to(None),
            _ => {}
        };
        let sipp = Sipp::start(&lab.programs, &scenario, port, remote, &more, watch);
        Caller { sound, tone, since, sipp }
    }

    /// Waits until FreeSWITCH answers.
    #[track_caller]
    pub fn answered(&self) -> &Caller {
        let wanted = |m: &Message| !m.sent && m.what() == "200" && m.header("CSeq").ends_with("INVITE");
        let ok = self.sipp.wait(wanted, SOON);
        assert!(ok.is_some(), "the call was not answered:\n{}", self.story());
        self
    }

    /// Waits until FreeSWITCH hangs up.
    #[track_caller]
    pub fn byed(&self, within: Duration) -> Message {
        let bye = self.sipp.wait(|m| !m.sent && m.what() == "BYE", within);
        bye.unwrap_or_else(|| panic!("the caller was not hung up within {within:?}:\n{}", self.story()))
    }

    /// Whether FreeSWITCH has hung up.
    pub fn is_over(&self) -> bool {
        self.sipp.messages().iter().any(|m| !m.sent && m.what() == "BYE")
    }

    pub fn hang_up(&self) {
        let call = self.sipp.messages().first().map(|m| m.call().to_owned());
        if let Some(call) = call {
            self.sipp.tell(&call, "HANGUP", "");
        }
    }

    /// Waits until the call is over, whoever ended it.
    #[track_caller]
    pub fn over(mut self, within: Duration) {
        assert!(self.sipp.ends_well(within), "the call did not end as it should:\n{}", self.story());
    }

    /// The phone is gone, without a word.
    pub fn vanish(mut self) {
        self.sipp.kill();
    }

    pub fn story(&self) -> String {
        self.sipp.story(self.since)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.hang_up();
        self.sipp.ends_well(Duration::from_secs(1));
    }
}

/// The tone of extension 9000.
pub const NINE_THOUSAND: u32 = ELSEWHERE;
