//! The queue of entries to be written: it numbers records as they arrive, is bounded, and drops the oldest facts first.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::acd::fact::{Fact, Record};
use crate::acd::restored::Alive;
use crate::acd::time::{Now, Wall};
use crate::clock::thread_now;

use super::store::Numbered;

/// How many entries one transaction takes.
pub(super) const BATCH: usize = 500;
/// How long a fact waits for others to share its transaction.
const GATHER: Duration = Duration::from_millis(50);
/// How much longer than requested a closing store may take, so that SQLite can checkpoint.
const TIDY: Duration = Duration::from_secs(1);
/// The longest gap between two records during which the daemon counts as alive, if nothing else shows it. A longer gap
/// means that the calendar was set.
const LIVED: Duration = Duration::from_secs(10);

/// A record to write, somebody to notify, or both.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Option<Numbered>,
    /// When the fact happened, by the line's time.
    pub(super) line: Wall,
    /// Notified once everything up to this entry is on disk. Such an entry does not wait for others to gather.
    pub(super) ack: Option<SyncSender<()>>,
}

impl Entry {
    /// Whether this entry may be dropped before others: logins are more important than other facts.
    fn gives_way(&self) -> bool {
        let login =
            |next: &Numbered| matches!(next.record.fact, Fact::AgentLoggedIn { .. } | Fact::AgentLoggedOut { .. });
        self.ack.is_none() && !self.record.as_ref().is_some_and(login)
    }
}

/// The daemon's periodic report that it is alive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    pub(super) now: Now,
    pub(super) alive: Alive,
    /// A call or conversation is open, so the report must reach the disk soon.
    pub(super) matters: bool,
}

/// The writer's next work.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) entries: Vec<Entry>,
    /// When the daemon was last known to be alive.
    pub(super) alive: Option<Alive>,
    /// The report that it is alive, if it is new.
    pub(super) beat: Option<Beat>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    last_number: u64,
    alive: Option<Alive>,
    /// The report that the writer has not taken yet.
    beat: Option<Beat>,
    /// How many records the writer has taken and not yet written.
    in_hand: usize,
    dropped: u64,
    /// The deadline of the writer; closing sets it, once.
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

    /// Drops entries until at most `capacity` remain. Returns how many records that lost.
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

    /// Notes that a record of this moment shows the daemon alive. Returns the moment by the line's time; it may lie in
    /// the past, because a record may describe an end that happened some time ago.
    fn lives(&mut self, at: Wall) -> Wall {
        let alive = self.alive.get_or_insert(Alive { wall: at, line: at });
        let since = at.since(alive.wall);
        if since <= LIVED {
            *alive = Alive { wall: alive.wall.plus(since), line: alive.line.plus(since) };
        }
        alive.line.before(alive.wall.since(at))
    }
}

/// The queue between all producers and the single writer.
#[derive(Debug)]
pub(super) struct Backlog {
    capacity: usize,
    state: Mutex<State>,
    /// Wakes the writer: an urgent entry or a full batch waits, or the store is closing.
    work: Condvar,
    /// Wakes those who close the store: the writer has ended.
    ended: Condvar,
}

impl Backlog {
    /// An empty queue; the first record gets the number after `last_number`.
    pub(super) fn new(capacity: usize, last_number: u64) -> Self {
        let state = State { last_number, ..State::default() };
        Self { capacity: capacity.max(1), state: Mutex::new(state), work: Condvar::new(), ended: Condvar::new() }
    }

    /// No critical section can panic half-way, so a poisoned lock is still consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record and numbers it, adds somebody to notify, or both. Returns the reason if a record was lost.
    pub(super) fn push(&self, record: Option<Record>, ack: Option<SyncSender<()>>) -> Option<&'static str> {
        let mut state = self.lock();
        if state.finished {
            let lost = record.is_some();
            state.dropped += u64::from(lost);
            return lost.then_some("it is closed");
        }
        let urgent = ack.is_some();
        let mut line = Wall::default();
        let record = record.map(|record| {
            state.last_number += 1;
            line = state.lives(record.at);
            Numbered { number: state.last_number, record }
        });
        state.entries.push_back(Entry { record, line, ack });
        let lost = state.trim(self.capacity);
        if urgent || matches!(state.entries.len(), 1 | BATCH) {
            self.work.notify_one();
        }
        (lost > 0).then_some("more is recorded than it can write; check the load and the disk below it")
    }

    /// Reports that the daemon is alive.
    pub(super) fn beat(&self, beat: Beat) {
        let mut state = self.lock();
        state.alive = Some(beat.alive);
        state.beat = Some(beat);
        self.work.notify_one();
    }

    /// Waits for work and takes up to one batch of it, the oldest first; takes nothing at `idle` or when the store
    /// closes.
    pub(super) fn take(&self, idle: Option<Instant>) -> Work {
        let nothing = |state: &State| state.entries.is_empty() && state.beat.is_none();
        let mut state = self.wait(self.lock(), idle, nothing);
        if !state.entries.is_empty() {
            let gathered = thread_now() + GATHER;
            state = self.wait(state, Some(gathered), |state| state.entries.len() < BATCH && !state.urgent());
        }
        let size = state.entries.len().min(BATCH);
        let entries: Vec<Entry> = state.entries.drain(..size).collect();
        state.in_hand = entries.iter().filter(|entry| entry.record.is_some()).count();
        Work { entries, alive: state.alive, beat: state.beat.take() }
    }

    /// Waits while `idle` holds and the store is not closing, at most until `until`.
    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        until: Option<Instant>,
        idle: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waits = |state: &mut State| state.closing.is_none() && idle(state);
        match until {
            Some(until) => {
                let left = until.saturating_duration_since(thread_now());
                self.work.wait_timeout_while(state, left, waits).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.work.wait_while(state, waits).unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Notes that the batch taken last is on disk, and notifies those who wait for it.
    pub(super) fn written(&self, taken: Vec<Entry>) {
        self.lock().in_hand = 0;
        for ack in taken.into_iter().filter_map(|entry| entry.ack) {
            // The receiver may have given up waiting.
            let _ = ack.try_send(());
        }
    }

    /// Puts back the batch taken last, because it could not be written. Returns how many records had to be dropped.
    pub(super) fn put_back(&self, taken: Vec<Entry>) -> u64 {
        let mut state = self.lock();
        state.in_hand = 0;
        for entry in taken.into_iter().rev() {
            state.entries.push_front(entry);
        }
        state.trim(self.capacity)
    }

    /// Pauses the writer before it retries; the pause is shorter if the store starts to close or must be closed by
    /// then.
    pub(super) fn pause(&self, rest: Duration) {
        let state = self.lock();
        let closing = state.closing;
        let rest = closing.map_or(rest, |end| rest.min(end.saturating_duration_since(thread_now())));
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

    /// When the daemon was last known to be alive, by its calendar.
    pub(super) fn present(&self) -> Wall {
        self.lock().alive.unwrap_or_default().wall
    }

    /// Asks the writer to end within `within`, and waits for it. The error is the number of records not written.
    pub(super) fn close(&self, within: Duration) -> Result<(), usize> {
        let mut state = self.lock();
        if state.closing.is_none() {
            state.closing = Some(thread_now() + within);
            self.work.notify_one();
        }
        let waited = self.ended.wait_timeout_while(state, within + TIDY, |state| !state.finished);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        match state.records() {
            0 if state.finished => Ok(()),
            records => Err(records),
        }
    }

    /// Notes that the writer has ended. Returns how many records it leaves unwritten; nobody waits for them any longer.
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
