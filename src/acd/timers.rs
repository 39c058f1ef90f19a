//! The table of deadlines in each state machine.

use super::time::Mono;

/// The deadlines of one state machine, by name. Setting a name again moves its deadline.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    table: Vec<(K, Mono)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { table: Vec::new() }
    }
}

impl<K: PartialEq + Copy> Timers<K> {
    /// Sets or moves the deadline of `name`.
    pub fn set(&mut self, name: K, at: Mono) {
        match self.table.iter_mut().find(|(k, _)| *k == name) {
            Some(entry) => entry.1 = at,
            None => self.table.push((name, at)),
        }
    }

    /// Removes the deadline of `name`, if there is one.
    pub fn clear(&mut self, name: K) {
        self.table.retain(|(k, _)| *k != name);
    }

    /// Removes every deadline.
    pub fn clear_all(&mut self) {
        self.table.clear();
    }

    /// Whether `name` has a deadline.
    pub fn holds(&self, name: K) -> bool {
        self.table.iter().any(|(k, _)| *k == name)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Mono> {
        self.table.iter().map(|&(_, at)| at).min()
    }

    /// Removes and returns the earliest deadline that is due at `now`.
    pub fn pop_due(&mut self, now: Mono) -> Option<K> {
        let (i, _) = self.table.iter().enumerate().filter(|(_, (_, at))| *at <= now).min_by_key(|(_, (_, at))| *at)?;
        Some(self.table.swap_remove(i).0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }

    #[test]
    fn deadlines_come_due_once_and_in_order() {
        let mut t = Timers::default();
        t.set('b', at(20));
        t.set('a', at(10));
        t.set('c', at(30));
        t.set('c', at(15));
        assert_eq!(t.next(), Some(at(10)));
        assert_eq!(t.pop_due(at(9)), None);
        assert_eq!(t.pop_due(at(20)), Some('a'));
        assert_eq!(t.pop_due(at(20)), Some('c'));
        assert_eq!(t.pop_due(at(20)), Some('b'));
        assert_eq!(t.pop_due(at(99)), None);
        assert_eq!(t.next(), None);
    }
}
