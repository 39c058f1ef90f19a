//! The simulated switch as a program: to try a controller by hand, for demonstrations, and for load.

use simswitch::{Behaviour, CallSpec, Config, Dialplan, QueueRoute, SimSwitch};
use std::net::SocketAddr;
use std::time::Duration;

const USAGE: &str = "simswitch --controller HOST:PORT [OPTION VALUE]...
  --controller HOST:PORT   where `socket` connects to; no default: load must not hit whoever listens there
  --link HOST:PORT         inbound listener; `off` for none         (off)
  --domain NAME            directory domain of the phones           (lab)
  --phones FIRST-LAST      numbers of the phones                    (1001-1010)
  --ring SECONDS           every phone answers after this           (2)
  --talk SECONDS           and hangs up after this                  (10)
  --login QUEUE            every phone dials *41QUEUE at the start  (none)
  --queue NUMBER           which queue the callers dial             (99900)
  --calls N                how many callers in all; 0 = for ever    (1)
  --rate N                 callers a second                         (1)
  --patience SECONDS       a caller hangs up after this             (300)
  --seed N                                                          (1)
Prints one line a second: legs, calls, conversations, delays in milliseconds (50 / 99 of 100), violations.";

struct Options {
    controller: String,
    link: String,
    domain: String,
    phones: (u64, u64),
    ring: Duration,
    talk: Duration,
    login: Option<String>,
    queue: String,
    calls: u64,
    rate: f64,
    patience: Duration,
    seed: u64,
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{name} wants a number, not {value:?}"))
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    Duration::try_from_secs_f64(number(name, value)?).map_err(|_| format!("{name} wants seconds, not {value:?}"))
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut o = Options {
        controller: String::new(),
        link: "off".into(),
        domain: "lab".into(),
        phones: (1001, 1010),
        ring: Duration::from_secs(2),
        talk: Duration::from_secs(10),
        login: None,
        queue: "99900".into(),
        calls: 1,
        rate: 1.0,
        patience: Duration::from_secs(300),
        seed: 1,
    };
    while let Some(name) = arguments.next() {
        if name == "--help" || name == "-h" {
            return Err(USAGE.into());
        }
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value\n{USAGE}"))?;
        match name.as_str() {
            "--controller" => o.controller = value,
            "--link" => o.link = value,
            "--domain" => o.domain = value,
            "--phones" => {
                let (first, last) = value.split_once('-').ok_or("--phones wants FIRST-LAST")?;
                o.phones = (number(&name, first)?, number(&name, last)?);
            }
            "--ring" => o.ring = seconds(&name, &value)?,
            "--talk" => o.talk = seconds(&name, &value)?,
            "--login" => o.login = Some(value),
            "--queue" => o.queue = value,
            "--calls" => o.calls = number(&name, &value)?,
            "--rate" => o.rate = number(&name, &value)?,
            "--patience" => o.patience = seconds(&name, &value)?,
            "--seed" => o.seed = number(&name, &value)?,
            _ => return Err(format!("unknown option {name}\n{USAGE}")),
        }
    }
    if o.controller.is_empty() {
        return Err(format!("--controller is missing: say where the controller listens\n{USAGE}"));
    }
    if o.rate <= 0.0 {
        return Err("--rate must be above 0".into());
    }
    Ok(o)
}

/// The 50th and the 99th of 100, in milliseconds.
fn percentiles(mut all: Vec<Duration>) -> String {
    all.sort_unstable();
    let at = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)));
    match (at(50), at(99)) {
        (Some(half), Some(most)) => format!("{}/{}", half.as_millis(), most.as_millis()),
        _ => "-".into(),
    }
}

fn report(switch: &SimSwitch) -> String {
    let stats = switch.stats();
    format!(
        "{:7.1} s  legs {:5}  calls {:6}  rings {:6}  talks {:6}  offer {:>9}  answer-to-talk {:>9}  violations {}",
        switch.now().as_secs_f64(),
        switch.leg_count(),
        stats.calls,
        stats.rings,
        stats.conversations,
        percentiles(stats.first_offer),
        percentiles(stats.answer_to_talk),
        switch.violations().len()
    )
}

async fn run(o: Options) -> Result<(), String> {
    let socket = format!("{} async full", o.controller);
    let switch = SimSwitch::new(Config {
        domain: o.domain,
        seed: o.seed,
        dialplan: Dialplan::new().queue(QueueRoute::new(&socket)).internal(),
        keep_history: false,
        patience: o.patience + Duration::from_secs(3600),
        ..Config::default()
    });
    switch.dial_out_tcp();
    if o.link != "off" {
        let address: SocketAddr = o.link.parse().map_err(|_| format!("--link {:?} is no address", o.link))?;
        let listener =
            tokio::net::TcpListener::bind(address).await.map_err(|e| format!("cannot listen on {address}: {e}"))?;
        let inbound = switch.clone();
        tokio::spawn(async move { inbound.listen(listener).await });
    }
    for phone in o.phones.0..=o.phones.1 {
        let phone = switch.phone(&phone.to_string());
        let phone = phone.on_ring(Behaviour::Converse { after: o.ring, talk: o.talk });
        if let Some(queue) = &o.login {
            switch.call(&CallSpec::phone(phone.number(), &format!("*41{queue}"))).wait_ended().await;
        }
    }
    let reporter = switch.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            println!("{}", report(&reporter));
            reporter.forget_ended();
        }
    });
    let mut callers = tokio::task::JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / o.rate));
    let mut made = 0;
    while o.calls == 0 || made < o.calls {
        tick.tick().await;
        made += 1;
        let caller = switch.call(&CallSpec::trunk(&format!("07{made:08}"), &o.queue).name("Load"));
        let patience = o.patience;
        callers.spawn(async move {
            let waits = async {
                if caller.wait_for(|view| view.ended.is_some() || !view.talked_to.is_empty()).await.ended.is_none() {
                    caller.wait_for(|view| view.ended.is_some()).await;
                }
            };
            if tokio::time::timeout(patience, waits).await.is_err() {
                caller.hang_up();
            }
        });
        while callers.try_join_next().is_some() {}
    }
    while callers.join_next().await.is_some() {}
    println!("{}", report(&switch));
    for violation in switch.violations() {
        println!("{violation:?}");
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return std::process::ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(options)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            std::process::ExitCode::FAILURE
        }
    }
}
