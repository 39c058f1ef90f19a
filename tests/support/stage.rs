//! The stage of calls on virtual time: a simulated FreeSWITCH with a daemon beside it, and their users.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use freeswitch_queue::acd::fact::Record;
use freeswitch_queue::acd::ids::{AgentId, QueueNumber};
use freeswitch_queue::acd::time::Wall;
use freeswitch_queue::admin::reason;
use freeswitch_queue::app::{Daemon, Random};
use freeswitch_queue::floor::FloorView;
use freeswitch_queue::journal::Filter;
use simswitch::{Behaviour, CallSpec, Caller, Phone, SimSwitch};

use crate::log;

/// The calendars of the simulated switch and the daemon begin here.
pub const BEGAN: i64 = 1_795_338_000_000;

/// The longest duration of a scenario, in virtual time.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// Plays a scenario on virtual time.
pub fn play<T>(scenario: impl Future<Output = T>) -> T {
    log::to_the_tests_output();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(LONGEST, scenario).await });
    ended.expect("the scenario waits for something that never happens")
}

/// Lets virtual time pass.
pub async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// A phone that answers after ringing this long.
pub fn answers(ms: u64) -> Behaviour {
    Behaviour::Answer { after: Duration::from_millis(ms) }
}

/// Random numbers that are the same in every run.
pub fn dice(seed: u64) -> Random {
    let state = AtomicU64::new(seed);
    let next = move || {
        let mut z = state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    Arc::new(move || (u128::from(next()) << 64) | u128::from(next()))
}

/// A switch, and the daemon beside it while that runs.
pub struct Stage {
    /// The switch.
    pub switch: SimSwitch,
    running: Arc<Mutex<Option<Arc<Daemon>>>>,
}

impl Stage {
    /// A switch without a daemon.
    pub fn new(switch: SimSwitch) -> Self {
        Self { switch, running: Arc::default() }
    }

    /// Puts a daemon on the stage.
    pub fn enter(&self, daemon: Arc<Daemon>) {
        *self.running.lock().unwrap() = Some(daemon);
    }

    /// Takes the daemon off the stage.
    pub fn leave(&self) -> Arc<Daemon> {
        self.running.lock().unwrap().take().expect("the daemon is away")
    }

    /// Looks up the daemon, which may be away.
    pub fn door(&self) -> impl Fn() -> Option<Arc<Daemon>> + Send + Sync + 'static {
        let running = self.running.clone();
        move || running.lock().unwrap().clone()
    }

    /// The daemon.
    pub fn daemon(&self) -> Arc<Daemon> {
        self.door()().expect("the daemon is away")
    }

    /// The time on the calendars of the switch and the daemon.
    pub fn wall(&self) -> Wall {
        Wall(BEGAN + i64::try_from(self.switch.now().as_millis()).unwrap())
    }

    /// A call from outside to this queue.
    pub fn caller(&self, number: &str, queue: &str) -> Caller {
        self.switch.call(&CallSpec::trunk(number, queue))
    }

    /// An agent's phone.
    pub fn phone(&self, number: &str) -> Phone {
        self.switch.phone(number)
    }

    /// Sets the phone's behaviour when it rings.
    pub fn when_rung(&self, number: &str, does: Behaviour) -> Phone {
        self.switch.phone(number).on_ring(does)
    }

    /// The agent lets the phone ring for a moment and answers; returns the caller's number.
    pub async fn take(&self, agent: &str) -> String {
        let phone = self.switch.phone(agent);
        let ring = phone.wait_ringing().await;
        pass(300).await;
        assert!(phone.answer(), "{agent} rings no more");
        phone.wait_talking().await;
        ring.number
    }

    /// The facts so far, oldest first.
    pub async fn records(&self) -> Vec<Record> {
        let daemon = self.daemon();
        daemon.journal().flush().await.unwrap();
        daemon.journal().records(Filter { limit: u32::MAX, ..Filter::default() }).await.unwrap()
    }

    /// The live view.
    pub fn view(&self) -> FloorView {
        let daemon = self.daemon();
        daemon.floor().view(daemon.clock().now())
    }

    /// Whether the agent is logged in to the queue.
    pub fn is_in(&self, agent: &str, queue: &str) -> bool {
        let (agent, queue) = (AgentId::new(agent).unwrap(), QueueNumber::new(queue).unwrap());
        self.daemon().floor().agent(&agent, |a| a.logins().contains_key(&queue)).unwrap_or(false)
    }

    /// The agent's activity, in the words of the live view.
    pub fn activity(&self, agent: &str) -> String {
        let agents = self.view().agents;
        agents.into_iter().find(|a| a.id.as_str() == agent).map_or("unknown", |a| a.doing.word()).to_owned()
    }

    /// Why this agent is not offered to the first caller of the queue, in words.
    pub fn why(&self, agent: &str, queue: &str) -> Option<String> {
        let view = self.view();
        let queue = view.queues.into_iter().find(|q| q.number.as_str() == queue).expect("there is such a queue");
        let why = queue.candidates.into_iter().find(|c| c.agent.as_str() == agent).and_then(|c| c.held_back);
        why.map(|why| reason(&why, view.at))
    }

    /// The numbers of the waiting callers, in order.
    pub fn line(&self, queue: &str) -> Vec<String> {
        let queues = self.view().queues;
        let found = queues.iter().find(|q| q.number.as_str() == queue);
        found.map(|q| q.waiting.iter().map(|w| w.number.to_string()).collect()).unwrap_or_default()
    }

    /// The texts FreeSWITCH executed, without the daemon's own condition before a prompt.
    pub fn executed(&self) -> Vec<String> {
        let own = "${cond(${socket_resume} == true ? ";
        let strange = self.switch.executed().into_iter().map(|e| e.text);
        strange.filter(|t| !(t.starts_with(own) && t.matches("${").count() <= 3)).collect()
    }

    /// Checks, after all callers have hung up, that no state is left.
    pub fn assert_empty(&self) {
        let daemon = self.daemon();
        let floor = daemon.floor();
        assert_eq!(self.switch.legs(), [], "a channel was left");
        assert_eq!(self.executed(), Vec::<String>::new(), "text was executed");
        assert_eq!(floor.calls(), 0, "a call was left");
        assert_eq!(floor.held(), [], "an agent is still held");
    }
}
