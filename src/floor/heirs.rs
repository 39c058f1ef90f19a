//! Places in the line that a third party takes over (Q103): a phone called the queue to consult, and completed the
//! attended transfer while that call still waited. FreeSWITCH sends the third party to the queue's number and notes on
//! its channel which of the phone's calls was named. The floor finds that call's place by its SIP Call-ID.

use std::sync::Arc;
use std::time::Duration;

use crate::acd::ids::{CallId, QueueNumber};
use crate::acd::rank::Rank;
use crate::acd::time::{Mono, Now, Wall};

use super::{Floor, lock};

/// How long a place is kept for a third party on the way.
const ON_THE_WAY: Duration = Duration::from_secs(10);

/// A place that a third party takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The queue.
    pub queue: QueueNumber,
    /// The rank in its line.
    pub rank: Rank,
    /// When the consulting caller first entered any queue.
    pub first_entered: Wall,
}

/// Places left for third parties: the Call-ID of the call that left, its place, and when it left.
pub(super) type Heirs = Vec<(Arc<str>, Standing, Mono)>;

impl Floor {
    /// The place of a waiting call.
    pub(super) fn standing(&self, call: &CallId, first_entered: Option<Wall>) -> Option<Standing> {
        self.queues.iter().find_map(|q| {
            let rank = q.rank_to_keep(q.entry_of(call)?)?;
            let first_entered = first_entered.unwrap_or(rank.entered);
            Some(Standing { queue: q.key().clone(), rank, first_entered })
        })
    }

    /// The call with this Call-ID has left its place for a third party.
    pub(super) fn leaves_a_place(&self, dialog: Arc<str>, standing: Standing, now: Now) {
        let mut heirs = lock(&self.heirs);
        heirs.retain(|(.., left)| now.mono.since(*left) < ON_THE_WAY);
        heirs.push((dialog, standing, now.mono));
    }

    /// The place for the third party that replaces the call with this Call-ID, whether that call has left already or is
    /// still in the line.
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
