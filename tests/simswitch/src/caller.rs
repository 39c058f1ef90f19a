//! A test's handle on a caller.

use crate::audio::{Segment, Sound};
use crate::leg::{Direction, LegId, Owner, Work};
use crate::party::{CallerState, NewLeg};
use crate::world::{Shared, World};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A call to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallSpec {
    destination: String,
    number: String,
    name: String,
    phone: Option<String>,
    watched: bool,
    variables: Vec<(String, String)>,
}

impl CallSpec {
    /// A call from a trunk: no authenticated user.
    #[must_use]
    pub fn trunk(number: &str, destination: &str) -> Self {
        Self { destination: destination.into(), number: number.into(), ..Self::default() }
    }

    /// A call from a phone of the directory, authenticated as that phone.
    #[must_use]
    pub fn phone(phone: &str, destination: &str) -> Self {
        Self { destination: destination.into(), number: phone.into(), phone: Some(phone.into()), ..Self::default() }
    }

    /// A call without authentication through a profile that manages presence: its `presence_id` is the user in its From
    /// (`sofia_handle_sip_i_invite` in sofia.c).
    #[must_use]
    pub fn guest(claims: &str, destination: &str) -> Self {
        Self { watched: true, ..Self::trunk(claims, destination) }
    }

    /// The display name. Default: the number.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The user in the phone's From; the authenticated user stays the phone.
    #[must_use]
    pub fn claims(mut self, number: &str) -> Self {
        number.clone_into(&mut self.number);
        self
    }

    /// The directory domain of the phone or, for a trunk, the domain that the dialplan gives the call. Default: the
    /// switch's.
    #[must_use]
    pub fn domain(self, domain: &str) -> Self {
        self.variable("domain_name", domain)
    }

    /// A channel variable (a SIP header is `sip_h_X-...`).
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }
}

/// The state of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerView {
    /// The sound the caller hears.
    pub hears: Sound,
    /// Whether the call was answered.
    pub answered: bool,
    /// The sounds started and not ended, outermost first.
    pub sounds: Vec<String>,
    /// When and why the call ended.
    pub ended: Option<(Duration, String)>,
    /// The parties the caller has talked to so far, with the times.
    pub talked_to: Vec<(Duration, String)>,
    /// Parked for ever without a connection in charge.
    pub stranded: bool,
}

impl CallerView {
    /// The party the caller talks to.
    #[must_use]
    pub fn talks_to(&self) -> Option<&str> {
        match &self.hears {
            Sound::Party(number) if self.ended.is_none() => Some(number),
            _ => None,
        }
    }
}

/// A caller on the line. Cheap to clone.
#[derive(Clone)]
pub struct Caller {
    shared: Arc<Shared>,
    id: u64,
    uuid: String,
}

impl std::fmt::Debug for Caller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Caller({})", self.uuid)
    }
}

impl World {
    pub(crate) fn call(&mut self, spec: &CallSpec) -> (u64, String) {
        let caller = self.fresh();
        let uuid = self.rng.uuid();
        self.stats.calls += 1;
        let state = CallerState {
            leg: None,
            number: spec.number.clone(),
            phone: spec.phone.clone(),
            notify: Arc::new(Notify::new()),
            began: self.clock.elapsed(),
            first_offer: None,
            talked_to: Vec::new(),
            ended: None,
            history: Vec::new(),
        };
        self.callers.insert(caller, state);
        let name = if spec.name.is_empty() { spec.number.clone() } else { spec.name.clone() };
        let mut variables = spec.variables.clone();
        if spec.watched {
            variables.push(("presence_id".into(), format!("{}@{}", spec.number, self.config.domain)));
        }
        let leg = self.new_leg(NewLeg {
            uuid: uuid.clone(),
            direction: Direction::Inbound,
            owner: Owner::Caller(caller),
            name,
            number: spec.number.clone(),
            destination: spec.destination.clone(),
            variables,
        });
        if let Some(state) = self.callers.get_mut(&caller) {
            state.leg = Some(leg);
        }
        self.hear(leg);
        self.fire_leg(leg, "CHANNEL_CREATE", true, &[]);
        self.after(Duration::ZERO, move |world| {
            if let Some(ringing) = world.legs.get_mut(&leg).filter(|l| l.is_up()) {
                ringing.call_state = "RINGING";
                world.route(leg);
            }
        });
        (caller, uuid)
    }

