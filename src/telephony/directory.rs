//! Reads an agent's user from FreeSWITCH's directory.
//!
//! The endpoint `user/` adds the directory's parameters `dial-var-NAME` to the `originate`, and sets the variables of the
//! user on the leg at the instant of the answer. An `originate` that dials one contact of an agent bypasses `user/`, so
//! this module reads both and the `originate` sets them.
//!
//! FreeSWITCH reads some variables only before the answer: `media_timeout` has an effect as `dial-var-media_timeout`
//! and none as a variable of the user (measured).

use crate::acd::ids::AgentId;
use crate::esl::dial::VariableName;
use crate::esl::text::TextError;
use crate::esl::{ApiCall, SafeText};

/// The maximum number of a user's variables of each kind that are passed on.
const MOST: usize = 32;

/// Prefixes of variables that are not passed on: our `originate` sets them, or FreeSWITCH uses them to handle the leg.
const OURS: [&str; 9] = [
    "fsq_",
    "api_on_",
    "execute_on_",
    "group_confirm_",
    "originat",
    "ignore_early_media",
    "hangup_after_",
    "presence_id",
    "dialed_",
];

/// The prefix of parameters that are variables of the `originate`.
const DIAL_VARIABLE: &str = "dial-var-";

/// The variables that the directory sets on a leg to a user's phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// From the `originate` on.
    pub(crate) dialled: Vec<(VariableName, SafeText)>,
    /// At the answer.
    pub(crate) answered: Vec<(VariableName, SafeText)>,
}

/// Asks for the directory entry of the agent's user.
pub(crate) fn ask(agent: &AgentId, domain: &str) -> Result<ApiCall, TextError> {
    ApiCall::new(format!("find_user_xml id {agent} {domain}"))
}

/// Reads the entry. A variable whose value would need escaping in a dial string is left out.
pub(crate) fn read(xml: &str) -> Entry {
    Entry { dialled: all(xml, "param", DIAL_VARIABLE), answered: all(xml, "variable", "") }
}

/// The variables in the elements `element` whose names begin with `prefix`, which is not part of the variable's name.
fn all(xml: &str, element: &str, prefix: &str) -> Vec<(VariableName, SafeText)> {
    let mut found: Vec<(VariableName, SafeText)> = Vec::new();
    for tag in xml.split(&format!("<{element} ")).skip(1) {
        let Some((tag, _)) = tag.split_once('>') else { break };
        let name = attribute(tag, "name").and_then(|name| name.strip_prefix(prefix));
        let (Some(name), Some(value)) = (name, attribute(tag, "value")) else { continue };
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
        let xml = r#"<user id="1001"><params><param name="password" value="secret"></param>
            <param name="dial-var-media_timeout" value="5000"/><param name="dial-var-origination_uuid" value="1"/>
            <param name="dial-var-bad" value="a,b"/></params><variables>
            <variable name="accountcode" value="sales team"/>
            <variable name="fsq_call" value="x"/>
            <variable name="presence_id" value="1002@lab"/>
            <variable name="accountcode" value="1"/>
            <variable name="evil" value="a'b"/><variable name="more evil" value="1"/>
            <variable name="bad" value="&amp;park()"/><variable name="empty" value=""/><variable name="torn"#;
        let text = |all: &[(VariableName, SafeText)]| {
            all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<String>>()
        };
        let entry = read(xml);
        assert_eq!(text(&entry.dialled), ["media_timeout=5000"]);
        assert_eq!(text(&entry.answered), ["accountcode=sales team"]);
        assert!(read(&"<variable name=\"a\" value=\"1\">".repeat(2)).answered.len() == 1);
    }
}
