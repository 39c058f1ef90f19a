//! `decide`: measures how the time of a decision grows with the number of waiting callers and of agents, by driving the
//! dispatcher directly. Prints Markdown; fails when the time grows more than [`MOST`] times.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use freeswitch_queue::acd::fact::EndedBy;
use freeswitch_queue::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use freeswitch_queue::acd::restored::Restored;
use freeswitch_queue::acd::settings::{AgentSettings, Language, QueueSettings, Strategy};
use freeswitch_queue::acd::time::{Mono, Now, Wall};
use freeswitch_queue::dispatch::Dispatcher;
use freeswitch_queue::floor::{Admission, Caller, Floor, OfferKey};
use load::process::load_average;
use uuid::Uuid;

/// How many times longer a decision may take at [`LARGE`] than with one caller and one agent.
const MOST: f64 = 3.0;
/// Callers and agents.
const LARGE: (usize, usize) = (2_000, 5_000);
/// How many decisions are measured, after as many to warm up.
const DECISIONS: u32 = 20_000;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("decide: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let (callers, agents) = LARGE;
    println!("Load average: {}.\n", load_average());
    println!("| decision (median / p99 / max) | strategy | 1 × 1 | {callers} × {agents} | median grows |");
    println!("|---|---|---|---|---|");
    let mut good = true;
    for strategy in [Strategy::AsListed, Strategy::LongestIdle, Strategy::Random] {
        let free =
            (Room::new(strategy, 1, 1)?.agent_comes_free()?, Room::new(strategy, callers, agents)?.agent_comes_free()?);
        let come = (Room::new(strategy, 0, 1)?.caller_comes()?, Room::new(strategy, 0, agents)?.caller_comes()?);
        for (what, (small, large)) in [("an agent comes free", free), ("a caller comes", come)] {
            let grows = large.nanos(0.5) / small.nanos(0.5);
            good &= grows < MOST;
            println!("| {what} | {strategy} | {small} | {large} | {grows:.2} times |");
        }
    }
    Ok(good)
}

/// Durations in nanoseconds, sorted.
struct Nanos(Vec<u64>);

impl Nanos {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    fn nanos(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0.get(rank.max(1) - 1).copied().unwrap_or_default() as f64
    }
}

impl std::fmt::Display for Nanos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let micros = |share| self.nanos(share) / 1000.0;
        write!(f, "{:.2} / {:.2} / {:.0} µs", micros(0.5), micros(0.99), micros(1.0))
    }
}

/// One queue with all callers and agents.
struct Room {
    floor: Arc<Floor>,
    dispatcher: Dispatcher,
    queue: QueueNumber,
    began: Instant,
    callers: u64,
    /// The conversations, longest first.
    talking: std::collections::VecDeque<OfferKey>,
    waiting: std::collections::VecDeque<CallId>,
}

impl Room {
    /// A room with `waiting` callers and with `agents`, who are talking, or free if no caller waits.
    fn new(strategy: Strategy, waiting: usize, agents: usize) -> Result<Self> {
        let queue = QueueNumber::new("99000")?;
        let ids = (0..agents).map(|n| AgentId::new(&format!("{}", 10_000 + n))).collect::<Result<Vec<_>, _>>()?;
        let usual = QueueSettings::new(queue.clone(), "All".into(), ids.clone(), Language("en".into()));
        let settings = QueueSettings { strategy, ..usual };
        let agents: Vec<_> = ids.iter().map(|id| AgentSettings::new(id.clone(), "A".into())).collect();
        let floor = Arc::new(Floor::new(Box::new(|| {}), Box::new(|_, _| {})));
        let mut seed = 0_u128;
        let next_offer = move || {
            seed += 1;
            OfferId(Uuid::from_u128(seed))
        };
        let dispatcher = Dispatcher::new(floor.clone(), Box::new(next_offer));
        let mut room = Self {
            floor,
            dispatcher,
            queue: queue.clone(),
            began: Instant::now(),
            callers: 0,
            talking: std::collections::VecDeque::new(),
            waiting: std::collections::VecDeque::new(),
        };
        let now = room.now();
        room.floor.configure(&agents, &[settings], now);
        let logins = ids.iter().map(|id| (id.clone(), queue.clone(), Wall(1))).collect();
        room.floor.resume(&Restored { logins, ..Restored::default() }, false, now);
        room.dispatcher.run(now);
        if waiting > 0 {
            for _ in 0..agents.len() {
                room.enter()?;
                room.dispatcher.run(room.now());
                room.answer_first()?;
            }
            for _ in 0..waiting {
                room.enter()?;
                room.dispatcher.run(room.now());
            }
        }
        Ok(room)
    }

    fn now(&self) -> Now {
        let mono = self.began.elapsed();
        Now { mono: Mono(mono), wall: Wall(1_000_000).plus(mono) }
    }

    fn enter(&mut self) -> Result<()> {
        self.callers += 1;
        let call = CallId::new(&format!("call-{}", self.callers))?;
        let caller = Caller {
            number: "0791234567".into(),
            first_entered: None,
            returned: false,
            since: None,
            came: Duration::ZERO,
            own: None,
            dialog: None,
            head_start: Duration::ZERO,
            refused: None,
            passed_on: false,
        };
        ensure!(self.floor.admit(&call, caller.number.clone(), Box::new(|| {})), "a call was there already");
        let admission = self.floor.enter(&call, &self.queue, None, &caller, self.callers, self.now());
        ensure!(matches!(admission, Admission::At { refused: None, .. }), "a caller is not let in");
        self.waiting.push_back(call);
        Ok(())
    }

    /// The caller who has waited longest must have been offered to an agent, who answers.
    fn answer_first(&mut self) -> Result<()> {
        let call = self.waiting.pop_front().context("nobody waits")?;
        let (orders, _) = self.floor.look(&call, &self.queue, false).context("the caller is not in the queue")?;
        let (offer, agent) = orders.ring.into_iter().next().context("the caller was not offered to an agent")?;
        let key = OfferKey { offer, call, queue: self.queue.clone(), agent };
        self.floor.answered(&key, self.now());
        self.talking.push_back(key);
        Ok(())
    }

    fn end_first(&mut self) -> Result<()> {
        let key = self.talking.pop_front().context("nobody talks")?;
        self.floor.release(&key, EndedBy::Agent, self.now());
        self.floor.dismiss(&key.call);
        Ok(())
    }

    /// An agent becomes free while callers wait.
    fn agent_comes_free(mut self) -> Result<Nanos> {
        self.measure(|room| {
            room.end_first()?;
            let took = room.decide();
            room.answer_first()?;
            room.enter()?;
            room.dispatcher.run(room.now());
            Ok(took)
        })
    }

    /// A caller arrives while agents are free.
    fn caller_comes(mut self) -> Result<Nanos> {
        self.measure(|room| {
            room.enter()?;
            let took = room.decide();
            room.answer_first()?;
            room.end_first()?;
            room.dispatcher.run(room.now());
            Ok(took)
        })
    }

    fn decide(&mut self) -> Duration {
        let now = self.now();
        let began = Instant::now();
        self.dispatcher.run(now);
        began.elapsed()
    }

    fn measure(&mut self, mut decision: impl FnMut(&mut Self) -> Result<Duration>) -> Result<Nanos> {
        let mut taken = Vec::new();
        for turn in 0..2 * DECISIONS {
            let took = decision(self)?;
            if turn >= DECISIONS {
                taken.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
        }
        taken.sort_unstable();
        Ok(Nanos(taken))
    }
}
