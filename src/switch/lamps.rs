//! Lamps: a key that shows whether an agent is logged in to a queue (Q16).

use uuid::Uuid;

use crate::acd::feature::{Dialled, FeatureCodes};
use crate::acd::ids::{AgentId, QueueNumber};
use crate::esl::Command;
use crate::esl::command::SendEvent;
use crate::esl::text::TextError;

/// What a lamp key is programmed with, and so what its lamp is called: `*41<queue>*<agent>`.
pub(super) fn entity(codes: &FeatureCodes, queue: &QueueNumber, agent: &AgentId) -> String {
    format!("{}{queue}*{agent}", codes.login)
}

/// The lamp a phone asks for, by the `to` of a PRESENCE_PROBE: agent, queue and domain.
pub(super) fn asked_for(codes: &FeatureCodes, to: &str) -> Option<(AgentId, QueueNumber, String)> {
    let (user, domain) = to.rsplit_once('@')?;
    match codes.read(user) {
        Dialled::Feature { login: true, queue, lamp: Some(agent) } => Some((agent, queue, domain.to_owned())),
        _ => None,
    }
}

/// Switches a lamp on or off, in the form that mod_sofia passes on to every phone that subscribed (capture
/// `inbound-link`).
pub(super) fn lamp(entity: &str, domain: &str, on: bool) -> Result<Command, TextError> {
    let from = format!("{entity}@{domain}");
    let (channel, answer, status) =
        if on { ("CS_ROUTING", "confirmed", "Logged in") } else { ("CS_HANGUP", "terminated", "Logged out") };
    let event = SendEvent::new("PRESENCE_IN")?
        .header("proto", "sip")?
        .header("login", &from)?
        .header("from", &from)?
        .header("event_type", "presence")?
        .header("alt_event_type", "dialog")?
        .header("event_count", "1")?
        .header("status", status)?
        .header("rpid", "unknown")?
        // One dialog a lamp: its end must be known as that of its beginning.
        .header("unique-id", &Uuid::from_u128(fnv128(&from)).to_string())?
        .header("channel-state", channel)?
        .header("answer-state", answer)?;
    Ok(Command::SendEvent(event))
}

/// FNV-1a of 128 bits.
fn fnv128(text: &str) -> u128 {
    text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |h, b| {
        (h ^ u128::from(b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    /// Q16: the key's code is the lamp's name.
    #[test]
    fn a_lamp_is_called_what_the_key_dials() {
        let codes = FeatureCodes::default();
        let (agent, queue, domain) = asked_for(&codes, "*4199900*1001@lab").unwrap();
        assert_eq!(entity(&codes, &queue, &agent), "*4199900*1001");
        assert_eq!(domain, "lab");
        for other in ["1001@lab", "*4199900@lab", "*4299900*1001@lab", "*4199900*1001"] {
            assert_eq!(asked_for(&codes, other), None, "{other}");
        }
    }

    #[test]
    fn on_and_off_are_one_dialog() {
        let text = |on| {
            let mut out = BytesMut::new();
            lamp("*4199900*1001", "lab", on).unwrap().render(&mut out);
            String::from_utf8(out.to_vec()).unwrap()
        };
        let (on, off) = (text(true), text(false));
        assert!(on.starts_with("sendevent PRESENCE_IN\n") && on.contains("answer-state: confirmed\n"), "{on}");
        assert!(off.contains("answer-state: terminated\n") && off.contains("channel-state: CS_HANGUP\n"), "{off}");
        let id = |text: &str| text.lines().find(|l| l.starts_with("unique-id")).unwrap().to_owned();
        assert_eq!(id(&on), id(&off));
    }
}
