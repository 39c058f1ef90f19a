//! The caller's audio: music without gaps, and announcements over it.

use std::time::Duration;

use super::{Call, LONGEST_ANNOUNCEMENT, Playing, Saying, Stage, Timer, Wire};
use crate::acd::settings::Music;
use crate::acd::time::Now;

/// How long after its end music is restarted, unless the caller is being connected.
pub(super) const MUSIC_GRACE: Duration = Duration::from_millis(300);
/// Music that ends within this time of its start counts as broken.
const MUSIC_WORKS_AFTER: Duration = Duration::from_secs(2);
/// How often broken music is tried before the ring tone replaces it. The ring tone is tried as often.
const MUSIC_TRIES: u32 = 3;

/// How long after the end of a message that was cut off the call goes on, unless somebody else turns out to have the
/// caller. FreeSWITCH's events were seen up to half a second late.
const CUT_OFF_PATIENCE: Duration = Duration::from_millis(500);

impl Call {
    pub(super) fn next_playing(&mut self) -> Playing {
        self.played += 1;
        Playing(self.played)
    }

    pub(super) fn start_music(&mut self, music: Music, now: Now) {
        let playing = self.next_playing();
        self.music = Some((playing, music.clone(), now.mono));
        let replace = std::mem::replace(&mut self.music_plays, true);
        self.wire(Wire::Music { playing, music, replace });
    }

    pub(super) fn restart_music(&mut self, now: Now) {
        let taken_away = self.is_taken_away();
        if !matches!(self.stage, Stage::Waiting(_)) || self.is_connecting() || taken_away {
            return;
        }
        let Some((_, music, since)) = self.music.clone() else {
            return;
        };
        let works = now.mono.since(since) >= MUSIC_WORKS_AFTER;
        self.music_failures = if works { 0 } else { self.music_failures + 1 };
        if self.music_failures < MUSIC_TRIES {
            self.start_music(music, now);
        } else if music != Music::Ringtone {
            self.music_failures = 0;
            self.start_music(Music::Ringtone, now);
        }
    }

    pub(super) fn announce(&mut self, position: u32, now: Now) {
        if self.is_taken_away() {
            return;
        }
        let Stage::Waiting(w) = &mut self.stage else { return };
        let Some(announcer) = &mut w.announcer else { return };
        let language = w.settings.language.clone();
        let (look, again) = announcer.look(position, now.mono);
        self.timers.set(Timer::Announce, again);
        if let Some(position) = look {
            let playing = self.next_playing();
            if let Stage::Waiting(w) = &mut self.stage {
                w.announcement = Some(playing);
            }
            self.timers.set(Timer::Announcement, now.mono.plus(LONGEST_ANNOUNCEMENT));
            self.wire(Wire::Say(playing, Saying::Position(position, language)));
        }
    }

    pub(super) fn announcement_over(&mut self, now: Now) {
        let Stage::Waiting(w) = &mut self.stage else { return };
        w.announcement = None;
        if let Some(a) = &mut w.announcer {
            a.spoken();
        }
        self.timers.clear(Timer::Announcement);
        self.follow_music(now);
        self.look(now);
    }

    /// A pickup cuts the message of a timeout off before this call notices it, and the call must not go on then.
    pub(super) fn cut_off(&mut self, what: Playing, now: Now) {
        match &self.stage {
            Stage::Ending { message, .. } if *message == Some(what) => {
                self.timers.set(Timer::Message, now.mono.plus(CUT_OFF_PATIENCE));
            }
            _ => self.played(what, now),
        }
    }

    /// The message of a timeout has played for long enough.
    pub(super) fn message_over(&mut self) {
        let taken_away = self.is_taken_away();
        if let Stage::Ending { message, .. } = &mut self.stage
            && message.take().is_some()
            && !taken_away
        {
            // FreeSWITCH would run the next command only after the message has ended.
            self.wire(Wire::Hush);
        }
    }

    pub(super) fn played(&mut self, what: Playing, now: Now) {
        if self.music.as_ref().is_some_and(|(m, ..)| *m == what) {
            self.music_plays = false;
            if matches!(self.stage, Stage::Waiting(_)) {
                self.timers.set(Timer::MusicGrace, now.mono.plus(MUSIC_GRACE));
            }
            return;
        }
        match &mut self.stage {
            Stage::Waiting(w) if w.announcement == Some(what) => self.announcement_over(now),
            Stage::Ending { message, .. } if *message == Some(what) => {
                *message = None;
                self.timers.clear(Timer::Message);
            }
            _ => {}
        }
    }
}
