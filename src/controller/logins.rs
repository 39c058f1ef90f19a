//! Logins and logouts that are being stored: the last change stored is the last one to take effect (Q18).
//!
//! A change takes effect only when it is on disk. Others may arrive meanwhile: an agent has several phones, the disk
//! may be slow, and the configuration may change. Changes are stored in the order of their arrival and take effect in
//! that order, whichever task is the first to learn that its own change is on disk. A change that a new configuration
//! forbids is given up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::acd::fact::Asker;
use crate::acd::ids::{AgentId, QueueNumber};

/// An agent and a queue.
pub(super) type Key = (AgentId, QueueNumber);

/// The changes that are being stored. The lock is held while a change is checked and handed to the store, while it
/// takes effect, and while a configuration is applied.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<Order>);

/// The action for a requested change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// Nothing: the state is already as requested.
    Already,
    /// Wait: the same change, with this number, is already being stored.
    Wait(u64),
    /// Store it as the change with this number.
    Write(u64),
}

/// A change that was handed to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pending {
    number: u64,
    login: bool,
    by: Asker,
}

/// The order in which changes were handed to the store, and the changes that have not taken effect yet.
#[derive(Debug, Default)]
pub(super) struct Order {
    last: u64,
    pending: BTreeMap<Key, VecDeque<Pending>>,
    round: u64,
}

impl Order {
    /// `by` requests a login (true) or a logout; `is_in` is the current state.
    pub(super) fn begin(&mut self, key: &Key, is_in: bool, login: bool, by: &Asker) -> Begun {
        match self.pending.get(key).and_then(VecDeque::back) {
            Some(last) if last.login == login => return Begun::Wait(last.number),
            None if is_in == login => return Begun::Already,
            _ => {}
        }
        self.last += 1;
        let pending = Pending { number: self.last, login, by: by.clone() };
        self.pending.entry(key.clone()).or_default().push_back(pending);
        Begun::Write(self.last)
    }

    /// A change is on disk, and so is every change handed over before it. Returns the changes that take effect now, in
    /// order.
    pub(super) fn written(&mut self, key: &Key, number: u64) -> Vec<(bool, Asker)> {
        let Some(pending) = self.pending.get_mut(key) else { return Vec::new() };
        let count = pending.iter().take_while(|p| p.number <= number).count();
        let due = pending.drain(..count).map(|p| (p.login, p.by)).collect();
        self.forget_if_done(key);
        due
    }

    /// A change was not stored in time and does not take effect, although the store may still write it. Returns whether
    /// it has taken effect after all, because a later change was stored; and the change to store behind it to cancel
    /// it, if one is needed.
    pub(super) fn failed(&mut self, key: &Key, number: u64, is_in: bool) -> (bool, Option<bool>) {
        let found = self.pending.get_mut(key).and_then(|p| Some((p.iter().position(|p| p.number == number)?, p)));
        let Some((at, pending)) = found else { return (true, None) };
        let was_last = at + 1 == pending.len();
        let login = pending.remove(at).is_some_and(|p| p.login);
        let otherwise = pending.back().map_or(is_in, |p| p.login);
        self.forget_if_done(key);
        (false, (was_last && otherwise != login).then_some(otherwise))
    }

    /// A new configuration has logged these agents out; `allowed` tells whether it permits a login. Gives up the
    /// pending changes that it does not permit. Returns the logouts to store behind everything stored before.
    pub(super) fn reconfigured(&mut self, logged_out: Vec<Key>, allowed: impl Fn(&Key) -> bool) -> BTreeSet<Key> {
        self.round += 1;
        let mut to_store: BTreeSet<Key> = logged_out.into_iter().collect();
        self.pending.retain(|key, pending| {
            if allowed(key) {
                return true;
            }
            match pending.back() {
                Some(last) if last.login => to_store.insert(key.clone()),
                // A logout was stored last already.
                _ => to_store.remove(key),
            };
            false
        });
        to_store
    }

    /// How often a new configuration has been applied.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    fn forget_if_done(&mut self, key: &Key) {
        if self.pending.get(key).is_some_and(VecDeque::is_empty) {
            self.pending.remove(key);
        }
    }
}

