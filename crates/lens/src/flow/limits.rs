//! How much of the connections is kept in memory.

/// How much is held. What is over it is counted, but not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// Connections; the oldest closed one makes room, or else the oldest.
    pub connections: usize,
    /// Segments that each connection lists.
    pub segments: usize,
    /// Bytes that each direction of a connection keeps.
    pub stream_bytes: usize,
    /// Bytes of each direction that wait for one before them.
    pub pending_bytes: usize,
}

impl Default for FlowLimits {
    /// Each connection takes up to about 6 MB, so that all together stay below a gigabyte; usual
    /// ones take some 10 KB.
    fn default() -> Self {
        Self { connections: 128, segments: 8192, stream_bytes: 1 << 20, pending_bytes: 256 << 10 }
    }
}
