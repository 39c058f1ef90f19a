//! What waits to be written: bounded, and the oldest facts give way.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::acd::fact::{Fact, Record};

/// How many entries one transaction takes.
pub(super) const BATCH: usize = 500;
/// How long a fact waits for others to share its transaction.
const GATHER: Duration = Duration::from_millis(50);
/// How much longer than asked a closing store may take, for SQLite to tidy up behind itself.
const TIDY: Duration = Duration::from_secs(1);

/// One thing to write, somebody to tell, or both.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Option<Record>,
    /// Told once everything up to here is on disk; such an entry does not wait for others to gather.
    pub(super) ack: Option<SyncSender<()>>,
}

impl Entry {
    /// Whether it may be given up before others: a login is worth more than a fact.
    fn gives_way(&self) -> bool {
        let login = |record: &Record| matches!(record.fact, Fact::AgentLoggedIn { .. } | Fact::AgentLoggedOut { .. });
        self.ack.is_none() && !self.record.as_ref().is_some_and(login)
    }
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    /// How many records the writer has taken and not yet written.
    in_hand: usize,
    dropped: u64,
    /// Until when the writer may go on; set once, by closing.
    closing: Option<Instant>,
    finished: bool,
}

impl State {
    fn urgent(&self) -> bool {
        self.entries.iter().any(|entry| entry.ack.is_some())
    }

    fn records(&self) -> usize {
        self.in_hand + self.entries.iter().filter(|entry| entry.record.is_some()).count()
    }

    /// Gives entries up until there are no more than `capacity`. Returns how many records that cost.
    fn trim(&mut self, capacity: usize) -> u64 {
        let mut lost = 0;
        while self.entries.len() > capacity {
            let oldest = self.entries.iter().position(Entry::gives_way).unwrap_or(0);
            let gone = self.entries.remove(oldest);
            lost += u64::from(gone.is_some_and(|entry| entry.record.is_some()));
        }
        self.dropped += lost;
        lost
    }
}

/// The queue between everybody and the one writer.
#[derive(Debug)]
pub(super) struct Backlog {
    capacity: usize,
    state: Mutex<State>,
    /// For the writer: something urgent or enough of the rest waits, or the store is closing.
    work: Condvar,
    /// For those who close: the writer has ended.
    ended: Condvar,
}

impl Backlog {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), state: Mutex::default(), work: Condvar::new(), ended: Condvar::new() }
    }

    /// No critical section can panic half-way, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry. If that costs a record, returns why.
    pub(super) fn push(&self, entry: Entry) -> Option<&'static str> {
        let mut state = self.lock();
        if state.finished {
            let lost = entry.record.is_some();
            state.dropped += u64::from(lost);
            return lost.then_some("it is closed");
        }
        let urgent = entry.ack.is_some();
        state.entries.push_back(entry);
        let lost = state.trim(self.capacity);
        if urgent || matches!(state.entries.len(), 1 | BATCH) {
            self.work.notify_one();
        }
        (lost > 0).then_some("more is recorded than it can write; look at the load and the disk below it")
    }

    /// Waits for work and takes up to one batch of it, the oldest first; empty at `idle` or when the store is closing.
    pub(super) fn take(&self, idle: Instant) -> Vec<Entry> {
        let mut state = self.wait(self.lock(), idle, |state| state.entries.is_empty());
        if !state.entries.is_empty() {
            let gathered = Instant::now() + GATHER;
            state = self.wait(state, gathered, |state| state.entries.len() < BATCH && !state.urgent());
        }
        let size = state.entries.len().min(BATCH);
        let taken: Vec<Entry> = state.entries.drain(..size).collect();
        state.in_hand = taken.iter().filter(|entry| entry.record.is_some()).count();
        taken
    }

    /// Waits while `idle` holds and the store is not closing, at most until `until`.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Instant,
        idle: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.work.wait_timeout_while(state, left, |state| state.closing.is_none() && idle(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// What was taken last is on disk.
    pub(super) fn written(&self, taken: Vec<Entry>) {
        self.lock().in_hand = 0;
        for ack in taken.into_iter().filter_map(|entry| entry.ack) {
            // Nobody may be waiting any more.
            let _ = ack.try_send(());
        }
    }

    /// What was taken last could not be written. Returns how many records had to be given up.
    pub(super) fn put_back(&self, taken: Vec<Entry>) -> u64 {
        let mut state = self.lock();
        state.in_hand = 0;
        for entry in taken.into_iter().rev() {
            state.entries.push_front(entry);
        }
        state.trim(self.capacity)
    }

    /// Lets the writer rest before it tries again; less when the store begins to close, or has to be closed by then.
    pub(super) fn pause(&self, rest: Duration) {
        let state = self.lock();
        let closing = state.closing;
        let rest = closing.map_or(rest, |end| rest.min(end.saturating_duration_since(Instant::now())));
        drop(self.work.wait_timeout_while(state, rest, |state| state.closing == closing));
    }

    pub(super) fn closing(&self) -> Option<Instant> {
        self.lock().closing
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().records()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Asks the writer to end within `within`, and waits for that. The error is how many records were not written.
    pub(super) fn close(&self, within: Duration) -> Result<(), usize> {
        let mut state = self.lock();
        if state.closing.is_none() {
            state.closing = Some(Instant::now() + within);
            self.work.notify_one();
        }
        let waited = self.ended.wait_timeout_while(state, within + TIDY, |state| !state.finished);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        match state.records() {
            0 if state.finished => Ok(()),
            records => Err(records),
        }
    }

    /// The writer has ended. Returns how many records it leaves unwritten; nobody is kept waiting for them.
    pub(super) fn finish(&self) -> usize {
        let mut state = self.lock();
        state.finished = true;
        let left = state.records();
        state.in_hand = left;
        state.entries.clear();
        self.ended.notify_all();
        left
    }
}
