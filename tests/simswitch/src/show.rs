//! `show channels|calls|detailed_bridged_calls|registrations [count] [as json]`: a table that lags behind the events.

use crate::clock;
use crate::leg::{Bridge, Direction, Leg, LegId, Side};
use crate::party::{Registration, account};
use crate::wire;
use crate::world::World;
use std::collections::{BTreeMap, VecDeque};
use tokio::time::Instant;

/// Ended channels and calls that are still listed.
#[derive(Debug, Default)]
pub(crate) struct Table {
    legs: VecDeque<(Instant, LegId, Leg)>,
    /// Channels that were connected, the originator first.
    pairs: VecDeque<(Instant, LegId, LegId)>,
}

impl Table {
    fn forget(&mut self, now: Instant) {
        while self.legs.front().is_some_and(|(until, ..)| *until <= now) {
            self.legs.pop_front();
        }
        while self.pairs.front().is_some_and(|(until, ..)| *until <= now) {
            self.pairs.pop_front();
        }
    }
}

type Row = Vec<(String, String)>;

fn json(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "{\"row_count\":0}".into();
    }
    let rows: Vec<String> =
        rows.iter().map(|row| wire::json_object(row.iter().map(|(n, v)| (n.as_str(), v.as_str())))).collect();
    format!("{{\"row_count\":{},\"rows\":[{}]}}", rows.len(), rows.join(","))
}

fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    if let Some(first) = rows.first() {
        out.push_str(&first.iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>().join(","));
        out.push('\n');
        for row in rows {
            out.push_str(&row.iter().map(|(_, v)| v.as_str()).collect::<Vec<_>>().join(","));
            out.push('\n');
        }
    }
    out.push_str(&format!("\n{} total.\n", rows.len()));
    out
}

/// The columns of one channel; `detailed` adds those that only `show channels` and `detailed_...` have.
fn columns(leg: &Leg, prefix: &str, detailed: bool) -> Row {
    let p = &leg.profile;
    let direction = if leg.direction == Direction::Inbound { "inbound" } else { "outbound" };
    let codec = if leg.codec { ("PCMU", "8000", "64000") } else { ("", "", "") };
    let (app, data) = leg.stack.last().map_or(("", ""), |f| (f.app.as_str(), f.data.as_str()));
    let mut row = Row::new();
    let mut push = |name: &str, value: &str| row.push((format!("{prefix}{name}"), value.to_owned()));
    push("uuid", &leg.uuid);
    push("direction", direction);
    push("created", &clock::stamp(leg.times.created));
    push("created_epoch", &(leg.times.created / 1_000_000).to_string());
    push("name", &leg.name);
    push("state", leg.running.name());
    push("cid_name", &p.name);
    push("cid_num", &p.number);
    push("ip_addr", &p.addr);
    push("dest", &p.destination);
    if detailed {
        push("application", app);
        push("application_data", data);
        push("dialplan", "XML");
        push("context", &p.context);
        for side in ["read", "write"] {
            push(&format!("{side}_codec"), codec.0);
            push(&format!("{side}_rate"), codec.1);
            push(&format!("{side}_bit_rate"), codec.2);
        }
        push("secure", "");
        if !prefix.is_empty() || detailed {
            push("hostname", "vm");
        }
    }
    push("presence_id", leg.vars.get("presence_id").unwrap_or_default());
    push("presence_data", "");
    push("accountcode", "");
    push("callstate", leg.call_state);
    push("callee_name", &p.callee_name);
    push("callee_num", &p.callee_number);
    push("callee_direction", if leg.is_answered() { "SEND" } else { "" });
    if detailed || prefix.is_empty() {
        push("call_uuid", &leg.call_uuid);
    }
    if !detailed && prefix.is_empty() {
        push("hostname", "vm");
    }
    push("sent_callee_name", &p.callee_name);
    push("sent_callee_num", &p.callee_number);
    row
}

impl World {
    pub(crate) fn show(&self, arg: &str) -> String {
        if self.faults.no_sql {
            return "-ERR SQL disabled, no data available!\n".into();
        }
        let mut words = arg.split_whitespace();
        let what = words.next().unwrap_or_default();
        let as_json = arg.ends_with("as json");
        let rows = match what {
            "channels" => self.channel_rows(),
            "calls" => self.call_rows(false, false),
            "bridged_calls" => self.call_rows(false, true),
            "detailed_calls" => self.call_rows(true, false),
            "detailed_bridged_calls" => self.call_rows(true, true),
            "registrations" => self.registration_rows(),
            _ => return "-USAGE: show codec|endpoint|application|api|dialplan|file|timer|calls [count]|channels [count]\n".into(),
        };
        if words.next() == Some("count") {
            let total = rows.len();
            return if as_json { format!("{{\"row_count\":{total}}}") } else { format!("\n{total} total.\n") };
        }
        if as_json { json(&rows) } else { text(&rows) }
    }

