//! The steps of a history, and the generator of histories.

use std::time::Duration;

use freeswitch_queue::acd::ids::{AgentId, QueueNumber};
use freeswitch_queue::acd::settings::{AgentSettings, Language, Music, QueueSettings, Strategy, TimeoutAction};

use crate::rng::Rng;

/// How many queues and agents a configuration can have.
pub(crate) const QUEUES: u8 = 3;
pub(crate) const AGENTS: u8 = 5;

/// One step. Callers are named by their number among those present; a step that does not apply does nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step {
    /// Milliseconds pass.
    Wait(u64),
    /// Time passes up to this many milliseconds before the next due action; with 0 the action has not run yet.
    Until(u64),
    /// A caller calls this queue.
    Call(u8),
    /// An agent calls this queue from the own phone.
    CallFrom(u8, u8),
    /// A caller calls this queue with this own head start.
    CallAhead(u8, u64),
    /// A caller hangs up.
    GiveUp(u8),
    /// A caller presses a key.
    Press(u8),
    /// An agent logs in to a queue.
    Login(u8, u8),
    /// An agent logs out of a queue.
    Logout(u8, u8),
    /// An admin calls off the offer for which an agent's phone rings.
    CallOff(u8),
    /// An agent answers the phone.
    Answer(u8),
    /// All phones that ring for this caller answer.
    AnswerAll(u8),
    /// An agent declines.
    Decline(u8),
    /// An agent hangs up, or transfers the caller: to another party, or to a queue.
    HangUp(u8, bool),
    /// FreeSWITCH sends the event of an agent's private call, or of its end.
    Private(u8, bool),
    /// FreeSWITCH sends the event that the phone registered or unregistered.
    Reachable(u8, bool),
    /// From now on the agent's first phone behaves like this.
    Phone(u8, Phone),
    /// From now on the agent has this many phones, and all but the first behave like this.
    Phones(u8, u8, Phone),
    /// From now on the agent has a `dial`, or no longer has one.
    Dial(u8, bool),
    /// The next leg to the agent has this fault.
    Fault(u8, Fault),
    /// The admin makes this change to the file.
    Write(u8, Change),
    /// The admin adds an agent to the file, or removes one.
    Hire(u8, bool),
    /// The daemon reloads the file.
    Reload,
    /// The connection of one call is lost.
    Cut(u8),
    /// A party outside the queue takes the caller.
    Steal(u8),
    /// The caller's music ends, as with a file that cannot be played.
    Silence(u8),
    /// Sets whether the daemon compares its state with FreeSWITCH.
    Supervised(bool),
    /// The daemon drains, and starts again.
    Drain,
    /// The daemon is killed, and starts again.
    Crash,
    /// FreeSWITCH is killed, and starts again.
    SwitchCrash,
}

/// The behaviour of a phone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phone {
    Rings,
    /// Rings only after this time.
    Slow(u64),
    /// Is registered, and dead.
    Dead,
    AnswersAtOnce,
    Busy,
    /// Gives this final answer by itself.
    Refuses(u16),
    NotRegistered,
    Unknown,
}

/// The fault of one leg.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Every event comes twice.
    Double,
    /// The channel appears late.
    SlowCreate(u64),
    /// The result of the `originate` comes late.
    LateResult,
    /// The result of the `originate` never comes.
    NoResult,
    /// The event of its hang-up never comes.
    NoHangUp,
    /// The event of its end comes this much later.
    LateEnd(u64),
    /// The `originate` fails for another reason.
    Refused,
    /// Answered, but not connected: ends by itself.
    NotBridged,
    /// Answered, but not connected: stays.
    Parked,
    /// The `originate` has no effect at all.
    Never,
    /// No event comes at all.
    Mute,
    /// The event of its destruction never comes.
    NoGone,
    /// It cannot be ended.
    Deaf,
    /// It ends as if another phone had been faster.
    PickedOff,
    /// FreeSWITCH ends its ringing before the ring time is over.
    CutShort,
}

impl Fault {
    /// Whether the event of such a leg's end may never come.
    pub(crate) fn may_be_lost(self) -> bool {
        match self {
            Self::Never | Self::Mute | Self::NoGone | Self::Deaf => true,
            Self::SlowCreate(ms) | Self::LateEnd(ms) => ms > 4000,
            _ => false,
        }
    }
}

