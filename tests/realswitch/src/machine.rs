//! The programs and ports that the tests need on this machine.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Finds FreeSWITCH: under the prefix in `FREESWITCH`, or on `PATH`.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn freeswitch() -> Result<PathBuf, String> {
    let Some(prefix) = std::env::var_os("FREESWITCH") else {
        return on_path("freeswitch").ok_or(
            "no FreeSWITCH: set FREESWITCH to the prefix of an installation, or put `freeswitch` on PATH".to_owned(),
        );
    };
    let program = Path::new(&prefix).join("bin/freeswitch");
    if !program.is_file() {
        return Err(format!("FREESWITCH={prefix:?} has no bin/freeswitch: set it to the prefix of an installation"));
    }
    Ok(program)
}

/// Finds SIPp.
///
/// # Errors
/// What to do when there is none.
pub fn sipp() -> Result<PathBuf, String> {
    on_path("sipp").ok_or("no SIPp: install the package `sip-tester`, or put `sipp` on PATH".to_owned())
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A free TCP port on 127.0.0.1.
pub fn tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A free UDP port on 127.0.0.1.
pub fn udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a free port").port()
}

/// Waits for a program to end; kills it if it does not end in time, and returns `None`.
pub fn reap(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        // `Child` has no wait with a timeout; the polling interval affects no result.
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// Fills in `@NAME@`.
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
}
