//! The settings outside of queues, and the agents.

use super::*;

#[test]
fn q2_absent_settings_have_defaults() {
    let config = read(GOOD).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8084");
    assert_eq!(config.allow.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.0/8", "::1/128"]);
    assert!(config.token.is_none() && config.freeswitch.is_empty() && config.domain.is_none());
    assert_eq!((config.state.to_str(), config.control.to_str()), (Some("state.db"), Some("freeswitch-queue.sock")));
    assert_eq!(config.prompts, "${conf_dir}/fsq/prompts");
    assert_eq!(config.languages.iter().map(|l| &*l.0).collect::<Vec<_>>(), ["de", "fr", "it", "en"]);
    assert_eq!((config.feature_codes.login.as_str(), config.feature_codes.logout.as_str()), ("*41", "*42"));
}

#[test]
fn q2_relative_paths_start_at_the_folder_of_the_file() {
    let at = |lines: &str| parse(Path::new("/etc/fsq/queues.yaml"), format!("{lines}\n{GOOD}").as_bytes(), []).unwrap();
    let paths = |config: Config| (config.state.display().to_string(), config.control.display().to_string());
    assert_eq!(paths(at("")), ("/etc/fsq/state.db".into(), "/etc/fsq/freeswitch-queue.sock".into()));
    assert_eq!(
        paths(at("state: /var/lib/fsq/s.db")),
        ("/var/lib/fsq/s.db".into(), "/var/lib/fsq/freeswitch-queue.sock".into())
    );
    assert_eq!(paths(at("state: a/s.db\ncontrol: c.sock")), ("/etc/fsq/a/s.db".into(), "/etc/fsq/c.sock".into()));
}

#[test]
fn q2_addresses_and_networks_are_checked() {
    wrong_setting(
        "listen: \"8084\"",
        &["1:9: listen: \"8084\" is not an IP address and a port; write them as 127.0.0.1:8084 or [::1]:8084"],
    );
    wrong_setting(
        "listen: 127.0.0.1",
        &["1:9: listen: \"127.0.0.1\" is not an IP address and a port; write them as 127.0.0.1:8084 or [::1]:8084"],
    );
    wrong_setting(
        "allow: [10.1.2.3/8, 10.0.0.0/33, localhost]",
        &[
            "1:9: allow[0]: \"10.1.2.3/8\" is an address inside a network; write 10.0.0.0/8 for the network, or 10.1.2.3 for the single address",
            "1:21: allow[1]: \"10.0.0.0/33\" is not a network; write it as 10.1.0.0/16, 10.1.2.3 or fd00::/8",
            "1:34: allow[2]: \"localhost\" is not a network; write it as 10.1.0.0/16, 10.1.2.3 or fd00::/8",
        ],
    );
    wrong_setting(
        "allow: []",
        &["1:8: allow: nobody could connect; add a network, or remove the key to allow only this machine"],
    );
    let config = with_settings("listen: \"[::1]:1\"\nallow: [10.1.2.3, \"fd00::/8\", 0.0.0.0/0]");
    assert_eq!(
        config.allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.1.2.3/32", "fd00::/8", "0.0.0.0/0"]
    );
}

/// A port that other machines can reach needs a token; a port that only this machine can reach causes a warning.
#[test]
fn q21_a_port_that_others_reach_needs_a_token() {
    let open = "1:9: listen: other machines can connect to 10.0.0.1:8084, and nothing distinguishes FreeSWITCH from them; set a token, and write it behind fsq_socket in FreeSWITCH's fsq/settings.xml: HOST:PORT/TOKEN; or let `listen` be an address of this machine alone, such as 127.0.0.1:8084";
    wrong_setting("listen: 10.0.0.1:8084\nallow: [10.0.0.2]", &[open]);
    let with_token = with_settings("listen: 10.0.0.1:8084\nallow: [10.0.0.2]\ntoken: s3cret");
    assert_eq!(with_token.warnings(), [""; 0]);
    for closed in ["", "listen: 127.0.0.1:9", "listen: \"[::1]:9\"\nallow: [10.0.0.2]", "listen: 0.0.0.0:8084"] {
        let warnings = with_settings(closed).warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("can log agents in and out"), "{closed}: {warnings:?}");
    }
}

