//! What a call is told.

use std::sync::Arc;

use crate::acd::ids::{LegId, OfferId};
use crate::acd::leg::News;
use crate::acd::offer::Found;
use crate::acd::queue::{Orders, Place};
use crate::acd::settings::QueueSettings;
use crate::acd::time::Since;

/// Names one thing being played, so that its end can be told from another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Playing(pub u32);

/// What FreeSWITCH and the floor tell a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The caller is here.
    Begin,
    /// The answer to [`Desk::Enter`](super::Desk::Enter): the queue's settings, the place in the line, and
    /// since when the caller waits; or no such queue.
    Entered(Option<(Arc<QueueSettings>, Place, Since)>),
    /// There may be orders, or a better position.
    Woken,
    /// The answer to [`Desk::Look`](super::Desk::Look).
    Looked {
        /// What is to be done.
        orders: Orders,
        /// The caller's position, capped above the highest that is spoken.
        position: u32,
    },
    /// The caller's channel is answered: agents can be connected to it.
    CallerAnswered,
    /// The answer to [`Wire::FindPhones`](super::Wire::FindPhones).
    Phones(OfferId, Found),
    /// FreeSWITCH tells something of an agent's leg.
    Leg(LegId, News),
    /// FreeSWITCH was asked what channels it has, and has no leg of this offer.
    LegsMissing(OfferId),
    /// The caller is connected to somebody who is none of our legs, or is no longer ours to command.
    TakenAway,
    /// The call is here on another connection: somebody else has had the caller.
    CameAgain,
    /// Something played to its end, or was cut.
    Played(Playing),
    /// The transfer was carried out.
    MovedOn,
    /// The caller hung up; or the channel has ended, and FreeSWITCH does not tell who ended it.
    CallerGone,
    /// FreeSWITCH ended the caller's channel: an operator, a shutdown, a media timeout, the end of a conversation.
    CallerEnded,
    /// A third party takes the caller's place, who had asked here for them: an attended transfer was completed.
    CallerReplaced,
    /// The connection of this call has ended; nothing more will be heard.
    Disconnected,
    /// The daemon is going down.
    Drain,
    /// A deadline is due.
    Tick,
}
