//! How the journal keeps what it is given.

use crate::Durability;

/// How the journal keeps what it is given.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What a reader may have seen is safe from what.
    pub durability: Durability,
    /// Length from which on a segment is full.
    pub segment_bytes: u64,
    /// Bytes of the newest entries of each log that stay in memory. Readers that lag further behind read files.
    pub tail_bytes: usize,
    /// Bytes of all logs that may wait to be written before writers are asked to wait.
    pub backlog_bytes: u64,
    /// Closed segments beyond which those that are mostly dead are emptied, so that one long answer does not keep them all.
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
