//! Parses single values; the error says why a value is invalid.
//!
//! Values that become part of a command to FreeSWITCH are limited to a safe alphabet: `originate` reads `{}[]<>,|'\$`
//! and spaces as syntax, FreeSWITCH expands `${...}` in every application argument, API calls included (measured), and
//! a line break starts another header.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::problem::Fault;
use super::scalar::{nearest, quoted, show};
use super::{LogNumbers, Secret, Withheld};
use crate::acd::ids::{AgentId, QueueNumber};
use crate::acd::settings::{Language, Music, Strategy};

type Checked<T> = Result<T, Fault>;

/// Whether a character is invisible or changes how its neighbours are displayed.
fn invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

fn visible(text: &str, longest: usize) -> Checked<()> {
    if text.trim().is_empty() {
        return Err(Fault::new("it is empty", "write a value"));
    }
    if text.chars().count() > longest {
        return Err(Fault::new(format!("it is longer than {longest} characters"), "shorten it"));
    }
    match text.chars().find(|&c| invisible(c)) {
        Some('\n' | '\r') => Err(Fault::new("it contains a line break", "write it on one line")),
        Some(c) => Err(Fault::new(
            format!("it contains the invisible character U+{:04X}", c as u32),
            "retype it without that character",
        )),
        None => Ok(()),
    }
}

fn of_alphabet(text: &str, longest: usize, allowed: impl Fn(char) -> bool, fix: &str) -> Checked<()> {
    visible(text, longest)?;
    match text.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(Fault::new(format!("{} may not contain {c:?}", quoted(text)), fix)),
        None => Ok(()),
    }
}

/// A display name.
pub(super) fn name(text: &str) -> Checked<Arc<str>> {
    visible(text, 100)?;
    Ok(Arc::from(text.trim()))
}

/// A whole number within bounds.
pub(super) fn count(value: f64, least: u32, most: u32) -> Checked<u32> {
    let fix = format!("write a whole number from {least} to {most}");
    if value.fract() != 0.0 {
        return Err(Fault::new(format!("{value} is not a whole number"), fix));
    }
    if !(f64::from(least)..=f64::from(most)).contains(&value) {
        return Err(Fault::new(format!("{value} is not between {least} and {most}"), fix));
    }
    // The bounds make the conversion exact.
    Ok(value as u32)
}

/// A queue's short number.
pub(super) fn queue_number(text: &str) -> Checked<QueueNumber> {
    QueueNumber::new(text).map_err(|e| {
        Fault::new(format!("{} is not a queue number: {e}", quoted(text)), "write 1 to 32 digits, such as \"99900\"")
    })
}

/// An agent's id.
pub(super) fn agent_id(text: &str) -> Checked<AgentId> {
    AgentId::new(text).map_err(|e| {
        let fix = "write the user of the phone's SIP account: 1 to 64 of A-Z a-z 0-9 . _ - +";
        Fault::new(format!("{} is not an agent id: {e}", quoted(text)), fix)
    })
}

/// A FreeSWITCH dial string with a single endpoint.
pub(super) fn dial(text: &str) -> Checked<Arc<str>> {
    const EXAMPLE: &str = "write one endpoint, such as \"sofia/gateway/mobile/0791234567\"";
    visible(text, 256)?;
    let fault = |what: String| Err(Fault::new(what, EXAMPLE));
    match text.chars().find(|c| !(c.is_ascii_alphanumeric() || "/@._-+:;=*#%~".contains(*c))) {
        Some(',' | '|') => {
            return fault(format!(
                "{} lists several endpoints (, and | separate them), but an offer rings one",
                quoted(text)
            ));
        }
        Some(c @ ('{' | '}' | '[' | ']' | '<' | '>')) => {
            return fault(format!("{} contains {c:?}, which begins or ends channel variables", quoted(text)));
        }
        Some('$') => {
            return fault(format!("{} contains '$', which makes FreeSWITCH insert a variable", quoted(text)));
        }
        Some(c) => return fault(format!("{} may not contain {c:?}", quoted(text))),
        None => {}
    }
    if text.split('/').next().is_some_and(|kind| kind.eq_ignore_ascii_case("loopback")) {
        // It takes itself out of the conversation (bowout), and the agent would be free while talking.
        return Err(Fault::new(
            format!("{} leads through a loopback leg, which FreeSWITCH takes out of the conversation", quoted(text)),
            "write where it leads, such as \"user/1001@pbx.example.ch\" or \"sofia/gateway/mobile/0791234567\"",
        ));
    }
    match text.split_once('/') {
        Some((kind, rest)) if !kind.is_empty() && !rest.is_empty() && !text.contains(":_:") => Ok(Arc::from(text)),
        _ => fault(format!("{} is not a dial string", quoted(text))),
    }
}

