//! What a call wants done: towards FreeSWITCH ([`Wire`]) and towards the floor ([`Desk`]).

use std::sync::Arc;

use super::input::Playing;
use crate::acd::fact::{CancelCause, EndedBy, MissCause, Onward, TimeoutCause};
use crate::acd::ids::{AgentId, LegId, OfferId, QueueNumber};
use crate::acd::offer::Outcome;
use crate::acd::queue::Place;
use crate::acd::settings::{Language, Music};

/// What to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saying {
    /// The position in the line; above [`crate::acd::announce::HIGHEST`] it is "more than".
    Position(u32, Language),
    /// The admin's message.
    Message(Arc<str>),
}

/// How a call is hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// In the ordinary way.
    Normal,
    /// There is no such number.
    NoSuchNumber,
}

/// What is to be done in FreeSWITCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Answer the caller; [`Input::CallerAnswered`](super::Input::CallerAnswered) tells when that is done.
    Answer,
    /// Let the caller hear this, in place of what was heard.
    Music {
        /// Its name.
        playing: Playing,
        /// What.
        music: Music,
        /// Whether other music is playing, and is to be stopped.
        replace: bool,
    },
    /// Keep with the channel what makes the caller's place survive our death.
    Remember(Place),
    /// Say this over the music.
    Say(Playing, Saying),
    /// Stop what is being said.
    Hush,
    /// Find out what there is to ring for an offer; [`Input::Phones`](super::Input::Phones) tells.
    FindPhones(OfferId, AgentId),
    /// Ring one of an agent's phones.
    Originate {
        /// The leg.
        leg: LegId,
        /// Whose phone it is.
        agent: AgentId,
        /// Whether other phones ring for the same caller, so that the first to answer must win.
        first_wins: bool,
    },
    /// End an agent's leg before it is connected.
    CallOff(LegId, CancelCause),
    /// End an agent's leg if it is not answered: its ring time is over, or it gave no sign of ringing.
    RingOut(LegId, MissCause),
    /// End an agent's leg whatever its state.
    EndLeg(LegId),
    /// A connection failed after the phone was answered: make the caller survive our death again.
    Rearm,
    /// Caller and agent are connected: the caller's place in the line is of no more use.
    Connected,
    /// Somebody else has the caller: the end of our connection must not concern the call.
    LetGo,
    /// Send the caller to an internal number.
    Transfer(Arc<str>),
    /// Hang the caller up.
    HangUp(Parting),
    /// Give the caller back to the dialplan.
    GiveBack,
    /// Nothing more is to be done: close the connection.
    Close,
}

/// What is to be done on the floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Desk {
    /// Enter this queue, at the place the caller had before coming back.
    Enter(QueueNumber, Option<Place>),
    /// Look at the orders and the position.
    Look {
        /// Whether to be woken at the next better position.
        listen: bool,
    },
    /// No more offers: the wait is ending, for this reason.
    Close(CancelCause),
    /// An offer has its outcome.
    Outcome(OfferId, Outcome),
    /// The leg is gone: release the agent.
    Gone(OfferId),
    /// Nothing will be heard of the leg any more: release the agent and have it looked after.
    Lost(OfferId),
    /// The caller was connected to this agent.
    Answered(OfferId),
    /// The conversation is over: release the agent.
    Ended(OfferId, EndedBy),
    /// The caller leaves the queue without an agent.
    Leave(Leave),
    /// What was done with a caller whose wait had timed out.
    WentOn(Onward),
}

/// How a caller leaves a queue without an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The caller hung up.
    Abandoned,
    /// The wait ended.
    TimedOut(TimeoutCause),
    /// Back to the dialplan.
    Returned,
    /// Somebody else took the caller.
    Taken,
    /// FreeSWITCH is gone.
    Lost,
    /// FreeSWITCH ended the caller's channel.
    Ended,
    /// A third party takes the place.
    Replaced,
}

/// One thing to be done.
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
