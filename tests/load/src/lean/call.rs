//! One call: its connection to the controller, and its course.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::book::{Channel, Traffic};
use super::command::{Command, take};
use super::template::{Fill, Id, Template};
use super::{Switch, id};
use crate::control::{self, Mark, ONE_IN, Said};

/// How often a channel looks for commands and ends of applications: the length of an audio frame.
const FRAME: Duration = Duration::from_millis(20);
/// The most bytes read at once: half of all commands of a call.
const READ: usize = 4096;

/// The next step of a call.
#[derive(Clone, Debug)]
enum Next {
    Executed(Id),
    LegCreated,
    LegAnswered,
    Bridged,
    LegGone,
    CallerGone,
}

struct Leg {
    id: Id,
    agent: String,
    bridged: bool,
}

struct Call {
    switch: Arc<Switch>,
    number: u64,
    queue: usize,
    came: Instant,
    /// The same moment for the controller.
    came_text: String,
    stream: TcpStream,
    id: Id,
    caller: String,
    /// The names of the events the controller subscribed to.
    wanted: String,
    agenda: Vec<(Instant, Next)>,
    music: Option<Id>,
    leg: Option<Leg>,
    connected: bool,
    caller_gone: bool,
    out: Vec<u8>,
    /// Since the last write.
    traffic: Traffic,
    /// Sends the bytes from which a time is measured to the control as well; in one call of
    /// [`ONE_IN`](crate::control::ONE_IN).
    control: Option<mpsc::UnboundedSender<Said>>,
    /// The time that starts with the bytes about to be written.
    mark: Option<(Mark, Instant)>,
}

/// The id of an application that the controller sent without an `Event-UUID`.
const UNNAMED: Id = *b"00000000-0000-0000-0000-000000000000";

/// Runs a call to its end.
pub(super) async fn run(switch: Arc<Switch>, number: u64, queue: usize) {
    let (came, came_text) = (Instant::now(), epoch_micros());
    let control = number.is_multiple_of(ONE_IN).then(|| {
        let (say, said) = mpsc::unbounded_channel();
        tokio::spawn(control::follow(switch.clone(), switch.control, came, said));
        say
    });
    let connected = TcpStream::connect(switch.controller).await;
    let ended = match connected {
        Ok(stream) => {
            // If this fails, commands only arrive a little later.
            let _ = stream.set_nodelay(true);
            let mut call = Call {
                switch: switch.clone(),
                number,
                queue,
                came,
                came_text,
                stream,
                id: id(0xca11_0000, number),
                caller: format!("079{:07}", number % 10_000_000),
                wanted: String::new(),
                agenda: Vec::new(),
                music: None,
                leg: None,
                connected: false,
                caller_gone: false,
                out: Vec::new(),
                traffic: Traffic::default(),
                control,
                mark: None,
            };
            let ended = call.serve().await;
            let mut book = switch.book();
            book.channels.remove(&call.id);
            if let Some(leg) = &call.leg {
                book.channels.remove(&leg.id);
                book.free(&leg.agent);
            }
            book.left(number, call.connected);
            ended
        }
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        let mut book = switch.book();
        book.counts.lost += 1;
        book.wrong(format!("call {number} lost its controller: {error}"));
    }
}

