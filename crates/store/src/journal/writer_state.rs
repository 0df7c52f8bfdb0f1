//! The state that only the current writer of the journal uses.

use super::appender::Appender;
use super::queue::Batch;

/// The state that only the current writer uses.
pub(super) struct WriterState {
    pub(super) appender: Appender,
    /// The batch that could not be written. It is written before any other.
    pub(super) unwritten: Option<Batch>,
    /// An empty batch whose memory is reused.
    pub(super) reusable: Batch,
}
