//! Files that cannot be read, or are not valid YAML.

use std::path::Path;

use super::super::load;
use super::*;

#[test]
fn q2_an_empty_file_says_so() {
    for text in ["", "\n\n", "# only a comment\n", "---\n...\n", "\u{feff}"] {
        wrong(text, &["queues.yaml: the file is empty; define at least one queue in it"]);
    }
}

#[test]
fn q2_a_file_without_queues_says_so() {
    wrong("listen: 127.0.0.1:1\n", &["1:1: queues: there are no queues; define at least one under queues:"]);
    wrong("queues: []\n", &["1:9: queues: there are no queues; define at least one under queues:"]);
}

#[test]
fn q2_a_file_that_is_not_a_mapping_says_so() {
    let keys = "listen, allow, token, freeswitch, state, control, domain, prompts, languages, language, feature_codes, callers, log, agents, queues";
    wrong("- a\n", &[&format!("1:1: this is a list; write a mapping with the keys {keys}")]);
    wrong("hello\n", &[&format!("1:1: \"hello\" is text; write a mapping with the keys {keys}")]);
}

#[test]
fn q2_tabs_for_indentation_are_reported() {
    wrong("agents:\n\t- { id: \"1001\" }\n", &["2:1: agents: a tab is used for indentation; indent with spaces"]);
    wrong(
        "queues:\n  - number: \"99900\"\n\t  name: x\n",
        &["3:1: queues[0].number: a tab is used for indentation; indent with spaces"],
    );
}

#[test]
fn q2_invalid_yaml_is_reported_with_its_place_and_key() {
    wrong(
        "queues:\n  - name: Sales: Europe\n",
        &[
            "2:16: queues[0]: YAML does not allow \": \" here; put text that contains \": \" in quotes, or fix the indentation",
        ],
    );
    wrong("state: \"x\n", &["1:8: state: a quote is opened here and never closed; close it"]);
    wrong(
        "state: @x\n",
        &["1:8: state: an unquoted value cannot begin with this character; write the value in quotes"],
    );
    wrong(
        "state: *\n",
        &["1:8: state: an unquoted * or & begins an alias or an anchor in YAML; write the value in quotes"],
    );
    wrong(
        "queues:\n  - number: \"1\"\n   name: x\n",
        &[
            "3:4: queues: this cannot be read as YAML (while parsing a block collection, did not find expected '-' indicator); check indentation, quotes and brackets here and on the line above",
        ],
    );
}

#[test]
fn q2_a_second_document_is_refused() {
    wrong(
        &format!("---\n{GOOD}---\nqueues: []\n"),
        &["8:1: a second YAML document begins here; keep one document: remove the line ---"],
    );
    assert!(read(&format!("---\n{GOOD}...\n")).is_ok());
}

#[test]
fn q2_byte_order_marks_and_crlf_line_ends_are_accepted() {
    let plain = read(GOOD).unwrap();
    assert_eq!(read(&format!("\u{feff}{GOOD}")).unwrap(), plain);
    assert_eq!(read(&GOOD.replace('\n', "\r\n")).unwrap(), plain);
    wrong(
        &format!("\u{feff}statte: x\r\n{}", GOOD.replace('\n', "\r\n").replace("\"99900\"", "99900")),
        &[
            "1:1: statte: there is no such key; did you mean state?",
            "5:13: queues[0].number: 99900 is a YAML number; write it in quotes: \"99900\"",
        ],
    );
}

#[test]
fn q2_invalid_utf_8_is_reported_with_its_place() {
    let mut bytes = b"state: x\n# Z\xC3\xBCrich caf".to_vec();
    bytes.push(0xE9);
    wrong_bytes(&bytes, &["2:13: byte 22 is 0xE9, which is not UTF-8; save the file as UTF-8"]);
    wrong_bytes(
        b"\xFF\xFEs\0t\0",
        &["1:1: byte 0 is 0xFF, which is not UTF-8 (the file looks like UTF-16); save the file as UTF-8"],
    );
}

#[test]
fn q2_file_size_nesting_and_repetition_are_bounded() {
    let large = vec![b'#'; (16 << 20) + 1];
    wrong_bytes(&large, &["queues.yaml: the file is larger than 16 MiB; check that this is the right file"]);
    let deep = "lists and mappings are nested more than 32 deep; close brackets that are still open";
    wrong(&"- ".repeat(40), &[&format!("1:65: {}: {deep}", "[0]".repeat(31))]);
    wrong(&"[".repeat(2000), &[&format!("1:256: {deep}")]);
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (before, here) in ('a'..='i').zip('b'..='j') {
        let aliases = vec![format!("*{before}"); 10].join(", ");
        bomb.push_str(&format!("{here}: &{here} [{aliases}]\n"));
    }
    let problems = read(&bomb).unwrap_err().to_string();
    let expected = "the file contains more than a million values, counting each repetition of an alias; shorten it, or use fewer aliases";
    assert!(problems.ends_with(expected) && problems.lines().count() == 1, "{problems}");
    wrong("a: &a [*a]\n", &["1:8: a: this alias is inside the value that it repeats; write the value out"]);
}

#[test]
fn q2_aliases_repeat_values() {
    let config = read(&format!(
        "{}  - number: \"99901\"\n    name: Second\n    participants: *everyone\n",
        GOOD.replace("[\"1001\"]", "&everyone [\"1001\"]")
    ))
    .unwrap();
    assert_eq!(config.queues[0].participants, config.queues[1].participants);
    wrong_setting("<<: { a: 1 }", &["1:1: <<: merge keys (<<) are not supported; write the keys out"]);
}

#[test]
fn q2_a_missing_file_and_a_folder_are_reported() {
    let missing = std::env::temp_dir().join("freeswitch-queue-no-such-file.yaml");
    assert_eq!(
        load(&missing).unwrap_err().to_string(),
        format!(
            "{}: the file cannot be read (No such file or directory (os error 2)); pass another path, or start with a copy of the sample queues.yaml",
            missing.display()
        )
    );
    assert_eq!(load(Path::new("/")).unwrap_err().to_string(), "/: this is a folder; pass the path of the YAML file");
    assert_eq!(
        load(Path::new("/dev/null")).unwrap_err().to_string(),
        "/dev/null: this is not a regular file; pass the path of the YAML file"
    );
}
