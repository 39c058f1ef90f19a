//! The sound at the end of a leg, and its record.

use std::time::Duration;

/// A sound that a party hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sound {
    /// The call is not answered and nothing is played: the caller's own network rings.
    Ringing,
    /// Answered, with nothing played.
    Silence,
    /// A file or stream, by the name it was played with.
    Playing(String),
    /// Another party: the number of a phone, or of a caller.
    Party(String),
}

/// A stretch of one sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// When it began, since the start of the switch.
    pub at: Duration,
    /// The sound.
    pub sound: Sound,
    /// The position in the file where the stretch began: not zero when a sound resumes after an interruption.
    pub position: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct AudioLog {
    pub(crate) now: Option<Segment>,
    past: Vec<Segment>,
    source: u64,
}

impl AudioLog {
    /// Notes the current sound, played by the application `source`; returns whether it changed. Playing the same file
    /// again is a change.
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
