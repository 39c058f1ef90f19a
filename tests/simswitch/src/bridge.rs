//! Connects two legs to a conversation, and separates them: `uuid_bridge`, `intercept`, the `bridge` application,
//! transfer.

use crate::exec::Ran;
use crate::headers;
use crate::leg::{Bridge, LegId, Side, State, Waiter, Work};
use crate::observe::Violation;
use crate::world::World;
use std::time::Duration;

impl World {
    /// Makes two legs leave their current applications and talk to each other; false if one of them cannot.
    pub(crate) fn order_bridge(&mut self, a: LegId, b: LegId) -> bool {
        let ready = |id: &LegId| self.legs.get(id).is_some_and(|l| l.is_up() && l.has_media());
        if a == b || !ready(&a) || !ready(&b) {
            return false;
        }
        for id in [a, b] {
            self.leave_bridge(id, if id == a { b } else { a });
        }
        let token = self.fresh();
        for (id, peer, side) in [(a, b, Side::A), (b, a, Side::B)] {
            self.prepare_bridge(id, peer, side, token);
        }
        let at = self.next_frame(a);
        self.at(at, move |world| {
            if !world.bridge_stands(a, b, token) {
                return;
            }
            world.unwind(a);
            world.unwind(b);
            let delay = world.config.timing.bridge;
            world.after(delay, move |world| world.join(a, b, token));
        });
        true
    }

    fn bridge_stands(&self, a: LegId, b: LegId, token: u64) -> bool {
        [a, b]
            .iter()
            .all(|id| self.legs.get(id).is_some_and(|l| l.is_up() && l.bridge.is_some_and(|b| b.token == token)))
    }

    fn prepare_bridge(&mut self, id: LegId, peer: LegId, side: Side, token: u64) {
        let micros = self.micros();
        let mark = self.rng.uuid();
        let kind = match (side, self.legs.get(&peer).map(|p| p.from_originate)) {
            (Side::A, Some(true)) => "originatee",
            (Side::B, _) => "originator",
            _ => "originatee",
        };
        let Some(peer_leg) = self.legs.get(&peer) else { return };
        let other = headers::other_leg(peer_leg, kind);
        let (peer_uuid, peer_name) = (peer_leg.uuid.clone(), peer_leg.name.clone());
        let (callee_name, callee_number) = (peer_leg.profile.name.clone(), peer_leg.profile.number.clone());
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.bridge = Some(Bridge { peer, side, up: false, token });
        leg.state = State::Hibernate;
        leg.routed += 1;
        leg.other = other;
        let source = format!("{}:{mark}:uuid_br:{peer_uuid}", micros / 1_000_000);
        leg.profile.transfer_source.clone_from(&source);
        leg.profile.index += 1;
        leg.times.profile = micros;
        if leg.profile.callee_name.is_empty() {
            leg.profile.callee_name = callee_name;
            leg.profile.callee_number = callee_number;
        }
        let history = match leg.vars.get("transfer_history") {
            None => source.clone(),
            Some(old) if old.starts_with("ARRAY::") => format!("{old}|:{source}"),
            Some(old) => format!("ARRAY::{old}|:{source}"),
        };
        let (destination, name, number) =
            (leg.profile.destination.clone(), leg.profile.orig_name.clone(), leg.profile.orig_number.clone());
        leg.vars.set("transfer_history", history);
        if side == Side::A {
            leg.vars.set("uuid_bridge", peer_uuid.as_str());
        }
        leg.vars.set("bridge_channel", peer_name);
        leg.vars.set("bridge_uuid", peer_uuid.as_str());
        leg.vars.set("signal_bond", peer_uuid.as_str());
        leg.vars.set("original_destination_number", destination);
        leg.vars.set("original_caller_id_name", name);
        leg.vars.set("original_caller_id_number", number);
        leg.vars.set("transfer_source", source);
    }

