//! Commands to a phone.

use std::net::SocketAddr;
use std::time::Instant;

use crate::sip::{Message, Request, digest, sdp, sdp_held};
use crate::{Book, Call, Ended, Phones, Shared, tag};

impl Phones {
    /// A caller dials a number.
    pub fn call(&self, caller: &str, number: &str) -> usize {
        self.dial(caller, &format!("<sip:{caller}@127.0.0.1>"), number, self.trunk)
    }

    /// A phone of the house dials a number.
    pub fn call_from(&self, user: &str, domain: &str, number: &str) -> usize {
        self.dial(user, &format!("<sip:{user}@{domain}>"), number, self.house)
    }

    fn dial(&self, user: &str, from: &str, number: &str, to: SocketAddr) -> usize {
        let mut book = self.shared.book();
        let branch = book.branch();
        let mut call = Call::new(user, Instant::now(), to);
        call.uri = format!("sip:{number}@{to}");
        call.id = format!("call-{branch}-{}", self.shared.sip_port);
        call.dialog = format!("From: {from};tag={branch}\r\nTo: <{}>\r\nCall-ID: {}\r\n", call.uri, call.id);
        number.clone_into(&mut call.dialled);
        call.is_caller = true;
        let call = book.add(call);
        self.shared.invite(&mut book, call, "");
        call
    }

    /// An agent answers.
    pub fn answer(&self, call: usize) {
        let mut book = self.shared.book();
        let Some(it) = book.calls.get(call).filter(|it| it.ended.is_none() && it.answered.is_none()).cloned() else {
            return;
        };
        let text = it.invite.answer("200 OK", &tag(call), self.shared.sip_port, "", &sdp(self.shared.audio_port));
        let answered = self.shared.until_answered(&mut book, it.id, text, it.to);
        book.calls[call].answered = Some(answered);
        if let Some(media) = it.media {
            self.shared.speakers.start(call, media, book.tone(call));
        }
    }

    /// An agent's phone that rings refuses the call.
    pub fn refuse(&self, call: usize, status: u16) {
        let mut book = self.shared.book();
        if book.calls.get(call).is_some_and(|it| it.ended.is_none() && it.answered.is_none() && !it.is_caller) {
            self.shared.refuse(&mut book, call, status, "");
        }
    }

    /// A ringing phone of an agent forwards the call to another user (302).
    pub fn forward(&self, call: usize, to: &str, port: u16) {
        let mut book = self.shared.book();
        if book.calls.get(call).is_some_and(|it| it.ended.is_none() && it.answered.is_none() && !it.is_caller) {
            self.shared.refuse(&mut book, call, 302, &format!("sip:{to}@127.0.0.1:{port}"));
        }
    }

    /// Ends a call: hangs up, gives up while it rings, or declines.
    pub fn hang_up(&self, call: usize) {
        let mut book = self.shared.book();
        let Some(it) = book.calls.get(call).filter(|it| it.ended.is_none()).cloned() else { return };
        match (it.answered, it.is_caller) {
            (Some(_), _) => {
                let ended = self.shared.in_dialog(&mut book, call, "BYE", "", "");
                book.calls[call].end(ended, Ended::Us);
                self.shared.speakers.stop(call);
            }
            (None, true) => self.shared.cancel(&mut book, call),
            (None, false) => self.shared.refuse(&mut book, call, 603, ""),
        }
    }

    /// Puts a call on hold, or resumes it.
    pub fn hold(&self, call: usize, on: bool) {
        let mut book = self.shared.book();
        if !book.calls.get(call).is_some_and(Call::is_up) {
            return;
        }
        let body = if on { sdp_held(self.shared.audio_port) } else { sdp(self.shared.audio_port) };
        self.shared.in_dialog(&mut book, call, "INVITE", "", &body);
        book.calls[call].held = on;
    }

    /// Transfers the other party of this call to a number (REFER).
    pub fn transfer(&self, call: usize, number: &str, domain: &str) {
        self.refer(call, &format!("<sip:{number}@{domain}>"));
    }

