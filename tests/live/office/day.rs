//! The day itself: it runs due actions, looks at the calls, and starts new actions at random.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use phones::{Call, Manner, Phones};

use super::people::{Dice, FAITHFUL, GROUP, IVR, LINES, MOST_CALLERS, MOST_IN_A_RUSH, OTHERS, STAFF, caller};
use super::watch::{Found, Watch, is_offer};
use crate::lab::{Lab, SOON};
use crate::switch::DOMAIN;

/// The interval between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// The time in which everybody is served at the end of the day: a phone that refused everything may be left alone for a
/// minute.
const SERVED: Duration = Duration::from_secs(60 + 45);
/// The interval between two looks at the lines that the daemon shows.
const LINES_SHOWN: Duration = Duration::from_secs(1);
/// An agent hangs up an answered call that stays silent after this time.
const CROSSED: Duration = Duration::from_secs(2);
/// A thread that wakes so late was kept from the processor.
const STALL: Duration = Duration::from_millis(300);
/// The number of events kept, to be printed with a finding.
const STORY: usize = 6000;

/// An action on a call.
#[derive(Clone, Debug)]
pub enum Act {
    Answer,
    Refuse(u16),
    Forward(String),
    HangUp,
    Hold(bool),
    Blind(String),
    /// The phone makes a second call, to consult another party first.
    Consult(String),
    /// Completes the transfer with the second call, or cancels it.
    Complete(usize),
    Abandon(usize),
}

pub struct Day<'a> {
    pub lab: &'a Lab,
    pub phones: Phones,
    pub dice: Dice,
    pub watch: Watch,
    pub began: Instant,
    end: Instant,
    deaths: VecDeque<Death>,
    due: BTreeMap<(Instant, u64), (usize, Act)>,
    sequence: u64,
    /// The number of calls noticed: of all, and of those that talk.
    seen: usize,
    pub talking: BTreeMap<usize, ()>,
    first: usize,
    story: VecDeque<(Instant, String)>,
    findings: Vec<String>,
    next_idea: Instant,
    /// When the lines are looked at again.
    next_line: Instant,
    pub logged_in: BTreeMap<(String, String), bool>,
    /// Everybody goes home: every call is answered and soon over.
    pub(super) closing: bool,
    /// The number of facts seen of this daemon.
    pub(super) facts: usize,
    /// The calls that were cancelled in the moment of their answer.
    crossed: BTreeSet<usize>,
    /// The times in which the machine stood still.
    stalls: Receiver<Duration>,
}

/// Tells how long the machine stood still, whenever it did: another load takes the processor from FreeSWITCH too.
fn stalls() -> Receiver<Duration> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        loop {
            let asleep = Instant::now();
            std::thread::sleep(LOOK);
            let late = asleep.elapsed().saturating_sub(LOOK);
            if late >= STALL && tell.send(late).is_err() {
                return;
            }
        }
    });
    told
}

/// A planned death of the daemon.
struct Death {
    at: Instant,
    /// Another one follows soon.
    is_first: bool,
}

/// The deaths, spread over the day with none in its last moments. They come in pairs, so that callers who have just come
/// back are on their way again.
fn deaths_of(began: Instant, lasts: Duration, deaths: u64, dice: &mut Dice) -> VecDeque<Death> {
    let share = lasts / (u32::try_from(deaths).unwrap_or(u32::MAX) + 1);
    let jitter = u64::try_from(share.as_millis() / 3).unwrap_or(1).max(1);
    let mut last = began;
    let death = |n| {
        let is_first = n % 2 == 1;
        let alone = began + share * u32::try_from(n).unwrap_or(1) + dice.ms(0, jitter);
        last = if is_first { alone } else { last + dice.ms(5000, 9000) };
        Death { at: last, is_first }
    };
    (1..=deaths).map(death).collect()
}

