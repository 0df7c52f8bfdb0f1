//! An accepted socket as a codec reads and writes it: counted, and cut when its reader takes
//! nothing.

mod read_ahead;

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use lens::live::ClosingSide;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::connection::{ConnectionHandle, Socket};
use super::connections::ConnectionSlot;
use crate::config::Config;

/// The connection as hyper reads and writes it.
#[derive(Debug)]
pub(crate) struct Io {
    shared: Arc<Socket>,
    write_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// Its place among the connections, also after an upgrade.
    open: ConnectionSlot,
}

impl Io {
    pub(crate) fn new(
        id: u64,
        stream: TcpStream,
        peer: SocketAddr,
        config: &Config,
        open: ConnectionSlot,
    ) -> Self {
        let shared = ConnectionHandle::new(id, stream, peer, config, &open).shared();
        Self { shared, write_timeout: config.write_timeout, stalled: None, open }
    }

    pub(crate) fn connection(&self) -> ConnectionHandle {
        ConnectionHandle::of(&self.shared)
    }

    /// Measures a stall from its start, and fails when it lasts too long (promise 7).
    fn poll_stall(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let timeout = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stalled.as_mut().poll(context));
        tracing::debug!(connection = self.shared.id, "reader did not read for too long");
        self.shared.timeline.set_closed(ClosingSide::Server, "write_timeout");
        // The unsent rest is dropped: the client resumes by position.
        drop(SockRef::from(&self.shared.stream).set_linger(Some(Duration::ZERO)));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        send: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.shared.is_reset() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
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
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = &self.shared;
        loop {
            if shared.is_reset() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let mut ahead = shared.ahead();
            if !ahead.bytes.is_empty() {
                let count = ahead.bytes.len().min(buffer.remaining());
                buffer.put_slice(&ahead.bytes.split_to(count));
                if ahead.bytes.is_empty() {
                    // A waiting connection, as most are most of the time, holds no buffer.
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
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(context, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
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
            // The client is already gone.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            Ok(()) | Err(_) => Poll::Ready(Ok(())),
        }
    }
}
