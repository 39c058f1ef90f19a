//! A model of how FreeSWITCH parses a dial string, written from its observed behaviour: it splits at blanks, cuts at
//! the braces, splits at commas, then at equals signs, and each pass treats quotes in its own way.
// Part of several test programs and of the fuzz targets.
#![allow(unreachable_pub, dead_code)]

use std::time::Duration;

use bytes::BytesMut;
use freeswitch_queue::esl::dial::{Endpoint, OnAnswer, Originate, VariableName};
use freeswitch_queue::esl::{ChannelId, Command, Execute, SafeText};
use uuid::Uuid;

/// How FreeSWITCH understands an `originate`.
#[derive(Debug, PartialEq)]
pub struct Dialled {
    pub variables: Vec<(String, String)>,
    pub endpoint: String,
    pub application: String,
}

/// Splits at `delimiter` outside quotes. A `'` opens a quote only if another one follows; a backslash makes the next
/// character literal; quotes and surrounding blanks are removed.
fn split(text: &str, delimiter: char, most: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    let (mut quoted, mut at) = (false, 0);
    while at < chars.len() {
        let c = chars[at];
        let closes_later = chars[at + 1..].contains(&'\'');
        if c == '\\' && at + 1 < chars.len() {
            at += 1;
            piece.push((chars[at], true));
        } else if c == '\'' && (quoted || closes_later) {
            quoted = !quoted;
        } else if c == delimiter && !quoted && pieces.len() + 1 < most {
            pieces.push(std::mem::take(&mut piece));
        } else {
            piece.push((c, quoted));
        }
        at += 1;
    }
    // FreeSWITCH ignores an empty piece after the last delimiter.
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
        .into_iter()
        .map(|piece| {
            let bare = |&(c, kept): &(char, bool)| c == ' ' && !kept;
            let from = piece.iter().position(|c| !bare(c)).unwrap_or(piece.len());
            let to = piece.iter().rposition(|c| !bare(c)).map_or(from, |last| last + 1);
            piece[from..to].iter().map(|(c, _)| c).collect()
        })
        .collect()
}

/// Parses `originate {..}endpoint &application`; `None` when FreeSWITCH would fail.
pub fn dial(command: &str) -> Option<Dialled> {
    let arguments = command.strip_prefix("originate ")?;
    // The first pass splits at blanks and removes quotes.
    let [dial, application, ..] = &split(arguments, ' ', 10)[..] else {
        return None;
    };
    // Braces count even inside quotes.
    let mut depth = 0;
    let end = dial.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    })?;
    let (block, endpoint) = (dial.get(1..end.0)?, dial.get(end.0 + 1..)?);
    let (delimiter, block) = match block.strip_prefix("^^") {
        Some(rest) => (rest.chars().next()?, &rest[rest.chars().next()?.len_utf8()..]),
        None => (',', block),
    };
    let variables = split(block, delimiter, 1024)
        .iter()
        .filter_map(|pair| match &split(pair, '=', 2)[..] {
            [name, value] => Some((name.clone(), value.clone())),
            _ => None,
        })
        .collect();
    Some(Dialled { variables, endpoint: endpoint.to_owned(), application: application.clone() })
}

/// The API call that a channel executes for `variable=${API ARGUMENT}` or `variable=${API(ARGUMENT)}` in an
/// application's argument: the API, its argument, and the text around it. Written from
/// `switch_channel_expand_variables_check`: it counts curly brackets to find the end, round ones within, and drops what
/// follows the last of these.
pub fn expand(text: &str) -> Option<(String, String, String)> {
    let (before, inside) = text.split_once("${")?;
    let mut depth = 1;
    let end = inside.char_indices().find(|&(at, c)| {
        depth += i32::from(c == '{' && at > 0) - i32::from(c == '}');
        depth == 0
    })?;
    let (inside, behind) = (&inside[..end.0], &inside[end.0 + 1..]);
    let (name, argument) = inside.split_at(inside.find([' ', '('])?);
    let mut depth = i32::from(argument.starts_with('('));
    let argument = &argument[1..];
    let end = argument.char_indices().find(|&(_, c)| {
        let closes = c == ')' && depth == 1;
        depth += i32::from(c == '(') - i32::from(c == ')' && depth > 1);
        closes
    });
    let argument = &argument[..end.map_or(argument.len(), |(at, _)| at)];
    Some((name.to_owned(), argument.to_owned(), format!("{before}{behind}")))
}

