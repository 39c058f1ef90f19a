//! Reads an agent's user from FreeSWITCH's directory.
//!
//! The endpoint `user/` sets the directory's variables for the user (`media_timeout` and the like) on the leg at the
//! instant of the answer. An `originate` that dials one contact of an agent bypasses `user/`, so this module reads
//! those variables and the `originate` sets them.

use crate::acd::ids::AgentId;
use crate::esl::dial::VariableName;
use crate::esl::text::TextError;
use crate::esl::{ApiCall, SafeText};

/// The maximum number of a user's variables that are passed on.
const MOST: usize = 32;

/// Prefixes of variables that are not passed on: our `originate` sets them, or FreeSWITCH uses them to handle the leg.
const OURS: [&str; 8] =
    ["fsq_", "api_on_", "execute_on_", "group_confirm_", "origination_", "hangup_after_", "presence_id", "dialed_"];

/// Asks for the directory entry of the agent's user.
pub(crate) fn ask(agent: &AgentId, domain: &str) -> Result<ApiCall, TextError> {
    ApiCall::new(format!("find_user_xml id {agent} {domain}"))
}

/// The variables of the entry. A variable whose value would need escaping in a dial string is left out.
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

    /// Q8, Q21: the variables that the admin set for a user reach each of the user's phones; none is read as a command.
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
