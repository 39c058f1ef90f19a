//! The switch's frames, prebuilt from a capture with slots to fill in.

use std::io::Write as _;

use anyhow::{Context, Result, ensure};

/// A call captured from a real FreeSWITCH, from its first frame to its last.
const CAPTURE: &[u8] = include_bytes!("../../../captures/bridge-on-answer-agent-hangs-up.esl");
/// The channel of the captured caller, and of the captured agent.
const CALLER: &[u8] = b"b5d34cc3-7a91-4fca-a973-2f3e6e4ab01b";
const LEG: &[u8] = b"650dc6ac-1dc9-44bb-883a-c85f599f11f6";
/// The captured caller's number.
const NUMBER: &[u8] = b"0791234567";

/// A channel's UUID as text.
pub(crate) type Id = [u8; 36];

/// The values that differ from call to call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill<'a> {
    /// The caller's channel.
    pub(crate) caller: &'a [u8],
    /// The agent's channel.
    pub(crate) leg: &'a [u8],
    /// The `Event-UUID` of the command that executed an application.
    pub(crate) application: &'a [u8],
    /// The caller's number, ten digits.
    pub(crate) number: &'a [u8],
    /// The agent.
    pub(crate) agent: &'a [u8],
    /// The queue.
    pub(crate) queue: &'a [u8],
    /// When the caller came, and now, in microseconds since 1970.
    pub(crate) came: &'a [u8],
    /// See [`Fill::came`].
    pub(crate) now: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Caller,
    Leg,
    Application,
    Number,
    Agent,
    Queue,
    Came,
    Now,
}

impl Slot {
    fn of<'a>(self, fill: &Fill<'a>) -> &'a [u8] {
        match self {
            Self::Caller => fill.caller,
            Self::Leg => fill.leg,
            Self::Application => fill.application,
            Self::Number => fill.number,
            Self::Agent => fill.agent,
            Self::Queue => fill.queue,
            Self::Came => fill.came,
            Self::Now => fill.now,
        }
    }
}

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    /// The text before each slot.
    parts: Vec<(Vec<u8>, Slot)>,
    last: Vec<u8>,
    /// An event is the body of its frame; a reply has only a head.
    is_event: bool,
}

impl Template {
    fn new(text: &[u8], is_event: bool) -> Self {
        let known: [(&[u8], Slot); 8] = [
            (CALLER, Slot::Caller),
            (LEG, Slot::Leg),
            (NUMBER, Slot::Number),
            (b"<application>", Slot::Application),
            (b"<agent>", Slot::Agent),
            (b"<queue>", Slot::Queue),
            (b"<came>", Slot::Came),
            (b"<now>", Slot::Now),
        ];
        let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
        while at < text.len() {
            let found = known.iter().find(|(name, _)| text.get(at..).is_some_and(|rest| rest.starts_with(name)));
            match found {
                Some((name, slot)) => {
                    parts.push((text.get(begin..at).unwrap_or_default().to_vec(), *slot));
                    at += name.len();
                    begin = at;
                }
                None => at += 1,
            }
        }
        Self { parts, last: text.get(begin..).unwrap_or_default().to_vec(), is_event }
    }

    /// Appends the frame to `out`.
    pub(crate) fn write(&self, fill: &Fill<'_>, out: &mut Vec<u8>) {
        if self.is_event {
            let length: usize = self.parts.iter().map(|(text, slot)| text.len() + slot.of(fill).len()).sum();
            // Writing to a vector cannot fail.
            let _ = write!(out, "Content-Length: {}\nContent-Type: text/event-plain\n\n", length + self.last.len());
        }
        for (text, slot) in &self.parts {
            out.extend_from_slice(text);
            out.extend_from_slice(slot.of(fill));
        }
        out.extend_from_slice(&self.last);
    }
}

