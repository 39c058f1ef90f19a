//! The audio of a phone: an RTP socket with PCMU that sends a tone into the call and keeps everything it receives, with
//! the time.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use realswitch::pcmu::samples;
use realswitch::pcmu::{PACKET, RATE, expand, level, loudness, tone};

/// The duration of one packet.
const PACE: Duration = Duration::from_millis(20);
/// The tone a waiting caller hears unless the queue has music.
pub const RING_TONE: u32 = 425;
/// A tone counts as heard from this level on; the tones of these tests have 8000.
const LOUD: f64 = 1500.0;
/// A tone from this level on is no part of a voice.
const CLEAR: f64 = 4000.0;
/// The number of packets in a row that make a tone, so that a click does not count.
const IN_A_ROW: usize = 3;
/// The payload type of RFC 4733, as offered in the SDP of the scenarios.
const TELEPHONE_EVENT: u8 = 101;

/// One received packet: its time, and its samples in PCMU.
type Packet = (Instant, Vec<u8>);

#[derive(Default)]
struct Kept {
    packets: Vec<Packet>,
    to: Option<SocketAddr>,
    keys: Vec<u8>,
}

/// The audio side of one phone.
pub struct Sound {
    port: u16,
    kept: Arc<(Mutex<Kept>, Condvar)>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Sound {
    /// Opens a socket. During a call the phone sends a tone of `frequency` Hz.
    pub fn open(frequency: u32) -> Sound {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
        let port = socket.local_addr().expect("its address").port();
        let kept = Arc::new((Mutex::new(Kept::default()), Condvar::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (ours, end) = (kept.clone(), over.clone());
        let thread = std::thread::spawn(move || run(&socket, &tone(frequency, 1.0), &ours, &end));
        Sound { port, kept, over, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The handle that sets the destination of its RTP.
    pub fn mouth(&self) -> Mouth {
        Mouth(self.kept.clone())
    }

    /// Presses a key (RFC 4733).
    pub fn press(&self, key: char) {
        let code = "0123456789*#".find(key).expect("a key of a phone");
        self.kept.0.lock().expect("unpoisoned").keys.push(u8::try_from(code).expect("small"));
    }

    /// Waits until the tone is heard in a packet received after `since`; returns the time it began.
    #[track_caller]
    pub fn hears(&self, frequency: u32, since: Instant, within: Duration) -> Instant {
        let look = |packets: &[Packet]| first_run(packets, since, |heard| level(heard, frequency) > LOUD);
        self.wait(look, since, within)
            .unwrap_or_else(|| panic!("{frequency} Hz not heard within {within:?}; heard: {}", self.story(since)))
    }

    /// Waits until one of these tones is heard.
    #[track_caller]
    pub fn hears_any(&self, of: &[u32], since: Instant, within: Duration) -> Instant {
        let look = |packets: &[Packet]| first_run(packets, since, |heard| of.iter().any(|&f| level(heard, f) > CLEAR));
        self.wait(look, since, within)
            .unwrap_or_else(|| panic!("none of {of:?} heard within {within:?}; heard: {}", self.story(since)))
    }

    /// Waits for any sound but silence and the ring tone.
    #[track_caller]
    pub fn hears_sound(&self, since: Instant, within: Duration) -> Instant {
        let look = |packets: &[Packet]| first_run(packets, since, |p| loudness(p) > LOUD && level(p, RING_TONE) < LOUD);
        self.wait(look, since, within).unwrap_or_else(|| panic!("nothing was said; heard: {}", self.story(since)))
    }

    /// Waits until the words of a sound file are heard; returns the time at which the recognised part began.
    #[track_caller]
    pub fn hears_words(&self, words: &Words, since: Instant, within: Duration) -> Instant {
        self.wait(|packets| words.find(packets, since), since, within)
            .unwrap_or_else(|| panic!("{} not heard within {within:?}; heard: {}", words.name, self.story(since)))
    }

    /// Whether the words of a sound file were heard.
    pub fn heard_words(&self, words: &Words, since: Instant) -> bool {
        words.find(&self.kept.0.lock().expect("unpoisoned").packets, since).is_some()
    }

    /// The longest time without this tone between two moments.
    pub fn longest_gap(&self, frequency: u32, from: Instant, to: Instant) -> Duration {
        let kept = self.kept.0.lock().expect("unpoisoned");
        let (mut last, mut longest) = (from, Duration::ZERO);
        for (at, heard) in kept.packets.iter().filter(|(at, _)| (from..to).contains(at)) {
            if level(heard, frequency) > LOUD {
                longest = longest.max(at.saturating_duration_since(last));
                last = *at;
            }
        }
        longest.max(to.saturating_duration_since(last))
    }

    /// The one of these tones in each packet received between two moments; `None` where there is none.
    pub fn tones(&self, of: &[u32], from: Instant, to: Instant) -> Vec<(Instant, Option<u32>)> {
        let kept = self.kept.0.lock().expect("unpoisoned");
        let heard = kept.packets.iter().filter(|(at, _)| (from..to).contains(at));
        heard.map(|(at, heard)| (*at, of.iter().copied().find(|&f| level(heard, f) > CLEAR))).collect()
    }

    fn wait<T>(&self, look: impl Fn(&[Packet]) -> Option<T>, since: Instant, within: Duration) -> Option<T> {
        let end = Instant::now().max(since) + within;
        let mut kept = self.kept.0.lock().expect("unpoisoned");
        loop {
            if let Some(found) = look(&kept.packets) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            kept = self.kept.1.wait_timeout(kept, left).expect("unpoisoned").0;
        }
    }

    /// A text of the received sounds, for people: runs of packets with their loudest tone.
    pub fn story(&self, since: Instant) -> String {
        let kept = self.kept.0.lock().expect("unpoisoned");
        let mut runs: Vec<(String, Instant, Instant)> = Vec::new();
        for (at, heard) in kept.packets.iter().filter(|(at, _)| *at >= since) {
            let candidates = std::iter::once(RING_TONE).chain((5..39).map(|n| n * 100));
            let best = candidates.map(|f| (f, level(heard, f))).max_by(|a, b| a.1.total_cmp(&b.1)).expect("some");
            let what = match best {
                (f, level) if level > LOUD => format!("{f} Hz"),
                _ if loudness(heard) < 100.0 => "silence".to_owned(),
                _ => "sound".to_owned(),
            };
            match runs.last_mut() {
                Some((last, _, end)) if *last == what => *end = *at,
                _ => runs.push((what, *at, *at)),
            }
        }
        let ms = |at: Instant| at.saturating_duration_since(since).as_millis();
        let told: Vec<String> = runs.iter().map(|(what, a, b)| format!("{what} {}..{} ms", ms(*a), ms(*b))).collect();
        if told.is_empty() { "nothing at all".to_owned() } else { told.join(", ") }
    }
}

/// Sets the destination of a phone's RTP.
pub struct Mouth(Arc<(Mutex<Kept>, Condvar)>);

impl Mouth {
    /// From now on the phone sends to this port of FreeSWITCH, or nothing.
    pub fn speak_to(&self, port: Option<u16>) {
        self.0.0.lock().expect("unpoisoned").to = port.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(socket: &UdpSocket, tone: &[u8], kept: &(Mutex<Kept>, Condvar), over: &AtomicBool) {
    let mut next = Instant::now() + PACE;
    let (mut sequence, mut stamp, mut buffer) = (0_u16, 0_u32, [0_u8; 2048]);
    while !over.load(Ordering::Relaxed) {
        let left = next.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        socket.set_read_timeout(Some(left)).expect("a timeout");
        if let Ok(length) = socket.recv(&mut buffer)
            && length > 12
            && buffer[1] & 0x7f == 0
        {
            kept.0.lock().expect("unpoisoned").packets.push((Instant::now(), buffer[12..length].to_vec()));
            kept.1.notify_all();
        }
        if Instant::now() < next {
            continue;
        }
        next += PACE;
        stamp = stamp.wrapping_add(160);
        let (to, key) = {
            let mut kept = kept.0.lock().expect("unpoisoned");
            (kept.to, if kept.to.is_some() { kept.keys.pop() } else { None })
        };
        let Some(to) = to else { continue };
        let mut send = |kind: u8, stamp: u32, payload: &[u8]| {
            let mut packet = vec![0x80, kind];
            packet.extend(sequence.to_be_bytes());
            packet.extend(stamp.to_be_bytes());
            packet.extend(7_u32.to_be_bytes());
            packet.extend(payload);
            sequence = sequence.wrapping_add(1);
            let _ = socket.send_to(&packet, to);
        };
        match key {
            None => {
                let at = (stamp as usize) % (tone.len() - PACKET);
                send(0, stamp, &tone[at / PACKET * PACKET..][..PACKET]);
            }
            Some(code) => {
                for (last, length) in [(0_u8, 160_u16), (0, 320), (0x80, 480), (0x80, 480), (0x80, 480)] {
                    let [high, low] = length.to_be_bytes();
                    send(TELEPHONE_EVENT, stamp, &[code, 10 | last, high, low]);
                }
            }
        }
    }
}

/// A WAV file of 8 kHz, mono, 16 bit.
pub fn wav(samples: &[i16]) -> Vec<u8> {
    let data = u32::try_from(samples.len() * 2).expect("short");
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data).to_le_bytes());
    file.extend(b"WAVEfmt ");
    for (value, bytes) in [(16, 4), (1, 2), (1, 2), (RATE, 4), (RATE * 2, 4), (2, 2), (16, 2)] {
        file.extend(&value.to_le_bytes()[..bytes]);
    }
    file.extend(b"data");
    file.extend(data.to_le_bytes());
    file.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    file
}

/// The beginning of the first `IN_A_ROW` packets in a row that match.
fn first_run(packets: &[Packet], since: Instant, wanted: impl Fn(&[u8]) -> bool) -> Option<Instant> {
    let start = packets.partition_point(|(at, _)| *at < since);
    let mut run: Vec<Instant> = Vec::new();
    for (at, heard) in &packets[start..] {
        if wanted(heard) {
            run.push(*at)
        } else {
            run.clear()
        }
        if run.len() == IN_A_ROW {
            return run.first().copied();
        }
    }
    None
}

/// The words of a sound file, recognised by a piece of 60 ms.
pub struct Words {
    name: String,
    piece: Vec<i16>,
}

impl Words {
    /// Takes the loudest piece of a WAV file of 8 kHz, mono, 16 bit.
    pub fn of(file: &std::path::Path) -> Words {
        let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let data = bytes.windows(4).position(|w| w == b"data").expect("a data chunk") + 8;
        let all: Vec<i16> = bytes[data..].chunks_exact(2).map(|p| i16::from_le_bytes([p[0], p[1]])).collect();
        let energy = |piece: &[i16]| piece.iter().map(|&s| i64::from(s).pow(2)).sum::<i64>();
        let loudest = all.windows(480).step_by(80).max_by_key(|piece| energy(piece)).expect("some sound");
        Words { name: file.display().to_string(), piece: loudest.to_vec() }
    }

    fn find(&self, packets: &[Packet], since: Instant) -> Option<Instant> {
        let start = packets.partition_point(|(at, _)| *at < since);
        let heard: Vec<i16> = packets[start..].iter().flat_map(|(_, p)| p.iter().map(|&b| expand(b))).collect();
        // After PCMU, samples differ by a thirtieth at most.
        let same =
            |(a, b): (&i16, &i16)| (i32::from(*a) - i32::from(*b)).abs() <= 40 + i32::from(a.unsigned_abs()) / 16;
        let at = heard.windows(self.piece.len()).position(|w| w.iter().zip(&self.piece).all(same))?;
        Some(packets[start + at / PACKET].0)
    }
}
