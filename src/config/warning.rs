//! Warnings: settings that are allowed and better changed.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::Config;
use super::problem::Fault;

impl Config {
    /// What an admin should know of a file that has nothing wrong, one line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.token.is_none() {
            warnings.push(format!(
                "without a token, whatever program of {} connects to {} can log agents in and out and fill the queues; \
                 set `token` here and behind fsq_socket in FreeSWITCH's fsq/settings.xml, as \
                 scripts/install-freeswitch-conf does",
                if self.listen.ip().is_loopback() { "this machine" } else { "the networks in `allow`" },
                self.listen,
            ));
        }
        warnings
    }
}

/// A port without a token that others than this machine reach: whoever connects there says what call it is, and whose.
pub(super) fn open_to_others(listen: &SocketAddr, allow: &[IpNet]) -> Option<Fault> {
    let is_open = !listen.ip().is_loopback() && allow.iter().any(|net| !net.addr().is_loopback());
    is_open.then(|| {
        Fault::new(
            format!("other machines reach {listen}, and nothing tells FreeSWITCH from anybody else there"),
            "set a token, and write it behind fsq_socket in FreeSWITCH's fsq/settings.xml: HOST:PORT/TOKEN; or let `listen` be an address of this machine alone, such as 127.0.0.1:8084",
        )
    })
}
