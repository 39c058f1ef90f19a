//! The one way in for requests: log an agent in or out, call an offer off, reload the configuration file.
//!
//! Each request names who asks ([`Asker`]) and has an answer of its own type. Feature codes and the control socket are
//! callers; whoever comes later is one more. Two requests of one moment cannot disagree: what is checked, stored and
//! done for one of them is done under one lock (`logins::Logins`). Nothing here decides what a rule of `acd` or `floor`
//! decides.

mod logins;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use crate::acd::fact::{Asker, Fact, Record};
use crate::acd::ids::{AgentId, OfferId, QueueNumber};
use crate::clock::Clock;
use crate::config::{Change, Config, diff, pending};
use crate::floor::{Floor, LoginChange, LoginRefusal, OfferKey};
use crate::journal::{Journal, NotDurable};

use logins::{Begun, Key, Logins};

/// Called with every applied configuration, after the floor has taken it. It must not block.
pub type Applied = Box<dyn Fn(&Config) + Send + Sync>;

/// The answer to a login or a logout.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginAnswer {
    /// The login state is as requested, and on disk.
    Done,
    /// The change is not allowed; nothing has changed.
    Refused(LoginRefusal),
    /// The change was not stored in time, or the configuration changed meanwhile; nothing has changed.
    Failed,
}

/// The answer to calling an offer off.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOffAnswer {
    /// This offer ends, unless the phone is being answered.
    Ordered(OfferId),
    /// The agent's phone does not ring for a caller; nothing has changed.
    NothingRings,
}

/// Carries out requests.
pub struct Controller {
    floor: Arc<Floor>,
    clock: Arc<Clock>,
    journal: Arc<Journal>,
    logins: Logins,
    config: Mutex<Arc<Config>>,
    /// The configuration at the start, for finding the changes that need a restart.
    started: Arc<Config>,
    /// Held while a file is read and applied, so that the file read first is applied first.
    changing: Mutex<()>,
    applied: Applied,
}

impl Controller {
    /// Creates a controller for a floor that already runs with `config`.
    pub fn new(
        floor: Arc<Floor>,
        clock: Arc<Clock>,
        journal: Arc<Journal>,
        config: Arc<Config>,
        applied: Applied,
    ) -> Self {
        let (logins, changing) = (Logins::default(), Mutex::default());
        let started = config.clone();
        Self { floor, clock, journal, logins, config: Mutex::new(config), started, changing, applied }
    }

    /// The current configuration.
    pub fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs an agent in to a queue. Returns when the change is on disk and has taken effect (Q18).
    pub async fn log_in(&self, by: &Asker, agent: &AgentId, queue: &QueueNumber) -> LoginAnswer {
        self.change(by, &(agent.clone(), queue.clone()), true).await
    }

    /// Logs an agent out of a queue; otherwise as [`Self::log_in`].
    pub async fn log_out(&self, by: &Asker, agent: &AgentId, queue: &QueueNumber) -> LoginAnswer {
        self.change(by, &(agent.clone(), queue.clone()), false).await
    }

    /// Calls off the offer for which an agent's phone rings; its caller goes on to another agent. If the phone is being
    /// answered at this moment, the agent is connected all the same.
    pub fn call_off(&self, by: &Asker, agent: &AgentId) -> CallOffAnswer {
        match self.floor.call_off_offer(agent, self.clock.now()) {
            Some(OfferKey { offer, call, queue, .. }) => {
                tracing::info!(%by, %agent, %offer, %call, %queue, "an offer is called off");
                CallOffAnswer::Ordered(offer)
            }
            None => CallOffAnswer::NothingRings,
        }
    }