    pub(crate) fn dtmf(&mut self, id: LegId, digit: char) {
        let Some(leg) = self.legs.get(&id).filter(|l| l.is_up()) else {
            return;
        };
        let terminators = leg.vars.get("playback_terminators").unwrap_or("*").to_owned();
        let digit_text = digit.to_string();
        let extra = [("DTMF-Digit", digit_text.as_str()), ("DTMF-Duration", "960"), ("DTMF-Source", "RTP")];
        self.fire_leg(id, "DTMF", false, &extra);
        let ends = terminators == "any" || (terminators != "none" && terminators.contains(digit));
        if ends && self.legs.get(&id).and_then(|l| l.stack.last()).is_some_and(|f| matches!(f.work, Work::Sound { .. }))
        {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.vars.set("playback_terminator_used", digit_text);
            }
            self.break_sound(id);
        }
    }

    fn caller_view(&self, id: u64) -> CallerView {
        let nothing = CallerView {
            hears: Sound::Ringing,
            answered: false,
            sounds: Vec::new(),
            ended: None,
            talked_to: Vec::new(),
            stranded: false,
        };
        let Some(caller) = self.callers.get(&id) else {
            return nothing;
        };
        let leg = caller.leg.and_then(|l| self.legs.get(&l));
        CallerView {
            hears: leg.and_then(|l| l.audio.now.as_ref()).map_or(Sound::Ringing, |s| s.sound.clone()),
            answered: leg.is_some_and(|l| l.is_answered()),
            sounds: leg
                .map(|l| {
                    l.stack.iter().filter(|f| matches!(f.work, Work::Sound { .. })).map(|f| f.data.clone()).collect()
                })
                .unwrap_or_default(),
            ended: caller.ended.clone(),
            talked_to: caller.talked_to.clone(),
            stranded: leg.is_some_and(|l| l.stranded && l.conn.is_none()),
        }
    }
}

impl Caller {
    pub(crate) fn new(shared: Arc<Shared>, id: u64, uuid: String) -> Self {
        Self { shared, id, uuid }
    }

    /// UUID of the caller's leg.
    #[must_use]
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// The caller's current state.
    #[must_use]
    pub fn view(&self) -> CallerView {
        self.shared.read(|world| world.caller_view(self.id))
    }

    /// The sound the caller hears now.
    #[must_use]
    pub fn hears(&self) -> Sound {
        self.view().hears
    }

    /// Every sound the caller heard so far, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Segment> {
        self.shared.read(|world| {
            let Some(caller) = world.callers.get(&self.id) else {
                return Vec::new();
            };
            match caller.leg.and_then(|l| world.legs.get(&l)) {
                Some(leg) => leg.audio.history(),
                None => caller.history.clone(),
            }
        })
    }

    /// When and why the call ended.
    #[must_use]
    pub fn ended(&self) -> Option<(Duration, String)> {
        self.view().ended
    }

    /// A variable of the caller's channel.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<String> {
        self.shared.read(|world| world.legs.get(&world.leg_id(&self.uuid)?)?.vars.get(name).map(str::to_owned))
    }

    /// Hangs up.
    pub fn hang_up(&self) {
        self.shared.change(|world| {
            if let Some(id) = world.up_leg(&self.uuid) {
                world.hangup(id, "NORMAL_CLEARING", true);
            }
        });
    }

    /// Presses a key.
    pub fn dtmf(&self, digit: char) {
        self.shared.change(|world| {
            if let Some(id) = world.up_leg(&self.uuid) {
                world.dtmf(id, digit);
            }
        });
    }

    /// Waits until the caller's state satisfies `condition`.
    ///
    /// # Panics
    /// After [`crate::Config::patience`].
    pub async fn wait_for(&self, condition: impl Fn(&CallerView) -> bool) -> CallerView {
        let found = self.shared.read(|world| world.callers.get(&self.id).map(|one| one.notify.clone()));
        let Some(bell) = found else { return self.view() };
        let say = |view: &CallerView| format!("caller {}: {view:?}", self.uuid);
        self.shared.wait_for(&bell, || self.view(), condition, say).await
    }

    /// Waits until the caller hears a sound whose name contains `name`.
    pub async fn wait_hears(&self, name: &str) {
        self.wait_for(|view| matches!(&view.hears, Sound::Playing(file) if file.contains(name))).await;
    }

    /// Waits until the caller talks to a party; returns its number.
    pub async fn wait_talking(&self) -> String {
        loop {
            if let Some(party) = self.wait_for(|view| view.talks_to().is_some()).await.talks_to() {
                return party.to_owned();
            }
        }
    }

    /// Waits for the end of the call; returns its cause.
    pub async fn wait_ended(&self) -> String {
        loop {
            if let Some((_, cause)) = self.wait_for(|view| view.ended.is_some()).await.ended {
                return cause;
            }
        }
    }
}
