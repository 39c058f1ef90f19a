//! FreeSWITCH's Event Socket protocol, both directions. Knows nothing about queues.
//!
//! Bytes become [`frame::Frame`]s, frames become [`event::Event`]s and [`reply::Reply`]s, and
//! [`command::Command`]s become bytes. [`connection`] runs one; [`server`] accepts the connections FreeSWITCH
//! opens (`socket` application), [`client`] opens one to `mod_event_socket`'s own port.
//!
//! Decoded text is hostile: callers choose their names, numbers and SIP headers, and percent-decoding restores line
//! breaks and control characters. Such text is sent back only as [`text::SafeText`].

pub mod api;
pub mod cause;
pub mod client;
mod close;
pub mod command;
pub mod connection;
pub mod dial;
pub mod event;
pub mod frame;
pub mod headers;
mod json;
pub mod kind;
pub mod log;
mod named;
pub mod reply;
pub mod server;
mod tcp;
pub mod text;

pub use api::{ApiCall, JobOutcome, JobResult};
pub use cause::Cause;
pub use close::CloseReason;
pub use command::{Command, Execute};
pub use connection::{Connection, ConnectionLimits, Events, Full, Incoming, Pending};
pub use dial::{Contacts, Endpoint, OnAnswer, Originate};
pub use event::Event;
pub use kind::EventKind;
pub use log::{LogLevel, LogLine};
pub use reply::{Outcome, Reply, Unknown};
pub use text::{ChannelId, SafeText};