/// Fails if a channel would start another background job than this one.
fn assert_ordered_as_it_is(name: &str, number: &str) {
    let call = originate(&SafeText::new(name), &SafeText::new(number)).call();
    let variable = VariableName::new("order").unwrap();
    let Ok(order) = Execute::background(&variable, LEG, &call) else {
        // It is sent as `bgapi` instead; an unmatched bracket is the only reason.
        assert!([name, number].iter().any(|text| text.contains(['(', ')'])), "{name:?} and {number:?} are refused");
        return;
    };
    let mut out = BytesMut::new();
    Command::from(order).render(&mut out);
    let text = String::from_utf8(out.to_vec()).unwrap();
    let body = text.split_once("\n\n").unwrap().1;
    let ordered = (String::from("bgapi"), format!("uuid:{LEG} {}", call.as_str()), String::from("order="));
    assert_eq!(expand(body), Some(ordered), "{name:?} and {number:?}");
}

/// The leg that every test dials.
pub const LEG: Uuid = Uuid::from_u128(0x7c2a);

/// An `originate` as the queue builds it, for a caller with this name and number.
pub fn originate(name: &SafeText, number: &SafeText) -> Originate {
    let caller = ChannelId::new("f3bb10a3-4a6f-460c-b7ac-5b56de304794").unwrap();
    let resume = VariableName::new("socket_resume").unwrap();
    Originate::new(LEG, Endpoint::user("1001", "pbx.example.ch").unwrap())
        .ignore_early_media()
        .ring_time(Duration::from_secs(20))
        .caller_id(name.clone(), number.clone())
        .variable(&VariableName::new("queue_caller").unwrap(), name)
        .on_answer(&OnAnswer::SetVariable { channel: caller.clone(), name: resume, value: SafeText::new("false") })
        .on_answer(&OnAnswer::Bridge { channel: caller, other: ChannelId::from(LEG) })
}

fn or_dash(text: &SafeText) -> String {
    if text.is_empty() { "-".to_owned() } else { text.as_str().to_owned() }
}

/// Fails if the name or number changes anything but what the phone shows.
pub fn assert_harmless(name: &str, number: &str) {
    assert_ordered_as_it_is(name, number);
    let (name, number) = (SafeText::new(name), SafeText::new(number));
    let dialled = dial(originate(&name, &number).call().as_str()).expect("FreeSWITCH could not read it");
    // The number can be dialled back, so it has no blanks, nor an `@`, which would end it inside a SIP address.
    let mut shown_number = number.as_str().to_owned();
    shown_number.retain(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '*' | '-' | '_' | '.'));
    // FreeSWITCH acts on this word anywhere in a command.
    while let Some(at) = shown_number.to_ascii_lowercase().find("mod_event_socket") {
        shown_number.remove(at + 3);
    }
    if shown_number.is_empty() {
        shown_number.push_str("anonymous");
    }
    let words: Vec<_> = name.as_str().split(['@', ' ']).filter(|word| !word.is_empty()).collect();
    let shown_name = if words.is_empty() { shown_number.clone() } else { words.join(" ") };
    let caller = "f3bb10a3-4a6f-460c-b7ac-5b56de304794";
    let expected = Dialled {
        variables: [
            ("origination_uuid", LEG.to_string()),
            ("ignore_early_media", "true".to_owned()),
            ("originate_timeout", "20".to_owned()),
            ("origination_caller_id_name", shown_name),
            ("origination_caller_id_number", shown_number),
            ("queue_caller", or_dash(&name)),
            ("api_on_answer_1", format!("uuid_setvar {caller} socket_resume false")),
            ("api_on_answer_2", format!("uuid_bridge {caller} {LEG}")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into(),
        endpoint: "user/1001@pbx.example.ch".to_owned(),
        application: "&park()".to_owned(),
    };
    assert_eq!(dialled, expected);
    for (_, value) in &dialled.variables {
        // FreeSWITCH expands variables, mod_sofia cuts names at `:`, and no name contains control characters.
        assert!(!value.contains(['$', ':', '\\', '`', '"', '<', '>']), "{value:?}");
        assert!(!value.starts_with("^^") && !value.chars().any(char::is_control), "{value:?}");
    }
}
