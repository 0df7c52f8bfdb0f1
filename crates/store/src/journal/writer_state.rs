//! What only the writer of the journal touches.

use super::appender::Appender;
use super::queue::Batch;

/// What only the writer touches.
pub(super) struct WriterState {
    pub(super) appender: Appender,
    /// What could not be written. It comes before everything else.
    pub(super) stuck: Option<Batch>,
    /// A buffer to gather in.
    pub(super) spare: Batch,
}
