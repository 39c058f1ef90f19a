//! Ringing phones.

use crate::api::Outcome;
use crate::dialstring;
use crate::leg::{Dialing, Direction, LegId, Owner, State, Waiter};
use crate::party::{NewLeg, PhoneState, Registration, account};
use crate::world::World;
use std::time::Duration;
use tokio::time::Instant;

/// A channel that dials itself, or a system application in `originate`: outside text reached a place where it is
/// executed.
const EXECUTING: &[&str] = &["system", "bg_system", "lua", "python", "javascript", "perl"];

impl World {
    /// `originate`.
    pub(crate) fn originate(&mut self, argument: &str, waiter: Waiter) -> Outcome {
        let argument = self.expand(None, argument);
        let wanted = match dialstring::originate(&argument) {
            Ok(wanted) => wanted,
            Err(text) => return Outcome::Done(text),
        };
        if EXECUTING.contains(&wanted.app.as_str()) {
            self.note_security(None, &format!("{} {}", wanted.app, wanted.arg), &argument);
        }
        if self.faults.swallow_originates > 0 {
            self.faults.swallow_originates -= 1;
            return Outcome::Later;
        }
        let mut variables = wanted.variables.clone();
        let mut default = |name: &str, value: Option<String>| {
            if let Some(value) = value
                && !variables.iter().any(|(n, _)| n == name)
            {
                variables.push((name.into(), value));
            }
        };
        default("origination_caller_id_name", wanted.cid_name);
        default("origination_caller_id_number", wanted.cid_number);
        default("originate_timeout", wanted.timeout.map(|t| t.to_string()));
        let (app, arg) = match wanted.extension {
            Some(extension) => ("transfer".to_owned(), extension),
            None => (wanted.app, wanted.arg),
        };
        let target = if app == "intercept" {
            Some(arg.trim().to_owned())
        } else {
            variables
                .iter()
                .filter(|(name, _)| name.starts_with("api_on_answer") || name.starts_with("execute_on_answer"))
                .find_map(|(_, text)| {
                    let mut words = text.split([' ', ':']).filter(|w| !w.is_empty());
                    matches!(words.next(), Some("uuid_bridge" | "intercept")).then(|| words.next())?.map(str::to_owned)
                })
        };
        let dialing = Dialing { app, arg, waiter };
        match self.ring(&wanted.dial, &variables, Some(dialing), target) {
            Ok(_) => Outcome::Later,
            Err(cause) => Outcome::Done(format!("-ERR {cause}\n")),
        }
    }

    /// Rings for the `bridge` application of `aleg`.
    pub(crate) fn dial(&mut self, dial: &str, waiter: Waiter, aleg: Option<LegId>) -> Result<LegId, String> {
        let (mut variables, dial) = dialstring::take_variables(dial)?;
        if let Some(leg) = aleg.and_then(|id| self.legs.get(&id)) {
            let from = |effective: &str, own: &str| leg.vars.get(effective).unwrap_or(own).to_owned();
            let name = from("effective_caller_id_name", &leg.profile.name);
            let number = from("effective_caller_id_number", &leg.profile.number);
            variables.push(("origination_caller_id_name".into(), name));
            variables.push(("origination_caller_id_number".into(), number));
        }
        let dialing = Dialing { app: String::new(), arg: String::new(), waiter };
        let id = self.ring(&dial, &variables, Some(dialing), None)?;
        let dialed = self.legs.get(&id).map(|l| l.profile.destination.clone()).unwrap_or_default();
        let domain = self.config.domain.clone();
        if let Some(leg) = aleg.and_then(|id| self.legs.get_mut(&id)) {
            leg.dialed_peer = Some(id);
            leg.vars.set("dialed_user", dialed);
            leg.vars.set("dialed_domain", domain);
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.from_originate = false;
            leg.profile.source = "mod_sofia";
            for name in ["origination_caller_id_name", "origination_caller_id_number"] {
                leg.vars.remove(name);
            }
        }
        Ok(id)
    }

