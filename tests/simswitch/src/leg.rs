//! One channel: its state, its variables, its applications.

use crate::audio::AudioLog;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) type LegId = u64;
pub(crate) type ConnId = u64;

/// FreeSWITCH's channel states with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Init = 1,
    Routing = 2,
    SoftExecute = 3,
    Execute = 4,
    ExchangeMedia = 5,
    ConsumeMedia = 7,
    Hibernate = 8,
    Reset = 9,
    Hangup = 10,
    Reporting = 11,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Init => "CS_INIT",
            Self::Routing => "CS_ROUTING",
            Self::SoftExecute => "CS_SOFT_EXECUTE",
            Self::Execute => "CS_EXECUTE",
            Self::ExchangeMedia => "CS_EXCHANGE_MEDIA",
            Self::ConsumeMedia => "CS_CONSUME_MEDIA",
            Self::Hibernate => "CS_HIBERNATE",
            Self::Reset => "CS_RESET",
            Self::Hangup => "CS_HANGUP",
            Self::Reporting => "CS_REPORTING",
        }
    }
}

/// A channel's variables in the order they were set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vars(Vec<(Cow<'static, str>, String)>);

impl Vars {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// Sets a variable after the others; an empty value removes it.
    pub(crate) fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        if value.is_empty() {
            self.remove(&name);
        } else if let Some(slot) = self.0.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(&name)) {
            slot.1 = value;
        } else {
            self.0.push((name, value));
        }
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_true)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v.as_str()))
    }
}

/// The values FreeSWITCH treats as true.
pub(crate) fn is_true(text: &str) -> bool {
    ["yes", "on", "true", "t", "enabled", "active", "allow"].iter().any(|t| t.eq_ignore_ascii_case(text))
        || text.parse::<i64>().is_ok_and(|n| n != 0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    Inbound,
    Outbound,
}

/// The party at the other end of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A caller of the test.
    Caller(u64),
    /// A phone by its number, rung by the switch.
    Phone(String),
    /// No party: incoming audio goes out at the leg's twin.
    Half,
}

/// The caller profile.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile {
    pub(crate) logical_inbound: bool,
    pub(crate) username: String,
    pub(crate) dialplan: bool,
    pub(crate) name: String,
    pub(crate) number: String,
    pub(crate) orig_name: String,
    pub(crate) orig_number: String,
    pub(crate) callee_name: String,
    pub(crate) callee_number: String,
    pub(crate) addr: String,
    pub(crate) ani: String,
    pub(crate) destination: String,
    /// The dialplan's context: the one of the last transfer that named one.
    pub(crate) context: String,
    pub(crate) source: &'static str,
    pub(crate) transfer_source: String,
    pub(crate) rdnis: String,
    pub(crate) index: u32,
}

/// Microseconds since 1970, 0 for never.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) profile: u64,
    pub(crate) created: u64,
    pub(crate) answered: u64,
    pub(crate) progress: u64,
    pub(crate) progress_media: u64,
    pub(crate) hangup: u64,
    pub(crate) bridged: u64,
    pub(crate) last_hold: u64,
    pub(crate) hold_accum: u64,
}

/// The kind of a running application.
#[derive(Debug)]
pub(crate) enum Work {
    /// `socket`; parked under the controller once it has sent `connect`.
    Socket { parked: bool },
    /// `park`.
    Park,
    /// `answer` under way.
    Answering,
    /// A sound: its remaining length, and since when it plays.
    Sound { file: String, left: Option<Duration>, position: Duration, since: Option<Instant> },
    /// `sleep`.
    Sleep,
    /// `bridge`: dialling or talking.
    Bridge,
}

/// One application on the channel's stack; the last one is the innermost.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) id: u64,
    pub(crate) app: String,
    pub(crate) data: String,
    pub(crate) uuid: String,
    pub(crate) locked: bool,
    pub(crate) work: Work,
}

impl Frame {
    /// Whether queued commands run nested inside this application.
    pub(crate) fn listens(&self) -> bool {
        !self.locked && !matches!(self.work, Work::Answering)
    }
}

