//! A SIPp process: the SIP messages it sends and receives, as they happen, and commands to it.

use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::lab::Programs;
use crate::machine::reap;

/// A SIP message, as the phone sees it.
#[derive(Clone, Debug)]
pub struct Message {
    /// The time noted by SIPp itself, which does not depend on when this process gets to read it.
    pub at: Instant,
    pub sent: bool,
    pub text: String,
}

impl Message {
    /// `INVITE`, or `200` of a response.
    pub fn what(&self) -> &str {
        let mut words = self.text.split_whitespace();
        match words.next() {
            Some("SIP/2.0") => words.next().unwrap_or_default(),
            word => word.unwrap_or_default(),
        }
    }

    /// The value of a header, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let line = head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then_some(value)
        });
        line.unwrap_or_default().trim()
    }

    /// The RTP address of the other side.
    pub fn sound_port(&self) -> Option<u16> {
        let line = self.text.lines().find_map(|line| line.strip_prefix("m=audio "))?;
        line.split(' ').next()?.parse().ok()
    }

    pub fn call(&self) -> &str {
        self.header("Call-ID")
    }
}

type Kept = Arc<(Mutex<Vec<Message>>, Condvar)>;

/// What SIPp says besides its messages.
type Complaints = Arc<Mutex<Vec<String>>>;

/// A free port of which the second next is free too: SIPp opens both for audio, even if the scenario has none, and ends
/// at once if it cannot. (Without a number it tries a hundred, which suffices for fifty SIPps on a machine.) Below the
/// ports of FreeSWITCH's audio, and of those that systems assign automatically.
fn audio_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let candidates = std::iter::repeat_with(|| {
        let n = std::process::id() * 100 + NEXT.fetch_add(4, Ordering::Relaxed);
        // Above the ports where SIPps take commands (8888 and up).
        u16::try_from(9000 + n % 7000).expect("a port")
    });
    let is_free = |port: u16| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    candidates.take(1750).find(|port| is_free(*port) && is_free(*port + 2)).expect("two free ports")
}

/// A running SIPp.
pub struct Sipp {
    pub port: u16,
    child: Child,
    kept: Kept,
    complaints: Complaints,
}

