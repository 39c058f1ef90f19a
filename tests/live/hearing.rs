//! The sounds callers and agents hear (Q10 to Q12).

use std::time::{Duration, Instant};

use crate::caller::{Caller, From};
use crate::lab::{Lab, SOON};
use crate::sound::{RING_TONE, Words, samples, wav};

crate::cases!("hearing":
    waiting_callers_hear_the_ring_tone,
    music_has_no_gap_while_phones_ring_and_until_the_agents_voice,
    the_position_is_spoken_on_entry_and_repeated_and_the_music_resumes_where_it_was,
    an_announcement_stops_the_instant_an_agent_answers,
    keys_change_nothing,
);

const MUSIC: u32 = 3000;
/// The longest gap that does not count as silence: three packets.
const BLINK: Duration = Duration::from_millis(70);

fn one(settings: &str) -> String {
    format!("  - {{ number: \"99900\", name: Sales, participants: [\"1001\", \"1002\"], {settings} }}\n")
}

/// Q10: 1 s on, 4 s off.
fn waiting_callers_hear_the_ring_tone(lab: &Lab) {
    lab.serve(&one("ring_seconds: 20"));
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    let first = caller.sound.hears(RING_TONE, caller.since, SOON);
    let again = caller.sound.hears(RING_TONE, first + Duration::from_millis(2500), Duration::from_secs(4));
    let tones = caller.sound.tones(&[RING_TONE], first, again);
    let on = Duration::from_millis(20) * u32::try_from(tones.iter().filter(|t| t.1.is_some()).count()).unwrap();
    let (pause, about) = (again - first, |ms: u64| Duration::from_millis(ms - 100)..Duration::from_millis(ms + 100));
    assert!(about(1000).contains(&on), "on for {on:?}");
    assert!(about(5000).contains(&pause), "again after {pause:?}");
    caller.hang_up();
    ring.cancelled(SOON);
    caller.over(SOON);
}

