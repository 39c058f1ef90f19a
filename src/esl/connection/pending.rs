//! A reply that has not arrived yet.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use super::super::reply::{Outcome, Unknown};
use super::CloseReason;
use super::shared::{Queued, Shared};

/// A command whose reply is outstanding: await it for the [`Outcome`], or leave a refusal to the log.
///
/// From the first poll, the wait is bounded by [`ConnectionLimits::reply`](super::ConnectionLimits::reply) or
/// [`Pending::within`].
/// A refusal is logged even if this is simply dropped.
#[must_use = "a reply is done, refused or unknown, never ignored: await it, or call `log_refusal`"]
#[derive(Debug)]
pub struct Pending {
    from: From,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum From {
    Connection { receiver: oneshot::Receiver<Outcome>, shared: Arc<Shared>, number: u64 },
    Over(Option<Outcome>),
}

impl Pending {
    /// For a command queued on the connection of `shared`.
    pub(super) fn new(queued: Queued, shared: &Arc<Shared>) -> Self {
        let (from, limit) = match queued {
            Queued::Owed(receiver, number) => {
                (From::Connection { receiver, shared: Arc::clone(shared), number }, shared.limits.reply)
            }
            Queued::Over(outcome) => (From::Over(Some(outcome)), Duration::ZERO),
        };
        Self { from, limit, timer: None }
    }

    /// Waits for at most `limit`.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self.timer = None;
        self
    }

    /// Does not wait; a refusal is logged under the name `what`.
    pub fn log_refusal(mut self, what: &'static str) {
        let outcome = match &mut self.from {
            From::Connection { receiver, shared, number } => {
                if shared.log_refusal(*number, what) {
                    return;
                }
                receiver.try_recv().ok()
            }
            From::Over(outcome) => outcome.take(),
        };
        match outcome {
            Some(Outcome::Refused(text)) => tracing::warn!(command = what, %text, "FreeSWITCH refused a command"),
            Some(Outcome::Unknown(why)) => tracing::debug!(command = what, %why, "no reply to a command"),
            Some(Outcome::Done(_)) | None => {}
        }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        let receiver = match &mut this.from {
            From::Connection { receiver, .. } => receiver,
            From::Over(outcome) => {
                return Poll::Ready(outcome.take().unwrap_or(Outcome::Unknown(Unknown::Closed(CloseReason::Local))));
            }
        };
        if let Poll::Ready(outcome) = Pin::new(receiver).poll(cx) {
            return Poll::Ready(outcome.unwrap_or(Outcome::Unknown(Unknown::Closed(CloseReason::Local))));
        }
        let limit = this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(cx).map(|()| Outcome::Unknown(Unknown::TimedOut(limit)))
    }
}
