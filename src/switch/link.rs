//! Serves one link while it is up: surveys, repairs, registrations, private calls and lamps.

mod accounts;
mod lighting;
mod own;
mod parties;
mod whose;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::acd::fact::EndedBy;
use crate::acd::feature::Dialled;
use crate::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use crate::acd::time::Mono;
use crate::esl::command::EventSet;
use crate::esl::{
    ApiCall, Cause, ChannelId, CloseReason, Command, Connection, Event, EventKind, Events, Incoming, Outcome, Reply,
};
use crate::floor::{AskedRegistrations, OfferKey};
use crate::telephony::commands::{connected, end_if_ringing, end_if_silent, has_mod_hash};
use crate::telephony::events::{ended_by_caller, was_transferred};
use crate::telephony::status::sessions_per_second;

use super::lamps::Lamps;
use super::private_calls::Listed;
use super::survey::{Repair, Survey, Suspects, ago, bring, bring_back, gone, key_of, ours, widowed};
use super::{BLIND_PATIENCE, RETURN_PATIENCE, SURVEY_EVERY, Sight, Switches, lock};
use own::Numbers;
use whose::Whose;

/// How long a call may wait before it counts as left without a controller: a live controller serves it at once.
const LEFT_ALONE: Duration = SURVEY_EVERY;

/// The pause before the next survey at the start, also after a stray leg was ended or could not be ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The number of these early surveys: together they last longer than FreeSWITCH's table lags.
const EARLY_LOOKS: u32 = 4;

/// How long a stray leg may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// How long after its answer a leg is connected at the latest: `uuid_bridge` runs in the instant of the answer.
const CONNECTED_WITHIN: Duration = Duration::from_millis(500);

/// The pause before the next survey after one that may have been out of date.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The answer to a question of the link.
enum Answer {
    /// The channels, and when they were requested.
    Channels(Mono, Outcome),
    /// The channels, when they were requested, and the calls.
    Calls(Mono, Box<Reply>, Outcome),
    Dump(Uuid, String, Outcome),
    /// The channel that talks with an agent instead of the caller.
    Party(OfferKey, CallId, Outcome),
    /// A call without a controller, and the destination to which it goes.
    LeftAlone(ChannelId, String, Outcome),
    Contact(AgentId, Outcome),
    /// The phones of an agent.
    Phones(AgentId, AskedRegistrations, Outcome),
    Domain(Outcome),
    /// The numbers that the dialplan treats as queues, and whether this one is among them.
    Numbers(Outcome),
    Number(QueueNumber, Outcome),
    /// A channel whose beginning no event reported.
    Whose(String, Outcome),
    ModHash(Outcome),
    Status(Outcome),
    /// Whether a stray leg was ended.
    Ended(Uuid, bool),
    /// A stray leg was answered, and had its time to be connected.
    Answered(Uuid),
    /// It was to be ended unless it ever was connected; whether it was.
    Silenced(Uuid, bool),
    Lamps,
}

struct Up<'a> {
    switches: &'a Switches,
    index: usize,
    connection: Connection,
    /// Agents whose phones registered here during this link: only for them does the end of a registration matter.
    registered: BTreeSet<AgentId>,
    /// Agents about whose phones to ask, and how many of these questions are under way.
    to_look_up: BTreeSet<AgentId>,
    looking_up: usize,
    missing: BTreeSet<OfferId>,
    suspects: Suspects,
    /// Conversations without a task that were made independent of this process.
    let_go: BTreeSet<OfferId>,
    /// Stray legs that the link has told FreeSWITCH to end, and when.
    ending: BTreeMap<Uuid, Mono>,
    /// Calls without a controller, and since when.
    unserved: BTreeMap<String, Mono>,
    asked: JoinSet<Answer>,
    surveying: bool,
    /// The last survey may be out of date, or events were missed.
    doubtful: bool,
    /// At the start: something has changed for which the first offers wait.
    look_again: bool,
    /// How many early surveys remain: the first may lack channels that began, and list channels that ended, just before
    /// the link received events.
    early_looks: u32,
    /// FreeSWITCH's default domain; requested if the configuration names none.
    asked_domain: Option<String>,
    asking_domain: bool,
    numbers: Numbers,
    whose: Whose,
    /// Since when FreeSWITCH has not listed its channels.
    unseen: Option<Mono>,
    lamps: Lamps,
    lighting: bool,
}

