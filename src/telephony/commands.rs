//! What a call wants done in FreeSWITCH, as commands.

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
use super::place::{Remembered, write_queues};
use super::settings::Settings;
use super::variables::{AWAY, FORWARDED, HELD, LAST_BRIDGE, ORDER, PLACE, RINGING, TRANSFER, VISITED, playing_uuid};

/// How long the connection stays open after the caller's hang-up, for the last events of the legs.
const LINGER_SECONDS: u16 = 10;

/// The ring tone of Switzerland and most of Europe: 425 Hz, 1 s on, 4 s off.
const RINGTONE: &str = "tone_stream://%(1000,4000,425);loops=-1";

/// FreeSWITCH counts `originate_timeout` in seconds of the calendar, up to one too few: it is given more, and we
/// end the ringing on time.
const RING_TIME_MARGIN: Duration = Duration::from_secs(2);

/// Whom a leg that rings is for, in FreeSWITCH's own words (`SWITCH_ORIGINATE_SIGNAL_BOND_VARIABLE`): whoever picks the
/// leg up, by an INVITE with `Replaces` or `intercept -bleg`, has the caller (sofia.c, switch_ivr_bridge.c).
const BOND: &str = "originate_signal_bond";

/// A leg that was answered and is not connected within this time is hung up: nobody answers into silence, even if
/// nobody is left to end it.
const CONNECTED_WITHIN: Duration = Duration::from_secs(3);

/// What the connection of a waiting caller is told first: the filter before the events, so that nothing
/// but this call's is ever sent.
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

/// Music, until something else comes.
pub(crate) fn music(playing: Playing, music: &Music) -> Result<Command, TextError> {
    let execute = match music {
        Music::Ringtone => Execute::with("playback", RINGTONE)?,
        Music::Stream(url) => Execute::with("playback", url)?,
        Music::File(path) => Execute::with("endless_playback", path)?,
    };
    Ok(execute.event_uuid(playing_uuid(playing)).into())
}

/// Whether the channel may be kept from anything else while this begins: what comes over a network may not come.
pub(crate) fn may_take_a_while(music: &Music) -> bool {
    let is_here =
        |url: &str| ["local_stream://", "tone_stream://", "silence_stream://"].iter().any(|s| url.starts_with(s));
    matches!(music, Music::Stream(url) if !is_here(url))
}

/// A prompt or message, over the music and to its end.
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

/// A file that turns into nothing once the caller is connected: FreeSWITCH expands the argument as it begins to
/// play, and a prompt that was on its way when the phone was answered would play into the conversation (measured).
/// What is switched off in the instant of the answer is `socket_resume`.
fn unless_connected(file: &str) -> String {
    if file.contains([':', '?', '\'', ' ', '(', ')']) {
        // `cond` could not tell where the file's name ends.
        return file.to_owned();
    }
    format!("${{cond(${{socket_resume}} == true ? {file} : silence_stream://1)}}")
}

/// Asks whose phone a channel belongs to: the user whom mod_sofia has authenticated, `_undef_` where there is none.
pub(crate) fn user_of(channel: &ChannelId) -> Result<ApiCall, TextError> {
    ApiCall::new(format!("uuid_getvar {channel} sip_auth_username"))
}

/// Whether the switch has `mod_hash`; the answer is `true` or `false`.
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
    /// What the directory has for its user; see [`super::directory`].
    pub(crate) variables: Vec<(VariableName, SafeText)>,
}

