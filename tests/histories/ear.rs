//! The sounds one caller hears while waiting, and their rules (Q10, Q11, Q13).

use freeswitch_queue::acd::call::{Playing, Saying, Wire};
use freeswitch_queue::acd::settings::{Music, QueueSettings};

/// The delay before silence must be filled, and the length below which music counts as broken.
const GRACE: u64 = 300;
const WORKS_AFTER: u64 = 2000;

/// The shortest time between announcements of better positions.
const REST: u64 = 15_000;
/// Beyond this position the caller hears one fixed sentence.
const HIGHEST: u32 = 30;
/// An announcement, and the message at the end of a wait, count as over after this time.
const LONGEST_ANNOUNCEMENT: u64 = 30_000;
const LONGEST_MESSAGE: u64 = 300_000;
/// How long the call waits after a message that was cut off.
const CUT_OFF_PATIENCE: u64 = 500;

/// One caller's ear, on one connection.
#[derive(Default)]
pub(crate) struct Ear {
    /// The times of this wait's announcements, and the positions announced since.
    began: u64,
    told: Option<u32>,
    /// The caller returned to a place in the line: there is no announcement on entry, and one after a pause.
    returned: bool,
    /// The position on entry.
    entry: Option<u32>,
    /// When the last announcement began.
    last: u64,
    announcement: Option<(Playing, u64)>,
    /// The message of a timeout, and when it ends at the latest.
    message: Option<(Playing, u64)>,
    pub(crate) message_begun: bool,
    music: Option<(Playing, Music, u64)>,
    plays: bool,
    silent_since: u64,
    failures: u32,
    /// Music must not disturb a caller who is being connected.
    excused: bool,
    every: Option<u64>,
    /// When announcements were last switched off.
    switched_off: Option<u64>,
    position: Option<u32>,
    /// The caller has been told to leave; no further sound may start.
    parted: bool,
}

fn every(queue: Option<&QueueSettings>) -> Option<u64> {
    queue.and_then(|q| q.announce_every).map(|e| e.as_millis() as u64)
}

impl Ear {
    /// The caller is in the line.
    pub(crate) fn entered(&mut self, queue: Option<&QueueSettings>, returned: bool, now: u64) {
        self.returned = returned;
        (self.began, self.last, self.told, self.entry) = (now, now, None, None);
        self.announcement = None;
        (self.message, self.message_begun) = (None, false);
        self.every = every(queue);
    }

    /// The reload may have switched announcements on.
    pub(crate) fn configured(&mut self, queue: Option<&QueueSettings>, now: u64) {
        let every = every(queue);
        if self.every.is_some() && every.is_none() {
            self.switched_off = Some(now);
        }
        // A call never sees announcements that are switched off and on again at the same instant.
        if self.every.is_none() && every.is_some() && self.switched_off != Some(now) {
            (self.began, self.last, self.told, self.entry) = (now, now, None, None);
            self.returned = false;
        }
        self.every = every;
    }

    /// The daemon looks at the position.
    pub(crate) fn looked(&mut self, position: u32, now: u64) {
        if !self.returned || now >= self.began + REST {
            self.entry.get_or_insert(position);
        }
    }

    /// The daemon plays this sound. `position` is the true one, `closing` says that the wait is over.
    pub(crate) fn order(
        &mut self,
        wire: &Wire,
        queue: Option<&QueueSettings>,
        position: Option<u32>,
        closing: bool,
        now: u64,
    ) {
        match wire {
            Wire::Music { playing, music, replace } => {
                assert_eq!(*replace, self.plays, "Q10: whether other music is replaced");
                assert!(!closing && !self.parted, "Q10: music begins for a caller who leaves");
                self.music_begins(*playing, music, queue, now);
            }
            Wire::Say(playing, Saying::Position(spoken, _)) => {
                let true_position = position.expect("a position in the line").min(HIGHEST + 1);
                let best = self.told.map_or(true_position, |t| t.min(true_position));
                assert_eq!(*spoken, best, "Q11: announced {:?}, stands at {true_position}", self.told);
                assert!(!self.speaks(now) && !closing && !self.parted, "Q11: spoken over something else");
                let every = self.every.expect("announcements are on");
                let entry = self.told.is_none() && self.entry_is_due(now) && *spoken > 1;
                let better = self.told.is_some_and(|t| *spoken < t) && now >= self.last + REST;
                assert!(entry || better || now >= self.last + every, "Q11: {spoken} is spoken too early");
                self.told = Some(*spoken);
                self.last = now;
                self.announcement = Some((*playing, now));
            }
            Wire::Say(playing, Saying::Message(_)) => {
                assert!(!self.speaks(now), "Q13: the message is spoken over an announcement");
                assert!(closing && !self.message_begun, "Q13: the message is played once, at the end of the wait");
                self.message = Some((*playing, now + LONGEST_MESSAGE));
                self.message_begun = true;
            }
            Wire::Hush => self.announcement = None,
            Wire::HangUp(_) | Wire::Transfer(_) | Wire::GiveBack => {
                assert!(!self.parted, "sent away twice");
                self.parted = true;
            }
            _ => {}
        }
    }

