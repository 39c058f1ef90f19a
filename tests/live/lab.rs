//! The lab: one FreeSWITCH, phones that stay registered, and for each test its own daemon and callers.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::Fact;

use crate::caller::{Caller, From};
use crate::daemon::Daemon;
use crate::lamp::Lamp;
use crate::machine::{fill, freeswitch, sipp};
use crate::phone::Phone;
use crate::sipp::Sipp;
use crate::switch::{Plan, Switch};

/// Long enough for any immediate event, on a busy machine.
pub const SOON: Duration = Duration::from_secs(4);

/// The programs that are not part of this package.
pub struct Programs {
    pub freeswitch: PathBuf,
    pub sipp: PathBuf,
}

impl Programs {
    /// Finds the programs, or says which is missing and how to get it.
    pub fn find() -> Result<Programs, String> {
        Ok(Programs { freeswitch: freeswitch()?, sipp: sipp()? })
    }
}

/// The phones of the house.
pub fn users() -> impl Iterator<Item = String> {
    (1001..=1010).map(|user: u32| user.to_string())
}

/// The accounts that may be registered several times: by a desk phone and a softphone, and by phones that come and go.
pub const SHARED: [&str; 2] = ["1011", "1012"];

/// A user with one phone, of which the directory limits the silence, as of those of `SHARED[0]`.
pub const LIMITED: &str = "1010";

/// A user whose calls the directory sends through a loopback to the phone of 1003.
pub const LOOPED: &str = "1013";

/// Phones for a queue that rings many; a test that needs them registers them.
pub fn crowd() -> impl Iterator<Item = String> {
    (1041..=1080).map(|user: u32| user.to_string())
}

/// The accounts of the directory whose phones are not the lab's own.
fn others() -> impl Iterator<Item = String> {
    crate::office::STAFF.map(str::to_owned).into_iter().chain(crowd())
}

/// Every account of the directory that may be an agent.
pub fn accounts() -> impl Iterator<Item = String> {
    users().chain(SHARED.map(str::to_owned)).chain([LOOPED.to_owned()]).chain(others())
}

/// Further numbers of the house: an IVR and a ring group that lead to a queue, the queue for callers with a head start,
/// and the pickup of a call by its UUID.
const EXTENSIONS: &str = r#"
      <extension name="ivr"><condition field="destination_number" expression="^7900$">
        <action application="transfer" data="99900 XML default"/>
      </condition></extension>
      <extension name="group"><condition field="destination_number" expression="^7901$">
        <action application="bridge" data="loopback/99901/default"/>
      </condition></extension>
      <extension name="ahead"><condition field="destination_number" expression="^7902$">
        <action application="set" data="fsq_head_start=600"/>
        <action application="transfer" data="99900 XML default"/>
      </condition></extension>
      <extension name="pickup"><condition field="destination_number" expression="^\*8([0-9a-f-]{36})$">
        <action application="answer"/>
        <action application="intercept" data="$1"/>
      </condition></extension>"#;

/// The numbers of a second daemon, which has queues 99800 to 99899.
const BESIDE: &str = r#"
      <extension name="beside"><condition field="destination_number" expression="^(998\d\d)$">
        <action application="multiset" data="^^;fsq_dialled=$1;fsq_context=${context};fsq_came=${profile_created_time};fsq_away=;fsq_held=;fsq_hold=;socket_resume=true;hangup_after_bridge=true;playback_terminators=none"/>
        <action application="answer"/>
        <action application="socket" data="127.0.0.1:@BESIDE@ async full"/>
        <action application="set" data="fsq_waited=${msleep(50)}"/>
      </condition></extension>
      <extension name="beside_codes"><condition field="destination_number" expression="^(\*4[12]998\d\d)$">
        <action application="multiset" data="^^;fsq_dialled=$1;socket_resume=true;playback_terminators=none"/>
        <action application="socket" data="127.0.0.1:@BESIDE@ async full"/>
      </condition></extension>"#;

/// Everything a test needs.
pub struct Lab {
    pub switch: Switch,
    programs: Programs,
    folder: PathBuf,
    phones: BTreeMap<String, Phone>,
    /// The phones of the office, once a test needs them.
    pub office: OnceCell<::phones::Phones>,
    daemon: RefCell<Option<Daemon>>,
    /// The number of daemons and callers so far.
    made: Cell<(u32, u32)>,
}

