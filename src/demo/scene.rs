//! The demo's set-up: the daemon and a simulated FreeSWITCH, connected over TCP as in production.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use simswitch::{Dialplan, LegView, SimSwitch, Sound};
use tokio::net::TcpListener;

use crate::acd::ids::AgentId;
use crate::app::{Daemon, system_random};
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::esl::server::{Server, ServerLimits};
use crate::journal::{Journal, Options, Restored};

use super::screen::Said;

/// The configuration file, as an admin would write it. The system chooses free ports.
fn file(switch: SocketAddr) -> String {
    format!(
        r#"
listen: 127.0.0.1:0
freeswitch: [{{ address: "{switch}", password: ClueCon }}]
domain: demo
prompts: /prompts
agents:
  - {{ id: "1001", name: Anna }}
  - {{ id: "1002", name: Bruno }}
  - {{ id: "1003", name: Chiara }}
  - {{ id: "1004", name: Dario }}
queues:
  - number: "99900"
    name: Service client
    strategy: longest-idle
    participants: ["1001", "1002", "1003", "1004"]
    wrap_up_seconds: 4
    ring_seconds: 8
    max_wait_minutes: 0.75
    position_announcement: {{ language: fr, every_seconds: 15 }}
    timeout: {{ action: {{ queue: "99901" }} }}
  - number: "99901"
    name: Billing
    strategy: simultaneous
    participants: ["1002", "1003"]
    wrap_up_seconds: 3
    ring_seconds: 8
    max_wait_minutes: 0.5
"#
    )
}

/// The daemon and the switch, connected.
pub(super) struct Scene {
    pub(super) switch: SimSwitch,
    pub(super) daemon: Arc<Daemon>,
}

impl Scene {
    /// Starts both. Dario is not at work yet.
    pub(super) async fn set() -> io::Result<Self> {
        let way_back = TcpListener::bind("127.0.0.1:0").await?;
        let text = file(way_back.local_addr()?);
        // The environment's variables belong to another daemon, so they are not read.
        let config = config::parse(Path::new("demo.yaml"), text.as_bytes(), []).map_err(io::Error::other)?;
        let server = Server::bind(config.listen, ServerLimits::default()).await?;
        let switch = SimSwitch::new(simswitch::Config {
            domain: "demo".into(),
            dialplan: Dialplan::standard(&format!("{} async full", server.local_addr()?)),
            // Simulated people may wait for each other without limit.
            patience: Duration::from_secs(365 * 24 * 3600),
            keep_history: false,
            ..simswitch::Config::default()
        });
        switch.dial_out_tcp();
        for agent in &config.agents {
            let _registered = switch.phone(agent.id.as_str());
        }
        let listening = switch.clone();
        tokio::spawn(async move {
            if let Err(error) = listening.listen(way_back).await {
                tracing::error!(%error, "the simulated switch no longer accepts connections");
            }
        });
        let clock = Clock::system();
        let restored = at_work(&config, &["1001", "1002", "1003"], &clock);
        let opened = tokio::task::spawn_blocking(|| Journal::open(":memory:", Options::default())).await;
        let (journal, _) = opened.map_err(io::Error::other)?.map_err(io::Error::other)?;
        let daemon = Daemon::start(config, journal, &restored, clock, system_random());
        let serving = daemon.clone();
        tokio::spawn(async move { serving.listen(server).await });
        Ok(Self { switch, daemon })
    }

    /// The sentences being played, by the channel that hears each.
    pub(super) fn said(&self) -> Said {
        let said = |leg: LegView| match &leg.hears {
            Sound::Playing(file) => Some((leg.uuid, words_of(file)?)),
            _ => None,
        };
        self.switch.legs().into_iter().filter_map(said).collect()
    }
}

/// The prompts of this scene's queues, one per line: name, ` = `, words.
const SENTENCES: &str = include_str!("../../scripts/prompts/fr.txt");

/// The words of a prompt's file.
fn words_of(file: &str) -> Option<&'static str> {
    let name = file.strip_prefix("/prompts/fr/")?.strip_suffix(".wav")?;
    SENTENCES.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
}

/// A restored state in which these agents are logged in to all their queues.
fn at_work(config: &Config, agents: &[&str], clock: &Clock) -> Restored {
    let since = clock.now().wall;
    let is_there = |agent: &&AgentId| agents.contains(&agent.as_str());
    let logins = config.queues.iter().flat_map(|queue| {
        let there = queue.participants.iter().filter(is_there);
        there.map(|agent| (agent.clone(), queue.number.clone(), since)).collect::<Vec<_>>()
    });
    Restored { logins: logins.collect(), ..Restored::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_shown_as_sentences() {
        assert_eq!(words_of("/prompts/fr/position-1.wav"), Some("Votre appel est le prochain."));
        assert_eq!(words_of("/prompts/fr/position-.wav"), None);
        assert_eq!(words_of("tone_stream://%(1000,4000,425);loops=-1"), None);
    }
}
