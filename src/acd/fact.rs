//! The records of what happened, in the past tense: the one source for journal, metrics, events and logs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::ids::{AgentId, CallId, OfferId, QueueNumber};
use super::time::Wall;

/// One fact and the moment it became true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The wall-clock time, in milliseconds.
    pub at: Wall,
    /// The kinds of fact.
    #[serde(flatten)]
    pub fact: Fact,
}

/// Why an offer was not taken: what the phone, the gateway or FreeSWITCH did. A record holds it as the text `cause`;
/// with `refused`, the status code of the final answer follows as `sip_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum MissCause {
    /// The phone rang for the whole ring time.
    NoAnswer,
    /// A time limit other than the queue's ended the ringing early: `leg_timeout` or `call_timeout`, set in the
    /// directory or in the agent's `dial`.
    TimeLimit,
    /// The phone was busy (486, 600).
    Busy,
    /// The agent declined (603).
    Declined,
    /// The phone answered that it is temporarily unavailable (480), which many phones send for "do not disturb".
    Unavailable,
    /// The phone, or the gateway in front of it, ended the ringing by itself (487).
    Cancelled,
    /// The phone redirected the call (300 to 399).
    Forwarded,
    /// The phone or gateway reported a timeout (408, 504).
    Timeout,
    /// The phone or gateway refused with another final answer.
    Refused {
        /// The answer's status code, 400 to 699.
        sip_status: u16,
    },
    /// The phone is registered and showed no sign of ringing.
    Silent,
    /// The phone is not registered.
    NotRegistered,
    /// FreeSWITCH does not know the phone, or the gateway.
    Unknown,
    /// FreeSWITCH considers the gateway down.
    GatewayDown,
    /// The phone answered, but the caller was not connected to it.
    NotConnected,
    /// FreeSWITCH could not ring the phone for another reason.
    Failed,
}

impl MissCause {
    /// How much the cause tells about the agent; 0 tells the most. When an agent has several phones, the offer takes
    /// the cause that tells the most: one phone's refusal counts, not another phone that is switched off.
    pub fn telling(self) -> u8 {
        match self {
            Self::Declined => 0,
            Self::Busy => 1,
            Self::NoAnswer => 2,
            Self::TimeLimit => 3,
            Self::Unavailable | Self::Cancelled | Self::Forwarded => 4,
            Self::NotConnected => 5,
            Self::Timeout | Self::Refused { .. } | Self::GatewayDown | Self::Failed => 6,
            Self::Silent | Self::NotRegistered | Self::Unknown => 7,
        }
    }

    /// The cause for a final answer to an INVITE, 300 to 699 (RFC 3261, section 21).
    pub fn of_sip(status: u16) -> Self {
        match status {
            300..=399 => Self::Forwarded,
            486 | 600 => Self::Busy,
            603 => Self::Declined,
            480 => Self::Unavailable,
            408 | 504 => Self::Timeout,
            487 => Self::Cancelled,
            sip_status => Self::Refused { sip_status },
        }
    }
}

impl fmt::Display for MissCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "no answer",
            Self::TimeLimit => "ended early by a time limit of FreeSWITCH",
            Self::Busy => "busy",
            Self::Declined => "declined",
            Self::Unavailable => "temporarily unavailable",
            Self::Cancelled => "cancelled by the phone or gateway",
            Self::Forwarded => "forwarded elsewhere",
            Self::Timeout => "timed out",
            Self::Refused { sip_status } => return write!(f, "refused with {sip_status}"),
            Self::Silent => "no sign of ringing",
            Self::NotRegistered => "not registered",
            Self::Unknown => "unknown to FreeSWITCH",
            Self::GatewayDown => "gateway down",
            Self::NotConnected => "answered, not connected",
            Self::Failed => "could not be rung",
        })
    }
}

/// Why an offer was called off before the phone could be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// The caller hung up.
    CallerGone,
    /// Another agent answered.
    AnsweredElsewhere,
    /// A party outside the queue took the caller.
    CallTaken,
    /// The caller's wait ended.
    CallTimedOut,
    /// The agent logged out of the queue.
    LoggedOut,
    /// The configuration no longer has this agent in this queue.
    Reconfigured,
    /// The daemon is going down.
    Draining,
    /// The daemon died, and the next one found the offer without an outcome.
    Restart,
    /// An operator or a program asked for it, so that the caller goes on to another agent; or FreeSWITCH was told to end
    /// all calls.
    Requested,
}

impl CancelCause {
    /// Whether the caller can no longer be connected to this phone, so that the leg is ended even if it has just been
    /// answered.
    pub fn is_final(self) -> bool {
        matches!(self, Self::CallerGone | Self::AnsweredElsewhere)
    }

    /// Whether the agent counts as tried for this caller, as after a miss, so that other agents come first.
    pub fn passes_over(self) -> bool {
        self == Self::Requested
    }
}

