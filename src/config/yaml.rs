//! Parses the file's bytes into a tree that keeps the place of each value and whether it is quoted.
//!
//! `config` has its own YAML reader, but it turns `0077` into 77 and drops line numbers. Error messages need both, so
//! the tree is built here and passed to `config` as a source.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::problem::{Fault, KeyPath, Mark, Place, Problem};

/// The largest file accepted, in bytes.
pub(super) const LARGEST_FILE: usize = 16 << 20;
/// The deepest nesting of lists and mappings accepted; valid files need at most 6.
const DEEPEST: usize = 32;
/// The most values in a file, counting every repetition by an alias.
const MOST_NODES: usize = 1_000_000;

/// One value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) kind: Kind,
}

/// The kind of a value, and its content.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Without quotes: YAML readers may take it for something other than text.
    Plain(String),
    /// In quotes, as a text block, or tagged `!!str`: always text.
    Quoted(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping in the order of the file, including repeated keys.
    Map(Vec<(Node, Node)>),
    /// `*41` without quotes where no anchor `&41` exists: the admin means the text.
    UnknownAlias(String),
    /// A value with a tag, such as `!!int`.
    Tagged(String),
}

impl Node {
    /// The first value of `key` in a mapping.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Kind::Map(entries) = &self.kind else { return None };
        entries
            .iter()
            .find(|(k, _)| matches!(&k.kind, Kind::Plain(text) | Kind::Quoted(text) if text == key))
            .map(|(_, value)| value)
    }

    /// The item `index` of a list.
    pub(super) fn item(&self, index: usize) -> Option<&Self> {
        let Kind::List(items) = &self.kind else { return None };
        items.get(index)
    }

    /// The number of values in this one, including itself, and the depth of their nesting.
    fn extent(&self) -> (usize, usize) {
        let parts: Vec<&Self> = match &self.kind {
            Kind::List(items) => items.iter().collect(),
            Kind::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => return (1, 0),
        };
        parts.into_iter().map(Self::extent).fold((1, 1), |(size, depth), (s, d)| (size + s, depth.max(d + 1)))
    }
}

/// Reads a file's bytes into a tree.
///
/// # Errors
/// The first YAML error: nothing after it can be parsed.
pub(super) fn parse(file: &Arc<str>, bytes: &[u8]) -> Result<Node, Problem> {
    let whole = |what: &str, fix: &str| Problem {
        place: Place::File(Arc::clone(file)),
        key: String::new(),
        what: what.to_owned(),
        fix: fix.to_owned(),
    };
    if bytes.len() > LARGEST_FILE {
        return Err(whole("the file is larger than 16 MiB", "check that this is the right file"));
    }
    let at = |mark, key, Fault { what, fix }| Problem { place: Place::At(Arc::clone(file), mark), key, what, fix };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let (mark, fault) = not_utf8(bytes, e.valid_up_to());
        at(mark, String::new(), fault)
    })?;
    let mut builder =
        Builder { lines: text.lines().collect(), open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    match builder.read(Parser::new_from_str(text)) {
        Ok(()) => builder.root.ok_or_else(|| whole("the file is empty", "define at least one queue in it")),
        Err((mark, fault)) => Err(at(mark, builder.key(), fault)),
    }
}

fn not_utf8(bytes: &[u8], valid: usize) -> (Mark, Fault) {
    let before = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default()).into_owned();
    let line = before.rsplit('\n').next().unwrap_or_default();
    let mark = Mark { line: before.matches('\n').count() + 1, column: line.chars().count() + 1 };
    let byte = bytes.get(valid).copied().unwrap_or_default();
    let utf16 = matches!(bytes, [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..]);
    let looks = if utf16 { " (the file looks like UTF-16)" } else { "" };
    (mark, Fault::new(format!("byte {valid} is 0x{byte:02X}, which is not UTF-8{looks}"), "save the file as UTF-8"))
}

/// A list or mapping that is being read; a mapping's keys and values alternate.
struct Open {
    mark: Mark,
    anchor: usize,
    tag: Option<String>,
    map: bool,
    nodes: Vec<Node>,
}

struct Builder<'t> {
    lines: Vec<&'t str>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

type Stop = (Mark, Fault);

