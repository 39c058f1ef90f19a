//! Q10, Q11, Q12: the sounds the caller hears.

use std::sync::Arc;
use std::time::Duration;

use simswitch::{Behaviour, Caller, Length, Sound};

use crate::house::{House, answers, pass, play};
use crate::setting::{Queue, configuration, queue};

/// Prompts of 1.5 s, endless music.
fn open(queues: &[Queue]) -> House {
    let lengths = |name: &str| name.starts_with("/prompts").then_some(Length::For(Duration::from_millis(1_500)));
    let switch = simswitch::Config { lengths: Some(Arc::new(lengths)), ..simswitch::Config::default() };
    House::with(switch, configuration(queues, ""), 1)
}

/// The names of the sounds during the wait, in order.
fn heard(caller: &Caller) -> Vec<String> {
    caller.history().iter().map(|s| name(&s.sound)).collect()
}

fn name(sound: &Sound) -> String {
    match sound {
        Sound::Playing(file) => file.trim_start_matches("/prompts/").to_owned(),
        Sound::Party(number) => format!("the voice of {number}"),
        other => format!("{other:?}"),
    }
}

/// The start times of the prompts and their names, in whole seconds.
pub fn prompts(caller: &Caller) -> Vec<(u64, String)> {
    let history = caller.history().into_iter();
    let prompts = history.filter(|s| matches!(&s.sound, Sound::Playing(f) if f.starts_with("/prompts")));
    prompts.map(|s| (s.at.as_secs(), name(&s.sound))).collect()
}

const TONE: &str = "tone_stream://%(1000,4000,425);loops=-1";

/// Q10: the ring tone plays without a gap until the agent's voice, while one phone after another rings.
#[test]
fn q10_the_ring_tone_has_no_gap() {
    play(async {
        let house = open(&[queue("99900", &["1001", "1002", "1003"]).with("ring_seconds: 5")]);
        house.when_rung("1001", Behaviour::Ignore);
        house.when_rung("1002", Behaviour::Busy);
        house.when_rung("1003", answers(3_000));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, "1003");
        hans.hang_up();
        let history = hans.history();
        // One frame of silence for `answer` itself, another between the end of the music and the voice.
        assert_eq!(heard(&hans), ["Ringing", "Silence", TONE, "Silence", "the voice of 1003"]);
        assert!(history[2].at <= Duration::from_millis(45), "the tone begins at once: {:?}", history[2].at);
        assert!(history[4].at - history[3].at <= Duration::from_millis(45), "{:?}", &history[3..5]);
        house.end().await;
    });
}

/// Q10: music from a stream continues while other callers call, are refused and give up.
#[test]
fn q10_music_continues_while_others_come_and_go() {
    play(async {
        let house = open(&[queue("99900", &["1001"]).with("music: local_stream://moh")]);
        house.when_rung("1001", Behaviour::Decline { after: Duration::from_millis(300) });
        let hans = house.caller("0791", "99900");
        for n in 0..10 {
            let other = house.caller(&format!("080{n}"), "99900");
            pass(3_000).await;
            other.hang_up();
        }
        assert_eq!(heard(&hans), ["Ringing", "Silence", "local_stream://moh"]);
        hans.hang_up();
        house.end().await;
    });
}

/// Q10: a music file is repeated; the ring tone replaces a file that FreeSWITCH cannot play.
#[test]
fn q10_music_from_a_file() {
    for (exists, expected) in [(true, "/music.wav"), (false, TONE)] {
        play(async move {
            let lengths = move |name: &str| (!exists && name.contains("music")).then_some(Length::Missing);
            let switch = simswitch::Config { lengths: Some(Arc::new(lengths)), ..simswitch::Config::default() };
            let music = queue("99900", &["1001"]).with("music: \"${sounds_dir}/music.wav\"");
            let house = House::with(switch, configuration(&[music], ""), 1);
            house.when_rung("1001", Behaviour::Ignore);
            let hans = house.caller("0791", "99900");
            pass(5_000).await;
            assert_eq!(name(&hans.hears()), expected);
            pass(600_000).await;
            assert_eq!(heard(&hans).last().map(String::as_str), Some(expected));
            assert_eq!(heard(&hans).iter().filter(|s| *s == expected).count(), 1, "without a restart");
            hans.hang_up();
            house.end().await;
        });
    }
}

