//! The actions of people on their phones.

use std::time::{Duration, Instant};

use phones::Call;

use super::day::{Act, Day};
use super::people::{LINES, STAFF};
use super::watch::is_offer;
use crate::switch::DOMAIN;

impl Day<'_> {
    /// Plans what the owner of a ringing phone does.
    pub(super) fn ring(&mut self, id: usize, call: &Call) {
        if self.closing {
            let after = self.dice.ms(20, 400);
            return self.plan(id, after, Act::Answer);
        }
        let (after, act) = match self.dice.below(20) {
            0..=11 => (self.dice.ms(20, 1800), Act::Answer),
            12..=14 => {
                let status = *self.dice.pick(&[486, 603, 480, 408, 487, 503, 404, 500, 600]);
                (self.dice.ms(20, 1500), Act::Refuse(status))
            }
            15 => (self.dice.ms(20, 800), Act::Forward((*self.dice.pick(&["9000", "1022", "99900"])).to_owned())),
            16 => (self.dice.ms(4900, 5100), Act::Answer),
            // Left to ring until it ends by itself, or for a limited time.
            _ if is_offer(call) => return,
            _ => (self.dice.ms(4000, 9000), Act::Refuse(486)),
        };
        self.plan(id, after, act);
    }

    /// Plans the next action of one party of a conversation.
    pub(super) fn talk(&mut self, id: usize, call: &Call) {
        if self.closing {
            let after = self.dice.ms(500, 1500);
            return self.plan(id, after, Act::HangUp);
        }
        let staff = STAFF.contains(&call.user.as_str());
        let act = match self.dice.below(20) {
            0..=9 => Act::HangUp,
            10..=11 if staff => Act::Hold(true),
            12..=14 if staff => Act::Blind(self.anywhere(&call.user)),
            15..=18 if staff => Act::Consult(self.anywhere(&call.user)),
            _ => return self.plan(id, Duration::from_secs(12), Act::HangUp),
        };
        let after = self.dice.ms(100, 6000);
        self.plan(id, after, act);
    }

    /// Picks a number of the house.
    fn anywhere(&mut self, not: &str) -> String {
        loop {
            let to = match self.dice.below(10) {
                0..=3 => *self.dice.pick(&STAFF),
                4..=8 => *self.dice.pick(&LINES),
                _ => "9000",
            };
            if to != not {
                return to.to_owned();
            }
        }
    }

    pub(super) fn act(&mut self, id: usize, act: &Act) {
        let Some(call) = self.phones.get(id).filter(|call| call.ended.is_none()) else { return };
        let now = Instant::now();
        let whom = call.hears().map(str::to_owned);
        let waiting = call.answered.is_none();
        if waiting != matches!(act, Act::Answer | Act::Refuse(_) | Act::Forward(_)) && !matches!(act, Act::HangUp) {
            return;
        }
        self.tell(format!("#{id} {} {act:?}, hears {whom:?}", call.user));
        let people =
            || [Some(call.user.clone()), call.person.as_ref().map(|(_, who)| who.clone())].into_iter().flatten();
        let calls = self.calls();
        match act {
            Act::Answer => self.phones.answer(id),
            Act::Refuse(status) => self.phones.refuse(id, *status),
            Act::Forward(to) => self.phones.forward(id, to, self.lab.switch.trunk),
            Act::HangUp => {
                self.watch.reason(now, people(), &calls);
                self.phones.hang_up(id);
            }
            Act::Hold(on) => {
                self.phones.hold(id, *on);
                let after = self.dice.ms(300, 3000);
                self.plan(id, after, if *on { Act::Hold(false) } else { Act::HangUp });
            }
            Act::Blind(to) => {
                let Some(whom) = whom else { return self.plan(id, Duration::from_secs(1), Act::HangUp) };
                self.watch.reason(now, people(), &calls);
                self.watch.sent(&whom, to);
                self.phones.transfer(id, to, DOMAIN);
                self.plan(id, Duration::from_secs(3), Act::HangUp);
            }
            Act::Consult(to) => {
                self.phones.hold(id, true);
                let second = self.phones.call_from(&call.user, DOMAIN, to);
                let after = self.dice.ms(200, 4000);
                let act = if self.dice.once_in(3) { Act::Abandon(second) } else { Act::Complete(second) };
                self.plan(id, after, act);
            }
            Act::Abandon(second) => {
                self.watch.reason(now, people(), &calls);
                self.phones.hang_up(*second);
                self.phones.hold(id, false);
                let after = self.dice.ms(300, 3000);
                self.plan(id, after, Act::HangUp);
            }
            Act::Complete(second) => self.complete(id, &call, *second),
        }
    }

    /// Completes an attended transfer.
    fn complete(&mut self, id: usize, call: &Call, second: usize) {
        let now = Instant::now();
        let Some(other) = self.phones.get(second).filter(|other| other.ended.is_none()) else {
            self.phones.hold(id, false);
            return self.plan(id, Duration::from_secs(1), Act::HangUp);
        };
        let calls = self.calls();
        let people = [Some(call), Some(&other)]
            .into_iter()
            .flatten()
            .flat_map(|c| [Some(c.user.clone()), c.person.as_ref().map(|(_, who)| who.clone())].into_iter().flatten());
        self.watch.reason(now, people, &calls);
        if other.answered.is_none() {
            // A phone without an answer cannot name the ringing call yet: it cancels the second call.
            self.phones.hang_up(second);
            self.phones.hold(id, false);
            return self.plan(id, Duration::from_secs(1), Act::HangUp);
        }
        // A party who hears only music there takes over the wait.
        if let Some((_, whom)) = &call.person {
            let joined = other.hears().is_some();
            self.watch.sent(whom, if joined { "9000" } else { &other.dialled });
            self.watch.line.moved(whom, true);
        }
        self.phones.transfer_to(id, second, DOMAIN);
        self.plan(id, Duration::from_secs(3), Act::HangUp);
        self.plan(second, Duration::from_secs(3), Act::HangUp);
    }
}
