//! Chooses how an `originate` is sent: as a `bgapi` command, or as an application that the caller's channel executes.
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

use super::Session;
use super::outbox::Watched;

/// If this many calls begin at once, FreeSWITCH takes longer to read a `bgapi` than the channel takes to reach its next
/// frame (at most 20 ms), when it executes its next application.
const CROWD: usize = 4;

/// The maximum number of `originate`s queued on one channel: FreeSWITCH closes the connection when more than 256
/// commands wait for a channel (measured).
const MOST_QUEUED: usize = 64;

/// Counts one beginning call while it exists.
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

/// The state of both ways for one call.
pub(super) struct Courier<'a> {
    shared: &'a Shared,
    /// Set until FreeSWITCH has read the first commands of the connection.
    beginning: Option<Beginning<'a>>,
    /// The channel may be busy for a while, so that it would execute an `originate` late.
    may_be_kept: bool,
    /// The `originate`s that the channel has not carried out yet, the next one first.
    to_carry_out: VecDeque<(LegId, ApiCall)>,
}

impl<'a> Courier<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let beginning = Some(Beginning::count(&shared.beginning));
        Self { shared, beginning, may_be_kept: false, to_carry_out: VecDeque::new() }
    }

    /// Notes that FreeSWITCH has read the first commands of the connection.
    pub(super) fn has_begun(&mut self) {
        self.beginning = None;
    }

    /// Notes that the channel starts an application that may block it for a while.
    pub(super) fn may_be_kept(&mut self) {
        self.may_be_kept = true;
    }

    /// Forgets an `originate` that FreeSWITCH refused.
    pub(super) fn forget(&mut self, leg: LegId) {
        self.to_carry_out.retain(|(queued, _)| *queued != leg);
    }

    /// Builds the command that gets the `originate` of a leg executed soonest.
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
    /// Handles the result of the channel's next `originate`: carried out, or not permitted.
    pub(super) fn carried_out(&mut self, done: bool) {
        let Some((leg, call)) = self.courier.to_carry_out.pop_front().filter(|_| !done) else { return };
        if self.shared.by_channel.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                "FreeSWITCH does not let channels use its API; set api-expansion to true in switch.conf.xml: spoken positions and messages need it"
            );
        }
        self.outbox.ask(Command::BgApi { job: leg.uuid(), call }, Watched::Ring(leg));
        self.flush();
    }

    /// Ends the legs whose `originate` the channel had not carried out when it hung up.
    pub(super) fn nothing_is_carried_out(&mut self) {
        for (leg, _) in std::mem::take(&mut self.courier.to_carry_out) {
            self.tell(Input::Leg(leg, News::Originated(Err(LegEnd::Elsewhere))));
        }
    }
}
