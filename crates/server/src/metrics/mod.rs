//! The server's counts, and all metrics as text: its own, the connections', the engine's and the process's.

mod process;

use std::sync::Arc;

use codec::Frame;
use engine::Engine;
use engine::clock;
use engine::exposition::{Exposition, MetricKind};
use engine::instruments::counter::{Gauge, GaugeGuard};
use engine::instruments::family::Family;
use protocol::passthrough::Operation;

use crate::listen::Connections;

/// Counts of the HTTP server.
#[derive(Debug)]
pub struct Metrics {
    streams: Family<Gauge>,
    sockets: Arc<Gauge>,
    /// Seconds since 1970 at which it was made, which is when the process started.
    started: u64,
}

/// The dialect of a stream, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    Responses,
    ChatCompletions,
    Classic,
    /// What passes through.
    Passthrough(Operation),
}

impl Words {
    fn as_str(self) -> &'static str {
        match self {
            Self::Responses => "responses",
            Self::ChatCompletions => "chat_completions",
            Self::Classic => "classic",
            Self::Passthrough(operation) => operation.path(),
        }
    }
}

/// The frame of WebSocket messages, which is not one of HTTP's.
const WEBSOCKET: &str = "websocket";

impl Default for Metrics {
    fn default() -> Self {
        let streams = Family::new(&["frame", "dialect"], Gauge::default);
        // All combinations, so that none is missing while it is zero.
        for words in [Words::Responses, Words::ChatCompletions] {
            for frame in [Frame::Json, Frame::Ndjson, Frame::Sse] {
                streams.of(&[word(frame), words.as_str()]);
            }
        }
        for operation in Operation::ALL {
            streams.of(&[word(Frame::Json), Words::Passthrough(operation).as_str()]);
        }
        for frame in [Frame::Ndjson, Frame::Sse] {
            streams.of(&[word(frame), Words::Passthrough(Operation::Completions).as_str()]);
        }
        streams.of(&[word(Frame::Sse), Words::Classic.as_str()]);
        for words in [Words::Responses, Words::Classic] {
            streams.of(&[WEBSOCKET, words.as_str()]);
        }
        Self { streams, sockets: Arc::default(), started: clock::unix_seconds() }
    }
}

impl Metrics {
    /// When the server started, in seconds since 1970.
    pub(crate) fn started(&self) -> u64 {
        self.started
    }

    /// A response is on its way to a client, as long as the guard lives.
    pub(crate) fn stream(&self, frame: Frame, words: Words) -> GaugeGuard {
        self.streams.of(&[word(frame), words.as_str()]).hold()
    }

    /// The same on a WebSocket.
    pub(crate) fn lane(&self, words: Words) -> GaugeGuard {
        self.streams.of(&[WEBSOCKET, words.as_str()]).hold()
    }

    /// A WebSocket is open, as long as the guard lives.
    pub(crate) fn socket(&self) -> GaugeGuard {
        self.sockets.hold()
    }
}

fn word(frame: Frame) -> &'static str {
    match frame {
        Frame::Json => "json",
        Frame::Ndjson => "ndjson",
        Frame::Sse => "sse",
    }
}

/// Everything, as Prometheus reads it.
pub(crate) fn text(engine: &Engine, connections: &Connections, metrics: &Metrics) -> String {
    let mut text = Exposition::new();
    engine.write_metrics(&mut text);
    text.gauges("weir_streams_open", "Answers on their way to a client.", &metrics.streams);
    text.gauge("weir_sockets_open", "WebSockets that are open.", metrics.sockets.get());
    connections.traffic().write(&mut text);
    let refused: [(&[_], u64); 1] = [(&[], connections.refused())];
    let help = "Connections for which there was no place.";
    text.numbers("weir_connections_refused_total", help, MetricKind::Counter, refused);
    let version: [(&[_], u64); 1] = [(&[("version", env!("CARGO_PKG_VERSION"))], 1)];
    text.numbers("weir_build_info", "What runs; always 1.", MetricKind::Gauge, version);
    process::write(metrics.started, &mut text);
    text.into_text()
}
