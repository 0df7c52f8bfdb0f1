//! One accepted socket: counted, watched while an answer is on it, cut when its reader takes nothing.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::refusal;

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

/// The handle on a connection that requests carry.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: u64,
    stream: TcpStream,
    peer: SocketAddr,
    ahead: Mutex<Ahead>,
    received: AtomicU64,
    sent: AtomicU64,
    /// Whether a request is being answered; otherwise what comes in is a head.
    answering: AtomicBool,
    head_begun: AtomicBool,
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
    /// Our words in place of an empty refusal of hyper's.
    instead: Bytes,
}

impl Io {
    pub(crate) fn new(id: u64, stream: TcpStream, peer: SocketAddr, write_timeout: Duration) -> Self {
        let shared = Shared {
            id,
            stream,
            peer,
            ahead: Mutex::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            answering: AtomicBool::new(false),
            head_begun: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), write_timeout, stalled: None, instead: Bytes::new() }
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
                    self.shared.sent.fetch_add(count as u64, Ordering::Relaxed);
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    /// Sends what stands in for hyper's words.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let words = self.instead.clone();
            let count = ready!(self.poll_send(context, |stream| stream.try_write(&words)))?;
            self.instead.advance(count);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let shared = &self.shared;
        let before = buffer.filled().len();
        loop {
            let mut ahead = shared.ahead();
            if !ahead.bytes.is_empty() {
                let count = ahead.bytes.len().min(buffer.remaining());
                buffer.put_slice(&ahead.bytes.split_to(count));
                break;
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
                    shared.received.fetch_add(count as u64, Ordering::Relaxed);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        if buffer.filled().len() > before && !shared.answering.load(Ordering::Relaxed) {
            shared.head_begun.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(instead) = refusal::of_empty_answer(bytes) {
            self.instead = instead;
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_instead(context))?;
        self.poll_send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(instead) = slices.first().and_then(|first| refusal::of_empty_answer(first)) {
            self.instead = instead;
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        ready!(self.poll_instead(context))?;
        self.poll_send(context, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_instead(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        match SockRef::from(&self.shared.stream).shutdown(std::net::Shutdown::Write) {
            // A client that has already gone has nothing to be told.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            Ok(()) | Err(_) => Poll::Ready(Ok(())),
        }
    }
}

impl Shared {
    fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// Its number, for logs.
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Whose it is.
    pub fn peer(&self) -> SocketAddr {
        self.0.peer
    }

    /// Bytes received and sent so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.0.received.load(Ordering::Relaxed), self.0.sent.load(Ordering::Relaxed))
    }

    /// Resolves when the client half-closes or is gone, from the moment it does: what it sends meanwhile is kept for
    /// the next request. Dropping the future loses nothing.
    pub async fn signal(&self) -> Signal {
        let shared = &self.0;
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
                Ok(count) => {
                    shared.received.fetch_add(count as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return Signal::Reset,
            }
            if let Some(reader) = ahead.reader.take() {
                reader.wake();
            }
        }
    }

    /// Resolves when the client is gone; a half-close is not enough.
    pub async fn reset(&self) -> Signal {
        // A broken readiness source means that the runtime goes down: then nobody is there either.
        drop(self.0.stream.ready(Interest::ERROR).await);
        Signal::Reset
    }

    /// Makes the close that follows a RST, so that no client takes a close-delimited part for the whole (promise 3).
    pub fn abort(&self) {
        // A socket that cannot take the option is closed already.
        drop(SockRef::from(&self.0.stream).set_linger(Some(Duration::ZERO)));
    }

    /// A request is read: what comes now belongs to it, until the guard goes.
    pub(crate) fn answer(&self) -> Answering {
        self.0.answering.store(true, Ordering::Relaxed);
        Answering(self.clone())
    }

    /// Whether a request's head has begun and is not whole.
    pub(crate) fn has_begun_head(&self) -> bool {
        self.0.head_begun.load(Ordering::Relaxed)
    }

    /// Says `words` outside of any answer, as far as the socket takes them at once.
    pub(crate) fn say(&self, words: &[u8]) {
        drop(self.0.stream.try_write(words));
    }
}

/// While it lives, a request of the connection is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Connection);

impl Drop for Answering {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.answering.store(false, Ordering::Relaxed);
        shared.head_begun.store(!shared.ahead().bytes.is_empty(), Ordering::Relaxed);
    }
}
