//! The IDs of queues, agents, calls, offers, legs and installations.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is not a valid ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The text is longer than the ID may be.
    #[error("it is longer than {0} characters")]
    TooLong(usize),
    /// The text contains a character that the ID may not contain.
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
            /// The ID as text.
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
    /// Validates a short number.
    ///
    /// # Errors
    /// [`IdError`] when the text is empty, too long, or contains anything but ASCII digits.
    pub fn new(text: &str) -> Result<Self, IdError> {
        checked(text, 32, |c| c.is_ascii_digit()).map(Self)
    }
}

text_id! {
    /// An agent: the user part of the phone's SIP account, 1 to 64 of `A-Z a-z 0-9 . _ - +`.
    AgentId
}

impl AgentId {
    /// Validates an agent's ID.
    ///
    /// # Errors
    /// [`IdError`] when the text is empty, too long, or contains a character with a meaning in SIP or in dial strings.
    pub fn new(text: &str) -> Result<Self, IdError> {
        checked(text, 64, |c| c.is_ascii_alphanumeric() || "._-+".contains(c)).map(Self)
    }
}

text_id! {
    /// The `Unique-ID` of a caller's channel in FreeSWITCH, which also identifies the call here.
    CallId
}

impl CallId {
    /// Validates a channel's `Unique-ID`.
    ///
    /// # Errors
    /// [`IdError`] when the text cannot stand in a command: it is empty, longer than 256 bytes, or contains a character
    /// other than `A-Z a-z 0-9 - _ . @ :`.
    pub fn new(text: &str) -> Result<Self, IdError> {
        checked(text, 256, |c| c.is_ascii_alphanumeric() || "-_.@:".contains(c)).map(Self)
    }
}

/// One entry in a queue's line, by its own number there. A call attends to it: orders and offers reach the caller by way
/// of that call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// One attempt to ring one agent for one caller. It is also the UUID of the agent's leg, chosen before `originate`, so
/// that commands can name the leg before it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OfferId(pub Uuid);

/// The byte of a leg's UUID that distinguishes an agent's phones; it is 0 in the offer's own UUID.
const PHONE: usize = 7;

impl OfferId {
    /// The leg to one of the agent's phones.
    pub fn leg(self, phone: u8) -> LegId {
        LegId { offer: self, phone }
    }

    /// The offer to which a leg belongs.
    pub fn of_leg(leg: Uuid) -> Self {
        LegId::of(leg).offer
    }
}

/// One leg of an offer, to one of the agent's phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId {
    /// The offer.
    pub offer: OfferId,
    /// The number of the phone; an agent with one phone has one leg, number 0.
    pub phone: u8,
}

impl LegId {
    /// The UUID of the leg; the first phone's leg has the offer's own UUID.
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

/// One installation of the daemon, identified by 128 random bits. The first 52 of them begin the UUID of every leg that
/// it originates. After a restart, or beside other daemons on the same FreeSWITCH, the daemon recognises its own legs
/// by their UUIDs alone (Q107).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(Uuid);

/// The bits of a leg's UUID that identify the installation: all bits before the phone byte, except the version. The
/// remaining bits suffice to make offers unique.
const MARK: u128 = 0xffff_ffff_ffff_0fff << 64 & !(0xff << 64);

impl Instance {
    /// Creates an installation from random bits.
    pub fn new(random: u128) -> Self {
        Self(Uuid::from_u128(random))
    }

    /// Creates an offer: a UUID of version 8 (RFC 9562) with the installation's 52 bits and 62 random ones.
    pub fn offer(self, random: u128) -> OfferId {
        let bits = (self.0.as_u128() & MARK) | (random & !MARK);
        let offer = uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid();
        OfferId(OfferId(offer).leg(0).uuid())
    }

    /// Whether this installation originated the leg.
    pub fn originated(self, offer: OfferId) -> bool {
        (offer.0.as_u128() ^ self.0.as_u128()) & MARK == 0 && offer.0.get_version_num() == 8
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for Instance {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Q107, Q22: an installation recognises its legs by their UUIDs.
    #[test]
    fn an_installation_knows_its_own_legs() {
        // The two differ in the last installation bit that a leg's UUID carries.
        let (a, b) = (Instance::new(7 << 72), Instance::new(6 << 72));
        for random in [0, u128::MAX, 0x1234_5678_9abc_def0] {
            let offer = a.offer(random);
            assert!(a.originated(offer) && !b.originated(offer));
            assert_eq!(offer.0.get_version_num(), 8);
        }
        assert_ne!(a.offer(1), a.offer(2));
        assert!(!a.originated(OfferId(Uuid::from_u128(7))));
        assert_eq!(a.to_string().parse(), Ok(a));
    }

    /// Q22: the UUID of each leg leads to its offer.
    #[test]
    fn a_legs_uuid_leads_to_its_offer() {
        let us = Instance::new(0x1234_5678_9abc_def0_0fed_cba9_8765_4321);
        for random in [0, u128::MAX] {
            let offer = us.offer(random);
            assert_eq!(offer.leg(0).uuid(), offer.0);
            for phone in [0, 1, 255] {
                let leg = offer.leg(phone).uuid();
                assert_eq!((OfferId::of_leg(leg), LegId::of(leg)), (offer, offer.leg(phone)));
                assert!(us.originated(OfferId(leg)));
                assert_eq!(leg.get_version_num(), 8);
            }
            assert_ne!(offer.leg(1), offer.leg(2));
        }
    }

    #[test]
    fn invalid_ids_are_refused() {
        assert_eq!(QueueNumber::new("99900").unwrap().as_str(), "99900");
        assert_eq!(QueueNumber::new(""), Err(IdError::Empty));
        assert_eq!(QueueNumber::new("99a"), Err(IdError::Character('a')));
        assert_eq!(QueueNumber::new(&"9".repeat(33)), Err(IdError::TooLong(32)));
        assert_eq!(AgentId::new("10 01"), Err(IdError::Character(' ')));
        assert_eq!(CallId::new("a\nb"), Err(IdError::Character('\n')));
    }
}
