//! Compares FreeSWITCH's channels and calls (`show channels`, `show calls`) with our state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

use crate::acd::ids::{AgentId, CallId, Instance, OfferId, QueueNumber};
use crate::acd::time::{Now, Wall};
use crate::esl::{ApiCall, ChannelId, Command, Event, SafeText};
use crate::floor::{Absent, HeldView, OfferKey};
use crate::telephony::variables::{CAME, SINCE};

/// How old an agent's state must be before a survey may contradict it: an older survey may precede the `originate`.
const SETTLED: Duration = Duration::from_secs(2);

/// How long ago a call must have begun before surveys may contradict it: the last survey of another switch may precede
/// it.
const CAME_SINCE: Duration = Duration::from_secs(5);

/// The reply to `show … as json`. Without rows FreeSWITCH omits `rows`.
#[derive(Debug, Deserialize)]
struct Listing<T> {
    #[serde(default = "Vec::new")]
    rows: Vec<T>,
}

/// A row of `show channels as json`; FreeSWITCH may omit empty fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ChannelRow {
    pub(super) uuid: String,
    pub(super) presence_id: String,
    pub(super) created_epoch: String,
    pub(super) state: String,
    /// The application that the channel started last.
    pub(super) application: String,
    /// The dialled number.
    pub(super) dest: String,
    pub(super) context: String,
}

/// A row of `show calls as json`: two channels that are connected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct CallRow {
    uuid: String,
    b_uuid: String,
}

/// The channels and calls of a switch.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    pub(super) channels: Vec<ChannelRow>,
    /// The bridged channels, in both directions.
    connected: BTreeMap<String, String>,
    /// The channels by the offer of which they would be a leg, sorted: each comparison asks for every offer, of
    /// thousands among tens of thousands of channels.
    legs: Vec<(OfferId, usize)>,
}

/// A difference, and how to repair it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repair {
    /// End a leg of ours that has no owner and is not bridged.
    End(Uuid),
    /// Adopt a leg of ours that has no owner and is bridged to this channel: a conversation from before our start.
    Adopt(Uuid, String),
    /// Release an agent whose leg does not exist.
    Release(OfferKey),
    /// Give up a caller who was expected back and whose channel does not exist.
    GiveUp(CallId),
    /// Bring back a call that waits for a controller that is gone: its channel, number and context.
    Bring(ChannelId, String, SafeText),
}

impl Survey {
    /// Reads the two listings.
    pub(super) fn read(channels: &str, calls: &str) -> Result<Self, serde_json::Error> {
        let channels: Listing<ChannelRow> = serde_json::from_str(channels)?;
        let calls: Listing<CallRow> = serde_json::from_str(calls)?;
        let mut connected = BTreeMap::new();
        for CallRow { uuid, b_uuid } in calls.rows {
            if !uuid.is_empty() && !b_uuid.is_empty() {
                connected.insert(uuid.clone(), b_uuid.clone());
                connected.insert(b_uuid, uuid);
            }
        }
        Ok(Self { legs: legs(&channels.rows), channels: channels.rows, connected })
    }

    /// Removes channels that have ended; the table lists them because it lags.
    pub(super) fn without(mut self, has_ended: impl Fn(&str) -> bool) -> Self {
        self.channels.retain(|c| !has_ended(&c.uuid));
        self.connected.retain(|a, b| !has_ended(a) && !has_ended(b));
        self.legs = legs(&self.channels);
        self
    }

    /// The channels that are not bridged.
    pub(super) fn alone(&self) -> impl Iterator<Item = &ChannelRow> {
        self.channels.iter().filter(|row| self.is_alone(row))
    }

    /// Whether a channel is connected to no other.
    pub(super) fn is_alone(&self, row: &ChannelRow) -> bool {
        !self.connected.contains_key(&row.uuid)
    }

    /// Whether a leg of this offer exists.
    pub(super) fn has(&self, offer: OfferId) -> bool {
        self.legs_of(offer).next().is_some()
    }

    fn legs_of(&self, offer: OfferId) -> impl Iterator<Item = &ChannelRow> {
        let from = self.legs.partition_point(|(of, _)| *of < offer);
        let legs = self.legs.iter().skip(from).take_while(move |(of, _)| *of == offer);
        legs.filter_map(|(_, nth)| self.channels.get(*nth))
    }

