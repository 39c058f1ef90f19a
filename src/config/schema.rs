//! The schema of the file: its keys, and the kind of value each takes.
//!
//! A single table serves to check the file and to find the key of an environment variable. A test compares it with the
//! structs that `config` and serde fill.

use ::config::{Map, Value, ValueKind};

use super::problem::{Fault, KeyPath};
use super::report::Report;
use super::scalar::{Meaning, decimal, meaning, nearest, quoted, show};
use super::yaml::{Kind, Node};

/// The kind of value that a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Text. It needs quotes if any YAML reader would take it for something else.
    Text,
    /// Text that no message shows.
    Secret,
    /// A plain decimal number.
    Number,
    /// `true` or `false`.
    Truth,
    /// A list.
    List(&'static Shape),
    /// A mapping with these keys only.
    Map(&'static [Field]),
    /// One word, or a mapping with these keys only.
    WordOrMap(&'static [Field]),
}

/// One key of a mapping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) shape: Shape,
}

const fn field(key: &'static str, shape: Shape) -> Field {
    Field { key, shape }
}

const TEXTS: Shape = Shape::List(&Shape::Text);

/// The whole file.
pub(super) const FILE: &[Field] = &[
    field("listen", Shape::Text),
    field("allow", TEXTS),
    field("token", Shape::Secret),
    field("freeswitch", Shape::List(&Shape::Map(SWITCH))),
    field("state", Shape::Text),
    field("keep_days", Shape::Number),
    field("control", Shape::Text),
    field("domain", Shape::Text),
    field("prompts", Shape::Text),
    field("languages", TEXTS),
    field("language", Shape::Text),
    field("feature_codes", Shape::Map(FEATURE_CODES)),
    field("callers", Shape::Map(CALLERS)),
    field("log", Shape::Map(LOG)),
    field("agents", Shape::List(&Shape::Map(AGENT))),
    field("queues", Shape::List(&Shape::Map(QUEUE))),
];
pub(super) const SWITCH: &[Field] = &[field("address", Shape::Text), field("password", Shape::Secret)];
pub(super) const FEATURE_CODES: &[Field] =
    &[field("login", Shape::Text), field("logout", Shape::Text), field("toggle", Shape::Truth)];
pub(super) const CALLERS: &[Field] = &[field("withheld", Shape::Text)];
pub(super) const LOG: &[Field] = &[field("numbers", Shape::Text)];
pub(super) const AGENT: &[Field] = &[
    field("id", Shape::Text),
    field("name", Shape::Text),
    field("dial", Shape::Text),
    field("follow_forwards", Shape::Truth),
];
pub(super) const QUEUE: &[Field] = &[
    field("number", Shape::Text),
    field("name", Shape::Text),
    field("strategy", Shape::Text),
    field("participants", TEXTS),
    field("max_wait_minutes", Shape::Number),
    field("wrap_up_seconds", Shape::Number),
    field("ring_seconds", Shape::Number),
    field("ring_at_most", Shape::Number),
    field("head_start_seconds", Shape::Number),
    field("music", Shape::Text),
    field("language", Shape::Text),
    field("position_announcement", Shape::Map(ANNOUNCEMENT)),
    field("timeout", Shape::Map(TIMEOUT)),
    field("max_callers", Shape::Number),
    field("full", Shape::Map(TIMEOUT)),
    field("max_conversations", Shape::Number),
];
pub(super) const ANNOUNCEMENT: &[Field] = &[field("language", Shape::Text), field("every_seconds", Shape::Number)];
pub(super) const TIMEOUT: &[Field] = &[field("message", Shape::Text), field("action", Shape::WordOrMap(ACTION))];
pub(super) const ACTION: &[Field] = &[field("transfer", Shape::Text), field("queue", Shape::Text)];

/// Checks a file's tree against the table. A value of the wrong kind is reported. If its intent is clear (an unquoted
/// `99900`), it is passed on as text, otherwise left out, so that everything else is still checked in the same run.
/// Returns `None` when the file is not a mapping.
pub(super) fn check(root: &Node, report: &mut Report<'_>) -> Option<Map<String, Value>> {
    match checked(root, Shape::Map(FILE), &KeyPath::Root, report).kind {
        ValueKind::Table(table) => Some(table),
        _ => None,
    }
}

fn checked(node: &Node, shape: Shape, path: &KeyPath<'_>, report: &mut Report<'_>) -> Value {
    let kind = match (shape, &node.kind) {
        (Shape::Text | Shape::Secret, Kind::Quoted(text)) => ValueKind::String(text.clone()),
        (Shape::WordOrMap(_), Kind::Quoted(text) | Kind::Plain(text)) if meaning(text) == Meaning::Text => {
            ValueKind::String(text.clone())
        }
        (Shape::Text | Shape::Secret, Kind::Plain(text)) if meaning(text) == Meaning::Text => {
            ValueKind::String(text.clone())
        }
        (Shape::Text | Shape::Secret, Kind::Plain(text)) if meaning(text) != Meaning::Nothing => {
            report.at(node.mark, path, unquoted(text, matches!(shape, Shape::Secret)));
            ValueKind::String(text.clone())
        }
        (Shape::Text | Shape::Secret, Kind::UnknownAlias(text)) => {
            report.at(node.mark, path, wrong_kind(shape, &node.kind, path));
            ValueKind::String(text.clone())
        }
        (Shape::Number, Kind::Plain(text)) if meaning(text) != Meaning::Nothing => match decimal(text) {
            Ok(number) => ValueKind::Float(number),
            Err(fault) => {
                report.at(node.mark, path, fault);
                ValueKind::Nil
            }
        },
        (Shape::Truth, Kind::Plain(text)) if matches!(text.as_str(), "true" | "false") => {
            ValueKind::Boolean(text == "true")
        }
        (Shape::List(shape), Kind::List(items)) => {
            let items = items.iter().enumerate();
            ValueKind::Array(items.map(|(i, item)| checked(item, *shape, &path.index(i), report)).collect())
        }
        (Shape::Map(fields) | Shape::WordOrMap(fields), Kind::Map(entries)) => {
            ValueKind::Table(mapping(entries, fields, path, report))
        }
        _ => {
            report.at(node.mark, path, wrong_kind(shape, &node.kind, path));
            ValueKind::Nil
        }
    };
    Value::new(None, kind)
}

fn mapping(
    entries: &[(Node, Node)],
    fields: &[Field],
    path: &KeyPath<'_>,
    report: &mut Report<'_>,
) -> Map<String, Value> {
    let mut table = Map::new();
    for (key, value) in entries {
        let text = match &key.kind {
            Kind::Plain(text) | Kind::Quoted(text) => text,
            _ => {
                report.at(key.mark, path, Fault::new("a key must be a word", "see the sample file for the keys"));
                continue;
            }
        };
        let here = path.key(text);
        match fields.iter().find(|field| field.key == text) {
            None => {
                let shown = show(text);
                report.at(key.mark, &path.key(&shown), unknown_key(&shown, fields));
            }
            Some(_) if table.contains_key(text) => {
                report.at(key.mark, &here, Fault::new("this key appears twice", "keep one of the two"));
            }
            Some(field) => {
                table.insert(text.clone(), checked(value, field.shape, &here, report));
            }
        }
    }
    table
}

/// The fault for a key that does not exist.
pub(super) fn unknown_key(key: &str, fields: &[Field]) -> Fault {
    let known = || fields.iter().map(|field| field.key);
    if key == "<<" {
        return Fault::new("merge keys (<<) are not supported", "write the keys out");
    }
    let fix = match nearest(key, known()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("the keys here are: {}", known().collect::<Vec<_>>().join(", ")),
    };
    Fault::new("there is no such key", fix)
}

fn unquoted(text: &str, secret: bool) -> Fault {
    let kind = if meaning(text) == Meaning::Truth { "boolean (yes or no)" } else { "number" };
    if secret {
        return Fault::new(format!("the value is a YAML {kind}"), "write it in quotes");
    }
    Fault::new(format!("{} is a YAML {kind}", show(text)), format!("write it in quotes: {}", quoted(text)))
}

fn wrong_kind(shape: Shape, kind: &Kind, path: &KeyPath<'_>) -> Fault {
    let secret = matches!(shape, Shape::Secret);
    let what = match kind {
        Kind::Plain(text) if meaning(text) == Meaning::Nothing => "there is no value here".to_owned(),
        Kind::Plain(text) if meaning(text) == Meaning::Number => format!("{} is a number", show(text)),
        Kind::Plain(text) if meaning(text) == Meaning::Truth => format!("{} is a boolean (yes or no)", show(text)),
        Kind::Plain(text) | Kind::Quoted(text) => format!("{} is text", quoted(text)),
        Kind::List(_) => "this is a list".to_owned(),
        Kind::Map(_) => "this is a mapping".to_owned(),
        Kind::UnknownAlias(_) if secret => "an unquoted * begins an alias in YAML".to_owned(),
        Kind::UnknownAlias(text) => format!("{} without quotes is an alias in YAML", show(text)),
        Kind::Tagged(tag) => format!("the tag {} is not supported", show(tag)),
    };
    let key = match path {
        KeyPath::Key(_, key) => format!("{key}: "),
        _ => String::new(),
    };
    let fix = match (shape, kind) {
        (Shape::Secret, Kind::UnknownAlias(_)) => "write the value in quotes".to_owned(),
        (Shape::Text | Shape::WordOrMap(_), Kind::UnknownAlias(text)) => {
            format!("write it in quotes: {}", quoted(text))
        }
        (_, Kind::Tagged(_)) => "remove it".to_owned(),
        (Shape::Text | Shape::Secret, Kind::Plain(_)) => {
            "write a value, in quotes if it begins with # or &, or remove the key".to_owned()
        }
        (Shape::Text | Shape::Secret, _) => "write a single value, in quotes if it begins with [ or {".to_owned(),
        (Shape::Number, Kind::Quoted(text)) if decimal(text).is_ok() => {
            format!("write it without quotes: {}", show(text))
        }
        (Shape::Number, _) => "write a plain number, such as 30, or remove the key".to_owned(),
        (Shape::Truth, _) => "write true or false, without quotes, or remove the key".to_owned(),
        (Shape::List(Shape::Map(_)), _) => "write a list: one line beginning with \"- \" for each".to_owned(),
        (Shape::List(_), Kind::Plain(text) | Kind::Quoted(text)) if meaning(text) != Meaning::Nothing => {
            format!("write a list: {key}[{}]", quoted(text))
        }
        (Shape::List(_), _) => format!("write a list: {key}[...]"),
        (Shape::WordOrMap(_), _) => "write hangup, { transfer: \"...\" } or { queue: \"...\" }".to_owned(),
        (Shape::Map(fields), _) => {
            format!("write a mapping with the keys {}", fields.iter().map(|f| f.key).collect::<Vec<_>>().join(", "))
        }
    };
    Fault::new(what, fix)
}
