//! The channel variables that are ours, and the names of what we have executed.

use uuid::Uuid;

use crate::acd::call::Playing;

/// A caller's place in the line; see [`super::place`].
pub(crate) const PLACE: &str = "fsq_place";

/// Whether the dialplan has just held the caller, who comes back to a place: set in every pass, so that it is never that
/// of an earlier one.
pub(crate) const HELD: &str = "fsq_held";

/// The rounds in which the dialplan held the caller without us, one letter each.
pub(crate) const AWAY: &str = "fsq_away";

/// The queues a caller has timed out of, on the way from one to the next by a number that we transferred the call to.
pub(crate) const VISITED: &str = "fsq_visited";

/// FreeSWITCH's own: whom the channel was connected to last.
pub(crate) const LAST_BRIDGE: &str = "last_bridge_to";

/// When the caller came, in microseconds of FreeSWITCH's clock: set by the dialplan.
pub(crate) const CAME: &str = "fsq_came";

/// The same of a call that was left alone with nobody in charge, and is sent through its dialplan again, which sets
/// [`CAME`] anew.
pub(crate) const SINCE: &str = "fsq_since";

/// A leg's own variable: `yes` until it is answered.
pub(crate) const RINGING: &str = "fsq_ringing";

/// Where the caller's channel notes an `originate` that it has carried out.
pub(crate) const ORDER: &str = "fsq_order";

/// The SIP header, as mod_sofia names it in a variable, that goes with the leg of an agent whose forwards are followed.
/// The channel of a call that comes in with it is such a leg, sent back to us by the agent's phone.
pub(crate) const FORWARDED: &str = "sip_h_X-FSQ-Forwarded";

/// The first half of the ids of executed applications, an arbitrary constant of version 8 (RFC 9562).
pub(crate) const PLAYING: u64 = 0x6673_7100_706c_8001;

/// The name of the one transfer a session may order.
pub(crate) const TRANSFER: Uuid = Uuid::from_u64_pair(PLAYING, 0);

/// The name of something that is played, so that its end can be told from another's.
pub(crate) fn playing_uuid(playing: Playing) -> Uuid {
    Uuid::from_u64_pair(PLAYING, u64::from(playing.0))
}
