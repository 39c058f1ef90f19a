//! A phone's answers other than 200: a refusal, or a redirection to another number.

use crate::cause;
use crate::leg::{Direction, Leg, LegId, Owner};
use crate::party::NewLeg;
use crate::world::World;
use std::time::Duration;

impl World {
    /// A final answer from 300 on.
    pub(crate) fn phone_refuses(&mut self, id: LegId, status: u16) {
        let cause = cause::of_status(status);
        self.refused_with(id, status, cause);
    }

    fn refused_with(&mut self, id: LegId, status: u16, cause: &str) {
        let Some(leg) = self.legs.get_mut(&id).filter(|l| l.is_up() && !l.is_answered()) else {
            return;
        };
        let Owner::Phone(number) = leg.owner.clone() else {
            return;
        };
        leg.refused = Some(status);
        self.end_ring(&number, id, cause);
        self.hangup(id, cause, true);
    }

    /// 302 to another number (read in `sofia_handle_sip_r_invite` of sofia.c). With `outbound_redirect_fatal` the leg
    /// ends and names the target. Without it FreeSWITCH sends the INVITE of the same leg there, whatever the name of
    /// the profile; a contact in a domain of the directory makes it transfer the partner instead, and a leg of
    /// `originate` has none.
    pub(crate) fn phone_forwards(&mut self, id: LegId, to: &str) {
        let domain = self.config.domain.clone();
        let Some(leg) = self.legs.get_mut(&id).filter(|l| l.is_up() && !l.is_answered()) else {
            return;
        };
        let Owner::Phone(number) = leg.owner.clone() else {
            return;
        };
        let contact = format!("<sip:{to}@{domain}>");
        leg.vars.set("sip_redirected_to", contact.as_str());
        if leg.vars.is_true("outbound_redirect_fatal") {
            leg.vars.set("sip_redirect_contact_0", contact);
            leg.vars.set("sip_redirect_contact_user_0", to);
            leg.vars.set("sip_redirect_contact_host_0", domain);
            return self.refused_with(id, 302, "REQUESTED_CHAN_UNAVAIL");
        }
        self.end_ring(&number, id, "302");
        let to = to.to_owned();
        let invite = self.config.timing.invite;
        if self.phones.contains_key(&to) {
            self.move_leg(id, &number, &to);
            self.after(invite, move |world| world.invite(id));
        } else {
            self.after(invite, move |world| world.call_itself(id, &number, &to));
        }
    }

    /// The INVITE of a leg returns to the switch, as a call from outside for that number.
    fn call_itself(&mut self, id: LegId, phone: &str, to: &str) {
        let Some(leg) = self.legs.get(&id).filter(|l| l.is_up()) else { return };
        let (name, number) = (leg.profile.name.clone(), leg.profile.number.clone());
        let channel = format!("sofia/trunk/{number}@pstn");
        let domain = ("domain_name".to_owned(), self.config.domain.clone());
        let uuid = self.rng.uuid();
        let (direction, owner) = (Direction::Inbound, Owner::Half);
        let new = NewLeg { uuid, direction, owner, name, number, destination: to.to_owned(), variables: vec![domain] };
        let other = self.new_leg(new);
        if let Some(phone) = self.phones.get_mut(phone) {
            phone.legs.retain(|leg| *leg != id);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.owner = Owner::Half;
            leg.twin = Some(other);
        }
        if let Some(leg) = self.legs.get_mut(&other) {
            leg.twin = Some(id);
            leg.vars.set("channel_name", channel.as_str());
            leg.name = channel;
            leg.call_state = "RINGING";
        }
        self.fire_leg(other, "CHANNEL_CREATE", true, &[]);
        self.after(Duration::ZERO, move |world| world.route(other));
    }

    /// The INVITE of a leg goes to another phone.
    fn move_leg(&mut self, id: LegId, from: &str, to: &str) {
        if let Some(phone) = self.phones.get_mut(from) {
            phone.legs.retain(|leg| *leg != id);
        }
        if let Some(phone) = self.phones.get_mut(to) {
            phone.legs.push(id);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.owner = Owner::Phone(to.to_owned());
        }
    }
}

/// The variables of a leg that its phone ends.
pub(crate) fn told_by_phone(leg: &mut Leg, cause: &str) {
    let Some(status) = leg.refused else {
        leg.vars.set("sip_term_status", "200");
        leg.vars.set("proto_specific_hangup_cause", "sip:200");
        leg.vars.set("sip_term_cause", "16");
        return;
    };
    let text = status.to_string();
    leg.vars.set("sip_hangup_disposition", "recv_refuse");
    if status >= 400 {
        leg.vars.set("sip_invite_failure_status", text.as_str());
        leg.vars.set("sip_invite_failure_phrase", "No");
        leg.vars.set("sip_term_status", text.as_str());
    }
    leg.vars.set("proto_specific_hangup_cause", format!("sip:{text}"));
    leg.vars.set("sip_term_cause", cause::number(cause).to_string());
}

/// The time a phone takes to answer that it is busy, from its 180 on (capture `agent-busy`).
pub(crate) const BUSY: Duration = Duration::from_millis(97);
