//! Checks that several kinds of values need.

use std::collections::{HashMap, HashSet};

use super::problem::{Fault, KeyPath, Place};
use super::report::Report;
use super::scalar::quoted;
use super::text;
use crate::acd::settings::Language;

/// Checks a text that may be left out.
pub(super) fn optional<T>(
    raw: Option<String>,
    key: &KeyPath<'_>,
    check: fn(&str) -> Result<T, Fault>,
    report: &mut Report<'_>,
) -> Option<T> {
    raw.and_then(|text| report.take(key, check(&text)))
}

/// Checks a text that must be there.
pub(super) fn required<T>(
    raw: Option<String>,
    key: &KeyPath<'_>,
    check: fn(&str) -> Result<T, Fault>,
    example: &str,
    report: &mut Report<'_>,
) -> Option<T> {
    if raw.is_none() {
        report.add(key, Fault::new("this key is missing", format!("add it: {example}")));
    }
    optional(raw, key, check, report)
}

/// The values of one key over the items of a list, good or not. A value that is used twice is reported.
pub(super) fn unique<'r>(
    values: impl Iterator<Item = Option<&'r String>>,
    list: &KeyPath<'_>,
    key: &str,
    report: &mut Report<'_>,
) -> HashSet<String> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (i, value) in values.enumerate() {
        let Some(value) = value else { continue };
        let earlier = *first.entry(value).or_insert(i);
        if earlier != i {
            let (there, here) = (list.index(earlier), list.index(i));
            let there = there.key(key);
            let place = match report.place(&there) {
                Place::At(_, mark) => format!("line {}", mark.line),
                other => other.to_string(),
            };
            let what = format!("{} is already {there} in {place}", quoted(value));
            report.add(&here.key(key), Fault::new(what, "each needs its own"));
        }
    }
    first.into_keys().map(str::to_owned).collect()
}

/// A language that is in the list of languages.
pub(super) fn known_language(
    text: &str,
    key: &KeyPath<'_>,
    known: &[Language],
    report: &mut Report<'_>,
) -> Option<Language> {
    let language = report.take(key, text::language(text))?;
    // Without any, the list itself is the problem.
    if known.is_empty() || known.contains(&language) {
        return Some(language);
    }
    let names: Vec<&str> = known.iter().map(|language| &*language.0).collect();
    let what = format!("{} is not among the languages ({})", quoted(text), names.join(", "));
    report.add(key, Fault::new(what, "choose one of them, or add its prompts and then its name under languages"));
    None
}
