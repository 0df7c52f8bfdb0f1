//! What is reported of a cell, as numbers with their units in their names.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::bytes::BothWays;
use super::plan::Cell;

/// One cell, measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// Which; `None` only before it is filled in.
    pub cell: Option<Cell>,
    /// Why it could not be measured.
    pub failed: Option<String>,
    /// Questions, each with its answer.
    pub answers: u64,
    /// Tokens that the model gave, if it says so, or that came.
    pub tokens: Option<u64>,
    /// Events that came.
    pub events: u64,
    /// Bytes of text that came, in UTF-8.
    pub text_bytes: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// TCP connections that the client opened.
    pub connections: u64,
    /// How long things took at the client.
    pub times: Times,
    /// Bytes above TCP by kind, and what of the bodies down was text.
    pub bytes: BothWays,
    /// What the server says that it put into bodies.
    pub said: Option<Said>,
    /// What was on the wire, where it could be captured.
    pub wire: Option<Wire>,
    /// Segments with FIN before the last answer was over.
    pub fin_before_end: Option<u64>,
    /// What the kernel counted at the server.
    pub kernel: Kernel,
    /// How its connections ended, as the server saw it, and how often: `client fin`, `server fin`…
    pub closed: BTreeMap<String, u64>,
    /// Processor time of the server for each token.
    pub processor_us_per_token: Option<f64>,
    /// Where the parties that count do not agree. Nothing, if all is well.
    pub disagreements: Vec<String>,
    /// When the tokens of the last answer came.
    pub strip: Strip,
    /// What of it could not be tried, and why.
    pub missing: Vec<String>,
    /// From the end of one event of the stream to the end of the next, in bytes above TLS.
    pub event_bytes: Option<Spread>,
    /// What a cut costs here.
    pub cut: Option<Cut>,
    /// Whether the client can be heard while the answer streams.
    pub speech: Option<Speech>,
}

/// One answer, token by token, in milliseconds from the question.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Strip {
    /// When the model gave each.
    pub given_ms: Vec<f64>,
    /// When the client had each piece.
    pub arrived_ms: Vec<f64>,
}

/// Times in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Times {
    /// TCP's handshake, as `connect` saw it.
    pub connect_ms: Option<Spread>,
    /// TLS's first handshake.
    pub tls_full_ms: Option<Spread>,
    /// TLS's handshakes that took up an earlier session.
    pub tls_resumed_ms: Option<Spread>,
    /// From asking to the head of the answer.
    pub head_ms: Option<Spread>,
    /// From asking to the first token.
    pub first_token_ms: Option<Spread>,
    /// From asking to the end.
    pub whole_ms: Option<Spread>,
    /// Between two tokens.
    pub gap_ms: Option<Spread>,
    /// From the model's giving a token to its arrival, on one clock.
    pub added_ms: Option<Spread>,
}

/// How values spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The least.
    pub min: f64,
    /// Half of them are not above it.
    pub p50: f64,
    /// Nine in ten are not above it.
    pub p90: f64,
    /// Ninety-nine in a hundred are not above it.
    pub p99: f64,
    /// The greatest.
    pub max: f64,
}

/// What was in bodies, by the word of who wrote them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Events.
    pub events: u64,
    /// Bytes around events: `data:`, blank lines, heartbeats.
    pub framing: u64,
    /// Bytes of JSON around the text.
    pub dialect: u64,
    /// Bytes of text, as JSON writes it.
    pub text: u64,
}

