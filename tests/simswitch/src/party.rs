//! Phones and callers as the world keeps them, and the legs that belong to them.

use crate::audio::{AudioLog, Segment, Sound};
use crate::leg::{Bridge, Direction, Leg, LegId, Owner, Profile, State, Times};
use crate::observe::Violation;
use crate::refusal;
use crate::template;
use crate::world::World;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Whether the switch can reach a phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// In the directory and registered.
    Registered,
    /// In the directory, not registered: `USER_NOT_REGISTERED`.
    Unregistered,
    /// Not in the directory: `SUBSCRIBER_ABSENT`.
    Unknown,
    /// Behind a gateway that FreeSWITCH considers down: `GATEWAY_DOWN`.
    GatewayDown,
}

/// The behaviour of a phone that is rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Rings; the test decides.
    Manual,
    /// Answers after ringing this long.
    Answer {
        /// Ring time.
        after: Duration,
    },
    /// Answers after ringing this long and hangs up after talking this long.
    Converse {
        /// Ring time.
        after: Duration,
        /// From the answer to the hang-up.
        talk: Duration,
    },
    /// Rings until the caller or the switch ends it.
    Ignore,
    /// Answers 486 at once.
    Busy,
    /// Answers 603 after ringing this long.
    Decline {
        /// Ring time.
        after: Duration,
    },
    /// Answers with another final status.
    Refuse {
        /// Ring time; zero: at once, without a 18x.
        after: Duration,
        /// 400 and above.
        status: u16,
    },
    /// Answers 302, without ringing.
    Forward {
        /// The number in its Contact.
        to: &'static str,
    },
    /// Does not answer the INVITE at all: `RECOVERY_ON_TIMER_EXPIRE` when SIP gives up.
    Crash,
}

/// A call a phone shows as missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// When the ringing ended.
    pub at: Duration,
    /// The number it showed.
    pub number: String,
    /// The name it showed.
    pub name: String,
    /// The reason the ringing ended.
    pub cause: String,
}

/// A phone that rings or rang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// When the ringing began.
    pub at: Duration,
    /// UUID of the leg.
    pub leg: String,
    /// The number shown.
    pub number: String,
    /// The name shown.
    pub name: String,
    /// The caller it rang for, if the `originate` named one.
    pub caller: Option<String>,
    /// When and why it ended without an answer, or `ANSWERED`.
    pub ended: Option<(Duration, String)>,
}

#[derive(Debug)]
pub(crate) struct PhoneState {
    pub(crate) registration: Registration,
    pub(crate) behaviour: Behaviour,
    pub(crate) notify: Arc<Notify>,
    pub(crate) port: u64,
    pub(crate) call_id: String,
    pub(crate) registered_at: u64,
    /// The parameters of the address in its contact.
    pub(crate) contact_params: String,
    /// `leg_timeout` in the dial string of the directory, in seconds.
    pub(crate) leg_timeout: Option<u64>,
    pub(crate) legs: Vec<LegId>,
    pub(crate) ringing: Vec<LegId>,
    pub(crate) rings: Vec<Ring>,
    pub(crate) missed: Vec<Missed>,
}

/// The account that a phone registers with: the part after `#` distinguishes several phones of one account.
pub(crate) fn account(phone: &str) -> &str {
    phone.split('#').next().unwrap_or(phone)
}

impl PhoneState {
    pub(crate) fn is_known(&self) -> bool {
        self.registration != Registration::Unknown
    }
}

#[derive(Debug)]
pub(crate) struct CallerState {
    pub(crate) leg: Option<LegId>,
    pub(crate) number: String,
    pub(crate) phone: Option<String>,
    pub(crate) notify: Arc<Notify>,
    pub(crate) began: Duration,
    pub(crate) first_offer: Option<Duration>,
    pub(crate) talked_to: Vec<(Duration, String)>,
    pub(crate) ended: Option<(Duration, String)>,
    pub(crate) history: Vec<Segment>,
}

