//! The settings of a simulated switch.

use crate::dialplan::Dialplan;
use std::sync::Arc;
use std::time::Duration;

/// The length of a sound, or that its file does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Plays for this long.
    For(Duration),
    /// Never ends by itself.
    Endless,
    /// The file cannot be opened: the application ends at once with `FILE NOT FOUND`.
    Missing,
}

/// Returns the length of a sound by its name; `None` leaves it to the built-in rule (2 s a file, streams endless).
pub type Lengths = Arc<dyn Fn(&str) -> Option<Length> + Send + Sync>;

/// The delays inside the switch. The defaults are those of the captures.
#[derive(Debug, Clone)]
pub struct Timing {
    /// A channel looks at its queued `sendmsg` once a media frame.
    pub frame: Duration,
    /// An idle connection looks at its events this often.
    pub flush: Duration,
    /// `answer`, from its start to CHANNEL_ANSWER.
    pub answer: Duration,
    /// From `originate` to the INVITE at the phone.
    pub invite: Duration,
    /// From the INVITE to the phone's 180.
    pub progress: Duration,
    /// From CHANNEL_ANSWER of an originated leg to its application and its BACKGROUND_JOB.
    pub originate_done: Duration,
    /// From the `uuid_bridge` to CHANNEL_BRIDGE, after the end of both legs' earlier applications.
    pub bridge: Duration,
    /// From a hang-up on one side of a bridge to the other side noticing.
    pub unbridge: Duration,
    /// The time after which a phone that answers no INVITE at all is given up (SIP timer B).
    pub sip_timeout: Duration,
    /// The time after which an answered phone that sends no more audio is hung up (`MEDIA_TIMEOUT`).
    pub media_timeout: Duration,
    /// The time within which the outbound peer must send `connect`.
    pub connect: Duration,
    /// Between two HEARTBEAT events.
    pub heartbeat: Duration,
    /// How far `show channels` and `show calls` lag behind: they read a table that a thread fills from the events
    /// (measured: 50 to 250 ms).
    pub table: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            frame: ms(20),
            flush: ms(20),
            answer: ms(5),
            invite: ms(4),
            progress: ms(3),
            originate_done: ms(20),
            bridge: ms(20),
            unbridge: ms(20),
            sip_timeout: Duration::from_secs(32),
            media_timeout: Duration::from_secs(30),
            connect: Duration::from_secs(25),
            heartbeat: Duration::from_secs(20),
            table: ms(200),
        }
    }
}

/// Bounds beyond which an event is a violation.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// How long a phone that was rung may stand answered without a partner.
    pub silence: Duration,
    /// How long a phone may keep ringing after its caller has gone or talks to another party.
    pub stray_ring: Duration,
    /// A phone that has talked for longer than this must not be rung.
    pub talking: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            silence: Duration::from_millis(1000),
            stray_ring: Duration::from_millis(500),
            talking: Duration::from_millis(500),
        }
    }
}

/// A simulated switch's settings.
#[derive(Clone)]
pub struct Config {
    /// The directory domain of the phones.
    pub domain: String,
    /// The global variable `fsq_numbers`: the numbers that the dialplan routes to queues. Empty: the variable does not
    /// exist.
    pub numbers: String,
    /// Seed of every identity and every random behaviour.
    pub seed: u64,
    /// The routes of the numbers.
    pub dialplan: Dialplan,
    /// The lengths of sounds.
    pub lengths: Option<Lengths>,
    /// The delays.
    pub timing: Timing,
    /// The bounds of violations.
    pub bounds: Bounds,
    /// Password of the inbound listener.
    pub password: String,
    /// The number of new sessions per second that the switch reports as its limit.
    pub sessions_per_second: u32,
    /// The directory's variables for every user: names and values.
    pub directory: Vec<(String, String)>,
    /// Events a connection holds before it overflows (FreeSWITCH: 100,000).
    pub event_queue: usize,
    /// An accepted outbound connection that closes before the call is parked leaves the call parked for ever (measured
    /// 8 times of 8). Off: the call continues after `socket`, as after a refusal.
    pub early_close_strands: bool,
    /// A `wait_...` of a test that is not fulfilled within this time panics with the last state seen.
    pub patience: Duration,
    /// Keep every sound of every caller and phone (for tests); off for load.
    pub keep_history: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domain: "lab".into(),
            numbers: String::new(),
            seed: 1,
            dialplan: Dialplan::standard("127.0.0.1:8084 async full"),
            lengths: None,
            timing: Timing::default(),
            bounds: Bounds::default(),
            password: "ClueCon".into(),
            sessions_per_second: 2000,
            directory: Vec::new(),
            event_queue: 100_000,
            early_close_strands: true,
            patience: Duration::from_secs(600),
            keep_history: true,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config").field("domain", &self.domain).field("seed", &self.seed).finish_non_exhaustive()
    }
}
