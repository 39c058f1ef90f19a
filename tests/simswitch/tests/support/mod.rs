//! A bare controller: sends text, splits frames, and reads the captures.
#![allow(dead_code, unreachable_pub)]

pub mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One received frame.
#[derive(Debug, Clone)]
pub struct Frame {
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Short names of the legs (`caller`, `agent1001`) by UUID.
    pub names: BTreeMap<String, String>,
    /// The time of arrival: milliseconds since the connection.
    pub at: u64,
}

impl Frame {
    pub fn get(&self, name: &str) -> Option<String> {
        let inner = self.event();
        inner.iter().chain(&self.headers).find(|(n, _)| n == name).map(|(_, v)| decode(v))
    }

    /// The headers of the event inside, when there is one.
    pub fn event(&self) -> Vec<(String, String)> {
        if self.body.starts_with("Event-") {
            parse_headers(self.body.split("\n\n").next().unwrap_or_default())
        } else {
            Vec::new()
        }
    }

    /// Milliseconds from this event's own stamp to its arrival, on the scale of the connection's first frame.
    pub fn late_by(&self, first: &Frame) -> u64 {
        let stamp = |f: &Frame| f.get("Event-Date-Timestamp").and_then(|t| t.parse::<u64>().ok());
        match (stamp(self), stamp(first)) {
            (Some(own), Some(start)) => (self.at - first.at).saturating_sub(own.saturating_sub(start) / 1000),
            _ => 0,
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.headers.iter().map(|(n, _)| n.clone()).chain(self.event().into_iter().map(|(n, _)| n)).collect()
    }

    /// The leg of this frame, and its content in one line.
    pub fn line(&self) -> (String, String) {
        let get = |name: &str| self.get(name).unwrap_or_default();
        let rename = |mut text: String| {
            for (uuid, name) in &self.names {
                text = text.replace(uuid, name);
            }
            text
        };
        let kind = get("Content-Type");
        if get("Event-Name") == "CHANNEL_DATA" {
            return ("control".into(), "channel".into());
        }
        if kind == "text/event-plain" {
            let event = get("Event-Name");
            if event == "BACKGROUND_JOB" {
                let text = self.body.rsplit("\n\n").next().unwrap_or_default().trim().to_owned();
                return ("jobs".into(), rename(text));
            }
            let leg = rename(get("Unique-ID"));
            let line = [
                event,
                get("Application"),
                get("Application-Data"),
                get("Application-Response"),
                get("Hangup-Cause"),
                get("Channel-State"),
                get("Answer-State"),
                get("Channel-Call-State"),
                get("DTMF-Digit"),
                get("Event-Subclass"),
            ];
            return (leg, rename(line.join(" ")));
        }
        let text = [get("Reply-Text"), get("Content-Disposition"), self.body.trim().to_owned()].join(" ");
        let text = match text.find("Job-UUID: ") {
            Some(at) => text[..at + 10].to_owned(),
            None => text,
        };
        let text = if text.contains("[Job-UUID]=") { "filter Job-UUID".to_owned() } else { text };
        ("control".into(), rename(format!("{kind} {text}")))
    }
}

pub fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn parse_headers(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}

/// Removes whole frames from the front of `buffer`.
pub fn take_frames(buffer: &mut Vec<u8>, frames: &mut Vec<Frame>) {
    loop {
        let Some(end) = buffer.windows(2).position(|w| w == b"\n\n") else {
            return;
        };
        let headers = parse_headers(&String::from_utf8_lossy(&buffer[..end]));
        let length: usize =
            headers.iter().find(|(n, _)| n == "Content-Length").and_then(|(_, v)| v.parse().ok()).unwrap_or(0);
        if buffer.len() < end + 2 + length {
            return;
        }
        let body = String::from_utf8_lossy(&buffer[end + 2..end + 2 + length]).into_owned();
        buffer.drain(..end + 2 + length);
        frames.push(Frame { headers, body, names: BTreeMap::new(), at: 0 });
    }
}

/// A connection as the controller sees it.
pub struct Wire {
    stream: DuplexStream,
    buffer: Vec<u8>,
    began: Instant,
    pub frames: Vec<Frame>,
}

/// Connections the switch opens, in order.
pub struct Incoming(mpsc::Receiver<DuplexStream>);

impl Incoming {
    pub async fn accepted(mut self) -> Wire {
        self.next().await
    }

