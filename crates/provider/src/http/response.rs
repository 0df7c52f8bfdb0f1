//! A response whose body is still arriving.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use http_body::Body;
use hyper::body::Incoming;

use super::http1_body::Http1Body;

/// A response. Dropping it before its end closes the connection, or resets the HTTP/2 stream.
pub(crate) struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: ResponseBody,
}

/// The body of a response, by the version of HTTP.
pub(super) enum ResponseBody {
    Http1(Http1Body),
    Http2(Incoming),
}

impl Response {
    pub(super) fn new(head: http::response::Parts, body: ResponseBody) -> Self {
        Self { status: head.status, headers: head.headers, body }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Gives the headers back, which keep the connection's first buffer alive.
    pub(crate) fn take_headers(&mut self) -> HeaderMap {
        std::mem::take(&mut self.headers)
    }

    /// The next bytes of the body; `None` at its end.
    ///
    /// # Errors
    /// The body is cut off or malformed.
    pub(crate) async fn chunk(&mut self) -> hyper::Result<Option<Bytes>> {
        poll_fn(|context| self.poll_chunk(context)).await
    }

    /// Polls [`Self::chunk`].
    pub(crate) fn poll_chunk(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<hyper::Result<Option<Bytes>>> {
        match &mut self.body {
            ResponseBody::Http1(body) => body.poll_chunk(context),
            ResponseBody::Http2(incoming) => loop {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(context));
                let Some(frame) = frame.transpose()? else { return Poll::Ready(Ok(None)) };
                // Trailers are of no use to any wire.
                if let Ok(bytes) = frame.into_data() {
                    return Poll::Ready(Ok(Some(bytes)));
                }
            },
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}
