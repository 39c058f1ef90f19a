//! The headers of a channel, in the order and with the names of the captures.

use crate::clock;
use crate::event::Event;
use crate::leg::{Direction, Leg, Profile, Times};

/// The first headers of every event, after its name.
pub(crate) struct Core<'a> {
    pub(crate) uuid: &'a str,
    pub(crate) sequence: u64,
    pub(crate) micros: u64,
}

/// The place in FreeSWITCH's source that fires an event; the captures contain it.
fn origin(name: &str) -> (&'static str, &'static str, u32) {
    match name {
        "CHANNEL_DATA" => ("mod_event_socket.c", "parse_command", 2029),
        "CHANNEL_EXECUTE" => ("switch_core_session.c", "switch_core_session_exec", 2949),
        "CHANNEL_EXECUTE_COMPLETE" => ("switch_core_session.c", "switch_core_session_exec", 2972),
        "CHANNEL_ANSWER" => ("switch_channel.c", "switch_channel_perform_mark_answered", 3848),
        "CHANNEL_HANGUP" => ("switch_channel.c", "switch_channel_perform_hangup", 3557),
        "CHANNEL_STATE" => ("switch_channel.c", "switch_channel_perform_set_running_state", 2459),
        "CHANNEL_HANGUP_COMPLETE" => ("switch_core_state_machine.c", "switch_core_session_reporting_state", 962),
        "CHANNEL_CREATE" => ("switch_core_state_machine.c", "switch_core_session_run", 626),
        "CHANNEL_PROGRESS" => ("switch_channel.c", "switch_channel_perform_mark_ring_ready_value", 3394),
        "CHANNEL_PARK" | "CHANNEL_UNPARK" => ("switch_ivr.c", "switch_ivr_park", 990),
        "CHANNEL_BRIDGE" | "CHANNEL_UNBRIDGE" => ("switch_ivr_bridge.c", "switch_ivr_multi_threaded_bridge", 1714),
        "CHANNEL_HOLD" | "CHANNEL_UNHOLD" => ("switch_channel.c", "switch_channel_mark_hold", 4130),
        "DTMF" => ("switch_channel.c", "switch_channel_dequeue_dtmf", 670),
        "BACKGROUND_JOB" => ("mod_event_socket.c", "api_exec", 1580),
        "HEARTBEAT" => ("switch_core.c", "send_heartbeat", 95),
        "PRESENCE_PROBE" => ("sofia_presence.c", "sofia_presence_handle_sip_i_subscribe", 4377),
        "CUSTOM" => ("sofia_reg.c", "sofia_reg_handle_register_token", 2059),
        _ => ("switch_event.c", "switch_event_fire", 1),
    }
}

/// An event with the headers every event has.
pub(crate) fn start(name: &'static str, core: &Core<'_>) -> Event {
    let mut event = Event::new(name);
    event.push("Event-Name", name);
    core_headers(&mut event, name, core);
    event
}

pub(crate) fn core_headers(event: &mut Event, name: &str, core: &Core<'_>) {
    let (file, function, line) = origin(name);
    event.push("Core-UUID", core.uuid);
    event.push("FreeSWITCH-Hostname", "vm");
    event.push("FreeSWITCH-Switchname", "vm");
    event.push("FreeSWITCH-IPv4", "192.0.2.2");
    event.push("FreeSWITCH-IPv6", "fd00::2");
    event.push("Event-Date-Local", clock::stamp(core.micros));
    event.push("Event-Date-GMT", clock::http_date(core.micros));
    event.push("Event-Date-Timestamp", core.micros.to_string());
    event.push("Event-Calling-File", file);
    event.push("Event-Calling-Function", function);
    event.push("Event-Calling-Line-Number", line.to_string());
    event.push("Event-Sequence", core.sequence.to_string());
}