/// A line of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Strategy(Strategy),
    /// The participating agents (a bit each), and the one with which the list begins.
    Participants(u8, u8),
    WrapUp(u64),
    MaxWait(Option<u64>),
    Ring(u64),
    HeadStart(u64),
    RingAtMost(usize),
    Music(u8),
    Announce(Option<u64>),
    Message(bool),
    Hangup,
    Transfer,
    OnTo(u8),
    MaxCallers(Option<u32>),
    MaxConversations(Option<u32>),
    /// The message and the action for callers whom a full queue does not let in.
    Full(bool, u8),
    Removed(bool),
}

pub(crate) fn queue_number(q: u8) -> QueueNumber {
    QueueNumber::new(&format!("9990{}", q % QUEUES)).unwrap()
}

pub(crate) fn agent_id(a: u8) -> AgentId {
    AgentId::new(&format!("100{}", a % AGENTS)).unwrap()
}

/// The configuration file.
pub(crate) struct Office {
    queues: Vec<(bool, QueueSettings)>,
    hired: Vec<bool>,
}

impl Office {
    /// Two queues and three agents; a third and two more can be added.
    pub(crate) fn new() -> Self {
        let agents = || (0..AGENTS).map(agent_id).collect();
        let queue = |q| QueueSettings::new(queue_number(q), "Service".into(), agents(), Language("en".into()));
        Self { queues: (0..QUEUES).map(|q| (q < 2, queue(q))).collect(), hired: (0..AGENTS).map(|a| a < 3).collect() }
    }

    pub(crate) fn hire(&mut self, agent: u8, hired: bool) {
        self.hired[usize::from(agent % AGENTS)] = hired;
    }

    pub(crate) fn write(&mut self, queue: u8, change: Change) {
        let (there, s) = &mut self.queues[usize::from(queue % QUEUES)];
        match change {
            Change::Strategy(strategy) => s.strategy = strategy,
            Change::Participants(bits, first) => {
                let round = (0..AGENTS).map(|n| (n + first) % AGENTS);
                s.participants = round.filter(|a| bits & (1 << a) != 0).map(agent_id).collect();
            }
            Change::WrapUp(ms) => s.wrap_up = Duration::from_millis(ms),
            Change::MaxWait(ms) => s.max_wait = ms.map(Duration::from_millis),
            Change::Ring(ms) => s.ring_time = Duration::from_millis(ms),
            Change::RingAtMost(phones) => s.ring_at_most = phones,
            Change::HeadStart(ms) => s.head_start = Duration::from_millis(ms),
            Change::Music(0) => s.music = Music::Ringtone,
            Change::Music(n) => s.music = Music::File(format!("/{n}.wav").into()),
            Change::Announce(ms) => s.announce_every = ms.map(Duration::from_millis),
            Change::Message(on) => s.timeout.message = on.then(|| "/sorry.wav".into()),
            Change::Hangup => s.timeout.action = TimeoutAction::Hangup,
            Change::Transfer => s.timeout.action = TimeoutAction::Transfer("1005".into()),
            Change::OnTo(q) => s.timeout.action = TimeoutAction::Queue(queue_number(q)),
            Change::MaxCallers(most) => s.max_callers = most,
            Change::MaxConversations(most) => s.max_conversations = most,
            Change::Full(message, action) => {
                s.full.message = message.then(|| "/full.wav".into());
                s.full.action = match action {
                    0 => TimeoutAction::Hangup,
                    1 => TimeoutAction::Transfer("1005".into()),
                    n => TimeoutAction::Queue(queue_number(n)),
                };
            }
            Change::Removed(gone) => *there = !gone,
        }
    }

    pub(crate) fn agents(&self) -> Vec<AgentSettings> {
        let hired = (0..AGENTS).filter(|a| self.hired[usize::from(*a)]);
        hired.map(|a| AgentSettings::new(agent_id(a), "Anna".into())).collect()
    }

    /// The queues; a value that would fail the checks of a file is corrected.
    pub(crate) fn queues(&self) -> Vec<QueueSettings> {
        let agents = self.agents();
        let there: Vec<QueueNumber> =
            self.queues.iter().filter(|(there, _)| *there).map(|(_, s)| s.number.clone()).collect();
        let mut queues: Vec<QueueSettings> =
            self.queues.iter().filter(|(there, _)| *there).map(|(_, s)| s.clone()).collect();
        for s in &mut queues {
            s.participants.retain(|p| agents.iter().any(|a| a.id == *p));
            for action in [&mut s.timeout.action, &mut s.full.action] {
                if matches!(action, TimeoutAction::Queue(to) if !there.contains(to)) {
                    *action = TimeoutAction::Hangup;
                }
            }
        }
        queues
    }
}