    /// Both have left their applications: audio flows.
    fn join(&mut self, a: LegId, b: LegId, token: u64) {
        if !self.bridge_stands(a, b, token) {
            return;
        }
        for (id, peer) in [(a, b), (b, a)] {
            let peer_uuid = self.legs.get(&peer).map(|p| p.uuid.clone()).unwrap_or_default();
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.running = State::SoftExecute;
                leg.state = State::SoftExecute;
                leg.vars.remove("uuid_bridge");
            }
            let extra = [("Application", "uuid_bridge"), ("Application-Data", peer_uuid.as_str())];
            self.fire_leg(id, "CHANNEL_EXECUTE", true, &extra);
        }
        self.connect(a, b);
        if let Some(leg) = self.legs.get_mut(&b) {
            leg.running = State::ExchangeMedia;
            leg.state = State::ExchangeMedia;
        }
    }

    /// CHANNEL_BRIDGE, and both hear each other.
    fn connect(&mut self, a: LegId, b: LegId) {
        let micros = self.micros();
        let uuid = |world: &Self, id: &LegId| world.legs.get(id).map(|l| l.uuid.clone()).unwrap_or_default();
        let (ua, ub) = (uuid(self, &a), uuid(self, &b));
        for id in [a, b] {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.times.bridged = micros;
                if let Some(bridge) = &mut leg.bridge {
                    bridge.up = true;
                }
            }
        }
        if let Some(leg) = self.legs.get_mut(&a) {
            leg.bridge_pair = Some((ua.clone(), ub.clone()));
        }
        self.fire_leg(a, "CHANNEL_BRIDGE", true, &[]);
        for (id, to) in [(a, ub), (b, ua.clone())] {
            if let Some(leg) = self.legs.get_mut(&id) {
                let (name, number) = (leg.profile.callee_name.clone(), leg.profile.callee_number.clone());
                leg.vars.set("bridge_to", to.as_str());
                leg.vars.set("last_bridge_to", to);
                leg.vars.set("last_sent_callee_id_name", name);
                leg.vars.set("last_sent_callee_id_number", number);
            }
        }
        if let Some(leg) = self.legs.get_mut(&b) {
            leg.call_uuid.clone_from(&ua);
            leg.vars.set("call_uuid", ua);
        }
        self.hear(a);
        self.hear(b);
        self.note_connected(a, b);
        self.watch_bowout([a, b]);
    }

    /// A leg is wanted elsewhere: its current or planned partner is dropped.
    fn leave_bridge(&mut self, id: LegId, taker: LegId) {
        let Some(old) = self.legs.get_mut(&id).and_then(|l| l.bridge.take()) else {
            return;
        };
        let Some(peer) = self.legs.get_mut(&old.peer) else {
            return;
        };
        if old.peer == taker || peer.bridge.is_none_or(|b| b.token != old.token) {
            return;
        }
        peer.bridge = None;
        if old.up {
            let (who, by) = (self.describe(id), self.describe(taker));
            self.violate(Violation::TakenAway { at: self.clock.elapsed(), caller: who, by });
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.vars.set("last_bridge_hangup_cause", "PICKED_OFF");
        }
        self.hangup(old.peer, "PICKED_OFF", false);
    }

    /// `intercept UUID` as an originated leg's application.
    pub(crate) fn intercept(&mut self, id: LegId, target: &str) {
        let unbridged_only = self.legs.get(&id).is_some_and(|l| l.vars.is_true("intercept_unbridged_only"));
        let Some(target) = self.up_leg(target) else { return };
        let talks = self.legs.get(&target).is_some_and(|l| l.talks_to().is_some());
        if (talks && unbridged_only) || target == id {
            return;
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.profile.logical_inbound = true;
        }
        if self.order_bridge(id, target) {
            // The intercepting leg has no application to leave: it waits for the other one at once.
            self.after(Duration::from_millis(1), move |world| {
                if let Some(leg) = world.legs.get_mut(&id).filter(|l| l.is_up() && l.bridge.is_some()) {
                    leg.running = State::SoftExecute;
                }
            });
        }
    }

    /// The `bridge` application: rings, and connects on answer.
    pub(crate) fn app_bridge(&mut self, id: LegId, data: &str) -> Ran {
        let dial = data.to_owned();
        self.after(Duration::ZERO, move |world| {
            if let Some(cause) = world.dial(&dial, Waiter::Bridge(id), Some(id)).err() {
                world.bridge_failed(id, &cause);
            }
        });
        Ran::Running(Work::Bridge)
    }

    pub(crate) fn bridge_failed(&mut self, id: LegId, cause: &str) {
        if self.failed_for_held(id) || !self.is_dialing_bridge(id) {
            return;
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.dialed_peer = None;
            leg.vars.set("originate_disposition", cause);
            leg.vars.set("DIALSTATUS", cause);
        }
        if self.legs.get(&id).is_some_and(|l| l.vars.is_true("continue_on_fail")) {
            self.finish_top(id, None);
        } else {
            self.hangup(id, cause, false);
        }
    }

    /// The phone a `bridge` application rang has answered.
    pub(crate) fn bridge_answered(&mut self, a: LegId, b: LegId) {
        if self.answered_for_held(a, b) {
            return;
        }
        if !self.is_dialing_bridge(a) {
            return self.hangup(b, "ORIGINATOR_CANCEL", false);
        }
        if !self.legs.get(&a).is_some_and(|l| l.is_answered()) {
            self.mark_answered(a);
        }
        let token = self.fresh();
        for (id, peer, side, kind) in [(a, b, Side::A, "originatee"), (b, a, Side::B, "originator")] {
            let Some(peer_leg) = self.legs.get(&peer) else { return };
            let other = headers::other_leg(peer_leg, kind);
            let (uuid, name) = (peer_leg.uuid.clone(), peer_leg.name.clone());
            let number = peer_leg.profile.destination.clone();
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.other = other;
                leg.bridge = Some(Bridge { peer, side, up: false, token });
                leg.vars.set("bridge_channel", name);
                leg.vars.set("bridge_uuid", uuid.as_str());
                leg.vars.set("signal_bond", uuid.as_str());
                if side == Side::A {
                    leg.vars.set("originate_disposition", "SUCCESS");
                    leg.vars.set("DIALSTATUS", "SUCCESS");
                    leg.profile.callee_name = "Outbound Call".into();
                    leg.profile.callee_number = number;
                } else {
                    leg.running = State::ExchangeMedia;
                    leg.state = State::ExchangeMedia;
                }
            }
        }
        self.connect(a, b);
    }

    /// The other side of a bridge has ended; the remaining leg continues according to its side and its variables.
    pub(crate) fn bridge_lost(&mut self, id: LegId, cause: &str) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(bridge) = leg.bridge.take() else { return };
        if !leg.is_up() {
            return;
        }
        leg.vars.remove("bridge_to");
        leg.vars.set("last_bridge_hangup_cause", cause);
        leg.vars.set("bridge_hangup_cause", cause);
        let after_bridge = leg.vars.is_true("hangup_after_bridge");
        self.unwind_nested(id);
        if bridge.up && bridge.side == Side::A {
            self.fire_leg(id, "CHANNEL_UNBRIDGE", true, &[]);
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.bridge_pair = None;
        self.hear(id);
        if bridge.side == Side::B || after_bridge {
            return self.hangup(id, cause, false);
        }
        self.go_on(id);
    }

    /// A sound played over a bridge (hold music) ends with it; the `bridge` application itself does not.
    fn unwind_nested(&mut self, id: LegId) {
        while self.legs.get(&id).and_then(|l| l.stack.last()).is_some_and(|f| matches!(f.work, Work::Sound { .. })) {
            self.finish_top(id, Some("PLAYBACK ERROR"));
        }
    }

    /// After a conversation: the next step of the dialplan.
    fn go_on(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.running = State::Execute;
        leg.state = State::Execute;
        leg.other.clear();
        if matches!(leg.stack.last().map(|f| &f.work), Some(Work::Bridge)) {
            self.finish_top(id, None);
        } else {
            self.advance(id);
        }
    }

    /// `transfer NUMBER [DIALPLAN [CONTEXT]]`: at the next frame every application on the channel is broken off and the
    /// number is dialled, in the call's current context unless another is named.
    ///
    /// `max_session_transfers`, or `max_forwards` where it is not set, counts the transfers down; the one that finds it
    /// used up ends the call (`switch_ivr_session_transfer` in switch_ivr.c).
    pub(crate) fn redirect(&mut self, id: LegId, to: &str) {
        let mut words = to.split_whitespace();
        let destination = words.next().unwrap_or_default();
        let context = words.nth(1).map(str::to_owned);
        let mark = self.rng.uuid();
        let micros = self.micros();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !leg.is_up() {
            return;
        }
        let counter =
            if leg.vars.get("max_session_transfers").is_some() { "max_session_transfers" } else { "max_forwards" };
        // Text that is no number counts as 0, as in C.
        let left = leg.vars.get(counter).map_or(70, |n| n.trim().parse::<i64>().unwrap_or(0) - 1);
        if left <= 0 {
            return self.hangup(id, "EXCHANGE_ROUTING_ERROR", false);
        }
        leg.vars.set(counter, left.to_string());
        leg.state = State::Routing;
        leg.routed += 1;
        let routed = leg.routed;
        leg.profile.rdnis = leg.profile.destination.clone();
        leg.profile.destination = destination.to_owned();
        if let Some(context) = context {
            leg.profile.context = context;
        }
        leg.profile.index += 1;
        leg.times.profile = micros;
        let source = format!("{}:{mark}:bl_xfer:{destination}/{}/XML", micros / 1_000_000, leg.profile.context);
        leg.profile.transfer_source.clone_from(&source);
        let history = match leg.vars.get("transfer_history") {
            None => source.clone(),
            Some(old) if old.starts_with("ARRAY::") => format!("{old}|:{source}"),
            Some(old) => format!("ARRAY::{old}|:{source}"),
        };
        leg.vars.set("transfer_history", history);
        leg.vars.set("transfer_source", source);
        // Before the dialplan runs (switch_ivr.c).
        if let Some((app, data)) = leg.vars.get("execute_on_blind_transfer").and_then(|set| set.split_once(' ')) {
            let (app, data, uuid) = (app.to_owned(), data.to_owned(), self.rng.uuid());
            self.execute(id, &app, &data, uuid, false, 1);
        }
        let at = self.next_frame(id);
        let due = move |world: &Self| world.legs.get(&id).is_some_and(|l| l.is_up() && l.routed == routed);
        self.at(at, move |world| {
            if due(world) {
                world.part(id);
                world.unwind(id);
                world.carry_out_rest(id);
                if due(world) {
                    world.route(id);
                }
            }
        });
    }

    /// A leg leaves its conversation without ending: the other leg learns of it.
    pub(crate) fn part(&mut self, id: LegId) {
        let Some(bridge) = self.legs.get_mut(&id).and_then(|l| l.bridge.take()) else {
            return;
        };
        self.unwind_nested(id);
        if bridge.up && bridge.side == Side::A {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.vars.remove("bridge_to");
                leg.vars.remove("signal_bond");
                leg.vars.set("bridge_hangup_cause", "NORMAL_CLEARING");
                leg.other.clear();
                leg.times.bridged = 0;
            }
            self.fire_leg(id, "CHANNEL_UNBRIDGE", true, &[]);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.bridge_pair = None;
            leg.vars.remove("bridge_to");
            leg.other.clear();
        }
        self.hear(id);
        if self.legs.get(&bridge.peer).is_some_and(|p| p.bridge.is_some_and(|b| b.token == bridge.token)) {
            self.bridge_lost(bridge.peer, "NORMAL_CLEARING");
        }
    }

    /// Dials a leg's destination: finds its steps and takes the first.
    pub(crate) fn route(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.running = State::Routing;
        leg.state = State::Routing;
        leg.call_state = "RINGING";
        leg.bridge_pair = None;
        self.fire_leg(id, "CHANNEL_STATE", false, &[]);
        let Some(leg) = self.legs.get(&id) else { return };
        let (destination, context) = (leg.profile.destination.clone(), leg.profile.context.clone());
        let request = crate::dialplan::RouteRequest {
            destination: &destination,
            context: &context,
            domain: &self.config.domain,
            is_phone: self.phones.get(&destination).is_some_and(|p| p.is_known()),
            variables: leg.vars.iter().collect(),
        };
        let steps = self.config.dialplan.steps(&request);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.running = State::Execute;
        leg.state = State::Execute;
        leg.hit_dialplan = true;
        if leg.is_answered() {
            leg.call_state = "ACTIVE";
        }
        let Some(steps) = steps else {
            return self.hangup(id, "NO_ROUTE_DESTINATION", false);
        };
        leg.plan = steps.into();
        leg.vars.set("DP_MATCH", format!("ARRAY::{destination}|:{destination}"));
        let uuid = leg.uuid.clone();
        leg.vars.remove("call_uuid");
        leg.vars.set("call_uuid", uuid);
        self.fire_leg(id, "CHANNEL_STATE", false, &[]);
        self.advance(id);
    }
}