/// The properties of a new leg.
pub(crate) struct NewLeg {
    pub(crate) uuid: String,
    pub(crate) direction: Direction,
    pub(crate) owner: Owner,
    pub(crate) name: String,
    pub(crate) number: String,
    pub(crate) destination: String,
    pub(crate) variables: Vec<(String, String)>,
}

impl World {
    pub(crate) fn new_leg(&mut self, new: NewLeg) -> LegId {
        let id = self.fresh();
        self.sessions += 1;
        let micros = self.micros();
        let inbound = new.direction == Direction::Inbound;
        let phone = match &new.owner {
            Owner::Phone(number) => Some(number.clone()),
            Owner::Caller(caller) => self.callers.get(caller).and_then(|c| c.phone.clone()),
            Owner::Half => None,
        };
        let half = new.owner == Owner::Half;
        let domain = new.variables.iter().find(|(name, _)| name == "domain_name").map(|(_, domain)| domain.clone());
        let domain = domain.unwrap_or_else(|| self.config.domain.clone());
        let port = phone.as_ref().and_then(|p| self.phones.get(p)).map_or(47_025, |p| p.port);
        let facts = template::Facts {
            uuid: &new.uuid,
            number: &new.number,
            name: &new.name,
            destination: &new.destination,
            phone: phone.as_deref().map(account),
            domain: &domain,
            micros,
            session: self.sessions,
            port,
        };
        let (channel_name, vars) = if half {
            template::half(&facts, inbound, &new.variables)
        } else if inbound {
            template::inbound(&facts, &mut self.rng, &new.variables)
        } else {
            template::outbound(&facts, &mut self.rng, &new.variables)
        };
        let (callee_name, callee_number) =
            if inbound { (String::new(), String::new()) } else { ("Outbound Call".into(), new.destination.clone()) };
        let mut leg = Leg {
            uuid: new.uuid.clone(),
            owner: new.owner,
            direction: new.direction,
            name: channel_name,
            running: State::Init,
            state: State::Routing,
            call_state: "DOWN",
            answer_state: "ringing",
            hit_dialplan: inbound,
            call_uuid: new.uuid.clone(),
            codec: inbound,
            profile: Profile {
                logical_inbound: inbound,
                username: if inbound { new.number.clone() } else { String::new() },
                dialplan: inbound,
                name: new.name.clone(),
                number: new.number.clone(),
                orig_name: new.name,
                orig_number: new.number.clone(),
                callee_name,
                callee_number,
                addr: if inbound { "127.0.0.1".into() } else { String::new() },
                ani: new.number,
                destination: new.destination,
                context: "default".into(),
                source: if inbound { "mod_sofia" } else { "src/switch_ivr_originate.c" },
                transfer_source: String::new(),
                rdnis: String::new(),
                index: 1,
            },
            times: Times { profile: micros, created: micros, ..Times::default() },
            other: Vec::new(),
            bridge_pair: None,
            vars,
            last_app: (String::new(), String::new()),
            stack: Vec::new(),
            messages: VecDeque::new(),
            plan: VecDeque::new(),
            frame_base: Instant::now(),
            tick_due: false,
            conn: None,
            bridge: None::<Bridge>,
            dialing: None,
            dialed_peer: None,
            holding: None,
            held_by: None,
            twin: None,
            rings_for: None,
            from_originate: false,
            held: false,
            cause: None,
            refused: None,
            routed: 0,
            stranded: false,
            audio: AudioLog::default(),
        };
        if self.faults.no_presence {
            leg.vars.remove("presence_id");
        }
        if inbound && phone.is_none() && !half {
            self.enter_public(&mut leg);
        }
        self.by_uuid.insert(new.uuid, id);
        if let Some(phone) = phone.and_then(|p| self.phones.get_mut(&p)) {
            phone.legs.push(id);
        }
        self.legs.insert(id, leg);
        self.stats.peak_legs = self.stats.peak_legs.max(self.legs.len());
        id
    }

