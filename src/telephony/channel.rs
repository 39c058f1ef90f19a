//! Reads a call from the reply to `connect`.

use std::sync::Arc;
use std::time::Duration;

use crate::acd::feature::Authenticated;
use crate::acd::ids::{CallId, IdError, QueueNumber};
use crate::acd::rank::LONGEST_HEAD_START;
use crate::esl::{ChannelId, Event, Reply, SafeText};

use super::place::{Remembered, read_queues};
use super::variables::{AWAY, CAME, FORWARDED, HEAD_START, HELD, LAST_BRIDGE, PASSED_ON, PLACE, SINCE, VISITED};

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

/// When a caller arrived, in microseconds by FreeSWITCH's own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The Core-UUID of the FreeSWITCH process whose clock it is.
    pub(crate) switch: String,
    /// When the call arrived at this number.
    pub(crate) came: u64,
    /// When FreeSWITCH replied to `connect`.
    pub(crate) replied: u64,
}

impl Arrival {
    /// The time from `moment` to the reply to `connect`; `None` if FreeSWITCH's clock was set in between.
    pub(crate) fn since(&self, moment: u64) -> Option<Duration> {
        let lasts = self.replied.checked_sub(moment).map(Duration::from_micros);
        lasts.filter(|lasts| *lasts <= LONGEST_HELD)
    }

    /// The time from the call's arrival to the reply to `connect`.
    pub(crate) fn waited(&self) -> Duration {
        Duration::from_micros(self.replied.saturating_sub(self.came))
    }
}

/// The channel of a call, with what is needed of it as long as the call lasts: every waiting caller has one, so it is
/// small.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) id: CallId,
    pub(crate) channel: ChannelId,
    /// Whether the dialplan has answered it.
    pub(crate) answered: bool,
    /// The caller's name, reduced.
    pub(crate) name: SafeText,
    /// The caller's number, reduced.
    pub(crate) number: SafeText,
    /// The caller withholds name and number.
    pub(crate) withheld: bool,
    /// The directory's domain, from the dialplan.
    pub(crate) domain: Option<String>,
    /// The dialplan context that a transfer uses.
    pub(crate) context: SafeText,
    /// When FreeSWITCH replied to `connect`, in microseconds by its own clock, if it states when the caller arrived.
    pub(crate) replied: Option<u64>,
    /// No controller served the call, and our repair brought it back ([`SINCE`]).
    pub(crate) rescued: bool,
    /// `socket_resume` is already set: the dialplan continues behind `socket` if this process dies.
    pub(crate) resumes: bool,
}

/// A call as FreeSWITCH hands it over: its channel, and what only its way in needs.
#[derive(Clone, Debug)]
pub(crate) struct NewCall {
    pub(crate) channel: Channel,
    /// The number that was dialled.
    pub(crate) dialled: String,
    /// The authenticated user, if the phone belongs to the directory.
    pub(crate) who: Option<Authenticated>,
    /// The user of the phone, if FreeSWITCH dialled it. A phone that calls us cannot set this.
    pub(crate) dialled_user: Option<Authenticated>,
    /// The call is the leg of an agent, which the agent's phone forwarded here.
    pub(crate) forwarded: bool,
    /// The text behind the `/` in the argument of `socket`.
    pub(crate) token: Option<String>,
    /// When the caller arrived, if FreeSWITCH states it.
    pub(crate) arrival: Option<Arrival>,
    /// The place to which the caller returns, after the dialplan held the caller or no controller served the call. Any
    /// other caller enters anew, even if the channel still carries the place of an earlier wait.
    pub(crate) place: Option<Remembered>,
    /// The caller's own head start, as the dialplan set it.
    pub(crate) head_start: Duration,
    /// The queues that the caller has timed out of, if timeouts alone brought the call here.
    pub(crate) visited: Vec<QueueNumber>,
    /// The dialplan has held the caller and now returns the call.
    pub(crate) returns: bool,
    /// The Call-ID of the caller's phone.
    pub(crate) dialog: Option<Arc<str>>,
    /// The Call-ID of the call that this one replaces: an attended transfer was completed while that call waited.
    pub(crate) replaces: Option<String>,
    /// Another party has passed the caller on, and the caller was held until the earlier connection had ended.
    pub(crate) passed_on: bool,
    /// How long the caller has been without a controller: held by the dialplan, or abandoned by a controller that died.
    pub(crate) held_for: Option<Duration>,
}

