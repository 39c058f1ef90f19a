//! What is heard at the end of a leg, and the record of it.

use std::time::Duration;

/// What somebody hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sound {
    /// The call is not answered and nothing is played: the caller's own network rings.
    Ringing,
    /// Answered, and nothing is played.
    Silence,
    /// A file or stream, by the name it was played with.
    Playing(String),
    /// Another party: the number of a phone, or of a caller.
    Party(String),
}

/// A stretch of one sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// When it began, since the switch was started.
    pub at: Duration,
    /// What was heard.
    pub sound: Sound,
    /// Where in the file the stretch began: not zero when a sound goes on after an interruption.
    pub position: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct AudioLog {
    pub(crate) now: Option<Segment>,
    past: Vec<Segment>,
    source: u64,
}

impl AudioLog {
    /// Notes what is heard, played by the application `source`; whether that changed. The same file played anew is a
    /// change.
    pub(crate) fn note(&mut self, segment: Segment, source: u64, keep: bool) -> bool {
        if self.source == source && self.now.as_ref().is_some_and(|now| now.sound == segment.sound) {
            return false;
        }
        self.source = source;
        if let Some(old) = self.now.replace(segment).filter(|_| keep) {
            self.past.push(old);
        }
        true
    }

    pub(crate) fn history(&self) -> Vec<Segment> {
        self.past.iter().chain(&self.now).cloned().collect()
    }
}