    /// Transfers the other party of this call to the party of another call of the same phone.
    pub fn transfer_to(&self, call: usize, other: usize, domain: &str) {
        let Some(replaces) = self.get(other).map(|other| other.replaces()) else { return };
        self.refer(call, &format!("<sip:{domain}?Replaces={replaces}>"));
    }

    fn refer(&self, call: usize, to: &str) {
        let mut book = self.shared.book();
        if !book.calls.get(call).is_some_and(Call::is_up) {
            return;
        }
        let user = book.calls[call].user.clone();
        let more = format!("Refer-To: {to}\r\nReferred-By: <sip:{user}@127.0.0.1>\r\n");
        let at = self.shared.in_dialog(&mut book, call, "REFER", &more, "");
        book.calls[call].referred = Some(at);
    }
}

impl Shared {
    /// Sends a caller's `INVITE`, with the answer to a challenge.
    pub(crate) fn invite(&self, book: &mut Book, call: usize, credentials: &str) {
        let branch = book.branch();
        let it = &mut book.calls[call];
        it.sequence += 1;
        it.branch = branch;
        let body = sdp(self.audio_port);
        let request = Request {
            method: "INVITE",
            uri: &it.uri,
            dialog: &it.dialog,
            sequence: it.sequence,
            more: credentials,
            body: &body,
        };
        let (text, to) = (request.text(self.sip_port, branch), it.to);
        let at = self.until_answered(book, format!("z9hG4bK{branch}"), text, to);
        if credentials.is_empty() {
            book.calls[call].invited = at;
        }
    }

    pub(crate) fn cancel(&self, book: &mut Book, call: usize) {
        let it = &mut book.calls[call];
        it.gave_up = true;
        it.end(Instant::now(), Ended::Us);
        let request =
            Request { method: "CANCEL", uri: &it.uri, dialog: &it.dialog, sequence: it.sequence, more: "", body: "" };
        let (text, to, branch) = (request.text(self.sip_port, it.branch), it.to, it.branch);
        book.unanswered.retain(|late| late.key != format!("z9hG4bK{branch}"));
        self.until_answered(book, format!("z9hG4bK{branch}"), text, to);
    }

    /// A final answer from 300 on to the `INVITE` of an agent's phone.
    pub(crate) fn refuse(&self, book: &mut Book, call: usize, status: u16, contact: &str) {
        let it = &mut book.calls[call];
        it.refused = Some(status);
        it.end(Instant::now(), Ended::Us);
        let text = it.invite.answer(&format!("{status} No"), &tag(call), self.sip_port, contact, "");
        let (id, to) = (it.id.clone(), it.to);
        self.until_answered(book, id, text, to);
    }

    /// A `REGISTER`, with the answer to a challenge; its branch and its text.
    pub(crate) fn registration(
        &self,
        book: &mut Book,
        user: &str,
        domain: &str,
        challenge: Option<&Message>,
    ) -> (String, String) {
        let dialog = format!(
            "From: <sip:{user}@{domain}>;tag=r\r\nTo: <sip:{user}@{domain}>\r\nCall-ID: register-{user}-{}\r\n",
            self.sip_port
        );
        let (branch, uri) = (book.branch(), format!("sip:{domain}"));
        let sequence = u32::try_from(branch % 1_000_000).unwrap_or(1);
        let credentials = challenge.map(|c| self.credentials(c, user, "REGISTER", &uri)).unwrap_or_default();
        let more = format!("Expires: 3600\r\n{credentials}");
        let request = Request { method: "REGISTER", uri: &uri, dialog: &dialog, sequence, more: &more, body: "" };
        let text = request.text(self.sip_port, branch).replace("<sip:phone@", &format!("<sip:{user}@"));
        (format!("z9hG4bK{branch}"), text)
    }

    /// The answer to a challenge, as a header line; nothing without a password.
    pub(crate) fn credentials(&self, challenge: &Message, user: &str, method: &str, uri: &str) -> String {
        self.password.as_ref().map(|password| digest(challenge, user, password, method, uri)).unwrap_or_default()
    }
}
