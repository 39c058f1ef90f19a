//! Each [`Wire`](crate::acd::call::Wire) effect of a call, as the commands that FreeSWITCH carries out.
//!
//! Owns the words: applications, `originate` and its variables, `uuid_*` requests, and who is in charge of the channel
//! (see [`telephony`](super)). Must not choose when one is sent, keep state, or write to a connection.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::acd::announce::HIGHEST;
use crate::acd::call::{Parting, Playing, Saying};
use crate::acd::fact::{CancelCause, MissCause};
use crate::acd::ids::{OfferId, QueueNumber};
use crate::acd::settings::{AgentSettings, Language, Music, QueueSettings};
use crate::esl::command::{EventSet, Filter};
use crate::esl::dial::VariableName;
use crate::esl::text::TextError;
use crate::esl::{ApiCall, Cause, ChannelId, Command, Endpoint, EventKind, Execute, OnAnswer, Originate, SafeText};

use super::channel::Channel;
use super::directory::Entry;
use super::place::{Remembered, write_queues};
use super::settings::Settings;
use super::variables::{
    AWAY, FORWARDED, HELD, LAST_BRIDGE, ORIGINATED, PASSED_ON, PLACE, RINGING, TRANSFER, VISITED, playing_uuid,
};

/// How long the connection stays open after the caller's hang-up, so that the last events of the legs arrive.
const LINGER_SECONDS: u16 = 10;

/// The ring tone of Switzerland and most of Europe: 425 Hz, 1 s on, 4 s off.
const RINGTONE: &str = "tone_stream://%(1000,4000,425);loops=-1";

/// FreeSWITCH counts `originate_timeout` in calendar seconds and may end up to one second early. We therefore set a
/// longer timeout and end the ringing on time ourselves.
const RING_TIME_MARGIN: Duration = Duration::from_secs(2);

/// FreeSWITCH's variable for the partner of a ringing leg (`SWITCH_ORIGINATE_SIGNAL_BOND_VARIABLE`): a pickup of the
/// leg, by an INVITE with `Replaces` or by `intercept -bleg`, is connected to this caller (sofia.c,
/// switch_ivr_bridge.c).
const BOND: &str = "originate_signal_bond";

/// The variable of a channel whose phone gets no change of the other party's name and number
/// (`SWITCH_IGNORE_DISPLAY_UPDATES_VARIABLE`, switch_core_session.c).
const KEEP_DISPLAY: &str = "ignore_display_updates";

/// How many seconds after the answer the agent's phone begins to show another party to whom the agent is connected. As
/// soon as the bridge plays, FreeSWITCH sends the caller's name and number to the phone, without the queue's name
/// (switch_ivr_bridge.c, measured).
const DISPLAY_IS_KEPT: u8 = 2;

/// FreeSWITCH hangs up an answered leg that is not connected within this time, so that no agent answers into silence
/// even if this process is no longer there to end the leg.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

/// The first commands on the connection of a waiting caller. The filter precedes `event`, so that FreeSWITCH sends
/// events of this call only.
pub(crate) fn setup(channel: &ChannelId) -> [Command; 3] {
    [
        Command::Filter(Filter::channel(channel)),
        Command::Events(EventSet::of(&[
            EventKind::ChannelCreate,
            EventKind::ChannelProgress,
            EventKind::ChannelProgressMedia,
            EventKind::ChannelAnswer,
            EventKind::ChannelBridge,
            EventKind::ChannelHangup,
            EventKind::ChannelHangupComplete,
            EventKind::ChannelExecuteComplete,
            EventKind::ChannelPark,
            EventKind::ChannelUnpark,
            EventKind::BackgroundJob,
        ])),
        Command::Linger(LINGER_SECONDS),
    ]
}

/// Sets a variable of the caller's channel.
pub(crate) fn set(name: &str, value: &str) -> Result<Command, TextError> {
    Ok(Execute::with("set", &format!("{name}={value}"))?.into())
}

/// Plays music until something else is played.
pub(crate) fn music(playing: Playing, music: &Music) -> Result<Command, TextError> {
    let execute = match music {
        Music::Ringtone => Execute::with("playback", RINGTONE)?,
        Music::Stream(url) => Execute::with("playback", url)?,
        Music::File(path) => Execute::with("endless_playback", path)?,
    };
    Ok(execute.event_uuid(playing_uuid(playing)).into())
}

