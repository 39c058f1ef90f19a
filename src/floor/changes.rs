//! A bell that says what changed, for readers of the picture: pages, programs, lamps.
//!
//! Each reader has a mailbox of its own. What changes more often than it looks is told once; where more changes than the
//! mailbox holds, it is told to look at everything. So a reader costs a set of bounded size, however slow it is, and the
//! floor never waits for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::acd::ids::{AgentId, CallId, QueueNumber};

use super::{Wake, lock};

/// How many changed subjects wait for a reader at most.
const MOST: usize = 4096;

/// A thing that may change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A queue: its callers, settings, who is logged in.
    Queue(QueueNumber),
    /// An agent: what the agent does, where the agent is logged in.
    Agent(AgentId),
    /// A call: its place, its offers, its conversation.
    Call(CallId),
}

/// The changes since a reader last looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// These, each once.
    Of(BTreeSet<Subject>),
    /// More than is told one by one: look at everything.
    Everything,
}

struct Mailbox {
    news: Mutex<News>,
    bell: Wake,
}

impl Mailbox {
    /// Rings when the first news come in: once until they are taken.
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
    /// Takes what changed since the last time; nothing, when nothing did.
    pub fn take(&self) -> News {
        std::mem::replace(&mut lock(&self.0.news), News::Of(BTreeSet::new()))
    }
}

/// Everybody who watches.
#[derive(Default)]
pub(super) struct Watchers {
    all: Mutex<Vec<Weak<Mailbox>>>,
    /// How many there may be: most floors have none, and look at nothing else then.
    count: AtomicUsize,
}

impl Watchers {
    /// One more, whose bell is rung when something has changed. It must not block, nor ask the floor.
    pub(super) fn watch(&self, bell: Wake) -> Watcher {
        let mailbox = Arc::new(Mailbox { news: Mutex::new(News::Of(BTreeSet::new())), bell });
        let mut all = lock(&self.all);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(&mailbox));
        self.count.store(all.len(), Ordering::Release);
        Watcher(mailbox)
    }

    /// Something has changed.
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

    /// What changes often is told once, and the bell rings once until the news are taken; a slow reader looks at
    /// everything.
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