impl NewCall {
    /// Reads the reply. The captures show the names of its headers and variables.
    pub(crate) fn read(reply: &Reply) -> Result<Self, NoCall> {
        let header = |name: &str| reply.header(name).map(|v| v.into_owned()).unwrap_or_default();
        let variable = |name: &str| reply.variable(name).map(|v| v.into_owned()).filter(|v| !v.is_empty());
        let unique = reply.header("Unique-ID").ok_or(NoCall::NoId)?.into_owned();
        let id = CallId::new(&unique).map_err(|e| NoCall::Id(unique.clone(), e))?;
        let channel = ChannelId::new(&unique).map_err(|_| NoCall::Channel(unique))?;
        let returns = variable(HELD).as_deref() == Some("true");
        let rescued = variable(SINCE).is_some();
        // `fsq_came`, where set, identifies the dialplan pass that set `fsq_dialled` together with it.
        let is_of_this_pass =
            |_: &String| returns || variable(CAME).is_none_or(|came| came == header("Caller-Profile-Created-Time"));
        let dialled = variable("fsq_dialled").filter(is_of_this_pass);
        let dialled = dialled.unwrap_or_else(|| header("Caller-Destination-Number"));
        let place = variable(PLACE).filter(|_| returns || rescued).and_then(|text| {
            let place = Remembered::read(&text);
            if place.is_none() {
                tracing::warn!(call = %id, place = text, "a caller's place in the line cannot be read, so the caller goes to the end of the line; do not change the variable {PLACE}");
            }
            place
        });
        // A caller who comes back keeps the head start of the place.
        let head_start = variable(HEAD_START)
            .filter(|_| place.is_none())
            .map_or(Duration::ZERO, |text| head_start(&text).unwrap_or_else(|| no_head_start(&id, &text)));
        let context = variable("fsq_context").unwrap_or_else(|| header("Caller-Context"));
        let arrival = arrival(reply);
        let channel = Channel {
            id,
            channel,
            answered: header("Answer-State") == "answered",
            name: SafeText::new(&header("Caller-Caller-ID-Name")),
            number: SafeText::new(&header("Caller-Caller-ID-Number")),
            withheld: withheld(&header, &variable),
            domain: variable("domain_name"),
            context: SafeText::new(&context).or(SafeText::new("default")),
            replied: arrival.as_ref().map(|arrival| arrival.replied),
            rescued,
            resumes: variable("socket_resume").as_deref() == Some("true"),
        };
        Ok(Self {
            channel,
            dialled,
            who: caller_of(&variable),
            dialled_user: variable("dialed_user")
                .filter(|_| header("Call-Direction") == "outbound")
                .map(|user| Authenticated { user, domain: variable("dialed_domain"), placed: false }),
            forwarded: variable(FORWARDED).is_some_and(|_| header("Call-Direction") == "inbound"),
            token: variable("socket_path"),
            arrival,
            place,
            head_start,
            // After a conversation, somebody who talked with the caller sent the call here, not a timeout.
            visited: variable(VISITED)
                .filter(|_| variable(LAST_BRIDGE).is_none())
                .and_then(|text| read_queues(&text))
                .unwrap_or_default(),
            returns,
            passed_on: variable(PASSED_ON).is_some(),
            dialog: variable("sip_call_id").map(Arc::from),
            replaces: variable("sip_refer_to").and_then(|refer_to| replaced(&refer_to)),
            held_for: held_for(
                variable(SINCE).or_else(|| variable(AWAY).and_then(|_| variable(CAME))).as_deref(),
                &header("Event-Date-Timestamp"),
            ),
        })
    }
}

