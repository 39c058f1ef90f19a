//! The identities everything else is addressed by.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text cannot be an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is longer than the identity may be.
    #[error("it is longer than {0} characters")]
    TooLong(usize),
    /// A character that the identity may not hold.
    #[error("it may not contain {0:?}")]
    Character(char),
}

fn checked(text: &str, longest: usize, allowed: fn(char) -> bool) -> Result<Arc<str>, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > longest {
        return Err(IdError::TooLong(longest));
    }
    match text.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(IdError::Character(c)),
        None => Ok(Arc::from(text)),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identity as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

text_id! {
    /// The short number of a queue: 1 to 32 digits, as it is dialled.
    QueueNumber
}

impl QueueNumber {
    /// Checks and takes a short number.
    ///
    /// # Errors
    /// [`IdError`] when the text is empty, too long, or holds anything but ASCII digits.
    pub fn new(text: &str) -> Result<Self, IdError> {
        checked(text, 32, |c| c.is_ascii_digit()).map(Self)
    }
}

text_id! {
    /// An agent: the user part of the phone's SIP account, 1 to 64 of `A-Z a-z 0-9 . _ - +`.
    AgentId
}

impl AgentId {
    /// Checks and takes an agent's id.
    ///
    /// # Errors
    /// [`IdError`] when the text is empty, too long, or holds a character with a meaning in SIP or in dial strings.
    pub fn new(text: &str) -> Result<Self, IdError> {
        checked(text, 64, |c| c.is_ascii_alphanumeric() || "._-+".contains(c)).map(Self)
    }
}

text_id! {
    /// A caller's channel in FreeSWITCH (its `Unique-ID`), which is the call's identity here too.
    CallId
}

impl CallId {
    /// Checks and takes a channel's `Unique-ID`.
    ///
    /// # Errors
    /// [`IdError`] when the text could not be named in a command: empty, over 256 bytes, or not of
    /// `A-Z a-z 0-9 - _ . @ :`.
    pub fn new(text: &str) -> Result<Self, IdError> {
        checked(text, 256, |c| c.is_ascii_alphanumeric() || "-_.@:".contains(c)).map(Self)
    }
}

/// One attempt to ring one agent for one caller. It is also the UUID of the agent's leg, chosen
/// before `originate`, so that the leg can be addressed before it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OfferId(pub Uuid);

/// The byte of a leg's UUID that tells apart the phones of one agent; 0 in the offer's own.
const PHONE: usize = 7;

impl OfferId {
    /// The leg to one of the agent's phones.
    pub fn leg(self, phone: u8) -> LegId {
        LegId { offer: self, phone }
    }

    /// The offer that a leg belongs to.
    pub fn of_leg(leg: Uuid) -> Self {
        LegId::of(leg).offer
    }
}

/// One leg of an offer: the one to this phone of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId {
    /// The offer.
    pub offer: OfferId,
    /// The number of the phone; an agent with one phone has one leg, number 0.
    pub phone: u8,
}

impl LegId {
    /// The UUID of the leg: the offer's own for the first phone.
    pub fn uuid(self) -> Uuid {
        let mut bytes = self.offer.0.into_bytes();
        bytes[PHONE] = self.phone;
        Uuid::from_bytes(bytes)
    }

    /// The leg with this UUID.
    pub fn of(leg: Uuid) -> Self {
        let phone = leg.as_bytes()[PHONE];
        let offer = OfferId(Self { offer: OfferId(leg), phone: 0 }.uuid());
        Self { offer, phone }
    }
}

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid().as_hyphenated().fmt(f)
    }
}

impl fmt::Display for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

/// One installation of the daemon. Every leg it orders carries its mark in the UUID, so that after a restart,
/// or beside another controller on the same switch, it knows its own legs by their names alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(u32);

/// The first bytes of every leg's UUID.
const MARK: [u8; 3] = *b"fsq";

impl Instance {
    /// The installation known by `name`, the same after every restart: 24 bits of FNV-1a.
    pub fn of(name: &str) -> Self {
        let hash = name.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        Self((hash >> 24) ^ (hash & 0x00ff_ffff))
    }

    /// A new offer: a UUID of version 8 (RFC 9562) with the mark, the installation and 66 random bits.
    pub fn offer(self, random: u128) -> OfferId {
        let mut bytes = random.to_be_bytes();
        bytes[..3].copy_from_slice(&MARK);
        bytes[3..6].copy_from_slice(&self.0.to_be_bytes()[1..]);
        bytes[PHONE] = 0;
        OfferId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Whether this installation ordered the leg.
    pub fn ordered(self, offer: OfferId) -> bool {
        let bytes = offer.0.as_bytes();
        bytes[..3] == MARK && bytes[3..6] == self.0.to_be_bytes()[1..]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Q22: a leg is known by its name.
    #[test]
    fn an_installation_knows_its_own_legs() {
        let (a, b) = (Instance::of("/var/lib/a/state.db"), Instance::of("/var/lib/b/state.db"));
        for random in [0, u128::MAX, 0x1234_5678_9abc_def0] {
            let offer = a.offer(random);
            assert!(a.ordered(offer) && !b.ordered(offer));
            assert_eq!(offer.0.get_version_num(), 8);
        }
        assert_ne!(a.offer(1), a.offer(2));
        assert!(!a.ordered(OfferId(Uuid::from_u128(7))));
    }

    /// Q22: every leg to one of an agent's phones is known as the offer's.
    #[test]
    fn a_leg_tells_its_offer() {
        let us = Instance::of("/var/lib/a/state.db");
        for random in [0, u128::MAX] {
            let offer = us.offer(random);
            assert_eq!(offer.leg(0).uuid(), offer.0);
            for phone in [0, 1, 255] {
                let leg = offer.leg(phone).uuid();
                assert_eq!((OfferId::of_leg(leg), LegId::of(leg)), (offer, offer.leg(phone)));
                assert!(us.ordered(OfferId(leg)));
                assert_eq!(leg.get_version_num(), 8);
            }
            assert_ne!(offer.leg(1), offer.leg(2));
        }
    }

    #[test]
    fn ids_refuse_what_could_not_be_named() {
        assert_eq!(QueueNumber::new("99900").unwrap().as_str(), "99900");
        assert_eq!(QueueNumber::new(""), Err(IdError::Empty));
        assert_eq!(QueueNumber::new("99a"), Err(IdError::Character('a')));
        assert_eq!(QueueNumber::new(&"9".repeat(33)), Err(IdError::TooLong(32)));
        assert_eq!(AgentId::new("10 01"), Err(IdError::Character(' ')));
        assert_eq!(CallId::new("a\nb"), Err(IdError::Character('\n')));
    }
}
