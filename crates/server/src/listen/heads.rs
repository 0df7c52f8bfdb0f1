//! A layer between the HTTP/1 codec and the socket or TLS: it limits the time for a head and the
//! idle time, and withholds hyper's own refusals.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::ConnectionHandle;
use crate::config::Config;

/// The longest target that hyper parses.
const LONGEST_TARGET: usize = 65_534;

/// What a head has beside its target at least.
const LEAST: usize = "GET  HTTP/1.1\r\n\r\n".len();

/// The head took too long.
#[derive(Debug, thiserror::Error)]
#[error("timed out while reading the request's headers")]
pub(super) struct SlowHead;

/// Why a connection ends with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The head did not come in time.
    SlowHead,
    /// The parser refused the head with this status, and its response was withheld.
    Parser(u16),
}

/// A stream that needs a refusal, once hyper has released it.
pub(super) type Refused<S> = (S, Refusal);

/// A stream as hyper's HTTP/1 reads and writes it.
///
/// Hyper's own timer would take an idle connection for a slow head. And hyper responds to a head
/// that it cannot parse with an empty 4xx, which no setting prevents: it is withheld here, and the
/// stream is handed back for a response with a body. Hyper has written such a response when all
/// requests before it have their responses flushed.
#[derive(Debug)]
pub(super) struct Heads<S> {
    /// `None` only while it is dropped.
    stream: Option<S>,
    connection: ConnectionHandle,
    head_bytes: usize,
    head_timeout: Duration,
    idle_timeout: Duration,
    awaited: Awaited,
    timer: Pin<Box<Sleep>>,
    /// The number of finished responses when the timer was set.
    finished: u64,
    /// Whether the stream has taken everything that was written to it.
    is_flushed: bool,
    /// The number of finished responses when everything was flushed; `None` while one was being
    /// sent.
    settled: Option<u64>,
    refusal: Option<Refusal>,
    hand_back: Option<oneshot::Sender<Refused<S>>>,
}

/// What the connection waits for between responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// The first byte of a request.
    Request,
    /// The rest of its head.
    Head,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Heads<S> {
    /// The first request must start before `deadline`. The receiver gets the stream when hyper
    /// drops it and a refusal is due.
    pub(super) fn new(
        stream: S,
        connection: ConnectionHandle,
        config: &Config,
        deadline: Instant,
    ) -> (Self, oneshot::Receiver<Refused<S>>) {
        let (hand_back, refused) = oneshot::channel();
        let heads = Self {
            stream: Some(stream),
            connection,
            head_bytes: config.head_bytes,
            head_timeout: config.head_timeout,
            idle_timeout: config.idle_timeout,
            awaited: Awaited::Request,
            timer: Box::pin(sleep_until(deadline)),
            finished: 0,
            is_flushed: true,
            settled: None,
            refusal: None,
            hand_back: Some(hand_back),
        };
        (heads, refused)
    }

    /// Bytes have arrived.
    fn received(&mut self) {
        if self.is_awaiting() && self.awaited == Awaited::Request {
            self.awaited = Awaited::Head;
            self.timer.as_mut().reset(Instant::now() + self.head_timeout);
        }
    }

    /// Whether a head is awaited. When a response has ended since the last call, the pause before
    /// the next request starts.
    fn is_awaiting(&mut self) -> bool {
        let Some(finished) = self.connection.finished_responses() else { return false };
        if finished != self.finished {
            self.finished = finished;
            self.awaited = Awaited::Request;
            self.timer.as_mut().reset(Instant::now() + self.idle_timeout);
        }
        true
    }

    /// Nothing has arrived.
    fn poll_timeout(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_awaiting() {
            return Poll::Pending;
        }
        ready!(self.timer.as_mut().poll(context));
        match self.awaited {
            // Treated as a close by the client: there is no request to respond to.
            Awaited::Request => Poll::Ready(Ok(())),
            Awaited::Head => {
                self.refusal = Some(Refusal::SlowHead);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, SlowHead)))
            }
        }
    }

    /// Records when every response has been flushed.
    fn settle(&mut self) {
        if self.is_flushed {
            self.settled = self.connection.finished_responses();
        }
    }

    /// Whether what hyper writes now is a refusal of its own, which is then withheld.
    fn withholds(&mut self, bytes: &[u8]) -> bool {
        let is_own = self.settled.is_some() && self.settled == self.connection.finished_responses();
        if is_own {
            // Hyper's buffer may take more than a head may have, and then its target is refused first.
            let is_too_large = self.head_bytes <= LONGEST_TARGET + LEAST;
            let status = match status(bytes) {
                414 if is_too_large => 431,
                status => status,
            };
            self.refusal.get_or_insert(Refusal::Parser(status));
        } else {
            self.is_flushed = false;
        }
        is_own
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// The status of a response that starts with these bytes: `HTTP/1.1 431 …`.
fn status(head: &[u8]) -> u16 {
    let digits = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(400)
}

impl<S> Drop for Heads<S> {
    fn drop(&mut self) {
        if let (Some(refusal), Some(stream), Some(hand_back)) =
            (self.refusal, self.stream.take(), self.hand_back.take())
        {
            // A connection that is aborted waits for no refusal.
            drop(hand_back.send((stream, refusal)));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Heads<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.settle();
        let before = buffer.filled().len();
        match self.stream()?.poll_read(context, buffer) {
            Poll::Pending => self.poll_timeout(context),
            Poll::Ready(result) => {
                if buffer.filled().len() > before {
                    self.received();
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Heads<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.withholds(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first: &[u8] = slices.first().map_or(&[], |first| first);
        if self.withholds(first) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        self.stream()?.poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream()?.poll_flush(context))?;
        self.is_flushed = true;
        self.settle();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.refusal {
            // The refusal comes first.
            Some(_) => Poll::Ready(Ok(())),
            None => self.stream()?.poll_shutdown(context),
        }
    }
}
