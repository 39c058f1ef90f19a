//! API commands and their results.

use std::borrow::Cow;
use std::fmt;

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::combinator::{rest, value};
use nom::{IResult, Parser};
use uuid::Uuid;

use super::cause::Cause;
use super::event::Event;
use super::kind::EventKind;
use super::text::{ChannelId, Line, TextError};

/// A command of FreeSWITCH's API, for `api` and `bgapi`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ApiCall(Line);

impl ApiCall {
    /// Validates a command that has no constructor of its own. Embed text from outside only as
    /// [`SafeText`](super::text::SafeText).
    ///
    /// # Errors
    /// [`TextError`] when it is empty, contains a line break or NUL, or names `mod_event_socket`.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, TextError> {
        let line = Line::new(text)?;
        if line.as_str().trim().is_empty() {
            return Err(TextError::Empty);
        }
        Ok(Self(line))
    }

    /// A command built from validated parts.
    pub(crate) fn of_checked(text: impl Into<Cow<'static, str>>) -> Self {
        Self(Line::of_checked(text))
    }

    /// Hangs up a channel. `LOSE_RACE` on a ringing leg leaves no missed call on the phone.
    pub fn uuid_kill(channel: &ChannelId, cause: Cause) -> Self {
        Self::of_checked(format!("uuid_kill {channel} {cause}"))
    }

    /// Hangs up a channel unless it is bridged, as FreeSWITCH itself sees it in that instant (`bridge_to`). A refusal
    /// means that it is bridged, or that there is no such channel.
    pub fn uuid_kill_unless_bridged(channel: &ChannelId, cause: Cause) -> Self {
        Self::of_checked(format!(
            "expand uuid_kill ${{cond(${{uuid_getvar({channel} bridge_to)}} == _undef_ ? {channel} : none)}} {cause}"
        ))
    }

    /// Bridges two channels.
    pub fn uuid_bridge(channel: &ChannelId, other: &ChannelId) -> Self {
        Self::of_checked(format!("uuid_bridge {channel} {other}"))
    }

    /// Stops the innermost playback on a channel.
    pub fn uuid_break(channel: &ChannelId) -> Self {
        Self::of_checked(format!("uuid_break {channel}"))
    }

    /// Asks whether a channel exists; the answer is `true` or `false`.
    pub fn uuid_exists(channel: &ChannelId) -> Self {
        Self::of_checked(format!("uuid_exists {channel}"))
    }

    /// Everything about a channel, as one JSON object that reads like an event.
    pub fn uuid_dump(channel: &ChannelId) -> Self {
        Self::of_checked(format!("uuid_dump {channel} json"))
    }

    /// Every channel, as JSON.
    pub fn show_channels() -> Self {
        Self::of_checked("show channels as json")
    }

    /// Every registration, as JSON.
    pub fn show_registrations() -> Self {
        Self::of_checked("show registrations as json")
    }

    /// The directory domain that FreeSWITCH assumes where none is given, as in `user/1001`; see
    /// [`Outcome::default_domain`].
    ///
    /// [`Outcome::default_domain`]: super::Outcome::default_domain
    pub fn default_domain() -> Self {
        Self::of_checked("global_getvar domain")
    }

    /// The command as it is sent.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ApiCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How FreeSWITCH's answer to a command begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// `+OK`, or plain output such as `true` or JSON.
    Done,
    /// `-ERR`, `-USAGE`.
    Refused,
}

/// Reads how a text begins, and returns the rest of it trimmed.
pub(crate) fn verdict(text: &str) -> (Verdict, &str) {
    fn prefix(text: &str) -> IResult<&str, (Verdict, &str)> {
        let refused = alt((tag("-ERR"), tag("-USAGE:"), tag("-")));
        alt(((value(Verdict::Refused, refused), rest), (value(Verdict::Done, tag("+OK")), rest))).parse_complete(text)
    }
    let (verdict, rest) = prefix(text).map_or((Verdict::Done, text), |(_, found)| found);
    (verdict, rest.trim())
}

