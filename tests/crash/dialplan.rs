//! The dialplan of `freeswitch-conf`, in the form the simulated switch understands.

use simswitch::{Dialplan, RouteRequest, Step, is_queue_number, step};

/// The context that holds a caller while no daemon runs.
const HOLD: &str = "freeswitch-queue";

/// The address of the controller; queues that begin with 998 belong to another controller.
fn socket(number: &str) -> Step {
    let port = if number.trim_start_matches(['*', '4', '1', '2']).starts_with("998") { 8085 } else { 8084 };
    step("socket", &format!("127.0.0.1:{port} async full"))
}

/// The number of five-second rounds without a controller.
const ROUNDS: usize = 36;

/// Queue numbers, the rounds that hold callers while no daemon runs, feature codes, and phones; and internal numbers
/// that lead to a queue, `8900` to `99900`.
pub fn delivered() -> Dialplan {
    Dialplan::new()
        .route(|call| {
            let number = call.destination;
            if call.context != HOLD {
                return match number {
                    _ if !is_queue_number(number) => None,
                    _ if number.starts_with('*') => Some(code(number)),
                    _ => Some([no_place_yet(call, false), queue(number)].concat()),
                };
            }
            if !is_queue_number(number) || number.starts_with('*') {
                return Some(vec![step("transfer", &format!("{number} XML ${{fsq_context}}"))]);
            }
            let returns = call.variables.get("fsq_hold") == Some(&number);
            let rounds = call.variables.get("fsq_away").map_or(0, |away| away.len());
            let mut steps = vec![step("multiset", if returns { RETURNS } else { ANEW })];
            steps.extend(no_place_yet(call, returns));
            steps.extend(match returns {
                false => queue(number),
                true if rounds >= ROUNDS => too_long(),
                true => round(number),
            });
            Some(steps)
        })
        .route(|call| {
            let queue = call.destination.strip_prefix('8').filter(|rest| rest.len() == 3)?;
            Some(vec![step("transfer", &format!("99{queue} XML default"))])
        })
        .internal()
}

const RETURNS: &str = "^^;fsq_held=true;fsq_hold=";
const ANEW: &str = "^^;fsq_held=;fsq_hold=";

/// A caller who dials anew, or is moved here, has no place, unless the daemon itself sends the call through here again.
fn no_place_yet(call: &RouteRequest<'_>, returns: bool) -> Vec<Step> {
    let has = |name| call.variables.get(name).is_some_and(|value| !value.is_empty());
    let loses = has("fsq_place") && !returns && !has("fsq_since");
    loses.then(|| step("set", "fsq_place=")).into_iter().collect()
}

fn queue(number: &str) -> Vec<Step> {
    vec![
        step(
            "multiset",
            &format!(
                "^^;fsq_dialled={number};fsq_context=default;fsq_came=${{profile_created_time}};fsq_away=;fsq_held=;fsq_hold=;socket_resume=true;hangup_after_bridge=true;playback_terminators=none"
            ),
        ),
        socket(number),
        step("sleep", "50"),
        step("multiset", &format!("^^;fsq_away=;fsq_hold={number}")),
        step("transfer", &format!("{number} XML {HOLD}")),
    ]
}

fn too_long() -> Vec<Step> {
    vec![
        step("answer", ""),
        step("set", "socket_resume=false"),
        step("playback", "/prompts/${fsq_language}/try-later.wav"),
        step("hangup", "NORMAL_TEMPORARY_FAILURE"),
    ]
}

fn round(number: &str) -> Vec<Step> {
    vec![
        step("multiset", &format!("^^;fsq_dialled={number};fsq_away=${{fsq_away}}x;max_session_transfers=70")),
        step("answer", ""),
        step("playback", "silence_stream://200"),
        step("set", "socket_resume=true"),
        socket(number),
        step("sleep", "50"),
        step("playback", "tone_stream://%(1000,550,425)"),
        step("multiset", "^^;socket_resume=true;fsq_held=true"),
        socket(number),
        step("sleep", "50"),
        step("playback", "silence_stream://1550"),
        step("multiset", "^^;socket_resume=true;fsq_held=true"),
        socket(number),
        step("sleep", "50"),
        step("playback", "silence_stream://1550"),
        step("set", &format!("fsq_hold={number}")),
        step("transfer", &format!("{number} XML {HOLD}")),
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
