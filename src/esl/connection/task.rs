//! The task that owns a connection's socket.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::frame::{Decoder, Frame, FrameKind};
use super::super::log::LogLine;
use super::super::reply::Reply;
use super::events::Outlet;
use super::inbox::Incoming;
use super::shared::Shared;
use super::{CloseReason, ConnectionLimits};

/// After this many bytes a connection yields to the others. Otherwise a peer that sends faster than we read would keep
/// the thread for a hundred reads, and with a thousand such peers a call would wait for seconds.
const TURN: usize = 64 << 10;

thread_local! {
    /// The read buffer of all connections that have received nothing of their next frame. The decoder copies from it.
    static ROOM: RefCell<Vec<u8>> = RefCell::new(vec![0; 16 << 10]);
}

/// Runs a connection to its end.
pub(super) async fn run<S>(io: S, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut input, mut output) = tokio::io::split(io);
    let mut reader = Reader {
        decoder: Decoder::new(shared.limits.frame),
        outlet: Outlet::new(Arc::clone(&shared)),
        shared: &shared,
        frame_since: None,
        held: 0,
        unreadable: false,
    };
    let reason = {
        let mut reading = std::pin::pin!(reader.run(&mut input));
        tokio::select! {
            reason = &mut reading => reason,
            written = write(&mut output, &shared) => match written {
                Err(reason) => reason,
                // Our side is closed. If we closed the socket with bytes unread, the system would discard what
                // FreeSWITCH has not read yet, so wait a while for FreeSWITCH to close its side.
                Ok(()) => match timeout(shared.limits.farewell, reading).await {
                    Ok(CloseReason::Peer) | Err(_) => CloseReason::Local,
                    Ok(reason) => reason,
                },
            },
        }
    };
    shared.share.give(reader.held);
    drop(reader);
    shared.finish(reason);
}

/// Writes queued commands until the connection is to be closed, then closes this side of it.
async fn write<S: AsyncWrite>(output: &mut WriteHalf<S>, shared: &Shared) -> Result<(), CloseReason> {
    let limit = shared.limits.write;
    let slow = |_| CloseReason::SlowWrite(limit);
    while let Some(mut bytes) = shared.take_unwritten() {
        if bytes.is_empty() {
            shared.wake_writer.notified().await;
            continue;
        }
        timeout(limit, write_all(output, &mut bytes)).await.map_err(slow)??;
    }
    let _ = timeout(limit, output.shutdown()).await.map_err(slow)?;
    Ok(())
}

async fn write_all<S: AsyncWrite>(output: &mut WriteHalf<S>, bytes: &mut BytesMut) -> Result<(), CloseReason> {
    while bytes.has_remaining() {
        if output.write_buf(bytes).await.map_err(failed)? == 0 {
            return Err(CloseReason::Peer);
        }
    }
    output.flush().await.map_err(failed)
}

fn failed(error: std::io::Error) -> CloseReason {
    CloseReason::Io(error.kind())
}

struct Reader<'a> {
    decoder: Decoder,
    outlet: Outlet,
    shared: &'a Shared,
    /// When the first byte of the incomplete frame arrived.
    frame_since: Option<Instant>,
    /// Bytes of the receive buffer that count against the pool.
    held: usize,
    /// Whether an unreadable event has been logged.
    unreadable: bool,
}

