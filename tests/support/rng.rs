//! A small random source with a seed, so that random tests are the same on every machine.

/// The simulated switch's random source, with the methods that players need.
#[derive(Clone, Debug)]
pub(crate) struct Rng(simswitch::Rng);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(simswitch::Rng::new(seed ^ 0x9e37_79b9_7f4a_7c15))
    }

    /// A separate source for the thing named by `key`.
    pub(crate) fn branch(seed: u64, key: u64) -> Self {
        let mut r = Self::new(seed ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        r.next();
        r
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_number()
    }

    /// A number from 0 to `n - 1`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0.between(0, n.max(1))
    }

    /// A number from `low` to `high`, inclusive.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        self.0.between(low, high + 1)
    }

    /// True `percent` times out of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
