//! Header blocks. A value is found and decoded only when it is read.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memmem, memrchr};
use smallvec::SmallVec;

/// FreeSWITCH's word for an empty value (`switch_event_serialize`).
const UNDEFINED: &[u8] = b"_undef_";
/// FreeSWITCH's prefix of a channel variable's name.
const VARIABLE: &[u8] = b"variable_";

/// How the values of a block are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As they are: in heads of ordinary frames.
    Plain,
    /// Percent-encoded: in events and in the reply to `connect`.
    Encoded,
}

/// A header block of FreeSWITCH. Nothing is parsed in advance: a session reads six of 150 headers, and searching the
/// block for a name costs less than recording where each line begins.
///
/// * Names are compared exactly; of two lines with the same name the first counts. FreeSWITCH writes its own headers
///   before the channel's variables, so a variable cannot replace one of them.
/// * FreeSWITCH writes `_undef_` for an empty value. Empty values read as absent.
/// * Values are percent-decoded once; invalid UTF-8 becomes U+FFFD; a `%` without two hex digits stays. Decoded text
///   may contain anything, including line breaks.
/// * A name may contain `:` or a line feed. Encoded values contain neither, so in an encoded block the last colon of a
///   line ends the name; a line without a colon is not a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    /// The lines, each with its line feed.
    block: Bytes,
    writing: Writing,
}

impl Headers {
    pub(crate) fn new(block: Bytes, writing: Writing) -> Self {
        Self { block, writing }
    }

    /// The decoded value of a header, borrowed when it needs no decoding.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(b"", name)
    }

    /// The decoded value of a channel variable: the header `variable_NAME`.
    pub fn variable(&self, name: &str) -> Option<Cow<'_, str>> {
        self.find(VARIABLE, name)
    }

    /// The bytes of a header's value as sent, including `_undef_`.
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.find_raw(b"", name.as_bytes())
    }

    /// Every header, decoded, in the order sent. Lines that are not headers are left out.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        lines(&self.block).filter_map(|line| {
            let colon = match self.writing {
                Writing::Plain => memchr(b':', line),
                Writing::Encoded => memrchr(b':', line),
            }?;
            let value = without_blank(line.get(colon + 1..)?);
            let value = if value == UNDEFINED { b"" } else { value };
            Some((String::from_utf8_lossy(line.get(..colon)?), self.decode(value)))
        })
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        memchr_iter(b'\n', &self.block).count()
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.block.len()
    }

    /// Whether it has no line.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, prefix: &[u8], name: &str) -> Option<Cow<'_, str>> {
        let raw = self.find_raw(prefix, name.as_bytes())?;
        if raw.is_empty() || raw == UNDEFINED {
            return None;
        }
        Some(self.decode(raw))
    }

    /// The value of the first line whose name is `prefix` followed by `name`, as sent.
    fn find_raw(&self, prefix: &[u8], name: &[u8]) -> Option<&[u8]> {
        let wanted: SmallVec<[u8; 64]> = prefix.iter().chain(name).chain(b":").copied().collect();
        if self.block.starts_with(&wanted) {
            // An event begins with its name, which is read most often.
            if let Some(value) = self.value_at(wanted.len()) {
                return Some(value);
            }
        }
        memmem::find_iter(&self.block, &wanted).find_map(|at| {
            let begins_line = self.block.get(at.checked_sub(1)?) == Some(&b'\n');
            if begins_line { self.value_at(at + wanted.len()) } else { None }
        })
    }

    /// The value after a name's colon; `None` when the name continues: no value in an encoded block contains a colon.
    fn value_at(&self, at: usize) -> Option<&[u8]> {
        let rest = self.block.get(at..)?;
        let value = without_blank(rest.get(..memchr(b'\n', rest)?)?);
        (self.writing == Writing::Plain || memchr(b':', value).is_none()).then_some(value)
    }

    fn decode<'a>(&self, raw: &'a [u8]) -> Cow<'a, str> {
        match self.writing {
            Writing::Plain => String::from_utf8_lossy(raw),
            Writing::Encoded => percent_decode(raw),
        }
    }
}

/// The lines of a block without their line feeds. Bytes after the last line feed are not a line.
pub(crate) fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr_iter(b'\n', block).filter_map(move |end| block.get(std::mem::replace(&mut start, end + 1)..end))
}

fn without_blank(value: &[u8]) -> &[u8] {
    value.strip_prefix(b" ").unwrap_or(value)
}

/// Decodes `%XX` once, as `switch_url_decode` does. Invalid UTF-8 in the result becomes U+FFFD.
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
        Headers::new(Bytes::from_static(block.as_bytes()), Writing::Encoded)
    }

    #[test]
    fn values_are_decoded_when_read() {
        let headers = encoded("Unique-ID: 7c2a\nvariable_x: Hans%20Muster\nEmpty: _undef_\nBad: 100%25%zz%4\n");
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
    fn a_colon_in_a_name_does_not_start_another_header() {
        let headers = encoded("variable_a: b: 1\nvariable_a:b: 2\nvariable_a: 3\n");
        assert_eq!(headers.variable("a").unwrap(), "3");
        assert_eq!(headers.variable("a: b").unwrap(), "1");
        assert_eq!(headers.variable("a:b").unwrap(), "2");
        let names: Vec<_> = headers.iter().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["variable_a: b", "variable_a:b", "variable_a"]);
    }

    #[test]
    fn the_first_of_two_equal_names_counts() {
        assert_eq!(encoded("Unique-ID: core\nUnique-ID: forged\n").get("Unique-ID").unwrap(), "core");
    }

    #[test]
    fn invalid_utf8_is_replaced_not_refused() {
        assert_eq!(encoded("a: %FF%FE\n").get("a").unwrap(), "\u{fffd}\u{fffd}");
        assert_eq!(percent_decode(b"\xff"), "\u{fffd}");
        assert_eq!(percent_decode(b"%C3%A9%0A"), "\u{e9}\n");
        assert_eq!(percent_decode(b"%c3%a9"), "\u{e9}");
    }

    #[test]
    fn only_whole_names_match() {
        let headers =
            encoded("Caller-Unique-ID: 1\nUnique-ID-B: 2\nx: Unique-ID\nUnique-ID: 3\nvariable_variable_y: 4\ny: 5\n");
        assert_eq!(headers.get("Unique-ID").unwrap(), "3");
        assert_eq!(headers.variable("y"), None);
        assert_eq!(headers.variable("variable_y").unwrap(), "4");
        assert_eq!(headers.get(""), None);
        assert_eq!(encoded("variable_e_e_: 1\n").variable("e_e_").unwrap(), "1");
        assert_eq!(encoded("Unique-ID: 1").get("Unique-ID"), None, "a line that does not end");
    }
}
