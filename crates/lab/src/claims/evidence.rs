//! The evidence for the verdicts: numbers, each from one experiment or one cell.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::numbers::DoneCounts;
use crate::plan::Dialect;
use crate::spread::Spread;

/// All evidence; `None` was not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evidence {
    /// The sequence numbers of a handshake.
    pub handshake: Option<Handshake>,
    /// The end of a connection that its client closed.
    pub fin: Option<Fin>,
    /// How connections ended: `client first, 3 segments`, and how many of each.
    pub endings: Option<Endings>,
    /// An answer after a FIN of the client.
    pub half_close: Option<HalfClose>,
    /// Server-sent events over HTTP/1.1.
    pub sse: Option<Exchanges>,
    /// A WebSocket over HTTP/1.1.
    pub websocket: Option<Exchanges>,
    /// Server-sent events over HTTP/1.1 in the API of the Java demo.
    pub demo_sse: Option<Exchanges>,
    /// A WebSocket over HTTP/1.1 in the API of the Java demo.
    pub demo_websocket: Option<Exchanges>,
    /// How streams of the Java demo's API end over HTTP/1.1.
    pub demo_done: Option<DoneCounts>,
    /// Whether connections are kept after a response.
    pub persistence: Option<Persistence>,
    /// Methods that the server has, and has not.
    pub methods: Option<Methods>,
    /// A page that was requested again.
    pub validator: Option<Validator>,
    /// The same stream, framed in three ways.
    pub chunking: Option<Chunking>,
    /// Requests without `Host`, and with two.
    pub host: Option<Host>,
    /// Answers that share a connection.
    pub multiplexing: Option<Multiplexing>,
    /// One lost segment.
    pub loss: Option<Loss>,
    /// Concurrent answers over two versions of HTTP.
    pub parallel: Option<Parallel>,
    /// Whether tokens are passed on one by one.
    pub passing: Option<Passing>,
    /// Requests while an answer streams.
    pub speaking: Option<MidStream>,
    /// Bytes of event streams.
    pub text: Option<Text>,
    /// The media type of event streams.
    pub media_type: Option<MediaType>,
    /// The fields of events.
    pub format: Option<Format>,
    /// A stream that was cut.
    pub resumption: Option<Resumption>,
    /// The delay of tokens.
    pub delay: Option<Delay>,
    /// One answer, read on every transport.
    pub sameness: Option<Sameness>,
}

/// Three segments (RFC 9293, section 3.5, figure 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Handshake {
    /// Whether the first segment is only a SYN.
    pub first_is_syn: bool,
    /// The client's initial sequence number.
    pub client_initial: u32,
    /// The server's.
    pub server_initial: u32,
    /// The acknowledgment number of the SYN+ACK.
    pub syn_ack_acknowledges: u32,
    /// The sequence number of the third segment.
    pub third_sequence: u32,
    /// The acknowledgment number of the third segment.
    pub third_acknowledges: u32,
    /// Bytes that the third segment carries.
    pub third_bytes: u64,
}

/// The first FIN of a connection, in numbers relative to its sender's initial one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Fin {
    /// The sequence number of the last byte before it.
    pub last_byte: u64,
    /// Its sequence number.
    pub number: u64,
    /// The acknowledgment number for it.
    pub acknowledged_by: u64,
    /// Whether it carries ACK.
    pub has_ack: bool,
}

/// How connections ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endings {
    /// `client first, 3 segments`, and how many of each.
    pub counts: BTreeMap<String, u64>,
    /// Sockets in TIME-WAIT by host, from the kernel's table.
    pub time_wait: BTreeMap<String, u64>,
}

/// A client that sends FIN after its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HalfClose {
    /// Bytes that arrived after that FIN.
    pub bytes_after_fin: u64,
    /// Whether the answer was complete.
    pub is_whole: bool,
}

/// Answers, requests and connections of one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Exchanges {
    /// The API.
    pub dialect: Dialect,
    /// Questions that were answered.
    pub answers: u64,
    /// Events or messages in all.
    pub events: u64,
    /// Requests.
    pub requests: u64,
    /// Connections that the client opened.
    pub connections: u64,
    /// SYNs of the client, if captured.
    pub syn: Option<u64>,
    /// FINs before the end of the last answer.
    pub fin: Option<u64>,
}

/// Whether a connection is kept after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "four observations")]
pub struct Persistence {
    /// HTTP/1.0.
    pub http10: bool,
    /// HTTP/1.0 with `Connection: keep-alive`.
    pub http10_keep_alive: bool,
    /// HTTP/1.1.
    pub http11: bool,
    /// HTTP/1.1 with `Connection: close`.
    pub http11_close: bool,
}

/// The statuses of requests with other methods (RFC 9110, section 9.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Methods {
    /// `OPTIONS`.
    pub options: u16,
    /// The methods that the path has: `Allow` in that response.
    pub allowed: Option<String>,
    /// `PUT`, which the path has not.
    pub put: u16,
    /// The same over HTTP/1.0.
    pub put_http10: u16,
    /// A method that no server knows.
    pub unknown: u16,
}

/// A conditional request (RFC 9110, section 13.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Validator {
    /// Whether the first response had an `ETag`.
    pub has_tag: bool,
    /// The status of the second, which sent it in `If-None-Match`.
    pub status: u16,
    /// Bytes of the first response's body.
    pub first_bytes: u64,
    /// Bytes of the second's.
    pub second_bytes: u64,
    /// The status of the same request over HTTP/1.0.
    pub status_http10: u16,
}

