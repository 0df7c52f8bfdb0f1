//! A connection to an upstream, as the lens shows it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::exchange_end::UpstreamClose;
use crate::atomic_time::milliseconds;

/// A connection to an upstream, from its opening on.
#[derive(Debug)]
pub struct UpstreamConnection {
    /// Its number among the connections to this upstream, as in logs.
    pub number: u64,
    /// The name of the upstream in the settings.
    pub upstream: Arc<str>,
    /// When its opening started.
    pub opened: Instant,
    /// How it was opened.
    pub opening: ConnectionOpening,
    /// How many requests were sent on it.
    requests: AtomicU64,
}

/// How a connection was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionOpening {
    /// The version of HTTP that is used on it.
    pub protocol: UpstreamProtocol,
    /// How long the host's name took to resolve; `None` where it was not resolved here.
    pub dns: Option<Duration>,
    /// How long TCP took, and with a proxy the dialogue with it.
    pub connect: Duration,
    /// The TLS handshake, if there was one.
    pub tls: Option<UpstreamTls>,
    /// Whether it goes through a proxy.
    pub is_by_proxy: bool,
    /// The address on this side, where the system provides it.
    pub local: Option<SocketAddr>,
    /// The upstream's address, or its proxy's.
    pub peer: Option<SocketAddr>,
}

/// The version of HTTP on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1: one request at a time.
    Http1,
    /// HTTP/2: several at once, each on a stream of its own.
    Http2,
}

/// The TLS handshake with an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// How long it took.
    pub took: Duration,
    /// The version of TLS.
    pub version: &'static str,
    /// The protocol that was agreed on (ALPN, RFC 7301).
    pub alpn: Option<String>,
    /// Whether it resumed an earlier session.
    pub is_resumed: bool,
}

impl UpstreamConnection {
    /// A connection to this upstream that is open now; its opening started at `opened`.
    pub fn new(
        upstream: Arc<str>,
        number: u64,
        opened: Instant,
        opening: ConnectionOpening,
    ) -> Self {
        tracing::debug!(
            %upstream,
            upstream_connection = number,
            protocol = opening.protocol.as_str(),
            dns_ms = opening.dns.map(milliseconds),
            connect_ms = milliseconds(opening.connect),
            tls_ms = opening.tls.as_ref().map(|tls| milliseconds(tls.took)),
            tls = opening.tls.as_ref().map(|tls| tls.version),
            "connected to the upstream"
        );
        Self { number, upstream, opened, opening, requests: AtomicU64::new(0) }
    }

    /// Logs that it is closed.
    pub fn log_closed(&self, close: UpstreamClose) {
        tracing::debug!(
            upstream = %self.upstream,
            upstream_connection = self.number,
            requests = self.requests.load(Ordering::Relaxed),
            by = close.by.as_str(),
            how = close.how,
            "the connection to the upstream is closed"
        );
    }

    /// Another request is sent on it. Returns how many there were before.
    pub(super) fn start_request(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }
}

impl UpstreamProtocol {
    /// Its name in the lens and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        }
    }
}