/// State, names, codecs, caller profile, the other leg.
pub(crate) fn channel(event: &mut Event, leg: &Leg) {
    let direction = match leg.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    event.push("Channel-State", leg.running.name());
    event.push("Channel-Call-State", leg.call_state);
    event.push("Channel-State-Number", (leg.state as u8).to_string());
    event.push("Channel-Name", leg.name.as_str());
    event.push("Unique-ID", leg.uuid.as_str());
    event.push("Call-Direction", direction);
    event.push("Presence-Call-Direction", direction);
    event.push("Channel-HIT-Dialplan", leg.hit_dialplan.to_string());
    if let Some(presence) = leg.vars.get("presence_id") {
        event.push("Channel-Presence-ID", presence);
    }
    event.push("Channel-Call-UUID", leg.call_uuid.as_str());
    event.push("Answer-State", leg.answer_state);
    if let Some(cause) = &leg.cause {
        event.push("Hangup-Cause", cause.as_str());
    }
    if leg.codec {
        for side in ["Read", "Write"] {
            event.push(format!("Channel-{side}-Codec-Name"), "PCMU");
            event.push(format!("Channel-{side}-Codec-Rate"), "8000");
            event.push(format!("Channel-{side}-Codec-Bit-Rate"), "64000");
        }
    }
    profile(event, "Caller", direction, leg);
    for (name, value) in &leg.other {
        event.push(name.clone(), value.as_str());
    }
}

/// The caller profile under a prefix.
pub(crate) fn profile(event: &mut Event, prefix: &str, direction: &str, leg: &Leg) {
    let p = &leg.profile;
    let mut push = |name: &str, value: &str| event.push(format!("{prefix}-{name}"), value);
    push("Direction", direction);
    push("Logical-Direction", if p.logical_inbound { "inbound" } else { "outbound" });
    profile_who(&mut push, p, &leg.uuid, &leg.name);
    push("Profile-Index", &p.index.to_string());
    profile_times(&mut push, &leg.times);
    profile_flags(&mut push, leg);
}

fn profile_who(push: &mut impl FnMut(&str, &str), p: &Profile, uuid: &str, name: &str) {
    let mut some = |name: &str, value: &str| {
        if !value.is_empty() {
            push(name, value);
        }
    };
    some("Username", &p.username);
    some("Dialplan", if p.dialplan { "XML" } else { "" });
    some("Caller-ID-Name", &p.name);
    some("Caller-ID-Number", &p.number);
    some("Orig-Caller-ID-Name", &p.orig_name);
    some("Orig-Caller-ID-Number", &p.orig_number);
    some("Callee-ID-Name", &p.callee_name);
    some("Callee-ID-Number", &p.callee_number);
    some("Network-Addr", &p.addr);
    some("ANI", &p.ani);
    some("Destination-Number", &p.destination);
    some("Unique-ID", uuid);
    some("Source", p.source);
    some("Transfer-Source", &p.transfer_source);
    some("Context", &p.context);
    some("RDNIS", &p.rdnis);
    some("Channel-Name", name);
}

fn profile_times(push: &mut impl FnMut(&str, &str), t: &Times) {
    push("Profile-Created-Time", &t.profile.to_string());
    push("Channel-Created-Time", &t.created.to_string());
    push("Channel-Answered-Time", &t.answered.to_string());
    push("Channel-Progress-Time", &t.progress.to_string());
    push("Channel-Progress-Media-Time", &t.progress_media.to_string());
    push("Channel-Hangup-Time", &t.hangup.to_string());
    push("Channel-Transfer-Time", "0");
    push("Channel-Resurrect-Time", "0");
    push("Channel-Bridged-Time", &t.bridged.to_string());
    push("Channel-Last-Hold", &t.last_hold.to_string());
    push("Channel-Hold-Accum", &t.hold_accum.to_string());
}

/// The variables mod_sofia sets for `Privacy: id` (sofia.c), and `originate` for `origination_privacy`
/// (switch_ivr_originate.c).
fn profile_flags(push: &mut impl FnMut(&str, &str), leg: &Leg) {
    let asked = leg.vars.get("origination_privacy");
    let of = |flag: &str, usual: bool| asked.map_or(usual, |asked| asked.contains(flag)).to_string();
    let by_id = leg.vars.get("sip_Privacy").is_some_and(|values| values.split(';').any(|value| value == "id"));
    push("Screen-Bit", &of("screen", true));
    push("Privacy-Hide-Name", &of("hide_name", by_id));
    push("Privacy-Hide-Number", &of("hide_number", by_id));
}

