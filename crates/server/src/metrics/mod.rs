//! What the face counts, and the whole of it as text: its own, the connections', the engine's and the process's.

mod process;

use std::sync::Arc;

use codec::Frame;
use codec::event_stream::Sse;
use codec::json::Json;
use codec::ndjson::Ndjson;
use engine::clock;
use engine::metrics::{Exposition, Family, Gauge, Held, Kind};
use protocol::dialect;
use protocol::passthrough::Operation;

use crate::app::App;

/// Counts of the face.
#[derive(Debug)]
pub struct Metrics {
    streams: Family<Gauge>,
    sockets: Arc<Gauge>,
    /// Seconds since 1970 at which it was made, which is when the process began.
    begun: u64,
}

impl Default for Metrics {
    fn default() -> Self {
        let streams = Family::new(&["frame", "dialect"], Gauge::default);
        // All there can be, so that none is missing while it is zero.
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
        Self { streams, sockets: Arc::default(), begun: clock::unix_seconds() }
    }
}

impl Metrics {
    /// When the server started, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        self.begun
    }

    /// A response is on its way to a client, as long as the result lives. `dialect` is the label of its dialect or operation.
    pub(crate) fn stream(&self, frame: &'static str, dialect: &'static str) -> Held {
        self.streams.of(&[frame, dialect]).hold()
    }

    /// A WebSocket is open.
    pub(crate) fn socket(&self) -> Held {
        self.sockets.hold()
    }
}

/// Everything, as Prometheus reads it.
pub(crate) fn text(app: &App) -> String {
    let mut text = Exposition::new();
    app.engine.write_metrics(&mut text);
    text.gauges("weir_streams_open", "Answers on their way to a client.", &app.metrics.streams);
    text.gauge("weir_sockets_open", "WebSockets that are open.", app.metrics.sockets.get());
    app.connections.traffic().write(&mut text);
    let refused: [(&[_], u64); 1] = [(&[], app.connections.refused())];
    let help = "Connections for which there was no place.";
    text.numbers("weir_connections_refused_total", help, Kind::Counter, refused);
    let version: [(&[_], u64); 1] = [(&[("version", env!("CARGO_PKG_VERSION"))], 1)];
    text.numbers("weir_build_info", "What runs; always 1.", Kind::Gauge, version);
    process::write(app.metrics.begun, &mut text);
    text.into_text()
}
