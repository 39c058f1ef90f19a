//! Measures how fast events are read: by this project, by three other crates and by a bare scan, in one run.
//!
//! Each reads every event of the stream and decodes six of its headers. Crates that hide their reader behind a
//! connection are fed over TCP on loopback; those that accept any stream are also fed from memory. This project is
//! measured both ways, for a fair comparison.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use freeswitch_queue::esl::frame::{Decoder, FrameLimits};
use freeswitch_queue::esl::connection::{Incoming, Connection, ConnectionLimits};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use wire_benches::{READ, events, large_head, plain};

const OK: &[u8] = b"Content-Type: command/reply\nReply-Text: +OK\n\n";
/// How often the captures are repeated in the stream, and how often each contestant reads it; the shortest time counts.
const TIMES: usize = 5;
const ROUNDS: usize = 30;

/// One way to read the stream.
struct Contestant<'a> {
    what: &'static str,
    from: &'static str,
    bytes: usize,
    run: Box<dyn FnMut() -> Duration + 'a>,
    best: Duration,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let (times, rounds) = if quick { (1, 1) } else { (TIMES, ROUNDS) };
    let sample = events();
    let stream: &'static [u8] = plain(&sample, times).leak();
    let json: &'static [u8] = as_json(&sample, times).leak();
    let head = large_head();
    let count = sample.len() * times;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");

    let contestant = |what, from, bytes, run| Contestant { what, from, bytes, run, best: Duration::MAX };
    let plain = stream.len();
    let mut all: [Contestant; 10] = [
        contestant("bare scan for line ends (memchr)", "memory", plain, Box::new(|| scan(stream))),
        contestant("this project, `Decoder`", "memory", plain, Box::new(|| decode(stream, count))),
        contestant("this project, `Connection`", "memory", plain, Box::new(|| over_memory(&runtime, stream, count, ours))),
        contestant("eslrs 0.1.0-rc.3", "memory", plain, Box::new(|| over_memory(&runtime, stream, count, eslrs))),
        contestant("this project, `Connection`", "TCP", plain, Box::new(|| over_tcp(&runtime, stream, count, ours))),
        contestant("eslrs 0.1.0-rc.3", "TCP", plain, Box::new(|| over_tcp(&runtime, stream, count, eslrs))),
        contestant(
            "freeswitch-esl-tokio 2.8.0",
            "TCP",
            plain,
            Box::new(|| over_tcp(&runtime, stream, count, freeswitch_esl_tokio)),
        ),
        contestant(
            "freeswitch-esl 0.1.0 (JSON only, hands no event over)",
            "TCP",
            json.len(),
            Box::new(|| freeswitch_esl(&runtime, json)),
        ),
        contestant("", "", 0, Box::new(|| pieces(&head, head.len()))),
        contestant("", "", 0, Box::new(|| pieces(&head, 128))),
    ];
    // In turns, so that other load on the machine affects all of them.
    for _ in 0..rounds {
        for contestant in &mut all {
            contestant.best = contestant.best.min((contestant.run)());
        }
    }

    println!(
        "{count} events, {} kB as plain events, {} kB as JSON; best of {rounds}\n",
        plain / 1000,
        json.len() / 1000
    );
    println!("| what | fed from | events/s | MB/s | one in |\n|---|---|---:|---:|---:|");
    for Contestant { what, from, bytes, best, .. } in all.iter().filter(|contestant| contestant.bytes > 0) {
        let seconds = best.as_secs_f64();
        let (rate, one) = (count as f64 / seconds, seconds * 1e6 / count as f64);
        println!("| {what} | {from} | {rate:.0} | {:.0} | {one:.2} \u{b5}s |", *bytes as f64 / seconds / 1e6);
    }

    let [_, decoder, connection, eslrs_memory, connection_tcp, eslrs_tcp, esl_tokio, esl, whole, cut] = all.map(|c| c.best);
    println!("\n| ratio | goal | is |\n|---|---:|---:|");
    let ratio = |what: &str, goal: &str, a: Duration, b: Duration| {
        println!("| {what} | {goal} | {:.1} |", a.as_secs_f64() / b.as_secs_f64());
    };
    let fastest = eslrs_memory.min(eslrs_tcp).min(esl_tokio).min(esl);
    ratio("`Decoder` : freeswitch-esl-tokio", "\u{2265} 10", esl_tokio, decoder);
    ratio("`Decoder` : fastest of the three", "\u{2265} 5", fastest, decoder);
    ratio("`Connection` : freeswitch-esl-tokio, both over TCP", "", esl_tokio, connection_tcp);
    ratio("`Connection` : fastest of the three, both over TCP", "", eslrs_tcp.min(esl_tokio).min(esl), connection_tcp);
    ratio("`Connection` : eslrs, both from memory", "", eslrs_memory, connection);
    ratio("a head of 24 kB in pieces of 128 bytes : in one", "\u{2264} 3", cut, whole);
}

fn scan(stream: &[u8]) -> Duration {
    let from = Instant::now();
    black_box(memchr::memchr_iter(b'\n', black_box(stream)).count());
    from.elapsed()
}

/// The decoder alone, fed 16 kB at a time as from a socket.
fn decode(stream: &[u8], count: usize) -> Duration {
    let from = Instant::now();
    let mut decoder = Decoder::new(FrameLimits::default());
    let (mut seen, mut rest) = (0, stream);
    while !rest.is_empty() {
        let buffer = decoder.buffer();
        let (piece, later) = rest.split_at(rest.len().min(buffer.capacity() - buffer.len()));
        buffer.extend_from_slice(piece);
        rest = later;
        while let Some(frame) = decoder.decode().expect("frames") {
            let event = frame.event().expect("an event");
            for name in READ {
                black_box(event.header(name));
            }
            seen += 1;
        }
    }
    assert_eq!(seen, count);
    from.elapsed()
}