/// All frames of a call.
#[derive(Clone, Debug)]
pub(crate) struct Templates {
    /// The reply to `connect`.
    pub(crate) channel: Template,
    /// An application was executed.
    pub(crate) set: Template,
    /// The `set` that starts an `originate` ended.
    pub(crate) carried_out: Template,
    /// The music was stopped.
    pub(crate) played: Template,
    /// The caller is no longer parked, and `socket` has ended.
    pub(crate) unpark: Template,
    /// See [`Templates::unpark`].
    pub(crate) socket: Template,
    /// The agent's channel exists.
    pub(crate) leg_created: Template,
    /// The agent's phone was answered.
    pub(crate) leg_answered: Template,
    /// Both are connected.
    pub(crate) bridged: Template,
    /// `originate` ended, because the bridge took its leg.
    pub(crate) job: Template,
    /// The ends of both channels, in two steps each.
    pub(crate) leg_hangup: Template,
    /// See [`Templates::leg_hangup`].
    pub(crate) leg_complete: Template,
    /// See [`Templates::leg_hangup`].
    pub(crate) caller_hangup: Template,
    /// See [`Templates::leg_hangup`].
    pub(crate) caller_complete: Template,
    /// The connection stays for the last events.
    pub(crate) linger: Template,
    /// The event of a new caller on the inbound link.
    pub(crate) caller_created: Template,
}

impl Templates {
    /// Reads the capture.
    ///
    /// # Errors
    /// When the capture is not the one this was written for.
    pub(crate) fn read() -> Result<Self> {
        let frames = frames(CAPTURE);
        let event = |name: &str, channel: &[u8], application: &str| {
            let found = frames.iter().find(|frame| {
                has(frame.body, "Event-Name", name.as_bytes())
                    && has(frame.body, "Unique-ID", channel)
                    && (application.is_empty() || has(frame.body, "Application", application.as_bytes()))
            });
            found.map(|frame| frame.body).with_context(|| format!("the capture has no {name} {application}"))
        };
        let own = |name: &str, application: &str| Ok::<_, anyhow::Error>(executed(event(name, CALLER, application)?));
        let leg = |name: &str| Ok::<_, anyhow::Error>(ordered(event(name, LEG, "")?));
        let head = |start: &[u8]| {
            let found = frames.iter().find(|frame| frame.head.starts_with(start));
            found.map(|frame| frame.head).context("the capture lacks a frame")
        };
        // As the dialplan of `freeswitch-conf` hands it over: answered, and with the variables that let it continue
        // without a controller.
        let mut channel = String::from_utf8_lossy(head(b"Event-Name: CHANNEL_DATA")?)
            .replace("Answer-State: ringing", "Answer-State: answered");
        ensure!(channel.contains("Answer-State: answered"), "the capture does not say whether the caller is answered");
        channel.pop();
        // The controller keeps the line by these.
        let moments = [("Event-Date-Timestamp: ", "<now>"), ("Caller-Profile-Created-Time: ", "<came>")];
        for (name, slot) in moments {
            let (before, behind) = channel.split_once(name).with_context(|| format!("the capture has no {name}"))?;
            let rest = behind.trim_start_matches(|c: char| c.is_ascii_digit());
            channel = format!("{before}{name}{slot}{rest}");
        }
        channel
            .push_str("variable_fsq_dialled: <queue>\nvariable_fsq_context: default\nvariable_socket_resume: true\n");
        channel.push_str("variable_hangup_after_bridge: true\nvariable_playback_terminators: none\n\n");
        let created = String::from_utf8_lossy(event("CHANNEL_EXECUTE", CALLER, "set")?)
            .replacen("CHANNEL_EXECUTE", "CHANNEL_CREATE", 1)
            .into_bytes();
        let set = own("CHANNEL_EXECUTE_COMPLETE", "set")?;
        let carried_out = String::from_utf8_lossy(&set);
        let lines = carried_out.lines().map(|line| match line.strip_prefix("Application-Data: ") {
            Some(_) => "Application-Data: fsq_order%3D%2BOK%20Job-UUID%3A%20650dc6ac-1dc9-44bb-883a-c85f599f11f6%0A\n"
                .to_owned(),
            None => format!("{line}\n"),
        });
        let carried_out: String = lines.collect();
        ensure!(carried_out.contains("fsq_order"), "the capture does not say what was set");
        let job = "Event-Name: BACKGROUND_JOB\nJob-UUID: 650dc6ac-1dc9-44bb-883a-c85f599f11f6\nJob-Command: originate\n\
                   Content-Length: 24\n\n-ERR ORIGINATOR_CANCEL \n";
        let linger = head(b"Content-Type: text/disconnect-notice\nControlled")?;
        Ok(Self {
            channel: Template::new(channel.as_bytes(), false),
            set: Template::new(&set, true),
            carried_out: Template::new(carried_out.as_bytes(), true),
            played: Template::new(&own("CHANNEL_EXECUTE_COMPLETE", "playback")?, true),
            unpark: Template::new(&own("CHANNEL_UNPARK", "")?, true),
            socket: Template::new(&own("CHANNEL_EXECUTE_COMPLETE", "socket")?, true),
            leg_created: Template::new(&leg("CHANNEL_CREATE")?, true),
            leg_answered: Template::new(&leg("CHANNEL_ANSWER")?, true),
            bridged: Template::new(&own("CHANNEL_BRIDGE", "")?, true),
            job: Template::new(job.as_bytes(), true),
            leg_hangup: Template::new(&leg("CHANNEL_HANGUP")?, true),
            leg_complete: Template::new(&leg("CHANNEL_HANGUP_COMPLETE")?, true),
            caller_hangup: Template::new(&own("CHANNEL_HANGUP", "")?, true),
            caller_complete: Template::new(&own("CHANNEL_HANGUP_COMPLETE", "")?, true),
            linger: Template::new(linger, false),
            caller_created: Template::new(&created, true),
        })
    }
}

