//! Checks that several kinds of values share.

use std::collections::{HashMap, HashSet};

use super::problem::{Fault, KeyPath, Place};
use super::report::Report;
use super::scalar::quoted;
use super::text;
use crate::acd::settings::Language;

/// Checks an optional value.
pub(super) fn optional<T>(
    raw: Option<String>,
    key: &KeyPath<'_>,
    check: fn(&str) -> Result<T, Fault>,
    report: &mut Report<'_>,
) -> Option<T> {
    raw.and_then(|text| report.take(key, check(&text)))
}

/// Checks a required value.
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

/// Collects the values of one key over the items of a list, valid or not, and reports any value used twice.
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
                Place::At(_, mark) => format!("on line {}", mark.line),
                other => format!("in {other}"),
            };
            let what = format!("{} is already used by {there} {place}", quoted(value));
            report.add(&here.key(key), Fault::new(what, "each must be different"));
        }
    }
    first.into_keys().map(str::to_owned).collect()
}

/// Checks that a language is in the list of languages.
pub(super) fn known_language(
    text: &str,
    key: &KeyPath<'_>,
    known: &[Language],
    report: &mut Report<'_>,
) -> Option<Language> {
    let language = report.take(key, text::language(text))?;
    // If the list is empty, the list itself is reported.
    if known.is_empty() || known.contains(&language) {
        return Some(language);
    }
    let names: Vec<&str> = known.iter().map(|language| &*language.0).collect();
    let what = format!("{} is not one of the languages ({})", quoted(text), names.join(", "));
    report.add(key, Fault::new(what, "choose one of them, or add its prompts and list it under languages"));
    None
}
