//! Callers, and their calls.

use std::time::{Duration, Instant};

use crate::lab::{Lab, SOON};
use crate::machine::udp_port;
use crate::sipp::{Message, Sipp};
use crate::sound::Sound;
use crate::switch::{DOMAIN, HOSTED_DOMAIN, SECRET};

/// The identity of a caller.
pub struct From {
    user: String,
    header: String,
    login: Option<String>,
    /// Whether the caller is a phone of the other domain.
    hosted: bool,
    /// A display name of any bytes, percent-encoded; empty to use that of the header.
    name: String,
    /// Further headers of the first INVITE.
    more: String,
}

impl From {
    /// An outside caller with any number and name.
    pub fn outside(number: &str, name: &str) -> From {
        let name = if name.is_empty() { String::new() } else { format!("{name} ") };
        let header = format!("{name}<sip:{number}@example.net>");
        From { user: "trunk".to_owned(), header, login: None, hosted: false, name: String::new(), more: String::new() }
    }

    /// A caller whose network knows the number and asks not to show it (RFC 3325).
    pub fn withheld(self) -> From {
        let more = format!("\n    Privacy: id\n    P-Asserted-Identity: {}", self.header);
        From { header: "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(), more, ..self }
    }

    /// An outside caller with a name that SIP cannot carry.
    pub fn outside_named(number: &str, name: &[u8]) -> From {
        let encoded =
            |byte: &u8| if byte.is_ascii_alphanumeric() { char::from(*byte).into() } else { format!("%{byte:02X}") };
        From { name: name.iter().map(encoded).collect(), ..From::outside(number, "") }
    }

    /// A phone of the house's directory.
    pub fn phone(user: &str) -> From {
        let (header, login) = (format!("<sip:{user}@{DOMAIN}>"), Some(user.to_owned()));
        From { user: user.to_owned(), header, login, hosted: false, name: String::new(), more: String::new() }
    }

    /// A phone of the house that picks up the call of a colleague's ringing phone, with the dialog that FreeSWITCH
    /// gives to lamps (RFC 3891).
    pub fn picking_up(user: &str, invite: &Message) -> From {
        let tag = invite.header("From").split(";tag=").nth(1).unwrap_or_default().to_owned();
        let more = format!("\n    Replaces: {};to-tag={tag};from-tag=0;early-only", invite.call());
        From { more, ..From::phone(user) }
    }

    /// A phone of another customer's domain, where users have the same names.
    pub fn phone_of_others(user: &str) -> From {
        From { header: format!("<sip:{user}@{HOSTED_DOMAIN}>"), hosted: true, ..From::phone(user) }
    }

    /// A phone of the house that sends another user's number.
    pub fn phone_as(user: &str, claimed: &str) -> From {
        From { header: format!("<sip:{claimed}@{DOMAIN}>"), ..From::phone(user) }
    }
}

/// A caller. Dropping it hangs up.
pub struct Caller {
    pub sound: Sound,
    /// The tone the caller sends.
    pub tone: u32,
    pub since: Instant,
    sipp: Sipp,
}

impl Caller {
    pub fn new(lab: &Lab, from: &From, number: &str, tone: u32) -> Caller {
        let sound = Sound::open(tone);
        let (rtp, port) = (sound.port().to_string(), udp_port());
        let values = [
            ("NUMBER", number),
            ("USER", from.user.as_str()),
            ("DOMAIN", DOMAIN),
            ("RTP", rtp.as_str()),
            ("FROM", from.header.as_str()),
            ("NAME", from.name.as_str()),
            ("MORE", from.more.as_str()),
        ];
        let scenario = lab.scenario(&format!("caller-{port}.xml"), include_str!("caller.xml"), &values);
        let remote = match from.login {
            Some(_) if from.hosted => lab.switch.hosted,
            Some(_) => lab.switch.sip,
            None => lab.switch.trunk,
        };
        let user = from.login.as_deref().unwrap_or("nobody");
        let more = ["-m", "1", "-au", user, "-ap", SECRET];
        let since = Instant::now();
        let mouth = sound.mouth();
        let watch = move |m: &Message, _: &[Message]| match m.what() {
            "200" if !m.sent && m.header("CSeq").ends_with("INVITE") => mouth.speak_to(m.sound_port()),
            "BYE" => mouth.speak_to(None),
            _ => {}
        };
        let sipp = Sipp::start(lab.programs(), &scenario, port, remote, &more, watch);
        Caller { sound, tone, since, sipp }
    }

    /// Waits until FreeSWITCH answers.
    #[track_caller]
    pub fn answered(&self) -> &Caller {
        let wanted = |m: &Message| !m.sent && m.what() == "200" && m.header("CSeq").ends_with("INVITE");
        let ok = self.sipp.wait(wanted, SOON);
        assert!(ok.is_some(), "the call was not answered:\n{}", self.story());
        self
    }

    /// The call as a `Replaces` in `Refer-To` (RFC 3891, escaped for a URI): FreeSWITCH's tag first.
    #[track_caller]
    pub fn replaces(&self) -> String {
        let wanted = |m: &Message| !m.sent && m.what() == "200" && m.header("CSeq").ends_with("INVITE");
        let ok = self.sipp.wait(wanted, SOON).expect("an answered call");
        let tag = |name| ok.header(name).split(";tag=").nth(1).unwrap_or_default().to_owned();
        format!("{}%3Bto-tag%3D{}%3Bfrom-tag%3D{}", ok.call().replace('@', "%40"), tag("To"), tag("From"))
    }

    /// Waits until FreeSWITCH hangs up.
    #[track_caller]
    pub fn byed(&self, within: Duration) -> Message {
        let bye = self.sipp.wait(|m| !m.sent && m.what() == "BYE", within);
        bye.unwrap_or_else(|| panic!("the caller was not hung up within {within:?}:\n{}", self.story()))
    }

    /// Whether FreeSWITCH has hung up.
    pub fn is_over(&self) -> bool {
        self.sipp.messages().iter().any(|m| !m.sent && m.what() == "BYE")
    }

    pub fn hang_up(&self) {
        let call = self.sipp.messages().first().map(|m| m.call().to_owned());
        if let Some(call) = call {
            self.sipp.tell(&call, "HANGUP", "");
        }
    }

    /// Waits until the call is over, whichever side ended it.
    #[track_caller]
    pub fn over(mut self, within: Duration) {
        assert!(self.sipp.ends_well(within), "the call did not end as it should:\n{}", self.story());
    }

    /// The phone disappears without a BYE.
    pub fn vanish(mut self) {
        self.sipp.kill();
    }

    pub fn story(&self) -> String {
        self.sipp.story(self.since)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.hang_up();
        self.sipp.ends_well(Duration::from_secs(1));
    }
}
