//! FreeSWITCH's replies to the commands of one caller, as far as the session waits for them.

use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use crate::acd::call::Input;
use crate::acd::ids::AgentId;
use crate::acd::leg::News;
use crate::esl::{ApiCall, ChannelId, Command, Outcome, Pending, Reply};

use super::Session;
use super::outbox::Watched;
use super::ringing::NOT_RUNG;

/// The outcomes that are still to come. A waiting caller does not need the empty set.
#[derive(Default)]
pub(super) struct Replies(Option<JoinSet<(Watched, Outcome)>>);

impl Replies {
    /// Waits for the outcome of a written command: to hand it out, or only to log a refusal.
    pub(super) fn wait_for(&mut self, pending: Pending, watched: Option<Watched>) {
        match watched {
            Some(what) => {
                self.0.get_or_insert_default().spawn(async move { (what, pending.await) });
            }
            None => pending.log_refusal("a command of a call"),
        }
    }

    /// Waits for the next outcome.
    pub(super) async fn next(&mut self) -> (Watched, Outcome) {
        while let Some(set) = &mut self.0 {
            match set.join_next().await {
                Some(Ok(done)) => return done,
                // The task was aborted or panicked; the deadline of its command covers that.
                Some(Err(_)) => {}
                None => self.0 = None,
            }
        }
        std::future::pending().await
    }
}

impl Session<'_> {
    /// Handles the outcome of a watched command.
    pub(super) fn outcome(&mut self, what: Watched, outcome: Outcome) {
        match (what, outcome) {
            (Watched::Phones(offer), outcome) => self.found(offer, outcome),
            (Watched::Directory(offer), outcome) => self.read_directory(offer, outcome),
            (Watched::Begun, outcome) => {
                self.courier.has_begun();
                if let Outcome::Refused(text) = outcome {
                    tracing::warn!(%text, "FreeSWITCH refused a command of a call");
                }
            }
            (what, Outcome::Done(reply)) => self.done(what, &reply),
            (what, Outcome::Refused(text)) => self.refused(what, &text),
            // The deadline of the leg covers a missing reply.
            (what, Outcome::Unknown(why)) => tracing::warn!(?what, %why, "no reply to a command"),
        }
    }

    fn done(&mut self, what: Watched, reply: &Reply) {
        let text = reply.body_text();
        match (what, text.trim()) {
            (Watched::ModHash, has) => {
                let has = has == "true";
                if !has {
                    tracing::warn!(
                        "FreeSWITCH has no mod_hash; load it, or of two agents who answer at the same instant one hears nobody for a moment"
                    );
                }
                self.shared.mod_hash.store(has, Ordering::Relaxed);
            }
            (Watched::Exists(leg), "false") => self.tell(Input::Leg(leg, News::Missing)),
            (Watched::Taker, user) => {
                let user = Some(user).filter(|user| *user != "_undef_");
                self.tell(Input::Taker(user.and_then(|user| AgentId::new(user).ok())));
            }
            _ => {}
        }
    }

    fn refused(&mut self, what: Watched, text: &str) {
        match what {
            Watched::Exists(leg) => {
                tracing::debug!(%leg, %text, "FreeSWITCH does not tell whether a leg is there");
            }
            Watched::Taker => {
                tracing::debug!(text, "no user of this switch has the caller who was taken");
                self.tell(Input::Taker(None));
            }
            Watched::ModHash => tracing::debug!(text, "FreeSWITCH does not tell whether it has mod_hash"),
            Watched::Ring(leg) => {
                tracing::warn!(%leg, %text, "FreeSWITCH refused to ring an agent");
                self.courier.forget(leg);
                self.tell(Input::Leg(leg, NOT_RUNG));
            }
            Watched::CallOff(leg) => {
                tracing::debug!(%leg, %text, "a leg to be called off is not there, or is connected");
                let asked = ApiCall::uuid_exists(&ChannelId::from(leg.uuid()));
                self.outbox.ask(Command::Api(asked), Watched::Exists(leg));
                self.flush();
            }
            Watched::Phones(_) | Watched::Directory(_) | Watched::Begun => {}
        }
    }
}
