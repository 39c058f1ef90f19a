//! What happened: past-tense records, the one source for journal, metrics, events and logs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::ids::{AgentId, CallId, OfferId, QueueNumber};
use super::time::Wall;

/// One fact and the moment it became true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When, in milliseconds of wall-clock time.
    pub at: Wall,
    /// What.
    #[serde(flatten)]
    pub fact: Fact,
}

/// Why an offer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissCause {
    /// It rang for its whole ring time.
    NoAnswer,
    /// The phone was busy.
    Busy,
    /// The agent declined.
    Declined,
    /// The phone is not registered.
    NotRegistered,
    /// FreeSWITCH does not know the phone.
    Unknown,
    /// The phone answered, but the caller was not connected to it.
    NotConnected,
    /// FreeSWITCH could not ring the phone for another reason.
    Failed,
}

/// Why an offer was called off before the phone could be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// The caller hung up.
    CallerGone,
    /// Another agent answered.
    AnsweredElsewhere,
    /// The caller's wait ended.
    CallTimedOut,
    /// The agent logged out of the queue.
    LoggedOut,
    /// The configuration no longer has this agent in this queue.
    Reconfigured,
    /// The daemon is going down.
    Draining,
    /// The daemon had died, and the next one found it without an outcome.
    Restart,
}

impl CancelCause {
    /// Whether the caller cannot be connected to this phone any more, so that it is ended even if it was answered
    /// just now.
    pub fn is_final(self) -> bool {
        matches!(self, Self::CallerGone | Self::AnsweredElsewhere)
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
    /// The queue was taken out of the configuration.
    QueueRemoved,
}

/// What was done with a caller after the wait had ended.
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
    /// FreeSWITCH was gone, or its connection, and the call did not come back.
    #[default]
    SwitchGone,
    /// The daemon had died, and the call did not come back.
    Restart,
    /// The daemon has a defect: the call's task died.
    Defect,
}

/// Who ended a conversation, or what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The caller hung up.
    Caller,
    /// The agent hung up.
    Agent,
    /// The agent passed the caller on to somebody else.
    Transfer,
    /// It cannot be told.
    Unknown,
}

/// Who asked for a change. In a record it is the text `by`; with `phone` the call stands beside it.
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
    /// A person at the machine: a signal, the control socket.
    Operator,
    /// A program, by the interface for programs.
    Api,
    /// The record does not say: it is older than this field.
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

/// What happened.
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
        /// When the caller first entered any queue.
        first_entered: Wall,
        /// Whether the call came back after the controller had been away.
        returned: bool,
    },
    /// An agent's phone is being rung for a caller.
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
        /// How long they talked.
        #[serde(rename = "talked_ms", with = "millis")]
        talked: Duration,
        /// Who ended it.
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
    /// What was done with a caller whose wait had timed out.
    CallWentOn {
        /// The caller's channel.
        call: CallId,
        /// The queue.
        queue: QueueNumber,
        /// Where to.
        onward: Onward,
    },
    /// The caller went back to the dialplan, which will bring the call again: the daemon was draining or
    /// lost its connection to a live call.
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
        /// Who asked for it.
        #[serde(flatten, deserialize_with = "known_asker")]
        by: Asker,
    },
    /// An agent logged out of a queue.
    AgentLoggedOut {
        /// The agent.
        agent: AgentId,
        /// The queue.
        queue: QueueNumber,
        /// Who asked for it.
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

/// Who asked, as far as the record says so.
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
