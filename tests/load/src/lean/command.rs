//! The controller's commands, as far as a call that goes well needs them.

use super::template::Id;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Connect,
    /// The events to send from now on.
    Events(String),
    /// `sendmsg` with an application, its argument and its `Event-UUID`.
    Execute(String, String, Option<Id>),
    Hangup,
    /// `bgapi originate`: the leg, the agent, the job.
    Ring(Id, String, String),
    /// The same, executed by the caller's channel.
    RingByChannel(Id, String),
    /// `api uuid_kill` of this channel, however it is wrapped.
    Kill(Id),
    /// Any other `api`.
    Api(String),
    Exit,
    /// Anything else; the reply is `+OK`.
    Other(String),
}

/// Reads the first whole command from `bytes`; returns it and its length.
pub(super) fn take(bytes: &[u8]) -> Option<(Command, usize)> {
    let head_end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let head = String::from_utf8_lossy(bytes.get(..head_end)?);
    let header = |name: &str| {
        head.lines().skip(1).filter_map(|line| line.split_once(": ")).find(|(n, _)| *n == name).map(|(_, v)| v)
    };
    let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let body_at = head_end + 2;
    let body = String::from_utf8_lossy(bytes.get(body_at..body_at + length)?).into_owned();
    let line = head.lines().next().unwrap_or_default();
    let word = line.split(' ').next().unwrap_or_default();
    let rest = line.get(word.len()..).unwrap_or_default().trim_start();
    let command = match word {
        "connect" => Command::Connect,
        "event" => Command::Events(rest.to_owned()),
        "sendmsg" if header("call-command") == Some("hangup") => Command::Hangup,
        "sendmsg" => {
            let argument = header("execute-app-arg").map_or(body, str::to_owned);
            let name = header("execute-app-name").unwrap_or_default().to_owned();
            match argument.split_once("${bgapi(uuid:").and_then(|(_, order)| ring(order)) {
                Some((leg, agent)) => Command::RingByChannel(leg, agent),
                None => Command::Execute(name, argument, header("Event-UUID").and_then(id_of)),
            }
        }
        "bgapi" if rest.starts_with("originate ") => match ring(rest).zip(header("Job-UUID")) {
            Some(((leg, agent), job)) => Command::Ring(leg, agent, job.to_owned()),
            None => Command::Other(line.into()),
        },
        "api" => match rest.split_once("uuid_kill ").and_then(|(_, behind)| last_id(behind)) {
            Some(channel) => Command::Kill(channel),
            None => Command::Api(rest.to_owned()),
        },
        "exit" => Command::Exit,
        _ => Command::Other(line.to_owned()),
    };
    Some((command, body_at + length))
}

fn ring(text: &str) -> Option<(Id, String)> {
    let leg = id_of(text.split_once("origination_uuid=")?.1.get(..36)?)?;
    let (agent, _) = text.split_once("}user/")?.1.split_once('@')?;
    Some((leg, agent.to_owned()))
}

fn id_of(text: &str) -> Option<Id> {
    text.as_bytes().try_into().ok()
}

/// The last UUID in a text: the leg's, even after a condition.
fn last_id(text: &str) -> Option<Id> {
    let bytes = text.as_bytes();
    let is_id = |part: &&[u8]| {
        part.iter()
            .enumerate()
            .all(|(i, b)| if [8, 13, 18, 23].contains(&i) { *b == b'-' } else { b.is_ascii_hexdigit() })
    };
    bytes.windows(36).rfind(is_id)?.try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LEG: &str = "66737100-0000-4000-8000-000000000001";

    #[test]
    fn commands_are_cut_from_a_stream() {
        let text = format!(
            "connect\n\nevent plain CHANNEL_CREATE\n\nsendmsg\ncall-command: execute\nexecute-app-name: set\n\
             content-type: text/plain\ncontent-length: 3\n\na=bbgapi originate {{origination_uuid={LEG},x='a@b'}}\
             user/1001@lab &park()\nJob-UUID: j\n\nsendmsg\ncall-command: execute\nexecute-app-name: set\n\
             content-length: 137\n\no=${{bgapi(uuid:{LEG} originate {{origination_uuid={LEG}}}user/2@lab &park())}}api expand uuid_kill ${{cond(${{uuid_getvar({LEG} v)}} == yes ? {LEG} : \
             none)}} LOSE_RACE\n\nfilter x"
        );
        let (mut rest, mut found) = (text.as_bytes(), Vec::new());
        while let Some((command, length)) = take(rest) {
            found.push(command);
            rest = &rest[length..];
        }
        let leg = id_of(LEG).unwrap();
        let expected = [
            Command::Connect,
            Command::Events("plain CHANNEL_CREATE".to_owned()),
            Command::Execute("set".to_owned(), "a=b".to_owned(), None),
            Command::Ring(leg, "1001".to_owned(), "j".to_owned()),
            Command::RingByChannel(leg, "2".to_owned()),
            Command::Kill(leg),
        ];
        assert_eq!(found, expected);
        assert_eq!(rest, b"filter x");
    }
}
