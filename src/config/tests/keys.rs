//! Keys and the kinds of value they take, with YAML's traps.

use super::*;

#[test]
fn q2_unquoted_numbers_are_reported_and_never_become_other_numbers() {
    for number in ["99900", "0077", "0x1F", "0o17", "1_000", "12:30", "1e3", "+41", "1.5", ".inf"] {
        wrong(
            &GOOD.replace("\"99900\"", number),
            &[&format!("4:13: queues[0].number: {number} is a YAML number; write it in quotes: \"{number}\"")],
        );
    }
    wrong_queue(
        "timeout: { action: { transfer: 1005 } }",
        &["7:36: queues[0].timeout.action.transfer: 1005 is a YAML number; write it in quotes: \"1005\""],
    );
    wrong(
        &GOOD.replace("[\"1001\"]", "[1001]"),
        &["6:20: queues[0].participants[0]: 1001 is a YAML number; write it in quotes: \"1001\""],
    );
}

#[test]
fn q2_quoted_numbers_are_read_as_written() {
    for (written, read_as) in
        [("\"0077\"", "0077"), ("'0077'", "0077"), ("!!str 0077", "0077"), ("\"\\x30077\"", "0077")]
    {
        let config = read(&GOOD.replace("\"99900\"", written)).unwrap();
        assert_eq!(config.queues[0].number.as_str(), read_as);
    }
}

#[test]
fn q2_unquoted_star_codes_are_reported_everywhere() {
    wrong_setting(
        "feature_codes:\n  login: *41\n  logout: *42 # out",
        &[
            "2:10: feature_codes.login: *41 without quotes is an alias in YAML; write it in quotes: \"*41\"",
            "3:11: feature_codes.logout: *42 without quotes is an alias in YAML; write it in quotes: \"*42\"",
        ],
    );
    wrong(
        &GOOD.replace("[\"1001\"]", "[*1001, \"1001\"]").replace("\"99900\"", "*99"),
        &[
            "4:13: queues[0].number: *99 without quotes is an alias in YAML; write it in quotes: \"*99\"",
            "6:20: queues[0].participants[0]: *1001 without quotes is an alias in YAML; write it in quotes: \"*1001\"",
        ],
    );
    wrong_queue(
        "ring_seconds: *41",
        &[
            "7:19: queues[0].ring_seconds: *41 without quotes is an alias in YAML; write a plain number, such as 30, or remove the key",
        ],
    );
}

#[test]
fn q2_booleans_are_reported() {
    for word in ["no", "on", "Yes", "OFF", "true"] {
        wrong_queue(
            &format!("language: {word}"),
            &[&format!(
                "7:15: queues[0].language: {word} is a YAML boolean (yes or no); write it in quotes: \"{word}\""
            )],
        );
    }
}

#[test]
fn q2_keys_without_a_value_are_reported() {
    let fix = "there is no value here; write a value, in quotes if it begins with # or &, or remove the key";
    for nothing in ["~", "null", "# nothing", "&a"] {
        let expected = if nothing.starts_with('#') { "1:7" } else { "1:9" };
        wrong_setting(&format!("domain: {nothing}"), &[&format!("{expected}: domain: {fix}")]);
    }
    wrong_queue(
        "position_announcement:",
        &[
            "7:26: queues[0].position_announcement: there is no value here; write a mapping with the keys language, every_seconds",
        ],
    );
    wrong_queue(
        "ring_seconds:",
        &["7:17: queues[0].ring_seconds: there is no value here; write a plain number, such as 30, or remove the key"],
    );
    wrong("queues:\n", &["1:7: queues: there is no value here; write a list: one line beginning with \"- \" for each"]);
    wrong(
        "queues:\n  -\n",
        &[
            "2:4: queues[0]: there is no value here; write a mapping with the keys number, name, strategy, participants, max_wait_minutes, wrap_up_seconds, ring_seconds, ring_at_most, head_start_seconds, music, language, position_announcement, timeout, max_callers, full, max_conversations",
        ],
    );
}

