//! The API commands of `api` and `bgapi`.

use crate::cause;
use crate::command::split;
use crate::headers;
use crate::leg::{LegId, State, Waiter};
use crate::party::PhoneState;
use crate::wire;
use crate::world::World;
use std::time::Duration;

/// The version of the captures.
pub(crate) const VERSION: &str = "1.11.2-release+git~20260821T141014Z~cc93a683ca~64bit";

const NO_CHANNEL: &str = "-ERR No such channel!\n";

/// The outcome of a command.
pub(crate) enum Outcome {
    /// Its whole answer.
    Done(String),
    /// The answer comes later, to the given waiter.
    Later,
}

/// `regex m:~TEXT~^(?:PATTERN)$`, for patterns of digits, `\d`, `{n}` and `|`: enough for the number of a queue.
fn regex(arg: &str) -> String {
    let spec = arg.strip_prefix("m:").unwrap_or(arg);
    let delimiter = spec.chars().next().unwrap_or('|');
    let mut parts = spec.trim_start_matches(delimiter).splitn(2, delimiter);
    let (Some(text), Some(pattern)) = (parts.next(), parts.next()) else { return "-ERR\n".into() };
    let pattern = pattern.trim_start_matches("^(?:").trim_end_matches(")$");
    pattern.split('|').any(|one| matches_number(text, one)).to_string()
}

fn matches_number(text: &str, pattern: &str) -> bool {
    let (mut text, mut rest) = (text.chars(), pattern);
    while let Some(first) = rest.chars().next() {
        let any = rest.starts_with("\\d");
        rest = &rest[if any { 2 } else { 1 }..];
        let times =
            rest.strip_prefix('{').and_then(|r| r.split_once('}')).and_then(|(n, r)| Some((n.parse().ok()?, r)));
        let (times, behind): (usize, &str) = times.unwrap_or((1, rest));
        rest = behind;
        if !(0..times).all(|_| text.next().is_some_and(|c| if any { c.is_ascii_digit() } else { c == first })) {
            return false;
        }
    }
    text.next().is_none()
}