fn announced(every: u32) -> Queue {
    let announcement = format!("position_announcement: {{ language: fr, every_seconds: {every} }}");
    queue("99900", &["1001"]).with("music: local_stream://moh").with(&announcement).with("ring_seconds: 300")
}

/// Q11, Q19: a caller who returns to the line is not told a position that belongs to another caller who is still on the
/// way back.
#[test]
fn q11_a_restart_announces_no_wrong_position() {
    play(async {
        let house = House::durable("q11-restart", &[announced(600)]);
        let mut callers = Vec::new();
        for n in 0..5 {
            callers.push(house.caller(&format!("079{n}"), "99900"));
            pass(3_000).await;
        }
        house.kill().await;
        pass(4_000).await;
        let back = house.switch.now().as_secs();
        house.start_again();
        pass(30_000).await;
        for (n, caller) in (0..5).zip(&callers) {
            let after: Vec<_> = prompts(caller).into_iter().filter(|(at, _)| *at >= back).collect();
            let expected = if n == 0 { None } else { Some(format!("fr/position-{}.wav", n + 1)) };
            assert_eq!(after.iter().map(|(_, name)| name.clone()).next(), expected);
            assert!(after.len() <= 1 && after.iter().all(|(at, _)| *at >= back + 15), "{after:?}");
        }
        for caller in callers {
            caller.hang_up();
        }
        house.end().await;
    });
}

/// Q11: a caller who enters behind others hears the position, in the queue's language; the music pauses for it and
/// resumes at the same position.
#[test]
fn q11_the_position_on_entry() {
    play(async {
        let house = open(&[announced(600)]);
        let first = house.caller("0791", "99900");
        let second = house.caller("0792", "99900");
        let third = house.caller("0793", "99900");
        pass(10_000).await;
        assert_eq!(prompts(&first), [], "the first in line hears no prompt");
        assert_eq!(prompts(&second), [(0, "fr/position-2.wav".to_owned())]);
        assert_eq!(prompts(&third), [(0, "fr/position-3.wav".to_owned())]);
        let history = third.history();
        let [.., before, prompt, after] = &history[..] else { panic!("{history:?}") };
        assert_eq!(
            (name(&before.sound), name(&after.sound)),
            ("local_stream://moh".into(), "local_stream://moh".into())
        );
        assert_eq!(after.position, before.position + (prompt.at - before.at), "the music resumes where it was paused");
        assert_eq!(after.at - prompt.at, Duration::from_millis(1_500), "the music resumes after the whole sentence");
        [first, second, third].iter().for_each(Caller::hang_up);
        house.end().await;
    });
}

/// Q11: an improved position is announced at most every 15 s; position 1 is announced too.
#[test]
fn q11_better_positions_at_most_every_fifteen_seconds() {
    play(async {
        let house = open(&[announced(600)]);
        let ahead: Vec<Caller> = (0..4).map(|n| house.caller(&format!("080{n}"), "99900")).collect();
        let hans = house.caller("0791", "99900");
        pass(5_000).await;
        ahead[1].hang_up();
        pass(5_000).await;
        ahead[2].hang_up();
        pass(30_000).await;
        ahead[3].hang_up();
        pass(15_000).await;
        ahead[0].hang_up();
        pass(30_000).await;
        let told: Vec<(u64, String)> =
            [(0, 5), (15, 3), (40, 2), (55, 1)].map(|(at, n)| (at, format!("fr/position-{n}.wav"))).into();
        assert_eq!(prompts(&hans), told);
        hans.hang_up();
        house.end().await;
    });
}

