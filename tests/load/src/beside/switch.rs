//! The FreeSWITCH on which both are measured, and switching between them.

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
/// The agents of that queue; all of them are talking.
pub(super) const TALKING: usize = 10;
/// The callers' music: the daemon's ring tone.
const RINGTONE: &str = "tone_stream://%(1000,4000,425);loops=-1";
/// Both sides choose the agent whose last conversation ended longest ago.
const STRATEGIES: (&str, &str) = ("longest-idle", "longest-idle-agent");

/// The side whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `freeswitch-queue`.
    Ours,
    /// `mod_callcenter`.
    Callcenter,
    /// No queue: the dialplan rings the agent whose number the caller dials. Measures FreeSWITCH alone.
    Bare,
}

/// The switch, the phones, and the side whose turn it is.
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
    /// Starts FreeSWITCH and registers the phones; `None` when this FreeSWITCH has no `mod_callcenter`.
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

    /// FreeSWITCH's version.
    pub fn version(&self) -> String {
        self.switch.api("version short")
    }

    /// Stops the other side and starts this one, so that neither affects the other.
    ///
    /// # Errors
    /// When it does not start.
    pub fn turn(&mut self, side: Side) -> Result<()> {
        self.side = side;
        match side {
            Side::Ours => {
                self.switch.api("unload mod_callcenter");
                ensure!(self.switch.api("module_exists mod_callcenter") == "false", "mod_callcenter does not unload");
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
                let answer = self.switch.api("load mod_callcenter");
                ensure!(answer.contains("+OK"), "mod_callcenter does not load: {answer}");
            }
        }
        // Both need time to settle: lamps and a first survey, or agents and tiers.
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    }

    /// The number of a queue on the side whose turn it is, for the nth caller of this turn.
    pub(super) fn number(&self, queue: usize, nth: usize) -> String {
        let queue = &self.setup.queues[queue];
        match self.side {
            Side::Ours => queue.number.clone(),
            Side::Callcenter => queue.number.replacen("99", "88", 1),
            Side::Bare => format!("77{}", queue.participants[nth % queue.participants.len()]),
        }
    }

    /// Waits until all calls have ended, then for 300 ms plus up to 150 ms at random.
    pub(super) fn quiet(&mut self) -> Result<()> {
        let gone = self.switch.channels().all_gone(Duration::from_secs(10));
        gone.map_err(anyhow::Error::msg).context("a call does not end")?;
        self.pause(300, 450);
        Ok(())
    }

    /// Waits for a random time between two bounds, in milliseconds, so that calls do not fall into step with a timer of
    /// the side being measured.
    pub(super) fn pause(&mut self, least: u64, most: u64) {
        // Xorshift: any distribution will do.
        for (left, shift) in [(true, 13), (false, 7), (true, 17)] {
            self.chance ^= if left { self.chance << shift } else { self.chance >> shift };
        }
        std::thread::sleep(Duration::from_millis(least + self.chance % (most - least)));
    }
}

/// The numbers of `mod_callcenter`'s queues, answered first as the daemon's are, and the numbers of agents.
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

/// The same queues and agents for `mod_callcenter`, with every delay of callers or agents switched off and its database
/// in the default place.
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
/// The reason, when there is none.
pub fn freeswitch() -> Result<PathBuf, String> {
    machine::freeswitch()
}
