//! Settings of the journal.

use crate::Durability;

/// Settings of the journal.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What an event survives once a reader may have seen it.
    pub durability: Durability,
    /// The length from which a segment is full.
    pub segment_bytes: u64,
    /// Bytes of the newest entries of each log that stay in memory. Readers that lag further read
    /// files.
    pub tail_bytes: usize,
    /// Bytes of all logs that may be queued before writers have to wait.
    pub backlog_bytes: u64,
    /// The number of closed segments beyond which mostly dead ones are emptied, so that one long
    /// response does not keep them all.
    pub closed_segments: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: 16 << 20,
            tail_bytes: 16 << 10,
            backlog_bytes: 32 << 20,
            closed_segments: 8,
        }
    }
}
