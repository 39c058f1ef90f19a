//! Finds the user of each channel, whom FreeSWITCH authenticated or dialled (Q5). For a channel whose beginning no
//! event reported, it asks `uuid_dump`, because the `presence_id` in `show channels` is only what the caller claims.

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

/// How many of these questions are under way at a time, so that the link's other questions do not wait long behind
/// them.
const AT_A_TIME: usize = 8;

/// How long a new channel may be missing from FreeSWITCH's table.
const BEHIND: Duration = Duration::from_secs(1);

/// The users of the channels of one switch, as far as known.
#[derive(Debug, Default)]
pub(super) struct Whose {
    /// The user of a channel, `None` if it has none, and when this became known.
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

    /// Forgets a channel that has ended.
    pub(super) fn forget_whose(&mut self, channel: &str) {
        self.whose.known.remove(channel);
    }

    /// The listed channels that belong to agents, and when they began. Asks about channels whose user is unknown. Our own
    /// legs that are connected to nobody, and that no offer holds, count as well: an agent whom such a leg keeps on the
    /// phone gets no offer (Q8).
    pub(super) fn private_channels(
        &mut self,
        survey: &Survey,
        asked: Mono,
        held: &[HeldView],
    ) -> BTreeMap<String, (AgentId, Since)> {
        self.whose.forget_all_but(survey, asked);
        let mut agents = BTreeMap::new();
        let instance = self.switches.instance;
        let owned: BTreeSet<OfferId> = held.iter().map(|held| held.key.offer).collect();
        let is_stray = |row: &ChannelRow, leg: Uuid| survey.is_alone(row) && !owned.contains(&OfferId::of_leg(leg));
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
                // The claimed user is good enough to decide which channel to ask about first.
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

    /// Handles FreeSWITCH's answer about a channel whose beginning no event reported.
    pub(super) fn told_whose(&mut self, channel: String, outcome: Outcome) {
        self.whose.asking.remove(&channel);
        let now = self.switches.clock.now();
        // The dump fails for a channel that is gone by now.
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

    /// The agent who is this user.
    fn agent_of(&self, user: &User) -> Option<AgentId> {
        self.agent(&user.name, &user.domain)
    }
}
