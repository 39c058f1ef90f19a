//! A link that is up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::acd::fact::{EndedBy, Fact};
use crate::acd::feature::Dialled;
use crate::acd::ids::{AgentId, CallId, OfferId, QueueNumber};
use crate::acd::time::Wall;
use crate::esl::command::EventSet;
use crate::esl::{
    ApiCall, Cause, ChannelId, CloseReason, Command, Event, EventKind, Events, Incoming, Link, Outcome, Reply,
};
use crate::floor::OfferKey;
use crate::session::hear::was_transferred;
use crate::session::wire::{connected, end_if_ringing, has_mod_hash};

use super::survey::{Repair, Survey, bring, epoch, gone, ours, widowed};
use super::{SURVEY_EVERY, Switches, lamps};

/// How many lamps are lit in one go.
const LAMPS_AT_ONCE: usize = 64;

/// How soon FreeSWITCH is surveyed again at the start, when a stray leg could not be ended: it was answered a moment ago,
/// and is being connected or ends by itself.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long a channel may be there before FreeSWITCH lists it (seen: 50 to 250 ms). A leg that was ordered just before our
/// start is a stray only a later survey shows, and until then its agent would be rung twice.
const LISTED_WITHIN: Duration = Duration::from_millis(500);

/// Something that was asked, and its answer.
enum Answer {
    Survey(Outcome, Outcome),
    Dump(Uuid, String, Outcome),
    Contact(AgentId, Outcome),
    Domain(Outcome),
    ModHash(Outcome),
    /// A stray leg was to be ended; whether it was.
    Ended(bool),
    /// It is time to look again.
    Again,
    Lamps,
}

struct Up<'a> {
    switches: &'a Switches,
    index: usize,
    link: Link,
    /// Agents whose phones were seen to register here: of those an end of registration is news.
    registered: BTreeSet<AgentId>,
    missing: BTreeSet<OfferId>,
    /// Conversations nobody attends to that were freed of our death.
    let_go: BTreeSet<OfferId>,
    /// Calls that nobody had taken charge of at the last survey.
    unserved: BTreeSet<String>,
    asked: JoinSet<Answer>,
    surveying: bool,
    /// Since when the link is up.
    began: Instant,
    /// The directory's domain, as FreeSWITCH has it; asked for when the configuration does not tell.
    asked_domain: Option<String>,
    /// Lamps to be set, the newest state of each.
    lamps: BTreeMap<(QueueNumber, AgentId, String), bool>,
    lighting: bool,
}

