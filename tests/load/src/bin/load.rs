//! `load DAEMON [SCENARIO...]`: runs the daemon under load and prints its times and resources, as Markdown.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use load::control::{self, Control};
use load::daemon::{Daemon, QueueSpec, Setup, free_port};
use load::lean::{Book, Habits, Switch};
use load::process::{Cost, load_average};
use load::samples::Samples;
use tokio::time::{interval, sleep};

/// How long the phones ring.
const RINGS: Duration = Duration::from_millis(200);
/// The time of a call apart from ringing and talking: three audio frames.
const FRAMES: Duration = Duration::from_millis(60);
/// How long a load lasts.
const LASTING: Duration = Duration::from_secs(30);
/// Calls a second, in the scenarios with a rate.
const RATE: u32 = 200;
/// How long any single step may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|first| first == control::ARGUMENT).is_some() {
        let port = arguments.next().context("the control is to listen on a port")?;
        return control::serve(port.parse()?).map(|()| true);
    }
    let binary = PathBuf::from(arguments.next().context("usage: load DAEMON [waiting|flow|large|burst]...")?);
    let mut chosen: Vec<String> = arguments.collect();
    if chosen.is_empty() {
        chosen = ["waiting", "flow", "large", "burst"].map(str::to_owned).to_vec();
    }
    let mut good = true;
    for name in chosen {
        let scenario = match name.as_str() {
            "waiting" => WAITING,
            "flow" => FLOW,
            "large" => LARGE,
            "burst" => BURST,
            other => bail!("there is no scenario `{other}`; choose from waiting, flow, large, burst"),
        };
        good &= scenario.run(&binary)?;
    }
    Ok(good)
}

/// A scenario to measure.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    title: &'static str,
    queues: usize,
    agents: usize,
    /// In how many queues each agent works.
    each_in: usize,
    strategy: &'static str,
    /// How many callers come first, and at how many per second; 0 means all at once.
    first: usize,
    first_rate: u32,
    /// Whether [`RATE`] calls a second come and end afterwards.
    lasting: bool,
}

const WAITING: Scenario = Scenario {
    title: "10,000 waiting callers in 200 queues, 1,000 agents",
    queues: 200,
    agents: 1000,
    each_in: 4,
    strategy: "longest-idle",
    first: 11_000,
    first_rate: 500,
    lasting: true,
};

const FLOW: Scenario = Scenario {
    title: "no caller has to wait: 200 queues, 2,000 agents",
    queues: 200,
    agents: 2000,
    each_in: 4,
    strategy: "longest-idle",
    first: 0,
    first_rate: 0,
    lasting: true,
};

const LARGE: Scenario = Scenario {
    title: "one queue, 5,000 agents, 2,000 waiting callers",
    queues: 1,
    agents: 5000,
    each_in: 1,
    strategy: "longest-idle",
    first: 7_000,
    first_rate: 500,
    lasting: true,
};

const BURST: Scenario = Scenario {
    title: "a burst of 1,000 callers for 1,000 idle agents",
    queues: 200,
    agents: 1000,
    each_in: 1,
    strategy: "longest-idle",
    first: 1_000,
    first_rate: 0,
    lasting: false,
};

impl Scenario {
    fn setup(&self, switch: String) -> Setup {
        let agent = |index: usize| format!("{}", 10_000 + index);
        // Spread the agents over the queues in turn, so that teams overlap.
        let mut participants = vec![Vec::new(); self.queues];
        for index in 0..self.agents {
            for seat in 0..self.each_in {
                participants[(index + seat * self.queues / self.each_in) % self.queues].push(agent(index));
            }
        }
        let queue = |(index, participants): (usize, Vec<String>)| QueueSpec {
            number: format!("{}", 99_000 + index),
            strategy: self.strategy,
            participants,
        };
        Setup {
            switch,
            domain: "lab".to_owned(),
            queues: participants.into_iter().enumerate().map(queue).collect(),
            music: "ringtone".to_owned(),
            port: None,
        }
    }

