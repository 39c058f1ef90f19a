//! The effects of a call in FreeSWITCH, as the commands that are written for them.

use crate::acd::call::{Input, Parting, Wire};
use crate::acd::offer::Found;
use crate::esl::text::TextError;
use crate::esl::{ApiCall, Cause, Command, Execute};
use crate::telephony::commands as wire;

use super::Session;
use super::outbox::Watched;
use super::ringing::NOT_RUNG;

impl Session<'_> {
    /// Turns an effect into commands, and returns the input that is known already. A command that cannot be built
    /// counts as one that FreeSWITCH refused.
    pub(super) fn carry_out(&mut self, wish: Wire) -> Option<Input> {
        let refused = match &wish {
            Wire::Originate { leg, .. } => Some(Input::Leg(*leg, NOT_RUNG)),
            Wire::FindPhones(offer, _) => Some(Input::Phones(*offer, Found::Registered(0))),
            Wire::FindTaker => Some(Input::Taker(None)),
            Wire::Music { playing, .. } | Wire::Say(playing, _) => Some(Input::Played(*playing)),
            _ => None,
        };
        self.commands_for(wish).unwrap_or_else(|error| {
            tracing::error!(%error, "a command could not be built; check the configured texts");
            refused
        })
    }

    fn commands_for(&mut self, wish: Wire) -> Result<Option<Input>, TextError> {
        match wish {
            Wire::Answer => self.outbox.push(Execute::new("answer")?.into()),
            Wire::Prepare(rank) => self.prepare(rank)?,
            Wire::Remember(rank) => self.remember(rank)?,
            Wire::Music { playing, music, replace } => {
                let command = wire::music(playing, &music)?;
                if wire::may_take_a_while(&music) {
                    self.courier.may_be_kept();
                }
                if replace {
                    self.outbox.push(Command::Api(ApiCall::uuid_break(&self.channel.channel)));
                }
                self.outbox.push(command);
            }
            Wire::Say(playing, saying) => {
                self.courier.may_be_kept();
                self.outbox.push(wire::say(playing, &saying, &self.settings)?);
            }
            Wire::Hush => self.outbox.push(Command::Api(ApiCall::uuid_break(&self.channel.channel))),
            Wire::FindPhones(offer, agent) => return self.find_phones(offer, agent),
            Wire::Originate { leg, agent, first_wins } => self.originate(leg, &agent, first_wins)?,
            Wire::CallOff(leg, cause) => {
                let (call, refused_is_gone) = wire::call_off(leg.uuid(), cause)?;
                match refused_is_gone {
                    true => self.outbox.ask(Command::Api(call), Watched::CallOff(leg)),
                    false => self.outbox.push(Command::Api(call)),
                }
            }
            Wire::RingOut(leg, cause) => self.outbox.push(Command::Api(wire::ring_out(leg.uuid(), cause)?)),
            Wire::EndLeg(leg) => {
                let call = wire::end_leg(leg.uuid(), Cause::OriginatorCancel);
                self.outbox.ask(Command::Api(call), Watched::CallOff(leg));
            }
            Wire::Rearm => self.outbox.push(wire::set("socket_resume", "true")?),
            Wire::Connected => self.outbox.push(wire::connected(&self.channel.channel)?),
            Wire::LetGo => self.outbox.push(wire::let_go(&self.channel.channel)?),
            Wire::Transfer(number) => {
                for command in wire::transfer(&number, &self.channel.context, self.call.visited())? {
                    self.outbox.push(command);
                }
            }
            Wire::HangUp(Parting::NoSuchNumber) if self.channel.answered => {
                wire::refuse(&self.settings)?.into_iter().for_each(|command| self.outbox.push(command));
            }
            Wire::HangUp(parting) => self.outbox.push(wire::hang_up(parting)),
            Wire::FindTaker => {
                self.outbox.ask(Command::Api(wire::partner_of(&self.channel.channel)?), Watched::Taker);
            }
            Wire::GiveBack => self.outbox.give_back(),
            Wire::Close => {}
        }
        Ok(None)
    }
}
