//! A response's body with its guards: its connection is busy and its exchange runs until it ends,
//! and on HTTP/2 its reader is timed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::connection::ResponseGuard;
use super::exchange::Exchange;
use super::gauge::StallGauge;

/// How much an HTTP/2 stream is given at once: its largest frame by default (RFC 9113 §6.5.2).
/// Smaller pieces show that a slow reader takes something.
const PIECE: usize = 16 << 10;

/// A response's body.
pub(super) struct Watched {
    body: Body,
    watch: Watch,
    /// What is left of a chunk that was too large for one piece.
    rest: Bytes,
    /// The exchange on the connection's timeline ends with the body.
    _exchange: Exchange,
}

enum Watch {
    /// While it lives, the connection is busy.
    Http1 { _guard: ResponseGuard },
    /// Its stream is cut when its reader takes nothing for too long.
    Http2(Arc<StallGauge>),
}

impl Watched {
    pub(super) fn http1(body: Body, guard: ResponseGuard, exchange: Exchange) -> Self {
        Self {
            body,
            watch: Watch::Http1 { _guard: guard },
            rest: Bytes::new(),
            _exchange: exchange,
        }
    }

    pub(super) fn http2(body: Body, gauge: Arc<StallGauge>, exchange: Exchange) -> Self {
        Self { body, watch: Watch::Http2(gauge), rest: Bytes::new(), _exchange: exchange }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Self { body, watch, rest, .. } = &mut *self;
        let Watch::Http2(gauge) = watch else { return Pin::new(body).poll_frame(context) };
        gauge.requested();
        if rest.is_empty() {
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = rest.split_to(rest.len().min(PIECE));
        gauge.gave();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, hint) = (self.rest.len() as u64, self.body.size_hint());
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}
