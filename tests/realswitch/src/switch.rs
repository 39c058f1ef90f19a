//! A real FreeSWITCH: its configuration, its process, and two connections to its Event Socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::machine::{fill, reap, tcp_port, udp_port};

/// The directory domain of the phones.
pub const DOMAIN: &str = "live.test";
/// Another directory domain, with users of the same names.
pub const HOSTED_DOMAIN: &str = "hosted.test";
/// The password of the Event Socket.
pub const PASSWORD: &str = "ClueCon";
/// The password of every phone.
pub const SECRET: &str = "1234";
/// The `media_timeout` of [`Plan::limited`].
pub const MEDIA_TIMEOUT: Duration = Duration::from_secs(3);
/// The tone of extension 9000.
pub const NINE_THOUSAND: u32 = 3200;

/// Commands that FreeSWITCH answers with a table once phones can register and outside callers can call.
const PROFILES: [&str; 3] =
    ["sofia status profile internal", "sofia status profile hosted", "sofia status profile trunk"];

/// The settings in which one FreeSWITCH differs from another here.
#[derive(Debug, Default)]
pub struct Plan {
    /// The phones in its directory.
    pub users: Vec<String>,
    /// The phones that may also be registered several times.
    pub shared: Vec<String>,
    /// Those of these users whose silence the directory limits to [`MEDIA_TIMEOUT`].
    pub limited: Vec<String>,
    /// Users whose calls the directory sends elsewhere, and their dial strings.
    pub elsewhere: Vec<(String, String)>,
    /// Whether phones may register without a password.
    pub open: bool,
    /// The level of its log file: `debug` is everything, or `warning`.
    pub log: &'static str,
    /// Further `configuration` sections.
    pub configuration: String,
    /// Extensions of the context `default` that come before the queue's own.
    pub first: String,
    /// Further extensions of the context `default`.
    pub extensions: String,
}

/// A running FreeSWITCH.
#[derive(Debug)]
pub struct Switch {
    program: PathBuf,
    folder: PathBuf,
    /// The port where phones register.
    pub sip: u16,
    /// The port where phones of the other domain call in.
    pub hosted: u16,
    /// The port where phones that speak IPv6 register, on `::1`.
    pub six: u16,
    /// The port where outside callers call in.
    pub trunk: u16,
    /// The port of its Event Socket.
    pub event_socket: u16,
    /// The port where FreeSWITCH expects the controller.
    pub controller: u16,
    /// The port where [`Plan::first`] may expect a second controller, as `@BESIDE@`.
    pub beside: u16,
    running: RefCell<Option<(Child, Esl, Channels)>>,
}

impl Switch {
    /// Writes a configuration below `folder` and starts FreeSWITCH with it.
    pub fn start(program: &Path, folder: &Path, plan: &Plan) -> Switch {
        let switch = Switch {
            program: program.to_owned(),
            folder: folder.to_owned(),
            sip: udp_port(),
            hosted: udp_port(),
            six: udp_port(),
            trunk: udp_port(),
            event_socket: tcp_port(),
            controller: tcp_port(),
            beside: tcp_port(),
            running: RefCell::default(),
        };
        switch.configure(plan);
        switch.launch();
        switch
    }

