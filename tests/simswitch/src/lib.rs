//! A simulated FreeSWITCH speaking the real Event Socket wire.
//!
//! [`SimSwitch`] runs on tokio time only: under a paused clock a scenario of hours takes milliseconds and is the same
//! every time. The controller is reached through [`SimSwitch::dial_out_via`] (any stream: `tokio::io::duplex`, TCP), the
//! inbound listener through [`SimSwitch::accept`] or [`SimSwitch::listen`]. Phones and callers are handles a test holds
//! in its hand: [`Phone`], [`Caller`]. What the switch sends is held against `tests/captures`.

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
