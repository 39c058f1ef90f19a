//! Ensures that only one connection of a call is served at a time.
//!
//! A call that is passed on to a queue arrives on a new connection while that of its last wait or conversation may
//! still be open. When *any* connection of a channel ends, FreeSWITCH ends whatever the channel executes: it clears the
//! flag that holds the park, and with `socket_resume` set it resets the channel, which then stays silent for ever
//! unless it is parked at that instant (measured). So the later connection first clears `socket_resume`, and then the
//! earlier one ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::acd::ids::CallId;
use crate::esl::{Connection, Events, Incoming, Outcome, server};
use crate::telephony::channel::NewCall;
use crate::telephony::commands as wire;

use super::{PARK_PATIENCE, Shared, drained, leave_and_see, send_one};

/// How long the earlier connection may take to end its legs.
const WAY_PATIENCE: Duration = Duration::from_secs(2);

/// How long a connection stays open after its call has gone elsewhere.
const STAYS_FOR: Duration = Duration::from_secs(5);

/// Why a call arrives on another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The earlier connection had broken, and the dialplan held the caller.
    Back,
    /// Somebody passed the caller on.
    PassedOn,
}

/// The calls that have a task in this process.
#[derive(Debug, Default)]
pub struct Handovers(Arc<All>);

#[derive(Debug, Default)]
struct All {
    turns: Mutex<BTreeMap<CallId, Arc<Turn>>>,
    /// Notified when one of them ends.
    ended: Notify,
}

/// One per call, so it is small.
#[derive(Debug)]
struct Turn {
    state: Mutex<State>,
    wake: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// Set when the call arrives on another connection.
    again: Option<Again>,
    over: bool,
}

/// The turn of this task. Dropping it ends the turn.
#[derive(Debug)]
pub(super) struct MyTurn {
    all: Arc<All>,
    call: CallId,
    turn: Arc<Turn>,
    /// [`MyTurn::asked_for`] has given the reason.
    reason_given: bool,
}

/// The turn of an earlier connection's task.
#[derive(Debug)]
pub(super) struct Earlier {
    all: Arc<All>,
    turn: Arc<Turn>,
}

/// No critical section can panic half-way, so a poisoned lock is still consistent.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handovers {
    /// Takes the turn for this task; the error is the turn of the task that has it. `wake` is notified when the call
    /// arrives on another connection.
    pub(super) fn enter(&self, call: &CallId, wake: Arc<Notify>) -> Result<MyTurn, Earlier> {
        let mut turns = lock(&self.0.turns);
        if let Some(turn) = turns.get(call) {
            return Err(Earlier { all: self.0.clone(), turn: turn.clone() });
        }
        let turn = Arc::new(Turn { state: Mutex::default(), wake });
        turns.insert(call.clone(), turn.clone());
        Ok(MyTurn { all: self.0.clone(), call: call.clone(), turn, reason_given: false })
    }
}

impl MyTurn {
    /// Why the call has arrived on another connection; returned once.
    pub(super) fn asked_for(&mut self) -> Option<Again> {
        let again = lock(&self.turn.state).again.filter(|_| !self.reason_given);
        self.reason_given |= again.is_some();
        again
    }

    /// Whether the call has arrived on another connection.
    pub(super) fn is_asked_for(&self) -> bool {
        lock(&self.turn.state).again.is_some()
    }

    async fn until_asked_for(&self) {
        while !self.is_asked_for() {
            self.turn.wake.notified().await;
        }
    }
}

impl Drop for MyTurn {
    fn drop(&mut self) {
        lock(&self.all.turns).remove(&self.call);
        lock(&self.turn.state).over = true;
        self.all.ended.notify_waiters();
    }
}

