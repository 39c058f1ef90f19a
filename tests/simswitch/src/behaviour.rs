//! What a phone does when it is rung.

use std::time::Duration;

/// What a phone does when it is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Rings; the test decides.
    Manual,
    /// Answers after ringing this long.
    Answer {
        /// Ring time.
        after: Duration,
    },
    /// Answers after ringing this long and hangs up after talking this long.
    Converse {
        /// Ring time.
        after: Duration,
        /// From the answer to the hang-up.
        talk: Duration,
    },
    /// Rings until somebody gives up.
    Ignore,
    /// Answers 486 at once.
    Busy,
    /// Answers 603 after ringing this long.
    Decline {
        /// Ring time.
        after: Duration,
    },
    /// Gives this final answer after so long, 0 for at once, without having rung (no 18x).
    Refuse {
        /// From the INVITE to the answer.
        after: Duration,
        /// 300 to 699. What it says beside 302 is [`Behaviour::Forward`]'s.
        status: u16,
    },
    /// Rings, and gives this final answer after so long.
    RingRefuse {
        /// Ring time.
        after: Duration,
        /// 400 to 699.
        status: u16,
    },
    /// Answers 302 at once: followed to the phone of this number, unless `outbound_redirect_fatal` is set on the leg.
    Forward {
        /// The number of another phone.
        to: u32,
    },
    /// Rings until a `leg_timeout` of the directory ends that: `ALLOTTED_TIMEOUT`.
    LegTimeout {
        /// Ring time.
        after: Duration,
    },
    /// Does not answer the INVITE at all: `RECOVERY_ON_TIMER_EXPIRE` when SIP gives up.
    Crash,
}

/// The cause FreeSWITCH makes of a final answer (`sofia_glue_sip_cause_to_freeswitch`), and its number.
pub(crate) fn cause_of(status: u16) -> (&'static str, u8) {
    match status {
        401..=403 | 407 | 603 | 608 => ("CALL_REJECTED", 21),
        404 => ("UNALLOCATED_NUMBER", 1),
        485 | 604 => ("NO_ROUTE_DESTINATION", 3),
        408 | 504 => ("RECOVERY_ON_TIMER_EXPIRE", 102),
        410 => ("NUMBER_CHANGED", 22),
        480 => ("NO_USER_RESPONSE", 18),
        400 | 481 | 500 | 503 => ("NORMAL_TEMPORARY_FAILURE", 41),
        486 | 600 => ("USER_BUSY", 17),
        487 => ("ORIGINATOR_CANCEL", 231),
        488 | 606 => ("INCOMPATIBLE_DESTINATION", 88),
        502 => ("NETWORK_OUT_OF_ORDER", 38),
        _ => ("NORMAL_UNSPECIFIED", 31),
    }
}
