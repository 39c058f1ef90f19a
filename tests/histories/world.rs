//! FreeSWITCH and its callers, as far as the queue can see: the true state, and the events about it with their times.
//! The orders and delays are those of `tests/captures`: events come up to 20 ms later and in batches, in order for each
//! connection; commands run at once. The agents' legs are in [`crate::legs`].

use std::collections::BTreeMap;
use std::time::Duration;

use freeswitch_queue::acd::call::{Input, Playing};
use freeswitch_queue::acd::fact::RefusalCause;
use freeswitch_queue::acd::ids::{AgentId, CallId, LegId, QueueNumber};
use freeswitch_queue::acd::leg::LegEnd;
use freeswitch_queue::acd::rank::Rank;
use freeswitch_queue::acd::time::Wall;

use crate::legs::{Asked, Leg, State};
use crate::rng::Rng;
use crate::step::{AGENTS, Fault, Phone, QUEUES, agent_id, queue_number};

/// How long a connection stays open after its caller is gone.
const LINGER: u64 = 10_000;

/// One connection between FreeSWITCH and the daemon: one for each run of the daemon that has the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conn(pub(crate) usize);

/// Output of the simulation to the daemon.
#[derive(Debug)]
pub(crate) enum News {
    /// An event on a connection.
    Tell(Conn, Input),
    /// The dialplan brings a caller back.
    Back(CallId),
    /// The dialplan leads a transferred caller to a queue as a new call.
    Again(CallId),
}

/// Future events in FreeSWITCH.
#[derive(Debug)]
pub(crate) enum Due {
    Tell(Conn, Input),
    Create(LegId),
    RingOver(LegId),
    Ring(LegId),
    Answer(LegId),
    /// The leg tries to take the caller.
    Pick(LegId),
    /// The leg is connected to the caller.
    Join(LegId),
    Fail(LegId, LegEnd),
    CutShort(LegId),
    PickedOff(LegId),
    SayOver(CallId, Playing),
    CallerEnds(CallId),
    Linger(Conn),
    Back(CallId),
    Again(CallId),
}

#[derive(Debug)]
struct Line {
    call: CallId,
    open: bool,
    /// No event comes before the last one sent.
    last: u64,
}

/// A caller's channel.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) call: CallId,
    pub(crate) alive: bool,
    pub(crate) conn: Option<Conn>,
    /// From this agent's phone.
    pub(crate) own: Option<AgentId>,
    /// The own head start, as a variable on the channel.
    pub(crate) head_start: Duration,
    pub(crate) queue: QueueNumber,
    pub(crate) visited: Vec<QueueNumber>,
    /// A timeout's transfer leads the call to a queue again, without a conversation on the way.
    led: bool,
    /// Variables on the channel for the time after the daemon's death.
    pub(crate) rank: Option<Rank>,
    pub(crate) first_entered: Option<Wall>,
    pub(crate) refused: Option<RefusalCause>,
    /// Whether the dialplan would bring the caller back if the daemon died.
    pub(crate) armed: bool,
    /// The caller's own channel is answered.
    pub(crate) answered: bool,
    music: Option<Playing>,
    saying: Option<Playing>,
    /// The leg that is about to take the caller, and the one that has.
    pub(crate) picking: Option<LegId>,
    pub(crate) with: Option<LegId>,
    /// Connected to a party outside the queue, or on the way there.
    pub(crate) away: bool,
}

/// The next destination of a caller whom the daemon lets go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Parted {
    HungUp,
    Moved,
    GivenBack,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    due: BTreeMap<(u64, u64), Due>,
    count: u64,
    lines: Vec<Line>,
    pub(crate) callers: Vec<Caller>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) legs: Vec<Leg>,
    pub(crate) accounts: Vec<Account>,
}

/// An agent's account, and its phones.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) agent: AgentId,
    pub(crate) phones: u8,
    /// They are behind a `dial`, which is one phone to the daemon.
    pub(crate) dialled: bool,
    /// How the first phone behaves, and the others.
    pub(crate) first: Phone,
    pub(crate) others: Phone,
    /// The fault of one of the next legs.
    pub(crate) fault: Option<Fault>,
}