/// Whether the start of this music may block the channel: a stream from the network may not answer.
pub(crate) fn may_take_a_while(music: &Music) -> bool {
    let is_here =
        |url: &str| ["local_stream://", "tone_stream://", "silence_stream://"].iter().any(|s| url.starts_with(s));
    matches!(music, Music::Stream(url) if !is_here(url))
}

/// Plays a prompt or message to its end; it interrupts the music.
pub(crate) fn say(playing: Playing, saying: &Saying, settings: &Settings) -> Result<Command, TextError> {
    let file = match saying {
        Saying::Message(file) => file.to_string(),
        Saying::Position(position, language) if *position > HIGHEST => {
            format!("{}/{language}/position-more.wav", settings.prompts)
        }
        Saying::Position(position, language) => format!("{}/{language}/position-{position}.wav", settings.prompts),
    };
    Ok(Execute::with("playback", &unless_connected(&file))?.locked().event_uuid(playing_uuid(playing)).into())
}

/// A file name that expands to silence once the caller is connected. FreeSWITCH expands the argument when playback
/// starts; without this, a prompt sent just before the phone answers would play into the conversation (measured). The
/// condition is `socket_resume`, which the leg sets to `false` at the instant of the answer.
fn unless_connected(file: &str) -> String {
    if file.contains([':', '?', '\'', ' ', '(', ')']) {
        // `cond` could not tell where the file's name ends.
        return file.to_owned();
    }
    format!("${{cond(${{socket_resume}} == true ? {file} : silence_stream://1)}}")
}

/// Asks which user mod_sofia authenticated for the channel that a caller is connected to. The reply is `_undef_` if
/// there is no such user, and a refusal if the caller is connected to no channel. The event of the bridge does not
/// show it: it comes on the other channel (switch_ivr_uuid_bridge, measured), whose events this connection does not
/// get.
pub(crate) fn partner_of(caller: &ChannelId) -> Result<ApiCall, TextError> {
    ApiCall::new(format!("expand uuid_getvar ${{uuid_getvar({caller} signal_bond)}} sip_auth_username"))
}

/// Asks whether the switch has `mod_hash`; the reply is `true` or `false`.
pub(crate) fn has_mod_hash() -> Result<ApiCall, TextError> {
    ApiCall::new("module_exists mod_hash")
}

/// Asks which phones are registered for an agent's account; see [`Endpoint::contacts`].
pub(crate) fn phones(agent: &AgentSettings, settings: &Settings) -> Result<ApiCall, TextError> {
    let domain = settings.domain.as_ref().map(|domain| format!("@{domain}")).unwrap_or_default();
    ApiCall::new(format!("sofia_contact */{}{domain}", agent.id))
}

/// One phone of an agent who has several.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    /// Where it is registered.
    pub(crate) endpoint: Endpoint,
    /// The directory's variables for its user.
    pub(crate) entry: Entry,
}

