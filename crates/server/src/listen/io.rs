//! One accepted socket: counted, watched while an answer is on it, cut when its reader takes nothing.

mod begin;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use engine::clock;
use engine::instruments::counter::GaugeGuard;
use engine::shares::Connected;
use lens::live::{Closer, Timeline};
use lens::tcp_info::TcpInfo;
use protocol::fault::Fault;
use protocol::id::Owner;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connections::{Connections, Open};
use super::flush::FlushWatch;
use super::traffic::Traffic;
use super::view::{View, Wanted};
use crate::config::Config;

/// How much a client may send ahead of the answer it waits for. What is more stays in the kernel, and only a reset is
/// then seen, not a FIN behind it.
const AHEAD: usize = 64 << 10;

/// What a client's side of the connection says while an answer is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It will send no more (FIN). It may still read.
    Fin,
    /// It is gone (RST, or the network says so).
    Reset,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.0 or 1.1: one answer at a time, so that the socket's signals are about it.
    Http1,
    /// HTTP/2: many streams, each of which is reset by itself. The socket's signals are about none of them.
    Http2,
}

/// The handle on a connection that requests carry.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: u64,
    stream: TcpStream,
    peer: SocketAddr,
    local: Option<SocketAddr>,
    /// Set at most once, before anything else is read: what a trusted proxy says.
    client: OnceLock<SocketAddr>,
    ahead: Mutex<Ahead>,
    received: AtomicU64,
    /// How much of it had come when a request last began or ended.
    claimed: AtomicU64,
    sent: AtomicU64,
    /// The same for all connections together.
    traffic: Arc<Traffic>,
    /// Its place among those that speak the same.
    counted: Mutex<GaugeGuard>,
    /// Set once, as soon as it is known.
    protocol: OnceLock<Protocol>,
    /// How many hold that a request is being answered; while nobody does, what comes in is a head.
    answering: AtomicUsize,
    answered: AtomicU64,
    /// Whether an answer on it has no other end than its close.
    ended_by_close: AtomicBool,
    flush: FlushWatch,
    timeline: Timeline,
    connections: Arc<Connections>,
    /// Who calls on it: usually one, but a proxy may bring several.
    callers: Mutex<Vec<Connected>>,
}

/// What was read while nobody asked for it.
#[derive(Debug, Default)]
struct Ahead {
    bytes: BytesMut,
    fin: bool,
    reader: Option<Waker>,
}

/// The connection as hyper reads and writes it.
#[derive(Debug)]
pub(crate) struct Io {
    shared: Arc<Shared>,
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Its place among the connections, also when it is no longer HTTP that is spoken on it.
    open: Open,
}

/// Whether the bytes of this connection are counted by kind: so large a share of them is, evenly spread.
#[expect(clippy::cast_precision_loss, reason = "connections are numbered from 0, and are fewer than 2^53")]
fn is_sampled(id: u64, share: f64) -> bool {
    ((id + 1) as f64 * share).floor() > (id as f64 * share).floor()
}

impl Io {
    pub(crate) fn new(id: u64, stream: TcpStream, peer: SocketAddr, config: &Config, open: Open) -> Self {
        let write_timeout = config.write_timeout;
        let traffic = open.traffic();
        let local = stream.local_addr().ok();
        let shared = Shared {
            id,
            stream,
            peer,
            local,
            client: OnceLock::new(),
            ahead: Mutex::default(),
            received: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            counted: Mutex::new(traffic.opening()),
            traffic,
            protocol: OnceLock::new(),
            answering: AtomicUsize::new(0),
            answered: AtomicU64::new(0),
            ended_by_close: AtomicBool::new(false),
            flush: FlushWatch::default(),
            timeline: Timeline::new(clock::now(), is_sampled(id, config.lens.sampling)),
            connections: open.connections(),
            callers: Mutex::default(),
        };
        let io = Self { shared: Arc::new(shared), write_timeout, stalled: None, open };
        io.shared.connections.seen().opened(&io.connection());
        io
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection(Arc::clone(&self.shared))
    }

