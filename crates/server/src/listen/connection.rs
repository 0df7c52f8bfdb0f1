//! The handle to an accepted socket, in the extensions of its requests: counts, the client's signals
//! during a response, and the close.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use engine::clock;
use engine::instruments::counter::GaugeGuard;
use engine::shares::ConnectionGuard;
use lens::live::{ClosingSide, Timeline};
use lens::tcp_info::TcpInfo;
use protocol::fault::Fault;
use protocol::id::Owner;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::connections::ConnectionSlot;
use super::flush::FlushWatch;
use super::protocol::HttpVersion;
use super::register::{Register, Registered};
use super::traffic::Traffic;
use super::view::{ConnectionFilter, ConnectionView};
use crate::config::Config;

/// How many bytes are read ahead while a response is pending. Beyond that, bytes stay in the kernel
/// and a FIN after them is not seen; only a reset is.
const AHEAD: usize = 64 << 10;

/// What the client's side of a connection signals while a response is on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It will send no more (FIN). It may still read.
    Fin,
    /// The connection was reset or the network reported an error.
    Reset,
}

/// The handle to a connection, in the extensions of its requests.
#[derive(Clone, Debug)]
pub struct ConnectionHandle(Arc<Socket>);

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) id: u64,
    pub(super) stream: TcpStream,
    peer: SocketAddr,
    local: Option<SocketAddr>,
    /// The address from a trusted proxy's PROXY header; set at most once, before anything else is
    /// read.
    pub(super) client: OnceLock<SocketAddr>,
    ahead: Mutex<ReadAhead>,
    received: AtomicU64,
    /// The value of `received` when a request last started or ended.
    claimed: AtomicU64,
    sent: AtomicU64,
    /// The counts of all connections together.
    traffic: Arc<Traffic>,
    /// Counts it among the connections of its protocol.
    counted: Mutex<GaugeGuard>,
    /// Set once, as soon as it is known.
    protocol: OnceLock<HttpVersion>,
    /// How many [`ResponseGuard`]s exist; without one, arriving bytes are a head.
    responses: AtomicUsize,
    finished: AtomicU64,
    /// Whether a response on it ends by its close.
    ended_by_close: AtomicBool,
    /// Whether it was reset by request: nothing is read or written any more.
    is_reset: AtomicBool,
    flush: FlushWatch,
    pub(super) timeline: Timeline,
    register: Arc<Register>,
    /// The callers whose requests came on it: usually one, but a proxy may bring several.
    callers: Mutex<Vec<ConnectionGuard>>,
}

/// What was read before the codec asked for it.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    pub(super) bytes: BytesMut,
    pub(super) fin: bool,
    pub(super) reader: Option<Waker>,
}

/// Whether the bytes of this connection are counted by kind: `share` of all connections are, evenly
/// spread.
#[expect(
    clippy::cast_precision_loss,
    reason = "connections are numbered from 0, and are fewer than 2^53"
)]
fn is_sampled(id: u64, share: f64) -> bool {
    ((id + 1) as f64 * share).floor() > (id as f64 * share).floor()
}

impl Socket {
    fn new(
        id: u64,
        stream: TcpStream,
        peer: SocketAddr,
        config: &Config,
        open: &ConnectionSlot,
    ) -> Self {
        let traffic = open.traffic();
        let local = stream.local_addr().ok();
        Self {
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
            responses: AtomicUsize::new(0),
            finished: AtomicU64::new(0),
            ended_by_close: AtomicBool::new(false),
            is_reset: AtomicBool::new(false),
            flush: FlushWatch::default(),
            timeline: Timeline::new(clock::now(), is_sampled(id, config.lens.sampling)),
            register: open.register(),
            callers: Mutex::default(),
        }
    }

    fn snapshot(&self) -> ConnectionView {
        ConnectionView {
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
            tcp: tcp_info_of(&self.stream),
        }
    }

