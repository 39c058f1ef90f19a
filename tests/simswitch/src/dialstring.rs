//! Parses `originate`, with every trap of the real one: quotes that are dropped before the braces are read, values that
//! end at a comma even inside quotes, braces that end the block, `^^` that changes the separator.

/// The parsed `originate`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Originate {
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) dial: String,
    pub(crate) app: String,
    pub(crate) arg: String,
    /// A number instead of an application.
    pub(crate) extension: Option<String>,
    pub(crate) cid_name: Option<String>,
    pub(crate) cid_number: Option<String>,
    pub(crate) timeout: Option<u64>,
}

/// Splits at blanks outside single quotes; an unbalanced quote swallows what follows.
fn words(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                word.push('\\');
                word.extend(chars.next());
            }
            '\'' => {
                quoted = !quoted;
                word.push('\'');
            }
            ' ' if !quoted => {
                if !word.is_empty() {
                    all.push(clean(&std::mem::take(&mut word), None));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        all.push(clean(&word, None));
    }
    all
}

/// Splits at a separator outside quotes; a quote opens only when another one follows.
fn split(text: &str, separator: char, most: usize) -> Vec<String> {
    let mut all = Vec::new();
    let mut part = String::new();
    let mut quoted = false;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                part.push('\\');
                part.extend(rest.next());
            }
            '\'' if quoted || rest.as_str().contains('\'') => {
                quoted = !quoted;
                part.push('\'');
            }
            c if c == separator && !quoted && all.len() + 1 < most => {
                all.push(clean(&std::mem::take(&mut part), Some(separator)));
            }
            c => part.push(c),
        }
    }
    all.push(clean(&part, Some(separator)));
    all
}

/// Drops balanced quotes, unescapes, trims blanks outside quotes.
fn clean(text: &str, separator: Option<char>) -> String {
    let mut out = String::new();
    let mut end = 0;
    let mut quoted = false;
    let mut rest = text.trim_start_matches(' ').chars();
    while let Some(c) = rest.next() {
        if c == '\\' {
            let next = rest.as_str().chars().next();
            let unescaped = match next {
                Some(n) if n == '\'' || n == '"' || n == '\\' || Some(n) == separator => Some(n),
                Some('n') => Some('\n'),
                Some('r') => Some('\r'),
                Some('t') => Some('\t'),
                Some('s') => Some(' '),
                _ => None,
            };
            if let Some(real) = unescaped {
                rest.next();
                out.push(real);
                end = out.len();
                continue;
            }
        }
        if c == '\'' && (quoted || rest.as_str().contains('\'')) {
            quoted = !quoted;
            if quoted {
                end = out.len();
            }
            continue;
        }
        out.push(c);
        if c != ' ' || quoted {
            end = out.len();
        }
    }
    out.truncate(end);
    out
}

/// The text inside the block that opens here, and the rest after it; `None` if it never closes.
fn block(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return Some((&text[open.len_utf8()..at], &text[at + close.len_utf8()..]));
            }
        }
    }
    None
}

/// `name=value` pairs of one block.
fn pairs(inside: &str) -> Vec<(String, String)> {
    let (separator, text) = match inside.strip_prefix("^^").and_then(|rest| rest.chars().next().map(|c| (c, rest))) {
        Some((c, rest)) => (c, &rest[c.len_utf8()..]),
        None => (',', inside),
    };
    split(text, separator, usize::MAX)
        .into_iter()
        .filter_map(|pair| match split(&pair, '=', 2).as_slice() {
            [name, value] => Some((name.clone(), value.clone())),
            _ => None,
        })
        .collect()
}

/// Removes the variable blocks `<..>`, `{..}`, `[..]` from the front of a dial string.
pub(crate) fn take_variables(dial: &str) -> Result<(Vec<(String, String)>, String), String> {
    let mut variables = Vec::new();
    let mut rest = dial.trim_start();
    loop {
        let (open, close) = match rest.chars().next() {
            Some('{') => ('{', '}'),
            Some('<') => ('<', '>'),
            Some('[') => ('[', ']'),
            _ => return Ok((variables, rest.trim().to_owned())),
        };
        let Some((inside, behind)) = block(rest, open, close) else {
            return Err("DESTINATION_OUT_OF_ORDER".into());
        };
        variables.extend(pairs(inside));
        rest = behind.trim_start();
    }
}

/// Parses the argument of `originate`.
pub(crate) fn originate(argument: &str) -> Result<Originate, String> {
    const USAGE: &str = "-USAGE: <call url> <exten>|&<application_name>(<app_args>) [<dialplan>] [<context>] [<cid_name>] \
                         [<cid_num>] [<timeout_sec>]\n";
    let words = words(argument);
    let (Some(url), Some(target)) = (words.first(), words.get(1)) else {
        return Err(USAGE.into());
    };
    let (variables, dial) = take_variables(url).map_err(|cause| format!("-ERR {cause}\n"))?;
    let mut wanted = Originate { variables, dial, ..Originate::default() };
    match target.strip_prefix('&').and_then(|app| app.split_once('(')) {
        Some((app, arg)) => {
            wanted.app = app.to_owned();
            wanted.arg = arg.rsplit_once(')').map_or(arg, |(arg, _)| arg).to_owned();
        }
        None => wanted.extension = Some(target.clone()),
    }
    let given = |n: usize| words.get(n).filter(|w| !w.is_empty() && *w != "undef").cloned();
    wanted.cid_name = given(4);
    wanted.cid_number = given(5);
    wanted.timeout = given(6).and_then(|t| t.parse().ok());
    Ok(wanted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn value<'a>(o: &'a Originate, name: &str) -> Option<&'a str> {
        o.variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn the_form_of_the_captures_is_read() {
        let o = originate(
            "{origination_uuid=L,origination_caller_id_name='Hans Muster',api_on_answer='uuid_bridge C L'}user/1001@lab &park()",
        )
        .unwrap();
        assert_eq!(value(&o, "origination_caller_id_name"), Some("Hans Muster"));
        assert_eq!(value(&o, "api_on_answer"), Some("uuid_bridge C L"));
        assert_eq!((o.dial.as_str(), o.app.as_str(), o.arg.as_str()), ("user/1001@lab", "park", ""));
    }

    #[test]
    fn a_comma_ends_a_value_even_inside_quotes_unless_escaped() {
        let o = originate("{origination_caller_id_name='Muster, Hans',x=1}user/1@d &park()").unwrap();
        assert_eq!(value(&o, "origination_caller_id_name"), Some("Muster"));
        let o = originate("{origination_caller_id_name='Muster\\, Hans',x=1}user/1@d &park()").unwrap();
        assert_eq!(value(&o, "origination_caller_id_name"), Some("Muster, Hans"));
    }

    #[test]
    fn a_brace_ends_the_block_and_a_lone_quote_swallows() {
        let o = originate("{n='a}sofia/x/evil &system(id)',x=1}user/1@d &park()").unwrap();
        assert!(o.dial.starts_with("sofia/x/evil"));
        let o = originate("{n='O'Brien',x=1}user/1@d &park()");
        assert!(o.is_err(), "the lone quote takes the rest of the line with it: {o:?}");
    }

    #[test]
    fn two_hats_change_the_separator() {
        let o = originate("{^^;a=1,2;b=3}user/1@d &park()").unwrap();
        assert_eq!((value(&o, "a"), value(&o, "b")), (Some("1,2"), Some("3")));
    }
}
