//! Simulated callers and agents, and their random behaviour.

use std::time::Duration;

use simswitch::{Behaviour, CallSpec, Caller, Phone, SimSwitch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Callers, by number and name.
const CALLERS: &[(&str, &str)] = &[
    ("0791234501", "Hans Muster"),
    ("0221234502", "Zoe Favre"),
    ("0311234503", "Luca Bianchi"),
    ("0791234504", "Eva Keller"),
    ("0441234505", "Noah Frei"),
    ("0211234506", "Camille Rey"),
    ("0911234507", "Sofia Conti"),
    ("0761234508", "Urs Wyss"),
    ("0261234509", "Lea Dupont"),
    ("0781234510", "Jan Meier"),
    ("0321234511", "Emma Blanc"),
    ("0911234512", "Marco Rossi"),
    ("0521234513", "Nina Graf"),
    ("0791234514", "Paul Monnier"),
    ("0811234515", "Ladina Caviezel"),
    ("0611234516", "Tim Sutter"),
];

/// The name of the caller with this number.
pub(super) fn name_of(number: &str) -> Option<&'static str> {
    CALLERS.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

/// The most callers at the same time.
const AT_A_TIME: usize = 9;

/// A random number from `from` up to, but not including, `to`.
fn between(from: u64, to: u64) -> u64 {
    from + u64::try_from(Uuid::new_v4().as_u128() % u128::from((to - from).max(1))).unwrap_or(0)
}

fn ms(from: u64, to: u64) -> Duration {
    Duration::from_millis(between(from, to))
}

fn in_percent(percent: u64) -> bool {
    between(0, 100) < percent
}

/// All callers and agents.
pub(super) struct People {
    switch: SimSwitch,
}

impl People {
    pub(super) fn new(switch: SimSwitch) -> Self {
        Self { switch }
    }

    /// Runs for ever.
    pub(super) async fn come_and_go(self) {
        let mut everybody = JoinSet::new();
        for agent in ["1001", "1002", "1003", "1004"] {
            everybody.spawn(answer(self.switch.phone(agent)));
        }
        everybody.spawn(come_to_work(self.switch.clone(), "1004"));
        everybody.spawn(chat(self.switch.clone()));
        self.callers().await;
    }

    async fn callers(&self) {
        let mut lines = JoinSet::new();
        let mut pause = Duration::from_millis(200);
        for (number, name) in CALLERS.iter().cycle() {
            sleep(pause).await;
            // Quickly at first, so that there is something to see.
            pause = if lines.len() < 4 { ms(400, 1_500) } else { ms(2_000, 5_500) };
            while lines.len() >= AT_A_TIME {
                lines.join_next().await;
            }
            while lines.try_join_next().is_some() {}
            let queue = if in_percent(30) { "99901" } else { "99900" };
            let call = self.switch.call(&CallSpec::trunk(number, queue).name(name));
            lines.spawn(call_through(self.switch.clone(), call));
        }
    }
}

/// One caller: waits for as long as the caller's patience lasts, talks, then one of the two hangs up.
async fn call_through(switch: SimSwitch, call: Caller) {
    let patience = if in_percent(15) { ms(4_000, 15_000) } else { ms(30_000, 90_000) };
    let agent = tokio::select! {
        agent = call.wait_talking() => Some(agent),
        _ = call.wait_ended() => None,
        () = sleep(patience) => None,
    };
    if let Some(agent) = agent {
        sleep(ms(4_000, 14_000)).await;
        if in_percent(50) {
            switch.phone(&agent).hang_up();
        }
    }
    call.hang_up();
    call.wait_ended().await;
}

/// One agent: usually answers after a moment, sometimes ignores the phone or declines.
async fn answer(phone: Phone) {
    let mut first = true;
    loop {
        let does = match between(0, 10) {
            0 if !first => Behaviour::Ignore,
            1 if !first => Behaviour::Decline { after: ms(800, 2_500) },
            _ if first => Behaviour::Answer { after: ms(600, 1_200) },
            _ => Behaviour::Answer { after: ms(1_000, 4_000) },
        };
        let phone = phone.clone().on_ring(does);
        phone.wait_ringing().await;
        first = false;
        phone.wait_for(|view| view.ringing.is_empty()).await;
    }
}

/// Dials the feature codes: logs in, and out and in again for breaks.
async fn come_to_work(switch: SimSwitch, agent: &'static str) {
    sleep(Duration::from_millis(1_500)).await;
    loop {
        switch.call(&CallSpec::phone(agent, "*4199900")).wait_ended().await;
        sleep(ms(25_000, 40_000)).await;
        switch.call(&CallSpec::phone(agent, "*4299900")).wait_ended().await;
        sleep(ms(8_000, 12_000)).await;
    }
}

/// Now and then a colleague calls an agent, who gets no offers from a queue meanwhile.
async fn chat(switch: SimSwitch) {
    loop {
        sleep(ms(12_000, 25_000)).await;
        let call = switch.call(&CallSpec::phone("1009", "1003"));
        if timeout(Duration::from_secs(5), call.wait_talking()).await.is_ok() {
            sleep(ms(5_000, 9_000)).await;
        }
        call.hang_up();
    }
}
