//! The picture on a terminal, drawn in place with plain ANSI sequences.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use crate::acd::time::Wall;
use crate::floor::{AgentView, Doing, FloorView, QueueView};

use super::story::{Story, clock};

/// The width of the picture, which fits on every terminal.
const COLUMNS: usize = 79;

/// How many callers of a queue are shown; the others are counted.
const CALLERS: usize = 4;

/// One line, and whether it is bold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    text: String,
    bold: bool,
}

fn plain(text: impl Into<String>) -> Line {
    Line { text: text.into(), bold: false }
}

fn bold(text: impl Into<String>) -> Line {
    Line { text: text.into(), bold: true }
}

/// The terminal in full-screen mode, which is left on drop.
pub(super) struct Screen(());

impl Screen {
    /// Switches to the terminal's alternate screen, so that its content comes back at the end, and hides the cursor.
    pub(super) fn open() -> io::Result<Self> {
        io::stdout().write_all(b"\x1b[?1049h\x1b[?25l")?;
        Ok(Self(()))
    }

    /// Draws from the top and clears what remains of the previous picture.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut frame = String::from("\x1b[H");
        for line in lines {
            let text: String = line.text.chars().take(COLUMNS).collect();
            let (on, off) = if line.bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
            // Writing to a String cannot fail.
            let _ = write!(frame, "{on}{text}{off}\x1b[K\r\n");
        }
        frame.push_str("\x1b[J");
        let mut out = io::stdout().lock();
        out.write_all(frame.as_bytes())?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done if this fails.
        let _ = io::stdout().write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = io::stdout().flush();
    }
}

/// The sentence that each caller is hearing, by channel.
pub(super) type Said = HashMap<String, &'static str>;

/// The whole picture.
pub(super) fn picture(
    view: &FloorView,
    story: &Story,
    said: &Said,
    latest: &VecDeque<String>,
    elapsed: Duration,
    seconds: Option<u64>,
) -> Vec<Line> {
    let until = match seconds {
        Some(seconds) => format!("{} of {}", clock(elapsed), clock(Duration::from_secs(seconds))),
        None => clock(elapsed),
    };
    let mut lines = vec![bold(format!("freeswitch-queue demo, simulated FreeSWITCH    {until}    Ctrl-C ends it"))];
    for queue in &view.queues {
        lines.push(plain(""));
        draw_queue(&mut lines, queue, story, said, view.at);
    }
    lines.push(plain(""));
    for agent in &view.agents {
        let doing = if agent.logins.is_empty() { "logged out".to_owned() } else { doing(agent, story, view.at) };
        lines.push(plain(format!("{:<8} {:<5} {doing}", agent.name, agent.id.as_str())));
    }
    lines.push(plain(""));
    lines.extend(latest.iter().map(plain));
    lines.push(plain(""));
    let waiting = view.queues.iter().map(|q| q.waiting.len()).sum();
    lines.push(bold(story.totals(waiting)));
    lines
}

fn draw_queue(lines: &mut Vec<Line>, queue: &QueueView, story: &Story, said: &Said, now: Wall) {
    let waiting = match queue.waiting.len() {
        0 => "nobody waits".to_owned(),
        n => format!("{n} waiting"),
    };
    lines.push(bold(format!("{} {} ({}): {waiting}", queue.number, queue.name, queue.strategy)));
    for (position, caller) in queue.waiting.iter().enumerate().take(CALLERS) {
        let ringing: Vec<&str> = caller.ringing.iter().map(|a| story.agent(a)).collect();
        let ringing = if ringing.is_empty() { String::new() } else { format!("   rings {}", ringing.join(", ")) };
        let (who, waited) = (story.caller(&caller.call), clock(now.since(caller.since)));
        let said =
            said.get(caller.call.as_str()).map_or_else(String::new, |sentence| format!("   \u{ab}{sentence}\u{bb}"));
        lines.push(plain(format!("  {}. {who:<15} waits {waited}{ringing}{said}", position + 1)));
    }
    if queue.waiting.len() > CALLERS {
        lines.push(plain(format!("     and {} more", queue.waiting.len() - CALLERS)));
    }
}

fn doing(agent: &AgentView, story: &Story, now: Wall) -> String {
    let caller = agent.call.as_ref().map_or("somebody", |c| story.caller(c));
    match &agent.doing {
        Doing::Talking { since } => format!("talks to {caller} for {}", clock(now.since(*since))),
        Doing::Ringing { .. } | Doing::Reserved { .. } => format!("is rung for {caller}"),
        Doing::WrapUp { until } => format!("wraps up for another {} s", until.since(now).as_secs() + 1),
        Doing::Idle { .. } => "is free".to_owned(),
        Doing::OnAnotherCall { since } | Doing::Unreachable { since } => {
            format!("{} for {}", agent.doing.word(), clock(now.since(*since)))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use crate::acd::ids::{AgentId, CallId, QueueNumber};
    use crate::floor::WaitingView;

    use super::*;

    #[test]
    fn the_picture_shows_waiting_callers_and_agents() {
        let file = "agents: [{ id: \"1001\", name: Anna }]\n\
                    queues: [{ number: \"99900\", name: Service, participants: [\"1001\"] }]\n";
        let config = crate::config::parse(Path::new("x.yaml"), file.as_bytes(), []).unwrap();
        let waiting = |n: usize| WaitingView {
            call: CallId::new(&format!("c{n}")).unwrap(),
            number: "079".into(),
            since: Wall(0),
            head_start_ms: 0,
            ringing: if n == 0 { vec![AgentId::new("1001").unwrap()] } else { Vec::new() },
            candidates: Vec::new(),
        };
        let queue = QueueView {
            number: QueueNumber::new("99900").unwrap(),
            name: "Service".into(),
            strategy: crate::acd::settings::Strategy::Random,
            max_callers: None,
            talking: 0,
            max_conversations: None,
            waiting: (0..6).map(waiting).collect(),
            candidates: Vec::new(),
        };
        let agent = AgentView {
            id: AgentId::new("1001").unwrap(),
            name: "Anna".into(),
            logins: vec![queue.number.clone()],
            doing: Doing::WrapUp { until: Wall(64_500) },
            calls: 0,
            talked_ms: 0,
            call: None,
            leg: None,
            party: None,
        };
        let view = FloorView { at: Wall(62_000), queues: vec![queue], agents: vec![agent] };
        let latest = VecDeque::from(["00:01  something".to_owned()]);
        let story = Story::new(Wall(0), &config);
        let said = Said::from([("c1".to_owned(), "Vous \u{ea}tes en deuxi\u{e8}me position.")]);
        let lines = picture(&view, &story, &said, &latest, Duration::from_secs(62), Some(90));
        let text: Vec<&str> = lines.iter().map(|l| l.text.trim_end()).collect();
        assert!(text[0].contains("01:02 of 01:30"));
        assert_eq!(
            text[1..],
            [
                "",
                "99900 Service (random): 6 waiting",
                "  1. somebody        waits 01:02   rings Anna",
                "  2. somebody        waits 01:02   «Vous êtes en deuxième position.»",
                "  3. somebody        waits 01:02",
                "  4. somebody        waits 01:02",
                "     and 2 more",
                "",
                "Anna     1001  wraps up for another 3 s",
                "",
                "00:01  something",
                "",
                "0 calls: 0 answered, 0 abandoned, 0 timed out, 6 waiting; average wait 0.0 s",
            ]
        );
    }
}