    /// Conversations of our agents with another channel than the one that `with` names.
    pub(super) fn parties(&self, held: &[HeldView], with: impl Fn(&HeldView) -> CallId) -> Vec<(OfferKey, CallId)> {
        let talking = held.iter().filter(|h| h.talking);
        let other = |h: &HeldView| {
            let other = CallId::new(self.legs_of(h.key.offer).find_map(|leg| self.connected.get(&leg.uuid))?).ok()?;
            (other != with(h)).then(|| (h.key.clone(), other))
        };
        talking.filter_map(other).collect()
    }

    /// The ids of all channels.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.channels.iter().map(|c| c.uuid.clone()).collect()
    }

    /// Our legs among the channels.
    fn own_legs(&self, instance: Instance) -> BTreeSet<Uuid> {
        self.channels.iter().filter_map(|c| ours(&c.uuid, instance)).collect()
    }

    /// Calls that wait for a controller and that FreeSWITCH never returns to the dialplan (measured). Either the
    /// controller died before the call was parked; or an earlier connection of a call that was passed on to us ended
    /// only when the call executed something else, and FreeSWITCH reset the channel. A call with a controller executes
    /// another application within milliseconds, as does one that is reset and continues. `ours` tells whether we serve
    /// a number.
    pub(super) fn unserved<'a>(&'a self, ours: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'a ChannelRow> {
        let is_alone = |c: &ChannelRow| c.application == "socket" || c.state == "CS_RESET";
        self.channels.iter().filter(move |c| is_alone(c) && ours(&c.dest))
    }

    /// Legs without an owner: they hold no agent, or ring for a call that no task attends to. Such a leg keeps
    /// FreeSWITCH from returning its caller to the dialplan (measured: FreeSWITCH does not give up a connection while
    /// its `originate` runs), so it is ended as soon as it is seen. So is a leg that still rings while another phone of
    /// the same agent has the caller.
    pub(super) fn strays(&self, instance: Instance, held: &[HeldView]) -> Vec<Repair> {
        let owned: BTreeSet<OfferId> = held.iter().filter(|h| h.attended || h.talking).map(|h| h.key.offer).collect();
        let legs = self.own_legs(instance);
        let other = |leg: &Uuid| self.connected.get(&leg.to_string());
        let talking: BTreeSet<OfferId> =
            legs.iter().filter(|leg| other(leg).is_some()).map(|leg| OfferId::of_leg(*leg)).collect();
        legs.iter()
            .filter_map(|&leg| {
                let offer = OfferId::of_leg(leg);
                match other(&leg) {
                    Some(_) if owned.contains(&offer) => None,
                    Some(other) => Some(Repair::Adopt(leg, other.clone())),
                    None => (!owned.contains(&offer) || talking.contains(&offer)).then_some(Repair::End(leg)),
                }
            })
            .collect()
    }
}

/// Legs that looked like strays in the last survey. A call receives the end of its leg on its own connection, slightly
/// before or after this link; so a leg counts as a stray only if it was one in the previous survey too.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeSet<Uuid>);

impl Suspects {
    /// Keeps only those `End` repairs whose leg was a suspect before. Returns true if there are new suspects, so that
    /// the next survey should come soon.
    pub(super) fn confirm(&mut self, repairs: &mut Vec<Repair>) -> bool {
        let ends = |repair: &Repair| if let Repair::End(leg) = repair { Some(*leg) } else { None };
        let strays: BTreeSet<Uuid> = repairs.iter().filter_map(ends).collect();
        let before = std::mem::replace(&mut self.0, strays);
        repairs.retain(|repair| ends(repair).is_none_or(|leg| before.contains(&leg)));
        self.0.iter().any(|leg| !before.contains(leg))
    }
}

/// The leg, if we originated the channel.
pub(super) fn ours(channel: &str, instance: Instance) -> Option<Uuid> {
    Uuid::try_parse(channel).ok().filter(|leg| instance.originated(OfferId(*leg)))
}

/// The offer, call, queue and agent of a leg, from the variables of its `originate`.
pub(super) fn key_of(event: &Event, leg: Uuid) -> Option<OfferKey> {
    Some(OfferKey {
        offer: OfferId::of_leg(leg),
        call: CallId::new(&event.variable("fsq_call")?).ok()?,
        queue: QueueNumber::new(&event.variable("fsq_queue")?).ok()?,
        agent: AgentId::new(&event.variable("fsq_agent")?).ok()?,
    })
}

