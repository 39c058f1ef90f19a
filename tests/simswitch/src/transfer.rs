//! A phone's actions on the party it talks to: hold, and transfer, blind and attended. The order of the events is that
//! of a real FreeSWITCH, measured, and of `sofia_handle_sip_i_refer` in sofia.c.

use crate::leg::{Bridge, LegId, Side, State, Work};
use crate::world::World;
use std::time::Duration;

impl World {
    /// REFER: the phone transfers the party it talks to, and leaves the call.
    pub(crate) fn blind_transfer(&mut self, id: LegId, destination: &str) -> bool {
        let Some(leg) = self.legs.get_mut(&id) else {
            return false;
        };
        let Some(bridge) = leg.bridge.filter(|b| b.up) else {
            return false;
        };
        leg.bridge = None;
        leg.vars.set("transfer_disposition", "recv_replace");
        leg.vars.set("transfer_destination", format!("blind:{destination}"));
        leg.vars.set("endpoint_disposition", "BLIND_TRANSFER");
        leg.vars.remove("signal_bond");
        leg.held = false;
        let was_a = bridge.side == Side::A;
        self.hangup(id, "NORMAL_CLEARING", false);
        if was_a {
            self.fire_leg(id, "CHANNEL_UNBRIDGE", true, &[]);
        }
        self.referred(id, bridge.peer, &format!("<sip:{destination}@{}>", self.config.domain));
        let destination = destination.to_owned();
        self.after(Duration::from_millis(2), move |world| {
            let stands =
                world.legs.get(&bridge.peer).is_some_and(|l| l.bridge.is_some_and(|b| b.token == bridge.token));
            if stands {
                world.redirect(bridge.peer, &destination);
            }
        });
        true
    }

    /// The variables that name the party that transferred a leg.
    fn referred(&mut self, by: LegId, leg: LegId, to: &str) {
        let by = format!("<sip:{}@{}>", self.party(by), self.config.domain);
        if let Some(leg) = self.legs.get_mut(&leg) {
            leg.vars.set("sip_h_Referred-By", by);
            leg.vars.set("sip_refer_to", to);
        }
    }

    /// REFER with Replaces, sent in the call `id` and naming `other`, a second call of the same phone. Whether
    /// FreeSWITCH accepts it.
    ///
    /// - Both are bridged: their partners are bridged to each other, and both calls of the phone end.
    /// - `other` still rings a phone: this phone's party is parked until that phone answers.
    /// - Only one is bridged, as when `other` hears nothing but music: its partner is sent to the number that was
    ///   dialled for the other one. The sounds and parties there are not handed over.
    pub(crate) fn attended_transfer(&mut self, id: LegId, other: LegId) -> bool {
        let partner = |id: &LegId| self.legs.get(id).filter(|l| l.is_up()).and_then(|l| l.talks_to());
        let (ours, theirs) = (partner(&id), partner(&other));
        let rings = self.is_dialing_bridge(other);
        for (id, disposition) in [(id, "recv_replace"), (other, "replaced")] {
            let Some(leg) = self.legs.get_mut(&id).filter(|l| l.is_up()) else { return false };
            leg.vars.set("transfer_disposition", disposition);
            leg.held = false;
        }
        match (ours, theirs) {
            (Some(ours), _) if rings => self.wait_for_answer(id, other, ours),
            (Some(ours), Some(theirs)) => {
                if let Some(leg) = self.legs.get_mut(&other) {
                    leg.vars.set("endpoint_disposition", "ATTENDED_TRANSFER");
                }
                if let Some(leg) = self.legs.get_mut(&theirs) {
                    leg.vars.set("transfer_disposition", "bridge");
                }
                self.take_out([id, other], [ours, theirs]);
            }
            (Some(moved), None) => self.dial_anew(id, moved, other, other),
            (None, Some(moved)) => {
                self.hangup(other, "ATTENDED_TRANSFER", false);
                self.dial_anew(id, moved, id, other);
            }
            (None, None) => return false,
        }
        true
    }

    /// `moved` goes to the number that was dialled for `dialled`, which ends; the phone `named` the other of its calls.
    fn dial_anew(&mut self, by: LegId, moved: LegId, dialled: LegId, named: LegId) {
        let number = self.legs.get(&dialled).map(|l| l.profile.destination.clone()).unwrap_or_default();
        self.hangup(dialled, "ATTENDED_TRANSFER", false);
        let call = self.legs.get(&named).and_then(|l| l.vars.get("sip_call_id")).unwrap_or_default();
        let to = format!("<sip:{}?Replaces={call}%3Bto-tag%3Da%3Bfrom-tag%3Db>", self.config.domain);
        self.referred(by, moved, &to);
        self.redirect(moved, &number);
    }

