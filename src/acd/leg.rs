//! One leg: one of an agent's phones, from `originate` until FreeSWITCH has no such channel any more.
//!
//! What FreeSWITCH tells of a leg comes in no fixed order (see the captures); [`Offer`](super::offer::Offer) makes sense
//! of it.
//!
//! | state         | `Created` | `Ringing` | `Answered` | `HungUp` | `Gone` | `Missing` | `Originated(Err)`            |
//! |---------------|-----------|-----------|------------|----------|--------|-----------|------------------------------|
//! | `Originating` | `Created` | `Ringing` | `Answered` | `Ending` | `Gone` |           | `Gone`                       |
//! | `Created`     |           | `Ringing` | `Answered` | `Ending` | `Gone` | `Gone`    |                              |
//! | `Ringing`     |           |           | `Answered` | `Ending` | `Gone` | `Gone`    |                              |
//! | `Answered`    |           |           |            | `Ending` | `Gone` | `Gone`    |                              |
//! | `Ending`      |           |           | noted      |          | `Gone` | `Gone`    |                              |
//! | `Gone`        |           |           | noted      |          |        |           |                              |

use super::fact::MissCause;

/// How a leg ended, as its hang-up cause tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegEnd {
    /// It was not answered, for this reason.
    Missed(MissCause),
    /// FreeSWITCH ended it because somebody else has the caller, or the caller has gone.
    Elsewhere,
    /// It was hung up in the ordinary way.
    Cleared,
    /// The agent's phone hung it up.
    ByAgent,
    /// Nothing told of its end: FreeSWITCH was asked, and has no such leg.
    Unseen,
    /// FreeSWITCH hung it up in the ordinary way.
    BySwitch,
}

/// What FreeSWITCH tells of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Its channel exists.
    Created,
    /// The phone rings, or the network behind a gateway lets its tones be heard: a sign of life.
    Ringing,
    /// The phone was answered.
    Answered,
    /// The channel is being hung up. `true`: because the agent passed the caller on.
    HungUp(LegEnd, bool),
    /// The channel is gone.
    Gone(LegEnd),
    /// `originate` was carried out, or failed.
    Originated(Result<(), LegEnd>),
    /// FreeSWITCH knows no such channel to end.
    Missing,
    /// The leg and the caller are connected.
    Bridged,
}

/// One phone's leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// FreeSWITCH was told to ring the phone, and has told of no channel yet.
    Originating,
    /// The channel exists; the phone has given no sign of life.
    Created,
    /// The phone rings.
    Ringing,
    /// The phone was answered. From then on it is no longer `originate` that knows how the leg goes on.
    Answered,
    /// The leg was hung up; its channel is still there.
    Ending(Ended),
    /// FreeSWITCH has no such channel any more, or never had one.
    Gone(Ended),
}

/// How a leg ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// As FreeSWITCH tells it.
    pub end: LegEnd,
    /// Whether the phone had been answered.
    pub answered: bool,
}

impl Leg {
    /// FreeSWITCH has the channel.
    pub fn created(&mut self) {
        if *self == Self::Originating {
            *self = Self::Created;
        }
    }

    /// The phone rings.
    pub fn rings(&mut self) {
        if matches!(self, Self::Originating | Self::Created) {
            *self = Self::Ringing;
        }
    }

    /// The phone was answered. The reply to a command overtakes events, so that this may be heard of a leg that is
    /// known to be gone.
    pub fn answered(&mut self) {
        match self {
            Self::Originating | Self::Created | Self::Ringing => *self = Self::Answered,
            Self::Answered => {}
            Self::Ending(ended) | Self::Gone(ended) => ended.answered = true,
        }
    }

    /// The leg was hung up; what is told of its end first counts.
    pub fn hung_up(&mut self, end: LegEnd) {
        if self.end().is_none() {
            *self = Self::Ending(Ended { end, answered: self.was_answered() });
        }
    }

    /// The channel is gone: how it ended, FreeSWITCH tells in full now.
    pub fn gone(&mut self, end: LegEnd) {
        *self = Self::Gone(Ended { end, answered: self.was_answered() });
    }

    /// Whether FreeSWITCH may still have the channel.
    pub fn is_living(&self) -> bool {
        !matches!(self, Self::Gone(_))
    }

    /// Whether the phone was answered.
    pub fn was_answered(&self) -> bool {
        matches!(
            self,
            Self::Answered | Self::Ending(Ended { answered: true, .. }) | Self::Gone(Ended { answered: true, .. })
        )
    }

    /// How the leg ended, if it has.
    pub fn end(&self) -> Option<LegEnd> {
        match self {
            Self::Ending(ended) | Self::Gone(ended) => Some(ended.end),
            _ => None,
        }
    }
}