#[test]
fn q17_numbers_that_are_withheld_and_numbers_in_logs() {
    let config = with_settings("");
    assert_eq!((config.callers.withheld, config.log.numbers), (Withheld::Hide, LogNumbers::Whole));
    let config = with_settings("callers: { withheld: show }\nlog: { numbers: masked }");
    assert_eq!((config.callers.withheld, config.log.numbers), (Withheld::Show, LogNumbers::Masked));
    wrong_setting(
        "callers: { withheld: shown }\nlog: { numbers: none }",
        &[
            "1:22: callers.withheld: \"shown\" is not a choice; did you mean show?",
            "2:17: log.numbers: \"none\" is not a choice; write one of whole, masked",
        ],
    );
}

#[test]
fn q2_switches_are_checked() {
    let switch = |address: &str| format!("freeswitch: [{{ address: \"{address}\", password: x }}]");
    for good in ["127.0.0.1:8021", "[::1]:8021", "pbx-1.example.ch:8021", "freeswitch:8021"] {
        assert_eq!(with_settings(&switch(good)).freeswitch[0].address, good);
    }
    wrong_setting(
        &switch("127.0.0.1"),
        &[
            "1:25: freeswitch[0].address: \"127.0.0.1\" is not a host and a port; write host and port, such as \"127.0.0.1:8021\"",
        ],
    );
    wrong_setting(
        &switch("pbx:80210"),
        &["1:25: freeswitch[0].address: \"80210\" is not a port; write host and port, such as \"127.0.0.1:8021\""],
    );
    wrong_setting(
        &switch("::1:8021"),
        &[
            "1:25: freeswitch[0].address: \"::1:8021\" is not a host and a port; write host and port, such as \"127.0.0.1:8021\"",
        ],
    );
    wrong_setting(
        &switch("127.0.0.1:0"),
        &["1:25: freeswitch[0].address: port 0 cannot be reached; write host and port, such as \"127.0.0.1:8021\""],
    );
    wrong_setting(
        "freeswitch:\n  - { address: \"a:1\", password: \"x\\ny\" }\n  - { address: \"a:1\", password: y }",
        &[
            "2:33: freeswitch[0].password: it contains a line break; write it on one line",
            "3:16: freeswitch[1].address: \"a:1\" is already used by freeswitch[0].address on line 2; each must be different",
        ],
    );
    let many: Vec<String> = (1..=17).map(|i| format!("  - {{ address: \"a:{i}\", password: x }}")).collect();
    wrong_setting(
        &format!("freeswitch:\n{}", many.join("\n")),
        &["2:3: freeswitch: there are more than 16 switches; run another daemon for the others"],
    );
}

