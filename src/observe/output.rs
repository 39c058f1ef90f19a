//! Writes the log to standard error, on a separate thread.
//!
//! A thread that logs a line never waits: the line goes into a bounded buffer, and a line that does not fit is counted
//! as lost. So a reader that hangs or is gone costs lines, but no call. The log reports the number of lost lines as
//! soon as there is room again.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;

/// The maximum number of lines that wait to be written.
const MOST_LINES: usize = 8192;

/// The maximum number of bytes in those lines: a line may contain a peer's whole error reply.
const MOST_BYTES: usize = 8 << 20;

/// How long the writing thread lets lines gather after the first one, and how many it writes at once: a call logs seven
/// lines, and for each the thread would wake and write.
const GATHERS: Duration = Duration::from_millis(10);
const TOGETHER: u64 = 64;

/// How long the end of the process waits until the last lines are written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How long a panic waits until its line is written.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How many lines were lost since the start of the process; static, because the process has only one log.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many log lines were lost since the start.
pub fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends the log of the whole process to standard error, and panics to the log. Hold the result until the end of the
/// process: dropping it waits for the last lines, for at most a second.
///
/// # Errors
/// The system's error, if the thread cannot be started.
pub fn start(filter: EnvFilter, format: Format) -> io::Result<LastLines> {
    let output = Output::to(io::stderr())?;
    let last = LastLines(output.clone());
    // Colours help at a terminal; in a file or a journal they are noise.
    let colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        // Internal errors would go straight to standard error and could block there.
        .log_internal_errors(false)
        .with_writer(output.clone());
    match format {
        Format::Text => log.fmt_fields(on_one_line()).init(),
        Format::Json => log.json().init(),
    }
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("a defect ends a task: {panic}");
        if cfg!(panic = "abort") {
            output.flush_within(LAST_WORDS);
        }
    }));
    Ok(last)
}

/// Formats fields and messages for people, always on one line: otherwise text from outside could forge log lines, or
/// control the terminal.
pub fn on_one_line() -> impl for<'w> tracing_subscriber::fmt::FormatFields<'w> + 'static {
    let field = |to: &mut tracing_subscriber::fmt::format::Writer<'_>,
                 field: &tracing::field::Field,
                 value: &dyn fmt::Debug| {
        match field.name() {
            "message" => write!(Escaped(to), "{value:?}"),
            name => write!(Escaped(to), "{name}={value:?}"),
        }
    };
    debug_fn(field).delimited(" ")
}