    fn configure(&self, plan: &Plan) {
        let conf = self.folder.join("conf");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../freeswitch-conf"), &conf);
        self.set("fsq_socket", &format!("127.0.0.1:{}", self.controller));
        let mut directory = String::new();
        let elsewhere = plan.elsewhere.iter().map(|(user, _)| user);
        for user in plan.users.iter().chain(&plan.shared).chain(elsewhere) {
            let several = plan.shared.contains(user);
            let dial = plan
                .elsewhere
                .iter()
                .find(|(other, _)| other == user)
                .map_or_else(String::new, |(_, dial)| format!(r#"<param name="dial-string" value="{dial}"/>"#));
            let limit = if plan.limited.contains(user) {
                format!(r#"<param name="dial-var-media_timeout" value="{}"/>"#, MEDIA_TIMEOUT.as_millis())
            } else {
                String::new()
            };
            let _ = write!(
                directory,
                r#"<user id="{user}"><params><param name="password" value="{SECRET}"/>{dial}{limit}</params><variables>
                <variable name="sip-allow-multiple-registrations" value="{several}"/>
                <variable name="user_context" value="default"/></variables></user>"#
            );
        }
        // Below the ports that systems assign automatically, and a different range for each run.
        let first = 16_384 + (std::process::id() % 15) * 1024;
        let text = fill(
            include_str!("freeswitch.xml"),
            &[
                ("SIP", &self.sip.to_string()),
                ("HOSTED_DOMAIN", HOSTED_DOMAIN),
                ("HOSTED", &self.hosted.to_string()),
                ("SIX", &self.six.to_string()),
                ("TRUNK", &self.trunk.to_string()),
                ("EVENT_SOCKET", &self.event_socket.to_string()),
                ("PASSWORD", PASSWORD),
                ("RTP_FIRST", &first.to_string()),
                ("RTP_LAST", &(first + 1000).to_string()),
                ("TONE", &NINE_THOUSAND.to_string()),
                ("USERS", &directory),
                ("LOG", plan.log),
                ("OPEN", if plan.open { "true" } else { "false" }),
                ("CONFIGURATION", &plan.configuration),
                ("FIRST", &plan.first),
                ("EXTENSIONS", &plan.extensions),
                ("BESIDE", &self.beside.to_string()),
                ("DOMAIN", DOMAIN),
            ],
        );
        fs::write(conf.join("freeswitch.xml"), text).expect("its configuration");
    }

    /// Changes a line of `fsq/settings.xml`, as an admin does.
    pub fn set(&self, name: &str, value: &str) {
        let file = self.folder.join("conf/fsq/settings.xml");
        let text = fs::read_to_string(&file).expect("the settings");
        let start = text.find(&format!("data=\"{name}=")).expect("the setting") + 6;
        let end = start + text[start..].find('"').expect("a quote");
        fs::write(&file, format!("{}{name}={value}{}", &text[..start], &text[end..])).expect("the settings");
    }

    /// Starts the program and waits until phones can register.
    pub fn launch(&self) {
        let mut command = Command::new(&self.program);
        command.args(["-nf", "-nc", "-nonat", "-nonatmap", "-nocal", "-nort", "-np"]);
        for name in ["conf", "log", "db", "run", "storage", "recordings", "cache"] {
            fs::create_dir_all(self.folder.join(name)).expect("a folder");
            command.arg(format!("-{name}")).arg(self.folder.join(name));
        }
        // FreeSWITCH takes seconds to make certificates; those of the last run are reused.
        let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp/certificates");
        fs::create_dir_all(&certificates).expect("a folder");
        command.arg("-certs").arg(certificates);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        let end = Instant::now() + Duration::from_secs(60);
        // The Event Socket opens last, so it shows that FreeSWITCH is ready.
        let esl = loop {
            match Esl::connect(self.event_socket).and_then(Esl::when_ready) {
                Ok(esl) => break esl,
                _ if Instant::now() > end || child.try_wait().is_ok_and(|ended| ended.is_some()) => {
                    let _ = child.kill();
                    panic!("FreeSWITCH did not start; see {}", self.log_file().display());
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let channels = Channels::watch(self.event_socket).expect("the event socket");
        *self.running.borrow_mut() = Some((child, esl, channels));
    }

    /// Waits until phones can register and outside callers can call, after a restart of a profile.
    pub fn wait_until_ready(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while PROFILES.iter().any(|question| !self.api(question).starts_with('=')) {
            assert!(Instant::now() < end, "a profile is not back");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The process; `None` while it is killed.
    pub fn pid(&self) -> Option<u32> {
        self.running.borrow().as_ref().map(|(child, ..)| child.id())
    }

    /// Tells it to stop, with this argument of `fsctl shutdown`.
    pub fn order_stop(&self, how: &str) {
        let mut running = self.running.borrow_mut();
        let (_, esl, _) = running.as_mut().expect("a running FreeSWITCH");
        // FreeSWITCH may end before it answers.
        let _ = esl.send(&format!("bgapi fsctl shutdown {how}"));
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after this time; it is killed then.
    pub fn stopped(&self, within: Duration) -> Result<(), String> {
        let Some((mut child, ..)) = self.running.take() else { return Ok(()) };
        reap(&mut child, within).map(drop).ok_or_else(|| format!("FreeSWITCH did not stop within {within:?}"))
    }

    /// Kills it at once, like a power failure.
    pub fn kill(&self) {
        if let Some((mut child, ..)) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a command to the Event Socket and returns the answer.
    #[track_caller]
    pub fn api(&self, command: &str) -> String {
        let mut running = self.running.borrow_mut();
        let (_, esl, _) = running.as_mut().expect("a running FreeSWITCH");
        esl.api(command).expect("an answer of FreeSWITCH")
    }

    /// The current channels.
    pub fn channels(&self) -> Channels {
        self.running.borrow().as_ref().expect("a running FreeSWITCH").2.clone()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.running.borrow().is_some()
    }

    /// Waits until FreeSWITCH's own table, which is written a little later, lists no channel any more, so that the next
    /// daemon does not find the last test's.
    pub fn forget_channels(&self) {
        let end = Instant::now() + Duration::from_secs(3);
        while !self.api("show channels count").trim_start().starts_with("0 ") && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its log.
    pub fn log_file(&self) -> PathBuf {
        self.folder.join("log/freeswitch.log")
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        if let Some((mut child, mut esl, _)) = self.running.take() {
            let patience =
                if esl.send("bgapi fsctl shutdown now").is_ok() { Duration::from_secs(10) } else { Duration::ZERO };
            reap(&mut child, patience);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

/// A connection to the Event Socket, with its own encoder and reader, because the daemon's are under test.
#[derive(Debug)]
struct Esl {
    stream: BufReader<TcpStream>,
}

impl Esl {
    fn connect(port: u16) -> io::Result<Esl> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut esl = Esl { stream: BufReader::new(stream) };
        esl.frame()?;
        esl.send(&format!("auth {PASSWORD}"))?;
        esl.frame()?;
        Ok(esl)
    }

    fn when_ready(mut self) -> io::Result<Esl> {
        for question in PROFILES {
            if !self.api(question)?.starts_with('=') {
                return Err(io::ErrorKind::NotConnected.into());
            }
        }
        // Until then it refuses sessions.
        if !self.api("status")?.contains("is ready") {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(self)
    }

    fn send(&mut self, command: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{command}\n\n").as_bytes())
    }

    fn api(&mut self, command: &str) -> io::Result<String> {
        self.send(&format!("api {command}"))?;
        Ok(self.frame()?.trim_end().to_owned())
    }

    /// The body of the next frame.
    fn frame(&mut self) -> io::Result<String> {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().expect("a length"),
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// The channels of the switch, from its events.
#[derive(Clone, Debug)]
pub struct Channels {
    live: Arc<(Mutex<BTreeMap<String, String>>, Condvar)>,
}

impl Channels {
    fn watch(port: u16) -> io::Result<Channels> {
        let mut esl = Esl::connect(port)?;
        esl.send("event plain CHANNEL_CREATE CHANNEL_DESTROY")?;
        esl.frame()?;
        esl.stream.get_mut().set_read_timeout(None)?;
        let live: Arc<(Mutex<BTreeMap<String, String>>, Condvar)> = Arc::default();
        let ours = live.clone();
        std::thread::spawn(move || {
            while let Ok(event) = esl.frame() {
                let header = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                let mut live = ours.0.lock().expect("unpoisoned");
                match header("Event-Name").as_str() {
                    "CHANNEL_CREATE" => drop(live.insert(header("Unique-ID"), header("Channel-Name"))),
                    _ => drop(live.remove(&header("Unique-ID"))),
                }
                ours.1.notify_all();
            }
        });
        Ok(Channels { live })
    }

    /// Waits until no channel is left.
    ///
    /// # Errors
    /// The names of the channels left after this time.
    pub fn all_gone(&self, within: Duration) -> Result<(), String> {
        self.come_to(0, within)
    }

    /// Waits until there are `count` channels.
    ///
    /// # Errors
    /// The names of the channels after this time.
    pub fn come_to(&self, count: usize, within: Duration) -> Result<(), String> {
        let end = Instant::now() + within;
        let mut live = self.live.0.lock().expect("unpoisoned");
        while live.len() != count {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return Err(format!("{} channels in place of {count}: {:?}", live.len(), live.values()));
            };
            live = self.live.1.wait_timeout(live, left).expect("unpoisoned").0;
        }
        Ok(())
    }
}
