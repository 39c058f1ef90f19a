//! Text that may be sent: validates our own, and reduces text from outside to safe characters.

use std::borrow::Cow;
use std::fmt;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use uuid::Uuid;

/// The name of the Event Socket module. Anywhere in a command's head, in any case and together with `reload` or
/// `unload`, it makes FreeSWITCH do that in place of the command (`parse_command` in `mod_event_socket.c`).
const MODULE: &str = "mod_event_socket";

/// Why a text cannot be part of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A character that would end the line or the command.
    #[error("it contains {0:?}, which would end the line")]
    LineBreak(char),
    /// The one word that FreeSWITCH acts on anywhere in a command.
    #[error("it contains {MODULE}, which FreeSWITCH can take for a command to reload that module")]
    Module,
    /// A character with a special meaning where the text is used.
    #[error("it may not contain {0:?}")]
    Character(char),
    /// An unmatched bracket, where FreeSWITCH counts brackets.
    #[error("it contains an unmatched bracket")]
    Unbalanced,
    /// Empty where text is required.
    #[error("it is empty")]
    Empty,
    /// Longer than allowed, in bytes.
    #[error("it is longer than {0} bytes")]
    TooLong(usize),
}

fn refuse_breaks(text: &str) -> Result<(), TextError> {
    text.chars().find(|c| matches!(c, '\n' | '\r' | '\0')).map_or(Ok(()), |c| Err(TextError::LineBreak(c)))
}

/// Whether `text` contains the module's name in any case.
pub(crate) fn names_module(text: &str) -> bool {
    find_module(text).is_some()
}

fn find_module(text: &str) -> Option<usize> {
    text.as_bytes().windows(MODULE.len()).position(|window| window.eq_ignore_ascii_case(MODULE.as_bytes()))
}

/// Whether all brackets in `text` match, round and curly ones counted separately.
pub(crate) fn is_balanced(text: &str) -> bool {
    let pair = |open: char, close: char| {
        let depth = text.chars().try_fold(0_u32, |depth, c| match c {
            c if c == open => Some(depth + 1),
            c if c == close => depth.checked_sub(1),
            _ => Some(depth),
        });
        depth == Some(0)
    };
    pair('(', ')') && pair('{', '}')
}

/// Text for the head of a command: one line without NUL and without the name of FreeSWITCH's module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line(Cow<'static, str>);

