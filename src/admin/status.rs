//! The live picture as a table for people.

use std::fmt::Write as _;
use std::time::Duration;

use crate::acd::time::Wall;
use crate::floor::{AgentView, Doing, QueueView, Reason};

use super::Status;

/// Writes the picture as text.
pub fn table(status: &Status) -> String {
    let mut out = String::new();
    let now = status.floor.at;
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "freeswitch-queue {}: {} calls, {} of {} switches linked, {} repairs, store {}",
        status.version,
        status.calls,
        status.linked,
        status.switches,
        status.repairs,
        status.store.as_deref().unwrap_or("ok"),
    );
    for link in &status.links {
        for trouble in &link.troubles {
            let _ = writeln!(out, "  FreeSWITCH at {}: {trouble}", link.address);
        }
    }
    if status.log_lines_lost > 0 {
        let _ = writeln!(out, "  {} lines of the log were lost: nobody read them in time", status.log_lines_lost);
    }
    for queue in &status.floor.queues {
        write_queue(&mut out, queue, &status.floor.agents, now);
    }
    let rows: Vec<[String; 3]> = status.floor.agents.iter().map(columns).collect();
    let head = ["AGENT", "NAME", "LOGGED IN TO"].map(str::to_owned);
    let widest = |column: usize, least: usize| rows.iter().map(|r| r[column].chars().count()).fold(least, usize::max);
    let (id, name, logins) = (widest(0, 13), widest(1, 21), widest(2, 21));
    let said = status.floor.agents.iter().map(|agent| format!("{}{}", doing(agent, now), shift(agent)));
    let _ = writeln!(out);
    for (row, doing) in std::iter::once(&head).chain(&rows).zip(std::iter::once("DOING".to_owned()).chain(said)) {
        let _ = writeln!(out, "{:<id$} {:<name$} {:<logins$} {doing}", row[0], row[1], row[2]);
    }
    out
}

/// An agent's id, name, and logins.
fn columns(agent: &AgentView) -> [String; 3] {
    let logins: Vec<&str> = agent.logins.iter().map(|q| q.as_str()).collect();
    let logins = if logins.is_empty() { "-".to_owned() } else { logins.join(",") };
    [agent.id.to_string(), agent.name.to_string(), logins]
}

fn write_queue(out: &mut String, queue: &QueueView, agents: &[AgentView], now: Wall) {
    let most = queue.max_callers.map(|most| format!(" of at most {most}")).unwrap_or_default();
    let talking = queue.max_conversations.map(|most| format!(", {} talking of at most {most}", queue.talking));
    let (waiting, talking) = (queue.waiting.len(), talking.unwrap_or_default());
    let _ = writeln!(out, "\n{} {} ({}): {waiting} waiting{most}{talking}", queue.number, queue.name, queue.strategy);
    let digits = queue.waiting.len().to_string().len().max(4);
    for (i, caller) in queue.waiting.iter().enumerate() {
        let ringing: Vec<&str> = caller.ringing.iter().map(|a| a.as_str()).collect();
        let ringing = if ringing.is_empty() { String::new() } else { format!(", ringing {}", ringing.join(",")) };
        let ahead = match caller.head_start_ms {
            0 => String::new(),
            ms => format!(", {} s ahead", Duration::from_millis(ms).as_secs_f64()),
        };
        // A reason that also holds for the first caller is printed once, below.
        let own =
            caller.candidates.iter().zip(&queue.candidates).filter(|(own, first)| own.held_back != first.held_back);
        let own = own.filter_map(|(own, _)| Some(format!(", {} {}", own.agent, reason(own.held_back.as_ref()?, now))));
        let own: String = own.collect();
        let _ = writeln!(
            out,
            "  {:>digits$}. {:<20} waits {}{ahead}{ringing}{own}",
            i + 1,
            if caller.number.is_empty() { "anonymous" } else { &caller.number },
            lasting(now, caller.since),
        );
    }
    if !queue.candidates.is_empty() {
        let _ = writeln!(out, "  The first caller for whom no phone rings waits because:");
        for candidate in &queue.candidates {
            let name = agents.iter().find(|a| a.id == candidate.agent).map_or("", |a| &a.name);
            let why = candidate.held_back.as_ref().map(|why| reason(why, now));
            let reason = why.as_deref().unwrap_or(OFFERED);
            let _ = writeln!(out, "        {} {name}: {reason}", candidate.agent);
        }
    }
}

/// Printed for a participant whom nothing holds back.
const OFFERED: &str = "is being offered this moment";

/// Why an agent is not offered to a caller, in words (Q24).
pub fn reason(why: &Reason, now: Wall) -> String {
    let seconds = |since: &Wall| now.since(*since).as_secs();
    match why {
        Reason::LoggedOut => "logged out".to_owned(),
        Reason::Ringing { queue, since } => format!("ringing for a caller of {queue} for {} s", seconds(since)),
        Reason::Talking { queue, since } => {
            format!("in conversation with a caller of {queue} for {} s", seconds(since))
        }
        Reason::WrapUp { until } => {
            format!("wrap-up for another {} s", until.since(now).as_millis().div_ceil(1000))
        }
        Reason::OnAnotherCall { since } => format!("on another call for {} s", seconds(since)),
        Reason::Unreachable { since, cause } => format!("phone not reachable for {} s: {cause}", seconds(since)),
        Reason::MaxConversations { most } => {
            format!("{most} callers of the queue may talk at once, and talk or are being rung for")
        }
        Reason::HeldForEarlier { queue } => format!("held for a caller further ahead in {queue}"),
        Reason::OwnCall => "calls from this phone".to_owned(),
        Reason::Tried { at } => format!("tried {} s ago", seconds(at)),
    }
}