/// The other leg's profile as this leg's events carry it from now on.
pub(crate) fn other_leg(peer: &Leg, kind: &str) -> Vec<crate::event::Header> {
    let direction = match peer.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    let mut event = Event::new("");
    event.push("Other-Type", kind);
    {
        let p = &peer.profile;
        let mut push = |name: &str, value: &str| event.push(format!("Other-Leg-{name}"), value);
        push("Direction", direction);
        push("Logical-Direction", "inbound");
        profile_who(&mut push, &Profile { transfer_source: String::new(), ..p.clone() }, &peer.uuid, &peer.name);
        profile_times(&mut push, &peer.times);
        profile_flags(&mut push, peer);
    }
    event.headers
}

/// `variable_...` of every variable.
pub(crate) fn variables(event: &mut Event, leg: &Leg) {
    for (name, value) in leg.vars.iter() {
        event.push(format!("variable_{name}"), value);
    }
}

/// Headers of a channel's last event only: causes, stamps, durations.
pub(crate) fn report(leg: &mut Leg, q850: u32) {
    let t = leg.times;
    let cause = leg.cause.clone().unwrap_or_default();
    let mut set = |name: &'static str, value: String| leg.vars.set(name, value);
    set("hangup_cause", cause);
    set("hangup_cause_q850", q850.to_string());
    set("digits_dialed", "none".into());
    let stamped = [
        ("start_stamp", t.created),
        ("profile_start_stamp", t.profile),
        ("answer_stamp", t.answered),
        ("bridge_stamp", t.bridged),
        ("hold_stamp", t.last_hold),
        ("progress_stamp", t.progress),
        ("progress_media_stamp", t.progress_media),
        ("end_stamp", t.hangup),
    ];
    for (name, at) in stamped.into_iter().filter(|(_, at)| *at != 0) {
        set(name, clock::stamp(at));
    }
    let epochs = [
        ("start_epoch", "start_uepoch", t.created),
        ("profile_start_epoch", "profile_start_uepoch", t.profile),
        ("answer_epoch", "answer_uepoch", t.answered),
        ("bridge_epoch", "bridge_uepoch", t.bridged),
        ("last_hold_epoch", "last_hold_uepoch", t.last_hold),
        ("hold_accum_seconds", "hold_accum_usec", t.hold_accum),
        ("resurrect_epoch", "resurrect_uepoch", 0),
        ("progress_epoch", "progress_uepoch", t.progress),
        ("progress_media_epoch", "progress_media_uepoch", t.progress_media),
        ("end_epoch", "end_uepoch", t.hangup),
    ];
    for (seconds, micros, at) in epochs {
        set(seconds, (at / 1_000_000).to_string());
        set(micros, at.to_string());
    }
    set("hold_accum_ms", (t.hold_accum / 1000).to_string());
    let (app, arg) = leg.last_app.clone();
    let mut set = |name: &'static str, value: String| leg.vars.set(name, value);
    set("last_app", app);
    set("last_arg", arg);
    let caller_id = format!("\"{}\" <{}>", leg.profile.name, leg.profile.number);
    let mut set = |name: &'static str, value: String| leg.vars.set(name, value);
    set("caller_id", caller_id);
    let from = |start: u64, end: u64| {
        if start == 0 || end == 0 { 0 } else { end.saturating_sub(start) }
    };
    let spans = [
        ("duration", "mduration", "uduration", from(t.created, t.hangup)),
        ("billsec", "billmsec", "billusec", from(t.answered, t.hangup)),
        ("progresssec", "progressmsec", "progressusec", from(t.created, t.progress)),
        ("answersec", "answermsec", "answerusec", from(t.created, t.answered)),
        ("waitsec", "waitmsec", "waitusec", from(t.created, t.bridged)),
        ("progress_mediasec", "progress_mediamsec", "progress_mediausec", from(t.created, t.progress_media)),
        ("flow_billsec", "flow_billmsec", "flow_billusec", from(t.created, t.hangup)),
    ];
    for (s, ms, us, span) in spans {
        set(s, (span / 1_000_000).to_string());
        set(ms, (span / 1000).to_string());
        set(us, span.to_string());
    }
}
