//! The answers and the ends of legs.

use crate::cause;
use crate::headers;
use crate::leg::{self, LegId, Side, State, Waiter, Work};
use crate::refusal;
use crate::world::World;
use std::time::Duration;

impl World {
    pub(crate) fn mark_answered(&mut self, id: LegId) {
        let micros = self.micros();
        let seed = self.rng.between(3_000_000_000, 4_000_000_000);
        let port = self.rng.between(20_000, 60_000);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.is_answered() || !leg.is_up() {
            return;
        }
        leg.times.answered = micros;
        leg.answer_state = "answered";
        leg.codec = true;
        if leg.direction == leg::Direction::Outbound {
            leg.call_state = "RINGING";
        }
        media_variables(&mut leg.vars, port, seed);
        self.fire_leg(id, "CHANNEL_ANSWER", true, &[]);
        let tag = self.rng.word(13);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.call_state = "ACTIVE";
        leg.vars.set("endpoint_disposition", "ANSWER");
        if leg.direction == leg::Direction::Inbound {
            leg.vars.set("sip_to_tag", tag);
            leg.vars.set("sip_cseq", "738");
        }
        self.hear(id);
        self.answered_half(id);
    }

    /// 183: a sound is heard before the call is answered.
    pub(crate) fn mark_early(&mut self, id: LegId) {
        let micros = self.micros();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.has_media() || !leg.is_up() {
            return;
        }
        leg.times.progress_media = micros;
        leg.answer_state = "early";
        leg.call_state = "EARLY";
        self.fire_leg(id, "CHANNEL_PROGRESS_MEDIA", true, &[]);
    }

