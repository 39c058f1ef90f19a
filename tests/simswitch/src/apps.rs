//! The applications.

use crate::config::Length;
use crate::conn::Phase;
use crate::exec::Ran;
use crate::leg::{ConnId, Frame, LegId, State, Work};
use crate::world::World;
use std::time::Duration;
use tokio::time::Instant;

impl World {
    pub(crate) fn run(&mut self, id: LegId, app: &str, data: &str, loops: u32) -> Ran {
        match app {
            "set" | "export" | "set_global" => self.app_set(id, data),
            "set_profile_var" => {
                let profile = self.legs.get_mut(&id).map(|leg| &mut leg.profile);
                if let (Some(profile), Some((name, value))) = (profile, data.split_once('=')) {
                    match name {
                        "caller_id_name" => value.clone_into(&mut profile.name),
                        "caller_id_number" => value.clone_into(&mut profile.number),
                        _ => {}
                    }
                }
                Ran::Done(None)
            }
            "unset" => {
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.vars.remove(data.trim());
                }
                Ran::Done(None)
            }
            "multiunset" => {
                if let Some(leg) = self.legs.get_mut(&id) {
                    data.split_whitespace().for_each(|name| leg.vars.remove(name));
                }
                Ran::Done(None)
            }
            "multiset" => {
                let separator = data.strip_prefix("^^").and_then(|rest| rest.chars().next());
                let pairs = separator.map_or(data, |s| &data[2 + s.len_utf8()..]);
                for pair in pairs.split(separator.unwrap_or(' ')).filter(|pair| !pair.is_empty()) {
                    self.app_set(id, pair);
                }
                Ran::Done(None)
            }
            "answer" if self.legs.get(&id).is_some_and(|l| l.is_answered()) => Ran::Done(None),
            "answer" => Ran::Running(Work::Answering),
            "pre_answer" => {
                self.mark_early(id);
                Ran::Done(None)
            }
            "ring_ready" => {
                let micros = self.micros();
                if let Some(leg) = self.legs.get_mut(&id)
                    && leg.times.progress == 0
                {
                    leg.times.progress = micros;
                    self.fire_leg(id, "CHANNEL_PROGRESS", true, &[]);
                }
                Ran::Done(None)
            }
            "playback" | "endless_playback" | "gentones" => self.app_playback(id, app, data, loops),
            "sleep" => Ran::Running(Work::Sleep),
            "hangup" => {
                let cause = if data.is_empty() { "NORMAL_CLEARING".into() } else { crate::cause::known(data) };
                self.hangup(id, &cause, false);
                Ran::Done(None)
            }
            "transfer" => {
                self.redirect(id, data);
                Ran::Done(None)
            }
            "park" => {
                self.app_park(id);
                Ran::Running(Work::Park)
            }
            "intercept" => {
                self.intercept(id, data.trim());
                Ran::Done(None)
            }
            "limit" => {
                self.limit(id, data);
                Ran::Done(None)
            }
            "bridge" => self.app_bridge(id, data),
            "socket" => self.app_socket(id, data),
            "log" | "info" | "event" | "presence" | "sched_hangup" | "break" => Ran::Done(None),
            _ => {
                // FreeSWITCH hangs the call up on an application it does not know.
                self.hangup(id, "DESTINATION_OUT_OF_ORDER", false);
                Ran::Done(None)
            }
        }
    }

    /// `limit hash REALM ID MAX !CAUSE`: a leg takes one of the places until it hangs up; when none is left, the leg is
    /// hung up with the cause.
    pub(crate) fn limit(&mut self, id: LegId, data: &str) {
        let words: Vec<&str> = data.split_whitespace().collect();
        let (Some(realm), Some(name)) = (words.get(1), words.get(2)) else { return };
        let most = words.get(3).and_then(|max| max.parse().ok()).unwrap_or(usize::MAX);
        if self.limits.len() > 1000 {
            let legs = &self.legs;
            self.limits.retain(|_, taken| taken.iter().any(|leg| legs.contains_key(leg)));
        }
        let key = format!("{realm}_{name}");
        let taken = self.limits.entry(key).or_default();
        taken.retain(|leg| self.legs.get(leg).is_some_and(|l| l.is_up()));
        if taken.len() < most {
            taken.push(id);
        } else {
            let cause = words.get(4).and_then(|w| w.strip_prefix('!')).unwrap_or("NORMAL_CLEARING");
            let cause = crate::cause::known(cause);
            self.hangup(id, &cause, false);
        }
    }

    fn app_set(&mut self, id: LegId, data: &str) -> Ran {
        let Some((name, value)) = data.split_once('=') else {
            return Ran::Done(None);
        };
        // `set` expands its value a second time: escaping does not protect against a caller's text.
        let value = self.expand(Some(id), value);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.vars.set(name.trim().to_owned(), if value == "_undef_" { String::new() } else { value });
        }
        Ran::Done(None)
    }

    fn app_park(&mut self, id: LegId) {
        self.fire_leg(id, "CHANNEL_PARK", true, &[]);
        let timeout = self.legs.get(&id).and_then(|l| l.vars.get("park_timeout")).map(str::to_owned);
        let Some(timeout) = timeout else { return };
        let (seconds, cause) = timeout.split_once(':').unwrap_or((&timeout, "NORMAL_CLEARING"));
        let cause = crate::cause::known(cause);
        let Some(routed) = self.legs.get(&id).map(|l| l.routed) else {
            return;
        };
        if let Ok(seconds) = seconds.trim().parse() {
            self.after(Duration::from_secs(seconds), move |world| {
                let parked = world.legs.get(&id).is_some_and(|l| {
                    l.routed == routed && matches!(l.stack.last(), Some(Frame { work: Work::Park, .. }))
                });
                if parked {
                    world.hangup(id, &cause, false);
                }
            });
        }
    }

    fn app_playback(&mut self, id: LegId, app: &str, data: &str, loops: u32) -> Ran {
        let Some(leg) = self.legs.get(&id) else {
            return Ran::Done(None);
        };
        if !leg.has_media() {
            self.mark_early(id);
        }
        let length = match self.length(data) {
            Length::For(_) if app == "endless_playback" || loops == u32::MAX => Length::Endless,
            length => length,
        };
        let left = match length {
            Length::Missing => return Ran::Done(Some("FILE NOT FOUND")),
            Length::Endless => None,
            Length::For(length) => Some(length * loops.max(1)),
        };
        Ran::Running(Work::Sound { file: data.to_owned(), left, position: Duration::ZERO, since: None })
    }

    /// How long a sound lasts.
    fn length(&self, name: &str) -> Length {
        if let Some(length) = self.config.lengths.as_ref().and_then(|f| f(name)) {
            return length;
        }
        let bare = match name.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((_, rest)) => rest,
            None => name,
        };
        if let Some(list) = bare.strip_prefix("file_string://") {
            let mut sum = Duration::ZERO;
            let mut any = false;
            for part in list.split('!').filter(|p| !p.is_empty()) {
                match self.length(part) {
                    Length::Endless => return Length::Endless,
                    Length::Missing => {}
                    Length::For(length) => {
                        any = true;
                        sum += length;
                    }
                }
            }
            return if any { Length::For(sum) } else { Length::Missing };
        }
        if let Some(ms) = bare.strip_prefix("silence_stream://") {
            let ms: i64 = ms.split(',').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            return u64::try_from(ms).map_or(Length::Endless, |ms| Length::For(Duration::from_millis(ms)));
        }
        if let Some(tones) = bare.strip_prefix("tone_stream://") {
            return tone_length(tones);
        }
        if bare.contains("://") {
            return Length::Endless;
        }
        if bare.is_empty() { Length::Missing } else { Length::For(Duration::from_secs(2)) }
    }

    /// `socket HOST:PORT[|HOST:PORT...] [async] [full]`.
    fn app_socket(&mut self, id: LegId, data: &str) -> Ran {
        let mut words = data.split_whitespace();
        let hosts: Vec<String> = words.next().unwrap_or_default().split('|').map(str::to_owned).collect();
        let full = words.any(|w| w == "full");
        let frame = self.next_frame(id);
        let Some(leg) = self.legs.get_mut(&id) else {
            return Ran::Done(None);
        };
        leg.frame_base = frame;
        leg.stranded = false;
        let (host, path) = hosts.first().map_or(("", None), |h| match h.split_once('/') {
            Some((host, path)) => (host, Some(path)),
            None => (h.as_str(), None),
        });
        leg.vars.set("socket_host", host.split(':').next().unwrap_or_default());
        if let Some(path) = path {
            leg.vars.set("socket_path", path);
        }
        let Some(connector) = self.connector.clone().filter(|_| !self.faults.controller_away) else {
            return Ran::Done(None);
        };
        // Held as unattended until a connection takes it, so that no other action runs in between.
        leg.stranded = true;
        leg.routed += 1;
        let routed = leg.routed;
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let mut stream = None;
            for host in hosts {
                let target = host.split('/').next().unwrap_or_default().to_owned();
                if let Ok(Ok(open)) = tokio::time::timeout(Duration::from_secs(5), connector.connect(target)).await {
                    stream = Some(open);
                    break;
                }
            }
            if let Some(shared) = shared.upgrade() {
                shared.change(|world| {
                    let waiting = world.legs.get(&id).is_some_and(|l| l.routed == routed && l.is_up());
                    match stream {
                        Some(stream) if waiting => world.socket_open(id, stream, full),
                        None if waiting => {
                            if let Some(leg) = world.legs.get_mut(&id) {
                                leg.stranded = false;
                            }
                            world.finish_top(id, None);
                        }
                        _ => {}
                    }
                });
            }
        });
        Ran::Running(Work::Socket { parked: false })
    }

    fn socket_open(&mut self, id: LegId, stream: Box<dyn crate::conn::Stream>, full: bool) {
        let conn = self.open_conn(stream, Some(id), full);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.conn = Some(conn);
        }
        self.stats.sockets += 1;
        let wait = self.config.timing.connect;
        self.after(wait, move |world| {
            if world.conns.get(&conn).is_some_and(|c| c.phase == Phase::Fresh) {
                world.end_conn(conn);
            }
        });
    }

    /// `connect`: the whole channel, as one reply without a content length.
    pub(crate) fn answer_connect(&mut self, id: ConnId) {
        let Some(leg_id) = self.conns.get(&id).and_then(|c| c.leg).filter(|l| self.legs.contains_key(l)) else {
            return self.say(id, "-ERR command not found");
        };
        let mut event = self.event("CHANNEL_DATA");
        let Some(leg) = self.legs.get(&leg_id) else { return };
        crate::headers::profile(&mut event, "Channel", "inbound", leg);
        crate::headers::channel(&mut event, leg);
        crate::headers::variables(&mut event, leg);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        event.push("Content-Type", "command/reply");
        event.push("Reply-Text", "+OK\n");
        event.push("Socket-Mode", "async");
        event.push("Control", if conn.full { "full" } else { "single-channel" });
        crate::wire::header_lines(event.headers.iter().map(|(n, v)| (n.as_ref(), v.as_str())), &mut conn.out);
        conn.out.push('\n');
        if conn.phase == Phase::Fresh {
            conn.phase = Phase::Connected;
        }
    }

    /// The call is parked under its connection and from now on accepts commands.
    pub(crate) fn park_connected(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.phase = Phase::Serving;
        let Some(leg_id) = conn.leg else { return };
        if let Some(leg) = self.legs.get_mut(&leg_id) {
            leg.stranded = false;
            leg.frame_base = Instant::now();
            for frame in &mut leg.stack {
                if let Work::Socket { parked } = &mut frame.work {
                    *parked = true;
                }
            }
        }
        self.fire_leg(leg_id, "CHANNEL_PARK", true, &[]);
        if self.legs.get(&leg_id).is_some_and(|l| !l.messages.is_empty()) {
            self.schedule_tick(leg_id);
        }
    }

    /// A connection of the call has ended: the last of several, or an earlier one.
    pub(crate) fn controller_gone(&mut self, id: LegId, gone: ConnId, before: Phase) {
        let strands = self.config.early_close_strands;
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.conn.is_some_and(|conn| conn != gone) {
            return self.earlier_controller_gone(id);
        }
        let unparked = matches!(before, Phase::Fresh | Phase::Connected);
        let conn = leg.conn.take();
        let in_socket = leg.stack.iter().any(|f| matches!(f.work, Work::Socket { .. }));
        let resume = leg.vars.is_true("socket_resume");
        let at_once = |c: &crate::conn::Conn| c.opened.elapsed() < Duration::from_millis(2);
        let early = unparked || conn.and_then(|c| self.conns.get(&c)).is_some_and(at_once);
        let hangs_up = leg.messages.iter().any(|m| matches!(m, crate::leg::Message::Hangup { .. }));
        if early && in_socket && strands && !hangs_up {
            leg.stranded = true;
            self.note_stranded(id);
            return;
        }
        leg.stranded = false;
        // A transfer under way continues without the controller.
        if (!resume && !in_socket) || leg.state == State::Routing {
            return;
        }
        leg.routed += 1;
        let routed = leg.routed;
        self.after(Duration::from_millis(1), move |world| {
            let Some(leg) = world.legs.get_mut(&id) else { return };
            if !leg.is_up() || leg.routed != routed {
                return;
            }
            if !resume {
                // The running application continues to its end, then the dialplan after `socket`.
                if matches!(leg.stack.last(), Some(Frame { work: Work::Socket { .. }, .. })) {
                    world.finish_top(id, None);
                }
            } else if in_socket && leg.bridge.is_none() {
                leg.state = State::Reset;
                world.unwind(id);
                if !world.carry_out_rest(id) {
                    return;
                }
                if let Some(leg) = world.legs.get_mut(&id) {
                    leg.state = State::Execute;
                    leg.running = State::Execute;
                }
                world.advance(id);
            } else if leg.bridge.is_none() {
                world.reset_for_ever(id);
            } else {
                // The channel is reset during a conversation, which ends.
                world.stats.cut_by_reset += 1;
                world.hangup(id, "NORMAL_CLEARING", false);
            }
        });
    }
}

