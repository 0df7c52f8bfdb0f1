//! The numbers of a cell, with their units in their names.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::bytes::BothDirections;
use super::plan::Cell;
use super::spread::Spread;

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
    /// Processor time of the server for each token, by answer.
    pub processor_us_per_token: Option<Spread>,
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
    /// Streams of the classic API that ended with `[DONE]`; `None` for other streams.
    pub done: Option<DoneCounts>,
    /// Each run of the cell, in order. Counts and bytes are those of the first; times are of all
    /// runs that were not set aside.
    pub runs: Vec<RunSummary>,
}

/// How streams end that announce their end by an event, as those of the classic API do by `[DONE]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DoneCounts {
    /// The streams.
    pub streams: u64,
    /// Those whose body had ended by the time the event was read. A client that closes at the event
    /// leaves only their connections usable.
    pub with_end_of_body: u64,
}

/// One run of a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunSummary {
    /// Its place among all measurements, from 0.
    pub place: u64,
    /// The median time to the first token.
    pub first_token_ms: Option<f64>,
    /// The median delay of its tokens.
    pub added_ms: Option<f64>,
    /// The longest delay of a token.
    pub slowest_ms: Option<f64>,
    /// Tokens whose delay was measured.
    pub tokens: u64,
    /// Tokens that arrived while the measuring side stalled.
    pub stalled_tokens: u64,
    /// How long the measuring side stalled.
    pub stalled_ms: f64,
    /// The share of the machine's processor time that other programs took, if known.
    pub others_share: Option<f64>,
    /// Whether its times are left out, since a repetition did not confirm its outliers.
    pub is_set_aside: bool,
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
    /// Tokens that arrived while the measuring side stalled. They are not in the distributions,
    /// unless they are most of the tokens.
    pub stalled_tokens: u64,
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
    /// The lowest median delay of a run. Other load on the machine can only add to it.
    pub fn calmest_added_ms(&self) -> Option<f64> {
        self.runs.iter().filter_map(|run| run.added_ms).min_by(f64::total_cmp)
    }

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

/// In milliseconds, rounded to microseconds; smaller differences are noise.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The quotient of two counts; `None` for a divisor of zero.
#[expect(clippy::cast_precision_loss, reason = "counts of a measurement are far below 2^52")]
pub fn ratio(above: u64, below: u64) -> Option<f64> {
    (below > 0).then(|| above as f64 / below as f64)
}