/// Rings an agent's phone on the leg `leg`, at `contact` or where the directory says. Returns the filters that must
/// precede the `originate`, for the events of the leg and of the job, which has the leg's UUID; and the `originate`
/// itself.
///
/// With `first_wins`, other phones may ring for the caller too, and `mod_hash` decides which answer was first. Without
/// `mod_hash` no answer cuts the caller off either (measured), but if two agents answer at the same instant, one of
/// them hears nobody until we end that leg.
pub(crate) fn ring(
    leg: Uuid,
    contact: Option<&Contact>,
    first_wins: bool,
    agent: &AgentSettings,
    queue: &QueueSettings,
    caller: &Channel,
    settings: &Settings,
) -> Result<([Command; 2], ApiCall), TextError> {
    let (job, leg) = (leg, ChannelId::from(leg));
    let endpoint = match (contact, &agent.dial, &settings.domain) {
        (Some(contact), ..) => contact.endpoint.clone(),
        (None, Some(dial), _) => Endpoint::new(dial)?,
        (None, None, Some(domain)) => Endpoint::user(agent.id.as_str(), domain)?,
        (None, None, None) => Endpoint::new(&format!("user/{}", agent.id))?,
    };
    let mut originate = Originate::new(job, endpoint)
        .caller_id(display_name(queue, caller), shown_number(caller))
        .ring_time(queue.ring_time + RING_TIME_MARGIN)
        .ignore_early_media()
        .hangup_after_bridge()
        .only_to_connect(CONNECTED_WITHIN)
        .variable(&VariableName::new(RINGING)?, &SafeText::new("yes"))
        .variable(&VariableName::new("fsq_agent")?, &SafeText::new(agent.id.as_str()))
        .variable(&VariableName::new("fsq_queue")?, &SafeText::new(queue.number.as_str()))
        .variable(&VariableName::new("fsq_call")?, &SafeText::new(caller.id.as_str()));
    originate = match agent.follow_forwards {
        false => originate
            .variable(&VariableName::new("outbound_redirect_fatal")?, &SafeText::new("true"))
            .variable(&VariableName::new(BOND)?, &SafeText::new(caller.id.as_str())),
        // Without the bond: FreeSWITCH sends the partner of a leg to the new number instead of the leg (sofia.c), and the
        // caller was lost (measured).
        // A leg forwarded to a queue would count as a caller there: the header identifies it.
        true => originate.variable(&VariableName::new(FORWARDED)?, &SafeText::new("yes")),
    };
    if caller.withheld {
        // The privacy flag also reaches the network behind the leg, such as a gateway.
        let hide = SafeText::new("hide_name hide_number");
        originate = originate.variable(&VariableName::new("origination_privacy")?, &hide);
    }
    if let Some(contact) = contact {
        let offer = OfferId::of_leg(job).to_string();
        originate = originate.variable(&VariableName::new("fsq_offer")?, &SafeText::new(&offer));
        for (name, value) in &contact.entry.dialled {
            originate = originate.variable(name, value);
        }
    }
    if contact.is_some()
        && let Some(domain) = settings.domain.as_ref().or(caller.domain.as_ref())
    {
        // The variables that the directory's dial string and `user/` would set.
        let (user, domain) = (SafeText::new(agent.id.as_str()), SafeText::new(domain));
        originate = originate
            .variable(&VariableName::new("dialed_user")?, &user)
            .variable(&VariableName::new("dialed_domain")?, &domain)
            .variable(&VariableName::new("sip_invite_domain")?, &domain)
            .variable(&VariableName::new("presence_id")?, &SafeText::new(&format!("{user}@{domain}")));
    }
    originate = originate.on_answer(&answered(&leg, contact)?);
    if first_wins {
        originate = originate.on_answer(&OnAnswer::TakePlace { leg: leg.clone(), channel: caller.channel.clone() });
    }
    for action in connects(&leg, &caller.channel)? {
        originate = originate.on_answer(&action);
    }
    Ok(([Command::Filter(Filter::channel(&leg)), Command::Filter(Filter::job(job))], originate.call()))
}

/// Sets the variables of a leg at the instant of its answer. It clears those that only this `originate` needs, because
/// FreeSWITCH copies them to every further leg that this one calls (switch_ivr_originate.c): a party to whom the agent
/// passes the caller on could not be connected (measured: both heard nothing, and FreeSWITCH hung up after 3.6 s). From
/// then on the bridge shows whom the leg belongs to. It also sets the directory's variables for the user, as `user/`
/// does.
fn answered(leg: &ChannelId, contact: Option<&Contact>) -> Result<OnAnswer, TextError> {
    let mut values = vec![(VariableName::new(RINGING)?, SafeText::new("no"))];
    for name in ["group_confirm_key", "group_confirm_timeout", "ignore_early_media", BOND, FORWARDED] {
        values.push((VariableName::new(name)?, SafeText::default()));
    }
    values.push((VariableName::new(KEEP_DISPLAY)?, SafeText::new("true")));
    values.extend(contact.into_iter().flat_map(|contact| contact.entry.answered.clone()));
    Ok(OnAnswer::SetVariables { channel: leg.clone(), values })
}

/// Connects the caller to the answered leg, and makes the call independent of this process.
fn connects(leg: &ChannelId, caller: &ChannelId) -> Result<[OnAnswer; 3], TextError> {
    let (name, value) = (VariableName::new("socket_resume")?, SafeText::new("false"));
    let later = VariableName::new(KEEP_DISPLAY)?;
    Ok([
        OnAnswer::SetVariable { channel: caller.clone(), name, value },
        OnAnswer::Bridge { channel: caller.clone(), other: leg.clone() },
        OnAnswer::UnsetLater { channel: leg.clone(), name: later, seconds: DISPLAY_IS_KEPT },
    ])
}

