//! Q21: thousands of hostile peers at the port and the control socket of a daemon process, over real sockets, while
//! ordinary calls go through the same port.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod daemon;
mod hostile;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use simswitch::{Behaviour, Bounds, CallSpec, Config, Dialplan, Length, SimSwitch};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::daemon::{Daemon, PATIENCE};
use crate::hostile::Crowd;

const AT_THE_PORT: usize = 2_000;
const AT_THE_CONTROL_SOCKET: usize = 200;
const CALLS: usize = 200;
const AGENTS: usize = 40;

/// The README's limits: 32 kB per connection, 256 MB for all together, and the daemon itself.
const MOST_MEMORY: u64 = (AT_THE_PORT as u64 * (32 << 10)) + (256 << 20) + (64 << 20);

/// Raises this process's limit of open files: it has one end of every connection.
fn allow_files() {
    let needed = 2 * (AT_THE_PORT + AT_THE_CONTROL_SOCKET) as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|soft| soft < needed) {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    }
    let soft = getrlimit(Resource::Nofile).current;
    assert!(soft.is_none_or(|soft| soft >= needed), "{soft:?} open files are too few; run `ulimit -n {needed}` first");
}

fn agents() -> impl Iterator<Item = String> {
    (0..AGENTS).map(|n| (1001 + n).to_string())
}

/// A switch whose agents answer and hang up, with short sounds and patience for a busy machine.
async fn switch(listener: TcpListener) -> SimSwitch {
    let short = |name: &str| (!name.contains("stream")).then_some(Length::For(Duration::from_millis(20)));
    let slow = Duration::from_secs(30);
    let switch = SimSwitch::new(Config {
        // The daemon's port is not known yet; see `dial_out_to`.
        dialplan: Dialplan::standard("127.0.0.1:1/s3cret async full"),
        lengths: Some(Arc::new(short)),
        bounds: Bounds { silence: slow, stray_ring: slow, talking: slow },
        patience: PATIENCE,
        ..Config::default()
    });
    for agent in agents() {
        // Long enough for a busy machine to connect the two before the agent hangs up.
        let (after, talk) = (Duration::from_millis(100), Duration::from_millis(1_500));
        let _ = switch.phone(&agent).on_ring(Behaviour::Converse { after, talk });
    }
    let inbound = switch.clone();
    tokio::spawn(async move { inbound.listen(listener).await });
    switch
}

fn configuration(link: u16) -> String {
    let ids: Vec<String> = agents().map(|id| format!("{id:?}")).collect();
    let agents: String = ids.iter().map(|id| format!("  - {{ id: {id} }}\n")).collect();
    format!(
        "listen: 127.0.0.1:0\nallow: [127.0.0.1]\ntoken: s3cret\ndomain: lab\nprompts: /prompts\n\
         freeswitch: [{{ address: \"127.0.0.1:{link}\", password: ClueCon }}]\nagents:\n{agents}queues:\n  \
         - {{ number: \"99900\", name: Service, strategy: longest-idle, participants: [{}] }}\n",
        ids.join(", ")
    )
}

/// The number of records of each kind in the store.
fn records(daemon: &Daemon) -> BTreeMap<String, u32> {
    let store = Connection::open(daemon.store()).unwrap();
    let mut counted = store.prepare("SELECT kind, count(*) FROM records GROUP BY kind").unwrap();
    counted.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// Q21: 2,000 connections send garbage, incomplete frames, endless headers or nothing, and 200 do so at the control
/// socket. The daemon ends every one, 200 calls go through undisturbed, and memory stays within its limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q21_thousands_of_hostile_connections_disturb_no_call() {
    allow_files();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = listener.local_addr().unwrap().port();
    let switch = switch(listener).await;
    let mut daemon = Daemon::start(&configuration(link)).await;
    switch.dial_out_to(daemon.address);
    daemon.wait_for("the link", |status| status.linked == 1).await;
    let mut logins = JoinSet::new();
    for agent in agents() {
        let login = switch.call(&CallSpec::phone(&agent, "*4199900"));
        logins.spawn(async move { login.wait_ended().await });
    }
    assert!(logins.join_all().await.iter().all(|cause| cause == "NORMAL_CLEARING"));
    let files = daemon.open_files();

    let at_port = Crowd::at_port(daemon.address, AT_THE_PORT);
    let at_control = Crowd::at_control(daemon.control(), AT_THE_CONTROL_SOCKET);
    at_port.is_there().await;
    at_control.is_there().await;
    let mut calls = JoinSet::new();
    for n in 0..CALLS {
        let caller = switch.call(&CallSpec::trunk(&format!("0790000{n:03}"), "99900").name("Hans"));
        calls.spawn(async move {
            let cause = caller.wait_ended().await;
            let view = caller.view();
            assert!(cause == "NORMAL_CLEARING" && !view.stranded && view.talked_to.len() == 1, "{cause}: {view:?}");
        });
    }
    // The control socket still answers.
    let most = daemon.status().await;
    assert_eq!((most.switches, most.linked), (1, 1));
    timeout(PATIENCE, calls.join_all()).await.expect("every caller talks in time");

    let (ended, turned_off) = (at_port.goes().await, at_control.goes().await);
    let memory = daemon.most_memory();
    let repairs = daemon.status().await.repairs;
    println!(
        "{repairs} repairs, {} MB at most; ended at the port: {ended:?}; at the control socket: {turned_off:?}",
        memory >> 20
    );
    assert!(memory <= MOST_MEMORY, "the daemon held {memory} bytes, {MOST_MEMORY} are allowed");
    assert_eq!(ended.len(), 12, "every deed was done");
    daemon.wait_for("every call's end", |status| status.calls == 0).await;
    // No connection is left open.
    let let_go = async {
        while daemon.open_files() > files {
            daemon.status().await;
        }
    };
    assert!(timeout(PATIENCE, let_go).await.is_ok(), "{} files are open, {files} before", daemon.open_files());
    assert_eq!((switch.violations(), switch.executed()), (Vec::new(), Vec::new()));

    assert!(daemon.end().await.success());
    let log = daemon.log();
    let connections = ended.values().sum::<usize>();
    assert!(log.len() <= 2 * connections + 20 * (CALLS + AGENTS), "{} lines, {connections} connections", log.len());
    assert!(!log.iter().any(|line| line.contains(" ERROR ") || line.contains("panicked")), "{log:#?}");
    let kinds = records(&daemon);
    let expected = [
        ("agent_logged_in", AGENTS),
        ("call_answered", CALLS),
        ("call_entered", CALLS),
        ("conversation_ended", CALLS),
        ("offer_made", CALLS),
        ("shift_began", AGENTS),
    ];
    assert_eq!(kinds, expected.map(|(kind, count)| (kind.to_owned(), u32::try_from(count).unwrap())).into());
}
