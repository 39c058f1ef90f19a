//! Logins and logouts that are being written down: what is stored last is what is carried out last (Q18).
//!
//! A change becomes true only when it is on disk, and meanwhile others may come: an agent has several phones, and a file
//! may be slow. They are stored in the order in which they came, and become true in that order as well, whichever task
//! is the first to hear that its own is on disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::acd::fact::{CancelCause, Fact, Record};
use crate::acd::feature::FeatureAnswer;
use crate::acd::ids::{AgentId, QueueNumber};
use crate::floor::LoginChange;
use crate::journal::NotDurable;

use super::Shared;

/// Whose login to which queue.
type Key = (AgentId, QueueNumber);

/// The changes that are being written down. The lock is held while one is handed to the store, or becomes true, and
/// never longer.
#[derive(Debug, Default)]
pub struct Logins(Mutex<Order>);

/// What is to be done about a change that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// It is so.
    Already,
    /// It is being written down already, as the change of this number.
    Wait(u64),
    /// It is to be written down, as the change of this number.
    Write(u64),
}

/// In which order changes were handed to the store, and which of them are not true yet.
#[derive(Debug, Default)]
struct Order {
    last: u64,
    pending: BTreeMap<Key, VecDeque<(u64, bool)>>,
}

impl Order {
    /// A login (true) or logout is wanted, where `is_in` is so.
    fn begin(&mut self, key: &Key, is_in: bool, login: bool) -> Begun {
        match self.pending.get(key).and_then(VecDeque::back) {
            Some((number, to)) if *to == login => return Begun::Wait(*number),
            None if is_in == login => return Begun::Already,
            _ => {}
        }
        self.last += 1;
        self.pending.entry(key.clone()).or_default().push_back((self.last, login));
        Begun::Write(self.last)
    }

    /// A change is on disk, and so are all that were handed over before it. Returns those that become true now, in
    /// their order.
    fn written(&mut self, key: &Key, number: u64) -> Vec<bool> {
        let Some(pending) = self.pending.get_mut(key) else { return Vec::new() };
        let count = pending.iter().take_while(|(n, _)| *n <= number).count();
        let due = pending.drain(..count).map(|(_, login)| login).collect();
        self.forget_if_done(key);
        due
    }

    /// A change was not written down in time, though it may yet be: it does not become true. Returns whether it has
    /// become true after all, because one behind it was written down; and what is to be stored behind it, so that it
    /// counts for nothing.
    fn failed(&mut self, key: &Key, number: u64, is_in: bool) -> (bool, Option<bool>) {
        let found = self.pending.get_mut(key).and_then(|p| Some((p.iter().position(|(n, _)| *n == number)?, p)));
        let Some((at, pending)) = found else { return (true, None) };
        let was_last = at + 1 == pending.len();
        let login = pending.remove(at).is_some_and(|(_, login)| login);
        let otherwise = pending.back().map_or(is_in, |(_, login)| *login);
        self.forget_if_done(key);
        (false, (was_last && otherwise != login).then_some(otherwise))
    }

    /// Whether a later change will say how it is.
    fn is_open(&self, key: &Key) -> bool {
        self.pending.contains_key(key)
    }

    fn forget_if_done(&mut self, key: &Key) {
        if self.pending.get(key).is_some_and(VecDeque::is_empty) {
            self.pending.remove(key);
        }
    }
}

