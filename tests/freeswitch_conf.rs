//! The FreeSWITCH side: the spoken sentences, the dialplan, and the script that installs both.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LANGUAGES: [&str; 4] = ["de", "en", "fr", "it"];
/// The answers to `*41` and `*42`; the call is hung up within 3 s (Q14).
const ANSWERS: [&str; 6] = ["logged-in", "logged-out", "no-such-queue", "not-a-member", "not-authenticated", "failed"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn prompts() -> PathBuf {
    root().join("freeswitch-conf/fsq/prompts")
}

/// The name of every prompt of Q11 (30 positions, and beyond), Q14 and Q19.
fn names() -> BTreeSet<String> {
    let places = (1..=30).map(|place| format!("position-{place}"));
    let others = ANSWERS.into_iter().chain(["position-more", "try-later"]).map(String::from);
    places.chain(others).collect()
}

/// An empty folder of this test's own.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("freeswitch_conf").join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(file: &Path, text: &str) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// Every file below a folder, with its content.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(base: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(base, &path, found);
            } else {
                let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

struct Said {
    code: i32,
    text: String,
}

impl Said {
    fn new(output: Output) -> Said {
        let text = [output.stdout, output.stderr].concat();
        Said { code: output.status.code().unwrap(), text: String::from_utf8(text).unwrap() }
    }

    #[track_caller]
    fn has(&self, part: &str) -> &Said {
        assert!(self.text.contains(part), "not said: {part}\nsaid: {}", self.text);
        self
    }

    #[track_caller]
    fn lacks(&self, part: &str) -> &Said {
        assert!(!self.text.contains(part), "said: {part}\nin: {}", self.text);
        self
    }
}

// ---- Spoken sentences

/// The samples of an 8 kHz mono 16 bit WAV file.
fn samples(file: &Path) -> Vec<i16> {
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!((&bytes[..4], &bytes[8..12]), (&b"RIFF"[..], &b"WAVE"[..]), "{}", file.display());
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 12;
    loop {
        let (name, length, body) = (&bytes[at..at + 4], number(at + 4), at + 8);
        match name {
            b"fmt " => {
                let pcm_mono = [1, 0, 1, 0];
                assert_eq!(bytes[body..body + 4], pcm_mono, "{}: not PCM mono", file.display());
                assert_eq!(number(body + 4), 8000, "{}: not 8 kHz", file.display());
                assert_eq!(bytes[body + 14..body + 16], [16, 0], "{}: not 16 bit", file.display());
            }
            b"data" => {
                let data = &bytes[body..body + length];
                return data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
            }
            _ => {}
        }
        at = body + length + length % 2;
    }
}

/// Full scale is 0 dB.
fn decibel(level: f64) -> f64 {
    20.0 * (level / 32768.0).log10()
}

#[test]
fn every_sentence_is_there_in_every_language_and_can_be_heard() {
    for language in LANGUAGES {
        let mut heard = BTreeSet::new();
        for name in names() {
            let file = prompts().join(language).join(format!("{name}.wav"));
            let samples = samples(&file);
            let milliseconds = samples.len() / 8;
            let limit = if ANSWERS.contains(&name.as_str()) { 2800 } else { 8000 };
            assert!((500..limit).contains(&milliseconds), "{}: {milliseconds} ms", file.display());

            let peak = decibel(samples.iter().map(|s| f64::from(s.unsigned_abs())).fold(0.0, f64::max));
            let energy = samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64;
            let loudness = decibel(energy.sqrt());
            assert!(peak <= -1.0, "{}: clipped, peak {peak:.1} dBFS", file.display());
            assert!((-24.0..-16.0).contains(&loudness), "{}: {loudness:.1} dBFS", file.display());

            let audible = |s: &i16| s.unsigned_abs() > 300;
            let before = samples.iter().position(audible).unwrap() / 8;
            let after = samples.iter().rev().position(audible).unwrap() / 8;
            assert!(before < 250 && after < 400, "{}: silent for {before} and {after} ms", file.display());
            assert!(heard.insert(samples), "{}: the same sound as another name's", file.display());
        }
    }
}

#[test]
fn texts_and_sounds_agree() {
    let said = render(&root().join("scripts/prompts"), &prompts());
    assert_eq!(said.code, 0, "{}", said.text);
    said.has("4 languages (de en fr it), 38 sentences each");
}

fn render(texts: &Path, sounds: &Path) -> Said {
    let mut command = Command::new(root().join("scripts/render-prompts"));
    command.arg("--check").env("PROMPT_TEXTS", texts).env("PROMPT_SOUNDS", sounds);
    Said::new(command.output().unwrap())
}

/// Copies of the French texts and sounds, free to be spoilt.
fn french(test: &str) -> (PathBuf, PathBuf) {
    let folder = folder(test);
    let (texts, sounds) = (folder.join("texts"), folder.join("sounds"));
    fs::create_dir_all(&texts).unwrap();
    fs::create_dir_all(sounds.join("fr")).unwrap();
    for file in ["fr.txt", "RENDERED"] {
        fs::copy(root().join("scripts/prompts").join(file), texts.join(file)).unwrap();
    }
    for name in names() {
        let file = format!("fr/{name}.wav");
        fs::copy(prompts().join(&file), sounds.join(&file)).unwrap();
    }
    (texts, sounds)
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn every_mistake_in_a_text_file_is_reported() {
    let (texts, sounds) = french("mistakes");
    let file = texts.join("fr.txt");
    edit(&file, "position-2 = ", "position-02 = ");
    edit(&file, "position-9 = ", "position-8 = ");
    edit(&file, "failed = L'enregistrement a échoué.", "failed =");
    edit(&file, "logged-in = ", "logged-in ");
    let said = render(&texts, &sounds);
    assert_eq!(said.code, 1);
    said.has("fr.txt line 6: there is no prompt 'position-02'")
        .has("fr.txt: 'position-2' is missing")
        .has("fr.txt line 13: 'position-8' appears twice")
        .has("'failed' has no sentence")
        .has("write 'name = sentence', not: logged-in Vous");
}

#[test]
fn a_missing_stale_or_unknown_sound_is_reported() {
    let (texts, sounds) = french("sounds");
    fs::remove_file(sounds.join("fr/try-later.wav")).unwrap();
    fs::copy(sounds.join("fr/failed.wav"), sounds.join("fr/sorry.wav")).unwrap();
    edit(&texts.join("fr.txt"), "Vous avez quitté la file.", "Vous êtes parti.");
    let said = render(&texts, &sounds);
    assert_eq!(said.code, 1);
    said.has("fr/try-later.wav is missing; run scripts/render-prompts")
        .has("fr/sorry.wav: there is no prompt with this name")
        .has("fr/logged-out.wav: its sentence changed after it was rendered");
}

#[test]
fn a_recording_may_replace_a_rendered_file_within_the_same_limits() {
    let (texts, sounds) = french("recording");
    fs::copy(sounds.join("fr/position-2.wav"), sounds.join("fr/position-3.wav")).unwrap();
    let said = render(&texts, &sounds);
    assert_eq!(said.code, 0, "{}", said.text);
    said.has("fr/position-3: a recording, left alone").has("1 recordings");

    fs::copy(sounds.join("fr/try-later.wav"), sounds.join("fr/logged-in.wav")).unwrap();
    fs::write(sounds.join("fr/logged-out.wav"), "no sound").unwrap();
    let said = render(&texts, &sounds);
    assert_eq!(said.code, 1);
    said.has("must be under 2800 ms").has("fr/logged-out.wav: not an 8 kHz mono 16 bit PCM WAV file");
}

// ---- Dialplan

#[test]
fn every_setting_the_dialplan_uses_is_in_settings_xml() {
    let conf = root().join("freeswitch-conf");
    let settings = fs::read_to_string(conf.join("fsq/settings.xml")).unwrap();
    let mut used = BTreeSet::new();
    for (file, bytes) in tree(&conf).iter().filter(|(file, _)| file.ends_with(".xml")) {
        let text = std::str::from_utf8(bytes).unwrap();
        // FreeSWITCH obeys these lines even inside a comment.
        for line in without_comments(text, false).lines() {
            assert!(!line.contains("X-PRE-PROCESS"), "{file}: a pre-process line inside a comment: {line}");
        }
        for part in text.split("$${").skip(1) {
            used.insert(part.split('}').next().unwrap().to_owned());
        }
    }
    // FreeSWITCH's own configuration sets these.
    for known in ["conf_dir", "domain"] {
        assert!(used.remove(known), "{known}");
    }
    assert!(used.len() >= 4, "{used:?}");
    for name in used {
        assert!(settings.contains(&format!("cmd=\"set\" data=\"{name}=")), "{name} is not in settings.xml");
    }
}

/// The text outside (`keep`) or inside (`!keep`) XML comments.
fn without_comments(text: &str, keep: bool) -> String {
    let mut parts = String::new();
    let mut rest = text;
    while let Some((outside, comment)) = rest.split_once("<!--") {
        let (inside, behind) = comment.split_once("-->").unwrap();
        parts.push_str(if keep { outside } else { inside });
        rest = behind;
    }
    if keep {
        parts.push_str(rest);
    }
    parts
}

#[test]
fn a_call_that_comes_back_from_the_controller_finds_it_again() {
    let conf = root().join("freeswitch-conf/dialplan");
    let entry = without_comments(&fs::read_to_string(conf.join("default/00_freeswitch_queue.xml")).unwrap(), true);
    let queue = entry.split("<extension name=\"freeswitch_queue\">").nth(1).unwrap();
    let queue = queue.split("</extension>").next().unwrap();
    let place = |action: &str| queue.find(action).unwrap_or_else(|| panic!("{action}"));
    let socket = place("application=\"socket\" data=\"$${fsq_socket} async full\"");
    // Q19: the dialplan goes on when the controller dies; Q12: keys change nothing.
    for before in ["socket_resume=true", "hangup_after_bridge=true", "playback_terminators=none", "fsq_dialled=$1"] {
        assert!(place(before) < socket, "{before}");
    }
    // Q4: the dialplan keeps the time of the caller's arrival, wherever the wait begins.
    assert!(place("fsq_came=${profile_created_time}") < socket);
    assert!(socket < place("application=\"transfer\" data=\"$1 XML freeswitch-queue\""));
    for file in ["default/00_freeswitch_queue.xml", "freeswitch_queue.xml"] {
        let text = without_comments(&fs::read_to_string(conf.join(file)).unwrap(), true);
        let text = text.split("<extension name=\"freeswitch_queue_codes\">").next().unwrap();
        // Q8: a caller who is being connected does not go on in the dialplan.
        let behind = text.split("data=\"$${fsq_socket} async full\"/>").skip(1).map(str::trim_start);
        let waits = |behind: &str| behind.starts_with("<action application=\"set\" data=\"fsq_waited=${msleep(");
        assert!(behind.clone().count() > 0 && behind.clone().all(waits), "{file}: {:?}", behind.collect::<Vec<_>>());
    }

    let hold = without_comments(&fs::read_to_string(conf.join("freeswitch_queue.xml")).unwrap(), true);
    let pass = hold.split("<extension name=\"fsq_away\">").nth(1).unwrap().split("</extension>").next().unwrap();
    // Q19: when the controller dies during a try, the call continues after it.
    let tries: Vec<&str> = pass.split("application=\"socket\"").collect();
    let (_, before) = tries.split_last().unwrap();
    assert!(before.iter().all(|before| before.contains("socket_resume=true")), "{pass}");
    // Q19: a controller that took the call earlier in this pass has cleared the mark, and the caller still returns to
    // the place.
    assert!(before[1..].iter().all(|before| before.contains("fsq_held=true")), "{pass}");
    // Q10: one second of 425 Hz in five; Q19: never two seconds without a try.
    let mut pieces = Vec::new();
    for action in pass.split("<action ").skip(1) {
        let number = |from: &str, to: char| -> Option<u32> {
            action.split_once(from).map(|(_, rest)| rest.split(to).next().unwrap().parse().unwrap())
        };
        if action.contains("tone_stream") {
            assert!(action.contains("%(1000,550,425)"), "{action}");
            pieces.push(1550);
        } else if let Some(silence) = number("silence_stream://", '"') {
            pieces.push(silence);
        } else if let Some(wait) = number("msleep(", ')') {
            pieces.push(wait);
        } else if action.contains("application=\"socket\"") {
            pieces.push(0);
        }
    }
    assert_eq!(pieces.iter().sum::<u32>(), 5000);
    // From one try to the next, including the first of the next round.
    let twice: Vec<u32> = pieces.repeat(2);
    let waits: Vec<u32> = twice.split(|piece| *piece == 0).map(|wait| wait.iter().sum()).collect();
    assert!(waits.len() == 7 && waits.iter().all(|wait| *wait < 2000), "{pieces:?}");
    // A caller who is passed on from one queue to another passes here, and must not be kept waiting.
    assert!(waits[0] <= 200, "{pieces:?}");
    assert!(pass.contains("application=\"transfer\" data=\"$1 XML freeswitch-queue\""));
}

// ---- Installation

const DEFAULT: &str = r#"<include>
  <context name="default">
    <extension name="debug" continue="true">
      <condition field="destination_number" expression="^(.*)$"><action application="info"/></condition>
    </extension>
    <!-- <extension name="off"><condition field="destination_number" expression="^9.*$"/></extension> -->
    <extension name="local"><condition field="destination_number" expression="^(10\d\d)$"/></extension>
    <X-PRE-PROCESS cmd="include" data="default/*.xml"/>
    <extension name="last"><condition field="destination_number" expression="^(.*)$"/></extension>
  </context>
</include>
"#;

const MODULES: [&str; 8] = [
    "mod_event_socket",
    "mod_sofia",
    "mod_dialplan_xml",
    "mod_dptools",
    "mod_commands",
    "mod_sndfile",
    "mod_tone_stream",
    "mod_local_stream",
];

/// The parts of an installed FreeSWITCH configuration that matter here.
fn freeswitch(test: &str) -> PathBuf {
    let conf = folder(test).join("conf");
    let modules: String = MODULES.iter().map(|name| format!("<load module=\"{name}\"/>\n")).collect();
    write(&conf.join("freeswitch.xml"), "<X-PRE-PROCESS cmd=\"include\" data=\"dialplan/*.xml\"/>\n");
    write(&conf.join("vars.xml"), "<X-PRE-PROCESS cmd=\"set\" data=\"default_password=secret\"/>\n");
    write(&conf.join("dialplan/default.xml"), DEFAULT);
    write(&conf.join("dialplan/default/01_example.xml"), "<include/>\n");
    write(&conf.join("autoload_configs/modules.conf.xml"), &modules);
    write(
        &conf.join("autoload_configs/event_socket.conf.xml"),
        "<param name=\"listen-ip\" value=\"127.0.0.1\"/>\n<param name=\"listen-port\" value=\"8021\"/>\n",
    );
    conf
}

fn install(conf: &Path, more: &[&str]) -> Said {
    let mut command = Command::new(root().join("scripts/install-freeswitch-conf"));
    Said::new(command.arg("--conf").arg(conf).args(more).output().unwrap())
}

/// The token in `fsq/settings.xml`.
fn token(settings: &str) -> Option<&str> {
    let socket = settings.split("fsq_socket=127.0.0.1:8084/").nth(1)?;
    socket.split('"').next()
}

/// Q21: the script puts a random token into FreeSWITCH's settings, once, and the same token into the controller's file
/// if that is named; it changes nothing else there.
#[test]
fn both_sides_get_a_random_token() {
    let conf = freeswitch("token");
    let settings = || fs::read_to_string(conf.join("fsq/settings.xml")).unwrap();
    let said = install(&conf, &[]);
    let made = settings();
    let made = token(&made).unwrap();
    assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
    said.has(&format!("in its file: token: \"{made}\""));
    install(&conf, &[]).has("nothing to do");
    assert_eq!(token(&settings()), Some(made), "it stays");

    let queues = conf.with_file_name("queues.yaml");
    let yaml = "# Ours.\nlisten: 127.0.0.1:8084\nqueues: []\n";
    write(&queues, yaml);
    let with = |more: &[&str]| install(&conf, &[&["--queues", queues.to_str().unwrap()], more].concat());
    with(&["--dry-run"]).has("would add the token");
    assert_eq!(fs::read_to_string(&queues).unwrap(), yaml);
    with(&[]).has("added the token");
    let both = format!("# Ours.\ntoken: \"{made}\"\nlisten: 127.0.0.1:8084\nqueues: []\n");
    assert_eq!(fs::read_to_string(&queues).unwrap(), both);
    with(&[]).has("has the token already");
    assert_eq!(fs::read_to_string(&queues).unwrap(), both);
    write(&queues, "token: another\nqueues: []\n");
    let said = with(&[]);
    assert_eq!(said.code, 2);
    said.has("has another token than");
    assert_eq!(fs::read_to_string(&queues).unwrap(), "token: another\nqueues: []\n");

    // Another installation gets another token; the script reports a missing one.
    let other = freeswitch("token-too");
    install(&other, &[]);
    let theirs = fs::read_to_string(other.join("fsq/settings.xml")).unwrap();
    assert_ne!(token(&theirs), Some(made));
    edit(&other.join("fsq/settings.xml"), &format!("/{}", token(&theirs).unwrap()), "");
    install(&other, &["--check"]).has("fsq_socket has no token");
    install(&other, &[]).has("put a token into fsq/settings.xml");
}

/// Q21: the folder may belong to FreeSWITCH's user while root runs the script: the script ignores names of foreign
/// files in its list, and writes and deletes nothing through a link.
#[test]
fn the_script_does_not_trust_the_content_of_the_folder() {
    use std::os::unix::fs::symlink;

    let conf = freeswitch("hostile");
    install(&conf, &[]);
    let outside = conf.parent().unwrap().to_path_buf();
    write(&outside.join("theirs"), "not ours");
    write(&conf.join("vars.xml.keep"), "not ours either");
    let hash = "0".repeat(64);
    let list = conf.join("fsq/.installed");
    let before = fs::read_to_string(&list).unwrap();
    let sums = |path: &Path| {
        let told = Command::new("sha256sum").arg(path).output().unwrap();
        String::from_utf8(told.stdout).unwrap().split(' ').next().unwrap().to_owned()
    };
    let mut hostile = before.clone();
    for name in ["../theirs", "fsq/../../theirs", "vars.xml.keep", "fsq/prompts/../../../theirs"] {
        hostile += &format!("{} {name}\n", sums(&conf.join(name)));
    }
    fs::write(&list, format!("{hostile}{hash} fsq/x$(touch {0}/touched).xml\n", outside.display())).unwrap();
    let said = install(&conf, &[]);
    said.has("did not install; it is left alone").lacks("remove");
    fs::write(&list, &hostile).unwrap();
    install(&conf, &["--uninstall"]).has("did not install; it is left alone").lacks("remove vars.xml.keep");
    assert_eq!(fs::read_to_string(outside.join("theirs")).unwrap(), "not ours");
    assert_eq!(fs::read_to_string(conf.join("vars.xml.keep")).unwrap(), "not ours either");
    assert!(!outside.join("touched").exists());

    for (link, to) in [
        ("fsq", "elsewhere"),
        ("fsq/prompts/de", "elsewhere"),
        ("fsq/.backup", "elsewhere"),
        ("dialplan/freeswitch_queue.xml", "elsewhere/freeswitch_queue.xml"),
    ] {
        let conf = freeswitch("hostile-link");
        let elsewhere = conf.parent().unwrap().join("elsewhere");
        write(&elsewhere.join("freeswitch_queue.xml"), "theirs");
        let before = tree(&elsewhere);
        fs::create_dir_all(conf.join(link).parent().unwrap()).unwrap();
        symlink(conf.parent().unwrap().join(to), conf.join(link)).unwrap();
        for more in [&["--force"][..], &["--uninstall"], &[]] {
            let said = install(&conf, more);
            assert_eq!(said.code, 1, "{link}: {}", said.text);
            said.has("is a link");
        }
        assert_eq!(tree(&elsewhere), before, "{link}");
    }
    // A link under the name of a temporary file is not followed either.
    let conf = freeswitch("hostile-new");
    let victim = conf.parent().unwrap().join("victim");
    write(&victim, "theirs");
    fs::create_dir_all(conf.join("fsq")).unwrap();
    for name in ["fsq/settings.xml.new", "fsq/.installed.new", "dialplan/freeswitch_queue.xml.new"] {
        symlink(&victim, conf.join(name)).unwrap();
    }
    assert_eq!(install(&conf, &[]).code, 0);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs");
}

#[test]
fn a_dry_run_only_reports() {
    let conf = freeswitch("dry");
    let before = tree(&conf);
    let said = install(&conf, &["--dry-run"]);
    assert_eq!(said.code, 0, "{}", said.text);
    said.has("would add dialplan/default/00_freeswitch_queue.xml").has("would add 152 spoken sentences");
    assert_eq!(tree(&conf), before);
}

#[test]
fn installing_copies_everything_once() {
    let conf = freeswitch("twice");
    let said = install(&conf, &[]);
    assert_eq!(said.code, 0, "{}", said.text);
    said.has("fs_cli -x reloadxml").lacks("PROBLEM");
    let installed = tree(&conf);
    for (name, bytes) in tree(&root().join("freeswitch-conf")) {
        let found = installed.get(&name).expect("installed");
        if name == "fsq/settings.xml" {
            let with_token = String::from_utf8(found.clone()).unwrap();
            let token = token(&with_token).expect("a token");
            assert_eq!(with_token.replace(&format!("/{token}"), "").into_bytes(), bytes, "{name}");
        } else {
            assert_eq!(*found, bytes, "{name}");
        }
    }
    let said = install(&conf, &[]);
    assert_eq!(said.code, 0);
    said.has("nothing to do").lacks("reloadxml");
    assert_eq!(tree(&conf), installed);
}

#[test]
fn uninstalling_restores_the_previous_files() {
    let conf = freeswitch("uninstall");
    write(&conf.join("dialplan/freeswitch_queue.xml"), "<!-- somebody else's -->\n");
    let before = tree(&conf);
    install(&conf, &[]).has("replace dialplan/freeswitch_queue.xml (the previous file is kept in fsq/.backup/before)");
    let said = install(&conf, &["--uninstall"]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert_eq!(tree(&conf), before);
    let said = install(&conf, &["--uninstall"]);
    assert_eq!(said.code, 1);
    said.has("nothing is installed");
}

#[test]
fn an_admins_changes_survive_until_forced_and_are_backed_up_even_then() {
    let conf = freeswitch("changed");
    install(&conf, &[]);
    let (settings, sound) = (conf.join("fsq/settings.xml"), conf.join("fsq/prompts/fr/failed.wav"));
    edit(&settings, "fsq_language=en", "fsq_language=fr");
    fs::copy(conf.join("fsq/prompts/fr/logged-in.wav"), &sound).unwrap();
    let changed = tree(&conf);
    install(&conf, &[]).has("keep fsq/settings.xml (changed here)").has("nothing to do");
    assert_eq!(tree(&conf), changed);

    install(&conf, &["--force"]).has("replace fsq/settings.xml").has("replace fsq/prompts/fr/failed.wav");
    let forced = tree(&conf);
    let delivered = fs::read_to_string(root().join("freeswitch-conf/fsq/settings.xml")).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let before = text(&changed["fsq/settings.xml"]);
    let same = format!("127.0.0.1:8084/{}", token(&before).expect("a token"));
    assert_eq!(text(&forced["fsq/settings.xml"]), delivered.replace("127.0.0.1:8084\"", &format!("{same}\"")));
    let kept = |name: &str| {
        let of_this = |file: &&String| file.starts_with("fsq/.backup/") && file.ends_with(name);
        forced[forced.keys().find(of_this).unwrap()].clone()
    };
    assert_eq!(kept("settings.xml"), changed["fsq/settings.xml"]);
    assert_eq!(kept("fr/failed.wav"), changed["fsq/prompts/fr/failed.wav"]);
}

#[test]
fn a_configuration_that_does_not_fit_is_reported_with_the_fix() {
    let conf = freeswitch("misfit");
    edit(&conf.join("dialplan/default.xml"), r"^(10\d\d)$", r"^(99\d+|\*4.*)$");
    edit(&conf.join("autoload_configs/modules.conf.xml"), "<load module=\"mod_tone_stream\"/>", "");
    edit(&conf.join("autoload_configs/event_socket.conf.xml"), "127.0.0.1", "0.0.0.0");
    edit(&conf.join("vars.xml"), "secret", "1234");
    let said = install(&conf, &[]);
    assert_eq!(said.code, 2, "{}", said.text);
    said.has("extension 'local'")
        .has("takes 99900;")
        .has("takes *4299900*1001;")
        .lacks("extension 'off'")
        .lacks("extension 'debug'")
        .lacks("extension 'last'")
        .has("does not load mod_tone_stream; add: <load module=\"mod_tone_stream\"/>")
        .has("listen-ip 0.0.0.0 accepts connections on every address")
        .has("default_password is still 1234")
        .has("4 problem(s)");

    edit(&conf.join("dialplan/default.xml"), "data=\"default/*.xml\"", "data=\"nothing/*.xml\"");
    let said = install(&conf, &["--check"]);
    assert_eq!(said.code, 2);
    said.has("does not include default/*.xml");
}

#[test]
fn a_setting_that_cannot_work_is_reported() {
    let conf = freeswitch("settings");
    install(&conf, &[]);
    edit(&conf.join("fsq/settings.xml"), "fsq_away_rounds=24", "fsq_away_rounds=two minutes");
    edit(&conf.join("fsq/settings.xml"), "fsq_language=en", "fsq_language=xx");
    let said = install(&conf, &["--check"]);
    assert_eq!(said.code, 2);
    said.has("fsq_away_rounds is 'two minutes'; set it to a number").has("fsq_language is 'xx'");
}

#[test]
fn a_folder_without_a_configuration_is_refused() {
    let folder = folder("nothing");
    let said = install(&folder, &[]);
    assert_eq!(said.code, 1);
    said.has("has no freeswitch.xml");
    assert!(tree(&folder).is_empty());
}
