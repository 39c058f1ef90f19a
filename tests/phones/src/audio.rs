//! The audio of the phones: RTP with PCMU.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use realswitch::pcmu::{AMPLITUDE, PACKET, level, loudness, tone};

use crate::Shared;

/// The duration of one packet.
const PACE: Duration = Duration::from_millis(20);
/// Packets due within this time are sent together.
const TOGETHER: Duration = Duration::from_millis(1);
/// A tone counts as heard from this level on.
const HEARD: f64 = AMPLITUDE / 4.0;

/// The queue of next packets, the earliest on top.
type Due = BinaryHeap<Reverse<(Instant, usize)>>;

/// The calls that send audio.
#[derive(Default)]
pub(super) struct Speakers {
    state: Mutex<(BTreeMap<usize, Speaker>, Due)>,
    changed: Condvar,
}

struct Speaker {
    to: SocketAddr,
    frequency: u32,
    sequence: u16,
}

impl Speakers {
    /// Starts a call's audio, at once.
    pub(super) fn start(&self, call: usize, port: u16, frequency: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        state.0.insert(call, Speaker { to, frequency, sequence: 0 });
        state.1.push(Reverse((Instant::now(), call)));
        drop(state);
        self.changed.notify_one();
    }

    /// Stops a call's audio.
    pub(super) fn stop(&self, call: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&call);
    }
}

impl Shared {
    /// Sends the due packets of all calls, each 20 ms after the one before.
    pub(super) fn speak(&self) {
        let mut tones: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut out: Vec<(SocketAddr, [u8; 12 + PACKET])> = Vec::new();
        let mut state = self.speakers.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            let (speakers, due) = &mut *state;
            while let Some(Reverse((at, call))) = due.peek().copied().filter(|next| next.0.0 <= now + TOGETHER) {
                due.pop();
                let Some(speaker) = speakers.get_mut(&call) else { continue };
                let mut packet = [0; 12 + PACKET];
                packet[0] = 0x80;
                packet[2..4].copy_from_slice(&speaker.sequence.to_be_bytes());
                packet[4..8].copy_from_slice(&(u32::from(speaker.sequence) * 160).to_be_bytes());
                packet[8..12].copy_from_slice(&u32::try_from(call).unwrap_or_default().to_be_bytes());
                let frequency = speaker.frequency;
                packet[12..].copy_from_slice(tones.entry(frequency).or_insert_with(|| tone(frequency, 0.02)));
                speaker.sequence = speaker.sequence.wrapping_add(1);
                out.push((speaker.to, packet));
                due.push(Reverse((at.max(now - PACE) + PACE, call)));
            }
            if !out.is_empty() {
                drop(state);
                for (to, packet) in out.drain(..) {
                    let _ = self.audio.send_to(&packet, to);
                }
                state = self.speakers.state.lock().unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let next = due.peek().map_or(Duration::from_secs(1), |next| next.0.0.saturating_duration_since(now));
            state = self.speakers.changed.wait_timeout(state, next).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Handles a datagram on the audio socket: notes when a call first hears the other side, and whose tone it heard
    /// last.
    pub(super) fn listen(&self) {
        let mut buffer = [0; 2048];
        loop {
            let Ok((length, from)) = self.audio.recv_from(&mut buffer) else { continue };
            let now = Instant::now();
            // DTMF events are no sound.
            let sound = if length > 12 && buffer[1] & 0x7f == 0 { &buffer[12..length] } else { continue };
            let (call, other, people) = {
                let book = self.book();
                let Some(&call) = book.by_media.get(&from.port()) else { continue };
                let it = &book.calls[call];
                let other = if it.is_caller { crate::AGENT } else { crate::CALLER };
                let due = it.heard_last.as_ref().is_none_or(|(at, _)| now - *at >= crate::LISTENS);
                let people = if due { book.tones.clone() } else { None };
                (call, Some(other).filter(|_| it.heard.is_none()), people)
            };
            if other.is_some_and(|tone| level(sound, tone) > HEARD) {
                self.book().calls[call].heard = Some(now);
                self.news.notify_all();
            }
            if let Some(people) = people {
                // A tone holds nearly all of the energy; less means a voice or several tones.
                let loud = 0.6 * loudness(sound);
                let who =
                    people.iter().find(|(_, tone)| level(sound, **tone) > loud.max(HEARD)).map(|(who, _)| who.clone());
                let what = match who {
                    Some(who) => crate::Heard::Person(who),
                    None if loudness(sound) > HEARD => crate::Heard::Sound,
                    None => crate::Heard::Nothing,
                };
                self.book().calls[call].hear(now, what);
            }
        }
    }
}
