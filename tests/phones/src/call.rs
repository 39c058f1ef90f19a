//! One call of one phone, as the phone sees it.

use std::net::SocketAddr;
use std::time::Instant;

use crate::sip::Message;

/// The sound a call receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A person with a known tone.
    Person(String),
    /// Another sound: music, a ring tone, a voice.
    Sound,
    /// Silence.
    Nothing,
}

/// The side that ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// This phone.
    Us,
    /// FreeSWITCH.
    Switch,
}

/// One call of one phone. Times are those of sending a datagram or of reading it from the socket.
#[derive(Clone, Debug)]
pub struct Call {
    /// The phone: the number of the caller, or the user of the agent.
    pub user: String,
    /// The calling party, on an agent's phone.
    pub from: String,
    /// The name that the phone shows.
    pub shown: String,
    /// The dialled number, on a caller's phone.
    pub dialled: String,
    /// The `INVITE`, received by an agent's phone or sent by a caller's.
    pub invited: Instant,
    /// The time of the first 18x, sent or received.
    pub ringing: Option<Instant>,
    /// The `200 OK`, sent by an agent's phone or received by a caller's.
    pub answered: Option<Instant>,
    /// The first packet in which the other side's tone was heard.
    pub heard: Option<Instant>,
    /// The time of its end, by whichever side.
    pub ended: Option<Instant>,
    /// The side that ended it.
    pub ended_by: Option<Ended>,
    /// `Reason` of the request that ended it.
    pub reason: String,
    /// The status of a refusal, by the other side or by this phone.
    pub refused: Option<u16>,
    /// Whether it is a caller's call.
    pub is_caller: bool,
    /// The sound at the last look.
    pub heard_last: Option<(Instant, Heard)>,
    /// The person heard last, and the last time of that.
    pub person: Option<(Instant, String)>,
    /// The last time of any sound.
    pub sound: Option<Instant>,
    /// Whether this phone has put it on hold.
    pub held: bool,
    /// The time of a `CANCEL` that crossed this phone's answer.
    pub cancelled: Option<Instant>,
    /// The time at which this phone asked for a transfer.
    pub referred: Option<Instant>,
    /// The status of the transfer in FreeSWITCH's `NOTIFY`.
    pub transferred: Option<u16>,
    pub(crate) id: String,
    /// An agent's `INVITE`.
    pub(crate) invite: Message,
    /// `From`, `To` and `Call-ID` of this phone's requests.
    pub(crate) dialog: String,
    pub(crate) uri: String,
    pub(crate) to: SocketAddr,
    /// FreeSWITCH's port for the audio of this call.
    pub(crate) media: Option<u16>,
    /// `CSeq` of this phone's last request.
    pub(crate) sequence: u32,
    /// The branch of a caller's `INVITE`.
    pub(crate) branch: u64,
    /// The caller has hung up before the answer.
    pub(crate) gave_up: bool,
}

impl Call {
    pub(crate) fn new(user: &str, invited: Instant, to: SocketAddr) -> Self {
        Self {
            user: user.to_owned(),
            from: String::new(),
            shown: String::new(),
            dialled: String::new(),
            invited,
            ringing: None,
            answered: None,
            heard: None,
            ended: None,
            ended_by: None,
            reason: String::new(),
            refused: None,
            is_caller: false,
            heard_last: None,
            person: None,
            sound: None,
            held: false,
            cancelled: None,
            referred: None,
            transferred: None,
            id: String::new(),
            invite: Message::default(),
            dialog: String::new(),
            uri: String::new(),
            to,
            media: None,
            sequence: 0,
            branch: 0,
            gave_up: false,
        }
    }

    /// Answered and not over.
    pub fn is_up(&self) -> bool {
        self.answered.is_some() && self.ended.is_none()
    }

    /// The person it hears now, according to the packets so far.
    pub fn hears(&self) -> Option<&str> {
        match &self.heard_last {
            Some((_, Heard::Person(who))) if self.is_up() => Some(who),
            _ => None,
        }
    }

    /// The call as a `Replaces` in `Refer-To` (RFC 3891, escaped for a URI): FreeSWITCH's tag first.
    pub(crate) fn replaces(&self) -> String {
        let tag = |name: &str| {
            let line = self.dialog.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split(";tag=").nth(1).unwrap_or_default().to_owned()
        };
        format!("{}%3Bto-tag%3D{}%3Bfrom-tag%3D{}", self.id.replace('@', "%40"), tag("To: "), tag("From: "))
    }

    pub(crate) fn hear(&mut self, now: Instant, what: Heard) {
        match &what {
            Heard::Person(who) => {
                self.person = Some((now, who.clone()));
                self.sound = Some(now);
            }
            Heard::Sound => self.sound = Some(now),
            Heard::Nothing => {}
        }
        self.heard_last = Some((now, what));
    }

    pub(crate) fn end(&mut self, now: Instant, by: Ended) {
        if self.ended.is_none() {
            self.ended = Some(now);
            self.ended_by = Some(by);
        }
    }

    /// The state of the call, for people.
    pub fn story(&self) -> String {
        let ms = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(self.invited).as_millis());
        let (answered, heard, ended) = (ms(self.answered), ms(self.heard), ms(self.ended));
        format!("{} {} answered {answered:?} heard {heard:?} ended {ended:?} {:?}", self.user, self.from, self.refused)
    }
}