    /// A channel that has ended stays in the table for a while.
    pub(crate) fn list_longer(&mut self, id: LegId, leg: Leg) {
        let now = Instant::now();
        self.table.forget(now);
        if !self.config.timing.table.is_zero() {
            self.table.legs.push_back((now + self.config.timing.table, id, leg));
        }
    }

    /// Two legs that are no longer connected stay connected in the table for a while.
    pub(crate) fn list_pair_longer(&mut self, id: LegId, bridge: Bridge) {
        let (a, b) = if bridge.side == Side::A { (id, bridge.peer) } else { (bridge.peer, id) };
        self.table.pairs.push_back((Instant::now() + self.config.timing.table, a, b));
    }

    /// Whether an event at `micros` is in the table by now.
    fn is_listed(&self, micros: u64) -> bool {
        let behind = u64::try_from(self.config.timing.table.as_micros()).unwrap_or(u64::MAX);
        micros.saturating_add(behind) <= self.micros()
    }

    /// The channels in the table, including those that have just ended.
    fn listed(&self) -> impl Iterator<Item = (LegId, &Leg)> {
        let now = Instant::now();
        let gone = self.table.legs.iter().filter(move |(until, ..)| *until > now).map(|(_, id, leg)| (*id, leg));
        self.legs.iter().map(|(id, leg)| (*id, leg)).chain(gone).filter(|(_, leg)| self.is_listed(leg.times.created))
    }

    fn channel_rows(&self) -> Vec<Row> {
        self.listed()
            .map(|(_, leg)| {
                let mut row = columns(leg, "", true);
                let p = &leg.profile;
                for (name, value) in [
                    ("initial_cid_name", p.orig_name.as_str()),
                    ("initial_cid_num", p.orig_number.as_str()),
                    ("initial_ip_addr", p.addr.as_str()),
                    ("initial_dest", p.destination.as_str()),
                    ("initial_dialplan", "XML"),
                    ("initial_context", "default"),
                ] {
                    row.push((name.into(), value.into()));
                }
                row
            })
            .collect()
    }

    /// The channel this one is connected to, as the table has it, and whether this one is the originator.
    fn listed_peer(&self, id: LegId, leg: &Leg) -> Option<(LegId, Side)> {
        let now = Instant::now();
        let bridge = leg.bridge.filter(|b| b.up && self.is_listed(leg.times.bridged)).map(|b| (b.peer, b.side));
        bridge.or_else(|| {
            let (_, a, b) = self.table.pairs.iter().find(|(until, a, b)| *until > now && [*a, *b].contains(&id))?;
            Some(if *a == id { (*b, Side::A) } else { (*a, Side::B) })
        })
    }

    /// Calls: bridged pairs as one row, and (`show calls`) legs alone.
    fn call_rows(&self, detailed: bool, bridged_only: bool) -> Vec<Row> {
        let listed: BTreeMap<LegId, &Leg> = self.listed().collect();
        let mut rows = Vec::new();
        for (id, leg) in &listed {
            match self.listed_peer(*id, leg) {
                Some((peer, Side::A)) => {
                    let mut row = columns(leg, "", detailed);
                    if let Some(peer) = listed.get(&peer) {
                        row.extend(columns(peer, "b_", detailed));
                    }
                    row.push(("call_created_epoch".into(), (leg.times.created / 1_000_000).to_string()));
                    rows.push(row);
                }
                None if !bridged_only => {
                    let mut row = columns(leg, "", detailed);
                    row.extend(columns(leg, "b_", detailed).into_iter().map(|(name, _)| (name, String::new())));
                    row.push(("call_created_epoch".into(), String::new()));
                    rows.push(row);
                }
                _ => {}
            }
        }
        rows
    }

    fn registration_rows(&self) -> Vec<Row> {
        self.phones
            .iter()
            .filter(|(_, phone)| phone.registration == Registration::Registered)
            .map(|(number, phone)| {
                let number = account(number);
                [
                    ("reg_user", number.to_owned()),
                    ("realm", self.config.domain.clone()),
                    ("token", phone.call_id.clone()),
                    ("url", format!("sofia/internal/sip:{number}@127.0.0.1:{}", phone.port)),
                    ("expires", (phone.registered_at / 1_000_000 + 3660).to_string()),
                    ("network_ip", "127.0.0.1".into()),
                    ("network_port", phone.port.to_string()),
                    ("network_proto", "udp".into()),
                    ("hostname", "vm".into()),
                    ("metadata", String::new()),
                ]
                .into_iter()
                .map(|(n, v)| (n.to_owned(), v))
                .collect()
            })
            .collect()
    }
}
