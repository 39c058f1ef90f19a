//! Events as what a call is told.

use uuid::Uuid;

use crate::acd::call::{Call, Input, Playing};
use crate::acd::fact::MissCause;
use crate::acd::ids::LegId;
use crate::acd::leg::{LegEnd, News};
use crate::esl::{Cause, Event, EventKind, JobResult};

use super::variables::{ORDER, PLAYING, TRANSFER};

/// How a leg ended, by its hang-up cause.
pub(crate) fn leg_end(cause: Cause) -> LegEnd {
    LegEnd::Missed(match cause {
        Cause::NoAnswer | Cause::NoUserResponse | Cause::AllottedTimeout | Cause::RecoveryOnTimerExpire => {
            MissCause::NoAnswer
        }
        Cause::UserBusy => MissCause::Busy,
        Cause::CallRejected => MissCause::Declined,
        Cause::UserNotRegistered => MissCause::NotRegistered,
        Cause::SubscriberAbsent | Cause::UnallocatedNumber | Cause::NoRouteDestination => MissCause::Unknown,
        Cause::LoseRace | Cause::PickedOff | Cause::OriginatorCancel => return LegEnd::Elsewhere,
        Cause::NormalClearing | Cause::None => return LegEnd::Cleared,
        _ => MissCause::Failed,
    })
}

/// Whether an event of the caller's channel tells that it is answered.
fn tells_answer(event: &Event) -> bool {
    event.kind() == EventKind::ChannelAnswer
        || (event.kind() == EventKind::ChannelExecuteComplete && event.application().is_some_and(|a| a == "answer"))
}

/// What an event means.
#[derive(Debug)]
pub(crate) enum Heard {
    /// To the call.
    Call(Input),
    /// The caller's channel carried out the next `originate`, or may not.
    CarriedOut(bool),
}

/// What an event means to the call on channel `own`. `None` for what is of no concern.
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
    let end = || match leg_end(event.hangup_cause().unwrap_or(Cause::Other)) {
        LegEnd::Cleared if event.variable("sip_hangup_disposition").is_some_and(|d| d == "recv_bye") => LegEnd::ByAgent,
        end => end,
    };
    let news = match event.kind() {
        EventKind::ChannelCreate => News::Created,
        EventKind::ChannelAnswer => News::Answered,
        EventKind::ChannelHangup => News::HungUp(end(), was_transferred(event)),
        EventKind::ChannelHangupComplete => News::Gone(end()),
        _ => return None,
    };
    Some(Heard::Call(Input::Leg(leg, news)))
}

/// The leg, if it is one of the call's.
fn our_leg(leg: Uuid, call: &Call) -> Option<LegId> {
    let leg = LegId::of(leg);
    call.agent_of(leg.offer).map(|_| leg)
}

fn carried_out(event: &Event) -> Option<Heard> {
    if event.kind() != EventKind::ChannelExecuteComplete || event.application()? != "set" {
        return None;
    }
    let data = event.header("Application-Data")?;
    let said = data.strip_prefix(ORDER)?.strip_prefix('=')?;
    Some(Heard::CarriedOut(said.starts_with("+OK")))
}

fn own_event(event: &Event) -> Option<Input> {
    Some(match event.kind() {
        EventKind::ChannelHangup | EventKind::ChannelHangupComplete => Input::CallerGone,
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
            Input::Played(Playing(u32::try_from(number).ok()?))
        }
        _ => return None,
    })
}

/// A bridge is told of either leg: whose event it is depends on how they were connected.
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

/// Whether a leg ended because its agent passed the caller on: `BLIND_TRANSFER` in the captures; an attended
/// transfer leaves only `transfer_disposition` (measured).
pub(crate) fn was_transferred(event: &Event) -> bool {
    event.variable("endpoint_disposition").is_some_and(|d| d.ends_with("_TRANSFER"))
        || event.variable("transfer_disposition").is_some_and(|d| d == "recv_replace")
}
