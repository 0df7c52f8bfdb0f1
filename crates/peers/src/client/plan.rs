//! What the client is asked to do, as one JSON object on its command line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    pub address: SocketAddr,
    /// The bytes of one request: head and body, or the message that starts a turn of a WebSocket.
    pub request: String,
    /// The request that makes the connection a WebSocket.
    pub upgrade: Option<String>,
    pub tls: Option<Tls>,
    /// Whether it is HTTP/2, without asking the server first.
    #[serde(default)]
    pub http2: bool,
    /// Streams that share a connection; more than one in HTTP/2 only.
    #[serde(default = "one")]
    pub streams_per_connection: usize,
    /// What stands before the number of a token.
    pub needle: String,
    /// What the last message of a turn contains, where the body does not end with it: on WebSockets.
    pub end: Option<String>,
    pub streams: usize,
    /// Tokens of each response.
    pub tokens: u64,
    /// The pause between the requests of two streams, in microseconds.
    #[serde(default)]
    pub stagger: u64,
    pub work: Work,
    /// Whose processor time is wanted: process ids by name.
    #[serde(default)]
    pub processes: BTreeMap<String, Vec<u32>>,
    /// The time after which it has failed, in seconds.
    pub timeout: u64,
}

/// That the server is asked through TLS, as `localhost`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// The file of the one certificate that is trusted.
    pub certificate: PathBuf,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    /// One response on each connection, read to its end.
    Once,
    /// The same, and all of it counts, not only the time in which all streams run: for servers that never get so far.
    Whole,
    /// One response after the other on each connection: first the seconds that do not count, then those that do.
    Repeat { warm: u64, seconds: u64 },
    /// One response on each connection, read until standard input ends; then all connections are closed at once.
    Hold,
    /// The same, and nothing is read.
    Stall,
    /// The same with a response that is read to its end first; without a request on WebSockets, which are idle from the start.
    Idle,
}

fn one() -> usize {
    1
}
