//! Which fields beyond the common ones this API takes, and where.

use crate::wire::carry::Place;

/// Which unknown fields Anthropic supports, and where.
pub(super) fn field(place: Place, name: &str) -> bool {
    match place {
        Place::Message | Place::Output => name == "cache_control",
        Place::Call => ["cache_control", "caller"].contains(&name),
        Place::Part => ["cache_control", "citations", "context"].contains(&name),
        Place::Tool => ["cache_control", "eager_input_streaming", "defer_loading", "input_examples", "allowed_callers"].contains(&name),
        Place::Reasoning => false,
    }
}
