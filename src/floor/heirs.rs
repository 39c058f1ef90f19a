//! Places in the line that a third party takes over (Q103): somebody asked here for them, and completed the transfer
//! while the call still waited. FreeSWITCH sends the third party to the queue's number, and notes on the channel which
//! call of the phone was named; so that call's place is found by its SIP Call-ID.

use std::sync::Arc;
use std::time::Duration;

use crate::acd::ids::{CallId, QueueNumber};
use crate::acd::queue::Place;
use crate::acd::time::{Mono, Now, Wall};

use super::{Floor, lock};

/// How long a place is kept for a third party who is on the way.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// A place that somebody else takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The queue.
    pub queue: QueueNumber,
    /// The place in its line.
    pub place: Place,
    /// When who asked first entered any queue.
    pub first_entered: Wall,
}

/// Places that were left for third parties, with the Call-ID of who left them, and when.
pub(super) type Heirs = Vec<(Arc<str>, Standing, Mono)>;

impl Floor {
    /// Where a call stands.
    pub(super) fn standing(&self, call: &CallId, first_entered: Option<Wall>) -> Option<Standing> {
        self.queues.iter().find_map(|q| {
            let place = q.place(call)?;
            let first_entered = first_entered.unwrap_or(place.entered);
            Some(Standing { queue: q.key().clone(), place, first_entered })
        })
    }

    /// The call of this Call-ID has left the place for a third party.
    pub(super) fn leaves_a_place(&self, dialog: Arc<str>, standing: Standing, now: Now) {
        let mut heirs = lock(&self.heirs);
        heirs.retain(|(.., left)| now.mono.since(*left) < ON_THE_WAY);
        heirs.push((dialog, standing, now.mono));
    }

    /// The place of the call of this Call-ID, for the third party who comes in its stead: whether it has left it already,
    /// or is about to.
    pub fn place_of(&self, dialog: &str, now: Now) -> Option<Standing> {
        let left = {
            let mut heirs = lock(&self.heirs);
            let at = heirs.iter().position(|(d, _, left)| **d == *dialog && now.mono.since(*left) < ON_THE_WAY);
            at.map(|at| heirs.remove(at).1)
        };
        left.or_else(|| {
            let call = self.dialogs.get(dialog).map(|call| call.clone())?;
            self.standing(&call, None)
        })
    }
}