impl Account {
    fn new(agent: AgentId) -> Self {
        Self { agent, phones: 1, dialled: false, first: Phone::Rings, others: Phone::Rings, fault: None }
    }

    pub(crate) fn phone(&self, n: u8) -> Phone {
        if n == 0 { self.first } else { self.others }
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            rng: Rng::branch(seed, 1),
            due: BTreeMap::new(),
            count: 0,
            lines: Vec::new(),
            callers: Vec::new(),
            asked: Vec::new(),
            legs: Vec::new(),
            accounts: (0..AGENTS).map(|a| Account::new(agent_id(a))).collect(),
        }
    }

    pub(crate) fn next_moment(&self) -> Option<u64> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Runs due events until there is output for the daemon.
    pub(crate) fn pop(&mut self) -> Option<News> {
        while self.next_moment()? <= self.now {
            let (_, due) = self.due.pop_first()?;
            match due {
                Due::Tell(conn, input) => {
                    if self.lines[conn.0].open {
                        self.note_told(conn, &input);
                        return Some(News::Tell(conn, input));
                    }
                }
                Due::Back(call) => {
                    if self.caller(&call).is_some_and(|c| c.alive && c.conn.is_none() && c.with.is_none() && !c.away) {
                        return Some(News::Back(call));
                    }
                }
                Due::Again(call) => {
                    if self.caller(&call).is_some_and(|c| c.alive && c.away) {
                        return Some(News::Again(call));
                    }
                }
                Due::SayOver(call, playing) => self.say_over(&call, playing),
                Due::CallerEnds(call) => self.caller_ends(&call),
                Due::Linger(conn) => self.tell(conn, Input::Disconnected),
                Due::Create(id) => self.create(id),
                Due::Ring(id) => self.rings(id),
                Due::RingOver(id) => self.ring_over(id),
                Due::Answer(id) => self.answer(id),
                Due::Pick(id) => self.pick(id),
                Due::Join(id) => self.join(id),
                Due::Fail(id, end) => self.die(id, end, false),
                Due::CutShort(id) => self.cut_short(id),
                Due::PickedOff(id) => self.picked_off(id),
            }
        }
        None
    }

    pub(crate) fn at(&mut self, delay: u64, due: Due) {
        self.count += 1;
        self.due.insert((self.now + delay, self.count), due);
    }

    /// Sends an event up to 20 ms later, in order.
    pub(crate) fn tell(&mut self, conn: Conn, input: Input) {
        let delay = self.rng.below(21);
        let line = &mut self.lines[conn.0];
        line.last = line.last.max(self.now + delay);
        let delay = line.last - self.now;
        self.at(delay, Due::Tell(conn, input));
    }

    /// The reply to a command comes at once, before the events of anything later.
    pub(crate) fn reply(&mut self, conn: Conn, input: Input) {
        let delay = self.rng.below(6);
        let line = &mut self.lines[conn.0];
        line.last = line.last.max(self.now + delay);
        self.at(delay, Due::Tell(conn, input));
    }

    pub(crate) fn call_of(&self, conn: Conn) -> CallId {
        self.lines[conn.0].call.clone()
    }

    pub(crate) fn caller(&mut self, call: &CallId) -> Option<&mut Caller> {
        self.callers.iter_mut().find(|c| c.call == *call)
    }

    /// The callers a step may name: those present and not connected to a party.
    pub(crate) fn waiting(&self) -> Vec<CallId> {
        let there = |c: &&Caller| c.alive && !c.away && c.with.is_none() && c.conn.is_some();
        self.callers.iter().filter(there).map(|c| c.call.clone()).collect()
    }

    // Actions of callers.

    /// Q12: once the channel has the variable for it, no key ends a sound.
    pub(crate) fn press(&mut self, call: &CallId) {
        if self.caller(call).is_some_and(|c| c.rank.is_none()) {
            self.silence(call);
        }
    }

    /// A transfer by another party leads the caller to a queue, as a new call. The call keeps the list of visited
    /// queues only if a timeout led it here.
    pub(crate) fn anew(&mut self, call: &CallId) {
        let queue = queue_number(self.rng.below(u64::from(QUEUES)) as u8);
        let c = self.caller(call).expect("a caller");
        let visited = if std::mem::take(&mut c.led) { std::mem::take(&mut c.visited) } else { Vec::new() };
        (c.queue, c.visited, c.rank, c.first_entered, c.refused) = (queue, visited, None, None, None);
        (c.armed, c.away) = (true, false);
    }

    pub(crate) fn call(&mut self, call: CallId, queue: QueueNumber, own: Option<AgentId>, head_start: Duration) {
        self.callers.push(Caller {
            call,
            alive: true,
            conn: None,
            own,
            head_start,
            queue,
            visited: Vec::new(),
            led: false,
            rank: None,
            first_entered: None,
            refused: None,
            armed: false,
            answered: false,
            music: None,
            saying: None,
            picking: None,
            with: None,
            away: false,
        });
    }

    /// The dialplan connects the caller to the daemon.
    pub(crate) fn connect(&mut self, call: &CallId) -> Conn {
        let conn = Conn(self.lines.len());
        self.lines.push(Line { call: call.clone(), open: true, last: self.now });
        let caller = self.caller(call).expect("a caller");
        caller.conn = Some(conn);
        (caller.music, caller.saying) = (None, None);
        conn
    }

    pub(crate) fn hang_up_caller(&mut self, call: &CallId) {
        self.at(0, Due::CallerEnds(call.clone()));
    }

    pub(crate) fn caller_ends(&mut self, call: &CallId) {
        let Some(c) = self.caller(call) else { return };
        if !std::mem::replace(&mut c.alive, false) {
            return;
        }
        let (conn, with) = (c.conn, c.with.take());
        self.silence(call);
        let first = self.rng.chance(50);
        if let (true, Some(offer)) = (first, with) {
            self.die(offer, LegEnd::Cleared, false);
        }
        if let Some(conn) = conn {
            // Q106: the caller hung up, or FreeSWITCH ended the channel.
            let end = if self.rng.chance(25) { Input::CallerEnded } else { Input::CallerGone };
            self.tell(conn, end.clone());
            self.tell(conn, end);
            self.at(LINGER, Due::Linger(conn));
        }
        if let (false, Some(offer)) = (first, with) {
            self.die(offer, LegEnd::Cleared, false);
        }
    }

    /// The current sound of the caller ends.
    pub(crate) fn silence(&mut self, call: &CallId) {
        let Some(c) = self.caller(call) else { return };
        let over = [c.saying.take(), c.music.take()];
        if let Some(conn) = c.conn {
            over.into_iter().flatten().for_each(|p| self.tell(conn, Input::CutOff(p)));
        }
    }

    fn say_over(&mut self, call: &CallId, playing: Playing) {
        let Some(c) = self.caller(call).filter(|c| c.saying == Some(playing)) else { return };
        c.saying = None;
        if let Some(conn) = c.conn {
            self.tell(conn, Input::Played(playing));
        }
    }

    /// A party outside the queue takes the caller.
    pub(crate) fn steal(&mut self, call: &CallId) {
        self.silence(call);
        let Some(c) = self.caller(call) else { return };
        c.away = true;
        if let Some(conn) = c.conn {
            self.tell(conn, Input::TakenAway);
        }
    }

    /// The connection is lost; the dialplan brings the caller back.
    pub(crate) fn cut(&mut self, call: &CallId) -> Option<Conn> {
        let conn = self.caller(call)?.conn.take()?;
        self.lines[conn.0].open = false;
        self.bring_back(call);
        Some(conn)
    }

    pub(crate) fn bring_back(&mut self, call: &CallId) {
        let Some(c) = self.caller(call) else { return };
        (c.music, c.saying) = (None, None);
        if c.alive && !c.away && c.with.is_none() {
            let delay = self.rng.within(10, 500);
            self.at(delay, Due::Back(call.clone()));
        }
    }

    // Commands of the daemon.

    /// Answers the caller's channel; the event comes in time or, on a slow channel, later.
    pub(crate) fn answer_caller(&mut self, call: &CallId) {
        let Some(c) = self.caller(call) else { return };
        c.answered = true;
        if let Some(conn) = c.conn {
            let longest = if self.rng.chance(80) { 20 } else { 2000 };
            let delay = self.rng.below(longest);
            self.at(delay, Due::Tell(conn, Input::CallerAnswered));
        }
    }

    pub(crate) fn music(&mut self, call: &CallId, playing: Playing, replace: bool) {
        let c = self.caller(call).expect("a caller");
        let over = c.music.replace(playing);
        if let (true, Some(conn), Some(over)) = (replace, c.conn, over) {
            self.tell(conn, Input::Played(over));
        }
    }

    pub(crate) fn say(&mut self, call: &CallId, playing: Playing) {
        let c = self.caller(call).expect("a caller");
        c.saying = Some(playing);
        let delay = if self.rng.chance(5) { 400_000 } else { self.rng.within(300, 4000) };
        self.at(delay, Due::SayOver(call.clone(), playing));
    }

    pub(crate) fn hush(&mut self, call: &CallId) {
        if let Some(playing) = self.caller(call).and_then(|c| c.saying) {
            self.say_over(call, playing);
        }
    }

    /// The caller is hung up, or continues elsewhere.
    pub(crate) fn part(&mut self, call: &CallId, how: Parted) {
        let Some(conn) = self.caller(call).and_then(|c| c.conn) else { return };
        let unheard = self.rng.chance(10);
        match how {
            Parted::HungUp => self.hang_up_caller(call),
            Parted::Moved => {
                self.silence(call);
                let led = self.rng.chance(50);
                let c = self.caller(call).expect("a caller");
                (c.away, c.led) = (true, led);
                if !unheard {
                    self.tell(conn, Input::MovedOn);
                }
                if led {
                    let delay = self.rng.within(1_000, 15_000);
                    self.at(delay, Due::Again(call.clone()));
                    return;
                }
                let delay = self.rng.within(100, 20_000);
                self.at(delay, Due::CallerEnds(call.clone()));
            }
            Parted::GivenBack => {
                self.silence(call);
                self.tell(conn, Input::Disconnected);
            }
        }
    }

    /// The daemon closes the connection: a caller who is still there continues in the dialplan, and returns.
    pub(crate) fn close(&mut self, conn: Conn) {
        self.lines[conn.0].open = false;
        let call = self.call_of(conn);
        if self.caller(&call).is_some_and(|c| c.conn == Some(conn)) {
            self.caller(&call).expect("a caller").conn = None;
            self.bring_back(&call);
        }
    }

    // The deaths.

    /// The daemon is dead: every connection is closed, waiting callers will return, conversations and ringing legs
    /// continue until a daemon compares.
    pub(crate) fn daemon_died(&mut self) {
        self.legs.iter_mut().for_each(|l| l.lost = true);
        self.lines.iter_mut().for_each(|l| l.open = false);
        let calls: Vec<CallId> = self.callers.iter().filter(|c| c.alive).map(|c| c.call.clone()).collect();
        for c in &mut self.callers {
            c.conn = None;
        }
        calls.iter().for_each(|c| self.bring_back(c));
    }

    /// FreeSWITCH is dead, with all its calls. Returns the connections that end.
    pub(crate) fn died(&mut self) -> Vec<Conn> {
        self.due.clear();
        self.callers.iter_mut().for_each(|c| c.alive = false);
        self.legs.iter_mut().for_each(|l| (l.state, l.told_gone) = (State::Dead, true));
        let open = self.lines.iter_mut().enumerate().filter(|(_, l)| l.open);
        open.map(|(n, l)| {
            l.open = false;
            Conn(n)
        })
        .collect()
    }
}