impl Reader<'_> {
    /// Reads until the connection ends; returns the reason.
    async fn run<S: AsyncRead>(&mut self, input: &mut ReadHalf<S>) -> CloseReason {
        let mut this_turn = 0;
        loop {
            let read = tokio::select! {
                biased;
                read = read_some(input, &mut self.decoder) => read,
                reason = overdue(self.shared, self.frame_since) => return reason,
            };
            match read {
                Ok(0) if self.decoder.is_inside_frame() => return CloseReason::CutOff,
                Ok(0) => return CloseReason::Peer,
                Ok(bytes) => {
                    this_turn += bytes;
                    self.shared.heard();
                }
                Err(error) => return failed(error),
            }
            loop {
                match self.decoder.decode() {
                    Ok(Some(frame)) => {
                        self.frame_since = None;
                        if let Err(reason) = self.take(frame) {
                            return reason;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return CloseReason::Frame(error),
                }
            }
            if self.decoder.is_inside_frame() {
                self.frame_since.get_or_insert_with(Instant::now);
            }
            if !self.account() {
                return CloseReason::Crowded;
            }
            if this_turn >= TURN {
                this_turn = 0;
                yield_now().await;
            }
        }
    }

    /// Counts the receive buffer against the pool; false when the pool does not allow its size.
    fn account(&mut self) -> bool {
        self.decoder.rest();
        let share = &self.shared.share;
        let now = self.decoder.capacity();
        if now > self.held && !share.take(now - self.held) {
            return false;
        }
        share.give(self.held.saturating_sub(now));
        self.held = now;
        true
    }

    fn take(&mut self, frame: Frame) -> Result<(), CloseReason> {
        let incoming = match frame.kind() {
            FrameKind::CommandReply | FrameKind::ApiResponse => {
                return Reply::of_frame(frame).map_or(Ok(()), |reply| self.shared.reply(reply));
            }
            FrameKind::EventPlain | FrameKind::EventJson => match frame.event() {
                Some(event) => Incoming::Event(event),
                None => {
                    // Logged once, so that a peer that sends nothing else does not fill the log.
                    if !std::mem::replace(&mut self.unreadable, true) {
                        tracing::warn!(bytes = frame.body().len(), "ignored an event that could not be read");
                    }
                    return Ok(());
                }
            },
            FrameKind::DisconnectNotice => match frame.headers().get("Content-Disposition").as_deref() {
                Some("linger") => {
                    Incoming::Lingering(frame.headers().get("Linger-Time").and_then(|text| text.parse().ok()))
                }
                _ => Incoming::Disconnecting,
            },
            FrameKind::LogLine => match LogLine::of_frame(frame) {
                Some(line) => Incoming::Log(line),
                None => return Ok(()),
            },
            FrameKind::AuthRequest => Incoming::AuthRequest,
            FrameKind::RudeRejection => Incoming::Rejected(frame.body_text().trim().to_owned()),
            FrameKind::Other => {
                tracing::debug!(bytes = frame.bytes().len(), "ignored a frame of an unknown kind");
                return Ok(());
            }
        };
        self.outlet.pass(incoming)
    }
}

/// Reads the available bytes. Between two frames a connection waits without a buffer of its own.
async fn read_some<S: AsyncRead>(input: &mut ReadHalf<S>, decoder: &mut Decoder) -> std::io::Result<usize> {
    if decoder.is_inside_frame() {
        return input.read_buf(decoder.buffer()).await;
    }
    poll_fn(|context| {
        ROOM.with_borrow_mut(|room| {
            let mut room = ReadBuf::new(room);
            ready!(Pin::new(&mut *input).poll_read(context, &mut room))?;
            decoder.feed(room.filled());
            Poll::Ready(Ok(room.filled().len()))
        })
    })
    .await
}

/// Returns when the peer has been too slow.
async fn overdue(shared: &Shared, frame_since: Option<Instant>) -> CloseReason {
    let ConnectionLimits { one_frame, silence, .. } = *shared.limits;
    loop {
        let silent_since = shared.silent_since();
        let frame_end = frame_since.map(|since| since + one_frame);
        // While no reply is outstanding the peer cannot be late. A command sent during the sleep is still noticed in
        // time, because its own period is a whole one.
        let silent_end = silent_since.map_or_else(|| Instant::now() + silence, |since| since + silence);
        let next = frame_end.map_or(silent_end, |end| end.min(silent_end));
        sleep_until(next).await;
        if frame_end.is_some_and(|end| end <= Instant::now()) {
            return CloseReason::SlowFrame(one_frame);
        }
        if shared.silent_since().is_some_and(|since| since + silence <= Instant::now()) {
            return CloseReason::Silent(silence);
        }
    }
}
