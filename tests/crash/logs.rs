//! Q109: the log of the real program, and its calls when no process reads the log; its control socket when the reader
//! closes early; and its end when an admin at the terminal interrupts twice.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use freeswitch_queue::admin::{self, Request};
use simswitch::{Behaviour, CallSpec, Config, Dialplan, SimSwitch};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;

use crate::door::{GOOD, PATIENCE, Place, signal, text};

/// A daemon, its log, and a switch that sends it calls.
struct Running {
    place: Place,
    daemon: Child,
    log: BufReader<ChildStderr>,
    switch: SimSwitch,
}

impl Running {
    /// Starts the daemon and reads its log only up to the line that says it is ready.
    async fn start() -> Self {
        let place = Place::new(GOOD);
        // No link is configured, so the daemon cannot ask FreeSWITCH for its default domain.
        let file = std::fs::read_to_string(place.file()).unwrap();
        std::fs::write(place.file(), format!("domain: lab\n{file}")).unwrap();
        let mut daemon = place.command(&["serve"]).spawn().unwrap();
        let mut log = BufReader::new(daemon.stderr.take().unwrap());
        let ready = async {
            loop {
                let mut line = String::new();
                assert!(log.read_line(&mut line).await.unwrap() > 0, "it ended");
                let address = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
                if let Some(address) = address {
                    return address;
                }
            }
        };
        let address: SocketAddr = timeout(PATIENCE, ready).await.unwrap();
        let dialplan = Dialplan::standard("127.0.0.1:1 async full");
        let switch = SimSwitch::new(Config { dialplan, patience: PATIENCE, ..Config::default() });
        switch.dial_out_to(address);
        let _phone = switch.phone("1001").on_ring(Behaviour::Answer { after: Duration::from_millis(50) });
        Self { place, daemon, log, switch }
    }

    async fn ask(&self, request: Request) -> String {
        admin::ask(&self.place.file().with_file_name("freeswitch-queue.sock"), &request).await.unwrap()
    }

    /// An agent logs in, and a caller is connected.
    async fn serves(&self) {
        assert_eq!(self.switch.call(&CallSpec::phone("1001", "*4199900")).wait_ended().await, "NORMAL_CLEARING");
        let caller = self.switch.call(&CallSpec::trunk("0791234567", "99900"));
        assert_eq!(caller.wait_talking().await, "1001");
        caller.hang_up();
        caller.wait_ended().await;
    }

    /// Makes the daemon log more lines than it keeps, and more bytes than a pipe holds.
    async fn fill_the_log(&self) {
        let problems: String =
            (0..20).map(|n| format!("  - {{ number: \"{n}\", name: S, participants: [\"x{n}\"] }}\n")).collect();
        self.place.write(&problems);
        for _ in 0..600 {
            self.ask(Request::Reload).await;
        }
    }
}

/// Q109: no process reads the log: calls continue, `status` is answered, and the daemon counts and reports the lost
/// lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q109_an_unread_log_stops_no_call() {
    let mut running = Running::start().await;
    running.fill_the_log().await;
    running.serves().await;
    signal(&running.daemon, "-HUP").await;
    assert!(running.ask(Request::Status).await.contains("99900"));
    let mut lines = running.log.lines();
    let told = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("lines of the log were lost") {
                return line;
            }
        }
        panic!("it ended")
    };
    let told = timeout(PATIENCE, told).await.unwrap();
    let lost: u64 = told.split("lost=").nth(1).unwrap().trim().parse().unwrap();
    assert!(lost > 1_000, "{told}");
    signal(&running.daemon, "-TERM").await;
    let rest = async { while lines.next_line().await.unwrap().is_some() {} };
    timeout(PATIENCE, rest).await.unwrap();
    assert!(timeout(PATIENCE, running.daemon.wait()).await.unwrap().unwrap().success());
}

/// Q109: the reader of the log exits: the daemon continues, reloads its file, and drains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q109_the_end_of_the_logs_reader_does_not_end_the_daemon() {
    let mut running = Running::start().await;
    drop(running.log);
    running.log = BufReader::new(running.place.command(&["check"]).spawn().unwrap().stderr.take().unwrap());
    signal(&running.daemon, "-HUP").await;
    running.place.write("  - { number: 99900 }\n");
    signal(&running.daemon, "-HUP").await;
    running.serves().await;
    assert!(running.ask(Request::Reload).await.contains("refused"));
    assert!(running.ask(Request::Status).await.contains("99900"));
    signal(&running.daemon, "-TERM").await;
    assert!(timeout(PATIENCE, running.daemon.wait()).await.unwrap().unwrap().success());
}

/// Q21: a dialled number with line breaks cannot forge a line of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q21_a_dialled_number_forges_no_line() {
    let mut running = Running::start().await;
    let forged = "1\n2026-11-27T00:00:00Z  INFO freeswitch_queue: all is well\u{1b}[2J";
    running.switch.call(&CallSpec::trunk("0791", "99900").variable("fsq_dialled", forged)).wait_ended().await;
    signal(&running.daemon, "-TERM").await;
    let mut log = String::new();
    timeout(PATIENCE, running.log.read_to_string(&mut log)).await.unwrap().unwrap();
    let told = log.lines().find(|line| line.contains("neither a queue nor a feature code")).expect("it is told");
    assert!(told.contains(r"dialled=1\n2026-11-27T00:00:00Z  INFO freeswitch_queue: all is well\u{1b}[2J"), "{told}");
}

/// `status | head`: a reader that closes early causes neither an error nor a panic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_closes_early_is_no_error() {
    let running = Running::start().await;
    for arguments in [&["status"][..], &["status", "--json"], &["reload"], &["check"]] {
        let mut command = running.place.command(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
        let said = text(&ended.stderr);
        assert!(ended.status.success() && said.is_empty(), "{arguments:?}: {:?} {said}", ended.status);
    }
}

/// A second Ctrl-C ends the daemon at once, even while a stuck switch delays the drain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_interrupt_ends_the_daemon_at_once() {
    let mut running = Running::start().await;
    running.switch.call(&CallSpec::phone("1002", "*4199900")).wait_ended().await;
    let waits = running.switch.call(&CallSpec::trunk("0791", "99900"));
    waits.wait_for(|caller| caller.answered).await;
    while !running.ask(Request::Status).await.contains("\"calls\":1") {}
    running.switch.freeze();
    signal(&running.daemon, "-INT").await;
    let mut lines = running.log.lines();
    while !lines.next_line().await.unwrap().expect("it says so").contains("shutting down") {}
    signal(&running.daemon, "-INT").await;
    let ended = timeout(Duration::from_secs(5), running.daemon.wait()).await.expect("at once").unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(130), None));
}
