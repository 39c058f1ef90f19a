//! Whose each channel is, as FreeSWITCH authenticated or dialled it (Q5): of a channel that was not heard to begin it is
//! asked, because what `show channels` says of it (`presence_id`) is whatever the caller claims.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use uuid::Uuid;

use crate::acd::ids::{AgentId, OfferId};
use crate::acd::time::{Mono, Since};
use crate::esl::{ApiCall, ChannelId, Event, Outcome};
use crate::floor::HeldView;
use crate::telephony::channel::{User, user_of};

use super::super::survey::{ChannelRow, Survey, age, ago, ours};
use super::{Answer, Up};

/// How many of these questions are under way at a time: others of the link are not to wait behind them for long.
const AT_A_TIME: usize = 8;

/// How long a channel may be missing from FreeSWITCH's table although it is there.
const BEHIND: Duration = Duration::from_secs(1);

/// What is known of the channels of one switch.
#[derive(Debug, Default)]
pub(super) struct Whose {
    /// Whose a channel is, nobody's where it says so, and when that was heard.
    known: BTreeMap<String, (Option<User>, Mono)>,
    to_ask: VecDeque<String>,
    asking: BTreeSet<String>,
}

impl Whose {
    /// Whether a question is open.
    pub(super) fn asks(&self) -> bool {
        !self.to_ask.is_empty() || !self.asking.is_empty()
    }

    fn forget_all_but(&mut self, survey: &Survey, asked: Mono) {
        let listed: BTreeSet<&str> = survey.channels.iter().map(|row| row.uuid.as_str()).collect();
        self.known.retain(|channel, (_, since)| listed.contains(channel.as_str()) || since.plus(BEHIND) >= asked);
        self.to_ask.retain(|channel| listed.contains(channel.as_str()));
    }
}

impl Up<'_> {
    pub(super) fn channel_began(&mut self, event: &Event) {
        let Some(channel) = event.channel() else { return };
        if ours(&channel, self.switches.instance).is_some() {
            return;
        }
        let (user, now) = (user_of(event), self.switches.clock.now());
        let agent = user.as_ref().and_then(|user| self.agent_of(user));
        self.whose.known.insert(channel.to_string(), (user, now.mono));
        if let Some(agent) = agent {
            self.switches.private_calls(|p| p.began(self.index, &channel, agent, now.mono));
        }
    }

    /// A channel, of whomever, has ended.
    pub(super) fn forget_whose(&mut self, channel: &str) {
        self.whose.known.remove(channel);
    }

    /// Which of the listed channels are agents', and since when; those of which it is not known are asked. Of our own legs
    /// those count as well that are connected to nobody, and by which nobody is `held`: whoever such a leg keeps on the
    /// phone is offered nobody (Q8).
    pub(super) fn private_channels(
        &mut self,
        survey: &Survey,
        asked: Mono,
        held: &[HeldView],
    ) -> BTreeMap<String, (AgentId, Since)> {
        self.whose.forget_all_but(survey, asked);
        let mut agents = BTreeMap::new();
        let instance = self.switches.instance;
        let is_owned = |leg: Uuid| held.iter().any(|held| held.key.offer == OfferId::of_leg(leg));
        let is_stray = |row: &ChannelRow, leg: Uuid| survey.is_alone(row) && !is_owned(leg);
        let counts = |row: &&ChannelRow| ours(&row.uuid, instance).is_none_or(|leg| is_stray(row, leg));
        for row in survey.channels.iter().filter(counts) {
            match self.whose.known.get(&row.uuid) {
                Some((Some(user), _)) => {
                    if let Some(agent) = self.agent_of(user) {
                        let now = self.switches.clock.now();
                        let since = now.ago(age(&row.created_epoch, now));
                        agents.insert(row.uuid.clone(), (agent, since));
                    }
                }
                Some((None, _)) => {}
                None if self.whose.asking.contains(&row.uuid) || self.whose.to_ask.contains(&row.uuid) => {}
                // What is claimed is good enough to say who is asked first.
                None if row
                    .presence_id
                    .split_once('@')
                    .is_some_and(|(user, domain)| self.agent(user, domain).is_some()) =>
                {
                    self.whose.to_ask.push_front(row.uuid.clone());
                }
                None => self.whose.to_ask.push_back(row.uuid.clone()),
            }
        }
        self.ask_whose();
        agents
    }

    fn ask_whose(&mut self) {
        while self.whose.asking.len() < AT_A_TIME
            && let Some(name) = self.whose.to_ask.pop_front()
        {
            let Ok(channel) = ChannelId::new(&name) else { continue };
            self.whose.asking.insert(name.clone());
            let asked = name.clone();
            if !self.ask(ApiCall::uuid_dump(&channel), move |outcome| Answer::Whose(asked, outcome)) {
                self.whose.asking.remove(&name);
                return;
            }
        }
    }

    /// What FreeSWITCH says of a channel that was not heard to begin.
    pub(super) fn told_whose(&mut self, channel: String, outcome: Outcome) {
        self.whose.asking.remove(&channel);
        let now = self.switches.clock.now();
        // Of a channel that is gone by now nothing is said.
        let dump = super::done(outcome).and_then(|reply| Event::json(reply.body_text().as_bytes(), 4096));
        if let Some(dump) = dump {
            let user = user_of(&dump);
            let agent = user.as_ref().and_then(|user| self.agent_of(user));
            let since = now.ago(ago(&dump, "Caller-Channel-Created-Time"));
            if let Some(agent) = agent {
                self.switches.private_calls(|p| p.found(self.index, &channel, agent, since));
            }
            self.whose.known.insert(channel, (user, now.mono));
        }
        self.ask_whose();
        self.look_again |= !self.whose.asks() && !self.switches.are_in_order();
    }

    /// The agent whose phone is this user's.
    fn agent_of(&self, user: &User) -> Option<AgentId> {
        self.agent(&user.name, &user.domain)
    }
}
