//! A test's handle on a phone.

use crate::audio::Sound;
use crate::caller::Caller;
use crate::leg::{LegId, Owner};
use crate::party::{Behaviour, Missed, PhoneState, Registration, Ring};
use crate::world::{Shared, World};
use std::sync::Arc;
use tokio::sync::Notify;

/// A phone of the directory. Cheap to clone.
#[derive(Clone)]
pub struct Phone {
    pub(crate) shared: Arc<Shared>,
    pub(crate) number: String,
}

impl std::fmt::Debug for Phone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Phone({})", self.number)
    }
}

/// The state of a phone at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneView {
    /// Calls ringing, oldest first.
    pub ringing: Vec<Ring>,
    /// The sounds of the phone's answered calls, oldest first; empty when it is on the hook.
    pub calls: Vec<Sound>,
    /// Missed calls since the start of the switch.
    pub missed: Vec<Missed>,
    /// Reachable or not.
    pub registration: Registration,
}

impl PhoneView {
    /// The number of the party it talks to.
    #[must_use]
    pub fn talks_to(&self) -> Option<&str> {
        self.calls.iter().find_map(|sound| match sound {
            Sound::Party(number) => Some(number.as_str()),
            _ => None,
        })
    }

    /// Neither rings nor is in a call.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.ringing.is_empty() && self.calls.is_empty()
    }
}

impl World {
    fn phone_view(&self, number: &str) -> Option<PhoneView> {
        let phone = self.phones.get(number)?;
        let calls = phone
            .legs
            .iter()
            .filter_map(|id| self.legs.get(id))
            .filter(|leg| leg.is_up() && (leg.is_answered() || matches!(leg.owner, Owner::Caller(_))))
            .map(|leg| leg.audio.now.as_ref().map_or(Sound::Ringing, |s| s.sound.clone()))
            .collect();
        Some(PhoneView {
            ringing: phone.rings.iter().filter(|r| r.ended.is_none()).cloned().collect(),
            calls,
            missed: phone.missed.clone(),
            registration: phone.registration,
        })
    }

    /// The phone's answered leg, the newest first.
    fn phone_leg(&self, number: &str) -> Option<LegId> {
        let phone = self.phones.get(number)?;
        let answered = |id: &LegId| self.legs.get(id).is_some_and(|l| l.is_up() && l.is_answered());
        phone.legs.iter().rev().copied().find(answered)
    }

    /// Adds a phone, or changes whether it can be reached. Registering and unregistering fire an event.
    pub(crate) fn register(&mut self, number: &str, registration: Registration) {
        let (call_id, port) = (self.rng.uuid().replace('-', ""), self.rng.between(30_000, 60_000));
        let registered_at = self.micros();
        let old = self.phones.get(number).map(|p| p.registration);
        match self.phones.get_mut(number) {
            Some(phone) => {
                phone.registration = registration;
                phone.registered_at = registered_at;
                phone.notify.notify_waiters();
            }
            None => {
                let phone = PhoneState {
                    registration,
                    behaviour: Behaviour::Manual,
                    notify: Arc::new(Notify::new()),
                    port,
                    call_id,
                    registered_at,
                    contact_params: String::new(),
                    leg_timeout: None,
                    legs: Vec::new(),
                    ringing: Vec::new(),
                    rings: Vec::new(),
                    missed: Vec::new(),
                };
                self.phones.insert(number.to_owned(), phone);
            }
        }
        if registration == Registration::Registered && old != Some(Registration::Registered) {
            self.fire_registration(number, true);
        } else if registration != Registration::Registered && old == Some(Registration::Registered) {
            self.fire_registration(number, false);
        }
    }