impl Logins {
    /// Takes the lock even if it is poisoned: no critical section can panic half-way.
    pub(super) fn lock(&self) -> MutexGuard<'_, Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn anna() -> Key {
        (AgentId::new("1001").unwrap(), QueueNumber::new("99900").unwrap())
    }

    fn changes(due: Vec<(bool, Asker)>) -> Vec<bool> {
        due.into_iter().map(|(login, _)| login).collect()
    }

    /// Q18: changes take effect in the order in which they were stored, whichever task learns first that its own is on
    /// disk.
    #[test]
    fn a_login_and_a_logout_of_one_instant_keep_their_order() {
        let mut order = Order::default();
        assert_eq!(order.begin(&anna(), false, true, &Asker::Operator), Begun::Write(1));
        assert_eq!(order.begin(&anna(), false, true, &Asker::Operator), Begun::Wait(1));
        assert_eq!(order.begin(&anna(), false, false, &Asker::Operator), Begun::Write(2));
        assert_eq!(changes(order.written(&anna(), 2)), [true, false]);
        assert_eq!(order.written(&anna(), 1), []);
        assert_eq!(order.begin(&anna(), false, false, &Asker::Operator), Begun::Already);
    }

    /// Q14, Q18: an unconfirmed change has no effect, and undoes no later change.
    #[test]
    fn a_change_not_stored_in_time_has_no_effect() {
        let mut order = Order::default();
        order.begin(&anna(), false, true, &Asker::Operator);
        assert_eq!(order.failed(&anna(), 1, false), (false, Some(false)));
        order.begin(&anna(), false, true, &Asker::Operator);
        order.begin(&anna(), false, false, &Asker::Operator);
        order.begin(&anna(), false, true, &Asker::Operator);
        assert_eq!(order.failed(&anna(), 2, false), (false, None), "the two later changes decide the state");
        assert_eq!(order.failed(&anna(), 4, false), (false, Some(false)));
        assert_eq!(changes(order.written(&anna(), 3)), [false]);
        assert_eq!(order.failed(&anna(), 3, false), (true, None), "it has taken effect");
        assert!(order.pending.is_empty());
    }

    /// Q18: in every order in which tasks may run, and whichever writes are in time, the last stored change is the
    /// state.
    #[test]
    fn the_last_stored_change_is_the_state() {
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
                    match order.begin(&anna(), is_in, login, &Asker::Operator) {
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
            assert_eq!((stored.last(), order.pending.len()), (Some(&is_in), 0), "game {game}: {stored:?}");
        }
    }

    /// Q3, Q18: a configuration gives up the changes that it forbids, and the store ends with one logout.
    #[test]
    fn a_configuration_gives_up_forbidden_changes() {
        let stored = |wanted: &[bool], was_in: bool| {
            let mut order = Order::default();
            for login in wanted {
                let begun = order.begin(&anna(), was_in, *login, &Asker::Operator);
                assert!(matches!(begun, Begun::Write(_)), "{wanted:?}");
            }
            let logged_out = if was_in { vec![anna()] } else { Vec::new() };
            let to_store = order.reconfigured(logged_out, |_| false);
            assert_eq!(order.written(&anna(), 9), [], "nothing takes effect any more");
            assert_eq!(order.failed(&anna(), 1, false), (true, None));
            to_store.contains(&anna())
        };
        assert!(stored(&[true], false));
        assert!(!stored(&[true, false], false));
        assert!(!stored(&[false], true));
        assert!(stored(&[false, true], true));
        assert!(stored(&[], true));
        let mut untouched = Order::default();
        untouched.begin(&anna(), false, true, &Asker::Operator);
        assert_eq!(untouched.reconfigured(Vec::new(), |_| true), BTreeSet::new());
        assert_eq!((changes(untouched.written(&anna(), 1)), untouched.round()), (vec![true], 1));
    }

    fn end(order: &mut Order, is_in: &mut bool, stored: &mut Vec<bool>, (number, waits): (u64, bool), in_time: bool) {
        if in_time {
            *is_in = changes(order.written(&anna(), number)).last().copied().unwrap_or(*is_in);
        } else if !waits {
            stored.extend(order.failed(&anna(), number, *is_in).1);
        }
    }
}
