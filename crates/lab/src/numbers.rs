//! The numbers of a cell, with their units in their names.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::bytes::BothDirections;
use super::plan::Cell;

/// The measurement of one cell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// The cell; `None` only before it is filled in.
    pub cell: Option<Cell>,
    /// Why it could not be measured, if so.
    pub failed: Option<String>,
    /// The number of answered questions.
    pub answers: u64,
    /// Tokens that the model sent, if known, otherwise those that arrived.
    pub tokens: Option<u64>,
    /// Events that arrived.
    pub events: u64,
    /// Bytes of text that arrived, in UTF-8.
    pub text_bytes: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// TCP connections that the client opened.
    pub connections: u64,
    /// Times at the client.
    pub times: Times,
    /// Bytes above TCP by kind.
    pub bytes: BothDirections,
    /// What the server put into bodies, by its own count.
    #[serde(rename = "said")]
    pub bodies: Option<ByteBreakdown>,
    /// Counts of the captured packets, if there is a capture.
    pub wire: Option<WireCounts>,
    /// Segments with FIN before the end of the last answer.
    pub fin_before_end: Option<u64>,
    /// The kernel's counts at the server.
    pub kernel: KernelCounts,
    /// How often its connections ended in which way, as seen by the server: `client fin`, `server
    /// fin`…
    pub closed: BTreeMap<String, u64>,
    /// Processor time of the server for each token.
    pub processor_us_per_token: Option<f64>,
    /// Differences between the counts of client, server and capture; empty if they agree.
    pub disagreements: Vec<String>,
    /// When the tokens of the last answer arrived.
    pub strip: Strip,
    /// What could not be measured, and why.
    pub missing: Vec<String>,
    /// From the end of one event of the stream to the end of the next, in bytes above TLS.
    pub event_bytes: Option<Spread>,
    /// The cost of a cut.
    pub cut: Option<CutCost>,
    /// A request of the client while the answer streams.
    #[serde(rename = "speech")]
    pub mid_stream: Option<MidStreamRequest>,
}

/// One answer, token by token, in milliseconds from the question.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Strip {
    /// When the model sent each.
    pub given_ms: Vec<f64>,
    /// When the client received each piece.
    pub arrived_ms: Vec<f64>,
}

/// Times in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    /// The TCP handshake, as timed around `connect`.
    pub connect_ms: Option<Spread>,
    /// Full TLS handshakes.
    pub tls_full_ms: Option<Spread>,
    /// TLS handshakes that resumed a session.
    pub tls_resumed_ms: Option<Spread>,
    /// From the question to the head of the response.
    pub head_ms: Option<Spread>,
    /// From the question to the first token.
    pub first_token_ms: Option<Spread>,
    /// From the question to the end.
    pub whole_ms: Option<Spread>,
    /// Between two tokens.
    pub gap_ms: Option<Spread>,
    /// From the model's sending a token to its arrival, by one clock.
    pub added_ms: Option<Spread>,
}

/// The distribution of values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The number of values.
    pub count: usize,
    /// The minimum.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The maximum.
    pub max: f64,
}

/// The contents of bodies, as counted by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByteBreakdown {
    /// Events.
    pub events: u64,
    /// Bytes around events: `data:`, blank lines, heartbeats.
    pub framing: u64,
    /// Bytes of JSON around the text.
    pub dialect: u64,
    /// Bytes of text, as JSON writes it.
    pub text: u64,
}

/// Counts of a cell's packets.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WireCounts {
    /// TCP connections.
    pub connections: u64,
    /// Segments with SYN of both sides, retransmissions included.
    pub syn: u64,
    /// Segments with FIN.
    pub fin: u64,
    /// Segments with RST.
    pub rst: u64,
    /// All segments from the client.
    pub segments_up: u64,
    /// All segments to the client.
    pub segments_down: u64,
    /// Segments that only acknowledge.
    pub pure_acks: u64,
    /// Retransmitted segments.
    pub retransmissions: u64,
    /// Bytes from the client, with the headers of TCP, IP and Ethernet.
    pub bytes_up: u64,
    /// Bytes to the client, with the headers of TCP, IP and Ethernet.
    pub bytes_down: u64,
    /// The headers of TCP, IP and Ethernet in both directions.
    pub header_bytes: u64,
    /// From SYN to ACK.
    pub handshake_ms: Option<Spread>,
    /// How often connections ended in which way: `client first, 3 segments`, `reset by the server`…
    pub endings: BTreeMap<String, u64>,
    /// How often which side is in TIME-WAIT.
    pub time_wait: BTreeMap<String, u64>,
}

