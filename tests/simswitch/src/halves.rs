//! Channels that come in pairs: the two ends of a loopback channel, or of a call that FreeSWITCH places to itself. Each
//! end hears the sound sent to the other; they are answered and end together. A loopback removes itself once both its
//! ends are bridged (measured, and read in mod_loopback.c).

use crate::audio::Sound;
use crate::leg::{Dialing, Direction, Leg, LegId, Owner, State, Waiter};
use crate::party::NewLeg;
use crate::world::World;
use std::time::Duration;

/// How long both ends are bridged before the loopback removes itself: 100 frames, plus the time to notice (measured:
/// 2.08 s).
const BOWOUT: Duration = Duration::from_millis(2080);

impl World {
    /// `loopback/NUMBER[/CONTEXT[/DIALPLAN]]`: the a-end is the leg of the dialling party, the b-end dials the number.
    /// The variables of `originate` are set on both ends, except `group_confirm_*`, which are set only on the b-end.
    pub(crate) fn ring_loopback(
        &mut self,
        to: &str,
        variables: &[(String, String)],
        dialing: Option<Dialing>,
        rings_for: Option<String>,
    ) -> Result<LegId, String> {
        let number = to.split('/').next().unwrap_or_default();
        if number.is_empty() {
            return Err("DESTINATION_OUT_OF_ORDER".into());
        }
        let get = |name: &str| variables.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let uuid = match get("origination_uuid") {
            Some(uuid) if self.by_uuid.contains_key(&uuid) => return Err("DESTINATION_OUT_OF_ORDER".into()),
            Some(uuid) => uuid,
            None => self.rng.uuid(),
        };
        let timeout = get("originate_timeout").and_then(|t| t.trim().parse().ok()).unwrap_or(60);
        let other = self.rng.uuid();
        let originated = !matches!(dialing.as_ref().map(|d| &d.waiter), Some(Waiter::Bridge(_)));
        let ends = [(uuid, Direction::Outbound), (other, Direction::Inbound)].map(|(uuid, direction)| {
            let own = |(name, _): &&(String, String)| {
                name != "origination_uuid" && (direction == Direction::Inbound || !name.starts_with("group_confirm_"))
            };
            let new = NewLeg {
                uuid,
                direction,
                owner: Owner::Half,
                name: get("origination_caller_id_name").unwrap_or_default(),
                number: get("origination_caller_id_number").unwrap_or_else(|| "0000000000".into()),
                destination: number.to_owned(),
                variables: variables.iter().filter(own).cloned().collect(),
            };
            self.new_leg(new)
        });
        let uuids = ends.map(|id| self.legs.get(&id).map(|l| l.uuid.clone()).unwrap_or_default());
        for (id, twin, uuid) in [(ends[0], ends[1], &uuids[1]), (ends[1], ends[0], &uuids[0])] {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.twin = Some(twin);
                leg.vars.set("other_loopback_leg_uuid", uuid.as_str());
                leg.profile.source = "mod_loopback";
            }
        }
        if let Some(leg) = self.legs.get_mut(&ends[0]) {
            leg.dialing = dialing;
            leg.from_originate = originated;
            if let Some(caller) = &rings_for {
                self.rings.entry(caller.clone()).or_default().push(ends[0]);
            }
            leg.rings_for = rings_for;
        }
        self.fire_leg(ends[0], "CHANNEL_CREATE", true, &[]);
        if let Some(leg) = self.legs.get_mut(&ends[0]) {
            leg.running = State::ConsumeMedia;
            leg.state = State::ConsumeMedia;
        }
        self.fire_leg(ends[1], "CHANNEL_CREATE", true, &[]);
        let b = ends[1];
        self.after(Duration::ZERO, move |world| {
            if let Some(leg) = world.legs.get_mut(&b).filter(|l| l.is_up()) {
                leg.call_state = "RINGING";
                world.route(b);
            }
        });
        self.give_up_ringing(ends[0], timeout, "NO_ANSWER");
        Ok(ends[0])
    }

    fn is_loopback(&self, id: LegId) -> bool {
        self.legs.get(&id).is_some_and(|leg| leg.name.starts_with("loopback/"))
    }

    /// The twin of one end.
    fn twin_of(&self, id: LegId) -> Option<LegId> {
        self.legs.get(&id).filter(|l| l.owner == Owner::Half)?.twin
    }

    /// The leg bridged to the other end.
    pub(crate) fn beyond(&self, id: LegId) -> Option<LegId> {
        self.legs.get(&self.twin_of(id)?)?.talks_to()
    }

    /// The sound heard by a party bridged to this leg.
    pub(crate) fn sound_from(&self, peer: LegId) -> Sound {
        match self.twin_of(peer).and_then(|twin| self.legs.get(&twin)) {
            Some(twin) => twin.audio.now.as_ref().map_or(Sound::Silence, |s| s.sound.clone()),
            None => Sound::Party(self.party(peer)),
        }
    }

    /// The sound of one end changes: so does that of the party bridged to the other.
    pub(crate) fn heard_beyond(&mut self, id: LegId) {
        if let Some(listener) = self.beyond(id) {
            self.hear(listener);
        }
    }

    /// One end is answered: the other too.
    pub(crate) fn answered_half(&mut self, id: LegId) {
        let Some(twin) = self.twin_of(id) else { return };
        match self.legs.get(&twin) {
            Some(leg) if leg.is_answered() || !leg.is_up() => {}
            Some(leg) if leg.dialing.is_some() => self.dial_answered(twin),
            _ => self.mark_answered(twin),
        }
    }

    /// A phone that the b-end rings starts ringing.
    pub(crate) fn progress_half(&mut self, id: LegId) {
        let Some(Waiter::Bridge(ringing)) =
            self.legs.get(&id).and_then(|l| l.dialing.as_ref()).map(|d| d.waiter.clone())
        else {
            return;
        };
        if let Some(twin) = self.twin_of(ringing) {
            self.progress(twin);
        }
    }

    /// The legs that end together with a leg: the other end, and the leg that rings a phone on its behalf.
    pub(crate) fn ends_with(&mut self, id: LegId, cause: &str) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let (twin, held_by) = (leg.twin.take(), leg.held_by.take());
        if let Some(twin) = twin {
            if let Some(leg) = self.legs.get_mut(&twin) {
                leg.twin = None;
            }
            self.hangup(twin, cause, false);
        }
        if let Some(other) = held_by
            && self.legs.get(&other).is_some_and(|l| l.holding == Some(id))
        {
            self.hangup(other, "NORMAL_CLEARING", false);
        }
    }

    /// Two legs are bridged: if one is an end of a loopback, and both ends now have a partner, the loopback removes
    /// itself after a while.
    pub(crate) fn watch_bowout(&mut self, bridged: [LegId; 2]) {
        for id in bridged {
            let Some(twin) = self.twin_of(id).filter(|_| self.is_loopback(id)) else { continue };
            let tokens = move |world: &Self| {
                let token = |id| world.legs.get(&id).and_then(|l: &Leg| l.bridge.filter(|b| b.up)).map(|b| b.token);
                Some((token(id)?, token(twin)?))
            };
            let Some(before) = tokens(self) else { continue };
            self.after(BOWOUT, move |world| {
                if tokens(world) == Some(before) {
                    world.bow_out(id, twin);
                }
            });
        }
    }

    fn bow_out(&mut self, a: LegId, b: LegId) {
        let stays = |leg: &Leg| leg.vars.get("loopback_bowout").is_some_and(|v| !crate::leg::is_true(v));
        let ends = [a, b];
        if ends.iter().any(|id| self.legs.get(id).is_none_or(|leg| !leg.is_answered() || stays(leg))) {
            return;
        }
        let partners = ends.map(|id| self.legs.get(&id).and_then(|l| l.talks_to()));
        let [Some(x), Some(y)] = partners else { return };
        if [x, y].iter().any(|id| self.twin_of(*id).is_some()) {
            // In a chain of loopbacks the inner ones go first.
            return;
        }
        for (id, partner) in [(a, x), (b, y)] {
            let uuid = self.legs.get(&partner).map(|l| l.uuid.clone()).unwrap_or_default();
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.twin = None;
                leg.vars.set("loopback_hangup_cause", "bridge");
                leg.vars.set("loopback_bowout_other_uuid", uuid);
            }
        }
        self.take_out(ends, [x, y]);
    }
}
