//! Compares what FreeSWITCH says (`show channels`, `show calls`) with what is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use uuid::Uuid;

use crate::acd::ids::{AgentId, CallId, Instance, OfferId, QueueNumber};
use crate::acd::time::{Now, Wall};
use crate::esl::{ApiCall, ChannelId, Command, Event, SafeText};
use crate::floor::{Absent, HeldView, OfferKey};
use crate::telephony::variables::{CAME, SINCE};

/// An agent is not looked for in a survey that may have been taken before the leg was ordered.
const SETTLED: Duration = Duration::from_secs(2);

/// A caller is not looked for in surveys, of any switch, that may have been taken before the call came.
const CAME_SINCE: Duration = Duration::from_secs(5);

/// `show … as json`. Without rows FreeSWITCH leaves `rows` out.
#[derive(Debug, Deserialize)]
struct Listing<T> {
    #[serde(default = "Vec::new")]
    rows: Vec<T>,
}

/// A row of `show channels as json`; an empty field may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ChannelRow {
    pub(super) uuid: String,
    pub(super) presence_id: String,
    pub(super) created_epoch: String,
    pub(super) state: String,
    /// What the channel began to execute last.
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

/// What a switch has.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    pub(super) channels: Vec<ChannelRow>,
    /// Who is connected to whom, both ways.
    connected: BTreeMap<String, String>,
}

