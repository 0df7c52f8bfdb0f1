//! What was queued to be written.

/// What was queued.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    pub(super) bytes: u64,
    /// Nobody writes: it is for whoever asked.
    pub(super) is_mine: bool,
}