impl Call {
    async fn serve(&mut self) -> io::Result<()> {
        let mut received: Vec<u8> = Vec::new();
        let mut chunk = [0; READ];
        let mut talk = self.switch.talk.subscribe();
        let mut hang_up = self.switch.hang_up.subscribe();
        loop {
            let next = self.agenda.iter().map(|(at, _)| *at).min();
            let alarm = async {
                match next {
                    Some(at) => sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                readable = self.stream.readable() => {
                    readable?;
                    match self.stream.try_read(&mut chunk) {
                        Ok(0) if self.caller_gone => return Ok(()),
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(length) => received.extend_from_slice(chunk.get(..length).unwrap_or_default()),
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                        Err(error) => return Err(error),
                    }
                    let mut read = 0;
                    while let Some((command, length)) = take(received.get(read..).unwrap_or_default()) {
                        read += length;
                        self.traffic.commands += 1;
                        self.traffic.command_bytes += length as u64;
                        if self.obey(command) {
                            self.flush().await?;
                            return self.stream.shutdown().await;
                        }
                    }
                    received.drain(..read);
                    if received.is_empty() {
                        received = Vec::new();
                    }
                }
                () = alarm => self.due(),
                _ = talk.changed() => {
                    // The conversations under way end spread over that time.
                    let talk = (*talk.borrow()).unwrap_or_default();
                    self.end_conversation(share(talk, self.number));
                }
                _ = hang_up.changed() => {
                    let within = *hang_up.borrow();
                    if !self.connected && !self.caller_gone {
                        self.at(share(within, self.number), Next::CallerGone);
                    }
                }
            }
            self.flush().await?;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.traffic.sent_bytes += self.out.len() as u64;
            self.switch.book().counts.traffic.add(std::mem::take(&mut self.traffic));
            if let Some(((mark, since), control)) = self.mark.take().zip(self.control.as_ref()) {
                // If the control is lost, the book has an entry of that.
                let _ = control.send((mark, since, self.out.clone()));
            }
            self.stream.write_all(&self.out).await?;
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Executes a command. Returns true when the connection must end.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Connect => {
                self.say(|t| &t.channel, UNNAMED);
                let now = Instant::now();
                self.mark = Some((Mark::Told, now));
                let mut book = self.switch.book();
                book.channels.insert(self.id, Channel { agent: None, other: None });
                book.entered(self.number, self.queue, self.came, now);
                drop(book);
                self.tell_link(|t| &t.caller_created);
            }
            Command::Events(names) => {
                self.wanted = names;
                self.reply("+OK event listener enabled plain");
            }
            Command::Execute(name, _, event) => {
                self.reply("+OK");
                let event = event.unwrap_or(UNNAMED);
                match name.as_str() {
                    "playback" | "endless_playback" => self.music = Some(event),
                    _ => self.at(FRAME, Next::Executed(event)),
                }
            }
            Command::Hangup => {
                self.reply("+OK");
                self.switch.book().wrong(format!("call {} was hung up", self.number));
                self.at(FRAME, Next::CallerGone);
            }
            Command::Ring(leg, agent, job) => {
                let now = Instant::now();
                let right = self.switch.book().offered(self.number, &agent, now);
                self.reply(&format!("+OK Job-UUID: {job}\nJob-UUID: {job}"));
                self.ring(Leg { id: leg, agent, bridged: false }, right);
            }
            Command::RingByChannel(leg, agent) => {
                let right = self.switch.book().offered(self.number, &agent, Instant::now());
                self.reply("+OK");
                self.ring(Leg { id: leg, agent, bridged: false }, right);
                self.tell("CHANNEL_EXECUTE_COMPLETE", |t| &t.carried_out, UNNAMED);
            }
            Command::Kill(leg) => {
                let found = self.leg.as_ref().is_some_and(|l| l.id == leg);
                self.api(if found { "+OK\n" } else { "-ERR No such channel!\n" });
                if found {
                    self.agenda.retain(|(_, next)| matches!(next, Next::CallerGone));
                    self.leg_gone();
                }
            }
            Command::Api(_) => self.api("+OK\n"),
            Command::Exit => {
                self.reply("+OK bye");
                return true;
            }
            Command::Other(line) => {
                if line.starts_with("bgapi") {
                    self.switch.book().wrong(format!("not understood: {line}"));
                }
                self.reply("+OK");
            }
        }
        false
    }

    fn due(&mut self) {
        let now = Instant::now();
        while let Some(place) = self.agenda.iter().position(|(at, _)| *at <= now) {
            match self.agenda.remove(place).1 {
                Next::Executed(event) => self.tell("CHANNEL_EXECUTE_COMPLETE", |t| &t.set, event),
                Next::LegCreated => {
                    if let Some(leg) = &self.leg {
                        let channel = Channel { agent: Some(leg.agent.clone()), other: None };
                        self.switch.book().channels.insert(leg.id, channel);
                    }
                    self.tell("CHANNEL_CREATE", |t| &t.leg_created, UNNAMED);
                    self.tell_link(|t| &t.leg_created);
                }
                Next::LegAnswered => {
                    let music = self.music.take().unwrap_or(UNNAMED);
                    self.tell("CHANNEL_ANSWER", |t| &t.leg_answered, UNNAMED);
                    self.tell("CHANNEL_EXECUTE_COMPLETE", |t| &t.played, music);
                    self.tell("CHANNEL_UNPARK", |t| &t.unpark, UNNAMED);
                    self.tell("CHANNEL_EXECUTE_COMPLETE", |t| &t.socket, UNNAMED);
                    self.at(FRAME, Next::Bridged);
                }
                Next::Bridged => self.bridged(),
                Next::LegGone => {
                    self.leg_gone();
                    self.at(FRAME, Next::CallerGone);
                }
                Next::CallerGone => self.caller_gone(),
            }
        }
    }

    /// Rings an agent, or reports that the caller is gone.
    fn ring(&mut self, leg: Leg, right: bool) {
        let before = self.leg.replace(leg);
        if right {
            self.at(FRAME, Next::LegCreated);
            self.at(FRAME + self.switch.rings, Next::LegAnswered);
        } else {
            self.tell("BACKGROUND_JOB", |t| &t.job, UNNAMED);
            self.leg = before;
        }
    }

    fn bridged(&mut self) {
        let Some(leg) = &mut self.leg else { return };
        leg.bridged = true;
        self.connected = true;
        let mut book = self.switch.book();
        book.answered();
        let (caller, leg) = (self.id, leg.id);
        for (one, other) in [(caller, leg), (leg, caller)] {
            if let Some(channel) = book.channels.get_mut(&one) {
                channel.other = Some(other);
            }
        }
        drop(book);
        self.tell("CHANNEL_BRIDGE", |t| &t.bridged, UNNAMED);
        self.tell("BACKGROUND_JOB", |t| &t.job, UNNAMED);
        let talk = *self.switch.talk.borrow();
        if let Some(talk) = talk {
            // ± a fifth, so that conversations do not end in step.
            self.end_conversation(talk * 4 / 5 + share(talk * 2 / 5, self.number));
        }
    }

    /// Schedules the end of a conversation, unless it has one.
    fn end_conversation(&mut self, after: Duration) {
        let planned = self.agenda.iter().any(|(_, next)| matches!(next, Next::LegGone));
        if self.leg.as_ref().is_some_and(|leg| leg.bridged) && !planned {
            self.at(after, Next::LegGone);
        }
    }

    fn leg_gone(&mut self) {
        if self.leg.is_none() {
            return;
        }
        self.tell("CHANNEL_HANGUP", |t| &t.leg_hangup, UNNAMED);
        self.tell("CHANNEL_HANGUP_COMPLETE", |t| &t.leg_complete, UNNAMED);
        self.tell_link(|t| &t.leg_complete);
        if let Some(leg) = self.leg.take() {
            let mut book = self.switch.book();
            book.channels.remove(&leg.id);
            if book.free(&leg.agent) {
                self.mark = Some((Mark::Free, Instant::now()));
            }
        }
    }

    fn caller_gone(&mut self) {
        self.caller_gone = true;
        self.tell("CHANNEL_HANGUP", |t| &t.caller_hangup, UNNAMED);
        self.tell("CHANNEL_HANGUP_COMPLETE", |t| &t.caller_complete, UNNAMED);
        self.tell_link(|t| &t.caller_complete);
        self.say(|t| &t.linger, UNNAMED);
        let mut book = self.switch.book();
        book.channels.remove(&self.id);
        book.left(self.number, self.connected);
    }

    fn at(&mut self, after: Duration, next: Next) {
        self.agenda.push((Instant::now() + after, next));
        self.agenda.sort_by_key(|(at, _)| *at);
    }

    fn reply(&mut self, text: &str) {
        self.traffic.replies += 1;
        self.out.extend_from_slice(format!("Content-Type: command/reply\nReply-Text: {text}\n\n").as_bytes());
    }

    fn api(&mut self, body: &str) {
        self.traffic.replies += 1;
        let text = format!("Content-Type: api/response\nContent-Length: {}\n\n{body}", body.len());
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Sends an event if the controller subscribed to it.
    fn tell(&mut self, name: &str, template: fn(&super::Templates) -> &Template, application: Id) {
        if self.wanted.split(' ').any(|wanted| wanted == name) {
            self.say(template, application);
        }
    }

    fn say(&mut self, template: fn(&super::Templates) -> &Template, application: Id) {
        self.traffic.events += 1;
        let mut out = std::mem::take(&mut self.out);
        template(&self.switch.templates).write(&self.fill(&application, &epoch_micros()), &mut out);
        self.out = out;
    }

    fn tell_link(&self, template: fn(&super::Templates) -> &Template) {
        let mut event = Vec::with_capacity(12 << 10);
        template(&self.switch.templates).write(&self.fill(&UNNAMED, &epoch_micros()), &mut event);
        if self.switch.link.try_send(event).is_err() {
            self.switch.book().wrong("the inbound link does not keep up".to_owned());
        }
    }

    fn fill<'a>(&'a self, application: &'a Id, now: &'a str) -> Fill<'a> {
        Fill {
            caller: &self.id,
            leg: self.leg.as_ref().map_or(&UNNAMED, |leg| &leg.id),
            application,
            number: self.caller.as_bytes(),
            agent: self.leg.as_ref().map_or(b"", |leg| leg.agent.as_bytes()),
            queue: self.switch.queues.get(self.queue).map_or(b"", |queue| queue.as_bytes()),
            came: self.came_text.as_bytes(),
            now: now.as_bytes(),
        }
    }
}

/// Now, as FreeSWITCH writes it.
fn epoch_micros() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros().to_string()
}

/// A share of a duration that looks random, the same for the same call (SplitMix64's last steps).
fn share(whole: Duration, number: u64) -> Duration {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^= z >> 27;
    whole * u32::try_from(z % 1000).unwrap_or(0) / 1000
}
