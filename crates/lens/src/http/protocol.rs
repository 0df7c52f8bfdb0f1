//! The protocol of a connection.

/// The protocol at the start of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplicationProtocol {
    /// Nothing that is known, or nothing at all.
    Unknown,
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/1 until 101, then WebSocket.
    WebSocket,
    /// HTTP/2 without TLS.
    Http2,
    /// TLS, whatever is in it.
    Tls,
}
