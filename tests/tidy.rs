//! The rules of this repository that the compiler does not check.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/functions.rs"]
mod functions;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use clap::CommandFactory;
use freeswitch_queue::cli::Cli;

use source::{Source, read, sources, tracked};

/// The modules that each module of `src` may name, from top to bottom: only modules further down.
///
/// Below `app` this is the line main → app → session, dispatch, switch, observe → controller → floor → acd, with
/// session and switch → telephony → esl beside it. `admin` and `demo` are above `app`, because they contain a whole
/// daemon. Everything that changes the floor at somebody's request goes through `controller`.
const LAYERS: &[(&str, &[&str])] = &[
    ("main", &["admin", "demo", "app", "cli", "clock", "config", "esl", "journal", "observe"]),
    ("admin", &["app", "config", "controller", "journal", "observe", "switch", "floor", "acd"]),
    ("demo", &["app", "config", "journal", "clock", "floor", "esl", "acd"]),
    (
        "app",
        &[
            "switch",
            "session",
            "dispatch",
            "controller",
            "config",
            "journal",
            "observe",
            "clock",
            "floor",
            "telephony",
            "esl",
            "acd",
        ],
    ),
    ("cli", &["config", "acd"]),
    ("switch", &["controller", "telephony", "config", "clock", "floor", "esl", "acd"]),
    ("session", &["controller", "telephony", "clock", "floor", "esl", "acd"]),
    ("dispatch", &["floor", "acd"]),
    ("controller", &["config", "journal", "clock", "floor", "acd"]),
    ("config", &["acd"]),
    ("journal", &["clock", "acd"]),
    ("observe", &["acd"]),
    ("clock", &["acd"]),
    ("floor", &["acd"]),
    ("telephony", &["esl", "acd"]),
    ("esl", &[]),
    ("acd", &[]),
];

/// The names `acd` must not use: sockets, clocks, maps with locks, files, threads, random sources.
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

/// The entries allowed in the root: the product, and what cargo, git, CI and licensing expect there.
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

/// Q108: one clock, passed everywhere. `esl` has only time limits of sockets, on tokio's own timers.
#[test]
fn only_the_clock_asks_what_time_it_is() {
    for source in sources("src").iter().filter(|s| s.module() != "clock") {
        assert!(!source.names("SystemTime"), "{} asks the calendar; the clock is passed to it", source.path);
        let asks = source.code.contains("Instant::now") || source.code.contains(".elapsed()");
        assert!(!asks || source.module() == "esl", "{} asks what time it is; the clock is passed to it", source.path);
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

/// The crate's page leads through a call by six files; each says first what it owns and what it must not do.
#[test]
fn the_six_files_of_a_call_say_what_they_own() {
    let page = read("src/lib.rs");
    let steps = (1..=6).map(|n| page.split(&format!("//! {n}. `")).nth(1).expect("src/lib.rs lists six files"));
    for path in steps.map(|step| step.split('`').next().unwrap()) {
        let text = read(path);
        let head: Vec<&str> = text.lines().take(5).collect();
        let head = head.join("\n");
        assert!(head.contains("Owns "), "{path} does not say in its first five lines what it owns");
        assert!(head.contains("ust not "), "{path} does not say in its first five lines what it must not do");
    }
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