impl World {
    pub(crate) fn api(&mut self, name: &str, arg: &str, waiter: Waiter) -> Outcome {
        let done = |text: &str| Outcome::Done(text.to_owned());
        match name {
            "originate" => self.originate(arg, waiter),
            "msleep" => {
                let ms = arg.trim().parse().unwrap_or(0);
                self.after(Duration::from_millis(ms), move |world| match &waiter {
                    Waiter::Api(conn) => world.unblock(*conn, Some("+OK\n")),
                    Waiter::Job(job) => world.job_done(job, "+OK\n"),
                    Waiter::Bridge(_) | Waiter::Nobody => {}
                });
                Outcome::Later
            }
            "sched_api" => {
                let mut words = arg.splitn(3, ' ');
                let seconds = words.next().and_then(|when| when.strip_prefix('+')?.parse().ok());
                let (Some(seconds), Some(_group), Some(command)) = (seconds, words.next(), words.next()) else {
                    return done("-ERR Invalid syntax. USAGE: [+@]<time> <group_name> <command_string>[&]\n");
                };
                let (at, command) =
                    (self.clock.whole_seconds_after(tokio::time::Instant::now(), seconds), command.to_owned());
                self.at(at, move |world| {
                    let (name, arg) = split(&command);
                    let _ = world.api(name, arg, Waiter::Nobody);
                });
                done("+OK Added: 1\n")
            }
            "module_exists" => done("true"),
            "uuid_limit" => self.with_leg(arg, |world, id, rest| {
                world.limit(id, rest);
                "+OK\n".into()
            }),
            "uuid_kill" => self.api_kill(arg),
            "uuid_bridge" => self.api_bridge(arg),
            "uuid_break" => self.with_leg(arg, |world, id, rest| {
                if rest.trim() == "all"
                    && let Some(leg) = world.legs.get_mut(&id)
                {
                    leg.messages.clear();
                }
                world.break_sound(id);
                "+OK\n".into()
            }),
            "uuid_setvar" | "uuid_setvar_multi" => self.api_setvar(name, arg),
            "uuid_getvar" => self.with_leg(arg, |world, id, rest| {
                let value = world.legs.get(&id).and_then(|l| l.vars.get(rest.trim())).unwrap_or("_undef_");
                value.to_owned()
            }),
            "uuid_exists" => done(if self.up_leg(arg.trim()).is_some() { "true" } else { "false" }),
            "uuid_dump" => self.with_leg(arg, |world, id, rest| world.dump(id, rest.trim())),
            "uuid_transfer" => self.with_leg(arg, |world, id, rest| {
                let rest = rest.trim();
                let to = ["-bleg", "-both"].iter().find_map(|flag| rest.strip_prefix(flag)).unwrap_or(rest);
                world.redirect(id, to);
                "+OK\n".into()
            }),
            "uuid_park" => self.with_leg(arg, |world, id, _| {
                if let Some(leg) = world.legs.get_mut(&id) {
                    leg.plan = [("park".to_owned(), String::new())].into();
                }
                world.part(id);
                world.unwind(id);
                if let Some(leg) = world.legs.get_mut(&id) {
                    leg.state = State::Execute;
                    leg.running = State::Execute;
                }
                world.advance(id);
                "+OK\n".into()
            }),
            "uuid_broadcast" => self.with_leg(arg, |world, id, rest| {
                let (path, _) = split(rest.trim());
                let (app, path) = path.split_once("::").unwrap_or(("playback", path));
                let message = crate::leg::Message::Execute {
                    app: app.to_owned(),
                    arg: path.to_owned(),
                    uuid: world.rng.uuid(),
                    locked: false,
                    loops: 1,
                };
                if let Some(leg) = world.legs.get_mut(&id) {
                    leg.messages.push_back(message);
                }
                world.schedule_tick(id);
                "+OK Message sent\n".into()
            }),
            "hupall" => {
                let cause = cause::known(if arg.trim().is_empty() { "MANAGER_REQUEST" } else { split(arg.trim()).0 });
                let all: Vec<LegId> = self.legs.keys().copied().collect();
                for id in all {
                    self.hangup(id, &cause, false);
                }
                Outcome::Done(format!("+OK hangup all channels with cause {cause}\n"))
            }
            "show" => Outcome::Done(self.show(arg)),
            "find_user_xml" => Outcome::Done(self.find_user_xml(arg)),
            "sofia_contact" => Outcome::Done(self.sofia_contact(arg)),
            "user_exists" => {
                let user = arg.split_whitespace().nth(1).unwrap_or_default();
                done(if self.phones.get(user).is_some_and(|p| p.is_known()) { "true" } else { "false" })
            }
            "status" => Outcome::Done(self.status()),
            "version" => {
                Outcome::Done(format!("FreeSWITCH Version {VERSION} (git cc93a68 2026-08-21 14:10:14Z 64bit)\n"))
            }
            "expand" => {
                let text = self.expand(None, arg);
                let (name, arg) = split(&text);
                self.api(name, arg, waiter)
            }
            "eval" => Outcome::Done(self.expand(None, arg)),
            "create_uuid" => Outcome::Done(self.rng.uuid()),
            "strepoch" => Outcome::Done((self.micros() / 1_000_000).to_string()),
            "global_getvar" => Outcome::Done(match arg.trim() {
                "domain" => self.config.domain.clone(),
                "fsq_numbers" if !self.config.numbers.is_empty() => self.config.numbers.clone(),
                _ => "-ERR no reply\n".into(),
            }),
            "regex" => Outcome::Done(regex(arg)),
            "echo" => done(arg),
            "system" | "bg_system" | "lua" => {
                self.note_security(None, &format!("{name} {arg}"), arg);
                done("")
            }
            _ => Outcome::Done(format!("-ERR {name} Command not found!\n")),
        }
    }

    fn with_leg(&mut self, arg: &str, f: impl FnOnce(&mut Self, LegId, &str) -> String) -> Outcome {
        let (uuid, rest) = split(arg.trim());
        let rest = rest.to_owned();
        Outcome::Done(match self.up_leg(uuid) {
            Some(id) => f(self, id, &rest),
            None => NO_CHANNEL.into(),
        })
    }

    fn api_kill(&mut self, arg: &str) -> Outcome {
        self.with_leg(arg, |world, id, rest| {
            let cause = if rest.trim().is_empty() { "NORMAL_CLEARING".into() } else { cause::known(rest) };
            world.hangup(id, &cause, false);
            "+OK\n".into()
        })
    }

