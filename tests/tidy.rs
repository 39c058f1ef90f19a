//! The house rules that no compiler holds.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use freeswitch_queue::cli::Cli;

/// What each module of `src` may name, from the top to the bottom: only modules that come later.
///
/// Below `app` this is the line main → app → session, dispatch, switch, journal, observe → floor → acd, with
/// session and switch → esl beside it; `admin` and `demo` stand above `app`, because they hold a whole daemon.
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["admin", "demo", "app", "cli", "clock", "config", "esl", "journal"]),
    ("admin", &["app", "config", "journal", "floor", "acd"]),
    ("demo", &["app", "config", "journal", "clock", "floor", "esl", "acd"]),
    (
        "app",
        &["switch", "session", "dispatch", "config", "journal", "observe", "clock", "floor", "telephony", "esl", "acd"],
    ),
    ("cli", &["config"]),
    ("switch", &["telephony", "config", "clock", "floor", "esl", "acd"]),
    ("session", &["telephony", "journal", "clock", "floor", "esl", "acd"]),
    ("dispatch", &["floor", "acd"]),
    ("config", &["acd"]),
    ("journal", &["acd"]),
    ("observe", &["acd"]),
    ("clock", &["acd"]),
    ("floor", &["acd"]),
    ("telephony", &["esl", "acd"]),
    ("esl", &[]),
    ("acd", &[]),
];

/// What the decisions may not know: sockets, clocks, maps with locks, files, threads, random sources.
const FOREIGN_TO_ACD: &[&str] = &[
    "tokio",
    "dashmap",
    "tracing",
    "rusqlite",
    "rand",
    "new_v4",
    "Instant",
    "SystemTime",
    "std::net",
    "std::fs",
    "std::io",
    "std::thread",
    "std::env",
];

/// What may lie at the top: the product, and what cargo, git, CI and licensing expect there.
const TOP: &[&str] = &[
    ".ci",
    ".gitattributes",
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "NOTICE",
    "README.md",
    "clippy.toml",
    "freeswitch-conf",
    "queues.yaml",
    "rustfmt.toml",
    "scripts",
    "src",
    "tests",
];

const LONGEST_FILE: usize = 600;

#[test]
fn dependencies_between_modules_point_one_way() {
    for (i, (module, below)) in LAYERS.iter().enumerate() {
        for name in *below {
            assert!(
                LAYERS[i + 1..].iter().any(|(m, _)| m == name),
                "the table lets {module} name {name}, which is above"
            );
        }
    }
    let mut seen = BTreeSet::new();
    for source in sources("src") {
        let module = source.module();
        if module == "lib" {
            continue;
        }
        seen.insert(module.clone());
        let layer = LAYERS.iter().find(|(m, _)| *m == module);
        let (_, below) = layer.unwrap_or_else(|| panic!("src/{module} is new: give it its place in LAYERS"));
        for name in source.names_of_the_crate() {
            assert!(
                name == module || below.contains(&name.as_str()),
                "{}: {module} may not name {name}, only {below:?}",
                source.path
            );
        }
    }
    assert!(seen.len() > 10, "only {seen:?} were found");
}

#[test]
fn decisions_know_no_sockets_no_clocks_no_locks_and_no_randomness() {
    let acd: Vec<Source> = sources("src/acd");
    assert!(acd.len() > 10);
    for source in acd {
        for foreign in FOREIGN_TO_ACD {
            assert!(!source.names(foreign), "{} names {foreign}", source.path);
        }
    }
}

#[test]
fn only_the_floor_has_concurrent_maps_and_it_never_waits() {
    for source in sources("src") {
        let floor = source.module() == "floor";
        assert!(floor || !source.names("dashmap"), "{} names dashmap; the maps are the floor's", source.path);
        assert!(!(floor && source.names("async")), "{} waits; a guard could be held meanwhile", source.path);
        assert!(!(floor && source.code.contains(".await")), "{} waits; a guard could be held meanwhile", source.path);
    }
}

#[test]
fn the_simulated_switch_knows_nothing_of_what_it_tests() {
    let manifest = read("tests/simswitch/Cargo.toml");
    assert!(!manifest.contains("freeswitch-queue"), "tests/simswitch depends on the crate it is there to test");
    for source in sources("tests/simswitch") {
        assert!(!source.names("freeswitch_queue"), "{} names the crate it is there to test", source.path);
    }
}

