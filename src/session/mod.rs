//! One task for every connection FreeSWITCH opens: a caller who waits and talks, or an agent who dialled a feature code.
//!
//! Owns a connection from `connect` to its end, and finds out whose it is. It translates events into inputs of
//! [`acd`](crate::acd), and effects into commands. Must not decide anything about a caller or an agent.

mod arrivals;
mod caller;
mod feature;
mod handover;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use tokio::sync::watch;

use crate::acd::feature::Dialled;
use crate::clock::Clock;
use crate::controller::Controller;
use crate::esl::server::{self, leave};
use crate::esl::{Command, Connection, Events, Outcome, Unknown};
use crate::floor::Floor;
use crate::telephony::Settings;
use crate::telephony::channel::NewCall;
use crate::telephony::commands;

pub use arrivals::Arrivals;
pub use handover::Handovers;

/// How long a session waits for a call to be parked before it leaves the call anyway.
const PARK_PATIENCE: Duration = Duration::from_secs(3);

/// The state that all sessions share.
pub struct Shared {
    /// The live picture.
    pub floor: Arc<Floor>,
    /// The time.
    pub clock: Arc<Clock>,
    /// The current configuration.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// True once the daemon is going down.
    pub draining: watch::Receiver<bool>,
    /// Whether FreeSWITCH has loaded `mod_hash`: a link asks as soon as it is up; without a link, the first session
    /// that needs it asks.
    pub mod_hash: Arc<AtomicBool>,
    /// How many calls wait until FreeSWITCH has read their first commands.
    pub beginning: AtomicUsize,
    /// Whether channels may carry out an `originate`; false once FreeSWITCH has refused it.
    pub by_channel: AtomicBool,
    /// Logs agents who dial a feature code in and out.
    pub controller: Arc<Controller>,
    /// When callers arrived.
    pub arrivals: Arrivals,
    /// The calls that have a task in this process.
    pub handovers: Handovers,
    /// Generates a random number, for the random order of agents.
    pub random: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Runs one connection to its end.
pub async fn run(shared: Arc<Shared>, connection: Connection, mut events: Events) {
    let settings = shared.settings.borrow().clone();
    // Boxed, like everything here that a waiting caller does not need: its space would be part of every call's task.
    let Some(call) = Box::pin(identify(&settings, &connection, &mut events)).await else { return };
    let drained = *shared.draining.borrow();
    match settings.codes.read(&call.dialled) {
        _ if drained => Box::pin(give_back(&connection, &mut events)).await,
        // The leg belongs to a caller who is already waiting for this agent.
        Dialled::Queue(queue) if call.forwarded => {
            tracing::warn!(call = %call.channel.id, %queue, "an agent's phone forwarded its call to a queue; the forward is refused");
            Box::pin(feature::refuse_number(&connection, &mut events)).await;
        }
        Dialled::Queue(queue) => {
            if call.channel.withheld {
                hide(&connection);
            }
            caller::run(&shared, settings, connection, events, call, queue).await;
        }
        Dialled::Feature { login, queue, lamp } => {
            let code = feature::Code { login, queue, lamp };
            Box::pin(feature::run(&shared, &settings, connection, events, call, code)).await;
        }
        Dialled::Other => {
            tracing::warn!(call = %call.channel.id, dialled = %call.dialled, "a call dialled neither a queue nor a feature code");
            Box::pin(feature::refuse_number(&connection, &mut events)).await;
        }
    }
}

/// Finds out which call the connection belongs to. `None` if it cannot be served, or not here; it is over then.
async fn identify(settings: &Settings, connection: &Connection, events: &mut Events) -> Option<Box<NewCall>> {
    let reply = match send_one(connection, Command::Connect).await? {
        Outcome::Done(reply) => reply,
        Outcome::Refused(text) => {
            tracing::warn!(%text, "a connection does not belong to a call");
            return None;
        }
        Outcome::Unknown(why) => {
            tracing::warn!(%why, "a connection did not identify its call");
            if matches!(why, Unknown::TimedOut(_)) {
                // It may belong to a call on a switch that hangs.
                give_back(connection, events).await;
            }
            return None;
        }
    };
    let mut call = match NewCall::read(&reply) {
        Ok(call) => Box::new(call),
        Err(error) => {
            tracing::warn!(%error, "a connection does not belong to a call");
            give_back(connection, events).await;
            return None;
        }
    };
    if settings.token.as_deref().is_some_and(|token| call.token.as_deref() != Some(token)) {
        tracing::warn!(call = %call.channel.id, "a call without our token went back to the dialplan: `socket HOST:PORT/TOKEN` must end with the `token` of the configuration");
        give_back(connection, events).await;
        return None;
    }
    connection.vouch();
    call.channel.withheld &= settings.hide_withheld;
    if call.channel.withheld {
        call.channel.hide_caller();
    }
    Some(call)
}

/// Makes FreeSWITCH itself erase the caller's name and number.
fn hide(connection: &Connection) {
    let sent = commands::hide_caller().map(|commands| connection.send_all(&commands));
    match sent {
        Ok(Ok(sent)) => sent.into_iter().for_each(|pending| pending.log_refusal("hiding the caller's number")),
        Ok(Err(full)) => tracing::warn!(%full, "the command that hides the caller's number could not be sent"),
        Err(error) => tracing::error!(%error, "a command could not be built"),
    }
}

/// Returns a call to the dialplan.
async fn give_back(connection: &Connection, events: &mut Events) {
    server::give_back(connection, events, PARK_PATIENCE).await;
}

/// Ends the connection, and waits until FreeSWITCH has executed all commands on it.
async fn leave_and_see(connection: &Connection) {
    send_one(connection, Command::Exit).await;
    connection.close();
}

async fn send_one(connection: &Connection, command: Command) -> Option<Outcome> {
    match connection.send(&command) {
        Ok(pending) => Some(pending.await),
        Err(full) => {
            tracing::warn!(%full, "a call is given up");
            None
        }
    }
}

/// Completes once, when the daemon starts to shut down.
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