impl Earlier {
    /// Asks the earlier connection to end, and waits until it has. Returns false if that takes too long.
    pub(super) async fn make_way(self, again: Again) -> bool {
        // If a third connection arrives as well, the first reason stands.
        lock(&self.turn.state).again.get_or_insert(again);
        self.turn.wake.notify_one();
        let over = async {
            loop {
                let ended = self.all.ended.notified();
                tokio::pin!(ended);
                // From here on, no end goes unnoticed.
                ended.as_mut().enable();
                let over = lock(&self.turn.state).over;
                if over {
                    return;
                }
                ended.await;
            }
        };
        timeout(WAY_PATIENCE, over).await.is_ok()
    }
}

/// Keeps the connection of a call that has gone elsewhere open for a while: when it ends, FreeSWITCH ends whatever the
/// call executes there. The call may be on its way to another of our queues, so this waits for its new connection.
pub(super) async fn stay(turn: &MyTurn, events: &mut Events, draining: &mut watch::Receiver<bool>) {
    if turn.is_asked_for() || *draining.borrow() {
        return;
    }
    let something = async {
        tokio::select! {
            () = turn.until_asked_for() => {}
            () = until_over(events) => {}
            () = drained(draining) => {}
        }
    };
    if timeout(STAYS_FOR, something).await.is_err() {
        tracing::debug!("the call has gone elsewhere");
    }
}

/// Waits for the end of the call or of its connection.
async fn until_over(events: &mut Events) {
    while let Some(incoming) = events.next().await {
        if matches!(incoming, Incoming::Closed(_) | Incoming::Lingering(_) | Incoming::Disconnecting) {
            return;
        }
    }
}

/// Ends the earlier connection of the call first, and then sends the call through its dialplan again, because the end
/// of that connection ends the park of this one too.
pub(super) async fn wait(
    shared: &Shared,
    connection: &Connection,
    events: &mut Events,
    call: &NewCall,
    earlier: Earlier,
) {
    let again = if call.returns || call.channel.rescued { Again::Back } else { Again::PassedOn };
    let outlive = match again {
        Again::Back => wire::let_go(&call.channel.channel),
        Again::PassedOn => wire::passed_on(&call.channel.channel),
    };
    tracing::info!(
        ?again,
        "the call has arrived again before its last connection has ended, and goes through its dialplan once more"
    );
    server::until_parked(connection, events, PARK_PATIENCE).await;
    match outlive {
        Ok(command) => {
            if let Some(Outcome::Refused(text)) = send_one(connection, command).await {
                tracing::warn!(%text, "FreeSWITCH refused to clear socket_resume on a call");
            }
        }
        Err(error) => tracing::error!(%error, "a command could not be built"),
    }
    if !earlier.make_way(again).await {
        tracing::warn!("the last connection of a call did not end in time");
    }
    // Taken before leaving, because the dialplan may return the call at once.
    let turn = shared.handovers.enter(&call.channel.id, Arc::default());
    leave_and_see(connection).await;
    drop(turn);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn call() -> CallId {
        CallId::new("caller").unwrap()
    }

    /// Q19: the later connection waits for the end of the earlier one, which learns the reason.
    #[tokio::test(start_paused = true)]
    async fn the_earlier_connection_makes_way() {
        let turns = Handovers::default();
        let mut mine = turns.enter(&call(), Arc::default()).unwrap();
        assert!(!mine.is_asked_for());
        let later = turns.enter(&call(), Arc::default()).unwrap_err();
        let (asked, gone) = tokio::join!(
            async {
                mine.until_asked_for().await;
                let asked = mine.asked_for();
                assert!(mine.is_asked_for() && mine.asked_for().is_none());
                drop(mine);
                asked
            },
            later.make_way(Again::PassedOn)
        );
        assert_eq!((asked, gone), (Some(Again::PassedOn), true));
        assert!(turns.enter(&call(), Arc::default()).is_ok());
    }

    /// The wait for the earlier connection is bounded.
    #[tokio::test(start_paused = true)]
    async fn no_connection_waits_for_ever() {
        let turns = Handovers::default();
        let mine = turns.enter(&call(), Arc::default()).unwrap();
        assert!(!turns.enter(&call(), Arc::default()).unwrap_err().make_way(Again::Back).await);
        drop(mine);
    }
}
