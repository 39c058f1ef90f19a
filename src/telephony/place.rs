//! A caller's place in the line, kept in a channel variable so that it survives the end of this process.

use std::time::Duration;

use crate::acd::fact::RefusalCause;
use crate::acd::ids::QueueNumber;
use crate::acd::rank::Rank;
use crate::acd::time::Wall;

/// How many visited queues are kept. A longer loop is still cut, only later.
const VISITED: usize = 32;

/// The content of the variable: `name=value` pairs of digits, letters and `-`, separated by `,`, so that it needs no
/// escaping anywhere. Unknown names come from a later version and are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The number that was dialled. A caller who has dialled another number since then does not return but enters anew.
    pub(crate) dialled: QueueNumber,
    /// The queue; after a timeout it may differ from the dialled one.
    pub(crate) queue: QueueNumber,
    /// The rank in the line, with the caller's own head start.
    pub(crate) rank: Rank,
    pub(crate) first_entered: Wall,
    pub(crate) visited: Vec<QueueNumber>,
    /// Why the queue has not let the caller in, who has no place then.
    pub(crate) refused: Option<RefusalCause>,
    /// When this wait began, in microseconds by FreeSWITCH's clock, if known: our calendar must not measure the wait.
    pub(crate) since: Option<u64>,
}

impl Remembered {
    /// Encodes the value of the variable.
    pub(crate) fn write(&self) -> String {
        let since = self.since.map_or_else(String::new, |since| format!(",since={since}"));
        let head = match self.rank.head_start.as_millis() {
            0 => String::new(),
            head => format!(",head={head}"),
        };
        let refused = self.refused.map_or_else(String::new, |cause| format!(",refused={}", cause.as_str()));
        format!(
            "v=2,dialled={},queue={},entered={},seq={},first={},visited={}{since}{head}{refused}",
            self.dialled,
            self.queue,
            self.rank.entered.0,
            self.rank.seq,
            self.first_entered.0,
            write_queues(&self.visited)
        )
    }

    /// Decodes the variable. `None` for anything but this form and the previous one (`1_…`).
    pub(crate) fn read(text: &str) -> Option<Self> {
        if let Some(first_version) = text.strip_prefix("1_") {
            let parts: Vec<&str> = first_version.split('_').collect();
            let &[dialled, queue, entered, seq, first, visited] = parts.as_slice() else { return None };
            return Self::of(dialled, queue, entered, seq, first, visited);
        }
        let pairs: Vec<(&str, &str)> = text.split(',').map(|pair| pair.split_once('=')).collect::<Option<_>>()?;
        let value = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        value("v").filter(|version| *version == "2")?;
        let [dialled, queue, entered, seq, first, visited] =
            ["dialled", "queue", "entered", "seq", "first", "visited"].map(value);
        let since = value("since").and_then(|since| since.parse().ok());
        let refused = value("refused").and_then(RefusalCause::named);
        let mut kept = Self { since, refused, ..Self::of(dialled?, queue?, entered?, seq?, first?, visited?)? };
        let head = value("head").and_then(|head| head.parse().ok()).map(Duration::from_millis);
        kept.rank.head_start = head.unwrap_or_default();
        Some(kept)
    }

    fn of(dialled: &str, queue: &str, entered: &str, seq: &str, first: &str, visited: &str) -> Option<Self> {
        Some(Self {
            dialled: QueueNumber::new(dialled).ok()?,
            queue: QueueNumber::new(queue).ok()?,
            rank: Rank::new(Wall(entered.parse().ok()?), seq.parse().ok()?),
            first_entered: Wall(first.parse().ok()?),
            visited: read_queues(visited)?,
            refused: None,
            since: None,
        })
    }
}

/// Encodes queues as text; only the first [`VISITED`] of them.
pub(crate) fn write_queues(queues: &[QueueNumber]) -> String {
    queues.iter().take(VISITED).map(QueueNumber::as_str).collect::<Vec<_>>().join(".")
}

/// Decodes the text of [`write_queues`]; `None` for anything else.
pub(crate) fn read_queues(text: &str) -> Option<Vec<QueueNumber>> {
    text.split('.').take(VISITED).map(QueueNumber::new).collect::<Result<_, _>>().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn q(n: &str) -> QueueNumber {
        QueueNumber::new(n).unwrap()
    }

    /// Q19: the reader accepts the current form and the previous one, and nothing else.
    #[test]
    fn a_place_survives_the_channel() {
        let place = Remembered {
            dialled: q("99900"),
            queue: q("99901"),
            rank: Rank::new(Wall(1_795_338_329_796), 7),
            first_entered: Wall(1_795_338_300_000),
            visited: vec![q("99900"), q("99901")],
            refused: None,
            since: None,
        };
        let text = place.write();
        assert_eq!(
            text,
            "v=2,dialled=99900,queue=99901,entered=1795338329796,seq=7,first=1795338300000,visited=99900.99901"
        );
        assert_eq!(Remembered::read(&text), Some(place.clone()));
        assert_eq!(Remembered::read(&format!("{text},level=3")), Some(place.clone()));
        let timed = Remembered { since: Some(5), ..place.clone() };
        assert_eq!((timed.write(), Remembered::read(&timed.write())), (format!("{text},since=5"), Some(timed.clone())));
        let rank = Rank { head_start: Duration::from_millis(60_000), ..place.rank };
        let ahead = Remembered { rank, ..timed.clone() };
        assert_eq!(
            (ahead.write(), Remembered::read(&ahead.write())),
            (format!("{text},since=5,head=60000"), Some(ahead))
        );
        let refused = Remembered { refused: Some(RefusalCause::Full), ..place.clone() };
        assert_eq!(
            (refused.write(), Remembered::read(&refused.write())),
            (format!("{text},refused=full"), Some(refused))
        );
        assert_eq!(Remembered::read(&format!("{text},head=x")), Some(place.clone()));
        assert_eq!(Remembered::read("1_99900_99901_1795338329796_7_1795338300000_99900.99901"), Some(place));
        for odd in ["", "1", "2_1_2_1_1_1_2", "1_1_x_1_1_1_2", "1_1_2_1_1_1_", "1_1_2_1_1_1_2_", "v=2", "v=2,x"] {
            assert_eq!(Remembered::read(odd), None, "{odd}");
        }
        assert_eq!(Remembered::read(&text.replace("v=2", "v=3")), None);
        assert_eq!(Remembered::read(&text.replace("seq=7", "seq=x")), None);
    }
}
