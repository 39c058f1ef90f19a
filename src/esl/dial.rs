//! Dial strings: the argument of `originate`.
//!
//! FreeSWITCH parses `originate {NAME='value',...}ENDPOINT &application` in several passes: it splits at spaces outside
//! quotes, cuts at the braces, splits at commas, then expands variables. No escape survives every pass, so nothing
//! that needs one is accepted: every value is a word, a number, or [`SafeText`] in quotes.

use std::fmt::{self, Write as _};
use std::net::Ipv6Addr;
use std::time::Duration;

use uuid::Uuid;

use super::api::ApiCall;
use super::text::{ChannelId, SafeText, TextError, word};

/// The longest contact that is dialled. Softphones that push messages wake register contacts of 500 bytes and more.
const LONGEST_CONTACT: usize = 2048;

/// Replaces an empty [`SafeText`], because FreeSWITCH takes `NAME=''` for no variable.
const NOTHING: &str = "-";

/// The destination of an `originate`: a phone, or a number behind a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint(String);

impl Endpoint {
    /// A user of the directory: `user/ID@DOMAIN`.
    ///
    /// # Errors
    /// [`TextError`] when the id is not a word of letters, digits and `. _ - +`, or the domain not one of letters,
    /// digits and `. _ - :`.
    pub fn user(id: &str, domain: &str) -> Result<Self, TextError> {
        Ok(Self(format!("user/{}@{}", word(id, 64, "._-+")?, word(domain, 253, "._-:")?)))
    }

    /// Any single endpoint, such as `sofia/gateway/mobile/0791234567`.
    ///
    /// # Errors
    /// [`TextError`] when it contains anything but letters, digits and `/ @ . : - _ + ; = % * # ! ~`. That excludes
    /// comma, bar and `:_:` (several phones in one dial string), braces, brackets, quotes, blanks and `$`.
    pub fn new(dial: &str) -> Result<Self, TextError> {
        if dial.contains(":_:") {
            return Err(TextError::Character(':'));
        }
        Ok(Self(word(dial, 512, "/@.:-_+;=%*#!~")?.to_owned()))
    }

    /// Like [`Endpoint::new`], but the host may be an IPv6 address: `[2001:db8::2]`. `originate` takes brackets for
    /// variables only at the beginning of an endpoint (read in its source, and tried).
    fn at_address(contact: &str) -> Result<Self, TextError> {
        let Some((before, rest)) = contact.split_once('[') else { return Self::of_phone(contact) };
        let (literal, behind) = rest.split_once(']').ok_or(TextError::Character('['))?;
        if before.is_empty() || literal.parse::<Ipv6Addr>().is_err() {
            return Err(TextError::Character('['));
        }
        Self::of_phone(&format!("{before}{behind}"))?;
        Ok(Self(contact.to_owned()))
    }

    /// Like [`Endpoint::new`], for a registered contact: it may be as long as a softphone's that push messages wake,
    /// and contain the `&` that some of these have.
    fn of_phone(contact: &str) -> Result<Self, TextError> {
        if contact.contains(":_:") {
            return Err(TextError::Character(':'));
        }
        Ok(Self(word(contact, LONGEST_CONTACT, "/@.:-_+;=%*#!~&")?.to_owned()))
    }

    /// The endpoint as FreeSWITCH reads it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The phones registered for an account, each to be dialled by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contacts {
    /// Those that can be.
    pub phones: Vec<Endpoint>,
    /// The others, and why not.
    pub refused: Vec<(String, NotDialled)>,
}

/// Why a contact is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDialled {
    /// It names something else, such as a gateway.
    #[error("it is not the address of a phone")]
    NoPhone,
    /// It cannot stand in a dial string.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl Contacts {
    /// Reads the output of `sofia_contact`, which is `error/...` if there are no contacts.
    pub fn read(listed: &str) -> Self {
        let mut read = Self::default();
        let listed = listed.trim();
        if listed.is_empty() || listed.starts_with("error/") {
            return read;
        }
        for contact in listed.split(',') {
            match Self::phone(contact) {
                Ok(phone) => read.phones.push(phone),
                Err(why) => read.refused.push((contact.to_owned(), why)),
            }
        }
        read
    }

    fn phone(contact: &str) -> Result<Endpoint, NotDialled> {
        let address = contact.strip_prefix("sofia/").and_then(|rest| rest.split_once('/'));
        match address {
            Some((profile, address)) if profile != "gateway" && address.starts_with("sip:") => {
                Ok(Endpoint::at_address(contact)?)
            }
            _ => Err(NotDialled::NoPhone),
        }
    }

    /// How many phones there are.
    pub fn count(&self) -> usize {
        self.phones.len() + self.refused.len()
    }
}

