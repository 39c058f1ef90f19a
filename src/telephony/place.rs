//! A caller's place in the line, as it is kept in a channel variable so that it survives our death.

use crate::acd::ids::QueueNumber;
use crate::acd::queue::Place;
use crate::acd::time::Wall;

/// How many visited queues are kept; a loop of more is cut all the same, later.
const VISITED: usize = 32;

/// What the variable says: digits, `-`, `_` and `.` only, so that it needs no escaping anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The number that was dialled: who has dialled another one since does not come back, but comes anew.
    pub(crate) dialled: QueueNumber,
    /// The queue, which by a timeout may be another than the dialled one.
    pub(crate) queue: QueueNumber,
    pub(crate) place: Place,
    pub(crate) first_entered: Wall,
    pub(crate) visited: Vec<QueueNumber>,
}

impl Remembered {
    /// The value of the variable.
    pub(crate) fn write(&self) -> String {
        let visited: Vec<&str> = self.visited.iter().take(VISITED).map(QueueNumber::as_str).collect();
        format!(
            "1_{}_{}_{}_{}_{}_{}",
            self.dialled,
            self.queue,
            self.place.entered.0,
            self.place.seq,
            self.first_entered.0,
            visited.join(".")
        )
    }

    /// Reads the variable; `None` for anything that is not of this form.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('_');
        let (version, dialled, queue) = (parts.next()?, parts.next()?, parts.next()?);
        let (entered, seq, first) = (parts.next()?, parts.next()?, parts.next()?);
        let visited = parts.next()?;
        if version != "1" || parts.next().is_some() {
            return None;
        }
        Some(Self {
            dialled: QueueNumber::new(dialled).ok()?,
            queue: QueueNumber::new(queue).ok()?,
            place: Place { entered: Wall(entered.parse().ok()?), seq: seq.parse().ok()? },
            first_entered: Wall(first.parse().ok()?),
            visited: visited.split('.').take(VISITED).map(QueueNumber::new).collect::<Result<_, _>>().ok()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn q(n: &str) -> QueueNumber {
        QueueNumber::new(n).unwrap()
    }

    /// Q19: what is written is read again, and nothing else is.
    #[test]
    fn a_place_survives_the_channel() {
        let place = Remembered {
            dialled: q("99900"),
            queue: q("99901"),
            place: Place { entered: Wall(1_795_338_329_796), seq: 7 },
            first_entered: Wall(1_795_338_300_000),
            visited: vec![q("99900"), q("99901")],
        };
        let text = place.write();
        assert_eq!(text, "1_99900_99901_1795338329796_7_1795338300000_99900.99901");
        assert_eq!(Remembered::read(&text), Some(place));
        for odd in ["", "1", "2_1_2_1_1_1_2", "1_1_x_1_1_1_2", "1_1_2_1_1_1_", "1_1_2_1_1_1_2_"] {
            assert_eq!(Remembered::read(odd), None, "{odd}");
        }
    }
}