    /// Makes the leg and sends the INVITE; returns a cause if the phone cannot be reached.
    fn ring(
        &mut self,
        dial: &str,
        variables: &[(String, String)],
        dialing: Option<Dialing>,
        rings_for: Option<String>,
    ) -> Result<LegId, String> {
        if let Some(cause) = dial.strip_prefix("error/") {
            return Err(crate::cause::known(cause));
        }
        if let Some(number) = dial.strip_prefix("loopback/") {
            return self.ring_loopback(number, variables, dialing, rings_for);
        }
        let number = self.phone_of(dial)?;
        let get = |name: &str| variables.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let uuid = match get("origination_uuid") {
            Some(uuid) if self.by_uuid.contains_key(uuid) => return Err("DESTINATION_OUT_OF_ORDER".into()),
            Some(uuid) => uuid.to_owned(),
            None => self.rng.uuid(),
        };
        let timeout = get("originate_timeout").or(get("leg_timeout")).and_then(|t| t.trim().parse().ok()).unwrap_or(60);
        let (cid_name, cid_number) = (get("origination_caller_id_name"), get("origination_caller_id_number"));
        let originated = !matches!(dialing.as_ref().map(|d| &d.waiter), Some(Waiter::Bridge(_)));
        let id = self.new_leg(NewLeg {
            uuid: uuid.clone(),
            direction: Direction::Outbound,
            owner: Owner::Phone(number.clone()),
            name: cid_name.unwrap_or("").to_owned(),
            number: cid_number.unwrap_or("0000000000").to_owned(),
            destination: account(&number).to_owned(),
            variables: variables.to_vec(),
        });
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.dialing = dialing;
            if let Some(caller) = &rings_for {
                self.rings.entry(caller.clone()).or_default().push(id);
            }
            leg.rings_for = rings_for;
            leg.from_originate = originated;
        }
        self.fire_leg(id, "CHANNEL_CREATE", true, &[]);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.running = State::ConsumeMedia;
            leg.state = State::ConsumeMedia;
        }
        self.note_ring(id, originated);
        let invite = self.config.timing.invite;
        self.after(invite, move |world| world.invite(id));
        self.give_up_ringing(id, timeout, "NO_ANSWER");
        if let Some(limit) = self.phones.get(&number).and_then(|p| p.leg_timeout) {
            self.give_up_ringing(id, limit + 1, "ALLOTTED_TIMEOUT");
        }
        if let Some(limit) = get("leg_progress_timeout").and_then(|t| t.trim().parse::<u64>().ok()) {
            let end = self.clock.whole_seconds_after(Instant::now(), limit + 1);
            self.at(end, move |world| {
                if world.legs.get(&id).is_some_and(|l| l.is_up() && !l.is_answered() && l.times.progress == 0) {
                    world.hangup(id, "PROGRESS_TIMEOUT", false);
                }
            });
        }
        Ok(id)
    }

    /// Ends a leg that still rings at its limit. A limit of one leg (`leg_timeout`) must be exceeded, in whole seconds
    /// of the calendar (`check_per_channel_timeouts` in switch_ivr_originate.c); `originate_timeout` need only be
    /// reached.
    pub(crate) fn give_up_ringing(&mut self, id: LegId, seconds: u64, cause: &'static str) {
        let end = self.clock.whole_seconds_after(Instant::now(), seconds);
        self.at(end, move |world| {
            if world.legs.get(&id).is_some_and(|l| l.is_up() && !l.is_answered()) {
                world.hangup(id, cause, false);
            }
        });
    }

    /// The phone that a dial string reaches, or the reason that none is reached.
    fn phone_of(&self, dial: &str) -> Result<String, String> {
        if let Some(phone) = self.phones.get(dial) {
            return self.reachable(dial, phone.registration);
        }
        if let Some(address) = dial.strip_prefix("sofia/internal/sip:") {
            let (user, port) = address.split_once("@127.0.0.1:").unwrap_or_default();
            let port = port.split(';').next().unwrap_or_default();
            let mut phones = self.phones_of(user);
            let found = phones.find(|(_, phone)| phone.port.to_string() == port);
            return found.map(|(name, _)| name.clone()).ok_or_else(|| "NO_USER_RESPONSE".into());
        }
        let Some(user) = dial.strip_prefix("user/") else {
            return Err(if dial.starts_with("sofia/") { "NO_ROUTE_DESTINATION" } else { "CHAN_NOT_IMPLEMENTED" }.into());
        };
        let (user, domain) = user.split_once('@').unwrap_or((user, &self.config.domain));
        // Of several phones of one account only the first is rung: the leg has only one UUID, and each further leg is a
        // "Duplicate UUID!".
        let mut phones = self.phones_of(user);
        match (phones.next(), self.phones.get(user)) {
            (Some((name, _)), _) if domain == self.config.domain => Ok(name.clone()),
            (None, Some(phone)) if domain == self.config.domain => self.reachable(user, phone.registration),
            _ => Err("SUBSCRIBER_ABSENT".into()),
        }
    }

    /// The registered phones of an account.
    pub(crate) fn phones_of<'a>(&'a self, user: &'a str) -> impl Iterator<Item = (&'a String, &'a PhoneState)> {
        self.phones
            .iter()
            .filter(move |(name, phone)| account(name) == user && phone.registration == Registration::Registered)
    }

    fn reachable(&self, number: &str, registration: Registration) -> Result<String, String> {
        match registration {
            Registration::Registered => Ok(number.to_owned()),
            Registration::Unregistered => Err("USER_NOT_REGISTERED".into()),
            Registration::Unknown => Err("SUBSCRIBER_ABSENT".into()),
            Registration::GatewayDown => Err("GATEWAY_DOWN".into()),
        }
    }

    /// 180: the phone rings.
    pub(crate) fn progress(&mut self, id: LegId) {
        let micros = self.micros();
        let tag = self.rng.word(8);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !leg.is_up() || leg.times.progress != 0 {
            return;
        }
        leg.times.progress = micros;
        leg.profile.addr = "127.0.0.1".into();
        let display = leg.profile.name.clone();
        let (number, to) = (leg.profile.number.clone(), leg.profile.destination.clone());
        leg.vars.set("sip_from_display", display);
        leg.vars.set("sip_from_user", number);
        leg.vars.set("sip_to_user", to);
        leg.vars.set("sip_to_host", "127.0.0.1");
        leg.vars.set("sip_to_tag", tag);
        leg.vars.set("sip_network_ip", "127.0.0.1");
        self.fire_leg(id, "CHANNEL_PROGRESS", true, &[]);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.call_state = "RINGING";
        }
        self.progress_half(id);
    }

    /// 200: the phone answered.
    pub(crate) fn dial_answered(&mut self, id: LegId) {
        self.mark_answered(id);
        self.note_answered(id);
        let Some(leg) = self.legs.get(&id) else { return };
        let on_answer = |prefix: &str| -> Vec<String> {
            leg.vars.iter().filter(|(n, _)| n.starts_with(prefix)).map(|(_, v)| v.to_owned()).collect()
        };
        let (commands, applications) = (on_answer("api_on_answer"), on_answer("execute_on_answer"));
        for text in applications {
            let (app, arg) = match text.split_once("::") {
                Some(parts) => parts,
                None => crate::command::split(&text),
            };
            let uuid = self.rng.uuid();
            self.execute(id, app, arg, uuid, false, 1);
        }
        for text in commands {
            let text = self.expand(Some(id), &text);
            let (name, arg) = crate::command::split(&text);
            let _ = self.api(name, arg, Waiter::Nobody);
        }
        if let Some(Waiter::Bridge(aleg)) =
            self.legs.get(&id).and_then(|l| l.dialing.as_ref()).map(|d| d.waiter.clone())
        {
            // The bridging leg's own `group_confirm_*` apply to this leg as well.
            if let Some(until) = self.confirmed_by(id).or_else(|| self.confirmed_by(aleg)) {
                return self.at(until, move |world| world.unconfirmed(aleg, id));
            }
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.dialing = None;
            }
            if let Some(leg) = self.legs.get_mut(&aleg) {
                leg.dialed_peer = None;
            }
            return self.bridge_answered(aleg, id);
        }
        let confirmed_within = self.confirmed_by(id);
        let delay = self.config.timing.originate_done;
        self.after(delay, move |world| world.originated(id, confirmed_within));
    }

    /// The time at which a leg without confirmation is given up: its limit must be exceeded, in whole seconds of the
    /// calendar.
    fn confirmed_by(&self, id: LegId) -> Option<Instant> {
        let leg = self.legs.get(&id).filter(|l| l.vars.get("group_confirm_key").is_some())?;
        let within = leg.vars.get("group_confirm_timeout").and_then(|t| t.trim().parse().ok()).unwrap_or(60);
        Some(self.clock.whole_seconds_after(Instant::now(), within + 1))
    }

    /// The phone that a `bridge` rings has not been confirmed (in this simulation it never is).
    fn unconfirmed(&mut self, aleg: LegId, id: LegId) {
        if self.legs.get(&id).is_some_and(|l| l.is_up() && l.bridge.is_none()) && self.is_dialing_bridge(aleg) {
            self.hangup(id, "ALLOTTED_TIMEOUT", false);
        }
    }

    /// `originate` has its answer: its caller gets the result, and the leg continues. A leg that still needs
    /// confirmation is checked (measured: every 20 ms) until another command has connected it, or that has taken too
    /// long.
    fn originated(&mut self, id: LegId, confirmed_within: Option<Instant>) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if !leg.is_up() || leg.dialing.is_none() {
            return;
        }
        if let Some(until) = confirmed_within.filter(|_| leg.bridge.is_none() && leg.state != State::Routing) {
            if Instant::now() >= until {
                return self.hangup(id, "ALLOTTED_TIMEOUT", false);
            }
            let look = Duration::from_millis(20);
            return self.after(look, move |world| world.originated(id, confirmed_within));
        }
        let Some(dialing) = leg.dialing.take() else { return };
        leg.frame_base = Instant::now();
        // Measured: `originate` does not hand on a leg that was bridged on its answer.
        let text =
            if leg.bridge.is_some() { "-ERR ORIGINATOR_CANCEL\n".to_owned() } else { format!("+OK {}\n", leg.uuid) };
        match &dialing.waiter {
            Waiter::Job(job) => self.job_done(&job.clone(), &text),
            Waiter::Api(conn) => self.unblock(*conn, Some(&text)),
            Waiter::Bridge(_) | Waiter::Nobody => {}
        }
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.bridge.is_some() || leg.state == State::Routing {
            return;
        }
        let (name, number) = (leg.profile.name.clone(), leg.profile.number.clone());
        leg.vars.set("pre_transfer_caller_id_name", name.as_str());
        leg.vars.set("pre_transfer_caller_id_number", number.as_str());
        leg.vars.set("channel_cid_flipped", "yes");
        leg.profile.callee_name = name;
        leg.profile.callee_number = number;
        leg.profile.name = "Outbound Call".into();
        leg.profile.number = leg.profile.destination.clone();
        leg.running = State::Execute;
        leg.state = State::Execute;
        leg.hit_dialplan = true;
        leg.plan = [(dialing.app, dialing.arg)].into();
        self.advance(id);
    }

    /// Checks a while later that a ringing leg still has a caller.
    pub(crate) fn watch_rings_for(&mut self, uuid: &str) {
        let Some(ringing) = self.rings.get(uuid).cloned() else {
            return;
        };
        let bound = self.config.bounds.stray_ring;
        for id in ringing {
            self.after(bound, move |world| world.note_stray(id));
        }
    }
}
