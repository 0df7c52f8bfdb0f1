//! How the body of a response is read, whatever its grammar.

use engine::provider::event::Word;
use engine::provider::failure::Failure;

/// A push parser of one answer: give it bytes as they come, then take words until there are none. It makes no `Finish` up:
/// whether the answer is whole is for its reader to say (promise 4). After a failure it has nothing more to say.
pub(crate) trait Reader: Send {
    /// Takes the next bytes. Call [`Self::next_word`] until `None` before the next push.
    fn push(&mut self, bytes: &[u8]);

    /// The next word; `None` when more bytes are needed, or nothing more can come.
    fn next_word(&mut self) -> Option<Result<Word, Failure>>;

    /// The body has ended. What is left then comes by [`Self::next_word`].
    fn finish(&mut self);

    /// Whether nothing more can come, whatever the body still holds.
    fn is_over(&self) -> bool;
}
