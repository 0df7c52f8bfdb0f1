//! Lets a body wait until everything it gave to its HTTP/1 connection has been handed to the
//! kernel.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

const IDLE: u8 = 0;
const WANTED: u8 = 1;
const DONE: u8 = 2;

/// One body at a time waits for the next flush of its connection. Body and connection are polled by
/// the same task, and the codec flushes only after it has written out its own buffer, so that the
/// next flush includes everything that the body yielded before it.
#[derive(Debug, Default)]
pub(super) struct FlushWatch {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl FlushWatch {
    /// The codec's buffer was written to the kernel completely.
    pub(super) fn flushed(&self) {
        // Most flushes are of connections where nothing waits: they cost one load.
        if self.state.load(Ordering::Acquire) == WANTED {
            self.state.store(DONE, Ordering::Release);
            self.waker.wake();
        }
    }

    /// Ready after the first flush since it was first polled.
    pub(super) fn poll_flushed(&self, context: &Context<'_>) -> Poll<()> {
        self.waker.register(context.waker());
        if self.state.compare_exchange(DONE, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return Poll::Ready(());
        }
        self.state.store(WANTED, Ordering::Release);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use axum::body::{Body, Bytes};
    use futures_util::stream::unfold;
    use http::Response;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::connection::ConnectionHandle;
    use super::super::connections::Connections;
    use super::super::io::Io;
    use super::super::seen::ObservedStream;
    use super::*;
    use crate::config::Config;

    async fn connection() -> io::Result<ConnectionHandle> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let _client = TcpStream::connect(listener.local_addr()?).await?;
        let (stream, peer) = listener.accept().await?;
        let open = Arc::new(Connections::default()).admit(peer.ip(), &Config::default());
        let Ok((open, id)) = open else { panic!("there is no place for a first connection") };
        Ok(Io::new(id, stream, peer, &Config::default(), open).connection())
    }

    /// Two chunks, and a failure once they are flushed.
    fn failing(connection: ConnectionHandle) -> Body {
        Body::from_stream(unfold(0, move |step| {
            let connection = connection.clone();
            async move {
                match step {
                    0 | 1 => Some((Ok(Bytes::from(vec![b'x'; 500])), step + 1)),
                    _ => {
                        connection.flushed().await;
                        Some((Err(io::Error::other("aborted")), step + 1))
                    }
                }
            }
        }))
    }

    /// The codec's buffer has room when the body fails, and its peer takes no more than some bytes
    /// at a time.
    #[tokio::test]
    async fn bytes_before_the_failure_of_a_body_are_sent() -> io::Result<()> {
        let connection = connection().await?;
        let (mut client, server) = tokio::io::duplex(64);
        let io = TokioIo::new(ObservedStream::new(server, connection.clone()));
        let service = service_fn(move |_request| {
            let body = failing(connection.clone());
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let serving = async { http1::Builder::new().serve_connection(io, service).await };
        let reading = async {
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
            let mut text = Vec::new();
            client.read_to_end(&mut text).await.map(|_count| text)
        };
        let (served, text) = tokio::join!(serving, reading);
        let text = text?;
        assert!(served.is_err_and(|error| error.is_user()));
        assert_eq!(
            text.split(|byte| *byte != b'x').filter(|run| run.len() == 500).count(),
            2,
            "{}",
            String::from_utf8_lossy(&text)
        );
        assert!(!text.ends_with(b"0\r\n\r\n"));
        Ok(())
    }

    #[test]
    fn only_a_flush_after_the_question_counts() {
        let (watch, context) =
            (FlushWatch::default(), Context::from_waker(std::task::Waker::noop()));
        watch.flushed();
        assert!(watch.poll_flushed(&context).is_pending());
        watch.flushed();
        assert!(watch.poll_flushed(&context).is_ready());
        assert!(
            watch.poll_flushed(&context).is_pending(),
            "the next body waits for a flush of its own"
        );
    }
}
