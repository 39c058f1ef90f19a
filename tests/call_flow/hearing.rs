//! The sounds that the caller hears.

use super::*;

fn spoken(playing: u32, position: u32) -> Effect {
    wire(Wire::Say(Playing(playing), Saying::Position(position, Language("en".into()))))
}

/// Q11: announced on entry when others are ahead, and at intervals; over after 30 s at the latest; stopped when the
/// wait ends.
#[test]
fn positions_are_announced_until_the_wait_ends() {
    let every = settings(|s| s.announce_every = Some(Duration::from_secs(60)));
    let mut s = Stand { call: Call::new(q("1"), Vec::new(), None) };
    s.tell(0, Begin);
    s.tell(0, Entered(Some((every, place(0), since(0)))));
    s.gives(0, nothing_to_do(3), &[spoken(2, 3)]);
    s.gives(2000, Played(Playing(2)), &[look(false)]);
    s.gives(2000, nothing_to_do(3), &[]);
    s.at_last(15_000, &[look(true)]);
    s.gives(15_000, nothing_to_do(2), &[spoken(3, 2)]);
    s.at_last(30_000, &[look(true)]);
    s.gives(30_000, nothing_to_do(2), &[]);
    s.at_last(45_000, &[look(true)]);
    s.gives(45_000, nothing_to_do(1), &[spoken(4, 1)]);
    let effects = s.tell(45_100, end(TimeoutCause::LastAgentLoggedOut));
    assert_eq!(effects[..2], [close(CancelCause::CallTimedOut), wire(Wire::Hush)]);
}

/// Q10: music that ends starts again; the ring tone replaces broken music.
#[test]
fn music_continues_without_end() {
    let music = Music::File("/a.wav".into());
    let plays = |n| wire(Wire::Music { playing: Playing(n), music: Music::File("/a.wav".into()), replace: false });
    let mut s = Stand::waiting(settings(|s| s.music = music.clone()));
    s.gives(60_000, Played(Playing(1)), &[]);
    s.at_last(60_300, &[plays(2)]);
    for (n, at) in [(2, 60_300), (3, 60_610)] {
        s.gives(at + 10, Played(Playing(n)), &[]);
        s.at_last(at + 310, &[plays(n + 1)]);
    }
    s.gives(60_930, Played(Playing(4)), &[]);
    s.at_last(61_230, &[ringtone(5, false)]);
    s.gives(61_231, Played(Playing(4)), &[]);
    assert_eq!(s.call.deadline(), None);
}

/// Q3: the admin's changes apply to callers who are already waiting.
#[test]
fn changed_settings_apply_to_waiting_callers() {
    let mut s = Stand::waiting(settings(|_| ()));
    let changed = settings(|s| {
        s.max_wait = Some(Duration::from_secs(60));
        s.music = Music::Stream("local_stream://moh".into());
    });
    let music = Music::Stream("local_stream://moh".into());
    s.gives(
        700,
        orders(Orders { settings: Some(changed), ..Orders::default() }),
        &[wire(Wire::Music { playing: Playing(2), music, replace: true })],
    );
    assert_eq!(s.call.deadline(), Some(now(60_000).mono));
    let shorter = settings(|s| s.max_wait = Some(Duration::from_millis(500)));
    s.tell(800, orders(Orders { settings: Some(shorter), ..Orders::default() }));
    let ended = s.tell(800, Tick);
    assert_eq!(ended[..2], [close(CancelCause::CallTimedOut), timed_out(TimeoutCause::MaxWait)]);
}

/// Q3, Q11: music that changes during an announcement starts after it.
#[test]
fn changed_music_does_not_end_an_announcement() {
    let announced = |music: Option<Music>| {
        settings(|s| {
            s.announce_every = Some(Duration::from_secs(60));
            s.music = music.clone().unwrap_or(Music::Ringtone);
        })
    };
    let mut s = Stand { call: Call::new(q("1"), Vec::new(), None) };
    s.tell(0, Begin);
    s.tell(0, Entered(Some((announced(None), place(0), since(0)))));
    s.gives(0, nothing_to_do(3), &[spoken(2, 3)]);
    let music = Music::Stream("local_stream://moh".into());
    let changed = announced(Some(music.clone()));
    s.gives(700, orders(Orders { settings: Some(changed), ..Orders::default() }), &[]);
    let begins = wire(Wire::Music { playing: Playing(3), music, replace: true });
    s.gives(2000, Played(Playing(2)), &[begins, look(false)]);
}

/// Q13: setting the wall clock does not change how long a caller has waited.
#[test]
fn setting_the_clock_ends_no_wait() {
    let limited = |ring| {
        settings(|s| {
            s.max_wait = Some(Duration::from_secs(60));
            s.ring_time = Duration::from_secs(ring);
        })
    };
    let mut s = Stand::waiting(limited(20));
    let an_hour_on = Now { wall: now(1000).wall.plus(Duration::from_secs(3600)), ..now(1000) };
    s.call.handle(orders(Orders { settings: Some(limited(10)), ..Orders::default() }), an_hour_on);
    assert_eq!(s.call.deadline(), Some(now(60_000).mono));
}
