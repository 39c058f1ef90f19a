//! Applications on a channel: the stack of running applications, the queued ones, and the dialplan underneath.

use crate::audio::{Segment, Sound};
use crate::leg::{Frame, LegId, Message, State, Work};
use crate::world::World;
use std::time::Duration;
use tokio::time::Instant;

/// How an application started.
pub(crate) enum Ran {
    /// It has already ended; with its response, if it has one.
    Done(Option<&'static str>),
    /// It runs.
    Running(Work),
}

impl World {
    /// Looks at the queued commands at the next media frame.
    pub(crate) fn schedule_tick(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if leg.tick_due {
            return;
        }
        leg.tick_due = true;
        let at = self.next_frame(id);
        self.at(at, move |world| {
            if let Some(leg) = world.legs.get_mut(&id) {
                leg.tick_due = false;
                world.pump(id);
            }
        });
    }

    /// The next media frame of a leg, strictly later than now.
    pub(crate) fn next_frame(&self, id: LegId) -> Instant {
        let now = Instant::now();
        let frame = self.config.timing.frame.max(Duration::from_millis(1));
        let base = self.legs.get(&id).map_or(now, |leg| leg.frame_base);
        let behind = now.saturating_duration_since(base).as_micros();
        let steps = behind / frame.as_micros() + 1;
        base + frame * u32::try_from(steps).unwrap_or(u32::MAX)
    }

