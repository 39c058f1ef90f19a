//! Reports what changed to readers of the live picture, such as the lamps.
//!
//! Each reader has its own mailbox. A subject that changes several times between two looks is reported once; when more
//! subjects change than the mailbox holds, the reader is told to look at everything. So even a slow reader costs only a
//! set of bounded size, and the floor never waits for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::acd::ids::{AgentId, CallId, QueueNumber};

use super::{Wake, lock};

/// The most changed subjects that a mailbox holds.
const MOST: usize = 4096;

/// A thing that may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A queue: its callers, its settings, or the agents logged in.
    Queue(QueueNumber),
    /// An agent: the activity, or the logins.
    Agent(AgentId),
    /// A call: its place, its offers, or its conversation.
    Call(CallId),
}

/// The changes since a reader last looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// These, each once.
    Of(BTreeSet<Subject>),
    /// Too many to list: look at everything.
    Everything,
}

struct Mailbox {
    news: Mutex<News>,
    bell: Wake,
}

impl Mailbox {
    /// Rings the bell on the first news; once until they are taken.
    fn put(&self, subject: &Subject) {
        let first = match &mut *lock(&self.news) {
            News::Everything => false,
            News::Of(subjects) if subjects.contains(subject) => false,
            news => match news {
                News::Of(subjects) if subjects.len() < MOST => {
                    subjects.insert(subject.clone());
                    subjects.len() == 1
                }
                full => {
                    *full = News::Everything;
                    false
                }
            },
        };
        if first {
            (self.bell)();
        }
    }
}

/// A reader's end. Nothing is kept for a reader who has dropped it.
pub struct Watcher(Arc<Mailbox>);

impl Watcher {
    /// Takes the changes since the last look.
    pub fn take(&self) -> News {
        std::mem::replace(&mut lock(&self.0.news), News::Of(BTreeSet::new()))
    }
}

/// All watchers.
#[derive(Default)]
pub(super) struct Watchers {
    all: Mutex<Vec<Weak<Mailbox>>>,
    /// An upper bound of the watchers. Without any, a change costs only the look at this number.
    count: AtomicUsize,
}

impl Watchers {
    /// Adds a watcher. A change rings `bell`, which must neither block nor call the floor.
    pub(super) fn watch(&self, bell: Wake) -> Watcher {
        let mailbox = Arc::new(Mailbox { news: Mutex::new(News::Of(BTreeSet::new())), bell });
        let mut all = lock(&self.all);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&mailbox));
        self.count.store(all.len(), Ordering::Release);
        Watcher(mailbox)
    }

    /// Puts a change into every mailbox.
    pub(super) fn tell(&self, subject: impl FnOnce() -> Subject) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let subject = subject();
        let mut all = lock(&self.all);
        all.retain(|one| one.upgrade().inspect(|mailbox| mailbox.put(&subject)).is_some());
        self.count.store(all.len(), Ordering::Release);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn agent(n: usize) -> Subject {
        Subject::Agent(AgentId::new(&n.to_string()).unwrap())
    }

    fn watch(watchers: &Watchers) -> (Watcher, Arc<AtomicUsize>) {
        let rung = Arc::new(AtomicUsize::new(0));
        let bell = rung.clone();
        (watchers.watch(Box::new(move || _ = bell.fetch_add(1, Ordering::Relaxed))), rung)
    }

    /// A subject that changes often is reported once, and the bell rings once until the news are taken; a slow reader
    /// looks at everything.
    #[test]
    fn changes_are_told_once_and_never_pile_up() {
        let watchers = Watchers::default();
        watchers.tell(|| unreachable!("nobody watches"));
        let (quick, rung) = watch(&watchers);
        let (slow, _) = watch(&watchers);
        for n in [1, 2, 1] {
            watchers.tell(|| agent(n));
        }
        assert_eq!(quick.take(), News::Of(BTreeSet::from([agent(1), agent(2)])));
        assert_eq!((quick.take(), rung.load(Ordering::Relaxed)), (News::Of(BTreeSet::new()), 1));
        (0..MOST + 9).for_each(|n| watchers.tell(|| agent(n)));
        assert_eq!((slow.take(), rung.load(Ordering::Relaxed)), (News::Everything, 2));
        watchers.tell(|| agent(1));
        assert_eq!(slow.take(), News::Of(BTreeSet::from([agent(1)])));
        drop((quick, slow));
        watchers.tell(|| agent(1));
        watchers.tell(|| unreachable!("nobody watches any more"));
    }
}
