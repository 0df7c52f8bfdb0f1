//! What is recorded of a connection: its handshake, its requests, what was sent, and its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::bytes::ByteCounts;

/// The TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsHandshakeRecord {
    /// When its first byte came.
    pub started: Duration,
    /// When it was done.
    pub finished: Duration,
    /// The version of TLS.
    pub version: &'static str,
    /// The protocol that was agreed on (ALPN, RFC 7301).
    pub alpn: Option<String>,
    /// Whether it resumed an earlier session.
    pub is_resumed: bool,
}

/// Reads and writes, and the first and last of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadWriteCounts {
    /// Reads that gave bytes.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// When the first byte came from the client.
    pub first_in: Option<Duration>,
    /// When the last came.
    pub last_in: Option<Duration>,
    /// When the first byte was written to it.
    pub first_out: Option<Duration>,
    /// When the last was.
    pub last_out: Option<Duration>,
}

/// The part of [`ByteCounts::body`] that was responses of a model, as their writers counted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseBytes {
    /// Events; a JSON response has none.
    pub events: u64,
    /// Bytes that mark where events start and end, and heartbeats.
    pub framing: u64,
    /// Bytes of JSON around the text.
    pub dialect: u64,
    /// Bytes of the model's text, as JSON writes it.
    pub text: u64,
}

/// What was sent up to a moment, or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SentBytes {
    /// Bytes on the network, with TLS.
    pub network: u64,
    /// Those in it, by kind.
    pub bytes: ByteCounts,
    /// The part of them that was responses of a model.
    pub response_bytes: ResponseBytes,
}

impl SentBytes {
    /// What was sent since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let ResponseBytes { events, framing, dialect, text } = earlier.response_bytes;
        // Counts are read one after another: one may be a little older than the others.
        let response_bytes = ResponseBytes {
            events: self.response_bytes.events.saturating_sub(events),
            framing: self.response_bytes.framing.saturating_sub(framing),
            dialect: self.response_bytes.dialect.saturating_sub(dialect),
            text: self.response_bytes.text.saturating_sub(text),
        };
        Self {
            network: self.network.saturating_sub(earlier.network),
            bytes: self.bytes.since(&earlier.bytes),
            response_bytes,
        }
    }
}

/// What was sent for a request with a lane: from its start to the start of the next request, while
/// no other was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestShare {
    /// It cannot be separated from what was sent for others.
    Mixed,
    /// All that was sent since.
    Since(SentBytes),
    /// That much.
    Whole(SentBytes),
}

/// A request on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its number on this connection, from 0.
    pub number: u64,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The version of HTTP.
    pub version: &'static str,
    /// The client's name for it, by which it can be found here.
    pub lane: Option<String>,
    /// Its owner, once that is known.
    pub owner: Option<Arc<str>>,
    /// When its head was read.
    pub started: Duration,
    /// When the head of its response was ready.
    pub responded: Option<Duration>,
    /// The status of its response.
    pub status: Option<u16>,
    /// When the body of its response ended or was given up.
    pub finished: Option<Duration>,
    /// What was sent for it.
    pub share: RequestShare,
}

impl RequestRecord {
    /// What was sent for it, if that is known; `now`: all that was sent so far.
    pub fn sent(&self, now: &SentBytes) -> Option<SentBytes> {
        match self.share {
            RequestShare::Mixed => None,
            RequestShare::Since(start) => self.finished.map(|_| now.since(&start)),
            RequestShare::Whole(sent) => Some(sent),
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestSubject {
    /// A caller's resource: until its owner is known, the request is attributed to other callers.
    Callers,
    /// The lens itself: it is a caller's too, but is not listed.
    Lens,
    /// A public resource, such as a page.
    Public,
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestStart<'a> {
    /// What it asks for.
    pub subject: RequestSubject,
    /// The method.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// The version of HTTP.
    pub version: &'static str,
    /// The client's name for it.
    pub lane: Option<&'a str>,
}

/// How a connection ended, as its server saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionClose {
    /// The side that closed first.
    pub by: ClosingSide,
    /// How: `fin`, `reset`, `write_timeout`…
    pub how: &'static str,
    /// When.
    pub at: Duration,
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingSide {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A timeline as it is at one moment.
#[derive(Clone, Debug)]
pub struct ConnectionRecord {
    /// When the connection was accepted.
    pub accepted: SystemTime,
    /// How long ago that was, or how long it lasted.
    pub age: Duration,
    /// The TLS handshake, if there was one.
    pub handshake: Option<TlsHandshakeRecord>,
    /// Whether the bytes below were counted.
    pub is_sampled: bool,
    /// What the client sent, above TLS.
    pub up: ByteCounts,
    /// What was sent to it, above TLS.
    pub down: ByteCounts,
    /// Reads and writes.
    pub counts: ReadWriteCounts,
    /// The bytes of responses, by purpose.
    pub response_bytes: ResponseBytes,
    /// How many requests there were.
    pub request_count: u64,
    /// The last of them.
    pub requests: Vec<RequestRecord>,
    /// The owner of the first request that had one.
    pub owner: Option<Arc<str>>,
    /// Whether requests had different owners, or one had none that is known; forgotten requests
    /// count too.
    pub is_shared: bool,
    /// Whether the owner of a running request is not known yet.
    pub is_unclaimed: bool,
    /// How it ended, if it has.
    pub close: Option<ConnectionClose>,
}
