//! The session of an agent who dials a feature code: logs the agent in or out, plays the answer, hangs up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::acd::fact::Asker;
use crate::acd::feature::{FeatureAnswer, authorise};
use crate::acd::ids::{AgentId, QueueNumber};
use crate::controller::LoginAnswer;
use crate::esl::text::TextError;
use crate::esl::{ApiCall, Cause, Command, Connection, Events, Execute, Incoming};
use crate::floor::LoginRefusal;
use crate::telephony::Settings;
use crate::telephony::channel::NewCall;

use super::{Shared, leave, send_one};

/// How long the answer may take, up to the hang-up.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// The code that was dialled: see [`Dialled::Feature`](crate::acd::feature::Dialled::Feature).
pub(super) struct Code {
    pub(super) login: bool,
    pub(super) queue: QueueNumber,
    pub(super) lamp: Option<AgentId>,
}

/// Logs the phone's user in or out, plays the answer, and hangs up.
pub(super) async fn run(
    shared: &Arc<Shared>,
    settings: &Settings,
    connection: Connection,
    mut events: Events,
    call: Box<NewCall>,
    Code { login, queue, lamp }: Code,
) {
    let found = shared.floor.participants(&queue);
    let language = found.as_ref().map_or_else(|| settings.language.clone(), |q| q.language.clone());
    let participants = found.as_ref().map(|q| q.participants.as_slice());
    let answer = match whose(shared, settings, &connection, &call, participants).await {
        Ok((by, agent)) => {
            let is_in = shared.floor.agent(&agent, |a| a.logins().contains_key(&queue)).unwrap_or_default();
            let login = settings.codes.logs_in(login, lamp.as_ref(), &agent, is_in);
            change(shared, &by, &agent, &queue, login).await
        }
        Err(refusal) => refusal,
    };
    let user = call.who.as_ref().map_or("nobody", |w| &w.user);
    tracing::info!(call = %call.channel.id, %queue, user, login, ?answer, "a feature code was dialled");
    let file = format!("{}/{language}/{}.wav", settings.prompts, prompt(answer));
    match speak(&file) {
        Ok(commands) => send(&connection, &commands),
        Err(error) => {
            tracing::error!(%error, file, "a prompt cannot be named; check `prompts`");
            send(&connection, &[Command::Hangup { channel: None, cause: Cause::NormalClearing }]);
        }
    }
    see_off(&connection, &mut events).await;
}

/// Logs the agent in or out.
async fn change(shared: &Shared, by: &Asker, agent: &AgentId, queue: &QueueNumber, login: bool) -> FeatureAnswer {
    let controller = &shared.controller;
    let (answer, done) = if login {
        (controller.log_in(by, agent, queue).await, FeatureAnswer::LoggedIn)
    } else {
        (controller.log_out(by, agent, queue).await, FeatureAnswer::LoggedOut)
    };
    match answer {
        LoginAnswer::Done => done,
        LoginAnswer::Refused(LoginRefusal::NoSuchQueue) => FeatureAnswer::NoSuchQueue,
        LoginAnswer::Refused(LoginRefusal::NotAMember) => FeatureAnswer::NotAMember,
        LoginAnswer::Failed => FeatureAnswer::Failed,
    }
}

/// The asker, and the agent whose login changes.
async fn whose(
    shared: &Shared,
    settings: &Settings,
    connection: &Connection,
    call: &NewCall,
    participants: Option<&[AgentId]>,
) -> Result<(Asker, AgentId), FeatureAnswer> {
    let who = call.who.as_ref().ok_or(FeatureAnswer::NotAuthenticated)?;
    let domain = home(shared, settings, connection, &who.user).await.ok_or(FeatureAnswer::Failed)?;
    if !who.is_of(&domain) {
        let (call, user, theirs) = (&call.channel.id, &who.user, who.domain.as_deref().unwrap_or("none"));
        tracing::warn!(
            %call, user, theirs, domain,
            "a feature code was refused: its phone is in another domain than the agent of this name; if the phone is the agent's, name its domain in `domain` or in the agent's `dial`, as in user/1001@example.com"
        );
    }
    if !who.placed {
        let (call, user) = (&call.channel.id, &who.user);
        tracing::warn!(%call, user, "a call was transferred to a feature code, and refused: the agent must dial the code");
    }
    let agent = authorise(Some(who), &domain, participants)?;
    Ok((Asker::Phone { user: Arc::from(who.user.as_str()), call: call.channel.id.clone() }, agent))
}

/// The domain in which the agent with this user's name is rung. If neither the agent's `dial` nor the configuration
/// names it, asks the FreeSWITCH of this call. `None` if that does not state it.
async fn home(shared: &Shared, settings: &Settings, connection: &Connection, user: &str) -> Option<String> {
    let agent = AgentId::new(user).ok();
    let own = agent.and_then(|agent| shared.floor.agent(&agent, |a| a.settings().own_domain().map(str::to_owned)));
    if let Some(domain) = own.flatten().or_else(|| settings.domain.clone()) {
        return Some(domain);
    }
    let outcome = send_one(connection, Command::Api(ApiCall::default_domain())).await?;
    let domain = outcome.default_domain();
    if domain.is_none() {
        tracing::warn!(
            ?outcome,
            "FreeSWITCH does not state its default domain, so nobody can log in or out; set `domain`"
        );
    }
    domain
}

/// The name of the prompt.
fn prompt(answer: FeatureAnswer) -> &'static str {
    match answer {
        FeatureAnswer::LoggedIn => "logged-in",
        FeatureAnswer::LoggedOut => "logged-out",
        FeatureAnswer::NoSuchQueue => "no-such-queue",
        FeatureAnswer::NotAMember => "not-a-member",
        FeatureAnswer::NotAuthenticated => "not-authenticated",
        FeatureAnswer::Failed => "failed",
    }
}

fn speak(file: &str) -> Result<[Command; 5], TextError> {
    Ok([
        // Otherwise the dialplan would continue with its answer for an absent controller.
        Execute::with("set", "socket_resume=false")?.into(),
        Execute::new("answer")?.into(),
        // Without the pause, the first words would be lost while the phone sets up its audio.
        Execute::with("sleep", "200")?.locked().into(),
        Execute::with("playback", file)?.locked().into(),
        Execute::new("hangup")?.locked().into(),
    ])
}

/// Rejects a number that is neither a queue nor a feature code.
pub(super) async fn refuse_number(connection: &Connection, events: &mut Events) {
    send(connection, &[Command::Hangup { channel: None, cause: Cause::UnallocatedNumber }]);
    see_off(connection, events).await;
}

fn send(connection: &Connection, commands: &[Command]) {
    match connection.send_all(commands) {
        Ok(sent) => sent.into_iter().for_each(|pending| pending.log_refusal("answering a feature code")),
        Err(full) => tracing::error!(%full, "a feature code cannot be answered"),
    }
}

/// Waits for the end of the call.
async fn see_off(connection: &Connection, events: &mut Events) {
    let ended = async {
        loop {
            match events.next().await {
                None | Some(Incoming::Closed(_) | Incoming::Lingering(_) | Incoming::Disconnecting) => return,
                Some(_) => {}
            }
        }
    };
    if timeout(ANSWER_PATIENCE, ended).await.is_err() {
        tracing::warn!("a phone that dialled a feature code was not hung up in time");
        send(connection, &[Command::Hangup { channel: None, cause: Cause::NormalClearing }]);
    }
    leave(connection);
}
