//! The effects that a call asks for in FreeSWITCH ([`Wire`]) and on the floor ([`Desk`]).

use std::sync::Arc;

use super::input::Playing;
use crate::acd::fact::{CancelCause, EndedBy, MissCause, Onward, TimeoutCause};
use crate::acd::ids::{AgentId, LegId, OfferId, QueueNumber};
use crate::acd::offer::Outcome;
use crate::acd::rank::Rank;
use crate::acd::settings::{Language, Music};

/// An announcement over the music.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saying {
    /// The position in the line; a position above [`crate::acd::announce::HIGHEST`] is spoken as "more than".
    Position(u32, Language),
    /// The admin's message.
    Message(Arc<str>),
}

/// How to hang a call up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// With the normal cause.
    Normal,
    /// With the cause for a number that does not exist.
    NoSuchNumber,
}

/// An effect in FreeSWITCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Answer the caller; [`Input::CallerAnswered`](super::Input::CallerAnswered) confirms it.
    Answer,
    /// Play this to the caller, in place of the music before.
    Music {
        /// The ID of this playback.
        playing: Playing,
        /// The music.
        music: Music,
        /// Whether other music is playing and must be stopped.
        replace: bool,
    },
    /// Give the channel, once, what it needs to go on without this process, and the caller's rank in the line.
    Prepare(Rank),
    /// Store the caller's rank in a further line on the channel, which is prepared.
    Remember(Rank),
    /// Play this announcement over the music.
    Say(Playing, Saying),
    /// Stop the announcement.
    Hush,
    /// Query the agent's phones for an offer; [`Input::Phones`](super::Input::Phones) brings the answer.
    FindPhones(OfferId, AgentId),
    /// Ring one of an agent's phones.
    Originate {
        /// The leg.
        leg: LegId,
        /// The agent.
        agent: AgentId,
        /// Whether other phones ring for the same caller, so that the first answer must win.
        first_wins: bool,
    },
    /// End an agent's leg before it is connected.
    CallOff(LegId, CancelCause),
    /// End an agent's leg unless it is answered: its ring time is over, or it has shown no sign of ringing.
    RingOut(LegId, MissCause),
    /// End an agent's leg in any state.
    EndLeg(LegId),
    /// The connection failed after the phone was answered: let the caller survive this process's death again.
    Rearm,
    /// Caller and agent are connected: the stored rank in the line is no longer needed.
    Connected,
    /// The caller is connected elsewhere: the end of the connection to this process must not affect the call.
    LetGo,
    /// Send the caller to an internal number.
    Transfer(Arc<str>),
    /// Hang the caller up.
    HangUp(Parting),
    /// Query whose phone has the caller, who was taken; [`Input::Taker`](super::Input::Taker) brings the answer.
    FindTaker,
    /// Return the caller to the dialplan.
    GiveBack,
    /// The call is finished: close the connection.
    Close,
}

/// An effect on the floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desk {
    /// Enter this queue, at the given rank if the caller had one before coming back.
    Enter(QueueNumber, Option<Rank>),
    /// Read the orders and the position.
    Look {
        /// Whether to wake the call at the next better position.
        listen: bool,
    },
    /// Make no more offers: the wait is ending for this reason.
    Close(CancelCause),
    /// An offer has its outcome.
    Outcome(OfferId, Outcome),
    /// The leg is gone: release the agent.
    Gone(OfferId),
    /// The call will receive no more events of the leg. The link releases the agent when the leg is gone; without a
    /// link the floor does so now.
    Lost(OfferId),
    /// The caller was connected to the agent of this offer.
    Answered(OfferId),
    /// The conversation is over: release the agent.
    Ended(OfferId, EndedBy),
    /// This user has the caller, who is about to leave as [`Leave::Taken`].
    TakenBy(AgentId),
    /// The caller leaves the queue without an agent.
    Leave(Leave),
    /// The action taken for a caller whose wait timed out.
    WentOn(Onward),
}

/// How a caller leaves a queue without an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The caller hung up.
    Abandoned,
    /// The wait ended.
    TimedOut(TimeoutCause),
    /// The call returned the caller to the dialplan.
    Returned,
    /// Somebody outside the queue took the caller.
    Taken,
    /// The connection to FreeSWITCH is gone.
    Lost,
    /// FreeSWITCH ended the caller's channel.
    Ended,
    /// A third party takes the caller's place.
    Replaced,
}

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// In FreeSWITCH.
    Wire(Wire),
    /// On the floor.
    Desk(Desk),
}

impl From<Wire> for Effect {
    fn from(w: Wire) -> Self {
        Self::Wire(w)
    }
}

impl From<Desk> for Effect {
    fn from(d: Desk) -> Self {
        Self::Desk(d)
    }
}