/// The application's id in place of the captured one.
fn executed(event: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(event);
    let lines = text.lines().map(|line| match line.strip_prefix("Application-UUID: ") {
        Some(_) => "Application-UUID: <application>\n".to_owned(),
        None => format!("{line}\n"),
    });
    lines.collect::<String>().into_bytes()
}

/// Adds the variables of each leg's `originate`, which its events carry.
fn ordered(event: &[u8]) -> Vec<u8> {
    let mut out = event.to_vec();
    // The blank line comes last.
    out.pop();
    out.extend_from_slice(b"variable_fsq_ringing: yes\nvariable_fsq_agent: <agent>\nvariable_fsq_queue: <queue>\n");
    out.extend_from_slice(b"variable_fsq_call: b5d34cc3-7a91-4fca-a973-2f3e6e4ab01b\n\n");
    out
}

struct Frame<'a> {
    head: &'a [u8],
    body: &'a [u8],
}

fn frames(capture: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut rest = capture;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
        let (head, behind) = rest.split_at(end + 2);
        // The answer to `connect` is a channel, whose headers may name any length.
        let length = if head.starts_with(b"Event-Name") { 0 } else { length(head) };
        let (body, behind) = behind.split_at(length.min(behind.len()));
        frames.push(Frame { head, body });
        rest = behind;
    }
    frames
}

fn length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head);
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn has(event: &[u8], name: &str, value: &[u8]) -> bool {
    let line = [name.as_bytes(), b": ", value].concat();
    event.split(|byte| *byte == b'\n').any(|found| found == line)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_length_and_whose_it_is() {
        let templates = Templates::read().unwrap();
        let fill = Fill {
            caller: b"11111111-7a91-4fca-a973-2f3e6e4ab01b",
            leg: b"22222222-7a91-4fca-a973-2f3e6e4ab01b",
            application: b"x",
            number: b"0790000000",
            agent: b"2001",
            queue: b"99001",
            came: b"1",
            now: b"2",
        };
        let mut out = Vec::new();
        templates.leg_complete.write(&fill, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\n\n").unwrap();
        assert!(head.starts_with(&format!("Content-Length: {}\n", body.len())), "{head}");
        assert!(body.contains("\nUnique-ID: 22222222-") && body.contains("\nvariable_fsq_agent: 2001\n"), "{body}");
        assert!(body.ends_with("variable_fsq_call: 11111111-7a91-4fca-a973-2f3e6e4ab01b\n\n"), "{body}");
        assert!(!text.contains("b5d34cc3") && !text.contains("650dc6ac") && !text.contains('<'), "{text}");
    }
}