impl World {
    /// A connection of the call has ended that is not its last (read in FreeSWITCH's source, and measured): the flag
    /// that holds a park is cleared, whichever connection parked the call, and with `socket_resume` the channel is
    /// reset. Only a park continues then; any other application is silent for ever.
    fn earlier_controller_gone(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.state == State::Routing || !leg.is_up() {
            return;
        }
        let resume = leg.vars.is_true("socket_resume");
        let socket = leg.stack.iter().find_map(|f| match f.work {
            Work::Socket { parked } => Some(parked),
            _ => None,
        });
        if leg.bridge.is_some() {
            if resume {
                self.stats.cut_by_reset += 1;
                self.hangup(id, "NORMAL_CLEARING", false);
            }
        } else if socket == Some(true) || (socket.is_some() && resume) {
            self.unwind(id);
            if !self.carry_out_rest(id) {
                return;
            }
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.state = State::Execute;
                leg.running = State::Execute;
            }
            self.advance(id);
        } else if resume {
            self.reset_for_ever(id);
        }
    }

    fn reset_for_ever(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.stranded = true;
        leg.state = State::Reset;
        leg.running = State::Reset;
        self.unwind(id);
        self.fire_leg(id, "CHANNEL_STATE", false, &[]);
        self.note_stranded(id);
    }
}

/// `%(on,off,frequencies...)` groups and `loops=N`.
fn tone_length(text: &str) -> Length {
    let mut once = Duration::ZERO;
    let mut loops: i64 = 1;
    for part in text.split(';') {
        if let Some(n) = part.strip_prefix("loops=").or_else(|| part.strip_prefix("L=")) {
            loops = n.trim().parse().unwrap_or(1);
        }
        for group in part.split("%(").skip(1) {
            let group = group.split(')').next().unwrap_or_default();
            for ms in group.split(',').take(2) {
                once += Duration::from_millis(ms.trim().parse().unwrap_or(0));
            }
        }
    }
    u32::try_from(loops).map_or(Length::Endless, |loops| Length::For(once * loops))
}