    fn api_bridge(&mut self, arg: &str) -> Outcome {
        let mut words = arg.split_whitespace();
        let (Some(a), Some(b)) = (words.next(), words.next()) else {
            return Outcome::Done("-USAGE: <uuid> <other_uuid>\n".into());
        };
        let bridged = match (self.up_leg(a), self.up_leg(b)) {
            (Some(x), Some(y)) => self.order_bridge(x, y),
            _ => false,
        };
        Outcome::Done(if bridged { format!("+OK {b}\n") } else { "-ERR Invalid uuid\n".into() })
    }

    fn api_setvar(&mut self, name: &str, arg: &str) -> Outcome {
        let multi = name == "uuid_setvar_multi";
        self.with_leg(arg, move |world, id, rest| {
            let Some(leg) = world.legs.get_mut(&id) else {
                return NO_CHANNEL.into();
            };
            if multi {
                for pair in rest.split(';') {
                    if let Some((name, value)) = pair.split_once('=') {
                        leg.vars.set(name.trim().to_owned(), value);
                    }
                }
            } else {
                let (name, value) = split(rest.trim_start());
                if name.is_empty() {
                    return "-USAGE: <uuid> <var> [value]\n".into();
                }
                leg.vars.set(name.to_owned(), value);
            }
            "+OK\n".into()
        })
    }

    fn dump(&mut self, id: LegId, format: &str) -> String {
        let mut event = self.event("CHANNEL_DATA");
        let Some(leg) = self.legs.get(&id) else {
            return NO_CHANNEL.into();
        };
        headers::channel(&mut event, leg);
        headers::variables(&mut event, leg);
        if format.eq_ignore_ascii_case("json") {
            return event.json_body();
        }
        let mut out = String::new();
        wire::header_lines(event.headers.iter().map(|(n, v)| (n.as_ref(), v.as_str())), &mut out);
        out.push('\n');
        out
    }

    /// The user, with the variables of its groups and domain.
    fn find_user_xml(&self, arg: &str) -> String {
        let user = arg.split_whitespace().nth(1).unwrap_or_default();
        if self.phones_of(user).next().is_none() && self.phones.get(user).is_none_or(|p| !p.is_known()) {
            return "-ERR can't find user\n".into();
        }
        let variable =
            |(name, value): &(String, String)| format!("<variable name=\"{name}\" value=\"{value}\"></variable>\n");
        let variables: String = self.config.directory.iter().map(variable).collect();
        format!(
            "<user id=\"{user}\">\n<params>\n<param name=\"password\" value=\"secret\"></param>\n</params>\n\
             <variables>\n{variables}</variables>\n</user>\n"
        )
    }

    fn sofia_contact(&self, arg: &str) -> String {
        let user = arg.trim().rsplit('/').next().unwrap_or_default();
        let user = user.split('@').next().unwrap_or_default();
        let contact =
            |phone: &PhoneState| format!("sofia/internal/sip:{user}@127.0.0.1:{}{}", phone.port, phone.contact_params);
        let contacts: Vec<String> = self.phones_of(user).map(|(_, phone)| contact(phone)).collect();
        if contacts.is_empty() { "error/user_not_registered".into() } else { contacts.join(",") }
    }

    fn status(&self) -> String {
        let up = self.clock.elapsed();
        format!(
            "UP 0 years, {} days, {} hours, {} minutes, {} seconds, {} milliseconds, 0 microseconds\n\
             FreeSWITCH (Version {VERSION}) is ready\n\
             {} session(s) since startup\n\
             {} session(s) - peak {}, last 5min {} \n\
             0 session(s) per Sec out of max {}, peak 4, last 5min 2 \n\
             20000 session(s) max\n\
             min idle cpu 0.00/81.00\n\
             Current Stack Size/Max 240K/8192K\n",
            up.as_secs() / 86_400,
            up.as_secs() / 3600 % 24,
            up.as_secs() / 60 % 60,
            up.as_secs() % 60,
            up.subsec_millis(),
            self.sessions,
            self.legs.len(),
            self.stats.peak_legs,
            self.stats.peak_legs,
            self.config.sessions_per_second,
        )
    }
}
