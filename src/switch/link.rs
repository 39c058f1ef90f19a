//! A link that is up.

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
    ApiCall, Cause, ChannelId, CloseReason, Command, Event, EventKind, Events, Incoming, Link, Outcome, Reply,
};
use crate::floor::{AskedPhones, OfferKey};
use crate::telephony::commands::{connected, end_if_ringing, end_if_silent, has_mod_hash};
use crate::telephony::events::was_transferred;
use crate::telephony::status::sessions_per_second;

use super::lamps::Lamps;
use super::phones::Listed;
use super::survey::{Repair, Survey, Suspects, ago, bring, bring_back, gone, key_of, ours, widowed};
use super::{BLIND_PATIENCE, RETURN_PATIENCE, SURVEY_EVERY, Sight, Switches, lock};
use own::Numbers;
use whose::Whose;

/// How long a call waits for a controller until it is taken to have been left alone: whoever is there serves it at once.
const LEFT_ALONE: Duration = SURVEY_EVERY;

/// How soon FreeSWITCH is asked again at the start, and when a stray leg was ended then or could not be.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often it is: for longer than its table is behind.
const EARLY_LOOKS: u32 = 4;

/// How long a stray leg may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// How long after the answer a leg is connected at the latest: `uuid_bridge` runs in the instant of the answer.
const CONNECTED_WITHIN: Duration = Duration::from_millis(500);