impl Lab {
    /// Starts FreeSWITCH and registers the phones.
    pub fn open(programs: Programs) -> Lab {
        let folder = std::env::temp_dir().join(format!("fsq-live-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let plan = Plan {
            users: users().chain(others()).collect(),
            shared: SHARED.map(str::to_owned).into(),
            limited: [SHARED[0], LIMITED].map(str::to_owned).into(),
            elsewhere: vec![(LOOPED.to_owned(), "loopback/1003/default".to_owned())],
            log: "debug",
            first: BESIDE.to_owned(),
            extensions: EXTENSIONS.to_owned(),
            ..Plan::default()
        };
        let switch = Switch::start(&programs.freeswitch, &folder.join("freeswitch"), &plan);
        let mut lab = Lab {
            switch,
            programs,
            folder,
            phones: BTreeMap::new(),
            office: OnceCell::new(),
            daemon: RefCell::default(),
            made: Cell::new((0, 0)),
        };
        let own = users().zip((600..).step_by(100)).map(|(user, tone)| (user.clone(), user, tone));
        // Tones whose waves fit whole into a packet, so that no tone is detected in another.
        let shared = [("desk", 650), ("soft", 750)].map(|(name, tone)| (name.to_owned(), SHARED[0].to_owned(), tone));
        let phone = |(name, user, tone): (String, String, u32)| (name.clone(), Phone::new(&lab, &name, &user, tone));
        lab.phones = own.chain(shared).map(phone).collect();
        lab.register_all();
        lab
    }

    /// Registers every phone again.
    pub fn register_all(&self) {
        let mut busy: Vec<Sipp> = self.phones.values().map(|phone| phone.registering(self, 3600)).collect();
        let since = Instant::now();
        for sipp in &mut busy {
            assert!(sipp.ends_well(Duration::from_secs(10)), "a phone could not register:\n{}", sipp.story(since));
        }
        self.phones.values().for_each(|phone| phone.plug_in(self));
    }

    /// A phone of the house.
    #[track_caller]
    pub fn phone(&self, user: &str) -> &Phone {
        &self.phones[user]
    }

    /// Starts a daemon with these queues.
    pub fn serve(&self, queues: &str) {
        self.serve_with(&[], queues);
    }

    /// Starts a daemon with these queues, and with these agents' own `dial`.
    pub fn serve_with(&self, dials: &[(&str, &str)], queues: &str) {
        let (daemons, callers) = self.made.get();
        self.made.set((daemons + 1, callers));
        *self.daemon.borrow_mut() = Some(Daemon::start(&self.switch, &self.daemon_folder(), dials, queues));
    }

    /// Starts a daemon with these queues and a file without `domain`.
    pub fn serve_without_domain(&self, queues: &str) {
        self.serve(queues);
        self.daemon_mut().terminate(SOON);
        self.daemon().leave_out("domain");
        self.serve_again();
    }

    /// Starts the daemon again, with the same file and store.
    pub fn serve_again(&self) {
        drop(self.daemon.borrow_mut().take());
        *self.daemon.borrow_mut() = Some(Daemon::again(&self.daemon_folder()));
    }

    /// Starts a second daemon beside the first, with the same file, for the queues 99800 to 99899.
    pub fn serve_beside(&self) -> Daemon {
        self.daemon().beside(&self.folder.join(format!("beside-{}", self.made.get().0)), self.switch.beside)
    }

    fn daemon_folder(&self) -> PathBuf {
        self.folder.join(format!("daemon-{}", self.made.get().0))
    }

    /// The daemon.
    pub fn daemon(&self) -> std::cell::Ref<'_, Daemon> {
        std::cell::Ref::map(self.daemon.borrow(), |d| d.as_ref().expect("a daemon"))
    }

