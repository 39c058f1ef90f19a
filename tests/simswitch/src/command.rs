//! The commands of the Event Socket, with FreeSWITCH's own replies.

use crate::api::Outcome;
use crate::conn::Phase;
use crate::event::{self, Format};
use crate::leg::{ConnId, Job, Message, Waiter};
use crate::wire::{self, Command};
use crate::world::World;

/// The most queued `sendmsg` a channel holds; one more closes the connection.
const MAX_MESSAGES: usize = 256;

fn starts(line: &str, word: &str) -> bool {
    line.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

impl World {
    pub(crate) fn command(&mut self, id: ConnId, command: &Command) {
        if let Some(delay) = self.faults.reply_delay {
            // The connection's thread is busy: it neither reads nor sends meanwhile.
            self.block(id);
            let command = command.clone();
            self.after(delay, move |world| {
                world.unblock(id, None);
                world.carry_out(id, &command);
                world.work_off(id);
                world.settle(id);
            });
            return;
        }
        self.carry_out(id, command);
    }

    fn carry_out(&mut self, id: ConnId, command: &Command) {
        let line = first_line(&command.line).to_owned();
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let outbound = conn.leg.is_some();
        let lower = command.line.to_ascii_lowercase();
        if lower.contains("mod_event_socket") && (lower.contains("reload") || lower.contains("unload")) {
            self.note_security(None, "reload mod_event_socket", &line);
            return self.say(id, "-ERR command not found");
        }
        if starts(&line, "exit") || starts(&line, "...") {
            conn.out.push_str(&wire::reply("+OK bye"));
            return self.close_conn(id);
        }
        if !conn.authed {
            return self.authenticate(id, &line);
        }
        if outbound && conn.phase == Phase::Fresh && !starts(&line, "connect") {
            // The first command runs, but its reply is never sent, and the call is not taken.
            let keep = conn.out.len();
            self.dispatch(id, command);
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.out.truncate(keep);
            }
            return;
        }
        self.dispatch(id, command);
    }

    fn dispatch(&mut self, id: ConnId, command: &Command) {
        let line = first_line(&command.line);
        let Some(conn) = self.conns.get(&id) else { return };
        let (outbound, full) = (conn.leg.is_some(), conn.full);
        if starts(line, "filter ") {
            let text = self.filter(id, &line[7..]);
            return self.say(id, &text);
        }
        if outbound && starts(line, "resume") {
            self.with_own_leg(id, |leg| leg.vars.set("socket_resume", "true"));
            return self.say(id, "+OK");
        }
        if outbound && starts(line, "connect") {
            return self.answer_connect(id);
        }
        if outbound && starts(line, "getvar") {
            let name = line.split_once(' ').map_or("", |(_, name)| name);
            let value =
                conn.leg.and_then(|l| self.legs.get(&l)).and_then(|l| l.vars.get(name)).unwrap_or("").to_owned();
            // Neither framed nor escaped: a value with line feeds breaks the stream, as in FreeSWITCH.
            let cut = value.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= 511).last();
            let text = value[..cut.unwrap_or(0)].to_owned();
            return self.say(id, if text.is_empty() { "-ERR command not found" } else { &text });
        }
        if starts(line, "myevents") && (outbound || line.len() > 9) {
            let text = self.myevents(id, line);
            return self.say(id, &text);
        }
        if starts(line, "divert_events") {
            let text = match (outbound, line[13..].trim()) {
                (false, _) => "-ERR not controlling a session.",
                (true, "") => "-ERR missing value.",
                (true, on) if on.eq_ignore_ascii_case("on") => "+OK events diverted",
                _ => "+OK events not diverted",
            };
            return self.say(id, text);
        }
        if starts(line, "sendmsg") {
            return self.sendmsg(id, command);
        }
        if outbound && !full {
            return self.say(id, "-ERR command not found");
        }
        self.dispatch_full(id, command);
    }

    fn dispatch_full(&mut self, id: ConnId, command: &Command) {
        let line = first_line(&command.line);
        if starts(line, "sendevent") {
            self.sendevent(id, command);
        } else if starts(line, "api ") {
            self.run_api(id, &line[4..]);
        } else if starts(line, "bgapi ") {
            self.run_bgapi(id, command);
        } else if starts(line, "linger") {
            let text = self.linger(id, line);
            self.say(id, &text);
        } else if starts(line, "nolinger") {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            let text = if conn.leg.is_some() {
                conn.linger = None;
                "+OK will not linger"
            } else {
                "-ERR not controlling a session"
            };
            self.say(id, text);
        } else if starts(line, "nolog") {
            self.say(id, "-ERR not loging");
        } else if starts(line, "log") {
            let level = line[3..].trim().to_owned();
            self.say(id, &format!("+OK log level {level} [7]"));
        } else if starts(line, "event") {
            let text = self.subscribe(id, &line[5..]);
            self.say(id, &text);
        } else if starts(line, "nixevent") {
            let text = self.unsubscribe(id, &line[8..]);
            self.say(id, text);
        } else if starts(line, "noevents") {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            conn.events.clear();
            let text = if conn.listening {
                conn.listening = false;
                conn.all = false;
                conn.types.clear();
                conn.subclasses.clear();
                "+OK no longer listening for events"
            } else {
                "-ERR not listening for events"
            };
            self.reindex(id);
            self.say(id, text);
        } else {
            self.say(id, "-ERR command not found");
        }
    }

    pub(crate) fn say(&mut self, id: ConnId, text: &str) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.out.push_str(&wire::reply(text));
        }
    }

    fn with_own_leg(&mut self, id: ConnId, f: impl FnOnce(&mut crate::leg::Leg)) {
        if let Some(leg) = self.conns.get(&id).and_then(|c| c.leg).and_then(|l| self.legs.get_mut(&l)) {
            f(leg);
        }
    }

    fn authenticate(&mut self, id: ConnId, line: &str) {
        if !starts(line, "auth ") {
            return self.say(id, "-ERR command not found");
        }
        let right = line[5..].trim_end_matches(['\r', '\n']) == self.config.password;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if right {
            conn.authed = true;
            self.say(id, "+OK accepted");
        } else {
            self.say(id, "-ERR invalid");
            self.close_conn(id);
        }
    }

    fn filter(&mut self, id: ConnId, argument: &str) -> String {
        let Some(conn) = self.conns.get_mut(&id) else {
            return String::new();
        };
        let argument = argument.trim_start_matches(' ');
        let (mut name, mut value) = split(argument);
        let text = if name.eq_ignore_ascii_case("delete") && !value.is_empty() {
            (name, value) = split(value);
            if name.eq_ignore_ascii_case("all") {
                conn.filters.clear();
            } else {
                conn.filters.retain(|(n, v)| {
                    !n.eq_ignore_ascii_case(name) || (!value.is_empty() && !v.eq_ignore_ascii_case(value))
                });
            }
            format!("+OK filter deleted. [{name}][{value}]")
        } else if value.is_empty() {
            "-ERR invalid syntax".into()
        } else {
            if name.eq_ignore_ascii_case("add") {
                (name, value) = split(value);
            }
            conn.filters.push((name.to_owned(), value.to_owned()));
            format!("+OK filter added. [{name}]=[{value}]")
        };
        self.reindex(id);
        text
    }

    fn myevents(&mut self, id: ConnId, line: &str) -> String {
        let given = line[8..].split_whitespace().next().unwrap_or_default().to_owned();
        let known = self.by_uuid.contains_key(&given);
        let Some(conn) = self.conns.get_mut(&id) else {
            return String::new();
        };
        if conn.myevents {
            return "-ERR aready enabled.".into();
        }
        if conn.leg.is_none() {
            if !known {
                return "-ERR invalid uuid".into();
            }
            conn.own_uuid = given;
        }
        conn.types.extend(event::MYEVENTS);
        conn.myevents = true;
        conn.listening = true;
        if line.to_ascii_lowercase().contains("json") {
            conn.format = Format::Json;
        }
        self.reindex(id);
        "+OK Events Enabled".into()
    }

    fn linger(&mut self, id: ConnId, line: &str) -> String {
        let Some(conn) = self.conns.get_mut(&id) else {
            return String::new();
        };
        if conn.leg.is_none() {
            return "-ERR not controlling a session".into();
        }
        match line[6..].strip_prefix(' ').filter(|rest| !rest.is_empty()) {
            Some(seconds) => {
                let seconds = seconds.trim().parse().unwrap_or(0);
                conn.linger = Some(Some(seconds));
                format!("+OK will linger {seconds} seconds")
            }
            None => {
                conn.linger = Some(None);
                "+OK will linger".into()
            }
        }
    }

    fn subscribe(&mut self, id: ConnId, argument: &str) -> String {
        let Some(conn) = self.conns.get_mut(&id) else {
            return String::new();
        };
        let mut named = false;
        let mut custom = false;
        for (i, word) in argument.split_whitespace().enumerate() {
            match word.to_ascii_lowercase().as_str() {
                "plain" | "xml" if i == 0 => conn.format = Format::Plain,
                "json" if i == 0 => conn.format = Format::Json,
                _ if custom => {
                    conn.subclasses.insert(word.to_owned());
                }
                _ => {
                    if let Some(name) = event::NAMES.iter().find(|n| n.eq_ignore_ascii_case(word)) {
                        named = true;
                        conn.all |= *name == "ALL";
                        conn.types.insert(name);
                        custom = *name == "CUSTOM";
                    }
                }
            }
        }
        if !named {
            return "-ERR no keywords supplied".into();
        }
        conn.listening = true;
        let format = if conn.format == Format::Json { "json" } else { "plain" };
        self.reindex(id);
        format!("+OK event listener enabled {format}")
    }

    fn unsubscribe(&mut self, id: ConnId, argument: &str) -> &'static str {
        let Some(conn) = self.conns.get_mut(&id) else { return "" };
        let mut named = false;
        let mut custom = false;
        for word in argument.split_whitespace() {
            if custom {
                conn.subclasses.remove(word);
            } else if let Some(name) = event::NAMES.iter().find(|n| n.eq_ignore_ascii_case(word)) {
                named = true;
                match *name {
                    "CUSTOM" => custom = true,
                    "ALL" => {
                        conn.all = false;
                        conn.types.clear();
                    }
                    name => {
                        if std::mem::take(&mut conn.all) {
                            conn.types.extend(event::NAMES);
                            conn.types.remove("ALL");
                        }
                        conn.types.remove(name);
                    }
                }
            }
        }
        self.reindex(id);
        if named { "+OK events nixed" } else { "-ERR no keywords supplied" }
    }

    fn sendmsg(&mut self, id: ConnId, command: &Command) {
        let given = first_line(&command.line)[7..].trim();
        let given = if given.is_empty() { command.get("session-id").unwrap_or("") } else { given };
        let own = self.conns.get(&id).and_then(|c| c.leg).filter(|l| self.legs.contains_key(l));
        let own_uuid = self.conns.get(&id).map(|c| c.own_uuid.clone()).unwrap_or_default();
        let target = if given.is_empty() || given == own_uuid { own } else { self.up_leg(given) };
        let Some(target) = target else {
            return self.say(id, &format!("-ERR invalid session id [{given}]"));
        };
        let message = self.message(command);
        let Some(leg) = self.legs.get_mut(&target) else { return };
        if let Some(message) = message {
            if leg.messages.len() >= MAX_MESSAGES {
                return self.end_conn(id);
            }
            leg.messages.push_back(message);
            self.schedule_tick(target);
        }
        self.say(id, "+OK");
    }

    /// The command in a `sendmsg`; `None` if it is unknown (FreeSWITCH replies `+OK` all the same).
    fn message(&mut self, command: &Command) -> Option<Message> {
        let what = command.get("call-command")?;
        if what.eq_ignore_ascii_case("hangup") {
            let cause = command.get("hangup-cause").unwrap_or("NORMAL_CLEARING");
            return Some(Message::Hangup { cause: crate::cause::known(cause) });
        }
        if !what.eq_ignore_ascii_case("execute") {
            return None;
        }
        let app = command.get("execute-app-name")?.to_owned();
        let arg = match (command.get("execute-app-arg"), &command.body) {
            (_, Some(body)) if command.get("content-type").is_some_and(|t| t.eq_ignore_ascii_case("text/plain")) => {
                body.clone()
            }
            (Some(arg), _) => arg.to_owned(),
            (None, _) => String::new(),
        };
        let uuid = command.get("Event-UUID").map_or_else(|| self.rng.uuid(), str::to_owned);
        let locked = command.get("event-lock").is_some_and(crate::leg::is_true);
        let loops = command.get("loops").and_then(|l| l.parse::<i64>().ok()).unwrap_or(1);
        let loops = u32::try_from(loops).unwrap_or(u32::MAX).max(1);
        Some(Message::Execute { app, arg, uuid, locked, loops })
    }

    fn sendevent(&mut self, id: ConnId, command: &Command) {
        let uuid = self.rng.uuid();
        let name = first_line(&command.line)[9..].trim().to_ascii_uppercase();
        if name == "PRESENCE_IN" {
            self.presence.push(command.headers.clone());
        }
        if let Some(known) = event::NAMES.iter().find(|n| **n == name) {
            let mut event = self.event(known);
            event.subclass = command.get("Event-Subclass").map(str::to_owned);
            for (header, value) in &command.headers {
                event.push(header.clone(), value.clone());
            }
            event.push("Event-UUID", uuid.as_str());
            self.fire(event);
        }
        self.say(id, &format!("+OK {uuid}"));
    }

    fn run_api(&mut self, id: ConnId, line: &str) {
        let (name, arg) = split(line.trim_end_matches(['\r', '\n']));
        match self.api(name, arg, Waiter::Api(id)) {
            Outcome::Done(text) => self.api_answer(id, &text),
            Outcome::Later => self.block(id),
        }
    }

    pub(crate) fn api_answer(&mut self, id: ConnId, text: &str) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.out.push_str(&wire::api_response(text));
        }
    }

    pub(crate) fn block(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.blocked = true;
        }
    }

    /// The `api` that held the connection has ended.
    pub(crate) fn unblock(&mut self, id: ConnId, text: Option<&str>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.blocked = false;
        if let Some(text) = text {
            self.api_answer(id, text);
            self.work_off(id);
            self.settle(id);
        }
    }

    fn run_bgapi(&mut self, id: ConnId, command: &Command) {
        let (name, arg) = split(&first_line(&command.line)[6..]);
        let uuid = match command.get("Job-UUID") {
            Some(chosen) => chosen.chars().take(36).collect(),
            None => self.rng.uuid(),
        };
        let owner = self.conns.get(&id).filter(|c| c.leg.is_some()).map(|c| c.own_uuid.clone());
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.out.push_str(&wire::job_reply(&uuid));
        }
        let job = Job { uuid, owner, command: name.to_owned(), arg: arg.to_owned(), conn: None };
        let swallowed = self.faults.swallow_originates;
        let running = Job { conn: Some(id), ..job.clone() };
        match self.api(name, arg, Waiter::Job(running)) {
            Outcome::Done(text) => self.job_done(&job, &text),
            Outcome::Later if self.faults.swallow_originates == swallowed => {
                *self.jobs.entry(id).or_default() += 1;
            }
            Outcome::Later => {}
        }
    }

    /// `${bgapi(uuid:JOB COMMAND)}`: a job without a connection, so no connection waits for its end (mod_commands.c).
    pub(crate) fn job_of_a_channel(&mut self, argument: &str) -> String {
        let (uuid, text) = split(argument.strip_prefix("uuid:").unwrap_or(argument));
        let (name, arg) = split(text);
        let job = Job { uuid: uuid.into(), owner: None, command: name.into(), arg: arg.into(), conn: None };
        if let Outcome::Done(text) = self.api(name, arg, Waiter::Job(job.clone())) {
            self.job_done(&job, &text);
        }
        format!("+OK Job-UUID: {uuid}\n")
    }

    /// A job of a connection has ended; if that connection ended before, its call is let go now.
    fn job_over(&mut self, conn: ConnId) {
        if let Some(jobs) = self.jobs.get_mut(&conn) {
            *jobs -= 1;
            if *jobs > 0 {
                return;
            }
        }
        self.jobs.remove(&conn);
        if let Some((leg, before)) = self.held_back.remove(&conn) {
            self.controller_gone(leg, conn, before);
        }
    }

    /// Fires the BACKGROUND_JOB of a job that has ended.
    pub(crate) fn job_done(&mut self, job: &Job, text: &str) {
        if let Some(conn) = job.conn {
            self.job_over(conn);
        }
        if self.faults.loses_job(&job.command) {
            return;
        }
        let mut event = self.event("BACKGROUND_JOB");
        event.push("Job-UUID", job.uuid.as_str());
        if let Some(owner) = &job.owner {
            event.push("Job-Owner-UUID", owner.as_str());
        }
        event.push("Job-Command", job.command.as_str());
        if !job.arg.is_empty() {
            event.push("Job-Command-Arg", job.arg.as_str());
        }
        event.body = Some(text.to_owned());
        self.fire(event);
    }
}

/// A command ends at its first line break: text glued to it by a stray carriage return is ignored.
fn first_line(text: &str) -> &str {
    text.split(['\r', '\n']).next().unwrap_or_default()
}

/// The first word and the rest behind one space.
pub(crate) fn split(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}
