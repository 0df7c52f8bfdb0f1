//! The outcome of queueing a frame.

/// The outcome of queueing a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) bytes: u64,
    /// There is no current writer: the caller becomes it.
    pub(super) is_mine: bool,
}
