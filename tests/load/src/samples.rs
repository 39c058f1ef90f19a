//! Measured durations and their quantiles.

use std::fmt;
use std::time::Duration;

/// Measured durations.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    micros: Vec<u64>,
}

impl Samples {
    /// Adds one.
    pub fn add(&mut self, duration: Duration) {
        self.micros.push(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.micros.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.micros.is_empty()
    }

    /// The smallest sample that a `share` (0 to 1) of all samples does not exceed; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        Duration::from_micros(sorted.get(rank.max(1) - 1).copied().unwrap_or_default())
    }

    /// The sample that half of all samples do not exceed.
    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

/// `median / p99 / max` in milliseconds, and how many there were.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let (median, p99, most) = (self.median(), self.quantile(0.99), self.quantile(1.0));
        write!(f, "{} / {} / {} ms (of {})", millis(median), millis(p99), millis(most), self.len())
    }
}

/// A duration in milliseconds, with significant digits only.
pub fn millis(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_samples() {
        let mut samples = Samples::default();
        assert_eq!(samples.quantile(0.99), Duration::ZERO);
        for ms in (1..=100).rev() {
            samples.add(Duration::from_millis(ms));
        }
        assert_eq!(samples.median(), Duration::from_millis(50));
        assert_eq!(samples.quantile(0.99), Duration::from_millis(99));
        assert_eq!(samples.to_string(), "50 / 99 / 100 ms (of 100)");
    }
}
