//! Turns FreeSWITCH's events into a call's inputs.

use uuid::Uuid;

use crate::acd::call::{Call, Input, Playing};
use crate::acd::fact::MissCause;
use crate::acd::ids::LegId;
use crate::acd::leg::{LegEnd, News};
use crate::esl::{Cause, Event, EventKind, JobResult};

use super::variables::{ORIGINATED, PLAYING, TRANSFER};

/// How a leg ended, by its hang-up cause alone: `originate` that creates no channel reports nothing else.
pub(crate) fn leg_end(cause: Cause) -> LegEnd {
    LegEnd::Missed(match cause {
        Cause::NoAnswer => MissCause::NoAnswer,
        // `leg_timeout` (switch_ivr_originate.c).
        Cause::AllottedTimeout => MissCause::TimeLimit,
        // `progress_timeout` and `leg_progress_timeout`.
        Cause::ProgressTimeout => MissCause::Silent,
        Cause::UserBusy | Cause::BusyEverywhere => MissCause::Busy,
        Cause::CallRejected | Cause::Decline => MissCause::Declined,
        Cause::NoUserResponse => MissCause::Unavailable,
        Cause::RecoveryOnTimerExpire => MissCause::Timeout,
        Cause::RedirectionToNewDestination => MissCause::Forwarded,
        Cause::UserNotRegistered => MissCause::NotRegistered,
        Cause::SubscriberAbsent
        | Cause::UnallocatedNumber
        | Cause::NoRouteDestination
        | Cause::DoesNotExistAnywhere
        | Cause::InvalidGateway
        | Cause::InvalidProfile
        | Cause::InvalidUrl
        | Cause::ChanNotImplemented => MissCause::Unknown,
        Cause::GatewayDown => MissCause::GatewayDown,
        Cause::LoseRace | Cause::PickedOff | Cause::OriginatorCancel => return LegEnd::Elsewhere,
        Cause::NormalClearing | Cause::None => return LegEnd::Cleared,
        // `hupall`, and an orderly stop.
        Cause::ManagerRequest | Cause::SystemShutdown => return LegEnd::BySwitch,
        _ => MissCause::Failed,
    })
}

/// How a leg ended, by its hang-up event.
fn end_of(event: &Event) -> LegEnd {
    if let Some(status) = final_answer(event) {
        return LegEnd::Missed(MissCause::of_sip(status));
    }
    match leg_end(event.hangup_cause().unwrap_or(Cause::Other)) {
        LegEnd::Cleared => match event.variable("sip_hangup_disposition").as_deref() {
            Some("recv_bye") => LegEnd::ByAgent,
            Some("send_bye") => LegEnd::BySwitch,
            _ => LegEnd::Cleared,
        },
        end => end,
    }
}

/// The final SIP response, 300 to 699, with which a phone or gateway ended its leg; `None` if FreeSWITCH ended the leg
/// or the phone had answered. mod_sofia stores it before it hangs up the channel, and stores no later one: a 487 is
/// here only if the phone sent it unasked, not if it acknowledges our CANCEL (sofia.c, measured).
fn final_answer(event: &Event) -> Option<u16> {
    let said = event.variable("proto_specific_hangup_cause")?;
    said.strip_prefix("sip:")?.parse().ok().filter(|status| (300..700).contains(status))
}

/// Whether an event of the caller's channel shows that it is answered.
fn tells_answer(event: &Event) -> bool {
    event.kind() == EventKind::ChannelAnswer
        || (event.kind() == EventKind::ChannelExecuteComplete && event.application().is_some_and(|a| a == "answer"))
}

/// The meaning of an event.
#[derive(Debug)]
pub(crate) enum Heard {
    /// An input for the call.
    Call(Input),
    /// FreeSWITCH made a loopback channel of this leg.
    Loopback(LegId),
    /// The caller's channel carried out its next `originate` (true), or may not do so (false).
    CarriedOut(bool),
}

/// The meaning of an event for the call on channel `own`; `None` if it does not concern the call.
pub(crate) fn hear(event: &Event, own: &str, call: &Call) -> Option<Heard> {
    if event.kind() == EventKind::BackgroundJob {
        let job = JobResult::of_event(event)?;
        tracing::debug!(job = %job.job, outcome = ?job.outcome, "a job ended");
        let outcome = job.outcome.failure().map_or(Ok(()), |cause| Err(leg_end(cause)));
        return Some(Heard::Call(Input::Leg(our_leg(job.job, call)?, News::Originated(outcome))));
    }
    let channel = event.channel()?;
    if event.kind() == EventKind::ChannelBridge {
        return bridged(event, own, call);
    }
    if channel == own {
        return carried_out(event).or_else(|| own_event(event).map(Heard::Call));
    }
    let leg = our_leg(Uuid::try_parse(&channel).ok()?, call)?;
    let news = match event.kind() {
        EventKind::ChannelCreate if is_loopback(event) => return Some(Heard::Loopback(leg)),
        EventKind::ChannelCreate => News::Created,
        // A 180, or a 183 with early media.
        EventKind::ChannelProgress | EventKind::ChannelProgressMedia => News::Ringing,
        EventKind::ChannelAnswer => News::Answered,
        EventKind::ChannelHangup => News::HungUp(end_of(event), was_transferred(event)),
        EventKind::ChannelHangupComplete => News::Gone(end_of(event)),
        _ => return None,
    };
    Some(Heard::Call(Input::Leg(leg, news)))
}

