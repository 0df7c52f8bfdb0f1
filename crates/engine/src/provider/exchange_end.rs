//! How a call of an upstream ended on its connection.

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeEnd {
    /// Whether the response arrived completely.
    pub is_complete: bool,
    /// Who ended the connection, or the stream of an HTTP/2 connection; `None` if the connection
    /// is kept for other requests.
    pub close: Option<UpstreamClose>,
}

/// The close of a connection to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamClose {
    /// The side that closed first.
    pub by: UpstreamSide,
    /// `close`: this server closed the socket. `fin`, `reset`: the upstream did, in order or by
    /// RST. `stream_reset`: RST_STREAM of HTTP/2, which leaves the connection open.
    pub how: &'static str,
}

/// One end of a connection to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamSide {
    /// This server.
    Weir,
    /// The upstream, or a proxy on the way to it.
    Upstream,
}

impl UpstreamSide {
    /// Its name in the lens and in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Upstream => "upstream",
        }
    }
}
