//! The inputs of a call.

use std::sync::Arc;

use crate::acd::fact::RefusalCause;
use crate::acd::ids::{AgentId, LegId, OfferId};
use crate::acd::leg::News;
use crate::acd::offer::Found;
use crate::acd::queue::Orders;
use crate::acd::rank::Rank;
use crate::acd::settings::QueueSettings;
use crate::acd::time::Since;

/// Identifies one playback, so that its end can be told from the end of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Playing(pub u32);

/// An event from FreeSWITCH or an answer from the floor.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The call begins.
    Begin,
    /// The answer to [`Desk::Enter`](super::Desk::Enter): the queue's settings, the rank in the line, and since when
    /// the caller waits; `None` when there is no such queue.
    Entered(Option<(Arc<QueueSettings>, Rank, Since)>),
    /// The answer to [`Desk::Enter`](super::Desk::Enter) when the caller is not let in: the queue's settings, the rank
    /// that the caller would have had, and why.
    Refused(Arc<QueueSettings>, Rank, RefusalCause),
    /// The floor wakes the call: there may be orders, or a better position.
    Woken,
    /// The answer to [`Desk::Look`](super::Desk::Look).
    Looked {
        /// The orders to carry out.
        orders: Orders,
        /// The caller's position, capped above the highest that is spoken.
        position: u32,
    },
    /// The caller's channel is answered: agents can be connected to it.
    CallerAnswered,
    /// The answer to [`Wire::FindPhones`](super::Wire::FindPhones).
    Phones(OfferId, Found),
    /// FreeSWITCH reports an event of an agent's leg.
    Leg(LegId, News),
    /// FreeSWITCH was asked for its channels and has no leg of this offer.
    LegsMissing(OfferId),
    /// The caller is bridged to a channel that is none of this call's legs, or this process no longer controls the
    /// caller's channel.
    TakenAway,
    /// The answer to [`Wire::FindTaker`](super::Wire::FindTaker): the user whom FreeSWITCH authenticated for the phone
    /// that has the caller, or `None` if it names nobody.
    Taker(Option<AgentId>),
    /// The call has arrived on another connection: somebody else had the caller in between.
    CameAgain,
    /// A playback has ended, or the call has stopped it.
    Played(Playing),
    /// FreeSWITCH stopped a playback before its end: it cannot read the rest, or somebody takes the caller away.
    CutOff(Playing),
    /// The transfer was carried out.
    MovedOn,
    /// The caller hung up, or the channel ended and FreeSWITCH does not say who ended it.
    CallerGone,
    /// FreeSWITCH ended the caller's channel: an operator, a shutdown, a media timeout, the end of a conversation.
    CallerEnded,
    /// The waiting call was a consultation, and its attended transfer was completed: the third party takes its place.
    CallerReplaced,
    /// The connection of this call has ended; no more events will come.
    Disconnected,
    /// The daemon is going down.
    Drain,
    /// A deadline is due.
    Tick,
}