impl Sipp {
    /// Starts SIPp on a UDP port, with a scenario, towards a port of FreeSWITCH.
    /// `watch` sees every message, and the ones before it.
    pub fn start(
        programs: &Programs,
        scenario: &Path,
        port: u16,
        remote: u16,
        more: &[&str],
        watch: impl Fn(&Message, &[Message]) + Send + 'static,
    ) -> Sipp {
        let mut child = Command::new(&programs.sipp)
            .arg(format!("127.0.0.1:{remote}"))
            .args(["-i", "127.0.0.1", "-p", &port.to_string(), "-sf"])
            .arg(scenario)
            .args(["-mp", &audio_port().to_string()])
            // The test judges messages that are not in the scenario, not SIPp.
            .args(["-nostdin", "-default_behaviors", "none", "-trace_msg", "-message_file", "/dev/stderr"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", programs.sipp.display()));
        let output = child.stderr.take().expect("its log");
        let kept: Kept = Arc::default();
        let complaints = Complaints::default();
        let (ours, said) = (kept.clone(), complaints.clone());
        std::thread::spawn(move || {
            let mut log = BufReader::new(output);
            while let Some(message) = next(&mut log, &said) {
                let mut kept = ours.0.lock().expect("unpoisoned");
                watch(&message, &kept);
                kept.push(message);
                ours.1.notify_all();
            }
        });
        Sipp { port, child, kept, complaints }
    }

    /// Waits for the first message that `wanted` accepts.
    pub fn wait(&self, wanted: impl Fn(&Message) -> bool, within: Duration) -> Option<Message> {
        self.look(|messages| messages.iter().find(|m| wanted(m)).cloned(), within)
    }

    /// Waits until `wanted` accepts the messages so far.
    pub fn wait_for_all(&self, wanted: impl Fn(&[Message]) -> bool, within: Duration) -> bool {
        self.look(|messages| wanted(messages).then_some(()), within).is_some()
    }

    fn look<T>(&self, find: impl Fn(&[Message]) -> Option<T>, within: Duration) -> Option<T> {
        let end = Instant::now() + within;
        let mut kept = self.kept.0.lock().expect("unpoisoned");
        loop {
            if let Some(found) = find(&kept) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            kept = self.kept.1.wait_timeout(kept, left).expect("unpoisoned").0;
        }
    }

    /// The messages so far.
    pub fn messages(&self) -> Vec<Message> {
        self.kept.0.lock().expect("unpoisoned").clone()
    }

    /// Sends it a command for a call.
    pub fn tell(&self, call: &str, command: &str, header: &str) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
        let port = socket.local_addr().expect("its address").port();
        let text = format!(
            "{command} sip:phone SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{port}\r\n\
             From: <sip:test@127.0.0.1>;tag=1\r\nTo: <sip:phone@127.0.0.1>\r\nCall-ID: {call}\r\n\
             CSeq: 1 {command}\r\n{header}Content-Length: 0\r\n\r\n"
        );
        socket.send_to(text.as_bytes(), ("127.0.0.1", self.port)).expect("a datagram");
    }

    /// Waits until it ends by itself; returns whether all its calls followed the scenario.
    pub fn ends_well(&mut self, within: Duration) -> bool {
        reap(&mut self.child, within).is_some_and(|status| status.success())
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A short text of its messages, for people.
    pub fn story(&self, since: Instant) -> String {
        let lines = self.messages().into_iter().map(|m| {
            let ms = m.at.checked_duration_since(since).map_or(-1, |d| i64::try_from(d.as_millis()).unwrap_or(0));
            let first = m.text.lines().next().unwrap_or_default().to_owned();
            format!("    {ms:>6} ms {} {first}  [{}]", if m.sent { "->" } else { "<-" }, m.call())
        });
        let complaints = self.complaints.lock().expect("unpoisoned").clone();
        lines.chain(complaints).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The next message of SIPp's log: a line with the time, a line with its length, an empty line, and that many bytes.
fn next(log: &mut impl BufRead, complaints: &Mutex<Vec<String>>) -> Option<Message> {
    let (mut line, mut at) = (Vec::new(), Instant::now());
    loop {
        line.clear();
        if log.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&line);
        if text.starts_with("-----") {
            at = Instant::now();
            at = at.checked_sub(late(&text).unwrap_or_default()).unwrap_or(at);
        }
        if text.contains("Unable") || text.contains("Error") {
            complaints.lock().expect("unpoisoned").push(format!("    {}", text.trim_end()));
        }
        let sent = text.contains("message sent (");
        if !sent && !text.contains("message received [") {
            continue;
        }
        let length = text.split(['(', '[']).nth(1)?.split([' ', ']']).next()?.parse().ok()?;
        log.read_until(b'\n', &mut line).ok()?;
        let mut bytes = vec![0; length];
        log.read_exact(&mut bytes).ok()?;
        return Some(Message { at, sent, text: String::from_utf8_lossy(&bytes).into_owned() });
    }
}

/// How long ago a line with the time was written: `--- 2026-11-27 18:10:09.922430`. Only the seconds count, because the
/// rest is in local time.
fn late(line: &str) -> Option<Duration> {
    const MINUTE: u128 = 60_000_000;
    let (_, seconds) = line.trim_end().rsplit_once(':')?;
    let (whole, part) = seconds.split_once('.')?;
    let then = whole.parse::<u128>().ok()? * 1_000_000 + part.parse::<u128>().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_micros() % MINUTE;
    let late = (now + MINUTE - then) % MINUTE;
    // More than half a minute is a clock that was set.
    (late < MINUTE / 2).then(|| Duration::from_micros(u64::try_from(late).unwrap_or_default()))
}