/// Why a wait ended without an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeoutCause {
    /// The caller waited as long as the queue allows.
    MaxWait,
    /// Nobody was logged in when the caller came.
    NobodyLoggedIn,
    /// The last agent logged out while the caller waited.
    LastAgentLoggedOut,
    /// The configuration no longer has the queue.
    QueueRemoved,
    /// The caller had timed out of this queue before, and a transfer to its number led back to it.
    SecondTime,
}

/// Why a caller was not let into a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCause {
    /// As many callers waited as the queue lets in; or none may wait, and no phone could be rung at once.
    Full,
}

impl RefusalCause {
    /// Its name in the records and on the channel.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
        }
    }

    /// The cause of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Full].into_iter().find(|cause| cause.as_str() == name)
    }
}

/// The way on of a caller whose wait had timed out, or who was not let in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Onward {
    /// Hung up.
    HungUp,
    /// Transferred to an internal number.
    Transferred(Arc<str>),
    /// Moved on to another queue.
    Queue(QueueNumber),
}

/// Why a caller was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// FreeSWITCH or the connection to it was gone, and the call did not come back.
    #[default]
    SwitchGone,
    /// The daemon died, and the call did not come back.
    Restart,
    /// FreeSWITCH ended the call: an orderly stop, a restart of a profile, an operator, a media timeout.
    SwitchEnded,
    /// A defect of the daemon ended the call's task.
    Defect,
}

/// The party that ended a conversation, or the way it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The caller hung up, or the party that had replaced the caller.
    Caller,
    /// The agent hung up.
    Agent,
    /// The agent passed the caller on to somebody else.
    Transfer,
    /// FreeSWITCH ended it: a phone that disappeared, an operator, a restart of a profile, a media timeout.
    Switch,
    /// It is not known who ended it.
    Unknown,
}

/// The party that asked for a change. A record holds it as the text `by`; with `phone`, the user and the call follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Asker {
    /// The user of a phone, by dialling a feature code.
    Phone {
        /// The authenticated user.
        user: Arc<str>,
        /// The channel of the call to the feature code.
        call: CallId,
    },
    /// The configuration file: it no longer has what was there.
    File,
    /// A person at the machine, by a signal or the control socket.
    Operator,
    /// A program, through the API.
    Api,
    /// The record is older than this field.
    #[default]
    Unknown,
}