/// The channels by the offer of which they would be a leg, sorted.
fn legs(channels: &[ChannelRow]) -> Vec<(OfferId, usize)> {
    let offers = channels.iter().enumerate().filter_map(|(nth, row)| Some((offer_of(&row.uuid)?, nth)));
    let mut legs: Vec<_> = offers.collect();
    legs.sort_unstable();
    legs
}

/// The offer of which a channel would be a leg, if its id is a UUID.
fn offer_of(channel: &str) -> Option<OfferId> {
    Uuid::try_parse(channel).ok().map(OfferId::of_leg)
}

/// Owners that have no leg on any switch. An owner counts as such only if it had no leg in the previous survey either
/// (`missing`, which this updates). An offer whose call still waits for its leg belongs to that call: the `originate`
/// may still be on its way to a slow switch, and the call has a deadline for it.
pub(super) fn widowed(
    channels: &BTreeSet<String>,
    held: &[HeldView],
    missing: &mut BTreeSet<OfferId>,
    now: Now,
) -> Vec<Repair> {
    let offers: BTreeSet<OfferId> = channels.iter().filter_map(|c| offer_of(c)).collect();
    let settled = |h: &&HeldView| (h.talking || !h.attended) && now.lasted(h.since) >= SETTLED;
    let without: Vec<&HeldView> = held.iter().filter(settled).filter(|h| !offers.contains(&h.key.offer)).collect();
    let repairs =
        without.iter().filter(|h| missing.contains(&h.key.offer)).map(|h| Repair::Release(h.key.clone())).collect();
    *missing = without.iter().map(|h| h.key.offer).collect();
    repairs
}

/// The repair that sends a call through its dialplan again, which leads to us. The number needs no check: it is one of
/// ours, so it is a queue's number or a feature code.
pub(super) fn bring(row: &ChannelRow) -> Option<Repair> {
    let context = SafeText::new(&row.context);
    let safe = context.as_str() == row.context && !row.context.contains(' ');
    let channel = ChannelId::new(&row.uuid).ok().filter(|_| safe);
    if channel.is_none() {
        let ChannelRow { uuid, context, .. } = row;
        tracing::warn!(
            uuid,
            context,
            "a call without a controller cannot be brought back: its context has characters other than letters, digits and -_.+*@()/; end it by hand"
        );
    }
    channel.map(|channel| Repair::Bring(channel, row.dest.clone(), context))
}

/// Sends a call through its dialplan again; `dump` is the `uuid_dump` of its channel. The dialplan treats it as a new
/// call, so a variable keeps the moment since which the caller really waits.
pub(super) fn bring_back(channel: &ChannelId, to: &str, dump: &str) -> Vec<Command> {
    let dumped = Event::json(dump.as_bytes(), 4096);
    let came = dumped.as_ref().and_then(|d| {
        d.variable(SINCE).or_else(|| d.variable(CAME)).or_else(|| d.header("Caller-Profile-Created-Time"))
    });
    let came = came.filter(|came| came.bytes().all(|b| b.is_ascii_digit()));
    let kept = came.map(|came| format!("uuid_setvar {channel} {SINCE} {came}"));
    let all = kept.into_iter().chain([format!("uuid_transfer {channel} {to}")]);
    all.filter_map(|call| ApiCall::new(call).ok()).map(Command::Api).collect()
}

/// Callers who were expected back and have been on no switch for `patience`.
pub(super) fn gone(
    channels: &BTreeSet<String>,
    absent: &[(CallId, Absent)],
    now: Now,
    patience: Duration,
) -> Vec<Repair> {
    let settled = |who: &Absent| match who.since {
        _ if now.mono.since(who.since.unwrap_or_default()) < patience => false,
        Some(since) => now.mono.since(since) >= CAME_SINCE,
        // The call is from before our start; but a daemon may restart within a moment, and the table lags.
        None => now.lasted(who.waits) >= SETTLED,
    };
    let gone = absent.iter().filter(|(call, who)| settled(who) && !channels.contains(call.as_str()));
    gone.map(|(call, _)| Repair::GiveUp(call.clone())).collect()
}

/// The time from a moment named in an event to the event itself. Both are in microseconds by FreeSWITCH's clock, which
/// may differ from ours. Zero if the event lacks either.
pub(super) fn ago(event: &Event, moment: &str) -> Duration {
    let at = |name: &str| event.header(name)?.parse::<u64>().ok().filter(|at| *at > 0);
    let both = at("Event-Date-Timestamp").zip(at(moment));
    Duration::from_micros(both.map_or(0, |(reported, then)| reported.saturating_sub(then)))
}