/// An API command that FreeSWITCH itself runs the instant the leg is answered (`api_on_answer_N`). Several run in the
/// order in which they are written, whatever their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnAnswer {
    /// Sets a variable of a channel.
    SetVariable {
        /// The channel.
        channel: ChannelId,
        /// The variable.
        name: VariableName,
        /// Its value.
        value: SafeText,
    },
    /// Sets several variables of a channel at once; an empty value takes the variable away.
    SetVariables {
        /// The channel.
        channel: ChannelId,
        /// The variables and their values.
        values: Vec<(VariableName, SafeText)>,
    },
    /// Lets only the first of several legs that ring for one channel go on: it takes the single place that `mod_hash`
    /// keeps for the channel. FreeSWITCH hangs up every later leg with LOSE_RACE, before it runs the next command.
    TakePlace {
        /// The leg.
        leg: ChannelId,
        /// The channel the legs ring for.
        channel: ChannelId,
    },
    /// Bridges two channels. The leg must be `other`: if it were the active one, `originate` would cut the channel off
    /// by sending the leg to park a moment later (measured: 1 or 2 of 240). See [`Originate::only_to_connect`].
    Bridge {
        /// The channel that existed before.
        channel: ChannelId,
        /// The leg.
        other: ChannelId,
    },
    /// Takes a variable of a channel away some time later, in whole seconds of the calendar, at least 1.
    UnsetLater {
        /// The channel.
        channel: ChannelId,
        /// The variable.
        name: VariableName,
        /// When: FreeSWITCH may be up to a second early.
        seconds: u8,
    },
}

/// The name of a channel variable: 1 to 64 letters, digits, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VariableName(String);

