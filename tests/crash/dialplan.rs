//! The dialplan of `freeswitch-conf`, as the simulated switch understands it.

use simswitch::{Dialplan, Step, is_queue_number, step};

/// Where the controller is; queues that begin with 998 are another's.
fn socket(number: &str) -> Step {
    let port = if number.trim_start_matches(['*', '4', '1', '2']).starts_with("998") { 8085 } else { 8084 };
    step("socket", &format!("127.0.0.1:{port} async full"))
}

/// Rounds without a controller, of five seconds.
const ROUNDS: usize = 36;

/// Queue numbers, the round in which callers are held while there is no daemon, feature codes, and phones.
pub fn delivered() -> Dialplan {
    Dialplan::new()
        .route(|call| {
            let number = call.destination;
            let held = call.variables.contains_key("in_round");
            let rounds = call.variables.get("fsq_away").map_or(0, |away| away.len());
            match number {
                _ if !is_queue_number(number) => None,
                _ if number.starts_with('*') => Some(code(number)),
                _ if held && rounds >= ROUNDS => Some(vec![
                    step("answer", ""),
                    step("set", "socket_resume=false"),
                    step("playback", "/prompts/${fsq_language}/try-later.wav"),
                    step("hangup", "NORMAL_TEMPORARY_FAILURE"),
                ]),
                _ if held => Some(round(number)),
                _ => Some(queue(number)),
            }
        })
        .internal()
}

fn queue(number: &str) -> Vec<Step> {
    vec![
        step("set", &format!("fsq_dialled={number}")),
        step("set", "fsq_context=default"),
        step("set", "fsq_came=${profile_created_time}"),
        step("set", "socket_resume=true"),
        step("set", "hangup_after_bridge=true"),
        step("set", "playback_terminators=none"),
        socket(number),
        step("unset", "fsq_away"),
        step("set", "in_round=yes"),
        step("transfer", &format!("{number} XML freeswitch-queue")),
    ]
}

fn round(number: &str) -> Vec<Step> {
    vec![
        step("set", "fsq_away=${fsq_away}x"),
        step("set", "max_forwards=70"),
        step("answer", ""),
        step("playback", "silence_stream://200"),
        step("set", "socket_resume=true"),
        socket(number),
        step("playback", "tone_stream://%(1000,600,425)"),
        step("set", "socket_resume=true"),
        socket(number),
        step("playback", "silence_stream://1600"),
        step("set", "socket_resume=true"),
        socket(number),
        step("playback", "silence_stream://1600"),
        step("transfer", &format!("{number} XML freeswitch-queue")),
    ]
}

fn code(number: &str) -> Vec<Step> {
    vec![
        step("set", &format!("fsq_dialled={number}")),
        step("set", "socket_resume=true"),
        step("set", "playback_terminators=none"),
        socket(number),
        step("answer", ""),
        step("sleep", "250"),
        step("playback", "/prompts/en/try-later.wav"),
        step("hangup", "NORMAL_TEMPORARY_FAILURE"),
    ]
}
