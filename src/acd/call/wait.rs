//! Waiting in line: the call enters a queue, carries out the orders it finds there, and follows the queue's settings.

use std::sync::Arc;

use super::{Call, Desk, Parting, Stage, Timer, Wait, Why, Wire};
use crate::acd::announce::Announcer;
use crate::acd::fact::{CancelCause, TimeoutCause};
use crate::acd::ids::QueueNumber;
use crate::acd::offer::Outcome;
use crate::acd::queue::Orders;
use crate::acd::rank::Rank;
use crate::acd::settings::QueueSettings;
use crate::acd::time::{Now, Since};

impl Call {
    pub(super) fn enter(&mut self, queue: QueueNumber, rank: Option<Rank>) {
        self.stage = Stage::New;
        self.returned = rank.is_some();
        self.in_a_circle = self.visited.contains(&queue);
        if !self.in_a_circle {
            self.visited.push(queue.clone());
        }
        self.desk(Desk::Enter(queue, rank));
    }

    pub(super) fn look(&mut self, now: Now) {
        let Stage::Waiting(w) = &self.stage else { return };
        let listen = w.announcer.as_ref().is_some_and(|a| a.is_rested(now.mono));
        self.desk(Desk::Look { listen });
    }

    pub(super) fn entered(&mut self, entered: Option<(Arc<QueueSettings>, Rank, Since)>, now: Now) {
        if !matches!(self.stage, Stage::New) {
            return;
        }
        let Some((settings, rank, since)) = entered else {
            return self.part(Wire::HangUp(Parting::NoSuchNumber), now);
        };
        let announcer = settings.announce_every.map(|every| Announcer::new(every, self.returned, now.mono));
        self.prepare(rank);
        self.answer();
        self.start_music(settings.music.clone(), now);
        let queue = settings.number.clone();
        self.stage = Stage::Waiting(Wait { queue, settings, since, announcer, announcement: None, other_music: false });
        if self.in_a_circle {
            return self.end_wait(Why::Timeout(TimeoutCause::SecondTime), now);
        }
        self.set_max_wait(now);
        self.look(now);
    }

    /// Gives the channel what it needs to go on without this process, or only the rank if it has the rest.
    pub(super) fn prepare(&mut self, rank: Rank) {
        let prepared = std::mem::replace(&mut self.is_prepared, true);
        self.wire(if prepared { Wire::Remember(rank) } else { Wire::Prepare(rank) });
    }

    pub(super) fn looked(&mut self, orders: Orders, position: u32, now: Now) {
        if let Some(settings) = orders.settings {
            self.reconfigured(settings, now);
        }
        for (offer, cause) in orders.call_off {
            self.call_off(offer, cause, now);
        }
        let waiting = matches!(self.stage, Stage::Waiting(_)) && orders.end.is_none();
        for (offer, agent) in orders.ring {
            if waiting {
                self.ring(offer, agent, now);
            } else {
                self.desk(Desk::Outcome(offer, Outcome::Cancelled(CancelCause::CallTimedOut)));
                self.desk(Desk::Gone(offer));
            }
        }
        match orders.end {
            Some(cause) => self.end_wait(Why::Timeout(cause), now),
            None => self.announce(position, now),
        }
    }

    pub(super) fn reconfigured(&mut self, settings: Arc<QueueSettings>, now: Now) {
        let Stage::Waiting(w) = &mut self.stage else { return };
        w.other_music |= w.settings.music != settings.music;
        w.announcer = match (w.announcer.take(), settings.announce_every) {
            (Some(mut a), Some(every)) => {
                a.set_every(every);
                Some(a)
            }
            (None, Some(every)) => Some(Announcer::new(every, false, now.mono)),
            (_, None) => None,
        };
        w.settings = settings.clone();
        self.follow_music(now);
        self.set_max_wait(now);
    }

    /// Switches to the queue's new music. During an announcement it waits, because the command that stops the music
    /// underneath would stop the announcement first.
    pub(super) fn follow_music(&mut self, now: Now) {
        let taken_away = self.is_taken_away();
        let Stage::Waiting(w) = &mut self.stage else { return };
        if w.announcement.is_some() || taken_away || !std::mem::take(&mut w.other_music) {
            return;
        }
        let music = w.settings.music.clone();
        self.music_failures = 0;
        self.start_music(music, now);
    }

    pub(super) fn set_max_wait(&mut self, now: Now) {
        let Stage::Waiting(w) = &self.stage else { return };
        match w.settings.max_wait {
            Some(max) => {
                let left = max.saturating_sub(now.lasted(w.since));
                self.timers.set(Timer::MaxWait, now.mono.plus(left));
            }
            None => self.timers.clear(Timer::MaxWait),
        }
    }
}
