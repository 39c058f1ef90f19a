//! The daemon as it is installed: the program, its own configuration file, and its log.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{Fact, Record};
use serde_json::Value;

use crate::machine::reap;
use crate::switch::{PASSWORD, Switch};

const PROGRAM: &str = env!("CARGO_BIN_EXE_freeswitch-queue");

/// The log, line by line.
#[derive(Default)]
struct Said {
    lines: Vec<String>,
    facts: Vec<(Instant, Record)>,
    over: bool,
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    file: PathBuf,
    said: Arc<(Mutex<Said>, Condvar)>,
}

impl Daemon {
    /// Writes the configuration, with `queues` after the part that every test needs, and starts the program.
    pub fn start(switch: &Switch, folder: &Path, dials: &[(&str, &str)], queues: &str) -> Daemon {
        fs::create_dir_all(folder).expect("a folder");
        let file = folder.join("queues.yaml");
        write(&file, switch, dials, queues);
        Daemon::again(folder)
    }

    /// Starts the program with the existing file.
    pub fn again(folder: &Path) -> Daemon {
        let file = folder.join("queues.yaml");
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--log", "json", "--config"])
            .arg(&file)
            .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the daemon's program");
        let log = BufReader::new(child.stderr.take().expect("its log"));
        let said: Arc<(Mutex<Said>, Condvar)> = Arc::default();
        let ours = said.clone();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let fact = fact_of(&line);
                let mut said = ours.0.lock().expect("unpoisoned");
                said.facts.extend(fact.map(|fact| (Instant::now(), fact)));
                said.lines.push(line);
                ours.1.notify_all();
            }
            ours.0.lock().expect("unpoisoned").over = true;
            ours.1.notify_all();
        });
        let daemon = Daemon { child, file, said };
        daemon.says("\"ready\"", Duration::from_secs(10));
        daemon.says("the link to FreeSWITCH is up", Duration::from_secs(10));
        daemon
    }

    /// Starts another daemon with the same file in another folder, except for the port where it listens.
    pub fn beside(&self, folder: &Path, port: u16) -> Daemon {
        fs::create_dir_all(folder).expect("a folder");
        let text = fs::read_to_string(&self.file).expect("the daemon's file");
        let (listen, rest) = text.split_once('\n').expect("several lines");
        assert!(listen.starts_with("listen: "), "{listen}");
        fs::write(folder.join("queues.yaml"), format!("listen: 127.0.0.1:{port}\n{rest}")).expect("its file");
        Daemon::again(folder)
    }

    /// Waits for a line of its log.
    #[track_caller]
    pub fn says(&self, part: &str, within: Duration) {
        self.says_again(part, 1, within);
    }

    /// Waits until the log has `times` lines with `part`.
    #[track_caller]
    pub fn says_again(&self, part: &str, times: usize, within: Duration) {
        let look = |said: &Said| said.lines.iter().filter(|line| line.contains(part)).nth(times - 1).map(drop);
        let found = self.wait(within, look);
        assert!(found.is_some(), "the daemon did not log {part} within {within:?}; its log:\n{}", self.log());
    }

    /// Waits for the first fact that `wanted` accepts; returns its time as well.
    #[track_caller]
    pub fn fact<T>(&self, what: &str, within: Duration, wanted: impl Fn(&Fact) -> Option<T>) -> (Instant, T) {
        self.nth_fact(what, 0, within, wanted)
    }

    /// Waits for the fact after `nth` others that `wanted` accepts; returns its time as well.
    #[track_caller]
    pub fn nth_fact<T>(
        &self,
        what: &str,
        nth: usize,
        within: Duration,
        wanted: impl Fn(&Fact) -> Option<T>,
    ) -> (Instant, T) {
        let look =
            |said: &Said| said.facts.iter().filter_map(|(at, record)| Some((*at, wanted(&record.fact)?))).nth(nth);
        self.wait(within, look)
            .unwrap_or_else(|| panic!("no fact within {within:?}: {what}; the daemon's log:\n{}", self.log()))
    }

    /// The facts so far.
    pub fn facts(&self) -> Vec<Record> {
        self.said.0.lock().expect("unpoisoned").facts.iter().map(|(_, record)| record.clone()).collect()
    }

    /// The facts after the first `seen` ones, each with the time at which it was read.
    pub fn facts_after(&self, seen: usize) -> Vec<(Instant, Record)> {
        let said = self.said.0.lock().expect("unpoisoned");
        said.facts.get(seen..).unwrap_or_default().to_vec()
    }

    fn wait<T>(&self, within: Duration, look: impl Fn(&Said) -> Option<T>) -> Option<T> {
        let end = Instant::now() + within;
        let mut said = self.said.0.lock().expect("unpoisoned");
        loop {
            if let Some(found) = look(&said) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            if said.over {
                return None;
            }
            said = self.said.1.wait_timeout(said, left).expect("unpoisoned").0;
        }
    }

    /// The log as text.
    pub fn log(&self) -> String {
        let said = self.said.0.lock().expect("unpoisoned");
        said.lines.iter().map(|line| format!("    {}\n", readable(line))).collect()
    }

    /// The output of the program, asked for the running daemon.
    pub fn ask(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(PROGRAM).args(arguments).arg("--config").arg(&self.file).output().expect("the daemon's program")
    }

    /// Rewrites the file and makes the daemon reload it.
    pub fn reload(&self, switch: &Switch, queues: &str) -> std::process::Output {
        write(&self.file, switch, &[], queues);
        self.ask(&["reload"])
    }

    /// The path of the store.
    pub fn store(&self) -> PathBuf {
        self.file.with_file_name("state.db")
    }

    /// The output of `freeswitch-queue status --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        let told = self.ask(&["status", "--json"]);
        assert!(told.status.success(), "status: {}", String::from_utf8_lossy(&told.stderr));
        serde_json::from_slice(&told.stdout).expect("JSON")
    }

    /// Ends the daemon as the system does at shutdown; waits for its end and returns its exit status.
    #[track_caller]
    pub fn terminate(&mut self, within: Duration) {
        self.signal("TERM");
        let ended = reap(&mut self.child, within);
        assert!(ended.is_some_and(|status| status.success()), "ended with {ended:?}; its log:\n{}", self.log());
    }

    /// Kills the daemon, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Removes a key of the upper part of the file.
    pub fn leave_out(&self, key: &str) {
        let text = fs::read_to_string(&self.file).expect("the daemon's file");
        let kept = text.split_inclusive('\n').filter(|line| !line.starts_with(&format!("{key}:")));
        fs::write(&self.file, kept.collect::<String>()).expect("the daemon's file");
    }

    /// Replaces a part of the file, which must occur once.
    #[track_caller]
    pub fn rewrite(&self, from: &str, to: &str) {
        let text = fs::read_to_string(&self.file).expect("the daemon's file");
        assert_eq!(text.matches(from).count(), 1, "{from} in\n{text}");
        fs::write(&self.file, text.replace(from, to)).expect("the daemon's file");
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {name} {id}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn write(file: &Path, switch: &Switch, dials: &[(&str, &str)], queues: &str) {
    let agent = |id: String| match dials.iter().find(|(agent, _)| *agent == id) {
        Some((_, dial)) => format!("  - {{ id: \"{id}\", dial: \"{dial}\" }}\n"),
        None => format!("  - {{ id: \"{id}\" }}\n"),
    };
    let agents: String = crate::lab::accounts().map(agent).collect();
    let text = format!(
        "listen: 127.0.0.1:{}\nfreeswitch:\n  - {{ address: \"127.0.0.1:{}\", password: {PASSWORD} }}\n\
         domain: {}\nstate: state.db\nagents:\n{agents}queues:\n{queues}",
        switch.controller,
        switch.event_socket,
        crate::switch::DOMAIN,
    );
    fs::write(file, text).expect("the daemon's file");
}

/// A line of the log without the parts that do not help a reader.
fn readable(line: &str) -> String {
    let Ok(told) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    let time = told["timestamp"].as_str().unwrap_or_default().get(11..23).unwrap_or_default();
    let message = told["fields"]["message"].as_str().unwrap_or_default();
    let mut more = told["fields"].clone();
    more.as_object_mut().map(|fields| fields.remove("message"));
    let more = if more.as_object().is_some_and(|fields| fields.is_empty()) { String::new() } else { more.to_string() };
    format!("{time} {:5} {message} {more}", told["level"].as_str().unwrap_or_default())
}

fn fact_of(line: &str) -> Option<Record> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["target"] != "freeswitch_queue::facts" {
        return None;
    }
    let mut fields = line["fields"].clone();
    if let Some(to) = fields.as_object_mut()?.remove("onward_to") {
        fields["onward"] = serde_json::json!({ fields["onward"].as_str()?: to });
    }
    serde_json::from_value(fields).ok()
}
