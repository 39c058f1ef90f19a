//! Every command the `esl` layer has, sent to a real FreeSWITCH.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use freeswitch_queue::esl::client::connect;
use freeswitch_queue::esl::command::{EventSet, Filter, Password, SendEvent, Unicast};
use freeswitch_queue::esl::connection::ConnectionLimits;
use freeswitch_queue::esl::dial::VariableName;
use freeswitch_queue::esl::server::{Server, ServerLimits, turn_away};
use freeswitch_queue::esl::{
    ApiCall, Cause, ChannelId, Command, Connection, Endpoint, Event, EventKind, Events, Execute, Incoming, JobOutcome,
    JobResult, LogLevel, Originate, Outcome, SafeText,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::caller::{Caller, From};
use crate::lab::{Lab, SOON};
use crate::machine::udp_port;
use crate::switch::{DOMAIN, PASSWORD};

crate::cases!("wire":
    every_command_of_the_link_is_understood,
    every_command_of_a_call_is_understood,
    a_call_beyond_the_limit_continues_in_the_dialplan,
);

const JOB: Uuid = Uuid::from_u128(0x10b);
const SAID: Uuid = Uuid::from_u128(0x5a1d);
const LEG: Uuid = Uuid::from_u128(0x1e6);

fn block_on(what: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what);
}

/// Sends FreeSWITCH a command, which it must accept; returns its reply.
async fn told(connection: &Connection, command: Command) -> String {
    match connection.send(&command).unwrap().await {
        Outcome::Done(reply) => reply.text(),
        other => panic!("{command:?}: {other:?}"),
    }
}

/// The first incoming item that `wanted` accepts, within the usual time.
async fn comes<T>(what: &str, events: &mut Events, wanted: impl Fn(&Incoming) -> Option<T>) -> T {
    let coming = async {
        loop {
            let incoming = events.next().await.unwrap();
            if let Incoming::Closed(reason) = &incoming {
                panic!("{reason} in place of {what}");
            }
            if let Some(found) = wanted(&incoming) {
                return found;
            }
        }
    };
    timeout(SOON, coming).await.unwrap_or_else(|_| panic!("no {what}"))
}

fn of_kind(kind: EventKind) -> impl Fn(&Incoming) -> Option<Event> {
    move |incoming| match incoming {
        Incoming::Event(event) if event.kind() == kind => Some(event.clone()),
        _ => None,
    }
}

fn every_command_of_the_link_is_understood(lab: &Lab) {
    let address = format!("127.0.0.1:{}", lab.switch.event_socket);
    block_on(async {
        let password = Password::new(PASSWORD).unwrap();
        let (connection, mut events) = connect(&address, &password, ConnectionLimits::default()).await.unwrap();
        let custom = EventSet::of(&[EventKind::BackgroundJob]).custom("fsq::live").unwrap();
        let body = "first\nsecond: \u{fc}\n\nthird";
        let fired = SendEvent::new("CUSTOM").unwrap().header("Event-Subclass", "fsq::live").unwrap();
        let fired = fired.header("Said", "50% of a, b: \u{e9}").unwrap().body(body).unwrap();
        // The same event, plain and as JSON.
        for set in [custom.clone(), custom.clone().json()] {
            told(&connection, Command::Events(set)).await;
            told(&connection, Command::SendEvent(fired.clone())).await;
            let event = comes("an event of ours", &mut events, of_kind(EventKind::Custom)).await;
            assert_eq!(event.header("Said").unwrap(), "50% of a, b: \u{e9}");
            assert_eq!(event.body_text(), body);
        }
        told(&connection, Command::BgApi { job: JOB, call: ApiCall::new("echo done").unwrap() }).await;
        let job = comes("the end of a job", &mut events, of_kind(EventKind::BackgroundJob)).await;
        let done = JobOutcome::Done("done".to_owned());
        assert_eq!(JobResult::of_event(&job), Some(JobResult { job: JOB, outcome: done }));
        assert_eq!(told(&connection, Command::Api(ApiCall::new("echo hello").unwrap())).await, "hello");
        for filter in [Filter::job(JOB), Filter::new("Event-Subclass", "fsq::live").unwrap()] {
            told(&connection, Command::Filter(filter.clone())).await;
            told(&connection, Command::FilterDelete(filter)).await;
        }
        told(&connection, Command::Events(EventSet::all())).await;
        told(&connection, Command::NixEvents(custom)).await;
        told(&connection, Command::NoEvents).await;
        told(&connection, Command::Log(LogLevel::Debug)).await;
        told(&connection, Command::Api(ApiCall::new("log warning fsq: 50%25 of it").unwrap())).await;
        let line = |incoming: &Incoming| match incoming {
            Incoming::Log(line) if line.text().contains("fsq: 50%25 of it") => Some(line.clone()),
            _ => None,
        };
        let line = comes("a line of the log", &mut events, line).await;
        assert_eq!(line.level(), Some(LogLevel::Warning));
        assert!(line.origin()[0].as_deref().is_some_and(|file| file.ends_with(".c")), "{line:?}");
        told(&connection, Command::NoLog).await;
        told(&connection, Command::Exit).await;
    });
}

