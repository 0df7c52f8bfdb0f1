//! The transports of `weir chat`.

use clap::ValueEnum;

/// The transport of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChatTransport {
    /// JSON documents: one long poll after another
    Json,
    /// One event a line
    Ndjson,
    /// Server-Sent Events
    Sse,
    /// One event a message
    Websocket,
}

impl ChatTransport {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Sse => "sse",
            Self::Websocket => "websocket",
        }
    }

    /// The transport with this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|transport| transport.name() == name)
    }
}
