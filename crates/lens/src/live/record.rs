//! What is recorded of a connection: its handshake, its requests, what was sent, and its end.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::bytes::Bytes;

/// The TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// When its first byte came.
    pub begin: Duration,
    /// When it was done.
    pub end: Duration,
    /// The version of TLS.
    pub version: &'static str,
    /// What was agreed to be spoken (ALPN, RFC 7301).
    pub alpn: Option<String>,
    /// Whether it took up an earlier session.
    pub is_resumed: bool,
}

/// Reads and writes, and the first and last of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
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

/// What the bodies held that were answers of a model, as their writers know it. It is a part of
/// [`Bytes::body`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteBreakdown {
    /// Events; a JSON answer is none.
    pub events: u64,
    /// Bytes that mark where events begin and end, and heartbeats.
    pub framing: u64,
    /// Bytes of JSON around the text.
    pub dialect: u64,
    /// Bytes of the model's text, as JSON writes it.
    pub text: u64,
}

/// What was sent up to a moment, or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes on the network, with TLS.
    pub network: u64,
    /// Those in it, by kind.
    pub bytes: Bytes,
    /// What of them were answers of a model.
    pub said: ByteBreakdown,
}

impl Sent {
    /// What was sent since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let ByteBreakdown { events, framing, dialect, text } = earlier.said;
        // Counts are read one after another: one may be a little older than the others.
        let said = ByteBreakdown {
            events: self.said.events.saturating_sub(events),
            framing: self.said.framing.saturating_sub(framing),
            dialect: self.said.dialect.saturating_sub(dialect),
            text: self.said.text.saturating_sub(text),
        };
        Self {
            network: self.network.saturating_sub(earlier.network),
            bytes: self.bytes.since(&earlier.bytes),
            said,
        }
    }
}

/// What was sent for a request with a lane: from its start to the start of the next request, while
/// no other was running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// It cannot be told apart from what was sent for others.
    Mixed,
    /// All that was sent since.
    Since(Sent),
    /// That much.
    Whole(Sent),
}

/// A request on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number on this connection, from 0.
    pub number: u64,
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The version of HTTP.
    pub version: &'static str,
    /// What its client calls it, to find it here again.
    pub lane: Option<String>,
    /// Whose it is, once that is known.
    pub owner: Option<Arc<str>>,
    /// When its head was read.
    pub begin: Duration,
    /// When the head of its answer was ready.
    pub answered: Option<Duration>,
    /// That answer's status.
    pub status: Option<u16>,
    /// When its answer's body was over, or given up.
    pub end: Option<Duration>,
    /// What was sent for it.
    pub share: Share,
}

impl Request {
    /// What was sent for it, if that can be told; `now`: all that was sent by now.
    pub fn sent(&self, now: &Sent) -> Option<Sent> {
        match self.share {
            Share::Mixed => None,
            Share::Since(begin) => self.end.map(|_| now.since(&begin)),
            Share::Whole(sent) => Some(sent),
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A caller's resource: until its owner is known, the request is attributed to other callers.
    Callers,
    /// The lens itself: it is a caller's too, but is not listed, since its reader knows of it.
    Lens,
    /// A public resource, such as a page.
    Public,
}

/// The head of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What it asks for.
    pub subject: Subject,
    /// The method.
    pub method: &'a str,
    /// The path, without its query.
    pub path: &'a str,
    /// The version of HTTP.
    pub version: &'static str,
    /// What its client calls it.
    pub lane: Option<&'a str>,
}

/// How a connection ended, as its server saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The side that closed first.
    pub by: Closer,
    /// How: `fin`, `reset`, `write_timeout`…
    pub how: &'static str,
    /// When.
    pub at: Duration,
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closer {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// A timeline as it is at one moment.
#[derive(Clone, Debug)]
pub struct Record {
    /// When the connection was accepted.
    pub accepted: SystemTime,
    /// How long ago that was, or how long it lasted.
    pub age: Duration,
    /// The TLS handshake, if there was one.
    pub handshake: Option<Handshake>,
    /// Whether the bytes below were counted.
    pub is_sampled: bool,
    /// What the client sent, above TLS.
    pub up: Bytes,
    /// What was sent to it, above TLS.
    pub down: Bytes,
    /// Reads and writes.
    pub counts: Counts,
    /// The bytes of responses, by purpose.
    pub said: ByteBreakdown,
    /// How many requests there were.
    pub asked: u64,
    /// The last of them.
    pub requests: Vec<Request>,
    /// The owner of the first request that had one.
    pub owner: Option<Arc<str>>,
    /// Whether requests had different owners, or one had none that is known; forgotten requests
    /// count too.
    pub is_shared: bool,
    /// Whether the owner of a running request is not known yet.
    pub is_unclaimed: bool,
    /// How it ended, if it has.
    pub close: Option<Close>,
}
