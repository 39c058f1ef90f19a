//! A simulated FreeSWITCH speaking the real Event Socket wire.
//!
//! [`SimSwitch`] runs on tokio time only: under a paused clock a scenario of hours takes milliseconds and is always the
//! same. The switch reaches the controller through [`SimSwitch::dial_out_via`] (any stream: `tokio::io::duplex`, TCP),
//! and serves the inbound listener through [`SimSwitch::accept`] or [`SimSwitch::listen`]. Tests control phones and
//! callers through the handles [`Phone`] and [`Caller`]. The tests compare the switch's output with `tests/captures`.

mod api;
mod apps;
mod audio;
mod bridge;
mod caller;
mod cause;
mod clock;
mod command;
mod config;
mod conn;
mod dialplan;
mod dialstring;
mod event;
mod exec;
mod expand;
mod fault;
mod halves;
mod hangup;
mod headers;
mod leg;
mod observe;
mod originate;
mod party;
mod phone;
mod refusal;
mod rng;
mod show;
mod switch;
mod template;
mod transfer;
mod wire;
mod world;

pub use audio::{Segment, Sound};
pub use caller::{CallSpec, Caller, CallerView};
pub use config::{Bounds, Config, Length, Lengths, Timing};
pub use conn::{Connecting, Connector, Stream};
pub use dialplan::{Dialplan, QueueRoute, RouteRequest, Step, is_queue_number, step};
pub use fault::Faults;
pub use observe::{CallStats, LegView, SecurityRecord, Violation};
pub use party::{Behaviour, Missed, Registration, Ring};
pub use phone::{Phone, PhoneView};
pub use rng::Rng;
pub use switch::{Lamp, SimSwitch};