/// The user whose credentials mod_sofia checked: it sets `sip_auth_username` from them; the phone merely claims the rest.
fn caller_of(variable: &impl Fn(&str) -> Option<String>) -> Option<Authenticated> {
    variable("sip_authorized").filter(|authorized| authorized == "true")?;
    Some(Authenticated {
        user: variable("sip_auth_username")?,
        domain: variable("domain_name").or_else(|| variable("sip_auth_realm")),
        placed: !SENT_HERE.iter().any(|name| variable(name).is_some()),
    })
}

/// Logs that a text is no head start, which counts as none.
fn no_head_start(id: &CallId, text: &str) -> Duration {
    let shown: String = text.chars().take(60).collect();
    tracing::warn!(call = %id, {HEAD_START} = shown, "a caller's head start is not a number of seconds, and counts as 0");
    Duration::ZERO
}

/// A head start in seconds, such as `90` or `2.5`, at most the longest (Q25); `None` for anything but such a number.
fn head_start(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: f64 = text.parse().ok().filter(|_| digits(whole) && digits(fraction))?;
    Some(Duration::from_millis((seconds.min(LONGEST_HEAD_START.as_secs_f64()) * 1000.0).round() as u64))
}

/// The Call-ID in the `Replaces` parameter of a `Refer-To` (RFC 3891). mod_sofia stores the `Refer-To` on the channel
/// that it transfers.
fn replaced(refer_to: &str) -> Option<String> {
    let value = refer_to.split("Replaces=").nth(1)?.split(['>', '&']).next()?;
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = behind.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match escaped.filter(|_| byte == b'%') {
            Some(decoded) => (bytes.push(decoded), rest = &behind[2..]).1,
            None => (bytes.push(byte), rest = behind).1,
        }
    }
    let replaces = String::from_utf8(bytes).ok()?;
    replaces.split(';').next().filter(|call| !call.is_empty()).map(str::to_owned)
}

/// The number of the party on a channel, from its `uuid_dump`: the caller's, or the called party's. Empty if withheld.
pub(crate) fn number_of(channel: &Event) -> SafeText {
    let header = |name: &str| channel.header(name).map(|v| v.into_owned()).unwrap_or_default();
    let variable = |name: &str| channel.variable(name).map(|v| v.into_owned()).filter(|v| !v.is_empty());
    if withheld(&header, &variable) {
        return SafeText::default();
    }
    let called = || Some(header("Caller-Callee-ID-Number")).filter(|number| !number.is_empty());
    SafeText::new(&match header("Call-Direction").as_str() {
        "outbound" => called().unwrap_or_else(|| header("Caller-Destination-Number")),
        _ => header("Caller-Caller-ID-Number"),
    })
}

fn arrival(reply: &Reply) -> Option<Arrival> {
    let moment = |name| reply.header(name)?.parse().ok().filter(|moment| *moment > 0);
    Some(Arrival {
        switch: reply.header("Core-UUID")?.into_owned(),
        came: moment("Caller-Profile-Created-Time")?,
        replied: moment("Event-Date-Timestamp")?,
    })
}

/// The variables that show that somebody else sent the call here: a blind transfer sets the first two, a call that a
/// REFER made the phone place has the third, and a channel that was bridged before has the last two (sofia.c,
/// switch_ivr_bridge.c). The dialplan's own `transfer` sets none of them.
const SENT_HERE: [&str; 5] =
    ["sip_h_Referred-By", "sip_refer_to", "sip_referred_by_user_stripped", "last_bridge_to", "bridge_uuid"];

/// Whether the caller withholds name and number: mod_sofia derived it from Remote-Party-ID and Privacy, the Privacy
/// header itself says so (RFC 3323), or the From is anonymous (RFC 3261, 8.1.1.3) and P-Asserted-Identity may hold the
/// number.
fn withheld(header: &impl Fn(&str) -> String, variable: &impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, words: &[&str]| {
        let value = variable(name).unwrap_or_default().to_ascii_lowercase();
        value.split([';', ',', ':', ' ']).any(|word| words.contains(&word.trim()))
    };
    ["Caller-Privacy-Hide-Number", "Caller-Privacy-Hide-Name"].iter().any(|name| header(name) == "true")
        || is("sip_Privacy", &["id", "user", "header", "full"])
        || is("sip_from_user", &["anonymous"])
        || is("sip_from_host", &["anonymous.invalid"])
        || header("Caller-Caller-ID-Number").eq_ignore_ascii_case("anonymous")
}

