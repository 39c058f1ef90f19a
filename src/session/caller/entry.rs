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
use crate::telephony::channel::NewCall;
use crate::telephony::commands as wire;
use crate::telephony::place::Remembered;
use crate::telephony::{Settings, variables::SINCE};

use super::Session;

/// A call that enters, with what the channel or the floor knows of its caller.
struct Entry {
    call: Call,
    /// When the caller first entered any queue.
    first_entered: Option<Wall>,
    /// Since when the caller waits, where something else than the place tells.
    since: Option<Since>,
    /// The caller's own head start.
    head_start: Duration,
}

/// The call of a caller who dialled this queue.
fn call(shared: &Shared, new: &NewCall, dialled: &QueueNumber, now: Now) -> Entry {
    // A call that replaces a waiting one takes its place in the line.
    if let Some(heir) = new.replaces.as_ref().and_then(|call| shared.floor.place_of(call, now)) {
        let (first_entered, head_start) = (Some(heir.first_entered), heir.rank.head_start);
        return Entry { call: Call::back(heir.queue, Vec::new(), heir.rank), first_entered, since: None, head_start };
    }
    if let Some(kept) = kept_place(new, dialled) {
        let since = kept.since.zip(new.arrival.as_ref()).and_then(|(since, arrival)| arrival.since(since));
        let call = Call::back(kept.queue.clone(), kept.visited.clone(), kept.rank);
        let (first_entered, since) = (Some(kept.first_entered), since.map(|lasts| now.ago(lasts)));
        return Entry { call, first_entered, since, head_start: kept.rank.head_start };
    }
    let head_start = shared.floor.head_start_of_absent(&new.channel.id).unwrap_or(new.head_start);
    let enters = |rank| Call::new(dialled.clone(), new.visited.clone(), rank);
    match new.held_for {
        // A caller who arrived while no controller was there, or whose controller died before it stored the place, has
        // waited since then.
        Some(held) => {
            let rank = Rank::new(shared.floor.line(now).before(held), 0);
            let since = now.ago(held);
            let (call, first_entered) = (enters(Some(rank)), Some(now.wall_of(since)));
            Entry { call, first_entered, since: Some(since), head_start }
        }
        None => Entry { call: enters(None), first_entered: None, since: None, head_start },
    }
}

/// The call and its desk.
pub(super) fn enter(
    shared: &Arc<Shared>,
    settings: &Settings,
    new: &NewCall,
    dialled: &QueueNumber,
    number: Arc<str>,
    now: Now,
) -> (Call, CallDesk) {
    let Entry { call, first_entered, since, head_start } = call(shared, new, dialled, now);
    let who = new.who.as_ref().or(new.dialled_user.as_ref());
    let own = who.and_then(|who| shared.floor.agent_of(who, settings.domain.as_deref()));
    let came = new.arrival.as_ref().map(|arrival| shared.arrivals.ago(arrival, now.mono)).unwrap_or_default();
    let returned = kept_place(new, dialled).is_some();
    let refused = kept_place(new, dialled).and_then(|kept| kept.refused);
    let dialog = new.dialog.clone();
    let passed_on = new.passed_on;
    let caller = Caller { number, first_entered, returned, refused, passed_on, since, own, dialog, head_start, came };
    (call, CallDesk::new(shared.floor.clone(), new.channel.id.clone(), caller, (shared.random)()))
}

/// The place that the channel keeps, unless the caller has dialled another number since.
fn kept_place<'a>(new: &'a NewCall, dialled: &QueueNumber) -> Option<&'a Remembered> {
    new.place.as_ref().filter(|kept| kept.dialled == *dialled)
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
            rank: rank.with_head_start(self.desk.head_start()),
            first_entered: self.desk.first_entered().unwrap_or(rank.entered),
            visited: self.call.visited().to_vec(),
            refused: self.desk.refused(),
            since: self.channel.moment(passed, ago),
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