    /// Hangs a leg up: CHANNEL_HANGUP now, the rest right after the current action.
    pub(crate) fn hangup(&mut self, id: LegId, cause: &str, by_peer: bool) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !leg.is_up() {
            return;
        }
        leg.cause = Some(cause.to_owned());
        leg.state = State::Hangup;
        leg.answer_state = "hangup";
        leg.messages.clear();
        leg.routed += 1;
        if by_peer {
            refusal::told_by_phone(leg, cause);
        }
        if let Some(bridge) = leg.bridge.filter(|b| b.up) {
            leg.vars.set("last_bridge_role", if bridge.side == Side::A { "originator" } else { "originatee" });
        }
        self.fire_leg(id, "CHANNEL_HANGUP", true, &[]);
        self.hear(id);
        self.ends_with(id, cause);
        self.ringing_ended(id, cause);
        self.after(Duration::from_millis(1), move |world| world.hang_up_behind(id, by_peer));
    }

    fn hang_up_behind(&mut self, id: LegId, by_peer: bool) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let cause = leg.cause.clone().unwrap_or_default();
        let disposition = match (by_peer, leg.is_answered()) {
            (true, true) => "recv_bye",
            (true, false) => "recv_refuse",
            (false, true) => "send_bye",
            (false, false) => "send_cancel",
        };
        leg.vars.set("sip_hangup_disposition", disposition);
        let bridge = leg.bridge.take();
        if let Some(bridge) = bridge.filter(|b| b.up) {
            self.list_pair_longer(id, bridge);
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let dialed = leg.dialed_peer.take();
        if let Some(peer) = dialed
            && self.legs.get(&peer).is_some_and(|p| p.is_up() && !p.is_answered())
        {
            self.hangup(peer, "ORIGINATOR_CANCEL", false);
        }
        let Some(bridge) = bridge else { return self.finalize(id) };
        let peer_up =
            self.legs.get(&bridge.peer).is_some_and(|p| p.is_up() && p.bridge.is_some_and(|b| b.token == bridge.token));
        match bridge.side {
            // The originator ends: its partner is hung up with it. The order of the two varies between captures, so it
            // is random here.
            Side::A => {
                if bridge.up && peer_up {
                    if let Some(peer) = self.legs.get_mut(&bridge.peer) {
                        peer.bridge = None;
                        peer.vars.set("last_bridge_hangup_cause", cause.as_str());
                    }
                    self.hangup(bridge.peer, &cause, false);
                } else if peer_up {
                    self.notice_loss(bridge.peer, bridge.token, &cause);
                }
                let delay = Duration::from_millis(2 * self.rng.between(0, 2));
                self.after(delay, move |world| world.unbridge_last(id, bridge.up, &cause));
            }
            // The other leg ends: the originator notices a frame later.
            Side::B => {
                self.finalize(id);
                if peer_up {
                    self.notice_loss(bridge.peer, bridge.token, &cause);
                }
            }
        }
    }

    /// The originator's end of a bridge, when it ends with the call.
    fn unbridge_last(&mut self, id: LegId, was_up: bool, cause: &str) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if was_up {
            leg.vars.remove("bridge_to");
            leg.vars.set("bridge_hangup_cause", cause);
            self.fire_leg(id, "CHANNEL_UNBRIDGE", true, &[]);
        }
        self.finalize(id);
    }

    fn notice_loss(&mut self, id: LegId, token: u64, cause: &str) {
        let cause = cause.to_owned();
        let delay = self.config.timing.unbridge;
        self.after(delay, move |world| {
            if world.legs.get(&id).is_some_and(|l| l.bridge.is_some_and(|b| b.token == token)) {
                world.unwind_before_join(id);
                world.bridge_lost(id, &cause);
            }
        });
    }

    /// A bridge that never came up leaves the leg's earlier application in place.
    fn unwind_before_join(&mut self, id: LegId) {
        if self.legs.get(&id).is_some_and(|l| l.bridge.is_some_and(|b| !b.up)) {
            self.unwind(id);
        }
    }

    /// The last events of a leg; after them it no longer exists.
    fn finalize(&mut self, id: LegId) {
        self.unwind(id);
        let micros = self.micros();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.bridge_pair = None;
        leg.running = State::Hangup;
        self.fire_leg(id, "CHANNEL_STATE", false, &[]);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.running = State::Reporting;
        leg.state = State::Reporting;
        leg.call_state = "HANGUP";
        leg.times.hangup = micros;
        self.fire_leg(id, "CHANNEL_STATE", false, &[]);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let cause = leg.cause.clone().unwrap_or_default();
        let uuid = leg.uuid.clone();
        if self.is_wanted("CHANNEL_HANGUP_COMPLETE", &uuid)
            && let Some(leg) = self.legs.get_mut(&id)
        {
            headers::report(leg, cause::q850(&cause));
            if matches!(cause.as_str(), "LOSE_RACE" | "PICKED_OFF") {
                leg.vars.set("call_completed_elsewhere", "true");
            }
            if leg.vars.get("sip_hangup_disposition") == Some("send_cancel") {
                leg.vars.set("sip_invite_failure_status", "487");
                leg.vars.set("sip_invite_failure_phrase", "CANCEL");
            }
        }
        self.fire_leg(id, "CHANNEL_HANGUP_COMPLETE", true, &[]);
        let Some(leg) = self.legs.remove(&id) else { return };
        self.by_uuid.remove(&leg.uuid);
        if let Some(conn) = leg.conn
            && let Some(c) = self.conns.get_mut(&conn)
        {
            c.session_down = true;
            self.schedule_flush(conn);
        }
        if let Some(dialing) = &leg.dialing {
            self.dial_failed(&dialing.waiter, &cause);
        }
        self.note_gone(&leg);
        self.owner_gone(&leg, &cause);
        self.list_longer(id, leg);
    }

    /// Informs the waiters of a leg that it has failed.
    pub(crate) fn dial_failed(&mut self, waiter: &Waiter, cause: &str) {
        match waiter {
            Waiter::Job(job) => {
                let job = job.clone();
                self.job_done(&job, &format!("-ERR {cause}\n"));
            }
            Waiter::Api(conn) => self.unblock(*conn, Some(&format!("-ERR {cause}\n"))),
            Waiter::Bridge(leg) => self.bridge_failed(*leg, cause),
            Waiter::Nobody => {}
        }
    }

    /// `uuid_break`: the innermost playback ends.
    pub(crate) fn break_sound(&mut self, id: LegId) {
        let sounding = self
            .legs
            .get(&id)
            .and_then(|l| l.stack.last())
            .is_some_and(|f| matches!(f.work, Work::Sound { .. } | Work::Sleep));
        if sounding {
            self.finish_top(id, Some("FILE PLAYED"));
        }
    }
}

/// The media variables of an answered call.
fn media_variables(vars: &mut leg::Vars, port: u64, ssrc: u64) {
    let fixed = [
        ("remote_video_media_flow", "inactive"),
        ("remote_text_media_flow", "inactive"),
        ("remote_audio_media_flow", "sendrecv"),
        ("audio_media_flow", "sendrecv"),
        ("rtp_audio_recv_pt", "0"),
        ("rtp_use_codec_name", "PCMU"),
        ("rtp_use_codec_rate", "8000"),
        ("rtp_use_codec_ptime", "20"),
        ("rtp_use_codec_channels", "1"),
        ("read_codec", "PCMU"),
        ("read_rate", "8000"),
        ("write_codec", "PCMU"),
        ("write_rate", "8000"),
        ("dtmf_type", "rfc2833"),
        ("local_media_ip", "127.0.0.1"),
        ("advertised_media_ip", "127.0.0.1"),
        ("rtp_use_timer_name", "soft"),
        ("rtp_use_pt", "0"),
        ("rtp_2833_send_payload", "101"),
        ("rtp_2833_recv_payload", "101"),
        ("remote_media_ip", "127.0.0.1"),
    ];
    for (name, value) in fixed {
        vars.set(name, value);
    }
    vars.set("local_media_port", port.to_string());
    vars.set("remote_media_port", (port + 2).to_string());
    vars.set("rtp_use_ssrc", ssrc.to_string());
}
