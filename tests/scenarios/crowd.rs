//! A thousand calls for each strategy: ten callers at a time, five agents of whom one serves two queues, phones that
//! answer, refuse, ignore and crash, agents who log in and out.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use freeswitch_queue::acd::fact::Fact;
use simswitch::{Behaviour, CallSpec, Caller};

use crate::book::Book;
use crate::house::{House, pass, play};
use crate::setting::{configuration, queue};

const CALLS: usize = 1_000;
const AT_A_TIME: usize = 10;
const AGENTS: [&str; 5] = ["1001", "1002", "1003", "1004", "1005"];

/// xorshift64*: the same seed gives the same crowd.
struct Dice(Cell<u64>);

impl Dice {
    fn below(&self, n: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn between(&self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    fn in_percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

struct Crowd {
    house: House,
    dice: Dice,
    left: Cell<usize>,
    callers: RefCell<Vec<Caller>>,
}

impl Crowd {
    fn new(strategy: &str, seed: u64) -> Self {
        let busy = queue("99900", &AGENTS)
            .with(&format!("strategy: {strategy}"))
            .with("ring_seconds: 5")
            .with("wrap_up_seconds: 1.5")
            .with("max_wait_minutes: 0.6");
        let small = queue("99901", &["1003"]).with("ring_seconds: 4").with("timeout: { action: { queue: \"99900\" } }");
        let small = small.with("max_wait_minutes: 0.3");
        let switch = simswitch::Config {
            keep_history: false,
            patience: Duration::from_secs(24 * 3600),
            seed,
            ..simswitch::Config::default()
        };
        let house = House::with(switch, configuration(&[busy, small], ""), seed);
        Self { house, dice: Dice(Cell::new(seed)), left: Cell::new(CALLS), callers: RefCell::default() }
    }

    /// One sequence of callers: each calls when the previous one has gone, until the calls are used up.
    async fn line(&self) {
        while let Some(left) = self.left.get().checked_sub(1) {
            self.left.set(left);
            pass(self.dice.between(0, 3_000)).await;
            let queue = if self.dice.in_percent(20) { "99901" } else { "99900" };
            let caller = self.house.caller(&format!("079{left:04}"), queue);
            self.callers.borrow_mut().push(caller.clone());
            self.wait_and_talk(&caller).await;
            caller.hang_up();
            caller.wait_ended().await;
        }
    }

    async fn wait_and_talk(&self, caller: &Caller) {
        // Some callers hang up on arrival, some within the ring time; most wait.
        let patience = match self.dice.below(10) {
            0 => self.dice.between(0, 100),
            1 | 2 => self.dice.between(100, 8_000),
            _ => self.dice.between(8_000, 90_000),
        };
        let talks = tokio::select! {
            party = caller.wait_talking() => Some(party),
            _ = caller.wait_ended() => None,
            () = pass(patience) => None,
        };
        let Some(party) = talks else { return };
        // Some callers hang up as soon as the agent answers.
        let talk = if self.dice.in_percent(10) { self.dice.below(50) } else { self.dice.between(500, 9_000) };
        pass(talk).await;
        if self.dice.in_percent(50) {
            self.house.phone(&party).hang_up();
        }
    }

    /// Changes the behaviour of an agent's phone again and again.
    async fn agent(&self, number: &str) {
        let ms = Duration::from_millis;
        loop {
            let does = match self.dice.below(20) {
                0 => Behaviour::Busy,
                1 | 2 => Behaviour::Ignore,
                3 | 4 => Behaviour::Decline { after: ms(self.dice.between(0, 3_000)) },
                5 => Behaviour::Crash,
                // Around the end of the ring time.
                6 => Behaviour::Answer { after: ms(self.dice.between(3_900, 5_100)) },
                _ => Behaviour::Answer { after: ms(self.dice.between(0, 3_000)) },
            };
            let phone = self.house.when_rung(number, does);
            // Some refuse without ringing.
            let rung = async { phone.wait_for(|v| !v.ringing.is_empty()).await };
            if tokio::time::timeout(ms(self.dice.between(2_000, 6_000)), rung).await.is_ok() {
                phone.wait_for(|v| v.ringing.is_empty()).await;
            }
        }
    }

    /// One agent logs out and in again by telephone, whatever state the phone is in.
    async fn comes_and_goes(&self, number: &str) {
        loop {
            pass(self.dice.between(5_000, 40_000)).await;
            for code in ["*4299900", "*4199900"] {
                self.house.switch.call(&CallSpec::phone(number, code)).wait_ended().await;
                pass(self.dice.between(0, 5_000)).await;
            }
        }
    }

    async fn play(self) -> (House, Vec<Caller>) {
        {
            let lines = futures_all((0..AT_A_TIME).map(|_| self.line()));
            let agents = futures_all(AGENTS.iter().map(|a| self.agent(a)));
            tokio::select! {
                () = lines => {}
                () = agents => unreachable!("agents never end"),
                () = self.comes_and_goes("1005") => unreachable!("nor does this"),
            }
        }
        for agent in AGENTS {
            self.house.phone(agent).wait_for(|v| v.ringing.is_empty()).await;
            while self.house.phone(agent).hang_up() {
                pass(100).await;
            }
        }
        (self.house, self.callers.into_inner())
    }
}

/// Runs all of the futures concurrently, in this task.
async fn futures_all(all: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|f| f.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn count(book: &Book, which: impl Fn(&Fact) -> bool) -> usize {
    book.records.iter().filter(|r| which(&r.fact)).count()
}

fn a_thousand_calls(strategy: &'static str, seed: u64) {
    play(async move {
        let (house, callers) = Crowd::new(strategy, seed).play().await;
        assert!(callers.iter().all(|c| c.ended().is_some()));
        assert!(callers.iter().all(|c| c.view().talked_to.len() <= 1), "Q8: no caller talks to two agents");
        let talked = callers.iter().filter(|c| !c.view().talked_to.is_empty()).count();
        pass(60_000).await;
        for agent in AGENTS {
            assert_eq!(house.activity(agent), "idle", "{agent} is idle after the last call");
        }
        let book = house.end().await;
        let entered = count(&book, |f| matches!(f, Fact::CallEntered { .. }));
        let answered = count(&book, |f| matches!(f, Fact::CallAnswered { .. }));
        let abandoned = count(&book, |f| matches!(f, Fact::CallAbandoned { .. }));
        let timed_out = count(&book, |f| matches!(f, Fact::CallTimedOut { .. }));
        assert_eq!(entered, answered + abandoned + timed_out, "every wait ends exactly once");
        assert!(entered >= CALLS - 20, "nearly all callers enter: {entered} of {CALLS}");
        // A caller who hangs up in the very moment of the connection may have gone for the one and not for the other.
        assert!(answered.abs_diff(talked) <= 10, "{answered} answered, {talked} talked");
        assert!(answered > CALLS / 4 && abandoned > CALLS / 10 && timed_out > 0, "{answered} {abandoned} {timed_out}");
    });
}

#[test]
fn a_thousand_calls_as_listed() {
    a_thousand_calls("as-listed", 11);
}

#[test]
fn a_thousand_calls_simultaneous() {
    a_thousand_calls("simultaneous", 22);
}

#[test]
fn a_thousand_calls_longest_idle() {
    a_thousand_calls("longest-idle", 33);
}

#[test]
fn a_thousand_calls_random() {
    a_thousand_calls("random", 44);
}