/// The result of an API command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It succeeded; its output without a leading `+OK`. For `originate` that is the leg's UUID.
    Done(String),
    /// FreeSWITCH refused it or it failed; the text without the leading `-ERR`. For `originate` that is a hang-up
    /// cause.
    Failed(String),
}

impl JobOutcome {
    /// Reads the output of an API command.
    pub fn of_text(text: &str) -> Self {
        match verdict(text) {
            (Verdict::Done, text) => Self::Done(text.to_owned()),
            (Verdict::Refused, text) => Self::Failed(text.to_owned()),
        }
    }

    /// Why an `originate` failed: the cause that FreeSWITCH's text begins with; `None` when it did not fail.
    pub fn failure(&self) -> Option<Cause> {
        match self {
            Self::Done(_) => None,
            Self::Failed(text) => Some(
                text.split_ascii_whitespace().next().map_or(Cause::Other, |name| Cause::from_name(name.as_bytes())),
            ),
        }
    }
}

/// The result of a `bgapi` command: a BACKGROUND_JOB event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// The Job-UUID that was chosen when the command was sent.
    pub job: Uuid,
    /// The result.
    pub outcome: JobOutcome,
}

impl JobResult {
    /// Reads a BACKGROUND_JOB event; `None` for every other event, and when its Job-UUID is not a UUID.
    pub fn of_event(event: &Event) -> Option<Self> {
        if event.kind() != EventKind::BackgroundJob {
            return None;
        }
        let job = Uuid::try_parse(&event.header("Job-UUID")?).ok()?;
        Some(Self { job, outcome: JobOutcome::of_text(&event.body_text()) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_first_word_tells_success_from_refusal() {
        for (text, verdict_is, rest) in [
            ("+OK d781c667\n", Verdict::Done, "d781c667"),
            ("-ERR NO_ANSWER\n", Verdict::Refused, "NO_ANSWER"),
            ("-USAGE: <uuid>", Verdict::Refused, "<uuid>"),
            ("-nonsense", Verdict::Refused, "nonsense"),
            ("true", Verdict::Done, "true"),
            ("{\"row_count\":0}\n", Verdict::Done, "{\"row_count\":0}"),
            ("", Verdict::Done, ""),
        ] {
            assert_eq!(verdict(text), (verdict_is, rest), "{text:?}");
        }
    }

    #[test]
    fn a_failed_job_reports_its_cause() {
        let text = "Event-Name: BACKGROUND_JOB\nJob-UUID: 58c6b21c-2851-4a4e-9f9b-c8aea96c809b\nContent-Length: 19\n\n\
            -ERR CALL_REJECTED\n";
        let result = JobResult::of_event(&Event::plain(Bytes::from_static(text.as_bytes()))).unwrap();
        assert_eq!(result.job.to_string(), "58c6b21c-2851-4a4e-9f9b-c8aea96c809b");
        assert_eq!(result.outcome.failure(), Some(Cause::CallRejected));
        assert_eq!(JobOutcome::of_text("+OK x").failure(), None);
        assert_eq!(JobOutcome::of_text("-ERR").failure(), Some(Cause::Other));
        let other = text.replace("BACKGROUND_JOB", "CUSTOM");
        assert_eq!(JobResult::of_event(&Event::plain(other.into())), None);
    }

    #[test]
    fn api_commands_are_one_line() {
        let channel = ChannelId::new("abc").unwrap();
        assert_eq!(ApiCall::uuid_kill(&channel, Cause::LoseRace).as_str(), "uuid_kill abc LOSE_RACE");
        let spared = "expand uuid_kill ${cond(${uuid_getvar(abc bridge_to)} == _undef_ ? abc : none)} LOSE_RACE";
        assert_eq!(ApiCall::uuid_kill_unless_bridged(&channel, Cause::LoseRace).as_str(), spared);
        assert_eq!(ApiCall::new(" "), Err(TextError::Empty));
        assert!(ApiCall::new("status\n\nexit").is_err());
    }
}
