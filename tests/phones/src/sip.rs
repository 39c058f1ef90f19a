//! The small part of SIP (RFC 3261) that a phone on a reliable line needs.

use std::fmt::Write as _;

/// A message as it was received.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The request or status line.
    pub first: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Message {
    /// Parses a datagram; `None` if it is no message, such as a keep-alive.
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(datagram);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let first = lines.next()?.to_owned();
        let split = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Some(Self { first, headers: lines.filter_map(split).collect(), body: body.to_owned() })
    }

    /// The first header of this name, or an empty string.
    pub fn header(&self, name: &str) -> &str {
        let mut all = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        all.next().map_or("", |(_, value)| value.as_str())
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.first.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The method of a request, or of the request a response answers.
    pub fn method(&self) -> &str {
        match self.status() {
            Some(_) => self.header("CSeq").rsplit(' ').next().unwrap_or_default(),
            None => self.first.split(' ').next().unwrap_or_default(),
        }
    }

    /// The user a request is for.
    pub fn to_user(&self) -> &str {
        user(self.first.split(' ').nth(1).unwrap_or_default())
    }

    /// The user a request is from.
    pub fn from_user(&self) -> &str {
        user(self.header("From"))
    }

    /// The name in its `From`.
    pub fn from_name(&self) -> String {
        let name = self.header("From").split('<').next().unwrap_or_default();
        name.trim().trim_matches('"').to_owned()
    }

    /// The status in the `NOTIFY` of a transfer (`message/sipfrag`).
    pub fn told_status(&self) -> Option<u16> {
        self.body.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// The branch of the topmost `Via`, which a request and its responses share.
    pub fn branch(&self) -> &str {
        self.header("Via").split("branch=").nth(1).and_then(|b| b.split([';', ',']).next()).unwrap_or_default()
    }

    /// The target of further requests of the call.
    pub fn contact(&self) -> &str {
        let contact = self.header("Contact");
        contact.split(['<', '>']).nth(1).unwrap_or(contact)
    }

    /// The port of the audio in its SDP.
    pub fn audio_port(&self) -> Option<u16> {
        self.body.lines().find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next()?.parse().ok())
    }

    /// A response to it; `contact` replaces this phone's own.
    pub fn answer(&self, status: &str, tag: &str, here: u16, contact: &str, body: &str) -> String {
        let mut out = format!("SIP/2.0 {status}\r\n");
        for via in self.all("Via") {
            // Writing to a String cannot fail.
            let _ = write!(out, "Via: {via}\r\n");
        }
        let to = self.header("To");
        let tag = if to.contains("tag=") { String::new() } else { format!(";tag={tag}") };
        let contact = if contact.is_empty() { format!("sip:phone@127.0.0.1:{here}") } else { contact.to_owned() };
        let _ = write!(
            out,
            "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{contact}>\r\n",
            self.header("From"),
            self.header("Call-ID"),
            self.header("CSeq"),
        );
        finish(out, body)
    }
}

/// The user of a URI, in angle brackets or not.
fn user(uri: &str) -> &str {
    uri.split("sip:").nth(1).and_then(|u| u.split('@').next()).unwrap_or_default()
}

/// A request of this phone.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `INVITE`, `BYE`, ...
    pub method: &'a str,
    /// The target.
    pub uri: &'a str,
    /// `From`, `To` and `Call-ID`.
    pub dialog: &'a str,
    /// `CSeq`.
    pub sequence: u32,
    /// Further header lines.
    pub more: &'a str,
    /// An SDP, or nothing.
    pub body: &'a str,
}

impl Request<'_> {
    /// The datagram, sent from port `here`.
    pub fn text(&self, here: u16, branch: u64) -> String {
        let Self { method, uri, dialog, sequence, more, body } = self;
        let out = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{here};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\n{dialog}CSeq: {sequence} {method}\r\nContact: <sip:phone@127.0.0.1:{here}>\r\n{more}"
        );
        finish(out, body)
    }
}

/// The answer to a digest challenge (RFC 2617, MD5), as a header line.
pub fn digest(challenge: &Message, user: &str, password: &str, method: &str, uri: &str) -> String {
    let (name, text) = match challenge.header("Proxy-Authenticate") {
        "" => ("Authorization", challenge.header("WWW-Authenticate")),
        text => ("Proxy-Authorization", text),
    };
    let given = |what: &str| {
        let rest = text.split(&format!("{what}=")).nth(1).unwrap_or_default();
        rest.trim_start_matches('"').split(['"', ',']).next().unwrap_or_default().to_owned()
    };
    let hash = |text: String| format!("{:x}", md5::compute(text));
    let (realm, nonce) = (given("realm"), given("nonce"));
    let who = hash(format!("{user}:{realm}:{password}"));
    let what = hash(format!("{method}:{uri}"));
    let (count, own) = ("00000001", "0a4f113b");
    let response = hash(format!("{who}:{nonce}:{count}:{own}:auth:{what}"));
    format!(
        "{name}: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", qop=auth, nc={count}, \
         cnonce=\"{own}\", response=\"{response}\", algorithm=MD5\r\n"
    )
}

fn finish(mut out: String, body: &str) -> String {
    if !body.is_empty() {
        out.push_str("Content-Type: application/sdp\r\n");
    }
    let _ = write!(out, "Content-Length: {}\r\n\r\n{body}", body.len());
    out
}

/// Audio in PCMU, here.
pub fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=phone 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

/// The same audio, on hold.
pub fn sdp_held(port: u16) -> String {
    sdp(port).replace("a=sendrecv", "a=sendonly")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_names_its_request() {
        let dialog = "From: <sip:0791@127.0.0.1>;tag=a\r\nTo: <sip:99901@127.0.0.1>\r\nCall-ID: c1\r\n";
        let (method, uri, body) = ("INVITE", "sip:99901@127.0.0.1:5080", sdp(7000));
        let invite = Request { method, uri, dialog, sequence: 1, more: "", body: &body }.text(6000, 77);
        let invite = Message::read(invite.as_bytes()).unwrap_or_default();
        assert_eq!((invite.method(), invite.to_user(), invite.from_user()), ("INVITE", "99901", "0791"));
        assert_eq!((invite.branch(), invite.audio_port(), invite.status()), ("z9hG4bK77", Some(7000), None));
        let ok = Message::read(invite.answer("200 OK", "b", 6001, "", "").as_bytes()).unwrap_or_default();
        assert_eq!((ok.status(), ok.method(), ok.branch()), (Some(200), "INVITE", "z9hG4bK77"));
        assert_eq!((ok.header("to"), ok.contact()), ("<sip:99901@127.0.0.1>;tag=b", "sip:phone@127.0.0.1:6001"));
    }

    #[test]
    fn a_challenge_is_answered_as_in_the_rfc() {
        let challenge = "SIP/2.0 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest realm=\"a.test\", \
                         nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n\r\n";
        let challenge = Message::read(challenge.as_bytes()).unwrap_or_default();
        let line = digest(&challenge, "1001", "1234", "INVITE", "sip:9000@a.test");
        assert!(
            line.starts_with("Proxy-Authorization: Digest username=\"1001\", realm=\"a.test\", nonce=\"n1\","),
            "{line}"
        );
        let hash = |text: &str| format!("{:x}", md5::compute(text));
        let (who, what) = (hash("1001:a.test:1234"), hash("INVITE:sip:9000@a.test"));
        let response = hash(&format!("{who}:n1:00000001:0a4f113b:auth:{what}"));
        assert!(line.contains(&format!("response=\"{response}\"")), "{line}");
    }
}
