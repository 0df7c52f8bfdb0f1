//! What of a conversation is not sent on, whatever the wire.

use protocol::item::{FunctionCall, Item, ItemStatus};

/// A call that was cut while the model wrote it and that nobody answered: with it, the next turn would be refused.
pub(super) fn is_abandoned(call: &FunctionCall, context: &[Item]) -> bool {
    let is_answer = |item: &Item| matches!(item, Item::FunctionCallOutput(output) if output.call_id == call.call_id);
    call.status != ItemStatus::Completed && !context.iter().any(is_answer)
}
