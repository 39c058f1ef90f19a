//! What the machine must have for these tests, and what of it they take.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// The programs that are not part of this package.
pub struct Programs {
    pub freeswitch: PathBuf,
    pub sipp: PathBuf,
}

impl Programs {
    /// Finds them, or tells what is missing and what to do about it.
    pub fn find() -> Result<Programs, String> {
        let freeswitch = match std::env::var_os("FREESWITCH") {
            Some(prefix) => {
                let program = Path::new(&prefix).join("bin/freeswitch");
                if !program.is_file() {
                    return Err(format!(
                        "FREESWITCH={prefix:?} has no bin/freeswitch: set it to the prefix of an installation"
                    ));
                }
                program
            }
            None => on_path("freeswitch")
                .ok_or("no FreeSWITCH: set FREESWITCH=/prefix of an installation, or put `freeswitch` on PATH")?,
        };
        let sipp = on_path("sipp").ok_or("no SIPp: install the package `sip-tester`, or put `sipp` on PATH")?;
        Ok(Programs { freeswitch, sipp })
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A free TCP port of 127.0.0.1.
pub fn tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A free UDP port of 127.0.0.1.
pub fn udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).expect("a free port").port()
}

/// Waits for a program to end; what has not ended in time is killed, and that is `None`.
pub fn reap(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + within;
    while Instant::now() < end {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        // Nothing tells when a child ends; the pace of asking decides nothing.
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