/// Serves a link until it ends; returns the reason.
pub(super) async fn run(switches: &Switches, index: usize, connection: Connection, mut events: Events) -> CloseReason {
    let mut facts = switches.facts.subscribe();
    let mut settings = switches.settings.clone();
    let mut up = Up {
        switches,
        index,
        connection,
        registered: BTreeSet::new(),
        to_look_up: BTreeSet::new(),
        looking_up: 0,
        missing: BTreeSet::new(),
        suspects: Suspects::default(),
        let_go: BTreeSet::new(),
        ending: BTreeMap::new(),
        unserved: BTreeMap::new(),
        asked: JoinSet::new(),
        surveying: false,
        doubtful: false,
        look_again: false,
        early_looks: EARLY_LOOKS,
        asked_domain: None,
        asking_domain: false,
        numbers: Numbers::default(),
        whose: Whose::default(),
        unseen: None,
        lamps: switches.lamps_of(index),
        lighting: false,
    };
    up.begin();
    let mut surveys = interval(SURVEY_EVERY);
    surveys.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reason = loop {
        tokio::select! {
            // Events come first: those that arrived before an answer must be handled before it.
            biased;
            incoming = events.next() => match incoming {
                Some(Incoming::Event(event)) => up.event(&event),
                Some(Incoming::Missed(count)) => {
                    tracing::warn!(count, "events of FreeSWITCH were missed; the next survey corrects the state");
                    up.doubtful = true;
                    up.hears_registrations();
                    if up.unseen.is_some() {
                        // No survey will show the private calls whose end was among the missed events.
                        switches.private_calls(|phones| phones.forget(index));
                    }
                    surveys.reset_immediately();
                }
                Some(Incoming::Closed(reason)) => break reason,
                None => break CloseReason::Peer,
                Some(_) => {}
            },
            Some(answer) = up.asked.join_next() => {
                if let Ok(answer) = answer
                    && up.answer(answer)
                {
                    let doubtful = std::mem::take(&mut up.doubtful);
                    if up.early_looks > 0 {
                        up.early_looks -= 1;
                        surveys.reset_after(LOOK_AGAIN);
                    } else if doubtful {
                        surveys.reset_after(ASK_AGAIN);
                    }
                }
            }
            fact = facts.recv() => match fact {
                Ok(record) => up.fact(&record.fact),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => up.all_lamps(),
                Err(tokio::sync::broadcast::error::RecvError::Closed) => break CloseReason::Local,
            },
            Ok(()) = settings.changed() => {
                up.all_lamps();
                up.hears_registrations();
                up.check_numbers();
            }
            _ = surveys.tick() => {
                up.survey();
                up.light();
            }
        }
        if !up.surveying && std::mem::take(&mut up.look_again) {
            surveys.reset_after(LOOK_AGAIN);
        }
    };
    switches.keep_lamps(index, std::mem::take(&mut up.lamps));
    up.switches.floor.registrations().listen(false);
    for agent in std::mem::take(&mut up.registered) {
        up.switches.floor.set_reachable(&agent, true, up.switches.clock.now());
    }
    reason
}

