//! What a connection's bytes go through: the socket, or TLS on it; and past a tap, if there is one.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Tap;

/// A connection's two streams of bytes.
#[derive(Debug)]
pub struct Line {
    wire: Wire,
    tap: Option<Tap>,
}

#[derive(Debug)]
pub(super) enum Wire {
    Clear(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

impl Line {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, tap: None }
    }

    pub(super) fn tapped(wire: Wire, tap: Tap) -> Self {
        Self { wire, tap: Some(tap) }
    }

    /// The socket below.
    pub(super) fn socket(&mut self) -> &mut TcpStream {
        match &mut self.wire {
            Wire::Clear(stream) => stream,
            Wire::Encrypted(stream) => stream.get_mut().0,
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let line = self.get_mut();
        let before = buffer.filled().len();
        let read = ready!(match &mut line.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        });
        if let Some(tap) = &line.tap {
            tap.down(&buffer.filled()[before..]);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        let written = ready!(match &mut line.wire {
            Wire::Clear(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        });
        if let (Some(tap), Ok(count)) = (&line.tap, &written) {
            tap.up(&bytes[..*count]);
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Clear(stream) => Pin::new(stream).poll_flush(context),
            Wire::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Clear(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
