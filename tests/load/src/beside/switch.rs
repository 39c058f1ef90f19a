//! The FreeSWITCH on which both are measured, and how either gets its turn.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use realswitch::machine;
use realswitch::switch::{DOMAIN, Plan, Switch};

use crate::daemon::{Daemon, Folder, QueueSpec, Setup};
use phones::Phones;

use super::Extent;

/// The queue with one agent.
pub(super) const ONE: usize = 0;
/// The queue for bursts.
pub(super) const BURST: usize = 1;
/// The queue in which callers wait.
pub(super) const WAITING: usize = 2;
/// Agents of the queue in which callers wait; all of them talk.
pub(super) const TALKING: usize = 10;
/// What callers hear: the ring tone of the daemon.
const RINGTONE: &str = "tone_stream://%(1000,4000,425);loops=-1";
/// Both: the agent whose last conversation ended longest ago.
const STRATEGIES: (&str, &str) = ("longest-idle", "longest-idle-agent");

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `freeswitch-queue`.
    Ours,
    /// `mod_callcenter`.
    Callcenter,
    /// No queue at all: the dialplan rings the agent whose number the caller dials. What FreeSWITCH itself takes.
    Bare,
}

/// The switch, the phones, and whoever has the turn.
pub struct Bench {
    daemon_binary: PathBuf,
    pub(super) switch: Switch,
    pub(super) phones: Phones,
    pub(super) daemon: Option<Daemon>,
    pub(super) side: Side,
    pub(super) extent: Extent,
    pub(super) callers: usize,
    pub(super) chance: u64,
    setup: Setup,
    _folder: Folder,
}

impl Bench {
    /// Starts FreeSWITCH and registers the phones. `None` when this FreeSWITCH has no `mod_callcenter`.
    ///
    /// # Errors
    /// When the phones cannot register.
    pub fn open(program: &Path, daemon_binary: &Path, extent: Extent) -> Result<Option<Self>> {
        let folder = Folder::new("beside")?;
        let teams = [(1001, 1), (1101, extent.burst), (1201 + extent.burst, TALKING)];
        let team = |(first, count): (usize, usize)| (first..first + count).map(|id| id.to_string()).collect();
        let queues: Vec<QueueSpec> = teams
            .into_iter()
            .zip(0..)
            .map(|(of, n)| QueueSpec {
                number: format!("{}", 99_900 + n),
                strategy: STRATEGIES.0,
                participants: team(of),
            })
            .collect();
        let users: Vec<String> = queues.iter().flat_map(|queue| queue.participants.clone()).collect();
        let plan = Plan {
            users: users.clone(),
            open: true,
            log: "warning",
            configuration: callcenter(&queues),
            extensions: EXTENSION.to_owned(),
            ..Plan::default()
        };
        let switch = Switch::start(program, &folder.path().join("freeswitch"), &plan);
        let loaded = switch.api("load mod_callcenter");
        if !loaded.contains("+OK") || switch.api("module_exists mod_callcenter") != "true" {
            return Ok(None);
        }
        switch.api("unload mod_callcenter");
        let phones = Phones::open(switch.sip, switch.trunk)?;
        phones.register(&users, DOMAIN)?;
        let setup = Setup {
            switch: format!("127.0.0.1:{}", switch.event_socket),
            domain: DOMAIN.to_owned(),
            queues,
            music: "ringtone".to_owned(),
            port: Some(switch.controller),
        };
        Ok(Some(Self {
            daemon_binary: daemon_binary.to_owned(),
            switch,
            phones,
            daemon: None,
            side: Side::Callcenter,
            extent,
            callers: 0,
            chance: 0x9e37_79b9_7f4a_7c15,
            setup,
            _folder: folder,
        }))
    }

    /// Which FreeSWITCH it is.
    pub fn version(&self) -> String {
        self.switch.api("version short")
    }

