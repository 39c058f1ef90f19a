//! Two daemons beside one FreeSWITCH, with the same file and different queues (Q107).
//!
//! `TWO_DAEMONS_SECONDS` (30), `TWO_DAEMONS_SEED` (printed).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{EndedBy, Fact};
use phones::{Call, Phones};

use crate::daemon::Daemon;
use crate::lab::{Lab, SOON};
use crate::office::people::{Dice, MOST_CALLERS, STAFF, any_seed, caller};
use crate::office::phones;
use crate::office::watch::{Found, Watch, is_offer};
use crate::switch::DOMAIN;

crate::cases!("two":
    two_daemons_leave_each_others_calls_alone,
);

/// The interval between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Both daemons have all queues. Agents 1023 and 1024 work for both.
const QUEUES: &str = "  - { number: \"99900\", name: Sales, strategy: longest-idle, wrap_up_seconds: 0.5, ring_seconds: 3,\n      \
                      participants: [\"1021\", \"1022\", \"1024\"] }\n  \
                      - { number: \"99901\", name: Help, strategy: simultaneous, ring_seconds: 3,\n      \
                      participants: [\"1021\", \"1022\", \"1023\"] }\n  \
                      - { number: \"99800\", name: Sales, strategy: longest-idle, wrap_up_seconds: 0.5, ring_seconds: 3,\n      \
                      participants: [\"1025\", \"1026\", \"1024\"] }\n  \
                      - { number: \"99801\", name: Repairs, strategy: simultaneous, ring_seconds: 3,\n      \
                      participants: [\"1027\", \"1028\", \"1023\"] }\n";
const LOGINS: [(&str, &[&str]); 4] = [
    ("99900", &["1021", "1022", "1024"]),
    ("99901", &["1021", "1022", "1023"]),
    ("99800", &["1025", "1026", "1024"]),
    ("99801", &["1027", "1028", "1023"]),
];
/// One lamp of each daemon.
const LAMPS: [(&str, &str); 2] = [("1005", "*4199900*1021"), ("1006", "*4199801*1027")];