/// Q10.
fn music_has_no_gap_while_phones_ring_and_until_the_agents_voice(lab: &Lab) {
    let music = lab.file("music.wav", &wav(&samples(MUSIC, 1.5)));
    lab.serve(&one(&format!("ring_seconds: 1, music: \"{}\"", music.display())));
    lab.log_in("99900", &["1001", "1002"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let first = lab.phone("1001").rings(SOON);
    let begun = caller.sound.hears(MUSIC, caller.since, SOON);
    first.cancelled(SOON);
    let second = lab.phone("1002").rings(SOON);
    second.decline();
    let third = lab.phone("1001").rings(Duration::from_secs(8));
    let answered = third.answer();
    let gap = caller.sound.longest_gap(MUSIC, begun, answered);
    assert!(gap < BLINK, "the music had a gap of {gap:?}; heard: {}", caller.sound.story(begun));
    let voice = caller.sound.hears(lab.phone("1001").tone, answered, SOON);
    let silence = caller.sound.longest_gap(MUSIC, answered, voice);
    assert!(silence < Duration::from_millis(250), "silence of {silence:?} before the agent's voice");
    lab.phone("1001").sound.hears(caller.tone, answered, SOON);
    third.hang_up();
    caller.over(SOON);
}

/// Q11. The music is a scale, so that each note shows the position in the file.
fn the_position_is_spoken_on_entry_and_repeated_and_the_music_resumes_where_it_was(lab: &Lab) {
    let scale: Vec<u32> = (0..16).map(|step| 2000 + 100 * step).collect();
    let steps: Vec<i16> = scale.iter().flat_map(|&tone| samples(tone, 0.5)).collect();
    let music = lab.file("scale.wav", &wav(&steps));
    lab.serve(&one(&format!(
        "music: \"{}\", position_announcement: {{ language: de, every_seconds: 5 }}",
        music.display()
    )));
    lab.log_in("99900", &["1001"]);
    let first = lab.call(&From::outside("0791111111", ""), "99900");
    let ring = lab.phone("1001").rings(SOON);
    let callers = [2, 3].map(|place| {
        let caller = lab.call(&From::outside(&format!("079{place}"), ""), "99900");
        let words = Words::of(&lab.prompt("de", &format!("position-{place}")));
        caller.sound.hears_words(&words, caller.since, SOON);
        caller
    });
    let second = &callers[0];
    // An agent answers and everybody moves up: the next announcement is the new position, never the old one again.
    let answered = ring.answer();
    let next = Words::of(&lab.prompt("de", "position-1"));
    let spoken = second.sound.hears_words(&next, answered, Duration::from_secs(8));
    assert!(!first.sound.heard_words(&next, first.since), "the first caller heard a position");
    let last = Words::of(&lab.prompt("de", "position-2"));
    callers[1].sound.hears_words(&last, answered, Duration::from_secs(8));
    assert!(!second.sound.heard_words(&last, spoken), "the caller heard an outdated position");
    // The music before and after the announcement.
    let end = second.sound.hears_any(&scale, spoken + Duration::from_millis(500), SOON);
    let heard = second.sound.tones(&scale, spoken - Duration::from_secs(4), end + Duration::from_millis(100));
    let step = |tone: u32| scale.iter().position(|&t| t == tone).unwrap();
    let before = heard.iter().rev().find_map(|(at, tone)| if *at < spoken { *tone } else { None }).unwrap();
    let after = heard.iter().find_map(|(at, tone)| if *at >= end { *tone } else { None }).unwrap();
    let moved = (scale.len() + step(after) - step(before)) % scale.len();
    assert!(moved <= 1, "music before {before} Hz, after {after} Hz; heard: {}", second.sound.story(answered));
    callers.iter().for_each(Caller::hang_up);
    ring.hang_up();
    for caller in callers.into_iter().chain([first]) {
        caller.over(SOON);
    }
}

/// Q11.
fn an_announcement_stops_the_instant_an_agent_answers(lab: &Lab) {
    lab.serve(&one("position_announcement: { language: it }"));
    lab.log_in("99900", &["1001", "1002"]);
    let first = lab.call(&From::outside("0791111111", ""), "99900");
    let ringing = lab.phone("1001").rings(SOON);
    let second = lab.call(&From::outside("0792222222", ""), "99900");
    let ring = lab.phone("1002").rings(SOON);
    let words = Words::of(&lab.prompt("it", "position-2"));
    let spoken = second.sound.hears_sound(second.since, SOON);
    let answered = ring.answer();
    let voice = second.sound.hears(lab.phone("1002").tone, answered, SOON);
    assert!(voice - answered < Duration::from_millis(250), "connected after {:?}", voice - answered);
    assert!(answered - spoken < Duration::from_secs(2), "the announcement was over before");
    let until = voice + Duration::from_millis(1500);
    second.sound.hears(lab.phone("1002").tone, until, SOON);
    let gap = second.sound.longest_gap(lab.phone("1002").tone, voice, until);
    assert!(gap < BLINK, "the agent's voice had a gap of {gap:?}; heard: {}", second.sound.story(answered));
    assert!(!second.sound.heard_words(&words, voice), "the announcement continued");
    first.hang_up();
    ringing.cancelled(SOON);
    ring.hang_up();
    second.over(SOON);
    first.over(SOON);
}

/// Q12.
fn keys_change_nothing(lab: &Lab) {
    let music = lab.file("music.wav", &wav(&samples(MUSIC, 1.5)));
    lab.serve(&one(&format!("music: \"{}\"", music.display())));
    lab.log_in("99900", &["1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let ring = lab.phone("1001").rings(SOON);
    let begun = caller.sound.hears(MUSIC, caller.since, SOON);
    let facts = lab.daemon().facts().len();
    for key in ['*', '1', '#', '0', '*'] {
        caller.sound.press(key);
    }
    let later = Instant::now() + Duration::from_millis(1500);
    caller.sound.hears(MUSIC, later, SOON);
    let gap = caller.sound.longest_gap(MUSIC, begun, later);
    assert!(gap < BLINK, "the music had a gap of {gap:?}; heard: {}", caller.sound.story(begun));
    assert_eq!(lab.daemon().facts().len(), facts, "a key caused a fact");
    assert!(!ring.is_over(), "the phone stopped ringing");
    caller.hang_up();
    ring.cancelled(SOON);
    caller.over(SOON);
}
