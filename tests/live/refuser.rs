//! Phones and gateways that refuse every call: on one address, each user answers an INVITE in its own way.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// An address that answers calls to the user `486` with 486, and so on. `302-PLACE` forwards to `sip:PLACE`, with
/// `_at_` for `@` and `_port_` for `:`. `late-480` rings for a second first.
pub struct Refuser {
    port: u16,
    over: Arc<AtomicBool>,
}

impl Refuser {
    /// Opens it.
    pub fn open() -> Refuser {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP port");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let port = socket.local_addr().expect("its address").port();
        let over: Arc<AtomicBool> = Arc::default();
        let ours = over.clone();
        std::thread::spawn(move || serve(&socket, port, &ours));
        Refuser { port, over }
    }

    /// The dial string that rings such a user through the trunk.
    pub fn dial(&self, user: &str) -> String {
        format!("sofia/trunk/{user}@127.0.0.1:{}", self.port)
    }
}

impl Drop for Refuser {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn serve(socket: &UdpSocket, port: u16, over: &AtomicBool) {
    let mut bytes = [0; 65_536];
    // Dialogs that ring before the refusal.
    let mut late: Vec<(std::time::Instant, String, SocketAddr)> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        late.retain(|(due, text, to)| {
            let wait = *due > std::time::Instant::now();
            if !wait {
                let _ = socket.send_to(text.as_bytes(), to);
            }
            wait
        });
        let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
        let request = String::from_utf8_lossy(&bytes[..length]).into_owned();
        let Some(user) = request.strip_prefix("INVITE sip:").and_then(|rest| rest.split('@').next()) else { continue };
        let (first, status) = match user.strip_prefix("late-") {
            Some(status) => (Some("180"), status),
            None => (None, user),
        };
        let (status, place) = status.split_once('-').unwrap_or((status, ""));
        let contact = match place {
            "" => String::new(),
            place => format!("Contact: <sip:{}>\r\n", place.replace("_at_", "@").replace("_port_", ":")),
        };
        let answer = |status: &str| {
            let copied = request.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
                let name = line.split(':').next()?;
                let tag = if name == "To" { format!(";tag={port}") } else { String::new() };
                ["Via", "From", "To", "Call-ID", "CSeq"].contains(&name).then(|| format!("{line}{tag}\r\n"))
            });
            format!("SIP/2.0 {status} No\r\n{}{contact}Content-Length: 0\r\n\r\n", copied.collect::<String>())
        };
        match first {
            Some(first) => {
                let _ = socket.send_to(answer(first).as_bytes(), from);
                late.push((std::time::Instant::now() + Duration::from_secs(1), answer(status), from));
            }
            None => drop(socket.send_to(answer(status).as_bytes(), from)),
        }
    }
}
