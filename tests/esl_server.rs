//! The listener over real TCP: which peers it accepts, refuses and turns away, and how.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use freeswitch_queue::esl::client::{ConnectError, connect};
use freeswitch_queue::esl::command::{Command, Password};
use freeswitch_queue::esl::connection::{CloseReason, ConnectionLimits, Incoming};
use freeswitch_queue::esl::server::{Accepted, Server, ServerLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);
const OK: &[u8] = b"Content-Type: command/reply\nReply-Text: +OK\n\n";
const PARK: &[u8] = b"Content-Length: 26\nContent-Type: text/event-plain\n\nEvent-Name: CHANNEL_PARK\n\n";

async fn server(limits: ServerLimits) -> (Arc<Server>, SocketAddr) {
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), limits).await.unwrap();
    let address = server.local_addr().unwrap();
    (Arc::new(server), address)
}

async fn accept(server: &Server) -> Accepted {
    timeout(PATIENCE, server.accept(|ip| ip.is_loopback())).await.unwrap()
}

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut all = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut all)).await.unwrap().unwrap();
    all
}

#[tokio::test]
async fn a_peer_that_is_not_allowed_is_closed_at_once() {
    let (server, address) = server(ServerLimits::default()).await;
    let accepting = tokio::spawn(async move { server.accept(|_| false).await });
    let mut stranger = TcpStream::connect(address).await.unwrap();
    assert_eq!(read_to_end(&mut stranger).await, "");
    accepting.abort();
}

#[tokio::test]
async fn a_call_beyond_the_limit_returns_to_the_dialplan_once_it_is_parked() {
    let (server, address) = server(ServerLimits { connections: 1, ..ServerLimits::default() }).await;
    let _first = TcpStream::connect(address).await.unwrap();
    let first = accept(&server).await;
    assert_eq!(server.free_places(), 0);
    // The server turns the second away while it waits for the third.
    let accepting = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { accept(&server).await })
    };
    let mut second = TcpStream::connect(address).await.unwrap();
    let expected = "connect\n\nmyevents plain\n\nsendmsg\ncall-command: execute\nexecute-app-name: set\nexecute-app-arg: fsq_given_back=true\n\n";
    let mut read = vec![0; expected.len()];
    timeout(PATIENCE, second.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(read).unwrap(), expected);
    second.write_all(&[OK, OK, OK, PARK].concat()).await.unwrap();
    assert_eq!(read_to_end(&mut second).await, "exit\n\n");
    // A returned place is free for the next call.
    drop(first);
    let _third = TcpStream::connect(address).await.unwrap();
    timeout(PATIENCE, accepting).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_last_command_arrives_even_with_unread_bytes() {
    let (server, address) = server(ServerLimits::default()).await;
    let mut switch = TcpStream::connect(address).await.unwrap();
    let Accepted { connection, events, .. } = accept(&server).await;
    // Bytes left unread when the socket closes would make the system reset the connection.
    switch.write_all(&PARK.repeat(100)).await.unwrap();
    connection.send(&Command::Exit).unwrap().log_refusal("exit");
    drop((connection, events));
    assert_eq!(read_to_end(&mut switch).await, "exit\n\n");
}

/// Q21: peers that use up the shared memory lose their own connections and cost no call its connection.
#[tokio::test]
async fn a_peer_that_exceeds_the_shared_memory_is_closed() {
    let (server, address) = server(ServerLimits { own: 32 << 10, shared: 256 << 10, ..ServerLimits::default() }).await;
    let half = [b"Content-Length: 200000\n\n".as_slice(), &[b'x'; 199_999]].concat();
    let mut first = TcpStream::connect(address).await.unwrap();
    let mut greedy = accept(&server).await;
    let mut call = TcpStream::connect(address).await.unwrap();
    let mut served = accept(&server).await;
    served.connection.vouch();
    first.write_all(&half).await.unwrap();
    call.write_all(&half).await.unwrap();
    // The call's frame, which is complete now, no longer counts once it is handled.
    call.write_all(&[b"x", PARK].concat()).await.unwrap();
    assert!(matches!(timeout(PATIENCE, served.events.next()).await.unwrap(), Some(Incoming::Event(_))));
    let mut second = TcpStream::connect(address).await.unwrap();
    let mut refused = accept(&server).await;
    let _ = second.write_all(&half).await;
    // One of the two exceeds the limit; which one depends on the order in which they are read.
    let closed = |incoming: Option<Incoming>| assert_eq!(incoming, Some(Incoming::Closed(CloseReason::Crowded)));
    tokio::select! {
        incoming = greedy.events.next() => closed(incoming),
        incoming = refused.events.next() => closed(incoming),
        () = tokio::time::sleep(PATIENCE) => panic!("both hold 200 kB of 256 kB"),
    }
    call.write_all(PARK).await.unwrap();
    assert!(matches!(timeout(PATIENCE, served.events.next()).await.unwrap(), Some(Incoming::Event(_))));
}

#[tokio::test]
async fn an_inbound_link_logs_in_or_reports_what_is_wrong() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let switch = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"Content-Type: auth/request\n\n").await.unwrap();
        let mut read = vec![0; "auth ClueCon\n\n".len()];
        stream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, b"auth ClueCon\n\n");
        stream.write_all(&[OK, PARK].concat()).await.unwrap();
        // From here on nobody listens.
    });
    let password = Password::new("ClueCon").unwrap();
    let (_connection, mut events) = connect(&address, &password, ConnectionLimits::default()).await.unwrap();
    assert!(matches!(timeout(PATIENCE, events.next()).await.unwrap(), Some(Incoming::Event(_))));
    switch.await.unwrap();
    let error = connect(&address, &password, ConnectionLimits::default()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Io { .. }));
    assert!(error.to_string().contains(&address), "{error}");
}