/// Whether the channel is one end of a loopback (mod_loopback.c names both ends like this).
fn is_loopback(event: &Event) -> bool {
    event.header("Channel-Name").is_some_and(|name| name.starts_with("loopback/"))
}

/// Whether an event shows that the call on channel `own` is parked.
pub(crate) fn shows_parked(event: &Event, own: &str) -> bool {
    let parked = matches!(event.kind(), EventKind::ChannelPark | EventKind::ChannelExecuteComplete);
    parked && event.channel().is_some_and(|channel| channel == own)
}

/// Whether an event is the last of channel `own`.
pub(crate) fn is_last_of(event: &Event, own: &str) -> bool {
    event.kind() == EventKind::ChannelHangupComplete && event.channel().is_some_and(|channel| channel == own)
}

/// The leg, if it belongs to the call.
fn our_leg(leg: Uuid, call: &Call) -> Option<LegId> {
    let leg = LegId::of(leg);
    call.agent_of(leg.offer).map(|_| leg)
}

fn carried_out(event: &Event) -> Option<Heard> {
    if event.kind() != EventKind::ChannelExecuteComplete || event.application()? != "set" {
        return None;
    }
    let data = event.header("Application-Data")?;
    let said = data.strip_prefix(ORIGINATED)?.strip_prefix('=')?;
    Some(Heard::CarriedOut(said.starts_with("+OK")))
}

fn own_event(event: &Event) -> Option<Input> {
    Some(match event.kind() {
        EventKind::ChannelHangup | EventKind::ChannelHangupComplete => caller_end(event),
        EventKind::ChannelUnpark => Input::TakenAway,
        _ if tells_answer(event) => Input::CallerAnswered,
        EventKind::ChannelExecuteComplete => {
            let id = event.application_uuid()?;
            if id == TRANSFER {
                return Some(Input::MovedOn);
            }
            let (first, number) = id.as_u64_pair();
            if first != PLAYING {
                return None;
            }
            let playing = Playing(u32::try_from(number).ok()?);
            // `FILE NOT FOUND`, or `FILE PLAYED` also after our `uuid_break` (mod_dptools.c).
            let cut_off = event.header("Application-Response").is_some_and(|said| said == "PLAYBACK ERROR");
            if cut_off { Input::CutOff(playing) } else { Input::Played(playing) }
        }
        _ => return None,
    })
}

/// Which side ended the caller's channel. FreeSWITCH stores what the phone sent: `sip_term_status` of a BYE before it
/// hangs up the channel, `sip_hangup_disposition` afterwards (sofia.c, and the captures). A channel that is not SIP has
/// only its cause.
fn caller_end(event: &Event) -> Input {
    let cause = event.hangup_cause();
    if cause == Some(Cause::AttendedTransfer) {
        return Input::CallerReplaced;
    }
    let disposition = event.variable("sip_hangup_disposition");
    let by_phone = match disposition.as_deref() {
        Some(said) => said.starts_with("recv_"),
        None if event.variable("sip_term_status").is_some_and(|status| status == "200") => true,
        None if event.variable("sip_call_id").is_some() => false,
        None => matches!(cause, None | Some(Cause::NormalClearing | Cause::OriginatorCancel | Cause::None)),
    };
    if by_phone { Input::CallerGone } else { Input::CallerEnded }
}

/// Whether a caller hung up the channel that this event reports as ended.
pub(crate) fn ended_by_caller(event: &Event) -> bool {
    caller_end(event) == Input::CallerGone
}

/// Reads a bridge event. It may come from either leg, depending on how the two were connected.
fn bridged(event: &Event, own: &str, call: &Call) -> Option<Heard> {
    let a = event.header("Bridge-A-Unique-ID").unwrap_or_default();
    let b = event.header("Bridge-B-Unique-ID").unwrap_or_default();
    let other = if a == own {
        b
    } else if b == own {
        a
    } else {
        return None;
    };
    let ours = Uuid::try_parse(&other).ok().and_then(|leg| our_leg(leg, call));
    Some(Heard::Call(ours.map_or(Input::TakenAway, |leg| Input::Leg(leg, News::Bridged))))
}

