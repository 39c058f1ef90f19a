//! The commands of one caller on their way to FreeSWITCH: in which order, and which of them wait for what.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::acd::call::Call;
use crate::acd::ids::{LegId, OfferId};
use crate::acd::time::Mono;
use crate::esl::Command;
use crate::telephony::commands as wire;

/// How long a non-urgent command is held back so that an `originate` found meanwhile goes first: the dispatcher finds a
/// free agent at once.
const HOLD: Duration = Duration::from_millis(5);

/// A command whose outcome the session handles.
#[derive(Clone, Copy, Debug)]
pub(super) enum Watched {
    /// Asks for the phones of an offer's agent.
    Phones(OfferId),
    /// Asks for the directory's variables for an offer's agent.
    Directory(OfferId),
    Ring(LegId),
    CallOff(LegId),
    /// Asks whether a leg that could not be ended exists.
    Exists(LegId),
    ModHash,
    /// Asks whose phone has the caller.
    Taker,
    /// The last of the first commands: its reply shows that FreeSWITCH has read them.
    Begun,
}

/// A command, and how the session handles its outcome, if it does.
pub(super) type Outgoing = (Command, Option<Watched>);

/// A command that goes behind the first `originate`, but before any other command.
#[derive(Debug)]
struct HeldBack {
    command: Command,
    /// Until when; unset until the commands before it have been taken.
    until: Option<Mono>,
}

/// Collects the commands for one input, which are written together and in this order: music sent after an `originate`
/// would play into the conversation with a phone that answers by itself.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    commands: Vec<Outgoing>,
    held_back: Option<Box<HeldBack>>,
    /// Legs whose filters are still set.
    filtered: BTreeSet<LegId>,
    /// The call is parked: ending the connection no longer strands it.
    parked: bool,
    /// The call goes back to the dialplan as soon as it is parked.
    gives_back: bool,
}

impl Outbox {
    /// Adds a command whose outcome is only logged.
    pub(super) fn push(&mut self, command: Command) {
        self.commands.push((command, None));
    }

    /// Adds a command whose outcome the session handles.
    pub(super) fn ask(&mut self, command: Command, watched: Watched) {
        self.commands.push((command, Some(watched)));
    }

    /// Adds a command that is not urgent; there is one at most.
    pub(super) fn hold_back(&mut self, command: Command) {
        self.held_back = Some(Box::new(HeldBack { command, until: None }));
    }

    /// Adds the filters of a leg.
    pub(super) fn filter(&mut self, leg: LegId, filters: [Command; 2]) {
        self.filtered.insert(leg);
        filters.into_iter().for_each(|command| self.push(command));
    }

    /// The call goes back to the dialplan as soon as it is parked.
    pub(super) fn give_back(&mut self) {
        self.gives_back = true;
    }

    /// The call is parked.
    pub(super) fn is_parked(&mut self) {
        self.parked = true;
    }

    /// When the held-back command is due.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.held_back.as_ref().and_then(|held| held.until)
    }

    /// Lets time pass: no phone rings within the time for which a command is held back.
    pub(super) fn tick(&mut self, now: Mono) {
        if self.deadline().is_some_and(|until| until <= now) {
            self.commands.extend(release(&mut self.held_back));
        }
    }

    /// The commands to write now.
    pub(super) fn take(&mut self, call: &Call, now: Mono) -> Vec<Outgoing> {
        self.forget_legs(call);
        if self.gives_back && self.parked {
            self.gives_back = false;
            self.push(Command::Exit);
        }
        self.place_held_back(call.is_in_line(), now);
        std::mem::take(&mut self.commands)
    }

    /// Deletes the filters of legs that are gone. Those of a call that was connected or has left need no deletion: its
    /// connection closes soon.
    fn forget_legs(&mut self, call: &Call) {
        let is_gone = |leg: &LegId| call.agent_of(leg.offer).is_none();
        let gone: Vec<LegId> = self.filtered.iter().copied().filter(is_gone).collect();
        for leg in gone {
            self.filtered.remove(&leg);
            if call.is_in_line() {
                wire::forget_leg(leg.uuid()).into_iter().for_each(|command| self.push(command));
            }
        }
    }

    fn place_held_back(&mut self, in_line: bool, now: Mono) {
        let Some(held) = &mut self.held_back else { return };
        let is = |which: fn(&Watched) -> bool| move |(_, watched): &Outgoing| watched.as_ref().is_some_and(which);
        let rings = is(|watched| matches!(watched, Watched::Ring(_)));
        let looks_for_phones = is(|watched| matches!(watched, Watched::Phones(_) | Watched::Directory(_)));
        if in_line && held.until.is_none() {
            held.until = Some(now.plus(HOLD));
        } else if in_line && self.commands.iter().any(rings) {
            self.commands.extend(release(&mut self.held_back));
        } else if !(in_line && self.commands.iter().all(looks_for_phones)) {
            self.commands.splice(0..0, release(&mut self.held_back));
        }
    }
}

