//! The handle on the whole switch.

use crate::caller::{CallSpec, Caller};
use crate::config::Config;
use crate::conn::{Connector, Stream};
use crate::fault::Faults;
use crate::observe::{CallStats, LegView, SecurityRecord, Violation};
use crate::party::Registration;
use crate::phone::Phone;
use crate::world::{Shared, World};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// A simulated FreeSWITCH. Cheap to clone; needs a tokio runtime around it.
#[derive(Clone)]
pub struct SimSwitch {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for SimSwitch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimSwitch")
    }
}

/// The state of a lamp key: the last `sendevent PRESENCE_IN` for its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lamp {
    /// `*4199900*1001@DOMAIN`
    pub entity: String,
    /// Whether it is lit.
    pub lit: bool,
    /// All headers of the event.
    pub headers: Vec<(String, String)>,
}

impl SimSwitch {
    /// Starts a switch. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { shared: Shared::start(config) }
    }

    /// Sets how the `socket` application reaches the controller: a closure from `HOST:PORT` to a stream, or an error
    /// for a refused connection. Without one, every connection is refused.
    pub fn dial_out_via(&self, connector: impl Connector) {
        self.shared.change(|world| world.connector = Some(Arc::new(connector)));
    }

    /// The `socket` application connects over TCP to the address the dialplan names.
    pub fn dial_out_tcp(&self) {
        self.dial_out_via(|target: String| async move {
            let stream = tokio::net::TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
    }

    /// The `socket` application connects over TCP to this address, whatever the dialplan names.
    pub fn dial_out_to(&self, address: std::net::SocketAddr) {
        self.dial_out_via(move |_target: String| async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
    }

    /// Serves one connection to the inbound listener (port 8021).
    pub fn accept(&self, stream: impl Stream) {
        self.shared.change(|world| {
            world.open_conn(Box::new(stream), None, true);
        });
    }

    /// Serves the inbound listener until the task that runs this is dropped.
    ///
    /// # Errors
    /// When the listening socket fails.
    pub async fn listen(&self, listener: TcpListener) -> std::io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            self.accept(stream);
        }
    }

    /// The phone of that number or, for phones outside the directory, of that whole dial string
    /// (`sofia/gateway/mobile/0791234567`). Further phones that register with the same account have a `#` and their own
    /// name after the number: `1001#soft`. A new one is created, registered and [`crate::Behaviour::Manual`].
    #[must_use]
    pub fn phone(&self, number: &str) -> Phone {
        self.shared.change(|world| {
            if !world.phones.contains_key(number) {
                world.register(number, Registration::Registered);
            }
        });
        Phone { shared: self.shared.clone(), number: number.to_owned() }
    }

    /// Makes a call.
    #[must_use]
    pub fn call(&self, spec: &CallSpec) -> Caller {
        let (id, uuid) = self.shared.change(|world| world.call(spec));
        Caller::new(self.shared.clone(), id, uuid)
    }

    /// Time since the start of the switch: the scale of every time in views.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.read(|world| world.clock.elapsed())
    }

    /// Every living leg.
    #[must_use]
    pub fn legs(&self) -> Vec<LegView> {
        self.shared.read(|world| {
            world.legs.iter().filter(|(_, leg)| leg.is_up()).map(|(id, leg)| world.view(*id, leg)).collect()
        })
    }

    /// A variable of a leg that lives.
    #[must_use]
    pub fn variable(&self, uuid: &str, name: &str) -> Option<String> {
        self.shared.read(|world| world.legs.get(&world.leg_id(uuid)?)?.vars.get(name).map(str::to_owned))
    }

    /// The caller name and number that a leg sends.
    #[must_use]
    pub fn show_caller(&self, uuid: &str) -> Option<(String, String)> {
        self.shared.read(|world| {
            let profile = &world.legs.get(&world.leg_id(uuid)?)?.profile;
            Some((profile.name.clone(), profile.number.clone()))
        })
    }

    /// The number of living legs.
    #[must_use]
    pub fn leg_count(&self) -> usize {
        self.shared.read(|world| world.legs.len())
    }

    /// Every rule broken so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.read(|world| world.violations.clone())
    }

    /// Every piece of text that FreeSWITCH would execute.
    #[must_use]
    pub fn executed(&self) -> Vec<SecurityRecord> {
        self.shared.read(|world| world.security.clone())
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> CallStats {
        self.shared.read(|world| world.stats.clone())
    }

    /// Forgets callers whose calls have ended: their handles stay empty. For long load runs.
    pub fn forget_ended(&self) {
        self.shared.change(|world| world.callers.retain(|_, caller| caller.ended.is_none()));
    }

    /// Connections open now, outbound and inbound.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.read(|world| world.conns.len())
    }

    /// The lamps as set by the last event for each, in the order of their first event.
    #[must_use]
    pub fn lamps(&self) -> Vec<Lamp> {
        self.shared.read(|world| {
            let mut lamps: Vec<Lamp> = Vec::new();
            for headers in &world.presence {
                let get = |name: &str| {
                    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, v)| v.as_str())
                };
                let lamp = Lamp {
                    entity: get("from").to_owned(),
                    lit: get("answer-state") == "confirmed",
                    headers: headers.clone(),
                };
                match lamps.iter_mut().find(|l| l.entity == lamp.entity) {
                    Some(old) => *old = lamp,
                    None => lamps.push(lamp),
                }
            }
            lamps
        })
    }

    /// Whether that lamp is lit (`*4199900*1001`, with or without the domain).
    #[must_use]
    pub fn is_lit(&self, entity: &str) -> bool {
        let is = |l: &Lamp| {
            if entity.contains('@') { l.entity == entity } else { l.entity.split('@').next() == Some(entity) }
        };
        self.lamps().iter().any(|l| l.lit && is(l))
    }

    /// Changes the faults in force.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        self.shared.change(|world| change(&mut world.faults));
    }

    /// Breaks every open connection: the same as when the network or the switch's module fails, or when a controller is
    /// killed.
    pub fn cut_connections(&self) {
        self.shared.change(|world| {
            let all: Vec<_> = world.conns.keys().copied().collect();
            for id in all {
                world.end_conn(id);
            }
        });
    }

    /// No connection reads or sends until [`Self::thaw`]; calls continue.
    pub fn freeze(&self) {
        self.shared.change(|world| world.set_frozen(true));
    }

    /// Ends a [`Self::freeze`]: the delayed data is read and sent.
    pub fn thaw(&self) {
        self.shared.change(|world| world.set_frozen(false));
    }

    /// The switch dies and starts again: every channel and every connection is gone without an event, phones are known
    /// and registered as before.
    pub fn restart(&self) {
        self.shared.change(World::restart);
    }

    /// Waits until `condition` holds; it is checked again after every change of the switch.
    ///
    /// # Panics
    /// After [`Config::patience`].
    pub async fn wait_until(&self, condition: impl Fn(&Self) -> bool) {
        let say = |_: &bool| format!("legs: {:?}", self.legs());
        self.shared.wait_for(&self.shared.changed, || condition(self), |met| *met, say).await;
    }
}