fn every_command_of_a_call_is_understood(lab: &Lab) {
    block_on(async {
        let door: SocketAddr = (Ipv4Addr::LOCALHOST, lab.switch.controller).into();
        let server = Server::bind(door, ServerLimits::default()).await.unwrap();
        let caller = lab.dial(&From::outside("0791234567", ""), "99900");
        let accepted = timeout(SOON, server.accept(|ip| ip.is_loopback())).await.expect("a call");
        let (connection, mut events) = (accepted.connection, accepted.events);
        let Outcome::Done(reply) = connection.send(&Command::Connect).unwrap().await else { panic!("no channel") };
        let channel = ChannelId::new(&reply.header("Unique-ID").unwrap()).unwrap();
        let set = |value: &str| Execute::with("set", &format!("fsq_test={value}")).unwrap();
        for command in [
            Command::MyEvents,
            Command::Linger(5),
            Command::NoLinger,
            Command::Linger(5),
            Command::DivertEvents(true),
            Command::DivertEvents(false),
            Command::Execute(Execute::new("answer").unwrap()),
        ] {
            told(&connection, command).await;
        }
        // In a header and in a body, with text that would be unsafe in a header.
        let long = "x".repeat(9_000);
        for value in ["short", &long, "reload mod_event_socket"] {
            let execute = set(value).on(channel.clone()).locked().loops(2).event_uuid(SAID);
            told(&connection, Command::Execute(execute)).await;
            let done = |incoming: &Incoming| {
                of_kind(EventKind::ChannelExecuteComplete)(incoming).filter(|e| e.application_uuid() == Some(SAID))
            };
            let done = comes("the end of an application", &mut events, done).await;
            assert_eq!(done.variable("fsq_test").as_deref(), Some(value));
        }
        // Q21: an `originate` that is sent in a body and expanded rings the same phone, with the same name.
        let name = SafeText::new("O'Neil (50 %) ${uuid} {x}, \\ \"b\" \u{5d0}");
        let phone = Endpoint::user("1001", DOMAIN).unwrap();
        let call = Originate::new(LEG, phone).caller_id(name.clone(), SafeText::new("0791234567")).call();
        let order = Execute::background(&VariableName::new("fsq_test").unwrap(), LEG, &call).unwrap();
        told(&connection, Command::Execute(order)).await;
        let carried_out = |incoming: &Incoming| {
            let event = of_kind(EventKind::ChannelExecuteComplete)(incoming)?;
            event
                .header("Application-Data")
                .filter(|said| said.starts_with("fsq_test=+OK"))
                .map(|said| said.into_owned())
        };
        let said = comes("the end of an originate", &mut events, carried_out).await;
        assert_eq!(said.trim_end(), format!("fsq_test=+OK Job-UUID: {LEG}"));
        let ring = lab.phone("1001").rings(SOON);
        assert!(ring.invite.header("From").contains(name.as_str()), "{}", ring.invite.header("From"));
        told(&connection, Command::Api(ApiCall::uuid_kill(&ChannelId::from(LEG), Cause::OriginatorCancel))).await;
        ring.cancelled(SOON);
        let end = |port| (Ipv4Addr::LOCALHOST, port).into();
        let (local, remote) = (end(udp_port()), end(udp_port()));
        told(&connection, Command::Unicast(Unicast { channel: None, local, remote, tcp: false, native: true })).await;
        told(&connection, Command::Hangup { channel: None, cause: Cause::UserBusy }).await;
        let gone = comes("the hang-up", &mut events, of_kind(EventKind::ChannelHangupComplete)).await;
        assert_eq!(gone.hangup_cause(), Some(Cause::UserBusy));
        told(&connection, Command::Exit).await;
        caller.over(SOON);
    });
}

/// No call stays parked without a connection, and none is held for longer than it takes to park.
fn a_call_beyond_the_limit_continues_in_the_dialplan(lab: &Lab) {
    const PARK: Duration = Duration::from_secs(3);
    block_on(async {
        let door = TcpListener::bind((Ipv4Addr::LOCALHOST, lab.switch.controller)).await.unwrap();
        let call = |n| lab.dial(&From::outside(&format!("079111110{n}"), "Hans"), "99900");
        let calls: Vec<_> = (0..8).map(call).collect();
        // The dialplan tries again: a call that comes a second time continued the first time.
        for _ in 0..2 {
            let mut away = JoinSet::new();
            for _ in &calls {
                let (stream, _) = timeout(SOON, door.accept()).await.expect("a connection").unwrap();
                away.spawn(async move {
                    let began = Instant::now();
                    turn_away(stream, PARK, ConnectionLimits::default()).await;
                    began.elapsed()
                });
            }
            while let Some(took) = away.join_next().await {
                let took = took.unwrap();
                assert!(took < PARK, "it was not seen to park within {took:?}");
            }
        }
        drop(door);
        calls.iter().for_each(Caller::hang_up);
        calls.into_iter().for_each(|call| call.over(SOON));
    });
}
