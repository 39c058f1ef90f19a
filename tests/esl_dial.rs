//! FreeSWITCH reads the same variables and the same endpoint, whatever the caller's name is.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/dial_model.rs"]
mod model;

use freeswitch_queue::esl::SafeText;
use freeswitch_queue::esl::dial::{Endpoint, Originate};
use model::{LEG, assert_harmless, dial, expand, originate};
use proptest::prelude::*;
use unicode_normalization::char::is_combining_mark;

#[test]
fn the_model_misreads_hostile_dial_strings_as_freeswitch_does() {
    let read = |block: &str| {
        let dialled = dial(&format!("originate {{a=1,name={block},z=9}}user/1 &park()"))?;
        Some((
            dialled.variables.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "),
            dialled.endpoint,
        ))
    };
    let good = |text: &str| Some((text.to_owned(), "user/1".to_owned()));
    assert_eq!(read("'Hans Muster'"), good("a=1 name=Hans Muster z=9"));
    // Each of these was measured, and makes a safe alphabet necessary.
    assert_eq!(read("'Muster, Hans'"), good("a=1 name=Muster z=9"), "a comma ends the value even inside quotes");
    assert_eq!(read("'x,origination_uuid=evil'"), good("a=1 name=x origination_uuid=evil z=9"));
    assert_eq!(read("'x}user/9'").unwrap().1, "user/9,z=9}user/1", "a brace ends the block");
    assert_eq!(read("O'Brien"), good("a=1 name=O'Brien z=9"));
    assert_eq!(read("O'Brien,b='c d'"), None, "an unmatched quote swallows what follows");
    assert_eq!(read("''"), good("a=1 z=9"), "an empty value is no variable");
}

#[test]
fn the_model_misreads_hostile_arguments_as_a_channel_does() {
    let read = |text: &str| expand(text).map(|(api, argument, _)| format!("{api} {argument}"));
    assert_eq!(
        read("o=${bgapi(originate {a=b (c)}user/1 &park())}").unwrap(),
        "bgapi originate {a=b (c)}user/1 &park()"
    );
    assert_eq!(read("o=${bgapi(a) b)}").unwrap(), "bgapi a", "an unmatched bracket cuts the rest off");
    assert_eq!(read("o=${bgapi({a=x}} &park())}").unwrap(), "bgapi {a=x}", "an unmatched brace ends it");
    assert_eq!(read("o=${bgapi(${system(id)})}").unwrap(), "bgapi ${system(id)}", "the inner call is executed first");
    assert_eq!(read("o=${uuid}"), None);
}

#[test]
fn hostile_names_are_harmless() {
    let long = "\u{c4}rger, ".repeat(1300);
    assert!(long.len() > 10_000);
    for name in [
        "",
        "'",
        "''",
        "'''",
        "\\",
        "\\'",
        "\"",
        "{",
        "}",
        "[x=y]",
        "<a>b",
        ",",
        "\\,",
        "a,b=c",
        "^^:a=b:c",
        "^^",
        "$",
        "${uuid}",
        "${system(id)}",
        "x' &system(id)",
        "}user/9 &park()",
        "'}user/9 &park() '",
        "Support: Hans",
        "O'Brien",
        "O'Neil 'Jim' O'",
        "a\nb",
        "a\r\n\r\nexit\n\n",
        "\0",
        "a\0b",
        "\u{7f}\u{80}\u{9f}",
        "\u{202e}gnoL",
        "\u{2066}x\u{2069}",
        "\u{200f}\u{5d0}\u{5d1}",
        "\u{627}\u{644}\u{633}\u{644}\u{627}\u{645}",
        "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}",
        "\u{301}",
        "\u{feff}",
        "\u{fffd}",
        "\u{1f600}\u{200d}\u{1f600}",
        "\u{1d11e}",
        "\u{37e}",
        "\u{ff0c}\u{ff5b}\u{ff5d}\u{ff07}",
        "%0A%0D%2C",
        "_undef_",
        "reload mod_event_socket",
        "unload MOD_EVENT_SOCKET",
        "-",
        "--",
        "+41 (0)79/123.45@x",
        " ",
        "\t\u{a0}\u{3000}\u{2028}",
        "&park()",
        "|",
        ":_:",
        "undefined",
        &long,
        &"'".repeat(10_001),
        &"\u{301}".repeat(5_001),
        &"\u{202e}".repeat(4_000),
    ] {
        assert_harmless(name, "0791234567");
        assert_harmless("Hans", name);
        assert_harmless(name, name);
    }
    for bytes in [&b"\xff\xfe"[..], b"a\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"ab\x80cd"] {
        let safe = SafeText::from_bytes(bytes);
        assert_harmless(safe.as_str(), safe.as_str());
    }
}

#[test]
fn a_name_cannot_cause_a_reload() {
    for name in
        ["reload mod_event_socket", "reload MOD_event_SOCKET mod_event_socket", "mod_event_soc\u{212a}et reload"]
    {
        let call = originate(&SafeText::new(name), &SafeText::new(name)).call();
        assert!(!call.as_str().to_ascii_lowercase().contains("mod_event_socket"), "{call}");
    }
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        // Built from characters and words with a meaning to FreeSWITCH.
        prop::collection::vec(
            prop::sample::select(vec![
                "'",
                "\\",
                ",",
                "{",
                "}",
                "[",
                "]",
                "<",
                ">",
                "=",
                "^^",
                "^^:",
                "$",
                "${",
                " ",
                "&",
                "(",
                ")",
                ":",
                "|",
                "\"",
                "a",
                "origination_uuid=",
                "user/9",
                "\n",
                "\r",
                "\0",
                "\u{301}",
                "\u{202e}",
                "\u{5d0}",
                "mod_event_socket",
                "reload",
            ]),
            0..60
        )
        .prop_map(|parts| parts.concat()),
        "\\PC{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_name_is_harmless(name in hostile(), number in hostile()) {
        assert_harmless(&name, &number);
    }

    #[test]
    fn safe_text_keeps_to_the_alphabet_and_is_idempotent(text in hostile()) {
        let safe = SafeText::new(&text);
        prop_assert!(safe.as_str().len() <= SafeText::LONGEST);
        prop_assert_eq!(safe.as_str().trim(), safe.as_str());
        prop_assert!(!safe.as_str().contains("  "));
        let allowed = |c: char| c.is_alphanumeric() || " -_.+*@()/".contains(c) || is_combining_mark(c);
        prop_assert!(safe.as_str().chars().all(allowed));
        prop_assert_eq!(&SafeText::new(safe.as_str()), &safe);
    }

    #[test]
    fn any_bytes_become_safe_text(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let safe = SafeText::from_bytes(&bytes);
        assert_harmless(safe.as_str(), safe.as_str());
    }

    #[test]
    fn freeswitch_dials_exactly_the_endpoint_given(dial_to in "[ -~]{1,40}") {
        let Ok(endpoint) = Endpoint::new(&dial_to) else { return Ok(()) };
        let call = Originate::new(LEG, endpoint).call();
        let dialled = dial(call.as_str()).unwrap();
        prop_assert_eq!(dialled.endpoint, dial_to);
        prop_assert_eq!(dialled.application, "&park()");
        prop_assert_eq!(dialled.variables.len(), 1);
    }
}