/// An `originate` that the caller's channel carries out. `None` if the channel could not parse it unchanged, because a
/// name in it has an unbalanced bracket.
pub(crate) fn by_channel(leg: Uuid, call: &ApiCall) -> Option<Command> {
    let name = VariableName::new(ORIGINATED).ok()?;
    Execute::background(&name, leg, call).ok().map(Command::from)
}

/// Makes the caller's own channel anonymous. FreeSWITCH takes from it the name and number that `uuid_bridge` sends to
/// the agent's phone by UPDATE (measured), and those that the next phone shows when the agent passes the caller on.
pub(crate) fn hide_caller() -> Result<[Command; 2], TextError> {
    let set = |part: &str| Ok(Execute::with("set_profile_var", part)?.into());
    Ok([set("caller_id_name=Anonymous")?, set("caller_id_number=anonymous")?])
}

/// The number that the agent's phone shows. A withheld number is sent as `anonymous`, because FreeSWITCH replaces an
/// empty one with zeros.
fn shown_number(caller: &Channel) -> SafeText {
    if caller.withheld { SafeText::new("anonymous") } else { caller.number.clone() }
}

/// The name that the agent's phone shows: the queue's name, then the caller's (Q17). It has no colon, because the phone
/// would show only the part behind it.
fn display_name(queue: &QueueSettings, caller: &Channel) -> SafeText {
    let anonymous = SafeText::new("Anonymous");
    let name = match (&caller.name, &caller.number) {
        _ if caller.withheld => &anonymous,
        (name, number) if name.is_empty() => number,
        (name, _) => name,
    };
    // A `/` would hide everything before it (measured).
    SafeText::new(&format!("{} - {name}", SafeText::new(&queue.name)).replace('/', " "))
}

/// Ends a ringing leg. The second value is true if a refusal means that the leg does not exist or is connected.
///
/// While the caller could still be connected to this leg, FreeSWITCH ends it only if it is still ringing at that
/// instant, because the event of its answer may not have reached us yet (measured: of 40 answers within 4 ms of the
/// command, a plain `uuid_kill` cut 3 callers off, this one none). A refusal then means that the leg is answered or
/// gone.
pub(crate) fn call_off(leg: Uuid, cause: CancelCause) -> Result<(ApiCall, bool), TextError> {
    match cause {
        CancelCause::AnsweredElsewhere => Ok((end_leg(leg, Cause::LoseRace), true)),
        CancelCause::CallerGone => Ok((end_leg(leg, Cause::OriginatorCancel), true)),
        CancelCause::CallTimedOut => Ok((end_if_ringing(leg, Cause::OriginatorCancel)?, false)),
        // Another agent gets the caller: no phone shall show a missed call.
        CancelCause::LoggedOut
        | CancelCause::Reconfigured
        | CancelCause::Draining
        | CancelCause::Requested
        | CancelCause::CallTaken
        | CancelCause::Restart => Ok((end_if_ringing(leg, Cause::LoseRace)?, false)),
    }
}

/// Ends a leg that the agent missed for this reason, unless it was answered meanwhile.
pub(crate) fn ring_out(leg: Uuid, cause: MissCause) -> Result<ApiCall, TextError> {
    let cause = if cause == MissCause::Silent { Cause::ProgressTimeout } else { Cause::NoAnswer };
    end_if_ringing(leg, cause)
}

/// Ends a leg if it is still ringing.
pub(crate) fn end_if_ringing(leg: Uuid, cause: Cause) -> Result<ApiCall, TextError> {
    ApiCall::new(format!("expand uuid_kill ${{cond(${{uuid_getvar({leg} {RINGING})}} == yes ? {leg} : none)}} {cause}"))
}

/// Ends a leg that is a loopback channel, as one that cannot be rung.
pub(crate) fn refuse_loopback(leg: Uuid) -> Result<ApiCall, TextError> {
    end_if_ringing(leg, Cause::ChanNotImplemented)
}