    pub async fn next(&mut self) -> Wire {
        Wire {
            stream: self.0.recv().await.expect("the switch connects"),
            buffer: Vec::new(),
            began: Instant::now(),
            frames: Vec::new(),
        }
    }

    pub fn is_waiting(&self) -> bool {
        self.0.is_empty()
    }
}

impl Wire {
    /// A listening controller and the connector that reaches it.
    pub fn outbound() -> (Incoming, impl simswitch::Connector) {
        let (sender, receiver) = mpsc::channel(64);
        let connector = move |_target: String| {
            let sender = sender.clone();
            async move {
                let (ours, theirs) = tokio::io::duplex(64 * 1024);
                sender.send(theirs).await.map_err(|_| std::io::ErrorKind::ConnectionRefused)?;
                Ok::<_, std::io::Error>(ours)
            }
        };
        (Incoming(receiver), connector)
    }

    pub fn inbound(switch: &simswitch::SimSwitch) -> Self {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        switch.accept(theirs);
        Self { stream: ours, buffer: Vec::new(), began: Instant::now(), frames: Vec::new() }
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Collects frames until `end`; false when the peer closed.
    pub async fn read_until(&mut self, end: Instant) -> bool {
        while let Ok(open) = tokio::time::timeout_at(end, self.read_more()).await {
            if !open {
                return false;
            }
        }
        true
    }

    /// Waits for the next bytes; false when the peer closed.
    async fn read_more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk).await {
            Ok(n) if n > 0 => {
                self.buffer.extend_from_slice(&chunk[..n]);
                let before = self.frames.len();
                take_frames(&mut self.buffer, &mut self.frames);
                let at = u64::try_from(self.began.elapsed().as_millis()).unwrap();
                self.frames[before..].iter_mut().for_each(|frame| frame.at = at);
                true
            }
            _ => false,
        }
    }

    pub async fn read_for(&mut self, time: Duration) -> bool {
        self.read_until(Instant::now() + time).await
    }

    pub async fn read_to_end(&mut self) {
        assert!(!self.read_for(Duration::from_secs(700)).await, "the switch closes: {:?}", self.frames.last());
    }

    /// Sends a command and waits for its reply.
    pub async fn ask(&mut self, text: &str) -> Frame {
        let before = self.frames.len();
        self.send(text).await;
        let end = Instant::now() + Duration::from_secs(700);
        loop {
            let is_reply =
                |f: &&Frame| matches!(f.get("Content-Type").as_deref(), Some("command/reply" | "api/response"));
            if let Some(reply) = self.frames[before..].iter().find(is_reply) {
                return reply.clone();
            }
            let more = tokio::time::timeout_at(end, self.read_more()).await;
            assert_eq!(more, Ok(true), "no reply to {text:?}");
        }
    }

    /// Events of a name received so far.
    pub fn events(&self, name: &str) -> Vec<&Frame> {
        self.frames.iter().filter(|f| f.get("Event-Name").as_deref() == Some(name)).collect()
    }

    /// Waits for the `n`th event of a name.
    pub async fn event(&mut self, name: &str, n: usize) -> Frame {
        let end = Instant::now() + Duration::from_secs(700);
        loop {
            if let Some(frame) = self.events(name).get(n - 1) {
                return (*frame).clone();
            }
            let more = tokio::time::timeout_at(end, self.read_more()).await;
            assert_eq!(more, Ok(true), "no {name}");
        }
    }
}

/// A recorded scenario.
pub struct Capture {
    log: String,
    pub frames: Vec<Frame>,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../captures")
}

