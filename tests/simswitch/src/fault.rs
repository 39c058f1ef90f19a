//! Faults for tests to inject.

use crate::event::Event;
use std::time::Duration;

/// The faults in force. All are off by default; a scenario turns them on and off.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// `socket` connections are refused.
    pub controller_away: bool,
    /// Every reply comes this much later; the connection stops meanwhile.
    pub reply_delay: Option<Duration>,
    /// Every event is queued this much later.
    pub event_delay: Option<Duration>,
    /// Every event is queued this much later for connections other than a call's own.
    pub link_delay: Option<Duration>,
    /// The next events with these names are lost, one for each entry.
    pub lose_events: Vec<String>,
    /// The next BACKGROUND_JOB events of these commands are lost, one for each entry.
    pub lose_jobs: Vec<String>,
    /// This many `originate` commands are accepted without any effect: no leg, no result.
    pub swallow_originates: u32,
    /// New channels carry no user: an admin's own dial string without `presence_id`.
    pub no_presence: bool,
    /// The core was started with `-nosql` or runs without its database: `show` refuses every question (`show_function` in
    /// mod_commands.c).
    pub no_sql: bool,
    /// Channels may not use the API (`api-expansion` is false in switch.conf.xml).
    pub no_api_expansion: bool,
    /// Connections neither read nor write; set with `SimSwitch::freeze`.
    pub(crate) frozen: bool,
}

impl Faults {
    pub(crate) fn loses(&mut self, event: &Event) -> bool {
        take(&mut self.lose_events, &event.name)
    }

    pub(crate) fn loses_job(&mut self, command: &str) -> bool {
        take(&mut self.lose_jobs, command)
    }
}

fn take(list: &mut Vec<String>, name: &str) -> bool {
    match list.iter().position(|n| n == name) {
        Some(at) => {
            list.remove(at);
            true
        }
        None => false,
    }
}
