//! Warnings: settings that are allowed and better changed.

use std::net::SocketAddr;

use ipnet::IpNet;

use super::Config;
use super::problem::Fault;

impl Config {
    /// The warnings about a valid configuration, one line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.token.is_none() {
            warnings.push(format!(
                "without a token, any program {} that connects to {} can log agents in and out and fill the queues; \
                 set `token` here and behind fsq_socket in FreeSWITCH's fsq/settings.xml, as \
                 scripts/install-freeswitch-conf does",
                if self.listen.ip().is_loopback() { "on this machine" } else { "in the networks of `allow`" },
                self.listen,
            ));
        }
        warnings
    }
}

/// A port without a token that other machines can reach: any of them could pass for FreeSWITCH, and invent calls and
/// their users.
pub(super) fn open_to_others(listen: &SocketAddr, allow: &[IpNet]) -> Option<Fault> {
    let is_open = !listen.ip().is_loopback() && allow.iter().any(|net| !net.addr().is_loopback());
    is_open.then(|| {
        Fault::new(
            format!("other machines can connect to {listen}, and nothing distinguishes FreeSWITCH from them"),
            "set a token, and write it behind fsq_socket in FreeSWITCH's fsq/settings.xml: HOST:PORT/TOKEN; or let `listen` be an address of this machine alone, such as 127.0.0.1:8084",
        )
    })
}
