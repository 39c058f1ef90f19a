//! Header blocks: an index of line starts, and values decoded when they are asked for.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memmem, memrchr};
use smallvec::SmallVec;

/// What FreeSWITCH writes for an empty value (`switch_event_serialize`).
const UNDEFINED: &[u8] = b"_undef_";
/// What FreeSWITCH puts before a channel variable's name.
const VARIABLE: &[u8] = b"variable_";

/// How many lines the head that answers `connect` is likely to have, at most.
const CHANNEL_LINES: usize = 248;

/// Where the lines of a header block begin. Nothing but the line ends is looked at when it is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    /// The start of every line, and one past the last line's end.
    starts: SmallVec<[u32; 8]>,
}

/// What [`Index::of_block`] found.
pub(crate) struct Indexed {
    /// The lines.
    pub(crate) index: Index,
    /// Where the bytes behind the blank line begin; the length of the block when there is no blank line.
    pub(crate) end: usize,
}

impl Index {
    /// Indexes the lines of `block` up to its blank line, at most `most` of them; what lies behind is not seen.
    /// A block begins at 0 and is shorter than 4 GiB.
    pub(crate) fn of_block(block: &[u8], most: usize) -> Indexed {
        // 33 bytes is a short mean for a header line of an event, so the table is rarely grown.
        let mut starts = SmallVec::with_capacity((block.len() / 33 + 8).min(most.saturating_add(1)));
        starts.push(0);
        let mut start = 0;
        for newline in memchr_iter(b'\n', block) {
            if newline == start {
                return Indexed { index: Self { starts }, end: newline + 1 };
            }
            if starts.len() > most {
                let end = memmem::find(block, b"\n\n").map_or(block.len(), |at| at + 2);
                return Indexed { index: Self { starts }, end };
            }
            start = newline + 1;
            starts.push(offset(start));
        }
        Indexed { index: Self { starts }, end: block.len() }
    }

    /// An index that has seen no line yet, for a block that arrives in pieces.
    pub(crate) fn begin() -> Self {
        Self { starts: SmallVec::from_slice(&[0]) }
    }

    /// Notes that a line ended just before `next`.
    pub(crate) fn line_ended(&mut self, next: usize) {
        if self.starts.len() == self.starts.inline_size() {
            // A head that is longer than a few lines is a channel's, 170 lines and more.
            self.starts.reserve(CHANNEL_LINES);
        }
        self.starts.push(offset(next));
    }

    /// Where the line that has not ended yet begins.
    pub(crate) fn open_line(&self) -> usize {
        self.starts.last().map_or(0, |&at| at as usize)
    }

    /// How many lines there are.
    pub(crate) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The lines without their ends.
    pub(crate) fn lines<'a>(&'a self, block: &'a [u8]) -> impl DoubleEndedIterator<Item = &'a [u8]> + 'a {
        self.starts.windows(2).filter_map(|pair| match pair {
            [from, next] => block.get(*from as usize..(*next as usize).saturating_sub(1)),
            _ => None,
        })
    }

    /// The value of the first line that names `prefix` and `name` together, as it was sent.
    fn raw<'a>(&self, block: &'a [u8], prefix: &[u8], name: &[u8], writing: Writing) -> Option<&'a [u8]> {
        let colon = prefix.len() + name.len();
        for pair in self.starts.windows(2) {
            let [from, next] = pair else { continue };
            let Some(line) = block.get(*from as usize..(*next as usize).saturating_sub(1)) else {
                continue;
            };
            if line.get(colon) != Some(&b':')
                || line.get(prefix.len()..colon) != Some(name)
                || line.get(..prefix.len()) != Some(prefix)
            {
                continue;
            }
            let value = line.get(colon + 1..).unwrap_or_default();
            let value = value.strip_prefix(b" ").unwrap_or(value);
            // In an encoded block no value holds a colon, so one more means that the name goes on.
            if writing == Writing::Plain || memchr(b':', value).is_none() {
                return Some(value);
            }
        }
        None
    }
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// How the values of a block are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As they are: heads of ordinary frames.
    Plain,
    /// Percent-encoded: events, and the head that answers `connect`.
    Encoded,
}

/// A header block of FreeSWITCH, its lines indexed, its values decoded when they are asked for.
///
/// * Names are compared exactly; of two lines with the same name the first counts. FreeSWITCH writes its own headers
///   before the channel's variables, so a variable cannot take the place of one.
/// * A value that is `_undef_` is FreeSWITCH's word for an empty one. Empty values read as absent.
/// * Values are percent-decoded once; invalid UTF-8 becomes U+FFFD; a `%` without two hex digits stays. Decoded text
///   may hold anything, line breaks included.
/// * A name may hold `:` or a line feed. Encoded values hold neither, so there the last colon of a line ends the name;
///   a line without a colon is no header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    block: Bytes,
    index: Index,
    writing: Writing,
}

