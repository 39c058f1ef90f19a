//! The end of a wait and of a call, from any cause.

use std::sync::Arc;
use std::time::Duration;

use super::{Call, Desk, LONGEST_MESSAGE, Leave, Parting, Playing, Saying, Stage, Timer, Why, Wire};
use crate::acd::fact::{CancelCause, EndedBy, Onward, RefusalCause, TimeoutCause};
use crate::acd::ids::{AgentId, QueueNumber};
use crate::acd::offer::{LEG_PATIENCE, OfferTimer};
use crate::acd::rank::Rank;
use crate::acd::settings::{QueueSettings, Timeout, TimeoutAction};
use crate::acd::time::Now;

/// How long FreeSWITCH may take to carry out a hang-up, a transfer or the return to the dialplan.
pub(super) const PARTING_PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait for a caller who was taken away to appear with one of our agents, when no phone was seen to be
/// answered. FreeSWITCH's events were seen up to half a second late.
const TAKEN_AFTER: Duration = Duration::from_secs(1);

/// How long FreeSWITCH may take to name the user who has the caller; afterwards the record names nobody.
const TAKER_PATIENCE: Duration = Duration::from_secs(1);

/// How long the leg of a conversation may take to end when its caller has arrived on a new connection. It is shorter
/// than a new connection waits for the one before it.
const CAME_PATIENCE: Duration = Duration::from_secs(1);

impl Call {
    pub(super) fn end_wait(&mut self, why: Why, now: Now) {
        let Stage::Waiting(wait) = &self.stage else { return };
        if self.is_taken_away() && matches!(why, Why::Timeout(_)) {
            return;
        }
        let wait = wait.clone();
        for timer in [Timer::MaxWait, Timer::Announce, Timer::Announcement, Timer::MusicGrace] {
            self.timers.clear(timer);
        }
        let (cause, leave, then) = match why {
            Why::Timeout(cause) => {
                let second = cause == TimeoutCause::SecondTime;
                let action = if second { TimeoutAction::Hangup } else { wait.settings.timeout.action.clone() };
                (CancelCause::CallTimedOut, Leave::TimedOut(cause), Some(action))
            }
            Why::Drain => (CancelCause::Draining, Leave::Returned, None),
        };
        self.desk(Desk::Close(cause));
        if wait.announcement.is_some() {
            self.wire(Wire::Hush);
        }
        self.call_off_all(cause, now);
        let message = match (why, &wait.settings.timeout.message) {
            (Why::Timeout(_), Some(file)) => Some(file.clone()),
            _ => None,
        };
        let message = message.map(|file| self.say_message(file, now));
        self.stage = Stage::Ending { queue: wait.queue, then, message, leave: Some(leave) };
    }

    /// The queue does not let the caller in: the message is played without music, then the action follows.
    pub(super) fn refused(&mut self, settings: &QueueSettings, rank: Rank, cause: RefusalCause, now: Now) {
        if !matches!(self.stage, Stage::New) {
            return;
        }
        self.prepare(rank);
        self.answer();
        let Timeout { message, action } = settings.refusal(cause).clone();
        // Otherwise an action that leads back to a full queue would lead round for ever (Q13).
        let then = if self.in_a_circle { TimeoutAction::Hangup } else { action };
        let message = message.map(|file| self.say_message(file, now));
        self.stage = Stage::Ending { queue: settings.number.clone(), then: Some(then), message, leave: None };
    }

    fn say_message(&mut self, file: Arc<str>, now: Now) -> Playing {
        let playing = self.next_playing();
        self.timers.set(Timer::Message, now.mono.plus(LONGEST_MESSAGE));
        self.wire(Wire::Say(playing, Saying::Message(file)));
        playing
    }

    pub(super) fn go_on(&mut self, from: &QueueNumber, action: TimeoutAction, now: Now) {
        match action {
            TimeoutAction::Queue(to) if to != *from && !self.visited.contains(&to) => {
                self.desk(Desk::WentOn(Onward::Queue(to.clone())));
                self.enter(to, None);
            }
            TimeoutAction::Transfer(number) => {
                self.desk(Desk::WentOn(Onward::Transferred(number.clone())));
                self.part(Wire::Transfer(number), now);
            }
            TimeoutAction::Queue(_) | TimeoutAction::Hangup => {
                self.desk(Desk::WentOn(Onward::HungUp));
                self.part(Wire::HangUp(Parting::Normal), now);
            }
        }
    }

    pub(super) fn part(&mut self, wire: Wire, now: Now) {
        self.timers.clear_all();
        self.timers.set(Timer::Parting, now.mono.plus(PARTING_PATIENCE));
        self.music = None;
        self.stage = Stage::Parting;
        self.has_left |= wire == Wire::GiveBack;
        self.wire(wire);
    }

    pub(super) fn over(&mut self) {
        self.stage = Stage::Over;
        self.music = None;
        for timer in [Timer::MaxWait, Timer::Announce, Timer::Announcement, Timer::Message] {
            self.timers.clear(timer);
        }
        for timer in [Timer::MusicGrace, Timer::TakenAway, Timer::Taker, Timer::Parting] {
            self.timers.clear(timer);
        }
    }

