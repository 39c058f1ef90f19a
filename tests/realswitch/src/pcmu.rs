//! Tones in PCMU (G.711), and their level in received audio.

use std::f64::consts::TAU;

/// Samples per second.
pub const RATE: u32 = 8000;
/// Samples in one packet of 20 ms.
pub const PACKET: usize = 160;
/// The amplitude of the tones generated here.
pub const AMPLITUDE: f64 = 8000.0;

/// A tone in PCMU.
pub fn tone(frequency: u32, seconds: f64) -> Vec<u8> {
    samples(frequency, seconds).into_iter().map(compress).collect()
}

/// A tone in linear samples.
pub fn samples(frequency: u32, seconds: f64) -> Vec<i16> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let count = (seconds * f64::from(RATE)) as u32;
    #[allow(clippy::cast_possible_truncation)]
    let one = |i: u32| (AMPLITUDE * (TAU * f64::from(frequency) * f64::from(i) / f64::from(RATE)).sin()) as i16;
    (0..count).map(one).collect()
}

/// The amplitude of one frequency in a packet (Goertzel's algorithm).
pub fn level(heard: &[u8], frequency: u32) -> f64 {
    let turn = 2.0 * (TAU * f64::from(frequency) / f64::from(RATE)).cos();
    let (mut a, mut b) = (0.0, 0.0);
    for &byte in heard {
        (a, b) = (f64::from(expand(byte)) + turn * a - b, a);
    }
    let count = u32::try_from(heard.len().max(1)).expect("a packet");
    (a * a + b * b - turn * a * b).max(0.0).sqrt() * 2.0 / f64::from(count)
}

/// The amplitude of a packet's loudest sample.
pub fn loudness(heard: &[u8]) -> f64 {
    heard.iter().map(|&b| f64::from(expand(b)).abs()).fold(0.0, f64::max)
}

/// Encodes a sample to PCMU.
pub fn compress(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let value = sample.unsigned_abs().min(32635) + 132;
    let exponent = (7..15).rev().find(|bit| value & (1 << bit) != 0).map_or(0, |bit| bit - 7);
    let mantissa = (value >> (exponent + 3)) & 0x0f;
    #[allow(clippy::cast_possible_truncation)]
    let byte = sign | (exponent << 4) as u8 | mantissa as u8;
    !byte
}

/// Decodes a sample from PCMU.
pub fn expand(byte: u8) -> i16 {
    let byte = !byte;
    let value = ((i16::from(byte & 0x0f) << 3) + 132) << ((byte >> 4) & 7);
    if byte & 0x80 == 0 { value - 132 } else { 132 - value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_loud_at_its_frequency_and_nowhere_else() {
        let heard = tone(1000, 0.02);
        assert_eq!(heard.len(), PACKET);
        assert!((level(&heard, 1000) - AMPLITUDE).abs() < 200.0, "{}", level(&heard, 1000));
        assert!(level(&heard, 425) < 400.0 && level(&heard, 2000) < 400.0);
    }

    #[test]
    fn decoding_and_encoding_returns_every_byte() {
        for byte in 0..=u8::MAX {
            // Zero has two codes.
            assert!(compress(expand(byte)) == byte || byte == 0x7f, "{byte:#x}");
        }
    }
}