    /// Whether it was reset by request.
    pub(super) fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::Relaxed)
    }

    pub(super) fn ahead(&self) -> MutexGuard<'_, ReadAhead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_received(&self, count: usize) {
        self.received.fetch_add(count as u64, Ordering::Relaxed);
        self.traffic.received.add(count as u64);
    }

    /// How many of the received bytes belong to requests. Bytes between two requests of
    /// HTTP/1 are the start of a head, and belong to no caller yet.
    fn claimed(&self) -> u64 {
        let is_between = self.protocol.get() != Some(&HttpVersion::Http2)
            && self.responses.load(Ordering::Acquire) == 0;
        if is_between { &self.claimed } else { &self.received }.load(Ordering::Relaxed)
    }

    fn claim(&self) {
        self.claimed.store(self.received.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::Relaxed);
        self.traffic.sent.add(count as u64);
    }
}

impl Registered for Socket {
    fn view(&self) -> ConnectionView {
        self.snapshot()
    }

    fn matches(&self, wanted: &ConnectionFilter<'_>) -> bool {
        self.timeline.with_requests(|owner, requests| wanted.matches(owner, requests))
    }

    fn reset(&self) {
        self.timeline.set_closed(ClosingSide::Server, "reset");
        self.is_reset.store(true, Ordering::Relaxed);
        let socket = SockRef::from(&self.stream);
        // Both fail only on a socket that is closed already. The second sends nothing; it wakes
        // the codec, which then finds the connection broken and closes it: the RST.
        drop(socket.set_linger(Some(Duration::ZERO)));
        drop(socket.shutdown(Shutdown::Read));
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.protocol.get().is_none() {
            self.traffic.closed_silently();
        }
        self.timeline.set_closed(ClosingSide::Server, "close");
        self.register.closed(self.id, self.snapshot());
    }
}

impl ConnectionHandle {
    /// Registers an accepted socket.
    pub(super) fn new(
        id: u64,
        stream: TcpStream,
        peer: SocketAddr,
        config: &Config,
        open: &ConnectionSlot,
    ) -> Self {
        let shared = Arc::new(Socket::new(id, stream, peer, config, open));
        let registered: Arc<dyn Registered> = Arc::<Socket>::clone(&shared);
        shared.register.opened(id, Arc::downgrade(&registered));
        Self(shared)
    }

    /// The state shared with the socket's codec.
    pub(super) fn shared(&self) -> Arc<Socket> {
        Arc::clone(&self.0)
    }

    /// A handle to a socket that its codec already holds.
    pub(super) fn of(shared: &Arc<Socket>) -> Self {
        Self(Arc::clone(shared))
    }

    /// Counts it among the connections of `owner`, once. `connect` takes a slot, or fails at the
    /// limit.
    pub(crate) fn count_caller(
        &self,
        owner: &Owner,
        connect: impl FnOnce() -> Result<ConnectionGuard, Fault>,
    ) -> Result<(), Fault> {
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

    /// The client's address from a trusted proxy's header, or else the peer's.
    pub fn client(&self) -> SocketAddr {
        self.0.client.get().copied().unwrap_or(self.0.peer)
    }

    /// The peer's address: the client's, or that of the last proxy before this server.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Bytes received and sent so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.0.received.load(Ordering::Relaxed), self.0.sent.load(Ordering::Relaxed))
    }

    /// Its timeline, for the lens.
    pub(crate) fn timeline(&self) -> &Timeline {
        &self.0.timeline
    }

    /// Its protocol.
    pub fn protocol(&self) -> HttpVersion {
        self.0.protocol.get().copied().unwrap_or(HttpVersion::Http1)
    }