    /// Runs queued commands, each nested inside what already runs, until one locks the queue.
    pub(crate) fn pump(&mut self, id: LegId) {
        loop {
            let Some(leg) = self.legs.get_mut(&id) else { return };
            if !leg.is_up() || leg.stranded || !leg.may_execute() || (leg.stack.is_empty() && leg.bridge.is_none()) {
                return;
            }
            let Some(message) = leg.messages.pop_front() else {
                return;
            };
            match message {
                Message::Hangup { cause } => return self.hangup(id, &cause, false),
                Message::Execute { app, arg, uuid, locked, loops } => {
                    leg.vars.set("current_loop", "1");
                    leg.vars.set("total_loops", if loops == u32::MAX { "-1".into() } else { loops.to_string() });
                    self.execute(id, &app, &arg, uuid, locked, loops);
                    if let Some(leg) = self.legs.get_mut(&id)
                        && leg.state == State::Routing
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Runs the commands still queued when a channel leaves its application, because its connection has ended or it is
    /// transferred: FreeSWITCH runs them before the channel continues (`socket_function` in mod_event_socket.c,
    /// `switch_ivr_parse_all_events` in switch_ivr.c), though no sound plays any more. False if one of them sends the
    /// call elsewhere.
    pub(crate) fn carry_out_rest(&mut self, id: LegId) -> bool {
        while let Some(message) = self.legs.get_mut(&id).filter(|l| l.is_up()).and_then(|l| l.messages.pop_front()) {
            match message {
                Message::Hangup { cause } => self.hangup(id, &cause, false),
                Message::Execute { app, arg, uuid, .. }
                    if matches!(
                        app.as_str(),
                        "set" | "set_profile_var" | "multiset" | "unset" | "export" | "transfer" | "hangup"
                    ) =>
                {
                    self.execute(id, &app, &arg, uuid, false, 1);
                }
                Message::Execute { .. } => {}
            }
        }
        self.legs.get(&id).is_some_and(|l| l.is_up() && l.state != State::Routing)
    }

    /// Begins one application.
    pub(crate) fn execute(&mut self, id: LegId, app: &str, arg: &str, uuid: String, locked: bool, loops: u32) {
        let data = self.expand(Some(id), arg);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        leg.vars.remove("current_application_response");
        leg.vars.remove("current_application_data");
        leg.vars.remove("current_application");
        leg.vars.set("current_application_data", data.as_str());
        leg.vars.set("current_application", app);
        leg.last_app = (app.to_owned(), data.clone());
        self.fire_app(id, "CHANNEL_EXECUTE", app, &data, &uuid);
        let ran = self.run(id, app, &data, loops);
        let frame_id = self.fresh();
        let frame = |work| Frame { id: frame_id, app: app.to_owned(), data: data.clone(), uuid, locked, work };
        match ran {
            Ran::Done(response) => {
                self.complete(id, &frame(Work::Park), response);
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.vars.remove("current_loop");
                    leg.vars.remove("total_loops");
                }
            }
            Ran::Running(work) => {
                let frame = frame(work);
                self.pause_top(id);
                if let Some(leg) = self.legs.get_mut(&id) {
                    leg.stack.push(frame);
                }
                self.begin_top(id, true);
            }
        }
    }

    fn fire_app(&mut self, id: LegId, name: &'static str, app: &str, data: &str, uuid: &str) {
        let mut extra = vec![("Application", app)];
        if !data.is_empty() {
            extra.push(("Application-Data", data));
        }
        if name == "CHANNEL_EXECUTE_COMPLETE" {
            let response = self
                .legs
                .get(&id)
                .and_then(|l| l.vars.get("current_application_response"))
                .unwrap_or("_none_")
                .to_owned();
            extra.push(("Application-Response", &response));
            extra.push(("Application-UUID", uuid));
            return self.fire_leg(id, name, true, &extra);
        }
        extra.push(("Application-UUID", uuid));
        self.fire_leg(id, name, true, &extra);
    }

    /// Fires the end of an application.
    pub(crate) fn complete(&mut self, id: LegId, frame: &Frame, response: Option<&str>) {
        if let (Some(response), Some(leg)) = (response, self.legs.get_mut(&id)) {
            leg.vars.set("current_application_response", response);
        }
        self.fire_app(id, "CHANNEL_EXECUTE_COMPLETE", &frame.app, &frame.data, &frame.uuid);
    }

    /// Interrupts the current sound, because another application runs over it.
    fn pause_top(&mut self, id: LegId) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        if let Some(Frame { work: Work::Sound { left, position, since, .. }, .. }) = leg.stack.last_mut()
            && let Some(began) = since.take()
        {
            let ran = began.elapsed();
            *position += ran;
            *left = left.map(|l| l.saturating_sub(ran));
        }
    }

    /// Starts the innermost application (`fresh`), or resumes it.
    fn begin_top(&mut self, id: LegId, fresh: bool) {
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(frame) = leg.stack.last_mut() else {
            return self.hear(id);
        };
        let frame_id = frame.id;
        match &mut frame.work {
            Work::Sound { since: Some(_), .. } => {}
            Work::Sound { left, since, .. } => {
                *since = Some(Instant::now());
                if let Some(left) = *left {
                    self.after(left, move |world| world.sound_ended(id, frame_id));
                }
            }
            Work::Answering if fresh => {
                let delay = self.config.timing.answer;
                self.after(delay, move |world| {
                    let top = world.legs.get(&id).and_then(|l| l.stack.last()).map(|f| f.id);
                    if top == Some(frame_id) {
                        world.mark_answered(id);
                        world.finish_top(id, None);
                    }
                });
            }
            Work::Sleep if fresh => {
                let ms = frame.data.trim().parse().unwrap_or(0);
                self.after(Duration::from_millis(ms), move |world| {
                    if world.legs.get(&id).and_then(|l| l.stack.last()).is_some_and(|f| f.id == frame_id) {
                        world.finish_top(id, None);
                    }
                });
            }
            _ => {}
        }
        self.hear(id);
    }

    fn sound_ended(&mut self, id: LegId, frame_id: u64) {
        let over = self.legs.get(&id).and_then(|l| l.stack.last()).is_some_and(|f| {
            f.id == frame_id
                && matches!(&f.work, Work::Sound { left: Some(left), since: Some(since), .. } if *since + *left <= Instant::now())
        });
        if over {
            self.finish_top(id, Some("FILE PLAYED"));
        }
    }

    /// The innermost application ends by itself; the one underneath resumes, then the queued ones run.
    pub(crate) fn finish_top(&mut self, id: LegId, response: Option<&'static str>) {
        self.pop_frame(id, response);
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.vars.remove("current_loop");
            leg.vars.remove("total_loops");
        }
        // Queued commands come first: the sound underneath is not heard for a moment in between.
        self.pump(id);
        self.begin_top(id, false);
        let Some(leg) = self.legs.get(&id) else { return };
        if matches!(leg.stack.last(), Some(Frame { work: Work::Socket { .. }, .. }))
            && leg.conn.is_none()
            && !leg.stranded
        {
            // No connection holds the call any more: the application that ended was the last one.
            return self.finish_top(id, None);
        }
        if leg.stack.is_empty() {
            self.advance(id);
        }
    }

    fn pop_frame(&mut self, id: LegId, response: Option<&'static str>) {
        self.pause_top(id);
        let Some(frame) = self.legs.get_mut(&id).and_then(|l| l.stack.pop()) else {
            return;
        };
        if let (Work::Sound { position, .. }, Some(leg)) = (&frame.work, self.legs.get_mut(&id)) {
            let ms = u64::try_from(position.as_millis()).unwrap_or(u64::MAX);
            leg.vars.set("playback_last_offset_pos", (ms * 8).to_string());
            leg.vars.set("playback_seconds", (ms / 1000).to_string());
            leg.vars.set("playback_ms", ms.to_string());
            leg.vars.set("playback_samples", (ms * 8).to_string());
        }
        if matches!(frame.work, Work::Socket { parked: true } | Work::Park) {
            self.fire_leg(id, "CHANNEL_UNPARK", true, &[]);
        }
        self.complete(id, &frame, response);
    }

    /// Breaks off every application on the channel, innermost first.
    pub(crate) fn unwind(&mut self, id: LegId) {
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.vars.remove("current_loop");
            leg.vars.remove("total_loops");
        }
        while let Some(frame) = self.legs.get(&id).and_then(|l| l.stack.last()) {
            let response = matches!(frame.work, Work::Sound { .. }).then_some("PLAYBACK ERROR");
            self.pop_frame(id, response);
        }
        self.hear(id);
    }