#[test]
fn q2_token_domain_prompts_and_paths_are_checked() {
    let token = "1:8: token: the token cannot follow HOST:PORT/ in the socket application; write 1 to 128 of A-Z a-z 0-9 - _ . ~";
    for bad in ["\"\"", "a b", "a/b", "a|b", "\"a\\nb\"", "${x}"] {
        wrong_setting(&format!("token: {bad}"), &[token]);
    }
    wrong_setting(
        "domain: pbx example",
        &[
            "1:9: domain: \"pbx example\" may not contain ' '; write a host name or an IPv4 address, such as pbx.example.ch",
        ],
    );
    wrong_setting(
        "domain: \"a}b\"",
        &["1:9: domain: \"a}b\" may not contain '}'; write a host name or an IPv4 address, such as pbx.example.ch"],
    );
    wrong_setting(
        "prompts: prompts",
        &[
            "1:10: prompts: \"prompts\" is not a path that FreeSWITCH can find; write an absolute path, such as /var/lib/queue/sorry.wav, or ${sounds_dir}/sorry.wav",
        ],
    );
    wrong_setting(
        "prompts: \"${system(reboot)}/x\"",
        &[
            "1:10: prompts: \"${system(reboot)}/x\" contains a ${...} that is not just a variable's name; write the value out",
        ],
    );
    assert_eq!(with_settings("prompts: /srv/prompts/").prompts, "/srv/prompts");
    wrong_setting("state: \"\"", &["1:8: state: it is empty; write a value"]);
    wrong_setting(
        "state: a\ncontrol: a",
        &["2:10: control: state and control are the same file; give each its own path"],
    );
    let long = "x".repeat(108);
    wrong_setting(
        &format!("control: {long}"),
        &[&format!("1:10: control: the socket's path is longer than 107 bytes: {long}; choose a shorter path")],
    );
}

#[test]
fn q2_languages_are_checked() {
    wrong_setting(
        "language: rm",
        &[
            "1:11: language: \"rm\" is not one of the languages (de, fr, it, en); choose one of them, or add its prompts and list it under languages",
        ],
    );
    let config = with_settings("languages: [de, rm]\nlanguage: rm");
    assert_eq!((&*config.language.0, &*config.queues[0].language.0), ("rm", "rm"));
    assert_eq!(&*with_settings("languages: [de, rm]").language.0, "de");
    assert_eq!(&*with_settings("languages: [de, en]").language.0, "en");
    wrong_setting(
        "languages: []",
        &["1:12: languages: there are no languages; name one that has prompts, or remove the key"],
    );
    wrong_setting(
        "languages: [de, ../x, de]",
        &[
            "1:17: languages[1]: \"../x\" may not contain '.'; write the name of a folder of prompts, such as de or pt-br",
            "1:23: languages[2]: de is listed twice; list each language once",
        ],
    );
    wrong_setting(
        "languages: [no]\nlanguage: x",
        &[
            "1:13: languages[0]: no is a YAML boolean (yes or no); write it in quotes: \"no\"",
            "2:11: language: \"x\" is not one of the languages (no); choose one of them, or add its prompts and list it under languages",
        ],
    );
}

#[test]
fn q2_feature_codes_are_checked() {
    let codes = with_settings("feature_codes: { login: \"#1\" }").feature_codes;
    assert!(!codes.toggle && with_settings("feature_codes: { toggle: true }").feature_codes.toggle);
    assert_eq!((codes.login.as_str(), codes.logout.as_str()), ("#1", "*42"));
    let fix = "write * or # and up to 7 digits, * or #, such as \"*41\"";
    wrong_setting(
        "feature_codes: { login: \"41\" }",
        &[&format!(
            "1:25: feature_codes.login: \"41\" does not begin with * or #, so it could be the number of a queue or phone; {fix}"
        )],
    );
    wrong_setting(
        "feature_codes: { login: \"*4a\" }",
        &[&format!("1:25: feature_codes.login: \"*4a\" may not contain 'a'; {fix}")],
    );
    wrong_setting(
        "feature_codes: { logout: \"*4\" }",
        &[
            "1:26: feature_codes.logout: login \"*41\" and logout \"*4\" cannot be told apart when dialled; choose codes of which neither begins with the other",
        ],
    );
}

/// A file with these agents (from line 2 on), and a queue without participants.
fn agents(lines: &str) -> String {
    format!("agents:\n{lines}\nqueues:\n  - {{ number: \"1\", name: x, participants: [] }}\n")
}

