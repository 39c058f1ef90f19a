//! The state of a link, for people.

use serde::{Deserialize, Serialize};

/// The state of a link to a switch, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// The address of the switch.
    pub address: String,
    /// Whether the link is up.
    pub up: bool,
    /// The troubles: why the link is down, what FreeSWITCH refuses, what its dialplan lacks.
    pub troubles: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LinkState {
    pub(super) address: String,
    pub(super) up: bool,
    pub(super) troubles: Troubles,
}

/// The troubles of a link, or of the switch at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    /// Why the link is down.
    pub(super) link: Option<String>,
    /// Why the switch does not list its channels.
    pub(super) channels: Option<String>,
    /// Why its default domain is unknown.
    pub(super) domain: Option<String>,
    /// The queues that its dialplan does not send to us.
    pub(super) numbers: Option<String>,
}

impl LinkState {
    pub(super) fn view(&self) -> LinkView {
        let Troubles { link, channels, domain, numbers } = &self.troubles;
        let troubles = [link, channels, domain, numbers].into_iter().flatten().cloned().collect();
        LinkView { address: self.address.clone(), up: self.up, troubles }
    }
}