/// The weights of a history's steps: they differ between histories, so that rare steps meet often in some.
struct Taste {
    weights: Vec<(u64, Kind)>,
    strategies: Vec<Strategy>,
}

#[derive(Clone, Copy)]
enum Kind {
    Wait,
    Until,
    Call,
    CallFrom,
    CallAhead,
    GiveUp,
    Press,
    Login,
    Logout,
    CallOff,
    Answer,
    AnswerAll,
    Decline,
    HangUp,
    Private,
    Reachable,
    Phone,
    Phones,
    Dial,
    Fault,
    Write,
    Hire,
    Reload,
    Cut,
    Steal,
    Silence,
    Supervised,
    Drain,
    Crash,
    SwitchCrash,
}

impl Taste {
    fn new(rng: &mut Rng) -> Self {
        use Kind::*;
        let common = [
            (30, Wait),
            (12, Until),
            (14, Call),
            (5, GiveUp),
            (2, Press),
            (6, Login),
            (3, Logout),
            (2, CallOff),
            (14, Answer),
            (4, AnswerAll),
            (5, Decline),
            (12, HangUp),
        ];
        let rare = [
            (3, CallFrom),
            (5, CallAhead),
            (3, Private),
            (3, Reachable),
            (3, Phone),
            (4, Phones),
            (2, Dial),
            (5, Fault),
            (4, Write),
            (1, Hire),
            (2, Reload),
            (1, Cut),
            (1, Steal),
            (2, Silence),
            (1, Supervised),
            (1, Drain),
            (1, Crash),
            (1, SwitchCrash),
        ];
        let mut weights: Vec<(u64, Kind)> = common.into_iter().map(|(w, k)| (w * rng.within(1, 3), k)).collect();
        weights.extend(rare.into_iter().map(|(w, k)| (w * *rng.pick(&[0, 0, 1, 1, 4]), k)));
        let all = Strategy::ALL;
        let strategies = if rng.chance(50) { vec![*rng.pick(&all)] } else { all.to_vec() };
        Self { weights, strategies }
    }

    fn kind(&self, rng: &mut Rng) -> Kind {
        let mut at = rng.below(self.weights.iter().map(|(w, _)| w).sum());
        for (w, kind) in &self.weights {
            if at < *w {
                return *kind;
            }
            at -= w;
        }
        Kind::Wait
    }
}

fn some_wait(rng: &mut Rng) -> u64 {
    match rng.below(10) {
        0..=3 => rng.within(0, 45),
        4 | 5 => rng.within(50, 1500),
        6 | 7 => rng.within(1000, 6000),
        8 => 5000,
        _ => rng.within(5000, 40_000),
    }
}

/// A head start, in milliseconds: of the length of some waits, or of the longest allowed.
fn some_head_start(rng: &mut Rng) -> u64 {
    *rng.pick(&[0, 1, 700, 5000, 20_000, 3_599_000, 3_600_000])
}

fn some_change(rng: &mut Rng, taste: &Taste) -> Change {
    match rng.below(17) {
        0 | 1 => Change::Strategy(*rng.pick(&taste.strategies)),
        2 | 3 => Change::Participants(rng.below(32) as u8 | rng.below(32) as u8, rng.below(5) as u8),
        4 => Change::WrapUp(*rng.pick(&[0, 700, 5000, 30_000])),
        5 => Change::MaxWait(*rng.pick(&[None, Some(700), Some(9000), Some(60_000)])),
        6 => Change::Ring(*rng.pick(&[1000, 3000, 20_000])),
        7 => Change::Music(rng.below(3) as u8),
        8 => Change::Announce(*rng.pick(&[None, Some(5000), Some(20_000), Some(45_000)])),
        9 => Change::Message(rng.chance(50)),
        10 => Change::HeadStart(some_head_start(rng)),
        11 => Change::RingAtMost(*rng.pick(&[1, 2, 2, 3, 1000])),
        12 => *rng.pick(&[Change::Hangup, Change::Transfer, Change::OnTo(0), Change::OnTo(1), Change::OnTo(2)]),
        13 => Change::MaxCallers(*rng.pick(&[None, Some(0), Some(1), Some(2)])),
        14 => Change::Full(rng.chance(50), rng.below(5) as u8),
        15 => Change::MaxConversations(*rng.pick(&[None, Some(1), Some(2)])),
        _ => Change::Removed(rng.chance(60)),
    }
}

