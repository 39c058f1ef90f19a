//! Why a connection ended.

use std::fmt;
use std::time::Duration;

use super::frame::FrameError;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// This side closed it.
    Local,
    /// FreeSWITCH closed it, between two frames.
    Peer,
    /// FreeSWITCH closed it in the middle of a frame.
    CutOff,
    /// It was not the Event Socket, or too large.
    Frame(FrameError),
    /// A reply of the wrong kind came: replies and commands are no longer in step.
    OutOfStep,
    /// A frame was not complete in time.
    SlowFrame(Duration),
    /// No byte came for this long while a reply was owed.
    Silent(Duration),
    /// A write was not taken in time.
    SlowWrite(Duration),
    /// The application did not take its essential events.
    Overrun,
    /// It held more than its own of the [`Pool`](super::link::Pool) it belongs to, and nothing was left there.
    Crowded,
    /// Reading or writing failed.
    Io(std::io::ErrorKind),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("the connection was closed from this side"),
            Self::Peer => f.write_str("the peer closed the connection"),
            Self::CutOff => f.write_str("the peer closed the connection in the middle of a frame"),
            Self::Frame(error) => write!(f, "the peer does not speak the Event Socket as expected: {error}"),
            Self::OutOfStep => f.write_str("a reply came that belongs to no command"),
            Self::SlowFrame(after) => write!(f, "a frame was not complete after {after:?}"),
            Self::Silent(after) => write!(f, "the peer owed a reply and was silent for {after:?}"),
            Self::SlowWrite(after) => write!(f, "the peer did not take a command within {after:?}"),
            Self::Overrun => f.write_str("events came faster than they were taken"),
            Self::Crowded => f.write_str("all connections together hold as much unfinished as they may"),
            Self::Io(kind) => write!(f, "the connection failed: {kind}"),
        }
    }
}
