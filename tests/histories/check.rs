//! The invariants that hold whenever nothing is left to be done at a moment.

use crate::legs::{Leg, State};
use crate::sim::{Session, Sim};

/// How long a leg may stay silent before its call must act, in milliseconds.
const PATIENCE: u64 = 10_000;

impl Sim {
    pub(crate) fn check(&mut self) {
        self.model.check(self.now);
        for leg in &self.world.legs {
            if leg.state != State::Dead || !leg.told_gone {
                self.check_leg(leg);
            }
        }
        for a in &self.model.agents {
            let rung = a.offer.is_none_or(|o| self.world.legs.iter().any(|l| l.id.offer == o));
            let asked = |o| self.world.asked.iter().any(|a| a.offer == o && (a.lost || self.now < a.ring_over));
            assert!(rung || a.offer.is_some_and(asked), "Q8: {} is held by an offer without a leg", a.id);
        }
        let conns: Vec<_> = self.sessions.keys().copied().collect();
        for conn in conns {
            if let Some(mut s) = self.sessions.remove(&conn) {
                self.check_session(&mut s);
                self.sessions.insert(conn, s);
            }
        }
    }

    /// Q8: no phone rings on, or answers into silence, when its caller is connected elsewhere or gone.
    fn check_leg(&self, leg: &Leg) {
        let session = self.sessions.get(&leg.conn);
        let holds = self.model.agents.iter().any(|a| a.offer == Some(leg.id.offer));
        let Some(s) = session else {
            assert!(leg.lost || leg.state == State::Dead || self.model.draining, "no session attends to {leg:?}");
            return;
        };
        assert!(holds || leg.lost || leg.state == State::Dead, "Q8: the agent is free despite {leg:?}");
        if leg.told_gone {
            assert!(!holds, "Q8: the agent is held by a leg that is gone: {leg:?}");
            return;
        }
        // Q7: the offer does not wait for a registered phone that gives no sign of ringing.
        let asked = self.world.asked.iter().find(|a| a.offer == leg.id.offer);
        let overdue = asked.and_then(|a| a.sign_due()).is_some_and(|at| at <= self.now);
        let mut siblings = self.world.legs.iter().filter(|l| l.id.offer == leg.id.offer);
        let signs = siblings.any(|l| (l.told_rings || l.told_answered) && !l.told_ended && !l.told_gone);
        let silent = overdue && !signs && leg.state == State::Ringing && leg.told_created;
        assert!(!silent || leg.rung_out || leg.killed || leg.lost, "Q7: the phone gives no sign of ringing: {leg:?}");
        let rings_on = leg.state == State::Ringing && !leg.killed;
        assert!(!rings_on || leg.rung_out || self.now < leg.ring_over, "Q2: the phone rings for too long: {leg:?}");
        if leg.lost {
            return;
        }
        // The agent's other phones are not part of the conversation.
        let talks = s.talks == Some(leg.id.offer) && leg.connected;
        let caller = self.model.callers.iter().find(|c| c.call == leg.call);
        // Q15: an agent who logged out while the phone rang is no longer wanted.
        let in_queue = |q| self.model.agents.iter().any(|a| a.id == leg.agent && a.logins.contains(q));
        let offered = caller.filter(|c| c.offers.iter().any(|(o, _)| *o == leg.id.offer));
        let wanted = offered.is_some_and(|c| c.closed.is_none() && in_queue(&c.queue));
        // While one of the agent's phones is being connected, it is open which of them stops.
        let mut phones = self.world.legs.iter().filter(|l| l.id.offer == leg.id.offer);
        let connecting = phones.any(Leg::is_connecting) && caller.is_some();
        let ended = leg.told_ended || leg.killed_existing || (leg.killed && !leg.told_created);
        // The next events tell whether the caller was taken by this leg.
        let open = caller.is_some() && (s.taken.is_some() || leg.spared);
        let seen_to = talks || wanted || connecting || ended || open || leg.state == State::Dead;
        assert!(seen_to, "Q8: the call does not end {leg:?}");
        // A phone that was ordered to stop and stays silent is left until the conversation on the agent's other phone
        // is over.
        let mut phones = self.world.legs.iter().filter(|l| l.id.offer == leg.id.offer);
        let other = leg.killed && s.talks == Some(leg.id.offer) && phones.any(|l| l.connected && !l.told_ended);
        let talks_on = (other || (talks && !leg.told_ended)) && !s.caller_gone;
        let patience = if leg.killed || leg.told_answered { leg.touched } else { leg.touched.max(leg.ring_over) };
        // This phone was ordered to stop while another talks; the call ends its leg, if it still exists, with the
        // conversation.
        let stopped = s.talks == Some(leg.id.offer) && leg.killed;
        assert!(talks_on || stopped || self.now <= patience + PATIENCE, "Q8: the call does not act on {leg:?}");
    }

    fn check_session(&mut self, s: &mut Session) {
        let connecting = self.world.legs.iter().any(|l| l.call == s.id && l.is_connecting());
        let Some(caller) = self.model.callers.iter().find(|c| c.call == s.id) else {
            // The call lets go of a caller who was taken.
            let ours = !s.caller_gone && s.taken.is_none();
            let stays = s.to_go_on && ours && !s.ear.hears_message(self.now);
            assert!(!stays, "Q13: {} neither goes on nor ends after the wait", s.id);
            return;
        };
        assert!(s.taken.is_none_or(|at| self.now < at + 6000), "{} was taken away and still waits", s.id);
        assert!(!s.caller_gone, "{} is gone and still waits", s.id);
        if caller.closed.is_some() {
            let ends = s.call.offers().next().is_some() || s.taken.is_some();
            assert!(ends, "Q13: the wait of {} is over and does not end", s.id);
            return;
        }
        let begun = |offer| self.world.asked.iter().any(|a| a.offer == offer && a.begun.is_some());
        let held_back = caller.offers.iter().find(|(offer, _)| s.found.contains(offer) && !begun(*offer));
        let ready = s.can_be_connected && !connecting && s.taken.is_none();
        assert!(!ready || held_back.is_none(), "Q2: no phone rings for {held_back:?}, and {} could be connected", s.id);
        let position = self.model.position(&s.id).expect("a position");
        s.ear.check(position, connecting || s.taken.is_some(), self.now);
        let answered = |l: &Leg| l.call == s.id && matches!(l.state, State::Answered | State::Talking);
        let untold = |l: &Leg| l.call == s.id && l.state == State::Dead && !l.told_ended && !l.told_gone;
        // The leg's end may be reported before its answer.
        let unheard =
            |l: &Leg| l.call == s.id && !l.told_answered && l.answered_at.is_some_and(|at| self.now <= at + 50);
        let busy = self.world.legs.iter().any(|l| answered(l) || untold(l) || unheard(l));
        let armed = self.world.callers.iter().any(|c| c.call == s.id && c.armed);
        assert!(armed || busy || s.taken.is_some(), "Q19: the death of the daemon would lose {}", s.id);
    }
}