    /// Resolves as soon as the client half-closes or is gone. What it sends meanwhile is kept for
    /// the next request. Cancel safe. Never resolves on HTTP/2, where the handler and the body of a
    /// stream are dropped when its reader leaves.
    pub async fn signal(&self) -> Signal {
        let shared = &self.0;
        if self.protocol() == HttpVersion::Http2 {
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
            // On the stack: a client that sends nothing, as most do, holds no buffer.
            let mut bytes = [0; 4096];
            let mut ahead = shared.ahead();
            match shared.stream.try_read(&mut bytes) {
                Ok(0) => ahead.fin = true,
                Ok(count) => {
                    ahead.bytes.extend_from_slice(&bytes[..count]);
                    shared.count_received(count);
                }
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
        if self.protocol() == HttpVersion::Http2 {
            return std::future::pending().await;
        }
        // A broken readiness source means that the runtime shuts down, and the connection with it.
        drop(self.0.stream.ready(Interest::ERROR).await);
        Signal::Reset
    }

    /// Lingering close: reads what the client sends after our FIN, until its own. A close with unread bytes is
    /// a reset, which can destroy what was sent before it: with TLS a `close_notify` always follows
    /// the GOAWAY of HTTP/2.
    pub(super) async fn linger(&self) {
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

    /// Resolves when the HTTP/1 codec has handed everything it was given to the kernel. For a body
    /// of this connection only.
    pub(crate) async fn flushed(&self) {
        std::future::poll_fn(|context| self.0.flush.poll_flushed(context)).await;
    }

    /// Notifies [`Self::flushed`]: the codec has flushed.
    pub(super) fn notify_flushed(&self) {
        self.0.flush.flushed();
    }

    /// Turns the close that follows into a RST, so that no client mistakes a truncated
    /// close-delimited response for a complete one (promise 3).
    pub fn abort(&self) {
        self.0.timeline.set_closed(ClosingSide::Server, "reset");
        // Fails only on a socket that is closed already.
        drop(SockRef::from(&self.0.stream).set_linger(Some(Duration::ZERO)));
    }

    /// Marks the current response as close-delimited (RFC 9112 §6.3).
    pub(crate) fn mark_close_delimited(&self) {
        self.0.ended_by_close.store(true, Ordering::Relaxed);
    }

    /// Whether its close would look like the end of a response.
    pub(crate) fn is_ended_by_close(&self) -> bool {
        self.0.ended_by_close.load(Ordering::Relaxed)
    }

    /// Sets the protocol, once.
    pub(crate) fn set_protocol(&self, protocol: HttpVersion) {
        if self.0.protocol.set(protocol).is_ok() {
            *self.0.counted.lock().unwrap_or_else(PoisonError::into_inner) =
                self.0.traffic.speaks(protocol);
        }
    }

    /// A request was read: what arrives now belongs to it, until the guard is dropped. A WebSocket
    /// holds a guard for the rest of the connection, because no more request heads are read.
    pub(crate) fn start_response(&self) -> ResponseGuard {
        self.0.claim();
        self.0.responses.fetch_add(1, Ordering::Relaxed);
        ResponseGuard(self.clone())
    }

    /// The number of finished responses, unless one is being sent now.
    pub(crate) fn finished_responses(&self) -> Option<u64> {
        (self.0.responses.load(Ordering::Relaxed) == 0)
            .then(|| self.0.finished.load(Ordering::Relaxed))
    }

    /// Whether bytes have arrived that no codec has taken.
    pub(crate) fn has_unread_bytes(&self) -> bool {
        !self.0.ahead().bytes.is_empty()
    }

    /// Logs that it has ended. `cause` is the reason, if it ended early.
    pub(super) fn log_end(&self, cause: Option<&'static str>) {
        let (received, sent) = self.bytes();
        match cause {
            None => tracing::trace!(connection = self.id(), received, sent, "connection closed"),
            Some(cause) => tracing::debug!(
                connection = self.id(),
                received,
                sent,
                cause,
                "connection ended early"
            ),
        }
    }

    /// Sends a response of our own outside of HTTP's codecs. Best effort: only what the socket
    /// accepts without blocking.
    pub(crate) fn send(&self, bytes: &[u8]) {
        if let Ok(count) = self.0.stream.try_write(bytes) {
            self.0.count_sent(count);
            self.0.timeline.down(&bytes[..count]);
        }
    }
}

/// The kernel's data on a socket.
#[cfg(target_os = "linux")]
fn tcp_info_of(stream: &TcpStream) -> Option<TcpInfo> {
    lens::tcp_info::tcp_info(stream).ok()
}

/// The kernel's data on a socket: none on this system.
#[cfg(not(target_os = "linux"))]
fn tcp_info_of(_stream: &TcpStream) -> Option<TcpInfo> {
    None
}

/// Marks a response on the connection as being sent, until it is dropped.
#[derive(Debug)]
pub(crate) struct ResponseGuard(ConnectionHandle);

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.claim();
        shared.finished.fetch_add(1, Ordering::Relaxed);
        shared.responses.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
