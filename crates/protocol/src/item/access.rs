//! What items of every type have: an id, content parts, a call's id and extra fields.

use super::{CustomToolCallOutput, FunctionCallOutput, FunctionOutput, Item, Part};
use crate::extra::Extra;
use crate::id::ItemId;

impl Item {
    /// The item's id.
    pub fn id(&self) -> &ItemId {
        match self {
            Self::Message(item) => &item.id,
            Self::FunctionCall(item) => &item.id,
            Self::FunctionCallOutput(item) => &item.id,
            Self::CustomToolCall(item) => &item.id,
            Self::CustomToolCallOutput(item) => &item.id,
            Self::Reasoning(item) => &item.id,
            Self::Compaction(item) => &item.id,
            Self::Opaque(item) => &item.id,
        }
    }

    /// The same item under another id.
    #[must_use]
    pub fn with_id(mut self, id: ItemId) -> Self {
        match &mut self {
            Self::Message(item) => item.id = id,
            Self::FunctionCall(item) => item.id = id,
            Self::FunctionCallOutput(item) => item.id = id,
            Self::CustomToolCall(item) => item.id = id,
            Self::CustomToolCallOutput(item) => item.id = id,
            Self::Reasoning(item) => item.id = id,
            Self::Compaction(item) => item.id = id,
            Self::Opaque(item) => item.id = id,
        }
        self
    }

    /// The prefix of ids of items of this type (`msg`, `fc`…).
    pub fn id_prefix(&self) -> &'static str {
        match self {
            Self::Message(_) => "msg",
            Self::FunctionCall(_) => "fc",
            Self::FunctionCallOutput(_) => "fco",
            Self::CustomToolCall(_) => "ctc",
            Self::CustomToolCallOutput(_) => "ctco",
            Self::Reasoning(_) => "rs",
            Self::Compaction(_) => "cmp",
            Self::Opaque(_) => "item",
        }
    }

    /// The `call_id`, if the item is a call of one of the caller's tools.
    pub fn call_id(&self) -> Option<&str> {
        match self {
            Self::FunctionCall(call) => Some(&call.call_id),
            Self::CustomToolCall(call) => Some(&call.call_id),
            Self::Message(_)
            | Self::FunctionCallOutput(_)
            | Self::CustomToolCallOutput(_)
            | Self::Reasoning(_)
            | Self::Compaction(_)
            | Self::Opaque(_) => None,
        }
    }

    /// The `call_id` that the item refers to, if it is the output of one of the caller's tools.
    pub fn answered_call_id(&self) -> Option<&str> {
        match self {
            Self::FunctionCallOutput(output) => Some(&output.call_id),
            Self::CustomToolCallOutput(output) => Some(&output.call_id),
            Self::Message(_)
            | Self::FunctionCall(_)
            | Self::CustomToolCall(_)
            | Self::Reasoning(_)
            | Self::Compaction(_)
            | Self::Opaque(_) => None,
        }
    }

    /// Its content parts.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let (first, second): (&[Part], &[Part]) = match self {
            Self::Message(message) => (&message.content, &[]),
            Self::Reasoning(reasoning) => (&reasoning.summary, &reasoning.content),
            Self::FunctionCallOutput(FunctionCallOutput {
                output: FunctionOutput::Parts(parts),
                ..
            })
            | Self::CustomToolCallOutput(CustomToolCallOutput {
                output: FunctionOutput::Parts(parts),
                ..
            }) => (parts, &[]),
            Self::FunctionCall(_)
            | Self::CustomToolCall(_)
            | Self::FunctionCallOutput(_)
            | Self::CustomToolCallOutput(_)
            | Self::Compaction(_)
            | Self::Opaque(_) => (&[], &[]),
        };
        first.iter().chain(second)
    }

    /// Fields beyond the vocabulary that came with the item.
    pub fn extra(&self) -> Option<&Extra> {
        match self {
            Self::Message(item) => Some(&item.extra),
            Self::FunctionCall(item) => Some(&item.extra),
            Self::FunctionCallOutput(item) => Some(&item.extra),
            Self::CustomToolCall(item) => Some(&item.extra),
            Self::CustomToolCallOutput(item) => Some(&item.extra),
            Self::Reasoning(item) => Some(&item.extra),
            Self::Compaction(_) | Self::Opaque(_) => None,
        }
    }

    /// Mutable access to [`Self::extra`].
    pub fn extra_mut(&mut self) -> Option<&mut Extra> {
        match self {
            Self::Message(item) => Some(&mut item.extra),
            Self::FunctionCall(item) => Some(&mut item.extra),
            Self::FunctionCallOutput(item) => Some(&mut item.extra),
            Self::CustomToolCall(item) => Some(&mut item.extra),
            Self::CustomToolCallOutput(item) => Some(&mut item.extra),
            Self::Reasoning(item) => Some(&mut item.extra),
            Self::Compaction(_) | Self::Opaque(_) => None,
        }
    }
}
