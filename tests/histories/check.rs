//! What must be so whenever nothing is left to be done at a moment.

use crate::legs::{Leg, State};
use crate::sim::{Session, Sim};

/// How long a call may go without a word of a leg before it has to do something about it.
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
            assert!(rung || a.offer.is_some_and(asked), "Q8: {} is held by an offer that nobody rings", a.id);
        }
        let conns: Vec<_> = self.sessions.keys().copied().collect();
        for conn in conns {
            if let Some(mut s) = self.sessions.remove(&conn) {
                self.check_session(&mut s);
                self.sessions.insert(conn, s);
            }
        }
    }

    /// Q8: no phone rings on, or answers into silence, when its caller has somebody else or is gone.
    fn check_leg(&self, leg: &Leg) {
        let session = self.sessions.get(&leg.conn);
        let holds = self.model.agents.iter().any(|a| a.offer == Some(leg.id.offer));
        let Some(s) = session else {
            assert!(leg.lost || leg.state == State::Dead || self.model.draining, "nobody looks after {leg:?}");
            return;
        };
        assert!(holds || leg.lost || leg.state == State::Dead, "Q8: the agent is free, and has {leg:?}");
        if leg.told_gone {
            assert!(!holds, "Q8: the agent is held by what is gone: {leg:?}");
            return;
        }
        // Q7: who is registered and gives no sign of ringing is not waited for.
        let asked = self.world.asked.iter().find(|a| a.offer == leg.id.offer);
        let overdue = asked.and_then(|a| a.sign_due()).is_some_and(|at| at <= self.now);
        let mut siblings = self.world.legs.iter().filter(|l| l.id.offer == leg.id.offer);
        let signs = siblings.any(|l| (l.told_rings || l.told_answered) && !l.told_ended && !l.told_gone);
        let silent = overdue && !signs && leg.state == State::Ringing && leg.told_created;
        assert!(!silent || leg.rung_out || leg.killed || leg.lost, "Q7: it gives no sign: {leg:?}");
        let rings_on = leg.state == State::Ringing && !leg.killed;
        assert!(!rings_on || leg.rung_out || self.now < leg.ring_over, "Q2: it rings for too long: {leg:?}");
        if leg.lost {
            return;
        }
        // Another phone of the agent has nothing to do with the conversation.
        let talks = s.talks == Some(leg.id.offer) && leg.connected;
        let caller = self.model.callers.iter().find(|c| c.call == leg.call);
        // Q15: who has logged out while it rang is not wanted any more.
        let in_queue = |q| self.model.agents.iter().any(|a| a.id == leg.agent && a.logins.contains(q));
        let offered = caller.filter(|c| c.offers.iter().any(|(o, _)| *o == leg.id.offer));
        let wanted = offered.is_some_and(|c| c.closed.is_none() && in_queue(&c.queue));
        // Which of an agent's phones stops and which talks, the connection tells.
        let mut phones = self.world.legs.iter().filter(|l| l.id.offer == leg.id.offer);
        let connecting = phones.any(Leg::is_connecting) && caller.is_some();
        let ended = leg.told_ended || leg.killed_existing || (leg.killed && !leg.told_created);
        // The next moment tells whether it was this leg that the caller was taken by.
        let open = caller.is_some() && (s.taken.is_some() || leg.spared);
        let seen_to = talks || wanted || connecting || ended || open || leg.state == State::Dead;
        assert!(seen_to, "Q8: nobody ends {leg:?}");
        // A phone that was told to stop and says no more is looked after when the conversation on the other one is over.
        let mut phones = self.world.legs.iter().filter(|l| l.id.offer == leg.id.offer);
        let other = leg.killed && s.talks == Some(leg.id.offer) && phones.any(|l| l.connected && !l.told_ended);
        let talks_on = (other || (talks && !leg.told_ended)) && !s.caller_gone;
        let patience = if leg.killed || leg.told_answered { leg.touched } else { leg.touched.max(leg.ring_over) };
        // Another phone of the agent was told to stop; what may be left of it is ended with the conversation.
        let stopped = s.talks == Some(leg.id.offer) && leg.killed;
        assert!(talks_on || stopped || self.now <= patience + PATIENCE, "Q8: nothing is done about {leg:?}");
    }

    fn check_session(&mut self, s: &mut Session) {
        let connecting = self.world.legs.iter().any(|l| l.call == s.id && l.is_connecting());
        let Some(caller) = self.model.callers.iter().find(|c| c.call == s.id) else {
            // Whom somebody else has is let go.
            let ours = !s.caller_gone && s.taken.is_none();
            let stays = s.to_go_on && ours && !s.ear.hears_message(self.now);
            assert!(!stays, "Q13: nothing is done with {} after the wait", s.id);
            return;
        };
        assert!(s.taken.is_none_or(|at| self.now < at + 6000), "{} was taken away and waits", s.id);
        assert!(!s.caller_gone, "{} has gone and waits", s.id);
        if caller.closed.is_some() {
            let ends = s.call.offers().next().is_some() || s.taken.is_some();
            assert!(ends, "Q13: the wait of {} is over, and is not ended", s.id);
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
        // Its end may be known before the answer is told.
        let unheard =
            |l: &Leg| l.call == s.id && !l.told_answered && l.answered_at.is_some_and(|at| self.now <= at + 50);
        let busy = self.world.legs.iter().any(|l| answered(l) || untold(l) || unheard(l));
        let armed = self.world.callers.iter().any(|c| c.call == s.id && c.armed);
        assert!(armed || busy || s.taken.is_some(), "Q19: the death of the daemon would lose {}", s.id);
    }
}
