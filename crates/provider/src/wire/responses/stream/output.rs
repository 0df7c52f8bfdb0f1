//! The state of one output item, and which events contain deltas of it.

use serde_json::Value;

use super::super::super::repeat::SoFar;

/// An output item.
#[derive(Debug, Default)]
pub(super) struct OutputItem {
    pub(super) kind: OutputKind,
    pub(super) id: Option<String>,
    pub(super) index: Option<u64>,
    /// The parts received so far. Each is emitted once; events that repeat a part add only what is
    /// new.
    pub(super) parts: Vec<(PieceKind, u64, SoFar)>,
    /// The parts whose annotations were emitted.
    pub(super) annotated: Vec<u64>,
    /// The unknown parts that were emitted.
    pub(super) others: Vec<u64>,
    /// Contents of parts in their first event.
    pub(super) added: Vec<(u64, Value)>,
    pub(super) call: CallProgress,
    /// Names of unknown fields that were emitted.
    pub(super) extra: Vec<String>,
    pub(super) is_done: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum OutputKind {
    #[default]
    Message,
    Reasoning,
    FunctionCall,
    CustomToolCall,
    /// Passed on unchanged.
    Opaque,
}

impl OutputItem {
    /// What was received of a part.
    pub(super) fn so_far(&mut self, piece: PieceKind, number: u64) -> &mut SoFar {
        let known =
            self.parts.iter().position(|(known, place, _)| (*known, *place) == (piece, number));
        let position = known.unwrap_or_else(|| {
            self.parts.push((piece, number, SoFar::default()));
            self.parts.len() - 1
        });
        &mut self.parts[position].2
    }
}

impl OutputKind {
    /// The known fields of an item of this kind.
    pub(super) fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Message => &["type", "id", "status", "role", "content"],
            Self::Reasoning => &["type", "id", "status", "summary", "content", "encrypted_content"],
            Self::FunctionCall => &["type", "id", "status", "call_id", "name", "arguments"],
            Self::CustomToolCall => &["type", "id", "status", "call_id", "name", "input"],
            Self::Opaque => &[],
        }
    }
}

/// What was emitted of a call.
#[derive(Debug, Default)]
pub(super) struct CallProgress {
    pub(super) index: u64,
    pub(super) has_id: bool,
    pub(super) has_name: bool,
}

/// Kinds of text that arrive in deltas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceKind {
    Text,
    Refusal,
    Thought,
    Summary,
    Arguments,
    Input,
}

impl PieceKind {
    pub(super) fn kind(self) -> OutputKind {
        match self {
            Self::Text | Self::Refusal => OutputKind::Message,
            Self::Thought | Self::Summary => OutputKind::Reasoning,
            Self::Arguments => OutputKind::FunctionCall,
            Self::Input => OutputKind::CustomToolCall,
        }
    }
}

/// Whether an event contains a delta or the complete text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PieceExtent {
    More,
    Whole,
}

/// The kind of text in an event, by its type.
pub(super) fn piece_of(kind: &str) -> Option<(PieceKind, PieceExtent)> {
    Some(match kind {
        "response.output_text.delta" => (PieceKind::Text, PieceExtent::More),
        "response.output_text.done" => (PieceKind::Text, PieceExtent::Whole),
        "response.refusal.delta" => (PieceKind::Refusal, PieceExtent::More),
        "response.refusal.done" => (PieceKind::Refusal, PieceExtent::Whole),
        // OpenAI's name, and Open Responses'.
        "response.reasoning_text.delta" | "response.reasoning.delta" => {
            (PieceKind::Thought, PieceExtent::More)
        }
        "response.reasoning_text.done" | "response.reasoning.done" => {
            (PieceKind::Thought, PieceExtent::Whole)
        }
        "response.reasoning_summary_text.delta" | "response.reasoning_summary.delta" => {
            (PieceKind::Summary, PieceExtent::More)
        }
        "response.reasoning_summary_text.done" | "response.reasoning_summary.done" => {
            (PieceKind::Summary, PieceExtent::Whole)
        }
        "response.function_call_arguments.delta" => (PieceKind::Arguments, PieceExtent::More),
        "response.function_call_arguments.done" => (PieceKind::Arguments, PieceExtent::Whole),
        "response.custom_tool_call_input.delta" => (PieceKind::Input, PieceExtent::More),
        "response.custom_tool_call_input.done" => (PieceKind::Input, PieceExtent::Whole),
        _ => return None,
    })
}