/// The number a caller is transferred to.
pub(super) fn transfer(text: &str) -> Checked<Arc<str>> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "*#+._-".contains(c);
    of_alphabet(text, 64, allowed, "write one internal number, such as \"1005\"")?;
    Ok(Arc::from(text))
}

/// The code dialled before a queue's number to log in or out.
pub(super) fn feature_code(text: &str) -> Checked<String> {
    const FIX: &str = "write * or # and up to 7 digits, * or #, such as \"*41\"";
    of_alphabet(text, 8, |c| c.is_ascii_digit() || c == '*' || c == '#', FIX)?;
    if !text.starts_with(['*', '#']) {
        return Err(Fault::new(
            format!("{} does not begin with * or #, so it could be the number of a queue or phone", quoted(text)),
            FIX,
        ));
    }
    Ok(text.to_owned())
}

/// The directory domain of the agents' phones.
pub(super) fn domain(text: &str) -> Checked<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    of_alphabet(text, 253, allowed, "write a host name or an IPv4 address, such as pbx.example.ch")?;
    Ok(text.to_owned())
}

/// The token of the `socket` application, which no message shows.
pub(super) fn token(text: &str) -> Checked<Secret> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(allowed) {
        let what = "the token cannot follow HOST:PORT/ in the socket application";
        return Err(Fault::new(what, "write 1 to 128 of A-Z a-z 0-9 - _ . ~"));
    }
    Ok(Secret::new(text))
}

/// The password of an Event Socket, which no message shows.
pub(super) fn password(text: &str) -> Checked<Secret> {
    visible(text, 128)?;
    Ok(Secret::new(text))
}

/// The address to listen on.
pub(super) fn listen(text: &str) -> Checked<SocketAddr> {
    text.parse().map_err(|_| {
        let fix = "write them as 127.0.0.1:8084 or [::1]:8084";
        Fault::new(format!("{} is not an IP address and a port", quoted(text)), fix)
    })
}

/// A network or a single address.
pub(super) fn network(text: &str) -> Checked<IpNet> {
    const EXAMPLE: &str = "write it as 10.1.0.0/16, 10.1.2.3 or fd00::/8";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet = text.parse().map_err(|_| Fault::new(format!("{} is not a network", quoted(text)), EXAMPLE))?;
    if net != net.trunc() {
        let fix = format!("write {} for the network, or {} for the single address", net.trunc(), net.addr());
        return Err(Fault::new(format!("{} is an address inside a network", quoted(text)), fix));
    }
    Ok(net)
}

/// Host and port of FreeSWITCH's Event Socket.
pub(super) fn switch_address(text: &str) -> Checked<String> {
    const EXAMPLE: &str = "write host and port, such as \"127.0.0.1:8021\"";
    if let Ok(address) = text.parse::<SocketAddr>() {
        return if address.port() == 0 {
            Err(Fault::new("port 0 cannot be reached", EXAMPLE))
        } else {
            Ok(text.to_owned())
        };
    }
    let host = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    match text.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && name.len() <= 253 && name.chars().all(host) => {
            match port.parse::<u16>() {
                Ok(1..) => Ok(text.to_owned()),
                _ => Err(Fault::new(format!("{} is not a port", quoted(port)), EXAMPLE)),
            }
        }
        _ => Err(Fault::new(format!("{} is not a host and a port", quoted(text)), EXAMPLE)),
    }
}

/// Whether the switch at this address is reached over loopback, so that it normally sees the same files.
pub(super) fn is_local(address: &str) -> bool {
    address.parse::<SocketAddr>().map_or_else(|_| address.starts_with("localhost:"), |a| a.ip().is_loopback())
}

/// The name of a language, which is also the name of its folder of prompts.
pub(super) fn language(text: &str) -> Checked<Language> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    of_alphabet(text, 16, allowed, "write the name of a folder of prompts, such as de or pt-br")?;
    Ok(Language(Arc::from(text)))
}

/// How agents are chosen.
pub(super) fn strategy(text: &str) -> Checked<Strategy> {
    let words = Strategy::ALL.map(|strategy| (strategy.as_str(), strategy));
    one_of(&words, "strategy", text)
}

