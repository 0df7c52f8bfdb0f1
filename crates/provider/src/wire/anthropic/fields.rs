//! Which fields beyond the common ones this API takes, and where.

use crate::wire::carry::FieldLocation;

/// Which unknown fields Anthropic supports, and where.
pub(super) fn field(place: FieldLocation, name: &str) -> bool {
    match place {
        FieldLocation::Message | FieldLocation::Output => name == "cache_control",
        FieldLocation::Call => ["cache_control", "caller"].contains(&name),
        FieldLocation::Part => ["cache_control", "citations", "context"].contains(&name),
        FieldLocation::Tool => [
            "cache_control",
            "eager_input_streaming",
            "defer_loading",
            "input_examples",
            "allowed_callers",
        ]
        .contains(&name),
        FieldLocation::Reasoning => false,
    }
}