/// Bytes that frame the same answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Chunking {
    /// Bytes in the bodies.
    pub body_bytes: u64,
    /// HTTP/1.0, where the end of the connection ends the body.
    pub http10: u64,
    /// HTTP/1.1, with chunks.
    pub http11: u64,
    /// HTTP/2, with frames.
    pub http2: u64,
    /// Connections of HTTP/1.0.
    pub connections_http10: u64,
    /// Connections of HTTP/1.1.
    pub connections_http11: u64,
}

/// The statuses of the responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Host {
    /// HTTP/1.1 without `Host`.
    pub missing: u16,
    /// HTTP/1.1 with two.
    pub twice: u16,
    /// HTTP/1.0 without.
    pub http10: u16,
}

/// Concurrent answers on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Multiplexing {
    /// The number of answers.
    pub answers: u64,
    /// The number of connections.
    pub connections: u64,
    /// How often the next token was another answer's.
    pub switches: u64,
    /// Whether HTTP/1.1 responds to pipelined requests in order, a quick one after a slow one.
    pub pipelined_in_order: bool,
    /// Whether a quick response over HTTP/2 overtook an earlier one.
    pub overtaken: bool,
}

/// Two concurrent answers, one of which lost a segment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// The number of answers.
    pub answers: u64,
    /// How many of them stalled over HTTP/2, on one connection.
    pub stalled_http2: u64,
    /// How many of them stalled over HTTP/1.1, on a connection each.
    pub stalled_http11: u64,
    /// The longest gap over HTTP/2, in milliseconds.
    pub longest_http2_ms: f64,
    /// The longest gap over HTTP/1.1 on the connection without a loss, in milliseconds.
    pub longest_other_ms: f64,
    /// The round trip in milliseconds, the earliest time at which the sender can notice the loss.
    pub round_trip_ms: f64,
    /// The pace of the model, in milliseconds.
    pub pace_ms: f64,
}

/// Concurrent answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Parallel {
    /// The number of answers.
    pub answers: u64,
    /// Connections of HTTP/1.1.
    pub connections_http11: u64,
    /// Connections of HTTP/2.
    pub connections_http2: u64,
    /// The delay of the tokens of a single stream over HTTP/1.1.
    pub added_http11: TransportDelay,
    /// The same over HTTP/2.
    pub added_http2: TransportDelay,
}

/// The tokens of one streamed answer: when the model gave each, and when it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Passing {
    /// Tokens that the model gave.
    pub tokens: u64,
    /// Pieces of text that arrived.
    pub pieces: u64,
    /// Those that arrived before the model gave the next token.
    pub before_next: u64,
}

/// New connections for a request while an answer streams, and whether the response came before the
/// end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MidStream {
    /// Server-sent events over HTTP/1.1.
    pub sse_http11: (u64, bool),
    /// Server-sent events over HTTP/2.
    pub sse_http2: (u64, bool),
    /// A WebSocket over HTTP/1.1.
    pub websocket_http11: (u64, bool),
    /// A WebSocket over HTTP/2.
    pub websocket_http2: (u64, bool),
}

/// The bytes of event streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Bytes that were examined.
    pub bytes: u64,
    /// Whether all of them are UTF-8.
    pub is_utf8: bool,
    /// Characters of more than one byte.
    pub wide_characters: u64,
    /// Whether a client that receives them byte by byte reads the same.
    pub survives_any_split: bool,
    /// Whether it reads the same after a byte order mark, and with CR and CRLF as line ends.
    pub survives_line_ends: bool,
}

/// The media type of event streams.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MediaType {
    /// The `Content-Type` of streams.
    pub of_streams: String,
    /// The status of a stream without further events.
    pub at_the_end: u16,
}

/// What events are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Format {
    /// Events.
    pub events: u64,
    /// Those with `event:`.
    pub with_event: u64,
    /// Those with `id:`.
    pub with_id: u64,
    /// Those with `retry:`.
    pub with_retry: u64,
    /// Comments and blocks without data, which dispatch nothing.
    pub without_data: u64,
    /// One of the events, byte for byte.
    pub example: String,
}

/// A stream that was cut and resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Resumption {
    /// Pieces before the cut.
    pub before: u64,
    /// Pieces of the complete answer.
    pub whole: u64,
    /// Pieces that were lost.
    pub missing: u64,
    /// Pieces that arrived twice.
    pub twice: u64,
}

/// From the model to the client.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Delay {
    /// The API.
    pub dialect: Dialect,
    /// Server-sent events.
    pub sse: TransportDelay,
    /// A WebSocket.
    pub websocket: TransportDelay,
    /// A document at the end, if the API has it.
    pub json: Option<TransportDelay>,
}

/// The delay of tokens on one transport, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TransportDelay {
    /// Of all tokens.
    pub all: Spread,
    /// The lowest median of a run. Other load on the machine can only add to it, so the verdict
    /// goes by it.
    pub calmest_ms: f64,
}

/// One answer on every transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sameness {
    /// Its events.
    pub events: u64,
    /// The number of transports.
    pub transports: u64,
    /// How many of them had other bytes than the first.
    pub different: u64,
}
