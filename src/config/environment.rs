//! Environment variables: `FSQ_` and the key in capitals, with `__` between the parts of a nested key.
//!
//! | variable | key |
//! |---|---|
//! | `FSQ_LISTEN` | `listen` |
//! | `FSQ_ALLOW` | `allow`, values separated by commas |
//! | `FSQ_FEATURE_CODES__LOGIN` | `feature_codes.login` |
//! | `FSQ_FREESWITCH__0__PASSWORD` | `freeswitch[0].password` |
//!
//! Only the file can define agents and queues.

use std::collections::BTreeMap;
use std::ffi::OsString;

use ::config::{Value, ValueKind};

use super::problem::Fault;
use super::report::Report;
use super::scalar::{nearest, show};
use super::schema::{FILE, Field, Shape};
use super::sources::Layer;

const PREFIX: &str = "FSQ_";
/// The most switches. Bounds the index in a variable's name, because the list becomes at least that long.
pub(super) const MOST_SWITCHES: usize = 16;

/// The key that one variable sets, and its value.
pub(super) struct Override {
    variable: String,
    /// The key in the notation of `config` and of problems: `freeswitch[0].password`.
    key: String,
    value: Result<Value, Fault>,
}

/// Reads all `FSQ_` variables, in the order of their names.
pub(super) fn read(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<Override> {
    let named = variables.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = named.filter(|(name, _)| name.starts_with(PREFIX));
    ours.collect::<BTreeMap<_, _>>().into_iter().map(|(variable, value)| one(variable, value)).collect()
}

/// Maps each key to the variable that sets it.
pub(super) fn places(overrides: &[Override]) -> BTreeMap<String, String> {
    let good = overrides.iter().filter(|it| it.value.is_ok());
    good.map(|it| (it.key.clone(), it.variable.clone())).collect()
}

/// The valid values as a layer for `config`; the others are reported.
pub(super) fn layer(overrides: Vec<Override>, report: &mut Report<'_>) -> Layer {
    let mut layer = Layer::default();
    for Override { variable, key, value } in overrides {
        match value {
            Ok(value) => {
                layer.0.insert(key, value);
            }
            Err(fault) => report.variable(&variable, key, fault),
        }
    }
    layer
}

fn one(variable: String, value: OsString) -> Override {
    let (key, value) = match target(variable.strip_prefix(PREFIX).unwrap_or_default()) {
        Ok((key, shape)) => (key, read_value(shape, value)),
        Err(fault) => (String::new(), Err(fault)),
    };
    Override { variable, key, value }
}

fn read_value(shape: Shape, value: OsString) -> Result<Value, Fault> {
    let text = value.into_string().map_err(|_| Fault::new("the value is not UTF-8", "encode it as UTF-8"))?;
    if text.is_empty() {
        return Err(Fault::new("the variable is set, but empty", "give it a value or unset it"));
    }
    let kind = match shape {
        Shape::List(_) => {
            let items = text.split(',').map(|item| Value::new(None, item.trim()));
            ValueKind::Array(items.collect())
        }
        _ => ValueKind::String(text),
    };
    Ok(Value::new(None, kind))
}

/// The key that a variable's name (without the prefix) refers to, and the shape of its value: text or a list of text.
fn target(name: &str) -> Result<(String, Shape), Fault> {
    let mut key = String::new();
    let mut shape = Shape::Map(FILE);
    for part in name.split("__") {
        shape = match shape {
            Shape::Map(fields) => {
                let known = fields.iter().find(|field| field.key.to_uppercase() == part);
                let field = known.ok_or_else(|| unknown(name, part, fields))?;
                key.push_str(if key.is_empty() { "" } else { "." });
                key.push_str(field.key);
                field.shape
            }
            Shape::List(item @ Shape::Map(_)) if key == "freeswitch" => {
                let index = part.parse::<usize>().ok().filter(|index| *index < MOST_SWITCHES);
                let index = index.ok_or_else(|| no_index(part))?;
                key.push_str(&format!("[{index}]"));
                *item
            }
            _ => return Err(only_in_file()),
        };
    }
    match shape {
        Shape::Text | Shape::Secret | Shape::List(Shape::Text) => Ok((key, shape)),
        _ => Err(only_in_file()),
    }
}

fn only_in_file() -> Fault {
    Fault::new("a variable cannot set this", "write it in the file and unset the variable")
}

fn no_index(part: &str) -> Fault {
    let what = format!("{} is not the index of a switch", show(part));
    Fault::new(what, format!("use 0 to {}", MOST_SWITCHES - 1))
}

fn unknown(name: &str, part: &str, fields: &[Field]) -> Fault {
    let before = name.strip_suffix(part).unwrap_or_default();
    let named = |key: &str| format!("{PREFIX}{before}{}", key.to_uppercase());
    let fix = match nearest(part, fields.iter().map(|field| field.key)) {
        Some(meant) => format!("did you mean {}? Otherwise unset it", named(meant)),
        None => "unset it".to_owned(),
    };
    Fault::new("there is no such variable", fix)
}