    /// Takes the next step of the dialplan; after the last one the call ends.
    pub(crate) fn advance(&mut self, id: LegId) {
        loop {
            let Some(leg) = self.legs.get_mut(&id) else { return };
            if !leg.is_up() || leg.state != State::Execute || !leg.stack.is_empty() || leg.bridge.is_some() {
                return;
            }
            let Some((app, arg)) = leg.plan.pop_front() else {
                return self.hangup(id, "NORMAL_CLEARING", false);
            };
            let uuid = self.rng.uuid();
            self.execute(id, &app, &arg, uuid, false, 1);
        }
    }

    /// Notes the sound that a leg hears now.
    pub(crate) fn hear(&mut self, id: LegId) {
        let Some(leg) = self.legs.get(&id) else { return };
        let mut position = Duration::ZERO;
        let mut source = 0;
        let sound = match leg.stack.last() {
            Some(Frame { id, work: Work::Sound { file, position: at, .. }, .. }) => {
                position = *at;
                source = *id;
                Sound::Playing(file.clone())
            }
            _ => match leg.talks_to() {
                Some(peer) if !leg.held => self.sound_from(peer),
                _ if leg.is_answered() => Sound::Silence,
                _ => Sound::Ringing,
            },
        };
        let at = self.clock.elapsed();
        let keep = self.config.keep_history;
        if let Some(leg) = self.legs.get_mut(&id)
            && leg.audio.note(Segment { at, sound, position }, source, keep)
        {
            self.ring_owner(id);
            self.heard_beyond(id);
        }
    }
}