    /// Applies the configuration that `load` returns, and returns the differences. Runs one reload at a time. `load`
    /// may block on the disk, and this function blocks with it.
    ///
    /// # Errors
    /// Returns the error of `load`; nothing has changed then.
    pub fn reload<E>(&self, by: &Asker, load: impl FnOnce() -> Result<Config, E>) -> Result<Vec<Change>, E> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let config = Arc::new(load()?);
        let old = std::mem::replace(&mut *self.config.lock().unwrap_or_else(PoisonError::into_inner), config.clone());
        self.configure(&config);
        (self.applied)(&config);
        self.journal.set_keep(config.keep);
        let mut changes = pending(&self.started, &config);
        changes.extend(diff(&old, &config));
        tracing::info!(%by, changes = changes.len(), "the configuration was reloaded");
        Ok(changes)
    }

    /// Applies a configuration to the floor. No login takes effect meanwhile: a login that the configuration before
    /// allowed has either taken effect already, and is undone by this one, or is given up here.
    fn configure(&self, config: &Config) {
        let mut logins = self.logins.lock();
        let now = self.clock.now();
        let logged_out = self.floor.configure(&config.agents, &config.queues, now);
        let allowed =
            |(agent, queue): &Key| self.floor.participants(queue).is_some_and(|q| q.participants.contains(agent));
        for key in logins.reconfigured(logged_out, allowed) {
            let (agent, queue) = key.clone();
            let written = self.journal.durable(Some(self.record(&Asker::File, &key, false)));
            tokio::spawn(async move {
                if let Err(error) = written.await {
                    tracing::error!(%agent, %queue, %error, "a logout by configuration was not stored");
                }
            });
        }
    }

    async fn change(&self, by: &Asker, key: &Key, login: bool) -> LoginAnswer {
        let (agent, queue) = key;
        let (begun, round, durable) = {
            let mut logins = self.logins.lock();
            let is_in = match self.floor.login_change(agent, queue, login) {
                LoginChange::Refused(why) => return LoginAnswer::Refused(why),
                LoginChange::Already => login,
                LoginChange::Changed => !login,
            };
            let begun = logins.begin(key, is_in, login, by);
            let record = match begun {
                Begun::Already => return LoginAnswer::Done,
                Begun::Wait(_) => None,
                Begun::Write(_) => Some(self.record(by, key, login)),
            };
            (begun, logins.round(), self.journal.durable(record))
        };
        let written = durable.await;
        let (Begun::Wait(number) | Begun::Write(number)) = begun else { return LoginAnswer::Done };
        match written {
            Ok(()) => self.become_true(key, number),
            Err(error) if !self.give_up(by, key, number, begun, error) => return LoginAnswer::Failed,
            Err(_) => {}
        }
        match self.floor.login_change(agent, queue, login) {
            // The configuration changed while the change was being stored.
            LoginChange::Refused(why) => LoginAnswer::Refused(why),
            LoginChange::Changed if round != self.logins.lock().round() => LoginAnswer::Failed,
            // The task that was storing the change gave it up.
            LoginChange::Changed if begun == Begun::Wait(number) => LoginAnswer::Failed,
            // A later change may have reversed it since.
            LoginChange::Already | LoginChange::Changed => LoginAnswer::Done,
        }
    }

    /// Every change up to this one is on disk.
    fn become_true(&self, key: &Key, number: u64) {
        let mut logins = self.logins.lock();
        let (agent, queue) = key;
        for (login, by) in logins.written(key, number) {
            let now = self.clock.now();
            let change = if login {
                self.floor.log_in(agent, queue, &by, now)
            } else {
                self.floor.log_out(agent, queue, &by, now)
            };
            debug_assert!(!matches!(change, LoginChange::Refused(_)), "a reload gives up what it forbids");
        }
    }

    /// A change was not stored in time. Returns true when it has taken effect all the same.
    fn give_up(&self, by: &Asker, key: &Key, number: u64, begun: Begun, error: NotDurable) -> bool {
        let (agent, queue) = key;
        tracing::error!(%agent, %queue, %error, "a login or logout was not stored in time, and is not confirmed");
        if begun == Begun::Wait(number) {
            return false;
        }
        let mut logins = self.logins.lock();
        let is_in = self.floor.agent(agent, |a| a.logins().contains_key(queue)).unwrap_or(false);
        let (is_true, counter) = logins.failed(key, number, is_in);
        if let Some(login) = counter {
            // The store may still write it after recovering, but the agent is told that nothing has changed.
            self.journal.record(self.record(by, key, login));
        }
        is_true
    }

    fn record(&self, by: &Asker, (agent, queue): &Key, login: bool) -> Record {
        let (agent, queue, by) = (agent.clone(), queue.clone(), by.clone());
        let fact =
            if login { Fact::AgentLoggedIn { agent, queue, by } } else { Fact::AgentLoggedOut { agent, queue, by } };
        Record { at: self.clock.now().wall, fact }
    }
}