/// A queued `sendmsg`.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Execute { app: String, arg: String, uuid: String, locked: bool, loops: u32 },
    Hangup { cause: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The originator: CHANNEL_BRIDGE and CHANNEL_UNBRIDGE are its events.
    A,
    B,
}

/// A bridge between two legs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bridge {
    pub(crate) peer: LegId,
    pub(crate) side: Side,
    /// Audio flows.
    pub(crate) up: bool,
    /// Commands and their timers carry it; one that does not match is stale.
    pub(crate) token: u64,
}

/// The reason a leg was rung, and the waiter for its result.
#[derive(Debug, Clone)]
pub(crate) struct Dialing {
    /// The application to run once answered.
    pub(crate) app: String,
    pub(crate) arg: String,
    pub(crate) waiter: Waiter,
}

#[derive(Debug, Clone)]
pub(crate) enum Waiter {
    /// A background job.
    Job(Job),
    /// `api originate`: the connection stops until the end.
    Api(ConnId),
    /// The `bridge` application of this leg.
    Bridge(LegId),
    /// No waiter (an `originate` inside `api_on_answer` and the like).
    Nobody,
}

/// A running `bgapi`.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) uuid: String,
    pub(crate) owner: Option<String>,
    pub(crate) command: String,
    pub(crate) arg: String,
    /// The connection whose job it is; it is not given up before the job has ended.
    pub(crate) conn: Option<ConnId>,
}

#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) uuid: String,
    pub(crate) owner: Owner,
    pub(crate) direction: Direction,
    pub(crate) name: String,
    pub(crate) running: State,
    pub(crate) state: State,
    pub(crate) call_state: &'static str,
    pub(crate) answer_state: &'static str,
    pub(crate) hit_dialplan: bool,
    pub(crate) call_uuid: String,
    pub(crate) codec: bool,
    pub(crate) profile: Profile,
    pub(crate) times: Times,
    pub(crate) other: Vec<(Cow<'static, str>, String)>,
    pub(crate) bridge_pair: Option<(String, String)>,
    pub(crate) vars: Vars,
    pub(crate) last_app: (String, String),
    pub(crate) stack: Vec<Frame>,
    pub(crate) messages: VecDeque<Message>,
    pub(crate) plan: VecDeque<(String, String)>,
    pub(crate) frame_base: Instant,
    pub(crate) tick_due: bool,
    pub(crate) conn: Option<ConnId>,
    pub(crate) bridge: Option<Bridge>,
    pub(crate) dialing: Option<Dialing>,
    pub(crate) dialed_peer: Option<LegId>,
    /// The leg parked until the phone that this leg rings answers: an attended transfer that was completed while it
    /// rang.
    pub(crate) holding: Option<LegId>,
    /// The leg that rings a phone on behalf of this one.
    pub(crate) held_by: Option<LegId>,
    /// The other half of a loopback channel, or of a call that FreeSWITCH placed to itself.
    pub(crate) twin: Option<LegId>,
    /// The caller this leg was rung for, if its `originate` names one.
    pub(crate) rings_for: Option<String>,
    pub(crate) from_originate: bool,
    pub(crate) held: bool,
    pub(crate) cause: Option<String>,
    /// The status with which its phone refused the call.
    pub(crate) refused: Option<u16>,
    /// Commands to the channel after this are stale.
    pub(crate) routed: u64,
    /// Parked under a connection that closed too early: no connection is in charge any more.
    pub(crate) stranded: bool,
    pub(crate) audio: AudioLog,
}

impl Leg {
    pub(crate) fn is_answered(&self) -> bool {
        self.times.answered != 0
    }

    pub(crate) fn is_up(&self) -> bool {
        self.cause.is_none()
    }

    pub(crate) fn has_media(&self) -> bool {
        self.is_answered() || self.times.progress_media != 0
    }

    /// Whether both directions of audio flow to somebody.
    pub(crate) fn talks_to(&self) -> Option<LegId> {
        self.bridge.filter(|b| b.up).map(|b| b.peer)
    }

    pub(crate) fn may_execute(&self) -> bool {
        self.stack.iter().all(|f| !f.locked) && self.stack.last().is_none_or(Frame::listens)
    }
}