/// Serves a link until it ends; gives the reason.
pub(super) async fn run(switches: &Switches, index: usize, link: Link, mut events: Events) -> CloseReason {
    let mut facts = switches.facts.subscribe();
    let mut settings = switches.settings.clone();
    let mut up = Up {
        switches,
        index,
        link,
        registered: BTreeSet::new(),
        missing: BTreeSet::new(),
        let_go: BTreeSet::new(),
        unserved: BTreeSet::new(),
        asked: JoinSet::new(),
        surveying: false,
        began: Instant::now(),
        asked_domain: None,
        lamps: BTreeMap::new(),
        lighting: false,
    };
    up.begin();
    let mut surveys = interval(SURVEY_EVERY);
    surveys.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reason = loop {
        tokio::select! {
            incoming = events.next() => match incoming {
                Some(Incoming::Event(event)) => up.event(&event),
                Some(Incoming::Missed(count)) => {
                    tracing::warn!(count, "events of FreeSWITCH were missed; the next survey puts it right");
                }
                Some(Incoming::Closed(reason)) => break reason,
                None => break CloseReason::Peer,
                Some(_) => {}
            },
            Some(answer) = up.asked.join_next() => {
                if let Ok(answer) = answer {
                    up.answer(answer);
                }
            }
            fact = facts.recv() => match fact {
                Ok(record) => up.fact(&record.fact),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => up.all_lamps(),
                Err(tokio::sync::broadcast::error::RecvError::Closed) => break CloseReason::Local,
            },
            Ok(()) = settings.changed() => up.all_lamps(),
            _ = surveys.tick() => up.survey(),
        }
    };
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
            Err(error) => tracing::error!(%error, "the link cannot listen"),
        }
        // Known before the first survey is, and so before the first of several phones rings for one caller.
        if let Ok(call) = has_mod_hash() {
            self.ask(call, Answer::ModHash);
        }
        self.all_lamps();
        if let Ok(call) = ApiCall::new("global_getvar domain") {
            self.ask(call, Answer::Domain);
        }
    }

    fn tell(&self, commands: &[Command]) {
        match self.link.send_all(commands) {
            Ok(sent) => sent.into_iter().for_each(|pending| pending.log_refusal("a command of the link")),
            Err(full) => tracing::warn!(%full, "a command of the link was not sent"),
        }
    }

    fn ask(&mut self, call: ApiCall, answer: impl FnOnce(Outcome) -> Answer + Send + 'static) {
        match self.link.send(&Command::Api(call)) {
            Ok(pending) => {
                self.asked.spawn(async move { answer(pending.await) });
            }
            Err(full) => tracing::warn!(%full, "a question of the link was not sent"),
        }
    }

    fn survey(&mut self) {
        if std::mem::replace(&mut self.surveying, true) {
            return;
        }
        let calls = ApiCall::new("show calls as json").map(Command::Api);
        let Ok(calls) = calls else { return };
        match self.link.send_all(&[Command::Api(ApiCall::show_channels()), calls]) {
            Ok(sent) => {
                let mut sent = sent.into_iter();
                if let (Some(channels), Some(calls)) = (sent.next(), sent.next()) {
                    self.asked.spawn(async move { Answer::Survey(channels.await, calls.await) });
                }
            }
            Err(full) => {
                self.surveying = false;
                tracing::warn!(%full, "FreeSWITCH was not surveyed");
            }
        }
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Survey(channels, calls) => {
                self.surveying = false;
                let (Some(channels), Some(calls)) = (done(channels), done(calls)) else { return };
                match Survey::read(&channels.body_text(), &calls.body_text()) {
                    Ok(survey) => self.compare(&survey),
                    Err(error) => tracing::warn!(%error, "what FreeSWITCH says of its channels cannot be read"),
                }
            }
            Answer::Dump(leg, caller, outcome) => {
                if let Some(reply) = done(outcome) {
                    self.adopt(leg, &caller, &reply.body_text());
                }
            }
            Answer::Contact(agent, outcome) => {
                let text = done(outcome).map(|reply| reply.body_text().into_owned()).unwrap_or_default();
                if text.starts_with("error/") {
                    self.switches.floor.set_reachable(&agent, false, self.switches.clock.now());
                }
            }
            Answer::Domain(outcome) => {
                let told = done(outcome).map(|reply| reply.body_text().trim().to_owned());
                self.asked_domain = told.filter(|d| !d.is_empty());
                if self.switches.settings.borrow().domain.is_none() {
                    self.all_lamps();
                }
            }
            Answer::ModHash(outcome) => {
                let has = done(outcome).is_some_and(|reply| reply.body_text().trim() == "true");
                self.switches.mod_hash.store(has, Ordering::Relaxed);
            }
            Answer::Ended(_) | Answer::Again if self.switches.are_in_order() => {}
            Answer::Ended(true) | Answer::Again => self.survey(),
            Answer::Ended(false) => self.look_again(LOOK_AGAIN),
            Answer::Lamps => {
                self.lighting = false;
                self.light();
            }
        }
    }

    fn compare(&mut self, survey: &Survey) {
        let (floor, instance, now) = (&self.switches.floor, self.switches.instance, self.switches.clock.now());
        let held = floor.held();
        let mut repairs = survey.strays(instance, &held);
        let strays = repairs.iter().any(|r| matches!(r, Repair::End(_)));
        let seen = self.switches.note(self.index, Some(survey.all()));
        if let Some(channels) = &seen {
            repairs.extend(widowed(channels, &held, &mut self.missing, now));
            repairs.extend(gone(channels, &floor.absent(), now));
        }
        for held in held.iter().filter(|h| h.talking && !h.attended) {
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
        repairs.extend(unserved.iter().filter(|row| self.unserved.contains(&row.uuid)).filter_map(|row| bring(row)));
        self.unserved = unserved.iter().map(|row| row.uuid.clone()).collect();
        let phones: BTreeMap<String, (AgentId, Wall)> = survey
            .channels
            .iter()
            .filter(|row| ours(&row.uuid, instance).is_none())
            .filter_map(|row| {
                let (user, domain) = row.presence_id.split_once('@')?;
                Some((row.uuid.clone(), (self.agent(user, domain)?, epoch(&row.created_epoch))))
            })
            .collect();
        self.switches.private_calls(|p| p.are(self.index, &phones));
        for repair in repairs {
            self.repair(repair);
        }
        if seen.is_some() && !strays && !self.switches.are_in_order() {
            if self.began.elapsed() >= LISTED_WITHIN {
                self.switches.set_in_order();
            } else {
                self.look_again(LISTED_WITHIN);
            }
        }
    }

    fn look_again(&mut self, after: Duration) {
        self.asked.spawn(async move {
            sleep(after).await;
            Answer::Again
        });
    }

    fn repair(&mut self, repair: Repair) {
        match repair {
            Repair::End(leg) => {
                tracing::warn!(%leg, "repaired: a leg that nobody waits for was ended");
                self.switches.repaired();
                // Its caller may be connected to it this very moment. Nobody missed anything: the caller is offered
                // again, or has gone long ago.
                if let Ok(call) = end_if_ringing(leg, Cause::LoseRace) {
                    self.ask(call, |outcome| Answer::Ended(matches!(outcome, Outcome::Done(_))));
                }
            }
            Repair::Adopt(leg, caller) => {
                let dump = ApiCall::uuid_dump(&ChannelId::from(leg));
                self.ask(dump, move |outcome| Answer::Dump(leg, caller, outcome));
            }
            Repair::Release(key) => {
                tracing::warn!(agent = %key.agent, leg = %key.offer, "repaired: an agent was held by a leg that FreeSWITCH does not have");
                self.switches.repaired();
                self.switches.floor.release(&key, EndedBy::Unknown, self.switches.clock.now());
            }
            Repair::Bring(channel, number, context) => {
                tracing::warn!(call = %channel, %number, "repaired: a call nobody took charge of goes through its dialplan again");
                self.switches.repaired();
                if let Ok(call) = ApiCall::new(format!("uuid_transfer {channel} {number} XML {context}")) {
                    self.tell(&[Command::Api(call)]);
                }
            }
            Repair::GiveUp(call) => {
                if self.switches.floor.give_up(&call, self.switches.clock.now()) {
                    tracing::warn!(%call, "repaired: a caller who was to come back has gone");
                    self.switches.repaired();
                }
            }
        }
    }

    /// Does what we may not have lived to do: our next death does not concern a conversation, and a caller who is
    /// passed on later comes to another queue as anybody.
    fn let_go(&self, call: &CallId) {
        if let Ok(channel) = ChannelId::new(call.as_str())
            && let Ok(command) = connected(&channel)
        {
            self.tell(&[command]);
        }
    }

    /// A conversation nobody attends to: the leg says whose it is.
    fn adopt(&self, leg: Uuid, caller: &str, dump: &str) {
        let Some(event) = Event::json(dump.as_bytes(), 4096) else { return };
        let Some(key) = key_of(&event, leg) else { return };
        // The caller may have been connected to somebody else since; then the agent is in a call of another kind.
        let since = event.header("Caller-Channel-Bridged-Time").and_then(|t| t.parse::<i64>().ok()).unwrap_or(0) / 1000;
        let now = self.switches.clock.now();
        let since = if since > 0 { Wall(since) } else { now.wall };
        if self.switches.floor.adopt_found(&key, since, now) {
            self.let_go(&key.call);
            tracing::warn!(agent = %key.agent, %leg, caller, "repaired: a conversation from before our time is attended to");
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

    fn channel_began(&mut self, event: &Event) {
        let Some(channel) = event.channel() else { return };
        if ours(&channel, self.switches.instance).is_some() {
            return;
        }
        // An inbound channel is the authenticated user's; an outbound one is that of the user who was dialled.
        let of = |user: &str, domain: &str| {
            let (user, domain) = (event.variable(user)?, event.variable(domain)?);
            self.agent(&user, &domain)
        };
        let agent = of("dialed_user", "dialed_domain").or_else(|| of("sip_auth_username", "domain_name"));
        if let Some(agent) = agent {
            let at = self.switches.clock.now().wall;
            self.switches.private_calls(|p| p.began(self.index, &channel, agent, at));
        }
    }

    fn channel_ended(&mut self, event: &Event) {
        let Some(channel) = event.channel() else { return };
        let Some(leg) = ours(&channel, self.switches.instance) else {
            return self.switches.private_calls(|p| p.ended(self.index, &channel));
        };
        // A leg whose call has a task of its own is that task's.
        let Some(key) = key_of(event, leg) else { return };
        // Of several phones of an agent those that only rang are no part of the conversation; and while none has the
        // caller, the first stands for all.
        let stopped = event.hangup_cause() == Some(Cause::LoseRace);
        let held = self.switches.floor.held_by(&key.agent).filter(|h| h.key.offer == key.offer && !h.attended);
        if let Some(held) = held.filter(|h| if h.talking { !stopped } else { leg == key.offer.0 }) {
            let by = match event.variable("sip_hangup_disposition").as_deref() {
                _ if was_transferred(event) => EndedBy::Transfer,
                Some("recv_bye") => EndedBy::Agent,
                Some("send_bye") => EndedBy::Caller,
                _ => EndedBy::Unknown,
            };
            self.switches.floor.release(&held.key, by, self.switches.clock.now());
        }
    }

    fn probed(&mut self, event: &Event) {
        let codes = self.switches.settings.borrow().codes.clone();
        let asked = event.header("to").and_then(|to| lamps::asked_for(&codes, &to));
        let Some((agent, queue, domain)) = asked else { return };
        let state = self.switches.floor.queue(&queue, |q| q.logged_in().contains(&agent));
        self.lamps.insert((queue, agent, domain), state.unwrap_or(false));
        self.light();
    }

    fn registration(&mut self, event: &Event) {
        let value = |name: &str| event.header(name).map(|v| v.into_owned());
        let user = value("username").or_else(|| value("user")).or_else(|| value("from-user"));
        let domain = value("domain_name").or_else(|| value("realm")).or_else(|| value("host"));
        let (Some(user), Some(domain)) = (user, domain) else { return };
        let Some(agent) = self.agent(&user, &domain) else { return };
        if event.header("Event-Subclass").as_deref() == Some("sofia::register") {
            self.registered.insert(agent.clone());
            self.switches.floor.set_reachable(&agent, true, self.switches.clock.now());
        } else if self.registered.contains(&agent)
            && let Ok(call) = ApiCall::new(format!("sofia_contact */{agent}@{domain}"))
        {
            // Another phone of the same account may still be there.
            self.ask(call, move |outcome| Answer::Contact(agent, outcome));
        }
    }

    /// What this number means, if it leads to a queue of ours.
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

    /// The agent whose phone is that of this user.
    fn agent(&self, user: &str, domain: &str) -> Option<AgentId> {
        if self.domain().is_some_and(|d| !d.eq_ignore_ascii_case(domain)) {
            return None;
        }
        let agent = AgentId::new(user).ok()?;
        self.switches.floor.agent(&agent, |_| ())?;
        Some(agent)
    }

    fn fact(&mut self, fact: &Fact) {
        let (agent, queue, on) = match fact {
            Fact::AgentLoggedIn { agent, queue } => (agent, queue, true),
            Fact::AgentLoggedOut { agent, queue } => (agent, queue, false),
            _ => return,
        };
        if let Some(domain) = self.domain() {
            self.lamps.insert((queue.clone(), agent.clone(), domain), on);
            self.light();
        }
    }

    fn all_lamps(&mut self) {
        let Some(domain) = self.domain() else { return };
        for (agent, queue, on) in self.switches.floor.login_states() {
            self.lamps.insert((queue, agent, domain.clone()), on);
        }
        self.light();
    }

    /// Sets the lamps that are to be set, some at a time.
    fn light(&mut self) {
        if self.lighting || self.lamps.is_empty() {
            return;
        }
        let codes = self.switches.settings.borrow().codes.clone();
        let mut commands = Vec::new();
        while commands.len() < LAMPS_AT_ONCE
            && let Some(((queue, agent, domain), on)) = self.lamps.pop_first()
        {
            match lamps::lamp(&lamps::entity(&codes, &queue, &agent), &domain, on) {
                Ok(command) => commands.push(command),
                Err(error) => tracing::warn!(%agent, %queue, %error, "a lamp cannot be named"),
            }
        }
        match self.link.send_all(&commands) {
            Ok(mut sent) => {
                self.lighting = true;
                let last = sent.pop();
                sent.into_iter().for_each(|pending| pending.log_refusal("a lamp"));
                self.asked.spawn(async move {
                    if let Some(last) = last
                        && let Outcome::Refused(text) = last.await
                    {
                        tracing::warn!(text, "FreeSWITCH refused a lamp");
                    }
                    Answer::Lamps
                });
            }
            Err(full) => tracing::warn!(%full, "lamps were not set"),
        }
    }
}

/// Whose leg it is, by the variables it was ordered with.
fn key_of(event: &Event, leg: Uuid) -> Option<OfferKey> {
    Some(OfferKey {
        offer: OfferId::of_leg(leg),
        call: CallId::new(&event.variable("fsq_call")?).ok()?,
        queue: QueueNumber::new(&event.variable("fsq_queue")?).ok()?,
        agent: AgentId::new(&event.variable("fsq_agent")?).ok()?,
    })
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
