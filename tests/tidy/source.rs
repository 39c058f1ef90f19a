//! Reads Rust files as text: the code in them, and the names it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::Chars;

/// One Rust file.
pub(super) struct Source {
    /// The path from the root of the repository.
    pub(super) path: String,
    pub(super) text: String,
    /// The code without comments, texts and test modules.
    pub(super) code: String,
}

impl Source {
    /// Reads the content of a file.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let only_for_tests = path.contains("/tests/") && path.starts_with("src/");
        let code = if only_for_tests { String::new() } else { without_tests(&without_words(text)) };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// The module of `src` it belongs to.
    pub(super) fn module(&self) -> String {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
    }

    /// The path from the root of the crate to its module: empty for `lib.rs`.
    pub(super) fn way(&self) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let inside = inside.trim_end_matches("/mod");
        if inside == "lib" { Vec::new() } else { inside.split('/').map(str::to_owned).collect() }
    }

    /// Whether a word, or a path of words, is in its code.
    pub(super) fn names(&self, word: &str) -> bool {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        self.code
            .match_indices(word)
            .any(|(at, _)| !self.code[..at].ends_with(part) && !self.code[at + word.len()..].starts_with(part))
    }

    /// Every path in its code that begins inside the crate, from the root of the crate: `use` declarations and others.
    pub(super) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for root in ["crate", "freeswitch_queue", "super", "self"] {
            for (at, _) in self.code.match_indices(&format!("{root}::")) {
                let before = &self.code[..at];
                if !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                    let named = tree(&self.code[at..]);
                    paths.extend(named.into_iter().filter_map(|named| from_the_top(&self.way(), &named.path)));
                }
            }
        }
        paths
    }

    /// The names its `use` declarations import: each name, and the path as written.
    pub(super) fn imports(&self) -> BTreeMap<String, Vec<String>> {
        let declarations = self.code.lines().scan(0, |at, line| {
            let began = *at;
            *at += line.len() + 1;
            Some((began, line))
        });
        let uses = declarations.filter_map(|(began, line)| {
            let (before, _) = line.split_once("use ")?;
            let item = before.trim().is_empty() || before.trim_start().starts_with("pub");
            item.then_some(began + before.len() + "use ".len())
        });
        uses.flat_map(|at| tree(&self.code[at..])).map(|named| (named.name, named.path)).collect()
    }

    /// The top-level modules of the crate that it names.
    pub(super) fn names_of_the_crate(&self) -> BTreeSet<String> {
        self.paths().into_iter().filter_map(|path| path.into_iter().next()).collect()
    }
}

/// One leaf of a `use` tree.
struct Named {
    /// Its last name, or the one after `as`.
    name: String,
    path: Vec<String>,
}

/// A path as written in the module at `way`, from the root of the crate; `None` if its start is not in the crate.
pub(super) fn from_the_top(way: &[String], path: &[String]) -> Option<Vec<String>> {
    let (mut base, mut rest) = match path.split_first()? {
        (root, rest) if root == "crate" || root == "freeswitch_queue" => (&way[..0], rest),
        (root, rest) if root == "self" => (way, rest),
        (root, rest) if root == "super" => (&way[..way.len().checked_sub(1)?], rest),
        _ => return None,
    };
    while let Some((name, behind)) = rest.split_first().filter(|(name, _)| *name == "super") {
        (base, rest) = (&base[..base.len().checked_sub(1).filter(|_| name == "super")?], behind);
    }
    Some([base, rest].concat())
}

/// The leaves of the `use` tree, or of the plain path, at the beginning of a text.
fn tree(text: &str) -> Vec<Named> {
    let mut named = Vec::new();
    branch(&mut text.chars().peekable(), &[], &mut named);
    named
}