impl Builder<'_> {
    fn read<'t>(&mut self, mut parser: Parser<'t, saphyr_parser::StrInput<'t>>) -> Result<(), Stop> {
        let mut last_alias = None;
        while let Some(next) = parser.next_event() {
            let (event, span) = match next {
                Ok(event) => event,
                // The only error after which the parser can continue: it has consumed the alias when it reports it.
                Err(e) if e.info().contains("unknown anchor") && last_alias != Some(*e.marker()) => {
                    last_alias = Some(*e.marker());
                    let mark = mark(e.marker());
                    self.put(Node { mark, kind: Kind::UnknownAlias(self.alias_at(mark)) }, 0)?;
                    continue;
                }
                Err(e) => return Err(self.explain(&e)),
            };
            let mark = mark(&span.start);
            match event {
                Event::Scalar(text, style, anchor, tag) => {
                    let kind = match tag {
                        Some(tag) if !is_str(&tag) => Kind::Tagged(tag_name(&tag)),
                        None if style == ScalarStyle::Plain => Kind::Plain(text.into_owned()),
                        _ => Kind::Quoted(text.into_owned()),
                    };
                    self.put(Node { mark, kind }, anchor)?;
                }
                Event::SequenceStart(anchor, tag) => self.begin(mark, anchor, tag.as_deref(), false)?,
                Event::MappingStart(anchor, tag) => self.begin(mark, anchor, tag.as_deref(), true)?,
                Event::SequenceEnd | Event::MappingEnd => self.end()?,
                Event::Alias(anchor) => self.repeat(mark, anchor)?,
                Event::DocumentStart(_) if self.root.is_some() => {
                    return Err((
                        mark,
                        Fault::new("a second YAML document begins here", "keep one document: remove the line ---"),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, mark: Mark, anchor: usize, tag: Option<&Tag>, map: bool) -> Result<(), Stop> {
        if self.open.len() >= DEEPEST {
            return Err((mark, too_deep()));
        }
        self.open.push(Open { mark, anchor, tag: tag.map(tag_name), map, nodes: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stop> {
        let Some(Open { mark, anchor, tag, map, nodes }) = self.open.pop() else {
            return Ok(());
        };
        let kind = match tag {
            Some(tag) => Kind::Tagged(tag),
            None if map => {
                let mut nodes = nodes.into_iter();
                let pairs = std::iter::from_fn(|| Some((nodes.next()?, nodes.next()?)));
                Kind::Map(pairs.collect())
            }
            None => Kind::List(nodes),
        };
        self.put(Node { mark, kind }, anchor)
    }

    fn repeat(&mut self, mark: Mark, anchor: usize) -> Result<(), Stop> {
        let Some(named) = self.anchors.get(&anchor) else {
            return Err((mark, Fault::new("this alias is inside the value that it repeats", "write the value out")));
        };
        let (size, depth) = named.extent();
        if self.open.len() + depth > DEEPEST {
            return Err((mark, too_deep()));
        }
        let node = Node { mark, kind: named.kind.clone() };
        self.count(mark, size)?;
        self.put(node, 0)
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        self.count(node.mark, 1)?;
        if anchor > 0 {
            self.count(node.mark, node.extent().0)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            // A bare `---` is an empty file, not a value.
            None if matches!(&node.kind, Kind::Plain(text) if text.is_empty()) => {}
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn count(&mut self, mark: Mark, nodes: usize) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MOST_NODES {
            let what = "the file contains more than a million values, counting each repetition of an alias";
            return Err((mark, Fault::new(what, "shorten it, or use fewer aliases")));
        }
        Ok(())
    }

    /// The key being read.
    fn key(&self) -> String {
        fn walk(open: &[Open], path: &KeyPath<'_>) -> String {
            match open {
                [] => path.to_string(),
                [first, rest @ ..] if first.map => match (first.nodes.len() % 2, first.nodes.last()) {
                    (1, Some(Node { kind: Kind::Plain(key) | Kind::Quoted(key), .. })) => walk(rest, &path.key(key)),
                    _ => path.to_string(),
                },
                // Between the items of a list, the error may belong to the previous or the next one.
                [_] => path.to_string(),
                [first, rest @ ..] => walk(rest, &path.index(first.nodes.len())),
            }
        }
        walk(&self.open, &KeyPath::Root)
    }

    fn line(&self, line: usize) -> &str {
        let text = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        text.trim_start_matches('\u{feff}')
    }

    fn alias_at(&self, mark: Mark) -> String {
        let rest = self.line(mark.line).chars().skip(mark.column - 1);
        rest.take_while(|&c| !c.is_whitespace() && !",[]{}".contains(c)).collect()
    }

    /// Explains the parser's error to an admin who does not know YAML's grammar.
    fn explain(&self, error: &ScanError) -> Stop {
        let (info, here) = (error.info(), mark(error.marker()));
        let tab = |line: usize| {
            let mut indent = self.line(line).chars().take_while(|c| c.is_whitespace());
            indent.position(|c| c == '\t').map(|at| Mark { line, column: at + 1 })
        };
        // Unquoted text may continue on the next line; the parser then reports the error where the text begins.
        if let Some(tab) = tab(here.line).or_else(|| tab(here.line + 1)) {
            return (tab, Fault::new("a tab is used for indentation", "indent with spaces"));
        }
        if info.contains("recursion limit") {
            return (here, too_deep());
        }
        const QUOTE: &str = "write the value in quotes";
        let fault = if info.contains("mapping values are not allowed") {
            let fix = "put text that contains \": \" in quotes, or fix the indentation";
            Fault::new("YAML does not allow \": \" here", fix)
        } else if info.contains("scanning a quoted scalar") && info.contains("end of stream") {
            Fault::new("a quote is opened here and never closed", "close it")
        } else if info.contains("anchor or alias") {
            Fault::new("an unquoted * or & begins an alias or an anchor in YAML", QUOTE)
        } else if info.contains("unexpected character") {
            Fault::new("an unquoted value cannot begin with this character", QUOTE)
        } else {
            let fix = "check indentation, quotes and brackets here and on the line above";
            Fault::new(format!("this cannot be read as YAML ({info})"), fix)
        };
        (here, fault)
    }
}

fn mark(marker: &Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}

fn too_deep() -> Fault {
    Fault::new(format!("lists and mappings are nested more than {DEEPEST} deep"), "close brackets that are still open")
}

fn is_str(tag: &Tag) -> bool {
    tag.is_yaml_core_schema() && tag.suffix == "str"
}

fn tag_name(tag: &Tag) -> String {
    if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() }
}