/// The treatment of withheld numbers.
pub(super) fn withheld(text: &str) -> Checked<Withheld> {
    one_of(&[("hide", Withheld::Hide), ("show", Withheld::Show)], "choice", text)
}

/// How the log shows numbers.
pub(super) fn log_numbers(text: &str) -> Checked<LogNumbers> {
    one_of(&[("whole", LogNumbers::Whole), ("masked", LogNumbers::Masked)], "choice", text)
}

/// Finds the meaning of a word in a list.
fn one_of<T: Copy>(words: &[(&str, T)], kind: &str, text: &str) -> Checked<T> {
    let names = || words.iter().map(|(name, _)| *name);
    words.iter().find(|(name, _)| *name == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let fix = match nearest(text, names()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("write one of {}", names().collect::<Vec<_>>().join(", ")),
        };
        Fault::new(format!("{} is not a {kind}", quoted(text)), fix)
    })
}

/// A path as FreeSWITCH sees it: absolute, or in one of FreeSWITCH's own folders (`${sounds_dir}/x.wav`).
pub(super) fn switch_path(text: &str) -> Checked<Arc<str>> {
    const EXAMPLE: &str = "write an absolute path, such as /var/lib/queue/sorry.wav, or ${sounds_dir}/sorry.wav";
    visible(text, 1024)?;
    expansions(text)?;
    let under_variable = text.starts_with("${") && text.contains("}/");
    if !(text.starts_with('/') || under_variable) || text.ends_with(' ') {
        return Err(Fault::new(format!("{} is not a path that FreeSWITCH can find", quoted(text)), EXAMPLE));
    }
    if text.contains('!') {
        return Err(Fault::new(
            format!("{} contains '!', which separates files in FreeSWITCH", quoted(text)),
            "rename the file",
        ));
    }
    Ok(Arc::from(text))
}

/// Refuses every `${...}` that is not just a variable's name: `${system(...)}` runs a shell command.
fn expansions(text: &str) -> Checked<()> {
    for part in text.split("${").skip(1) {
        let name = part.split('}').next().unwrap_or_default();
        if name.len() == part.len() || name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let what = format!("{} contains a ${{...}} that is not just a variable's name", quoted(text));
            return Err(Fault::new(what, "write the value out"));
        }
    }
    Ok(())
}

/// The music for waiting callers.
pub(super) fn music(text: &str) -> Checked<Music> {
    if text == "ringtone" {
        return Ok(Music::Ringtone);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        visible(text, 1024)?;
        expansions(text)?;
        let sound = !rest.is_empty() && scheme.starts_with(|c: char| c.is_ascii_lowercase());
        if sound && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return Ok(Music::Stream(Arc::from(text)));
        }
    }
    switch_path(text).map(Music::File).map_err(|fault| match nearest(text, ["ringtone"]) {
        Some(_) => Fault::new(format!("{} is not music", quoted(text)), "did you mean ringtone?"),
        None => Fault::new(fault.what, "write ringtone, an absolute path, or a stream such as local_stream://moh"),
    })
}

/// A path on this machine.
pub(super) fn local_path(text: &str) -> Checked<String> {
    visible(text, 1024)?;
    Ok(text.to_owned())
}

/// Checks that a sound file exists on this machine.
///
/// # Errors
/// A [`Fault`] when it certainly does not exist. Files in an unreadable folder, and paths with variables, which only
/// FreeSWITCH can expand, are accepted.
pub(super) fn present(path: &str) -> Checked<()> {
    let fix = "put it there, or, if only FreeSWITCH can see it, write a path such as ${sounds_dir}/sorry.wav";
    if !path.starts_with('/') || path.contains("${") {
        return Ok(());
    }
    match std::fs::metadata(Path::new(path)) {
        Ok(found) if found.is_dir() => {
            Err(Fault::new(format!("{} is a folder", show(path)), "name a sound file in it"))
        }
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Err(Fault::new(format!("the file {} does not exist", show(path)), fix))
        }
        _ => Ok(()),
    }
}

/// A duration of `value` units of `unit` seconds each, rounded to the millisecond.
pub(super) fn span(value: f64, unit: f64, least: f64, most: f64, name: &str) -> Checked<Duration> {
    if !(least..=most).contains(&value) {
        let fix = format!("write {least} to {most} {name}");
        let what = format!("{} {name} is out of range", show(&value.to_string()));
        return Err(Fault::new(what, fix));
    }
    // The value is within bounds, so the cast does not truncate it.
    Ok(Duration::from_millis((value * unit * 1000.0).round() as u64))
}