    /// This process no longer controls the caller's channel. The next events show whether the caller is being connected
    /// to one of our legs, or to somebody else, whose call must not be disturbed.
    pub(super) fn taken_away(&mut self, now: Now) {
        if !matches!(self.stage, Stage::Waiting(_) | Stage::Ending { .. }) || self.is_taken_away() {
            return;
        }
        for timer in [Timer::Announce, Timer::MusicGrace] {
            self.timers.clear(timer);
        }
        let connecting = self.is_connecting();
        self.timers.set(Timer::TakenAway, now.mono.plus(if connecting { LEG_PATIENCE } else { TAKEN_AFTER }));
        self.desk(Desk::Close(CancelCause::AnsweredElsewhere));
        if !connecting {
            self.let_go();
            // An agent who answered now would take the caller away from whoever has the caller. A phone that has just
            // been answered is not called off, and connects the caller.
            self.call_off_all(CancelCause::CallTaken, now);
        }
    }

    /// Whether this process no longer controls the caller's channel, and the call has not ended yet.
    pub(super) fn is_taken_away(&self) -> bool {
        self.timers.holds(Timer::TakenAway) || self.timers.holds(Timer::Taker)
    }

    /// No leg of ours is connected to the caller who was taken away, so somebody else has the caller; asks who it is.
    pub(super) fn find_taker(&mut self, now: Now) {
        self.timers.set(Timer::Taker, now.mono.plus(TAKER_PATIENCE));
        self.wire(Wire::FindTaker);
    }

    pub(super) fn taken_by(&mut self, by: Option<AgentId>, now: Now) {
        if !self.timers.holds(Timer::Taker) {
            return;
        }
        if let Some(by) = by {
            self.desk(Desk::TakenBy(by));
        }
        self.taken(now);
    }

    /// The new connection controls the caller, and decides how the call survives this process's death.
    pub(super) fn came_again(&mut self, now: Now) {
        self.is_let_go = true;
        match self.stage {
            Stage::Waiting(_) | Stage::Ending { .. } => self.taken(now),
            // The end of the leg is on its way, unless somebody else took the leg; the caller must not wait for it.
            Stage::Talking { offer, .. } => {
                self.timers.set(Timer::Offer(offer, OfferTimer::Patience), now.mono.plus(CAME_PATIENCE));
            }
            Stage::New | Stage::Parting | Stage::Over => self.over(),
        }
    }

    /// The caller was taken by somebody else, not connected to one of our legs.
    pub(super) fn taken(&mut self, now: Now) {
        if !matches!(self.stage, Stage::Waiting(_) | Stage::Ending { .. }) {
            return;
        }
        self.leave_losers_to_the_taker();
        // A leg that failed meanwhile may have re-armed the caller (`Wire::Rearm`).
        self.let_go();
        match self.stage {
            Stage::Waiting(_) | Stage::Ending { leave: Some(Leave::Returned), .. } => {
                self.desk(Desk::Leave(Leave::Taken));
            }
            Stage::Ending { leave: Some(leave), .. } => self.desk(Desk::Leave(leave)),
            _ => {}
        }
        self.over();
        self.call_off_all(CancelCause::CallerGone, now);
    }

    fn let_go(&mut self) {
        if !std::mem::replace(&mut self.is_let_go, true) {
            self.wire(Wire::LetGo);
        }
    }

    /// The caller's channel has ended; `how` is the way in which a waiting caller leaves the queue by that.
    pub(super) fn caller_gone(&mut self, how: Leave, now: Now) {
        self.has_left = true;
        if !self.is_taken_away() {
            self.leave_losers();
        }
        match &mut self.stage {
            Stage::Waiting(_) => self.desk(Desk::Leave(how)),
            Stage::Ending { leave: Some(leave), .. } => {
                let leave = if *leave == Leave::Returned { how } else { *leave };
                self.desk(Desk::Leave(leave));
            }
            // The agent may go on talking with somebody else, so the leg is watched instead of ended.
            Stage::Talking { offer, caller_gone, .. } => {
                let by = if how == Leave::Abandoned { EndedBy::Caller } else { EndedBy::Switch };
                caller_gone.get_or_insert(by);
                let offer = *offer;
                self.expect_end(offer, now);
                return;
            }
            _ => {}
        }
        self.over();
        self.call_off_all(CancelCause::CallerGone, now);
    }

    pub(super) fn disconnected(&mut self) {
        self.has_left = true;
        match &self.stage {
            Stage::Waiting(_) | Stage::Ending { leave: Some(_), .. } => self.desk(Desk::Leave(Leave::Lost)),
            _ => {}
        }
        // Losers first: `Lost` ends an offer, and an ended offer takes no outcome.
        self.leave_losers();
        for offer in self.forget_offers(CancelCause::CallerGone) {
            self.desk(Desk::Lost(offer));
        }
        self.timers.clear_all();
        self.over();
    }

    pub(super) fn drain(&mut self, now: Now) {
        match self.stage {
            Stage::Waiting(_) => self.end_wait(Why::Drain, now),
            Stage::New => self.part(Wire::GiveBack, now),
            // A conversation goes on without this process.
            Stage::Talking { .. } => {
                self.forget_offers(CancelCause::Draining);
                self.over();
            }
            _ => {}
        }
    }
}