fn doing(agent: &AgentView, now: Wall) -> String {
    let with = match agent.party.as_deref() {
        None => String::new(),
        Some("") => ", now with somebody anonymous".to_owned(),
        Some(number) => format!(", now with {number}"),
    };
    match &agent.doing {
        Doing::WrapUp { until } => format!("wrap-up for another {}", lasting(*until, now)),
        Doing::Idle { last_conversation_end: Some(end) } => {
            format!("idle, last conversation {} ago", lasting(now, *end))
        }
        Doing::Idle { last_conversation_end: None } => "idle".to_owned(),
        Doing::Reserved { since }
        | Doing::Ringing { since }
        | Doing::Talking { since }
        | Doing::OnAnotherCall { since }
        | Doing::Unreachable { since } => {
            format!("{} for {}{with}", agent.doing.word(), lasting(now, *since))
        }
    }
}

/// The work of the present shift.
fn shift(agent: &AgentView) -> String {
    let of = match agent.calls {
        _ if agent.logins.is_empty() => return String::new(),
        0 => return String::new(),
        1 => "1 conversation".to_owned(),
        calls => format!("{calls} conversations"),
    };
    format!("; counts as {of} in this shift, {}", clock(Duration::from_millis(agent.talked_ms).as_secs()))
}

fn lasting(to: Wall, from: Wall) -> String {
    clock(to.since(from).as_secs())
}

fn clock(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Q24: the table names the waiting callers and the reasons.
    #[test]
    fn the_table_names_the_waiting_callers_and_the_reasons() {
        let status: Status = serde_json::from_str(
            r#"{"version":"1","switches":1,"linked":1,"links":[{"address":"pbx:8021","up":true,"troubles":["refuses everything"]}],"log_lines_lost":3,"repairs":0,"store":null,"calls":1,"at":1000000,
            "queues":[{"number":"99900","name":"Service","strategy":"as-listed","max_callers":50,"talking":3,"max_conversations":20,
              "waiting":[{"call":"x","number":"0791234567","since":925000,"head_start_ms":90000,"ringing":[]}],
              "candidates":[{"agent":"1001","reason":"words","held_back":{"is":"wrap_up","until":1012000}}]}],
            "agents":[{"id":"1001","name":"Anna","logins":["99900"],"activity":"wrap-up","moment":1012000,"calls":3,"talked_ms":250000,"call":null}]}"#,
        )
        .unwrap();
        let text = table(&status);
        for part in [
            "  FreeSWITCH at pbx:8021: refuses everything",
            "  3 lines of the log were lost",
            "99900 Service (as-listed): 1 waiting of at most 50, 3 talking of at most 20",
            "   1. 0791234567           waits 1:15, 90 s ahead",
            "1001 Anna: wrap-up for another 12 s",
            "1001          Anna                  99900                 wrap-up for another 12 s; counts as 3 conversations in this shift, 4:10",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }

    /// Q24: the columns stay aligned, however long a name or a line of callers is.
    #[test]
    fn the_columns_stay_aligned() {
        let caller = r#"{"call":"x","number":"0791234567","since":925000,"ringing":[]}"#;
        let callers = vec![caller; 12_000].join(",");
        let agent = |id: &str, name: &str, logins: &str| {
            format!(
                r#"{{"id":"{id}","name":"{name}","logins":[{logins}],"activity":"idle","moment":null,"call":null}}"#
            )
        };
        let many = r#""99900","99901","99902","99903","99904","99905""#;
        let agents = [agent("1001", "Anna", many), agent("maria-luisa.garcia", "María Luisa García de la Peña", "")];
        let status: Status = serde_json::from_str(&format!(
            r#"{{"version":"1","switches":1,"linked":1,"links":[],"log_lines_lost":0,"repairs":0,"store":null,"calls":1,"at":1000000,"queues":[
            {{"number":"99900","name":"S","strategy":"as-listed","waiting":[{callers}],"candidates":[]}}],"agents":[{}]}}"#,
            agents.join(",")
        ))
        .unwrap();
        let text = table(&status);
        let column = |line: &str, word: &str| line.find(word).map(|at| line[..at].chars().count());
        let waits: Vec<_> = text.lines().filter(|l| l.contains("0791234567")).map(|l| column(l, "waits")).collect();
        assert_eq!(waits.len(), 12_000);
        assert!(waits.iter().all(|at| *at == waits[0]));
        let rows: Vec<&str> = text.lines().rev().take(3).collect();
        assert_eq!(column(rows[0], "idle"), column(rows[2], "DOING"), "{}", rows.join("\n"));
        assert_eq!(column(rows[1], "idle"), column(rows[2], "DOING"));
        assert_eq!(column(rows[0], "María"), column(rows[2], "NAME"));
    }
}
