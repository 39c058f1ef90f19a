//! Validates the queues: each by itself, against the agents, and against the other queues.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::checks::{known_language, optional, required, unique};
use super::problem::{Fault, KeyPath};
use super::raw::{RawAction, RawAnnouncement, RawQueue, RawTimeout};
use super::report::Report;
use super::scalar::quoted;
use super::text;
use crate::acd::ids::{AgentId, QueueNumber};
use crate::acd::settings::{Language, MOST_AT_ONCE, Music, QueueSettings, Strategy, Timeout, TimeoutAction};

/// The rest of the configuration that a queue depends on.
pub(super) struct Context<'a> {
    /// Every agent's id, as written.
    pub(super) agents: &'a HashSet<String>,
    pub(super) languages: &'a [Language],
    /// The language of queues without one of their own.
    pub(super) language: &'a Language,
    /// Whether FreeSWITCH runs on this machine and so sees the same files.
    pub(super) local_files: bool,
}

pub(super) fn queues(
    raw: Option<Vec<Option<RawQueue>>>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Vec<QueueSettings> {
    let top = KeyPath::Root;
    let key = top.key("queues");
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        report.add(&key, Fault::new("there are no queues", "define at least one under queues:"));
    }
    let numbers = unique(raw.iter().map(|raw| raw.as_ref()?.number.as_ref()), &key, "number", report);
    let each = raw.into_iter().enumerate();
    each.filter_map(|(i, raw)| one(raw?, &key.index(i), &numbers, context, report)).collect()
}

fn one(
    raw: RawQueue,
    here: &KeyPath<'_>,
    numbers: &HashSet<String>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Option<QueueSettings> {
    let own = raw.number.clone();
    let number = required(raw.number, &here.key("number"), text::queue_number, "number: \"99900\"", report);
    let name = required(raw.name, &here.key("name"), text::name, "name: Service client", report);
    let is_usual = raw.strategy.is_none();
    let strategy = optional(raw.strategy, &here.key("strategy"), text::strategy, report);
    let strategy = strategy.or_else(|| is_usual.then(Strategy::default));
    let participants = participants(raw.participants, &here.key("participants"), context, report);
    let mut time = |value: Option<f64>, key: &str, unit, least, most, name| {
        value.and_then(|value| report.take(&here.key(key), text::span(value, unit, least, most, name)))
    };
    let max_wait = time(raw.max_wait_minutes, "max_wait_minutes", 60.0, 0.01, 1440.0, "minutes");
    let wrap_up = time(raw.wrap_up_seconds, "wrap_up_seconds", 1.0, 0.0, 3600.0, "seconds");
    let ring_time = time(raw.ring_seconds, "ring_seconds", 1.0, 1.0, 300.0, "seconds");
    let head_start = time(raw.head_start_seconds, "head_start_seconds", 1.0, 0.0, 3600.0, "seconds");
    let key = here.key("ring_at_most");
    let ring_at_most = raw.ring_at_most.and_then(|value| report.take(&key, text::count(value, 1, MOST_AT_ONCE)));
    if ring_at_most.is_some() && strategy.is_some_and(|strategy| strategy != Strategy::Simultaneous) {
        let fix = "write strategy: simultaneous, or remove this key";
        report.add(&key, Fault::new("only simultaneous rings several agents at a time", fix));
    }
    let key = here.key("music");
    let music = optional(raw.music, &key, text::music, report);
    if let Some(Music::File(path)) = &music
        && context.local_files
    {
        report.take(&key, text::present(path));
    }
    let (language, announce_every) = spoken(raw.language, raw.position_announcement, here, context, report);
    let mut treatment = |raw: Option<RawTimeout>, key: &str| {
        raw.map(|raw| treatment(raw, own.as_deref(), &here.key(key), numbers, context, report))
    };
    let timeout = treatment(raw.timeout, "timeout").unwrap_or_default();
    let full = treatment(raw.full, "full");
    let max_callers = limit(raw.max_callers, &here.key("max_callers"), 0, report);
    let max_conversations = limit(raw.max_conversations, &here.key("max_conversations"), 1, report);
    needs(full.is_some(), "max_callers: 50", raw.max_callers.is_some(), &here.key("full"), report);
    let usual = QueueSettings::new(number?, name?, participants, language);
    Some(QueueSettings {
        strategy: strategy.unwrap_or(usual.strategy),
        max_wait,
        wrap_up: wrap_up.unwrap_or(usual.wrap_up),
        ring_time: ring_time.unwrap_or(usual.ring_time),
        ring_at_most: ring_at_most.map_or(usual.ring_at_most, |most| most as usize),
        head_start: head_start.unwrap_or(usual.head_start),
        music: music.unwrap_or(usual.music),
        announce_every,
        timeout,
        max_callers,
        full: full.unwrap_or_default(),
        max_conversations,
        ..usual
    })
}

/// How often positions are announced unless `every_seconds` is given.
const DEFAULT_ANNOUNCE_EVERY: Duration = Duration::from_secs(30);

fn participants(
    raw: Option<Vec<Option<String>>>,
    key: &KeyPath<'_>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Vec<AgentId> {
    let Some(list) = raw else {
        let fix = "add it: participants: [\"1001\"], or [] for none";
        report.add(key, Fault::new("this key is missing", fix));
        return Vec::new();
    };
    let mut seen = HashSet::new();
    let mut participants = Vec::new();
    for (i, text) in list.into_iter().enumerate() {
        let (here, Some(text)) = (key.index(i), text) else {
            continue;
        };
        if !context.agents.contains(&text) {
            let fix = format!("add {{ id: {} }} under agents, or remove it here", quoted(&text));
            report.add(&here, Fault::new(format!("{} is not an agent", quoted(&text)), fix));
        } else if !seen.insert(text.clone()) {
            let fix = "keep only one of the two";
            report.add(&here, Fault::new(format!("{} is listed twice", quoted(&text)), fix));
        }
        // An invalid id is reported where the agent is defined.
        participants.extend(AgentId::new(&text));
    }
    participants
}

/// The queue's language, and how often positions are announced.
fn spoken(
    language: Option<String>,
    announcement: Option<RawAnnouncement>,
    here: &KeyPath<'_>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> (Language, Option<Duration>) {
    let mut known = |text: Option<String>, key: &KeyPath<'_>| {
        text.and_then(|text| known_language(&text, key, context.languages, report))
    };
    let of_queue = known(language, &here.key("language"));
    let Some(announcement) = announcement else {
        return (of_queue.unwrap_or_else(|| context.language.clone()), None);
    };
    let key = here.key("position_announcement");
    let place = key.key("language");
    let of_announcement = known(announcement.language, &place);
    if let (Some(queue), Some(announced)) = (&of_queue, &of_announcement)
        && queue != announced
    {
        let what = format!("the queue uses {queue}, its announcement {announced}");
        report.add(&place, Fault::new(what, "set one language in one of the two places"));
    }
    let every = announcement
        .every_seconds
        .and_then(|value| report.take(&key.key("every_seconds"), text::span(value, 1.0, 5.0, 3600.0, "seconds")));
    let language = of_queue.or(of_announcement).unwrap_or_else(|| context.language.clone());
    (language, Some(every.unwrap_or(DEFAULT_ANNOUNCE_EVERY)))
}