/// When FreeSWITCH is asked again after an answer that may have been out of date.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Something that was asked, and its answer.
enum Answer {
    /// The channels, asked for then.
    Channels(Mono, Outcome),
    /// The channels, asked for then, and the calls.
    Calls(Mono, Box<Reply>, Outcome),
    Dump(Uuid, String, Outcome),
    /// Who talks with an agent in place of the caller.
    Party(OfferKey, CallId, Outcome),
    /// A call that was left alone, and where it is to go.
    LeftAlone(ChannelId, String, Outcome),
    Contact(AgentId, Outcome),
    /// The phones of an agent, asked for then.
    Phones(AgentId, AskedPhones, Outcome),
    Domain(Outcome),
    /// Which numbers the dialplan takes for queues, and whether it takes this one.
    Numbers(Outcome),
    Number(QueueNumber, Outcome),
    /// A channel that was not heard to begin.
    Whose(String, Outcome),
    ModHash(Outcome),
    Status(Outcome),
    /// A stray leg was to be ended; whether it was.
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
    link: Link,
    /// Agents whose phones were seen to register here: of those an end of registration is news.
    registered: BTreeSet<AgentId>,
    /// Agents whose phones are to be asked for, and how many questions are under way.
    to_look_up: BTreeSet<AgentId>,
    looking_up: usize,
    missing: BTreeSet<OfferId>,
    suspects: Suspects,
    /// Conversations nobody attends to that were freed of our death.
    let_go: BTreeSet<OfferId>,
    /// Stray legs that were ordered to end, and when.
    ending: BTreeMap<Uuid, Mono>,
    /// Calls that nobody takes charge of, and since when.
    unserved: BTreeMap<String, Mono>,
    asked: JoinSet<Answer>,
    surveying: bool,
    /// What was seen may be out of date already, or be behind what was missed.
    doubtful: bool,
    /// At the start: something has just changed on which the first offers wait.
    look_again: bool,
    /// How many looks are still to be taken at once: the first may lack what began, and have what ended, just before
    /// anybody listened.
    early_looks: u32,
    /// The directory's domain, as FreeSWITCH has it; asked for when the configuration does not tell.
    asked_domain: Option<String>,
    asking_domain: bool,
    numbers: Numbers,
    whose: Whose,
    /// FreeSWITCH does not tell its channels, and since when.
    unseen: Option<Mono>,
    lamps: Lamps,
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
            // What was heard before an answer was given is taken note of before it.
            biased;
            incoming = events.next() => match incoming {
                Some(Incoming::Event(event)) => up.event(&event),
                Some(Incoming::Missed(count)) => {
                    tracing::warn!(count, "events of FreeSWITCH were missed; the next survey puts it right");
                    up.doubtful = true;
                    up.hears_registrations();
                    if up.unseen.is_some() {
                        // Of private calls whose end may have been among them, no survey will tell.
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
    up.switches.floor.phones().listen(false);
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
        if let Ok(call) = ApiCall::new("status") {
            self.ask(call, Answer::Status);
        }
        self.all_lamps();
        self.ask_domain();
        self.check_numbers();
    }

    fn tell(&self, commands: &[Command]) {
        match self.link.send_all(commands) {
            Ok(sent) => sent.into_iter().for_each(|pending| pending.log_refusal("a command of the link")),
            Err(full) => tracing::warn!(%full, "a command of the link was not sent"),
        }
    }

    /// Asks, if there is room for a question. False when there is none.
    fn ask(&mut self, call: ApiCall, answer: impl FnOnce(Outcome) -> Answer + Send + 'static) -> bool {
        match self.link.send(&Command::Api(call)) {
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

    /// Takes an answer. True when a survey is done.
    fn answer(&mut self, answer: Answer) -> bool {
        match answer {
            Answer::Channels(_, Outcome::Refused(text)) => {
                self.surveying = false;
                self.cannot_see(&text);
            }
            Answer::Channels(asked, channels) => {
                // Asked only now: before this answer comes everything has been heard that happened before the first.
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
                    Err(error) => tracing::warn!(%error, "what FreeSWITCH says of its channels cannot be read"),
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
                // Asked behind the order to send events.
                self.hears_registrations();
            }
            Answer::Status(outcome) => {
                let limit = done(outcome).and_then(|reply| sessions_per_second(&reply.body_text()));
                self.switches.takes(self.index, limit);
            }
            Answer::Phones(agent, asked, outcome) => self.looked_up(&agent, asked, outcome),
            Answer::Ended(leg, true) => {
                tracing::warn!(%leg, "repaired: a leg that nobody waits for was ended");
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

    /// FreeSWITCH does not tell its channels. It is as if there were no link, but that ends are still heard.
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
            tracing::info!("FreeSWITCH tells its channels again");
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
        // At the start nobody has just ended a leg: what there is is from before, and holds its caller back.
        if self.switches.are_in_order() {
            self.doubtful |= self.suspects.confirm(&mut repairs);
        }
        let seen = self.switches.note(self.index, Sight::Channels(survey.all()));
        if let Some((channels, blind)) = &seen {
            // Where a switch has not been seen for long, only a task can tell whether its leg is there.
            let doubted: Vec<_> = held.iter().filter(|h| !blind || !h.attended).cloned().collect();
            repairs.extend(widowed(channels, &doubted, &mut self.missing, now));
            let patience = if *blind { RETURN_PATIENCE } else { Duration::ZERO };
            repairs.extend(gone(channels, &floor.absent(), now, patience));
        }
        for held in held.iter().filter(|h| survey.has(h.key.offer)) {
            floor.seen(&held.key, now);
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
        let since = |uuid: &String| self.unserved.get(uuid).copied().unwrap_or(asked);
        let left_alone = unserved.iter().filter(|row| asked.since(since(&row.uuid)) >= LEFT_ALONE);
        repairs.extend(left_alone.filter_map(|row| bring(row)));
        self.unserved = unserved.iter().map(|row| (row.uuid.clone(), since(&row.uuid))).collect();
        let agents = self.private_channels(&survey, asked, &held);
        let listed = Listed { asked, all: survey.all(), agents };
        self.switches.private_calls(|phones| {
            let (changes, doubtful) = phones.are(self.index, &listed);
            self.doubtful |= doubtful;
            changes
        });
        for repair in repairs {
            self.repair(repair);
        }
        // A leg that was ordered just before our start is not listed yet, and its agent would be rung twice.
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
                // Its caller may be connected to it this very moment. Nobody missed anything: the caller is offered
                // again, or has gone long ago.
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
                self.switches.floor.release_unseen(&key, self.switches.clock.now());
            }
            Repair::Bring(channel, number, context) => {
                tracing::warn!(call = %channel, %number, "repaired: a call nobody took charge of goes through its dialplan again");
                self.switches.repaired();
                let to = format!("{number} XML {context}");
                let dump = ApiCall::uuid_dump(&channel);
                self.ask(dump, move |outcome| Answer::LeftAlone(channel, to, outcome));
            }
            Repair::GiveUp(call) => {
                if self.switches.floor.give_up(&call, self.switches.clock.now()) {
                    tracing::warn!(%call, "repaired: a caller who was to come back has gone");
                    self.switches.repaired();
                }
            }
        }
    }

    /// Ends a stray leg that was answered into silence: its caller hung up while nobody was there to call it off.
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

    /// Does what we may not have lived to do: our next death does not concern a conversation, and a caller who is
    /// passed on later comes to another queue as anybody.
    fn let_go(&self, call: &CallId) {
        // The caller may be here again, and wait.
        if !self.switches.floor.has_call(call)
            && let Ok(channel) = ChannelId::new(call.as_str())
            && let Ok(command) = connected(&channel)
        {
            self.tell(&[command]);
        }
    }

    /// A conversation nobody attends to: the leg says whose it is.
    fn adopt(&self, leg: Uuid, caller: &str, dump: &str) {
        let Some(event) = Event::json(dump.as_bytes(), 4096) else {
            return tracing::warn!(%leg, caller, "what FreeSWITCH says of a leg cannot be read: its agent may be taken to be free");
        };
        let Some(key) = key_of(&event, leg) else { return };
        // The caller may have been connected to somebody else since; then the agent is in a call of another kind.
        let now = self.switches.clock.now();
        let since = now.ago(ago(&event, "Caller-Channel-Bridged-Time"));
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

    fn channel_ended(&mut self, event: &Event) {
        let Some(channel) = event.channel() else { return };
        let now = self.switches.clock.now();
        self.forget_whose(&channel);
        self.switches.private_calls(|p| p.ended(self.index, &channel, now.mono));
        let Some(leg) = ours(&channel, self.switches.instance) else { return };
        self.look_again |= self.ending.remove(&leg).is_some() && !self.switches.are_in_order();
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
                // Whoever talked with the agent, unless it was FreeSWITCH itself.
                Some("send_bye") if event.hangup_cause() == Some(Cause::NormalClearing) => EndedBy::Caller,
                Some(_) => EndedBy::Switch,
                _ => EndedBy::Unknown,
            };
            self.switches.floor.release(&held.key, by, now);
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

    /// The agent whose phone is that of this user: nobody's, as long as it is not known in which domain agents are.
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
