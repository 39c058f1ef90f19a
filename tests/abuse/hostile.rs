//! Hostile peers: each always has a connection open, and misbehaves in its own way on every second one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::daemon::PATIENCE;

/// How a peer misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// Sends nothing.
    Silence,
    /// Sends meaningless bytes.
    Garbage,
    /// Sends a frame of almost 1 MB without its last byte.
    HalfFrame,
    /// Sends part of a head.
    HalfHead,
    /// Sends headers without end.
    EndlessHeaders,
    /// Sends an endless header line.
    EndlessLine,
    /// Sends an HTTP request.
    Http,
    /// Sends replies to commands that nobody sent.
    Replies,
    /// Sends unsolicited events and log lines, more than the daemon keeps and some unreadable.
    Events,
    /// Claims to be a call for a queue, without our token.
    FalseCall,
    /// Connects from an address that is not allowed.
    Stranger,
    /// Resets the connection as soon as it is open.
    BreakOff,
}

/// Half of the peers fill the daemon's memory as far as they can.
const DEEDS: [Deed; 22] = {
    let mut all = [Deed::HalfFrame; 22];
    all[0] = Deed::Silence;
    all[2] = Deed::Garbage;
    all[4] = Deed::HalfHead;
    all[6] = Deed::EndlessHeaders;
    all[8] = Deed::EndlessLine;
    all[10] = Deed::Http;
    all[12] = Deed::Replies;
    all[14] = Deed::Events;
    all[16] = Deed::FalseCall;
    all[18] = Deed::Stranger;
    all[20] = Deed::BreakOff;
    all
};

/// The first command the daemon sends to an allowed peer.
const HELLO: &[u8] = b"connect\n\n";

/// All hostile peers, on a thread of their own so that they do not delay the switch, which shares this process.
pub(crate) struct Crowd {
    stop: watch::Sender<bool>,
    inside: Arc<Semaphore>,
    size: usize,
    runtime: Runtime,
    all: JoinSet<(Deed, usize)>,
}

impl Crowd {
    /// `size` peers that connect to the port.
    pub(crate) fn at_port(address: SocketAddr, size: usize) -> Self {
        Self::new(size, DEEDS.len(), move |n, round| {
            let deed = DEEDS[n % DEEDS.len()];
            let now = if round % 2 == 0 { deed } else { Deed::Silence };
            (deed, async move { once(now, address, n).await })
        })
    }

    /// `size` peers that connect to the control socket.
    pub(crate) fn at_control(path: PathBuf, size: usize) -> Self {
        const THERE: [Deed; 4] = [Deed::Silence, Deed::Garbage, Deed::HalfHead, Deed::EndlessLine];
        Self::new(size, THERE.len(), move |n, round| {
            let (deed, path) = (THERE[n % THERE.len()], path.clone());
            let now = if round % 2 == 0 { deed } else { Deed::Silence };
            (deed, async move {
                let mut stream = UnixStream::connect(&path).await.expect("the control socket is there");
                misbehave(now, &mut stream, n).await;
                to_the_end(now, &mut stream).await;
            })
        })
    }

    fn new<F, R>(size: usize, kinds: usize, round: F) -> Self
    where
        F: Fn(usize, usize) -> (Deed, R) + Send + Sync + 'static,
        R: Future<Output = ()> + Send,
    {
        assert!(size > kinds);
        let (stop, inside, round) = (watch::channel(false).0, Arc::new(Semaphore::new(0)), Arc::new(round));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut all = JoinSet::new();
        for n in 0..size {
            let (stop, inside, round) = (stop.subscribe(), inside.clone(), round.clone());
            let one = async move {
                let mut rounds = 0;
                loop {
                    let (deed, this) = round(n, rounds);
                    rounds += 1;
                    if rounds == 1 {
                        inside.add_permits(1);
                    }
                    this.await;
                    if *stop.borrow() {
                        return (deed, rounds);
                    }
                }
            };
            all.spawn_on(one, runtime.handle());
        }
        Self { stop, inside, size, runtime, all }
    }

    /// Waits until every peer has started.
    pub(crate) async fn is_there(&self) {
        let everybody = u32::try_from(self.size).unwrap();
        let _ = timeout(PATIENCE, self.inside.acquire_many(everybody)).await.expect("everybody comes in time").unwrap();
    }

