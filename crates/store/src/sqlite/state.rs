//! The state in the row of a response.

/// The state of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordState {
    Running = 0,
    Ended = 1,
    Expired = 2,
    Deleted = 3,
}