impl Capture {
    pub fn load(name: &str) -> Self {
        let read =
            |ending: &str| std::fs::read(directory().join(format!("{name}.{ending}"))).expect("the capture is there");
        let log = String::from_utf8(read("log")).unwrap();
        let mut bytes = read("esl");
        let mut frames = Vec::new();
        take_frames(&mut bytes, &mut frames);
        assert!(bytes.is_empty(), "{name}: {} bytes are no frame", bytes.len());
        let names = Self::names(&log, &frames);
        let received = log.lines().filter_map(|l| l.trim_start().split_once(" <- "));
        let times: Vec<f64> = received.map(|(time, _)| time.trim().parse().unwrap()).collect();
        assert_eq!(times.len() + usize::from(name == "inbound-link"), frames.len(), "{name}: one line a frame");
        for (n, frame) in frames.iter_mut().enumerate() {
            frame.names.clone_from(&names);
            frame.at = times.get(n).map_or(0, |seconds| (seconds * 1000.0).round() as u64);
        }
        Self { log, frames }
    }

    /// Short names of the legs in a capture: `caller`, and `agent` + number by the dialled user of each originate.
    fn names(log: &str, frames: &[Frame]) -> BTreeMap<String, String> {
        let mut names = BTreeMap::new();
        if let Some(caller) = frames.first().and_then(|f| f.get("Unique-ID")) {
            names.insert(caller, "caller".to_owned());
        }
        for line in log.lines().filter(|l| l.contains("bgapi originate")) {
            let uuid = line.split("origination_uuid=").nth(1).unwrap()[..36].to_owned();
            let user = line.split("user/").nth(1).unwrap()[..4].to_owned();
            names.insert(uuid, format!("agent{user}"));
        }
        names
    }

    /// Maps the UUIDs of the capture to those of a replay: the caller's is the simulation's own.
    pub fn identities(&self, caller: &simswitch::Caller) -> BTreeMap<String, String> {
        let names = &self.frames[0].names;
        names
            .iter()
            .map(|(uuid, name)| (uuid.clone(), if name == "caller" { caller.uuid().to_owned() } else { uuid.clone() }))
            .collect()
    }

    /// The controller's commands with the time (milliseconds since the connection) they were sent.
    pub fn sent(&self, ids: &BTreeMap<String, String>) -> Vec<(u64, String)> {
        let mut all = Vec::new();
        for line in self.log.lines() {
            let (time, rest) = line.trim_start().split_once(' ').unwrap();
            let Some(command) = rest.strip_prefix("-> ") else {
                continue;
            };
            let seconds: f64 = time.parse().unwrap();
            let mut text = command.replace(" | ", "\n");
            for (theirs, ours) in ids {
                text = text.replace(theirs, ours);
            }
            // The switch chooses a job's identity; the filter must name the one this switch will choose.
            let text =
                if text.starts_with("bgapi ") { format!("{text}\nJob-UUID: {}", job_of(self, line)) } else { text };
            all.push(((seconds * 1000.0).round() as u64, format!("{text}\n\n")));
        }
        all
    }

    /// Gives the frames of a replay the capture's names.
    pub fn rename(&self, frames: Vec<Frame>, ids: &BTreeMap<String, String>) -> Vec<Frame> {
        let names: BTreeMap<String, String> =
            ids.iter().map(|(theirs, ours)| (ours.clone(), self.frames[0].names[theirs].clone())).collect();
        frames.into_iter().map(|frame| Frame { names: names.clone(), ..frame }).collect()
    }
}

/// The Job-UUID the capture's switch gave to this command.
fn job_of(capture: &Capture, command: &str) -> String {
    let behind = &capture.log[capture.log.find(command).unwrap() + command.len()..];
    let at = behind.find("+OK Job-UUID: ").unwrap() + 14;
    behind[at..at + 36].to_owned()
}

/// Every header name that occurs in any capture.
pub fn every_header() -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "esl") {
            let mut bytes = std::fs::read(path).unwrap();
            let mut frames = Vec::new();
            take_frames(&mut bytes, &mut frames);
            all.extend(frames.iter().flat_map(Frame::names));
        }
    }
    all
}