impl VariableName {
    /// Validates a name.
    ///
    /// # Errors
    /// [`TextError`] when it is not such a word.
    pub fn new(name: &str) -> Result<Self, TextError> {
        Ok(Self(word(name, 64, "_-")?.to_owned()))
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An `originate`: rings an endpoint on a leg whose UUID we choose, so that commands can address it before it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Originate {
    endpoint: Endpoint,
    /// `NAME=value,...`, values quoted where necessary.
    variables: String,
    on_answer: u32,
}

impl Originate {
    /// Rings `endpoint` on the leg `leg`, which parks once it is answered (`&park()`), unless it is there
    /// [only to be bridged](Self::only_to_connect).
    pub fn new(leg: Uuid, endpoint: Endpoint) -> Self {
        let variables = format!("origination_uuid={}", leg.as_hyphenated());
        Self { endpoint, variables, on_answer: 0 }
    }

    /// The caller ID that the phone shows; without one it shows 0000000000. An empty name becomes the number, an empty
    /// number `anonymous`.
    ///
    /// Both become parts of a SIP address. An `@` would cut off the rest of the name, so it becomes a space. The number
    /// keeps only ASCII letters, digits and `+*-_.`, so that it can be dialled. If what remains is the name of
    /// FreeSWITCH's module, it loses an underscore.
    #[must_use]
    pub fn caller_id(self, name: SafeText, number: SafeText) -> Self {
        let dialled = |c: &char| c.is_ascii_alphanumeric() || "+*-_.".contains(*c);
        let kept = SafeText::new(&number.as_str().chars().filter(dialled).collect::<String>());
        let number = SafeText::new(&kept.as_str().replace(' ', ""));
        let number = number.or(SafeText::new("anonymous"));
        let name = SafeText::new(&name.as_str().replace('@', " ")).or(number.clone());
        self.text("origination_caller_id_name", &name).text("origination_caller_id_number", &number)
    }

    /// How long the leg rings (`originate_timeout`), rounded up to whole seconds.
    #[must_use]
    pub fn ring_time(self, time: Duration) -> Self {
        self.put("originate_timeout", whole_seconds(time))
    }

    /// Does not treat early media, such as a ring tone from the far end, as an answer.
    #[must_use]
    pub fn ignore_early_media(self) -> Self {
        self.put("ignore_early_media", true)
    }

    /// Hangs up the leg when its bridge ends.
    #[must_use]
    pub fn hangup_after_bridge(self) -> Self {
        self.put("hangup_after_bridge", true)
    }

    /// Uses the leg only for [`OnAnswer::Bridge`]. If it is not bridged within this time after its answer (rounded up
    /// to whole seconds), FreeSWITCH hangs it up with ALLOTTED_TIMEOUT (measured: up to a second later).
    ///
    /// Without this, `originate`, which polls every 20 ms for the answer, may see it just before the bridge begins and
    /// send the leg to park in the middle of it. The caller then hears silence and is hung up with the leg, or is cut
    /// off from a conversation that has just begun (both measured, by slowing `originate` and the answer down; unslowed
    /// 1 of 800 in bursts). `originate` never passes on a leg that awaits confirmation (`group_confirm_key`;
    /// switch_ivr_originate.c), and since the key is `exec` without an application, nothing ever confirms it.
    #[must_use]
    pub fn only_to_connect(self, within: Duration) -> Self {
        self.put("group_confirm_key", "exec").put("group_confirm_timeout", whole_seconds(within))
    }

    /// Sets any other variable. An empty text is sent as `-`.
    #[must_use]
    pub fn variable(self, name: &VariableName, value: &SafeText) -> Self {
        self.text(&name.0, value)
    }

    /// Adds a command that FreeSWITCH runs the instant the leg is answered, after those added before.
    #[must_use]
    pub fn on_answer(mut self, action: &OnAnswer) -> Self {
        self.on_answer += 1;
        let name = format!("api_on_answer_{}", self.on_answer);
        match action {
            OnAnswer::SetVariable { channel, name: variable, value } => {
                self.put(&name, format_args!("'uuid_setvar {channel} {} {}'", variable.0, shown(value)))
            }
            OnAnswer::SetVariables { channel, values } => {
                let values: Vec<String> = values.iter().map(|(name, value)| format!("{name}={value}")).collect();
                self.put(&name, format_args!("'uuid_setvar_multi {channel} {}'", values.join(";")))
            }
            OnAnswer::TakePlace { leg, channel } => {
                self.put(&name, format_args!("'uuid_limit {leg} hash fsq {channel} 1 !LOSE_RACE'"))
            }
            OnAnswer::UnsetLater { channel, name: variable, seconds } => {
                self.put(&name, format_args!("'sched_api +{seconds} none uuid_setvar {channel} {}'", variable.0))
            }
            OnAnswer::Bridge { channel, other } => self.put(&name, format_args!("'uuid_bridge {channel} {other}'")),
        }
    }

    /// The dial string: variables and endpoint.
    pub fn dial_string(&self) -> String {
        format!("{{{}}}{}", self.variables, self.endpoint.0)
    }

    /// The API command. Its result is `Done(UUID)` or `Failed(cause)`.
    pub fn call(&self) -> ApiCall {
        ApiCall::of_checked(format!("originate {} &park()", self.dial_string()))
    }

    fn text(self, name: &str, value: &SafeText) -> Self {
        self.put(name, format_args!("'{}'", shown(value)))
    }

    fn put(mut self, name: &str, value: impl fmt::Display) -> Self {
        // Writing to a String cannot fail.
        let _ = write!(self.variables, ",{name}={value}");
        self
    }
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn shown(value: &SafeText) -> &str {
    if value.is_empty() { NOTHING } else { value.as_str() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::text::names_module;
    use super::*;

    #[test]
    fn an_originate_reads_as_in_the_captures() {
        let originate = Originate::new(Uuid::nil(), Endpoint::user("1002", "lab").unwrap())
            .ignore_early_media()
            .ring_time(Duration::from_millis(19_001))
            .caller_id(SafeText::new("Hans Muster"), SafeText::new("0791234567"));
        assert_eq!(
            originate.call().as_str(),
            "originate {origination_uuid=00000000-0000-0000-0000-000000000000,ignore_early_media=true,\
             originate_timeout=20,origination_caller_id_name='Hans Muster',origination_caller_id_number='0791234567'}\
             user/1002@lab &park()"
        );
    }

    #[test]
    fn commands_on_answer_are_numbered() {
        let caller = ChannelId::new("caller").unwrap();
        let leg = ChannelId::new("leg").unwrap();
        let resume = VariableName::new("socket_resume").unwrap();
        let endpoint = Endpoint::new("sofia/gateway/mobile/0791234567").unwrap();
        let originate = Originate::new(Uuid::nil(), endpoint)
            .on_answer(&OnAnswer::SetVariable { channel: caller.clone(), name: resume, value: SafeText::new("false") })
            .on_answer(&OnAnswer::Bridge { channel: caller, other: leg });
        assert_eq!(
            originate.call().as_str(),
            "originate {origination_uuid=00000000-0000-0000-0000-000000000000,\
             api_on_answer_1='uuid_setvar caller socket_resume false',api_on_answer_2='uuid_bridge caller leg'}\
             sofia/gateway/mobile/0791234567 &park()"
        );
    }

    #[test]
    fn only_its_bridge_confirms_a_leg() {
        let originate = Originate::new(Uuid::nil(), Endpoint::user("1002", "lab").unwrap());
        let dial = originate.only_to_connect(Duration::from_millis(2_001)).dial_string();
        assert!(dial.contains(",group_confirm_key=exec,group_confirm_timeout=3}"), "{dial}");
    }

    #[test]
    fn empty_caller_ids_become_anonymous() {
        let endpoint = Endpoint::user("1", "d").unwrap();
        let originate = Originate::new(Uuid::nil(), endpoint)
            .caller_id(SafeText::new("''"), SafeText::new(""))
            .variable(&VariableName::new("x").unwrap(), &SafeText::default());
        let dial = originate.dial_string();
        assert!(dial.contains("name='anonymous',origination_caller_id_number='anonymous',x='-'}"), "{dial}");
    }

    #[test]
    fn a_caller_id_fits_into_a_sip_address() {
        let endpoint = Endpoint::user("1", "d").unwrap();
        let originate = Originate::new(Uuid::nil(), endpoint)
            .caller_id(SafeText::new("Anna@Home"), SafeText::new("+41 (79) 123/45@evil.example"));
        let dial = originate.dial_string();
        assert!(dial.contains("name='Anna Home',origination_caller_id_number='+417912345evil.example'"), "{dial}");
    }

    #[test]
    fn a_number_never_becomes_the_modules_name() {
        for number in
            ["mod_event_socket", "mod_event(_socket", "x@Mod@_Event_Socket", "mod_emod_event_socketvent_socket"]
        {
            let originate = Originate::new(Uuid::nil(), Endpoint::user("1", "d").unwrap());
            let dial = originate.caller_id(SafeText::new("a"), SafeText::new(number)).dial_string();
            let shown = dial.split("caller_id_number='").nth(1).unwrap().split('\'').next().unwrap();
            assert!(!shown.contains(' ') && !names_module(shown), "{number} is shown as {shown:?}");
        }
    }

    #[test]
    fn an_endpoint_names_exactly_one_phone() {
        for bad in ["user/1,user/2", "user/1|user/2", "{a=b}user/1", "[a=b]user/1", "user/1 &park", "user/${x}", ""] {
            assert!(Endpoint::new(bad).is_err(), "{bad}");
        }
        assert!(Endpoint::user("1001", "a b").is_err());
        assert!(Endpoint::user("10/01", "lab").is_err());
    }

    fn dialled(listed: &str) -> Vec<String> {
        Contacts::read(listed).phones.iter().map(|phone| phone.as_str().to_owned()).collect()
    }

    /// Q8: every phone of an account that can be dialled is dialled, and the others come with the reason.
    #[test]
    fn the_contacts_of_an_account_are_dialled_one_by_one() {
        let two = "sofia/internal/sip:1001@10.0.0.1:5060;transport=udp,sofia/internal/sip:1001@10.0.0.2:5062;fs_nat=yes;\
                   fs_path=sip%3A1001%4010.9.9.9%3A61000%3Btransport%3Dtls\n";
        assert_eq!(dialled(two), two.trim().split(',').collect::<Vec<_>>());
        let six = "sofia/internal6/sip:1001@[2001:db8::2]:5060;transport=udp;fs_path=sip%3A1001%40%5B%3A%3A1%5D%3A5060,\
                   sofia/internal/sip:1001@10.0.0.1:5060";
        assert_eq!(dialled(six), six.split(',').collect::<Vec<_>>());
        let push = format!("sofia/internal/sip:1001@10.0.0.1;pn-provider=apns;pn-prid={}&remote", "0a".repeat(400));
        let listed = format!("{push},sofia/internal/sip:1001@10.0.0.2");
        assert_eq!(dialled(&listed), listed.split(',').collect::<Vec<_>>());
        for none in ["error/user_not_registered", "", "\n"] {
            assert_eq!(Contacts::read(none), Contacts::default(), "{none}");
        }
    }

    /// Q21: only a phone is dialled, whatever a phone registers.
    #[test]
    fn a_contact_is_one_phone_or_none() {
        for bad in [
            "sofia/internal/sip:b@[::1]]",
            "sofia/internal/sip:b@[::1",
            "sofia/internal/sip:b@[x=1]2",
            "sofia/internal/sip:b@[::1][x=1]",
            "[x=1]sofia/internal/sip:b@2",
            "sofia/internal/sip:b@[::1];x=${system(id)}",
            "sofia/internal/sip:b@2|user/3",
            "sofia/internal/sip:b@2:_:user/3",
            "sofia/internal/sip:b@2 &park()",
            "sofia/gateway/expensive/0900",
            "sofia/gateway/sip:1/2",
            "loopback/9",
            "sofia/internal/sip:a@1;x=${system(id)}",
        ] {
            let read = Contacts::read(&format!("sofia/internal/sip:a@1,{bad}"));
            let phones: Vec<&str> = read.phones.iter().map(Endpoint::as_str).collect();
            assert_eq!((phones, read.refused.len()), (vec!["sofia/internal/sip:a@1"], 1), "{bad}");
            assert_eq!(read.count(), 2);
        }
        let long = format!("sofia/internal/sip:a@{}", "1".repeat(LONGEST_CONTACT));
        let too_long = NotDialled::Text(TextError::TooLong(LONGEST_CONTACT));
        assert_eq!(Contacts::read(&long).refused, [(long, too_long)]);
    }
}
