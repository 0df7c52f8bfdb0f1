//! Records one exchange on an HTTP/1.1 connection, for the lens.

use std::sync::Arc;

use engine::provider::exchange::{ExchangeBytes, UpstreamExchange};
use engine::provider::exchange_end::{ExchangeEnd, UpstreamClose};

use super::counted_stream::SocketTraffic;

/// An exchange on a connection, which has no other at the same time.
pub(super) struct Http1Exchange {
    record: Arc<UpstreamExchange>,
    traffic: Arc<SocketTraffic>,
    /// What was read and written on the connection before.
    before: (u64, u64),
    /// The bytes of the request's body.
    body: u64,
    /// Whether the whole response was received.
    is_complete: bool,
}

impl Http1Exchange {
    /// A request with a body of this length is about to be sent.
    pub(super) fn start(
        record: &Arc<UpstreamExchange>,
        traffic: &Arc<SocketTraffic>,
        body: u64,
    ) -> Self {
        traffic.start_request();
        let (record, traffic) = (Arc::clone(record), Arc::clone(traffic));
        Self { record, before: traffic.bytes(), traffic, body, is_complete: false }
    }

    /// Bytes may have been written.
    pub(super) fn sending(&self) {
        if let Some(at) = self.traffic.take_last_write() {
            self.record.sent(at);
        }
    }

    /// The head of the response came.
    pub(super) fn answered(&self) {
        self.sending();
        self.record.set_bytes(ExchangeBytes { received: None, ..self.bytes() });
    }

    /// The whole response was received.
    pub(super) fn complete(&mut self) {
        self.is_complete = true;
    }

    /// It has ended: its connection is kept, or was closed.
    pub(super) fn end(self, close: Option<UpstreamClose>) {
        self.sending();
        self.record.set_bytes(self.bytes());
        self.record.end(ExchangeEnd { is_complete: self.is_complete, close });
    }

    fn bytes(&self) -> ExchangeBytes {
        let (read, written) = self.traffic.bytes();
        ExchangeBytes {
            sent_head: (written - self.before.1).checked_sub(self.body),
            sent_body: self.body,
            received_head: self.traffic.head(),
            received: Some(read - self.before.0),
        }
    }
}