/// A user of the directory whom FreeSWITCH authenticated or dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) domain: String,
}

/// The user whose phone a channel belongs to (Q5): the authenticated user of an inbound channel, the dialled user of an
/// outbound one. `presence_id` proves nothing: FreeSWITCH builds it from the From header (sofia.c).
pub(crate) fn user_of(event: &Event) -> Option<User> {
    let variable = |name: &str| event.variable(name).map(|v| v.into_owned()).filter(|v| !v.is_empty());
    let (name, domain) = if variable("direction").as_deref() == Some("outbound") {
        (variable("dialed_user")?, variable("dialed_domain")?)
    } else {
        variable("sip_authorized").filter(|authorized| authorized == "true")?;
        (variable("sip_auth_username")?, variable("domain_name").or_else(|| variable("sip_auth_realm"))?)
    };
    Some(User { name, domain })
}

impl Channel {
    /// The moment `ago` before the present, in microseconds by FreeSWITCH's own clock, where `passed` is the time since
    /// it replied to `connect`; `None` if it does not state when the caller arrived.
    pub(crate) fn moment(&self, passed: Duration, ago: Duration) -> Option<u64> {
        let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
        Some(self.replied?.saturating_add(micros(passed)).saturating_sub(micros(ago)))
    }

    /// Erases the caller's name and number, so that nothing can reveal a withheld identity from here on.
    pub(crate) fn hide_caller(&mut self) {
        self.name = SafeText::new("");
        self.number = SafeText::new("");
    }
}

/// The longest credible hold of a caller; a longer one means that the clock was set.
const LONGEST_HELD: Duration = Duration::from_secs(24 * 3600);

/// The time from `came` to `now`. Both are in microseconds by FreeSWITCH's clock, which may differ from ours.
fn held_for(came: Option<&str>, now: &str) -> Option<Duration> {
    let (came, now): (u64, u64) = (came?.parse().ok()?, now.parse().ok()?);
    now.checked_sub(came).map(Duration::from_micros).filter(|held| *held <= LONGEST_HELD)
}

#[cfg(test)]
mod tests {
    use crate::esl::frame::{Decoder, FrameLimits};

    use super::*;

    /// Q103: the Call-ID is read whichever characters the phone escapes.
    #[test]
    fn the_replaced_call_is_named_by_its_call_id() {
        let of = |text: &str| replaced(text);
        let escaped = "<sip:99901@lab?Replaces=3-77%40127.0.0.1%3Bto-tag%3Da%3Bfrom-tag%3Db>";
        assert_eq!(of(escaped).as_deref(), Some("3-77@127.0.0.1"));
        assert_eq!(of("<sip:lab?Replaces=x;to-tag=a&Require=replaces>").as_deref(), Some("x"));
        for none in ["<sip:1005@lab>", "<sip:lab?Replaces=>", "<sip:lab?Replaces=%FF%3B>"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of("<sip:lab?Replaces=100%>").as_deref(), Some("100%"));
    }

    /// Q25: more than an hour counts as an hour, and anything that is no number of seconds as nothing.
    #[test]
    fn q25_the_channel_states_the_head_start() {
        let of = |text: &str| call(&format!("variable_fsq_head_start: {text}\n")).map(|c| c.head_start.as_millis());
        let read = [("90", 90_000), ("2.5", 2_500), ("0", 0), ("3600", 3_600_000), ("3600.001", 3_600_000)];
        let huge = "9".repeat(400);
        for (text, ms) in read.into_iter().chain([("99999999999999999999", 3_600_000), (huge.as_str(), 3_600_000)]) {
            assert_eq!(of(text), Some(ms), "{text}");
        }
        for odd in ["", "-1", "-0", "+5", "1e3", "inf", "NaN", "1,5", "1.", ".5", "90s", "_undef_", "0x10", "é"] {
            assert_eq!(of(odd), Some(0), "{odd}");
        }
    }