#[test]
fn q2_agents_are_checked() {
    wrong(
        &agents("  - { id: \"1001\" }\n  - { id: \"10 02\" }\n  - { id: \"1001\" }\n  - { id: \"\", name: \"  \" }"),
        &[
            "3:11: agents[1].id: \"10 02\" is not an agent id: it may not contain ' '; write the user of the phone's SIP account: 1 to 64 of A-Z a-z 0-9 . _ - +",
            "4:11: agents[2].id: \"1001\" is already used by agents[0].id on line 2; each must be different",
            "5:11: agents[3].id: \"\" is not an agent id: it is empty; write the user of the phone's SIP account: 1 to 64 of A-Z a-z 0-9 . _ - +",
            "5:21: agents[3].name: it is empty; write a value",
        ],
    );
    let name = |name: &str| agents(&format!("  - {{ id: \"1\", name: {name} }}"));
    wrong(
        &name("\"a\\u0007b\""),
        &["2:22: agents[0].name: it contains the invisible character U+0007; retype it without that character"],
    );
    wrong(
        &name("\"a\\u202Eb\""),
        &["2:22: agents[0].name: it contains the invisible character U+202E; retype it without that character"],
    );
    wrong(&name(&"x".repeat(101)), &["2:22: agents[0].name: it is longer than 100 characters; shorten it"]);
    let config = read(&name("\" Zoë 100 % $ \"")).unwrap();
    assert_eq!(&*config.agents[0].name, "Zoë 100 % $");
}

#[test]
fn q2_a_dial_string_is_a_single_endpoint_without_syntax() {
    let dial = |text: &str| agents(&format!("  - {{ id: \"1\", dial: \"{text}\" }}"));
    for good in [
        "sofia/gateway/mobile/0791234567",
        "user/1002@pbx.example.ch",
        "sofia/internal/1001%pbx.example.ch",
        "sofia/external/sip:1@10.0.0.1:5080;transport=tcp",
    ] {
        assert_eq!(read(&dial(good)).unwrap().agents[0].dial.as_deref(), Some(good));
    }
    let fix = "write one endpoint, such as \"sofia/gateway/mobile/0791234567\"";
    for bad in ["user/1,user/2", "user/1|user/2"] {
        wrong(
            &dial(bad),
            &[&format!(
                "2:22: agents[0].dial: \"{bad}\" lists several endpoints (, and | separate them), but an offer rings one; {fix}"
            )],
        );
    }
    for (bad, character) in [("{a=b}user/1", '{'), ("[a=b]user/1", '['), ("user/1}", '}'), ("<a=b>user/1", '<')] {
        wrong(
            &dial(bad),
            &[&format!(
                "2:22: agents[0].dial: \"{bad}\" contains '{character}', which begins or ends channel variables; {fix}"
            )],
        );
    }
    wrong(
        &dial("user/${x}"),
        &[&format!(
            "2:22: agents[0].dial: \"user/${{x}}\" contains '$', which makes FreeSWITCH insert a variable; {fix}"
        )],
    );
    for (bad, character) in [("user/1 &park()", ' '), ("user/1'", '\''), ("user/1^^:", '^')] {
        wrong(&dial(bad), &[&format!("2:22: agents[0].dial: \"{bad}\" may not contain {character:?}; {fix}")]);
    }
    for bad in ["0791234567", "user/", "/x", "user/1:_:user/2"] {
        wrong(&dial(bad), &[&format!("2:22: agents[0].dial: \"{bad}\" is not a dial string; {fix}")]);
    }
    for bad in ["loopback/1001", "Loopback/1001/default"] {
        let fix = "write where it leads, such as \"user/1001@pbx.example.ch\" or \"sofia/gateway/mobile/0791234567\"";
        wrong(
            &dial(bad),
            &[&format!(
                "2:22: agents[0].dial: \"{bad}\" leads through a loopback leg, which FreeSWITCH takes out of the conversation; {fix}"
            )],
        );
    }
    wrong(&dial("user/1\\nbgapi x"), &["2:22: agents[0].dial: it contains a line break; write it on one line"]);
    wrong(&dial(&"x/".repeat(200)), &["2:22: agents[0].dial: it is longer than 256 characters; shorten it"]);
}
