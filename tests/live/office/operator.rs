//! The actions of operators and machines: commands to FreeSWITCH, new files, restarts, deaths.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::QUEUES;
use super::day::{Act, Day};
use super::people::{LINES, STAFF};
use crate::switch::DOMAIN;

impl Day<'_> {
    fn channels(&self) -> Vec<Value> {
        let shown = self.lab.switch.api("show channels as json");
        let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
        shown["rows"].as_array().cloned().unwrap_or_default()
    }

    /// The user of a channel, as far as its variables show.
    fn people(row: &Value) -> Vec<String> {
        let named = ["cid_num", "dest", "callee_num", "initial_cid_num", "initial_dest"];
        let people = named.iter().filter_map(|name| row[*name].as_str());
        people.filter(|who| who.starts_with("079") || STAFF.contains(who)).map(str::to_owned).collect()
    }

    /// An operator runs a command on a channel.
    pub(super) fn operate(&mut self) {
        // Breaking a loopback would separate its two ends, which looks like a fault at a phone, so it is left out.
        let mut rows = self.channels();
        rows.retain(|row| !row["name"].as_str().unwrap_or_default().starts_with("loopback/"));
        if rows.is_empty() {
            return;
        }
        let row = self.dice.pick(&rows).clone();
        let other = self.dice.pick(&rows).clone();
        let uuid = row["uuid"].as_str().unwrap_or_default().to_owned();
        let inbound = row["direction"] == "inbound";
        let number = row["cid_num"].as_str().unwrap_or_default().to_owned();
        let (command, to) = match self.dice.below(12) {
            0..=1 => (format!("uuid_kill {uuid}"), None),
            2 => (format!("uuid_kill {uuid} USER_BUSY"), None),
            3..=5 if inbound => {
                let to = if self.dice.once_in(3) { "9000" } else { self.dice.pick(&LINES) };
                (format!("uuid_transfer {uuid} {to}"), Some(to))
            }
            6 => (format!("uuid_transfer {uuid} 9000"), Some("9000")),
            7 => (format!("uuid_break {uuid} all"), Some("")),
            8 => (format!("uuid_park {uuid}"), Some("9000")),
            9 if row["uuid"] != other["uuid"] => {
                (format!("uuid_bridge {uuid} {}", other["uuid"].as_str().unwrap_or_default()), Some("9000"))
            }
            _ => return,
        };
        let mut people = Self::people(&row);
        if command.starts_with("uuid_bridge") {
            people.extend(Self::people(&other));
        }
        let calls = self.calls();
        self.tell(format!("the operator: {command} ({}, of {people:?})", row["name"].as_str().unwrap_or_default()));
        // `uuid_break` ends no call and no wait.
        if to != Some("") {
            self.watch.reason(Instant::now(), people.clone(), &calls);
        }
        match to {
            Some("") => {}
            Some(to) if command.starts_with("uuid_transfer") && inbound => self.watch.sent(&number, to),
            _ => people.iter().for_each(|who| self.watch.in_line(who, false)),
        }
        let said = self.lab.switch.api(&command);
        self.tell(format!("FreeSWITCH answers the operator {said:?}"));
        if to != Some("") {
            self.watch.reason(Instant::now(), people, &calls);
        }
    }

    /// A colleague takes the caller for whom a phone rings, with an `intercept` of the caller's channel.
    pub(super) fn pick_up(&mut self) {
        let status = self.lab.daemon().status();
        let who = *self.dice.pick(&STAFF);
        let queues = status["queues"].as_array().cloned().unwrap_or_default();
        let waiting = queues.iter().filter_map(|queue| queue["waiting"].as_array()).flatten();
        let ids: Vec<String> = waiting.filter_map(|call| call["call"].as_str()).map(str::to_owned).collect();
        if ids.is_empty() || !self.idle(who) {
            return;
        }
        let id = self.dice.pick(&ids).clone();
        let row = self.channels().into_iter().find(|row| row["uuid"] == id.as_str()).unwrap_or_default();
        let mut people = Self::people(&row);
        people.push(who.to_owned());
        let calls = self.calls();
        self.watch.reason(Instant::now(), people.clone(), &calls);
        people.iter().for_each(|who| self.watch.in_line(who, false));
        self.tell(format!("{who} picks up {people:?} ({id})"));
        let call = self.phones.call_from(who, DOMAIN, &format!("*8{id}"));
        self.plan(call, Duration::from_secs(6), Act::HangUp);
    }

    /// Reloads the same file, or one with another music for a queue.
    pub(super) fn reload(&mut self) {
        let queues = if self.dice.once_in(2) {
            QUEUES.to_owned()
        } else {
            QUEUES.replace("wrap_up_seconds: 1", "wrap_up_seconds: 2")
        };
        self.tell("the file is reloaded".to_owned());
        let done = self.lab.daemon().reload(&self.lab.switch, &queues);
        if !done.status.success() {
            self.find(format!("a good file was refused: {}", String::from_utf8_lossy(&done.stderr)), &[]);
        }
    }

    /// Restarts a profile, which ends all its calls.
    pub(super) fn restart_profile(&mut self) {
        if !self.dice.once_in(3) {
            return;
        }
        let profile = *self.dice.pick(&["internal", "trunk"]);
        self.tell(format!("the profile {profile} restarts"));
        self.watch.reason_for_all(Instant::now());
        self.lab.switch.api(&format!("sofia profile {profile} restart"));
        self.watch.reason_for_all(Instant::now());
        self.rest(Duration::from_secs(2));
        self.watch.reason_for_all(Instant::now());
    }

    /// `kill -9`, and a new start a moment later.
    pub(super) fn die(&mut self) {
        self.tell("the daemon is killed".to_owned());
        self.lab.daemon_mut().kill();
        let pause = self.dice.ms(50, 2500);
        self.rest(pause);
        self.watch.line.death();
        self.lab.serve_again();
        self.facts = 0;
        self.tell("the daemon is back".to_owned());
    }
}