impl fmt::Display for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Phone { user, .. } => write!(f, "phone of {user}"),
            Self::File => f.write_str("file"),
            Self::Operator => f.write_str("operator"),
            Self::Api => f.write_str("api"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// The kinds of fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// A caller entered a queue.
    CallEntered {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The caller's number as presented, reduced to safe characters.
        caller: Arc<str>,
        /// When the caller first came to any queue.
        first_entered: Wall,
        /// Whether the call came back after the controller had been away.
        returned: bool,
        /// The head start in the line: the queue's share and the caller's own. Absent when there is none.
        #[serde(rename = "head_start_ms", with = "millis", default, skip_serializing_if = "Duration::is_zero")]
        head_start: Duration,
        /// The caller's own head start. Absent when there is none.
        #[serde(rename = "own_head_start_ms", with = "millis", default, skip_serializing_if = "Duration::is_zero")]
        own_head_start: Duration,
    },
    /// The head start of a waiting caller changed.
    HeadStartChanged {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The new head start in the line: the queue's share and the caller's own.
        #[serde(rename = "head_start_ms", with = "millis")]
        head_start: Duration,
    },
    /// A caller was not let into a queue, and never waited there.
    CallRefused {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The caller's number as presented, reduced to safe characters.
        caller: Arc<str>,
        /// Why.
        cause: RefusalCause,
        /// Whether the call had been refused before, and came back after the controller had been away.
        returned: bool,
    },
    /// An agent's phone began to be rung for a caller.
    OfferMade {
        /// The offer and the leg.
        offer: OfferId,
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The agent.
        agent: AgentId,
    },
    /// The offer was not taken.
    OfferMissed {
        /// The offer and the leg.
        offer: OfferId,
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The agent.
        agent: AgentId,
        /// Why.
        #[serde(flatten)]
        cause: MissCause,
    },
    /// The offer was called off; nobody missed anything.
    OfferCancelled {
        /// The offer and the leg.
        offer: OfferId,
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The agent.
        agent: AgentId,
        /// Why.
        cause: CancelCause,
    },
    /// Caller and agent were connected.
    CallAnswered {
        /// The offer that was taken.
        offer: OfferId,
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The agent.
        agent: AgentId,
        /// How long the caller had waited in this queue.
        #[serde(rename = "waited_ms", with = "millis")]
        waited: Duration,
    },
    /// The agent's conversation went on with another party: the third party of an attended transfer, or the party to
    /// whom the caller or an operator passed the agent on.
    PartyChanged {
        /// The offer that was taken.
        offer: OfferId,
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The agent.
        agent: AgentId,
        /// The third party's number, reduced to safe characters; empty when it is withheld.
        party: Arc<str>,
        /// The third party's channel.
        party_channel: CallId,
    },
    /// The agent's part of the conversation ended.
    ConversationEnded {
        /// The offer that was taken.
        offer: OfferId,
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The agent.
        agent: AgentId,
        /// The length of the conversation.
        #[serde(rename = "talked_ms", with = "millis")]
        talked: Duration,
        /// The party that ended it.
        by: EndedBy,
    },
    /// The caller hung up while waiting.
    CallAbandoned {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// How long the caller had waited in this queue.
        #[serde(rename = "waited_ms", with = "millis")]
        waited: Duration,
    },
    /// The wait ended without an agent.
    CallTimedOut {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// Why.
        cause: TimeoutCause,
        /// How long the caller had waited in this queue.
        #[serde(rename = "waited_ms", with = "millis")]
        waited: Duration,
    },
    /// A caller whose wait had timed out, or who was not let in, was hung up or moved on.
    CallWentOn {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// The way on.
        onward: Onward,
    },
    /// The caller went back to the dialplan, which will bring the call again: the daemon was draining, or lost its
    /// connection to a live call.
    CallReturned {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// How long the caller had waited in this queue.
        #[serde(rename = "waited_ms", with = "millis")]
        waited: Duration,
    },
    /// Somebody outside the queue took the caller away: a transfer or a pick-up by other means.
    CallTaken {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// How long the caller had waited in this queue.
        #[serde(rename = "waited_ms", with = "millis")]
        waited: Duration,
        /// The user whose phone took the caller, if FreeSWITCH authenticated one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Arc<str>>,
    },
    /// The call did not come back.
    CallLost {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// How long the caller had waited in this queue.
        #[serde(rename = "waited_ms", with = "millis")]
        waited: Duration,
        /// Why. Absent in records of earlier versions.
        #[serde(default)]
        cause: LossCause,
    },
    /// An agent logged in to a queue.
    AgentLoggedIn {
        /// The agent.
        agent: AgentId,
        /// The queue.
        queue: QueueNumber,
        /// The party that asked for it.
        #[serde(flatten, deserialize_with = "known_asker")]
        by: Asker,
    },
    /// An agent logged in after having been out of all queues: a shift begins (Q35). It begins with the least work of
    /// those logged in to any of the agent's queues, not with none.
    ShiftBegan {
        /// The agent.
        agent: AgentId,
        /// The queue conversations it begins with.
        calls: u32,
        /// The length of the conversations it begins with.
        #[serde(rename = "talked_ms", with = "millis")]
        talked: Duration,
    },
    /// An agent logged out of a queue.
    AgentLoggedOut {
        /// The agent.
        agent: AgentId,
        /// The queue.
        queue: QueueNumber,
        /// The party that asked for it.
        #[serde(flatten, deserialize_with = "known_asker")]
        by: Asker,
    },
    /// An agent's wrap-up began.
    WrapUpStarted {
        /// The agent.
        agent: AgentId,
        /// The queue of the conversation before it.
        queue: QueueNumber,
        /// When it will end.
        until: Wall,
        /// How long it lasts. Absent in records of earlier versions.
        #[serde(rename = "lasts_ms", with = "millis", default)]
        lasts: Duration,
    },
    /// An agent's wrap-up ended.
    WrapUpEnded {
        /// The agent.
        agent: AgentId,
    },
}

impl Fact {
    /// The caller's channel, if the fact concerns a call.
    pub fn call(&self) -> Option<&CallId> {
        match self {
            Self::CallEntered { call, .. }
            | Self::HeadStartChanged { call, .. }
            | Self::CallRefused { call, .. }
            | Self::OfferMade { call, .. }
            | Self::OfferMissed { call, .. }
            | Self::OfferCancelled { call, .. }
            | Self::CallAnswered { call, .. }
            | Self::ConversationEnded { call, .. }
            | Self::CallAbandoned { call, .. }
            | Self::CallTimedOut { call, .. }
            | Self::CallWentOn { call, .. }
            | Self::CallReturned { call, .. }
            | Self::CallTaken { call, .. }
            | Self::PartyChanged { call, .. }
            | Self::CallLost { call, .. } => Some(call),
            _ => None,
        }
    }
}

/// Reads who asked, if the record says so.
fn known_asker<'de, D: Deserializer<'de>>(record: D) -> Result<Asker, D::Error> {
    Option::deserialize(record).map(Option::unwrap_or_default)
}

/// Durations in records are whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
        u64::try_from(d.as_millis()).unwrap_or(u64::MAX).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        u64::deserialize(d).map(Duration::from_millis)
    }
}
