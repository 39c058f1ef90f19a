//! Functions short enough to read at one look.

use std::collections::BTreeMap;

use super::source::{Source, sources};

/// The most lines of a function, from its `fn` to its last brace.
const LONGEST: usize = 70;

/// The longer ones, each with its file, its name and the reason.
const LONGER: &[(&str, &str, &str)] = &[
    ("src/app.rs", "start_via", "puts every part of the daemon together, once, from the top to the bottom"),
    ("src/switch/mod.rs", "keep", "one loop over the life of an inbound link: connecting, serving, waiting"),
    ("src/switch/link.rs", "answer", "one match over the answers to the questions of an inbound link"),
    ("src/switch/link.rs", "run", "one loop over everything an inbound link waits for"),
];

#[test]
fn functions_that_take_more_than_a_look_have_a_reason() {
    let mut found = BTreeMap::new();
    for source in sources("src") {
        for (name, lines) in functions(&source.code) {
            if lines > LONGEST {
                found.insert((source.path.clone(), name), lines);
            }
        }
    }
    for (path, name, reason) in LONGER {
        assert!(!reason.is_empty(), "{path}: {name} is listed without a reason");
        let was = found.remove(&((*path).to_owned(), (*name).to_owned()));
        assert!(was.is_some(), "{path}: {name} is short now, or gone: take it off the list");
    }
    assert!(found.is_empty(), "more than {LONGEST} lines: split them, or list them with a reason: {found:?}");
}

/// Every function with a body in code without words, and its length in lines.
fn functions(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let behind = &code[at + "fn ".len()..];
        let name: String = behind.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue;
        }
        if let Some(body) = body(behind) {
            found.push((name, behind[..body].lines().count()));
        }
    }
    found
}

/// The end of a function's body; `None` if it has none.
fn body(behind: &str) -> Option<usize> {
    // A `;` inside brackets belongs to an array's type.
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (at, c) in behind.char_indices() {
        match c {
            '(' | '[' if braces == 0 => brackets += 1,
            ')' | ']' if braces == 0 => brackets = brackets.saturating_sub(1),
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[test]
fn a_function_is_measured_from_its_first_line_to_its_last() {
    let text = "trait T {\n    fn none(&self) -> [u8; 4];\n}\nfn short() {}\npub async fn long(\n    a: [u8; 2],\n) {\n    \
                let s = \"{\n{\";\n    if a.is_empty() {\n    }\n    inner(|| { 1 });\n}\n";
    let source = Source::new("src/a.rs", text);
    assert_eq!(functions(&source.code), [("short".to_owned(), 1), ("long".to_owned(), 9)]);
}