impl<'a> Day<'a> {
    pub fn begin(lab: &'a Lab, seed: u64, lasts: Duration, deaths: u64) -> Self {
        let phones = super::phones(lab);
        let before = phones.count();
        let began = Instant::now();
        let mut dice = Dice::new(seed);
        let deaths = deaths_of(began, lasts, deaths, &mut dice);
        let mut day = Self {
            lab,
            phones,
            dice,
            watch: Watch::default(),
            began,
            end: began + lasts,
            deaths,
            due: BTreeMap::new(),
            sequence: 0,
            seen: before,
            talking: BTreeMap::new(),
            first: before,
            story: VecDeque::new(),
            findings: Vec::new(),
            next_idea: began,
            next_line: began,
            logged_in: BTreeMap::new(),
            closing: false,
            facts: 0,
            crossed: BTreeSet::new(),
            stalls: stalls(),
        };
        for (agent, line) in FAITHFUL.iter().chain(&OTHERS) {
            day.log(agent, line, true);
            day.rest(Duration::from_millis(150));
        }
        day.rest(Duration::from_secs(1));
        day
    }

    /// The agent dials the code.
    pub fn log(&mut self, agent: &str, line: &str, on: bool) {
        let code = format!("*4{}{line}", if on { 1 } else { 2 });
        self.tell(format!("{agent} dials {code}"));
        self.phones.call_from(agent, DOMAIN, &code);
        self.logged_in.insert((agent.to_owned(), line.to_owned()), on);
    }

    pub fn play(&mut self) {
        while Instant::now() < self.end {
            self.rest(LOOK);
            if let Some(is_first) = self.deaths.front().filter(|death| death.at <= Instant::now()).map(|d| d.is_first) {
                self.deaths.pop_front();
                if is_first {
                    self.rush();
                }
                self.die();
            }
            if self.next_line <= Instant::now() {
                self.next_line = Instant::now() + LINES_SHOWN;
                self.line_up();
            }
            if self.next_idea <= Instant::now() {
                self.next_idea = Instant::now() + self.dice.ms(100, 600);
                self.idea();
            }
        }
    }

    /// Serves every caller and ends the day: from now on, every call is answered and soon over.
    pub fn close(&mut self) {
        self.tell("the office closes".to_owned());
        self.closing = true;
        self.due.clear();
        for user in STAFF {
            self.phones.set_manner(user, Manner::Rings);
        }
        for (n, call) in self.calls().iter().enumerate().filter(|(_, call)| call.ended.is_none()) {
            match (call.is_caller, call.answered.is_some()) {
                // Agents who are consulting return to work.
                (true, _) if STAFF.contains(&call.user.as_str()) => self.phones.hang_up(self.first + n),
                (true, _) => {}
                (false, true) => self.talk(self.first + n, call),
                (false, false) => self.ring(self.first + n, call),
            }
        }
        for (agent, line) in FAITHFUL {
            self.log(agent, line, true);
        }
        let waits = |day: &Self| {
            let calls = day.phones.calls(day.first);
            let waits = |c: &&Call| c.is_up() && day.watch.is_in_line(&c.user) && c.hears().is_none();
            calls.iter().filter(waits).map(|c| c.user.clone()).collect::<Vec<_>>()
        };
        let patience = Instant::now() + SERVED;
        while !waits(self).is_empty() && Instant::now() < patience {
            self.rest(LOOK);
        }
        let left = waits(self);
        if !left.is_empty() {
            let status = self.lab.daemon().status().to_string();
            self.find(format!("{left:?} still wait {SERVED:?} after all phones began to answer; {status}"), &left);
        }
        let calls = self.phones.calls(self.first);
        for (n, call) in calls.iter().enumerate() {
            if call.ended.is_none() {
                self.phones.hang_up(self.first + n);
            }
        }
        self.due.clear();
        self.rest(SOON);
    }

    pub fn findings(self) -> Vec<String> {
        let file = self.lab.file("office.txt", self.told(|_| true).join("\n").as_bytes());
        println!("the day's story: {}; offers judged: {}", file.display(), self.watch.line.judged);
        self.findings
    }

    /// Notes an event.
    pub fn tell(&mut self, what: String) {
        if self.story.len() == STORY {
            self.story.pop_front();
        }
        self.story.push_back((Instant::now(), what));
    }