/// Rings an agent's phone on the leg `leg`, at `contact` or wherever the directory says: what the connection is told
/// first, so that the leg and the end of the job, which goes by the leg's name, are heard of, and the order itself.
///
/// `first_wins`: others may ring for the caller too, and `mod_hash` is there to tell who was first. Without it nobody
/// cuts the caller off either (measured), but of two who answer at once one hears nobody until we end the leg.
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
        .variable(&VariableName::new("fsq_call")?, &SafeText::new(caller.id.as_str()))
        .variable(&VariableName::new(BOND)?, &SafeText::new(caller.id.as_str()));
    originate = match agent.follow_forwards {
        false => originate.variable(&VariableName::new("outbound_redirect_fatal")?, &SafeText::new("true")),
        // Forwarded to a queue, it would be a caller there: the header tells who comes.
        true => originate.variable(&VariableName::new(FORWARDED)?, &SafeText::new("yes")),
    };
    if caller.withheld {
        // Whatever stands behind the leg, such as a gateway, is told that it must not be shown either.
        let hide = SafeText::new("hide_name hide_number");
        originate = originate.variable(&VariableName::new("origination_privacy")?, &hide);
    }
    if contact.is_some() {
        let offer = OfferId::of_leg(job).to_string();
        originate = originate.variable(&VariableName::new("fsq_offer")?, &SafeText::new(&offer));
    }
    if contact.is_some()
        && let Some(domain) = settings.domain.as_ref().or(caller.domain.as_ref())
    {
        // What the directory's dial string and `user/` would have set.
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
    originate = originate
        .on_answer(&OnAnswer::SetVariable {
            channel: caller.channel.clone(),
            name: VariableName::new("socket_resume")?,
            value: SafeText::new("false"),
        })
        .on_answer(&OnAnswer::Bridge { channel: caller.channel.clone(), other: leg.clone() });
    Ok(([Command::Filter(Filter::channel(&leg)), Command::Filter(Filter::job(job))], originate.call()))
}

/// What is set on a leg in the instant it is answered. The variables for this `originate` alone are taken away: FreeSWITCH
/// copies them to every further leg that this one calls (switch_ivr_originate.c), so that nobody could be connected to an
/// agent whom the caller passes on (measured: both heard nothing, and were hung up after 3.6 s). From then on the bridge
/// tells whom the leg belongs to. What the directory has for the user is set then as well, as `user/` does.
fn answered(leg: &ChannelId, contact: Option<&Contact>) -> Result<OnAnswer, TextError> {
    let mut values = vec![(VariableName::new(RINGING)?, SafeText::new("no"))];
    for name in ["group_confirm_key", "group_confirm_timeout", "ignore_early_media", BOND, FORWARDED] {
        values.push((VariableName::new(name)?, SafeText::default()));
    }
    values.extend(contact.into_iter().flat_map(|contact| contact.variables.clone()));
    Ok(OnAnswer::SetVariables { channel: leg.clone(), values })
}

/// An order to ring by way of the caller's channel. `None` when it cannot be told there as it is: a name may hold half a
/// bracket.
pub(crate) fn by_channel(leg: Uuid, call: &ApiCall) -> Option<Command> {
    let name = VariableName::new(ORDER).ok()?;
    Execute::background(&name, leg, call).ok().map(Command::from)
}

/// Puts nobody's name and number into the caller's own channel: what `uuid_bridge` tells the agent's phone by UPDATE, once
/// the two are connected, comes from there (measured), and so does what the next phone is shown, when the agent passes
/// the caller on.
pub(crate) fn hide_caller() -> Result<[Command; 2], TextError> {
    let set = |part: &str| Ok(Execute::with("set_profile_var", part)?.into());
    Ok([set("caller_id_name=Anonymous")?, set("caller_id_number=anonymous")?])
}

/// The number that the agent's phone shows; one that is withheld is called so, because FreeSWITCH puts zeros in the place
/// of none.
fn shown_number(caller: &Channel) -> SafeText {
    if caller.withheld { SafeText::new("anonymous") } else { caller.number.clone() }
}

/// What the agent's phone shows: the queue's name, then the caller's (Q17). No colon: the phone would show
/// only what is behind it.
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