/// One large head, cut into pieces.
fn pieces(head: &[u8], size: usize) -> Duration {
    let from = Instant::now();
    for _ in 0..100 {
        let mut decoder = Decoder::new(FrameLimits::default());
        let mut frames = 0;
        for piece in head.chunks(size) {
            decoder.feed(piece);
            frames += usize::from(decoder.decode().expect("a frame").is_some());
        }
        assert_eq!(frames, 1);
    }
    from.elapsed()
}

type Memory = tokio::io::Join<&'static [u8], tokio::io::Sink>;

fn over_memory<F: Future<Output = ()>>(
    runtime: &Runtime,
    stream: &'static [u8],
    count: usize,
    reader: impl FnOnce(Memory, usize) -> F,
) -> Duration {
    let from = Instant::now();
    runtime.block_on(reader(tokio::io::join(stream, tokio::io::sink()), count));
    from.elapsed()
}

/// A FreeSWITCH that sends only the stream, as fast as the reader takes it.
fn over_tcp<F: Future<Output = ()>>(
    runtime: &Runtime,
    stream: &'static [u8],
    count: usize,
    reader: impl FnOnce(tokio::net::TcpStream, usize) -> F,
) -> Duration {
    let (address, switch) = switch(move |mut peer| peer.write_all(stream));
    let took = runtime.block_on(async {
        let io = tokio::net::TcpStream::connect(address).await.expect("a connection");
        let from = Instant::now();
        reader(io, count).await;
        from.elapsed()
    });
    // If a reader closes before it has read everything, the write fails.
    let _ = switch.join().expect("the switch");
    took
}

fn switch(
    run: impl FnOnce(TcpStream) -> std::io::Result<()> + Send + 'static,
) -> (SocketAddr, std::thread::JoinHandle<std::io::Result<()>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("an address");
    (address, std::thread::spawn(move || run(listener.accept()?.0)))
}

async fn ours<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: S, count: usize) {
    // Room for all events: the connection never waits for the application, and would drop events not taken in time.
    let (_connection, mut events) = Connection::open(io, ConnectionLimits { events: count, ..ConnectionLimits::default() });
    for _ in 0..count {
        let Some(Incoming::Event(event)) = events.next().await else { panic!("an event is missing") };
        for name in READ {
            black_box(event.header(name));
        }
    }
}

async fn eslrs<S: AsyncRead + AsyncWrite + Unpin>(io: S, count: usize) {
    let mut connection = eslrs::ESLConnection::new(io);
    for _ in 0..count {
        let event = connection.recv().await.expect("an event");
        let event = eslrs::event::PlainEvent::try_from(event).expect("a plain event");
        for name in READ {
            let value = event.get_header(name).unwrap_or_default();
            black_box(percent_encoding::percent_decode_str(value).decode_utf8_lossy());
        }
    }
}

async fn freeswitch_esl_tokio(io: tokio::net::TcpStream, count: usize) {
    use freeswitch_esl_tokio::{EslClient, EslConnectOptions, EventOverflow};
    let options = EslConnectOptions::new().with_event_overflow(EventOverflow::BlockFor(Duration::from_secs(60)));
    let (_client, mut events) = EslClient::adopt_stream_with_options(io, b"", options).expect("a connection");
    for _ in 0..count {
        let event = events.recv().await.expect("an event").expect("a good event");
        for name in READ {
            black_box(event.header_str(name));
        }
    }
}

/// This crate subscribes to JSON itself, reads events only for its own jobs, and passes none on. So this measures only
/// its reading, until the reply after the last event arrives.
fn freeswitch_esl(runtime: &Runtime, json: &'static [u8]) -> Duration {
    let (address, switch) = switch(move |mut peer| {
        peer.write_all(b"Content-Type: auth/request\n\n")?;
        for reply in [&b"Content-Type: command/reply\nReply-Text: +OK accepted\n\n"[..], OK] {
            command(&mut peer)?;
            // It registers the waiter for a reply only after it has sent the command, and waits for ever if the reply
            // comes first.
            std::thread::sleep(Duration::from_millis(10));
            peer.write_all(reply)?;
        }
        command(&mut peer)?;
        peer.write_all(json)?;
        peer.write_all(OK)?;
        peer.write_all(b"Content-Type: text/disconnect-notice\nContent-Length: 0\n\n")
    });
    let took = runtime.block_on(async {
        let connection = freeswitch_esl::Esl::inbound(address, "ClueCon").await.expect("a connection");
        let from = Instant::now();
        connection.send_recv(b"noop").await.expect("a reply");
        from.elapsed()
    });
    let _ = switch.join().expect("the switch");
    took
}

/// Reads one command.
fn command(peer: &mut TcpStream) -> std::io::Result<()> {
    let mut read = Vec::new();
    while !read.ends_with(b"\n\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte)?;
        read.extend(byte);
    }
    Ok(())
}

fn as_json(sample: &[freeswitch_queue::esl::frame::Frame], times: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in sample {
        let event = frame.event().expect("an event");
        let headers: HashMap<_, _> = event
            .headers()
            .into_iter()
            // Without job ids, because the crate does more with the results of jobs than read them.
            .filter(|(name, _)| name != "Job-UUID" && name != "Application-UUID")
            .collect();
        let body = serde_json::to_string(&headers).expect("JSON");
        stream.extend_from_slice(
            format!("Content-Length: {}\nContent-Type: text/event-json\n\n{body}", body.len()).as_bytes(),
        );
    }
    stream.repeat(times)
}
