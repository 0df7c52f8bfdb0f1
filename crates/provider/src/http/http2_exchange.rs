//! Records one exchange on a stream of an HTTP/2 connection, for the lens.

use std::error::Error as _;
use std::sync::Arc;

use engine::provider::connection::UpstreamConnection;
use engine::provider::exchange::{ExchangeBytes, UpstreamExchange};
use engine::provider::exchange_end::{ExchangeEnd, UpstreamClose, UpstreamSide};
use tokio::time::Instant;

/// An exchange on a stream. Dropping it before its end counts as a reset by this server.
pub(super) struct Http2Exchange {
    /// `None` after the end.
    record: Option<Arc<UpstreamExchange>>,
}

impl Http2Exchange {
    /// A request with a body of this length is handed to the connection.
    pub(super) fn start(
        record: &Arc<UpstreamExchange>,
        connection: &Arc<UpstreamConnection>,
        body: u64,
    ) -> Self {
        record.connected(connection);
        record.sent(Instant::now());
        record.set_bytes(ExchangeBytes { sent_body: body, ..ExchangeBytes::default() });
        Self { record: Some(Arc::clone(record)) }
    }

    /// The whole response was received.
    pub(super) fn complete(&mut self) {
        self.end(ExchangeEnd { is_complete: true, close: None });
    }

    /// The stream, or its connection, has ended early.
    pub(super) fn failed(&mut self, error: &hyper::Error) {
        self.end(ExchangeEnd { is_complete: false, close: Some(close_of(error)) });
    }

    /// The request was not processed and is sent again.
    pub(super) fn dismiss(mut self) {
        self.record = None;
    }

    fn end(&mut self, end: ExchangeEnd) {
        if let Some(record) = self.record.take() {
            record.end(end);
        }
    }
}

impl Drop for Http2Exchange {
    fn drop(&mut self) {
        let close = UpstreamClose { by: UpstreamSide::Weir, how: "stream_reset" };
        self.end(ExchangeEnd { is_complete: false, close: Some(close) });
    }
}

/// The side that ended a stream, and how.
fn close_of(error: &hyper::Error) -> UpstreamClose {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let Some(cause) = cause else {
        return UpstreamClose { by: UpstreamSide::Upstream, how: "fin" };
    };
    let is_theirs = cause.is_remote() || cause.is_io();
    let how = match (cause.is_reset(), cause.is_io()) {
        (true, _) => "stream_reset",
        (false, true) => "reset",
        (false, false) => "fin",
    };
    UpstreamClose { by: if is_theirs { UpstreamSide::Upstream } else { UpstreamSide::Weir }, how }
}
