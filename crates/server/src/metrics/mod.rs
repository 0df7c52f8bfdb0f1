//! The server's counts, and all metrics as text: its own, the connections', the engine's and the
//! process's.

mod process;

use std::sync::Arc;

use codec::Frame;
use codec::event_stream::Sse;
use codec::json::Json;
use codec::ndjson::Ndjson;
use engine::Engine;
use engine::clock;
use engine::exposition::{Exposition, MetricKind};
use engine::instruments::counter::{Gauge, GaugeGuard};
use engine::instruments::family::MetricFamily;
use protocol::dialect;
use protocol::passthrough::Operation;

use crate::listen::Connections;

/// Counts of the HTTP server.
#[derive(Debug)]
pub struct ServerMetrics {
    streams: MetricFamily<Gauge>,
    sockets: Arc<Gauge>,
    /// Seconds since 1970 at which it was made, which is when the process started.
    started: u64,
}

impl Default for ServerMetrics {
    fn default() -> Self {
        let streams = MetricFamily::new(&["frame", "dialect"], Gauge::default);
        // All possible labels, so that counters at zero are exported, too.
        for dialect in dialect::ALL {
            for frame in dialect.frames {
                streams.of(&[*frame, dialect.name]);
            }
        }
        for operation in Operation::ALL {
            streams.of(&[Json.name(), operation.path()]);
        }
        for frame in [&Ndjson as &dyn Frame, &Sse] {
            streams.of(&[frame.name(), Operation::Completions.path()]);
        }
        Self { streams, sockets: Arc::default(), started: clock::unix_seconds() }
    }
}

impl ServerMetrics {
    /// When the server started, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// A response is on its way to a client, as long as the result lives. `dialect` is the label of
    /// its dialect or operation.
    pub(crate) fn stream(&self, frame: &'static str, dialect: &'static str) -> GaugeGuard {
        self.streams.of(&[frame, dialect]).hold()
    }

    /// A WebSocket is open, as long as the guard lives.
    pub(crate) fn socket(&self) -> GaugeGuard {
        self.sockets.hold()
    }
}

/// Everything, as Prometheus reads it.
pub(crate) fn text(engine: &Engine, connections: &Connections, metrics: &ServerMetrics) -> String {
    let mut text = Exposition::new();
    engine.write_metrics(&mut text);
    text.gauges(
        "weir_streams_open",
        "Responses that are being sent to a client.",
        &metrics.streams,
    );
    text.gauge("weir_sockets_open", "Open WebSockets.", metrics.sockets.get());
    connections.traffic().write(&mut text);
    let refused: [(&[_], u64); 1] = [(&[], connections.refused())];
    let help = "Connections that were refused because of a limit.";
    text.numbers("weir_connections_refused_total", help, MetricKind::Counter, refused);
    let version: [(&[_], u64); 1] = [(&[("version", env!("CARGO_PKG_VERSION"))], 1)];
    text.numbers("weir_build_info", "Build information; always 1.", MetricKind::Gauge, version);
    process::write(metrics.started, &mut text);
    text.into_text()
}