    fn run(&self, binary: &std::path::Path) -> Result<bool> {
        println!("\n### {}\n", self.title);
        println!("Load average before: {}.\n\n| what | daemon | control |\n|---|---|---|", load_average());
        let setup = self.setup(format!("127.0.0.1:{}", free_port()?));
        let listener = TcpListener::bind(&setup.switch)?;
        let daemon = Daemon::start(binary, &setup)?;
        let control = Control::start()?;
        let controller = SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port));
        let queues: Vec<_> = setup.queues.iter().map(|q| (q.number.clone(), q.participants.clone())).collect();
        let waiting = self.first > self.agents;
        let cycle = Duration::from_secs_f64(self.agents.min(1000) as f64 / f64::from(RATE));
        let cycle = if waiting { Duration::from_secs_f64(self.agents as f64 / f64::from(RATE)) } else { cycle };
        let talk = cycle - RINGS - FRAMES;
        let habits = Habits { rings: RINGS, talk: if waiting { None } else { Some(talk) } };
        let switch = Switch::new(controller, control.port, &queues, habits, listener)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.play(&daemon, &switch, talk))?;
        let book = switch.book();
        let counts = book.counts;
        println!("| lost calls, wrong orders | {}, {} | |", counts.lost, counts.wrong);
        for mistake in &book.mistakes {
            println!("| wrong | {mistake} | |");
        }
        let status = daemon.status()?;
        println!(
            "| the daemon afterwards | {} calls, {} repairs, store {} | |",
            status["calls"],
            status["repairs"],
            status["store"].as_str().unwrap_or("ok")
        );
        let complaints = daemon.complaints();
        println!("| warnings and errors in its log | {} | |", complaints.len());
        for line in complaints.iter().take(5) {
            println!("| logged | `{}` | |", line.replace('|', "/"));
        }
        println!("| load average after | {} | |", load_average());
        Ok(counts.lost == 0 && counts.wrong == 0 && status["calls"] == 0)
    }

    async fn play(&self, daemon: &Daemon, switch: &Arc<Switch>, talk: Duration) -> Result<()> {
        // Lets the link finish its start-up queries and lamps first.
        sleep(Duration::from_secs(2)).await;
        let empty = daemon.cost()?;
        row("memory without calls", &format!("{:.1} MB", megabytes(empty.memory)));
        if self.first > 0 {
            self.first_callers(daemon, switch, &empty).await?;
        }
        if self.lasting {
            self.steady(daemon, switch, talk).await?;
        }
        self.clear(daemon, switch, talk).await
    }

    /// Lets the first callers come.
    async fn first_callers(&self, daemon: &Daemon, switch: &Arc<Switch>, empty: &Cost) -> Result<()> {
        switch.book().forget();
        let began = Instant::now();
        if self.first_rate == 0 {
            (0..self.first).for_each(|n| switch.call(n % self.queues));
        } else {
            let mut tick = interval(Duration::from_secs(1) / self.first_rate);
            for n in 0..self.first {
                tick.tick().await;
                switch.call(n % self.queues);
            }
        }
        let busy = self.first.min(self.agents) as u64;
        reached(switch, |book| book.counts.offered >= busy && book.here() >= self.first).await?;
        let after = daemon.cost()?;
        let offered = began.elapsed();
        if self.first_rate == 0 {
            row("until every phone was ordered to ring", &format!("{:.0} ms", offered.as_secs_f64() * 1e3));
            row("CPU time for that", &format!("{:.0} ms", (after.cpu - empty.cpu).as_secs_f64() * 1e3));
        } else {
            row("callers a second while they came", &format!("{}", self.first_rate));
            row("CPU while they came", &format!("{:.2} cores", after.cores_since(empty)));
        }
        {
            callers_times(&switch.book());
        }
        // Until temporary memory is returned and a survey of the switch has passed.
        sleep(Duration::from_secs(8)).await;
        let settled = daemon.cost()?;
        let (callers, waiting, busy) = {
            let book = switch.book();
            (book.here(), book.waiting(), book.busy())
        };
        row("waiting, talking", &format!("{waiting}, {busy}"));
        if self.first > self.agents {
            row(
                "memory",
                &format!("{:.1} MB, at most {:.1} MB", megabytes(settled.memory), megabytes(settled.most_memory)),
            );
            row("memory per caller", &format!("{:.1} kB", kilobytes(settled.memory - empty.memory) / callers as f64));
            sleep(Duration::from_secs(9)).await;
            let idle = daemon.cost()?;
            row("CPU while nothing happens", &format!("{:.3} cores", idle.cores_since(&settled)));
        }
        Ok(())
    }

    /// Callers come and conversations end at the same rate.
    async fn steady(&self, daemon: &Daemon, switch: &Arc<Switch>, talk: Duration) -> Result<()> {
        switch.talk(talk);
        let mut tick = interval(Duration::from_secs(1) / RATE);
        let settle = talk.min(Duration::from_secs(5));
        let (mut n, mut before, began) = (0, None, Instant::now());
        while began.elapsed() < settle + LASTING {
            tick.tick().await;
            switch.call(n % self.queues);
            n += 1;
            if before.is_none() && began.elapsed() >= settle {
                switch.book().forget();
                before = Some(daemon.cost()?);
            }
        }
        let after = daemon.cost()?;
        let before = before.context("the load did not last")?;
        let book = switch.book();
        let counts = book.counts;
        let seconds = (after.at - before.at).as_secs_f64();
        row(
            "came, answered, ended a second",
            &format!(
                "{:.0}, {:.0}, {:.0} (for {seconds:.0} s)",
                counts.entered as f64 / seconds,
                counts.answered as f64 / seconds,
                counts.ended as f64 / seconds
            ),
        );
        row("waiting, talking", &format!("{}, {}", book.waiting(), book.busy()));
        if self.first > self.agents {
            let what = "agent free → originate (median / p99 / max)";
            times(what, &book.times.free_to_offer, &book.control.free_to_offer);
        } else {
            callers_times(&book);
        }
        let cpu = (after.cpu - before.cpu).as_secs_f64();
        row("CPU", &format!("{:.2} cores", after.cores_since(&before)));
        let calls = counts.entered.max(1) as f64;
        row("CPU per 1,000 calls", &format!("{:.2} s", cpu * 1000.0 / calls));
        let (traffic, each) = (counts.traffic, |count: u64| count as f64 / calls);
        row(
            "a call: commands, replies, events",
            &format!("{:.1}, {:.1}, {:.1}", each(traffic.commands), each(traffic.replies), each(traffic.events)),
        );
        row(
            "a call: bytes of commands, of events",
            &format!("{:.0}, {:.0}", each(traffic.command_bytes), each(traffic.sent_bytes)),
        );
        row(
            "a call: times a thread of the daemon slept",
            &format!("{:.1}", each(after.sleeps.saturating_sub(before.sleeps))),
        );
        row("memory", &format!("{:.1} MB, at most {:.1} MB", megabytes(after.memory), megabytes(after.most_memory)));
        Ok(())
    }

    /// All callers leave.
    async fn clear(&self, daemon: &Daemon, switch: &Arc<Switch>, talk: Duration) -> Result<()> {
        switch.talk(talk.min(Duration::from_secs(1)));
        switch.hang_up(Duration::from_secs(10));
        reached(switch, |book| book.here() == 0).await?;
        sleep(Duration::from_secs(1)).await;
        let after = daemon.cost()?;
        row("memory when all are gone", &format!("{:.1} MB", megabytes(after.memory)));
        Ok(())
    }
}

/// Waits until the condition holds.
async fn reached(switch: &Switch, condition: impl Fn(&Book) -> bool) -> Result<()> {
    let began = Instant::now();
    while !condition(&switch.book()) {
        if began.elapsed() > PATIENCE {
            let book = switch.book();
            let (counts, mistakes) = (book.counts, book.mistakes.join("\n"));
            bail!(
                "not within {PATIENCE:?}: {} callers are here, {} waiting, {} agents busy, {counts:?}\n{mistakes}",
                book.here(),
                book.waiting(),
                book.busy()
            );
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn row(what: &str, value: &str) {
    println!("| {what} | {value} | |");
}

/// Prints a time, and how long the control took to answer the same bytes.
fn times(what: &str, daemon: &Samples, control: &Samples) {
    println!("| {what} | {daemon} | {control} |");
}

fn callers_times(book: &Book) {
    let (daemon, control) = (&book.times, &book.control);
    times("caller came → originate (median / p99 / max)", &daemon.came_to_offer, &control.came_to_offer);
    times("caller known → originate", &daemon.known_to_offer, &control.known_to_offer);
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn kilobytes(bytes: u64) -> f64 {
    bytes as f64 / 1e3
}