/// Escapes control characters, all Unicode line ends, and characters that change the direction of writing.
struct Escaped<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(is_unprintable) {
            let (plain, behind) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut chars = behind.chars();
            if let Some(char) = chars.next() {
                write!(self.0, "{}", char.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

fn is_unprintable(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The sender to the writing thread.
#[derive(Clone)]
struct Output {
    lines: SyncSender<Vec<u8>>,
    backlog: Arc<Backlog>,
}

/// The bytes that wait to be written.
#[derive(Default)]
struct Backlog {
    bytes: AtomicUsize,
    /// Held to wait for `empty`, and to notify of it.
    gate: Mutex<()>,
    /// Notified whenever everything is written.
    empty: Condvar,
}

impl Backlog {
    /// Adds a line; false if it does not fit.
    fn add(&self, bytes: usize) -> bool {
        let fits = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= MOST_BYTES;
        if !fits {
            self.take(bytes);
        }
        fits
    }

    fn take(&self, bytes: usize) {
        if self.bytes.fetch_sub(bytes, Ordering::Relaxed) == bytes {
            // Under the gate, so that nobody begins to wait between the look at `bytes` and the notification.
            let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            self.empty.notify_all();
        }
    }
}

impl Output {
    fn to(mut file: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(MOST_LINES);
        let backlog = Arc::new(Backlog::default());
        let ours = backlog.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&mut file, &waiting, &ours))?;
        Ok(Self { lines, backlog })
    }

    fn put(&self, line: &[u8]) {
        if !self.backlog.add(line.len()) {
            LOST.fetch_add(1, Ordering::Relaxed);
        } else if self.lines.try_send(line.to_vec()).is_err() {
            self.backlog.take(line.len());
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written, for at most `patience`.
    fn flush_within(&self, patience: Duration) {
        let gate = self.backlog.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |(): &mut ()| self.backlog.bytes.load(Ordering::Relaxed) > 0;
        // Lines not written by then are lost, because the process ends.
        let _ = self.backlog.empty.wait_timeout_while(gate, patience, waits);
    }
}

/// Writes lines for ever. A line that cannot be written is lost: there is no other place to report it.
fn write_all(file: &mut impl Write, waiting: &Receiver<Vec<u8>>, backlog: &Backlog) {
    let mut reported = lost_lines();
    loop {
        let mut lines = match waiting.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                // There is room for this line. If writing it fails, it is lost too, and counted in the next report.
                let lost = lost_lines();
                if lost > reported {
                    tracing::warn!(lost = lost - reported, "lines of the log were lost: nobody read them");
                    reported = lost;
                }
                let Ok(line) = waiting.recv() else { return };
                std::thread::sleep(GATHERS);
                line
            }
        };
        let mut count = 1;
        while count < TOGETHER
            && let Ok(line) = waiting.try_recv()
        {
            lines.extend(line);
            count += 1;
        }
        if file.write_all(&lines).is_err() {
            // Nobody reads the log: reporting each loss would be useless.
            LOST.fetch_add(count, Ordering::Relaxed);
            reported = reported.saturating_add(count);
        }
        backlog.take(lines.len());
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Waits for the last lines when dropped.
pub struct LastLines(Output);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.flush_within(LAST_LINES);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// A reader that takes a line only on a signal.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            let _ = self.1.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Q109: a line that does not fit is lost and counted; a writer never waits; a reader that is gone breaks nothing.
    #[test]
    fn a_log_that_nobody_reads_costs_lines() {
        let (read, reading) = channel();
        let (wrote, written) = channel();
        let output = Output::to(Slow(reading, wrote)).unwrap();
        let before = lost_lines();
        // The writing thread has already taken some of them.
        for _ in 0..MOST_LINES as u64 + TOGETHER + 10 {
            output.put(b"x\n");
        }
        let lost = lost_lines() - before;
        assert!((10..=10 + TOGETHER).contains(&lost), "{lost}");
        output.put(&[b'x'; MOST_BYTES]);
        assert_eq!(lost_lines() - before, lost + 1, "neither does a line of any length wait");
        read.send(()).unwrap();
        assert!(written.recv().unwrap().starts_with(b"x\n"));
        drop(read);
        output.flush_within(Duration::from_secs(60));
        output.put(b"again\n");
        output.flush_within(Duration::from_secs(60));
        assert_eq!(output.backlog.bytes.load(Ordering::Relaxed), 0);
    }

    /// Q21: every value stays on its line and cannot control a terminal.
    #[test]
    fn no_value_forges_a_log_line() {
        let text = Arc::new(Mutex::new(Vec::new()));
        #[derive(Clone)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let kept = Kept(text.clone());
        let log =
            tracing_subscriber::fmt().with_ansi(false).fmt_fields(on_one_line()).with_writer(move || kept.clone());
        tracing::subscriber::with_default(log.finish(), || {
            let _span = tracing::info_span!("call", call = %"a\nb").entered();
            tracing::warn!(dialled = %"0\n2026 INFO forged\u{1b}[2J\u{2028}x", quoted = "c\nd", "told {}", "e\r\nf");
        });
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in
            [r"call{call=a\nb}", r"dialled=0\n2026 INFO forged\u{1b}[2J\u{2028}x", r#"quoted="c\nd""#, r"told e\r\nf"]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