/// Whether a leg ended because its agent transferred the caller: `BLIND_TRANSFER` in the captures; an attended transfer
/// sets only `transfer_disposition` (measured).
pub(crate) fn was_transferred(event: &Event) -> bool {
    event.variable("endpoint_disposition").is_some_and(|d| d.ends_with("_TRANSFER"))
        || event.variable("transfer_disposition").is_some_and(|d| d == "recv_replace")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Q106: a call counts as abandoned only if the caller hung up.
    #[test]
    fn the_message_of_the_phone_shows_which_side_ended_the_callers_channel() {
        let end = |cause: &str, variables: &str| {
            let text = format!("Event-Name: CHANNEL_HANGUP\nHangup-Cause: {cause}\n{variables}\n");
            caller_end(&Event::plain(text.into()))
        };
        let sip = "variable_sip_call_id: a\n";
        let said = |more: &str| format!("{sip}variable_{more}\n");
        assert_eq!(end("NORMAL_CLEARING", &said("sip_term_status: 200")), Input::CallerGone);
        assert_eq!(end("NORMAL_CLEARING", &said("sip_hangup_disposition: recv_bye")), Input::CallerGone);
        assert_eq!(end("ORIGINATOR_CANCEL", &said("sip_hangup_disposition: recv_cancel")), Input::CallerGone);
        assert_eq!(end("NORMAL_CLEARING", sip), Input::CallerEnded, "an operator's uuid_kill");
        assert_eq!(end("NORMAL_CLEARING", &said("sip_hangup_disposition: send_bye")), Input::CallerEnded);
        for cause in ["MEDIA_TIMEOUT", "MANAGER_REQUEST", "SYSTEM_SHUTDOWN"] {
            assert_eq!(end(cause, sip), Input::CallerEnded);
            assert_eq!(end(cause, ""), Input::CallerEnded);
        }
        assert_eq!(end("NORMAL_CLEARING", ""), Input::CallerGone, "not a SIP channel");
        assert_eq!(end("ATTENDED_TRANSFER", sip), Input::CallerReplaced);
    }

    /// Q104: either end of a loopback is recognised by the name of its channel.
    #[test]
    fn a_loopback_is_recognised() {
        let of = |name: &str| is_loopback(&Event::plain(format!("Channel-Name: {name}\n\n").into()));
        assert!(of("loopback/1003-a") && of("loopback/1003-b"));
        assert!(!of("sofia/internal/sip%3A1003%40loopback/") && !is_loopback(&Event::plain("\n".into())));
    }

    /// Q7: the phone's own final response counts, not its response to our CANCEL (tests/captures).
    #[test]
    fn a_final_response_is_the_phones_own() {
        let end = |cause: &str, variables: &str| {
            end_of(&Event::plain(format!("Event-Name: CHANNEL_HANGUP\nHangup-Cause: {cause}\n{variables}\n").into()))
        };
        let said = |status: u16| format!("variable_proto_specific_hangup_cause: sip%3A{status}\n");
        let missed = LegEnd::Missed;
        assert_eq!(end("ORIGINATOR_CANCEL", &said(487)), missed(MissCause::Cancelled));
        assert_eq!(end("NO_ANSWER", &said(480)), missed(MissCause::Unavailable), "its Reason header said 19");
        assert_eq!(end("REQUESTED_CHAN_UNAVAIL", &said(302)), missed(MissCause::Forwarded));
        assert_eq!(end("NORMAL_TEMPORARY_FAILURE", &said(503)), missed(MissCause::Refused { sip_status: 503 }));
        let ours = "variable_sip_hangup_disposition: send_cancel\nvariable_sip_invite_failure_status: 487\n";
        assert_eq!(end("ORIGINATOR_CANCEL", ours), LegEnd::Elsewhere);
        assert_eq!(end("NO_ANSWER", ours), missed(MissCause::NoAnswer));
        assert_eq!(end("ALLOTTED_TIMEOUT", ours), missed(MissCause::TimeLimit));
        let talked = format!("{}variable_sip_hangup_disposition: recv_bye\n", said(200));
        assert_eq!(end("NORMAL_CLEARING", &talked), LegEnd::ByAgent);
        assert_eq!(end("NORMAL_CLEARING", "variable_sip_hangup_disposition: send_bye\n"), LegEnd::BySwitch);
        for all in ["MANAGER_REQUEST", "SYSTEM_SHUTDOWN"] {
            assert_eq!(end(all, ours), LegEnd::BySwitch);
        }
        assert_eq!(end("USER_BUSY", "variable_proto_specific_hangup_cause: sip%3Ax\n"), missed(MissCause::Busy));
    }
}
