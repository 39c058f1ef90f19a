//! One leg: the channel to one of an agent's phones, from `originate` until FreeSWITCH no longer has it.
//!
//! The events of a leg arrive in no fixed order (see the captures); [`Offer`](super::offer::Offer) interprets them.
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

/// How a leg ended, according to its hang-up cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegEnd {
    /// The leg was not answered, for this reason.
    Missed(MissCause),
    /// FreeSWITCH ended the leg because the caller is connected elsewhere or gone.
    Elsewhere,
    /// The leg was hung up normally.
    Cleared,
    /// The agent's phone hung up.
    ByAgent,
    /// No event reported the end; FreeSWITCH was asked for its channels and has no such leg.
    Unseen,
    /// FreeSWITCH hung the leg up normally, or was told to end all calls.
    BySwitch,
}

/// An event of a leg, or the reply to a command for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The channel exists.
    Created,
    /// The phone rings, or the network behind a gateway sends early media.
    Ringing,
    /// The phone was answered.
    Answered,
    /// The channel is being hung up; `true` if the agent transferred the caller.
    HungUp(LegEnd, bool),
    /// The channel is gone.
    Gone(LegEnd),
    /// `originate` has succeeded or failed.
    Originated(Result<(), LegEnd>),
    /// FreeSWITCH refused a command to end the leg, because it has no such channel.
    Missing,
    /// The leg and the caller are connected.
    Bridged,
}

/// One phone's leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// `originate` was sent; no event has shown the channel yet.
    Originating,
    /// The channel exists; the phone has not shown a sign of ringing.
    Created,
    /// The phone rings.
    Ringing,
    /// The phone was answered. From now on the result of `originate` no longer shows how the leg goes on.
    Answered,
    /// The leg was hung up; its channel still exists.
    Ending(Ended),
    /// FreeSWITCH no longer has the channel, or never had it.
    Gone(Ended),
}

/// How a leg ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The end as FreeSWITCH reports it.
    pub end: LegEnd,
    /// Whether the phone had been answered.
    pub answered: bool,
}

impl Leg {
    /// The channel exists.
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

    /// The phone was answered. A command's reply overtakes events, so this event may arrive for a leg already known to
    /// be gone.
    pub fn answered(&mut self) {
        match self {
            Self::Originating | Self::Created | Self::Ringing => *self = Self::Answered,
            Self::Answered => {}
            Self::Ending(ended) | Self::Gone(ended) => ended.answered = true,
        }
    }

    /// The leg was hung up. The first reported end counts.
    pub fn hung_up(&mut self, end: LegEnd) {
        if self.end().is_none() {
            *self = Self::Ending(Ended { end, answered: self.was_answered() });
        }
    }

    /// The channel is gone. This event reports the end in full and replaces the end known before.
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
