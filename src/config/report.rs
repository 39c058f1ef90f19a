//! Collects what is wrong on the way from the file to the domain types, each with the place where it was written.

use std::collections::HashSet;
use std::sync::Arc;

use super::problem::{Fault, KeyPath, Mark, Place, Problem, Problems};
use super::sources::Sources;

/// So many problems are reported; a file with more is better fixed in rounds.
const MOST_PROBLEMS: usize = 1000;

/// Collects problems, and knows where each key was written.
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

    /// Notes a problem at a place of the file that the caller knows.
    pub(super) fn at(&mut self, mark: Mark, key: &KeyPath<'_>, fault: Fault) {
        self.push(Place::At(Arc::clone(&self.sources.file), mark), key.to_string(), fault);
    }

    /// Notes a problem with an environment variable.
    pub(super) fn variable(&mut self, name: &str, key: String, fault: Fault) {
        self.push(Place::Variable(name.to_owned()), key, fault);
    }

    /// Notes a problem of a key, unless that key already has one: what follows from a problem is not
    /// worth a line of its own.
    pub(super) fn add(&mut self, key: &KeyPath<'_>, fault: Fault) {
        let text = key.to_string();
        if self.problems.len() == MOST_PROBLEMS {
            self.more += 1;
        } else if !self.keys.contains(&text) {
            self.push(self.sources.place(key), text, fault);
        }
    }

    /// The value, or nothing and a problem of `key`.
    pub(super) fn take<T>(&mut self, key: &KeyPath<'_>, value: Result<T, Fault>) -> Option<T> {
        value.map_err(|fault| self.add(key, fault)).ok()
    }

    /// Where `key` was written, for a problem that has to speak of two places.
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

    /// Everything that was noted, in the order of the file.
    pub(super) fn into_problems(self) -> Problems {
        Problems::new(self.problems, self.more)
    }
}