fn branch(text: &mut Peekable<Chars<'_>>, above: &[String], named: &mut Vec<Named>) {
    let mut path = above.to_vec();
    loop {
        blank(text);
        if text.next_if_eq(&'{').is_some() {
            loop {
                branch(text, &path, named);
                blank(text);
                match text.next() {
                    Some(',') => {}
                    _ => return,
                }
            }
        }
        let name = word(text);
        if name.is_empty() && path.len() == above.len() && text.next_if_eq(&'*').is_none() {
            // The end of a group, after a comma.
            return;
        }
        if name.is_empty() {
            // A star, or a type's parameters: the path before them is the name.
            let _ = text.next_if_eq(&'*');
            break;
        }
        path.push(name);
        if text.next_if_eq(&':').is_none() || text.next_if_eq(&':').is_none() {
            break;
        }
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let mut name = path.last().cloned().unwrap_or_default();
    blank(text);
    if let Some(alias) = alias(text) {
        name = alias;
    }
    named.push(Named { name, path });
}

fn alias(text: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut ahead = text.clone();
    let behind = (word(&mut ahead) == "as").then(|| {
        blank(&mut ahead);
        word(&mut ahead)
    })?;
    *text = ahead;
    Some(behind)
}

fn word(text: &mut Peekable<Chars<'_>>) -> String {
    std::iter::from_fn(|| text.next_if(|c| c.is_alphanumeric() || *c == '_')).collect()
}

fn blank(text: &mut Peekable<Chars<'_>>) {
    while text.next_if(|c| c.is_whitespace()).is_some() {}
}

/// The text without comments and without quoted texts.
fn without_words(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let ident = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let hashes = if at(i) == 'r' && !ident { (i + 1..).take_while(|&j| at(j) == '#').count() } else { 0 };
        if at(i) == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if at(i) == 'r' && !out.ends_with(|c: char| c.is_alphanumeric() && c != 'b') && at(i + 1 + hashes) == '"'
        {
            let end = format!("\"{}", "#".repeat(hashes));
            let rest: String = chars[i + 2 + hashes..].iter().collect();
            let body = rest.find(&end).expect("a raw text has an end");
            i += 2 + hashes + rest[..body].chars().count() + end.len();
            quotes(&mut out, &rest[..body]);
        } else if at(i) == '"' {
            let began = i;
            i += 1;
            while at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
            quotes(&mut out, &chars[began..i].iter().collect::<String>());
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while at(i) != '\'' {
                i += 1;
            }
            i += 1;
            out.push_str("''");
        } else {
            out.push(at(i));
            i += 1;
        }
    }
    out
}

/// Quotes with only the original line breaks between them, so that line numbers stay the same.
fn quotes(out: &mut String, quoted: &str) {
    out.push('"');
    out.extend(quoted.chars().filter(|c| *c == '\n'));
    out.push('"');
}

/// The code without the parts compiled for tests only. Relies on the layout of `cargo fmt`.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if !line.trim_start().starts_with("#[cfg(test)]") {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let item = lines.by_ref().find(|l| !l.trim_start().starts_with("#[")).unwrap_or_default();
        if item.ends_with('{') {
            lines.by_ref().find(|l| **l == end).expect("an item has an end");
        }
    }
    out
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every Rust file below a folder.
pub(super) fn sources(folder: &str) -> Vec<Source> {
    let below = format!("{folder}/");
    let files = tracked().into_iter().filter(|f| f.starts_with(&below) && f.ends_with(".rs"));
    files.map(|path| Source::new(&path, &read(&path))).collect()
}

/// Every file of the repository; without git, every file that is not a build product.
pub(super) fn tracked() -> Vec<String> {
    let git = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    if let Ok(listed) = git
        && listed.status.success()
        && !listed.stdout.is_empty()
    {
        let listed = String::from_utf8(listed.stdout).unwrap();
        let files = listed.split('\0').filter(|f| !f.is_empty() && root().join(f).exists());
        return files.map(str::to_owned).collect();
    }
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true if path.ends_with("target") || path.ends_with(".git") => {}
                true => folders.push(path),
                false => files.push(path.to_str().unwrap().to_owned()),
            }
        }
    }
    files
}

#[test]
fn the_reader_of_code_reads_code() {
    let text = r##"
use crate::{acd::{ids, time}, esl}; // crate::no
/// `x.unwrap()` crate::neither
fn f<'a>(c: char) -> &'a str { if c == '"' || c == '\'' { "a \" .unwrap()" } else { r#"".expect("# } }
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    fn g() { crate::dropped(); }
}
fn h() { super::journal::i() }
"##;
    let source = Source::new("src/floor/mod.rs", text);
    assert!(!source.code.contains("unwrap") && !source.code.contains("expect"), "{}", source.code);
    let names: Vec<String> = source.names_of_the_crate().into_iter().collect();
    assert_eq!(names, ["acd", "esl", "journal"]);
    let counted: BTreeMap<&str, bool> = ["ids", "id", "time", "tim"].map(|w| (w, source.names(w))).into();
    assert_eq!(counted, BTreeMap::from([("ids", true), ("id", false), ("time", true), ("tim", false)]));
}
