//! The cause with which each final answer of a phone ends its leg; compared on the simulated switch and on a real one.

/// `sofia_glue_sip_cause_to_freeswitch` in sofia_glue.c.
pub(crate) const ANSWERS: [(u16, &str); 11] = [
    (403, "CALL_REJECTED"),
    (404, "UNALLOCATED_NUMBER"),
    (408, "RECOVERY_ON_TIMER_EXPIRE"),
    (480, "NO_USER_RESPONSE"),
    (486, "USER_BUSY"),
    (487, "ORIGINATOR_CANCEL"),
    (488, "INCOMPATIBLE_DESTINATION"),
    (500, "NORMAL_TEMPORARY_FAILURE"),
    (503, "NORMAL_TEMPORARY_FAILURE"),
    (600, "USER_BUSY"),
    (603, "CALL_REJECTED"),
];