fn release(held_back: &mut Option<Box<HeldBack>>) -> Option<Outgoing> {
    held_back.take().map(|held| (held.command, None))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use uuid::Uuid;

    use crate::acd::call::Input;
    use crate::acd::ids::{AgentId, QueueNumber};
    use crate::acd::queue::Orders;
    use crate::acd::rank::Rank;
    use crate::acd::settings::{Language, QueueSettings};
    use crate::acd::time::{Now, Since, Wall};

    use super::*;

    const OFFER: OfferId = OfferId(Uuid::from_u128(0xa));

    fn ms(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }
    /// A call in line, with one offer.
    fn waiting() -> Call {
        let (queue, agent) = (QueueNumber::new("1").unwrap(), AgentId::new("1001").unwrap());
        let settings = QueueSettings::new(queue.clone(), "Q".into(), vec![agent.clone()], Language("en".into()));
        let mut call = Call::new(queue, Vec::new(), None);
        call.handle(Input::Begin, Now::default());
        let place = Rank::new(Wall(0), 0);
        call.handle(Input::Entered(Some((settings.into(), place, Since::default()))), Now::default());
        let orders = Orders { ring: vec![(OFFER, agent)], ..Orders::default() };
        call.handle(Input::Looked { orders, position: 1 }, Now::default());
        call
    }
    fn music() -> Command {
        wire::set("music", "1").unwrap()
    }
    fn place() -> Command {
        wire::set("place", "1").unwrap()
    }
    fn rung() -> Command {
        wire::set("ring", "1").unwrap()
    }
    fn written(outbox: &mut Outbox, call: &Call, at: u64) -> Vec<Command> {
        outbox.take(call, ms(at)).into_iter().map(|(command, _)| command).collect()
    }
    /// An outbox that holds the place back, at 0 ms.
    fn holding(call: &Call) -> Outbox {
        let mut outbox = Outbox::default();
        outbox.hold_back(place());
        outbox.push(music());
        assert_eq!(written(&mut outbox, call, 0), [music()]);
        assert_eq!(outbox.deadline(), Some(ms(5)));
        outbox
    }

    /// Q10: the commands of one input keep their order.
    #[test]
    fn commands_are_written_in_order() {
        let mut outbox = Outbox::default();
        outbox.push(music());
        outbox.ask(rung(), Watched::Ring(OFFER.leg(0)));
        outbox.push(place());
        assert_eq!(written(&mut outbox, &waiting(), 0), [music(), rung(), place()]);
        assert_eq!(written(&mut outbox, &waiting(), 0), []);
    }

    /// The first `originate` goes before the held-back command, and the search for phones does not release it.
    #[test]
    fn the_held_back_command_lets_the_first_originate_pass() {
        let call = waiting();
        let mut outbox = holding(&call);
        outbox.ask(music(), Watched::Phones(OFFER));
        assert_eq!(written(&mut outbox, &call, 1), [music()]);
        outbox.ask(rung(), Watched::Ring(OFFER.leg(0)));
        assert_eq!(written(&mut outbox, &call, 2), [rung(), place()]);
        assert_eq!(outbox.deadline(), None);
    }

    /// Q19: any other command waits until the place is on the channel, and the place does not wait long.
    #[test]
    fn the_held_back_command_goes_before_any_other() {
        let call = waiting();
        let mut outbox = holding(&call);
        outbox.push(music());
        assert_eq!(written(&mut outbox, &call, 1), [place(), music()]);
        let mut outbox = holding(&call);
        outbox.tick(ms(4));
        assert_eq!(written(&mut outbox, &call, 4), []);
        outbox.tick(ms(5));
        assert_eq!(written(&mut outbox, &call, 5), [place()]);
        // A call that leaves the line takes its place along.
        let mut outbox = holding(&call);
        let mut gone = waiting();
        gone.handle(Input::CallerGone, Now::default());
        assert_eq!(written(&mut outbox, &gone, 1), [place()]);
    }

    /// Q19: a call that is not parked yet would be stranded by the end of its connection.
    #[test]
    fn a_call_goes_back_to_the_dialplan_once_it_is_parked() {
        let call = waiting();
        let mut outbox = Outbox::default();
        outbox.give_back();
        assert_eq!(written(&mut outbox, &call, 0), []);
        outbox.is_parked();
        assert_eq!(written(&mut outbox, &call, 1), [Command::Exit]);
        assert_eq!(written(&mut outbox, &call, 2), [], "once");
    }

    /// The filters of a leg are deleted when its offer is over, but only while the caller stays in line.
    #[test]
    fn the_filters_of_a_leg_go_with_its_offer() {
        let (call, leg) = (waiting(), OFFER.leg(0));
        let mut outbox = Outbox::default();
        outbox.filter(leg, [music(), place()]);
        assert_eq!(written(&mut outbox, &call, 0), [music(), place()]);
        assert_eq!(written(&mut outbox, &call, 0), [], "the offer lasts");
        let other = Call::new(QueueNumber::new("1").unwrap(), Vec::new(), None);
        assert_eq!(written(&mut outbox, &other, 1), wire::forget_leg(leg.uuid()));
        assert_eq!(written(&mut outbox, &other, 2), []);
        outbox.filter(leg, [music(), place()]);
        let mut gone = waiting();
        gone.handle(Input::Disconnected, Now::default());
        assert_eq!(written(&mut outbox, &gone, 3), [music(), place()]);
    }
}
