//! The initial variables of a channel, in the order and with the names of the captures.

use crate::leg::Vars;
use crate::rng::Rng;

/// The values for the templates.
pub(crate) struct Facts<'a> {
    pub(crate) uuid: &'a str,
    pub(crate) number: &'a str,
    pub(crate) name: &'a str,
    pub(crate) destination: &'a str,
    /// The phone behind the leg; none for a trunk.
    pub(crate) phone: Option<&'a str>,
    pub(crate) domain: &'a str,
    pub(crate) micros: u64,
    pub(crate) session: u64,
    pub(crate) port: u64,
}

const INBOUND_HEAD: &str = "direction=inbound
uuid={uuid}
session_id={session}
sip_from_user={number}
sip_from_uri={number}@{host}
sip_from_host={host}
video_media_flow=disabled
text_media_flow=disabled
channel_name={channel}
sip_call_id={hex}
sip_local_network_addr=127.0.0.1
sip_network_ip=127.0.0.1
sip_network_port={port}
sip_invite_stamp={micros}
sip_received_ip=127.0.0.1
sip_received_port={port}
sip_via_protocol=udp";

const AUTHENTICATED: &str = "sip_authorized=true
sip_number_alias={phone}
sip_auth_username={phone}
sip_auth_realm={domain}
number_alias={phone}
requested_user_name={phone}
requested_domain_name={domain}
user_context=default
effective_caller_id_name=Phone {phone}
effective_caller_id_number={phone}
user_name={phone}
domain_name={domain}";

const INBOUND_TAIL: &str = "sip_from_user_stripped={number}
sip_from_tag={tag}
sofia_profile_name={profile}
sofia_profile_url=sip:mod_sofia@127.0.0.1:{listen}
recovery_profile_name={profile}
sip_full_via=SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch};rport={port}
sip_from_display={name}
sip_full_from=\"{name}\" <sip:{number}@{host}>;tag={tag}
sip_full_to=<sip:{destination}@127.0.0.1:{listen}>
sip_req_user={destination}
sip_req_port={listen}
sip_req_uri={destination}@127.0.0.1:{listen}
sip_req_host=127.0.0.1
sip_to_user={destination}
sip_to_port={listen}
sip_to_uri={destination}@127.0.0.1:{listen}
sip_to_host=127.0.0.1
sip_contact_user={number}
sip_contact_port={port}
sip_contact_uri={number}@127.0.0.1:{port}
sip_contact_host=127.0.0.1
sip_via_host=127.0.0.1
sip_via_port={port}
sip_via_rport={port}
max_forwards=70
switch_r_sdp=v=0{crlf}o=- {session} 1 IN IP4 127.0.0.1{crlf}s=-{crlf}c=IN IP4 127.0.0.1{crlf}t=0 0{crlf}m=audio {port} RTP/AVP 0 101{crlf}
ep_codec_string=CORE_PCM_MODULE.PCMU@8000h@20i@64000b
rtp_use_codec_string=PCMU,PCMA
remote_video_media_flow=inactive
remote_text_media_flow=inactive
remote_audio_media_flow=sendrecv
audio_media_flow=sendrecv
rtp_audio_recv_pt=0
rtp_use_codec_name=PCMU
rtp_use_codec_rate=8000
rtp_use_codec_ptime=20
rtp_use_codec_channels=1
rtp_last_audio_codec_string=PCMU@8000h@20i@1c
read_codec=PCMU
original_read_codec=PCMU
read_rate=8000
original_read_rate=8000
write_codec=PCMU
write_rate=8000
dtmf_type=rfc2833
endpoint_disposition=RECEIVED
call_uuid={uuid}";

const OUTBOUND_HEAD: &str = "direction=outbound
is_outbound=true
uuid={uuid}
call_uuid={uuid}
session_id={session}
sip_local_network_addr=127.0.0.1
sip_profile_name=internal
video_media_flow=disabled
text_media_flow=disabled
channel_name={channel}
sip_destination_url=sip:{phone}@127.0.0.1:{port}";

const OUTBOUND_TAIL: &str = "dialed_user={phone}
dialed_domain={domain}
sip_invite_domain={domain}
presence_id={phone}@{domain}
originate_early_media=false
originate_endpoint=sofia
rtp_use_codec_string=PCMU,PCMA
local_media_ip=127.0.0.1
local_media_port={port}
advertised_media_ip=127.0.0.1
audio_media_flow=sendrecv
sip_outgoing_contact_uri=<sip:mod_sofia@127.0.0.1:5060>
sip_req_uri={phone}@127.0.0.1:{port}
sip_to_host=127.0.0.1:{port}
sip_from_host={domain}
sofia_profile_name=internal
recovery_profile_name=internal
sofia_profile_url=sip:mod_sofia@127.0.0.1:5060";

