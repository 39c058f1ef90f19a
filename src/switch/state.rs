//! How a link is, for people.

use serde::{Deserialize, Serialize};

/// A link to a switch, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// Where the switch is.
    pub address: String,
    /// Whether the link is up.
    pub up: bool,
    /// What is wrong: why the link is not up, what FreeSWITCH refuses, what its dialplan lacks.
    pub troubles: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LinkState {
    pub(super) address: String,
    pub(super) up: bool,
    pub(super) troubles: Troubles,
}

/// What is wrong with a link, or with the switch at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    /// Why it is not up.
    pub(super) link: Option<String>,
    /// Why it does not tell its channels.
    pub(super) channels: Option<String>,
    /// Why its domain is not known.
    pub(super) domain: Option<String>,
    /// Which queues its dialplan does not reach.
    pub(super) numbers: Option<String>,
}

impl LinkState {
    pub(super) fn view(&self) -> LinkView {
        let Troubles { link, channels, domain, numbers } = &self.troubles;
        let troubles = [link, channels, domain, numbers].into_iter().flatten().cloned().collect();
        LinkView { address: self.address.clone(), up: self.up, troubles }
    }
}
