//! Which way an `originate` travels: as a command of its own, or by way of the caller's channel.
//!
//! Decides nothing about the call: the leg is the same either way.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::acd::call::Input;
use crate::acd::ids::LegId;
use crate::acd::leg::{LegEnd, News};
use crate::esl::{ApiCall, Command};
use crate::session::Shared;
use crate::telephony::commands as wire;

use super::{Session, Watched};

/// When so many calls begin at once, FreeSWITCH takes longer to read an `originate` than the channel takes to come to its
/// next frame, which is when it carries one out (20 ms at most).
const CROWD: usize = 4;

/// How many of them a channel is told at most to carry out: FreeSWITCH closes the connection when more than 256 commands
/// wait for a channel (measured).
const MOST_QUEUED: usize = 64;

/// Counts as long as it is there.
struct Beginning<'a>(&'a AtomicUsize);

impl<'a> Beginning<'a> {
    fn count(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Beginning<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is known of the two ways.
pub(super) struct Courier<'a> {
    shared: &'a Shared,
    /// FreeSWITCH has not read yet what the connection was told first.
    beginning: Option<Beginning<'a>>,
    /// The channel may be busy with something for a while, so that what it is to do has to wait.
    may_be_kept: bool,
    /// What the channel has not carried out yet, the next one first.
    to_carry_out: VecDeque<(LegId, ApiCall)>,
}

impl<'a> Courier<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let beginning = Some(Beginning::count(&shared.beginning));
        Self { shared, beginning, may_be_kept: false, to_carry_out: VecDeque::new() }
    }

    /// FreeSWITCH has read what the connection was told first.
    pub(super) fn has_begun(&mut self) {
        self.beginning = None;
    }

    /// The channel is told something that may keep it from anything else for a while.
    pub(super) fn may_be_kept(&mut self) {
        self.may_be_kept = true;
    }

    /// FreeSWITCH refused to hear of it.
    pub(super) fn forget(&mut self, leg: LegId) {
        self.to_carry_out.retain(|(ordered, _)| *ordered != leg);
    }

    /// The `originate` of a leg as the command that arrives first.
    pub(super) fn send(&mut self, leg: LegId, call: ApiCall) -> Command {
        let crowd = self.shared.beginning.load(Ordering::Relaxed) >= CROWD;
        let ready = crowd && !self.may_be_kept && self.to_carry_out.len() < MOST_QUEUED;
        let ready = ready && self.shared.by_channel.load(Ordering::Relaxed);
        match ready.then(|| wire::by_channel(leg.uuid(), &call)).flatten() {
            Some(command) => {
                self.to_carry_out.push_back((leg, call));
                command
            }
            None => Command::BgApi { job: leg.uuid(), call },
        }
    }
}

impl Session<'_> {
    /// The channel was to carry an `originate` out, and did, or may not.
    pub(super) fn carried_out(&mut self, done: bool) {
        let Some((leg, call)) = self.courier.to_carry_out.pop_front().filter(|_| !done) else { return };
        if self.shared.by_channel.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "FreeSWITCH lets no channel use its API; set api-expansion to true in switch.conf.xml: spoken positions and messages need it"
            );
        }
        self.out.push((Command::BgApi { job: leg.uuid(), call }, Some(Watched::Ring(leg))));
        self.flush();
    }

    /// The channel is gone, and with it what it had not done yet.
    pub(super) fn nothing_is_carried_out(&mut self) {
        for (leg, _) in std::mem::take(&mut self.courier.to_carry_out) {
            self.tell(Input::Leg(leg, News::Originated(Err(LegEnd::Elsewhere))));
        }
    }
}