/// Ends a leg that rings. The second part tells whether a refusal means that there is no such leg, or that it is
/// connected.
///
/// While the caller could still be connected to this very leg, it is ended only if it is still ringing, as
/// FreeSWITCH itself sees it in that instant: an answer may be on its way to us (measured: of 40 answers within
/// 4 ms of the command a plain `uuid_kill` cut 3 callers off, this none). A refusal then means answered, or gone.
pub(crate) fn call_off(leg: Uuid, cause: CancelCause) -> Result<(ApiCall, bool), TextError> {
    match cause {
        CancelCause::AnsweredElsewhere => Ok((end_leg(leg, Cause::LoseRace), true)),
        CancelCause::CallerGone => Ok((end_leg(leg, Cause::OriginatorCancel), true)),
        CancelCause::CallTimedOut => Ok((end_if_ringing(leg, Cause::OriginatorCancel)?, false)),
        // Somebody else will have the caller: nobody missed anything.
        CancelCause::LoggedOut
        | CancelCause::Reconfigured
        | CancelCause::Draining
        | CancelCause::Requested
        | CancelCause::Restart => Ok((end_if_ringing(leg, Cause::LoseRace)?, false)),
    }
}

/// Ends a leg that is missed for this reason, if it was not answered meanwhile.
pub(crate) fn ring_out(leg: Uuid, cause: MissCause) -> Result<ApiCall, TextError> {
    let cause = if cause == MissCause::Silent { Cause::ProgressTimeout } else { Cause::NoAnswer };
    end_if_ringing(leg, cause)
}

/// Ends a leg if it still rings.
pub(crate) fn end_if_ringing(leg: Uuid, cause: Cause) -> Result<ApiCall, TextError> {
    ApiCall::new(format!("expand uuid_kill ${{cond(${{uuid_getvar({leg} {RINGING})}} == yes ? {leg} : none)}} {cause}"))
}

/// Ends a leg unless it is, or ever was, connected to anybody, as FreeSWITCH itself sees it in that instant: nobody was
/// ever heard on it (Q8). A refusal means that somebody was, or that there is no such leg.
pub(crate) fn end_if_silent(leg: Uuid, cause: Cause) -> Result<ApiCall, TextError> {
    ApiCall::new(format!(
        "expand uuid_kill ${{cond(${{uuid_getvar({leg} bridge_to)}}${{uuid_getvar({leg} {LAST_BRIDGE})}} == _undef__undef_ ? {leg} : none)}} {cause}"
    ))
}

/// Ends a leg unless it is connected to anybody, as FreeSWITCH itself sees it in that instant: no conversation is ended
/// by us, whoever it is with by now (Q8). A refusal means that it is connected, or that there is no such leg.
pub(crate) fn end_leg(leg: Uuid, cause: Cause) -> ApiCall {
    ApiCall::uuid_kill_unless_bridged(&ChannelId::from(leg), cause)
}

/// Takes the filters of a leg away once it is gone, or they would pile up over a long wait.
pub(crate) fn forget_leg(leg: Uuid) -> [Command; 2] {
    [Command::FilterDelete(Filter::channel(&ChannelId::from(leg))), Command::FilterDelete(Filter::job(leg))]
}

/// What the channel must know from now on: the caller's place, the language in which the dialplan speaks to the caller
/// when we are away and, the first time, how to go on without us.
///
/// - `socket_resume`: the dialplan goes on when we die; and prompts go by it, see [`say`]. A channel that has it is not
///   told again: a phone may have been answered by itself before this is executed, and has switched it off for good.
/// - `hangup_after_bridge`: nothing comes behind a conversation.
/// - `playback_terminators`: no key ends the music.
/// - `execute_on_blind_transfer`: takes these back in the instant somebody sends the call to another number
///   (`switch_ivr_session_transfer`, before the dialplan is asked), where they would end it behind the first `bridge`.
/// - `fsq_away`, `fsq_held`: the dialplan counts in the one the rounds it held the caller without us, and tells by the
///   other that it did; they are over. So is the way by which the caller came here ([`VISITED`]).
pub(crate) fn prepare(
    place: &Remembered,
    language: &Language,
    first: bool,
    resumes: bool,
) -> Result<Command, TextError> {
    let place = format!("fsq_language={language};{PLACE}={}", place.write());
    let resume = if resumes { "" } else { "socket_resume=true;" };
    let once = format!(
        "{resume}hangup_after_bridge=true;playback_terminators=none;{}={};{AWAY}=;{HELD}=;{VISITED}=;",
        TAKE_BACK.0, TAKE_BACK.1
    );
    Ok(Execute::with("multiset", &format!("^^;{}{place}", if first { &once } else { "" }))?.into())
}