    /// The party the phone talks to is parked until the phone that `other` rings answers; `other` lives on without its
    /// own phone.
    fn wait_for_answer(&mut self, id: LegId, other: LegId, waits: LegId) {
        self.referred(id, waits, &format!("<sip:{}?Replaces=>", self.config.domain));
        self.part(waits);
        self.unwind(waits);
        if let Some(leg) = self.legs.get_mut(&waits) {
            leg.plan = [("park".to_owned(), String::new())].into();
            leg.state = State::Execute;
            leg.running = State::Execute;
        }
        self.advance(waits);
        if let Some(leg) = self.legs.get_mut(&other) {
            leg.vars.set("endpoint_disposition", "ATTENDED_TRANSFER");
            leg.holding = Some(waits);
        }
        if let Some(leg) = self.legs.get_mut(&waits) {
            leg.held_by = Some(other);
        }
    }

    /// The phone that a leg rings has answered, for a leg parked for that; false if no leg was.
    pub(crate) fn answered_for_held(&mut self, id: LegId, answered: LegId) -> bool {
        let Some(waits) = self.legs.get_mut(&id).and_then(|l| l.holding.take()) else { return false };
        if let Some(leg) = self.legs.get_mut(&waits) {
            leg.vars.set("hangup_after_bridge", "true");
        }
        if !self.order_bridge(waits, answered) {
            self.hangup(answered, "NORMAL_UNSPECIFIED", false);
        }
        self.hangup(id, "ATTENDED_TRANSFER", false);
        true
    }

    /// The phone that a leg rang will not answer: the leg parked for that continues where the ringing leg would have;
    /// false if no leg was parked.
    pub(crate) fn failed_for_held(&mut self, id: LegId) -> bool {
        let Some(leg) = self.legs.get_mut(&id) else { return false };
        let Some(waits) = leg.holding.take() else { return false };
        let plan = std::mem::take(&mut leg.plan);
        self.hangup(id, "ATTENDED_TRANSFER", false);
        self.unwind(waits);
        if let Some(leg) = self.legs.get_mut(&waits) {
            leg.plan = plan;
        }
        self.advance(waits);
        true
    }

    /// Two legs, each in a conversation, leave; their two partners are bridged to each other.
    pub(crate) fn take_out(&mut self, leaving: [LegId; 2], staying: [LegId; 2]) {
        for id in staying {
            let Some(Bridge { side: Side::A, .. }) = self.legs.get_mut(&id).and_then(|l| l.bridge.take()) else {
                continue;
            };
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.vars.remove("bridge_to");
                leg.vars.set("last_bridge_hangup_cause", "NORMAL_CLEARING");
                leg.vars.set("bridge_hangup_cause", "NORMAL_CLEARING");
            }
            self.fire_leg(id, "CHANNEL_UNBRIDGE", true, &[]);
        }
        for id in leaving {
            self.hangup(id, "NORMAL_CLEARING", false);
        }
        for id in staying {
            self.hear(id);
        }
        self.order_bridge(staying[0], staying[1]);
    }

    /// Re-INVITE: the phone holds the call, and the other party hears hold music.
    pub(crate) fn hold(&mut self, id: LegId, on: bool) {
        let micros = self.micros();
        let Some(leg) = self.legs.get_mut(&id).filter(|l| l.held != on && l.is_up()) else {
            return;
        };
        let Some(peer) = leg.talks_to() else { return };
        leg.held = on;
        if on {
            leg.call_state = "HELD";
            leg.times.last_hold = micros;
            self.fire_leg(id, "CHANNEL_HOLD", true, &[]);
            self.hear(id);
            self.after(Duration::from_millis(160), move |world| {
                let held = world.legs.get(&id).is_some_and(|l| l.held && l.talks_to() == Some(peer));
                if held && let Some(other) = world.legs.get_mut(&peer) {
                    other.vars.set("current_loop", "1");
                    other.vars.set("total_loops", "-1");
                    let uuid = world.rng.uuid();
                    world.execute(peer, "playback", "local_stream://moh", uuid, false, u32::MAX);
                }
            });
        } else {
            leg.times.hold_accum += micros.saturating_sub(leg.times.last_hold);
            leg.call_state = "UNHELD";
            self.break_sound(peer);
            self.fire_leg(id, "CHANNEL_UNHOLD", true, &[]);
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.call_state = "ACTIVE";
            }
            self.hear(id);
        }
    }

    /// Whether a leg's `bridge` rings a phone without a conversation yet.
    pub(crate) fn is_dialing_bridge(&self, id: LegId) -> bool {
        self.legs.get(&id).is_some_and(|l| {
            l.is_up() && l.bridge.is_none() && matches!(l.stack.last().map(|f| &f.work), Some(Work::Bridge))
        })
    }
}
