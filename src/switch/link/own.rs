//! Asks a switch about itself: its default domain, and whether its dialplan sends our queues' numbers to us.

use std::collections::VecDeque;

use crate::acd::ids::QueueNumber;
use crate::esl::{ApiCall, Outcome};

use super::{Answer, Up};

/// The check of the queues' numbers against the dialplan of a switch.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The value of `fsq_numbers`, and a delimiter that does not occur in it.
    pattern: Option<(char, String)>,
    to_check: VecDeque<QueueNumber>,
    outside: Vec<QueueNumber>,
}

impl Up<'_> {
    /// Asks for the directory's domain if the file names none; repeats this with every survey, because an answer may be
    /// lost and an admin may change the domain.
    pub(super) fn ask_domain(&mut self) {
        if self.switches.settings.borrow().domain.is_none() && !self.asking_domain {
            self.asking_domain = self.ask(ApiCall::default_domain(), Answer::Domain);
        }
    }

    pub(super) fn told_domain(&mut self, outcome: &Outcome) {
        self.asking_domain = false;
        let domain = outcome.default_domain();
        let unknown = domain.is_none() && self.asked_domain.is_none();
        let trouble = "does not state its default domain, so no phone is known to be an agent's; set `domain`";
        if self.switches.trouble(self.index, |t| &mut t.domain, unknown.then(|| trouble.to_owned())) && unknown {
            tracing::warn!("FreeSWITCH {trouble}");
        }
        if domain.is_some() && domain != self.asked_domain {
            self.asked_domain = domain;
            self.all_lamps();
        }
    }

    /// Checks that the dialplan sends the number of every queue to us.
    pub(super) fn check_numbers(&mut self) {
        if let Ok(call) = ApiCall::new("global_getvar fsq_numbers") {
            self.ask(call, Answer::Numbers);
        }
    }

    pub(super) fn told_numbers(&mut self, outcome: Outcome) {
        // An admin's own dialplan may lack the variable; then the numbers cannot be checked.
        let pattern = match outcome {
            Outcome::Done(reply) => Some(reply.body_text().trim().to_owned()).filter(|pattern| !pattern.is_empty()),
            _ => None,
        };
        let free = |pattern: &String| ['~', '/', '|'].into_iter().find(|delimiter| !pattern.contains(*delimiter));
        self.numbers = Numbers {
            pattern: pattern.and_then(|pattern| Some((free(&pattern)?, pattern))),
            to_check: self.switches.floor.numbers().into(),
            outside: Vec::new(),
        };
        self.check_next_number();
    }

    fn check_next_number(&mut self) {
        let Some((delimiter, pattern)) = &self.numbers.pattern else { return self.numbers_are_checked() };
        let Some(number) = self.numbers.to_check.pop_front() else { return self.numbers_are_checked() };
        let call = ApiCall::new(format!("regex m:{delimiter}{number}{delimiter}^(?:{pattern})$"));
        if let Ok(call) = call {
            self.ask(call, move |outcome| Answer::Number(number, outcome));
        }
    }

    pub(super) fn told_number(&mut self, number: QueueNumber, outcome: Outcome) {
        if let Outcome::Done(reply) = outcome
            && reply.body_text().trim() == "false"
        {
            self.numbers.outside.push(number);
        }
        self.check_next_number();
    }

    fn numbers_are_checked(&mut self) {
        let outside: Vec<&str> = self.numbers.outside.iter().map(QueueNumber::as_str).collect();
        let trouble = (!outside.is_empty()).then(|| {
            format!(
                "its dialplan does not send the number of {} {} to a queue; let fsq_numbers in fsq/settings.xml match, then reloadxml",
                if outside.len() == 1 { "queue" } else { "queues" },
                outside.join(", ")
            )
        });
        if self.switches.trouble(self.index, |t| &mut t.numbers, trouble.clone())
            && let Some(trouble) = trouble
        {
            tracing::warn!("FreeSWITCH: {trouble}");
        }
    }
}