    /// The other one goes, this one comes: neither costs the other anything.
    ///
    /// # Errors
    /// When it does not come.
    pub fn turn(&mut self, side: Side) -> Result<()> {
        self.side = side;
        match side {
            Side::Ours => {
                self.switch.api("unload mod_callcenter");
                ensure!(self.switch.api("module_exists mod_callcenter") == "false", "mod_callcenter does not go");
                let mut daemon = Daemon::start(&self.daemon_binary, &self.setup)?;
                daemon.says("the link to FreeSWITCH is up")?;
                self.daemon = Some(daemon);
            }
            Side::Bare => {
                self.daemon = None;
                self.switch.api("unload mod_callcenter");
            }
            Side::Callcenter => {
                self.daemon = None;
                let told = self.switch.api("load mod_callcenter");
                ensure!(told.contains("+OK"), "mod_callcenter does not come: {told}");
            }
        }
        // Either settles: lamps and a first survey there, agents and tiers here.
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    /// The number of a queue, on the side whose turn it is, for the nth caller of this turn.
    pub(super) fn number(&self, queue: usize, nth: usize) -> String {
        let queue = &self.setup.queues[queue];
        match self.side {
            Side::Ours => queue.number.clone(),
            Side::Callcenter => queue.number.replacen("99", "88", 1),
            Side::Bare => format!("77{}", queue.participants[nth % queue.participants.len()]),
        }
    }

    /// Waits until all calls are gone, and for a moment of any length up to 150 ms behind that.
    pub(super) fn quiet(&mut self) -> Result<()> {
        let gone = self.switch.channels().all_gone(Duration::from_secs(10));
        gone.map_err(anyhow::Error::msg).context("a call does not end")?;
        self.pause(300, 450);
        Ok(())
    }

    /// Waits for some time between two bounds, in milliseconds, so that nothing falls into step with what is measured.
    pub(super) fn pause(&mut self, least: u64, most: u64) {
        // Xorshift: any spread will do.
        for (left, shift) in [(true, 13), (false, 7), (true, 17)] {
            self.chance ^= if left { self.chance << shift } else { self.chance >> shift };
        }
        std::thread::sleep(Duration::from_millis(least + self.chance % (most - least)));
    }
}

/// The numbers of `mod_callcenter`'s queues, with an `answer` before them as before the daemon's; and of agents.
const EXTENSION: &str = r#"<extension name="callcenter"><condition field="destination_number" expression="^(88\d{3})$">
        <action application="answer"/>
        <action application="set" data="hangup_after_bridge=true"/>
        <action application="callcenter" data="$1@default"/>
      </condition></extension>
      <extension name="bare"><condition field="destination_number" expression="^77(\d+)$">
        <action application="answer"/>
        <action application="set" data="hangup_after_bridge=true"/>
        <action application="bridge" data="user/$1@@DOMAIN@"/>
      </condition></extension>"#;

/// The same queues and agents for `mod_callcenter`, with everything that would make callers or agents wait switched off;
/// its database is where it puts it.
fn callcenter(queues: &[QueueSpec]) -> String {
    let (mut of_queues, mut agents, mut tiers) = (String::new(), String::new(), String::new());
    for queue in queues {
        let name = format!("{}@default", queue.number.replacen("99", "88", 1));
        // Writing to a String cannot fail.
        let _ = write!(
            of_queues,
            r#"<queue name="{name}">
            <param name="strategy" value="{}"/><param name="moh-sound" value="{RINGTONE}"/>
            <param name="time-base-score" value="queue"/><param name="tier-rules-apply" value="false"/>
            <param name="max-wait-time" value="0"/><param name="max-wait-time-with-no-agent" value="0"/>
            <param name="abandoned-resume-allowed" value="false"/></queue>"#,
            STRATEGIES.1
        );
        for agent in &queue.participants {
            let _ = write!(
                agents,
                r#"<agent name="{agent}" type="callback" contact="[leg_timeout=20]user/{agent}@{DOMAIN}"
                status="Available" max-no-answer="0" wrap-up-time="0" reject-delay-time="0" busy-delay-time="0"/>"#
            );
            let _ = write!(tiers, r#"<tier agent="{agent}" queue="{name}" level="1" position="1"/>"#);
        }
    }
    format!(
        r#"<configuration name="callcenter.conf"><settings/><queues>{of_queues}</queues>
        <agents>{agents}</agents><tiers>{tiers}</tiers></configuration>"#
    )
}

/// Finds FreeSWITCH.
///
/// # Errors
/// Why there is none.
pub fn freeswitch() -> Result<PathBuf, String> {
    machine::freeswitch()
}
