//! A simple stand-in for the link's survey: every few seconds it lists FreeSWITCH's channels, ends or adopts legs
//! without an owner, and releases agents whose leg is missing for the second time in a row.

use freeswitch_queue::acd::call::Input;
use freeswitch_queue::acd::ids::{LegId, OfferId};
use freeswitch_queue::acd::leg::LegEnd;
use freeswitch_queue::floor::{HeldView, OfferKey};

use crate::legs::State;
use crate::sim::Sim;

/// How often a survey runs, in milliseconds.
const EVERY: u64 = 3000;
/// An agent held for a shorter time than this is not examined.
const SETTLED: u64 = 2000;

#[derive(Default)]
pub(crate) struct Supervisor {
    /// When the next survey runs; `None` without a link.
    pub(crate) next: Option<u64>,
    missing: Vec<OfferId>,
}

impl Sim {
    /// The link to FreeSWITCH comes up, or is lost.
    pub(crate) fn set_supervised(&mut self, supervised: bool) {
        self.supervisor = Supervisor { next: supervised.then_some(self.now + EVERY), missing: Vec::new() };
        let left: Vec<HeldView> = self.floor.held().into_iter().filter(|h| !h.attended).collect();
        self.floor.set_supervised(supervised, self.time());
        self.take_facts();
        if !supervised {
            left.iter().for_each(|h| self.given_up(&h.key));
        }
    }

    fn given_up(&mut self, key: &OfferKey) {
        self.model.released(key.offer);
        self.world.legs_of(key.offer).for_each(|l| l.lost = true);
    }

    pub(crate) fn survey(&mut self) {
        self.supervisor.next = Some(self.now + EVERY);
        let held = self.floor.held();
        let alive: Vec<LegId> = self.world.legs.iter().filter(|l| l.exists()).map(|l| l.id).collect();
        for id in alive.iter().filter(|l| !held.iter().any(|h| h.key.offer == l.offer && (h.attended || h.talking))) {
            let offer = id.offer;
            let leg = self.world.leg(*id);
            if leg.state != State::Talking {
                self.world.die(*id, LegEnd::Elsewhere, false);
                continue;
            }
            let (call, agent) = (leg.call.clone(), leg.agent.clone());
            let queue = self.world.caller(&call).expect("a caller").queue.clone();
            let key = OfferKey { offer, call, queue, agent };
            let since = self.time().mono.into();
            if self.floor.adopt(&key, since, since) {
                self.model.adopted(&key.agent, offer, key.queue.clone());
                self.journal.adopted(offer);
            }
        }
        for h in held.iter().filter(|h| alive.iter().any(|l| l.offer == h.key.offer)) {
            self.floor.seen(&h.key, self.time());
        }
        // A call with a session attends to its ringing legs itself.
        let looked_for =
            |h: &&HeldView| (h.talking || !h.attended) && self.time().lasted(h.since).as_millis() as u64 >= SETTLED;
        let is_gone = |h: &&HeldView| alive.iter().all(|l| l.offer != h.key.offer);
        let gone: Vec<&HeldView> = held.iter().filter(looked_for).filter(is_gone).collect();
        let missing: Vec<OfferId> = gone.iter().map(|h| h.key.offer).collect();
        let before = std::mem::replace(&mut self.supervisor.missing, missing);
        for h in gone.iter().filter(|h| before.contains(&h.key.offer)) {
            self.note(|| format!("{} is held by a missing leg", h.key.agent));
            let conn =
                self.sessions.iter().find(|(_, s)| s.call.agent_of(h.key.offer).is_some()).map(|(conn, _)| *conn);
            if let Some(conn) = conn.filter(|_| h.attended) {
                self.world.legs_of(h.key.offer).for_each(|l| (l.told_gone, l.lost) = (true, true));
                self.feed(conn, Input::LegsMissing(h.key.offer));
                continue;
            }
            // No session attends to this offer, so the survey releases the agent.
            self.floor.release_unseen(&h.key, self.time());
            self.take_facts();
            self.given_up(&h.key);
        }
    }
}