/// Our own variables of a call that has been served.
const OURS: &str = "fsq_dialled fsq_language fsq_came fsq_away fsq_held fsq_since fsq_order";

/// What is to be taken back from a channel that somebody transfers, and what does it.
const TAKE_BACK: (&str, &str) = (
    "execute_on_blind_transfer",
    "multiunset hangup_after_bridge playback_terminators socket_resume execute_on_blind_transfer",
);

/// Our death no longer concerns the call.
pub(crate) fn let_go(channel: &ChannelId) -> Result<Command, TextError> {
    Ok(Command::Api(ApiCall::new(format!("uuid_setvar {channel} socket_resume false"))?))
}

/// The caller was passed on: neither our death nor the place in the line it came from concern the call any more.
pub(crate) fn passed_on(channel: &ChannelId) -> Result<Command, TextError> {
    Ok(Command::Api(ApiCall::new(format!("uuid_setvar_multi {channel} socket_resume=false;{PLACE}="))?))
}

/// The caller was connected: as [`passed_on`]; and an agent who passes the caller on passes on nothing of ours but the
/// context of the call, which the dialplan needs where it held the caller once.
pub(crate) fn connected(channel: &ChannelId) -> Result<Command, TextError> {
    let (when, what) = TAKE_BACK;
    let set = format!("socket_resume=false;{PLACE}=;{when}={what} {OURS}");
    Ok(Command::Api(ApiCall::new(format!("uuid_setvar_multi {channel} {set}"))?))
}

/// Sends the caller to an internal number, where the call is like any other: whatever we set on its channel is taken
/// back. What stays is by which queues it came, as long as nobody talks with the caller: no way of timeouts leads round
/// in a circle (Q13).
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

/// Hangs the caller up.
pub(crate) fn hang_up(parting: Parting) -> Command {
    let cause = match parting {
        Parting::Normal => Cause::NormalClearing,
        Parting::NoSuchNumber => Cause::UnallocatedNumber,
    };
    Command::Hangup { channel: None, cause }
}

