//! The body of an HTTP/2 response.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;

use super::http2_exchange::Http2Exchange;

/// The body of a response. Dropping it before its end resets the stream.
pub(super) struct Http2Body {
    /// Dropped before the exchange, so that the end is recorded after the reset.
    incoming: Incoming,
    exchange: Http2Exchange,
}

impl Http2Body {
    pub(super) fn new(incoming: Incoming, exchange: Http2Exchange) -> Self {
        Self { incoming, exchange }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The body is cut off or malformed.
    pub(super) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<hyper::Result<Option<Bytes>>> {
        loop {
            match ready!(Pin::new(&mut self.incoming).poll_frame(context)) {
                Some(Ok(frame)) => {
                    // Trailers are of no use to any wire, and an empty frame often only marks the
                    // end (RFC 9113, section 6.1): the next poll finds it.
                    if let Some(bytes) = frame.into_data().ok().filter(|bytes| !bytes.is_empty()) {
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Some(Err(error)) => {
                    self.exchange.failed(&error);
                    return Poll::Ready(Err(error));
                }
                None => {
                    self.exchange.complete();
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }
}

impl Drop for Http2Body {
    fn drop(&mut self) {
        // Everything has arrived, although not everything was read: the stream is not reset.
        if self.incoming.is_end_stream() {
            self.exchange.complete();
        }
    }
}
