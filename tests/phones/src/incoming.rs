//! Messages that reach the phones.

use std::net::SocketAddr;
use std::time::Instant;

use crate::sip::{Message, Request, sdp};
use crate::{Book, Call, Ended, Manner, Shared, tag};

impl Shared {
    pub(crate) fn response(&self, book: &mut Book, message: &Message, status: u16, from: SocketAddr, now: Instant) {
        if message.method() == "REGISTER" {
            return self.registered(book, message, status, from);
        }
        book.unanswered.retain(|late| late.key != message.branch());
        let Some(&call) = book.by_id.get(message.header("Call-ID")) else { return };
        if message.method() != "INVITE" {
            return;
        }
        if status < 200 {
            let it = &mut book.calls[call];
            it.ringing = it.ringing.or(Some(now).filter(|_| status > 100));
            return;
        }
        let branch = if status < 300 { book.branch() } else { number_of(message.branch()) };
        let it = &mut book.calls[call];
        let sequence = number_of(message.header("CSeq").split(' ').next().unwrap_or_default());
        let sequence = u32::try_from(sequence).unwrap_or_default();
        let (dialog, uri) = if it.is_caller {
            let dialog = format!(
                "From: {}\r\nTo: {}\r\nCall-ID: {}\r\n",
                message.header("From"),
                message.header("To"),
                message.header("Call-ID")
            );
            (dialog, if status < 300 { message.contact().to_owned() } else { it.uri.clone() })
        } else {
            (it.dialog.clone(), it.uri.clone())
        };
        let ack = Request { method: "ACK", uri: &uri, dialog: &dialog, sequence, more: "", body: "" };
        self.send(&ack.text(self.sip_port, branch), from);
        if it.answered.is_some() {
            // The answer to a re-INVITE, or a repeated answer.
            return;
        }
        if matches!(status, 401 | 407) && !it.gave_up && it.sequence == 1 {
            let credentials = self.credentials(message, &it.user, "INVITE", &it.uri);
            if !credentials.is_empty() {
                return self.invite(book, call, &credentials);
            }
        }
        if status >= 300 {
            it.refused = it.refused.or(Some(status));
            it.end(now, Ended::Switch);
            return;
        }
        (it.dialog, it.uri, it.media) = (dialog, uri, message.audio_port());
        if it.gave_up {
            // The answer crossed this phone's CANCEL.
            self.in_dialog(book, call, "BYE", "", "");
            return;
        }
        it.answered = Some(now);
        if let Some(media) = it.media {
            book.by_media.insert(media, call);
            self.speakers.start(call, media, book.tone(call));
        }
    }

    fn registered(&self, book: &mut Book, message: &Message, status: u16, from: SocketAddr) {
        // FreeSWITCH refuses some requests during its start: they are repeated as if they were lost.
        book.registration = status;
        let user = message.from_user().to_owned();
        let known = book.unanswered.iter().any(|late| late.key == message.branch());
        if status == 200 {
            book.unanswered.retain(|late| late.key != message.branch());
            book.registered.insert(user);
        } else if status == 401 && known {
            book.unanswered.retain(|late| late.key != message.branch());
            let domain = message.header("From").split(['@', '>']).nth(1).unwrap_or_default().to_owned();
            let (key, text) = self.registration(book, &user, &domain, Some(message));
            self.until_answered(book, key, text, from);
        }
    }

    pub(crate) fn request(&self, book: &mut Book, message: &Message, from: SocketAddr, now: Instant) {
        let known = book.by_id.get(message.header("Call-ID")).copied();
        let answer = |book: &Book, status: &str, body: &str| {
            let tag = tag(known.unwrap_or(book.calls.len()));
            self.send(&message.answer(status, &tag, self.sip_port, "", body), from);
        };
        match (message.method(), known) {
            ("INVITE", None) => self.called(book, message, from, now),
            // A re-INVITE changes the call: it continues unchanged.
            ("INVITE", Some(call)) if book.calls[call].answered.is_some() => {
                answer(book, "200 OK", &sdp(self.audio_port));
            }
            ("INVITE", Some(call)) if book.calls[call].ended.is_none() => answer(book, "180 Ringing", ""),
            ("INVITE", Some(_)) => {}
            ("ACK", _) => book.unanswered.retain(|late| late.key != message.header("Call-ID")),
            ("CANCEL", Some(call)) => {
                answer(book, "200 OK", "");
                let it = &mut book.calls[call];
                it.cancelled = it.cancelled.or(it.answered.map(|_| now));
                if it.answered.is_none() && it.ended.is_none() {
                    it.end(now, Ended::Switch);
                    message.header("Reason").clone_into(&mut it.reason);
                    let text = it.invite.answer("487 Request Terminated", &tag(call), self.sip_port, "", "");
                    let id = it.id.clone();
                    self.until_answered(book, id, text, from);
                }
            }
            ("BYE", Some(call)) => {
                answer(book, "200 OK", "");
                let it = &mut book.calls[call];
                message.header("Reason").clone_into(&mut it.reason);
                it.end(now, Ended::Switch);
                self.speakers.stop(call);
            }
            ("NOTIFY", Some(call)) => {
                answer(book, "200 OK", "");
                book.calls[call].transferred = message.told_status();
            }
            ("BYE" | "CANCEL", None) => answer(book, "481 Call/Transaction Does Not Exist", ""),
            _ => answer(book, "200 OK", ""),
        }
    }

    /// A phone is called.
    fn called(&self, book: &mut Book, message: &Message, from: SocketAddr, now: Instant) {
        let manner = book.manners.get(message.to_user()).cloned().unwrap_or_default();
        // FreeSWITCH repeats an INVITE that was sent while the line was cut; it does not count as another call.
        if manner == Manner::Dead {
            book.lost.insert(message.header("Call-ID").to_owned());
        }
        if book.lost.contains(message.header("Call-ID")) {
            return;
        }
        let tag = tag(book.calls.len());
        let mut call = Call::new(message.to_user(), now, from);
        message.from_user().clone_into(&mut call.from);
        call.shown = message.from_name();
        message.header("Call-ID").clone_into(&mut call.id);
        call.invite = message.clone();
        call.dialog = format!(
            "From: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\n",
            message.header("To"),
            message.header("From"),
            message.header("Call-ID")
        );
        message.contact().clone_into(&mut call.uri);
        call.media = message.audio_port();
        let call = book.add(call);
        match manner {
            Manner::Rings | Manner::Dead => {
                self.send(&message.answer("180 Ringing", &tag, self.sip_port, "", ""), from);
                book.calls[call].ringing = Some(now);
            }
            Manner::Refuses(status) => self.refuse(book, call, status, ""),
            Manner::Forwards { to, port } => self.refuse(book, call, 302, &format!("sip:{to}@127.0.0.1:{port}")),
        }
    }
}

/// The number in a branch or header of these phones.
fn number_of(text: &str) -> u64 {
    text.trim_start_matches("z9hG4bK").parse().unwrap_or_default()
}