    /// Stops opening connections, and waits until the daemon has ended all of them. Returns how many of each kind there
    /// were.
    pub(crate) async fn goes(mut self) -> BTreeMap<Deed, usize> {
        self.stop.send_replace(true);
        let mut ended = BTreeMap::new();
        while let Some(one) = self.all.join_next().await {
            let (deed, rounds) = one.unwrap();
            *ended.entry(deed).or_default() += rounds;
        }
        self.runtime.shutdown_background();
        ended
    }
}

/// One connection, to its end.
async fn once(deed: Deed, address: SocketAddr, n: usize) {
    let socket = TcpSocket::new_v4().unwrap();
    if deed == Deed::Stranger {
        // Every address of 127.0.0.0/8 is this machine's.
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    }
    let mut stream = socket.connect(address).await.expect("the port is open");
    match deed {
        Deed::Stranger => {
            let mut text = String::new();
            let read = timeout(PATIENCE, stream.read_to_string(&mut text)).await.expect("strangers are closed in time");
            return assert_eq!(read.map_err(|error| error.kind()), Ok(0), "a stranger received {text:?}");
        }
        Deed::BreakOff => return stream.set_zero_linger().unwrap(),
        _ => {}
    }
    let mut hello = [0; HELLO.len()];
    timeout(PATIENCE, stream.read_exact(&mut hello)).await.expect("served in time").expect("let in");
    assert_eq!(hello, HELLO);
    misbehave(deed, &mut stream, n).await;
    let got = to_the_end(deed, &mut stream).await;
    if deed == Deed::FalseCall {
        assert!(got.ends_with("exit\n\n") && !got.contains("answer"), "a call without our token received {got:?}");
    }
}

/// A frame of 1 MB without its last byte.
static HALF_FRAME: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let length = 1_000_000;
    let mut frame = format!("Content-Type: text/event-plain\nContent-Length: {length}\n\n").into_bytes();
    frame.resize(frame.len() + length - 1, b'x');
    frame
});

/// 20 kB of garbage, plus some more so that each peer can start at a different offset.
static GARBAGE: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..22_000_u32).map(|at| at.wrapping_mul(at).to_be_bytes()[2]).collect());

/// Misbehaves. The daemon ends some of these connections meanwhile, so a write may fail.
async fn misbehave(deed: Deed, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), n: usize) {
    let bytes = match deed {
        Deed::Garbage => return drop(stream.write_all(&GARBAGE[n..n + 20_000]).await),
        Deed::HalfFrame => return drop(stream.write_all(&HALF_FRAME).await),
        Deed::HalfHead => b"status-and-reload-and-more\rContent-Type: command/reply\rReply-Te".to_vec(),
        Deed::EndlessHeaders | Deed::EndlessLine => {
            let piece = if deed == Deed::EndlessLine { b"endless: header " } else { b"endless: headers\n" as &[u8] };
            let many = piece.repeat(1000);
            return while stream.write_all(&many).await.is_ok() {};
        }
        Deed::Http => b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1e9\r\n\r\n".to_vec(),
        Deed::Replies => b"Content-Type: command/reply\nReply-Text: -ERR no\n\n".repeat(1000),
        Deed::Events => [
            b"Content-Type: text/event-plain\nContent-Length: 30\n\nEvent-Name: CHANNEL_HANGUP\n\n\n\n".as_slice(),
            b"Content-Type: text/event-json\nContent-Length: 5\n\n{\xff}\n{",
            b"Content-Type: log/data\nContent-Length: 2\n\n\0\n",
        ]
        .concat()
        .repeat(600),
        Deed::FalseCall => format!(
            "Event-Name: CHANNEL_DATA\nUnique-ID: false-{n}\nCaller-Destination-Number: 99900\n\
             variable_socket_path: guessed\nContent-Type: command/reply\nReply-Text: %2BOK%0A\n\n"
        )
        .into_bytes(),
        Deed::Silence | Deed::Stranger | Deed::BreakOff => Vec::new(),
    };
    let _ = stream.write_all(&bytes).await;
}

/// Reads until the daemon ends the connection.
async fn to_the_end(deed: Deed, stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut received = Vec::new();
    // If the daemon closes it with unread bytes, the read ends with an error, which is also an end.
    let ended = timeout(PATIENCE, stream.read_to_end(&mut received)).await;
    assert!(ended.is_ok(), "{deed:?} was not ended");
    String::from_utf8(received).unwrap()
}