impl Headers {
    pub(crate) fn new(block: Bytes, index: Index, writing: Writing) -> Self {
        Self { block, index, writing }
    }

    /// The bytes the headers are in.
    pub(crate) fn block(&self) -> &Bytes {
        &self.block
    }

    /// The decoded value of a header, borrowed when there was nothing to decode.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(b"", name)
    }

    /// The decoded value of a channel variable: the header `variable_NAME`.
    pub fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(VARIABLE, name)
    }

    /// The bytes of a header's value as they were sent, `_undef_` included.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.index.raw(&self.block, b"", name.as_bytes(), self.writing)
    }

    /// Every header in the order it was sent, decoded. A line that is no header is left out.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        self.index.lines(&self.block).filter_map(|line| {
            let colon = match self.writing {
                Writing::Plain => memchr(b':', line),
                Writing::Encoded => memrchr(b':', line),
            }?;
            let value = line.get(colon + 1..)?;
            let value = value.strip_prefix(b" ").unwrap_or(value);
            let value = if value == UNDEFINED { b"" } else { value };
            Some((String::from_utf8_lossy(line.get(..colon)?), self.decode(value)))
        })
    }

    /// How many lines the block has.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether the block has no line.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, prefix: &[u8], name: &str) -> Option<Cow<'_, str>> {
        let raw = self.index.raw(&self.block, prefix, name.as_bytes(), self.writing)?;
        if raw.is_empty() || raw == UNDEFINED {
            return None;
        }
        Some(self.decode(raw))
    }

    fn decode<'a>(&self, raw: &'a [u8]) -> Cow<'a, str> {
        match self.writing {
            Writing::Plain => String::from_utf8_lossy(raw),
            Writing::Encoded => percent_decode(raw),
        }
    }
}

/// Decodes `%XX` once, as `switch_url_decode` does. What is not valid UTF-8 afterwards becomes U+FFFD.
pub(crate) fn percent_decode(raw: &[u8]) -> Cow<'_, str> {
    let Some(first) = memchr(b'%', raw) else {
        return String::from_utf8_lossy(raw);
    };
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    let mut next = Some(first);
    while let Some(at) = next {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before);
        match escape {
            [_, high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            [percent, after @ ..] => {
                out.push(*percent);
                rest = after;
            }
            [] => rest = escape,
        }
        next = memchr(b'%', rest);
    }
    out.extend_from_slice(rest);
    Cow::Owned(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn encoded(block: &'static str) -> Headers {
        let indexed = Index::of_block(block.as_bytes(), 1000);
        Headers::new(Bytes::from_static(block.as_bytes()), indexed.index, Writing::Encoded)
    }

    #[test]
    fn values_are_decoded_when_asked_for() {
        let headers = encoded("Unique-ID: 7c2a\nvariable_x: Hans%20Muster\nEmpty: _undef_\nBad: 100%25%zz%4\n\n");
        assert!(matches!(headers.get("Unique-ID"), Some(Cow::Borrowed("7c2a"))));
        assert_eq!(headers.variable("x").unwrap(), "Hans Muster");
        assert_eq!(headers.get("Empty"), None);
        assert_eq!(headers.raw("Empty"), Some(&b"_undef_"[..]));
        assert_eq!(headers.get("Bad").unwrap(), "100%%zz%4");
        assert_eq!(headers.get("Unique"), None);
        assert_eq!(headers.get("nique-ID"), None);
        assert_eq!(headers.len(), 4);
    }

    #[test]
    fn a_colon_in_a_name_does_not_make_another_header() {
        let headers = encoded("variable_a: b: 1\nvariable_a:b: 2\nvariable_a: 3\n\n");
        assert_eq!(headers.variable("a").unwrap(), "3");
        assert_eq!(headers.variable("a: b").unwrap(), "1");
        assert_eq!(headers.variable("a:b").unwrap(), "2");
        let names: Vec<_> = headers.iter().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["variable_a: b", "variable_a:b", "variable_a"]);
    }

    #[test]
    fn the_first_of_two_equal_names_counts() {
        assert_eq!(encoded("Unique-ID: core\nUnique-ID: forged\n\n").get("Unique-ID").unwrap(), "core");
    }

    #[test]
    fn invalid_utf8_is_replaced_not_refused() {
        assert_eq!(encoded("a: %FF%FE\n\n").get("a").unwrap(), "\u{fffd}\u{fffd}");
        assert_eq!(percent_decode(b"\xff"), "\u{fffd}");
        assert_eq!(percent_decode(b"%C3%A9%0A"), "\u{e9}\n");
        assert_eq!(percent_decode(b"%c3%a9"), "\u{e9}");
    }

    #[test]
    fn an_index_stops_at_its_bound_and_still_finds_the_end() {
        let indexed = Index::of_block(b"a: 1\nb: 2\nc: 3\n\nbody", 2);
        assert_eq!(indexed.index.len(), 2);
        assert_eq!(indexed.end, 16);
    }
}
