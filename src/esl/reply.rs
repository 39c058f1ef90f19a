//! Replies: a command is done, refused, or its outcome is unknown. A reply is never ignored.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use super::api::{Verdict, verdict};
use super::close::CloseReason;
use super::frame::{Frame, FrameKind};
use super::headers::Headers;

/// FreeSWITCH's reply to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(Frame);

impl Reply {
    /// The reply in a frame; `None` for any other frame.
    pub fn of_frame(frame: Frame) -> Option<Self> {
        matches!(frame.kind(), FrameKind::CommandReply | FrameKind::ApiResponse).then_some(Self(frame))
    }

    /// Whether it is the reply to an `api`.
    pub fn is_api(&self) -> bool {
        self.0.kind() == FrameKind::ApiResponse
    }

    /// FreeSWITCH's text without a leading `+OK` or `-ERR`: `Reply-Text`, or the output of an API command.
    pub fn text(&self) -> String {
        verdict(&self.spoken()).1.to_owned()
    }

    /// The headers. In the reply to `connect` they are the whole channel.
    pub fn headers(&self) -> &Headers {
        self.0.headers()
    }

    /// The decoded value of a header.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers().get(name)
    }

    /// The decoded value of a channel variable in the reply to `connect`.
    pub fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers().variable(name)
    }

    /// The unchanged output of an API command; empty for other commands.
    pub fn body_text(&self) -> Cow<'_, str> {
        self.0.body_text()
    }

    /// The job that an accepted `bgapi` started.
    pub fn job(&self) -> Option<Uuid> {
        self.header("Job-UUID").and_then(|text| Uuid::try_parse(&text).ok())
    }

    /// Whether the command is done or refused.
    pub(crate) fn outcome(self) -> Outcome {
        match verdict(&self.spoken()) {
            (Verdict::Done, _) => {}
            (Verdict::Refused, text) => return Outcome::Refused(text.to_owned()),
        }
        Outcome::Done(self)
    }

    fn spoken(&self) -> Cow<'_, str> {
        if self.is_api() { self.body_text() } else { self.header("Reply-Text").unwrap_or_default() }
    }
}

/// The outcome of a command.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// FreeSWITCH accepted it. For `sendmsg` and `bgapi` that means queued, not done.
    Done(Reply),
    /// FreeSWITCH refused it; its text without `-ERR`.
    Refused(String),
    /// FreeSWITCH may or may not have done it.
    Unknown(Unknown),
}

/// The directory domain FreeSWITCH assumes when it has no global variable `domain`.
const NO_DOMAIN: &str = "freeswitch.local";

impl Outcome {
    /// Reads the answer to [`ApiCall::default_domain`](super::ApiCall::default_domain); `None` when there is none. For
    /// a variable that does not exist FreeSWITCH answers with the error `no reply`.
    pub fn default_domain(&self) -> Option<String> {
        match self {
            Self::Done(reply) => Some(reply.body_text().trim().to_owned()).filter(|domain| !domain.is_empty()),
            Self::Refused(text) if text == "no reply" => Some(NO_DOMAIN.to_owned()),
            Self::Refused(_) | Self::Unknown(_) => None,
        }
    }

    /// The reply, or why there is none.
    ///
    /// # Errors
    /// [`NotDone`] when the command was refused or its outcome is unknown.
    pub fn done(self) -> Result<Reply, NotDone> {
        match self {
            Self::Done(reply) => Ok(reply),
            Self::Refused(text) => Err(NotDone::Refused(text)),
            Self::Unknown(why) => Err(NotDone::Unknown(why)),
        }
    }
}

/// Why a command does not count as done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// FreeSWITCH refused it; its text.
    #[error("FreeSWITCH refused: {0}")]
    Refused(String),
    /// FreeSWITCH may or may not have done it.
    #[error("no reply: {0}")]
    Unknown(Unknown),
}

/// Why the outcome of a command is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// No reply came within this time. A late one is still matched to this command, not to a later one.
    TimedOut(Duration),
    /// The connection ended.
    Closed(CloseReason),
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(after) => write!(f, "none within {after:?}"),
            Self::Closed(reason) => write!(f, "{reason}"),
        }
    }
}