    /// Whether the first announcement is due now.
    fn entry_is_due(&self, now: u64) -> bool {
        if self.returned { now >= self.began + REST } else { now == self.began }
    }

    fn music_begins(&mut self, playing: Playing, music: &Music, queue: Option<&QueueSettings>, now: u64) {
        let short = self.music.as_ref().is_some_and(|(_, _, since)| now - since < WORKS_AFTER);
        let same = self.music.as_ref().is_some_and(|(_, before, _)| before == music);
        let wanted = queue.is_none_or(|q| q.music == *music) || *music == Music::Ringtone;
        assert!(wanted, "Q10: {music:?} is not the queue's music");
        let again = !self.plays && self.music.is_some();
        self.failures = if again && same && short { self.failures + 1 } else { 0 };
        self.music = Some((playing, music.clone(), now));
        self.plays = true;
    }

    /// The daemon learns that a sound has ended.
    pub(crate) fn told_over(&mut self, playing: Playing, now: u64) {
        if self.announcement.is_some_and(|(p, _)| p == playing) {
            self.announcement = None;
        }
        if self.message.is_some_and(|(p, _)| p == playing) {
            self.message = None;
        }
        if self.plays && self.music.as_ref().is_some_and(|(p, ..)| *p == playing) {
            self.plays = false;
            self.silent_since = now;
        }
    }

    /// The daemon learns that FreeSWITCH has stopped a sound before its end. The call goes on after a message that was
    /// cut off only once it is clear that nobody else has the caller.
    pub(crate) fn told_cut_off(&mut self, playing: Playing, now: u64) {
        match &mut self.message {
            Some((message, end)) if *message == playing => *end = now + CUT_OFF_PATIENCE,
            _ => self.told_over(playing, now),
        }
    }

    fn speaks(&self, now: u64) -> bool {
        self.announcement.is_some_and(|(_, since)| now < since + LONGEST_ANNOUNCEMENT)
    }

    /// Q13: whether the message is still being played.
    pub(crate) fn hears_message(&self, now: u64) -> bool {
        self.message.is_some_and(|(_, end)| now < end)
    }

    /// Q13: the message, if there is one, plays to its end before the next action on the caller.
    pub(crate) fn may_go_on(&self, now: u64) {
        assert!(!self.hears_message(now), "Q13: the message is cut");
    }

    /// The rules for a waiting caller whenever no action is left for a moment.
    pub(crate) fn check(&mut self, position: u32, excused: bool, now: u64) {
        let position = position.min(HIGHEST + 1);
        self.position = Some(position);
        if let Some(every) = self.every
            && !self.speaks(now)
        {
            assert!(now < self.last + every, "Q11: {position} is not repeated");
            let better = self.told.is_some_and(|t| position < t) && now >= self.last + REST;
            assert!(!better, "Q11: better than {:?}: {position} is not spoken", self.told);
            let entry = self.told.is_none() && self.entry_is_due(now) && self.entry.is_some_and(|p| p > 1);
            assert!(!entry, "Q11: {:?} is not spoken on entry", self.entry);
        }
        if std::mem::replace(&mut self.excused, excused) {
            self.silent_since = self.silent_since.max(now);
        }
        let (_, music, since) = self.music.as_ref().expect("some music");
        let tried = *music == Music::Ringtone && self.failures >= 2 && self.silent_since < since + WORKS_AFTER;
        let silent = !self.plays && !excused && now > self.silent_since + GRACE;
        assert!(!silent || tried, "Q10: silence since {}", self.silent_since);
    }

    /// The next moment after `now` at which an action is due by itself.
    pub(crate) fn next_moment(&self, now: u64) -> Option<u64> {
        let repeat = self.every.map(|every| self.last + every);
        let rested = self.every.map(|_| self.last + REST);
        let silence = (!self.plays).then_some(self.silent_since + GRACE + 1);
        [repeat, rested, silence].into_iter().flatten().filter(|at| *at > now).min()
    }
}