/// A difference, and how it is put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repair {
    /// A leg of ours that nobody owns and nobody talks on.
    End(Uuid),
    /// A leg of ours that nobody owns, connected to this channel: a conversation from before our time.
    Adopt(Uuid, String),
    /// An agent held by a leg that is not there.
    Release(OfferKey),
    /// A caller who was to come back, and is not there.
    GiveUp(CallId),
    /// A call that waits for a controller who has gone: the channel, its number and context.
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
        Ok(Self { channels: channels.rows, connected })
    }

    /// Leaves out channels that have ended: what is said of them is out of date.
    pub(super) fn without(mut self, has_ended: impl Fn(&str) -> bool) -> Self {
        self.channels.retain(|c| !has_ended(&c.uuid));
        self.connected.retain(|a, b| !has_ended(a) && !has_ended(b));
        self
    }

    /// Channels that are connected to no other.
    pub(super) fn alone(&self) -> impl Iterator<Item = &ChannelRow> {
        self.channels.iter().filter(|row| self.is_alone(row))
    }

    /// Whether a channel is connected to no other.
    pub(super) fn is_alone(&self, row: &ChannelRow) -> bool {
        !self.connected.contains_key(&row.uuid)
    }

    /// Whether a leg of this offer is there.
    pub(super) fn has(&self, offer: OfferId) -> bool {
        self.channels.iter().any(|c| offer_of(&c.uuid) == Some(offer))
    }

    /// Conversations of our agents with others than they are known to talk `with`.
    pub(super) fn parties(&self, held: &[HeldView], with: impl Fn(&HeldView) -> CallId) -> Vec<(OfferKey, CallId)> {
        let talking = held.iter().filter(|h| h.talking);
        let other = |h: &HeldView| {
            let mut legs = self.channels.iter().filter(|c| offer_of(&c.uuid) == Some(h.key.offer));
            let other = CallId::new(legs.find_map(|leg| self.connected.get(&leg.uuid))?).ok()?;
            (other != with(h)).then(|| (h.key.clone(), other))
        };
        talking.filter_map(other).collect()
    }

    /// Every channel.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.channels.iter().map(|c| c.uuid.clone()).collect()
    }

    /// The legs of ours among the channels.
    fn legs(&self, instance: Instance) -> BTreeSet<Uuid> {
        self.channels.iter().filter_map(|c| ours(&c.uuid, instance)).collect()
    }

    /// Calls that wait for somebody to take charge of them, which FreeSWITCH never gives back (measured): whoever was
    /// connected to them died before they were parked; or a connection from before they were passed on to us ended only
    /// when they executed something else, and they were reset. A call that somebody serves executes something else
    /// within milliseconds, as does one that is reset and goes on. `ours` tells whether the number is one of ours.
    pub(super) fn unserved<'a>(&'a self, ours: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'a ChannelRow> {
        let is_alone = |c: &ChannelRow| c.application == "socket" || c.state == "CS_RESET";
        self.channels.iter().filter(move |c| is_alone(c) && ours(&c.dest))
    }

    /// Legs without an owner: nobody is held by them, or they ring for a call that no task attends to. Such a leg
    /// keeps FreeSWITCH from giving its caller back to the dialplan (measured: the connection of an `originate`
    /// that runs is not given up), so it is ended as soon as it is seen. So is one that rings on while another phone of
    /// the same agent has the caller.
    pub(super) fn strays(&self, instance: Instance, held: &[HeldView]) -> Vec<Repair> {
        let owned: BTreeSet<OfferId> = held.iter().filter(|h| h.attended || h.talking).map(|h| h.key.offer).collect();
        let legs = self.legs(instance);
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

/// Legs that looked like strays the last time. A call hears of the end of its leg on a connection of its own, a moment
/// before or behind this link; so a leg is only taken for a stray when it was one in the look before as well.
#[derive(Debug, Default)]
pub(super) struct Suspects(BTreeSet<Uuid>);

impl Suspects {
    /// Leaves of the legs to be ended those that were suspects before. True when there are new ones, so that it had
    /// better be looked again soon.
    pub(super) fn confirm(&mut self, repairs: &mut Vec<Repair>) -> bool {
        let ends = |repair: &Repair| if let Repair::End(leg) = repair { Some(*leg) } else { None };
        let strays: BTreeSet<Uuid> = repairs.iter().filter_map(ends).collect();
        let before = std::mem::replace(&mut self.0, strays);
        repairs.retain(|repair| ends(repair).is_none_or(|leg| before.contains(&leg)));
        self.0.iter().any(|leg| !before.contains(leg))
    }
}

/// Whether a channel is a leg that we ordered.
pub(super) fn ours(channel: &str, instance: Instance) -> Option<Uuid> {
    Uuid::try_parse(channel).ok().filter(|leg| instance.ordered(OfferId(*leg)))
}

/// Whose leg it is, by the variables it was ordered with.
pub(super) fn key_of(event: &Event, leg: Uuid) -> Option<OfferKey> {
    Some(OfferKey {
        offer: OfferId::of_leg(leg),
        call: CallId::new(&event.variable("fsq_call")?).ok()?,
        queue: QueueNumber::new(&event.variable("fsq_queue")?).ok()?,
        agent: AgentId::new(&event.variable("fsq_agent")?).ok()?,
    })
}

/// The offer that a channel is a leg of, if it is one.
fn offer_of(channel: &str) -> Option<OfferId> {
    Uuid::try_parse(channel).ok().map(OfferId::of_leg)
}

/// Owners without a leg, on any switch. An owner is only taken for one without a leg when that was so in the
/// survey before as well (`missing`), which is brought up to date. An offer whose call still waits for its leg is
/// that call's: the order to ring may be on its way to a slow switch, and the call has a deadline for it.
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

/// Brings the call, whose number is one of ours and so nothing but digits or a feature code, back into its dialplan,
/// which leads it to us.
pub(super) fn bring(row: &ChannelRow) -> Option<Repair> {
    let context = SafeText::new(&row.context);
    let safe = context.as_str() == row.context && !row.context.contains(' ');
    let channel = ChannelId::new(&row.uuid).ok().filter(|_| safe);
    if channel.is_none() {
        let ChannelRow { uuid, context, .. } = row;
        tracing::warn!(
            uuid,
            context,
            "a call nobody took charge of cannot be brought back: its context has other characters than letters, digits and -_.+*@()/; end it by hand"
        );
    }
    channel.map(|channel| Repair::Bring(channel, row.dest.clone(), context))
}

/// Sends a call through its dialplan again; `dump` is all of its channel. The dialplan takes it for one that has just
/// come, so the channel is told since when it really waits.
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

/// Callers who were to come back, and for `patience` have been on no switch.
pub(super) fn gone(
    channels: &BTreeSet<String>,
    absent: &[(CallId, Absent)],
    now: Now,
    patience: Duration,
) -> Vec<Repair> {
    let settled = |who: &Absent| match who.since {
        _ if now.mono.since(who.since.unwrap_or_default()) < patience => false,
        Some(since) => now.mono.since(since) >= CAME_SINCE,
        // Of before our time; but a daemon is started again within a moment, and the table is behind.
        None => now.lasted(who.waits) >= SETTLED,
    };
    let gone = absent.iter().filter(|(call, who)| settled(who) && !channels.contains(call.as_str()));
    gone.map(|(call, _)| Repair::GiveUp(call.clone())).collect()
}

/// How long before an event that moment was of which it tells, both by FreeSWITCH's clock in microseconds: its calendar
/// need not be ours. Zero when it does not tell.
pub(super) fn ago(event: &Event, moment: &str) -> Duration {
    let at = |name: &str| event.header(name)?.parse::<u64>().ok().filter(|at| *at > 0);
    let both = at("Event-Date-Timestamp").zip(at(moment));
    Duration::from_micros(both.map_or(0, |(told, then)| told.saturating_sub(then)))
}

/// How long ago a moment was that FreeSWITCH tells in whole seconds since 1970; zero when it does not.
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

    /// Q22: strays are ended, conversations adopted, everybody else's channels left alone.
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
        // FreeSWITCH still lists what was heard to end.
        let late = survey.without(|c| c == a.to_string() || c == "x");
        assert_eq!(late.strays(us(), &[held(c, 0)]), [Repair::End(b.0)]);
        assert_eq!(late.all().len(), 2);
        assert_eq!(Survey::read(r#"{"row_count":0}"#, r#"{"row_count":0}"#).unwrap().channels, []);
        assert!(Survey::read("-ERR", "").is_err());
    }

    /// Q8, Q22: of the phones of one agent the one that has the caller is the conversation, another is a stray; while
    /// none has, they are the call's.
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

    /// Q8, Q22: a slow switch makes nobody free who is about to be rung.
    #[test]
    fn an_offer_is_its_calls_until_that_gives_it_up() {
        let leg = us().offer(1);
        let mut missing = BTreeSet::from([leg]);
        assert_eq!(widowed(&BTreeSet::new(), &[held(leg, 0)], &mut missing, at(10_000)), []);
        let mut missing = BTreeSet::from([leg]);
        let given_up = HeldView { attended: false, ..held(leg, 0) };
        let released = [Repair::Release(given_up.key.clone())];
        assert_eq!(widowed(&BTreeSet::new(), &[given_up], &mut missing, at(10_000)), released);
    }

    /// Q4, Q19: a call that nobody took charge of has waited since it came, however often it is brought back.
    #[test]
    fn a_call_that_was_left_alone_keeps_its_place() {
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

    /// Q22: a leg is a stray when it is one twice; other repairs do not wait.
    #[test]
    fn a_leg_is_a_stray_the_second_time() {
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
        assert_eq!(look(&[b]), (0, true), "it was none in between");
    }

    /// Q19, Q22: whom nobody has, and whoever is served.
    #[test]
    fn calls_that_nobody_has_are_found() {
        let rows = r#"{"rows":[{"uuid":"parked","dest":"1","application":"socket","state":"CS_EXECUTE"},
            {"uuid":"reset","dest":"1","application":"playback","state":"CS_RESET"},
            {"uuid":"served","dest":"1","application":"playback","state":"CS_EXECUTE"},
            {"uuid":"elsewhere","dest":"2","application":"socket","state":"CS_RESET"}]}"#;
        let survey = Survey::read(rows, r#"{"row_count":0}"#).unwrap();
        let found: Vec<_> = survey.unserved(|number| number == "1").map(|row| row.uuid.as_str()).collect();
        assert_eq!(found, ["parked", "reset"]);
    }

    /// Q24: a channel that does not tell since when it is there is not from 1970.
    #[test]
    fn a_moment_that_is_not_told_is_none() {
        let now = Now { wall: Wall(1_795_338_060_000), ..Now::default() };
        assert_eq!(["1795338000", "", "0x1", "1795338061"].map(|then| age(then, now).as_secs()), [60, 0, 0, 0]);
    }

    /// Q22: an owner is believed to be without a leg only the second time.
    #[test]
    fn owners_without_a_leg_are_found_the_second_time() {
        let (a, b) = (us().offer(1), us().offer(2));
        let mut missing = BTreeSet::new();
        let list = [held(a, 0), held(b, 9_000)].map(|h| HeldView { talking: true, ..h });
        assert_eq!(widowed(&BTreeSet::new(), &list, &mut missing, at(10_000)), []);
        assert_eq!(widowed(&BTreeSet::new(), &list, &mut missing, at(10_500)), [Repair::Release(list[0].key.clone())]);
        assert_eq!(widowed(&BTreeSet::from([a.to_string()]), &list, &mut missing, at(10_900)), []);
        assert!(missing.is_empty());
    }
}
