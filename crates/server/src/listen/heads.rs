//! HTTP/1 between its codec and the socket, or TLS: how long a head may take, how long there may be none, and our words
//! in place of hyper's empty refusals.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::io::Connection;
use super::refusal;
use crate::config::Config;

/// The head took too long.
#[derive(Debug, thiserror::Error)]
#[error("the request's head took too long")]
pub(super) struct SlowHead;

/// A stream as hyper's HTTP/1 reads and writes it. Hyper's own timer would take an idle connection for a slow head.
#[derive(Debug)]
pub(super) struct Heads<S> {
    stream: S,
    connection: Connection,
    head_timeout: Duration,
    idle_timeout: Duration,
    awaited: Awaited,
    timer: Pin<Box<Sleep>>,
    /// How many requests had been answered when the timer was set.
    answered: u64,
    /// Our words in place of an empty refusal of hyper's.
    instead: Bytes,
}

/// What is waited for, while nothing is being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// The first byte of a request.
    Request,
    /// The rest of its head.
    Head,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Heads<S> {
    /// The first request has until `deadline` to begin.
    pub(super) fn new(stream: S, connection: Connection, config: &Config, deadline: Instant) -> Self {
        let timer = Box::pin(sleep_until(deadline));
        let (head_timeout, idle_timeout) = (config.head_timeout, config.idle_timeout);
        Self { stream, connection, head_timeout, idle_timeout, awaited: Awaited::Request, timer, answered: 0, instead: Bytes::new() }
    }

    /// Bytes have come.
    fn received(&mut self) {
        if self.look() && self.awaited == Awaited::Request {
            self.awaited = Awaited::Head;
            self.timer.as_mut().reset(Instant::now() + self.head_timeout);
        }
    }

    /// Whether a head is awaited; if an answer has ended since the last look, the pause before the next request begins.
    fn look(&mut self) -> bool {
        let Some(answered) = self.connection.answered() else { return false };
        if answered != self.answered {
            self.answered = answered;
            self.awaited = Awaited::Request;
            self.timer.as_mut().reset(Instant::now() + self.idle_timeout);
        }
        true
    }

    /// Nothing has come.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.look() {
            return Poll::Pending;
        }
        ready!(self.timer.as_mut().poll(context));
        match self.awaited {
            // As if the client had closed: there is nothing to answer.
            Awaited::Request => Poll::Ready(Ok(())),
            Awaited::Head => {
                self.instead = refusal::of_slow_head();
                // What the socket does not take at once is not worth another wait.
                let _said = self.poll_instead(context);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, SlowHead)))
            }
        }
    }

    /// Sends what stands in for hyper's words.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, &self.instead))?;
            self.instead.advance(count);
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Heads<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.poll_patience(context),
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
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(instead) = refusal::of_empty_answer(bytes) {
            self.instead = instead;
            return Poll::Ready(Ok(bytes.len()));
        }
        if !self.instead.is_empty() {
            ready!(self.poll_instead(context))?;
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if let Some(instead) = slices.first().and_then(|first| refusal::of_empty_answer(first)) {
            self.instead = instead;
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        if !self.instead.is_empty() {
            ready!(self.poll_instead(context))?;
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_instead(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