/// What the packets of a cell say.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Wire {
    /// TCP connections.
    pub connections: u64,
    /// Segments with SYN, of both sides; repeated ones, too.
    pub syn: u64,
    /// Segments with FIN.
    pub fin: u64,
    /// Segments with RST.
    pub rst: u64,
    /// All segments from the client.
    pub segments_up: u64,
    /// All segments to the client.
    pub segments_down: u64,
    /// Those that do nothing but acknowledge.
    pub pure_acks: u64,
    /// Those that repeat something.
    pub retransmissions: u64,
    /// Bytes from the client, with the headers of TCP, IP and Ethernet.
    pub bytes_up: u64,
    /// Bytes to the client, with the headers of TCP, IP and Ethernet.
    pub bytes_down: u64,
    /// Of both, the headers of TCP, IP and Ethernet.
    pub header_bytes: u64,
    /// From SYN to ACK.
    pub handshake_ms: Option<Spread>,
    /// How connections ended, and how often: `client first, 3 segments`, `server reset`…
    pub endings: BTreeMap<String, u64>,
    /// Who holds TIME-WAIT, and how often.
    pub time_wait: BTreeMap<String, u64>,
}

/// Sums of `TCP_INFO` at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Kernel {
    /// The round trip, the last one's.
    pub rtt_ms: Option<f64>,
    /// Segments sent.
    pub segments_sent: u64,
    /// Segments received.
    pub segments_received: u64,
    /// Segments repeated.
    pub retransmissions: u64,
}

/// What a cut in the middle of an answer costs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cut {
    /// How many pieces of text had come.
    pub pieces_before: u64,
    /// How many pieces the whole answer has, if that is known.
    pub pieces_whole: Option<u64>,
    /// How the client goes on; `None`: it cannot.
    pub resumed_by: Option<&'static str>,
    /// From asking again to the next piece.
    pub resumed_ms: Option<f64>,
    /// Pieces that neither came before nor after, if that is known.
    pub missing: Option<u64>,
    /// Pieces that came twice.
    pub twice: u64,
    /// How many tokens the model gave of an answer that nobody can go on with, a while after the cut.
    pub model_gave: Option<u64>,
}

/// What speaking while an answer streams needs.
#[derive(Clone, Debug, Serialize)]
pub struct Speech {
    /// What was said.
    pub said: &'static str,
    /// Connections that had to be opened for it.
    pub new_connections: u64,
    /// Whether the server had answered before the stream was over.
    pub heard_before_end: bool,
    /// How long that took.
    pub answered_ms: f64,
}

impl Measured {
    /// Bytes to the client for each token: the model's text, the JSON around it, what marks events, chunks and frames, heads, TLS.
    /// `None` where it is not known how many tokens there were.
    pub fn kinds_per_token(&self) -> Option<[f64; 6]> {
        let tokens = self.tokens?;
        let down = self.bytes.down;
        let said = self.said.unwrap_or_default();
        // A server that does not tell its text apart has sent at least what came.
        let text = if said.text > 0 { said.text } else { self.text_bytes }.min(down.body);
        let marks = said.framing.min(down.body - text);
        let rest = down.body - text - marks;
        Some([text, rest, marks, down.framing, down.head, down.tls].map(|bytes| ratio(bytes, tokens).unwrap_or_default()))
    }
}

impl Spread {
    /// Of some values; `None` of none.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { count: values.len(), min: *values.first()?, p50: at(50)?, p90: at(90)?, p99: at(99)?, max: *values.last()? })
    }

    /// Of some times, in milliseconds.
    pub fn of_times(times: impl IntoIterator<Item = Duration>) -> Option<Self> {
        Self::of(times.into_iter().map(milliseconds).collect())
    }
}

/// With three digits behind the point: what is finer is the clock's own noise.
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// One number over another; `None` over nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of a measurement are far below 2^52")]
pub fn ratio(above: u64, below: u64) -> Option<f64> {
    (below > 0).then(|| above as f64 / below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        assert_eq!(Spread::of(Vec::new()), None);
        let of = |count: u32| Spread::of((1..=count).rev().map(f64::from).collect());
        assert_eq!(of(1), Some(Spread { count: 1, min: 1.0, p50: 1.0, p90: 1.0, p99: 1.0, max: 1.0 }));
        assert_eq!(of(10), Some(Spread { count: 10, min: 1.0, p50: 5.0, p90: 9.0, p99: 10.0, max: 10.0 }));
        assert_eq!(of(200), Some(Spread { count: 200, min: 1.0, p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 }));
    }
}