    fn told(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let line = |(at, what): &(Instant, String)| format!("  {:8.2} {what}", (*at - self.began).as_secs_f32());
        self.story.iter().filter(|(_, what)| wanted(what)).map(line).collect()
    }

    /// Records a finding, with the events of the people it concerns.
    pub fn find(&mut self, what: String, who: &[String]) {
        self.tell(format!("FOUND: {what}"));
        let about = self.told(|line| {
            who.iter().any(|who| line.contains(who.as_str())) || line.contains("FOUND") || line.starts_with("the ")
        });
        let tail = about[about.len().saturating_sub(40)..].join("\n");
        println!("FOUND: {what}\n{tail}\n");
        self.findings.push(what);
    }

    /// Plans an action on a call.
    pub fn plan(&mut self, call: usize, after: Duration, act: Act) {
        self.sequence += 1;
        self.due.insert((Instant::now() + after, self.sequence), (call, act));
    }

    /// Lets time pass, running due actions and looking at the calls.
    pub fn rest(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.look();
            let now = Instant::now();
            while let Some(((at, _), _)) = self.due.first_key_value() {
                if *at > now {
                    break;
                }
                if let Some((_, (call, act))) = self.due.pop_first() {
                    self.act(call, &act);
                }
            }
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(LOOK.min(until - now));
        }
    }

    fn look(&mut self) {
        let stalls: Vec<Duration> = self.stalls.try_iter().collect();
        if !stalls.is_empty() {
            self.tell(format!("the machine stood still: {stalls:?}"));
            self.watch.stall();
        }
        let calls = self.phones.calls(self.first);
        for (n, call) in calls.iter().enumerate().skip(self.seen - self.first) {
            let id = self.first + n;
            let kind = if is_offer(call) { "offer" } else { "call" };
            match call.is_caller {
                true => self.tell(format!("#{id} {} calls {}", call.user, call.dialled)),
                false => self.tell(format!("#{id} {} is called by {} ({kind})", call.user, call.from)),
            }
            if !call.is_caller && call.ended.is_none() {
                self.ring(id, call);
            }
        }
        self.seen = self.first + calls.len();
        for (n, call) in calls.iter().enumerate() {
            let id = self.first + n;
            if call.is_up() && call.cancelled.is_some() && self.crossed.insert(id) {
                self.tell(format!("#{id} {} answered as the call was cancelled, and hears nobody", call.user));
                self.plan(id, CROSSED, Act::HangUp);
            }
            if call.is_up() && call.person.is_some() && self.talking.insert(id, ()).is_none() {
                let who = call.person.as_ref().map(|(_, who)| who.clone()).unwrap_or_default();
                self.tell(format!("#{id} {} hears {who}", call.user));
                self.talk(id, call);
            }
            if call.ended.is_some() && self.talking.remove(&id).is_some() {
                self.tell(format!("#{id} {} is over, by {:?} {}", call.user, call.ended_by, call.reason));
            }
        }
        let now = Instant::now();
        for Found { what, who } in self.watch.look(self.first, &calls, now) {
            self.find(what, &who);
        }
        let facts = self.lab.daemon().facts_after(self.facts);
        self.facts += facts.len();
        for (at, record) in facts {
            if let Some(Found { what, who }) = self.watch.line.take(at, &record.fact, &calls) {
                self.find(what, &who);
            }
        }
        // Calls that ended long ago are not looked at again.
        let old = |c: &&Call| c.ended.is_some_and(|at| now > at + Duration::from_secs(10));
        let done = calls.iter().take_while(old).count();
        self.first += done;
        self.watch.forget(self.first);
    }

    /// Starts a random action.
    fn idea(&mut self) {
        match self.dice.below(100) {
            0..=44 => self.outside(),
            45..=56 => self.private(),
            57..=66 => {
                let (agent, line) = *self.dice.pick(&OTHERS);
                let on = !self.logged_in.get(&(agent.to_owned(), line.to_owned())).copied().unwrap_or_default();
                if self.idle(agent) || self.dice.once_in(4) {
                    self.log(agent, line, on);
                }
            }
            67..=78 => self.operate(),
            79..=84 => self.pick_up(),
            85..=88 => self.manner(),
            89..=90 => self.reload(),
            91 => self.restart_profile(),
            _ => {}
        }
    }

    /// Compares the lines that the daemon shows with what is known of the callers.
    fn line_up(&mut self) {
        let status = self.lab.daemon().status();
        self.look();
        for queue in status["queues"].as_array().into_iter().flatten() {
            let number = queue["number"].as_str().unwrap_or_default();
            let waiting = queue["waiting"].as_array().into_iter().flatten();
            let calls: Vec<&str> = waiting.filter_map(|call| call["call"].as_str()).collect();
            if let Some(Found { what, who }) = self.watch.line.order(number, &calls) {
                self.find(format!("{what}: {}", queue["waiting"]), &who);
            }
        }
    }

    fn outside(&mut self) {
        let to = match self.dice.below(10) {
            0 => IVR,
            1 => GROUP,
            _ => self.dice.pick(&LINES),
        };
        if let Some(call) = self.outside_to(to, MOST_CALLERS)
            && self.dice.once_in(3)
        {
            let patience = self.dice.ms(300, 9000);
            self.plan(call, patience, Act::HangUp);
        }
    }

    /// An outside caller dials a number, if there are not yet so many.
    fn outside_to(&mut self, to: &str, most: usize) -> Option<usize> {
        // Ends of this moment are noticed before the same number calls again.
        self.look();
        let calls = self.phones.calls(self.first);
        let busy = |number: &str| calls.iter().any(|c| c.user == number && c.ended.is_none());
        let number = (0..most).map(caller).find(|number| !busy(number))?;
        self.watch.in_line(&number, true);
        let call = self.phones.call(&number, to);
        self.plan(call, Duration::from_secs(60), Act::HangUp);
        Some(call)
    }

    /// Many patient callers come to one queue, a moment after each other.
    fn rush(&mut self) {
        let line = *self.dice.pick(&LINES);
        while self.outside_to(line, MOST_IN_A_RUSH).is_some() {
            let gap = self.dice.ms(50, 400);
            self.rest(gap);
        }
    }

    fn private(&mut self) {
        let user = *self.dice.pick(&STAFF);
        let to = if self.dice.once_in(4) { "9000" } else { self.dice.pick(&STAFF) };
        if user == to || !self.idle(user) {
            return;
        }
        let call = self.phones.call_from(user, DOMAIN, to);
        let patience = self.dice.ms(500, 8000);
        self.plan(call, patience, Act::HangUp);
    }

    /// Makes a phone dead, or refuse everything, for a while; most of the time there is none.
    fn manner(&mut self) {
        let faithful = |user: &str| FAITHFUL.iter().any(|(agent, _)| *agent == user);
        let user = *self.dice.pick(&STAFF);
        let manner = match self.dice.below(8) {
            0 if !faithful(user) => Manner::Dead,
            1 => Manner::Refuses(*self.dice.pick(&[486, 487, 480, 408, 503, 404, 603, 600, 500, 403])),
            2 => {
                // No phone forwards to one that forwards: FreeSWITCH follows such a loop of private calls as fast as it
                // can, and is late for everybody else.
                let others: &[&str] = if ["1022", "1025"].contains(&user) { &[] } else { &["1022", "1025"] };
                let to = (*self.dice.pick(&[&["9000", "99901"], others].concat())).to_owned();
                Manner::Forwards { to, port: self.lab.switch.trunk }
            }
            _ => Manner::Rings,
        };
        self.tell(format!("{user}'s phone: {manner:?}"));
        self.phones.set_manner(user, manner);
    }

    /// Whether a phone is without a call.
    pub fn idle(&self, user: &str) -> bool {
        !self.phones.calls(self.first).iter().any(|c| c.user == user && c.ended.is_none())
    }

    pub fn calls(&self) -> Vec<Call> {
        self.phones.calls(self.first)
    }
}
