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
    /// The bytes received were not the Event Socket protocol, or exceeded a limit.
    Frame(FrameError),
    /// A reply of the wrong kind came: replies no longer match commands.
    OutOfStep,
    /// A frame was not complete after this time.
    SlowFrame(Duration),
    /// No byte came for this long while a reply was outstanding.
    Silent(Duration),
    /// The peer did not accept a write within this time.
    SlowWrite(Duration),
    /// The application did not take its essential events fast enough.
    Overrun,
    /// It needed more than its own share of its [`Pool`](super::connection::Pool), and the shared part was used up.
    Crowded,
    /// Reading or writing failed.
    Io(std::io::ErrorKind),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("this side closed the connection"),
            Self::Peer => f.write_str("the peer closed the connection"),
            Self::CutOff => f.write_str("the peer closed the connection in the middle of a frame"),
            Self::Frame(error) => write!(f, "the peer does not follow the Event Socket protocol: {error}"),
            Self::OutOfStep => f.write_str("the peer sent a reply that matches no command"),
            Self::SlowFrame(after) => write!(f, "a frame was not complete after {after:?}"),
            Self::Silent(after) => write!(f, "the peer sent nothing for {after:?} although a reply was outstanding"),
            Self::SlowWrite(after) => write!(f, "the peer did not accept a command within {after:?}"),
            Self::Overrun => f.write_str("events came faster than this process handled them"),
            Self::Crowded => f.write_str("the memory that all connections share for unprocessed data is used up"),
            Self::Io(kind) => write!(f, "the connection failed: {kind}"),
        }
    }
}
