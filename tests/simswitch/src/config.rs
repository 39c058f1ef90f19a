//! What a simulated switch is told when it is built.

use crate::dialplan::Dialplan;
use std::sync::Arc;
use std::time::Duration;

/// How long a sound lasts, or that its file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Plays for this long.
    For(Duration),
    /// Never ends by itself.
    Endless,
    /// The file cannot be opened: the application ends at once with `FILE NOT FOUND`.
    Missing,
}

/// Answers the length of a sound by its name; `None` leaves it to the built-in rule (2 s a file, streams endless).
pub type Lengths = Arc<dyn Fn(&str) -> Option<Length> + Send + Sync>;

/// How long things take inside the switch. The defaults are those of the captures.
#[derive(Debug, Clone)]
pub struct Timing {
    /// A channel looks at its queued `sendmsg` once a media frame.
    pub frame: Duration,
    /// A connection to which nothing is sent looks at its events this often.
    pub flush: Duration,
    /// `answer`, from its start to CHANNEL_ANSWER.
    pub answer: Duration,
    /// From `originate` to the INVITE at the phone.
    pub invite: Duration,
    /// From the INVITE to the phone's 180.
    pub progress: Duration,
    /// From CHANNEL_ANSWER of an originated leg to its application and its BACKGROUND_JOB.
    pub originate_done: Duration,
    /// From the order to bridge to CHANNEL_BRIDGE, behind the end of what both legs did before.
    pub bridge: Duration,
    /// From a hang-up on one side of a bridge to the other side noticing.
    pub unbridge: Duration,
    /// A phone that answers no INVITE at all is given up after this (SIP timer B).
    pub sip_timeout: Duration,
    /// An answered phone that sends no audio any more is hung up after this (`MEDIA_TIMEOUT`).
    pub media_timeout: Duration,
    /// The outbound peer must have sent `connect` within this.
    pub connect: Duration,
    /// Between two HEARTBEAT events.
    pub heartbeat: Duration,
    /// How far `show channels` and `show calls` are behind: they read a table that a thread of its own fills from the
    /// events (measured: 50 to 250 ms).
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

/// Bounds after which something is called a violation.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// A phone that was rung may stand answered without anybody to talk to for this long.
    pub silence: Duration,
    /// A phone may go on ringing this long after the caller it rings for has gone or talks to somebody else.
    pub stray_ring: Duration,
    /// A phone already talking for longer than this must not be rung.
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
    /// Directory domain of the phones.
    pub domain: String,
    /// The global variable `fsq_numbers`: which numbers the dialplan takes for queues. Empty: there is no such variable.
    pub numbers: String,
    /// Seed of every identity and every random behaviour.
    pub seed: u64,
    /// What the numbers do.
    pub dialplan: Dialplan,
    /// How long sounds last.
    pub lengths: Option<Lengths>,
    /// How long things take.
    pub timing: Timing,
    /// What counts as a violation.
    pub bounds: Bounds,
    /// Password of the inbound listener.
    pub password: String,
    /// How many new sessions a second it says it takes.
    pub sessions_per_second: u32,
    /// What the directory has for every user: names and values of variables.
    pub directory: Vec<(String, String)>,
    /// Events a connection holds before it overflows (FreeSWITCH: 100,000).
    pub event_queue: usize,
    /// An accepted outbound connection that closes before the call is parked leaves the call parked for ever
    /// (measured 8 times of 8). Off: the call goes on behind `socket` as after a refusal.
    pub early_close_strands: bool,
    /// A `wait_...` of a test that is not fulfilled within this panics and says what it saw instead.
    pub patience: Duration,
    /// Keep everything every caller and phone heard (for tests); off for load.
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
