//! How the body of a response is read, whatever its grammar.

use engine::provider::event::ModelEvent;
use engine::provider::failure::ProviderFailure;

/// An incremental parser of one response: push bytes, then take events until there are none. It
/// never invents a `Finish`; whether the response is complete is decided by its reader (promise 4).
/// It yields nothing after a failure.
pub(crate) trait StreamParser: Send {
    /// Adds bytes. Call [`Self::next_event`] until it returns `None` before pushing more.
    fn push(&mut self, bytes: &[u8]);

    /// The next event; `None` if more bytes are needed or the response is over.
    fn next_event(&mut self) -> Option<Result<ModelEvent, ProviderFailure>>;

    /// The body has ended. Remaining events follow from [`Self::next_event`].
    fn finish(&mut self);

    /// Whether nothing more can come, whatever the body still holds.
    fn is_over(&self) -> bool;
}
