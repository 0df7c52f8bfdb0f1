//! A connection's stream whose bytes are counted, above TLS, for the lens: how many there were, how
//! long the head of a response is, and whether the peer has closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use engine::provider::exchange_end::{UpstreamClose, UpstreamSide};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::stream::Stream;

const FIN: u8 = 1;
const RESET: u8 = 2;

/// A stream that counts.
pub(super) struct CountedStream {
    stream: Stream,
    traffic: Arc<SocketTraffic>,
}

/// What was read and written on a connection. Only its stream changes it, so that a read costs an
/// addition.
#[derive(Default)]
pub(super) struct SocketTraffic {
    read: AtomicU64,
    written: AtomicU64,
    /// Zero, [`FIN`] or [`RESET`].
    end: AtomicU8,
    is_in_head: AtomicBool,
    details: Mutex<Details>,
}

/// What no read of a body touches.
#[derive(Default)]
struct Details {
    last_write: Option<Instant>,
    head: HeadLength,
}

/// Finds the end of the head of a final response (RFC 9112, section 2.1).
#[derive(Debug, Default, PartialEq, Eq)]
struct HeadLength {
    bytes: u64,
    /// Bytes since the start of this head; informational responses have heads of their own.
    offset: u64,
    is_informational: bool,
    /// Whether nothing but CR has come since the last LF.
    is_line_empty: bool,
}

impl CountedStream {
    pub(super) fn new(stream: Stream, traffic: Arc<SocketTraffic>) -> Self {
        Self { stream, traffic }
    }
}

impl SocketTraffic {
    /// The bytes read and written so far.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }

    /// A request is about to be written: the head of its response comes next.
    pub(super) fn start_request(&self) {
        *self.details() = Details::default();
        self.is_in_head.store(true, Ordering::Relaxed);
    }

    /// When the last bytes were written since this was last asked, if there were any.
    pub(super) fn take_last_write(&self) -> Option<Instant> {
        self.details().last_write.take()
    }

    /// The bytes of the response's head, if all of it was read.
    pub(super) fn head(&self) -> Option<u64> {
        (!self.is_in_head.load(Ordering::Relaxed)).then(|| self.details().head.bytes)
    }

    /// The side that closed the connection, if it is closed now.
    pub(super) fn close(&self) -> UpstreamClose {
        match self.end.load(Ordering::Relaxed) {
            FIN => UpstreamClose { by: UpstreamSide::Upstream, how: "fin" },
            RESET => UpstreamClose { by: UpstreamSide::Upstream, how: "reset" },
            _ => UpstreamClose { by: UpstreamSide::Weir, how: "close" },
        }
    }

    fn read(&self, bytes: &[u8]) {
        add(&self.read, bytes.len());
        if self.is_in_head.load(Ordering::Relaxed) && self.details().head.push(bytes) {
            self.is_in_head.store(false, Ordering::Relaxed);
        }
    }

    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(Ok(count)) => {
                add(&self.written, *count);
                self.details().last_write = Some(Instant::now());
            }
            Poll::Ready(Err(error)) => self.failed(error),
            Poll::Pending => {}
        }
    }

    fn failed(&self, error: &io::Error) {
        let end = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => RESET,
            // A FIN without the `close_notify` of TLS.
            io::ErrorKind::UnexpectedEof => FIN,
            _ => return,
        };
        self.ended(end);
    }

    /// Only the first end counts.
    fn ended(&self, end: u8) {
        let _earlier =
            self.end.compare_exchange(0, end, Ordering::Relaxed, Ordering::Relaxed).is_err();
    }

    fn details(&self) -> MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds to a count that only one task changes: cheaper than an atomic addition.
fn add(count: &AtomicU64, more: usize) {
    count.store(count.load(Ordering::Relaxed) + more as u64, Ordering::Relaxed);
}

impl HeadLength {
    /// Takes bytes up to the end of the head. Returns whether that was found.
    fn push(&mut self, bytes: &[u8]) -> bool {
        for byte in bytes {
            self.bytes += 1;
            match byte {
                b'\n' if self.is_line_empty && self.is_informational => {
                    *self = Self { bytes: self.bytes, ..Self::default() };
                    continue;
                }
                b'\n' if self.is_line_empty => return true,
                b'\n' => self.is_line_empty = true,
                b'\r' => {}
                _ => self.is_line_empty = false,
            }
            // The first digit of the status in `HTTP/1.1 1xx`; 101 does not come unasked.
            self.is_informational |= self.offset == 9 && *byte == b'1';
            self.offset += 1;
        }
        false
    }
}

impl AsyncRead for CountedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        match &read {
            Ok(()) if buffer.filled().len() > before => {
                self.traffic.read(&buffer.filled()[before..]);
            }
            Ok(()) if buffer.remaining() > 0 => self.traffic.ended(FIN),
            Ok(()) => {}
            Err(error) => self.traffic.failed(error),
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for CountedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.traffic.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.traffic.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The length that is found in `heads` and some of a body, split at each byte.
    #[track_caller]
    fn check(heads: &str, is_found: bool) {
        let bytes = format!("{heads}{}", if is_found { "body\r\n\r\n" } else { "" });
        for split in 0..bytes.len() {
            let mut length = HeadLength::default();
            let (first, second) = bytes.as_bytes().split_at(split);
            let found = length.push(first) || length.push(second);
            assert_eq!((found, length.bytes), (is_found, heads.len() as u64), "{heads:?} {split}");
        }
    }

    #[test]
    fn a_head_ends_with_an_empty_line() {
        check("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n", true);
        check("HTTP/1.1 200 OK\ncontent-length: 4\n\n", true);
        check("HTTP/1.1 200 OK\r\n\r\n", true);
        check("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n", false);
    }

    #[test]
    fn heads_of_informational_responses_are_a_part_of_it() {
        check(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            true,
        );
        check("HTTP/1.1 100 Continue\r\n\r\n", false);
    }
}
