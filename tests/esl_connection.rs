//! Connections over an in-memory pipe, on virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/log.rs"]
mod log;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use freeswitch_queue::esl::client::{ConnectError, login};
use freeswitch_queue::esl::command::{Command, Password};
use freeswitch_queue::esl::connection::{CloseReason, Connection, ConnectionLimits, Events, Incoming};
use freeswitch_queue::esl::reply::{Outcome, Unknown};
use freeswitch_queue::esl::server::turn_away;
use freeswitch_queue::esl::{ApiCall, EventKind, LogLevel};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::time::Instant;

use crate::log::Log;

const OK: &[u8] = b"Content-Type: command/reply\nReply-Text: +OK\n\n";
const NO: &[u8] = b"Content-Type: command/reply\nReply-Text: -ERR command not found\n\n";
/// The commands that return a call to the dialplan.
const AWAY: &str =
    "myevents plain\n\nsendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: fsq_given_back=true\n\n";
const BLUR: Duration = Duration::from_millis(5);

fn open(limits: ConnectionLimits) -> (Connection, Events, DuplexStream) {
    let (ours, theirs) = duplex(1 << 16);
    let (connection, events) = Connection::open(ours, limits);
    (connection, events, theirs)
}

/// Reads until the other side has sent exactly `text`.
async fn expect(peer: &mut DuplexStream, text: &str) {
    let mut read = vec![0; text.len()];
    peer.read_exact(&mut read).await.unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), text);
}

fn event(name: &str) -> Vec<u8> {
    let body = format!("Event-Name: {name}\nUnique-ID: u\n\n");
    format!("Content-Length: {}\nContent-Type: text/event-plain\n\n{body}", body.len()).into_bytes()
}

fn api() -> Command {
    Command::Api(ApiCall::new("status").unwrap())
}

#[tokio::test(start_paused = true)]
async fn replies_belong_to_commands_in_order() {
    let (connection, _events, mut peer) = open(ConnectionLimits::default());
    let mut sent = connection.send_all(&[Command::Connect, api(), Command::Linger(2)]).unwrap();
    expect(&mut peer, "connect\n\napi status\n\nlinger 2\n\n").await;
    peer.write_all(OK).await.unwrap();
    peer.write_all(b"Content-Type: api/response\nContent-Length: 9\n\n-ERR no!\n").await.unwrap();
    peer.write_all(NO).await.unwrap();
    let linger = sent.pop().unwrap().await;
    assert_eq!(linger, Outcome::Refused("command not found".into()));
    assert_eq!(sent.pop().unwrap().await, Outcome::Refused("no!".into()));
    assert_eq!(sent.pop().unwrap().await.done().unwrap().header("Reply-Text").unwrap(), "+OK");
}

