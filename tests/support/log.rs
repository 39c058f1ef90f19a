//! Captures what a test logs on its own thread.

// No test program uses all of it.
#![allow(dead_code, unreachable_pub)]

use std::io;
use std::sync::{Arc, Mutex};

use tracing::Subscriber;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Sends this process's logs to the tests' output, filtered by `RUST_LOG`.
pub fn to_the_tests_output() {
    let log = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
    let _ = log.with_test_writer().try_init();
}

/// What this thread logs.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures `warn` and above until the guard is dropped.
    pub fn begin() -> (Self, DefaultGuard) {
        let to = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        Self::listen(|log| to.with_writer(log).finish())
    }

    /// Captures `info` and above, each line as JSON, until the guard is dropped.
    pub fn begin_json() -> (Self, DefaultGuard) {
        Self::listen(|log| tracing_subscriber::fmt().json().with_writer(log).finish())
    }

    fn listen<S: Subscriber + Send + Sync>(subscriber: impl FnOnce(Self) -> S) -> (Self, DefaultGuard) {
        // While a process has a single subscriber, `tracing` decides for each call site whether it is enabled by asking
        // only the subscriber of the first thread that reaches it. If that thread has none, the call site stays silent
        // on every thread. A second, global subscriber makes `tracing` ask both.
        to_the_tests_output();
        let log = Self::default();
        let guard = tracing::subscriber::set_default(subscriber(log.clone()));
        (log, guard)
    }

    /// Everything logged so far.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
