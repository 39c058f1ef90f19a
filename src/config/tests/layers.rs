//! The environment overrides the file.

use super::*;

#[track_caller]
fn wrong_variables(variables: &[(&str, &str)], expected: &[&str]) {
    let problems = read_with(GOOD.as_bytes(), variables).expect_err("the variables were accepted").to_string();
    assert_eq!(problems.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn q2_variables_override_the_file() {
    let file = format!(
        "listen: 127.0.0.1:1\nallow: [10.0.0.0/8]\nfreeswitch:\n  - {{ address: \"a:1\" }}\n  - {{ address: \"b:1\", password: file }}\n{GOOD}"
    );
    let config = read_with(
        file.as_bytes(),
        &[
            ("FSQ_LISTEN", "127.0.0.1:2"),
            ("FSQ_ALLOW", "192.168.0.0/16, ::1"),
            ("FSQ_TOKEN", "0077"),
            ("FSQ_STATE", "/tmp/s.db"),
            ("FSQ_DOMAIN", "pbx.example.ch"),
            ("FSQ_FEATURE_CODES__LOGIN", "*51"),
            ("FSQ_FREESWITCH__0__PASSWORD", "12345"),
            ("FSQ_FREESWITCH__2__ADDRESS", "c:1"),
            ("FSQ_FREESWITCH__2__PASSWORD", "c"),
            ("FSQUEUE", "x"),
            ("PATH", "x"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.allow.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.168.0.0/16", "::1/128"]);
    assert_eq!(config.token.unwrap().expose(), "0077");
    assert_eq!(config.state.to_str(), Some("/tmp/s.db"));
    assert_eq!(config.domain.as_deref(), Some("pbx.example.ch"));
    assert_eq!((config.feature_codes.login.as_str(), config.feature_codes.logout.as_str()), ("*51", "*42"));
    let switches: Vec<_> = config.freeswitch.iter().map(|s| (s.address.as_str(), s.password.expose())).collect();
    assert_eq!(switches, [("a:1", "12345"), ("b:1", "file"), ("c:1", "c")]);
}

#[test]
fn q2_invalid_variables_are_reported() {
    wrong_variables(
        &[
            ("FSQ_LISTEN", "x"),
            ("FSQ_ALLOW", "10.0.0.0/8,y"),
            ("FSQ_FEATURE_CODES__LOGIN", "41"),
            ("FSQ_LANGUAGE", "rm"),
        ],
        &[
            "environment variable FSQ_ALLOW: allow[1]: \"y\" is not a network; write it as 10.1.0.0/16, 10.1.2.3 or fd00::/8",
            "environment variable FSQ_FEATURE_CODES__LOGIN: feature_codes.login: \"41\" does not begin with * or #, so it could be the number of a queue or phone; write * or # and up to 7 digits, * or #, such as \"*41\"",
            "environment variable FSQ_LANGUAGE: language: \"rm\" is not one of the languages (de, fr, it, en); choose one of them, or add its prompts and list it under languages",
            "environment variable FSQ_LISTEN: listen: \"x\" is not an IP address and a port; write them as 127.0.0.1:8084 or [::1]:8084",
        ],
    );
    wrong_variables(
        &[("FSQ_TOKEN", ""), ("FSQ_STATE", "")],
        &[
            "environment variable FSQ_STATE: state: the variable is set, but empty; give it a value or unset it",
            "environment variable FSQ_TOKEN: token: the variable is set, but empty; give it a value or unset it",
        ],
    );
}

#[test]
fn q2_unknown_variables_are_reported() {
    wrong_variables(
        &[
            ("FSQ_LISTN", "x"),
            ("FSQ_FEATURE_CODES__LOGINN", "x"),
            ("FSQ_COLOUR", "x"),
            ("FSQ_LOG", "json"),
            ("FSQ_", "x"),
            ("FSQ_STATE__X", "x"),
        ],
        &[
            "environment variable FSQ_: there is no such variable; unset it",
            "environment variable FSQ_COLOUR: there is no such variable; unset it",
            "environment variable FSQ_FEATURE_CODES__LOGINN: there is no such variable; did you mean FSQ_FEATURE_CODES__LOGIN? Otherwise unset it",
            "environment variable FSQ_LISTN: there is no such variable; did you mean FSQ_LISTEN? Otherwise unset it",
            "environment variable FSQ_LOG: a variable cannot set this; write it in the file and unset the variable",
            "environment variable FSQ_STATE__X: a variable cannot set this; write it in the file and unset the variable",
        ],
    );
    wrong_variables(
        &[("FSQ_QUEUES", "x"), ("FSQ_AGENTS__0__ID", "x"), ("FSQ_FEATURE_CODES", "x"), ("FSQ_FREESWITCH__0", "x")],
        &[
            "environment variable FSQ_AGENTS__0__ID: a variable cannot set this; write it in the file and unset the variable",
            "environment variable FSQ_FEATURE_CODES: a variable cannot set this; write it in the file and unset the variable",
            "environment variable FSQ_FREESWITCH__0: a variable cannot set this; write it in the file and unset the variable",
            "environment variable FSQ_QUEUES: a variable cannot set this; write it in the file and unset the variable",
        ],
    );
}

#[test]
fn q2_a_variable_cannot_lengthen_a_list_without_bound_or_leave_gaps() {
    wrong_variables(
        &[("FSQ_FREESWITCH__4000000000__ADDRESS", "a:1"), ("FSQ_FREESWITCH__-1__ADDRESS", "a:1")],
        &[
            "environment variable FSQ_FREESWITCH__-1__ADDRESS: -1 is not the index of a switch; use 0 to 15",
            "environment variable FSQ_FREESWITCH__4000000000__ADDRESS: 4000000000 is not the index of a switch; use 0 to 15",
        ],
    );
    wrong_variables(
        &[("FSQ_FREESWITCH__1__ADDRESS", "a:1")],
        &[
            "queues.yaml:1:1: freeswitch[0]: this switch is missing; number the switches in the variables' names from 0 without gaps",
            "queues.yaml:1:1: freeswitch[1].password: this key is missing; add it: password: ClueCon",
        ],
    );
}

#[cfg(unix)]
#[test]
fn q2_a_variable_that_is_not_utf_8_is_reported() {
    use std::os::unix::ffi::OsStringExt;
    let variables = [(OsString::from("FSQ_STATE"), OsString::from_vec(vec![0xFF]))];
    let problems = parse(Path::new("queues.yaml"), GOOD.as_bytes(), variables).unwrap_err().to_string();
    assert_eq!(problems, "environment variable FSQ_STATE: state: the value is not UTF-8; encode it as UTF-8");
}
