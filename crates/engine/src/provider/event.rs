//! What a model sends back, normalised: the events of its stream.

use futures_util::stream::BoxStream;
use protocol::event::EventKind;
use protocol::usage::Usage;
use serde_json::{Map, Value};

use super::failure::ProviderFailure;

/// The stream of a model. Dropping it closes the upstream connection at once (promise 5). A failure
/// is its last item.
pub type ModelStream = BoxStream<'static, Result<ModelEvent, ProviderFailure>>;

/// One event from upstream, normalised. Anything else that a provider sends is ignored.
#[derive(Clone, Debug, PartialEq)]
pub enum ModelEvent {
    /// More text, with its log probabilities as they came (often none).
    Text {
        /// The text; never empty.
        text: String,
        /// Log probabilities.
        logprobs: Vec<Value>,
    },
    /// What the text before it rests on (a citation), in Open Responses' form.
    Annotation(Value),
    /// More reasoning.
    Reasoning(String),
    /// More of a reasoning summary. Reasoning of the other kind starts a new part.
    ReasoningSummary(String),
    /// The end of a part of reasoning or of its summary: more of either starts a new part.
    ReasoningBreak,
    /// The end of a reasoning item, with its encrypted form, which the upstream needs back in the
    /// next turn. It also comes where no reasoning was shown.
    ReasoningEnd {
        /// Opaque; its prefix names the vendor.
        encrypted: String,
    },
    /// More of a refusal.
    Refusal(String),
    /// More of a call of one of the caller's tools.
    ToolCall(ToolCallDelta),
    /// An item that Weir does not interpret: a tool that the upstream ran, an image.
    Item(OpaqueStep),
    /// Fields beyond the vocabulary that belong to the reasoning.
    ReasoningExtra(Map<String, Value>),
    /// Fields beyond the vocabulary that belong to the message.
    Extra(Map<String, Value>),
    /// The usage so far; a later one replaces it.
    Usage(Usage),
    /// Why the model stopped: the evidence of completion (promise 4).
    Finish(Finish),
    /// A keep-alive of the upstream. It is not output of the model.
    KeepAlive,
}

impl ModelEvent {
    /// The bytes of the model's text in it, which includes its reasoning and the arguments of its
    /// calls.
    pub fn text_bytes(&self) -> usize {
        match self {
            Self::Text { text, .. }
            | Self::Reasoning(text)
            | Self::ReasoningSummary(text)
            | Self::Refusal(text) => text.len(),
            Self::ToolCall(call) => call.arguments.len(),
            Self::Annotation(_)
            | Self::ReasoningBreak
            | Self::ReasoningEnd { .. }
            | Self::Item(_)
            | Self::ReasoningExtra(_)
            | Self::Extra(_)
            | Self::Usage(_)
            | Self::Finish(_)
            | Self::KeepAlive => 0,
        }
    }
}

/// More of a tool call. Pieces with the same index belong together; id and name come once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCallDelta {
    /// Which call of this response.
    pub index: u64,
    /// The upstream's id of the call.
    pub id: Option<String>,
    /// The tool, by the name that the caller gave it.
    pub name: Option<String>,
    /// Whether it is a custom tool, whose `arguments` are free text. Sent with the name.
    pub is_custom: bool,
    /// The next piece of the arguments; may be empty.
    pub arguments: String,
    /// Fields beyond the vocabulary, such as `namespace`.
    pub extra: Map<String, Value>,
}

/// A step of an item that is passed on as it is. `key` identifies the item in this response.
#[derive(Clone, Debug, PartialEq)]
pub enum OpaqueStep {
    /// The item starts.
    Added {
        /// Which item.
        key: u64,
        /// The item so far, with its `type`.
        item: Map<String, Value>,
    },
    /// An event of the item.
    Event {
        /// Which item.
        key: u64,
        /// Its kind, one of [`EventKind::is_hosted`].
        kind: EventKind,
        /// The event's fields, without those that identify its item.
        fields: Map<String, Value>,
    },
    /// The item is whole. It may come without the other steps.
    Done {
        /// Which item.
        key: u64,
        /// The item, with its `type`.
        item: Map<String, Value>,
    },
}

/// Why a model stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It was done, or waits for its tools.
    Stop,
    /// It hit the limit on output tokens.
    Length,
    /// A filter cut it.
    ContentFilter,
    /// An unknown reason, as the upstream sent it. It is not evidence that the response is
    /// complete.
    Unknown(String),
}
