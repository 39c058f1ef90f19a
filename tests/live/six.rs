//! A phone that speaks IPv6, just enough of it to ring and to stop.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use crate::switch::DOMAIN;

/// A registered phone on `::1`.
pub struct Six {
    socket: UdpSocket,
    user: String,
    port: u16,
    registrar: SocketAddrV6,
    /// Further parameters of its address.
    parameters: String,
    registered: u32,
}

impl Six {
    /// Registers the phone. Fails on a machine without IPv6.
    pub fn register(user: &str, registrar: u16) -> io::Result<Six> {
        Self::register_with(user, registrar, "")
    }

    /// Registers the phone with further parameters of its address.
    pub fn register_with(user: &str, registrar: u16, parameters: &str) -> io::Result<Six> {
        let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let port = socket.local_addr()?.port();
        let registrar = SocketAddrV6::new(Ipv6Addr::LOCALHOST, registrar, 0, 0);
        let mut phone =
            Six { socket, user: user.to_owned(), port, registrar, parameters: parameters.to_owned(), registered: 0 };
        phone.tell_registrar(3600);
        phone.hears("SIP/2.0 200");
        Ok(phone)
    }

    fn tell_registrar(&mut self, expires: u32) {
        self.registered += 1;
        let Six { user, port, parameters, registered, .. } = self;
        let text = format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP [::1]:{port};branch=z9hG4bK{port}r{registered}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{DOMAIN}>;tag={port}\r\nTo: <sip:{user}@{DOMAIN}>\r\n\
             Call-ID: six-{port}\r\nCSeq: {registered} REGISTER\r\nContact: <sip:{user}@[::1]:{port}{parameters}>\r\n\
             Expires: {expires}\r\nContent-Length: 0\r\n\r\n"
        );
        self.socket.send_to(text.as_bytes(), self.registrar).expect("a datagram");
    }

    /// Waits for a message with this beginning.
    #[track_caller]
    fn hears(&self, beginning: &str) -> String {
        let end = Instant::now() + crate::lab::SOON;
        let mut bytes = [0; 65_536];
        while Instant::now() < end {
            let Ok(length) = self.socket.recv(&mut bytes) else { continue };
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.starts_with(beginning) {
                return text;
            }
        }
        panic!("the phone on ::1 received no {beginning}");
    }

    fn answer(&self, request: &str, status: &str) {
        let copied = request.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
            let name = line.split(':').next()?;
            let tag = if name == "To" && !line.contains(";tag=") { ";tag=six" } else { "" };
            ["Via", "From", "To", "Call-ID", "CSeq"].contains(&name).then(|| format!("{line}{tag}\r\n"))
        });
        let Six { user, port, .. } = self;
        let headers: String = copied.collect();
        let text =
            format!("SIP/2.0 {status}\r\n{headers}Contact: <sip:{user}@[::1]:{port}>\r\nContent-Length: 0\r\n\r\n");
        self.socket.send_to(text.as_bytes(), self.registrar).expect("a datagram");
    }

    /// Waits for a call, and rings. Returns the INVITE.
    #[track_caller]
    pub fn rings(&self) -> String {
        let invite = self.hears("INVITE ");
        self.answer(&invite, "180 Ringing");
        invite
    }

    /// Waits for the CANCEL.
    #[track_caller]
    pub fn cancelled(&self, invite: &str) {
        let cancel = self.hears("CANCEL ");
        self.answer(&cancel, "200 OK");
        self.answer(invite, "487 Request Terminated");
    }

    /// Unregisters the phone.
    pub fn unregister(mut self) {
        self.tell_registrar(0);
        self.hears("SIP/2.0 200");
    }
}
