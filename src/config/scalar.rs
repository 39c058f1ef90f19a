//! How YAML readers interpret an unquoted value, and how messages show values.

use super::problem::Fault;

/// How YAML 1.1 or 1.2 readers interpret an unquoted value, whichever is more surprising: an admin's editor, linter and
/// templates may follow either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Text,
    Nothing,
    Truth,
    Number,
}

/// The interpretation of an unquoted value (YAML 1.2.2 section 10.3.2, and the types of YAML 1.1).
pub(super) fn meaning(plain: &str) -> Meaning {
    match plain {
        "" | "~" | "null" | "Null" | "NULL" => Meaning::Nothing,
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" | "yes" | "Yes" | "YES" | "no" | "No" | "NO" | "on"
        | "On" | "ON" | "off" | "Off" | "OFF" => Meaning::Truth,
        _ if is_number(plain) => Meaning::Number,
        _ => Meaning::Text,
    }
}

fn is_number(plain: &str) -> bool {
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = unsigned.strip_prefix(prefix) {
            return !digits.is_empty() && digits.chars().all(|c| c == '_' || c.is_digit(radix));
        }
    }
    let digits = |text: &str| text.chars().all(|c| c == '_' || c.is_ascii_digit());
    // Base 60 of YAML 1.1: 190:20:30 is a number there.
    if let Some((first, rest)) = unsigned.split_once(':') {
        return first.starts_with(|c: char| c.is_ascii_digit())
            && digits(first)
            && rest.split(':').all(|part| {
                let whole = part.split('.').next().unwrap_or_default();
                matches!(whole.len(), 1 | 2) && part.chars().all(|c| c == '.' || c.is_ascii_digit())
            });
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    !exponent.is_empty()
        && exponent.chars().all(|c| c.is_ascii_digit())
        && !whole.starts_with('_')
        && digits(whole)
        && digits(fraction)
        && mantissa.contains(|c: char| c.is_ascii_digit())
}

/// Reads an unquoted plain decimal number, such as `30` or `0.5`.
///
/// # Errors
/// A [`Fault`] when it is not a number, or a reader might take it for another one.
pub(super) fn decimal(plain: &str) -> Result<f64, Fault> {
    let shown = show(plain);
    let unsigned = plain.strip_prefix('-').unwrap_or(plain);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(match unsigned.split_once(',') {
            Some((whole, fraction)) if digits(whole) && digits(fraction) => {
                Fault::new(format!("{shown} has a comma"), format!("use a decimal point: {whole}.{fraction}"))
            }
            _ if meaning(plain) == Meaning::Number => {
                Fault::new(format!("{shown} is not a plain decimal number"), "use only digits and a decimal point")
            }
            _ => {
                Fault::new(format!("{shown} is not a number"), "write a plain number without a unit, such as 30 or 0.5")
            }
        });
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return Err(Fault::new(
            format!("{shown} begins with 0, which some YAML readers take as octal"),
            "write it without leading zeros",
        ));
    }
    plain.parse().map_err(|_| Fault::new(format!("{shown} is not a number"), "write a plain number, such as 30"))
}

/// A value as messages show it: on one line and shortened.
pub(super) fn show(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// A value in quotes, ready to be written in the file.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", show(text).replace('\\', "\\\\").replace('"', "\\\""))
}

/// The word in `known` that `word` probably means.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.chars().take(40).collect::<String>().to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|candidate| match candidate.replace('-', "_") {
            longer if word.len() > 2 && longer.starts_with(&word) => (0, candidate),
            plain => (distance(&word, &plain), candidate),
        })
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be inserted, removed or replaced to turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn q2_values_that_any_yaml_reader_converts_are_not_text() {
        for number in [
            "0077",
            "99900",
            "-1",
            "+41791234567",
            "1.5",
            ".5",
            "5.",
            "1e3",
            "1_000",
            "0x1F",
            "0o17",
            "0b11",
            "12:30",
            "190:20:30",
            ".inf",
            "-.INF",
            ".NaN",
            "1.5E-3",
        ] {
            assert_eq!(meaning(number), Meaning::Number, "{number}");
        }
        for truth in ["no", "on", "Yes", "OFF", "true", "FALSE"] {
            assert_eq!(meaning(truth), Meaning::Truth, "{truth}");
        }
        for nothing in ["", "~", "null", "NULL"] {
            assert_eq!(meaning(nothing), Meaning::Nothing, "{nothing}");
        }
        for text in [
            "Anna",
            "127.0.0.1:8021",
            "127.0.0.0/8",
            "1.2.3",
            "12:",
            "a1",
            "-",
            "+",
            ".",
            "_1",
            "1e",
            "0x",
            "0xZ",
            "n",
            "norway",
            "079 123",
            "::1/128",
            "[::1]:80",
            "1:2:x",
            "e5",
            "1.e",
            "12:345",
        ] {
            assert_eq!(meaning(text), Meaning::Text, "{text}");
        }
    }

    #[test]
    fn q2_numbers_are_plain_decimals() {
        assert_eq!(decimal("30"), Ok(30.0));
        assert_eq!(decimal("0.25"), Ok(0.25));
        assert_eq!(decimal("-1"), Ok(-1.0));
        assert_eq!(decimal("0"), Ok(0.0));
        let message = |text: &str| {
            let fault = decimal(text).unwrap_err();
            format!("{}; {}", fault.what, fault.fix)
        };
        assert_eq!(message("1,5"), "1,5 has a comma; use a decimal point: 1.5");
        assert_eq!(
            message("0077"),
            "0077 begins with 0, which some YAML readers take as octal; write it without leading zeros"
        );
        assert_eq!(message(".nan"), ".nan is not a plain decimal number; use only digits and a decimal point");
        assert_eq!(message("1e400"), "1e400 is not a plain decimal number; use only digits and a decimal point");
        assert_eq!(message("30s"), "30s is not a number; write a plain number without a unit, such as 30 or 0.5");
        assert_eq!(message("--1"), "--1 is not a number; write a plain number without a unit, such as 30 or 0.5");
    }

    #[test]
    fn a_mistyped_word_finds_the_intended_one() {
        let known = ["participants", "position_announcement", "wrap_up_seconds", "name"];
        assert_eq!(nearest("particpants", known), Some("participants"));
        assert_eq!(nearest("wrap-up-seconds", known), Some("wrap_up_seconds"));
        assert_eq!(nearest("Nam", known), Some("name"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }

    #[test]
    fn messages_show_values_shortened_on_one_line() {
        assert_eq!(show("a\nb\u{7}"), "a\\nb\\u{7}");
        assert_eq!(show(&"x".repeat(1000)).chars().count(), 61);
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
    }
}
