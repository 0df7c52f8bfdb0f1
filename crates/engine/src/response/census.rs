//! What an engine holds at one moment.

/// What an engine holds at one moment, for tests and operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineStats {
    /// Running responses.
    pub running: usize,
    /// Running tasks.
    pub tasks: usize,
    /// Bytes of all logs.
    pub log_bytes: u64,
    /// Bytes of all items.
    pub item_bytes: u64,
}
