//! The names of our channel variables, and the ids of the applications we execute.

use uuid::Uuid;

use crate::acd::call::Playing;

/// A caller's place in the line; see [`super::place`].
pub(crate) const PLACE: &str = "fsq_place";

/// The caller's own head start, in seconds. The dialplan may set it before `socket` (Q25).
pub(crate) const HEAD_START: &str = "fsq_head_start";

/// Whether the dialplan has just held the caller, who returns to a kept place. The dialplan sets it in every pass, so
/// the value never dates from an earlier one.
pub(crate) const HELD: &str = "fsq_held";

/// The rounds in which the dialplan held the caller without a controller, one letter each.
pub(crate) const AWAY: &str = "fsq_away";

/// The queues that the caller has timed out of, when each timeout transferred the call to the number of the next queue.
pub(crate) const VISITED: &str = "fsq_visited";

/// FreeSWITCH's own variable: the channel that this one was last bridged to.
pub(crate) const LAST_BRIDGE: &str = "last_bridge_to";

/// When the caller arrived, in microseconds by FreeSWITCH's clock. The dialplan sets it.
pub(crate) const CAME: &str = "fsq_came";

/// The same moment for a call that no controller served and that we send through its dialplan again: the dialplan
/// overwrites [`CAME`].
pub(crate) const SINCE: &str = "fsq_since";

/// `true` on a caller whom another party has passed on, until the caller enters the queue.
pub(crate) const PASSED_ON: &str = "fsq_passed_on";

/// A variable of the leg: `yes` until the phone answers.
pub(crate) const RINGING: &str = "fsq_ringing";

/// The variable in which the caller's channel stores the reply to an `originate` that it has carried out.
pub(crate) const ORIGINATED: &str = "fsq_order";

/// The SIP header, under its mod_sofia variable name, on the leg of an agent whose forwards are followed. An incoming
/// call with this header is such a leg, which the agent's phone has forwarded back to us.
pub(crate) const FORWARDED: &str = "sip_h_X-FSQ-Forwarded";

/// The upper half of the ids of executed applications: an arbitrary constant of UUID version 8 (RFC 9562).
pub(crate) const PLAYING: u64 = 0x6673_7100_706c_8001;

/// The id of the `transfer` that a session may execute; there is at most one per session.
pub(crate) const TRANSFER: Uuid = Uuid::from_u64_pair(PLAYING, 0);

/// The id of a playback, which distinguishes its end from that of another.
pub(crate) fn playing_uuid(playing: Playing) -> Uuid {
    Uuid::from_u64_pair(PLAYING, u64::from(playing.0))
}