#[test]
fn no_file_grows_beyond_reading() {
    let mut files = sources("src");
    files.extend(sources("tests"));
    assert!(files.len() > 100, "only {} files were found", files.len());
    let too_long: Vec<String> = files
        .iter()
        .map(|source| (&source.path, source.text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(too_long.is_empty(), "more than {LONGEST_FILE} lines, split them: {too_long:#?}");
}

#[test]
fn nothing_panics_on_purpose_outside_tests_and_nothing_is_unsafe() {
    let mut code = sources("src");
    code.extend(sources("tests/simswitch/src"));
    for source in &code {
        for call in [".unwrap()", ".expect(", "todo!", "unimplemented!", "dbg!"] {
            assert!(!source.code.contains(call), "{} has {call} outside of tests", source.path);
        }
    }
    code.extend(sources("tests"));
    for source in code {
        assert!(!source.names("unsafe"), "{} has unsafe code", source.path);
    }
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("unsafe_code = \"forbid\""));
    for member in ["Cargo.toml", "tests/simswitch/Cargo.toml"] {
        assert!(
            read(member).contains("[lints]\nworkspace = true"),
            "{member} does not take the lints of the workspace"
        );
    }
}

#[test]
fn the_top_holds_what_belongs_there() {
    for file in tracked() {
        let first = file.split('/').next().unwrap();
        assert!(TOP.contains(&first), "{file}: nothing of that name belongs at the top");
    }
}

#[test]
fn the_readme_describes_every_key_every_command_and_every_file_for_freeswitch() {
    let readme = read("README.md");
    let schema = read("src/config/schema.rs");
    let keys: BTreeSet<&str> = schema.split("field(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(keys.len() > 30, "only {keys:?} were found in the table of keys");
    for key in keys {
        assert!(readme.contains(&format!("`{key}`")), "README.md does not describe the key `{key}`");
    }
    let cli = Cli::command();
    let commands: Vec<_> = cli.get_subcommands().collect();
    assert!(commands.len() >= 4);
    for command in commands {
        let name = command.get_name();
        assert!(readme.contains(&format!("`{name}`")), "README.md does not describe the command `{name}`");
        for option in command.get_arguments().filter_map(|a| a.get_long()).chain(["config", "log"]) {
            let hidden = ["help", "version"].contains(&option);
            assert!(hidden || readme.contains(&format!("--{option}")), "README.md does not describe {name} --{option}");
        }
    }
    for file in tracked().iter().filter(|f| f.starts_with("freeswitch-conf/") && f.ends_with(".xml")) {
        let name = file.trim_start_matches("freeswitch-conf/");
        assert!(readme.contains(name), "README.md does not say what freeswitch-conf/{name} does");
    }
}

#[test]
fn ci_runs_the_readme_s_test_command() {
    let command = "cargo test --workspace";
    assert!(read("README.md").contains(&format!("\n{command}\n")), "README.md has no line `{command}`");
    assert!(read(".ci/run").contains(&format!("\nrun {command}\n")), ".ci/run does not run `{command}`");
}

#[test]
fn every_dependency_has_its_reason() {
    let manifests: Vec<String> = tracked().into_iter().filter(|f| f.ends_with("Cargo.toml")).collect();
    assert!(manifests.len() >= 2);
    for manifest in manifests {
        let text = read(&manifest);
        let (mut inside, mut reason) = (false, false);
        for line in text.lines() {
            if line.starts_with('[') {
                inside = line.ends_with("dependencies]");
            } else if inside && line.contains(" = ") && !line.starts_with([' ', '#', '"', ']']) {
                assert!(reason, "{manifest}: no comment above says why: {line}");
            }
            reason = line.starts_with('#');
        }
    }
}

/// One Rust file.
struct Source {
    /// From the top of the repository.
    path: String,
    text: String,
    /// Without comments, texts and test modules.
    code: String,
}

impl Source {
    /// The module of `src` it belongs to.
    fn module(&self) -> String {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap().trim_end_matches(".rs").to_owned()
    }

    /// How many modules it is below the top of the crate.
    fn depth(&self) -> usize {
        let parts = self.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
        parts.split('/').count()
    }

    /// Whether a word, or a path of words, is in its code.
    fn names(&self, word: &str) -> bool {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        self.code
            .match_indices(word)
            .any(|(at, _)| !self.code[..at].ends_with(part) && !self.code[at + word.len()..].starts_with(part))
    }

    /// The modules at the top of the crate that it names.
    fn names_of_the_crate(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let up = "super::".repeat(self.depth());
        for root in ["crate::", "freeswitch_queue::", up.as_str()] {
            for (at, _) in self.code.match_indices(root) {
                // `super::super::x` holds `super::x` as well.
                if root == up && self.code[..at].ends_with("super::") {
                    continue;
                }
                names.extend(first_names(&self.code[at + root.len()..]));
            }
        }
        names
    }
}

/// The first names of what stands behind a `::`: one, or those of a group in braces.
fn first_names(behind: &str) -> Vec<String> {
    let name =
        |text: &str| -> String { text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(group) = behind.strip_prefix('{') else { return vec![name(behind)] };
    let (mut depth, mut names, mut part) = (0_usize, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(std::mem::take(&mut part)),
            _ => {}
        }
        if depth == 0 && c != ',' {
            part.push(c);
        }
    }
    names.push(part);
    names.iter().map(|n| name(n)).filter(|n| !n.is_empty()).collect()
}

/// The text without comments and without what stands in quotes.
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
            out.push_str("\"\"");
        } else if at(i) == '"' {
            i += 1;
            while at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
            out.push_str("\"\"");
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

/// The code without what is compiled for tests only. Relies on the layout that `cargo fmt` gives.
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

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// Every Rust file below a folder.
fn sources(folder: &str) -> Vec<Source> {
    let below = format!("{folder}/");
    let files = tracked().into_iter().filter(|f| f.starts_with(&below) && f.ends_with(".rs"));
    files
        .map(|path| {
            let text = read(&path);
            let only_for_tests = path.contains("/tests/") && path.starts_with("src/");
            let code = if only_for_tests { String::new() } else { without_tests(&without_words(&text)) };
            Source { path, text, code }
        })
        .collect()
}

/// Every file of the repository; where git does not tell, every file that is not built.
fn tracked() -> Vec<String> {
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
    let code = without_tests(&without_words(text));
    let source = Source { path: "src/floor/mod.rs".to_owned(), text: text.to_owned(), code };
    assert!(!source.code.contains("unwrap") && !source.code.contains("expect"), "{}", source.code);
    let names: Vec<String> = source.names_of_the_crate().into_iter().collect();
    assert_eq!(names, ["acd", "esl", "journal"]);
    let counted: BTreeMap<&str, bool> = ["ids", "id", "time", "tim"].map(|w| (w, source.names(w))).into();
    assert_eq!(counted, BTreeMap::from([("ids", true), ("id", false), ("time", true), ("tim", false)]));
}