    /// A trunk's call enters in the public context and is first transferred to the default one.
    fn enter_public(&mut self, leg: &mut Leg) {
        let destination = leg.profile.destination.clone();
        let source = format!("{}:{}:bl_xfer:{destination}/default/XML", leg.times.created / 1_000_000, self.rng.uuid());
        leg.profile.rdnis = destination;
        leg.profile.index = 2;
        leg.profile.transfer_source.clone_from(&source);
        leg.vars.set("max_forwards", "69");
        leg.vars.set("transfer_history", source.as_str());
        leg.vars.set("transfer_source", source);
    }

    /// The INVITE is at the phone.
    pub(crate) fn invite(&mut self, id: LegId) {
        let Some(leg) = self.legs.get(&id).filter(|l| l.is_up()) else {
            return;
        };
        let Owner::Phone(number) = leg.owner.clone() else {
            return;
        };
        let Some(behaviour) = self.phones.get(&number).map(|p| p.behaviour) else {
            return;
        };
        if behaviour == Behaviour::Crash {
            let wait = self.config.timing.sip_timeout;
            self.after(wait, move |world| {
                if world.legs.get(&id).is_some_and(|l| !l.is_answered()) {
                    world.hangup(id, "RECOVERY_ON_TIMER_EXPIRE", false);
                }
            });
            return;
        }
        let progress = self.config.timing.progress;
        match behaviour {
            Behaviour::Refuse { after: Duration::ZERO, status } => {
                return self.after(progress, move |world| world.phone_refuses(id, status));
            }
            Behaviour::Forward { to } => return self.after(progress, move |world| world.phone_forwards(id, to)),
            _ => {}
        }
        self.after(progress, move |world| world.progress(id));
        if behaviour == Behaviour::Busy {
            return self.after(progress + refusal::BUSY, move |world| world.phone_refuses(id, 486));
        }
        self.begin_ring(&number, id);
        match behaviour {
            Behaviour::Answer { after } => self.after(progress.max(after), move |world| world.phone_answers(id)),
            Behaviour::Converse { after, talk } => {
                let ring = progress.max(after);
                self.after(ring, move |world| world.phone_answers(id));
                self.after(ring + talk, move |world| {
                    if world.legs.get(&id).is_some_and(Leg::is_answered) {
                        world.hangup(id, "NORMAL_CLEARING", true);
                    }
                });
            }
            Behaviour::Decline { after } => {
                self.after(progress.max(after), move |world| world.phone_refuses(id, 603));
            }
            Behaviour::Refuse { after, status } => {
                self.after(progress.max(after), move |world| world.phone_refuses(id, status));
            }
            Behaviour::Manual | Behaviour::Ignore | Behaviour::Busy | Behaviour::Crash | Behaviour::Forward { .. } => {}
        }
    }

    fn begin_ring(&mut self, number: &str, id: LegId) {
        let at = self.clock.elapsed();
        let Some(leg) = self.legs.get(&id) else { return };
        let caller = leg.rings_for.clone();
        let ring = Ring {
            at,
            leg: leg.uuid.clone(),
            number: leg.profile.number.clone(),
            // mod_sofia drops the text before a colon in the display name.
            name: leg.profile.name.rsplit(':').next().unwrap_or_default().trim().to_owned(),
            caller: caller.clone(),
            ended: None,
        };
        let keep = self.config.keep_history;
        let Some(phone) = self.phones.get_mut(number) else {
            return;
        };
        phone.ringing.push(id);
        if !keep {
            phone.rings.retain(|r| r.ended.is_none());
        }
        phone.rings.push(ring);
        phone.notify.notify_waiters();
        let gone = caller.as_ref().is_some_and(|uuid| self.up_leg(uuid).is_none());
        if let Some(uuid) = caller.filter(|_| gone) {
            self.watch_rings_for(&uuid);
        }
    }

    pub(crate) fn phone_answers(&mut self, id: LegId) {
        let Some(leg) = self.legs.get(&id).filter(|l| l.is_up() && !l.is_answered()) else {
            return;
        };
        let Owner::Phone(number) = leg.owner.clone() else {
            return;
        };
        self.end_ring(&number, id, "ANSWERED");
        self.progress(id);
        self.dial_answered(id);
    }