    /// Counts a stall from its begin, and fails when it lasts too long (promise 7).
    fn poll_stall(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stalled.as_mut().poll(context));
        tracing::debug!(connection = self.shared.id, "reader took nothing for too long");
        self.shared.timeline.closed(Closer::Server, "write_timeout");
        // What it has not taken will not be sent: it resumes by position.
        drop(SockRef::from(&self.shared.stream).set_linger(Some(Duration::ZERO)));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_send(&mut self, context: &mut Context<'_>, send: impl Fn(&TcpStream) -> io::Result<usize>) -> Poll<io::Result<usize>> {
        loop {
            match self.shared.stream.poll_write_ready(context) {
                Poll::Pending => return self.poll_stall(context),
                Poll::Ready(result) => result?,
            }
            match send(&self.shared.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    self.stalled = None;
                    self.shared.count_sent(count);
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let shared = &self.shared;
        loop {
            let mut ahead = shared.ahead();
            if !ahead.bytes.is_empty() {
                let count = ahead.bytes.len().min(buffer.remaining());
                buffer.put_slice(&ahead.bytes.split_to(count));
                if ahead.bytes.is_empty() {
                    // A connection that waits, as most do for most of their time, holds no buffer.
                    ahead.bytes = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            if ahead.fin {
                return Poll::Ready(Ok(()));
            }
            if shared.stream.poll_read_ready(context)?.is_pending() {
                ahead.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            drop(ahead);
            match shared.stream.try_read_buf(buffer) {
                Ok(count) => {
                    shared.count_received(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&self.shared.stream).shutdown(std::net::Shutdown::Write) {
            // A client that has already gone has nothing to be told.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            Ok(()) | Err(_) => Poll::Ready(Ok(())),
        }
    }
}

impl Shared {
    fn view(&self) -> View {
        View {
            id: self.id,
            client: self.client.get().copied().unwrap_or(self.peer),
            peer: self.peer,
            local: self.local,
            protocol: self.protocol.get().copied(),
            received: self.received.load(Ordering::Relaxed),
            claimed: self.claimed(),
            sent: self.sent.load(Ordering::Relaxed),
            is_open: true,
            record: self.timeline.record(),
            tcp: kernels_view(&self.stream),
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_received(&self, count: usize) {
        self.received.fetch_add(count as u64, Ordering::Relaxed);
        self.traffic.received.add(count as u64);
    }

    /// How much of what has come is some request's. What comes between two of HTTP/1 is the begin of a head, and nobody's yet.
    fn claimed(&self) -> u64 {
        let is_between = self.protocol.get() != Some(&Protocol::Http2) && self.answering.load(Ordering::Acquire) == 0;
        if is_between { &self.claimed } else { &self.received }.load(Ordering::Relaxed)
    }

    fn claim(&self) {
        self.claimed.store(self.received.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn count_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        self.traffic.sent.add(count as u64);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.protocol.get().is_none() {
            self.traffic.closed_silently();
        }
        self.timeline.closed(Closer::Server, "close");
        self.connections.seen().closed(self.id, self.view());
    }
}

impl Connection {
    /// Counts it among those of `owner`, unless it is already, or says as `connect` why not.
    pub(crate) fn called_by(&self, owner: &Owner, connect: impl FnOnce() -> Result<Connected, Fault>) -> Result<(), Fault> {
        let mut callers = self.0.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if !callers.iter().any(|caller| caller.owner() == owner) {
            callers.push(connect()?);
        }
        Ok(())
    }

    /// Its number, for logs.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Whose it is, as a trusted proxy's header says, or else who made it.
    pub fn client(&self) -> SocketAddr {
        self.0.client.get().copied().unwrap_or(self.0.peer)
    }

    /// Who made it: the client, or the last proxy before us.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Bytes received and sent so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.0.received.load(Ordering::Relaxed), self.0.sent.load(Ordering::Relaxed))
    }

    /// What happened on it.
    pub(crate) fn timeline(&self) -> &Timeline {
        &self.0.timeline
    }

    /// A handle that does not keep it open.
    pub(super) fn downgrade(&self) -> Remote {
        Remote(Arc::downgrade(&self.0))
    }

    /// What is spoken on it.
    pub fn protocol(&self) -> Protocol {
        self.0.protocol.get().copied().unwrap_or(Protocol::Http1)
    }

    /// Resolves when the client half-closes or is gone, from the moment it does: what it sends meanwhile is kept for
    /// the next request. Dropping the future loses nothing. Never resolves on HTTP/2, where the stream says by itself
    /// that its reader has left: its handler and its body are dropped.
    pub async fn signal(&self) -> Signal {
        let shared = &self.0;
        if self.protocol() == Protocol::Http2 {
            return std::future::pending().await;
        }
        loop {
            if shared.ahead().fin {
                return Signal::Fin;
            }
            if shared.ahead().bytes.len() >= AHEAD {
                return self.reset().await;
            }
            match shared.stream.ready(Interest::READABLE | Interest::ERROR).await {
                Ok(ready) if !ready.is_error() => {}
                Ok(_) | Err(_) => return Signal::Reset,
            }
            let mut ahead = shared.ahead();
            ahead.bytes.reserve(4096);
            match shared.stream.try_read_buf(&mut ahead.bytes) {
                Ok(0) => ahead.fin = true,
                Ok(count) => shared.count_received(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Signal::Reset,
            }
            if let Some(reader) = ahead.reader.take() {
                reader.wake();
            }
        }
    }

    /// Resolves when the client is gone; a half-close is not enough. Never resolves on HTTP/2.
    pub async fn reset(&self) -> Signal {
        if self.protocol() == Protocol::Http2 {
            return std::future::pending().await;
        }
        // A broken readiness source means that the runtime goes down: then nobody is there either.
        drop(self.0.stream.ready(Interest::ERROR).await);
        Signal::Reset
    }

    /// Takes what the client still says behind our FIN, up to its own. A close with bytes that nobody has read is a reset, which
    /// can destroy what was sent before: of TLS there is always a goodbye behind that of HTTP/2.
    pub(super) async fn read_out(&self) {
        let (stream, mut bytes) = (&self.0.stream, [0; 1024]);
        let mut left = AHEAD;
        while left > 0 && stream.readable().await.is_ok() {
            match stream.try_read(&mut bytes) {
                Ok(0) => return,
                Ok(count) => {
                    self.0.count_received(count);
                    left = left.saturating_sub(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }

    /// Resolves when the HTTP/1 codec has handed all that it was given to the kernel. For a body of this connection only.
    pub(crate) async fn flushed(&self) {
        std::future::poll_fn(|context| self.0.flush.poll_flushed(context)).await;
    }

    /// The codec has flushed.
    pub(super) fn has_flushed(&self) {
        self.0.flush.flushed();
    }

    /// Makes the close that follows a RST, so that no client takes a close-delimited part for the whole (promise 3).
    pub fn abort(&self) {
        self.0.timeline.closed(Closer::Server, "reset");
        // A socket that cannot take the option is closed already.
        drop(SockRef::from(&self.0.stream).set_linger(Some(Duration::ZERO)));
    }

    /// The answer on it ends with it.
    pub(crate) fn ends_by_close(&self) {
        self.0.ended_by_close.store(true, Ordering::Relaxed);
    }

    /// Whether its close would look like an answer's end.
    pub(crate) fn is_ended_by_close(&self) -> bool {
        self.0.ended_by_close.load(Ordering::Relaxed)
    }

    /// What is spoken is known now.
    pub(crate) fn speaks(&self, protocol: Protocol) {
        if self.0.protocol.set(protocol).is_ok() {
            *self.0.counted.lock().unwrap_or_else(PoisonError::into_inner) = self.0.traffic.speaks(protocol);
        }
    }

    /// A request is read: what comes now belongs to it, until the guard goes. Whoever takes the connection over for
    /// something else, such as a WebSocket, holds one as long: there are no heads any more, and no pauses between them.
    pub(crate) fn answer(&self) -> Answering {
        self.0.claim();
        self.0.answering.fetch_add(1, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// The number of requests answered so far, unless one is being answered now.
    pub(crate) fn answered(&self) -> Option<u64> {
        (self.0.answering.load(Ordering::Relaxed) == 0).then(|| self.0.answered.load(Ordering::Relaxed))
    }

    /// Whether bytes have come that nobody has taken.
    pub(crate) fn has_begun(&self) -> bool {
        !self.0.ahead().bytes.is_empty()
    }

    /// Says `words` outside of any answer, as far as the socket takes them at once.
    pub(crate) fn say(&self, words: &[u8]) {
        if let Ok(count) = self.0.stream.try_write(words) {
            self.0.count_sent(count);
            self.0.timeline.down(&words[..count]);
        }
    }
}

/// What the kernel knows of a socket.
#[cfg(target_os = "linux")]
fn kernels_view(stream: &TcpStream) -> Option<TcpInfo> {
    lens::tcp_info::tcp_info(stream).ok()
}

/// What the kernel knows of a socket: nothing that this system would say.
#[cfg(not(target_os = "linux"))]
fn kernels_view(_stream: &TcpStream) -> Option<TcpInfo> {
    None
}

/// A handle on a connection that does not keep it open.
#[derive(Clone, Debug)]
pub(super) struct Remote(Weak<Shared>);

impl Remote {
    /// The connection, if it is still there.
    pub(super) fn view(&self) -> Option<View> {
        self.0.upgrade().map(|shared| shared.view())
    }

    /// Whether the connection is still there, and wanted by whoever asks.
    pub(super) fn is_wanted(&self, wanted: &Wanted<'_>) -> bool {
        self.0.upgrade().is_some_and(|shared| shared.timeline.look(|owner, requests| wanted.matches(owner, requests)))
    }
}

/// While it lives, a request of the connection is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Connection);

impl Drop for Answering {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.claim();
        shared.answered.fetch_add(1, Ordering::Relaxed);
        shared.answering.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
