//! No circle of modules inside `src`.
//!
//! The rule: in every folder, the modules that lie side by side depend on each other in one direction, each taken with
//! all that lies below it. A module depends on another when its code (tests apart) names it by a path, in a `use` or
//! elsewhere. A name that a module only passes on, by a `use` of its own, counts as a name of the module it comes
//! from. A parent and its children are one family: the parent declares and uses its children, and they may use what
//! the parent itself defines; neither makes a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::source::{Source, from_the_top, sources};

type Way = Vec<String>;

/// How far an imported name is followed: no chain of imports in a tidy tree is longer.
const LONGEST_CHAIN: usize = 8;

#[test]
fn modules_do_not_depend_on_each_other_in_circles() {
    let sources = sources("src");
    assert!(sources.len() > 50, "only {} files were found", sources.len());
    let found = circles(&sources);
    assert!(found.is_empty(), "give what both need a module of its own:\n{}", found.join("\n"));
}

/// Every module by its path from the root, with the names its `use` declarations import.
type Modules = BTreeMap<Way, BTreeMap<String, Way>>;

/// The circles, one line each, with the files that close them.
fn circles(sources: &[Source]) -> Vec<String> {
    let modules: Modules = sources.iter().map(|source| (source.way(), source.imports())).collect();
    // In each folder: which module names which, and in which file.
    let mut folders: BTreeMap<Way, BTreeMap<String, BTreeMap<String, &str>>> = BTreeMap::new();
    for source in sources {
        for path in source.paths() {
            let (from, to) = (source.way(), home(&modules, &path, LONGEST_CHAIN));
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            // Without one of the two, one is the other's family.
            if let (Some(here), Some(there)) = (from.get(shared), to.get(shared)) {
                let folder = folders.entry(from[..shared].to_vec()).or_default();
                folder.entry(here.clone()).or_default().entry(there.clone()).or_insert(&source.path);
            }
        }
    }
    let mut found = Vec::new();
    for (folder, names) in &folders {
        let mut told: BTreeSet<&String> = BTreeSet::new();
        for start in names.keys() {
            let Some(circle) = way_back(names, start).filter(|_| !told.contains(start)) else { continue };
            told.extend(&circle);
            let steps: Vec<String> = circle
                .iter()
                .zip(circle.iter().cycle().skip(1))
                .map(|(a, b)| format!("{a} names {b} ({})", names[*a][*b]))
                .collect();
            found.push(format!("in src/{}: {}", folder.join("/"), steps.join(", ")));
        }
    }
    found
}

/// The module that defines the name at the end of a path.
fn home(modules: &Modules, path: &[String], chain: usize) -> Way {
    let mut module = Way::new();
    for (i, name) in path.iter().enumerate() {
        let child = [&module[..], std::slice::from_ref(name)].concat();
        if modules.contains_key(&child) {
            module = child;
            continue;
        }
        let Some(import) = modules[&module].get(name).filter(|_| chain > 0) else { break };
        // Without a root it begins at a child, or is of another crate.
        let absolute = from_the_top(&module, import).unwrap_or_else(|| [&module[..], import].concat());
        let foreign = absolute.first().is_none_or(|first| !modules.contains_key(std::slice::from_ref(first)));
        if foreign || absolute == path[..=i] {
            break;
        }
        return home(modules, &[&absolute[..], &path[i + 1..]].concat(), chain - 1);
    }
    module
}

/// The shortest way from a module back to itself.
fn way_back<'a>(names: &'a BTreeMap<String, BTreeMap<String, &str>>, start: &'a String) -> Option<Vec<&'a String>> {
    let mut open = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = open.pop_front() {
        for next in names.get(*way.last()?).into_iter().flat_map(BTreeMap::keys) {
            if next == start {
                return Some(way);
            }
            if seen.insert(next) {
                open.push_back([&way[..], &[next]].concat());
            }
        }
    }
    None
}

#[test]
fn a_circle_is_seen_however_it_is_written() {
    let tree = |files: &[(&str, &str)]| -> Vec<String> {
        circles(&files.iter().map(|(path, text)| Source::new(&format!("src/{path}"), text)).collect::<Vec<_>>())
    };
    let top = ("lib.rs", "pub mod a;\npub mod b;\n");
    let straight = tree(&[top, ("a.rs", "use crate::b::B;\n"), ("b.rs", "pub struct B;\n")]);
    assert_eq!(straight, Vec::<String>::new());
    let plain = tree(&[top, ("a.rs", "use crate::b::B;\n"), ("b.rs", "fn f() { super::a::g() }\n")]);
    assert_eq!(plain, ["in src/: a names b (src/a.rs), b names a (src/b.rs)"]);
    let in_a_test =
        tree(&[top, ("a.rs", "use crate::b::B;\n"), ("b.rs", "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n")]);
    assert_eq!(in_a_test, Vec::<String>::new());
    // Through what the parent passes on, in groups, by another name; from below, and to what lies below.
    let family = [top, ("b.rs", ""), ("a/mod.rs", "mod x;\nmod y;\nmod z;\npub use x::{X, self};\nuse y::Y as Why;\n")];
    let passed_on = [
        ("a/x.rs", "use super::{Why};\n"),
        ("a/y/mod.rs", "mod deep;\npub struct Y;\n"),
        ("a/y/deep.rs", "use super::super::z::{\n    Z,\n};\n"),
        ("a/z.rs", "use crate::{a::{X as Other}, b};\n"),
    ];
    let found = tree(&[&family[..], &passed_on].concat());
    assert_eq!(found, ["in src/a: x names y (src/a/x.rs), y names z (src/a/y/deep.rs), z names x (src/a/z.rs)"]);
    // A family is one, and what it defines itself belongs to it.
    let one = [("a/x.rs", "use super::Parent;\n"), ("a/y.rs", "use super::x::X;\n"), ("a/z.rs", "use super::y;\n")];
    assert_eq!(tree(&[&family[..], &one].concat()), Vec::<String>::new());
}
