//! The staff, the callers, and the dice.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::rng::Rng;
use crate::switch::NINE_THOUSAND;

/// The phones of the office, all of them agents'.
pub const STAFF: [&str; 8] = ["1021", "1022", "1023", "1024", "1025", "1026", "1027", "1028"];
/// The agents who never log out, one in each queue.
pub const FAITHFUL: [(&str, &str); 3] = [("1022", "99900"), ("1025", "99901"), ("1027", "99902")];
/// The agents who may log in and out.
pub const OTHERS: [(&str, &str); 8] = [
    ("1021", "99900"),
    ("1023", "99900"),
    ("1024", "99900"),
    ("1024", "99901"),
    ("1026", "99901"),
    ("1026", "99902"),
    ("1028", "99902"),
    ("1021", "99902"),
];
pub const LINES: [&str; 3] = ["99900", "99901", "99902"];
/// An internal number that leads to a queue.
pub const IVR: &str = "7900";
/// An internal number that leads to a queue through a loopback.
pub const GROUP: &str = "7901";
/// The most outside callers at the same time.
pub const MOST_CALLERS: usize = 10;
/// The most of them in a rush.
pub const MOST_IN_A_RUSH: usize = 14;

/// The tone of each person: far from the ring tone, with waves that fit whole into a packet.
pub fn tones() -> BTreeMap<String, u32> {
    let staff = STAFF.iter().map(|user| (*user).to_owned()).zip((700..).step_by(50));
    let callers = (0..MOST_IN_A_RUSH).map(caller).zip((1200..).step_by(50));
    staff.chain(callers).chain([("9000".to_owned(), NINE_THOUSAND)]).collect()
}

/// The number of an outside caller.
pub fn caller(n: usize) -> String {
    format!("07900000{n:02}")
}

/// Whether a number leads to a queue.
pub fn is_line(number: &str) -> bool {
    LINES.contains(&number) || [IVR, GROUP].contains(&number)
}

/// A seed from the clock.
pub fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) | 1
}

/// The random choices of the day.
pub struct Dice(Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Rng::new(seed))
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0.below(n)
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.0.below(n) == 0
    }

    /// A duration between the two, in milliseconds.
    pub fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.0.within(from, to))
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        self.0.pick(of)
    }
}