/// Ends a leg unless FreeSWITCH has connected it to anybody, now or earlier, at that instant (Q8). A refusal means that
/// the leg is or was connected, or does not exist.
pub(crate) fn end_if_silent(leg: Uuid, cause: Cause) -> Result<ApiCall, TextError> {
    ApiCall::new(format!(
        "expand uuid_kill ${{cond(${{uuid_getvar({leg} bridge_to)}}${{uuid_getvar({leg} {LAST_BRIDGE})}} == _undef__undef_ ? {leg} : none)}} {cause}"
    ))
}

/// Ends a leg unless FreeSWITCH has it connected to anybody at that instant: we never end a conversation (Q8). A
/// refusal means that the leg is connected or does not exist.
pub(crate) fn end_leg(leg: Uuid, cause: Cause) -> ApiCall {
    ApiCall::uuid_kill_unless_bridged(&ChannelId::from(leg), cause)
}

/// Deletes the filters of a leg that is gone; otherwise they would accumulate over a long wait.
pub(crate) fn forget_leg(leg: Uuid) -> [Command; 2] {
    [Command::FilterDelete(Filter::channel(&ChannelId::from(leg))), Command::FilterDelete(Filter::job(leg))]
}

/// Sets the channel variables of a waiting caller: the place, the language that the dialplan uses if no controller is
/// there and, the first time, how the call continues without this process.
///
/// - `socket_resume`: the dialplan continues if this process dies; prompts depend on it too, see [`say`]. It is not set
///   again on a channel that has it: a phone that answers by itself may have cleared it, for good, before this
///   executes.
/// - `hangup_after_bridge`: nothing follows a conversation.
/// - `playback_terminators`: no key ends the music.
/// - `execute_on_blind_transfer`: clears these variables at the instant somebody transfers the call to another number
///   (`switch_ivr_session_transfer`, before the dialplan runs), where they would end the call behind the first
///   `bridge`.
/// - `fsq_away`, `fsq_held`: cleared, because the dialplan no longer holds the caller: it counts in the first the
///   rounds without a controller, and sets the second when it has held the caller. [`VISITED`] is cleared
///   too, because the path by which the caller came here ends with this wait.
pub(crate) fn prepare(
    place: &Remembered,
    language: &Language,
    first: bool,
    resumes: bool,
) -> Result<Command, TextError> {
    let place = format!("fsq_language={language};{PLACE}={}", place.write());
    let resume = if resumes { "" } else { "socket_resume=true;" };
    let once = format!(
        "{resume}hangup_after_bridge=true;playback_terminators=none;{}={};{AWAY}=;{HELD}=;{VISITED}=;{PASSED_ON}=;",
        TAKE_BACK.0, TAKE_BACK.1
    );
    Ok(Execute::with("multiset", &format!("^^;{}{place}", if first { &once } else { "" }))?.into())
}

/// Our own variables on a call that has been served.
const OURS: &str = "fsq_dialled fsq_language fsq_came fsq_away fsq_held fsq_since fsq_order fsq_passed_on";

/// The variable that FreeSWITCH executes when somebody transfers the channel, and its value, which clears our settings.
const TAKE_BACK: (&str, &str) = (
    "execute_on_blind_transfer",
    "multiunset hangup_after_bridge playback_terminators socket_resume execute_on_blind_transfer",
);

/// Makes the call independent of this process: the dialplan no longer continues if the process dies.
pub(crate) fn let_go(channel: &ChannelId) -> Result<Command, TextError> {
    Ok(Command::Api(ApiCall::new(format!("uuid_setvar {channel} socket_resume false"))?))
}

/// For a caller who was passed on: as [`let_go`], clears the caller's former place in the line, and marks the caller.
pub(crate) fn passed_on(channel: &ChannelId) -> Result<Command, TextError> {
    Ok(Command::Api(ApiCall::new(format!(
        "uuid_setvar_multi {channel} socket_resume=false;{PLACE}=;{PASSED_ON}=true"
    ))?))
}

/// For a caller who was connected: as [`passed_on`], and if the agent passes the caller on, all our variables are
/// cleared except the context of the call, which the dialplan needs if it has held the caller.
pub(crate) fn connected(channel: &ChannelId) -> Result<Command, TextError> {
    let (when, what) = TAKE_BACK;
    let set = format!("socket_resume=false;{PLACE}=;{when}={what} {OURS}");
    Ok(Command::Api(ApiCall::new(format!("uuid_setvar_multi {channel} {set}"))?))
}

