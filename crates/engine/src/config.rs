//! The engine's settings.

use std::time::Duration;

use protocol::on_leave::OnLeave;

use crate::shares::Shares;

/// The engine's settings; the defaults fit one small machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes of all logs and items together, above which the oldest finished responses expire.
    pub kept_bytes: u64,
    /// Bytes of one response's log, above which the response is ended.
    pub answer_bytes: u64,
    /// How long a finished response is kept.
    pub retention: Duration,
    /// How many responses may run at once.
    pub running: usize,
    /// Bytes of requests, conversations and responses that may be in memory at once.
    pub memory_bytes: u64,
    /// The most bytes of one conversation.
    pub context_bytes: u64,
    /// The most items of one conversation.
    pub context_items: usize,
    /// The limits of each caller.
    pub shares: Shares,
    /// What happens to stored responses when their last reader leaves.
    pub on_leave_stored: OnLeave,
    /// What happens to stateless responses (`store: false`) when their last reader leaves.
    pub on_leave_stateless: OnLeave,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kept_bytes: 256 << 20,
            answer_bytes: 16 << 20,
            retention: Duration::from_secs(30 * 24 * 3600),
            running: 10_000,
            memory_bytes: 512 << 20,
            context_bytes: 64 << 20,
            context_items: 20_000,
            shares: Shares::default(),
            on_leave_stored: OnLeave::Finish,
            on_leave_stateless: OnLeave::Cancel,
        }
    }
}
