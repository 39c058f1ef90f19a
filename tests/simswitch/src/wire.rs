//! The bytes: the encoding of the switch's output and the parsing of its input. Written from the captures, without a
//! line shared with the controller's parser, so that a mistake on one side cannot hide one on the other.

use std::fmt::Write as _;

/// Percent-encodes a header value as FreeSWITCH does. Characters that the captures leave plain stay plain, and `%`
/// followed by two upper-case hex digits passes unencoded.
pub(crate) fn encode(value: &str, out: &mut String) {
    let bytes = value.as_bytes();
    for (i, &b) in bytes.iter().enumerate() {
        let hex = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b));
        let unsafe_char = match b {
            b'%' => !(hex(bytes.get(i + 1)) && hex(bytes.get(i + 2))),
            b'\r' | b'\n' | b' ' | b'"' | b'#' | b'&' | b'+' | b':' | b';' | b'<' | b'=' | b'>' | b'?' | b'@'
            | b'[' | b'\\' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => true,
            _ => !(0x20..0x7f).contains(&b),
        };
        if unsafe_char {
            let _ = write!(out, "%{b:02X}");
        } else {
            out.push(char::from(b));
        }
    }
}

/// Header lines `Name: value`, encoded; an empty value becomes `_undef_`.
pub(crate) fn header_lines<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>, out: &mut String) {
    for (name, value) in headers {
        out.push_str(name);
        out.push_str(": ");
        encode(if value.is_empty() { "_undef_" } else { value }, out);
        out.push('\n');
    }
}

/// One JSON string, quoted.
pub(crate) fn json_string(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A JSON object of strings, in the given order.
pub(crate) fn json_object<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in fields.enumerate() {
        if i > 0 {
            out.push(',');
        }
        json_string(name, &mut out);
        out.push(':');
        json_string(value, &mut out);
    }
    out.push('}');
    out
}

/// `Content-Type: command/reply` with its text.
pub(crate) fn reply(text: &str) -> String {
    format!("Content-Type: command/reply\nReply-Text: {text}\n\n")
}

/// The answer to `bgapi`.
pub(crate) fn job_reply(job: &str) -> String {
    format!("Content-Type: command/reply\nReply-Text: +OK Job-UUID: {job}\nJob-UUID: {job}\n\n")
}

/// The answer to `api`. An empty answer is sent as `-ERR no reply`.
pub(crate) fn api_response(body: &str) -> String {
    let body = if body.is_empty() { "-ERR no reply\n" } else { body };
    format!("Content-Type: api/response\nContent-Length: {}\n\n{body}", body.len())
}

pub(crate) const GOODBYE: &str = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n";

/// One parsed command: the command line, its headers, its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<String>,
}

impl Command {
    /// The first header of that name, in any case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// Collects bytes and yields whole commands.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    head: Vec<u8>,
    newlines: u8,
    pending: Option<(Command, usize)>,
    body: Vec<u8>,
}

impl Reader {
    /// Whether a command is half received: no event is sent until it is complete.
    pub(crate) fn is_inside(&self) -> bool {
        !self.head.is_empty() || self.pending.is_some()
    }

    /// Takes one byte; returns a command when it is complete.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Command> {
        if let Some((_, wanted)) = self.pending.as_ref() {
            self.body.push(byte);
            if self.body.len() < *wanted {
                return None;
            }
            let (mut command, _) = self.pending.take()?;
            command.body = Some(String::from_utf8_lossy(&std::mem::take(&mut self.body)).into_owned());
            return Some(command);
        }
        if self.head.is_empty() && (byte == b'\n' || byte == b'\r') {
            return None;
        }
        self.head.push(byte);
        match byte {
            b'\n' => self.newlines += 1,
            b'\r' => {}
            _ => self.newlines = 0,
        }
        if self.newlines < 2 {
            return None;
        }
        self.newlines = 0;
        let head = String::from_utf8_lossy(&std::mem::take(&mut self.head)).into_owned();
        let (command, length) = parse_head(&head);
        if length > 0 {
            self.pending = Some((command, length));
            return None;
        }
        Some(command)
    }
}

/// Splits a head into lines as FreeSWITCH does: at the next carriage return anywhere if there is one, else at the next
/// line feed. So a stray CR glues the lines before it into one, and their headers are lost silently.
fn parse_head(head: &str) -> (Command, usize) {
    let mut command = Command::default();
    let mut length = 0;
    let mut rest = Some(head);
    let mut first = true;
    while let Some(text) = rest.filter(|t| !t.is_empty()) {
        let cut = text.find('\r').or_else(|| text.find('\n'));
        let line = cut.map_or(text, |at| &text[..at]);
        rest = cut.map(|at| text[at..].trim_start_matches(['\r', '\n']));
        if first {
            command.line = line.to_owned();
            first = false;
        } else if let Some((name, value)) = line.split_once(':') {
            let value = value.trim_start_matches(' ');
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(0);
            }
            command.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    (command, length)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Vec<Command> {
        let mut reader = Reader::default();
        bytes.iter().filter_map(|b| reader.push(*b)).collect()
    }

    #[test]
    fn a_command_with_headers_and_a_body_is_read_whole() {
        let all = read(b"sendmsg\ncall-command: execute\ncontent-length: 3\n\nabcexit\n\n");
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].get("Call-Command"), Some("execute"));
        assert_eq!(all[0].body.as_deref(), Some("abc"));
        assert_eq!(all[1].line, "exit");
    }

    #[test]
    fn a_stray_carriage_return_glues_lines_together() {
        let all = read(b"sendmsg\ncall-command: execute\r\nexecute-app-name: answer\n\n");
        assert_eq!(all[0].line, "sendmsg\ncall-command: execute");
        assert_eq!(all[0].get("call-command"), None);
        assert_eq!(all[0].get("execute-app-name"), Some("answer"));
    }

    #[test]
    fn values_are_encoded_as_in_the_captures() {
        let mut out = String::new();
        encode("\"Hans Muster\" <sip:079@pstn>;tag=1, *41 'x' 100%0A 5% {a} /b", &mut out);
        assert_eq!(
            out,
            "%22Hans%20Muster%22%20%3Csip%3A079%40pstn%3E%3Btag%3D1,%20*41%20'x'%20100%0A%205%25%20%7Ba%7D%20/b"
        );
    }
}
