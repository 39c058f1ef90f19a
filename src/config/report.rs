//! Collects problems on the way from the file to the domain types, each with the place of the value.

use std::collections::HashSet;
use std::sync::Arc;

use super::problem::{Fault, KeyPath, Mark, Place, Problem, Problems};
use super::sources::Sources;

/// The most problems reported; a file with more is better fixed in rounds.
const MOST_PROBLEMS: usize = 1000;

/// Collects problems, and knows where each key is set.
pub(super) struct Report<'s> {
    sources: &'s Sources,
    problems: Vec<Problem>,
    more: usize,
    keys: HashSet<String>,
}

impl<'s> Report<'s> {
    pub(super) fn new(sources: &'s Sources) -> Self {
        Self { sources, problems: Vec::new(), more: 0, keys: HashSet::new() }
    }

    /// Adds a problem at a known place in the file.
    pub(super) fn at(&mut self, mark: Mark, key: &KeyPath<'_>, fault: Fault) {
        self.push(Place::At(Arc::clone(&self.sources.file), mark), key.to_string(), fault);
    }

    /// Adds a problem with an environment variable.
    pub(super) fn variable(&mut self, name: &str, key: String, fault: Fault) {
        self.push(Place::Variable(name.to_owned()), key, fault);
    }

    /// Adds a problem with a key, unless that key already has one, since the second usually follows from the first.
    pub(super) fn add(&mut self, key: &KeyPath<'_>, fault: Fault) {
        let text = key.to_string();
        if self.problems.len() == MOST_PROBLEMS {
            self.more += 1;
        } else if !self.keys.contains(&text) {
            self.push(self.sources.place(key), text, fault);
        }
    }

    /// Returns the value, or adds a problem with `key`.
    pub(super) fn take<T>(&mut self, key: &KeyPath<'_>, value: Result<T, Fault>) -> Option<T> {
        value.map_err(|fault| self.add(key, fault)).ok()
    }

    /// Where `key` is set, for a problem that names two places.
    pub(super) fn place(&self, key: &KeyPath<'_>) -> Place {
        self.sources.place(key)
    }

    /// Whether something below `key` has a problem.
    pub(super) fn inside(&self, key: &KeyPath<'_>) -> bool {
        let above = key.to_string();
        let below = |key: &String| key.strip_prefix(&above).is_some_and(|rest| rest.starts_with(['.', '[']));
        self.keys.iter().any(below)
    }

    fn push(&mut self, place: Place, key: String, Fault { what, fix }: Fault) {
        if self.problems.len() == MOST_PROBLEMS {
            self.more += 1;
            return;
        }
        self.keys.insert(key.clone());
        self.problems.push(Problem { place, key, what, fix });
    }

    /// All problems, in the order of the file.
    pub(super) fn into_problems(self) -> Problems {
        Problems::new(self.problems, self.more)
    }
}
