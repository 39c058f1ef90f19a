//! How a caller enters: the call, with the place and the wait that the channel brings along; and the place that the
//! channel keeps.

use std::sync::Arc;
use std::time::Duration;

use crate::acd::call::Call;
use crate::acd::ids::QueueNumber;
use crate::acd::rank::Rank;
use crate::acd::time::{Now, Since, Wall};
use crate::esl::Command;
use crate::esl::text::TextError;
use crate::floor::{CallDesk, Caller};
use crate::session::Shared;
use crate::telephony::channel::Channel;
use crate::telephony::commands as wire;
use crate::telephony::place::Remembered;
use crate::telephony::{Settings, variables::SINCE};

use super::Session;

/// A call that enters, when its caller first entered any queue, and since when the caller waits, where something else
/// than the place tells.
type Entry = (Call, Option<Wall>, Option<Since>);

/// The call of a caller who dialled this queue.
fn call(shared: &Shared, channel: &Channel, dialled: &QueueNumber, now: Now) -> Entry {
    // A call that replaces a waiting one takes its place in the line.
    if let Some(heir) = channel.replaces.as_ref().and_then(|call| shared.floor.place_of(call, now)) {
        return (Call::back(heir.queue, Vec::new(), heir.rank), Some(heir.first_entered), None);
    }
    if let Some(kept) = kept_place(channel, dialled) {
        let since = kept.since.zip(channel.arrival.as_ref()).and_then(|(since, arrival)| arrival.since(since));
        let call = Call::back(kept.queue.clone(), kept.visited.clone(), kept.rank);
        return (call, Some(kept.first_entered), since.map(|lasts| now.ago(lasts)));
    }
    let new = |rank| Call::new(dialled.clone(), channel.visited.clone(), rank);
    match channel.held_for {
        // A caller who arrived while no controller was there, or whose controller died before it stored the place, has
        // waited since then.
        Some(held) => {
            let rank = Rank::new(shared.floor.line(now).before(held), 0);
            let since = now.ago(held);
            (new(Some(rank)), Some(now.wall_of(since)), Some(since))
        }
        None => (new(None), None, None),
    }
}

/// The call and its desk.
pub(super) fn enter(
    shared: &Arc<Shared>,
    settings: &Settings,
    channel: &Channel,
    dialled: &QueueNumber,
    number: Arc<str>,
    now: Now,
) -> (Call, CallDesk) {
    let (call, first_entered, since) = call(shared, channel, dialled, now);
    let who = channel.who.as_ref().or(channel.dialled_user.as_ref());
    let own = who.and_then(|who| shared.floor.agent_of(who, settings.domain.as_deref()));
    let came = channel.arrival.as_ref().map(|arrival| shared.arrivals.ago(arrival, now.mono)).unwrap_or_default();
    let returned = kept_place(channel, dialled).is_some();
    let caller = Caller { number, first_entered, returned, since, came, own, dialog: channel.dialog.clone() };
    (call, CallDesk::new(shared.floor.clone(), channel.id.clone(), caller, (shared.random)()))
}

/// The place that the channel keeps, unless the caller has dialled another number since.
fn kept_place<'a>(channel: &'a Channel, dialled: &QueueNumber) -> Option<&'a Remembered> {
    channel.place.as_ref().filter(|kept| kept.dialled == *dialled)
}

impl Session<'_> {
    /// Gives the channel what it needs to go on without this process.
    pub(super) fn prepare(&mut self, rank: Rank) -> Result<(), TextError> {
        let command = self.remembering(rank, true)?;
        if self.channel.resumes {
            // The dialplan has already set everything except the place and the start of the wait.
            self.outbox.hold_back(command);
        } else {
            self.outbox.push(command);
        }
        Ok(())
    }

    /// Stores the caller's place in a further line on the channel.
    pub(super) fn remember(&mut self, rank: Rank) -> Result<(), TextError> {
        let command = self.remembering(rank, false)?;
        self.outbox.push(command);
        Ok(())
    }

    fn remembering(&self, rank: Rank, first: bool) -> Result<Command, TextError> {
        let queue = self.desk.queue().unwrap_or(&self.dialled).clone();
        let language = self.shared.floor.participants(&queue).map(|queue| queue.language.clone());
        let language = language.unwrap_or_else(|| self.settings.language.clone());
        let now = self.shared.clock.now();
        let ago = self.desk.since().map_or(Duration::ZERO, |since| now.lasted(since));
        let passed = now.mono.since(self.replied);
        let remembered = Remembered {
            dialled: self.dialled.clone(),
            queue,
            rank,
            first_entered: self.desk.first_entered().unwrap_or(rank.entered),
            visited: self.call.visited().to_vec(),
            since: self.channel.arrival.as_ref().map(|arrival| arrival.moment(passed, ago)),
        };
        wire::prepare(&remembered, &language, first, self.channel.resumes)
    }

    /// The place is on the channel now: clears the kept moment, so that it does not count again if the caller returns.
    pub(super) fn forget_kept_moment(&mut self) {
        if !self.channel.rescued || !self.call.is_prepared() {
            return;
        }
        match wire::set(SINCE, "") {
            Ok(command) => self.outbox.push(command),
            Err(error) => tracing::error!(%error, "a command could not be built"),
        }
        self.flush();
    }
}