#[test]
fn q2_values_of_the_wrong_kind_are_reported() {
    wrong_setting(
        "domain: [a]",
        &["1:9: domain: this is a list; write a single value, in quotes if it begins with [ or {"],
    );
    wrong_setting(
        "domain: {a: b}",
        &["1:9: domain: this is a mapping; write a single value, in quotes if it begins with [ or {"],
    );
    wrong_setting("domain: !!int \"5\"", &["1:9: domain: the tag !!int is not supported; remove it"]);
    wrong_setting("domain: !env X", &["1:9: domain: the tag !env is not supported; remove it"]);
    wrong_setting("allow: 10.0.0.0/8", &["1:8: allow: \"10.0.0.0/8\" is text; write a list: allow: [\"10.0.0.0/8\"]"]);
    wrong_setting(
        "freeswitch: { address: x }",
        &["1:13: freeswitch: this is a mapping; write a list: one line beginning with \"- \" for each"],
    );
    wrong_setting(
        "feature_codes: \"*41\"",
        &["1:16: feature_codes: \"*41\" is text; write a mapping with the keys login, logout, toggle"],
    );
    wrong_queue("ring_seconds: \"20\"", &["7:19: queues[0].ring_seconds: \"20\" is text; write it without quotes: 20"]);
    wrong_queue(
        "ring_seconds: [20]",
        &["7:19: queues[0].ring_seconds: this is a list; write a plain number, such as 30, or remove the key"],
    );
    wrong_queue(
        "timeout: { action: 1005 }",
        &[
            "7:24: queues[0].timeout.action: 1005 is a number; write hangup, { transfer: \"...\" } or { queue: \"...\" }",
        ],
    );
}

#[test]
fn q2_unknown_keys_are_reported_with_a_suggestion() {
    wrong_setting("Listen: x", &["1:1: Listen: there is no such key; did you mean listen?"]);
    wrong_queue(
        "wrap-up-seconds: 5\ncolour: red",
        &[
            "7:5: queues[0].wrap-up-seconds: there is no such key; did you mean wrap_up_seconds?",
            "8:5: queues[0].colour: there is no such key; the keys here are: number, name, strategy, participants, max_wait_minutes, wrap_up_seconds, ring_seconds, ring_at_most, head_start_seconds, music, language, position_announcement, timeout, max_callers, full, max_conversations",
        ],
    );
    wrong_queue(
        "timeout: { action: { tranfer: \"1\" } }",
        &["7:26: queues[0].timeout.action.tranfer: there is no such key; did you mean transfer?"],
    );
    wrong_setting("? [a, b]\n: c", &["1:3: a key must be a word; see the sample file for the keys"]);
}

#[test]
fn q2_repeated_keys_are_reported() {
    wrong_queue("name: Other", &["7:5: queues[0].name: this key appears twice; keep one of the two"]);
    wrong_setting("state: a\nstate: a", &["2:1: state: this key appears twice; keep one of the two"]);
}

#[test]
fn q2_missing_keys_are_reported_where_they_belong() {
    wrong(
        "agents:\n  - name: Anna\nqueues:\n  - music: ringtone\n",
        &[
            "2:5: agents[0].id: this key is missing; add it: id: \"1001\"",
            "4:5: queues[0].name: this key is missing; add it: name: Service client",
            "4:5: queues[0].number: this key is missing; add it: number: \"99900\"",
            "4:5: queues[0].participants: this key is missing; add it: participants: [\"1001\"], or [] for none",
        ],
    );
    wrong_setting(
        "freeswitch: [{}]",
        &[
            "1:14: freeswitch[0].address: this key is missing; add it: address: \"127.0.0.1:8021\"",
            "1:14: freeswitch[0].password: this key is missing; add it: password: ClueCon",
        ],
    );
}

#[test]
fn q2_no_message_contains_a_secret() {
    for yaml in [
        "token: 4711",
        "token: \"47 11\"",
        "token: \"47/11\"",
        "token: *4711",
        "freeswitch: [{ address: \"a:1\", password: 4711 }]",
    ] {
        let problems = read(&format!("{yaml}\n{GOOD}")).unwrap_err().to_string();
        assert!(!problems.contains("47"), "{problems}");
    }
    wrong_setting("token: 4711", &["1:8: token: the value is a YAML number; write it in quotes"]);
    wrong_setting("token: *4711", &["1:8: token: an unquoted * begins an alias in YAML; write the value in quotes"]);
    let config = with_settings("token: \"4711\"\nfreeswitch: [{ address: \"a:1\", password: \"4711\" }]");
    assert!(!format!("{config:?}").contains("4711"));
    assert_eq!(config.token.unwrap().expose(), "4711");
    assert_eq!(config.freeswitch[0].password.expose(), "4711");
}