/// Tells a caller who was answered already that there is no such queue, and hangs up.
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
    use crate::acd::queue::Place;
    use crate::acd::time::Wall;

    use super::*;

    fn written(command: &Command) -> String {
        let mut out = BytesMut::new();
        command.render(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn order(contact: Option<&str>, domain: Option<&str>) -> String {
        order_for("Hans", contact, domain).as_str().to_owned()
    }

    fn order_for(name: &str, contact: Option<&str>, domain: Option<&str>) -> ApiCall {
        let agent = AgentSettings::new(AgentId::new("1001").unwrap(), "Anna".into());
        let number = QueueNumber::new("99900").unwrap();
        let queue = QueueSettings::new(number, "Service".into(), Vec::new(), Language("en".into()));
        let caller = Channel {
            id: CallId::new("caller").unwrap(),
            channel: ChannelId::new("caller").unwrap(),
            answered: true,
            dialled: "99900".into(),
            name: SafeText::new(name),
            number: SafeText::new("0791"),
            withheld: false,
            who: None,
            dialled_user: None,
            forwarded: false,
            token: None,
            domain: Some("of.the.call".into()),
            context: SafeText::new("default"),
            place: None,
            visited: Vec::new(),
            returns: false,
            dialog: None,
            replaces: None,
            arrival: None,
            held_for: None,
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
        let variables = vec![(VariableName::new("media_timeout").unwrap(), SafeText::new("5000"))];
        let contact = contact.map(|c| Contact { endpoint: Endpoint::new(c).unwrap(), variables });
        let leg = OfferId(Uuid::nil()).leg(1).uuid();
        ring(leg, contact.as_ref(), true, &agent, &queue, &caller, &settings).unwrap().1
    }

    /// Q21: an order travels by the caller's channel where FreeSWITCH reads it there as it is.
    #[test]
    fn an_order_travels_by_the_channel_unless_a_bracket_is_missing() {
        let leg = OfferId(Uuid::nil()).leg(1).uuid();
        let order = written(&by_channel(leg, &order_for("Hans (Office)", None, Some("lab"))).unwrap());
        let start = format!("\n\nfsq_order=${{bgapi(uuid:{leg} originate {{origination_uuid={leg},");
        assert!(order.contains(&start) && order.ends_with("}user/1001@lab &park())}"), "{order}");
        assert!(order.contains("name='Service - Hans (Office)'"), "{order}");
        for half in ["Hans (", "Hans :)", ")("] {
            assert_eq!(by_channel(leg, &order_for(half, None, Some("lab"))), None, "{half}");
        }
    }

    /// Q7: whom a phone forwards a call to is rung only where the admin says so.
    #[test]
    fn a_forward_is_fatal_unless_it_is_to_be_followed() {
        let order = order(None, Some("lab"));
        assert!(order.contains(",outbound_redirect_fatal='true'") && !order.contains("Forwarded='yes'"), "{order}");
    }

    /// Q8: a phone that is dialled where it is registered is the agent's all the same, to lamps and records.
    #[test]
    fn a_phone_of_several_is_dialled_as_the_directory_would() {
        let order = order(Some("sofia/internal/sip:1001@10.0.0.2:5062"), Some("lab"));
        for part in [
            "originate {origination_uuid=00000000-0000-0001-0000-000000000000,",
            ",fsq_offer='00000000-0000-0000-0000-000000000000',",
            ",dialed_user='1001',dialed_domain='lab',sip_invite_domain='lab',presence_id='1001@lab',",
            ",originate_signal_bond='caller',",
            ";originate_signal_bond=;sip_h_X-FSQ-Forwarded=;media_timeout=5000',",
            "='uuid_limit 00000000-0000-0001-0000-000000000000 hash fsq caller 1 !LOSE_RACE',",
            "='uuid_bridge caller 00000000-0000-0001-0000-000000000000'}sofia/internal/sip:1001@10.0.0.2:5062 &park()",
        ] {
            assert!(order.contains(part), "{part} is not in {order}");
        }
    }

    #[test]
    fn a_phone_is_dialled_by_the_directory() {
        assert!(order(None, Some("lab")).contains("}user/1001@lab &park()"));
        let own = order(None, None);
        assert!(own.contains("}user/1001 &park()") && !own.contains("presence_id"), "{own}");
        assert!(order(Some("sofia/internal/sip:1001@10.0.0.2"), None).contains(",presence_id='1001@of.the.call',"));
    }

    /// Q19: what outlives us on the channel.
    #[test]
    fn a_channel_is_prepared_for_our_death() {
        let place = Remembered {
            dialled: QueueNumber::new("99900").unwrap(),
            queue: QueueNumber::new("99900").unwrap(),
            place: Place { entered: Wall(1), seq: 2 },
            first_entered: Wall(1),
            visited: Vec::new(),
            since: None,
        };
        let german = Language("de".into());
        let first = written(&prepare(&place, &german, true, false).unwrap());
        for all in [
            "^^;socket_resume=true;hangup_after_bridge=true;playback_terminators=none;execute_on_blind_transfer=multiunset ",
            " execute_on_blind_transfer;fsq_away=;fsq_held=;fsq_visited=;fsq_language=de;fsq_place=v=2,dialled=99900,",
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

    /// Q13: the call is no longer ours: neither our death nor our rules for keys and for the end of a conversation
    /// concern it; by which queues it came is kept.
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
