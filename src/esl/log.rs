//! Lines of FreeSWITCH's log, sent after [`Command::Log`](super::command::Command::Log).

use std::borrow::Cow;

use super::frame::{Frame, FrameKind};

/// The level of a log line, most severe first; FreeSWITCH numbers them from 0 to 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Shown on the console at any level.
    Console,
    /// Needs action at once.
    Alert,
    /// Something no longer works.
    Critical,
    /// Something failed.
    Error,
    /// Something looks wrong.
    Warning,
    /// Something worth knowing.
    Notice,
    /// Normal operation.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    const ALL: [Self; 8] =
        [Self::Console, Self::Alert, Self::Critical, Self::Error, Self::Warning, Self::Notice, Self::Info, Self::Debug];

    /// FreeSWITCH's number for the level.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The level with FreeSWITCH's number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A line of the log. Like everything FreeSWITCH sends, its text is hostile: it contains callers' names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine(Frame);

impl LogLine {
    /// The log line in a frame; `None` for any other frame.
    pub fn of_frame(frame: Frame) -> Option<Self> {
        (frame.kind() == FrameKind::LogLine).then_some(Self(frame))
    }

    /// Its level; `None` when FreeSWITCH gives none, or one that does not exist.
    pub fn level(&self) -> Option<LogLevel> {
        self.0.headers().get("Log-Level")?.parse().ok().and_then(LogLevel::of_number)
    }

    /// The channel it is about, if any (`User-Data`).
    pub fn channel(&self) -> Option<Cow<'_, str>> {
        self.0.headers().get("User-Data")
    }

    /// Its text, including the line break at the end.
    pub fn text(&self) -> Cow<'_, str> {
        self.0.body_text()
    }

    /// Where FreeSWITCH's source logs it: file, function, line.
    pub fn origin(&self) -> [Option<Cow<'_, str>>; 3] {
        ["Log-File", "Log-Func", "Log-Line"].map(|name| self.0.headers().get(name))
    }

    /// How many received bytes it keeps in memory.
    pub(crate) fn size(&self) -> usize {
        self.0.bytes().len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::frame::{Decoder, FrameLimits};
    use super::*;

    fn frame(text: &str) -> Frame {
        let mut decoder = Decoder::new(FrameLimits::default());
        decoder.feed(text.as_bytes());
        decoder.decode().unwrap().unwrap()
    }

    #[test]
    fn each_level_has_its_number() {
        assert!(LogLevel::ALL.iter().all(|&level| LogLevel::of_number(level.number()) == Some(level)));
        assert_eq!((LogLevel::Debug.number(), LogLevel::of_number(8)), (7, None));
    }

    #[test]
    fn a_log_line_is_not_decoded() {
        let line = LogLine::of_frame(frame(
            "Content-Type: log/data\nContent-Length: 8\nLog-Level: 4\nText-Channel: 0\nLog-File: sofia.c\n\
             Log-Func: f\nLog-Line: 7\nUser-Data: u1\n\n50%25 x\n",
        ));
        let line = line.unwrap();
        assert_eq!((line.level(), line.text().as_ref()), (Some(LogLevel::Warning), "50%25 x\n"));
        assert_eq!((line.channel().unwrap().as_ref(), line.origin()[1].as_deref()), ("u1", Some("f")));
        let odd = LogLine::of_frame(frame("Content-Type: log/data\nLog-Level: 4x\n\n")).unwrap();
        assert_eq!((odd.level(), odd.text().as_ref(), odd.channel()), (None, "", None));
        assert_eq!(LogLine::of_frame(frame("Content-Type: auth/request\n\n")), None);
    }
}