/// The time since a moment in whole seconds since 1970, as FreeSWITCH reports it; zero if the text is not a number.
pub(super) fn age(seconds: &str, now: Now) -> Duration {
    let then = seconds.parse::<i64>().map_or(now.wall, |seconds| Wall(seconds.saturating_mul(1000)));
    now.wall.since(then)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::acd::time::Mono;

    use super::*;

    fn us() -> Instance {
        Instance::new(7 << 72)
    }
    fn held(offer: OfferId, since: u64) -> HeldView {
        HeldView {
            key: OfferKey {
                offer,
                call: CallId::new("caller").unwrap(),
                queue: QueueNumber::new("99900").unwrap(),
                agent: AgentId::new("1001").unwrap(),
            },
            since: Mono(Duration::from_millis(since)).into(),
            talking: false,
            attended: true,
        }
    }
    fn at(ms: u64) -> Now {
        Now { mono: Mono(Duration::from_millis(ms)), wall: Wall(1_000_000) }
    }

    /// Q22: strays are ended, conversations are adopted, and foreign channels are not touched.
    #[test]
    fn legs_without_an_owner_are_found() {
        let (a, b, c) = (us().offer(1), us().offer(2), us().offer(3));
        let channels = format!(
            r#"{{"row_count":4,"rows":[{{"uuid":"{a}"}},{{"uuid":"{b}","direction":"outbound"}},{{"uuid":"{c}"}},{{"uuid":"x"}}]}}"#
        );
        let calls = format!(r#"{{"row_count":1,"rows":[{{"uuid":"x","b_uuid":"{b}"}}]}}"#);
        let survey = Survey::read(&channels, &calls).unwrap();
        assert_eq!(survey.strays(us(), &[held(c, 0)]), [Repair::End(a.0), Repair::Adopt(b.0, "x".to_owned())]);
        assert_eq!(survey.strays(Instance::new(6 << 72), &[]), []);
        // FreeSWITCH still lists channels whose end an event reported.
        let late = survey.without(|c| c == a.to_string() || c == "x");
        assert_eq!(late.strays(us(), &[held(c, 0)]), [Repair::End(b.0)]);
        assert_eq!(late.all().len(), 2);
        assert_eq!(Survey::read(r#"{"row_count":0}"#, r#"{"row_count":0}"#).unwrap().channels, []);
        assert!(Survey::read("-ERR", "").is_err());
    }

    /// Q8, Q22: if one phone of an agent has the caller, that leg is the conversation and the others are strays; before
    /// that, all legs belong to the call.
    #[test]
    fn the_other_phones_of_an_agent_who_talks_are_strays() {
        let offer = us().offer(1);
        let (desk, soft) = (offer.leg(0).uuid(), offer.leg(1).uuid());
        let channels = format!(r#"{{"rows":[{{"uuid":"{desk}"}},{{"uuid":"{soft}"}},{{"uuid":"x"}}]}}"#);
        let calls = format!(r#"{{"rows":[{{"uuid":"x","b_uuid":"{soft}"}}]}}"#);
        let talking = Survey::read(&channels, &calls).unwrap();
        assert_eq!(talking.strays(us(), &[held(offer, 0)]), [Repair::End(desk)]);
        assert_eq!(talking.strays(us(), &[]), [Repair::End(desk), Repair::Adopt(soft, "x".to_owned())]);
        let ringing = Survey::read(&channels, r#"{"row_count":0}"#).unwrap();
        assert_eq!(ringing.strays(us(), &[held(offer, 0)]), []);
        assert_eq!(ringing.strays(us(), &[]), [Repair::End(desk), Repair::End(soft)]);
        let talks = [HeldView { talking: true, ..held(offer, 0) }];
        let mut missing = BTreeSet::from([offer]);
        assert_eq!(widowed(&BTreeSet::from([soft.to_string()]), &talks, &mut missing, at(10_000)), []);
    }

    /// Q8, Q22: a slow switch does not free an agent whose phone is about to ring.
    #[test]
    fn an_offer_belongs_to_its_call_until_the_call_gives_it_up() {
        let leg = us().offer(1);
        let mut missing = BTreeSet::from([leg]);
        assert_eq!(widowed(&BTreeSet::new(), &[held(leg, 0)], &mut missing, at(10_000)), []);
        let mut missing = BTreeSet::from([leg]);
        let given_up = HeldView { attended: false, ..held(leg, 0) };
        let released = [Repair::Release(given_up.key.clone())];
        assert_eq!(widowed(&BTreeSet::new(), &[given_up], &mut missing, at(10_000)), released);
    }

    /// Q4, Q19: a call without a controller has waited since it arrived, however often it is brought back.
    #[test]
    fn a_call_without_a_controller_keeps_its_place() {
        let of = |dump: &str| {
            let commands = bring_back(&ChannelId::new("c").unwrap(), "99900 XML default", dump);
            let text = |command: &Command| match command {
                Command::Api(call) => call.as_str().to_owned(),
                other => format!("{other:?}"),
            };
            commands.iter().map(text).collect::<Vec<_>>()
        };
        let transfer = "uuid_transfer c 99900 XML default".to_owned();
        let since = |came: &str| vec![format!("uuid_setvar c fsq_since {came}"), transfer.clone()];
        let profile = r#""Caller-Profile-Created-Time":"3""#;
        assert_eq!(of(&format!("{{{profile}}}")), since("3"));
        assert_eq!(of(&format!(r#"{{{profile},"variable_fsq_came":"2"}}"#)), since("2"));
        assert_eq!(of(&format!(r#"{{{profile},"variable_fsq_came":"2","variable_fsq_since":"1"}}"#)), since("1"));
        for nothing in [r#"{"variable_fsq_came":"2 x"}"#, "-ERR"] {
            assert_eq!(of(nothing).join(";"), transfer, "{nothing}");
        }
    }

    /// Q22: a leg counts as a stray in the second survey; other repairs do not wait.
    #[test]
    fn a_leg_counts_as_a_stray_in_the_second_survey() {
        let (a, b) = (us().offer(1).0, us().offer(2).0);
        let adopt = Repair::Adopt(b, "x".to_owned());
        let mut suspects = Suspects::default();
        let mut look = |strays: &[Uuid]| {
            let mut repairs: Vec<Repair> = strays.iter().map(|leg| Repair::End(*leg)).chain([adopt.clone()]).collect();
            let again = suspects.confirm(&mut repairs);
            (repairs.len() - 1, again)
        };
        assert_eq!(look(&[a]), (0, true));
        assert_eq!(look(&[a, b]), (1, true));
        assert_eq!(look(&[b]), (1, false));
        assert_eq!(look(&[]), (0, false));
        assert_eq!(look(&[b]), (0, true), "it was not a suspect in between");
    }

    /// Q19, Q22: calls without a controller are found, and served calls are not.
    #[test]
    fn calls_without_a_controller_are_found() {
        let rows = r#"{"rows":[{"uuid":"parked","dest":"1","application":"socket","state":"CS_EXECUTE"},
            {"uuid":"reset","dest":"1","application":"playback","state":"CS_RESET"},
            {"uuid":"served","dest":"1","application":"playback","state":"CS_EXECUTE"},
            {"uuid":"elsewhere","dest":"2","application":"socket","state":"CS_RESET"}]}"#;
        let survey = Survey::read(rows, r#"{"row_count":0}"#).unwrap();
        let found: Vec<_> = survey.unserved(|number| number == "1").map(|row| row.uuid.as_str()).collect();
        assert_eq!(found, ["parked", "reset"]);
    }

    /// Q24: a channel without a time of creation does not date from 1970.
    #[test]
    fn a_missing_moment_has_no_age() {
        let now = Now { wall: Wall(1_795_338_060_000), ..Now::default() };
        assert_eq!(["1795338000", "", "0x1", "1795338061"].map(|then| age(then, now).as_secs()), [60, 0, 0, 0]);
    }

    /// Q22: an owner counts as having no leg only in the second survey.
    #[test]
    fn owners_without_a_leg_are_found_in_the_second_survey() {
        let (a, b) = (us().offer(1), us().offer(2));
        let mut missing = BTreeSet::new();
        let list = [held(a, 0), held(b, 9_000)].map(|h| HeldView { talking: true, ..h });
        assert_eq!(widowed(&BTreeSet::new(), &list, &mut missing, at(10_000)), []);
        assert_eq!(widowed(&BTreeSet::new(), &list, &mut missing, at(10_500)), [Repair::Release(list[0].key.clone())]);
        assert_eq!(widowed(&BTreeSet::from([a.to_string()]), &list, &mut missing, at(10_900)), []);
        assert!(missing.is_empty());
    }
}