/// Sums of `TCP_INFO` at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct KernelCounts {
    /// The round-trip time of the last connection.
    pub rtt_ms: Option<f64>,
    /// Segments sent.
    pub segments_sent: u64,
    /// Segments received.
    pub segments_received: u64,
    /// Segments retransmitted.
    pub retransmissions: u64,
}

/// The cost of a cut in the middle of an answer.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CutCost {
    /// Pieces of text before the cut.
    pub pieces_before: u64,
    /// Pieces of the complete answer, if known.
    pub pieces_whole: Option<u64>,
    /// How the client resumes; `None` if it cannot.
    pub resumed_by: Option<&'static str>,
    /// From the resumption to the next piece.
    pub resumed_ms: Option<f64>,
    /// Pieces that were lost, if known.
    pub missing: Option<u64>,
    /// Pieces that arrived twice.
    pub twice: u64,
    /// Tokens that the model sent, some time after a cut that cannot be resumed.
    pub model_gave: Option<u64>,
}

/// A request while an answer streams.
#[derive(Clone, Debug, Serialize)]
pub struct MidStreamRequest {
    /// The request.
    #[serde(rename = "said")]
    pub request: &'static str,
    /// Connections that were opened for it.
    pub new_connections: u64,
    /// Whether the server responded before the end of the stream.
    #[serde(rename = "heard_before_end")]
    pub is_before_end: bool,
    /// How long the response took.
    pub answered_ms: f64,
}

impl Measured {
    /// Bytes to the client per token: the model's text, the JSON around it, event marks, chunks and
    /// frames, heads, TLS. `None` if the number of tokens is unknown.
    pub fn kinds_per_token(&self) -> Option<[f64; 6]> {
        let tokens = self.tokens?;
        let down = self.bytes.down;
        let bodies = self.bodies.unwrap_or_default();
        // Without the server's count, the text is at least what arrived.
        let text = if bodies.text > 0 { bodies.text } else { self.text_bytes }.min(down.body);
        let marks = bodies.framing.min(down.body - text);
        let rest = down.body - text - marks;
        Some(
            [text, rest, marks, down.framing, down.head, down.tls]
                .map(|bytes| ratio(bytes, tokens).unwrap_or_default()),
        )
    }
}

impl Spread {
    /// The distribution of some values; `None` if there are none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied()
        };
        Some(Self {
            count: values.len(),
            min: *values.first()?,
            p50: at(50)?,
            p90: at(90)?,
            p99: at(99)?,
            max: *values.last()?,
        })
    }

    /// The distribution of some times, in milliseconds.
    pub fn of_times(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::of(times.into_iter().map(milliseconds).collect())
    }
}

/// Rounded to microseconds; smaller differences are noise.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The quotient of two counts; `None` for a divisor of zero.
#[expect(clippy::cast_precision_loss, reason = "counts of a measurement are far below 2^52")]
pub fn ratio(above: u64, below: u64) -> Option<f64> {
    (below > 0).then(|| above as f64 / below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        assert_eq!(Spread::of(Vec::new()), None);
        let of = |count: u32| Spread::of((1..=count).rev().map(f64::from).collect());
        assert_eq!(
            of(1),
            Some(Spread { count: 1, min: 1.0, p50: 1.0, p90: 1.0, p99: 1.0, max: 1.0 })
        );
        assert_eq!(
            of(10),
            Some(Spread { count: 10, min: 1.0, p50: 5.0, p90: 9.0, p99: 10.0, max: 10.0 })
        );
        assert_eq!(
            of(200),
            Some(Spread { count: 200, min: 1.0, p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 })
        );
    }
}
