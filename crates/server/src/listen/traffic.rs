//! Counts over all connections: connections by protocol, and bytes.

use std::sync::Arc;

use engine::exposition::{Exposition, MetricKind};
use engine::instruments::counter::{Counter, Gauge, GaugeGuard};

use super::protocol::HttpVersion;

/// Counts of all connections of a server.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Those whose protocol is not known yet.
    opening: Arc<Gauge>,
    http1: ProtocolCounts,
    http2: ProtocolCounts,
    /// How many closed before that was known.
    silent: Counter,
    /// Bytes from clients, as they were on the network.
    pub(super) received: Counter,
    /// Bytes to them.
    pub(super) sent: Counter,
}

#[derive(Debug, Default)]
struct ProtocolCounts {
    open: Arc<Gauge>,
    total: Counter,
}

impl Traffic {
    /// A connection that has sent nothing yet.
    pub(super) fn opening(&self) -> GaugeGuard {
        self.opening.hold()
    }

    /// A connection speaks this protocol, from now on.
    pub(super) fn speaks(&self, protocol: HttpVersion) -> GaugeGuard {
        let spoken = match protocol {
            HttpVersion::Http1 => &self.http1,
            HttpVersion::Http2 => &self.http2,
        };
        spoken.total.add(1);
        spoken.open.hold()
    }

    /// A connection has closed before its protocol was known.
    pub(super) fn closed_silently(&self) {
        self.silent.add(1);
    }

    /// Writes it as metrics.
    pub(crate) fn write(&self, text: &mut Exposition) {
        let (none, http1, http2) =
            (&[("protocol", "none")], &[("protocol", "http1")], &[("protocol", "http2")]);
        let open: [(&[_], u64); 3] = [
            (none, self.opening.get()),
            (http1, self.http1.open.get()),
            (http2, self.http2.open.get()),
        ];
        let help = "Open connections, by protocol.";
        text.numbers("weir_connections_open", help, MetricKind::Gauge, open);
        let total: [(&[_], u64); 3] = [
            (none, self.silent.get()),
            (http1, self.http1.total.get()),
            (http2, self.http2.total.get()),
        ];
        let help = "Connections since the start, by protocol; none for those that closed before it was known.";
        text.numbers("weir_connections_total", help, MetricKind::Counter, total);
        let (received, sent) = (&[("direction", "received")], &[("direction", "sent")]);
        let bytes: [(&[_], u64); 2] = [(received, self.received.get()), (sent, self.sent.get())];
        text.numbers(
            "weir_bytes_total",
            "Bytes on all connections, as they were on the network.",
            MetricKind::Counter,
            bytes,
        );
    }
}
