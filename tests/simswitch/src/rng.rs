//! The only source of randomness: small, seeded, repeatable.

/// `SplitMix64`. Good enough for identities, jitter and random tests, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A source with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `from..to`; `from` when the range is empty.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        if to <= from { from } else { from + self.next_number() % (to - from) }
    }

    /// A version 4 identity in the usual notation.
    pub fn uuid(&mut self) -> String {
        let (a, b) = (self.next_number(), self.next_number());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | ((b >> 48) & 0x3fff),
            b & 0xffff_ffff_ffff
        )
    }

    /// A word of `len` characters in the form of SIP tags and branches.
    pub fn word(&mut self, len: usize) -> String {
        const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
        (0..len).map(|_| char::from(LETTERS[self.between(0, LETTERS.len() as u64) as usize])).collect()
    }
}
