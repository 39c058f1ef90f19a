//! What FreeSWITCH's directory says of an agent's user.
//!
//! Where an agent's phones are rung one by one, nothing goes through `user/`, which gives the leg of a user the variables
//! that the directory has for the user (`media_timeout` and the like) in the instant of the answer: that is done here.

use crate::acd::ids::AgentId;
use crate::esl::dial::VariableName;
use crate::esl::text::TextError;
use crate::esl::{ApiCall, SafeText};

/// The most variables of a user that are passed on.
const MOST: usize = 32;

/// What our `originate` sets itself, and what belongs to FreeSWITCH's own handling of the leg.
const OURS: [&str; 8] =
    ["fsq_", "api_on_", "execute_on_", "group_confirm_", "origination_", "hangup_after_", "presence_id", "dialed_"];

/// Asks for all that the directory has of the agent's user.
pub(crate) fn ask(agent: &AgentId, domain: &str) -> Result<ApiCall, TextError> {
    ApiCall::new(format!("find_user_xml id {agent} {domain}"))
}

/// The variables in it. What could not stand in a dial string as it is, is left out.
pub(crate) fn variables(xml: &str) -> Vec<(VariableName, SafeText)> {
    let mut found: Vec<(VariableName, SafeText)> = Vec::new();
    for tag in xml.split("<variable ").skip(1) {
        let Some((tag, _)) = tag.split_once('>') else { break };
        let (Some(name), Some(value)) = (attribute(tag, "name"), attribute(tag, "value")) else { continue };
        let safe = SafeText::new(value);
        let ours = OURS.iter().any(|prefix| name.starts_with(prefix));
        if ours || safe.is_empty() || safe.as_str() != value {
            continue;
        }
        if let Ok(name) = VariableName::new(name)
            && found.iter().all(|(known, _)| *known != name)
            && found.len() < MOST
        {
            found.push((name, safe));
        }
    }
    found
}

fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Q8, Q21: what the admin set for a user reaches each of the user's phones; nothing of it is read as a command.
    #[test]
    fn the_variables_of_a_user_are_read() {
        let xml = r#"<user id="1001"><params><param name="password" value="secret"></param></params><variables>
            <variable name="media_timeout" value="5000"></variable>
            <variable name="accountcode" value="sales team"/>
            <variable name="fsq_call" value="x"/>
            <variable name="presence_id" value="1002@lab"/>
            <variable name="media_timeout" value="1"/>
            <variable name="evil" value="a'b"/><variable name="more evil" value="1"/>
            <variable name="bad" value="&amp;park()"/><variable name="empty" value=""/><variable name="torn"#;
        let read: Vec<String> = variables(xml).iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(read, ["media_timeout=5000", "accountcode=sales team"]);
        assert!(variables(&"<variable name=\"a\" value=\"1\">".repeat(2)).len() == 1);
    }
}