impl Line {
    /// Validates a text.
    ///
    /// # Errors
    /// [`TextError`] when it contains a line break or NUL, or names `mod_event_socket`.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, TextError> {
        let text = text.into();
        refuse_breaks(&text)?;
        if names_module(&text) {
            return Err(TextError::Module);
        }
        Ok(Self(text))
    }

    /// A text built from validated parts.
    pub(crate) fn of_checked(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text for the body of a command: one line without NUL. It may name the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Argument(Cow<'static, str>);

impl Argument {
    /// Validates a text.
    ///
    /// # Errors
    /// [`TextError::LineBreak`] when it contains a line break or NUL.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Result<Self, TextError> {
        let text = text.into();
        refuse_breaks(&text)?;
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A channel of FreeSWITCH: its `Unique-ID`, 1 to 256 bytes of `A-Z a-z 0-9 - _ . @ :`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChannelId(Box<str>);

impl ChannelId {
    /// Validates a channel's `Unique-ID`.
    ///
    /// # Errors
    /// [`TextError`] when it is empty, too long, contains another character, or names `mod_event_socket`.
    pub fn new(text: &str) -> Result<Self, TextError> {
        word(text, 256, "-_.@:").map(|text| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Uuid> for ChannelId {
    fn from(id: Uuid) -> Self {
        Self(id.as_hyphenated().to_string().into())
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A non-empty word of ASCII letters, digits and `others` that does not contain the module's name.
pub(crate) fn word<'a>(text: &'a str, longest: usize, others: &str) -> Result<&'a str, TextError> {
    if text.is_empty() {
        return Err(TextError::Empty);
    }
    if text.len() > longest {
        return Err(TextError::TooLong(longest));
    }
    if let Some(c) = text.chars().find(|&c| !c.is_ascii_alphanumeric() && !others.contains(c)) {
        return Err(TextError::Character(c));
    }
    if names_module(text) {
        return Err(TextError::Module);
    }
    Ok(text)
}

/// Text from outside, reduced to characters without meaning to FreeSWITCH: letters, digits and combining marks of any
/// script, single spaces, and `-_.+*@()/`. Text from outside enters dial strings and application arguments only this
/// way.
///
/// Letters are composed (NFC). Invisible characters, which join, direct or format text, are removed. Every other
/// character, control characters included, becomes a space. At most [`SafeText::MARKS`] marks per letter and
/// [`SafeText::LONGEST`] bytes in all are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SafeText(String);

impl SafeText {
    /// The most bytes kept.
    pub const LONGEST: usize = 128;
    /// The most combining marks kept on one letter.
    pub const MARKS: usize = 4;
    /// Characters beyond this many are ignored.
    const READ: usize = 1024;

    /// Reduces a text.
    pub fn new(text: &str) -> Self {
        let mut safe = String::new();
        let (mut gap, mut marks) = (false, 0);
        for c in text.chars().filter(|&c| !is_invisible(c)).take(Self::READ).nfc() {
            if is_combining_mark(c) {
                // A mark needs a letter or digit before it.
                if gap || marks == Self::MARKS || !safe.chars().next_back().is_some_and(carries_mark) {
                    continue;
                }
                marks += 1;
            } else if c.is_alphanumeric() || "-_.+*@()/".contains(c) {
                marks = 0;
            } else {
                gap = true;
                continue;
            }
            let space = gap && !safe.is_empty();
            if safe.len() + usize::from(space) + c.len_utf8() > Self::LONGEST {
                break;
            }
            if space {
                safe.push(' ');
            }
            gap = false;
            safe.push(c);
        }
        // The module's name is ASCII, so its first underscore is at byte three.
        while let Some(at) = find_module(&safe) {
            safe.replace_range(at + 3..at + 4, " ");
        }
        Self(safe)
    }

    /// Reduces bytes; invalid UTF-8 becomes a space.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self::new(&String::from_utf8_lossy(bytes))
    }

    /// The text, or `other` when nothing is left of it.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        if self.0.is_empty() { other } else { self }
    }

    /// The safe text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for SafeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn carries_mark(c: char) -> bool {
    c.is_alphanumeric() || is_combining_mark(c)
}

/// Zero-width characters: joiners, directions, soft hyphens, fillers, variation selectors, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_one_line() {
        for bad in ["a\nb", "a\r", "\0"] {
            assert!(matches!(Line::new(bad), Err(TextError::LineBreak(_))));
            assert!(matches!(Argument::new(bad), Err(TextError::LineBreak(_))));
        }
        assert_eq!(Line::new("reload Mod_Event_Socket"), Err(TextError::Module));
        assert!(Argument::new("reload Mod_Event_Socket").is_ok());
        assert!(Line::new("reloadxml").is_ok());
    }

    #[test]
    fn real_names_stay_unchanged() {
        for name in [
            "Hans Muster",
            "Zo\u{eb} M\u{fc}ller",
            "\u{5d3}\u{5d5}\u{5d3}",
            "\u{674e}\u{5c0f}\u{9f8d}",
            "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}",
            "\u{e17}\u{e35}\u{e48}",
            "\u{661}\u{662}",
            "+41 79 123 45 67",
            "a@b.ch",
        ] {
            assert_eq!(SafeText::new(name).as_str(), name);
        }
        assert_eq!(SafeText::new("Zoe\u{308}").as_str(), "Zo\u{eb}");
    }

    #[test]
    fn characters_with_a_meaning_are_removed() {
        for (from, to) in [
            ("Support: Hans", "Support Hans"),
            ("  a \t\n b  ", "a b"),
            ("x',y=1}user/9 ${z}", "x y 1 user/9 z"),
            ("^^:a", "a"),
            ("\u{202e}evil\u{202c}", "evil"),
            ("a\u{200d}b", "ab"),
            ("e\u{200d}\u{301}", "\u{e9}"),
            ("\u{301}a", "a"),
            ("\0\u{7}\u{1b}[31m", "31m"),
            ("reload mod_event_socket", "reload mod event_socket"),
            ("%0A%0d", "0A 0d"),
            ("", ""),
            ("\u{1f600}", ""),
        ] {
            assert_eq!(SafeText::new(from).as_str(), to, "{from:?}");
        }
        assert_eq!(SafeText::from_bytes(b"a\xff\xfeb").as_str(), "a b");
    }

    #[test]
    fn lengths_are_bounded() {
        let zalgo = format!("a{}", "\u{30e}".repeat(50));
        assert_eq!(SafeText::new(&zalgo).as_str().chars().count(), 1 + SafeText::MARKS);
        assert_eq!(SafeText::new(&"x".repeat(10_000)).as_str().len(), SafeText::LONGEST);
        assert!(SafeText::new(&"\u{674e} ".repeat(10_000)).as_str().len() <= SafeText::LONGEST);
        assert_eq!(SafeText::new(&" ".repeat(10_000)).as_str(), "");
    }

    #[test]
    fn channel_ids_are_words() {
        assert_eq!(ChannelId::from(Uuid::nil()).as_str(), "00000000-0000-0000-0000-000000000000");
        assert_eq!(ChannelId::new(""), Err(TextError::Empty));
        assert_eq!(ChannelId::new("a b"), Err(TextError::Character(' ')));
        assert_eq!(ChannelId::new(&"a".repeat(257)), Err(TextError::TooLong(256)));
    }
}