impl World {
    fn set_frozen(&mut self, frozen: bool) {
        self.faults.frozen = frozen;
        let all: Vec<_> = self.conns.keys().copied().collect();
        for id in all {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.frozen = frozen;
                conn.writable.notify_one();
            }
            if !frozen {
                self.work_off(id);
                self.flush(id);
            }
        }
    }

    fn restart(&mut self) {
        self.life += 1;
        let at = self.clock.elapsed();
        let legs = std::mem::take(&mut self.legs);
        self.table = crate::show::Table::default();
        self.by_uuid.clear();
        self.rings.clear();
        self.jobs.clear();
        self.held_back.clear();
        for (_, leg) in legs {
            if let crate::leg::Owner::Caller(caller) = leg.owner
                && let Some(caller) = self.callers.get_mut(&caller)
            {
                caller.leg = None;
                caller.ended = Some((at, "CRASH".into()));
                caller.history = leg.audio.history();
                caller.notify.notify_waiters();
            }
        }
        for phone in self.phones.values_mut() {
            phone.legs.clear();
            phone.ringing.clear();
            for ring in phone.rings.iter_mut().filter(|r| r.ended.is_none()) {
                ring.ended = Some((at, "CRASH".into()));
            }
            phone.notify.notify_waiters();
        }
        let all: Vec<_> = self.conns.keys().copied().collect();
        for id in all {
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.session_down = true;
                conn.out.clear();
            }
            self.end_conn(id);
        }
        self.core_uuid = self.rng.uuid();
        self.schedule_heartbeat();
    }
}
