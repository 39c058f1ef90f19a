//! A waiting caller, the start of most scenarios.

use super::{Incoming, Wire, ms};
use simswitch::{CallSpec, Caller, Config, Length, SimSwitch, Sound};
use std::sync::Arc;
use std::time::Duration;

pub fn config() -> Config {
    Config {
        lengths: Some(Arc::new(|name: &str| match name {
            "one.wav" => Some(Length::For(ms(1000))),
            "gone.wav" => Some(Length::Missing),
            _ => None,
        })),
        ..Config::default()
    }
}

pub fn execute(app: &str, arg: &str, locked: bool) -> String {
    let lock = if locked { "event-lock: true\n" } else { "" };
    format!("sendmsg\ncall-command: execute\nexecute-app-name: {app}\nexecute-app-arg: {arg}\n{lock}\n")
}

/// A caller from a trunk, answered and waiting with music, and the connection that controls it.
pub async fn waiting(switch: &SimSwitch, incoming: &mut Incoming) -> (Caller, Wire) {
    let caller = switch.call(&CallSpec::trunk("0791234567", "99900").name("Hans Muster"));
    let mut wire = incoming.next().await;
    wire.ask("connect\n\n").await;
    for command in ["linger 2\n\n", "event plain ALL\n\n"] {
        wire.ask(command).await;
    }
    wire.ask(&format!("filter Unique-ID {}\n\n", caller.uuid())).await;
    wire.ask(&execute("set", "hangup_after_bridge=true", false)).await;
    wire.ask(&execute("answer", "", false)).await;
    wire.ask(&execute("playback", "local_stream://moh", false)).await;
    caller.wait_hears("moh").await;
    (caller, wire)
}

pub fn switch(config: Config) -> (SimSwitch, Incoming) {
    let switch = SimSwitch::new(config);
    let (incoming, connector) = Wire::outbound();
    switch.dial_out_via(connector);
    (switch, incoming)
}

pub fn offer(caller: &Caller, leg: &str, phone: &str) -> String {
    let uuid = caller.uuid();
    format!(
        "bgapi originate {{origination_uuid={leg},originate_timeout=20,origination_caller_id_number=079,\
         api_on_answer_1='uuid_setvar {uuid} socket_resume false',api_on_answer_2='uuid_bridge {uuid} {leg}'}}\
         user/{phone}@lab &park()\nJob-UUID: {leg}\n\n"
    )
}

pub fn intercept(caller: &Caller, leg: &str, phone: &str) -> String {
    format!(
        "bgapi originate {{origination_uuid={leg},originate_timeout=20,intercept_unbridged_only=true,\
         hangup_after_bridge=true}}user/{phone}@lab &intercept({})\nJob-UUID: {leg}\n\n",
        caller.uuid()
    )
}

pub fn sounds(caller: &Caller) -> Vec<(String, Duration)> {
    caller
        .history()
        .into_iter()
        .filter_map(|s| match s.sound {
            Sound::Playing(file) => Some((file, s.position)),
            _ => None,
        })
        .collect()
}