/// A limit on callers.
fn limit(raw: Option<f64>, key: &KeyPath<'_>, least: u32, report: &mut Report<'_>) -> Option<u32> {
    raw.and_then(|value| report.take(key, text::count(value, least, 10_000)))
}

/// Reports a treatment that no caller would ever get, because the key that leads to it is missing.
fn needs(is_given: bool, other: &str, other_is_given: bool, key: &KeyPath<'_>, report: &mut Report<'_>) {
    if is_given && !other_is_given {
        let name = other.split(':').next().unwrap_or(other);
        let what = format!("it has no effect without {name}");
        report.add(key, Fault::new(what, format!("add {other} to the queue, or remove this key")));
    }
}

/// A message and the action behind it.
fn treatment(
    raw: RawTimeout,
    own: Option<&str>,
    key: &KeyPath<'_>,
    numbers: &HashSet<String>,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Timeout {
    let place = key.key("message");
    let message = optional(raw.message, &place, text::switch_path, report);
    if let Some(path) = &message
        && context.local_files
    {
        report.take(&place, text::present(path));
    }
    let place = key.key("action");
    let action = raw.action.and_then(|raw| action(raw, own, &place, numbers, report)).unwrap_or_default();
    Timeout { message, action }
}

fn action(
    raw: RawAction,
    own: Option<&str>,
    key: &KeyPath<'_>,
    numbers: &HashSet<String>,
    report: &mut Report<'_>,
) -> Option<TimeoutAction> {
    const CHOICES: &str = "write hangup, { transfer: \"1005\" } or { queue: \"99901\" }";
    let onward = match raw {
        RawAction::Word(word) if word == "hangup" => return Some(TimeoutAction::Hangup),
        RawAction::Word(word) => {
            report.add(key, Fault::new(format!("{} is not an action", quoted(&word)), CHOICES));
            return None;
        }
        RawAction::Onward(onward) => onward,
    };
    let itself = |text: &str| own == Some(text);
    match (onward.transfer, onward.queue) {
        (Some(number), None) => {
            let place = key.key("transfer");
            let to: Arc<str> = report.take(&place, text::transfer(&number))?;
            if itself(&number) {
                let fix = "send callers somewhere else, or write action: hangup";
                report.add(&place, Fault::new("the queue would send its callers to itself", fix));
            }
            // A queue's number means that queue: the caller keeps the first entry time, and loops are prevented.
            let queue = numbers.contains(&number).then(|| QueueNumber::new(&number).ok()).flatten();
            Some(queue.map_or(TimeoutAction::Transfer(to), TimeoutAction::Queue))
        }
        (None, Some(number)) => {
            let place = key.key("queue");
            let to = report.take(&place, text::queue_number(&number))?;
            if itself(&number) {
                let fix = "choose another queue, or write action: hangup";
                report.add(&place, Fault::new("the queue would send its callers to itself", fix));
            } else if !numbers.contains(&number) {
                let what = format!("there is no queue {}", quoted(&number));
                report.add(&place, Fault::new(what, "use the number of a queue in this file"));
            }
            Some(TimeoutAction::Queue(to))
        }
        (Some(_), Some(_)) => {
            report.add(key, Fault::new("an action has only one target", CHOICES));
            None
        }
        // Empty, or its content has been reported already.
        (None, None) => {
            if !report.inside(key) {
                report.add(key, Fault::new("the action is empty", CHOICES));
            }
            None
        }
    }
}