fn some_phone(rng: &mut Rng) -> Phone {
    use Phone::*;
    let refuses = Refuses(*rng.pick(&[302, 408, 480, 487, 503]));
    let slow = Slow(*rng.pick(&[500, 3990, 4030, 7000]));
    *rng.pick(&[Rings, Rings, Rings, slow, Dead, AnswersAtOnce, Busy, refuses, NotRegistered, Unknown])
}

fn some_fault(rng: &mut Rng) -> Fault {
    use Fault::*;
    match rng.below(17) {
        0 | 1 => SlowCreate(*rng.pick(&[30, 300, 3000, 7000])),
        2 | 3 => LateEnd(*rng.pick(&[100, 3000, 7000])),
        4 | 5 => *rng.pick(&[PickedOff, CutShort]),
        n => [Double, LateResult, NoResult, NoHangUp, Refused, NotBridged, Parked, Never, Mute, NoGone, Deaf]
            [n as usize % 11],
    }
}

/// Generates a history.
pub(crate) fn history(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let taste = Taste::new(&mut rng);
    let mut steps = Vec::new();
    for queue in 0..QUEUES {
        steps.push(Step::Write(queue, Change::Strategy(*rng.pick(&taste.strategies))));
        for _ in 0..rng.below(7) {
            steps.push(Step::Write(queue, some_change(&mut rng, &taste)));
        }
    }
    if rng.chance(15) {
        // Timeouts lead to another queue, if there is one.
        for (queue, to) in [(0, 1), (1, 0)] {
            let wait = Some(*rng.pick(&[700, 9000]));
            steps.extend([Change::OnTo(to), Change::MaxWait(wait)].map(|change| Step::Write(queue, change)));
        }
    }
    if rng.chance(50) {
        steps.push(Step::Hire(rng.within(3, 4) as u8, true));
    }
    steps.push(Step::Reload);
    for agent in 0..AGENTS {
        for queue in 0..QUEUES {
            if rng.chance(60) {
                steps.push(Step::Login(agent, queue));
            }
        }
    }
    for _ in 0..rng.within(20, 120) {
        let step = some_step(&mut rng, &taste);
        steps.push(step);
    }
    steps
}

fn some_step(rng: &mut Rng, taste: &Taste) -> Step {
    let agent = rng.below(u64::from(AGENTS)) as u8;
    let queue = rng.below(u64::from(QUEUES)) as u8;
    let nth = rng.below(8) as u8;
    let yes = rng.chance(50);
    match taste.kind(rng) {
        Kind::Wait => Step::Wait(some_wait(rng)),
        Kind::Until => Step::Until(*rng.pick(&[0, 0, 1, 12])),
        Kind::Call => Step::Call(queue),
        Kind::CallFrom => Step::CallFrom(agent, queue),
        Kind::CallAhead => Step::CallAhead(queue, some_head_start(rng)),
        Kind::GiveUp => Step::GiveUp(nth),
        Kind::Press => Step::Press(nth),
        Kind::Login => Step::Login(agent, queue),
        Kind::Logout => Step::Logout(agent, queue),
        Kind::CallOff => Step::CallOff(agent),
        Kind::Answer => Step::Answer(agent),
        Kind::AnswerAll => Step::AnswerAll(nth),
        Kind::Decline => Step::Decline(agent),
        Kind::HangUp => Step::HangUp(agent, rng.chance(25)),
        Kind::Private => Step::Private(agent, yes),
        Kind::Reachable => Step::Reachable(agent, yes),
        Kind::Phone => Step::Phone(agent, some_phone(rng)),
        Kind::Phones => Step::Phones(agent, rng.within(1, 3) as u8, some_phone(rng)),
        Kind::Dial => Step::Dial(agent, yes),
        Kind::Fault => Step::Fault(agent, some_fault(rng)),
        Kind::Write => Step::Write(queue, some_change(rng, taste)),
        Kind::Hire => Step::Hire(agent, yes),
        Kind::Reload => Step::Reload,
        Kind::Cut => Step::Cut(nth),
        Kind::Steal => Step::Steal(nth),
        Kind::Silence => Step::Silence(nth),
        Kind::Supervised => Step::Supervised(yes),
        Kind::Drain => Step::Drain,
        Kind::Crash => Step::Crash,
        Kind::SwitchCrash => Step::SwitchCrash,
    }
}