    fn fire_registration(&mut self, number: &str, on: bool) {
        let subclass = if on { "sofia::register" } else { "sofia::unregister" };
        let core = self.event("CUSTOM");
        let mut event = crate::event::Event::new("CUSTOM");
        event.subclass = Some(subclass.to_owned());
        event.push("Event-Subclass", subclass);
        event.headers.extend(core.headers);
        let domain = self.config.domain.clone();
        let Some(phone) = self.phones.get(number) else { return };
        let number = crate::party::account(number);
        let (port, call_id) = (phone.port.to_string(), phone.call_id.clone());
        let contact = format!("\"\" <sip:{number}@127.0.0.1:{port}>");
        let name = format!("Phone {number}");
        let common: &[(&'static str, &str)] = if on {
            &[
                ("profile-name", "internal"),
                ("from-user", number),
                ("from-host", &domain),
                ("presence-hosts", &domain),
                ("contact", &contact),
                ("call-id", &call_id),
                ("rpid", "unknown"),
                ("status", "Registered(UDP)"),
                ("expires", "3600"),
                ("to-user", number),
                ("to-host", &domain),
                ("network-ip", "127.0.0.1"),
                ("network-port", &port),
                ("username", number),
                ("realm", &domain),
                ("user-agent", "unknown"),
            ]
        } else {
            &[
                ("profile-name", "internal"),
                ("username", number),
                ("from-user", number),
                ("from-host", &domain),
                ("contact", &contact),
                ("call-id", &call_id),
                ("rpid", "unknown"),
                ("realm", &domain),
                ("network-ip", "127.0.0.1"),
                ("network-port", &port),
                ("user-agent", "unknown"),
                ("expires", "0"),
            ]
        };
        let user: &[(&'static str, &str)] = &[
            ("sip_number_alias", number),
            ("sip_auth_username", number),
            ("sip_auth_realm", &domain),
            ("number_alias", number),
            ("user_name", number),
            ("domain_name", &domain),
            ("user_context", "default"),
            ("effective_caller_id_name", &name),
            ("effective_caller_id_number", number),
        ];
        for (name, value) in common.iter().chain(user) {
            event.push(*name, *value);
        }
        self.fire(event);
    }
}

impl Phone {
    /// Its number.
    #[must_use]
    pub fn number(&self) -> &str {
        &self.number
    }

    /// Sets its behaviour when it is rung from now on.
    #[must_use]
    pub fn on_ring(self, behaviour: Behaviour) -> Self {
        self.shared.change(|world| {
            if let Some(phone) = world.phones.get_mut(&self.number) {
                phone.behaviour = behaviour;
            }
        });
        self
    }

    /// Registers, unregisters, or takes the phone out of the directory.
    pub fn set_registration(&self, registration: Registration) {
        self.shared.change(|world| world.register(&self.number, registration));
    }

    /// Sets a `leg_timeout` of this many seconds in its dial string in the directory.
    pub fn set_leg_timeout(&self, seconds: u64) {
        self.shared.change(|world| {
            if let Some(phone) = world.phones.get_mut(&self.number) {
                phone.leg_timeout = Some(seconds);
            }
        });
    }

    /// Gives its contact these parameters, like those of a softphone that is woken by push messages.
    pub fn set_contact_params(&self, params: &str) {
        self.shared.change(|world| {
            if let Some(phone) = world.phones.get_mut(&self.number) {
                phone.contact_params = params.to_owned();
            }
        });
    }

    /// Its current state.
    #[must_use]
    pub fn view(&self) -> PhoneView {
        self.shared.read(|world| world.phone_view(&self.number)).unwrap_or(PhoneView {
            ringing: Vec::new(),
            calls: Vec::new(),
            missed: Vec::new(),
            registration: Registration::Unknown,
        })
    }

    /// Every ringing so far, oldest first.
    #[must_use]
    pub fn rings(&self) -> Vec<Ring> {
        self.shared.read(|world| world.phones.get(&self.number).map(|p| p.rings.clone()).unwrap_or_default())
    }

    /// Whether it rings.
    #[must_use]
    pub fn is_ringing(&self) -> bool {
        !self.view().ringing.is_empty()
    }

    /// Answers the oldest ringing call; false when none rings.
    pub fn answer(&self) -> bool {
        self.shared.change(|world| {
            let id = world.phones.get(&self.number).and_then(|p| p.ringing.first().copied());
            id.map(|id| world.phone_answers(id)).is_some()
        })
    }

    /// Declines the oldest ringing call (603); false when none rings.
    pub fn decline(&self) -> bool {
        self.refuse(603)
    }

    /// Refuses the oldest ringing call with a final status; false when none rings.
    pub fn refuse(&self, status: u16) -> bool {
        self.shared.change(|world| {
            let id = world.phones.get(&self.number).and_then(|p| p.ringing.first().copied());
            id.map(|id| world.phone_refuses(id, status)).is_some()
        })
    }

    /// Forwards the oldest ringing call to another number (302); false when none rings.
    pub fn forward(&self, to: &str) -> bool {
        self.shared.change(|world| {
            let id = world.phones.get(&self.number).and_then(|p| p.ringing.first().copied());
            id.map(|id| world.phone_forwards(id, to)).is_some()
        })
    }

    /// Hangs up the current call; false when there is none.
    pub fn hang_up(&self) -> bool {
        self.with_call(|world, id| {
            world.hangup(id, "NORMAL_CLEARING", true);
            true
        })
    }

    /// Transfers the party it talks to to another number (REFER); false when it talks to no party.
    pub fn blind_transfer(&self, destination: &str) -> bool {
        self.with_call(|world, id| world.blind_transfer(id, destination))
    }

    /// Transfers the party it talks to to the party of `other`, a second call of this phone (REFER with Replaces);
    /// false when FreeSWITCH refuses.
    pub fn attended_transfer(&self, other: &Caller) -> bool {
        self.shared.change(|world| {
            let Some(other) = world.up_leg(other.uuid()) else { return false };
            let legs = world.phones.get(&self.number).map(|phone| phone.legs.clone()).unwrap_or_default();
            let answered =
                |id: &LegId| *id != other && world.legs.get(id).is_some_and(|l| l.is_up() && l.is_answered());
            match legs.into_iter().rev().find(answered) {
                Some(id) => world.attended_transfer(id, other),
                None => false,
            }
        })
    }

    /// Puts the current call on hold.
    pub fn hold(&self) -> bool {
        self.with_call(|world, id| {
            world.hold(id, true);
            true
        })
    }

    /// Resumes the held call.
    pub fn unhold(&self) -> bool {
        self.with_call(|world, id| {
            world.hold(id, false);
            true
        })
    }

    /// The phone loses its power: its ringing is not heard and it answers no message, but the switch does not know. A
    /// conversation ends with `MEDIA_TIMEOUT` after a while.
    pub fn vanish(&self) {
        self.shared.change(|world| {
            let legs = world.phones.get_mut(&self.number).map(|phone| {
                phone.behaviour = Behaviour::Crash;
                phone.ringing.clear();
                phone.rings.retain(|ring| ring.ended.is_some());
                phone.legs.clone()
            });
            let wait = world.config.timing.media_timeout;
            for id in legs.unwrap_or_default() {
                if world.legs.get(&id).is_some_and(|leg| leg.is_answered()) {
                    world.after(wait, move |world| world.hangup(id, "MEDIA_TIMEOUT", false));
                }
            }
        });
    }

    /// A lamp key of this phone subscribes to a number: PRESENCE_PROBE.
    pub fn subscribe_lamp(&self, entity: &str) {
        let domain = self.shared.read(|world| world.config.domain.clone());
        self.subscribe_lamp_at(entity, &domain);
    }

    /// Like [`Self::subscribe_lamp`], in another domain than the phone's.
    pub fn subscribe_lamp_at(&self, entity: &str, domain: &str) {
        self.shared.change(|world| {
            let id = world.rng.uuid().replace('-', "");
            let mut event = world.event("PRESENCE_PROBE");
            let (from, to) =
                (format!("{}@{domain}", crate::party::account(&self.number)), format!("{entity}@{domain}"));
            for (name, value) in [
                ("probe-type", "dialog"),
                ("proto", "sip"),
                ("login", "internal"),
                ("sip_profile", "internal"),
                ("from", &from),
                ("to", &to),
                ("proto-specific-event-name", "dialog"),
                ("expires", "600"),
                ("event_type", "presence"),
                ("alt_event_type", "dialog"),
                ("expires", "600"),
                ("sub-call-id", &id),
            ] {
                event.push(name, value);
            }
            world.fire(event);
        });
    }

    /// Waits until the phone's state satisfies `condition`.
    ///
    /// # Panics
    /// After [`crate::Config::patience`].
    pub async fn wait_for(&self, condition: impl Fn(&PhoneView) -> bool) -> PhoneView {
        let found = self.shared.read(|world| world.phones.get(&self.number).map(|one| one.notify.clone()));
        let Some(bell) = found else { return self.view() };
        let say = |view: &PhoneView| format!("phone {}: {view:?}", self.number);
        self.shared.wait_for(&bell, || self.view(), condition, say).await
    }

    /// Waits until it rings; returns the ringing call.
    pub async fn wait_ringing(&self) -> Ring {
        loop {
            let view = self.wait_for(|view| !view.ringing.is_empty()).await;
            if let Some(ring) = view.ringing.first() {
                return ring.clone();
            }
        }
    }

    /// Waits until it talks to a party; returns its number.
    pub async fn wait_talking(&self) -> String {
        loop {
            if let Some(party) = self.wait_for(|view| view.talks_to().is_some()).await.talks_to() {
                return party.to_owned();
            }
        }
    }

    /// Waits until it neither rings nor is in a call.
    pub async fn wait_idle(&self) {
        self.wait_for(PhoneView::is_idle).await;
    }

    fn with_call(&self, f: impl FnOnce(&mut World, LegId) -> bool) -> bool {
        self.shared.change(|world| match world.phone_leg(&self.number) {
            Some(id) => f(world, id),
            None => false,
        })
    }
}
