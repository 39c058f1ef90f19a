//! What waits to be written: numbered as it comes, bounded, and the oldest facts give way.

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
/// How much longer than asked a closing store may take, for SQLite to tidy up behind itself.
const TIDY: Duration = Duration::from_secs(1);
/// Up to which time between two records the daemon is taken to have lived, where nothing else tells: what is longer is a
/// calendar that was set.
const LIVED: Duration = Duration::from_secs(10);

/// One thing to write, somebody to tell, or both.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Option<Numbered>,
    /// When it became true, by the line's time.
    pub(super) line: Wall,
    /// Told once everything up to here is on disk; such an entry does not wait for others to gather.
    pub(super) ack: Option<SyncSender<()>>,
}

impl Entry {
    /// Whether it may be given up before others: a login is worth more than a fact.
    fn gives_way(&self) -> bool {
        let login =
            |next: &Numbered| matches!(next.record.fact, Fact::AgentLoggedIn { .. } | Fact::AgentLoggedOut { .. });
        self.ack.is_none() && !self.record.as_ref().is_some_and(login)
    }
}

/// That the daemon lives, as it says from time to time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beat {
    pub(super) now: Now,
    pub(super) alive: Alive,
    /// Something is open, so that it matters on disk when the daemon was last known to live.
    pub(super) matters: bool,
}

/// What the writer is to do next.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) entries: Vec<Entry>,
    /// When the daemon was last known to live.
    pub(super) alive: Option<Alive>,
    /// It said so just now.
    pub(super) beat: Option<Beat>,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    last_number: u64,
    alive: Option<Alive>,
    /// Not taken yet.
    beat: Option<Beat>,
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

    /// A record of this moment shows that the daemon lives. Gives the moment by the line's time: the record may be of what
    /// ended some time ago.
    fn lives(&mut self, at: Wall) -> Wall {
        let alive = self.alive.get_or_insert(Alive { wall: at, line: at });
        let since = at.since(alive.wall);
        if since <= LIVED {
            *alive = Alive { wall: alive.wall.plus(since), line: alive.line.plus(since) };
        }
        alive.line.before(alive.wall.since(at))
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
    /// An empty one behind this number.
    pub(super) fn new(capacity: usize, last_number: u64) -> Self {
        let state = State { last_number, ..State::default() };
        Self { capacity: capacity.max(1), state: Mutex::new(state), work: Condvar::new(), ended: Condvar::new() }
    }

    /// No critical section can panic half-way, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a record, which is given its number, somebody to tell, or both. If that costs a record, returns why.
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
        (lost > 0).then_some("more is recorded than it can write; look at the load and the disk below it")
    }

    /// The daemon lives.
    pub(super) fn beat(&self, beat: Beat) {
        let mut state = self.lock();
        state.alive = Some(beat.alive);
        state.beat = Some(beat);
        self.work.notify_one();
    }

    /// Waits for work and takes up to one batch of it, the oldest first; nothing at `idle` or when the store is closing.
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

    /// When the daemon was last known to live, by its calendar.
    pub(super) fn present(&self) -> Wall {
        self.lock().alive.unwrap_or_default().wall
    }

    /// Asks the writer to end within `within`, and waits for that. The error is how many records were not written.
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