    /// Takes the daemon out of the lab, to end it.
    pub fn daemon_mut(&self) -> std::cell::RefMut<'_, Daemon> {
        std::cell::RefMut::map(self.daemon.borrow_mut(), |d| d.as_mut().expect("a daemon"))
    }

    /// Logs agents in to a queue by dialling the code, as agents do.
    #[track_caller]
    pub fn log_in(&self, queue: &str, agents: &[&str]) {
        let calls: Vec<Caller> =
            agents.iter().map(|user| self.dial(&From::phone(user), &format!("*41{queue}"))).collect();
        for agent in agents {
            self.daemon().fact(&format!("{agent} logged in to {queue}"), SOON, |fact| match fact {
                Fact::AgentLoggedIn { agent: a, queue: q, .. } => {
                    (a.as_str() == *agent && q.as_str() == queue).then_some(())
                }
                _ => None,
            });
        }
        for call in calls {
            call.answered();
            call.hang_up();
            call.over(SOON);
        }
        self.are_off_the_phone(agents);
    }

    /// Waits until the daemon knows that the agents' own calls are over: before that, others are rung first.
    #[track_caller]
    pub fn are_off_the_phone(&self, agents: &[&str]) {
        let end = Instant::now() + SOON;
        loop {
            let status = self.daemon().status();
            let all = status["agents"].as_array().expect("agents");
            let is_busy = |agent: &&str| all.iter().any(|a| a["id"] == **agent && a["activity"] == "on another call");
            let busy: Vec<&&str> = agents.iter().filter(|agent| is_busy(agent)).collect();
            if busy.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "{busy:?} are on the phone");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it is so.
    #[track_caller]
    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + SOON;
        while !is_so() {
            assert!(Instant::now() < end, "not so within {SOON:?}: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A caller dials a number and is answered.
    #[track_caller]
    pub fn call(&self, from: &From, number: &str) -> Caller {
        let caller = self.dial(from, number);
        caller.answered();
        caller
    }

    /// A caller dials a number.
    pub fn dial(&self, from: &From, number: &str) -> Caller {
        let (daemons, callers) = self.made.get();
        self.made.set((daemons, callers + 1));
        Caller::new(self, from, number, 1700 + 100 * (callers % 10))
    }

    /// A lamp key of a phone, programmed with a number.
    pub fn lamp(&self, user: &str, number: &str) -> Lamp {
        Lamp::new(self, user, number)
    }

    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A file of this run, in a folder that FreeSWITCH can read.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.folder.join(name);
        fs::write(&file, content).expect("a file");
        file
    }

    /// A spoken sentence of the project's prompts.
    pub fn prompt(&self, language: &str, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("freeswitch-conf/fsq/prompts/{language}/{name}.wav"))
    }

    /// Prepares the lab for the next test.
    pub fn fresh(&self) {
        self.phones.values().for_each(|phone| phone.fresh(self));
    }

    /// Checks the end of a test: no channel may be left, and the daemon must end without an error.
    pub fn tidy(&self) -> Result<(), String> {
        let left = self.switch.channels().all_gone(SOON);
        self.switch.forget_channels();
        if left.is_err() {
            self.switch.api("hupall");
            let _ = self.switch.channels().all_gone(SOON);
        }
        if let Some(mut daemon) = self.daemon.borrow_mut().take() {
            daemon.terminate(Duration::from_secs(12));
            left?;
            return crate::records::balanced(&daemon.store()).map_err(|why| format!("{why}\n{}", daemon.log()));
        }
        left
    }

    /// Ends the remains of a failed test, and says where to look.
    pub fn give_up(&self) -> String {
        let daemon = self.daemon.borrow_mut().take();
        let log = daemon.map_or_else(|| "  (no daemon)".to_owned(), |daemon| daemon.log());
        if !self.switch.is_running() {
            self.switch.launch();
            self.register_all();
        }
        if self.switch.channels().all_gone(Duration::ZERO).is_err() {
            self.switch.api("hupall");
            let _ = self.switch.channels().all_gone(SOON);
        }
        self.switch.forget_channels();
        format!("the daemon's log:\n{log}\nFreeSWITCH's log: {}", self.switch.log_file().display())
    }

    /// Removes everything of this run.
    pub fn close(self, keep: bool) {
        let folder = self.folder.clone();
        drop(self);
        if !keep {
            let _ = fs::remove_dir_all(folder);
        }
    }

    /// A scenario for SIPp.
    pub fn scenario(&self, name: &str, template: &str, values: &[(&str, &str)]) -> PathBuf {
        self.file(name, fill(template, values).as_bytes())
    }
}