impl Up<'_> {
    fn begin(&mut self) {
        let kinds = [EventKind::ChannelCreate, EventKind::ChannelHangupComplete, EventKind::PresenceProbe];
        let set = EventSet::of(&kinds)
            .custom("sofia::register")
            .and_then(|set| set.custom("sofia::unregister"))
            .and_then(|set| set.custom("sofia::expire"));
        match set {
            Ok(set) => self.tell(&[Command::Events(set)]),
            Err(error) => tracing::error!(%error, "the link cannot subscribe to events"),
        }
        // Asked before the first survey, so that the answer is known before several phones ring for one caller.
        if let Ok(call) = has_mod_hash() {
            self.ask(call, Answer::ModHash);
        }
        if let Ok(call) = ApiCall::new("status") {
            self.ask(call, Answer::Status);
        }
        self.all_lamps();
        self.ask_domain();
        self.check_numbers();
    }

    fn tell(&self, commands: &[Command]) {
        match self.connection.send_all(commands) {
            Ok(sent) => sent.into_iter().for_each(|pending| pending.log_refusal("a command of the link")),
            Err(full) => tracing::warn!(%full, "a command of the link was not sent"),
        }
    }

    /// Sends a question. Returns false if there is no room for it.
    fn ask(&mut self, call: ApiCall, answer: impl FnOnce(Outcome) -> Answer + Send + 'static) -> bool {
        match self.connection.send(&Command::Api(call)) {
            Ok(pending) => {
                self.asked.spawn(async move { answer(pending.await) });
                true
            }
            Err(full) => {
                tracing::warn!(%full, "a question of the link was not sent");
                false
            }
        }
    }

    fn survey(&mut self) {
        if std::mem::replace(&mut self.surveying, true) {
            return;
        }
        self.ask_domain();
        let asked = self.switches.clock.now().mono;
        self.surveying = self.ask(ApiCall::show_channels(), move |outcome| Answer::Channels(asked, outcome));
    }

    /// Handles an answer. Returns true if it completes a survey.
    fn answer(&mut self, answer: Answer) -> bool {
        match answer {
            Answer::Channels(_, Outcome::Refused(text)) => {
                self.surveying = false;
                self.cannot_see(&text);
            }
            Answer::Channels(asked, channels) => {
                // Asked only now: by the time of this answer, all events from before the first answer have arrived.
                let calls = done(channels).map(Box::new).zip(ApiCall::new("show calls as json").ok());
                self.surveying = calls.is_some_and(|(channels, calls)| {
                    self.ask(calls, move |outcome| Answer::Calls(asked, channels, outcome))
                });
            }
            Answer::Calls(asked, channels, calls) => {
                self.surveying = false;
                let Some(calls) = done(calls) else { return false };
                match Survey::read(&channels.body_text(), &calls.body_text()) {
                    Ok(survey) => {
                        self.sees();
                        self.compare(survey, asked);
                    }
                    Err(error) => tracing::warn!(%error, "FreeSWITCH's list of channels cannot be read"),
                }
                return true;
            }
            Answer::Dump(leg, caller, outcome) => {
                if let Some(reply) = done(outcome) {
                    self.adopt(leg, &caller, &reply.body_text());
                }
            }
            Answer::Party(key, channel, outcome) => self.party(&key, channel, outcome),
            Answer::LeftAlone(channel, to, outcome) => {
                if let Some(reply) = done(outcome) {
                    self.tell(&bring_back(&channel, &to, &reply.body_text()));
                }
            }
            Answer::Contact(agent, outcome) => self.still_there(&agent, outcome),
            Answer::Domain(outcome) => self.told_domain(&outcome),
            Answer::Numbers(outcome) => self.told_numbers(outcome),
            Answer::Number(number, outcome) => self.told_number(number, outcome),
            Answer::Whose(channel, outcome) => self.told_whose(channel, outcome),
            Answer::ModHash(outcome) => {
                let has = done(outcome).is_some_and(|reply| reply.body_text().trim() == "true");
                self.switches.mod_hash.store(has, Ordering::Relaxed);
                // This question followed the subscription to events, so all registrations arrive from here on.
                self.hears_registrations();
            }
            Answer::Status(outcome) => {
                let limit = done(outcome).and_then(|reply| sessions_per_second(&reply.body_text()));
                self.switches.takes(self.index, limit);
            }
            Answer::Phones(agent, asked, outcome) => self.looked_up(&agent, asked, outcome),
            Answer::Ended(leg, true) => {
                tracing::warn!(%leg, "repaired: a leg without an owner was ended");
                self.switches.repaired();
            }
            // It was answered, and may be being connected this moment; or it is gone.
            Answer::Ended(leg, false) => {
                self.look_again |= !self.switches.are_in_order();
                self.asked.spawn(async move {
                    sleep(CONNECTED_WITHIN).await;
                    Answer::Answered(leg)
                });
            }
            Answer::Answered(leg) => self.end_if_silent(leg),
            Answer::Silenced(leg, ended) => {
                if ended {
                    tracing::warn!(%leg, "repaired: a leg that was answered, with nobody to connect it to, was ended");
                    self.switches.repaired();
                }
                self.look_again |= !self.switches.are_in_order();
            }
            Answer::Lamps => {
                self.lighting = false;
                self.light();
            }
        }
        false
    }

    /// Handles that FreeSWITCH does not list its channels. This is like having no link, except that the ends of
    /// channels are still reported.
    fn cannot_see(&mut self, text: &str) {
        let now = self.switches.clock.now().mono;
        let since = *self.unseen.get_or_insert(now);
        let trouble = format!(
            "refuses `show channels` ({text}), so nothing is compared with it and nothing repaired; start it without -nosql"
        );
        if self.switches.trouble(self.index, |t| &mut t.channels, Some(trouble.clone())) {
            tracing::warn!("FreeSWITCH {trouble}");
        }
        if now.since(since) >= BLIND_PATIENCE {
            self.switches.note(self.index, Sight::Blind);
        }
    }

    fn sees(&mut self) {
        if self.unseen.take().is_some() {
            tracing::info!("FreeSWITCH lists its channels again");
        }
        self.switches.trouble(self.index, |t| &mut t.channels, None);
        self.switches.floor.set_supervised(true, self.switches.clock.now());
    }

    fn compare(&mut self, survey: Survey, asked: Mono) {
        let survey = {
            let phones = lock(&self.switches.phones);
            survey.without(|channel| phones.has_ended(channel))
        };
        let (floor, instance, now) = (&self.switches.floor, self.switches.instance, self.switches.clock.now());
        let held = floor.held();
        let mut repairs = survey.strays(instance, &held);
        self.ask_for_parties(&survey, &held);
        let strays = repairs.iter().any(|r| matches!(r, Repair::End(_)));
        // At the start no session has just ended a leg: every stray is from before, and holds its caller back.
        if self.switches.are_in_order() {
            self.doubtful |= self.suspects.confirm(&mut repairs);
        }
        let all = survey.all();
        let seen = self.switches.note(self.index, Sight::Channels(all.clone()));
        if let Some((channels, blind)) = &seen {
            // If a switch has been blind for long, only a session knows whether its leg exists.
            let doubted: Vec<_> = held.iter().filter(|h| !blind || !h.attended).cloned().collect();
            repairs.extend(widowed(channels, &doubted, &mut self.missing, now));
            let patience = if *blind { RETURN_PATIENCE } else { Duration::ZERO };
            repairs.extend(gone(channels, &floor.absent(), now, patience));
        }
        for held in held.iter().filter(|h| survey.has(h.key.offer)) {
            floor.seen(&held.key, now);
        }
        let is_here = |call: &CallId| all.contains(call.as_str());
        for held in held.iter().filter(|h| h.talking && !h.attended && is_here(&h.key.call)) {
            if survey.has(held.key.offer) && self.let_go.insert(held.key.offer) {
                self.let_go(&held.key.call);
            }
        }
        self.let_go.retain(|offer| survey.has(*offer));
        if !self.switches.are_in_order() {
            let queued = survey.alone().filter(|row| matches!(self.served(&row.dest), Some(Dialled::Queue(_))));
            floor.see_coming(queued.filter_map(|row| CallId::new(&row.uuid).ok()));
        }
        let unserved: Vec<_> = survey.unserved(|number| self.served(number).is_some()).collect();
        let since = |uuid: &String| self.unserved.get(uuid).copied().unwrap_or(asked);
        let left_alone = unserved.iter().filter(|row| asked.since(since(&row.uuid)) >= LEFT_ALONE);
        repairs.extend(left_alone.filter_map(|row| bring(row)));
        self.unserved = unserved.iter().map(|row| (row.uuid.clone(), since(&row.uuid))).collect();
        let agents = self.private_channels(&survey, asked, &held);
        let listed = Listed { asked, all, agents };
        self.switches.private_calls(|phones| {
            let (changes, doubtful) = phones.are(self.index, &listed);
            self.doubtful |= doubtful;
            changes
        });
        for repair in repairs {
            self.repair(repair);
        }
        // A leg that was originated just before our start may not be listed yet, and its agent would be rung twice.
        if seen.is_some() && !strays && self.early_looks == 0 && !self.whose.asks() {
            self.switches.set_in_order();
        }
    }

    fn repair(&mut self, repair: Repair) {
        match repair {
            Repair::End(leg) => {
                let now = self.switches.clock.now().mono;
                self.ending.retain(|_, since| now.since(*since) < ENDS_WITHIN);
                if self.ending.contains_key(&leg) {
                    return;
                }
                self.ending.insert(leg, now);
                // Only if ringing: its caller may be connected to it at this moment. The phone must not show a missed
                // call: the caller is offered again, or left long ago.
                if let Ok(call) = end_if_ringing(leg, Cause::LoseRace) {
                    self.ask(call, move |outcome| Answer::Ended(leg, matches!(outcome, Outcome::Done(_))));
                }
            }
            Repair::Adopt(leg, caller) => {
                let dump = ApiCall::uuid_dump(&ChannelId::from(leg));
                self.ask(dump, move |outcome| Answer::Dump(leg, caller, outcome));
            }
            Repair::Release(key) => {
                tracing::warn!(agent = %key.agent, leg = %key.offer, "repaired: an agent was held by a leg that FreeSWITCH does not have");
                self.switches.repaired();
                self.switches.floor.legs_missing(&key, self.switches.clock.now());
            }
            Repair::Bring(channel, number, context) => {
                tracing::warn!(call = %channel, %number, "repaired: a call without a controller goes through its dialplan again");
                self.switches.repaired();
                let to = format!("{number} XML {context}");
                let dump = ApiCall::uuid_dump(&channel);
                self.ask(dump, move |outcome| Answer::LeftAlone(channel, to, outcome));
            }
            Repair::GiveUp(call) => {
                // A call that ends before its first commands arrive reports its end only here.
                let hung_up = lock(&self.switches.phones).hung_up(call.as_str());
                if self.switches.floor.give_up(&call, hung_up, self.switches.clock.now()) && hung_up.is_none() {
                    tracing::warn!(%call, "repaired: a caller who was expected back has gone");
                    self.switches.repaired();
                }
            }
        }
    }

    /// Ends a stray leg that was answered into silence: its caller hung up while no daemon was there to call it off.
    fn end_if_silent(&mut self, leg: Uuid) {
        let offer = OfferId::of_leg(leg);
        let is_owned = self.switches.floor.held().iter().any(|held| held.key.offer == offer);
        if is_owned || lock(&self.switches.phones).has_ended(&leg.to_string()) {
            return;
        }
        if let Ok(call) = end_if_silent(leg, Cause::OriginatorCancel) {
            self.ask(call, move |outcome| Answer::Silenced(leg, matches!(outcome, Outcome::Done(_))));
        }
    }

    /// Completes work that a previous process may not have lived to do: makes a conversation independent of this
    /// process, and clears the caller's place, so that a caller who is passed on later enters another queue like any
    /// other caller.
    fn let_go(&self, call: &CallId) {
        // The caller may have returned and be waiting.
        if !self.switches.floor.has_call(call)
            && let Ok(channel) = ChannelId::new(call.as_str())
            && let Ok(command) = connected(&channel)
        {
            self.tell(&[command]);
        }
    }

    /// Adopts a conversation without a task: the variables of the leg name its owner.
    fn adopt(&self, leg: Uuid, caller: &str, dump: &str) {
        let Some(event) = Event::json(dump.as_bytes(), 4096) else {
            return tracing::warn!(%leg, caller, "the dump of a leg cannot be read: its agent may count as free");
        };
        let Some(key) = key_of(&event, leg) else { return };
        // The caller may have been connected to another party since; then the agent is in a private call.
        let now = self.switches.clock.now();
        let since = now.ago(ago(&event, "Caller-Channel-Bridged-Time"));
        if self.switches.floor.adopt_found(&key, since, now) {
            self.let_go(&key.call);
            tracing::warn!(agent = %key.agent, %leg, caller, "repaired: a conversation from before the start was adopted");
            self.switches.repaired();
        }
    }

    fn event(&mut self, event: &Event) {
        match event.kind() {
            EventKind::ChannelCreate => self.channel_began(event),
            EventKind::ChannelHangupComplete => self.channel_ended(event),
            EventKind::PresenceProbe => self.probed(event),
            EventKind::Custom => self.registration(event),
            _ => {}
        }
    }

    fn channel_ended(&mut self, event: &Event) {
        let Some(channel) = event.channel() else { return };
        let now = self.switches.clock.now();
        self.forget_whose(&channel);
        let by_caller = ended_by_caller(event);
        self.switches.private_calls(|p| p.ended(self.index, &channel, by_caller, now.mono));
        let Some(leg) = ours(&channel, self.switches.instance) else { return };
        self.look_again |= self.ending.remove(&leg).is_some() && !self.switches.are_in_order();
        // A leg whose call has a session belongs to that session.
        let Some(key) = key_of(event, leg) else { return };
        // If an agent has several phones, those that only rang do not belong to the conversation; while none has the
        // caller, the first leg stands for all.
        let stopped = event.hangup_cause() == Some(Cause::LoseRace);
        let held = self.switches.floor.held_by(&key.agent).filter(|h| h.key.offer == key.offer && !h.attended);
        if let Some(held) = held.filter(|h| if h.talking { !stopped } else { leg == key.offer.0 }) {
            let by = match event.variable("sip_hangup_disposition").as_deref() {
                _ if was_transferred(event) => EndedBy::Transfer,
                Some("recv_bye") => EndedBy::Agent,
                // The party that talked with the agent hung up, unless FreeSWITCH itself did.
                Some("send_bye") if event.hangup_cause() == Some(Cause::NormalClearing) => EndedBy::Caller,
                Some(_) => EndedBy::Switch,
                _ => EndedBy::Unknown,
            };
            self.switches.floor.release(&held.key, by, now);
        }
    }

    /// The meaning of a number, if it leads to one of our queues.
    fn served(&self, number: &str) -> Option<Dialled> {
        let dialled = self.switches.settings.borrow().codes.read(number);
        let ours = match &dialled {
            Dialled::Queue(queue) | Dialled::Feature { queue, .. } => self.switches.floor.participants(queue).is_some(),
            Dialled::Other => false,
        };
        ours.then_some(dialled)
    }

    /// The domain of the agents' phones.
    fn domain(&self) -> Option<String> {
        self.switches.settings.borrow().domain.clone().or_else(|| self.asked_domain.clone())
    }

    /// The agent whose phone belongs to this user; `None` as long as the agents' domain is unknown.
    fn agent(&self, user: &str, domain: &str) -> Option<AgentId> {
        let agent = AgentId::new(user).ok()?;
        let own = self.switches.floor.agent(&agent, |a| a.settings().own_domain().map(str::to_owned))?;
        own.or_else(|| self.domain()).filter(|home| home.eq_ignore_ascii_case(domain)).map(|_| agent)
    }
}

fn done(outcome: Outcome) -> Option<Reply> {
    match outcome {
        Outcome::Done(reply) => Some(reply),
        Outcome::Refused(text) => {
            tracing::debug!(text, "FreeSWITCH refused a question");
            None
        }
        Outcome::Unknown(why) => {
            tracing::warn!(%why, "FreeSWITCH did not answer a question");
            None
        }
    }
}
