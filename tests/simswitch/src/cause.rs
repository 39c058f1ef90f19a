//! FreeSWITCH's hang-up causes (`switch_call_cause_t` in switch_types.h), and the cause of each final answer of a
//! phone.

/// Every cause that can be named in a command, with its number.
const KNOWN: &[(&str, u32)] = &[
    ("UNALLOCATED_NUMBER", 1),
    ("NO_ROUTE_TRANSIT_NET", 2),
    ("NO_ROUTE_DESTINATION", 3),
    ("NORMAL_CLEARING", 16),
    ("USER_BUSY", 17),
    ("NO_USER_RESPONSE", 18),
    ("NO_ANSWER", 19),
    ("SUBSCRIBER_ABSENT", 20),
    ("CALL_REJECTED", 21),
    ("NUMBER_CHANGED", 22),
    ("REDIRECTION_TO_NEW_DESTINATION", 23),
    ("EXCHANGE_ROUTING_ERROR", 25),
    ("DESTINATION_OUT_OF_ORDER", 27),
    ("INVALID_NUMBER_FORMAT", 28),
    ("FACILITY_REJECTED", 29),
    ("NORMAL_UNSPECIFIED", 31),
    ("NORMAL_CIRCUIT_CONGESTION", 34),
    ("NETWORK_OUT_OF_ORDER", 38),
    ("NORMAL_TEMPORARY_FAILURE", 41),
    ("SWITCH_CONGESTION", 42),
    ("REQUESTED_CHAN_UNAVAIL", 44),
    ("OUTGOING_CALL_BARRED", 52),
    ("INCOMING_CALL_BARRED", 54),
    ("SERVICE_UNAVAILABLE", 63),
    ("CHAN_NOT_IMPLEMENTED", 66),
    ("SERVICE_NOT_IMPLEMENTED", 79),
    ("INCOMPATIBLE_DESTINATION", 88),
    ("MANDATORY_IE_MISSING", 96),
    ("RECOVERY_ON_TIMER_EXPIRE", 102),
    ("INTERWORKING", 127),
    ("SUCCESS", 142),
    ("ORIGINATOR_CANCEL", 487),
    ("CRASH", 700),
    ("SYSTEM_SHUTDOWN", 701),
    ("LOSE_RACE", 702),
    ("MANAGER_REQUEST", 703),
    ("BLIND_TRANSFER", 800),
    ("ATTENDED_TRANSFER", 801),
    ("ALLOTTED_TIMEOUT", 802),
    ("USER_CHALLENGE", 803),
    ("MEDIA_TIMEOUT", 804),
    ("PICKED_OFF", 805),
    ("USER_NOT_REGISTERED", 806),
    ("PROGRESS_TIMEOUT", 807),
    ("INVALID_GATEWAY", 808),
    ("GATEWAY_DOWN", 809),
    ("INVALID_URL", 810),
    ("INVALID_PROFILE", 811),
    ("NO_PICKUP", 812),
    ("BOWOUT", 814),
    ("BUSY_EVERYWHERE", 815),
    ("DECLINE", 816),
    ("UNWANTED", 819),
];

/// A cause by its name; FreeSWITCH treats any other text as `NORMAL_CLEARING` (`switch_channel_str2cause`).
pub(crate) fn known(text: &str) -> String {
    let upper = text.trim().to_ascii_uppercase();
    if KNOWN.iter().any(|(name, _)| *name == upper) { upper } else { "NORMAL_CLEARING".into() }
}

/// Its number.
pub(crate) fn number(cause: &str) -> u32 {
    KNOWN.iter().find(|(name, _)| *name == cause).map_or(16, |(_, number)| *number)
}

/// Its Q.850 code; FreeSWITCH's own causes count as 16 (`switch_channel_cause_q850`).
pub(crate) fn q850(cause: &str) -> u32 {
    Some(number(cause)).filter(|number| *number <= 127).unwrap_or(16)
}

/// The cause with which a final SIP answer ends a leg (`sofia_glue_sip_cause_to_freeswitch` in sofia_glue.c).
pub(crate) fn of_status(status: u16) -> &'static str {
    match status {
        200 => "NORMAL_CLEARING",
        401 | 402 | 403 | 407 | 603 | 608 => "CALL_REJECTED",
        607 => "UNWANTED",
        404 => "UNALLOCATED_NUMBER",
        485 | 604 => "NO_ROUTE_DESTINATION",
        408 | 504 => "RECOVERY_ON_TIMER_EXPIRE",
        410 => "NUMBER_CHANGED",
        413 | 414 | 416 | 420 | 421 | 423 | 505 | 513 => "INTERWORKING",
        480 => "NO_USER_RESPONSE",
        400 | 481 | 500 | 503 => "NORMAL_TEMPORARY_FAILURE",
        486 | 600 => "USER_BUSY",
        484 => "INVALID_NUMBER_FORMAT",
        488 | 606 => "INCOMPATIBLE_DESTINATION",
        502 => "NETWORK_OUT_OF_ORDER",
        405 => "SERVICE_UNAVAILABLE",
        406 | 415 | 501 => "SERVICE_NOT_IMPLEMENTED",
        482 | 483 => "EXCHANGE_ROUTING_ERROR",
        487 => "ORIGINATOR_CANCEL",
        _ => "NORMAL_UNSPECIFIED",
    }
}
