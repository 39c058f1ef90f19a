//! `${...}` in applications and commands, and the record of text that was executed.

use crate::leg::LegId;
use crate::observe::SecurityRecord;
use crate::world::World;

impl World {
    /// Replaces `${variable}` by its value, and notes every `${api(...)}` as executed, as FreeSWITCH executes it. A
    /// controller's own command (`id` is none) may look up and compare values, which is harmless.
    pub(crate) fn expand(&mut self, id: Option<LegId>, text: &str) -> String {
        if !text.contains("${") {
            return text.to_owned();
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            out.push_str(&rest[..at]);
            let inside = &rest[at + 2..];
            let Some(end) = closing(inside) else {
                out.push_str(&rest[at..]);
                return out;
            };
            let name = &inside[..end];
            rest = &inside[end + 1..];
            if let Some((api, arg)) = name.split_once('(').filter(|_| name.ends_with(')')) {
                let arg = self.expand(id, arg.strip_suffix(')').unwrap_or(arg));
                if id.is_some() && self.faults.no_api_expansion {
                    out.push_str("<API Execute Permission Denied>");
                    continue;
                }
                if id.is_some() && is_order_to_ring(api, &arg) {
                    let said = self.job_of_a_channel(&arg);
                    out.push_str(&said);
                    continue;
                }
                if id.is_some() || !matches!(api, "cond" | "uuid_getvar") {
                    self.note_security(id, &format!("{api} {arg}"), text);
                }
                out.push_str(&self.harmless_api(api, &arg));
            } else {
                let value = match id.and_then(|id| self.legs.get(&id)) {
                    Some(leg) if name == "profile_created_time" => leg.times.profile.to_string(),
                    Some(leg) => leg.vars.get(name).unwrap_or_default().to_owned(),
                    None if name == "domain" => self.config.domain.clone(),
                    None => String::new(),
                };
                out.push_str(&value);
            }
        }
        out.push_str(rest);
        out
    }

    /// The few API calls whose result a dialplan needs; all others are only noted.
    fn harmless_api(&mut self, api: &str, arg: &str) -> String {
        match api {
            "create_uuid" => self.rng.uuid(),
            "strepoch" => (self.micros() / 1_000_000).to_string(),
            "cond" => cond(arg).to_owned(),
            "uuid_getvar" => {
                let (uuid, name) = crate::command::split(arg.trim());
                match self.up_leg(uuid).and_then(|id| self.legs.get(&id)) {
                    Some(leg) => leg.vars.get(name.trim()).unwrap_or("_undef_").to_owned(),
                    None => "-ERR No such channel!\n".to_owned(),
                }
            }
            "user_exists" => arg
                .split_whitespace()
                .nth(1)
                .is_some_and(|user| self.phones.get(user).is_some_and(|p| p.is_known()))
                .to_string(),
            _ => String::new(),
        }
    }

    pub(crate) fn note_security(&mut self, id: Option<LegId>, executed: &str, text: &str) {
        let leg = id.and_then(|id| self.legs.get(&id)).map(|l| l.uuid.clone());
        self.security.push(SecurityRecord {
            at: self.clock.elapsed(),
            leg,
            executed: executed.to_owned(),
            text: text.to_owned(),
        });
    }
}

/// `bgapi(uuid:U originate {origination_uuid=U,...`: a controller's own `originate`.
fn is_order_to_ring(api: &str, arg: &str) -> bool {
    let parts = || {
        let (job, command) = arg.strip_prefix("uuid:")?.split_once(' ')?;
        Some((job, command.strip_prefix("originate {origination_uuid=")?.split_once(',')?.0))
    };
    api == "bgapi" && parts().is_some_and(|(job, leg)| job == leg)
}

/// `A == B ? X : Y` or `A != B ? X : Y`; anything else is `-ERR`.
fn cond(text: &str) -> &str {
    let parts = || {
        let (test, then) = text.split_once('?')?;
        let (yes, no) = then.split_once(':')?;
        let (holds, (a, b)) = match test.split_once("==") {
            Some(sides) => (true, sides),
            None => (false, test.split_once("!=")?),
        };
        Some(if (a.trim() == b.trim()) == holds { yes.trim() } else { no.trim() })
    };
    parts().unwrap_or("-ERR")
}

/// The closing brace, counting nested ones.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 1usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}
