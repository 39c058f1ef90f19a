//! What the answer to `connect` tells of a call.

use std::time::Duration;

use crate::acd::feature::Authenticated;
use crate::acd::ids::{CallId, IdError};
use crate::esl::{ChannelId, Reply, SafeText};

use super::place::Remembered;
use super::variables::{CAME, FORWARDED, PLACE, SINCE};

/// Why a connection cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoCall {
    #[error("the reply to `connect` has no Unique-ID")]
    NoId,
    #[error("its Unique-ID {0:?} cannot be addressed: {1}")]
    Id(String, IdError),
    #[error("its Unique-ID {0:?} cannot be addressed")]
    Channel(String),
}

/// A call as FreeSWITCH hands it over.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) id: CallId,
    pub(crate) channel: ChannelId,
    /// Whether the dialplan has answered it.
    pub(crate) answered: bool,
    /// The number that was dialled.
    pub(crate) dialled: String,
    /// The caller's name, reduced.
    pub(crate) name: SafeText,
    /// The caller's number, reduced.
    pub(crate) number: SafeText,
    /// The authenticated user, if the phone is one of the directory.
    pub(crate) who: Option<Authenticated>,
    /// The user whose phone it is, where FreeSWITCH dialled it: no phone that calls can say that of itself.
    pub(crate) dialled_user: Option<Authenticated>,
    /// The leg of an agent whose phone forwarded it here.
    pub(crate) forwarded: bool,
    /// What `socket` was given behind the `/`.
    pub(crate) token: Option<String>,
    /// The directory's domain, as the dialplan has it.
    pub(crate) domain: Option<String>,
    /// Where a transfer leads.
    pub(crate) context: SafeText,
    /// The place the caller had before the controller was away.
    pub(crate) place: Option<Remembered>,
    /// How long the caller has been without a controller: held by the dialplan, or left alone by one that died.
    pub(crate) held_for: Option<Duration>,
    /// The caller was left alone and is here by our rescue ([`SINCE`]).
    pub(crate) rescued: bool,
    /// The call goes on behind `socket` already when we die.
    pub(crate) resumes: bool,
}

impl Channel {
    /// Reads the reply. The names of headers and variables are those of the captures.
    pub(crate) fn read(reply: &Reply) -> Result<Self, NoCall> {
        let header = |name: &str| reply.header(name).map(|v| v.into_owned()).unwrap_or_default();
        let variable = |name: &str| reply.variable(name).map(|v| v.into_owned()).filter(|v| !v.is_empty());
        let unique = reply.header("Unique-ID").ok_or(NoCall::NoId)?.into_owned();
        let id = CallId::new(&unique).map_err(|e| NoCall::Id(unique.clone(), e))?;
        let channel = ChannelId::new(&unique).map_err(|_| NoCall::Channel(unique))?;
        let dialled = variable("fsq_dialled").unwrap_or_else(|| header("Caller-Destination-Number"));
        let place = variable(PLACE).and_then(|text| {
            let place = Remembered::read(&text);
            if place.is_none() {
                tracing::warn!(call = %id, place = text, "a place in the line cannot be read: the caller stands behind all who wait; leave the variable {PLACE} alone");
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
            dialled_user: variable("dialed_user")
                .filter(|_| header("Call-Direction") == "outbound")
                .map(|user| Authenticated { user, domain: variable("dialed_domain") }),
            forwarded: variable(FORWARDED).is_some_and(|_| header("Call-Direction") == "inbound"),
            token: variable("socket_path"),
            domain: variable("domain_name"),
            context: SafeText::new(&context).or(SafeText::new("default")),
            place,
            held_for: held_for(
                variable(SINCE).or_else(|| variable("fsq_away").and_then(|_| variable(CAME))).as_deref(),
                &header("Event-Date-Timestamp"),
            ),
            rescued: variable(SINCE).is_some(),
            resumes: variable("socket_resume").as_deref() == Some("true"),
        })
    }
}

/// The longest that a caller is believed to have been held: what is longer is a clock that was set.
const LONGEST_HELD: Duration = Duration::from_secs(24 * 3600);

/// How long a caller who came then has been held. Both moments are FreeSWITCH's, in microseconds: its clock need not be
/// ours.
fn held_for(came: Option<&str>, now: &str) -> Option<Duration> {
    let (came, now): (u64, u64) = (came?.parse().ok()?, now.parse().ok()?);
    now.checked_sub(came).map(Duration::from_micros).filter(|held| *held <= LONGEST_HELD)
}

#[cfg(test)]
mod tests {
    use crate::esl::frame::{Decoder, FrameLimits};

    use super::*;

    /// Q4, Q19: only what can be is believed.
    #[test]
    fn the_time_without_a_controller_is_told_by_the_channel() {
        let day = 24 * 3600 * 1_000_000_u64;
        let of = |came: u64| held_for(Some(&came.to_string()), &(2 * day).to_string());
        assert_eq!(of(2 * day - 7_000_000), Some(Duration::from_secs(7)));
        assert_eq!(of(2 * day + 1), None);
        assert_eq!(of(day - 1), None);
        assert_eq!(held_for(Some("_undef_"), "5"), None);
        assert_eq!(held_for(None, "5"), None);
    }

    /// Q4, Q19: only who was held by the dialplan, or left alone, has waited before.
    #[test]
    fn who_has_just_come_has_not_waited() {
        let of = |variables: &str| {
            let text = format!(
                "Content-Type: command/reply\nReply-Text: %2BOK%0A\nUnique-ID: a\nEvent-Date-Timestamp: 9000000\n\
                 variable_fsq_came: 5000000\n{variables}\n"
            );
            let mut decoder = Decoder::new(FrameLimits::default());
            decoder.feed(text.as_bytes());
            let frame = decoder.decode().ok().flatten();
            let channel = frame.and_then(Reply::of_frame).and_then(|reply| Channel::read(&reply).ok());
            channel.map(|channel| (channel.held_for.map(|held| held.as_secs()), channel.rescued))
        };
        assert_eq!(of(""), Some((None, false)));
        assert_eq!(of("variable_fsq_away: xx\n"), Some((Some(4), false)));
        assert_eq!(of("variable_fsq_since: 3000000\n"), Some((Some(6), true)), "its dialplan has begun anew");
        assert_eq!(of("variable_fsq_away: x\nvariable_fsq_since: 3000000\n"), Some((Some(6), true)));
    }
}
