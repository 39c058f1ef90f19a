//! What the answer to `connect` tells of a call.

use std::time::Duration;

use crate::acd::feature::Authenticated;
use crate::acd::ids::{CallId, IdError};
use crate::esl::{ChannelId, Reply, SafeText};

use super::place::{Remembered, VARIABLE};

/// Why a connection cannot be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCall {
    #[error("the reply to `connect` has no Unique-ID")]
    NoId,
    #[error("its Unique-ID {0:?} cannot be addressed: {1}")]
    Id(String, IdError),
    #[error("its Unique-ID {0:?} cannot be addressed")]
    Channel(String),
}

/// A call as FreeSWITCH hands it over.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) id: CallId,
    pub(super) channel: ChannelId,
    /// Whether the dialplan has answered it.
    pub(super) answered: bool,
    /// The number that was dialled.
    pub(super) dialled: String,
    /// The caller's name, reduced.
    pub(super) name: SafeText,
    /// The caller's number, reduced.
    pub(super) number: SafeText,
    /// The authenticated user, if the phone is one of the directory.
    pub(super) who: Option<Authenticated>,
    /// What `socket` was given behind the `/`.
    pub(super) token: Option<String>,
    /// The directory's domain, as the dialplan has it.
    pub(super) domain: Option<String>,
    /// Where a transfer leads.
    pub(super) context: SafeText,
    /// The place the caller had before the controller was away.
    pub(super) place: Option<Remembered>,
    /// How long the dialplan has held the caller without a controller, since the caller came.
    pub(super) held_for: Option<Duration>,
    /// The call goes on behind `socket` already when we die.
    pub(super) resumes: bool,
}

impl Channel {
    /// Reads the reply. The names of headers and variables are those of the captures.
    pub(super) fn read(reply: &Reply) -> Result<Self, NoCall> {
        let header = |name: &str| reply.header(name).map(|v| v.into_owned()).unwrap_or_default();
        let variable = |name: &str| reply.variable(name).map(|v| v.into_owned()).filter(|v| !v.is_empty());
        let unique = reply.header("Unique-ID").ok_or(NoCall::NoId)?.into_owned();
        let id = CallId::new(&unique).map_err(|e| NoCall::Id(unique.clone(), e))?;
        let channel = ChannelId::new(&unique).map_err(|_| NoCall::Channel(unique))?;
        let dialled = variable("fsq_dialled").unwrap_or_else(|| header("Caller-Destination-Number"));
        let place = variable(VARIABLE).and_then(|text| {
            let place = Remembered::read(&text);
            if place.is_none() {
                tracing::warn!(call = %id, place = text, "a place in the line cannot be read: the caller stands behind all who wait; leave the variable {VARIABLE} alone");
            }
            place
        });
        let context = variable("fsq_context").unwrap_or_else(|| header("Caller-Context"));
        Ok(Self {
            id,
            channel,
            answered: header("Answer-State") == "answered",
            dialled,
            name: SafeText::new(&header("Caller-Caller-ID-Name")),
            number: SafeText::new(&header("Caller-Caller-ID-Number")),
            // `sip_auth_username` is set by mod_sofia from the credentials that were checked; everything else
            // is what the phone claims.
            who: variable("sip_auth_username").filter(|_| variable("sip_authorized").as_deref() == Some("true")).map(
                |user| Authenticated { user, domain: variable("domain_name").or_else(|| variable("sip_auth_realm")) },
            ),
            token: variable("socket_path"),
            domain: variable("domain_name"),
            context: SafeText::new(&context).or(SafeText::new("default")),
            place,
            held_for: held_for(
                variable("fsq_away").as_deref(),
                variable("fsq_came").as_deref(),
                &header("Event-Date-Timestamp"),
            ),
            resumes: variable("socket_resume").as_deref() == Some("true"),
        })
    }
}

/// The longest that a caller is believed to have been held: what is longer is a clock that was set.
const LONGEST_HELD: Duration = Duration::from_secs(24 * 3600);

/// How long the dialplan has held a caller: it counts rounds in `away`, and noted when the caller came. Both moments are
/// FreeSWITCH's, in microseconds: its clock need not be ours.
fn held_for(away: Option<&str>, came: Option<&str>, now: &str) -> Option<Duration> {
    away?;
    let (came, now): (u64, u64) = (came?.parse().ok()?, now.parse().ok()?);
    now.checked_sub(came).map(Duration::from_micros).filter(|held| *held <= LONGEST_HELD)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Q4, Q19: only who was held by the dialplan has waited before, and only by what can be.
    #[test]
    fn the_time_without_a_controller_is_told_by_the_channel() {
        let day = 24 * 3600 * 1_000_000_u64;
        let of = |away, came: u64| held_for(away, Some(&came.to_string()), &(2 * day).to_string());
        assert_eq!(of(Some("xx"), 2 * day - 7_000_000), Some(Duration::from_secs(7)));
        assert_eq!(of(None, 2 * day - 7_000_000), None);
        assert_eq!(of(Some("x"), 2 * day + 1), None);
        assert_eq!(of(Some("x"), day - 1), None);
        assert_eq!(held_for(Some("x"), Some("_undef_"), "5"), None);
        assert_eq!(held_for(Some("x"), None, "5"), None);
    }
}