impl Logins {
    /// No critical section can panic half-way, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs an agent in or out, and tells when that is on disk and true.
pub(super) async fn change(shared: &Shared, agent: &AgentId, queue: &QueueNumber, login: bool) -> FeatureAnswer {
    let key = (agent.clone(), queue.clone());
    let done = if login { FeatureAnswer::LoggedIn } else { FeatureAnswer::LoggedOut };
    let (begun, durable) = {
        let mut order = shared.logins.lock();
        let is_in = match shared.floor.login_change(agent, queue, login) {
            LoginChange::Refused(answer) => return answer,
            LoginChange::Already => login,
            LoginChange::Changed => !login,
        };
        let begun = order.begin(&key, is_in, login);
        let record = match begun {
            Begun::Already => return done,
            Begun::Wait(_) => None,
            Begun::Write(_) => Some(record(shared, &key, login)),
        };
        (begun, shared.journal.durable(record))
    };
    let written = durable.await;
    let (Begun::Wait(number) | Begun::Write(number)) = begun else { return done };
    match written {
        Ok(()) => become_true(shared, &key, number),
        Err(error) if !give_up(shared, &key, number, begun, error) => return FeatureAnswer::Failed,
        Err(_) => {}
    }
    match shared.floor.login_change(agent, queue, login) {
        // The file changed while it was written down.
        LoginChange::Refused(answer) => answer,
        // Whoever had it written down gave it up.
        LoginChange::Changed if begun == Begun::Wait(number) => FeatureAnswer::Failed,
        // What has changed it back since came behind it.
        LoginChange::Already | LoginChange::Changed => done,
    }
}

/// Everything up to a change is on disk.
fn become_true(shared: &Shared, key: &Key, number: u64) {
    let mut order = shared.logins.lock();
    let (agent, queue) = key;
    for login in order.written(key, number) {
        let now = shared.clock.now();
        if !login {
            shared.floor.log_out(agent, queue, CancelCause::LoggedOut, now);
        } else if matches!(shared.floor.log_in(agent, queue, now), LoginChange::Refused(_)) && !order.is_open(key) {
            shared.journal.record(record(shared, key, false));
        }
    }
}

/// A change was not written down. True when it has become true all the same.
fn give_up(shared: &Shared, key: &Key, number: u64, begun: Begun, error: NotDurable) -> bool {
    let (agent, queue) = key;
    tracing::error!(%agent, %queue, %error, "a login or logout was not written down in time, and is not confirmed");
    if begun == Begun::Wait(number) {
        return false;
    }
    let mut order = shared.logins.lock();
    let is_in = shared.floor.agent(agent, |a| a.logins().contains_key(queue)).unwrap_or(false);
    let (is_true, counter) = order.failed(key, number, is_in);
    if let Some(login) = counter {
        // It may yet be written, when the store recovers; but the agent is told that nothing has changed.
        shared.journal.record(record(shared, key, login));
    }
    is_true
}

fn record(shared: &Shared, (agent, queue): &Key, login: bool) -> Record {
    let (agent, queue) = (agent.clone(), queue.clone());
    let fact = if login { Fact::AgentLoggedIn { agent, queue } } else { Fact::AgentLoggedOut { agent, queue } };
    Record { at: shared.clock.now().wall, fact }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn anna() -> Key {
        (AgentId::new("1001").unwrap(), QueueNumber::new("99900").unwrap())
    }

    /// Q18: whoever hears first that it is on disk, they become true as they were stored.
    #[test]
    fn a_login_and_a_logout_of_one_instant_keep_their_order() {
        let mut order = Order::default();
        assert_eq!(order.begin(&anna(), false, true), Begun::Write(1));
        assert_eq!(order.begin(&anna(), false, true), Begun::Wait(1));
        assert_eq!(order.begin(&anna(), false, false), Begun::Write(2));
        assert_eq!(order.written(&anna(), 2), [true, false]);
        assert_eq!(order.written(&anna(), 1), [] as [bool; 0]);
        assert_eq!(order.begin(&anna(), false, false), Begun::Already);
    }

    /// Q14, Q18: what was not confirmed counts for nothing, and undoes nothing that came behind it.
    #[test]
    fn what_was_not_written_in_time_does_not_count() {
        let mut order = Order::default();
        order.begin(&anna(), false, true);
        assert_eq!(order.failed(&anna(), 1, false), (false, Some(false)));
        order.begin(&anna(), false, true);
        order.begin(&anna(), false, false);
        order.begin(&anna(), false, true);
        assert_eq!(order.failed(&anna(), 2, false), (false, None), "the two behind it say how it is");
        assert_eq!(order.failed(&anna(), 4, false), (false, Some(false)));
        assert_eq!(order.written(&anna(), 3), [false]);
        assert_eq!(order.failed(&anna(), 3, false), (true, None), "it has become true");
        assert!(!order.is_open(&anna()));
    }

    /// Q18: in every order in which tasks may run, and whatever is written in time: what is stored last is how it is.
    #[test]
    fn what_is_stored_is_what_is_true() {
        let mut seed = 1_u64;
        let mut dice = |sides: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(seed >> 33).unwrap() % sides
        };
        for game in 0..20_000 {
            let (mut order, mut is_in, mut stored) = (Order::default(), false, vec![false]);
            let mut open: Vec<(u64, bool)> = Vec::new();
            for step in 0..12 {
                if step < 8 && dice(2) == 0 {
                    let login = dice(2) == 0;
                    match order.begin(&anna(), is_in, login) {
                        Begun::Write(number) => {
                            stored.push(login);
                            open.push((number, false));
                        }
                        Begun::Wait(number) => open.push((number, true)),
                        Begun::Already => {}
                    }
                } else if !open.is_empty() {
                    end(&mut order, &mut is_in, &mut stored, open.remove(dice(open.len())), dice(3) > 0);
                }
            }
            for one in open {
                end(&mut order, &mut is_in, &mut stored, one, true);
            }
            assert_eq!((stored.last(), order.is_open(&anna())), (Some(&is_in), false), "game {game}: {stored:?}");
        }
    }

    fn end(order: &mut Order, is_in: &mut bool, stored: &mut Vec<bool>, (number, waits): (u64, bool), in_time: bool) {
        if in_time {
            *is_in = order.written(&anna(), number).last().copied().unwrap_or(*is_in);
        } else if !waits {
            stored.extend(order.failed(&anna(), number, *is_in).1);
        }
    }
}
