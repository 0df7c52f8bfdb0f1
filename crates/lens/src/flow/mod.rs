//! Connections, put together from packets in the order of their capture.

pub mod close;
pub mod connection;
pub mod counts;
pub mod direction;
mod sequence;
pub mod stream;
mod table;

pub use table::{ConnectionId, Flows, Seen};

/// Who sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that opened the connection with a SYN (RFC 9293, section 3.3.2: the active one).
    Client,
    /// The side that listened.
    Server,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Client, Self::Server];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How much is held. What is over it is counted, but not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections; the oldest closed one makes room, or else the oldest.
    pub connections: usize,
    /// Segments that each connection lists.
    pub segments: usize,
    /// Bytes that each direction of a connection keeps.
    pub stream_bytes: usize,
    /// Bytes of each direction that wait for one before them.
    pub pending_bytes: usize,
}

impl Default for Limits {
    /// Each connection takes up to about 6 MB, so that all together stay below a gigabyte; usual ones take some 10 KB.
    fn default() -> Self {
        Self { connections: 128, segments: 8192, stream_bytes: 1 << 20, pending_bytes: 256 << 10 }
    }
}

/// A value for each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Both<T> {
    /// The client's.
    pub client: T,
    /// The server's.
    pub server: T,
}

impl<T> Both<T> {
    /// That of a side.
    pub fn of(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// That of a side, to be changed.
    pub fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "streams of tests are short")]
mod tests;