    pub(crate) fn end_ring(&mut self, number: &str, id: LegId, why: &str) -> bool {
        let at = self.clock.elapsed();
        let uuid = self.legs.get(&id).map(|l| l.uuid.clone()).unwrap_or_default();
        let Some(phone) = self.phones.get_mut(number) else {
            return false;
        };
        let before = phone.ringing.len();
        phone.ringing.retain(|ringing| *ringing != id);
        let rang = phone.ringing.len() != before;
        if rang && let Some(ring) = phone.rings.iter_mut().rev().find(|r| r.leg == uuid) {
            ring.ended = Some((at, why.to_owned()));
        }
        phone.notify.notify_waiters();
        rang
    }

    /// A leg is being hung up: the phone stops ringing, and shows a missed call unless the call was taken elsewhere.
    pub(crate) fn ringing_ended(&mut self, id: LegId, cause: &str) {
        let Some(leg) = self.legs.get(&id) else { return };
        let Owner::Phone(number) = leg.owner.clone() else {
            return;
        };
        let (shown, name) = (leg.profile.number.clone(), leg.profile.name.clone());
        if !self.end_ring(&number, id, cause) || matches!(cause, "LOSE_RACE" | "PICKED_OFF") {
            return;
        }
        let at = self.clock.elapsed();
        if let Some(phone) = self.phones.get_mut(&number) {
            phone.missed.push(Missed { at, number: shown, name, cause: cause.to_owned() });
        }
    }

    /// The name of a leg's party for the party that hears it.
    pub(crate) fn party(&self, id: LegId) -> String {
        match self.legs.get(&id).map(|l| &l.owner) {
            Some(Owner::Phone(number)) => number.clone(),
            Some(Owner::Caller(caller)) => self
                .callers
                .get(caller)
                .map(|c| c.phone.clone().unwrap_or_else(|| c.number.clone()))
                .unwrap_or_default(),
            Some(Owner::Half) => self.beyond(id).map(|far| self.party(far)).unwrap_or_default(),
            None => String::new(),
        }
    }

    pub(crate) fn describe(&self, id: LegId) -> String {
        match self.legs.get(&id).map(|l| &l.owner) {
            Some(Owner::Phone(_)) => format!("phone {}", self.party(id)),
            _ => format!("caller {}", self.party(id)),
        }
    }

    /// Notifies the handle of this leg's party of a change.
    pub(crate) fn ring_owner(&mut self, id: LegId) {
        let Some(leg) = self.legs.get(&id) else { return };
        match &leg.owner {
            Owner::Phone(number) => {
                if let Some(phone) = self.phones.get(number) {
                    phone.notify.notify_waiters();
                }
                let silent = leg.is_answered() && leg.is_up() && !leg.held;
                if let (true, Some(Segment { at, sound: Sound::Silence, .. })) = (silent, leg.audio.now.clone()) {
                    let bound = self.config.bounds.silence;
                    self.after(bound, move |world| world.note_silence(id, at));
                }
            }
            Owner::Caller(caller) => {
                if let Some(caller) = self.callers.get(caller) {
                    caller.notify.notify_waiters();
                    if let Some(phone) = caller.phone.as_ref().and_then(|p| self.phones.get(p)) {
                        phone.notify.notify_waiters();
                    }
                }
            }
            Owner::Half => {}
        }
    }

    /// A leg has left the world.
    pub(crate) fn owner_gone(&mut self, leg: &Leg, cause: &str) {
        let at = self.clock.elapsed();
        let phone = match &leg.owner {
            Owner::Phone(number) => Some(number.clone()),
            Owner::Caller(caller) => self.callers.get_mut(caller).and_then(|caller| {
                caller.leg = None;
                caller.ended = Some((at, cause.to_owned()));
                caller.history = leg.audio.history();
                caller.notify.notify_waiters();
                caller.phone.clone()
            }),
            Owner::Half => None,
        };
        if let Some(phone) = phone.and_then(|p| self.phones.get_mut(&p)) {
            phone.legs.retain(|id| self.legs.contains_key(id));
            phone.notify.notify_waiters();
        }
    }

    pub(crate) fn violate(&mut self, violation: Violation) {
        self.violations.push(violation);
    }
}
