//! The protocol of a connection.

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0 or 1.1: one response at a time, so that the socket's signals concern it.
    Http1,
    /// HTTP/2: many streams, each of which is reset by itself. The socket's signals concern none of
    /// them.
    Http2,
}