/// The domain of `user/ID` when FreeSWITCH has a global variable `domain`, and when it has none (mod_event_socket turns
/// an empty answer into "-ERR no reply").
#[tokio::test(start_paused = true)]
async fn the_default_domain_is_known_even_without_the_variable() {
    for (answer, domain) in [
        ("pbx.example.ch", Some("pbx.example.ch")),
        ("-ERR no reply\n", Some("freeswitch.local")),
        ("-ERR global_getvar Command not found!\n", None),
    ] {
        let (connection, _events, mut peer) = open(ConnectionLimits::default());
        let asked = connection.send(&Command::Api(ApiCall::default_domain())).unwrap();
        expect(&mut peer, "api global_getvar domain\n\n").await;
        let reply = format!("Content-Type: api/response\nContent-Length: {}\n\n{answer}", answer.len());
        peer.write_all(reply.as_bytes()).await.unwrap();
        assert_eq!(asked.await.default_domain().as_deref(), domain, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_reply_is_not_taken_for_the_next_commands() {
    let (connection, _events, mut peer) = open(ConnectionLimits::default());
    let first = connection.send(&Command::Connect).unwrap().within(Duration::from_secs(1));
    assert_eq!(first.await, Outcome::Unknown(Unknown::TimedOut(Duration::from_secs(1))));
    let second = connection.send(&Command::Linger(1)).unwrap();
    peer.write_all(NO).await.unwrap();
    peer.write_all(OK).await.unwrap();
    assert!(matches!(second.await, Outcome::Done(_)));
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_once_the_peer_has_closed() {
    let (connection, mut events, peer) = open(ConnectionLimits::default());
    let pending = connection.send(&Command::Connect).unwrap();
    drop(peer);
    assert!(matches!(pending.await, Outcome::Unknown(Unknown::Closed(_))));
    assert!(matches!(events.next().await, Some(Incoming::Closed(_))));
    assert_eq!(events.next().await, None);
    let later = connection.send(&Command::Connect).unwrap();
    assert!(matches!(later.await, Outcome::Unknown(Unknown::Closed(_))));
}

#[tokio::test(start_paused = true)]
async fn notices_are_typed() {
    let (_connection, mut events, mut peer) = open(ConnectionLimits::default());
    peer.write_all(
        b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nLinger-Time: 2\nContent-Length: 0\n\n",
    )
    .await
    .unwrap();
    peer.write_all(&event("CHANNEL_HANGUP_COMPLETE")).await.unwrap();
    peer.write_all(b"Content-Type: text/disconnect-notice\nContent-Disposition: disconnect\nContent-Length: 3\n\nbye")
        .await
        .unwrap();
    drop(peer);
    assert_eq!(events.next().await, Some(Incoming::Lingering(Some(2))));
    let Some(Incoming::Event(event)) = events.next().await else { panic!("no event") };
    assert_eq!(event.kind(), EventKind::ChannelHangupComplete);
    assert_eq!(events.next().await, Some(Incoming::Disconnecting));
    assert_eq!(events.next().await, Some(Incoming::Closed(CloseReason::Peer)));
}

#[tokio::test(start_paused = true)]
async fn ordinary_events_are_dropped_first_when_nobody_takes_them() {
    let limits = ConnectionLimits { events: 2, essential_events: 3, ..ConnectionLimits::default() };
    let (connection, mut events, mut peer) = open(limits);
    for name in ["DTMF", "DTMF", "DTMF", "DTMF", "CHANNEL_ANSWER"] {
        peer.write_all(&event(name)).await.unwrap();
    }
    // A reply after them shows that they were read, and that the reader waits for nobody.
    let pending = connection.send(&Command::Connect).unwrap();
    peer.write_all(OK).await.unwrap();
    assert!(matches!(pending.await, Outcome::Done(_)));
    let mut seen = Vec::new();
    while let Some(incoming) = events.try_next() {
        seen.push(match incoming {
            Incoming::Event(event) => event.kind().as_str().to_owned(),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(seen, ["DTMF", "DTMF", "Missed(2)", "CHANNEL_ANSWER"]);
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_dropped_rather_than_essential_events() {
    let limits = ConnectionLimits { events: 1, essential_events: 2, ..ConnectionLimits::default() };
    let (_connection, mut events, mut peer) = open(limits);
    for _ in 0..4 {
        peer.write_all(&event("CHANNEL_HANGUP")).await.unwrap();
    }
    let mut end = Vec::new();
    peer.read_to_end(&mut end).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(events.next().await, Some(Incoming::Event(_))));
    }
    assert_eq!(events.next().await, Some(Incoming::Closed(CloseReason::Overrun)));
}

#[tokio::test(start_paused = true)]
async fn untaken_events_are_also_bounded_in_bytes() {
    let one = event("DTMF").len();
    let limits = ConnectionLimits { event_bytes: 2 * one, ..ConnectionLimits::default() };
    let (connection, mut events, mut peer) = open(limits);
    // Taking events makes room again, however many come.
    for _ in 0..20 {
        peer.write_all(&event("CHANNEL_ANSWER")).await.unwrap();
        assert!(matches!(events.next().await, Some(Incoming::Event(_))));
    }
    for _ in 0..10 {
        peer.write_all(&event("DTMF")).await.unwrap();
    }
    peer.write_all(&event("CHANNEL_ANSWER")).await.unwrap();
    let pending = connection.send(&Command::Connect).unwrap();
    peer.write_all(OK).await.unwrap();
    assert!(matches!(pending.await, Outcome::Done(_)), "ordinary events were dropped");
    for _ in 0..4 {
        peer.write_all(&event("CHANNEL_ANSWER")).await.unwrap();
    }
    peer.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(connection.closed(), Some(CloseReason::Overrun));
}

#[tokio::test(start_paused = true)]
async fn queued_commands_are_written_before_the_connection_ends() {
    let (connection, events, mut peer) = open(ConnectionLimits::default());
    connection.send(&Command::Exit).unwrap().log_refusal("exit");
    drop(connection);
    let mut all = String::new();
    peer.read_to_string(&mut all).await.unwrap();
    assert_eq!(all, "exit\n\n");
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn slow_peers_are_closed() {
    let limits = ConnectionLimits::default();
    // Half a frame.
    let (_connection, mut events, mut peer) = open(limits);
    peer.write_all(b"Content-Type: comm").await.unwrap();
    let from = tokio::time::Instant::now();
    assert_eq!(events.next().await, Some(Incoming::Closed(CloseReason::SlowFrame(limits.one_frame))));
    assert!(from.elapsed() < limits.one_frame + BLUR);
    // An incomplete frame that keeps growing.
    let (_connection, mut events, mut peer) = open(limits);
    let drip = async {
        while peer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (closed, ()) = tokio::join!(events.next(), drip);
    assert_eq!(closed, Some(Incoming::Closed(CloseReason::SlowFrame(limits.one_frame))));
    // No reply.
    let (connection, mut events, _peer) = open(limits);
    let pending = connection.send(&Command::Connect).unwrap();
    assert_eq!(pending.await, Outcome::Unknown(Unknown::TimedOut(limits.reply)));
    assert_eq!(events.next().await, Some(Incoming::Closed(CloseReason::Silent(limits.silence))));
    // The peer does not read.
    let (ours, _theirs) = duplex(16);
    let (connection, mut events) = Connection::open(ours, limits);
    connection
        .send(&Command::Events(freeswitch_queue::esl::command::EventSet::of(EventKind::NAMED)))
        .unwrap()
        .log_refusal("event");
    assert_eq!(events.next().await, Some(Incoming::Closed(CloseReason::SlowWrite(limits.write))));
    // Without an outstanding reply the peer may be silent.
    let (connection, _events, _peer) = open(limits);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(connection.closed(), None);
}

#[tokio::test(start_paused = true)]
async fn garbage_and_unsolicited_replies_end_the_connection() {
    let (_connection, mut events, mut peer) = open(ConnectionLimits::default());
    peer.write_all(b"Content-Length: lots\n\n").await.unwrap();
    assert!(matches!(events.next().await, Some(Incoming::Closed(CloseReason::Frame(_)))));
    let (_connection, mut events, mut peer) = open(ConnectionLimits::default());
    peer.write_all(OK).await.unwrap();
    assert_eq!(events.next().await, Some(Incoming::Closed(CloseReason::OutOfStep)));
    let (connection, _events, mut peer) = open(ConnectionLimits::default());
    let pending = connection.send(&Command::Connect).unwrap();
    peer.write_all(b"Content-Type: api/response\nContent-Length: 0\n\n").await.unwrap();
    assert_eq!(pending.await, Outcome::Unknown(Unknown::Closed(CloseReason::OutOfStep)));
    let (_connection, mut events, mut peer) = open(ConnectionLimits::default());
    peer.write_all(b"Content-Type: auth/req").await.unwrap();
    drop(peer);
    assert_eq!(events.next().await, Some(Incoming::Closed(CloseReason::CutOff)));
}

#[tokio::test(start_paused = true)]
async fn commands_are_bounded() {
    let limits = ConnectionLimits { commands: 2, ..ConnectionLimits::default() };
    let (connection, _events, mut peer) = open(limits);
    assert!(connection.send_all(&[Command::Connect, Command::Connect, Command::Connect]).is_err());
    let _kept = connection.send_all(&[Command::Connect, Command::MyEvents]).unwrap();
    assert!(connection.send(&Command::Exit).is_err());
    expect(&mut peer, "connect\n\nmyevents plain\n\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_login_succeeds_or_says_why_not() {
    let password = Password::new("ClueCon").unwrap();
    for (hello, answer, sees) in [
        (&b"Content-Type: auth/request\n\n"[..], OK, "in"),
        (b"Content-Type: auth/request\n\n", b"Content-Type: command/reply\nReply-Text: -ERR invalid\n\n", "password"),
        (b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n", b"", "rejected"),
        (b"", b"", "nothing"),
    ] {
        let (ours, mut theirs) = duplex(1 << 12);
        theirs.write_all(hello).await.unwrap();
        let answering = async {
            if !answer.is_empty() {
                expect(&mut theirs, "auth ClueCon\n\n").await;
                theirs.write_all(answer).await.unwrap();
            }
        };
        let (result, ()) = tokio::join!(login(ours, &password, ConnectionLimits::default()), answering);
        match (result, sees) {
            (Ok(_), "in") => {}
            (Err(ConnectError::Password(text)), "password") => assert_eq!(text, "invalid"),
            (Err(ConnectError::Rejected(text)), "rejected") => assert_eq!(text, "Access Denied, go away."),
            (Err(ConnectError::TimedOut(after)), "nothing") => assert_eq!(after, ConnectionLimits::default().reply),
            (other, sees) => panic!("{other:?} in place of {sees}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_turned_away_once_it_is_parked() {
    let (ours, mut theirs) = duplex(1 << 12);
    let park = Duration::from_secs(3);
    let turning = tokio::spawn(turn_away(ours, park, ConnectionLimits::default()));
    expect(&mut theirs, &format!("connect\n\n{AWAY}")).await;
    theirs.write_all(&OK.repeat(3)).await.unwrap();
    theirs.write_all(&event("CHANNEL_EXECUTE")).await.unwrap();
    // The daemon sends nothing more before the park.
    let mut byte = [0];
    assert!(tokio::time::timeout(park / 2, theirs.read(&mut byte)).await.is_err());
    theirs.write_all(&event("CHANNEL_PARK")).await.unwrap();
    let mut rest = String::new();
    theirs.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "exit\n\n");
    turning.await.unwrap();
}

/// The call parked before the subscription: the end of the application it executes shows that.
#[tokio::test(start_paused = true)]
async fn a_missed_park_event_delays_nothing() {
    let (ours, mut theirs) = duplex(1 << 12);
    let began = Instant::now();
    let turning = tokio::spawn(turn_away(ours, Duration::from_secs(3), ConnectionLimits::default()));
    expect(&mut theirs, &format!("connect\n\n{AWAY}")).await;
    theirs.write_all(&OK.repeat(3)).await.unwrap();
    theirs.write_all(&event("CHANNEL_EXECUTE_COMPLETE")).await.unwrap();
    expect(&mut theirs, "exit\n\n").await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    turning.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_logged_when_nobody_waits_for_it() {
    let (log, _guard) = Log::begin();

    let (connection, _events, mut peer) = open(ConnectionLimits::default());
    connection.send(&Command::Linger(1)).unwrap().log_refusal("keeping the connection");
    drop(connection.send(&Command::MyEvents).unwrap());
    let last = connection.send(&Command::Connect).unwrap();
    peer.write_all(&[NO, NO, OK].concat()).await.unwrap();
    assert!(matches!(last.await, Outcome::Done(_)));
    // The reply to this command arrives before `log_refusal`.
    let late = connection.send(&Command::NoEvents).unwrap();
    let last = connection.send(&Command::Connect).unwrap();
    peer.write_all(&[NO, OK].concat()).await.unwrap();
    assert!(matches!(last.await, Outcome::Done(_)));
    late.log_refusal("leaving the events");

    let text = log.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, what) in lines.iter().zip(["keeping the connection", "that nobody waits for", "leaving the events"]) {
        assert!(line.contains("WARN") && line.contains("command not found") && line.contains(what), "{line}");
    }
}

/// A peer that always has more bytes ready, up to a limit.
struct Flood {
    left: usize,
}

impl AsyncRead for Flood {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        const FRAME: &[u8] = b"Content-Type: text/unheard-of\n\n";
        let many = FRAME.repeat(into.remaining().min(self.left) / FRAME.len());
        into.put_slice(&many);
        self.left = if many.is_empty() { 0 } else { self.left - many.len() };
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Q21: a peer that never stops sending does not starve the other connections.
#[tokio::test]
async fn a_flood_does_not_starve_other_tasks() {
    let (_connection, mut events) = Connection::open(Flood { left: 4 << 20 }, ConnectionLimits::default());
    let mut turns = 0;
    while events.try_next().is_none() {
        turns += 1;
        tokio::task::yield_now().await;
    }
    assert!(turns > 40, "{turns} turns while 4 MB arrived");
}

/// Log lines arrive like events, and a flood of unreadable events is logged once.
#[tokio::test(start_paused = true)]
async fn log_lines_arrive_and_unreadable_events_are_logged_once() {
    let (log, _guard) = Log::begin();
    let (_connection, mut events, mut peer) = open(ConnectionLimits::default());
    let broken = b"Content-Type: text/event-json\nContent-Length: 1\n\n{".repeat(3);
    let line = b"Content-Type: log/data\nContent-Length: 6\nLog-Level: 3\nUser-Data: u\n\nwrong\n";
    peer.write_all(&[&broken, line.as_slice()].concat()).await.unwrap();
    let Some(Incoming::Log(line)) = events.next().await else { panic!("no line") };
    assert_eq!((line.level(), line.text().as_ref()), (Some(LogLevel::Error), "wrong\n"));
    assert_eq!(log.text().matches("could not be read").count(), 1);
}