struct Fill<'a> {
    facts: &'a Facts<'a>,
    channel: String,
    host: &'a str,
    profile: &'a str,
    listen: &'a str,
    tag: String,
    branch: String,
    hex: String,
}

impl Fill<'_> {
    fn add(&self, template: &str, vars: &mut Vars) {
        for line in template.lines() {
            if let Some((name, value)) = line.split_once('=') {
                vars.set(name.to_owned(), self.fill(value));
            }
        }
    }

    fn fill(&self, template: &str) -> String {
        let mut out = String::with_capacity(template.len() + 24);
        let mut rest = template;
        while let Some((before, behind)) = rest.split_once('{') {
            out.push_str(before);
            let (name, behind) = behind.split_once('}').unwrap_or((behind, ""));
            rest = behind;
            match name {
                "uuid" => out.push_str(self.facts.uuid),
                "number" => out.push_str(self.facts.number),
                "name" => out.push_str(self.facts.name),
                "destination" => out.push_str(self.facts.destination),
                "phone" => out.push_str(self.facts.phone.unwrap_or_default()),
                "domain" => out.push_str(self.facts.domain),
                "micros" => out.push_str(&self.facts.micros.to_string()),
                "session" => out.push_str(&self.facts.session.to_string()),
                "port" => out.push_str(&self.facts.port.to_string()),
                "channel" => out.push_str(&self.channel),
                "host" => out.push_str(self.host),
                "profile" => out.push_str(self.profile),
                "listen" => out.push_str(self.listen),
                "tag" => out.push_str(&self.tag),
                "branch" => out.push_str(&self.branch),
                "hex" => out.push_str(&self.hex),
                "crlf" => out.push_str("\r\n"),
                _ => {}
            }
        }
        out.push_str(rest);
        out
    }
}

/// A call that comes in, from a trunk or from an authenticated phone: its channel name and its variables.
pub(crate) fn inbound(facts: &Facts<'_>, rng: &mut Rng, extra: &[(String, String)]) -> (String, Vars) {
    let (host, profile, listen) =
        if facts.phone.is_some() { (facts.domain, "internal", "5060") } else { ("pstn", "trunk", "5080") };
    let channel = format!("sofia/{profile}/{}@{host}", facts.number);
    let hex = rng.uuid().replace('-', "");
    let fill = Fill { facts, channel, host, profile, listen, tag: rng.word(8), branch: rng.word(12), hex };
    let mut vars = Vars::default();
    fill.add(INBOUND_HEAD, &mut vars);
    if facts.phone.is_some() {
        fill.add(AUTHENTICATED, &mut vars);
        vars.set("presence_id", format!("{}@{}", facts.number, facts.domain));
    } else {
        vars.set("domain_name", facts.domain);
    }
    fill.add(INBOUND_TAIL, &mut vars);
    for (name, value) in extra {
        vars.set(name.clone(), value.clone());
    }
    (fill.channel, vars)
}

/// One half of a loopback channel: its channel name and its variables.
pub(crate) fn half(facts: &Facts<'_>, inbound: bool, extra: &[(String, String)]) -> (String, Vars) {
    let (side, direction) = if inbound { ("b", "inbound") } else { ("a", "outbound") };
    let channel = format!("loopback/{}-{side}", facts.destination);
    let mut vars = Vars::default();
    vars.set("direction", direction);
    vars.set("uuid", facts.uuid);
    vars.set("session_id", facts.session.to_string());
    vars.set("channel_name", channel.as_str());
    vars.set("is_loopback", "true");
    vars.set("loopback_leg", side.to_ascii_uppercase());
    vars.set("max_forwards", "70");
    for (name, value) in extra {
        vars.set(name.clone(), value.clone());
    }
    (channel, vars)
}

/// A leg that is rung: its channel name and its variables, including those of `originate`.
pub(crate) fn outbound(facts: &Facts<'_>, rng: &mut Rng, extra: &[(String, String)]) -> (String, Vars) {
    let channel = format!("sofia/internal/{}@127.0.0.1:{}", facts.phone.unwrap_or_default(), facts.port);
    let (tag, branch) = (rng.word(13), rng.word(13));
    let fill = Fill {
        facts,
        channel,
        host: facts.domain,
        profile: "internal",
        listen: "5060",
        tag,
        branch,
        hex: String::new(),
    };
    let mut vars = Vars::default();
    fill.add(OUTBOUND_HEAD, &mut vars);
    for (name, value) in extra {
        vars.set(name.clone(), value.clone());
    }
    fill.add(OUTBOUND_TAIL, &mut vars);
    (fill.channel, vars)
}