/// Transfers the caller to an internal number, where the call is like any other: clears everything that we set on its
/// channel. Only the list of visited queues stays, until somebody talks with the caller, so that timeouts never lead
/// round in a circle (Q13).
pub(crate) fn transfer(
    number: &Arc<str>,
    context: &SafeText,
    visited: &[QueueNumber],
) -> Result<[Command; 3], TextError> {
    let ours = format!(
        "socket_resume hangup_after_bridge playback_terminators {} {OURS} fsq_context {PLACE} {LAST_BRIDGE}",
        TAKE_BACK.0
    );
    let to = Execute::with("transfer", &format!("{number} XML {context}"))?.event_uuid(TRANSFER);
    Ok([set(VISITED, &write_queues(visited))?, Execute::with("multiunset", &ours)?.into(), to.into()])
}

/// Hangs up the caller's channel.
pub(crate) fn hang_up(parting: Parting) -> Command {
    let cause = match parting {
        Parting::Normal => Cause::NormalClearing,
        Parting::NoSuchNumber => Cause::UnallocatedNumber,
    };
    Command::Hangup { channel: None, cause }
}

/// Tells a caller who is already answered that there is no such queue, and hangs up.
pub(crate) fn refuse(settings: &Settings) -> Result<[Command; 2], TextError> {
    let file = format!("{}/{}/no-such-queue.wav", settings.prompts, settings.language);
    Ok([
        Execute::with("playback", &file)?.locked().into(),
        Execute::with("hangup", Cause::UnallocatedNumber.as_str())?.locked().into(),
    ])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::BytesMut;

    use crate::acd::ids::{AgentId, CallId, QueueNumber};
    use crate::acd::rank::Rank;
    use crate::acd::time::Wall;

    use super::*;

    fn written(command: &Command) -> String {
        let mut out = BytesMut::new();
        command.render(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn originate(contact: Option<&str>, domain: Option<&str>) -> String {
        originate_for("Hans", contact, domain).as_str().to_owned()
    }

    fn originate_for(name: &str, contact: Option<&str>, domain: Option<&str>) -> ApiCall {
        let agent = AgentSettings::new(AgentId::new("1001").unwrap(), "Anna".into());
        let number = QueueNumber::new("99900").unwrap();
        let queue = QueueSettings::new(number, "Service".into(), Vec::new(), Language("en".into()));
        let caller = Channel {
            id: CallId::new("caller").unwrap(),
            channel: ChannelId::new("caller").unwrap(),
            answered: true,
            name: SafeText::new(name),
            number: SafeText::new("0791"),
            withheld: false,
            domain: Some("of.the.call".into()),
            context: SafeText::new("default"),
            replied: None,
            rescued: false,
            resumes: true,
        };
        let settings = Settings {
            token: None,
            domain: domain.map(str::to_owned),
            codes: crate::acd::feature::FeatureCodes::default(),
            prompts: "/prompts".into(),
            language: Language("en".into()),
            hide_withheld: true,
        };
        let one = |name: &str, value: &str| vec![(VariableName::new(name).unwrap(), SafeText::new(value))];
        let entry = Entry { dialled: one("media_timeout", "5000"), answered: one("accountcode", "sales") };
        let contact = contact.map(|c| Contact { endpoint: Endpoint::new(c).unwrap(), entry });
        let leg = OfferId(Uuid::nil()).leg(1).uuid();
        ring(leg, contact.as_ref(), true, &agent, &queue, &caller, &settings).unwrap().1
    }

    /// Q21: the caller's channel carries out an `originate` only if FreeSWITCH parses it there unchanged.
    #[test]
    fn the_channel_carries_out_an_originate_unless_a_bracket_is_unbalanced() {
        let leg = OfferId(Uuid::nil()).leg(1).uuid();
        let originate = written(&by_channel(leg, &originate_for("Hans (Office)", None, Some("lab"))).unwrap());
        let start = format!("\n\nfsq_order=${{bgapi(uuid:{leg} originate {{origination_uuid={leg},");
        assert!(originate.contains(&start) && originate.ends_with("}user/1001@lab &park())}"), "{originate}");
        assert!(originate.contains("name='Service - Hans (Office)'"), "{originate}");
        for half in ["Hans (", "Hans :)", ")("] {
            assert_eq!(by_channel(leg, &originate_for(half, None, Some("lab"))), None, "{half}");
        }
    }

    /// Q7: a forward by an agent's phone is followed only if the admin allows it.
    #[test]
    fn a_forward_is_fatal_unless_the_agent_follows_forwards() {
        let originate = originate(None, Some("lab"));
        assert!(
            originate.contains(",outbound_redirect_fatal='true'") && !originate.contains("Forwarded='yes'"),
            "{originate}"
        );
    }

    /// Q8: a phone that is dialled at its contact still belongs to the agent, for lamps and records.
    #[test]
    fn one_of_several_phones_is_dialled_as_the_directory_would() {
        let originate = originate(Some("sofia/internal/sip:1001@10.0.0.2:5062"), Some("lab"));
        for part in [
            "originate {origination_uuid=00000000-0000-0001-0000-000000000000,",
            ",fsq_offer='00000000-0000-0000-0000-000000000000',",
            ",dialed_user='1001',dialed_domain='lab',sip_invite_domain='lab',presence_id='1001@lab',",
            ",originate_signal_bond='caller',",
            ",media_timeout='5000',",
            ";originate_signal_bond=;sip_h_X-FSQ-Forwarded=;ignore_display_updates=true;accountcode=sales',",
            "='uuid_limit 00000000-0000-0001-0000-000000000000 hash fsq caller 1 !LOSE_RACE',",
            "='uuid_bridge caller 00000000-0000-0001-0000-000000000000',",
            "='sched_api +2 none uuid_setvar 00000000-0000-0001-0000-000000000000 ignore_display_updates'}\
             sofia/internal/sip:1001@10.0.0.2:5062 &park()",
        ] {
            assert!(originate.contains(part), "{part} is not in {originate}");
        }
    }

    #[test]
    fn a_single_phone_is_dialled_through_the_directory() {
        assert!(originate(None, Some("lab")).contains("}user/1001@lab &park()"));
        let own = originate(None, None);
        assert!(own.contains("}user/1001 &park()") && !own.contains("presence_id"), "{own}");
        assert!(originate(Some("sofia/internal/sip:1001@10.0.0.2"), None).contains(",presence_id='1001@of.the.call',"));
    }

    /// Q19: the channel keeps what the call needs if this process dies.
    #[test]
    fn a_channel_is_prepared_for_the_death_of_the_process() {
        let place = Remembered {
            dialled: QueueNumber::new("99900").unwrap(),
            queue: QueueNumber::new("99900").unwrap(),
            rank: Rank::new(Wall(1), 2),
            first_entered: Wall(1),
            visited: Vec::new(),
            refused: None,
            since: None,
        };
        let german = Language("de".into());
        let first = written(&prepare(&place, &german, true, false).unwrap());
        for all in [
            "^^;socket_resume=true;hangup_after_bridge=true;playback_terminators=none;execute_on_blind_transfer=multiunset ",
            " execute_on_blind_transfer;fsq_away=;fsq_held=;fsq_visited=;fsq_passed_on=;fsq_language=de;fsq_place=v=2,dialled=99900,",
        ] {
            assert!(first.contains(all), "{all} is not in {first}");
        }
        assert!(!written(&prepare(&place, &german, true, true).unwrap()).contains("socket_resume="));
        let moved = written(&prepare(&place, &german, false, false).unwrap());
        assert!(
            moved.contains("^^;fsq_language=de;fsq_place=v=2") && !moved.contains("hangup_after_bridge"),
            "{moved}"
        );
    }

    /// Q13: a transfer clears `socket_resume` and our settings for keys and for the end of a conversation; it keeps the
    /// list of visited queues.
    #[test]
    fn a_transfer_lets_go_of_the_call() {
        let visited = ["99900", "99901"].map(|n| QueueNumber::new(n).unwrap());
        let all: String =
            transfer(&"1005".into(), &SafeText::new("default"), &visited).unwrap().iter().map(written).collect();
        for part in [
            "fsq_visited=99900.99901",
            "multiunset",
            "socket_resume hangup_after_bridge playback_terminators execute_on_blind_transfer fsq_dialled fsq_language",
            " fsq_context fsq_place",
            " last_bridge_to",
            "1005 XML default",
        ] {
            assert!(all.contains(part), "{part} is not in {all}");
        }
    }
}
