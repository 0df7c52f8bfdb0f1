//! A message of a dialect as frames take it.

use codec::Message as FramedMessage;
use protocol::dialect::Message;

/// The same message, for a frame.
pub(super) fn framed(message: &Message) -> FramedMessage<'_> {
    FramedMessage {
        name: message.name,
        id: message.id.as_deref(),
        position: message.position,
        data: &message.data,
    }
}