/// An action on a call.
#[derive(Clone, Copy, Debug)]
enum Act {
    Answer,
    Refuse,
    HangUp,
    /// Transfers the caller to this queue, which may be the other daemon's.
    PassOn(&'static str),
}

/// Callers and agents, at random.
struct Hour {
    phones: Phones,
    dice: Dice,
    watch: Watch,
    due: BTreeMap<(Instant, u64), (usize, Act)>,
    sequence: u64,
    seen: usize,
    first: usize,
    talking: BTreeSet<usize>,
    findings: Vec<String>,
}

/// Q107, Q8, Q22, Q23.
fn two_daemons_leave_each_others_calls_alone(lab: &Lab) {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seconds = given("TWO_DAEMONS_SECONDS").unwrap_or(30);
    let seed = given("TWO_DAEMONS_SEED").unwrap_or_else(any_seed);
    println!("TWO_DAEMONS_SEED={seed} TWO_DAEMONS_SECONDS={seconds}");
    lab.serve(QUEUES);
    let mut other = lab.serve_beside();
    let mut hour = Hour::begin(lab, seed);
    let lamps = LAMPS.map(|(user, key)| lab.lamp(user, key));
    lamps.iter().for_each(|lamp| lamp.shows(true, SOON));
    hour.play(Instant::now() + Duration::from_secs(seconds));
    hour.close();
    // A lamp that is asked for now gets its state from the daemon that lit it.
    let late = LAMPS.map(|(user, key)| lab.lamp(user, key));
    late.iter().for_each(|lamp| lamp.shows(true, SOON));
    let mut findings = hour.findings;
    findings.extend(lab.switch.channels().all_gone(SOON).err().map(|left| format!("a leg is left: {left}")));
    let told = [("the first daemon", &*lab.daemon()), ("the second daemon", &other)];
    for (name, daemon) in told {
        findings.extend(looked_through(daemon).into_iter().map(|what| format!("{name}: {what}")));
    }
    let log = if findings.is_empty() { String::new() } else { other.log() };
    assert!(
        findings.is_empty(),
        "{} findings with TWO_DAEMONS_SEED={seed}:\n{}\nthe second daemon's log:\n{log}",
        findings.len(),
        findings.join("\n")
    );
    other.terminate(Duration::from_secs(12));
}

/// The findings in the log, status and store of one daemon.
fn looked_through(daemon: &Daemon) -> Vec<String> {
    let mut findings = Vec::new();
    let repairs = daemon.status()["repairs"].clone();
    if repairs != 0 {
        findings.push(format!("{repairs} repairs"));
    }
    let log = daemon.log();
    findings.extend(log.lines().filter(|line| line.contains("repaired:")).map(str::to_owned));
    let facts = daemon.facts();
    let (mut answered, mut ends) = (0, BTreeMap::<String, usize>::new());
    for record in &facts {
        match &record.fact {
            Fact::CallAnswered { .. } => answered += 1,
            Fact::ConversationEnded { by, agent, .. } => {
                *ends.entry(format!("{by:?}")).or_default() += 1;
                if !matches!(by, EndedBy::Caller | EndedBy::Agent | EndedBy::Transfer) {
                    findings.push(format!("a conversation of {agent} was ended by {by:?}"));
                }
            }
            Fact::CallLost { call, cause, .. } => findings.push(format!("{call} was lost: {cause:?}")),
            Fact::OfferMissed { cause, .. } => *ends.entry(format!("missed: {cause}")).or_default() += 1,
            _ => {}
        }
    }
    println!("  {} facts, {answered} conversations: {ends:?}", facts.len());
    if answered == 0 {
        findings.push("nobody was served".to_owned());
    }
    findings.extend(crate::records::balanced(&daemon.store()).err());
    findings
}

impl Hour {
    /// Registers the phones and logs the agents in.
    fn begin(lab: &Lab, seed: u64) -> Self {
        let phones = phones(lab);
        for (queue, agents) in LOGINS {
            for agent in agents {
                let code = phones.call_from(agent, DOMAIN, &format!("*41{queue}"));
                let over = |calls: &[Call]| calls[0].ended.map(drop);
                phones.wait("the end of a login", SOON, code, over).expect("a login");
            }
        }
        let before = phones.count();
        Self {
            phones,
            dice: Dice::new(seed),
            watch: Watch::default(),
            due: BTreeMap::new(),
            sequence: 0,
            seen: before,
            first: before,
            talking: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    fn play(&mut self, end: Instant) {
        let mut next = Instant::now();
        while Instant::now() < end {
            self.look();
            if next <= Instant::now() {
                next += self.dice.ms(100, 900);
                self.outside();
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Ends every call, and waits until the rules are checked for the last one.
    fn close(&mut self) {
        for (n, call) in self.phones.calls(self.first).iter().enumerate().filter(|(_, call)| call.ended.is_none()) {
            if call.is_caller {
                self.act(self.first + n, Act::HangUp);
            }
        }
        self.due.clear();
        let end = Instant::now() + SOON;
        while Instant::now() < end {
            self.look();
            std::thread::sleep(LOOK);
        }
    }

    fn plan(&mut self, call: usize, after: Duration, act: Act) {
        self.sequence += 1;
        self.due.insert((Instant::now() + after, self.sequence), (call, act));
    }

    fn any_line(&mut self) -> &'static str {
        self.dice.pick(&LOGINS).0
    }

    /// An outside caller who is in no call dials one of the queues.
    fn outside(&mut self) {
        let calls = self.phones.calls(self.first);
        let busy = |number: &str| calls.iter().any(|c| c.user == number && c.ended.is_none());
        let Some(number) = (0..MOST_CALLERS).map(caller).find(|number| !busy(number)) else { return };
        self.watch.in_line(&number, true);
        let to = self.any_line();
        let call = self.phones.call(&number, to);
        let patience = if self.dice.once_in(4) { self.dice.ms(100, 4000) } else { self.dice.ms(8000, 20_000) };
        self.plan(call, patience, Act::HangUp);
    }

    fn look(&mut self) {
        while let Some(((at, _), _)) = self.due.first_key_value() {
            if *at > Instant::now() {
                break;
            }
            if let Some((_, (call, act))) = self.due.pop_first() {
                self.act(call, act);
            }
        }
        let calls = self.phones.calls(self.first);
        for (n, call) in calls.iter().enumerate() {
            let id = self.first + n;
            if id >= self.seen && is_offer(call) {
                match self.dice.below(8) {
                    0 => {}
                    1 => self.soon(id, 20, 1500, Act::Refuse),
                    _ => self.soon(id, 20, 1800, Act::Answer),
                }
            }
            if call.is_up() && call.person.is_some() && self.talking.insert(id) {
                let act = match self.dice.below(4) {
                    0 if is_offer(call) => Act::PassOn(self.any_line()),
                    _ => Act::HangUp,
                };
                self.soon(id, 200, 6000, act);
            }
        }
        self.seen = self.first + calls.len();
        for Found { what, .. } in self.watch.look(self.first, &calls, Instant::now()) {
            println!("FOUND: {what}");
            self.findings.push(what);
        }
        // Calls that ended long ago are not looked at again.
        let old = |c: &&Call| c.ended.is_some_and(|at| at.elapsed() > Duration::from_secs(10));
        self.first += calls.iter().take_while(old).count();
        self.watch.forget(self.first);
    }

    fn soon(&mut self, call: usize, from: u64, to: u64, act: Act) {
        let after = self.dice.ms(from, to);
        self.plan(call, after, act);
    }

    fn act(&mut self, id: usize, act: Act) {
        let Some(call) = self.phones.get(id).filter(|call| call.ended.is_none()) else { return };
        let people = [Some(call.user.clone()), call.person.as_ref().map(|(_, who)| who.clone())];
        match act {
            Act::Answer => self.phones.answer(id),
            Act::Refuse => self.phones.refuse(id, 486),
            Act::HangUp => {
                let calls = self.phones.calls(self.first);
                self.watch.reason(Instant::now(), people.into_iter().flatten(), &calls);
                self.phones.hang_up(id);
            }
            Act::PassOn(to) => {
                let Some(whom) = call.hears().filter(|who| !STAFF.contains(who)).map(str::to_owned) else {
                    return self.plan(id, Duration::from_secs(1), Act::HangUp);
                };
                let calls = self.phones.calls(self.first);
                self.watch.reason(Instant::now(), people.into_iter().flatten(), &calls);
                self.watch.in_line(&whom, true);
                self.phones.transfer(id, to, DOMAIN);
                self.plan(id, Duration::from_secs(3), Act::HangUp);
            }
        }
    }
}
