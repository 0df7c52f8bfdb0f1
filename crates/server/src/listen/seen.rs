//! Records the plain bytes of a connection, above TLS, as its codec reads and writes them, for the
//! lens.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lens::live::ClosingSide;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::ConnectionHandle;

/// A stream whose bytes are counted by kind on their way.
#[derive(Debug)]
pub(super) struct ObservedStream<S> {
    stream: S,
    connection: ConnectionHandle,
}

impl<S> ObservedStream<S> {
    pub(super) fn new(stream: S, connection: ConnectionHandle) -> Self {
        Self { stream, connection }
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>, bytes: &[u8]) {
        if let Poll::Ready(Ok(count)) = written {
            self.connection.timeline().down(&bytes[..*count]);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ObservedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        let timeline = self.connection.timeline();
        match &read {
            Ok(()) if buffer.filled().len() == before && buffer.remaining() > 0 => {
                timeline.set_closed(ClosingSide::Client, "fin");
            }
            Ok(()) => timeline.up(&buffer.filled()[before..]),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                timeline.set_closed(ClosingSide::Client, "reset");
            }
            // A FIN without TLS's `close_notify`.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                timeline.set_closed(ClosingSide::Client, "fin");
            }
            Err(_) => {}
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ObservedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&written, bytes);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(count)) = &written {
            self.connection.timeline().down_parts(slices.iter().map(|slice| &**slice), *count);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.connection.has_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.timeline().set_closed(ClosingSide::Server, "fin");
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
