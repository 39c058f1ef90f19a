//! What is logged on a test's own thread.

// Each binary takes of it what it needs.
#![allow(dead_code, unreachable_pub)]

use std::io;
use std::sync::{Arc, Mutex};

use tracing::Subscriber;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Sends this process's logs to the tests' output, as `RUST_LOG` says.
pub fn to_the_tests_output() {
    let log = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
    let _ = log.with_test_writer().try_init();
}

/// What is logged on this thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Listens to `warn` and above until the guard is dropped.
    pub fn begin() -> (Self, DefaultGuard) {
        let to = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false);
        Self::listen(|log| to.with_writer(log).finish())
    }

    /// Listens to `info` and above, each line as JSON, until the guard is dropped.
    pub fn begin_json() -> (Self, DefaultGuard) {
        Self::listen(|log| tracing_subscriber::fmt().json().with_writer(log).finish())
    }

    fn listen<S: Subscriber + Send + Sync>(subscriber: impl FnOnce(Self) -> S) -> (Self, DefaultGuard) {
        // While a process has a single subscriber, a line that another thread reaches first asks that thread's
        // subscriber alone, and where it has none the line is silent for ever, on every thread. A second one for the
        // whole process keeps both asked.
        to_the_tests_output();
        let log = Self::default();
        let guard = tracing::subscriber::set_default(subscriber(log.clone()));
        (log, guard)
    }

    /// All of it so far.
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
