//! What a row of an answer stands for.

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordState {
    Running = 0,
    Ended = 1,
    Expired = 2,
    Deleted = 3,
}