/// Q11: the position is repeated at the configured interval, also to the first in line, who hears none on entry.
#[test]
fn q11_the_position_is_repeated() {
    play(async {
        let house = open(&[announced(30)]);
        let first = house.caller("0791", "99900");
        let second = house.caller("0792", "99900");
        pass(100_000).await;
        let repeated = |n: u32, at: &[u64]| at.iter().map(|s| (*s, format!("fr/position-{n}.wav"))).collect::<Vec<_>>();
        assert_eq!(prompts(&first), repeated(1, &[30, 60, 90]));
        assert_eq!(prompts(&second), repeated(2, &[0, 30, 60, 90]));
        first.hang_up();
        second.hang_up();
        house.end().await;
    });
}

/// Q11: an agent's answer stops an announcement at once, and an announcement does not delay an offer.
#[test]
fn q11_an_announcement_stops_the_instant_an_agent_answers() {
    for after in (100..1_600).step_by(100) {
        play(async move {
            let house = open(&[announced(600).with("strategy: as-listed").of(&["1001", "1002"])]);
            house.settled().await;
            let first = house.caller("0791", "99900");
            let hans = house.caller("0792", "99900");
            let bruno = house.phone("1002");
            bruno.wait_ringing().await;
            pass(after).await;
            let answered = house.switch.now();
            bruno.answer();
            hans.wait_talking().await;
            assert!(house.switch.now() - answered <= Duration::from_millis(45), "at {after} ms");
            pass(5_000).await;
            assert_eq!(hans.view().talks_to(), Some("1002"), "no prompt is played into the conversation");
            assert_eq!(name(&hans.history().last().unwrap().sound), "the voice of 1002");
            let book = house.book().await;
            let offered = book.when("1002 is offered 0792") - book.when("0792 enters 99900");
            assert!(offered <= 1, "the offer does not wait for the announcement: {offered}");
            first.hang_up();
            hans.hang_up();
            house.end().await;
        });
    }
}

/// Q11: a phone rings at once for a caller who is hearing the position.
#[test]
fn q11_a_phone_rings_while_the_position_is_spoken() {
    for after in (100..1_600).step_by(300) {
        play(async move {
            let house = open(&[announced(600)]);
            house.settled().await;
            let vreni = house.caller("0791", "99900");
            assert_eq!(house.take("1001").await, "0791");
            let hans = house.caller("0792", "99900");
            pass(after).await;
            let free = house.switch.now();
            vreni.hang_up();
            let anna = house.phone("1001");
            anna.wait_ringing().await;
            let rung = anna.rings().last().unwrap().at - free;
            assert!(rung <= Duration::from_millis(45), "{after} ms after the call: {rung:?}");
            hans.hang_up();
            house.end().await;
        });
    }
}

/// Q11: a caller far behind hears one fixed sentence.
#[test]
fn q11_a_caller_far_behind_hears_one_sentence() {
    play(async {
        let house = open(&[announced(600)]);
        let callers: Vec<Caller> = (0..35).map(|n| house.caller(&format!("08{n:02}"), "99900")).collect();
        pass(3_000).await;
        assert_eq!(prompts(&callers[29]), [(0, "fr/position-30.wav".to_owned())]);
        assert_eq!(prompts(&callers[30]), [(0, "fr/position-more.wav".to_owned())]);
        assert_eq!(prompts(&callers[34]), [(0, "fr/position-more.wav".to_owned())]);
        callers.iter().for_each(Caller::hang_up);
        house.end().await;
    });
}

/// Q12: no key changes the music, a prompt or the place.
#[test]
fn q12_keys_change_nothing() {
    play(async {
        let house = open(&[announced(600)]);
        let first = house.caller("0791", "99900");
        let hans = house.caller("0792", "99900");
        hans.wait_hears("position-2").await;
        for key in "*#0123456789ABCD".chars() {
            hans.dtmf(key);
            pass(50).await;
        }
        pass(3_000).await;
        for key in "*#0123456789ABCD".chars() {
            hans.dtmf(key);
            pass(50).await;
        }
        pass(3_000).await;
        assert_eq!(heard(&hans)[2..], ["local_stream://moh", "fr/position-2.wav", "local_stream://moh"]);
        assert_eq!(house.line("99900"), ["0791", "0792"]);
        first.hang_up();
        hans.hang_up();
        house.end().await;
    });
}
