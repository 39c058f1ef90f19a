//! One task for every connection FreeSWITCH opens: a caller who waits and talks, or an agent who dialled a feature code.
//!
//! Owns a connection from `connect` to its end, and finds out whose it is. It translates events into inputs of
//! [`acd`](crate::acd), and effects into commands. Must not decide anything about a caller or an agent.

mod arrivals;
mod caller;
mod feature;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use tokio::sync::watch;

use crate::acd::feature::Dialled;
use crate::clock::Clock;
use crate::controller::Controller;
use crate::esl::server::{self, leave};
use crate::esl::{Command, Events, Link, Outcome, Unknown};
use crate::floor::Floor;
use crate::telephony::Settings;
use crate::telephony::channel::Channel;
use crate::telephony::commands;

pub use arrivals::Arrivals;
pub use turns::Turns;

/// How long a call may take to be parked before it is left all the same.
const PARK_PATIENCE: Duration = Duration::from_secs(3);

/// What every session shares.
pub struct Shared {
    /// The live picture.
    pub floor: Arc<Floor>,
    /// The time.
    pub clock: Arc<Clock>,
    /// The configuration, as it is now.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// True once the daemon is going down.
    pub draining: watch::Receiver<bool>,
    /// Whether FreeSWITCH was seen to have `mod_hash`: by a link as soon as it is up, or else when it matters.
    pub mod_hash: Arc<AtomicBool>,
    /// How many calls wait for FreeSWITCH to have read what they told it first.
    pub beginning: AtomicUsize,
    /// Whether channels may carry out orders to ring; false once FreeSWITCH was seen not to let one.
    pub by_channel: AtomicBool,
    /// Where agents who dial a feature code are logged in and out.
    pub controller: Arc<Controller>,
    /// When callers came.
    pub arrivals: Arrivals,
    /// The calls whose task is here.
    pub turns: Turns,
    /// Makes a random number, for the random order of agents.
    pub random: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Runs one connection to its end.
pub async fn run(shared: Arc<Shared>, link: Link, mut events: Events) {
    let settings = shared.settings.borrow().clone();
    let reply = match send_one(&link, Command::Connect).await {
        Some(Outcome::Done(reply)) => reply,
        Some(Outcome::Refused(text)) => return tracing::warn!(%text, "a connection is not that of a call"),
        Some(Outcome::Unknown(why)) => {
            tracing::warn!(%why, "a connection did not say what call it is");
            if matches!(why, Unknown::TimedOut(_)) {
                // It may be the call of a switch that stands still.
                Box::pin(give_back(&link, &mut events)).await;
            }
            return;
        }
        None => return,
    };
    let mut channel = match Channel::read(&reply) {
        // It is handed on through futures, each of which would keep room for it.
        Ok(channel) => Box::new(channel),
        Err(error) => {
            tracing::warn!(%error, "a connection is not that of a call");
            return Box::pin(give_back(&link, &mut events)).await;
        }
    };
    // All of the channel, and the call may be long.
    drop(reply);
    if settings.token.as_deref().is_some_and(|token| channel.token.as_deref() != Some(token)) {
        tracing::warn!(call = %channel.id, "a call without our token went back to the dialplan: `socket HOST:PORT/TOKEN` must end with the `token` of the configuration");
        return Box::pin(give_back(&link, &mut events)).await;
    }
    link.vouch();
    channel.withheld &= settings.hide_withheld;
    if channel.withheld {
        channel.hide_caller();
    }
    let drained = *shared.draining.borrow();
    match settings.codes.read(&channel.dialled) {
        _ if drained => Box::pin(give_back(&link, &mut events)).await,
        // Behind it is a caller who waits for this agent already.
        Dialled::Queue(queue) if channel.forwarded => {
            tracing::warn!(call = %channel.id, %queue, "an agent's phone forwarded its call to a queue; that is not followed");
            Box::pin(feature::refuse_number(&link, &mut events)).await;
        }
        Dialled::Queue(queue) => {
            if channel.withheld {
                hide(&link);
            }
            caller::run(&shared, &settings, link, events, channel, queue).await;
        }
        Dialled::Feature { login, queue, lamp: _ } => {
            Box::pin(feature::run(&shared, &settings, link, events, channel, login, queue)).await;
        }
        Dialled::Other => {
            tracing::warn!(call = %channel.id, dialled = %channel.dialled, "a call dialled neither a queue nor a feature code");
            Box::pin(feature::refuse_number(&link, &mut events)).await;
        }
    }
}

/// Has FreeSWITCH itself forget who calls.
fn hide(link: &Link) {
    let sent = commands::hide_caller().map(|commands| link.send_all(&commands));
    match sent {
        Ok(Ok(sent)) => sent.into_iter().for_each(|pending| pending.log_refusal("hiding who calls")),
        Ok(Err(full)) => tracing::warn!(%full, "FreeSWITCH is not told to hide who calls"),
        Err(error) => tracing::error!(%error, "a command could not be built"),
    }
}

/// Gives a call back to the dialplan.
async fn give_back(link: &Link, events: &mut Events) {
    server::give_back(link, events, PARK_PATIENCE).await;
}

/// Ends the connection, and waits until FreeSWITCH has done all that it was told on it.
async fn leave_and_see(link: &Link) {
    send_one(link, Command::Exit).await;
    link.close();
}

async fn send_one(link: &Link, command: Command) -> Option<Outcome> {
    match link.send(&command) {
        Ok(pending) => Some(pending.await),
        Err(full) => {
            tracing::warn!(%full, "a call is given up");
            None
        }
    }
}

/// Ends once the daemon is going down; afterwards, never again.
async fn drained(draining: &mut watch::Receiver<bool>) {
    loop {
        if draining.changed().await.is_err() {
            return std::future::pending().await;
        }
        if *draining.borrow() {
            return;
        }
    }
}