    /// Q4, Q19: an impossible time is ignored.
    #[test]
    fn the_channel_states_the_time_without_a_controller() {
        let day = 24 * 3600 * 1_000_000_u64;
        let of = |came: u64| held_for(Some(&came.to_string()), &(2 * day).to_string());
        assert_eq!(of(2 * day - 7_000_000), Some(Duration::from_secs(7)));
        assert_eq!(of(2 * day + 1), None);
        assert_eq!(of(day - 1), None);
        assert_eq!(held_for(Some("_undef_"), "5"), None);
        assert_eq!(held_for(None, "5"), None);
    }

    fn call(variables: &str) -> Option<NewCall> {
        let text = format!(
            "Content-Type: command/reply\nReply-Text: %2BOK%0A\nUnique-ID: a\nCaller-Caller-ID-Number: 0791\n{variables}\n"
        );
        let mut decoder = Decoder::new(FrameLimits::default());
        decoder.feed(text.as_bytes());
        let frame = decoder.decode().ok().flatten();
        frame.and_then(Reply::of_frame).and_then(|reply| NewCall::read(&reply).ok())
    }

    /// Q17: every way in which a caller can withhold the number is recognised.
    #[test]
    fn every_way_to_withhold_a_number_is_recognised() {
        let is_withheld = |variables: &str| call(variables).map(|call| call.channel.withheld);
        for open in [
            "",
            "Caller-Privacy-Hide-Number: false\nCaller-Privacy-Hide-Name: false\n",
            "variable_sip_Privacy: none\n",
            "variable_sip_from_user: idunno\nvariable_sip_from_host: example.net\n",
        ] {
            assert_eq!(is_withheld(open), Some(false), "{open}");
        }
        for hidden in [
            "Caller-Privacy-Hide-Number: true\n",
            "Caller-Privacy-Hide-Name: true\n",
            "variable_sip_Privacy: id\n",
            "variable_sip_Privacy: critical;User\n",
            "variable_sip_from_user: Anonymous\n",
            "variable_sip_from_user: x\nvariable_sip_from_host: anonymous.invalid\n",
        ] {
            assert_eq!(is_withheld(hidden), Some(true), "{hidden}");
        }
    }

    /// Q14: a feature code counts only in a call that its user placed.
    #[test]
    fn a_transferred_call_is_not_placed_by_its_user() {
        let user = "variable_sip_auth_username: 1001\nvariable_sip_authorized: true\n";
        let placed = |more: &str| call(&format!("{user}{more}")).and_then(|c| c.who).map(|who| who.placed);
        assert_eq!(placed(""), Some(true));
        assert_eq!(
            placed("variable_transfer_source: 1:a:bl_xfer:*4199900/default/XML\n"),
            Some(true),
            "by the dialplan"
        );
        for sent in SENT_HERE {
            assert_eq!(placed(&format!("variable_{sent}: x\n")), Some(false), "{sent}");
        }
    }

    /// Q4, Q19: only a caller whom the dialplan held, or whom no controller served, has waited before.
    #[test]
    fn a_new_caller_has_not_waited() {
        let of = |variables: &str| {
            let text = format!(
                "Content-Type: command/reply\nReply-Text: %2BOK%0A\nUnique-ID: a\nEvent-Date-Timestamp: 9000000\n\
                 variable_fsq_came: 5000000\n{variables}\n"
            );
            let mut decoder = Decoder::new(FrameLimits::default());
            decoder.feed(text.as_bytes());
            let frame = decoder.decode().ok().flatten();
            let call = frame.and_then(Reply::of_frame).and_then(|reply| NewCall::read(&reply).ok());
            call.map(|call| (call.held_for.map(|held| held.as_secs()), call.channel.rescued))
        };
        assert_eq!(of(""), Some((None, false)));
        assert_eq!(of("variable_fsq_away: xx\n"), Some((Some(4), false)));
        assert_eq!(of("variable_fsq_since: 3000000\n"), Some((Some(6), true)), "its dialplan has started again");
        assert_eq!(of("variable_fsq_away: x\nvariable_fsq_since: 3000000\n"), Some((Some(6), true)));
    }
}
